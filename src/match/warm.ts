/**
 * What the judge will ask of packets whose flow has no line, for all such packets of a batch at once.
 *
 * A first packet of a flow meets some twenty loads that miss every cache, each waiting for the one before: address, class, pair, function; address,
 * owner, endpoint, node; bucket, entry. One after the other that is microseconds. Here each step is a loop over all the packets
 * that wait for it, so that their misses overlap (as in plain.ts), and what is found is kept by row for match/simple.ts:
 *
 *   classes   both addresses -> trie (IPv6: hash and ranges) -> address class
 *   pairs     row of the destination + column of the source + protocol -> port function; read
 *   places    addresses -> owners -> node
 *   buckets   five-tuple and node -> bucket of the connection table -> entry; read, and the slot of a new one
 *
 * Where all pods are of one node, or those of one node alone are local (`--node`), the class tells the place: nobody asks owners.
 */
import { specialize } from '../base/specialize.ts';
import { flowHashPorts, mixNode } from '../conntrack/key.ts';
import { type Conntrack, NO_ENTRY, SHARD_FREE, SHARD_USED, SHARD_WORDS } from '../conntrack/table.ts';
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { TRAIT_IPV6, TRAIT_TCP } from '../wire/record.ts';
import { claimNode, classOf4, classOf6, findOwner } from './lookup.ts';
import type { TrackedJudge, TrackedRows } from './tracked.ts';

/** Packets whose lines of the cache (some twenty each) stay in the first two levels until they are judged. */
const TOGETHER = 64;

/** By row of the batch: what was found. */
export interface WarmRows {
  /** Word offsets in `classes4` or, of IPv6, `classes6`. */
  readonly srcClasses: Int32Array;
  readonly dstClasses: Int32Array;
  /** Port function of both checks, as SECTION_PAIRS has it, or NONE. */
  readonly refs: Int32Array;
  /** Nodes of the tables that the ends are on and whose checks are seen; NONE = outside, or a place that only the judge knows. */
  readonly srcNodes: Int32Array;
  readonly dstNodes: Int32Array;
}

export interface Warmer extends WarmRows {
  /** A new batch is in the columns, and the first `count` rows in `missing` (match/tracked.ts) are likely to be asked about, in order. */
  begin(count: number): void;
  /** Finds what `row`, whose frame is in `view`, needs, unless that has been done, and what the next ones in `missing` need with it. */
  need(view: DataView, row: number): void;
}

export function createWarmer(
  tables: Tables,
  ct: Conntrack,
  nodeNumbers: Int32Array,
  rows: TrackedRows,
  { missing }: Pick<TrackedJudge, 'missing'>,
): Warmer {
  const column = (): Int32Array => new Int32Array(rows.src.length);
  const found = {
    srcClasses: column(),
    dstClasses: column(),
    refs: column(),
    srcNodes: column(),
    dstNodes: column(),
  };
  const listedIn = column();
  let batch = 0;
  const place = onlyPlace(tables);
  const loops = specialize(warmLoops)(tables, ct, nodeNumbers, rows, found, missing, place, {
    NONE: layout.NONE,
    CLASS_FLAGS: layout.CLASS_FLAGS,
    CLASS_IS_LOCAL: layout.CLASS_IS_LOCAL,
    CLASS_PAIR_ROW: layout.CLASS_PAIR_ROW,
    CLASS_PAIR_COLUMN: layout.CLASS_PAIR_COLUMN,
    TRAIT_IPV6,
    TRAIT_TCP,
    SHARD_WORDS,
    SHARD_FREE,
    SHARD_USED,
    NO_ENTRY,
    OWNER_SIZE: layout.OWNER_SIZE,
    OWNER_6_SIZE: layout.OWNER_6_SIZE,
    addressHash: layout.addressHash,
    classOf4,
    classOf6,
    findOwner,
    claimNode,
    flowHashPorts,
    mixNode,
  });
  /** Rows in `missing`, and how many of them have been taken. */
  let listed = 0;
  let taken = 0;
  const find = (view: DataView, from: number, to: number): void => {
    for (let i = from; i < to; i++) listedIn[missing[i]!] = batch;
    loops.classes(view, from, to);
    loops.pairs(from, to);
    if (place === layout.NONE) loops.places(view, from, to);
    else loops.onePlace(from, to);
    loops.buckets(from, to);
  };
  /** Behind all that are listed. */
  const spare = missing.length - 1;
  return {
    ...found,
    begin(count) {
      batch = (batch + 1) | 0;
      listed = count;
      taken = 0;
    },
    need(view, row) {
      while (listedIn[row] !== batch && taken < listed && missing[taken]! <= row) {
        const from = taken;
        taken = Math.min(listed, from + TOGETHER);
        find(view, from, taken);
      }
      if (listedIn[row] === batch) return;
      missing[spare] = row;
      find(view, spare, spare + 1);
    },
  };
}

