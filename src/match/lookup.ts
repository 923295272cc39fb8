/** From an address to its class, and to those who own it. Free functions over typed arrays; nothing is allocated. */
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';

const ENDPOINT_WORDS = layout.ENDPOINT_SIZE;

const CLASS_WORDS = layout.ADDRESS_CLASS_SIZE;
const EXACT_WORDS = layout.EXACT_SIZE;
const RANGE_WORDS = layout.RANGE_SIZE;
const OWNER_WORDS = layout.OWNER_SIZE;
const OWNER_6_WORDS = layout.OWNER_6_SIZE;

/** Word offset in `tables.classes4` of the class of an IPv4 address (int32). Three dependent loads, no branch. */
export function classOf4(trie: Int32Array, address: number): number {
  const root = trie[address >>> 16]!;
  const middle = trie[(root >>> 1) + ((address >>> 8) & 255 & -(root & 1))]!;
  return trie[(middle >>> 1) + (address & 255 & -(middle & 1))]!;
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

/** The same for the address whose words start at `records[at]`, in the classes of its version. */
export function classAt(tables: Tables, version: number, records: Int32Array, at: number): number {
  if (version === 4) return classOf4(tables.trie4, records[at]!);
  return classOf6(tables, records[at]!, records[at + 1]!, records[at + 2]!, records[at + 3]!);
}

/** The owner of an address as SECTION_OWNERS has it, or NONE if nobody owns the address. */
export function findOwner(tables: Tables, version: number, w0: number, w1: number, w2: number, w3: number): number {
  if (version === 4) return findOwner4(tables.owners, w0);
  const owners = tables.owners6;
  const mask = owners.length / OWNER_6_WORDS - 1;
  for (let slot = layout.addressHash(w0, w1, w2, w3) & mask; ; slot = (slot + 1) & mask) {
    const at = slot * OWNER_6_WORDS;
    const owner = owners[at + 4]! - 1;
    if (owner === layout.NONE) return owner;
    if (owners[at] === w0 && owners[at + 1] === w1 && owners[at + 2] === w2 && owners[at + 3] === w3) return owner;
  }
}

function findOwner4(owners: Int32Array, address: number): number {
  const mask = owners.length / OWNER_WORDS - 1;
  for (let slot = layout.addressHash(address, 0, 0, 0) & mask; ; slot = (slot + 1) & mask) {
    const owner = owners[slot * OWNER_WORDS + 1]! - 1;
    if (owner === layout.NONE || owners[slot * OWNER_WORDS] === address) return owner;
  }
}

/** Number of the class of the last range that starts at or before the address; compares as unsigned. */
export function rangeOf6(ranges: Int32Array, w0: number, w1: number, w2: number, w3: number): number {
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

/*
 * An owner (as in SECTION_OWNERS) says who claims an address. Each of its pods is a claim, then each node whose host processes the address
 * stands for; an address that nobody owns has one claim, outside.
 */

/** Number of claims, at least 1. */
export function claimCount(tables: Tables, owner: number): number {
  if (owner < 0) return 1;
  const pods = tables.ints[owner]!;
  return Math.max(1, pods + tables.ints[owner + pods + 1]!);
}

/** The pod of claim number `claim`, or NONE. */
export function claimPod(tables: Tables, owner: number, claim: number): number {
  if (owner < layout.NONE) return claim === 0 ? layout.podAlone(owner) : layout.NONE;
  return owner === layout.NONE || claim >= tables.ints[owner]! ? layout.NONE : tables.ints[owner + 1 + claim]!;
}

/** The node of claim number `claim`: the pod's, or the one whose host process it is; NONE = outside. */
export function claimNode(tables: Tables, owner: number, claim: number): number {
  const { ints, endpoints } = tables;
  if (owner < 0) {
    if (owner === layout.NONE || claim > 0) return layout.NONE;
    return endpoints[layout.podAlone(owner) * ENDPOINT_WORDS + layout.ENDPOINT_NODE]!;
  }
  const pods = ints[owner]!;
  if (claim < pods) return endpoints[ints[owner + 1 + claim]! * ENDPOINT_WORDS + layout.ENDPOINT_NODE]!;
  const nodes = owner + 1 + pods;
  return claim - pods < ints[nodes]! ? ints[nodes + 1 + claim - pods]! : layout.NONE;
}

/** The first host endpoint that expects the address, or NONE. */
export function ownerHostEndpoint(tables: Tables, owner: number): number {
  if (owner < 0) return layout.NONE;
  const nodes = owner + 1 + tables.ints[owner]!;
  const hosts = nodes + 1 + tables.ints[nodes]!;
  return tables.ints[hosts]! === 0 ? layout.NONE : tables.ints[hosts + 1]!;
}
