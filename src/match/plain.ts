/**
 * The packet path at its fastest: plain frames (wire/plain.ts), each judged by itself, in batches.
 *
 * A batch goes through short loops instead of one long one, so that the loads of many packets are under way at once and no
 * branch hangs on what a packet holds:
 *
 *   aim      address -> trie -> class, for both ends; row of the destination + column of the source + protocol -> pair
 *   touch    pair -> port function of both checks; its first word is read, so that it is in the cache when the next loop comes
 *   search   port -> step, in as many halvings as the largest function needs; small tables need no search, and no touch (plain-direct.ts)
 *   tally    one deciding step a packet
 *
 * Packets that need more than folded tables (host endpoints, service addresses, rules on source ports) go to `side`, as row
 * numbers, and are judged by match/judge.ts. Verdicts are not counted here: `foldPlainCounts` takes them from the steps' counts.
 *
 * Example, one packet 10.0.0.5 -> 10.0.1.7 tcp 5432: the classes of a client and of the database; column 3 as a source, row 9 as
 * a destination: their pair's function for TCP is "5432 -> step 40: allow, else step 41: deny" (compile/pack-pairs.ts). Search gives 40, which
 * is counted.
 */
import { specialize } from '../base/specialize.ts';
import { REASON_NONE, VERDICT_ALLOW, VERDICT_DENY, VERDICT_UNPOLICED } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { addPackets, type Counters } from './counters.ts';
import { noteCounted, PACKET_UNIT, type PackedCounts, settle } from './packed-counts.ts';
import type { DirectTable } from './plain-direct.ts';

// Node 20 re-reads an imported constant at every use and folds one of the own module.
const PAIR_ROW = layout.CLASS_PAIR_ROW;
const PAIR_COLUMN = layout.CLASS_PAIR_COLUMN;
const STEP_SHIFT = layout.VALUE_STEP_SHIFT;
const STEP_DENY = layout.STEP_DENY;
const STEP_NONE = layout.STEP_NONE;

/** The columns of a batch, as wire/plain.ts fills them. */
export interface PlainRows {
  /** Addresses as int32. */
  readonly src: Int32Array;
  readonly dst: Int32Array;
  /** Keys of tables/layout.ts. */
  readonly keys: Int32Array;
  /** Bytes on the wire, each at most 2^20. */
  readonly bytes: Int32Array;
}

/** Counts are by step. */
export interface PlainJudge extends PackedCounts {
  readonly tables: Tables;
  readonly run: RunBatch;
  readonly parts?: PlainLoops['parts'];
  /** After a batch, by row: the step that decides, or NONE for the full path. */
  readonly steps: Int32Array;
  /** Rows that need the full path. */
  readonly side: Int32Array;
  sideCount: number;
}

/** Judges and counts `count` rows and lists those that need the full path; returns how many those are. */
export type RunBatch = (count: number) => number;

/** The loops, and the arrays they leave their answers in; match/plain-wasm.ts has others. */
export interface PlainLoops {
  readonly run: RunBatch;
  readonly steps: Int32Array;
  readonly side: Int32Array;
  readonly counts: Float64Array;
  /** What `run` does one after the other, where that can be told apart: aim and touch, search, tally. */
  readonly parts?: readonly [RunBatch, RunBatch, RunBatch];
}

/** A judge of the batches that `loops` are bound to. */
export function createPlainJudge(tables: Tables, loops: PlainLoops): PlainJudge {
  const byStep = (): Float64Array => new Float64Array(tables.counts[layout.SECTION_STEPS]!);
  return {
    tables,
    ...loops,
    sideCount: 0,
    countedPackets: 0,
    countedBytes: 0,
    packets: byStep(),
    bytes: byStep(),
  };
}

/**
 * Judges and counts the first `count` rows, which have `byteCount` bytes together; rows that need the full path are listed in `judge.side`
 * and not counted.
 */
