/**
 * Making and removing the entries of the connection table (table.ts draws it). Nothing here allocates or throws.
 */
import * as record from '../wire/record.ts';
import { forgetFlow, forgetFlows } from './flows.ts';
import { endOf, entryHash, packetKey } from './key.ts';
import type { Conntrack } from './table.ts';
import * as table from './table.ts';

// Copies: Node 20 reads an imported constant anew at every use, which cost a quarter of the time of a lookup.
const PACKET_SRC = record.PACKET_SRC;
const PACKET_DST = record.PACKET_DST;
const SWEEP_SLOTS = table.SWEEP_SLOTS;
const EVICTION_SLOTS = table.EVICTION_SLOTS;
const FILTER_WORDS = table.FILTER_WORDS;
const NO_ENTRY = table.NO_ENTRY;
const EXPIRES_NEVER = table.EXPIRES_NEVER;
const ENTRY_WORDS = table.ENTRY_WORDS;
const ENTRY_NEXT = table.ENTRY_NEXT;
const ENTRY_META = table.ENTRY_META;
const ENTRY_OWN = table.ENTRY_OWN;
const ENTRY_INVERSE = table.ENTRY_INVERSE;
const ENTRY_SRC = table.ENTRY_SRC;
const ENTRY_DST = table.ENTRY_DST;
const ENTRY_STATUS = table.ENTRY_STATUS;
const ENTRY_GENERATION = table.ENTRY_GENERATION;
const STATUS_SEEN_REPLY = table.STATUS_SEEN_REPLY;
const STATUS_ASSURED = table.STATUS_ASSURED;
const STATUS_CLOSING = table.STATUS_CLOSING;
const META_IPV6 = table.META_IPV6;
const SHARD_WORDS = table.SHARD_WORDS;
const SHARD_FREE = table.SHARD_FREE;
const SHARD_USED = table.SHARD_USED;
const SHARD_LIVE = table.SHARD_LIVE;
const SHARD_EVICTIONS = table.SHARD_EVICTIONS;
const SHARD_HAND = table.SHARD_HAND;
const KEY_OWN = table.KEY_OWN;
const KEY_INVERSE = table.KEY_INVERSE;
const KEY_META = table.KEY_META;
const KEY_HASH = table.KEY_HASH;
const KEY_NODE_HASH = table.KEY_NODE_HASH;

/** Index in `words` of the bucket's first entry. */
export function bucketOf(ct: Conntrack, hash: number, nodeHash: number): number {
  return ct.headsAt + (((hash >>> 26) << ct.bucketBits) | (nodeHash >>> (32 - ct.bucketBits)));
}

/** The scratch slot of the shard of the key written last: an entry that no bucket knows. */
export function scratchEntry(ct: Conntrack): number {
  return (ct.key[KEY_HASH]! >>> 26) * (ct.entriesPerShard + 1);
}

/**
 * A new entry for the packet whose key was written last, linked into its bucket: addresses and tuple words set, all else
 * 0 but the generation. The caller has looked for it before, and sets state and expiry.
 */
export function insertEntry(ct: Conntrack, records: Int32Array, at: number, timeMs: number): number {
  const words = ct.words;
  const key = ct.key;
  const entry = allocateEntry(ct, key[KEY_HASH]! >>> 26, timeMs);
  const base = entry << 5;
  const generation = words[base + ENTRY_GENERATION]!;
  words.fill(0, base, base + ENTRY_WORDS);
  ct.times[entry] = 0;
  words[base + ENTRY_GENERATION] = (generation + 1) | 0;
  words[base + ENTRY_META] = key[KEY_META]!;
  words[base + ENTRY_OWN] = key[KEY_OWN]!;
  words[base + ENTRY_INVERSE] = key[KEY_INVERSE]!;
  for (let word = 0; word < 4; word++) {
    words[base + ENTRY_SRC + word] = records[at + PACKET_SRC + word]!;
    words[base + ENTRY_DST + word] = records[at + PACKET_DST + word]!;
  }
  link(ct, entry, bucketOf(ct, key[KEY_HASH]!, key[KEY_NODE_HASH]!));
  forgetEntry(ct, base, key[KEY_HASH]!);
  return entry;
}

function link(ct: Conntrack, entry: number, bucket: number): void {
  ct.words[(entry << 5) + ENTRY_NEXT] = ct.words[bucket]!;
  ct.words[bucket] = entry;
}

/** A free slot of the shard, counted as live, but not linked; its ENTRY_META is 0. */
function allocateEntry(ct: Conntrack, shard: number, timeMs: number): number {
  const words = ct.words;
  const state = shardState(ct, shard);
  sweep(ct, shard, timeMs);
  if (words[state + SHARD_FREE] === NO_ENTRY && words[state + SHARD_USED] === ct.entriesPerShard) {
    evict(ct, shard, timeMs);
  }
  words[state + SHARD_LIVE]!++;
  const free = words[state + SHARD_FREE]!;
  if (free !== NO_ENTRY) {
    words[state + SHARD_FREE] = words[(free << 5) + ENTRY_NEXT]!;
    return free;
  }
  const slot = words[state + SHARD_USED]! + 1;
  words[state + SHARD_USED] = slot;
  return shard * (ct.entriesPerShard + 1) + slot;
}

/** Index in `words` of the shard's state. */
function shardState(ct: Conntrack, shard: number): number {
  return ct.shardsAt + shard * SHARD_WORDS;
}

