/**
 * The flow log: a line for each flow every so often and when it closes, in a file that is turned over by size.
 *
 *   updates of flows ─► newest of each flow ─── every interval ───► lines ─► bounded queue ─► one write at a time ─► FILE, FILE.1, FILE.2 …
 *
 * Nothing waits for the disk. What the queue has no room for, and what the disk does not take, is dropped and counted; after a failed write the
 * file is cut back to its last whole line, and the next try comes a second later. Packets and bytes of a dropped line are lost to the log: the
 * next line of that flow counts from there on.
 */
import type { FileHandle } from 'node:fs/promises';
import { open, rename, rm } from 'node:fs/promises';
import type { FlowUpdate } from './engine.ts';
import { type FlowFormat, type FlowLine, formatFlow } from './flow-formats.ts';
import type { LineSink } from './log.ts';

export interface FlowLogOptions {
  /** Path, or `-` for `stdout`. */
  readonly path: string;
  readonly stdout: LineSink;
  readonly format: FlowFormat;
  readonly node: string | undefined;
  readonly maxBytes: number;
  readonly keep: number;
  readonly intervalMs: number;
  /** Told when writing fails, and with undefined when it goes on. */
  readonly onTrouble: (trouble: string | undefined) => void;
}

const PENDING_BYTES_MAX = 8 << 20;
const RETRY_MS = 1_000;
/** Written at once. */
const PIECE_BYTES = 256 << 10;

interface Followed {
  update: FlowUpdate;
  isChanged: boolean;
  packets: number;
  bytes: number;
  endTime: string | undefined;
  byAction: Readonly<Record<string, number>> | undefined;
}

export class FlowLog {
  /** Lines written, and lines that were not. */
  lines = 0;
  dropped = 0;
  readonly #options: FlowLogOptions;
  readonly #flows = new Map<string, Followed>();
  readonly #pending: string[] = [];
  #pendingBytes = 0;
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #isWriting = false;
  #trouble: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  readonly #timer: NodeJS.Timeout;
  #idle: (() => void)[] = [];
  #isClosing = false;

  constructor(options: FlowLogOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#emitAll(false), options.intervalMs);
    this.#timer.unref();
  }

