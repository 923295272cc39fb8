/**
 * The connection table: entries by node and five-tuple in 64 hash shards, on flat memory that never grows.
 *
 * Problem. A packet must find its connection from either direction, on the node that tracks it, in a few dozen
 * nanoseconds; the table must stay inside a fixed number of entries whatever the capture holds; and the answer must be
 * the same with one worker as with eight.
 *
 * Idea. The hash is symmetric: it adds one mix of (source, own tuple word) and one of (destination, inverse tuple
 * word), so that a packet and its answer meet in the same bucket. The top six bits of the hash choose one of 64 shards,
 * and a shard is a table of its own: buckets, entries, free list, sweep cursor, eviction marks. No operation looks
 * outside the shard, so a worker may own any subset of the shards and every answer, evictions included, is that of a
 * single worker. The node takes part in the bucket, not in the shard: all nodes' views of a flow stay together.
 *
 * A tuple word is what the kernel calls the protocol part of a tuple: for ports `src << 16 | dst`; for an ICMP question
 * `id << 16 | type << 8 | code`, whose inverse carries the type of the answer; 0 for protocols without either. An entry
 * stores the words of its first packet (own, inverse). A packet is of the original direction when its own word, source
 * and destination equal the entry's; it is a reply when its own word equals the entry's inverse and the addresses are
 * swapped. An echo request in the other direction therefore matches neither, as in the kernel.
 *
 * Worked example. 10.0.0.1:40000 > 10.0.0.2:80 on node 1: own 0x9c400050, inverse 0x00509c40. The sum
 * mix(10.0.0.1, 0x9c400050) + mix(10.0.0.2, 0x00509c40) gives, say, shard 17 and bucket 5. The answer has source
 * 10.0.0.2, own 0x00509c40, inverse 0x9c400050: the same two mixes in the other order, the same sum, shard and bucket.
 * There its own word equals the entry's inverse and its source the entry's destination: a reply.
 *
 * Entries (ENTRY_WORDS int32 words each; two cache lines of 64 bytes, all that most protocols need in the first):
 *
 *   word   name            meaning
 *   0      ENTRY_NEXT      next entry of the bucket, or of the free list; NO_ENTRY ends it
 *   1      ENTRY_META      node << 9 | ipv6 << 8 | protocol, and bit 31 set; 0 = the slot is free
 *   2      ENTRY_OWN       tuple word of the original direction
 *   3      ENTRY_INVERSE   tuple word of the reply direction
 *   4-7    ENTRY_SRC       source of the original direction (IPv4: word 4, the others 0)
 *   8-11   ENTRY_DST       destination of the original direction
 *   12-13  (float64)       ENTRY_EXPIRES of `times`: packet time in ms from which on the entry is dead
 *   14     ENTRY_STATUS    state of the protocol (low 8 bits) and STATUS_* bits
 *   15     ENTRY_GENERATION  grows whenever the slot is given to a connection or taken from it
 *   16     ENTRY_TAG       the caller's word, 0 at first
 *   17-31  ENTRY_PROTOCOL  what the protocol remembers: see tcp.ts and sctp.ts
 *
 * Bound. A shard holds ceil(capacity / 64) entries. An insertion first lets a clock hand pass two slots and frees those
 * that are expired; if the shard is full all the same, it looks at the next 16 slots and evicts the least valuable: an
 * expired one (not an eviction), else one that is closing, else one without an answer, else one not yet assured, else
 * any; among equals the one that would expire first. An eviction is counted and its hash noted in two bits of the
 * shard's filter, so that `mayHaveBeenEvicted` never misses a lost connection and rarely accuses another. Linux
 * (`early_drop`) refuses the new connection when it finds only assured ones; we keep the new one, because a refused
 * entry would be wrong at once and an evicted one is reported only if a packet asks for it.
 *
 * Cost: one bucket read and one or two cache lines a packet; load factor at most 1. Rejected: open addressing (deletion
 * by time leaves tombstones), a Map of keys (allocates for each packet), one table for all workers (eviction would
 * depend on their timing).
 *
 * Source: Linux net/netfilter/nf_conntrack_core.c.
 */
