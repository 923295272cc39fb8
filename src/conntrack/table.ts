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
 *   12-13  (unused)
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
 * by time leaves tombstones), buckets that double with the entries (15 ns less a packet at 20 000 flows of a Zipf
 * distribution, 8 ns more at 1 000, nothing at 60 000), a Map of keys (allocates for each packet), one table for all workers (eviction would
 * depend on their timing).
 *
 * The times at which entries end stand together, apart from the entries: a sweep passes eight of them in a line of the cache, and the second packet of an
 * unanswered flow needs nothing else of its entry.
 *
 * This file lays the table out; entries.ts finds, makes and removes entries.
 *
 * Source: Linux net/netfilter/nf_conntrack_core.c.
 */
import { FLOW_PAIR_WORDS } from './flows.ts';

/** Entries of a table by default: the number of tracked connections that design.md section 10 promises. */
export const CONNTRACK_ENTRIES_DEFAULT = 1_000_000;
/** Hash shards, whatever the number of workers (design.md section 10); a power of two. */
const CONNTRACK_SHARDS = 64;
/** Slots an insertion looks at to free expired entries, and to choose whom to evict. */
export const SWEEP_SLOTS = 2;
export const EVICTION_SLOTS = 16;
/** Filter bits of a shard: 8 KiB, so that 4 096 evictions accuse about one innocent flow in 70. */
const FILTER_BITS_LOG2 = 16;
export const FILTER_WORDS = 1 << (FILTER_BITS_LOG2 - 5);

export const NO_ENTRY = 0;
/** Of a free slot, so that the clock hand need not look at the entry. */
export const EXPIRES_NEVER = Number.POSITIVE_INFINITY;
export const DIRECTION_ORIGINAL = 0;
export const DIRECTION_REPLY = 1;

export const ENTRY_WORDS = 32;
export const ENTRY_NEXT = 0;
export const ENTRY_META = 1;
export const ENTRY_OWN = 2;
export const ENTRY_INVERSE = 3;
export const ENTRY_SRC = 4;
export const ENTRY_DST = 8;
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

/** State of a shard: one line of 64 bytes. */
export const SHARD_WORDS = 16;
export const SHARD_FREE = 0;
/** Slots ever used; the free list holds some of these. */
export const SHARD_USED = 1;
export const SHARD_LIVE = 2;
export const SHARD_EVICTIONS = 3;
export const SHARD_HAND = 4;
/** `last`: what the latest `trackPacket` or `trackError` found. */
export const LAST_ENTRY = 0;
export const LAST_DIRECTION = 1;
const LAST_WORDS = 2;

/** `key`: where the packet in hand belongs, written by `packetKey`. */
export const KEY_OWN = 0;
export const KEY_INVERSE = 1;
export const KEY_META = 2;
/** Hash without the node: the shard is its top bits. */
export const KEY_HASH = 3;
/** Hash with the node: chooses the bucket, and the filter bits. */
export const KEY_NODE_HASH = 4;
const KEY_WORDS = 8;

export const META_LIVE = 1 << 31;
export const META_IPV6 = 1 << 8;
/** Nodes are numbered below this. */
const CONNTRACK_NODES_MAX = 1 << 22;

export interface ConntrackOptions {
  /** Most connections tracked at once, rounded up to a multiple of 64; below 2^25. */
  readonly capacityEntries?: number;
  /** Nodes are numbered below this; at most 2^22. */
  readonly nodeCount?: number;
  /** `nf_conntrack_tcp_loose=0`: a connection is picked up only at its SYN. */
  readonly strict?: boolean;
  /** `nf_conntrack_tcp_be_liberal=1`: sequence numbers outside the window are no reason for INVALID. */
  readonly liberal?: boolean;
  /** The table of another thread (its `buffer`), made with the same capacity. Threads use disjoint shards. */
  readonly buffer?: SharedArrayBuffer;
}

