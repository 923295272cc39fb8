/**
 * The loop over a batch of packets, each judged by itself: the packet path at its fastest.
 *
 * A batch goes through short loops instead of one long one, so that the loads of many packets are under way at once:
 *
 *   classify   both addresses to classes, protocol and ports to a key
 *   judge      egress and ingress: policy class and peer class to a port function, key to the deciding step
 *   count      one add a packet
 *
 * Packets that need more (host endpoints, shared or service addresses, fragments, cut headers, rules on source ports) are put
 * in a side queue and judged over the bit rows by match/judge.ts. Both ways give the same answers; a test holds that.
 *
 * Nothing is allocated, logged or thrown in here. Source of the shape: performance notes of the project, section "recommended hot path".
 */
import { REASON_NONE, VERDICT_ALLOW, VERDICT_DENY, VERDICT_UNPOLICED } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import {
  DECODE_OK,
  FLAG_FRAGMENT,
  FLAG_IPV6,
  FLAG_L4_PORTS,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_STATUS,
  PACKET_WORDS,
} from '../wire/record.ts';
import { lookUpFunction } from './chain.ts';
import { type Counters, countPacket, countUndecoded } from './counters.ts';
import { CHECK_STEP_COUNT, CHECK_STEPS, CHECK_WORDS, type Judge, judgeNewPacket } from './judge.ts';
import { classOf4, classOf6 } from './lookup.ts';

/** Packets in a full batch. */
export const BATCH_PACKETS = 256;

const STEP_WORDS = 10;

export interface BatchJudge {
  readonly tables: Tables;
  readonly judge: Judge;
  readonly counters: Counters;
  /** Per packet of the batch: classes of both ends (word offsets) and key. */
  readonly srcClass: Int32Array;
  readonly dstClass: Int32Array;
  readonly keys: Int32Array;
  /** `step << 2 | STEP_*` of egress and ingress. */
  readonly egress: Int32Array;
  readonly ingress: Int32Array;
  /** Packets for the fast loops, and for the full path. */
  readonly plain: Int32Array;
  readonly side: Int32Array;
  sideCount: number;
  readonly fragments: Int32Array;
  fragmentCount: number;
}

export function createBatchJudge(tables: Tables, judge: Judge, counters: Counters): BatchJudge {
  const column = (): Int32Array => new Int32Array(BATCH_PACKETS);
  return {
    tables,
    judge,
    counters,
    srcClass: column(),
    dstClass: column(),
    keys: column(),
    egress: column(),
    ingress: column(),
    plain: column(),
    side: column(),
    sideCount: 0,
    fragments: column(),
    fragmentCount: 0,
  };
}

/**
 * Judges and counts `count` packet records, the first at `records[0]`, but fragments: these are listed in `fragments` for the
 * caller to put together. Returns how many were counted.
 */
export function judgeBatch(batch: BatchJudge, records: Int32Array, count: number, wireBytes: Float64Array): number {
  const plainCount = classify(batch, records, count, wireBytes);
  judgePlain(batch, plainCount);
  countPlain(batch, plainCount, wireBytes);
  for (let i = 0; i < batch.sideCount; i++) judgeSide(batch, records, batch.side[i]!, wireBytes);
  return count - batch.fragmentCount;
}

/** Fills the columns of plain packets and queues the others; returns the number of plain ones. */
function classify(batch: BatchJudge, records: Int32Array, count: number, wireBytes: Float64Array): number {
  const { tables, counters, srcClass, dstClass, keys, plain, side } = batch;
  const { classes4, classes6, trie4 } = tables;
  const needsPath = layout.CLASS_NEEDS_PATH;
  let plainCount = 0;
  let sideCount = 0;
  let fragmentCount = 0;
  for (let i = 0; i < count; i++) {
    const at = i * PACKET_WORDS;
    const status = records[at + PACKET_STATUS]!;
    if (status !== DECODE_OK) {
      countUndecoded(counters, status, wireBytes[i]!);
      continue;
    }
    const flags = records[at + PACKET_FLAGS]!;
    const isIpv6 = (flags & FLAG_IPV6) !== 0;
    const key = packetKey(records, at, flags, isIpv6 ? 6 : 4);
    const src = isIpv6 ? classAt6(tables, records, at + PACKET_SRC) : classOf4(trie4, records[at + PACKET_SRC]!);
    const dst = isIpv6 ? classAt6(tables, records, at + PACKET_DST) : classOf4(trie4, records[at + PACKET_DST]!);
    const classes = isIpv6 ? classes6 : classes4;
    const both = classes[src + layout.CLASS_FLAGS]! | classes[dst + layout.CLASS_FLAGS]!;
    if ((flags & FLAG_FRAGMENT) !== 0) {
      batch.fragments[fragmentCount++] = i;
      continue;
    }
    if (key < 0 || (both & needsPath) !== 0) {
      side[sideCount++] = i;
      continue;
    }
    srcClass[plainCount] = isIpv6 ? ~src : src;
    dstClass[plainCount] = dst;
    keys[plainCount] = key;
    plain[plainCount++] = i;
  }
  batch.sideCount = sideCount;
  batch.fragmentCount = fragmentCount;
  return plainCount;
}

