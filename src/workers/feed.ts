/**
 * How far workers that go through the same capture side by side may go, and the bytes of captures that only one thread can read.
 *
 * Problem. Workers that run ahead of the slowest pile up what cannot be printed yet; and an interruption must end all of them after the
 * same packet, or the answer is that of no capture.
 *
 * Idea. Reading goes in steps: one `fill` of a file that every worker reads for itself, or one chunk of a ring that the main thread
 * fills (standard input, compressed captures). The main thread grants steps, FEED_STEPS ahead of what the slowest worker
 * has reported, and nobody takes a step that is not granted. To stop, it grants no more: all workers end at the last granted
 * step. Reports are messages, so a main thread that is busy printing grants late and workers wait for it.
 *
 *   control words   0 steps granted · 1 FEED_RUNS or FEED_ENDS · 2… bytes in each slot of the ring, 0 = end of the file, -1 = an error
 *
 * A worker sleeps in `Atomics.wait` between steps. The text of an error comes as a message ahead of its slot.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { ByteSource } from '../packets/byte-source.ts';
import { CaptureError, type CaptureErrorKind, READ_CHUNK_BYTES } from '../packets/source.ts';

/** Steps granted ahead of the slowest worker, and slots of the ring. */
const FEED_STEPS = 8;

const GRANTED = 0;
const STATE = 1;
const SLOTS = 2;
const FEED_ENDS = 1;
const FILE_ENDS = 0;
const FILE_FAILS = -1;

/** Memory of a feed, shared by all threads. */
export interface FeedMemory {
  readonly control: SharedArrayBuffer;
  /** FEED_STEPS slots of READ_CHUNK_BYTES; absent where workers read the files themselves. */
  readonly ring?: SharedArrayBuffer;
}

/** A CaptureError as a message. */
export interface FeedError {
  readonly kind: CaptureErrorKind;
  readonly offset: number;
  readonly message: string;
}

/** The main thread's side. */
export class Feed {
  readonly memory: FeedMemory;
  readonly #control: Int32Array;
  readonly #ring: Uint8Array | undefined;
  readonly #reported: number[];
  /** Steps of the ring that are filled. */
  #filled = 0;
  #waiting: (() => void) | undefined;

  constructor(workers: number, hasRing: boolean) {
    const control = new SharedArrayBuffer((SLOTS + FEED_STEPS) * 4);
    const ring = hasRing ? new SharedArrayBuffer(FEED_STEPS * READ_CHUNK_BYTES) : undefined;
    this.memory = ring === undefined ? { control } : { control, ring };
    this.#control = new Int32Array(control);
    this.#ring = ring === undefined ? undefined : new Uint8Array(ring);
    this.#reported = new Array(workers).fill(0);
    if (!hasRing) this.#grant(FEED_STEPS);
  }

