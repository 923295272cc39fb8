/**
 * The buffer that a reader parses in, and the part of a reader that all formats share.
 *
 *   bytes   | parsed already | whole records, then a part of one | free |
 *           0             position                              end   capacity
 *
 * Filling moves the unparsed rest to the front and reads behind it. The buffer holds one read and the largest record;
 * for a pcapng block beyond that it grows once to the block's size, which has its own bound.
 */

import { WorkerFault } from '../base/thread-entry.ts';
import type { ByteSource } from './byte-source.ts';
import { reasonOf } from './byte-source.ts';
import type { CaptureErrorKind, CaptureFormat, CaptureReader, RecordBatch } from './source.ts';
import { CaptureError, READ_BUFFER_BYTES, READ_CHUNK_BYTES } from './source.ts';

export class RecordBuffer {
  readonly source: ByteSource;
  readonly name: string;
  bytes: Uint8Array;
  view: DataView;
  position = 0;
  end = 0;
  /** Offset in the (decompressed) capture of `bytes[0]`. */
  base = 0;
  hasEnded = false;

  constructor(name: string, source: ByteSource) {
    this.name = name;
    this.source = source;
    this.bytes = new Uint8Array(READ_BUFFER_BYTES);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Offset in the capture of `bytes[index]`. */
  offsetOf(index: number): number {
    return this.base + index;
  }

  /** Goes on in `memory`; what the buffer holds moves along. Memory that is too small is left alone. */
  moveTo(memory: Uint8Array): void {
    if (memory.length < this.bytes.length) return;
    memory.set(this.bytes.subarray(0, this.end));
    this.bytes = memory;
    this.view = new DataView(memory.buffer, memory.byteOffset, memory.length);
  }

  /** Frees the parsed part and makes room so that `bytesNeeded` from `position` on fit. */
  makeRoom(bytesNeeded: number): void {
    const rest = this.end - this.position;
    if (bytesNeeded > this.bytes.length) {
      const larger = new Uint8Array(bytesNeeded + READ_CHUNK_BYTES);
      larger.set(this.bytes.subarray(this.position, this.end));
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    } else if (this.position > 0) {
      this.bytes.copyWithin(0, this.position, this.end);
    }
    this.base += this.position;
    this.position = 0;
    this.end = rest;
  }

  /** Reads once behind the unparsed rest; true if bytes came. */
  read(): boolean | Promise<boolean> {
    const length = Math.min(READ_CHUNK_BYTES, this.bytes.length - this.end);
    const count = this.source.read(this.bytes, this.end, length);
    return typeof count === 'number' ? this.accept(count) : count.then((arrived) => this.accept(arrived));
  }

  private accept(count: number): boolean {
    this.end += count;
    if (count === 0) this.hasEnded = true;
    return count > 0;
  }
}

/** What all formats do alike: fill, fail, count. */
export abstract class BufferedReader implements CaptureReader {
  abstract readonly format: CaptureFormat;
  abstract readonly linkType: number | undefined;
  abstract readonly lostPackets: number;
  error: CaptureError | undefined;
  packetsRead = 0;
  readonly tlsSecrets: string[] = [];
  protected readonly buffer: RecordBuffer;
  /** Bytes from `position` on that the record found there takes; set by `next` when it is not all there yet. */
  protected neededBytes = 0;

  constructor(buffer: RecordBuffer) {
    this.buffer = buffer;
  }

  abstract next(batch: RecordBatch): number;

  interfaceName(_number: number): string | undefined {
    return undefined;
  }

  /** The error for a file that ends `restBytes` into what stands at `position`. */
  protected abstract truncation(restBytes: number): string;

  get name(): string {
    return this.buffer.name;
  }

  get bytesRead(): number {
    return this.buffer.source.bytesRead;
  }

  get sizeBytes(): number | undefined {
    return this.buffer.source.sizeBytes;
  }

  fill(): boolean | Promise<boolean> {
    const buffer = this.buffer;
    if (this.error !== undefined || buffer.hasEnded) return false;
    buffer.makeRoom(this.neededBytes);
    // Full of records that nobody has taken yet: nothing to read, and the end is not reached either.
    if (buffer.end === buffer.bytes.length) return true;
    try {
      const more = buffer.read();
      if (typeof more === 'boolean') return more || this.finish();
      return more.then(
        (arrived) => arrived || this.finish(),
        (error) => this.failWith(error),
      );
    } catch (error) {
      return this.failWith(error);
    }
  }

  readInto(memory: Uint8Array): void {
    this.buffer.moveTo(memory);
  }

  close(): void {
    this.buffer.hasEnded = true;
    this.buffer.source.close();
  }

  /** Ends reading with an error about what stands at `position`. Returns false, which is what `fill` then says. */
  protected fail(kind: CaptureErrorKind, problem: string): false {
    const offset = this.buffer.offsetOf(this.buffer.position);
    const where = `${this.name}: byte ${offset}`;
    const count = this.packetsRead === 1 ? '1 packet' : `${this.packetsRead} packets`;
    this.error ??= new CaptureError(kind, offset, `${where}: ${problem}; the ${count} before it can be used`);
    return false;
  }

  private finish(): false {
    const restBytes = this.buffer.end - this.buffer.position;
    return restBytes > 0 ? this.fail('truncated', this.truncation(restBytes)) : false;
  }

  private failWith(error: unknown): false {
    // No fault of the capture's: nobody can say how much of it there was.
    if (error instanceof WorkerFault) throw error;
    this.buffer.hasEnded = true;
    if (error instanceof CaptureError) this.error ??= error;
    else this.fail('io', reasonOf(error));
    return false;
  }
}
