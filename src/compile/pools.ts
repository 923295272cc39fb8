/**
 * The pools of a buffer: texts and lists of ints, each stored once.
 *
 * A big cluster has a million of them, so they are looked up by hash and content where they lie, and no key is made of them:
 * a map from text to number holds the texts twice and costs more than all the rest of packing.
 */
import { type Words, zeroWords } from '../base/words.ts';

/** 1 + number by hash, open addressing, at most half full. */
class Slots {
  #slots: Int32Array = new Int32Array(1024);
  #hashes: Int32Array = new Int32Array(512);
  count = 0;

  /** The number with this hash for which `isIt` holds, or -1. */
  find(hash: number, isIt: (number: number) => boolean): number {
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = this.#slots[slot]! - 1;
      if (number < 0) return -1;
      if (this.#hashes[number] === hash && isIt(number)) return number;
    }
  }

  /** Gives the next number to something that is not there yet. */
  add(hash: number): number {
    const number = this.count++;
    if (number === this.#hashes.length) this.#grow();
    this.#hashes[number] = hash;
    this.#place(number);
    return number;
  }

  /** Gives the next number to something that will not be looked for. */
  addUnfindable(): number {
    const number = this.count++;
    if (number === this.#hashes.length) this.#grow();
    this.#hashes[number] = UNFINDABLE;
    return number;
  }

  #grow(): void {
    const hashes = zeroWords(2 * this.#hashes.length);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    this.#slots = zeroWords(2 * hashes.length);
    for (let number = 0; number < this.count - 1; number++) this.#place(number);
  }

  #place(number: number): void {
    if (this.#hashes[number] === UNFINDABLE) return;
    const mask = this.#slots.length - 1;
    let slot = this.#hashes[number]! & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = number + 1;
  }
}

/** A hash that `stir` never gives. */
const UNFINDABLE = 0x7fff_ffff;

function stir(hash: number): number {
  const stirred = hash ^ (hash >>> 15) ^ (hash >>> 23);
  return stirred === UNFINDABLE ? 0 : stirred;
}

/** Texts by number, as UTF-8. */
export class TextPool {
  readonly #slots = new Slots();
  #bytes: Uint8Array = new Uint8Array(4096);
  #end = 0;
  /** By number. */
  #starts: Int32Array = new Int32Array(1024);
  #lengths: Int32Array = new Int32Array(1024);

  get count(): number {
    return this.#slots.count;
  }

  /** The number of `text`: new (`count` before the call), or that of the same text before. */
  number(text: string): number {
    const from = this.#end;
    const to = this.#write(text, from);
    const bytes = this.#bytes;
    let hash = 0x811c9dc5 | 0;
    for (let at = from; at < to; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
    hash = stir(hash);
    const known = this.#slots.find(hash, (number) => this.#isText(number, from, to));
    if (known >= 0) return known;
    this.#end = to;
    return this.#note(this.#slots.add(hash), from, to - from);
  }

  /** A new number for a text that is unlike any other, as names and UIDs of pods are: it is not looked for, nor found later. */
  add(text: string): number {
    const from = this.#end;
    this.#end = this.#write(text, from);
    return this.#note(this.#slots.addUnfindable(), from, this.#end - from);
  }

  #note(number: number, start: number, length: number): number {
    if (number === this.#starts.length) {
      const grown = (words: Int32Array): Int32Array => {
        const more = zeroWords(2 * words.length);
        more.set(words);
        return more;
      };
      this.#starts = grown(this.#starts);
      this.#lengths = grown(this.#lengths);
    }
    this.#starts[number] = start;
    this.#lengths[number] = length;
    return number;
  }

  /** Writes the text behind the others; gives where it ends. */
  #write(text: string, from: number): number {
    const { length } = text;
    if (from + 3 * length > this.#bytes.length) {
      const bytes = new Uint8Array(zeroWords((Math.max(2 * this.#bytes.length, from + 3 * length) + 3) >>> 2).buffer);
      bytes.set(this.#bytes);
      this.#bytes = bytes;
    }
    const bytes = this.#bytes;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return from + Buffer.from(bytes.buffer).write(text, from, 'utf8');
      bytes[from + i] = code;
    }
    return from + length;
  }

  #isText(number: number, from: number, to: number): boolean {
    if (this.#lengths[number] !== to - from) return false;
    const bytes = this.#bytes;
    for (let at = from, own = this.#starts[number]!; at < to; at++, own++) if (bytes[at] !== bytes[own]) return false;
    return true;
  }

  lengthOf(number: number): number {
    return this.#lengths[number]!;
  }

  /** The bytes of one text as whole words. */
  wordsOf(number: number): Int32Array {
    const length = this.#lengths[number]!;
    const words = new Int32Array((length + 3) >>> 2);
    const start = this.#starts[number]!;
    new Uint8Array(words.buffer).set(this.#bytes.subarray(start, start + length));
    return words;
  }

  /** Offset and length in bytes of each text, in turn. */
  index(): Int32Array {
    const index = zeroWords(2 * this.count);
    for (let number = 0; number < this.count; number++) {
      index[2 * number] = this.#starts[number]!;
      index[2 * number + 1] = this.#lengths[number]!;
    }
    return index;
  }

  /** The bytes of all texts as whole words. */
  words(): Int32Array {
    const words = zeroWords((this.#end + 3) >>> 2);
    new Uint8Array(words.buffer).set(this.#bytes.subarray(0, this.#end));
    return words;
  }
}

/** Longer lists are stored as they come. */
const SHARED_LENGTH_MAX = 64;

/** Lists of ints, appended to `words`; short equal ones once. */
export class IntPool {
  readonly #words: Words;
  readonly #slots = new Slots();
  #starts: Int32Array = new Int32Array(1024);
  #lengths = new Uint8Array(1024);

  constructor(words: Words) {
    this.#words = words;
  }

  /** Word offset of `values`. */
  offset(values: ArrayLike<number>): number {
    const { length } = values;
    if (length > SHARED_LENGTH_MAX) return this.#words.append(values);
    let hash = 0x811c9dc5 | 0;
    for (let i = 0; i < length; i++) {
      hash = Math.imul(hash ^ values[i]!, 0x01000193);
      hash ^= hash >>> 15;
    }
    hash = stir(hash);
    const known = this.#slots.find(hash, (number) => this.#isList(number, values));
    if (known >= 0) return this.#starts[known]!;
    const number = this.#slots.add(hash);
    if (number === this.#starts.length) this.#grow();
    this.#lengths[number] = length;
    const start = this.#words.append(values);
    this.#starts[number] = start;
    return start;
  }

  #grow(): void {
    const starts = zeroWords(2 * this.#starts.length);
    const lengths = new Uint8Array(starts.length);
    starts.set(this.#starts);
    lengths.set(this.#lengths);
    this.#starts = starts;
    this.#lengths = lengths;
  }

  #isList(number: number, values: ArrayLike<number>): boolean {
    if (this.#lengths[number] !== values.length) return false;
    const start = this.#starts[number]!;
    const words = this.#words.room;
    for (let i = 0; i < values.length; i++) if (words[start + i] !== values[i]) return false;
    return true;
  }
}
