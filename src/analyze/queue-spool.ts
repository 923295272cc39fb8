/**
 * What attempts at jobs have found so far, on the submitter's disk. Nothing of it counts before the attempt is the one that completed its job;
 * what a worker left that died, or came too late, is thrown away as a whole.
 */
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { QueueError } from './queue-run.ts';
import { FRAME_BYTES_MAX } from './queue-wire.ts';

export class SpoolFolder {
  #folder: string | undefined;
  #count = 0;

  create(): AttemptSpool {
    this.#folder ??= mkdtempSync(join(tmpdir(), 'margay-queue-'));
    return new AttemptSpool(join(this.#folder, `attempt-${this.#count++}`));
  }

  close(): void {
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }
}

export class AttemptSpool {
  /** Pieces, which come in order; one that came twice is dropped. */
  pieces = 0;
  bytes = 0;
  readonly #descriptor: number;
  readonly #hash = createHash('sha256');
  #isClosed = false;
  #digest: string | undefined;

  constructor(path: string) {
    this.#descriptor = openSync(path, 'wx+', 0o600);
    // Nobody else needs its name, and it is gone when we are.
    unlinkSync(path);
  }

  add(number: number, bytes: Uint8Array): void {
    if (number !== this.pieces || this.#isClosed || this.#digest !== undefined) return;
    for (let at = 0; at < bytes.length; )
      at += writeSync(this.#descriptor, bytes, at, bytes.length - at, this.bytes + at);
    this.#hash.update(bytes);
    this.bytes += bytes.length;
    this.pieces++;
  }

  /** SHA-256 of all bytes; nothing is added from then on. */
  digest(): string {
    this.#digest ??= this.#hash.digest('hex');
    return this.#digest;
  }

  /** Frames without their length (queue-wire.ts). Throws `QueueError` where they do not fill the file. */
  *frames(): Generator<Uint8Array> {
    const head = Buffer.alloc(4);
    for (let at = 0; at < this.bytes; ) {
      const length = readSync(this.#descriptor, head, 0, 4, at) === 4 ? head.readUInt32LE() : FRAME_BYTES_MAX + 1;
      if (length > FRAME_BYTES_MAX || at + 4 + length > this.bytes)
        throw new QueueError('what a worker sent is damaged');
      const frame = Buffer.allocUnsafe(length);
      for (let read = 0; read < length; ) read += readSync(this.#descriptor, frame, read, length - read, at + 4 + read);
      yield frame;
      at += 4 + length;
    }
  }

  close(): void {
    if (!this.#isClosed) closeSync(this.#descriptor);
    this.#isClosed = true;
  }
}
