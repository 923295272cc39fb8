/**
 * Captures with the verdict on every packet beside it: `verify --annotate` and `--split`.
 *
 * What becomes of a connection is known when all was read, so the captures are read once more, in the same order, and each packet
 * gets a comment from what was kept: its verdict and connection by its number, and a text by connection, both in temporary files
 * (paged-records.ts), so that memory stays what it is.
 *
 *   margay: deny (ingress of shop/ledger-0: end of tier default, after np:shop/ledger-clients, policies.yaml:87)
 *   lab/payments-0 (account payments) -> shop/ledger-0 (account ledger)
 *   leak, proven: predicted deny, observed delivered (established)
 *   evidence: SYN-ACK
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { escapeControls } from '../base/errors.ts';
import { VERDICT_NAMES } from '../model/flow.ts';
import { PcapngFile } from '../packets/pcapng-file.ts';
import { MergedReader } from './merged-reader.ts';
import { PagedRecords } from './paged-records.ts';
import type { VerifiedPacket, VerifyResult } from './verify.ts';
import type { VerifyRecord } from './verify-record.ts';
import { deciderText } from './verify-text.ts';

/** Characters of a comment; names and labels may be of any length. */
const COMMENT_LENGTH_MAX = 2000;
const PACKET_BYTES = 12;
const TEXT_PLACE_BYTES = 12;
/** Texts of connections that are kept in memory. */
const TEXTS_MAX = 1024;
const PACKETS_BETWEEN_PAUSES = 4096;

/** What a comment says of a packet's connection. */
interface ConnectionNotes {
  readonly action: string;
  readonly why: string;
  readonly ends: string;
  readonly result: string;
  /** `capture number`, and what it shows. */
  readonly evidence: Readonly<Record<string, string>>;
}

/** Verdicts and texts, as `verifyCaptures` tells them. */
export class VerdictLog {
  readonly #packets = new PagedRecords(PACKET_BYTES);
  readonly #places = new PagedRecords(TEXT_PLACE_BYTES);
  readonly #folder = mkdtempSync(join(tmpdir(), 'margay-'));
  readonly #texts = openSync(join(this.#folder, 'texts'), 'wx+', 0o600);
  readonly #known = new Map<number, ConnectionNotes>();
  #end = 0;

  packet({ packet, verdict, connection, seenBefore }: VerifiedPacket): void {
    const { view, offset } = this.#packets.at(packet, true);
    view.setUint32(offset, verdict + 1);
    view.setUint32(offset + 4, connection);
    view.setUint32(offset + 8, seenBefore);
  }

