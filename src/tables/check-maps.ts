/** The check of SECTION_CLASS_MAPS. Thousands of chains share maps, and maps share blocks, so each is looked at once. */
import * as layout from './layout.ts';
import type { Tables } from './tables.ts';

export class ClassMapChecker {
  readonly #words: Int32Array;
  /** Blocks of a map, by IP version. */
  readonly #blocks4: number;
  readonly #blocks6: number;
  /** By word offset of a block 1 + its highest row, of a map by version the same; 0 = not looked at yet. */
  readonly #blockLimits: Float64Array;
  readonly #mapLimits = [new Map<number, number>(), new Map<number, number>(), new Map<number, number>()] as const;

  constructor({ classMaps, classes4, classes6 }: Tables) {
    this.#words = classMaps;
    this.#blockLimits = new Float64Array(classMaps.length);
    this.#blocks4 = layout.blocksOfMap(layout.peerClassCount(classes4));
    this.#blocks6 = layout.blocksOfMap(layout.peerClassCount(classes6));
  }

  /**
   * 1 + the highest row that the map at word `map` names; more than any number of rows if it names a negative one; -1 if it does not lie
   * inside of the section.
   *
   * @param version  4 or 6: of the addresses whose peer classes are looked up; 0 = of either
   */
  rowLimit(map: number, version: number): number {
    const limits = this.#mapLimits[version === 4 ? 1 : version === 6 ? 2 : 0];
    let limit = limits.get(map);
    if (limit === undefined) {
      limit = this.#mapLimit(map, this.#blockCount(version));
      limits.set(map, limit);
    }
    return limit;
  }

  #blockCount(version: number): number {
    if (version === 4) return this.#blocks4;
    return version === 6 ? this.#blocks6 : Math.max(this.#blocks4, this.#blocks6);
  }

  #mapLimit(map: number, blocks: number): number {
    const end = this.#words.length;
    if (map < 0 || map + blocks > end) return -1;
    let limit = 0;
    for (let i = map; i < map + blocks; i++) {
      const block = this.#words[i]!;
      if (block < 0 || block + layout.CLASS_MAP_BLOCK > end) return -1;
      limit = Math.max(limit, this.#blockLimit(block));
    }
    return limit;
  }

  #blockLimit(block: number): number {
    if (this.#blockLimits[block] === 0) {
      let highest = 0;
      for (let i = 0; i < layout.CLASS_MAP_BLOCK; i++) highest = Math.max(highest, this.#words[block + i]! >>> 0);
      this.#blockLimits[block] = highest + 1;
    }
    return this.#blockLimits[block]!;
  }
}
