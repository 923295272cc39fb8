/**
 * The judge's short way for tracked packets between ordinary ends: pods of one owner, or outside, where no host endpoint, service, loop
 * block or source port has a say. What each check answers then is a port function (chain.ts), and what is left of path.ts is this:
 *
 *   the sender's node    state NEW: egress check; passed: entry
 *   the other's node     state NEW: ingress check; passed: entry (the same node: both checks, then one entry)
 *   all ESTABLISHED      allowed if any check is on the way
 *
 * Everything else, and every doubt, is the judge's (judge.ts): nodes that differ in their state, INVALID, refused pods, evidence that an
 * eviction may have taken. It goes on from the states that were found here, so that no entry moves twice; entries that were made here are
 * those that it would have made. A test holds both ways against each other.
 */
import type { Conntrack } from '../conntrack/table.ts';
import { CT_ESTABLISHED, CT_NEW } from '../conntrack/track.ts';
import { VERDICT_ALLOW, VERDICT_DENY, VERDICT_UNPOLICED } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import * as record from '../wire/record.ts';
import { lookUpFunction } from './chain.ts';
import type { Judge } from './state.ts';
import { beginTracked, mayLackEntry, passedOn, stateOn } from './states.ts';
import type { WarmRows } from './warm.ts';

// Node 20 re-reads an imported constant at every use.
const { CLASS_FLAGS, CLASS_PEER, CLASS_EGRESS, CLASS_INGRESS, CLASS_NEEDS_PATH } = layout;
const { STEP_DENY, STEP_NONE, VALUE_STEP_SHIFT, NONE } = layout;
const { PACKET_FLAGS, PACKET_SRC_PORT, PACKET_DST_PORT, PACKET_PROTOCOL, PACKET_TCP_FLAGS, FLAG_IPV6 } = record;
const PROTOCOL_TCP = 6;
const PORTS_BITS = 16;

/** What `judgeSimple` found, beside the verdict: the step that decided, or NONE. */
export interface SimpleAnswer {
  step: number;
}

/**
 * VERDICT_* of a packet record of TCP or UDP with ports, or NONE if the ends are not simple or the answer is not: `continueTracked`
 * of judge.ts then judges it. Moves and makes entries as the judge does; states stay in `judge`.
 *
 * @param row  of `warm`, where classes, function and nodes of the packet are
 */
export function judgeSimple(
  judge: Judge,
  ct: Conntrack,
  warm: WarmRows,
  row: number,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
  answer: SimpleAnswer,
): number {
  begin(judge, ct, records, at, view, timeMs);
  const { tables } = judge;
  const src = warm.srcClasses[row]!;
  const dst = warm.dstClasses[row]!;
  const from = warm.srcNodes[row]!;
  const to = warm.dstNodes[row]!;
  const isOne = from === NONE || to === NONE || from === to;
  const both = bothChecks(judge, warm.refs[row]!, src, dst);
  if (both < 0) return NONE;
  const isDenied = (both & 3) === STEP_DENY;
  answer.step = (both & 3) === STEP_NONE ? NONE : both >> VALUE_STEP_SHIFT;
  const first = from === NONE ? to : from;
  if (first === NONE) return VERDICT_UNPOLICED;
  const state = stateOn(judge, first);
  if (state === CT_NEW) {
    if (isDenied && (isOne || egressDenies(judge, src, dst))) return denied(judge, first);
    passedOn(judge, first);
    if (!isOne) {
      if (stateOn(judge, to) !== CT_NEW) return NONE;
      if (isDenied) return denied(judge, to);
      passedOn(judge, to);
    }
    return (both & 3) === STEP_NONE ? VERDICT_UNPOLICED : VERDICT_ALLOW;
  }
  const classes = classesOf(judge);
  const egress = classes[src + CLASS_EGRESS]!;
  const ingress = classes[dst + CLASS_INGRESS]!;
  if (state !== CT_ESTABLISHED || isRefused(tables, egress) || isRefused(tables, ingress)) return NONE;
  if (!isOne && stateOn(judge, to) !== CT_ESTABLISHED) return NONE;
  answer.step = NONE;
  return egress === 0 && ingress === 0 ? VERDICT_UNPOLICED : VERDICT_ALLOW;
}

/** What both checks say together, as `step << 2 | STEP_*`; NONE if only the judge knows. `ref` is NONE where the tables have no pairs, too. */
function bothChecks(judge: Judge, ref: number, src: number, dst: number): number {
  const { tables, key } = judge;
  if (ref >= 0) {
    const port = key & 0xffff;
    const at = ref >>> 5;
    const size = 1 << (ref & 31);
    const { functions } = tables;
    let index = 0;
    for (let half = size >>> 1; half > 0; half >>>= 1) if (functions[at + index + half]! <= port) index += half;
    return functions[at + size + index]!;
  }
  const classes = classesOf(judge);
  if (((classes[src + CLASS_FLAGS]! | classes[dst + CLASS_FLAGS]!) & CLASS_NEEDS_PATH) !== 0) return NONE;
  const out = lookUpFunction(tables, classes[src + CLASS_EGRESS]!, classes[dst + CLASS_PEER]!, key);
  const into = lookUpFunction(tables, classes[dst + CLASS_INGRESS]!, classes[src + CLASS_PEER]!, key);
  if (out < 0 || into < 0) return NONE;
  return (out & 3) === STEP_DENY || (into & 3) === STEP_NONE ? out : into;
}

function egressDenies(judge: Judge, src: number, dst: number): boolean {
  const classes = classesOf(judge);
  const out = lookUpFunction(judge.tables, classes[src + CLASS_EGRESS]!, classes[dst + CLASS_PEER]!, judge.key);
  return (out & 3) === STEP_DENY;
}

/** Of the version in hand. */
function classesOf({ tables, version }: Judge): Int32Array {
  return version === 4 ? tables.classes4 : tables.classes6;
}

function denied(judge: Judge, node: number): number {
  return mayLackEntry(judge, node) ? NONE : VERDICT_DENY;
}

/** What states.ts asks of the packet in hand. */
function begin(judge: Judge, ct: Conntrack, records: Int32Array, at: number, view: DataView, timeMs: number): void {
  const protocol = records[at + PACKET_PROTOCOL]!;
  beginTracked(judge, ct, records, at, view, timeMs);
  judge.quotedAt = -1;
  judge.version = (records[at + PACKET_FLAGS]! & FLAG_IPV6) === 0 ? 4 : 6;
  judge.protocol = protocol;
  judge.tcpFlags = records[at + PACKET_TCP_FLAGS]!;
  judge.hasPorts = true;
  const slot = protocol === PROTOCOL_TCP ? layout.KEY_SLOT_TCP : layout.KEY_SLOT_UDP;
  judge.key = (slot << PORTS_BITS) | records[at + PACKET_DST_PORT]!;
  judge.sourceKey = (slot << PORTS_BITS) | records[at + PACKET_SRC_PORT]!;
}

/** Class of a pod that Felix refuses: what is known is dropped there too. */
function isRefused(tables: Tables, policyClass: number): boolean {
  if (policyClass === 0) return false;
  const chain = tables.policyClasses[policyClass * layout.POLICY_CLASS_SIZE + layout.POLICY_CLASS_CHAIN]!;
  return tables.chains[chain * layout.CHAIN_SIZE + layout.CHAIN_KIND] === layout.CHAIN_KIND_REJECTED;
}
