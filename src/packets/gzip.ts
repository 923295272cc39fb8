/**
 * Compressed captures, as a byte source that decompresses another one.
 *
 * Node's own decompressor does the work, fed with small pieces and watched piece by piece, so that
 * - memory is bounded: a piece of PIECE_BYTES gives at most some 1 032 times as much, and all of it is handed on before
 *   the next piece goes in;
 * - nothing before the damage is lost: when the decompressor fails it throws away what the failing call had made, so the
 *   last bytes of the file (the checksum of gzip) go in alone, and a file that is damaged in the middle is read once
 *   more up to the damage, byte by byte in the failing piece (a stream cannot be read again: there, up to one piece is
 *   lost, and the error says so);
 * - a bomb ends at a limit, not at the end of the disk.
 *
 * Several gzip members in one file follow each other (RFC 1952, section 2.2).
 */

import type { Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import type { ByteSource } from './byte-source.ts';
import { reasonOf } from './byte-source.ts';
import {
  CaptureError,
  DECOMPRESSED_BYTES_MAX,
  DECOMPRESSION_RATIO_FROM_BYTES,
  DECOMPRESSION_RATIO_MAX,
} from './source.ts';

const PIECE_BYTES = 16 * 1024;
/** The trailer of gzip: CRC-32 and length. */
const HELD_BACK_BYTES = 8;
/** Bytes that `read` hands on at most. */
export const OUTPUT_CHUNK_BYTES = 64 * 1024;

export type Compression = 'gzip' | 'zstd';

export interface DecompressionLimits {
  /** Decompressed bytes in all. */
  readonly decompressedBytesMax?: number;
  /** Decompressed bytes for each compressed one, after DECOMPRESSION_RATIO_FROM_BYTES. */
  readonly decompressionRatioMax?: number;
}

/** A decompressor of this Node.js, or undefined if it has none: zstd came with Node.js 22.15. */
export function createDecompressor(compression: Compression): (() => Transform) | undefined {
  const options = { chunkSize: OUTPUT_CHUNK_BYTES };
  if (compression === 'gzip') return () => zlib.createGunzip(options);
  const create = (zlib as { createZstdDecompress?: (options: { chunkSize: number }) => Transform })
    .createZstdDecompress;
  return create === undefined ? undefined : () => create(options);
}

export class DecompressingSource implements ByteSource {
  private readonly name: string;
  private readonly input: ByteSource;
  private readonly create: () => Transform;
  private readonly reopen: (() => ByteSource) | undefined;
  private readonly bytesMax: number;
  private readonly ratioMax: number;
  private engine: Engine;
  /** Decompressed bytes handed on. */
  private bytesOut = 0;
  private readonly piece = new Uint8Array(PIECE_BYTES + HELD_BACK_BYTES);
  private pieceBytes = 0;
  private inputHasEnded = false;
  private failure: CaptureError | undefined;

  /**
   * @param create  makes a fresh decompressor
   * @param reopen  opens the input once more from its start; undefined for a stream
   */
  constructor(
    name: string,
    input: ByteSource,
    create: () => Transform,
    reopen: (() => ByteSource) | undefined,
    limits: DecompressionLimits,
  ) {
    this.name = name;
    this.input = input;
    this.create = create;
    this.reopen = reopen;
    this.bytesMax = limits.decompressedBytesMax ?? DECOMPRESSED_BYTES_MAX;
    this.ratioMax = limits.decompressionRatioMax ?? DECOMPRESSION_RATIO_MAX;
    this.engine = new Engine(create());
  }

  get bytesRead(): number {
    return this.input.bytesRead;
  }

  get sizeBytes(): number | undefined {
    return this.input.sizeBytes;
  }

  async read(target: Uint8Array, at: number, length: number): Promise<number> {
    while (this.engine.outputBytes === 0) {
      if (this.failure !== undefined) throw this.failure;
      if (this.engine.hasEnded) return 0;
      await this.step();
    }
    const count = this.engine.take(target, at, length);
    this.bytesOut += count;
    this.checkLimits();
    return count;
  }

  close(): void {
    this.engine.destroy();
    this.input.close();
  }

  /** Feeds one piece, all but its last bytes, which may be the end of the file; at the end those alone. */
  private async step(): Promise<void> {
    while (!this.inputHasEnded && this.pieceBytes <= HELD_BACK_BYTES) {
      const count = await this.input.read(this.piece, this.pieceBytes, this.piece.length - this.pieceBytes);
      this.pieceBytes += count;
      this.inputHasEnded = count === 0;
    }
    const isLast = this.inputHasEnded && this.pieceBytes <= HELD_BACK_BYTES;
    const fedBytes = isLast ? this.pieceBytes : this.pieceBytes - HELD_BACK_BYTES;
    // The decompressor keeps the piece until it is done with it, and we wait for that, so a view will do.
    const error = isLast
      ? await this.engine.end(this.piece.subarray(0, fedBytes))
      : await this.engine.write(this.piece.subarray(0, fedBytes));
    if (error !== undefined) {
      await this.recover(error, fedBytes, isLast);
      return;
    }
    this.piece.copyWithin(0, fedBytes, this.pieceBytes);
    this.pieceBytes -= fedBytes;
  }

  /** After a failure: gets what the failing piece held before the damage, and keeps the error for after that. */
  private async recover(error: Error, fedBytes: number, isLast: boolean): Promise<void> {
    const isCut = (error as { code?: string }).code === 'Z_BUF_ERROR';
    const pieceStart = this.input.bytesRead - this.pieceBytes;
    let compressedAt = isCut ? this.input.bytesRead : pieceStart;
    let remark = '';
    if (!isCut && !isLast) {
      if (this.reopen === undefined) remark = ' but for some just before it, as a stream cannot be read twice';
      else compressedAt = await this.readAgain(this.reopen(), pieceStart, fedBytes);
    }
    const offset = this.bytesOut + this.engine.outputBytes;
    const problem = isCut ? 'the compressed file is cut off' : `the compressed file is damaged (${reasonOf(error)})`;
    const where = `${this.name}: byte ${offset} of the decompressed capture (byte ${compressedAt} of the file)`;
    const message = `${where}: ${problem}; the packets before it can be used${remark}`;
    this.failure = new CaptureError(isCut ? 'truncated' : 'malformed', offset, message);
  }

  /**
   * Decompresses the file once more from its start, byte by byte in the piece that failed, and queues what comes out
   * beyond what we already had. Returns the place of the byte that the decompressor refused.
   */
  private async readAgain(input: ByteSource, pieceStart: number, fedBytes: number): Promise<number> {
    const engine = new Engine(this.create());
    const piece = new Uint8Array(PIECE_BYTES);
    const kept = this.engine.takeAll();
    let skipBytes = this.bytesOut;
    for (const chunk of kept) skipBytes += chunk.length;
    let compressedAt = 0;
    let error: Error | undefined;
    while (error === undefined && compressedAt < pieceStart + fedBytes) {
      const wanted = compressedAt < pieceStart ? Math.min(piece.length, pieceStart - compressedAt) : 1;
      const count = await input.read(piece, 0, wanted);
      if (count === 0) break;
      error = await engine.write(piece.subarray(0, count));
      if (error === undefined) compressedAt += count;
      skipBytes -= engine.skip(skipBytes);
    }
    engine.destroy();
    input.close();
    engine.putBefore(kept);
    this.engine = engine;
    return compressedAt;
  }

  private checkLimits(): void {
    if (this.bytesOut > this.bytesMax) {
      this.failLimit(`the capture decompresses to more than ${this.bytesMax} bytes`);
    } else if (this.bytesOut > DECOMPRESSION_RATIO_FROM_BYTES && this.bytesOut > this.input.bytesRead * this.ratioMax) {
      this.failLimit(`the capture decompresses to more than ${this.ratioMax} times its size`);
    }
  }

  private failLimit(problem: string): void {
    const where = `${this.name}: byte ${this.bytesOut}`;
    const remedy = 'if it can be trusted, decompress it first and read the plain file';
    this.failure = new CaptureError('limit', this.bytesOut, `${where}: ${problem}; ${remedy}`);
    this.engine.takeAll();
  }
}

/** One decompressor and the output it has made that nobody took yet. */
class Engine {
  hasEnded = false;
  outputBytes = 0;
  private readonly stream: Transform;
  private readonly output: Uint8Array[] = [];
  private failure: Error | undefined;
  private settle: ((error: Error | undefined) => void) | undefined;

  constructor(stream: Transform) {
    this.stream = stream;
    stream.on('data', (chunk: Uint8Array) => {
      this.output.push(chunk);
      this.outputBytes += chunk.length;
    });
    stream.on('error', (error) => {
      this.failure = error;
      this.finish();
    });
    stream.on('end', () => {
      this.hasEnded = true;
      this.finish();
    });
  }

  /** Feeds `piece`; resolves when it is used up (or the compressed data ended), with the error if it failed. */
  write(piece: Uint8Array): Promise<Error | undefined> {
    return this.run(() => this.stream.write(piece, () => this.finish()));
  }

  /** Feeds the last piece. */
  end(piece: Uint8Array): Promise<Error | undefined> {
    return this.run(() => this.stream.end(piece));
  }

  /** Moves up to `length` bytes of output to `target[at]`. */
  take(target: Uint8Array, at: number, length: number): number {
    const first = this.output[0];
    if (first === undefined) return 0;
    const count = Math.min(length, first.length);
    target.set(first.subarray(0, count), at);
    this.skip(count);
    return count;
  }

  /** Drops up to `length` bytes of output and says how many. */
  skip(length: number): number {
    let skipped = 0;
    for (let first = this.output[0]; first !== undefined && skipped < length; first = this.output[0]) {
      const count = Math.min(length - skipped, first.length);
      if (count === first.length) this.output.shift();
      else this.output[0] = first.subarray(count);
      skipped += count;
    }
    this.outputBytes -= skipped;
    return skipped;
  }

  takeAll(): Uint8Array[] {
    this.outputBytes = 0;
    return this.output.splice(0);
  }

  putBefore(chunks: readonly Uint8Array[]): void {
    this.output.unshift(...chunks);
    for (const chunk of chunks) this.outputBytes += chunk.length;
  }

  destroy(): void {
    this.stream.destroy();
  }

  private run(feed: () => void): Promise<Error | undefined> {
    if (this.failure !== undefined || this.hasEnded) return Promise.resolve(this.failure);
    return new Promise((resolve) => {
      this.settle = resolve;
      feed();
    });
  }

  private finish(): void {
    const settle = this.settle;
    this.settle = undefined;
    settle?.(this.failure);
  }
}
