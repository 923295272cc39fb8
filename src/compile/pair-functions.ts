/**
 * Port functions of both checks of a packet together.
 *
 * The egress step decides where egress denies or where no ingress check runs, else the ingress step. Laid over each other for TCP ports:
 *
 *   egress    [0 -> allow 3]   [65535 -> deny 5]
 *   ingress   [0 -> deny 9]    [80 -> allow 8]   [81 -> deny 9]
 *   both      [0 -> deny 9]    [80 -> allow 8]   [81 -> deny 9]   [65535 -> deny 5]
 *
 * Functions of the two protocols that plain packets have (TCP, UDP) are made apart, and equal ones stored once.
 */
import { WordInterner } from '../base/word-interner.ts';
import { zeroWords } from '../base/words.ts';
import { PAIRS_MAX } from '../model/limits.ts';
import * as layout from '../tables/layout.ts';
import { functionWords } from './fold.ts';
import type { Sections } from './sections.ts';

const POLICY_CLASS_WORDS = layout.POLICY_CLASS_SIZE;

/** The function refs of some policy classes, numbered so that a pair of them fits an index. */
export class RefReader {
  readonly refs: number[] = [];
  readonly #maps: Int32Array;
  /** By row or column: start of its policy class's map, and of its ids in `#ids`. */
  readonly #mapAt: Int32Array;
  readonly #idAt: Int32Array;
  readonly #ids: Int32Array;

  /** `policyClasses` by row or column number; number 0 is not read. */
  constructor(sections: Sections, policyClasses: readonly number[]) {
    this.#maps = sections.section(layout.SECTION_CLASS_MAPS).view();
    const policy = sections.section(layout.SECTION_POLICY_CLASSES).view();
    const refs = sections.section(layout.SECTION_FUNCTION_REFS).view();
    const numbers = new Map<number, number>();
    this.#ids = zeroWords(refs.length);
    for (const policyClass of new Set(policyClasses)) {
      const first = policy[policyClass * POLICY_CLASS_WORDS + layout.POLICY_CLASS_REFS]!;
      const end = first + policy[policyClass * POLICY_CLASS_WORDS + layout.POLICY_CLASS_COLUMNS]!;
      for (let i = first; i < end; i++) {
        let number = numbers.get(refs[i]!);
        if (number === undefined) {
          number = this.refs.length;
          numbers.set(refs[i]!, number);
          this.refs.push(refs[i]!);
        }
        this.#ids[i] = number;
      }
    }
    const word = (at: number): Int32Array =>
      Int32Array.from(policyClasses, (p) => policy[p * POLICY_CLASS_WORDS + at]!);
    this.#mapAt = word(layout.POLICY_CLASS_MAP);
    this.#idAt = word(layout.POLICY_CLASS_REFS);
  }

  /** The number in `refs` of what row or column `number` answers to `peer`. */
  id(number: number, peer: number): number {
    return this.#ids[this.#idAt[number]! + layout.mappedRow(this.#maps, this.#mapAt[number]!, peer)]!;
  }
}

/**
 * Port functions of both checks together, by protocol, each pair of functions worked out once.
 *
 * Where an ingress check runs, it does not matter *which* step of egress allows; so egress functions that differ in that alone (the
 * profiles of a hundred namespaces) are taken for one, their skeleton, before anything is merged.
 */
export class PairFunctions {
  /** Refs of the functions of each pair, or NONE. */
  readonly tcp: number[] = [];
  readonly udp: number[] = [];
  /** Words written so far. */
  words = 0;
  readonly #sections: Sections;
  readonly #egress: readonly Int32Array[];
  readonly #ingress: readonly Int32Array[];
  /** By egress id: the number of its skeleton, and the skeletons. */
  readonly #skeletonOf: Int32Array;
  readonly #skeletons: readonly Int32Array[];
  /** Pair + 1 by skeleton and ingress id; 0 = not worked out yet. */
  readonly #merged: Map<number, number> | Int32Array;
  readonly #alone = new Map<number, number>();
  readonly #known = new WordInterner();
  readonly #refs: number[] = [];

  /** `egress` and `ingress`: refs by id, NONE for what is not folded. */
  constructor(sections: Sections, egress: readonly number[], ingress: readonly number[]) {
    this.#sections = sections;
    const functions = sections.section(layout.SECTION_FUNCTIONS).view();
    const words = (ref: number): Int32Array =>
      ref < 0 ? UNFOLDED : functions.slice(ref >>> 5, (ref >>> 5) + (2 << (ref & 31)));
    this.#egress = egress.map(words);
    this.#ingress = ingress.map(words);
    const skeletons = new WordInterner();
    this.#skeletonOf = Int32Array.from(this.#egress, (fn) => skeletons.number(skeleton(fn)));
    this.#skeletons = Array.from({ length: skeletons.count }, (_, i) => skeletons.array(i));
    const size = skeletons.count * ingress.length;
    this.#merged = size <= PAIRS_MAX ? zeroWords(size) : new Map();
  }

