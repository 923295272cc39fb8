/**
 * The packet path at its fastest: plain frames (wire/plain.ts), each judged by itself, in batches.
 *
 * A batch goes through short loops instead of one long one, so that the loads of many packets are under way at once and no
 * branch hangs on what a packet holds:
 *
 *   classify   address -> trie -> class, for both ends
 *   aim        class of the pod and of its peer -> port function, egress and ingress; the first word of each is touched, so that it is in
 *              the cache when the next loop comes
 *   search     key -> step, in as many halvings as the largest function needs
 *   count      one deciding step a packet
 *
 * Packets that need more than folded tables (host endpoints, service addresses, rules on source ports) go to `side`, as frame
 * numbers, and are judged by match/judge.ts. Verdicts are not counted here: `foldPlainCounts` takes them from the steps' counts.
 *
 * Example, one packet 10.0.0.5 -> 10.0.1.7 tcp 5432: classes 3 (a client) and 9 (the database); egress of class 3 towards peer class 9:
 * map and refs give the function "any -> step 12: allow"; ingress of 9 from peer class of 3: "tcp 5432 -> step 40: allow, else
 * step 41: deny". Search gives 12 and 40, both allow, so the ingress step decides and is counted.
 */
import {
  DIRECTION_EGRESS,
  DIRECTION_INGRESS,
  REASON_NONE,
  VERDICT_ALLOW,
  VERDICT_DENY,
  VERDICT_UNPOLICED,
} from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { addPackets, type Counters } from './counters.ts';

// Node 20 re-reads an imported constant at every use and folds one of the own module.
const PEER = layout.CLASS_PEER;
const FLAGS = layout.CLASS_FLAGS;
const EGRESS_MAP = layout.CLASS_EGRESS_MAP;
const EGRESS_REFS = layout.CLASS_EGRESS_REFS;
const INGRESS_MAP = layout.CLASS_INGRESS_MAP;
const INGRESS_REFS = layout.CLASS_INGRESS_REFS;
const NEEDS_PATH = layout.CLASS_NEEDS_PATH;
const STEP_SHIFT = layout.VALUE_STEP_SHIFT;
const ACTION_BITS = 3;
const STEP_DENY = layout.STEP_DENY;
const STEP_NONE = layout.STEP_NONE;

export interface PlainJudge {
  readonly tables: Tables;
  readonly searchEgress: Search;
  readonly searchIngress: Search;
  readonly srcClass: Int32Array;
  readonly dstClass: Int32Array;
  readonly egressRef: Int32Array;
  readonly ingressRef: Int32Array;
  readonly value: Int32Array;
  /** Rows of the columns that need the full path. */
  readonly side: Int32Array;
  sideCount: number;
  /** Packets and bytes by step, in turn: `[packets of step 0, bytes of step 0, packets of step 1, …]`. */
  readonly counts: Float64Array;
  /** Keeps the touched words alive for the optimiser. */
  touched: number;
}

export function createPlainJudge(tables: Tables, capacity: number): PlainJudge {
  const column = (): Int32Array => new Int32Array(capacity);
  return {
    tables,
    searchEgress: searchOfDepth(largestFunction(tables, DIRECTION_EGRESS)),
    searchIngress: searchOfDepth(largestFunction(tables, DIRECTION_INGRESS)),
    srcClass: column(),
    dstClass: column(),
    egressRef: column(),
    ingressRef: column(),
    value: column(),
    side: column(),
    sideCount: 0,
    counts: new Float64Array(2 * tables.counts[layout.SECTION_STEPS]!),
    touched: 0,
  };
}

/** log2 of the size of the largest IPv4 port function of a direction. */
function largestFunction(tables: Tables, direction: number): number {
  const size = layout.POLICY_CLASS_SIZE;
  const chainSize = layout.CHAIN_SIZE;
  let depth = 0;
  for (let at = 0; at < tables.policyClasses.length; at += size) {
    const chain = tables.policyClasses[at + layout.POLICY_CLASS_CHAIN]! * chainSize;
    if (chain < 0 || tables.chains[chain + layout.CHAIN_VERSION] !== 4) continue;
    if (tables.chains[chain + layout.CHAIN_DIRECTION] !== direction) continue;
    const first = tables.policyClasses[at + layout.POLICY_CLASS_REFS]!;
    for (let i = 0; i < tables.policyClasses[at + layout.POLICY_CLASS_COLUMNS]!; i++) {
      const ref = tables.functionRefs[first + i]!;
      if (ref >= 0) depth = Math.max(depth, ref & 31);
    }
  }
  return depth;
}

/**
 * Judges and counts `count` rows; rows that need the full path are listed in `judge.side` and not counted.
 *
 * @param src, dst, ports  columns of wire/plain.ts: a `ports` value is the key of tables/layout.ts
 * @param frames  number in the batch of each row, for its bytes
 */
export function judgePlain(
  judge: PlainJudge,
  src: Int32Array,
  dst: Int32Array,
  ports: Int32Array,
  frames: Int32Array,
  count: number,
  wireBytes: Float64Array,
): void {
  const { tables, srcClass, dstClass, egressRef, ingressRef, value } = judge;
  classify(tables.trie4, src, srcClass, count);
  classify(tables.trie4, dst, dstClass, count);
  judge.touched = aim(tables, srcClass, dstClass, egressRef, ingressRef, count);
  judge.searchEgress(tables.functions, egressRef, ports, count);
  judge.searchIngress(tables.functions, ingressRef, ports, count);
  decide(egressRef, ingressRef, value, count);
  judge.sideCount = tally(value, judge.counts, frames, wireBytes, judge.side, count);
}

