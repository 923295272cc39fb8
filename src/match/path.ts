/**
 * The way of a packet through the nodes it crosses, and the checks that each node runs (semantics 6.1-6.6, 6.9).
 *
 * The two ends are a pod, a node's own address (a host process), or outside. From that follows the way through at most two nodes:
 *
 *   pod on n1 ─────────► pod on n2          n1: in = pod, out = uplink      n2: in = uplink, out = pod
 *   outside ───────────► host n1            n1: in = uplink, to a host process
 *   host n1 ───────────► its own pod        n1: from a host process, out = pod: nothing runs
 *
 * and on each node the checks, in order: doNotTrack, preDNAT, then to a host process (pod egress and
 * DefaultEndpointToHostAction, or the host endpoint's normal ingress), from one (normal egress), or forwarded (apply-on-forward
 * ingress, pod egress, pod ingress, apply-on-forward egress, service loop block). The first deny ends it. "Accepted" is
 * what an Allow of doNotTrack or preDNAT sets; it skips the host endpoint's later checks but never a pod's. A packet of a
 * known connection is accepted by the first chain it meets, an invalid one denied by it; both without a trace.
 *
 * Under BPF (semantics 6.10) inbound failsafes help only packets to the host itself.
 */
import { CT_ESTABLISHED, CT_INVALID, CT_RELATED, CT_TRUNCATED, CT_UNTRACKED } from '../conntrack/track.ts';
import {
  ACTION_DENY,
  CHECK_EGRESS,
  CHECK_FORWARD,
  CHECK_INGRESS,
  CHECK_PRE_DNAT,
  CHECK_UNTRACKED,
  PROTOCOL_ICMPV6,
  PROTOCOL_IPIP,
  PROTOCOL_UDP,
  REASON_ENDPOINT_TO_HOST,
  REASON_EVICTED,
  REASON_INVALID,
  REASON_IPIP,
  REASON_MASKED_SOURCE,
  REASON_NONE,
  REASON_SERVICE_LOOP,
  REASON_SPOOFED,
  REASON_TRUNCATED,
  REASON_VXLAN,
} from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import { templateField } from '../tables/tables.ts';
import { lastAtMost, walkChain } from './chain.ts';
import { addCheck, CAPTURE_HOST, type Judge } from './state.ts';
import { mayLackEntry, passedOn, stateOn } from './states.ts';

const NODE_WORDS = layout.NODE_SIZE;
const STEP_WORDS = layout.STEP_SIZE;
const CHAIN_WORDS = layout.CHAIN_SIZE;

const OUTCOME_NONE = 0;
/** A check ran and lets the packet on. */
const OUTCOME_PASSED = 1;
/** A doNotTrack or preDNAT rule said Allow. */
const OUTCOME_ACCEPTED = 2;
export const OUTCOME_DENY = 3;

/* ---- visits: the nodes on the way ---- */

/** How many nodes the packet crosses: 0 (outside to outside), 1 or 2. */
export function visitCount(judge: Judge): number {
  const { srcNode, dstNode } = judge;
  if (srcNode === layout.NONE) return dstNode === layout.NONE ? 0 : 1;
  return dstNode === layout.NONE || dstNode === srcNode ? 1 : 2;
}

/**
 * Takes the packet through one node: connection state, then the checks. OUTCOME_DENY with `judge.reason` if the step does
 * not tell it; `judge.doubt` is set where evidence is missing.
 */
export function crossNode(judge: Judge, visit: number): number {
  const node = visitNode(judge, visit);
  if (judge.tables.localNode !== layout.NONE && node !== judge.tables.localNode) return OUTCOME_NONE;
  // IPv6 that Felix does not police is tracked all the same.
  const isPoliced = judge.version === 4 || hasFlag(judge, node, layout.NODE_IPV6);
  const untracked = isPoliced ? runUntracked(judge, visit) : OUTCOME_NONE;
  if (stops(judge, untracked)) return untracked;
  const isAccepted = untracked === OUTCOME_ACCEPTED;
  const state = isAccepted ? CT_UNTRACKED : stateOn(judge, node);
  judge.state = state;
  let outcome = OUTCOME_NONE;
  if (isPoliced) {
    outcome = runTracked(judge, visit, state, isAccepted);
    if (outcome === OUTCOME_DENY && judge.reason !== REASON_SPOOFED && mayLackEntry(judge, node)) {
      judge.doubt = REASON_EVICTED;
      return outcome;
    }
  }
  // Whoever stands behind a masked source, an answer will belong to its connection.
  const isMasked = judge.doubt === REASON_MASKED_SOURCE;
  if (isMasked || !stops(judge, outcome)) passedOn(judge, node);
  return Math.max(untracked, outcome);
}

