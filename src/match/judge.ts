/**
 * The full path of a packet: which nodes it crosses, which checks each node runs, and the verdict.
 *
 * Calico dispatches on interfaces, a capture knows addresses. So the two ends are resolved first: a pod, a node's own
 * address (a host process), or outside. From that follows the way through at most two nodes (semantics 6.1):
 *
 *   pod on n1 ─────────► pod on n2          n1: in = pod, out = uplink      n2: in = uplink, out = pod
 *   outside ───────────► host n1            n1: in = uplink, to a host process
 *   host n1 ───────────► its own pod        n1: from a host process, out = pod: nothing runs
 *
 * and on each node the checks of 6.1, in order: doNotTrack, preDNAT, then to a host process (pod egress and
 * DefaultEndpointToHostAction, or the host endpoint's normal ingress), from one (normal egress), or forwarded (apply-on-forward
 * ingress, pod egress, pod ingress, apply-on-forward egress, service loop block). The first deny ends it. "Accepted" is
 * what an Allow of doNotTrack or preDNAT sets; it skips the host endpoint's later checks but never a pod's.
 *
 * Packets between ordinary pods and outside need none of this: batch.ts judges them from the folded tables, and a test
 * holds that both ways agree. Everything here is numbers in arrays that `createJudge` made; nothing is allocated a packet.
 */
import type { Conntrack } from '../conntrack/table.ts';
import {
  CT_ESTABLISHED,
  CT_INVALID,
  CT_NEW,
  CT_RELATED,
  CT_TRUNCATED,
  CT_UNTRACKED,
  confirmPacket,
  trackError,
  trackPacket,
} from '../conntrack/track.ts';
import {
  ACTION_DENY,
  CHECK_EGRESS,
  CHECK_FORWARD,
  CHECK_INGRESS,
  CHECK_PRE_DNAT,
  CHECK_UNTRACKED,
  PROTOCOL_ICMPV6,
  REASON_ENDPOINT_TO_HOST,
  REASON_FRAGMENT,
  REASON_INVALID,
  REASON_NONE,
  REASON_SERVICE_LOOP,
  REASON_SHARED_ADDRESS,
  REASON_TRUNCATED,
  VERDICT_ALLOW,
  VERDICT_DENY,
  VERDICT_UNCERTAIN,
  VERDICT_UNPOLICED,
} from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import {
  FLAG_FIRST_FRAGMENT,
  FLAG_FRAGMENT,
  FLAG_IPV6,
  FLAG_L4_PORTS,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_WORDS,
} from '../wire/record.ts';
import { lastAtMost, PATH_STEPS_MAX, walkChain } from './chain.ts';
import { claimCount, claimNode, claimPod, classOf4, classOf6, findOwner, ownerHostEndpoint } from './lookup.ts';

/* Words of one check in `Judge.checks`. */
export const CHECK_WORDS = 4;
/** CHECK_* */
export const CHECK_KIND = 0;
/** Endpoint that the check belongs to. */
export const CHECK_ENDPOINT = 1;
/** Where its steps start in `Judge.path`, and how many; 0 steps = decided before any rule (ICMPv6 exemption). */
export const CHECK_STEPS = 2;
export const CHECK_STEP_COUNT = 3;

/** Two nodes, each at most: doNotTrack, preDNAT, two forward, egress, ingress, service loop. */
const CHECKS_MAX = 14;
const NODE_WORDS = 20;
const ENDPOINT_WORDS = 18;
const STEP_WORDS = 10;
const CHAIN_WORDS = 17;
const SERVICE_WORDS = 5;
const PREFIX_WORDS = 5;

export interface Judge {
  readonly tables: Tables;
  readonly checks: Int32Array;
  checkCount: number;
  readonly path: Int32Array;
  pathLength: number;
  /** VERDICT_* and REASON_* of the last packet. */
  verdict: number;
  reason: number;
  /** Index in `checks` of the one that decided, the last that ran if all allowed, or NONE. */
  deciding: number;
  /** CT_* of the last tracked packet on the node that decided (or the last node); CT_NEW when stateless. */
  state: number;
  /** Endpoints of the last packet's ends, or NONE. */
  srcEndpoint: number;
  dstEndpoint: number;
  /** True: staged policies count as if they were enforced. */
  isPending: boolean;