export function judgePlain(judge: PlainJudge, count: number, byteCount: number): void {
  account(judge, judge.run(count), count, byteCount);
}

/** Takes over what a run over `count` rows, whole or in parts, has counted. */
export function account(judge: PlainJudge, sideCount: number, count: number, byteCount: number): void {
  judge.sideCount = sideCount;
  noteCounted(judge, count, byteCount);
}

/** Writes the pair of each of the first `count` rows into `work`; what it returns only keeps touched words alive. */
export type Aim = (count: number) => number;

/** Of both, what the loops behind the lookup of addresses read. */
type KeysAndBytes = Pick<PlainRows, 'keys' | 'bytes'>;

/** The loops as scripts: with the direct table where there is one, else with the search. */
export function createScriptLoops(tables: Tables, rows: PlainRows, direct: DirectTable | undefined): PlainLoops {
  const { trie4, classes4 } = tables;
  const { src, dst, keys } = rows;
  const aim = (work: Int32Array): Aim => specialize(aim4)(trie4, classes4, src, dst, keys, work, PAIR_ROW, PAIR_COLUMN);
  return loopsBehind(tables, aim, rows, direct);
}

/** All loops of which the first is made by `aim`, for the column that it fills. */
export function loopsBehind(
  tables: Tables,
  makeAim: (work: Int32Array) => Aim,
  { keys, bytes }: KeysAndBytes,
  direct: DirectTable | undefined,
): PlainLoops {
  /** A row's pair, then its function, then its step. */
  const work = new Int32Array(keys.length);
  const side = new Int32Array(keys.length);
  const counts = new Float64Array(tables.counts[layout.SECTION_STEPS]!);
  const { pairs, functions } = tables;
  const aim = makeAim(work);
  const touch = specialize(touches)(pairs, functions, work);
  const search =
    direct === undefined
      ? searchOfDepth(largestFunction(tables))(functions, work, keys)
      : specialize(directSearch)(direct.portClasses, direct.rows, direct.steps, work, keys);
  const tally = specialize(tallies)(work, bytes, side, counts, PACKET_UNIT);
  const lookUp = direct === undefined ? (count: number): number => aim(count) + touch(count) : aim;
  const find = (count: number): number => {
    search(count);
    return 0;
  };
  const run = (count: number): number => {
    lookUp(count);
    search(count);
    return tally(count);
  };
  return { run, steps: work, side, counts, parts: [lookUp, find, tally] };
}

function aim4(
  trie: Int32Array,
  classes: Int32Array,
  src: Int32Array,
  dst: Int32Array,
  keys: Int32Array,
  work: Int32Array,
  pairRow: number,
  pairColumn: number,
): Aim {
  return (count) => {
    for (let i = 0; i < count; i++) {
      const from = src[i]!;
      const to = dst[i]!;
      const fromRoot = trie[from >>> 16]!;
      const toRoot = trie[to >>> 16]!;
      const fromMiddle = trie[(fromRoot >>> 1) + ((from >>> 8) & 255 & -(fromRoot & 1))]!;
      const toMiddle = trie[(toRoot >>> 1) + ((to >>> 8) & 255 & -(toRoot & 1))]!;
      const udp = keys[i]! >>> 16;
      const column = classes[trie[(fromMiddle >>> 1) + (from & 255 & -(fromMiddle & 1))]! + pairColumn]!;
      work[i] = udp + column + classes[trie[(toMiddle >>> 1) + (to & 255 & -(toMiddle & 1))]! + pairRow]!;
    }
    return 0;
  };
}

/** Replaces each pair of `work` by its function; returns a number that keeps the touched words alive. */
function touches(pairs: Int32Array, functions: Int32Array, work: Int32Array): (count: number) => number {
  return (count) => {
    let touched = 0;
    for (let i = 0; i < count; i++) {
      const ref = pairs[work[i]!]!;
      work[i] = ref;
      touched = (touched + functions[(ref & ~(ref >> 31)) >>> 5]!) | 0;
    }
    return touched;
  };
}

