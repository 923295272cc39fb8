/** The growing sections of one buffer, with the pools they share: strings, ints and prefixes. */
import { Words } from '../base/words.ts';
import { checksumWords } from '../tables/checksum.ts';
import {
  HEADER_CHECKSUM,
  HEADER_DIRECTORY,
  HEADER_LENGTH,
  HEADER_LOCAL_NODE,
  HEADER_WORDS,
  LAYOUT_VERSION,
  MAGIC,
  RECORD_WORDS,
  SECTION_COUNT,
  SECTION_INTS,
  SECTION_PREFIXES,
  SECTION_STRING_BYTES,
  SECTION_STRINGS,
} from '../tables/layout.ts';
import type { Prefix } from './plan.ts';

export class Sections {
  readonly #sections: readonly Words[] = Array.from({ length: SECTION_COUNT }, () => new Words());
  readonly #strings = new Map<string, number>();
  readonly #texts: string[] = [];
  readonly #intLists = new Map<string, number>();
  readonly #singles = new Map<number, number>();

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
    let index = this.#strings.get(text);
    if (index === undefined) {
      index = this.#texts.length;
      this.#texts.push(text);
      this.#strings.set(text, index);
    }
    return index;
  }

  /** Word offset of `values` in the pool of ints; short equal lists are stored once. */
  ints(values: readonly number[]): number {
    if (values.length === 1) return this.#single(values[0]!);
    if (values.length > 64) return this.section(SECTION_INTS).append(values);
    const key = values.join(',');
    let offset = this.#intLists.get(key);
    if (offset === undefined) {
      offset = this.section(SECTION_INTS).append(values);
      this.#intLists.set(key, offset);
    }
    return offset;
  }

  #single(value: number): number {
    let offset = this.#singles.get(value);
    if (offset === undefined) {
      offset = this.section(SECTION_INTS).append([value]);
      this.#singles.set(value, offset);
    }
    return offset;
  }

  /** `[start, count]` of a list in the pool of ints. */
  intList(values: readonly number[]): [number, number] {
    return [values.length === 0 ? 0 : this.ints(values), values.length];
  }

  prefix(prefix: Prefix): number {
    return this.record(SECTION_PREFIXES, prefixWords(prefix));
  }

  /** `[start, count]` of a list of prefixes. */
  prefixList(prefixes: readonly Prefix[]): [number, number] {
    const start = prefixes.length === 0 ? 0 : this.count(SECTION_PREFIXES);
    for (const prefix of prefixes) this.prefix(prefix);
    return [start, prefixes.length];
  }

  /** The finished buffer; call once. */
  finish(localNode: number): SharedArrayBuffer {
    this.#writeStrings();
    let length = HEADER_WORDS;
    const starts = this.#sections.map((words) => {
      const start = length;
      length += words.length;
      return start;
    });
    const buffer = new SharedArrayBuffer(length * 4);
    const words = new Int32Array(buffer);
    words[0] = MAGIC;
    words[1] = LAYOUT_VERSION;
    words[HEADER_LENGTH] = length;
    words[HEADER_LOCAL_NODE] = localNode;
    this.#sections.forEach((section, index) => {
      words[HEADER_DIRECTORY + 2 * index] = starts[index]!;
      words[HEADER_DIRECTORY + 2 * index + 1] = this.count(index);
      words.set(section.view(), starts[index]!);
    });
    words[HEADER_CHECKSUM] = checksumWords(words, HEADER_LOCAL_NODE);
    return buffer;
  }

  #writeStrings(): void {
    const joined = this.#texts.join('');
    const isAscii = Buffer.byteLength(joined, 'utf8') === joined.length;
    // One by one only where it must be: a hundred thousand small encodings cost more than all the rest of packing.
    const parts = isAscii ? [Buffer.from(joined, 'latin1')] : this.#texts.map((text) => Buffer.from(text, 'utf8'));
    const lengths = isAscii ? this.#texts.map((text) => text.length) : parts.map((part) => part.length);
    const all = Buffer.concat(parts);
    const bytes = new Uint8Array((all.length + 3) & ~3);
    bytes.set(all);
    const index = new Int32Array(lengths.length * 2);
    let offset = 0;
    lengths.forEach((length, i) => {
      index[2 * i] = offset;
      index[2 * i + 1] = length;
      offset += length;
    });
    this.section(SECTION_STRINGS).append(index);
    this.section(SECTION_STRING_BYTES).append(new Int32Array(bytes.buffer));
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
