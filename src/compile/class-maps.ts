/**
 * Maps from peer class to row, into SECTION_CLASS_MAPS (tables/layout.ts says how they lie there).
 *
 * A cluster of 7 000 peer classes and 10 000 chains would have 70 million rows in plain maps, nearly all of them row 0: 280 MB that had to be
 * made, compared, written and checked. Here a map is made from the few classes that have another row: each block that one of them lies
 * in is written once for all maps that have the same there, and a map that is like another one is the other one.
 *
 * In tables that change (repack.ts) a map belongs to its chain alone, as do its blocks for classes that may come. Classes that were there from
 * the start are never given up (kinds.ts), so their blocks stay as they are, and shared.
 */
import { assert } from '../base/assert.ts';
import { WordInterner } from '../base/word-interner.ts';
import type { Words } from '../base/words.ts';
import { blocksOfMap, CLASS_MAP_BITS, CLASS_MAP_BLOCK, mappedRow, SECTION_CLASS_MAPS } from '../tables/layout.ts';
import { IntPool } from './pools.ts';
import type { Sections } from './sections.ts';

const IN_BLOCK = CLASS_MAP_BLOCK - 1;

/** Classes with another row than row 0, ascending, and the row of each. */
export interface MappedClasses {
  readonly classes: Int32Array;
  readonly rows: Int32Array;
}

const NO_CLASSES: MappedClasses = { classes: new Int32Array(), rows: new Int32Array() };

export class ClassMaps {
  /** The map that gives every class row 0. */
  readonly zero: number;
  readonly #words: Words;
  readonly #blockCount: number;
  /** From this block on, maps of their own have blocks of their own. */
  readonly #firstOwn: number;
  /** Blocks are just short enough to be shared there. */
  readonly #blocks: IntPool;
  readonly #maps = new WordInterner();
  readonly #mapOffsets: number[] = [];
  readonly #map: Int32Array;
  readonly #block = new Int32Array(CLASS_MAP_BLOCK);
  readonly #zeroBlock: number;

  /** For maps of `classCount` classes that are there, and `room` that may come. */
  constructor(sections: Sections, classCount: number, room: number) {
    this.#words = sections.section(SECTION_CLASS_MAPS);
    this.#blockCount = blocksOfMap(classCount + room);
    this.#firstOwn = room === 0 ? this.#blockCount : classCount >>> CLASS_MAP_BITS;
    this.#map = new Int32Array(this.#blockCount);
    this.#blocks = new IntPool(this.#words);
    this.#zeroBlock = this.#blocks.offset(this.#block);
    this.zero = this.add(NO_CLASSES);
  }

  /** Word offset of a map, which may be that of others, too. */
  add(mapped: MappedClasses): number {
    this.#fill(mapped, this.#blockCount);
    const number = this.#maps.number(this.#map);
    if (number === this.#mapOffsets.length) this.#mapOffsets.push(this.#words.append(this.#map));
    return this.#mapOffsets[number]!;
  }

  /** Word offset of a map that is nobody else's: `set` may change it. */
  addOwn(mapped: MappedClasses): number {
    this.#fill(mapped, this.#firstOwn);
    return this.#words.append(this.#map);
  }

  rowOf(map: number, peerClass: number): number {
    return mappedRow(this.#words.room, map, peerClass);
  }

  /** Gives a class that comes a row, in a map of `addOwn`. */
  set(map: number, peerClass: number, row: number): void {
    const number = peerClass >>> CLASS_MAP_BITS;
    assert(number >= this.#firstOwn, 'a class that comes lies in a block of its map alone');
    const at = this.#words.at(map + number) + (peerClass & IN_BLOCK);
    if (this.#words.at(at) !== row) this.#words.set(at, row);
  }

  /** Writes the offsets of blocks into `#map`; those from `firstOwn` on are new ones. */
  #fill({ classes, rows }: MappedClasses, firstOwn: number): void {
    this.#map.fill(this.#zeroBlock);
    let next = 0;
    const take = (number: number): void => {
      this.#block.fill(0);
      for (; next < classes.length && classes[next]! >>> CLASS_MAP_BITS === number; next++)
        this.#block[classes[next]! & IN_BLOCK] = rows[next]!;
    };
    while (next < classes.length && classes[next]! >>> CLASS_MAP_BITS < firstOwn) {
      const number = classes[next]! >>> CLASS_MAP_BITS;
      take(number);
      this.#map[number] = this.#blocks.offset(this.#block);
    }
    for (let number = firstOwn; number < this.#blockCount; number++) {
      take(number);
      this.#map[number] = this.#words.append(this.#block);
    }
  }
}

/** Reads maps without a look at blocks in which every class has row 0. */
export class MapReader {
  /** Of the map read last: classes with another row than row 0, ascending, and the row of each. */
  readonly classes: Int32Array;
  readonly rows: Int32Array;
  readonly #words: Int32Array;
  readonly #blockCount: number;
  readonly #isZero = new Map<number, boolean>();

  /** `words`: SECTION_CLASS_MAPS. */
  constructor(words: Int32Array, classCount: number) {
    this.#words = words;
    this.#blockCount = blocksOfMap(classCount);
    this.classes = new Int32Array(this.#blockCount * CLASS_MAP_BLOCK);
    this.rows = new Int32Array(this.classes.length);
  }

  /** Reads the map at word `map`; returns how many classes have another row. */
  read(map: number): number {
    let count = 0;
    for (let number = 0; number < this.#blockCount; number++) {
      const block = this.#words[map + number]!;
      if (this.#isZeroBlock(block)) continue;
      for (let i = 0; i < CLASS_MAP_BLOCK; i++) {
        const row = this.#words[block + i]!;
        if (row === 0) continue;
        this.classes[count] = number * CLASS_MAP_BLOCK + i;
        this.rows[count++] = row;
      }
    }
    return count;
  }

  #isZeroBlock(block: number): boolean {
    let isZero = this.#isZero.get(block);
    if (isZero === undefined) {
      isZero = this.#words.subarray(block, block + CLASS_MAP_BLOCK).every((row) => row === 0);
      this.#isZero.set(block, isZero);
    }
    return isZero;
  }
}
