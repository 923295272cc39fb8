/** A growing array of int32 words, for building tables on the control path. */
export class Words {
  #words: Int32Array;
  #length = 0;

  constructor(capacity = 256) {
    this.#words = new Int32Array(capacity);
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
    const next = new Int32Array(Math.max(this.#length + count, this.#words.length * 2));
    next.set(this.view());
    this.#words = next;
  }
}