/** The node of every local pod, if it is one, as a number of the tables; else NONE. */
function onlyPlace({ localNode, counts }: Tables): number {
  if (localNode !== layout.NONE) return localNode;
  return counts[layout.SECTION_NODES] === 1 ? 0 : layout.NONE;
}

/** What the loops use from outside; a specialized function may name nothing of it. */
interface Outside {
  readonly NONE: number;
  readonly CLASS_FLAGS: number;
  readonly CLASS_IS_LOCAL: number;
  readonly CLASS_PAIR_ROW: number;
  readonly CLASS_PAIR_COLUMN: number;
  readonly TRAIT_IPV6: number;
  readonly TRAIT_TCP: number;
  readonly SHARD_WORDS: number;
  readonly SHARD_FREE: number;
  readonly SHARD_USED: number;
  readonly NO_ENTRY: number;
  readonly OWNER_SIZE: number;
  readonly OWNER_6_SIZE: number;
  readonly addressHash: typeof layout.addressHash;
  readonly classOf4: typeof classOf4;
  readonly classOf6: typeof classOf6;
  readonly findOwner: typeof findOwner;
  readonly claimNode: typeof claimNode;
  readonly flowHashPorts: typeof flowHashPorts;
  readonly mixNode: typeof mixNode;
}

interface WarmLoops {
  /* Of the rows that stand in `missing` from place `from` to before `to`. */
  classes(view: DataView, from: number, to: number): void;
  pairs(from: number, to: number): number;
  places(view: DataView, from: number, to: number): number;
  onePlace(from: number, to: number): void;
  buckets(from: number, to: number): number;
}

