/**
 * Writing flow lines (conntrack/flows.ts): what the next packet of a flow will do if it is like the one that was just judged.
 *
 * The judge's answer is a function of the packet's addresses, ports and protocol, the tables, the connection state on each node
 * that it was asked on, and the marks that evictions leave. So a line may stand for the next packet where every one of these is bound to be
 * the same, or to take the line away:
 *
 * - all nodes said NEW, and will again: their entries are unanswered and this packet is of their original direction, or they have no
 *   entry, because policy denies the packet there. UDP prolongs its entries; a SYN must be one that changes nothing (`synIsSettled`);
 * - all nodes said ESTABLISHED, which entries stay once they are answered.
 *
 * Anything else (nodes that differ, INVALID, answers in doubt, a step whose action is not the verdict) has no line. Nor has what is denied in a
 * shard that has evicted: whether its entry may be the one that is gone is asked each time.
 */
import { shardEvictions } from '../conntrack/entries.ts';
import * as flow from '../conntrack/flows.ts';
import { lineFor } from '../conntrack/flows.ts';
import { flowHash } from '../conntrack/key.ts';
import { findPorts } from '../conntrack/lookup.ts';
import type { Conntrack } from '../conntrack/table.ts';
import * as table from '../conntrack/table.ts';
import { synIsSettled } from '../conntrack/tcp-fast.ts';
import { TCP_STATE_ESTABLISHED } from '../conntrack/tcp-layout.ts';
import { CT_ESTABLISHED, CT_NEW } from '../conntrack/track.ts';
import { VERDICT_DENY, VERDICT_UNCERTAIN } from '../model/flow.ts';
import * as record from '../wire/record.ts';
import { type Judge, STATES_TRACKED } from './state.ts';
import { stateOf } from './states.ts';
import type { TrackedJudge, TrackedRows } from './tracked.ts';

const PROTOCOL_TCP = 6;
/** An entry counts as established TCP that the short way may move. */
const PLAIN_STATUS_MASK = table.STATUS_STATE_MASK | table.STATUS_SEEN_REPLY;
const PLAIN_STATUS = TCP_STATE_ESTABLISHED | table.STATUS_SEEN_REPLY;
/** No entry: no second from which on it is dead. */
const NEVER = 0x7fffffff;
/** Nodes of a line. */
const NODES_MAX = 2;

/**
 * Notes in the line of row `row` what was answered on it, decoded at `records[at]`, if that holds for the next packet. `judge` knows the states.
 *
 * @param slot  where the packet was counted (`slotOf`), or NONE
 */
export function rememberFlow(
  tracked: TrackedJudge,
  judge: Judge,
  ct: Conntrack,
  rows: TrackedRows,
  row: number,
  timeMs: number,
  records: Int32Array,
  at: number,
  verdict: number,
  slot: number,
): void {
  if (judge.stateMode !== STATES_TRACKED || judge.stateCount > NODES_MAX) return;
  if (verdict === VERDICT_UNCERTAIN || slot < 0) return;
  if (verdict === VERDICT_DENY && shardEvictions(ct, flowHash(records, at)) > 0) return;
  const isTcp = records[at + record.PACKET_PROTOCOL] === PROTOCOL_TCP;
  const state = judge.stateCount === 0 ? CT_NEW : stateOf(judge, 0);
  if (state !== CT_NEW && state !== CT_ESTABLISHED) return;
  let first = 0;
  let second = 0;
  let endsAt = NEVER;
  for (let i = 0; i < judge.stateCount; i++) {
    if (stateOf(judge, i) !== state) return;
    const found = findOn(judge, ct, i, records, at, timeMs);
    const base = (found >> 1) << 5;
    if (found === table.NO_ENTRY) {
      if (state !== CT_NEW || verdict !== VERDICT_DENY) return;
      continue;
    }
    if (!isTcp) {
      const isAnswered = (ct.words[base + table.ENTRY_STATUS]! & table.STATUS_SEEN_REPLY) !== 0;
      if (isAnswered !== (state === CT_ESTABLISHED)) return;
    } else if (state === CT_ESTABLISHED) {
      if ((ct.words[base + table.ENTRY_STATUS]! & PLAIN_STATUS_MASK) !== PLAIN_STATUS) return;
    } else if ((found & 1) !== 0 || !synIsSettled(ct.words, base, rows.ends[row]!, rows.forms[row]! & 0xffff)) {
      return;
    }
    const expires = Math.floor(ct.times[found >> 1]! / 1000);
    if (expires < endsAt) endsAt = expires;
    if (first === 0) first = found;
    second = found;
  }
  const isIpv6 = (rows.traits[row]! & flow.FLOW_IPV6) !== 0;
  const line = lineFor(ct, tracked.lines[row]!, isIpv6, rows.src[row]!, rows.dst[row]!, rows.ports[row]!);
  if (isIpv6) writeAddresses(ct, line, records, at);
  if (first === 0) writeLine(ct, rows, row, line, flow.FLOW_COUNTED, slot, rows.forms[row]!, 0, NEVER);
  else if (!isTcp) {
    const kind = state === CT_NEW ? flow.FLOW_ASKED : flow.FLOW_ANSWERED;
    writeLine(ct, rows, row, line, kind, slot, first, second, endsAt);
  } else if (state === CT_NEW) {
    writeLine(ct, rows, row, line, flow.FLOW_SYN, slot, rows.forms[row]!, rows.ends[row]!, endsAt);
  } else {
    writeLine(ct, rows, row, line, flow.FLOW_ACK, slot, first, second, 0);
  }
}

/** Entry and direction on node number `i` of those that were asked, NEW or ESTABLISHED there. */
function findOn(judge: Judge, ct: Conntrack, i: number, records: Int32Array, at: number, timeMs: number): number {
  // What the only node said last stands there still.
  if (judge.stateCount === 1) {
    const entry = ct.last[table.LAST_ENTRY]!;
    return entry === table.NO_ENTRY ? entry : (entry << 1) | ct.last[table.LAST_DIRECTION]!;
  }
  const node = judge.nodeNumbers[judge.stateNodes[i]!]!;
  const protocol = records[at + record.PACKET_PROTOCOL]!;
  return findPorts(ct, node, records, at, protocol, records[at + record.PACKET_FLAGS]!, timeMs);
}

function writeAddresses({ flows }: Conntrack, line: number, records: Int32Array, at: number): void {
  for (let word = 0; word < 3; word++) {
    flows[line + flow.FLOW_SRC6 + word] = records[at + record.PACKET_SRC + word]!;
    flows[line + flow.FLOW_DST6 + word] = records[at + record.PACKET_DST + word]!;
  }
}

function writeLine(
  ct: Conntrack,
  rows: TrackedRows,
  row: number,
  line: number,
  kind: number,
  slot: number,
  first: number,
  second: number,
  third: number,
): void {
  const { flows } = ct;
  flows[line + flow.FLOW_SRC] = rows.src[row]!;
  flows[line + flow.FLOW_DST] = rows.dst[row]!;
  flows[line + flow.FLOW_PORTS] = rows.ports[row]!;
  flows[line + flow.FLOW_META] = (ct.flowStamp << flow.FLOW_KIND_BITS) | rows.traits[row]! | kind;
  flows[line + flow.FLOW_SLOT] = slot;
  flows[line + flow.FLOW_FIRST] = first;
  flows[line + flow.FLOW_SECOND] = second;
  flows[line + flow.FLOW_THIRD] = third;
}
