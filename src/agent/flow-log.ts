/**
 * The flow log: a line for each flow every so often and when it closes, in a file that is turned over by size.
 *
 *   updates of flows ─► newest of each flow ─── every interval ───► lines ─► bounded queue ─► one write at a time ─► FILE, FILE.1, FILE.2 …
 *
 * Nothing waits for the disk. What the queue has no room for, and what the disk does not take, is dropped and counted; after a failed write the
 * file is cut back to its last whole line (a pipe gets the rest of it first), and the next try comes a second later. Packets and bytes of a
 * dropped line are lost to the log: the next line of that flow counts from there on.
 */
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, rename, rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import type { FlowUpdate } from './engine.ts';
import { type FlowFormat, type FlowLine, formatFlow } from './flow-formats.ts';
import { FlowLives } from './flow-lives.ts';
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
/** Between two tries at a pipe while the log is closed. */
const CLOSING_RETRY_MS = 20;
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
  readonly #lives = new FlowLives();
  readonly #pending: string[] = [];
  #pendingBytes = 0;
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #isRegular = true;
  /** Of a line that a pipe took a part of. */
  #rest: Buffer = EMPTY;
  #isWriting = false;
  #trouble: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  readonly #timer: NodeJS.Timeout;
  #idle: (() => void)[] = [];
  /** Once it is being closed: on the clock of `performance.now`. */
  #closeByMs: number | undefined;

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
    const over = this.#lives.over(update.id);
    if (over !== undefined) this.#end(over);
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

  /** Writes the last lines of flows that nobody follows any more. */
  #end(prefix: string): void {
    for (const [id, followed] of this.#flows) {
      if (!id.startsWith(prefix)) continue;
      followed.update = { ...followed.update, isOpen: false };
      this.#flows.delete(id);
      this.#emit(followed);
    }
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
    this.#closeByMs = performance.now() + limitMs;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#write();
    await this.#settled(limitMs + CLOSING_RETRY_MS);
    this.dropped += this.#pending.length;
    this.#pending.length = 0;
    if (this.#rest.length > 0) {
      // A part of it is in the pipe, and the other one never comes.
      this.lines--;
      this.dropped++;
    }
    // A write that is still under way would be waited for.
    const closing = this.#file?.close().catch(() => {});
    if (!this.#isWriting) await closing;
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
    while (this.#pending.length > 0 || (this.#closeByMs !== undefined && this.#rest.length > 0)) {
      const lines: string[] = [];
      let length = 0;
      while (this.#pending.length > lines.length && length < PIECE_BYTES) {
        length += this.#pending[lines.length]!.length;
        lines.push(this.#pending[lines.length]!);
      }
      this.#pending.splice(0, lines.length);
      this.#pendingBytes -= length;
      if (await this.#writePiece(lines)) continue;
      if (this.#closeByMs !== undefined) {
        // A pipe may be read in time: then the line that was cut is ended, and others go.
        if (this.#isRegular || performance.now() >= this.#closeByMs) return;
        await pause(CLOSING_RETRY_MS);
        continue;
      }
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
      if (this.#file === undefined) await this.#openFile();
      const length = Buffer.byteLength(lines.join(''));
      const isFull = this.#fileBytes > 0 && this.#fileBytes + length > this.#options.maxBytes;
      if (isFull && this.#isRegular) await this.#turnOver();
    } catch (error) {
      return this.#failed(lines.length, error as Error);
    }
    const bytes = Buffer.concat([this.#rest, Buffer.from(lines.join(''))]);
    const { written, error } = await writeWhole(this.#file!, bytes);
    if (error === undefined) {
      this.#rest = EMPTY;
      this.#fileBytes += bytes.length;
      this.lines += lines.length;
      this.#tell(undefined);
      return true;
    }
    if (this.#isRegular) {
      // No half line stays behind.
      await this.#file?.truncate(this.#fileBytes).catch(() => {});
      return this.#failed(lines.length, error);
    }
    // What is in a pipe is there: the line that was cut is ended before the next one.
    const ended = bytes.subarray(0, written).lastIndexOf(10) + 1;
    const next = bytes.indexOf(10, written) + 1;
    const isCut = ended < written;
    const wholeLines = countLines(bytes.subarray(this.#rest.length, ended)) + (isCut ? 1 : 0);
    if (written < this.#rest.length) this.#rest = this.#rest.subarray(written);
    else this.#rest = isCut ? bytes.subarray(written, next) : EMPTY;
    this.lines += wholeLines;
    return this.#failed(lines.length - wholeLines, error);
  }

  #failed(dropped: number, error: Error): false {
    this.dropped += dropped;
    this.#tell(`${this.#options.path} can't be written: ${error.message}`);
    return false;
  }

  async #openFile(): Promise<FileHandle> {
    // A pipe whose reader stands still must say so, not hold a thread.
    const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
    const file = await open(this.#options.path, flags, 0o640);
    const stat = await file.stat();
    this.#file = file;
    this.#isRegular = stat.isFile();
    this.#fileBytes = this.#isRegular ? stat.size : 0;
    this.#rest = EMPTY;
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

/** Writes as much as is taken. */
async function writeWhole(
  file: FileHandle,
  bytes: Buffer,
): Promise<{ readonly written: number; readonly error: Error | undefined }> {
  let written = 0;
  try {
    while (written < bytes.length) written += (await file.write(bytes, written)).bytesWritten;
    return { written, error: undefined };
  } catch (error) {
    return { written, error: error as Error };
  }
}

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
  return lines;
}

const EMPTY = Buffer.alloc(0);

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
