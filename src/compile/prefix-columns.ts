/**
 * Prefixes of one IP version as columns of numbers.
 *
 * A cluster has an address for each of its pods, and packing walks over all of them in order of address, five times. As objects they
 * lie where their pods were read, so each step of such a walk waits for memory; as columns they are two arrays that are read in a row.
 *
 *     words      0a000000  0a000005  0a000006  c0000200       IPv4: one word a prefix; IPv6: four
 *     lengths           8        32        32        24
 */
import type { IpPrefix } from '../base/ip.ts';
import { sortedPlaces } from '../base/radix-sort.ts';
import { zeroWords } from '../base/words.ts';
import type { Prefix } from './plan.ts';

export class PrefixColumns {
  readonly version: 4 | 6;
  /** Length of a prefix of one address. */
  readonly wholeLength: number;
  /** Words of prefix i start at `i * stride`. */
  readonly stride: 1 | 4;
  readonly words: Int32Array;
  readonly lengths: Uint8Array;
  count = 0;

  /** `limit`: how many prefixes there may be. */
  constructor(version: 4 | 6, limit: number) {
    this.version = version;
    this.wholeLength = version === 4 ? 32 : 128;
    this.stride = version === 4 ? 1 : 4;
    this.words = zeroWords(limit * this.stride);
    this.lengths = new Uint8Array(limit);
  }

  add({ words, length }: Prefix): void {
    const at = this.count * this.stride;
    for (let i = 0; i < this.stride; i++) this.words[at + i] = words[i as 0 | 1 | 2 | 3];
    this.lengths[this.count++] = length;
  }

  /** One IPv4 address. */
  addWord(word: number): void {
    this.words[this.count] = word;
    this.lengths[this.count++] = 32;
  }

  at(i: number): Prefix {
    const { words, version } = this;
    const length = this.lengths[i]!;
    if (version === 4) return { version, words: [words[i]!, 0, 0, 0], length };
    const at = 4 * i;
    return { version, words: [words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!], length };
  }

  /** Whether a prefix is one address. */
  isWhole(i: number): boolean {
    return this.lengths[i] === this.wholeLength;
  }

  isSame(i: number, k: number): boolean {
    const { words, lengths, stride } = this;
    if (lengths[i] !== lengths[k]) return false;
    for (let word = 0; word < stride; word++) {
      if (words[i * stride + word] !== words[k * stride + word]) return false;
    }
    return true;
  }

  /** Whether all addresses of prefix `i` lie in `outer`. */
  isCovered(i: number, outer: IpPrefix): boolean {
    if (outer.length > this.lengths[i]!) return false;
    for (let word = 0, left = outer.length; left > 0; word++, left -= 32) {
      const mask = left >= 32 ? -1 : -1 << (32 - left);
      if (((this.words[i * this.stride + word]! ^ outer.words[word as 0 | 1 | 2 | 3]) & mask) !== 0) return false;
    }
    return true;
  }

  /** Puts prefix `from` in the place of `to`. */
  move(from: number, to: number): void {
    const { words, stride } = this;
    for (let word = 0; word < stride; word++) words[to * stride + word] = words[from * stride + word]!;
    this.lengths[to] = this.lengths[from]!;
  }

  /** Places in order of address, then length: a prefix comes before all that it contains; equal ones as they came. */
  sortedPlaces(): Int32Array {
    return this.version === 4 ? this.#sortedPlaces4() : this.#sortedPlaces6();
  }

  /** These prefixes in the order of `places`. */
  inOrder(places: Int32Array): PrefixColumns {
    const ordered = new PrefixColumns(this.version, places.length);
    const { words, lengths } = ordered;
    if (this.stride === 1) for (let i = 0; i < places.length; i++) words[i] = this.words[places[i]!]!;
    else for (let i = 0; i < words.length; i++) words[i] = this.words[4 * places[i >>> 2]! + (i & 3)]!;
    for (let i = 0; i < places.length; i++) lengths[i] = this.lengths[places[i]!]!;
    ordered.count = places.length;
    return ordered;
  }

  /** By address as numbers; the few that share an address, by length. */
  #sortedPlaces4(): Int32Array {
    const { words, lengths } = this;
    const places = sortedPlaces(new Uint32Array(words.buffer, words.byteOffset, this.count));
    for (let from = 0; from < places.length; ) {
      let to = from + 1;
      while (to < places.length && words[places[to]!] === words[places[from]!]) to++;
      if (to - from > 1) places.subarray(from, to).sort((a, b) => lengths[a]! - lengths[b]! || a - b);
      from = to;
    }
    return places;
  }

  #sortedPlaces6(): Int32Array {
    const words = new Uint32Array(this.words.buffer, this.words.byteOffset, 4 * this.count);
    const places = new Int32Array(this.count);
    for (let i = 0; i < places.length; i++) places[i] = i;
    return places.sort((a, b) => {
      for (let word = 0; word < 4; word++) {
        const difference = words[4 * a + word]! - words[4 * b + word]!;
        if (difference !== 0) return difference;
      }
      return this.lengths[a]! - this.lengths[b]! || a - b;
    });
  }
}