  /** Opens the file. Rejects with the system's error: a log that can never be written is a mistake to be told at once. */
  async open(): Promise<void> {
    if (this.#options.path !== '-') await this.#openFile();
  }

  take(update: FlowUpdate): void {
    let followed = this.#flows.get(update.id);
    if (followed === undefined) {
      followed = { update, isChanged: true, packets: 0, bytes: 0, endTime: undefined, byAction: undefined };
      this.#flows.set(update.id, followed);
    }
    followed.update = update;
    followed.isChanged = true;
    if (update.isOpen) return;
    this.#flows.delete(update.id);
    this.#emit(followed);
  }

  /** Opens the file anew, for tools that move it away by themselves. */
  async reopen(): Promise<void> {
    if (this.#options.path === '-') return;
    await this.#settled(RETRY_MS);
    await this.#file?.close().catch(() => {});
    this.#file = undefined;
    this.#write();
  }

  /** Writes a last line for every flow that is open, and all that waits, as far as `limitMs` allows. */
  async close(limitMs: number): Promise<void> {
    clearInterval(this.#timer);
    this.#emitAll(true);
    this.#isClosing = true;
    clearTimeout(this.#retry);
    this.#write();
    await this.#settled(limitMs);
    this.dropped += this.#pending.length;
    this.#pending.length = 0;
    await this.#file?.close().catch(() => {});
  }

  #emitAll(isLast: boolean): void {
    for (const followed of this.#flows.values()) if (followed.isChanged || isLast) this.#emit(followed);
  }

  #emit(followed: Followed): void {
    const { update, packets, bytes, endTime, byAction } = followed;
    const { record, id, isOpen, generation, finding } = update;
    followed.isChanged = false;
    const isFirst = endTime === undefined;
    if (!isFirst && isOpen && record.packets === packets) return;
    const line: FlowLine = {
      id,
      isOpen,
      isFirst,
      generation,
      finding,
      record,
      startTime: endTime ?? record.start_time,
      packets: record.packets - packets,
      bytes: record.bytes - bytes,
      packetsByAction: since(record.packets_by_action, byAction, record.action, packets),
    };
    followed.packets = record.packets;
    followed.bytes = record.bytes;
    followed.endTime = record.end_time;
    followed.byAction = record.packets_by_action;
    for (const object of formatFlow(this.#options.format, line, this.#options.node))
      this.#put(`${JSON.stringify(object)}\n`);
  }

  #put(text: string): void {
    if (this.#options.path === '-') {
      this.#options.stdout.write(text);
      this.lines++;
      return;
    }
    if (this.#pendingBytes + text.length > PENDING_BYTES_MAX) {
      this.dropped++;
      this.#tell('the disk is slower than the flows');
      return;
    }
    this.#pending.push(text);
    this.#pendingBytes += text.length;
    this.#write();
  }

  #write(): void {
    if (this.#isWriting || this.#retry !== undefined) return;
    this.#isWriting = true;
    void this.#writeAll().finally(() => {
      this.#isWriting = false;
      for (const resolve of this.#idle.splice(0)) resolve();
    });
  }

  async #writeAll(): Promise<void> {
    while (this.#pending.length > 0) {
      const lines: string[] = [];
      let length = 0;
      while (this.#pending.length > lines.length && length < PIECE_BYTES) {
        length += this.#pending[lines.length]!.length;
        lines.push(this.#pending[lines.length]!);
      }
      this.#pending.splice(0, lines.length);
      this.#pendingBytes -= length;
      if (await this.#writePiece(lines)) continue;
      if (this.#isClosing) return;
      this.#retry = setTimeout(() => {
        this.#retry = undefined;
        this.#write();
      }, RETRY_MS);
      this.#retry.unref();
      return;
    }
  }

  /** False if it failed: the lines are dropped. */
  async #writePiece(lines: readonly string[]): Promise<boolean> {
    try {
      const file = this.#file ?? (await this.#openFile());
      const bytes = Buffer.from(lines.join(''));
      if (this.#fileBytes > 0 && this.#fileBytes + bytes.length > this.#options.maxBytes) await this.#turnOver();
      await writeWhole(this.#file ?? file, bytes);
      this.#fileBytes += bytes.length;
      this.lines += lines.length;
      this.#tell(undefined);
      return true;
    } catch (error) {
      this.dropped += lines.length;
      this.#tell(`${this.#options.path} can't be written: ${(error as Error).message}`);
      // No half line stays behind; a device has nothing to cut.
      await this.#file?.truncate(this.#fileBytes).catch(() => {});
      return false;
    }
  }

  async #openFile(): Promise<FileHandle> {
    const file = await open(this.#options.path, 'a', 0o640);
    this.#file = file;
    this.#fileBytes = (await file.stat()).size;
    return file;
  }

  /** FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on; the oldest goes. */
  async #turnOver(): Promise<void> {
    const { path, keep } = this.#options;
    await this.#file?.close();
    this.#file = undefined;
    if (keep === 0) await rm(path, { force: true });
    for (let i = keep; i >= 1; i--) {
      const from = i === 1 ? path : `${path}.${i - 1}`;
      await rename(from, `${path}.${i}`).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    }
    await this.#openFile();
  }

  #tell(trouble: string | undefined): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#options.onTrouble(trouble);
  }

  #settled(limitMs: number): Promise<void> {
    if (!this.#isWriting) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      this.#idle.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

async function writeWhole(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at);
    at += bytesWritten;
  }
}

/** Packets by verdict since the last line; absent where all have the record's own. */
function since(
  now: Readonly<Record<string, number>> | undefined,
  before: Readonly<Record<string, number>> | undefined,
  action: string,
  packetsBefore: number,
): Readonly<Record<string, number>> | undefined {
  if (now === undefined) return undefined;
  const earlier = before ?? { [action]: packetsBefore };
  const entries = Object.entries(now)
    .map(([name, count]): [string, number] => [name, count - (earlier[name] ?? 0)])
    .filter(([, count]) => count > 0);
  return Object.fromEntries(entries);
}
