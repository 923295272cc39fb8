/**
 * A compressed capture file, decompressed by a thread of its own ahead of the reader, so that both work at the same time.
 *
 * The thread does what DecompressingSource does in place, errors and their offsets included, and sends chunks whose memory goes back to it
 * when they are used up: UNPACKED_CHUNKS of them go round, so it is never further ahead than that.
 */
import { Worker } from 'node:worker_threads';
import { threadEntry, WorkerFault } from '../base/thread-entry.ts';
import type { ByteSource } from './byte-source.ts';
import type { Compression, DecompressionLimits } from './gzip.ts';
import { CaptureError, type CaptureErrorKind, READ_CHUNK_BYTES } from './source.ts';

const UNPACKED_CHUNKS = 8;

/** What the thread is told. */
export interface UnpackStart {
  readonly path: string;
  readonly compression: Compression;
  readonly limits: DecompressionLimits;
  readonly buffers: readonly ArrayBuffer[];
}

/** What the thread sends. */
export interface UnpackedChunk {
  readonly buffer: ArrayBuffer;
  /** Bytes in `buffer`; 0 = the end. */
  readonly length: number;
  /** Compressed bytes read so far. */
  readonly bytesRead: number;
  /** What stopped it behind these bytes. */
  readonly error: { readonly kind: CaptureErrorKind; readonly offset: number; readonly message: string } | undefined;
}

export class UnpackAhead implements ByteSource {
  bytesRead = 0;
  readonly sizeBytes: number | undefined;
  readonly #worker: Worker;
  readonly #chunks: UnpackedChunk[] = [];
  #offset = 0;
  #fault: WorkerFault | undefined;
  #isDone = false;
  #wake: () => void = () => {};

  constructor(path: string, compression: Compression, limits: DecompressionLimits, sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    const buffers = Array.from({ length: UNPACKED_CHUNKS }, () => new ArrayBuffer(READ_CHUNK_BYTES));
    const start: UnpackStart = { path, compression, limits, buffers };
    this.#worker = new Worker(threadEntry(import.meta.url, 'unpack-worker'), {
      workerData: start,
      transferList: buffers,
      name: 'margay decompressor',
    });
    this.#worker.on('message', (chunk: UnpackedChunk) => {
      this.#isDone = chunk.length === 0 || chunk.error !== undefined;
      this.#chunks.push(chunk);
      this.#wake();
    });
    this.#worker.on('error', (error) => this.#fail(error instanceof Error ? error.message : String(error)));
    this.#worker.on('exit', (code) => {
      if (!this.#isDone) this.#fail(`it ended by itself with code ${code}`);
    });
  }

  async read(target: Uint8Array, at: number, length: number): Promise<number> {
    while (this.#chunks.length === 0) {
      if (this.#fault !== undefined) throw this.#fault;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const chunk = this.#chunks[0]!;
    this.bytesRead = chunk.bytesRead;
    const count = Math.min(length, chunk.length - this.#offset);
    // The end stays where it is, for who asks again.
    if (count === 0) return this.#end(chunk);
    target.set(new Uint8Array(chunk.buffer, this.#offset, count), at);
    this.#offset += count;
    if (this.#offset === chunk.length && chunk.error === undefined) {
      this.#offset = 0;
      this.#chunks.shift();
      this.#worker.postMessage(chunk.buffer, [chunk.buffer]);
    }
    return count;
  }

  close(): void {
    this.#isDone = true;
    void this.#worker.terminate();
  }

  #end({ error }: UnpackedChunk): 0 {
    if (error !== undefined) throw new CaptureError(error.kind, error.offset, error.message);
    return 0;
  }

  #fail(reason: string): void {
    this.#fault ??= new WorkerFault(`the thread that decompresses failed: ${reason}; the answer is incomplete`);
    this.#wake();
  }
}
