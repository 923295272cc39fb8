/** From an address to its class, and to those who own it. Free functions over typed arrays; nothing is allocated. */
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';

const CLASS_WORDS = 8;
const EXACT_WORDS = 5;
const RANGE_WORDS = 5;
const OWNER_WORDS = 6;

/** Word offset in `tables.classes4` of the class of an IPv4 address (int32). At most three dependent loads. */
export function classOf4(trie: Int32Array, address: number): number {
  let entry = trie[address >>> 16]!;
  if (entry < 0) entry = trie[~entry + ((address >>> 8) & 255)]!;
  if (entry < 0) entry = trie[~entry + (address & 255)]!;
  return entry * CLASS_WORDS;
}

/** Word offset in `tables.classes6` of the class of an IPv6 address: the hash of full addresses, then the ranges. */
export function classOf6(tables: Tables, w0: number, w1: number, w2: number, w3: number): number {
  const exact = tables.exact6;
  const mask = exact.length / EXACT_WORDS - 1;
  for (let slot = layout.addressHash(w0, w1, w2, w3) & mask; ; slot = (slot + 1) & mask) {
    const at = slot * EXACT_WORDS;
    const number = exact[at + 4]!;
    if (number === 0) break;
    if (exact[at] === w0 && exact[at + 1] === w1 && exact[at + 2] === w2 && exact[at + 3] === w3) {
      return (number - 1) * CLASS_WORDS;
    }
  }
  return rangeOf6(tables.ranges6, w0, w1, w2, w3) * CLASS_WORDS;
}

/** Word offset in `tables.ints` of the owner list `endpointCount endpoints… node`, or NONE if nobody owns the address. */
export function findOwner(tables: Tables, version: number, w0: number, w1: number, w2: number, w3: number): number {
  const owners = tables.owners;
  const mask = owners.length / OWNER_WORDS - 1;
  for (let slot = layout.addressHash(w0, w1, w2, w3) & mask; ; slot = (slot + 1) & mask) {
    const at = slot * OWNER_WORDS;
    const slotVersion = owners[at]!;
    if (slotVersion === 0) return layout.NONE;
    if (
      slotVersion === version &&
      owners[at + 1] === w0 &&
      owners[at + 2] === w1 &&
      owners[at + 3] === w2 &&
      owners[at + 4] === w3
    ) {
      return owners[at + layout.OWNER_LIST]!;
    }
  }
}

/** Class of the last range that starts at or before the address; compares as unsigned. */
function rangeOf6(ranges: Int32Array, w0: number, w1: number, w2: number, w3: number): number {
  let low = 0;
  let high = ranges.length / RANGE_WORDS - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (startsAtOrBefore(ranges, middle * RANGE_WORDS, w0, w1, w2, w3)) low = middle;
    else high = middle - 1;
  }
  return ranges[low * RANGE_WORDS + 4]!;
}

function startsAtOrBefore(ranges: Int32Array, at: number, w0: number, w1: number, w2: number, w3: number): boolean {
  if (ranges[at] !== w0) return ranges[at]! >>> 0 < w0 >>> 0;
  if (ranges[at + 1] !== w1) return ranges[at + 1]! >>> 0 < w1 >>> 0;
  if (ranges[at + 2] !== w2) return ranges[at + 2]! >>> 0 < w2 >>> 0;
  return ranges[at + 3]! >>> 0 <= w3 >>> 0;
}