  /* The packet in hand. */
  version: number;
  srcPeer: number;
  dstPeer: number;
  dstIsLoop: boolean;
  key: number;
  sourceKey: number;
  hasPorts: boolean;
  icmpType: number;
  srcPod: number;
  dstPod: number;
  srcNode: number;
  dstNode: number;
  isUncertain: boolean;
  readonly rewritten: Int32Array;
}

export function createJudge(tables: Tables): Judge {
  return {
    tables,
    checks: new Int32Array(CHECKS_MAX * CHECK_WORDS),
    checkCount: 0,
    path: new Int32Array(PATH_STEPS_MAX * CHECKS_MAX),
    pathLength: 0,
    verdict: VERDICT_UNPOLICED,
    reason: REASON_NONE,
    deciding: layout.NONE,
    state: CT_NEW,
    srcEndpoint: layout.NONE,
    dstEndpoint: layout.NONE,
    isPending: false,
    version: 4,
    srcPeer: 0,
    dstPeer: 0,
    dstIsLoop: false,
    key: 0,
    sourceKey: 0,
    hasPorts: true,
    icmpType: 0,
    srcPod: layout.NONE,
    dstPod: layout.NONE,
    srcNode: layout.NONE,
    dstNode: layout.NONE,
    isUncertain: false,
    rewritten: new Int32Array(PACKET_WORDS),
  };
}

/**
 * The verdict on the packet record as the first of a new connection (VERDICT_*); checks, reason and ends stay in `judge`.
 * A later fragment alone has no ports and is uncertain unless nothing polices its addresses.
 */
export function judgeNewPacket(judge: Judge, records: Int32Array, at: number): number {
  const service = findService(judge, records, at);
  if (service !== layout.NONE) return judgeService(judge, records, at, service);
  return judgeAddresses(judge, records, at);
}

/**
 * The verdict on a packet with connection tracking of each node that it crosses (conntrack/track.ts). Confirms the entries
 * that accepted packets open.
 *
 * @param quoted  for ICMP errors the record of the quoted packet at `quotedAt`; `quotedAt` < 0 otherwise
 */
export function judgeTrackedPacket(
  judge: Judge,
  ct: Conntrack,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
  quoted: Int32Array,
  quotedAt: number,
): number {
  begin(judge, records, at);
  resolveEnds(judge, records, at, 0, 0);
  const visits = visitCount(judge);
  let isPoliced = false;
  for (let visit = 0; visit < visits; visit++) {
    const node = visitNode(judge, visit);
    const untracked = runUntracked(judge, visit);
    if (untracked === OUTCOME_DENY) return denied(judge);
    if (untracked !== OUTCOME_NONE) isPoliced = true;
    let state = CT_UNTRACKED;
    if (untracked !== OUTCOME_ACCEPTED) {
      state =
        quotedAt < 0
          ? trackPacket(ct, node, records, at, view, timeMs)
          : trackError(ct, node, records, at, quoted, quotedAt, view, timeMs);
    }
    judge.state = state;
    if (state === CT_TRUNCATED) return uncertain(judge, REASON_TRUNCATED);
    if (state === CT_ESTABLISHED || state === CT_RELATED) {
      if (meetsChain(judge, visit)) isPoliced = true;
      continue;
    }
    if (state === CT_INVALID && !ignoresInvalid(judge, node)) {
      if (!meetsChain(judge, visit)) continue;
      if (isExemptIcmpv6(judge, visit)) {
        isPoliced = true;
        continue;
      }
      judge.reason = REASON_INVALID;
      judge.verdict = VERDICT_DENY;
      return VERDICT_DENY;
    }
    const outcome = runVisit(judge, visit, untracked === OUTCOME_ACCEPTED);
    if (outcome === OUTCOME_DENY) return denied(judge);
    if (outcome !== OUTCOME_NONE) isPoliced = true;
    if (judge.isUncertain)
      return uncertain(judge, judge.hasPorts ? REASON_SHARED_ADDRESS : truncationReason(records, at));
    if (state === CT_NEW) confirmPacket(ct, node, records, at, view, timeMs);
  }
  return allowed(judge, isPoliced);
}

