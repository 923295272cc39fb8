/**
 * What each node knows of the packet's connection (semantics 6.7), asked once a node and kept while alternatives are judged.
 *
 * An address that two endpoints claim, and a service with several backends, make one packet several; the table of
 * a node must move once all the same. So the answer of each node is kept until the next packet, and a second look at the packet
 * (pending policies) sees the states of the first.
 */

import { mayHaveBeenEvicted } from '../conntrack/entries.ts';
import { type Conntrack, LAST_ENTRY, NO_ENTRY } from '../conntrack/table.ts';
import { CT_INVALID, CT_NEW, CT_UNTRACKED, confirmPacket, trackError, trackPacket } from '../conntrack/track.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import { DECODE_OK, FLAG_L4_INVALID, PACKET_FLAGS, PACKET_STATUS, TCP_ACK, TCP_RST, TCP_SYN } from '../wire/record.ts';
import { type Judge, STATES_MAX, STATES_NEW, STATES_TRACKED } from './state.ts';

const NODE_WORDS = layout.NODE_SIZE;
const STATE_MASK = 0xff;
/** The node has no entry for the packet. */
const STATE_HAS_NO_ENTRY = 0x100;

/** Takes the packet at word `at` in hand, with tracking; no node has been asked about it. */
export function beginTracked(
  judge: Judge,
  ct: Conntrack,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
): void {
  judge.stateMode = STATES_TRACKED;
  judge.stateCount = 0;
  judge.ct = ct;
  judge.view = view;
  judge.timeMs = timeMs;
  judge.tracked = records;
  judge.trackedAt = at;
}

/** CT_* of the packet in hand on `node`. */
export function stateOn(judge: Judge, node: number): number {
  if (judge.stateMode === STATES_NEW) return CT_NEW;
  const { stateNodes, states } = judge;
  for (let i = 0; i < judge.stateCount; i++) if (stateNodes[i] === node) return states[i]! & STATE_MASK;
  if (judge.stateMode !== STATES_TRACKED || judge.stateCount === STATES_MAX) return CT_NEW;
  const state = judge.isTimed ? timedTrack(judge, node) : track(judge, node);
  stateNodes[judge.stateCount] = node;
  states[judge.stateCount++] = state;
  return state & STATE_MASK;
}

/** CT_* on node number `i` of those that were asked about the packet in hand. */
export function stateOf(judge: Judge, i: number): number {
  return judge.states[i]! & STATE_MASK;
}

/** The node has let the packet through: makes the entry of a new connection. */
export function passedOn(judge: Judge, node: number): void {
  if (judge.stateMode !== STATES_TRACKED) return;
  const { stateNodes, states, ct } = judge;
  for (let i = 0; i < judge.stateCount; i++) {
    if (stateNodes[i] !== node || (states[i]! & STATE_MASK) !== CT_NEW) continue;
    if (judge.isTimed) timedConfirm(judge, ct!, node);
    else confirm(judge, ct!, node);
  }
}

function confirm(judge: Judge, ct: Conntrack, node: number): number {
  return confirmPacket(ct, judge.nodeNumbers[node]!, judge.tracked, judge.trackedAt, judge.view, judge.timeMs);
}

/* Of sampled packets alone (`--stats`). No closures: one that captures a parameter makes every call of its function allocate. */

function timedTrack(judge: Judge, node: number): number {
  const start = performance.now();
  const state = track(judge, node);
  noteTime(judge, start);
  return state;
}

function timedConfirm(judge: Judge, ct: Conntrack, node: number): void {
  const start = performance.now();
  confirm(judge, ct, node);
  noteTime(judge, start);
}

function noteTime(judge: Judge, startMs: number): void {
  judge.trackingMs += performance.now() - startMs;
  judge.trackingLooks++;
}

/** Whether the state on `node` may come of an entry that was thrown out before its time. */
export function mayLackEntry(judge: Judge, node: number): boolean {
  if (judge.stateMode !== STATES_TRACKED) return false;
  const { stateNodes, states, ct } = judge;
  for (let i = 0; i < judge.stateCount; i++) {
    if (stateNodes[i] !== node || (states[i]! & STATE_HAS_NO_ENTRY) === 0) continue;
    if (judge.quotedAt < 0)
      return mayHaveBeenEvicted(ct!, judge.nodeNumbers[node]!, judge.tracked, judge.trackedAt, judge.view);
    // What cannot be read was not looked for.
    if (judge.quoted[judge.quotedAt + PACKET_STATUS] !== DECODE_OK) return false;
    return mayHaveBeenEvicted(ct!, judge.nodeNumbers[node]!, judge.quoted, judge.quotedAt, judge.view);
  }
  return false;
}

function track(judge: Judge, node: number): number {
  const { ct, view, timeMs } = judge;
  const flags = judge.tables.nodes[node * NODE_WORDS + layout.NODE_FLAGS]!;
  if (isVxlan(judge, node, flags)) return CT_UNTRACKED;
  const number = judge.nodeNumbers[node]!;
  const state =
    judge.quotedAt < 0
      ? trackPacket(ct!, number, judge.tracked, judge.trackedAt, view, timeMs)
      : trackError(ct!, number, judge.tracked, judge.trackedAt, judge.quoted, judge.quotedAt, view, timeMs);
  const hasEntry = ct!.last[LAST_ENTRY] !== NO_ENTRY;
  const known = (flags & layout.NODE_IS_BPF) === 0 ? state : bpfState(judge, state, hasEntry);
  return hasEntry ? known : known | STATE_HAS_NO_ENTRY;
}

/** IPv4 packets to the VXLAN port are untracked where VXLAN is on (Calico felix/rules/static.go, raw table). */
function isVxlan(judge: Judge, node: number, flags: number): boolean {
  if (
    judge.version !== 4 ||
    (flags & layout.NODE_VXLAN_IS_ON) === 0 ||
    judge.protocol !== PROTOCOL_UDP ||
    !judge.hasPorts
  )
    return false;
  return (judge.key & 0xffff) === judge.tables.nodes[node * NODE_WORDS + layout.NODE_VXLAN_PORT];
}

/**
 * TCP under BPF (semantics 6.10): a SYN runs policy again whatever the entry says, and a segment of no known connection is
 * handed to the host's iptables, which know it no better and drop it.
 */
function bpfState(judge: Judge, state: number, hasEntry: boolean): number {
  if (judge.protocol !== PROTOCOL_TCP) return state;
  const isSyn = (judge.tcpFlags & (TCP_SYN | TCP_ACK | TCP_RST)) === TCP_SYN;
  const isDamaged = (judge.tracked[judge.trackedAt + PACKET_FLAGS]! & FLAG_L4_INVALID) !== 0;
  if (isSyn && !isDamaged) return CT_NEW;
  return state === CT_NEW && !hasEntry ? CT_INVALID : state;
}
