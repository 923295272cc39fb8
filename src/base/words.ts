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

/** A growing array of words. */
export class Words {
  #words: Int32Array;
  #length = 0;

  constructor(capacity = 256) {
    this.#words = zeroWords(capacity);
  }

  get length(): number {
    return this.#length;
  }

  push(...values: readonly number[]): void {
    this.#reserve(values.length);
    for (const value of values) this.#words[this.#length++] = value;
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
  }

  /** The words so far; valid until the next push. */
  view(): Int32Array {
    return this.#words.subarray(0, this.#length);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#words.length) return;
    const next = zeroWords(Math.max(this.#length + count, this.#words.length * 2));
    next.set(this.view());
    this.#words = next;
  }
}