  connection(record: VerifyRecord, id: number): void {
    const bytes = Buffer.from(JSON.stringify(notesOf(record)));
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#texts, bytes, at, bytes.length - at, this.#end + at);
    const { view, offset } = this.#places.at(id, true);
    view.setFloat64(offset, this.#end);
    view.setUint32(offset + 8, bytes.length);
    this.#end += bytes.length;
  }

  /** Verdict (an index of VERDICT_NAMES) and comment of packet `packet`, which is number `number` of `capture`. */
  of(packet: number, capture: string, number: number): { readonly verdict: number; readonly comment: string } {
    const { view, offset } = this.#packets.at(packet, false);
    const verdict = view.getUint32(offset) - 1;
    const connection = view.getUint32(offset + 4);
    const seenBefore = view.getUint32(offset + 8);
    // Never told: reading ended before it.
    if (verdict < 0) return { verdict: VERDICT_NAMES.indexOf('undecoded'), comment: 'margay: not judged' };
    const notes = connection === 0 ? undefined : this.#notes(connection);
    const lines = [`margay: ${verdictText(VERDICT_NAMES[verdict]!, notes)}`];
    if (notes !== undefined) {
      lines.push(notes.ends, notes.result);
      const evidence = notes.evidence[`${number} ${capture}`];
      if (evidence !== undefined) lines.push(`evidence: ${evidence}`);
    }
    if (seenBefore > 0) lines.push('seen before, in this capture or another');
    return { verdict, comment: lines.map(escapeControls).join('\n').slice(0, COMMENT_LENGTH_MAX) };
  }

  /** Removes the files. Any number of times. */
  close(): void {
    this.#packets.close();
    this.#places.close();
    if (this.#end < 0) return;
    this.#end = -1;
    closeSync(this.#texts);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #notes(connection: number): ConnectionNotes | undefined {
    const known = this.#known.get(connection);
    if (known !== undefined) return known;
    const { view, offset } = this.#places.at(connection, false);
    const bytes = Buffer.alloc(view.getUint32(offset + 8));
    if (bytes.length === 0) return undefined;
    const start = view.getFloat64(offset);
    for (let at = 0; at < bytes.length; ) at += readSync(this.#texts, bytes, at, bytes.length - at, start + at);
    const notes = JSON.parse(bytes.toString()) as ConnectionNotes;
    if (this.#known.size >= TEXTS_MAX) this.#known.delete(this.#known.keys().next().value!);
    this.#known.set(connection, notes);
    return notes;
  }
}

function notesOf(record: VerifyRecord): ConnectionNotes {
  const { finding, certainty, predicted, observed, outcome } = record;
  const found = finding === undefined ? '' : `${finding}, ${certainty}: `;
  return {
    action: record.action,
    why: record.direction === undefined ? (record.reason ?? '') : deciderText(record),
    ends: `${endText(record, 'source')} -> ${endText(record, 'dest')}`,
    result: `${found}predicted ${predicted}, observed ${observed} (${outcome})`,
    evidence: Object.fromEntries(record.evidence.map(({ capture, packet, what }) => [`${packet} ${capture}`, what])),
  };
}

function endText(record: VerifyRecord, side: 'source' | 'dest'): string {
  const name = record[`${side}_name`];
  const account = record[`${side}_service_account`];
  if (name === undefined) return record[`${side}_ip`];
  const full = `${record[`${side}_namespace`] === undefined ? '' : `${record[`${side}_namespace`]}/`}${name}`;
  return account === undefined ? full : `${full} (account ${account})`;
}

function verdictText(verdict: string, notes: ConnectionNotes | undefined): string {
  if (notes === undefined) return verdict;
  if (verdict !== notes.action) return `${verdict} (its connection: ${notes.action})`;
  return notes.why === '' ? verdict : `${verdict} (${notes.why})`;
}

/** Where packets are written, by verdict. */
export interface AnnotatedFiles {
  /** Takes every packet. */
  readonly all?: string;
  /** Take the packets of one verdict, by its name. */
  readonly byVerdict?: Readonly<Record<string, string>>;
}

/**
 * Reads the captures once more and writes them annotated; returns the packets written by path. Times are those of the first capture's
 * clock. Files are complete or absent.
 */
export async function writeAnnotated(
  { captures }: VerifyResult,
  log: VerdictLog,
  { all, byVerdict = {} }: AnnotatedFiles,
): Promise<ReadonlyMap<string, number>> {
  const names = captures.map(({ file }) => file);
  const reader = await MergedReader.open(
    names,
    captures.map(({ clockOffsetMs }) => clockOffsetMs ?? 0),
  );
  const outputs: AnnotatedFile[] = [];
  try {
    const open = (path: string): AnnotatedFile => {
      const output = new AnnotatedFile(path, names, reader);
      outputs.push(output);
      return output;
    };
    const whole = all === undefined ? undefined : open(all);
    const split = VERDICT_NAMES.map((name) => (byVerdict[name] === undefined ? undefined : open(byVerdict[name])));
    for (let packet = 1; ; packet++) {
      const more = reader.next();
      if (!(typeof more === 'boolean' ? more : await more)) break;
      const { verdict, comment } = log.of(packet, names[reader.capture]!, reader.number);
      whole?.add(comment);
      split[verdict]?.add(comment);
      if (packet % PACKETS_BETWEEN_PAUSES === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    for (const output of outputs) output.finish();
    return new Map(outputs.map(({ file }) => [file.path, file.packetCount]));
  } finally {
    reader.close();
    for (const { file } of outputs) file.discard();
  }
}

/** One file, and its interfaces as packets of them come. */
class AnnotatedFile {
  readonly file: PcapngFile;
  readonly #names: readonly string[];
  readonly #reader: MergedReader;
  readonly #interfaces = new Map<string, number>();
  /** By capture, its first interface. */
  readonly #firstOf = new Map<number, number>();

  constructor(path: string, names: readonly string[], reader: MergedReader) {
    this.file = new PcapngFile(path);
    this.#names = names;
    this.#reader = reader;
  }

  /** Writes the packet in hand of the reader. */
  add(comment: string): void {
    const { row } = this.#reader;
    const [offset, direction] = [row.offsets[0]!, row.directions[0]!];
    this.file.add({
      bytes: row.bytes.subarray(offset, offset + row.capturedBytes[0]!),
      wireBytes: row.wireBytes[0]!,
      // What came before 1970 by a damaged clock has no time in pcapng.
      seconds: Math.max(0, row.seconds[0]!),
      nanos: row.nanos[0]!,
      interface: this.#interface(),
      comment,
      ...(direction === 0 ? {} : { direction }),
    });
  }

  finish(): void {
    for (const [capture, number] of this.#firstOf) {
      const lost = this.#reader.reader(capture).lostPackets;
      if (lost > 0) this.file.addDrops(number, lost);
    }
    this.file.finish();
  }

  #interface(): number {
    const { row, capture } = this.#reader;
    const key = `${capture} ${row.interfaces[0]} ${row.linkTypes[0]}`;
    let number = this.#interfaces.get(key);
    if (number === undefined) {
      const name = this.#reader.reader(capture).interfaceName(row.interfaces[0]!);
      number = this.file.addInterface({
        linkType: row.linkTypes[0]!,
        ...(name === undefined ? {} : { name }),
        description: this.#names[capture]!,
      });
      this.#interfaces.set(key, number);
      if (!this.#firstOf.has(capture)) this.#firstOf.set(capture, number);
    }
    return number;
  }
}