/** The key of a packet (tables/layout.ts), or -1 if its ports are unknown. */
function packetKey(records: Int32Array, at: number, flags: number, version: number): number {
  const protocol = records[at + PACKET_PROTOCOL]!;
  const slot = layout.keySlot(protocol, version);
  if (slot === layout.KEY_SLOT_OTHER) return (slot << layout.SLOT_BITS) | protocol;
  if ((flags & FLAG_L4_PORTS) === 0) return -1;
  const second = records[at + PACKET_DST_PORT]!;
  if (slot !== layout.KEY_SLOT_ICMP) return (slot << layout.SLOT_BITS) | second;
  return (slot << layout.SLOT_BITS) | (records[at + PACKET_SRC_PORT]! << 8) | second;
}

function classAt6(tables: Tables, records: Int32Array, at: number): number {
  return classOf6(tables, records[at]!, records[at + 1]!, records[at + 2]!, records[at + 3]!);
}

/** Egress of the source and ingress of the destination, from the folded tables. */
function judgePlain(batch: BatchJudge, count: number): void {
  const { tables, srcClass, dstClass, keys, egress, ingress } = batch;
  const { classes4, classes6 } = tables;
  for (let i = 0; i < count; i++) {
    const isIpv6 = srcClass[i]! < 0;
    const src = isIpv6 ? ~srcClass[i]! : srcClass[i]!;
    const dst = dstClass[i]!;
    const classes = isIpv6 ? classes6 : classes4;
    const key = keys[i]!;
    egress[i] = lookUpFunction(tables, classes[src + layout.CLASS_EGRESS]!, classes[dst + layout.CLASS_PEER]!, key);
    ingress[i] = lookUpFunction(tables, classes[dst + layout.CLASS_INGRESS]!, classes[src + layout.CLASS_PEER]!, key);
  }
}

function countPlain(batch: BatchJudge, count: number, wireBytes: Float64Array): void {
  const { counters, egress, ingress, plain, side } = batch;
  const { packets, bytes, stepPackets, stepBytes } = counters;
  for (let i = 0; i < count; i++) {
    const out = egress[i]!;
    const into = ingress[i]!;
    if (out < 0 || into < 0) {
      side[batch.sideCount++] = plain[i]!;
      continue;
    }
    const outAction = out & 3;
    const intoAction = into & 3;
    // The egress check decides if it denies or if there is no other; a check that did not run says STEP_NONE.
    const decides = outAction === layout.STEP_DENY || intoAction === layout.STEP_NONE ? out : into;
    const action = decides & 3;
    const size = wireBytes[plain[i]!]!;
    if (action === layout.STEP_NONE) {
      countPacket(counters, VERDICT_UNPOLICED, REASON_NONE, layout.NONE, size);
      continue;
    }
    const verdict = action === layout.STEP_DENY ? VERDICT_DENY : VERDICT_ALLOW;
    const step = decides >> layout.VALUE_STEP_SHIFT;
    packets[verdict]! += 1;
    bytes[verdict]! += size;
    stepPackets[step]! += 1;
    stepBytes[step]! += size;
  }
}

function judgeSide(batch: BatchJudge, records: Int32Array, packet: number, wireBytes: Float64Array): void {
  const { judge, counters } = batch;
  const verdict = judgeNewPacket(judge, records, packet * PACKET_WORDS);
  countPacket(counters, verdict, judge.reason, decidingStep(judge), wireBytes[packet]!);
}

/** The step that decided the judge's last packet, or NONE. */
export function decidingStep(judge: Judge): number {
  if (judge.deciding < 0) return layout.NONE;
  const at = judge.deciding * CHECK_WORDS;
  const count = judge.checks[at + CHECK_STEP_COUNT]!;
  if (count === 0) return layout.NONE;
  const step = judge.path[judge.checks[at + CHECK_STEPS]! + count - 1]!;
  // What comes after policy (service loops, DefaultEndpointToHostAction) denies although the step allowed.
  const isDeny = judge.tables.steps[step * STEP_WORDS + layout.STEP_ACTION] === layout.STEP_DENY;
  return judge.verdict === VERDICT_DENY && !isDeny ? layout.NONE : step;
}
