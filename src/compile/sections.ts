/** The growing sections of one buffer, with the pools they share: strings, ints and prefixes. */
import { Words } from '../base/words.ts';
import { checksumWords } from '../tables/checksum.ts';
import {
  HEADER_CHECKSUM,
  HEADER_DIRECTORY,
  HEADER_HAS_ROOM,
  HEADER_LENGTH,
  HEADER_LOCAL_NODE,
  HEADER_WORDS,
  LAYOUT_VERSION,
  MAGIC,
  PREFIX_SIZE,
  RECORD_WORDS,
  SECTION_COUNT,
  SECTION_INTS,
  SECTION_PREFIXES,
  SECTION_STRING_BYTES,
  SECTION_STRINGS,
} from '../tables/layout.ts';
import type { Prefix } from './plan.ts';
import { IntPool, TextPool } from './pools.ts';

export class Sections {
  readonly #sections: readonly Words[] = Array.from({ length: SECTION_COUNT }, () => new Words());
  readonly #texts = new TextPool();
  readonly #names = new Map<string, number>();
  readonly #ints = new IntPool(this.#sections[SECTION_INTS]!);
  #bound: SharedArrayBuffer | undefined;

  constructor() {
    this.string('');
  }

  section(section: number): Words {
    return this.#sections[section]!;
  }

  /** Number of records in `section`. */
  count(section: number): number {
    return this.section(section).length / RECORD_WORDS[section]!;
  }

  /** Appends one record and returns its index. */
  record(section: number, words: readonly number[]): number {
    const index = this.count(section);
    this.section(section).append(words);
    return index;
  }

  string(text: string): number {
    const known = this.#texts.count;
    const number = this.#texts.number(text);
    return number === known ? this.#written(number) : number;
  }

  /** The same for one of few texts that are asked for again and again (files, policies): the text object is looked up, not its bytes. */
  name(text: string): number {
    let number = this.#names.get(text);
    if (number === undefined) {
      number = this.string(text);
      this.#names.set(text, number);
    }
    return number;
  }

  /** The same for a text that is hardly anywhere else: it is stored once more if it is. */
  uniqueString(text: string): number {
    return this.#written(this.#texts.add(text));
  }

  /** In a bound buffer, a new string goes there at once. */
  #written(number: number): number {
    if (this.#bound === undefined) return number;
    const bytes = this.section(SECTION_STRING_BYTES).append(this.#texts.wordsOf(number));
    return this.record(SECTION_STRINGS, [bytes * 4, this.#texts.lengthOf(number)]);
  }

  /** Word offset of `values` in the pool of ints; short equal lists are stored once. */
  ints(values: ArrayLike<number>): number {
    return this.#ints.offset(values);
  }

  /** `[start, count]` of a list in the pool of ints. */
  intList(values: ArrayLike<number>): [number, number] {
    return [values.length === 0 ? 0 : this.ints(values), values.length];
  }

  prefix({ version, length, words }: Prefix): number {
    const section = this.section(SECTION_PREFIXES);
    const at = section.extend(PREFIX_SIZE);
    const { room } = section;
    room[at] = (version << 8) | length;
    room[at + 1] = words[0];
    room[at + 2] = words[1];
    room[at + 3] = words[2];
    room[at + 4] = words[3];
    return at / PREFIX_SIZE;
  }

  /** Another prefix in the place of one. */
  setPrefix(index: number, { version, length, words }: Prefix): void {
    const section = this.section(SECTION_PREFIXES);
    const at = index * PREFIX_SIZE;
    section.set(at, (version << 8) | length);
    for (let i = 0; i < 4; i++) section.set(at + 1 + i, words[i as 0 | 1 | 2 | 3]);
  }

  /** `[start, count]` of a list of prefixes. */
  prefixList(prefixes: readonly Prefix[]): [number, number] {
    const start = prefixes.length === 0 ? 0 : this.count(SECTION_PREFIXES);
    for (const prefix of prefixes) this.prefix(prefix);
    return [start, prefixes.length];
  }

  /**
   * The finished buffer; call once.
   *
   * @param room  for sections that are going to grow (`bind`): words to keep free behind a section of this length
   */
  finish(localNode: number, room?: (section: number, length: number) => number): SharedArrayBuffer {
    this.#writeStrings();
    let length = HEADER_WORDS;
    const starts = this.#sections.map((words, section) => {
      const start = length;
      length += words.length + (room?.(section, words.length) ?? 0);
      return start;
    });
    const buffer = new SharedArrayBuffer(length * 4);
    const words = new Int32Array(buffer);
    words[0] = MAGIC;
    words[1] = LAYOUT_VERSION;
    words[HEADER_LENGTH] = length;
    words[HEADER_LOCAL_NODE] = localNode;
    words[HEADER_HAS_ROOM] = room === undefined ? 0 : 1;
    this.#sections.forEach((section, index) => {
      words[HEADER_DIRECTORY + 2 * index] = starts[index]!;
      words[HEADER_DIRECTORY + 2 * index + 1] = this.count(index);
      words.set(section.view(), starts[index]!);
    });
    words[HEADER_CHECKSUM] = checksumWords(words, HEADER_LOCAL_NODE);
    return buffer;
  }

  /** From here on everything is written to `buffer`, which was finished here or is a copy of it; `onWrite` is told the words. */
  bind(buffer: SharedArrayBuffer, onWrite: (start: number, end: number) => void): void {
    const words = new Int32Array(buffer);
    this.#sections.forEach((section, index) => {
      const start = words[HEADER_DIRECTORY + 2 * index]!;
      const end = index + 1 < SECTION_COUNT ? words[HEADER_DIRECTORY + 2 * (index + 1)]! : words.length;
      section.bind(words.subarray(start, end), (from, to) => onWrite(start + from, start + to));
    });
    this.#bound = buffer;
  }

  /** Writes how many records the sections of the bound buffer have. */
  writeCounts(onWrite: (start: number, end: number) => void): void {
    const words = new Int32Array(this.#bound!);
    for (let section = 0; section < SECTION_COUNT; section++) {
      const at = HEADER_DIRECTORY + 2 * section + 1;
      if (words[at] === this.count(section)) continue;
      words[at] = this.count(section);
      onWrite(at, at + 1);
    }
  }

  #writeStrings(): void {
    this.section(SECTION_STRINGS).append(this.#texts.index());
    this.section(SECTION_STRING_BYTES).append(this.#texts.words());
  }
}

/** The words of a record of SECTION_PREFIXES. */
export function prefixWords(prefix: Prefix): number[] {
  return [(prefix.version << 8) | prefix.length, ...prefix.words];
}

/** A float64 as two int32 words, low first. */
export function floatWords(value: number): [number, number] {
  const words = new Int32Array(new Float64Array([value]).buffer);
  return [words[0]!, words[1]!];
}
