/**
 * Numbers equal arrays of words alike, by hash and comparison: joining thousands of words to text, as a map key, cost many times more.
 *
 * The words are copied into one growing array, and numbers are found by open addressing: an object for each of a hundred thousand small arrays, and a list for
 * each hash, kept the collector busy for longer than all comparisons take.
 */
import { Words, zeroWords } from './words.ts';

export class WordInterner {
  readonly #words = new Words(64);
  /** 1 + number by hash, at most half full. */
  #slots: Int32Array = zeroWords(16);
  /** By number. */
  #hashes: Int32Array = zeroWords(8);
  #starts: Int32Array = zeroWords(8);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The number of `words`, new (`count` before the call) or that of an equal array seen before. */
  number(words: Int32Array): number {
    const hash = hashWords(words);
    const mask = this.#slots.length - 1;
    for (let slot = firstSlot(hash, mask); this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const number = this.#slots[slot]! - 1;
      if (this.#hashes[number] === hash && this.#isSame(number, words)) return number;
    }
    if (this.#count === this.#hashes.length) this.#grow();
    const number = this.#count++;
    this.#hashes[number] = hash;
    this.#starts[number] = this.#words.append(words);
    this.#place(number);
    return number;
  }

  /** The words of a number. */
  array(number: number): Int32Array {
    return this.#words.room.subarray(this.#starts[number]!, this.#endOf(number));
  }

  #endOf(number: number): number {
    return number + 1 < this.#count ? this.#starts[number + 1]! : this.#words.length;
  }

  #isSame(number: number, words: Int32Array): boolean {
    const start = this.#starts[number]!;
    if (this.#endOf(number) - start !== words.length) return false;
    const { room } = this.#words;
    for (let i = 0; i < words.length; i++) if (room[start + i] !== words[i]) return false;
    return true;
  }

  #grow(): void {
    const [hashes, starts] = [zeroWords(2 * this.#hashes.length), zeroWords(2 * this.#hashes.length)];
    hashes.set(this.#hashes);
    starts.set(this.#starts);
    this.#hashes = hashes;
    this.#starts = starts;
    this.#slots = zeroWords(2 * hashes.length);
    for (let number = 0; number < this.#count; number++) this.#place(number);
  }

  #place(number: number): void {
    const mask = this.#slots.length - 1;
    let slot = firstSlot(this.#hashes[number]!, mask);
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = number + 1;
  }
}

function firstSlot(hash: number, mask: number): number {
  return (hash ^ (hash >>> 16)) & mask;
}

/** FNV-1a over words, as int32. */
function hashWords(words: Int32Array): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = 0; i < words.length; i++) hash = Math.imul(hash ^ words[i]!, 0x01000193) ^ (hash >>> 15);
  return hash;
}