function warmLoops(
  tables: Tables,
  ct: Conntrack,
  nodeNumbers: Int32Array,
  rows: TrackedRows,
  found: WarmRows,
  missing: Int32Array,
  place: number,
  outside: Outside,
): WarmLoops {
  const { trie4, classes4, classes6, pairs, functions, owners, owners6, localNode } = tables;
  const { traits, src, dst, ports, offsets } = rows;
  const { srcClasses, dstClasses, refs, srcNodes, dstNodes } = found;
  const { words, headsAt, bucketBits, shardsAt, entriesPerShard } = ct;
  const { NONE, CLASS_FLAGS, CLASS_IS_LOCAL, CLASS_PAIR_ROW, CLASS_PAIR_COLUMN } = outside;
  const { OWNER_SIZE, OWNER_6_SIZE, TRAIT_IPV6, TRAIT_TCP } = outside;
  const { SHARD_WORDS, SHARD_FREE, SHARD_USED, NO_ENTRY } = outside;
  const { addressHash, classOf4, classOf6, findOwner, claimNode, flowHashPorts, mixNode } = outside;
  const ownerMask = owners.length / OWNER_SIZE - 1;
  const ownerMask6 = owners6.length / OWNER_6_SIZE - 1;
  const heads = new Int32Array(missing.length);
  const class6 = (view: DataView, at: number): number =>
    classOf6(tables, view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
  const hash6 = (view: DataView, at: number): number =>
    addressHash(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
  const owner6 = (view: DataView, at: number): number =>
    findOwner(tables, 6, view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
  const nodeOf = (owner: number): number => {
    const node = claimNode(tables, owner, 0);
    return localNode === NONE || node === localNode ? node : NONE;
  };
  return {
    classes(view, from, to) {
      for (let i = from; i < to; i++) {
        const row = missing[i]!;
        const six = (traits[row]! & TRAIT_IPV6) !== 0;
        const at = offsets[row]! + 22;
        srcClasses[row] = six ? class6(view, at) : classOf4(trie4, src[row]!);
        dstClasses[row] = six ? class6(view, at + 16) : classOf4(trie4, dst[row]!);
      }
    },
    /** Returns a number that keeps the touched words alive, as do the others. */
    pairs(from, to) {
      let touched = 0;
      for (let i = from; i < to; i++) {
        const row = missing[i]!;
        const udp = (traits[row]! & TRAIT_TCP) === 0 ? 1 : 0;
        const classes = (traits[row]! & TRAIT_IPV6) === 0 ? classes4 : classes6;
        const pair = classes[srcClasses[row]! + CLASS_PAIR_COLUMN]! + classes[dstClasses[row]! + CLASS_PAIR_ROW]!;
        refs[row] = pairs[pair + udp]!;
      }
      for (let i = from; i < to; i++) {
        const ref = refs[missing[i]!]!;
        touched = (touched + functions[(ref & ~(ref >> 31)) >>> 5]!) | 0;
      }
      return touched;
    },
    places(view, from, to) {
      let touched = 0;
      for (let i = from; i < to; i++) {
        const row = missing[i]!;
        const six = (traits[row]! & TRAIT_IPV6) !== 0;
        const at = offsets[row]! + 22;
        if (six) {
          touched = (touched + owners6[(hash6(view, at) & ownerMask6) * OWNER_6_SIZE]!) | 0;
          touched = (touched + owners6[(hash6(view, at + 16) & ownerMask6) * OWNER_6_SIZE]!) | 0;
        } else {
          touched = (touched + owners[(addressHash(src[row]!, 0, 0, 0) & ownerMask) * OWNER_SIZE]!) | 0;
          touched = (touched + owners[(addressHash(dst[row]!, 0, 0, 0) & ownerMask) * OWNER_SIZE]!) | 0;
        }
      }
      for (let i = from; i < to; i++) {
        const row = missing[i]!;
        const six = (traits[row]! & TRAIT_IPV6) !== 0;
        const at = offsets[row]! + 22;
        srcNodes[row] = nodeOf(six ? owner6(view, at) : findOwner(tables, 4, src[row]!, 0, 0, 0));
        dstNodes[row] = nodeOf(six ? owner6(view, at + 16) : findOwner(tables, 4, dst[row]!, 0, 0, 0));
      }
      return touched;
    },
    onePlace(from, to) {
      for (let i = from; i < to; i++) {
        const row = missing[i]!;
        const classes = (traits[row]! & TRAIT_IPV6) === 0 ? classes4 : classes6;
        const isFrom = (classes[srcClasses[row]! + CLASS_FLAGS]! & CLASS_IS_LOCAL) !== 0;
        const isTo = (classes[dstClasses[row]! + CLASS_FLAGS]! & CLASS_IS_LOCAL) !== 0;
        srcNodes[row] = isFrom ? place : NONE;
        dstNodes[row] = isTo ? place : NONE;
      }
    },
    buckets(from, to) {
      let touched = 0;
      for (let i = from; i < to; i++) {
        const row = missing[i]!;
        const node = srcNodes[row] === NONE ? dstNodes[row]! : srcNodes[row]!;
        const number = node < 0 ? 0 : nodeNumbers[node]!;
        const hash = flowHashPorts(src[row]!, dst[row]!, ports[row]!, (traits[row]! & TRAIT_TCP) === 0 ? 17 : 6);
        const bucket = ((hash >>> 26) << bucketBits) | (mixNode(hash, number) >>> (32 - bucketBits));
        heads[i] = words[headsAt + bucket]!;
        // A slot that its entry, or that of one before it, will have.
        const shard = shardsAt + (hash >>> 26) * SHARD_WORDS;
        const free = words[shard + SHARD_FREE]!;
        const used = Math.min(words[shard + SHARD_USED]! + 1, entriesPerShard);
        const slot = free === NO_ENTRY ? (hash >>> 26) * (entriesPerShard + 1) + used : free;
        touched = (touched + words[slot << 5]! + words[(slot << 5) + 16]!) | 0;
      }
      for (let i = from; i < to; i++) touched = (touched + words[heads[i]! << 5]!) | 0;
      return touched;
    },
  };
}
