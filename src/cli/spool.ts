/**
 * Records in the order of their first packet, however many there are.
 *
 * Connections close in another order than they opened. Up to RUN_RECORDS wait in memory; then they go, sorted, to a file of
 * their own in a temporary folder, and in the end all runs are read side by side, the lowest packet first. So
 * memory holds one run and one record a file, whatever the size of the capture.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Records of one run: about 50 MB. */
const RUN_RECORDS = 50_000;
const PIECE_BYTES = 1 << 16;

interface Entry {
  /** Number of the first packet; unique. */
  readonly key: number;
  readonly json: string;
}

export class RecordSpool {
  readonly #runRecords: number;
  #entries: Entry[] = [];
  #folder: string | undefined;
  readonly #runs: number[] = [];
  count = 0;

  constructor(runRecords = RUN_RECORDS) {
    this.#runRecords = runRecords;
  }

  add(key: number, record: unknown): void {
    this.count++;
    this.#entries.push({ key, json: JSON.stringify(record) });
    if (this.#entries.length >= this.#runRecords) this.#writeRun();
  }

  /** Every record as one line of JSON, lowest key first. Once only. */
  *lines(): Generator<string> {
    this.#entries.sort((a, b) => a.key - b.key);
    const readers = [this.#entries.values(), ...this.#runs.map(readRun)];
    const heads = readers.map((reader) => nextOf(reader));
    for (;;) {
      let lowest = -1;
      heads.forEach((head, i) => {
        if (head !== undefined && (lowest < 0 || head.key < heads[lowest]!.key)) lowest = i;
      });
      if (lowest < 0) return;
      yield heads[lowest]!.json;
      heads[lowest] = nextOf(readers[lowest]!);
    }
  }

  /** Closes and removes the files. Any number of times. */
  close(): void {
    for (const descriptor of this.#runs.splice(0)) closeSync(descriptor);
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }

  #writeRun(): void {
    this.#folder ??= mkdtempSync(join(tmpdir(), 'margay-'));
    const descriptor = openSync(join(this.#folder, `run-${this.#runs.length}`), 'wx+', 0o600);
    this.#runs.push(descriptor);
    this.#entries.sort((a, b) => a.key - b.key);
    let piece = '';
    for (const { key, json } of this.#entries) {
      piece += `${key}\t${json}\n`;
      if (piece.length >= PIECE_BYTES) {
        writeAll(descriptor, piece);
        piece = '';
      }
    }
    writeAll(descriptor, piece);
    this.#entries = [];
  }
}

function writeAll(descriptor: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
}

function nextOf(reader: Iterator<Entry>): Entry | undefined {
  const { value, done } = reader.next();
  return done === true ? undefined : value;
}

function* readRun(descriptor: number): Generator<Entry> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(PIECE_BYTES);
  let rest = '';
  let position = 0;
  for (;;) {
    const length = readSync(descriptor, buffer, 0, buffer.length, position);
    position += length;
    const lines = (rest + decoder.decode(buffer.subarray(0, length), { stream: length > 0 })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const tab = line.indexOf('\t');
      yield { key: Number(line.slice(0, tab)), json: line.slice(tab + 1) };
    }
    if (length === 0) return;
  }
}