import {
  FLAG_IPV6,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_ICMP_CODE,
  PACKET_ICMP_ID,
  PACKET_ICMP_TYPE,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_CAPTURED_BYTES,
  PACKET_TRANSPORT_OFFSET,
} from '../wire/record.ts';

/** Entries of a table by default: the number of tracked connections that design.md section 10 promises. */
export const CONNTRACK_ENTRIES_DEFAULT = 1_000_000;
/** Hash shards, whatever the number of workers (design.md section 10); a power of two. */
export const CONNTRACK_SHARDS = 64;
/** Slots an insertion looks at to free expired entries, and to choose whom to evict. */
const SWEEP_SLOTS = 2;
const EVICTION_SLOTS = 16;
/** Filter bits of a shard: 8 KiB, so that 4 096 evictions accuse about one innocent flow in 70. */
const FILTER_BITS_LOG2 = 16;
const FILTER_WORDS = 1 << (FILTER_BITS_LOG2 - 5);

export const NO_ENTRY = 0;
export const DIRECTION_ORIGINAL = 0;
export const DIRECTION_REPLY = 1;

export const ENTRY_WORDS = 32;
export const ENTRY_NEXT = 0;
export const ENTRY_META = 1;
export const ENTRY_OWN = 2;
export const ENTRY_INVERSE = 3;
export const ENTRY_SRC = 4;
export const ENTRY_DST = 8;
/** Index in float64 units from the start of the entry. */
export const ENTRY_EXPIRES = 6;
export const ENTRY_STATUS = 14;
export const ENTRY_GENERATION = 15;
export const ENTRY_TAG = 16;
export const ENTRY_PROTOCOL = 17;

/** ENTRY_STATUS: the protocol's state, and what the kernel keeps in `ct->status`. */
export const STATUS_STATE_MASK = 0xff;
/** An accepted packet of the reply direction was seen. */
export const STATUS_SEEN_REPLY = 1 << 8;
/** TCP: acknowledged in the established state; SCTP: established; UDP and GRE: answered. */
export const STATUS_ASSURED = 1 << 9;
/** The connection is closing: the first to go when the shard is full. */
export const STATUS_CLOSING = 1 << 10;

/** Shards: one line of 64 bytes each. */
const SHARD_WORDS = 16;
const SHARD_FREE = 0;
/** Slots ever used; the free list holds some of these. */
const SHARD_USED = 1;
const SHARD_LIVE = 2;
const SHARD_EVICTIONS = 3;
const SHARD_HAND = 4;

/** `last`: what the latest `trackPacket` or `trackError` found. */
export const LAST_ENTRY = 0;
export const LAST_DIRECTION = 1;
const LAST_WORDS = 2;

/** `key`: where the packet in hand belongs, written by `packetKey`. */
const KEY_OWN = 0;
const KEY_INVERSE = 1;
const KEY_META = 2;
/** Hash without the node: the shard is its top bits. */
const KEY_HASH = 3;
/** Hash with the node: chooses the bucket, and the filter bits. */
const KEY_NODE_HASH = 4;
const KEY_WORDS = 8;

const META_LIVE = 1 << 31;
/** Nodes are numbered below this. */
export const CONNTRACK_NODES_MAX = 1 << 22;

export interface ConntrackOptions {
  /** Most connections tracked at once, rounded up to a multiple of 64; below 2^25. */
  readonly capacityEntries?: number;
  /** `nf_conntrack_tcp_loose=0`: a connection is picked up only at its SYN. */
  readonly strict?: boolean;
  /** `nf_conntrack_tcp_be_liberal=1`: sequence numbers outside the window are no reason for INVALID. */
  readonly liberal?: boolean;
  /** The table of another thread (its `buffer`), made with the same capacity. Threads use disjoint shards. */
  readonly buffer?: SharedArrayBuffer;
}

/** All memory is allocated at creation. `last` and `key` belong to this thread, everything else may be shared. */
export interface Conntrack {
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array;
  /** The same memory as `words`. */
  readonly times: Float64Array;
  readonly heads: Int32Array;
  readonly shards: Int32Array;
  readonly filter: Int32Array;
  readonly last: Int32Array;
  readonly key: Int32Array;
  readonly entriesPerShard: number;
  readonly bucketBits: number;
  readonly isStrict: boolean;
  readonly isLiberal: boolean;
}