/** All memory is allocated at creation. `last`, `key` and the flow lines belong to this thread, everything else may be shared. */
export interface Conntrack {
  readonly buffer: SharedArrayBuffer;
  /** The entries; from `headsAt` on the first entry of each bucket; from `shardsAt` on SHARD_WORDS of state a shard. */
  readonly words: Int32Array;
  /** By entry: packet time in ms from which on it is dead. Of a free slot EXPIRES_NEVER, once it has been used. */
  readonly times: Float64Array;
  readonly headsAt: number;
  readonly shardsAt: number;
  readonly filter: Int32Array;
  readonly last: Int32Array;
  readonly key: Int32Array;
  readonly entriesPerShard: number;
  /** A shard has 1 << bucketBits buckets. */
  readonly bucketBits: number;
  readonly isStrict: boolean;
  readonly isLiberal: boolean;
  /** Lines of flows, their number of pairs less one, and the stamp of those that hold; a few that nobody reads until they are opened (flows.ts). */
  flows: Int32Array;
  flowMask: number;
  flowStamp: number;
}

export function createConntrack(options: ConntrackOptions = {}): Conntrack {
  const capacityEntries = options.capacityEntries ?? CONNTRACK_ENTRIES_DEFAULT;
  if (!Number.isInteger(capacityEntries) || capacityEntries < 1 || capacityEntries >= 1 << 25) {
    throw new RangeError(`conntrack capacity ${capacityEntries}: must be an integer from 1 to ${(1 << 25) - 1}`);
  }
  if ((options.nodeCount ?? 1) > CONNTRACK_NODES_MAX) {
    throw new RangeError(`conntrack for ${options.nodeCount} nodes: at most ${CONNTRACK_NODES_MAX}`);
  }
  const entriesPerShard = Math.ceil(capacityEntries / CONNTRACK_SHARDS);
  const bucketBits = Math.max(1, 32 - Math.clz32(entriesPerShard - 1));
  // One more slot than entries in each shard: slot 0 is the shard's scratch, so that entry number 0 is never used.
  const entriesBytes = CONNTRACK_SHARDS * (entriesPerShard + 1) * ENTRY_WORDS * 4;
  const headsBytes = (CONNTRACK_SHARDS << bucketBits) * 4;
  const shardsBytes = CONNTRACK_SHARDS * SHARD_WORDS * 4;
  const filterBytes = CONNTRACK_SHARDS * FILTER_WORDS * 4;
  const timesAt = entriesBytes + headsBytes + shardsBytes + filterBytes;
  const totalBytes = timesAt + (entriesBytes / ENTRY_WORDS) * 2;
  const buffer = options.buffer ?? new SharedArrayBuffer(totalBytes);
  if (buffer.byteLength !== totalBytes) {
    throw new RangeError(`conntrack buffer has ${buffer.byteLength} bytes: the capacity asks for ${totalBytes}`);
  }
  return {
    buffer,
    words: new Int32Array(buffer, 0, (entriesBytes + headsBytes + shardsBytes) >> 2),
    times: new Float64Array(buffer, timesAt),
    headsAt: entriesBytes >> 2,
    shardsAt: (entriesBytes + headsBytes) >> 2,
    filter: new Int32Array(buffer, entriesBytes + headsBytes + shardsBytes, filterBytes >> 2),
    last: new Int32Array(LAST_WORDS),
    key: new Int32Array(KEY_WORDS),
    entriesPerShard,
    bucketBits,
    isStrict: options.strict ?? false,
    isLiberal: options.liberal ?? false,
    flows: new Int32Array(4 * FLOW_PAIR_WORDS),
    flowMask: 0,
    flowStamp: 1,
  };
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
  for (let shard = 0; shard < CONNTRACK_SHARDS; shard++) sum += ct.words[ct.shardsAt + shard * SHARD_WORDS + word]!;
  return sum;
}
