/**
 * A second thread that reads a long file while this one takes in what it has read.
 *
 * To read 2 GB costs a second of a processor where all of it lies in memory, and several where a disk has to bring it: about as long as
 * it takes to make objects of it. The thread fills a ring of slots in shared memory, this one empties it:
 *
 *     thread    slot 0 ─► slot 1 ─► … ─► slot 4 ─► slot 0 once it is given back …      filled 6
 *     here                slot 2 is being looked at, slot 1 may be still               given back 1
 *
 * Before and behind each slot there is room to write: text-buffer.ts puts the end of the last slot, which begins what goes on in this one,
 * before it, and copies no more than that.
 *
 * Each waits for the other's number to grow. A slot that holds nothing is the end of the file. If the thread cannot start, fails or does
 * not answer in time, `next` says so, and the file is read on here, from where it was: nothing is lost but time.
 */
import { Worker } from 'node:worker_threads';
import { threadEntry } from '../base/thread-entry.ts';
import { LOOK_AHEAD_BYTES } from './text-buffer.ts';

/** Smaller files are read before a thread has started. */
export const AHEAD_BYTES_MIN = 256 * 1024 * 1024;

export const SLOT_COUNT = 5;
export const SLOT_BYTES = 1024 * 1024;
/** More than what is kept of a slot, but where one object is very long. */
export const SLOT_FREE_BYTES = 128 * 1024;
const SLOT_STRIDE = SLOT_FREE_BYTES + SLOT_BYTES + LOOK_AHEAD_BYTES;
/* Of the shared numbers: slots filled, slots given back, then the length of what is in each. */
export const FILLED = 0;
export const GIVEN_BACK = 1;
export const LENGTHS = 2;
/** Longer than a thread takes to start on a busy machine, and a disk to answer. */
const PATIENCE_MS = 5000;

export interface ReadAheadStart {
  readonly path: string;
  readonly fromByte: number;
  readonly numbers: Int32Array;
  /** The slots: `slotStart` says where. */
  readonly slots: Uint8Array;
}

export function slotStart(slot: number): number {
  return slot * SLOT_STRIDE + SLOT_FREE_BYTES;
}

export class ReadAhead {
  readonly #worker: Worker;
  readonly #numbers = new Int32Array(new SharedArrayBuffer(4 * (LENGTHS + SLOT_COUNT)));
  readonly #slots = new Uint8Array(new SharedArrayBuffer(SLOT_COUNT * SLOT_STRIDE));
  readonly #patienceMs: number;
  #taken = 0;
  #isOver = false;

  constructor(path: string, fromByte: number, patienceMs = PATIENCE_MS) {
    this.#patienceMs = patienceMs;
    const workerData: ReadAheadStart = { path, fromByte, numbers: this.#numbers, slots: this.#slots };
    this.#worker = new Worker(threadEntry(import.meta.url, 'read-ahead-worker'), { workerData, name: 'margay load' });
    this.#worker.on('error', () => {});
    this.#worker.unref();
  }

  /**
   * The next bytes, with SLOT_FREE_BYTES before them and LOOK_AHEAD_BYTES behind them that may be written, good until the next call but one;
   * empty at the end; `undefined` = read on by yourself, from behind what was given.
   */
  next(): Buffer | undefined {
    if (this.#taken > 1) {
      Atomics.store(this.#numbers, GIVEN_BACK, this.#taken - 1);
      Atomics.notify(this.#numbers, GIVEN_BACK);
    }
    if (!this.#isOver && Atomics.wait(this.#numbers, FILLED, this.#taken, this.#patienceMs) === 'timed-out')
      this.#isOver = true;
    if (this.#isOver) return undefined;
    const slot = this.#taken++ % SLOT_COUNT;
    return Buffer.from(this.#slots.buffer, slotStart(slot), this.#numbers[LENGTHS + slot]);
  }

  close(): void {
    void this.#worker.terminate();
  }
}