function classify(trie: Int32Array, addresses: Int32Array, classes: Int32Array, count: number): void {
  for (let i = 0; i < count; i++) {
    const address = addresses[i]!;
    const root = trie[address >>> 16]!;
    const middle = trie[(root >>> 1) + ((address >>> 8) & 255 & -(root & 1))]!;
    classes[i] = trie[(middle >>> 1) + (address & 255 & -(middle & 1))]!;
  }
}

/** Port functions of both checks; NONE in both where a class asks for the full path or a function is not folded. */
function aim(
  tables: Tables,
  srcClass: Int32Array,
  dstClass: Int32Array,
  egressRef: Int32Array,
  ingressRef: Int32Array,
  count: number,
): number {
  const { classes4, classMaps, functionRefs, functions } = tables;
  let touched = 0;
  for (let i = 0; i < count; i++) {
    const src = srcClass[i]!;
    const dst = dstClass[i]!;
    const srcPeer = classes4[src + PEER]!;
    const dstPeer = classes4[dst + PEER]!;
    const needsPath = -((classes4[src + FLAGS]! | classes4[dst + FLAGS]!) & NEEDS_PATH);
    const out = functionRefs[classes4[src + EGRESS_REFS]! + classMaps[classes4[src + EGRESS_MAP]! + dstPeer]!]!;
    const into = functionRefs[classes4[dst + INGRESS_REFS]! + classMaps[classes4[dst + INGRESS_MAP]! + srcPeer]!]!;
    const side = needsPath | (out >> 31) | (into >> 31);
    egressRef[i] = out | side;
    ingressRef[i] = into | side;
    touched += functions[(out & ~side) >>> 5]! + functions[(into & ~side) >>> 5]!;
  }
  return touched;
}

/** Replaces each function ref by the value at the row's key; NONE stays. */
type Search = (functions: Int32Array, refs: Int32Array, keys: Int32Array, count: number) => void;

const searches = new Map<number, Search>();

/**
 * A search of `depth` halvings, written out: a loop inside the loop cost twice as much (g1k, depth 5).
 *
 * `mask` is the function's size less one. A halving wider than the function has `step & mask` 0, so it compares nothing and
 * moves nowhere. `functions[at + step] - key - 1` is negative where the key there is at most ours.
 */
function searchOfDepth(depth: number): Search {
  let search = searches.get(depth);
  if (search === undefined) {
    const halvings = Array.from({ length: depth }, (_, i) => {
      const step = `${1 << (depth - 1 - i)} & mask`;
      return `at += ${step} & ((functions[at + (${step})] - next) >> 31);`;
    });
    search = new Function(
      'functions',
      'refs',
      'keys',
      'count',
      `for (let i = 0; i < count; i++) {
        const ref = refs[i];
        const side = ref >> 31;
        const mask = (1 << (ref & 31 & ~side)) - 1;
        const next = keys[i] + 1;
        let at = (ref & ~side) >>> 5;
        ${halvings.join('\n        ')}
        refs[i] = functions[at + mask + 1] | side;
      }`,
    ) as Search;
    searches.set(depth, search);
  }
  return search;
}

/** The step that decides: egress if it denies or if there is no ingress check, else ingress. -1 stays -1. */
function decide(egress: Int32Array, ingress: Int32Array, value: Int32Array, count: number): void {
  for (let i = 0; i < count; i++) {
    const out = egress[i]!;
    const into = ingress[i]!;
    const outDenies = (((out & ACTION_BITS) ^ STEP_DENY) - 1) >> 31;
    const noIngress = (((into & ACTION_BITS) ^ STEP_NONE) - 1) >> 31;
    value[i] = into ^ ((into ^ out) & (outDenies | noIngress));
  }
}

function tally(
  value: Int32Array,
  counts: Float64Array,
  frames: Int32Array,
  wireBytes: Float64Array,
  side: Int32Array,
  count: number,
): number {
  let sideCount = 0;
  for (let i = 0; i < count; i++) {
    const decided = value[i]!;
    if (decided < 0) {
      side[sideCount++] = i;
      continue;
    }
    const at = (decided >> STEP_SHIFT) << 1;
    counts[at]! += 1;
    counts[at + 1]! += wireBytes[frames[i]!]!;
  }
  return sideCount;
}

/** Counts one packet, judged elsewhere, by the step that decided it (`step << 2 | STEP_*`). */
export function countPlain(judge: PlainJudge, value: number, bytes: number): void {
  const at = (value >> STEP_SHIFT) << 1;
  judge.counts[at]! += 1;
  judge.counts[at + 1]! += bytes;
}

/** Adds the verdicts of the counted steps to `counters` and starts the counts anew. */
export function foldPlainCounts(judge: PlainJudge, counters: Counters): void {
  const { counts, tables } = judge;
  const stepWords = layout.STEP_SIZE;
  for (let step = 0; step * 2 < counts.length; step++) {
    const packets = counts[2 * step]!;
    if (packets === 0) continue;
    const bytes = counts[2 * step + 1]!;
    const action = tables.steps[step * stepWords + layout.STEP_ACTION]!;
    if (action === STEP_NONE) addPackets(counters, VERDICT_UNPOLICED, REASON_NONE, layout.NONE, packets, bytes);
    else addPackets(counters, action === STEP_DENY ? VERDICT_DENY : VERDICT_ALLOW, REASON_NONE, step, packets, bytes);
  }
  counts.fill(0);
}