export function createConntrack(options: ConntrackOptions = {}): Conntrack {
  const capacityEntries = options.capacityEntries ?? CONNTRACK_ENTRIES_DEFAULT;
  if (!Number.isInteger(capacityEntries) || capacityEntries < 1 || capacityEntries >= 1 << 25) {
    throw new RangeError(`conntrack capacity ${capacityEntries}: must be an integer from 1 to ${(1 << 25) - 1}`);
  }
  const entriesPerShard = Math.ceil(capacityEntries / CONNTRACK_SHARDS);
  const bucketBits = Math.max(1, 32 - Math.clz32(entriesPerShard - 1));
  // One more slot than entries in each shard: slot 0 is the shard's scratch, so that entry number 0 is never used.
  const entriesBytes = CONNTRACK_SHARDS * (entriesPerShard + 1) * ENTRY_WORDS * 4;
  const headsBytes = (CONNTRACK_SHARDS << bucketBits) * 4;
  const shardsBytes = CONNTRACK_SHARDS * SHARD_WORDS * 4;
  const filterBytes = CONNTRACK_SHARDS * FILTER_WORDS * 4;
  const totalBytes = entriesBytes + headsBytes + shardsBytes + filterBytes;
  const buffer = options.buffer ?? new SharedArrayBuffer(totalBytes);
  if (buffer.byteLength !== totalBytes) {
    throw new RangeError(`conntrack buffer has ${buffer.byteLength} bytes: the capacity asks for ${totalBytes}`);
  }
  return {
    buffer,
    words: new Int32Array(buffer, 0, entriesBytes >> 2),
    times: new Float64Array(buffer, 0, entriesBytes >> 3),
    heads: new Int32Array(buffer, entriesBytes, headsBytes >> 2),
    shards: new Int32Array(buffer, entriesBytes + headsBytes, shardsBytes >> 2),
    filter: new Int32Array(buffer, entriesBytes + headsBytes + shardsBytes, filterBytes >> 2),
    last: new Int32Array(LAST_WORDS),
    key: new Int32Array(KEY_WORDS),
    entriesPerShard,
    bucketBits,
    isStrict: options.strict ?? false,
    isLiberal: options.liberal ?? false,
  };
}

/**
 * Shard of the packet's flow, 0 to 63, on whichever node: how packets are divided among workers. For an ICMP error pass
 * the record of the packet it quotes. Both directions of a flow give the same shard.
 */
export function flowShard(ct: Conntrack, records: Int32Array, at: number, view: DataView): number {
  packetKey(ct.key, 0, records, at, view);
  return ct.key[KEY_HASH]! >>> 26;
}