/** The next slot under the shard's hand, among those ever used; NO_ENTRY while there are none. */
function nextSlot(ct: Conntrack, shard: number): number {
  const state = shardState(ct, shard);
  const used = ct.words[state + SHARD_USED]!;
  if (used === 0) return NO_ENTRY;
  const hand = ct.words[state + SHARD_HAND]! >= used ? 1 : ct.words[state + SHARD_HAND]! + 1;
  ct.words[state + SHARD_HAND] = hand;
  return shard * (ct.entriesPerShard + 1) + hand;
}

function sweep(ct: Conntrack, shard: number, timeMs: number): void {
  for (let count = 0; count < SWEEP_SLOTS; count++) {
    const entry = nextSlot(ct, shard);
    if (entry === NO_ENTRY) return;
    if (ct.times[entry]! <= timeMs) removeEntry(ct, entry);
  }
}

/** Frees one slot of a full shard. */
function evict(ct: Conntrack, shard: number, timeMs: number): void {
  const { words, times } = ct;
  let victim = NO_ENTRY;
  let victimValue = 0;
  let victimExpires = 0;
  for (let count = 0; count < EVICTION_SLOTS && count < ct.entriesPerShard; count++) {
    const entry = nextSlot(ct, shard);
    const expires = times[entry]!;
    const value = expires <= timeMs ? 0 : entryValue(words[(entry << 5) + ENTRY_STATUS]!);
    if (victim === NO_ENTRY || value < victimValue || (value === victimValue && expires < victimExpires)) {
      victim = entry;
      victimValue = value;
      victimExpires = expires;
    }
  }
  if (victimValue > 0) {
    // From now on a denied packet of this shard may be one whose entry is gone.
    if (words[shardState(ct, shard) + SHARD_EVICTIONS]!++ === 0) forgetFlows(ct);
    const mark = entryHash(words, victim << 5, true);
    markFilter(ct.filter, shard, mark >>> 16);
    markFilter(ct.filter, shard, mark & 0xffff);
  }
  removeEntry(ct, victim);
}

function entryValue(status: number): number {
  if ((status & STATUS_CLOSING) !== 0) return 1;
  if ((status & STATUS_SEEN_REPLY) === 0) return 2;
  return (status & STATUS_ASSURED) === 0 ? 3 : 4;
}

/** Entries that the shard of this hash has thrown out before their time. */
export function shardEvictions(ct: Conntrack, hash: number): number {
  return ct.words[shardState(ct, hash >>> 26) + SHARD_EVICTIONS]!;
}

function markFilter(filter: Int32Array, shard: number, bit: number): void {
  filter[shard * FILTER_WORDS + (bit >>> 5)]! |= 1 << (bit & 31);
}

function isMarked(filter: Int32Array, shard: number, bit: number): boolean {
  return (filter[shard * FILTER_WORDS + (bit >>> 5)]! & (1 << (bit & 31))) !== 0;
}

/** Takes away the lines of the flow of the entry at word `base`, which has this hash. */
export function forgetEntry(ct: Conntrack, base: number, hash: number): void {
  const { words } = ct;
  const isIpv6 = (words[base + ENTRY_META]! & META_IPV6) !== 0;
  forgetFlow(ct, hash, isIpv6, endOf(isIpv6, words, base + ENTRY_SRC), endOf(isIpv6, words, base + ENTRY_DST));
}

/** Unlinks the entry and gives its slot back to the shard. */
export function removeEntry(ct: Conntrack, entry: number): void {
  const words = ct.words;
  const base = entry << 5;
  const hash = entryHash(words, base, false);
  const bucket = bucketOf(ct, hash, entryHash(words, base, true));
  const next = words[base + ENTRY_NEXT]!;
  let before = words[bucket]!;
  if (before === entry) {
    words[bucket] = next;
  } else {
    while (words[(before << 5) + ENTRY_NEXT] !== entry) before = words[(before << 5) + ENTRY_NEXT]!;
    words[(before << 5) + ENTRY_NEXT] = next;
  }
  forgetEntry(ct, base, hash);
  const state = shardState(ct, hash >>> 26);
  words[base + ENTRY_META] = 0;
  ct.times[entry] = EXPIRES_NEVER;
  words[base + ENTRY_GENERATION] = (words[base + ENTRY_GENERATION]! + 1) | 0;
  words[base + ENTRY_NEXT] = words[state + SHARD_FREE]!;
  words[state + SHARD_FREE] = entry;
  words[state + SHARD_LIVE]!--;
}

/**
 * True if an entry of this packet's flow on this node was, or may have been, evicted. To be asked when `trackPacket`
 * found no entry (LAST_ENTRY is NO_ENTRY): the answer it gave may then be wrong. Never false for an evicted flow.
 */
export function mayHaveBeenEvicted(
  ct: Conntrack,
  node: number,
  records: Int32Array,
  at: number,
  view: DataView,
): boolean {
  const key = ct.key;
  if (!packetKey(key, node, records, at, view)) return false;
  const shard = key[KEY_HASH]! >>> 26;
  if (ct.words[shardState(ct, shard) + SHARD_EVICTIONS] === 0) return false;
  const mark = key[KEY_NODE_HASH]!;
  return isMarked(ct.filter, shard, mark >>> 16) && isMarked(ct.filter, shard, mark & 0xffff);
}
