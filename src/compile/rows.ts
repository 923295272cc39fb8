/**
 * The bit rows of a chain: chains.ts says what they mean, tables/layout.ts where they lie.
 *
 * For addresses most steps ask for one set and most classes are in few sets, so rows start from the usual one (the
 * steps that any address passes) and only classes that a step names get a row of their own. For ports the key space is cut at
 * every boundary of every step; between two cuts the same steps match:
 *
 *   step 0: tcp 80-90     step 1: tcp 85     step 2: any
 *   from key   0     80     85      86     91
 *   row        {2}   {0,2}  {0,1,2} {0,2}  {2}
 */

import { WordInterner } from '../base/word-interner.ts';
import { Words } from '../base/words.ts';
import { SECTION_BITS } from '../tables/layout.ts';
import type { Step } from './chains.ts';
import type { MappedClasses } from './class-maps.ts';
import type { AddressTest } from './fields.ts';
import { isAllKeys, type KeySet } from './keys.ts';
import type { Sections } from './sections.ts';

/** Rows of `words` int32 each, and which classes have another one than row 0. */
export interface AddressRows {
  readonly rows: Int32Array[];
  /** `undefined`: no step asks for addresses. */
  readonly mapped: MappedClasses | undefined;
}

export interface KeyRows {
  /** Ascending, the first 0. */
  readonly starts: readonly number[];
  readonly rows: readonly Int32Array[];
}

/**
 * Rows of one side's addresses.
 *
 * @param classesOf  predicate -> its classes, ascending
 * @param placeOf    a word for each class, all 0, and so again afterwards
 */
export function addressRows(
  steps: readonly Step[],
  side: 'src' | 'dst',
  classesOf: readonly (readonly number[])[],
  placeOf: Int32Array,
): AddressRows {
  const words = rowWords(steps.length);
  const usual = new Int32Array(words);
  steps.forEach((step, index) => {
    if (step.term[side].allOf.length === 0) setBit(usual, index);
  });
  if (!steps.some(({ term }) => term[side].allOf.length + term[side].noneOf.length > 0)) {
    return { rows: [usual], mapped: undefined };
  }
  // Rows of the classes that steps name, one after the other; `placeOf` is 1 + the row's place, 0 = the usual row.
  const own = new Words(words * 64);
  const named: number[] = [];
  steps.forEach((step, index) => {
    const test = step.term[side];
    if (test.allOf.length === 0 && test.noneOf.length === 0) return;
    const isPositive = test.allOf.length > 0;
    const bit = 1 << (index & 31);
    for (const peerClass of namedClasses(test, classesOf)) {
      if (placeOf[peerClass] === 0) {
        own.append(usual);
        placeOf[peerClass] = named.push(peerClass);
      }
      const word = (placeOf[peerClass]! - 1) * words + (index >>> 5);
      own.set(word, isPositive ? own.at(word) | bit : own.at(word) & ~bit);
    }
  });
  const numbered = numberRows(usual, own.view(), placeOf, named, words);
  for (const peerClass of named) placeOf[peerClass] = 0;
  return numbered;
}

/** Rows of the destination keys, or of the source keys. */
export function keyRows(steps: readonly Step[], field: 'keys' | 'sourceKeys'): KeyRows {
  const words = rowWords(steps.length);
  const boundaries = new Set<number>([0]);
  for (const step of steps) {
    const set = step.term[field];
    if (isAllKeys(set)) continue;
    for (let i = 0; i < set.length; i += 2) boundaries.add(set[i]!).add(set[i + 1]! + 1);
  }
  const starts = [...boundaries].sort((a, b) => a - b);
  const rows = starts.map(() => new Int32Array(words));
  steps.forEach((step, index) => {
    markIntervals(step.term[field], starts, rows, index);
  });
  return mergeEqual(starts, rows);
}

/** Writes rows one after the other; gives the word offset of the first. */
export function packRows(sections: Sections, rows: readonly Int32Array[]): number {
  const bits = sections.section(SECTION_BITS);
  const start = bits.length;
  for (const row of rows) bits.append(row);
  return start;
}

export function rowWords(stepCount: number): number {
  return (stepCount + 31) >>> 5;
}

/** The classes that pass a test with a positive part, or that a purely negative one excludes. */
function namedClasses(test: AddressTest, classesOf: readonly (readonly number[])[]): readonly number[] {
  if (test.allOf.length === 0) return test.noneOf.flatMap((predicate) => classesOf[predicate]!);
  let classes = classesOf[test.allOf[0]!]!;
  for (const predicate of test.allOf.slice(1)) {
    const other = new Set(classesOf[predicate]!);
    classes = classes.filter((peerClass) => other.has(peerClass));
  }
  for (const predicate of test.noneOf) {
    const other = new Set(classesOf[predicate]!);
    classes = classes.filter((peerClass) => !other.has(peerClass));
  }
  return classes;
}

function setBit(row: Int32Array, bit: number): void {
  row[bit >>> 5]! |= 1 << (bit & 31);
}

/** Row 0 is the usual one; equal rows are one, numbered in the order of classes. */
function numberRows(
  usual: Int32Array,
  own: Int32Array,
  placeOf: Int32Array,
  named: readonly number[],
  words: number,
): AddressRows {
  const rows = new WordInterner();
  rows.number(usual);
  const classes = ascending(named, placeOf);
  const numbers = new Int32Array(classes.length);
  // Classes that one step names often have one row: the last is compared before it is made an array and hashed.
  let last = -1;
  let number = -1;
  for (let i = 0; i < classes.length; i++) {
    const at = (placeOf[classes[i]!]! - 1) * words;
    if (last < 0 || !isSameRow(own, last, at, words)) {
      number = rows.number(own.subarray(at, at + words));
      last = at;
    }
    numbers[i] = number;
  }
  // Every step that names a class changes the class's bit of it, so rows of one's own are never the usual one.
  const all = Array.from({ length: rows.count }, (_, number) => rows.array(number));
  return { rows: all, mapped: { classes, rows: numbers } };
}

/** The named classes in order: by a look at all places, where they are not few. */
function ascending(named: readonly number[], placeOf: Int32Array): Int32Array {
  const sorted = new Int32Array(named.length);
  if (named.length * SORT_STEPS < placeOf.length) {
    sorted.set(named);
    return sorted.sort();
  }
  let count = 0;
  for (let peerClass = 0; peerClass < placeOf.length; peerClass++) {
    if (placeOf[peerClass] !== 0) sorted[count++] = peerClass;
  }
  return sorted;
}

/** About how many looks a sort costs for each item. */
const SORT_STEPS = 16;

function isSameRow(own: Int32Array, a: number, b: number, words: number): boolean {
  for (let word = 0; word < words; word++) if (own[a + word] !== own[b + word]) return false;
  return true;
}

function markIntervals(set: KeySet, starts: readonly number[], rows: readonly Int32Array[], bit: number): void {
  for (let i = 0; i < set.length; i += 2) {
    const high = set[i + 1]!;
    for (let at = firstAtLeast(starts, set[i]!); at < starts.length && starts[at]! <= high; at++)
      setBit(rows[at]!, bit);
  }
}

function firstAtLeast(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function mergeEqual(starts: readonly number[], rows: readonly Int32Array[]): KeyRows {
  const outStarts: number[] = [];
  const outRows: Int32Array[] = [];
  starts.forEach((start, i) => {
    const row = rows[i]!;
    const last = outRows.at(-1);
    if (last?.every((word, w) => word === row[w])) return;
    outStarts.push(start);
    outRows.push(row);
  });
  return { starts: outStarts, rows: outRows };
}