/** log2 of the size of the largest function of a pair. */
function largestFunction({ pairs }: Tables): number {
  let depth = 0;
  for (let i = 0; i < pairs.length; i++) {
    const ref = pairs[i]!;
    if (ref >= 0 && (ref & 31) > depth) depth = ref & 31;
  }
  return depth;
}

type Search = (count: number) => void;

/**
 * Makes a search of `depth` halvings, written out: a loop inside the loop cost twice as much (g1k, depth 5). It replaces each function
 * ref of `work` by the step at the row's port; NONE stays.
 *
 * `mask` is the function's size less one. A halving wider than the function has `step & mask` 0, so it compares nothing and
 * moves nowhere. `functions[at + step] - port - 1` is negative where the start there is at most the port.
 */
function searchOfDepth(depth: number): (functions: Int32Array, work: Int32Array, keys: Int32Array) => Search {
  const halvings = Array.from({ length: depth }, (_, i) => {
    const step = `${1 << (depth - 1 - i)} & mask`;
    return `at += ${step} & ((functions[at + (${step})] - next) >> 31);`;
  });
  return new Function(
    'functions',
    'work',
    'keys',
    `'use strict';
    return (count) => {
      for (let i = 0; i < count; i++) {
        const ref = work[i];
        const side = ref >> 31;
        const mask = (1 << (ref & 31 & ~side)) - 1;
        const next = (keys[i] & 0xffff) + 1;
        let at = (ref & ~side) >>> 5;
        ${halvings.join('\n        ')}
        work[i] = (functions[at + mask + 1] >> ${STEP_SHIFT}) | side;
      }
    };`,
  ) as ReturnType<typeof searchOfDepth>;
}

/** Replaces each pair of `work` by the step at the row's port, out of the direct table. */
function directSearch(
  portClasses: Uint16Array,
  rows: Int32Array,
  steps: Uint16Array | Int32Array,
  work: Int32Array,
  keys: Int32Array,
): Search {
  return (count) => {
    for (let i = 0; i < count; i++) work[i] = steps[rows[work[i]!]! + portClasses[keys[i]! & 0xffff]!]! - 1;
  };
}

/** Counts each row's step; returns the number of rows put aside. */
function tallies(
  work: Int32Array,
  bytes: Int32Array,
  side: Int32Array,
  counts: Float64Array,
  packetUnit: number,
): RunBatch {
  return (count) => {
    let sideCount = 0;
    for (let i = 0; i < count; i++) {
      const step = work[i]!;
      if (step < 0) side[sideCount++] = i;
      else counts[step]! += bytes[i]! + packetUnit;
    }
    return sideCount;
  };
}

/** Counts one packet, judged elsewhere, by the step that decided it (`step << 2 | STEP_*`). */
export function countPlain(judge: PlainJudge, value: number, bytes: number): void {
  judge.packets[value >> STEP_SHIFT]! += 1;
  judge.bytes[value >> STEP_SHIFT]! += bytes;
}

/** Adds the verdicts of the counted steps to `counters` and starts the counts anew. */
export function foldPlainCounts(judge: PlainJudge, counters: Counters): void {
  settle(judge);
  const { packets, bytes, tables } = judge;
  const stepWords = layout.STEP_SIZE;
  for (let step = 0; step < packets.length; step++) {
    if (packets[step] === 0) continue;
    const action = tables.steps[step * stepWords + layout.STEP_ACTION]!;
    const isUnpoliced = action === STEP_NONE;
    const verdict = isUnpoliced ? VERDICT_UNPOLICED : action === STEP_DENY ? VERDICT_DENY : VERDICT_ALLOW;
    addPackets(counters, verdict, REASON_NONE, isUnpoliced ? layout.NONE : step, packets[step]!, bytes[step]!);
  }
  packets.fill(0);
  bytes.fill(0);
}