/* ---- the packet and its ends ---- */

function begin(judge: Judge, records: Int32Array, at: number): void {
  const tables = judge.tables;
  const flags = records[at + PACKET_FLAGS]!;
  const protocol = records[at + PACKET_PROTOCOL]!;
  judge.version = (flags & FLAG_IPV6) !== 0 ? 6 : 4;
  judge.checkCount = 0;
  judge.pathLength = 0;
  judge.reason = REASON_NONE;
  judge.deciding = layout.NONE;
  judge.state = CT_NEW;
  judge.isUncertain = false;
  const slot = layout.keySlot(protocol, judge.version);
  judge.hasPorts = slot === layout.KEY_SLOT_OTHER || (flags & FLAG_L4_PORTS) !== 0;
  setKeys(judge, slot, protocol, records[at + PACKET_SRC_PORT]!, records[at + PACKET_DST_PORT]!);
  const src = classAt(judge, records, at + PACKET_SRC);
  const dst = classAt(judge, records, at + PACKET_DST);
  const classes = judge.version === 4 ? tables.classes4 : tables.classes6;
  judge.srcPeer = classes[src + layout.CLASS_PEER]!;
  judge.dstPeer = classes[dst + layout.CLASS_PEER]!;
  judge.dstIsLoop = (classes[dst + layout.CLASS_FLAGS]! & layout.CLASS_IS_LOOP) !== 0;
}

/** Keys as tables/layout.ts has them; `first` and `second` are source and destination port, or ICMP type and code. */
function setKeys(judge: Judge, slot: number, protocol: number, first: number, second: number): void {
  judge.icmpType = slot === layout.KEY_SLOT_ICMP && judge.hasPorts ? first : layout.NONE;
  if (slot === layout.KEY_SLOT_OTHER) {
    judge.key = (slot << layout.SLOT_BITS) | protocol;
    judge.sourceKey = slot << layout.SLOT_BITS;
  } else if (slot === layout.KEY_SLOT_ICMP) {
    judge.key = (slot << layout.SLOT_BITS) | (first << 8) | second;
    judge.sourceKey = slot << layout.SLOT_BITS;
  } else {
    judge.key = (slot << layout.SLOT_BITS) | second;
    judge.sourceKey = (slot << layout.SLOT_BITS) | first;
  }
}

function classAt(judge: Judge, records: Int32Array, at: number): number {
  if (judge.version === 4) return classOf4(judge.tables.trie4, records[at]!);
  return classOf6(judge.tables, records[at]!, records[at + 1]!, records[at + 2]!, records[at + 3]!);
}

function ownerAt(judge: Judge, records: Int32Array, at: number): number {
  return findOwner(judge.tables, judge.version, records[at]!, records[at + 1]!, records[at + 2]!, records[at + 3]!);
}

/** Sets the ends, taking claim number `srcChoice` and `dstChoice` of addresses that several claim (match/lookup.ts). */
function resolveEnds(judge: Judge, records: Int32Array, at: number, srcChoice: number, dstChoice: number): void {
  const { tables } = judge;
  const srcOwner = ownerAt(judge, records, at + PACKET_SRC);
  const dstOwner = ownerAt(judge, records, at + PACKET_DST);
  judge.srcPod = claimPod(tables, srcOwner, srcChoice);
  judge.dstPod = claimPod(tables, dstOwner, dstChoice);
  judge.srcNode = claimNode(tables, srcOwner, srcChoice);
  judge.dstNode = claimNode(tables, dstOwner, dstChoice);
  judge.srcEndpoint = judge.srcPod === layout.NONE ? ownerHostEndpoint(tables, srcOwner) : judge.srcPod;
  judge.dstEndpoint = judge.dstPod === layout.NONE ? ownerHostEndpoint(tables, dstOwner) : judge.dstPod;
}

/* ---- stateless judgement ---- */