  /** The number, in `tcp` and `udp`, of what the functions of these ids say together. */
  both(egress: number, ingress: number): number {
    const into = this.#ingress[ingress]!;
    if (into.length === 2 && (into[1]! & 3) === layout.STEP_NONE) return this.#egressAlone(egress, into);
    const skeletonNumber = this.#skeletonOf[egress]!;
    const at = skeletonNumber * this.#ingress.length + ingress;
    const known = this.#merged instanceof Int32Array ? this.#merged[at]! : (this.#merged.get(at) ?? 0);
    if (known !== 0) return known - 1;
    const pair = this.#merge(this.#skeletons[skeletonNumber]!, into);
    if (this.#merged instanceof Int32Array) this.#merged[at] = pair + 1;
    else this.#merged.set(at, pair + 1);
    return pair;
  }

  #egressAlone(egress: number, noCheck: Int32Array): number {
    const pair = this.#alone.get(egress) ?? this.#merge(this.#egress[egress]!, noCheck);
    this.#alone.set(egress, pair);
    return pair;
  }

  #merge(egress: Int32Array, ingress: Int32Array): number {
    const isFolded = egress.length > 0 && ingress.length > 0;
    this.udp.push(isFolded ? this.#ref(merge(egress, ingress, layout.KEY_SLOT_UDP)) : layout.NONE);
    return this.tcp.push(isFolded ? this.#ref(merge(egress, ingress, layout.KEY_SLOT_TCP)) : layout.NONE) - 1;
  }

  /** The number of what two functions say together that were not among those of the constructor. */
  mergeRefs(egress: number, ingress: number): number {
    const functions = this.#sections.section(layout.SECTION_FUNCTIONS).view();
    const words = (ref: number): Int32Array =>
      ref < 0 ? UNFOLDED : functions.slice(ref >>> 5, (ref >>> 5) + (2 << (ref & 31)));
    const into = words(ingress);
    const isAlone = into.length === 2 && (into[1]! & 3) === layout.STEP_NONE;
    return this.#merge(isAlone ? words(egress) : skeleton(words(egress)), into);
  }

  #ref(words: Int32Array): number {
    const number = this.#known.number(words);
    if (number === this.#refs.length) {
      const offset = this.#sections.section(layout.SECTION_FUNCTIONS).append(words);
      this.words += words.length;
      this.#refs.push((offset << 5) | (Math.log2(words.length) - 1));
    }
    return this.#refs[number]!;
  }
}

const UNFOLDED = new Int32Array(0);

/** The function with all that allows made one: step 0, which never decides where this is used. */
function skeleton(fn: Int32Array): Int32Array {
  const size = fn.length >>> 1;
  return fn.map((word, i) => (i < size || (word & 3) === layout.STEP_DENY ? word : layout.STEP_ALLOW));
}

/** Both functions laid over each other, for the ports of one slot. Starts of a function come in order, KEY_UNUSED last. */
function merge(egress: Int32Array, ingress: Int32Array, slot: number): Int32Array {
  const first = slot << layout.SLOT_BITS;
  const limit = (slot + 1) << layout.SLOT_BITS;
  const starts: number[] = [];
  const values: number[] = [];
  const [outSize, intoSize] = [egress.length >>> 1, ingress.length >>> 1];
  let i = lastAtMost(egress, outSize, first);
  let k = lastAtMost(ingress, intoSize, first);
  for (let start = first; start < limit; ) {
    const out = egress[outSize + i]!;
    const into = ingress[intoSize + k]!;
    const value = (out & 3) === layout.STEP_DENY || (into & 3) === layout.STEP_NONE ? out : into;
    if (values.at(-1) !== value) {
      starts.push(start - first);
      values.push(value);
    }
    const outNext = i + 1 < outSize ? egress[i + 1]! : layout.KEY_UNUSED;
    const intoNext = k + 1 < intoSize ? ingress[k + 1]! : layout.KEY_UNUSED;
    start = Math.min(outNext, intoNext);
    if (outNext === start) i++;
    if (intoNext === start) k++;
  }
  return functionWords(starts, values);
}

/** Index of the last of `count` ascending starts that is at most `key`; the first is 0. */
function lastAtMost(starts: Int32Array, count: number, key: number): number {
  let index = 0;
  while (index + 1 < count && starts[index + 1]! <= key) index++;
  return index;
}
