/**
 * Bytes from a file or a stream into memory of the caller's.
 *
 * Regular files are read with `readSync`, straight into the buffer that the packets are then parsed in: no copy, no
 * event loop. Everything else (standard input, named pipes) arrives as a Node.js stream, one promise a chunk.
 */

import { closeSync, createReadStream, fstatSync, openSync, readSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { CaptureError } from './source.ts';

export interface ByteSource {
  /**
   * Copies up to `length` bytes to `target[at]` and returns how many, 0 only at the end. Throws (or rejects with) a
   * CaptureError of kind `io`, or what a decompressor found.
   */
  read(target: Uint8Array, at: number, length: number): number | Promise<number>;
  /** Bytes taken from the file on disk. */
  readonly bytesRead: number;
  readonly sizeBytes: number | undefined;
  close(): void;
}

/**
 * Opens a file, or standard input for `-`. Of regular files the bytes [start, end) are read. Throws a CaptureError of kind `open`.
 */
export function openByteSource(path: string, start = 0, end = Number.POSITIVE_INFINITY): ByteSource {
  if (path === '-') return new StreamSource('-', process.stdin);
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'r');
    const stat = fstatSync(descriptor);
    if (stat.isDirectory()) throw new Error('it is a directory; name the capture files in it');
    if (stat.isFile()) return new FileSource(path, descriptor, stat.size, start, end);
    return new StreamSource(path, createReadStream(path, { fd: descriptor, autoClose: true }));
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    throw new CaptureError('open', 0, `${path}: cannot open the capture: ${reasonOf(error)}`);
  }
}

class FileSource implements ByteSource {
  readonly sizeBytes: number;
  bytesRead = 0;
  private readonly path: string;
  private descriptor: number;
  private readonly start: number;
  private readonly end: number;

  constructor(path: string, descriptor: number, sizeBytes: number, start: number, end: number) {
    this.path = path;
    this.descriptor = descriptor;
    this.sizeBytes = sizeBytes;
    this.start = start;
    this.end = end;
  }

  read(target: Uint8Array, at: number, length: number): number {
    try {
      const position = this.start + this.bytesRead;
      const count = readSync(this.descriptor, target, at, Math.min(length, this.end - position), position);
      this.bytesRead += count;
      return count;
    } catch (error) {
      throw new CaptureError('io', this.bytesRead, `${this.path}: byte ${this.bytesRead}: ${reasonOf(error)}`);
    }
  }

  close(): void {
    if (this.descriptor < 0) return;
    closeSync(this.descriptor);
    this.descriptor = -1;
  }
}

export class StreamSource implements ByteSource {
  readonly sizeBytes = undefined;
  bytesRead = 0;
  private readonly name: string;
  private readonly stream: Readable;
  private readonly chunks: AsyncIterator<Uint8Array>;
  private rest: Uint8Array = new Uint8Array(0);

  constructor(name: string, stream: Readable) {
    this.name = name;
    this.stream = stream;
    this.chunks = stream[Symbol.asyncIterator]();
  }

  async read(target: Uint8Array, at: number, length: number): Promise<number> {
    while (this.rest.length === 0) {
      const chunk = await this.nextChunk();
      if (chunk === undefined) return 0;
      this.rest = chunk;
    }
    const count = Math.min(length, this.rest.length);
    target.set(this.rest.subarray(0, count), at);
    this.rest = this.rest.subarray(count);
    this.bytesRead += count;
    return count;
  }

  close(): void {
    this.stream.destroy();
  }

  private async nextChunk(): Promise<Uint8Array | undefined> {
    try {
      const step = await this.chunks.next();
      return step.done === true ? undefined : step.value;
    } catch (error) {
      throw new CaptureError('io', this.bytesRead, `${this.name}: byte ${this.bytesRead}: ${reasonOf(error)}`);
    }
  }
}

/** The bytes that were read to find the format, then the rest. */
export class PrefixedSource implements ByteSource {
  private readonly source: ByteSource;
  private prefix: Uint8Array;

  constructor(prefix: Uint8Array, source: ByteSource) {
    this.prefix = prefix;
    this.source = source;
  }

  get bytesRead(): number {
    return this.source.bytesRead - this.prefix.length;
  }

  get sizeBytes(): number | undefined {
    return this.source.sizeBytes;
  }

  read(target: Uint8Array, at: number, length: number): number | Promise<number> {
    if (this.prefix.length === 0) return this.source.read(target, at, length);
    const count = Math.min(length, this.prefix.length);
    target.set(this.prefix.subarray(0, count), at);
    this.prefix = this.prefix.subarray(count);
    return count;
  }

  close(): void {
    this.source.close();
  }
}

/** What the system said, on one line. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.replaceAll('\n', ' ') : String(error);
}