function judgeAddresses(judge: Judge, records: Int32Array, at: number): number {
  begin(judge, records, at);
  const srcOwner = ownerAt(judge, records, at + PACKET_SRC);
  const dstOwner = ownerAt(judge, records, at + PACKET_DST);
  const srcCount = claimCount(judge.tables, srcOwner);
  const dstCount = claimCount(judge.tables, dstOwner);
  if (srcCount > 1 || dstCount > 1) {
    const first = judgeChoice(judge, records, at, 0, 0);
    for (let src = 0; src < srcCount; src++) {
      for (let dst = 0; dst < dstCount; dst++) {
        if (judgeChoice(judge, records, at, src, dst) !== first) return uncertain(judge, REASON_SHARED_ADDRESS);
      }
    }
  }
  return judgeChoice(judge, records, at, 0, 0);
}

function judgeChoice(judge: Judge, records: Int32Array, at: number, srcChoice: number, dstChoice: number): number {
  begin(judge, records, at);
  resolveEnds(judge, records, at, srcChoice, dstChoice);
  const visits = visitCount(judge);
  let isPoliced = false;
  for (let visit = 0; visit < visits; visit++) {
    const untracked = runUntracked(judge, visit);
    if (untracked === OUTCOME_DENY) return denied(judge);
    const outcome = runVisit(judge, visit, untracked === OUTCOME_ACCEPTED);
    if (judge.isUncertain) return uncertain(judge, truncationReason(records, at));
    if (outcome === OUTCOME_DENY) return denied(judge);
    if (untracked !== OUTCOME_NONE || outcome !== OUTCOME_NONE) isPoliced = true;
  }
  return allowed(judge, isPoliced);
}

function truncationReason(records: Int32Array, at: number): number {
  const flags = records[at + PACKET_FLAGS]!;
  return (flags & FLAG_FRAGMENT) !== 0 && (flags & FLAG_FIRST_FRAGMENT) === 0 ? REASON_FRAGMENT : REASON_TRUNCATED;
}

function denied(judge: Judge): number {
  judge.verdict = VERDICT_DENY;
  judge.deciding = judge.checkCount - 1;
  if (judge.reason === REASON_NONE)
    judge.reason = judge.tables.steps[lastStep(judge) * STEP_WORDS + layout.STEP_REASON]!;
  return VERDICT_DENY;
}

function allowed(judge: Judge, isPoliced: boolean): number {
  judge.verdict = isPoliced ? VERDICT_ALLOW : VERDICT_UNPOLICED;
  judge.deciding = judge.checkCount - 1;
  if (judge.checkCount > 0 && judge.pathLength > 0) {
    const reason = judge.tables.steps[lastStep(judge) * STEP_WORDS + layout.STEP_REASON]!;
    judge.reason = reason;
  }
  return judge.verdict;
}

function uncertain(judge: Judge, reason: number): number {
  markUncertain(judge, reason);
  return VERDICT_UNCERTAIN;
}

