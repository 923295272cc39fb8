/**
 * Arrays of int32 words for building tables on the control path.
 *
 * Large ones lie in shared memory although nobody shares them: V8 counts the memory of ordinary buffers as pressure on its heap, and
 * every 64 MB or so of it brings a full collection. With a cluster of 250 000 pods on the heap that is a second each, and packing
 * allocates a gigabyte. Shared memory is freed by the collector all the same, but does not call it.
 */

/** From how many words on an array lies in shared memory. */
const SHARED_WORDS_MIN = 2048;

/** `count` words, all zero. */
export function zeroWords(count: number): Int32Array {
  return new Int32Array(count < SHARED_WORDS_MIN ? new ArrayBuffer(count * 4) : new SharedArrayBuffer(count * 4));
}

/** More words than bound ones have room for. */
export class NoRoomError extends Error {
  override readonly name = 'NoRoomError';

  constructor() {
    super('no room is left for more words');
  }
}

/** A growing array of words. */
export class Words {
  #words: Int32Array;
  #length = 0;
  #onWrite: ((start: number, end: number) => void) | undefined;

  constructor(capacity = 256) {
    this.#words = zeroWords(capacity);
  }

  get length(): number {
    return this.#length;
  }

  push(...values: readonly number[]): void {
    this.append(values);
  }

  /** Appends `values` and returns the word offset of the first. */
  append(values: ArrayLike<number>): number {
    const start = this.#length;
    this.#reserve(values.length);
    this.#words.set(values, start);
    this.#length += values.length;
    return start;
  }

  /** Makes room for `count` words, which are zero, and returns the word offset of the first; write them by `set` or `room`. */
  extend(count: number): number {
    const start = this.#length;
    this.#reserve(count);
    this.#length += count;
    return start;
  }

  /** The words themselves, longer than what is in use; valid until the next push. */
  get room(): Int32Array {
    return this.#words;
  }

  at(index: number): number {
    return this.#words[index]!;
  }

  set(index: number, value: number): void {
    this.#words[index] = value;
    this.#onWrite?.(index, index + 1);
  }

  /** Tells of words that were written in `room` and had been there before. */
  wrote(start: number, end: number): void {
    this.#onWrite?.(start, end);
  }

  /** The same as `set` for a word that leads other threads to what was written before it. */
  release(index: number, value: number): void {
    Atomics.store(this.#words, index, value);
    this.#onWrite?.(index, index + 1);
  }

  /** The words so far; valid until the next push. */
  view(): Int32Array {
    return this.#words.subarray(0, this.#length);
  }

  /**
   * From here on the words lie in `room`, which holds those there are so far, and do not grow beyond it: a `NoRoomError` says so.
   * `onWrite` is told which words are written; of those that `extend` makes, once for all that is written there at once.
   */
  bind(room: Int32Array, onWrite: (start: number, end: number) => void): void {
    this.#words = room;
    this.#onWrite = onWrite;
  }

  #reserve(count: number): void {
    this.#onWrite?.(this.#length, this.#length + count);
    if (this.#length + count <= this.#words.length) return;
    if (this.#onWrite !== undefined) throw new NoRoomError();
    const next = zeroWords(Math.max(this.#length + count, this.#words.length * 2));
    next.set(this.view());
    this.#words = next;
  }
}