/** Writes the key of the packet; false if no tuple can be formed or inverted, which the kernel calls INVALID. */
export function packetKey(key: Int32Array, node: number, records: Int32Array, at: number, view: DataView): boolean {
  const protocol = records[at + PACKET_PROTOCOL]!;
  const isIpv6 = (records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0;
  let own = 0;
  let inverse = 0;
  if (protocol === 6 || protocol === 17 || protocol === 132 || protocol === 136) {
    const srcPort = records[at + PACKET_SRC_PORT]!;
    const dstPort = records[at + PACKET_DST_PORT]!;
    own = (srcPort << 16) | dstPort;
    inverse = (dstPort << 16) | srcPort;
  } else if (protocol === 1 || protocol === 58) {
    const type = records[at + PACKET_ICMP_TYPE]!;
    const inverseType = (protocol === 58) === isIpv6 ? inverseIcmpType(protocol, type) : -1;
    if (inverseType < 0) return false;
    const rest = (records[at + PACKET_ICMP_ID]! << 16) | records[at + PACKET_ICMP_CODE]!;
    own = rest | (type << 8);
    inverse = rest | (inverseType << 8);
  } else if (protocol === 47) {
    own = greCallId(records, at, view);
    if (own < 0) return false;
    inverse = own << 16;
  }
  let src = records[at + PACKET_SRC]!;
  let dst = records[at + PACKET_DST]!;
  if (isIpv6) {
    src = foldAddress(records, at + PACKET_SRC);
    dst = foldAddress(records, at + PACKET_DST);
  }
  const hash = finishHash(mixEnd(src, own) + mixEnd(dst, inverse) + Math.imul(protocol, 0x27d4eb2f));
  key[KEY_OWN] = own;
  key[KEY_INVERSE] = inverse;
  key[KEY_META] = META_LIVE | (node << 9) | (isIpv6 ? 256 : 0) | protocol;
  key[KEY_HASH] = hash;
  key[KEY_NODE_HASH] = Math.imul(hash ^ Math.imul(node, 0x632be5ab), 0x9e3779b1);
  return true;
}

/** Type of the answer to a question, of the question to an answer; -1 for any other message. */
function inverseIcmpType(protocol: number, type: number): number {
  if (protocol === 1) {
    if (type === 8) return 0;
    if (type === 0) return 8;
    if (type >= 13 && type <= 18) return type & 1 ? type + 1 : type - 1;
    return -1;
  }
  // Echo 128 and 129, node information 139 and 140.
  if (type === 128 || type === 139) return type + 1;
  return type === 129 || type === 140 ? type - 1 : -1;
}

/**
 * Call ID of enhanced GRE (version 1, RFC 2637), which Linux keys PPTP's data channel by; 0 for plain GRE, -1 if enhanced
 * GRE carries anything but PPP. Each direction has its own call ID, which only PPTP's control channel relates to the other:
 * without a PPTP helper they are two connections.
 */
function greCallId(records: Int32Array, at: number, view: DataView): number {
  if (records[at + PACKET_TRANSPORT_CAPTURED_BYTES]! < 8 || records[at + PACKET_TRANSPORT_BYTES]! < 8) return 0;
  const offset = records[at + PACKET_TRANSPORT_OFFSET]!;
  if ((view.getUint8(offset + 1) & 7) !== 1) return 0;
  return view.getUint16(offset + 2) === GRE_PROTOCOL_PPP ? view.getUint16(offset + 6) : -1;
}

const GRE_PROTOCOL_PPP = 0x880b;

function foldAddress(records: Int32Array, at: number): number {
  return (
    Math.imul(records[at]!, 0x85ebca6b) ^
    Math.imul(records[at + 1]!, 0xc2b2ae35) ^
    Math.imul(records[at + 2]!, 0x27d4eb2f) ^
    records[at + 3]!
  );
}

function mixEnd(address: number, tuple: number): number {
  const h = Math.imul(address ^ Math.imul(tuple, 0x9e3779b1), 0x85ebca6b);
  return Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
}

function finishHash(sum: number): number {
  const h = Math.imul(sum ^ (sum >>> 16), 0x7feb352d);
  return h ^ (h >>> 15);
}

/**
 * Entry of the packet whose key was written last, as `entry << 1 | direction`, or NO_ENTRY. An entry that is expired at
 * `timeMs` is freed and not found.
 */
export function findEntry(ct: Conntrack, records: Int32Array, at: number, timeMs: number): number {
  const words = ct.words;
  const key = ct.key;
  const own = key[KEY_OWN]!;
  const meta = key[KEY_META]!;
  const src = records[at + PACKET_SRC]!;
  const dst = records[at + PACKET_DST]!;
  const isIpv6 = (meta & 256) !== 0;
  let entry = ct.heads[bucketOfKey(ct)]!;
  while (entry !== NO_ENTRY) {
    const base = entry << 5;
    if (words[base + ENTRY_META] === meta) {
      const first = words[base + ENTRY_SRC]!;
      const second = words[base + ENTRY_DST]!;
      let direction = -1;
      if (words[base + ENTRY_OWN] === own && first === src && second === dst) direction = DIRECTION_ORIGINAL;
      else if (words[base + ENTRY_INVERSE] === own && first === dst && second === src) direction = DIRECTION_REPLY;
      if (direction >= 0 && isIpv6) direction = directionIpv6(words, base, records, at, own);
      if (direction >= 0) {
        if (ct.times[(base >> 1) + ENTRY_EXPIRES]! > timeMs) return (entry << 1) | direction;
        removeEntry(ct, entry);
        return NO_ENTRY;
      }
    }
    entry = words[base + ENTRY_NEXT]!;
  }
  return NO_ENTRY;
}

/** Direction by the whole addresses, or -1: the first words may fit both ways where the rest fits one. */
function directionIpv6(words: Int32Array, base: number, records: Int32Array, at: number, own: number): number {
  if (
    words[base + ENTRY_OWN] === own &&
    sameAddress(words, base + ENTRY_SRC, records, at + PACKET_SRC) &&
    sameAddress(words, base + ENTRY_DST, records, at + PACKET_DST)
  ) {
    return DIRECTION_ORIGINAL;
  }
  if (
    words[base + ENTRY_INVERSE] === own &&
    sameAddress(words, base + ENTRY_SRC, records, at + PACKET_DST) &&
    sameAddress(words, base + ENTRY_DST, records, at + PACKET_SRC)
  ) {
    return DIRECTION_REPLY;
  }
  return -1;
}

function sameAddress(words: Int32Array, first: number, records: Int32Array, second: number): boolean {
  return (
    words[first] === records[second] &&
    words[first + 1] === records[second + 1] &&
    words[first + 2] === records[second + 2] &&
    words[first + 3] === records[second + 3]
  );
}

function bucketOfKey(ct: Conntrack): number {
  return bucketOf(ct, ct.key[KEY_HASH]!, ct.key[KEY_NODE_HASH]!);
}

function bucketOf(ct: Conntrack, hash: number, nodeHash: number): number {
  return ((hash >>> 26) << ct.bucketBits) | (nodeHash >>> (32 - ct.bucketBits));
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
  words[base + ENTRY_GENERATION] = (generation + 1) | 0;
  words[base + ENTRY_META] = key[KEY_META]!;
  words[base + ENTRY_OWN] = key[KEY_OWN]!;
  words[base + ENTRY_INVERSE] = key[KEY_INVERSE]!;
  for (let word = 0; word < 4; word++) {
    words[base + ENTRY_SRC + word] = records[at + PACKET_SRC + word]!;
    words[base + ENTRY_DST + word] = records[at + PACKET_DST + word]!;
  }
  const bucket = bucketOfKey(ct);
  words[base + ENTRY_NEXT] = ct.heads[bucket]!;
  ct.heads[bucket] = entry;
  return entry;
}

/** A free slot of the shard, counted as live. */
function allocateEntry(ct: Conntrack, shard: number, timeMs: number): number {
  const shards = ct.shards;
  const state = shard * SHARD_WORDS;
  sweep(ct, shard, timeMs);
  if (shards[state + SHARD_FREE] === NO_ENTRY && shards[state + SHARD_USED] === ct.entriesPerShard) {
    evict(ct, shard, timeMs);
  }
  shards[state + SHARD_LIVE]!++;
  const free = shards[state + SHARD_FREE]!;
  if (free !== NO_ENTRY) {
    shards[state + SHARD_FREE] = ct.words[(free << 5) + ENTRY_NEXT]!;
    return free;
  }
  const slot = shards[state + SHARD_USED]! + 1;
  shards[state + SHARD_USED] = slot;
  return shard * (ct.entriesPerShard + 1) + slot;
}

/** The next slot under the shard's hand, among those ever used; NO_ENTRY while there are none. */
function nextSlot(ct: Conntrack, shard: number): number {
  const state = shard * SHARD_WORDS;
  const used = ct.shards[state + SHARD_USED]!;
  if (used === 0) return NO_ENTRY;
  const hand = ct.shards[state + SHARD_HAND]! >= used ? 1 : ct.shards[state + SHARD_HAND]! + 1;
  ct.shards[state + SHARD_HAND] = hand;
  return shard * (ct.entriesPerShard + 1) + hand;
}

function sweep(ct: Conntrack, shard: number, timeMs: number): void {
  for (let count = 0; count < SWEEP_SLOTS; count++) {
    const entry = nextSlot(ct, shard);
    if (entry === NO_ENTRY) return;
    const base = entry << 5;
    if (ct.words[base + ENTRY_META] !== 0 && ct.times[(base >> 1) + ENTRY_EXPIRES]! <= timeMs) removeEntry(ct, entry);
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
    const expires = times[(entry << 4) + ENTRY_EXPIRES]!;
    const value = expires <= timeMs ? 0 : entryValue(words[(entry << 5) + ENTRY_STATUS]!);
    if (victim === NO_ENTRY || value < victimValue || (value === victimValue && expires < victimExpires)) {
      victim = entry;
      victimValue = value;
      victimExpires = expires;
    }
  }
  if (victimValue > 0) {
    ct.shards[shard * SHARD_WORDS + SHARD_EVICTIONS]!++;
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

function markFilter(filter: Int32Array, shard: number, bit: number): void {
  filter[shard * FILTER_WORDS + (bit >>> 5)]! |= 1 << (bit & 31);
}

function isMarked(filter: Int32Array, shard: number, bit: number): boolean {
  return (filter[shard * FILTER_WORDS + (bit >>> 5)]! & (1 << (bit & 31))) !== 0;
}

/** The hash of an entry, as `packetKey` had it for its packets: without the node, or with it. */
function entryHash(words: Int32Array, base: number, withNode: boolean): number {
  const meta = words[base + ENTRY_META]!;
  let src = words[base + ENTRY_SRC]!;
  let dst = words[base + ENTRY_DST]!;
  if ((meta & 256) !== 0) {
    src = foldAddress(words, base + ENTRY_SRC);
    dst = foldAddress(words, base + ENTRY_DST);
  }
  const ends = mixEnd(src, words[base + ENTRY_OWN]!) + mixEnd(dst, words[base + ENTRY_INVERSE]!);
  const hash = finishHash(ends + Math.imul(meta & 0xff, 0x27d4eb2f));
  if (!withNode) return hash;
  const node = (meta & ~META_LIVE) >>> 9;
  return Math.imul(hash ^ Math.imul(node, 0x632be5ab), 0x9e3779b1);
}

/** Unlinks the entry and gives its slot back to the shard. */
export function removeEntry(ct: Conntrack, entry: number): void {
  const words = ct.words;
  const base = entry << 5;
  const hash = entryHash(words, base, false);
  const bucket = bucketOf(ct, hash, entryHash(words, base, true));
  const next = words[base + ENTRY_NEXT]!;
  let before = ct.heads[bucket]!;
  if (before === entry) {
    ct.heads[bucket] = next;
  } else {
    while (words[(before << 5) + ENTRY_NEXT] !== entry) before = words[(before << 5) + ENTRY_NEXT]!;
    words[(before << 5) + ENTRY_NEXT] = next;
  }
  const state = (hash >>> 26) * SHARD_WORDS;
  words[base + ENTRY_META] = 0;
  words[base + ENTRY_GENERATION] = (words[base + ENTRY_GENERATION]! + 1) | 0;
  words[base + ENTRY_NEXT] = ct.shards[state + SHARD_FREE]!;
  ct.shards[state + SHARD_FREE] = entry;
  ct.shards[state + SHARD_LIVE]!--;
}

/** Entries in the table, expired ones that nobody has met since included. */
export function liveEntries(ct: Conntrack): number {
  return sumOfShards(ct, SHARD_LIVE);
}

/** Connections that were thrown out before their time because their shard was full. */
export function evictedEntries(ct: Conntrack): number {
  return sumOfShards(ct, SHARD_EVICTIONS);
}

function sumOfShards(ct: Conntrack, word: number): number {
  let sum = 0;
  for (let shard = 0; shard < CONNTRACK_SHARDS; shard++) sum += ct.shards[shard * SHARD_WORDS + word]!;
  return sum;
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
  if (ct.shards[shard * SHARD_WORDS + SHARD_EVICTIONS] === 0) return false;
  const mark = key[KEY_NODE_HASH]!;
  return isMarked(ct.filter, shard, mark >>> 16) && isMarked(ct.filter, shard, mark & 0xffff);
}
