/**
 * One check: a chain over its bit rows, and the port functions folded from them.
 *
 * `firstCommonStep` is the heart: steps are numbered in evaluation order, so the lowest bit that all rows share is the
 * first step that matches. A pass sends the search on from its jump. `lookUpFunction` answers the same for a policy
 * class, whose local end is known, by one branch-free search over keys (compile/fold.ts says how it was made).
 */
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';

const CHAIN_WORDS = layout.CHAIN_SIZE;
const STEP_WORDS = layout.STEP_SIZE;
const POLICY_CLASS_WORDS = layout.POLICY_CLASS_SIZE;

/** Passes in one chain: one a tier and one a profile at most, so far below this. */
export const PATH_STEPS_MAX = 4096;

/**
 * The step (index in SECTION_STEPS) that decides `chain` for these classes and keys.
 *
 * Steps taken on the way, passes first, the deciding one last, are written to `path` from `pathAt` on; their number is
 * returned; the first step tried is `firstTried`. Allocates nothing; never throws. Every chain ends in a step that matches all, so one is always found.
 */
export function walkChain(
  tables: Tables,
  chain: number,
  srcPeer: number,
  dstPeer: number,
  key: number,
  sourceKey: number,
  path: Int32Array,
  pathAt: number,
  firstTried = 0,
): number {
  const at = chain * CHAIN_WORDS;
  const { chains, steps, bits, classMaps, ints } = tables;
  const words = chains[at + layout.CHAIN_ROW_WORDS]!;
  const firstStep = chains[at + layout.CHAIN_FIRST_STEP]!;
  const srcNumber = layout.mappedRow(classMaps, chains[at + layout.CHAIN_SRC_MAP]!, srcPeer);
  const dstNumber = layout.mappedRow(classMaps, chains[at + layout.CHAIN_DST_MAP]!, dstPeer);
  const srcRow = chains[at + layout.CHAIN_SRC_ROWS]! + srcNumber * words;
  const dstRow = chains[at + layout.CHAIN_DST_ROWS]! + dstNumber * words;
  const keyAt = lastAtMost(ints, chains[at + layout.CHAIN_KEYS]!, chains[at + layout.CHAIN_KEYS + 1]!, key);
  const keyRow = chains[at + layout.CHAIN_KEY_ROWS]! + keyAt * words;
  const sourceKeys = chains[at + layout.CHAIN_SOURCE_KEYS]!;
  let sourceRow = keyRow;
  if (sourceKeys !== layout.NONE) {
    const count = ints[sourceKeys]!;
    sourceRow = ints[sourceKeys + 1 + count]! + lastAtMost(ints, sourceKeys + 1, count, sourceKey) * words;
  }
  let from = firstTried;
  let taken = 0;
  for (;;) {
    const step = firstCommonStep(bits, srcRow, dstRow, keyRow, sourceRow, words, from);
    path[pathAt + taken++] = firstStep + step;
    const record = (firstStep + step) * STEP_WORDS;
    if (steps[record + layout.STEP_ACTION] !== layout.STEP_PASS) return taken;
    from = steps[record + layout.STEP_JUMP]!;
  }
}

/**
 * Lowest step at or after `from` that is set in all four rows, or NONE.
 *
 * At most `words` iterations; allocates nothing; never throws.
 *
 * @param bits  bit rows, 32 steps a word, bit 0 = lowest step; the rows are word offsets that `openTables` has checked
 */
function firstCommonStep(
  bits: Int32Array,
  srcRow: number,
  dstRow: number,
  keyRow: number,
  sourceKeyRow: number,
  words: number,
  from: number,
): number {
  let mask = -1 << (from & 31);
  for (let word = from >>> 5; word < words; word++) {
    const common =
      bits[srcRow + word]! & bits[dstRow + word]! & bits[keyRow + word]! & bits[sourceKeyRow + word]! & mask;
    if (common !== 0) return (word << 5) + 31 - Math.clz32(common & -common);
    mask = -1;
  }
  return layout.NONE;
}

/** Index of the last of `count` ascending ints from `start` on that is at most `value`; the first is 0. */
export function lastAtMost(ints: Int32Array, start: number, count: number, value: number): number {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (ints[start + middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * What `policyClass` answers to a peer of class `peer` at `key`: `step << 2 | STEP_*`, or NONE if source ports decide
 * and the rows must be asked.
 */
export function lookUpFunction(tables: Tables, policyClass: number, peer: number, key: number): number {
  const at = policyClass * POLICY_CLASS_WORDS;
  const { policyClasses, classMaps, functionRefs, functions } = tables;
  const column = layout.mappedRow(classMaps, policyClasses[at + layout.POLICY_CLASS_MAP]!, peer);
  const ref = functionRefs[policyClasses[at + layout.POLICY_CLASS_REFS]! + column]!;
  if (ref < 0) return layout.NONE;
  const offset = ref >>> 5;
  const size = 1 << (ref & 31);
  let index = 0;
  for (let half = size >>> 1; half > 0; half >>>= 1) {
    if (functions[offset + index + half]! <= key) index += half;
  }
  return functions[offset + size + index]!;
}