  /** Worker `index` has done so many steps. */
  report(index: number, steps: number): void {
    this.#reported[index] = steps;
    const slowest = Math.min(...this.#reported);
    if (this.#ring === undefined) this.#grant(slowest + FEED_STEPS);
    else if (this.#filled - slowest < FEED_STEPS) this.#wake();
  }

  /** No further step: workers end where they are allowed to go already. */
  end(): void {
    this.#control[STATE] = FEED_ENDS;
    Atomics.notify(this.#control, GRANTED);
    this.#wake();
  }

  get hasEnded(): boolean {
    return this.#control[STATE] === FEED_ENDS;
  }

  /** Resolves when a slot of the ring is free, or the feed has ended. */
  async slot(): Promise<void> {
    while (this.#filled - Math.min(...this.#reported) >= FEED_STEPS && this.#control[STATE] !== FEED_ENDS) {
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
  }

  /**
   * Reads the next chunk of `source` into the free slot and hands it to the workers; the bytes read, 0 at the end.
   *
   * @param isEnough  resolves to 0 when nobody wants more of this file, while the source may still let us wait
   */
  async fill(source: ByteSource, isEnough: Promise<number>): Promise<number> {
    const slot = this.#filled % FEED_STEPS;
    // A copy: nobody but us must see bytes that a slow source writes late, and Node.js's streams write into no shared memory.
    const piece = this.#scratch;
    let count = source.read(piece, 0, READ_CHUNK_BYTES);
    if (typeof count !== 'number') count = await Promise.race([count, isEnough]);
    if (this.#control[STATE] === FEED_ENDS) return 0;
    this.#ring!.set(piece.subarray(0, count), slot * READ_CHUNK_BYTES);
    this.#publish(count === 0 ? FILE_ENDS : count);
    return count;
  }

  /** The file ends in an error, whose FeedError has been posted to every worker. */
  fail(): void {
    this.#publish(FILE_FAILS);
  }

  readonly #scratch = new Uint8Array(READ_CHUNK_BYTES);

  #publish(length: number): void {
    this.#control[SLOTS + (this.#filled % FEED_STEPS)] = length;
    this.#filled++;
    this.#grant(this.#filled);
  }

  #grant(steps: number): void {
    if (this.#control[STATE] === FEED_ENDS) return;
    Atomics.store(this.#control, GRANTED, steps);
    Atomics.notify(this.#control, GRANTED);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }
}

/** A worker's side. */
export class FeedGate {
  /** Steps taken. */
  steps = 0;
  /** The feed ended before the captures did. */
  hasEnded = false;
  readonly #control: Int32Array;

  constructor(memory: FeedMemory) {
    this.#control = new Int32Array(memory.control);
  }

  /** Waits until the next step is granted; false: there is none. `beforeWait` is called once if it has to wait. */
  enter(beforeWait: () => void): boolean {
    let isFirst = true;
    for (;;) {
      const granted = Atomics.load(this.#control, GRANTED);
      if (granted > this.steps) return true;
      if (Atomics.load(this.#control, STATE) === FEED_ENDS) {
        this.hasEnded = true;
        return false;
      }
      if (isFirst) beforeWait();
      isFirst = false;
      // The bound is for a main thread that ended the feed between our two loads.
      Atomics.wait(this.#control, GRANTED, granted, 100);
    }
  }

  /** Nobody is to go on, whatever was granted. */
  get isEnding(): boolean {
    return Atomics.load(this.#control, STATE) === FEED_ENDS;
  }

  /** What lies in the ring's slot of the next step. */
  length(): number {
    return this.#control[SLOTS + (this.steps % FEED_STEPS)]!;
  }
}

/** The bytes of one file out of the ring. */
export class RingSource implements ByteSource {
  bytesRead = 0;
  readonly sizeBytes = undefined;
  readonly #gate: FeedGate;
  readonly #ring: Uint8Array;
  readonly #port: MessagePort;
  readonly #beforeWait: () => void;
  #offset = 0;
  #hasEnded = false;

  /** @param port  where the FeedErrors come */
  constructor(gate: FeedGate, memory: FeedMemory, port: MessagePort, beforeWait: () => void) {
    this.#gate = gate;
    this.#ring = new Uint8Array(memory.ring!);
    this.#port = port;
    this.#beforeWait = beforeWait;
  }

  read(target: Uint8Array, at: number, length: number): number {
    const gate = this.#gate;
    if (!gate.enter(this.#beforeWait)) return 0;
    const available = gate.length();
    if (available <= 0) {
      gate.steps++;
      this.#hasEnded = true;
      if (available === FILE_FAILS) throw this.#error();
      return 0;
    }
    const count = Math.min(length, available - this.#offset);
    const first = (gate.steps % FEED_STEPS) * READ_CHUNK_BYTES + this.#offset;
    target.set(this.#ring.subarray(first, first + count), at);
    this.#offset += count;
    this.bytesRead += count;
    if (this.#offset === available) {
      this.#offset = 0;
      gate.steps++;
    }
    return count;
  }

  /** Passes over what is left of the file, which a reader that met damage leaves behind; `onStep` is called after each step. */
  skip(onStep: () => void): void {
    const gate = this.#gate;
    while (!this.#hasEnded && gate.enter(onStep)) {
      const available = gate.length();
      this.#hasEnded = available <= 0;
      if (available === FILE_FAILS) this.#error();
      gate.steps++;
      onStep();
    }
  }

  close(): void {}

  #error(): CaptureError {
    const { message } = receiveMessageOnPort(this.#port) as { message: FeedError };
    return new CaptureError(message.kind, message.offset, message.message);
  }
}