/** What a packet of this connection state meets behind the raw table. */
function runTracked(judge: Judge, visit: number, state: number, isAccepted: boolean): number {
  const node = visitNode(judge, visit);
  const ignoresInvalid = hasFlag(judge, node, layout.NODE_NO_INVALID_CHECK);
  const isKnown = state === CT_ESTABLISHED || state === CT_RELATED;
  if (isKnown || state === CT_TRUNCATED || (state === CT_INVALID && !ignoresInvalid)) {
    const outcome = meetFirstChain(judge, visit, isKnown);
    if (state === CT_TRUNCATED && outcome !== OUTCOME_NONE) judge.doubt = REASON_TRUNCATED;
    return outcome;
  }
  if (isSourceMasked(judge, visit)) {
    judge.doubt = REASON_MASKED_SOURCE;
    return OUTCOME_NONE;
  }
  return runVisit(judge, visit, isAccepted);
}

/** Seen behind a node's SNAT, a node's address towards a pod of another node may stand for anyone (semantics 6.9). */
function isSourceMasked(judge: Judge, visit: number): boolean {
  if (judge.capturePoint !== CAPTURE_HOST || !toPod(judge, visit)) return false;
  return judge.srcPod === layout.NONE && judge.srcNode !== layout.NONE && judge.srcNode !== judge.dstNode;
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

function nodeWord(judge: Judge, node: number, word: number): number {
  return judge.tables.nodes[node * NODE_WORDS + word]!;
}

function hasFlag(judge: Judge, node: number, flag: number): boolean {
  return (nodeWord(judge, node, layout.NODE_FLAGS) & flag) !== 0;
}

/** The host endpoint that governs the interface that the packet of another node or of a pod comes in by, or NONE. */
function hepIn(judge: Judge, visit: number): number {
  const node = visitNode(judge, visit);
  return nodeWord(judge, node, fromUplink(judge, visit) ? layout.NODE_UPLINK : layout.NODE_WILDCARD);
}

function hepOut(judge: Judge, visit: number): number {
  const node = visitNode(judge, visit);
  return nodeWord(judge, node, toPod(judge, visit) ? layout.NODE_WILDCARD : layout.NODE_UPLINK);
}

/* ---- checks ---- */

/** doNotTrack: explicit host endpoint of the uplink; ingress for all that enters by it, egress for host processes. */
function runUntracked(judge: Judge, visit: number): number {
  const node = visitNode(judge, visit);
  if (nodeWord(judge, node, layout.NODE_UPLINK_EXPLICIT) === 0) return OUTCOME_NONE;
  const uplink = nodeWord(judge, node, layout.NODE_UPLINK);
  if (fromUplink(judge, visit)) {
    const chain = chainOf(judge, uplink, layout.SLOT_UNTRACKED_INGRESS, layout.SLOT_PENDING_UNTRACKED_INGRESS);
    return runBeforeDnat(judge, visit, CHECK_UNTRACKED, uplink, chain, withoutFailsafes(judge, visit));
  }
  if (!fromHost(judge, visit) || endsHere(judge, visit)) return OUTCOME_NONE;
  const chain = chainOf(judge, uplink, layout.SLOT_UNTRACKED_EGRESS, layout.SLOT_PENDING_UNTRACKED_EGRESS);
  return runBeforeDnat(judge, visit, CHECK_UNTRACKED, uplink, chain, false);
}

/** Everything behind the raw table on one node, for a packet whose connection is new or untracked. */
function runVisit(judge: Judge, visit: number, isAccepted: boolean): number {
  const node = visitNode(judge, visit);
  if (fromHost(judge, visit)) return endsHere(judge, visit) ? OUTCOME_NONE : runHostEgress(judge, node, isAccepted);
  let accepted = isAccepted;
  let outcome = OUTCOME_NONE;
  const hostEndpoint = hepIn(judge, visit);
  if (!accepted) {
    const chain = chainOf(judge, hostEndpoint, layout.SLOT_PRE_DNAT, layout.SLOT_PENDING_PRE_DNAT);
    outcome = runBeforeDnat(judge, visit, CHECK_PRE_DNAT, hostEndpoint, chain, withoutFailsafes(judge, visit));
    if (stops(judge, outcome)) return outcome;
    if (outcome === OUTCOME_ACCEPTED) accepted = true;
  }
  const rest = toHost(judge, visit) ? runToHost(judge, visit, accepted) : runForward(judge, visit, accepted);
  return Math.max(outcome === OUTCOME_NONE ? OUTCOME_NONE : OUTCOME_PASSED, rest);
}

function runHostEgress(judge: Judge, node: number, isAccepted: boolean): number {
  if (isAccepted) return OUTCOME_NONE;
  const uplink = nodeWord(judge, node, layout.NODE_UPLINK);
  const chain = chainOf(judge, uplink, layout.SLOT_EGRESS, layout.SLOT_PENDING_EGRESS);
  // Tunnels to other hosts of the cluster pass before policy (6.8).
  if (chain !== layout.NONE && tunnelReason(judge, node) !== REASON_NONE && isHost(judge.dstNode, judge.dstPod)) {
    addCheck(judge, CHECK_EGRESS, uplink, 0);
    return OUTCOME_PASSED;
  }
  return runChain(judge, CHECK_EGRESS, uplink, chain, false);
}

function runToHost(judge: Judge, visit: number, isAccepted: boolean): number {
  const node = visitNode(judge, visit);
  if (!fromPod(judge, visit)) return runHostIngress(judge, node, isAccepted);
  const tunnel = tunnelReason(judge, node);
  if (tunnel !== REASON_NONE && !hasFlag(judge, node, layout.NODE_IS_BPF)) {
    // The INPUT chain looks at tunnels before it looks at pods, and a pod is none of Calico's hosts.
    addCheck(judge, CHECK_EGRESS, judge.srcPod, 0);
    judge.reason = tunnel;
    return OUTCOME_DENY;
  }
  if (isExemptIcmpv6(judge)) {
    addCheck(judge, CHECK_EGRESS, judge.srcPod, 0);
    return OUTCOME_PASSED;
  }
  const outcome = runPodEgress(judge);
  if (stops(judge, outcome)) return outcome;
  if (nodeWord(judge, node, layout.NODE_TO_HOST_ACTION) === ACTION_DENY) {
    judge.reason = REASON_ENDPOINT_TO_HOST;
    return OUTCOME_DENY;
  }
  return OUTCOME_PASSED;
}

function runHostIngress(judge: Judge, node: number, isAccepted: boolean): number {
  const uplink = nodeWord(judge, node, layout.NODE_UPLINK);
  const chain = chainOf(judge, uplink, layout.SLOT_INGRESS, layout.SLOT_PENDING_INGRESS);
  const tunnel = tunnelReason(judge, node);
  if (tunnel !== REASON_NONE) {
    // Where Calico's tunnels are on, those of its hosts pass and others do not, before policy (6.8).
    const isKnown = isHost(judge.srcNode, judge.srcPod);
    if (isKnown && chain === layout.NONE) return OUTCOME_NONE;
    addCheck(judge, CHECK_INGRESS, uplink, 0);
    if (isKnown) return OUTCOME_PASSED;
    judge.reason = tunnel;
    return OUTCOME_DENY;
  }
  return isAccepted ? OUTCOME_NONE : runChain(judge, CHECK_INGRESS, uplink, chain, false);
}

function isHost(node: number, pod: number): boolean {
  return node !== layout.NONE && pod === layout.NONE;
}

/**
 * REASON_VXLAN or REASON_IPIP for a tunnel of the kind that Calico has on, by the object's own word. IPv4 alone: IPIP has no other, and
 * VXLAN over IPv6 is on by IP pools, not by this setting (Calico felix/calc/encapsulation_resolver.go, VXLANEnabledV6).
 */
function tunnelReason(judge: Judge, node: number): number {
  if (judge.version !== 4) return REASON_NONE;
  const flags = nodeWord(judge, node, layout.NODE_FLAGS);
  if (judge.protocol === PROTOCOL_IPIP && (flags & layout.NODE_IPIP_IS_ON) !== 0) return REASON_IPIP;
  if (judge.protocol !== PROTOCOL_UDP || (flags & layout.NODE_VXLAN_IS_ON) === 0 || !judge.hasPorts) return REASON_NONE;
  return (judge.key & 0xffff) === nodeWord(judge, node, layout.NODE_VXLAN_PORT) ? REASON_VXLAN : REASON_NONE;
}

function runForward(judge: Judge, visit: number, isAccepted: boolean): number {
  const node = visitNode(judge, visit);
  let outcome = OUTCOME_NONE;
  if (!isAccepted) {
    const hostEndpoint = hepIn(judge, visit);
    const chain = chainOf(judge, hostEndpoint, layout.SLOT_FORWARD_INGRESS, layout.SLOT_PENDING_FORWARD_INGRESS);
    outcome = Math.max(outcome, runChain(judge, CHECK_FORWARD, hostEndpoint, chain, false));
  }
  if (fromPod(judge, visit) && !stops(judge, outcome)) outcome = Math.max(outcome, runPodEgress(judge));
  if (toPod(judge, visit) && !stops(judge, outcome)) outcome = Math.max(outcome, runPodIngress(judge));
  if (!stops(judge, outcome)) {
    const hostEndpoint = hepOut(judge, visit);
    const chain = chainOf(judge, hostEndpoint, layout.SLOT_FORWARD_EGRESS, layout.SLOT_PENDING_FORWARD_EGRESS);
    outcome = Math.max(outcome, runChain(judge, CHECK_FORWARD, hostEndpoint, chain, false));
  }
  const isLoop = (judge.dstFlags & layout.CLASS_IS_LOOP) !== 0;
  if (isLoop && !stops(judge, outcome) && hasFlag(judge, node, layout.NODE_LOOP_PREVENTION)) {
    addCheck(judge, CHECK_FORWARD, layout.NONE, 0);
    judge.reason = REASON_SERVICE_LOOP;
    return OUTCOME_DENY;
  }
  return outcome;
}

function stops(judge: Judge, outcome: number): boolean {
  return outcome === OUTCOME_DENY || judge.doubt !== REASON_NONE;
}

function runPodEgress(judge: Judge): number {
  const chain = chainOf(judge, judge.srcPod, layout.SLOT_EGRESS, layout.SLOT_PENDING_EGRESS);
  return runChain(judge, CHECK_EGRESS, judge.srcPod, chain, false);
}

function runPodIngress(judge: Judge): number {
  const chain = chainOf(judge, judge.dstPod, layout.SLOT_INGRESS, layout.SLOT_PENDING_INGRESS);
  return runChain(judge, CHECK_INGRESS, judge.dstPod, chain, false);
}

/** ICMPv6 that a pod may send to its own host whatever its policy (semantics 6.5). */
function isExemptIcmpv6(judge: Judge): boolean {
  if (judge.version !== 6 || judge.protocol !== PROTOCOL_ICMPV6) return false;
  const type = judge.icmpType;
  return (type >= 130 && type <= 133) || type === 135 || type === 136;
}

/** Under BPF an inbound failsafe port is one only if the packet is for the host. */
function withoutFailsafes(judge: Judge, visit: number): boolean {
  return (
    fromUplink(judge, visit) && !toHost(judge, visit) && hasFlag(judge, visitNode(judge, visit), layout.NODE_IS_BPF)
  );
}

/**
 * The first chain with connection-tracking rules on the way accepts what is known and denies what is not; a refused pod's
 * denies either. Packets that meet none pass.
 */
function meetFirstChain(judge: Judge, visit: number, isKnown: boolean): number {
  const node = visitNode(judge, visit);
  const uplink = nodeWord(judge, node, layout.NODE_UPLINK);
  if (fromHost(judge, visit)) {
    if (endsHere(judge, visit)) return OUTCOME_NONE;
    return meet(judge, CHECK_EGRESS, uplink, layout.SLOT_EGRESS, layout.SLOT_PENDING_EGRESS, isKnown);
  }
  const incoming = hepIn(judge, visit);
  // What is known ends the mangle table without a word; the filter table's first chain tells of it.
  let outcome = isKnown
    ? OUTCOME_NONE
    : meet(judge, CHECK_PRE_DNAT, incoming, layout.SLOT_PRE_DNAT, layout.SLOT_PENDING_PRE_DNAT, false);
  if (outcome !== OUTCOME_NONE) return outcome;
  if (toHost(judge, visit)) {
    if (!fromPod(judge, visit)) {
      return meet(judge, CHECK_INGRESS, uplink, layout.SLOT_INGRESS, layout.SLOT_PENDING_INGRESS, isKnown);
    }
    return meetPodEgress(judge, isKnown);
  }
  const { SLOT_FORWARD_INGRESS, SLOT_PENDING_FORWARD_INGRESS, SLOT_FORWARD_EGRESS, SLOT_PENDING_FORWARD_EGRESS } =
    layout;
  outcome = meet(judge, CHECK_FORWARD, incoming, SLOT_FORWARD_INGRESS, SLOT_PENDING_FORWARD_INGRESS, isKnown);
  if (outcome === OUTCOME_NONE && fromPod(judge, visit)) outcome = meetPodEgress(judge, isKnown);
  if (outcome === OUTCOME_NONE && toPod(judge, visit)) {
    outcome = meet(judge, CHECK_INGRESS, judge.dstPod, layout.SLOT_INGRESS, layout.SLOT_PENDING_INGRESS, isKnown);
  }
  if (outcome !== OUTCOME_NONE) return outcome;
  const outgoing = hepOut(judge, visit);
  return meet(judge, CHECK_FORWARD, outgoing, SLOT_FORWARD_EGRESS, SLOT_PENDING_FORWARD_EGRESS, isKnown);
}

function meetPodEgress(judge: Judge, isKnown: boolean): number {
  return meet(judge, CHECK_EGRESS, judge.srcPod, layout.SLOT_EGRESS, layout.SLOT_PENDING_EGRESS, isKnown);
}

function meet(
  judge: Judge,
  kind: number,
  endpoint: number,
  slot: number,
  pendingSlot: number,
  isKnown: boolean,
): number {
  const chain = chainOf(judge, endpoint, slot, pendingSlot);
  if (chain === layout.NONE) return OUTCOME_NONE;
  if (judge.tables.chains[chain * CHAIN_WORDS + layout.CHAIN_KIND] === layout.CHAIN_KIND_REJECTED) {
    return runChain(judge, kind, endpoint, chain, false);
  }
  addCheck(judge, kind, endpoint, 0);
  if (isKnown) return OUTCOME_PASSED;
  judge.reason = REASON_INVALID;
  return OUTCOME_DENY;
}

/* ---- chains ---- */

/** The chain of `endpoint` in `slot` for the packet's IP version and the judge's mode, or NONE. */
function chainOf(judge: Judge, endpoint: number, slot: number, pendingSlot: number): number {
  if (endpoint === layout.NONE) return layout.NONE;
  const { ints } = judge.tables;
  const at = templateField(judge.tables, endpoint, layout.TEMPLATE_CHAINS);
  if (at === layout.NONE) return layout.NONE;
  const base = judge.version === 6 ? at + layout.CHAIN_SLOT_COUNT : at;
  return ints[base + (judge.isPending ? pendingSlot : slot)]!;
}

/** Runs a chain that sees a service's address as it was sent: only the first node on the way translates it (semantics 6.9). */
function runBeforeDnat(
  judge: Judge,
  visit: number,
  kind: number,
  endpoint: number,
  chain: number,
  skipsFailsafes: boolean,
): number {
  if (judge.originalKey === layout.NONE || visit > 0) return runChain(judge, kind, endpoint, chain, skipsFailsafes);
  const { key, dstPeer } = judge;
  judge.key = judge.originalKey;
  judge.dstPeer = judge.originalDstPeer;
  const outcome = runChain(judge, kind, endpoint, chain, skipsFailsafes);
  judge.key = key;
  judge.dstPeer = dstPeer;
  return outcome;
}

/** Runs one chain and records the check. */
function runChain(judge: Judge, kind: number, endpoint: number, chain: number, skipsFailsafes: boolean): number {
  if (chain === layout.NONE) return OUTCOME_NONE;
  const { steps, chains } = judge.tables;
  const from = skipsFailsafes ? chains[chain * CHAIN_WORDS + layout.CHAIN_FAILSAFES]! : 0;
  const count = judge.hasPorts
    ? walk(judge, chain, judge.key, judge.sourceKey, from)
    : walkUnknownPorts(judge, chain, from);
  addCheck(judge, kind, endpoint, count);
  if (judge.doubt !== REASON_NONE) return OUTCOME_PASSED;
  const last = judge.path[judge.pathLength - 1]! * STEP_WORDS;
  const action = steps[last + layout.STEP_ACTION]!;
  if (action === layout.STEP_DENY) {
    judge.reason = steps[last + layout.STEP_REASON]!;
    return OUTCOME_DENY;
  }
  const sets = kind === CHECK_UNTRACKED || kind === CHECK_PRE_DNAT;
  return sets && action === layout.STEP_ALLOW ? OUTCOME_ACCEPTED : OUTCOME_PASSED;
}

function walk(judge: Judge, chain: number, key: number, sourceKey: number, from: number): number {
  const { tables, srcPeer, dstPeer, path, pathLength } = judge;
  return walkChain(tables, chain, srcPeer, dstPeer, key, sourceKey, path, pathLength, from);
}

/** Ports are missing: walks every interval they could fall in; there is doubt unless all give the same action. */
function walkUnknownPorts(judge: Judge, chain: number, from: number): number {
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
      count = walk(judge, chain, Math.max(low, ints[keys + k]!), Math.max(low, sourceStart), from);
      const step = path[judge.pathLength + count - 1]! * STEP_WORDS;
      const stepAction = steps[step + layout.STEP_ACTION]!;
      if (action !== layout.NONE && stepAction !== action) judge.doubt = judge.missingReason;
      action = stepAction;
    }
  }
  return count;
}