/** Takes back the verdict of the last packet: evidence is missing, for REASON_*. */
export function markUncertain(judge: Judge, reason: number): void {
  judge.verdict = VERDICT_UNCERTAIN;
  judge.reason = reason;
  if (reason === REASON_SHARED_ADDRESS) judge.checkCount = 0;
  judge.deciding = layout.NONE;
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

function lastStep(judge: Judge): number {
  return judge.path[judge.pathLength - 1]!;
}

/* ---- service addresses (semantics 6.9) ---- */

/** The service record that kube-proxy would have translated this packet by, or NONE. */
function findService(judge: Judge, records: Int32Array, at: number): number {
  const { services, prefixes } = judge.tables;
  if (services.length === 0) return layout.NONE;
  const version = (records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0 ? 6 : 4;
  const port = (records[at + PACKET_PROTOCOL]! << 16) | records[at + PACKET_DST_PORT]!;
  for (let service = 0; service < services.length; service += SERVICE_WORDS) {
    if (services[service + layout.SERVICE_PORT] !== port || services[service + layout.SERVICE_BACKENDS + 1] === 0)
      continue;
    const prefix = services[service + layout.SERVICE_ADDRESS]! * PREFIX_WORDS;
    if (prefixes[prefix]! >> 8 !== version) continue;
    let isSame = true;
    for (let w = 0; w < 4; w++) {
      if (prefixes[prefix + layout.PREFIX_WORDS + w] !== records[at + PACKET_DST + w]) isSame = false;
    }
    if (isSame) return service;
  }
  return layout.NONE;
}

/** Judges the packet once for each backend; uncertain if their answers differ. */
function judgeService(judge: Judge, records: Int32Array, at: number, service: number): number {
  const { services, ints, prefixes } = judge.tables;
  const first = services[service + layout.SERVICE_BACKENDS]!;
  const count = services[service + layout.SERVICE_BACKENDS + 1]!;
  const copy = judge.rewritten;
  let verdict = layout.NONE;
  for (let backend = 0; backend < count; backend++) {
    for (let w = 0; w < PACKET_WORDS; w++) copy[w] = records[at + w]!;
    const prefix = ints[first + 2 * backend]! * PREFIX_WORDS;
    for (let w = 0; w < 4; w++) copy[PACKET_DST + w] = prefixes[prefix + layout.PREFIX_WORDS + w]!;
    copy[PACKET_DST_PORT] = ints[first + 2 * backend + 1]!;
    const answer = judgeAddresses(judge, copy, 0);
    if (verdict !== layout.NONE && answer !== verdict) return uncertain(judge, REASON_SHARED_ADDRESS);
    verdict = answer;
  }
  return verdict;
}

/* ---- visits: the nodes on the way ---- */

/** How many nodes the packet crosses: 0 (outside to outside), 1 or 2. */
function visitCount(judge: Judge): number {
  const { srcNode, dstNode } = judge;
  if (srcNode === layout.NONE) return dstNode === layout.NONE ? 0 : 1;
  return dstNode === layout.NONE || dstNode === srcNode ? 1 : 2;
}

function visitNode(judge: Judge, visit: number): number {
  return visit === 0 && judge.srcNode !== layout.NONE ? judge.srcNode : judge.dstNode;
}

/* Where the packet comes in and goes out on one visit. */
const fromPod = (judge: Judge, visit: number): boolean => startsHere(judge, visit) && judge.srcPod !== layout.NONE;
const fromHost = (judge: Judge, visit: number): boolean => startsHere(judge, visit) && judge.srcPod === layout.NONE;
const fromUplink = (judge: Judge, visit: number): boolean => !startsHere(judge, visit);
const toPod = (judge: Judge, visit: number): boolean => endsHere(judge, visit) && judge.dstPod !== layout.NONE;
const toHost = (judge: Judge, visit: number): boolean => endsHere(judge, visit) && judge.dstPod === layout.NONE;

function startsHere(judge: Judge, visit: number): boolean {
  return visit === 0 && judge.srcNode !== layout.NONE;
}

function endsHere(judge: Judge, visit: number): boolean {
  return judge.dstNode !== layout.NONE && judge.dstNode === visitNode(judge, visit);
}

/** Whether the node polices nothing of this packet: with `--node` only one counts, and IPv6 may be switched off. */
function isForeign(judge: Judge, node: number): boolean {
  if (judge.tables.localNode !== layout.NONE && node !== judge.tables.localNode) return true;
  return judge.version === 6 && (nodeWord(judge, node, layout.NODE_FLAGS) & layout.NODE_IPV6) === 0;
}

function nodeWord(judge: Judge, node: number, word: number): number {
  return judge.tables.nodes[node * NODE_WORDS + word]!;
}

/** The host endpoint that governs the interface the packet comes in by, or NONE. */
function hepIn(judge: Judge, visit: number): number {
  const node = visitNode(judge, visit);
  if (fromUplink(judge, visit)) return nodeWord(judge, node, layout.NODE_UPLINK);
  return fromPod(judge, visit) ? nodeWord(judge, node, layout.NODE_WILDCARD) : layout.NONE;
}

function hepOut(judge: Judge, visit: number): number {
  const node = visitNode(judge, visit);
  return nodeWord(judge, node, toPod(judge, visit) ? layout.NODE_WILDCARD : layout.NODE_UPLINK);
}

/* ---- checks ---- */

const OUTCOME_NONE = 0;
/** A check ran and lets the packet on. */
const OUTCOME_PASSED = 1;
/** A doNotTrack or preDNAT rule said Allow. */
const OUTCOME_ACCEPTED = 2;
const OUTCOME_DENY = 3;

/** The chain of `endpoint` in `slot` for the packet's IP version and the judge's mode, or NONE. */
function chainOf(judge: Judge, endpoint: number, slot: number, pendingSlot: number): number {
  if (endpoint === layout.NONE) return layout.NONE;
  const { endpoints, ints } = judge.tables;
  const at = endpoints[endpoint * ENDPOINT_WORDS + layout.ENDPOINT_CHAINS]!;
  if (at === layout.NONE) return layout.NONE;
  const base = judge.version === 6 ? at + layout.CHAIN_SLOT_COUNT : at;
  return ints[base + (judge.isPending ? pendingSlot : slot)]!;
}

/** Runs one chain and records the check. */
function runChain(judge: Judge, kind: number, endpoint: number, chain: number): number {
  if (chain === layout.NONE) return OUTCOME_NONE;
  const count = judge.hasPorts ? walk(judge, chain, judge.key, judge.sourceKey) : walkUnknownPorts(judge, chain);
  record(judge, kind, endpoint, count);
  if (judge.isUncertain) return OUTCOME_PASSED;
  const action = judge.tables.steps[lastStep(judge) * STEP_WORDS + layout.STEP_ACTION]!;
  if (action === layout.STEP_DENY) return OUTCOME_DENY;
  const sets = kind === CHECK_UNTRACKED || kind === CHECK_PRE_DNAT;
  return sets && action === layout.STEP_ALLOW ? OUTCOME_ACCEPTED : OUTCOME_PASSED;
}

function record(judge: Judge, kind: number, endpoint: number, stepCount: number): void {
  const at = judge.checkCount * CHECK_WORDS;
  judge.checks[at + CHECK_KIND] = kind;
  judge.checks[at + CHECK_ENDPOINT] = endpoint;
  judge.checks[at + CHECK_STEPS] = judge.pathLength;
  judge.checks[at + CHECK_STEP_COUNT] = stepCount;
  judge.checkCount++;
  judge.pathLength += stepCount;
}

function walk(judge: Judge, chain: number, key: number, sourceKey: number): number {
  return walkChain(judge.tables, chain, judge.srcPeer, judge.dstPeer, key, sourceKey, judge.path, judge.pathLength);
}

/** Ports are missing: walks every interval they could fall in, and is uncertain unless all give the same action. */
function walkUnknownPorts(judge: Judge, chain: number): number {
  const { chains, ints, steps } = judge.tables;
  const path = judge.path;
  const at = chain * CHAIN_WORDS;
  const slot = judge.key >> layout.SLOT_BITS;
  const low = slot << layout.SLOT_BITS;
  const high = low | 0xffff;
  const keys = chains[at + layout.CHAIN_KEYS]!;
  const keyCount = chains[at + layout.CHAIN_KEYS + 1]!;
  const sourceKeys = chains[at + layout.CHAIN_SOURCE_KEYS]!;
  const sourceCount = sourceKeys === layout.NONE ? 1 : ints[sourceKeys]!;
  const firstSource = sourceKeys === layout.NONE ? 0 : lastAtMost(ints, sourceKeys + 1, sourceCount, low);
  let count = 0;
  let action = layout.NONE;
  for (let k = lastAtMost(ints, keys, keyCount, low); k < keyCount && ints[keys + k]! <= high; k++) {
    for (let s = firstSource; s < sourceCount; s++) {
      const sourceStart = sourceKeys === layout.NONE ? low : ints[sourceKeys + 1 + s]!;
      if (sourceStart > high) break;
      count = walk(judge, chain, Math.max(low, ints[keys + k]!), Math.max(low, sourceStart));
      const step = path[judge.pathLength + count - 1]! * STEP_WORDS;
      const stepAction = steps[step + layout.STEP_ACTION]!;
      if (action !== layout.NONE && stepAction !== action) judge.isUncertain = true;
      action = stepAction;
    }
  }
  return count;
}

/** doNotTrack: explicit host endpoint of the uplink; ingress for all that enters by it, egress for host processes. */
function runUntracked(judge: Judge, visit: number): number {
  const node = visitNode(judge, visit);
  if (isForeign(judge, node) || nodeWord(judge, node, layout.NODE_UPLINK_EXPLICIT) === 0) return OUTCOME_NONE;
  const uplink = nodeWord(judge, node, layout.NODE_UPLINK);
  if (fromUplink(judge, visit)) {
    const chain = chainOf(judge, uplink, layout.SLOT_UNTRACKED_INGRESS, layout.SLOT_PENDING_UNTRACKED_INGRESS);
    return runChain(judge, CHECK_UNTRACKED, uplink, chain);
  }
  if (!fromHost(judge, visit) || endsHere(judge, visit)) return OUTCOME_NONE;
  const chain = chainOf(judge, uplink, layout.SLOT_UNTRACKED_EGRESS, layout.SLOT_PENDING_UNTRACKED_EGRESS);
  return runChain(judge, CHECK_UNTRACKED, uplink, chain);
}

/** Everything behind the raw table on one node, for a packet whose connection is new or untracked. */
function runVisit(judge: Judge, visit: number, isAccepted: boolean): number {
  const node = visitNode(judge, visit);
  if (isForeign(judge, node)) return OUTCOME_NONE;
  if (fromHost(judge, visit)) return endsHere(judge, visit) ? OUTCOME_NONE : runHostEgress(judge, node, isAccepted);
  let accepted = isAccepted;
  let outcome = OUTCOME_NONE;
  const hostEndpoint = hepIn(judge, visit);
  if (!accepted) {
    const chain = chainOf(judge, hostEndpoint, layout.SLOT_PRE_DNAT, layout.SLOT_PENDING_PRE_DNAT);
    outcome = runChain(judge, CHECK_PRE_DNAT, hostEndpoint, chain);
    if (outcome === OUTCOME_DENY || judge.isUncertain) return outcome;
    if (outcome === OUTCOME_ACCEPTED) accepted = true;
  }
  const rest = toHost(judge, visit) ? runToHost(judge, visit, accepted) : runForward(judge, visit, accepted);
  return Math.max(outcome === OUTCOME_NONE ? OUTCOME_NONE : OUTCOME_PASSED, rest);
}

function runHostEgress(judge: Judge, node: number, isAccepted: boolean): number {
  if (isAccepted) return OUTCOME_NONE;
  const uplink = nodeWord(judge, node, layout.NODE_UPLINK);
  return runChain(judge, CHECK_EGRESS, uplink, chainOf(judge, uplink, layout.SLOT_EGRESS, layout.SLOT_PENDING_EGRESS));
}

function runToHost(judge: Judge, visit: number, isAccepted: boolean): number {
  const node = visitNode(judge, visit);
  if (!fromPod(judge, visit)) {
    if (isAccepted) return OUTCOME_NONE;
    const uplink = nodeWord(judge, node, layout.NODE_UPLINK);
    const chain = chainOf(judge, uplink, layout.SLOT_INGRESS, layout.SLOT_PENDING_INGRESS);
    return runChain(judge, CHECK_INGRESS, uplink, chain);
  }
  if (isExemptIcmpv6(judge, visit)) {
    record(judge, CHECK_EGRESS, judge.srcPod, 0);
    return OUTCOME_PASSED;
  }
  const outcome = runPodEgress(judge);
  if (outcome === OUTCOME_DENY || judge.isUncertain) return outcome;
  if (nodeWord(judge, node, layout.NODE_TO_HOST_ACTION) === ACTION_DENY) {
    judge.reason = REASON_ENDPOINT_TO_HOST;
    return OUTCOME_DENY;
  }
  return OUTCOME_PASSED;
}

function runForward(judge: Judge, visit: number, isAccepted: boolean): number {
  const node = visitNode(judge, visit);
  let outcome = OUTCOME_NONE;
  if (!isAccepted) {
    const hostEndpoint = hepIn(judge, visit);
    const chain = chainOf(judge, hostEndpoint, layout.SLOT_FORWARD_INGRESS, layout.SLOT_PENDING_FORWARD_INGRESS);
    outcome = Math.max(outcome, runChain(judge, CHECK_FORWARD, hostEndpoint, chain));
  }
  if (fromPod(judge, visit) && !stops(judge, outcome)) outcome = Math.max(outcome, runPodEgress(judge));
  if (toPod(judge, visit) && !stops(judge, outcome)) outcome = Math.max(outcome, runPodIngress(judge));
  if (!stops(judge, outcome)) {
    const hostEndpoint = hepOut(judge, visit);
    const chain = chainOf(judge, hostEndpoint, layout.SLOT_FORWARD_EGRESS, layout.SLOT_PENDING_FORWARD_EGRESS);
    outcome = Math.max(outcome, runChain(judge, CHECK_FORWARD, hostEndpoint, chain));
  }
  if (!stops(judge, outcome) && judge.dstIsLoop && preventsLoops(judge, node)) {
    record(judge, CHECK_FORWARD, layout.NONE, 0);
    judge.reason = REASON_SERVICE_LOOP;
    return OUTCOME_DENY;
  }
  return outcome;
}

function stops(judge: Judge, outcome: number): boolean {
  return outcome === OUTCOME_DENY || judge.isUncertain;
}

function runPodEgress(judge: Judge): number {
  const chain = chainOf(judge, judge.srcPod, layout.SLOT_EGRESS, layout.SLOT_PENDING_EGRESS);
  return runChain(judge, CHECK_EGRESS, judge.srcPod, chain);
}

function runPodIngress(judge: Judge): number {
  const chain = chainOf(judge, judge.dstPod, layout.SLOT_INGRESS, layout.SLOT_PENDING_INGRESS);
  return runChain(judge, CHECK_INGRESS, judge.dstPod, chain);
}

/** ICMPv6 from a pod to its own host that is accepted before the pod's egress policy (semantics 6.5). */
function isExemptIcmpv6(judge: Judge, visit: number): boolean {
  if (judge.version !== 6 || !fromPod(judge, visit) || !toHost(judge, visit)) return false;
  if (judge.key >> layout.SLOT_BITS !== layout.keySlot(PROTOCOL_ICMPV6, 6)) return false;
  const type = judge.icmpType;
  return (type >= 130 && type <= 133) || type === 135 || type === 136;
}

function preventsLoops(judge: Judge, node: number): boolean {
  return (nodeWord(judge, node, layout.NODE_FLAGS) & layout.NODE_LOOP_PREVENTION) !== 0;
}

function ignoresInvalid(judge: Judge, node: number): boolean {
  return (nodeWord(judge, node, layout.NODE_FLAGS) & layout.NODE_NO_INVALID_CHECK) !== 0;
}

/** Whether a chain with connection-tracking rules lies on the way through this node. */
function meetsChain(judge: Judge, visit: number): boolean {
  const node = visitNode(judge, visit);
  if (isForeign(judge, node)) return false;
  const has = (endpoint: number, slot: number, pendingSlot: number): boolean =>
    chainOf(judge, endpoint, slot, pendingSlot) !== layout.NONE;
  const uplink = nodeWord(judge, node, layout.NODE_UPLINK);
  if (fromHost(judge, visit)) {
    return !endsHere(judge, visit) && has(uplink, layout.SLOT_EGRESS, layout.SLOT_PENDING_EGRESS);
  }
  const incoming = hepIn(judge, visit);
  if (has(incoming, layout.SLOT_PRE_DNAT, layout.SLOT_PENDING_PRE_DNAT)) return true;
  if (toHost(judge, visit)) {
    const endpoint = fromPod(judge, visit) ? judge.srcPod : uplink;
    const [slot, pendingSlot] = fromPod(judge, visit)
      ? [layout.SLOT_EGRESS, layout.SLOT_PENDING_EGRESS]
      : [layout.SLOT_INGRESS, layout.SLOT_PENDING_INGRESS];
    return has(endpoint, slot!, pendingSlot!);
  }
  return (
    has(incoming, layout.SLOT_FORWARD_INGRESS, layout.SLOT_PENDING_FORWARD_INGRESS) ||
    (fromPod(judge, visit) && has(judge.srcPod, layout.SLOT_EGRESS, layout.SLOT_PENDING_EGRESS)) ||
    (toPod(judge, visit) && has(judge.dstPod, layout.SLOT_INGRESS, layout.SLOT_PENDING_INGRESS)) ||
    has(hepOut(judge, visit), layout.SLOT_FORWARD_EGRESS, layout.SLOT_PENDING_FORWARD_EGRESS)
  );
}
