/**
 * The verdict on one packet: the ends that its addresses stand for, each way that this may be meant, and the answer.
 *
 * Calico dispatches on interfaces, a capture knows addresses. So the two ends are resolved first (lookup.ts): pods, nodes' own addresses,
 * or outside. A service address stands for each of its backends (services.ts), an address that several claim for each of
 * them, pods first; the packet is judged once for each combination, and `uncertain` if the answers differ. So it is at once where an identity
 * store ought to know an owner and does not. path.ts takes it through
 * the nodes; states.ts knows what each node has tracked; capture-point.ts what the place of capture adds.
 *
 *   packet ─► [service ─► backends] ─► claims on both addresses ─► crossNode, node by node ─► verdict
 *
 * Packets between ordinary pods and outside need none of this: plain.ts and folded.ts judge them from the folded tables, and a
 * test holds that both ways agree. Everything here is numbers in arrays that `createJudge` made; nothing is allocated a packet.
 */
import type { Conntrack } from '../conntrack/table.ts';
import { CT_NEW } from '../conntrack/track.ts';
import {
  CHECK_EGRESS,
  CHECK_INGRESS,
  REASON_EVICTED,
  REASON_FRAGMENT,
  REASON_MASKED_SOURCE,
  REASON_NO_IDENTITY,
  REASON_NONE,
  REASON_SHARED_ADDRESS,
  REASON_SPOOFED,
  REASON_STALE_IDENTITY,
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
  PACKET_TCP_FLAGS,
} from '../wire/record.ts';
import {
  placeAtVeth,
  RECEIVER_IS_FOREIGN,
  RECEIVER_IS_POD,
  SENDER_BY_ADDRESS,
  SENDER_IS_FOREIGN,
  SENDER_IS_POD,
} from './capture-point.ts';
import { claimCount, claimNode, claimPod, classAt, findOwner, ownerHostEndpoint } from './lookup.ts';
import { crossNode, OUTCOME_DENY, visitCount } from './path.ts';
import { backendCount, findService, writeBackend } from './services.ts';
import {
  addCheck,
  CAPTURE_VETH,
  CHECK_STEP_COUNT,
  CHECK_STEPS,
  CHECK_WORDS,
  type Judge,
  STATES_KEPT,
  STATES_NEW,
} from './state.ts';
import { beginTracked } from './states.ts';

const ENDPOINT_WORDS = layout.ENDPOINT_SIZE;
const STEP_WORDS = layout.STEP_SIZE;

/**
 * The verdict on the packet record as the first of a new connection (VERDICT_*); checks, reason and ends stay in `judge`.
 * A later fragment alone has no ports and is uncertain unless nothing polices its addresses.
 */
export function judgeNewPacket(judge: Judge, records: Int32Array, at: number): number {
  judge.stateMode = STATES_NEW;
  return judgePacket(judge, records, at);
}

/**
 * The verdict on a packet with connection tracking of each node that it crosses (conntrack/track.ts). Confirms the entries
 * that accepted packets open. A verdict that may be wrong because an entry was evicted is uncertain.
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
  beginTracked(judge, ct, records, at, view, timeMs);
  judge.quoted = quoted;
  judge.quotedAt = quotedAt;
  return judgePacket(judge, records, at);
}

/** The verdict on the packet whose states `judge` knows already, as far as it was asked for them (match/simple.ts). */
export function continueTracked(judge: Judge, records: Int32Array, at: number): number {
  return judgePacket(judge, records, at);
}

/**
 * The verdict that `of` would have given on the packet that it has just judged, if every staged policy were enforced: with the
 * same connection states, and moving none. `judge` may be `of` itself, whose answer is then replaced.
 */
export function judgePending(judge: Judge, of: Judge, records: Int32Array, at: number): number {
  if (judge !== of) {
    judge.capturePoint = of.capturePoint;
    judge.atInterface = of.atInterface;
    judge.atDirection = of.atDirection;
    judge.stateCount = of.stateCount;
    for (let i = 0; i < of.stateCount; i++) {
      judge.stateNodes[i] = of.stateNodes[i]!;
      judge.states[i] = of.states[i]!;
    }
  }
  judge.stateMode = of.stateMode === STATES_NEW ? STATES_NEW : STATES_KEPT;
  judge.isPending = true;
  const verdict = judgePacket(judge, records, at);
  judge.isPending = false;
  return verdict;
}

function judgePacket(judge: Judge, records: Int32Array, at: number): number {
  readPacket(judge, records, at);
  judge.originalKey = layout.NONE;
  let place = SENDER_BY_ADDRESS;
  if (judge.capturePoint === CAPTURE_VETH) {
    place = placeAtVeth(judge, records, at);
    if (place === SENDER_IS_FOREIGN || place === RECEIVER_IS_FOREIGN) return spoofed(judge, records, at, place);
  }
  if (((judge.srcFlags | judge.dstFlags) & layout.CLASS_NO_IDENTITY) !== 0) {
    reset(judge);
    judge.srcEndpoint = claimPod(judge.tables, ownerAt(judge, records, at + PACKET_SRC), 0);
    judge.dstEndpoint = claimPod(judge.tables, ownerAt(judge, records, at + PACKET_DST), 0);
    return uncertain(judge, REASON_NO_IDENTITY);
  }
  if ((judge.dstFlags & layout.CLASS_IS_SERVICE) !== 0 && judge.hasPorts) {
    const service = findService(judge.tables, judge.version, records, at);
    if (service !== layout.NONE) {
      judge.originalKey = judge.key;
      judge.originalDstPeer = judge.dstPeer;
      return judgeService(judge, records, at, service, place);
    }
  }
  return judgeClaims(judge, records, at, place);
}

/** Dropped before anything else is asked: a check with nothing in it, as for the pods that Felix refuses. */
function spoofed(judge: Judge, records: Int32Array, at: number, place: number): number {
  reset(judge);
  const isLeaving = place === SENDER_IS_FOREIGN;
  const owners = (word: number): number => claimPod(judge.tables, ownerAt(judge, records, at + word), 0);
  judge.srcEndpoint = owners(PACKET_SRC);
  judge.dstEndpoint = owners(PACKET_DST);
  addCheck(judge, isLeaving ? CHECK_EGRESS : CHECK_INGRESS, layout.NONE, 0);
  judge.reason = REASON_SPOOFED;
  return denied(judge);
}

/** Judges the packet once for each backend; uncertain if their answers differ. */
function judgeService(judge: Judge, records: Int32Array, at: number, service: number, place: number): number {
  const { tables, rewritten } = judge;
  const count = backendCount(tables, service);
  let first = layout.NONE;
  for (let backend = 0; backend < count; backend++) {
    const verdict = judgeBackend(judge, records, at, service, backend, place);
    if (backend > 0 && verdict !== first) return uncertain(judge, REASON_SHARED_ADDRESS);
    first = verdict;
    if (verdict === VERDICT_UNCERTAIN) return verdict;
  }
  if (count === 1) return first;
  writeBackend(tables, service, 0, records, at, rewritten);
  return judgeBackend(judge, records, at, service, 0, place);
}

function judgeBackend(
  judge: Judge,
  records: Int32Array,
  at: number,
  service: number,
  backend: number,
  place: number,
): number {
  writeBackend(judge.tables, service, backend, records, at, judge.rewritten);
  readPacket(judge, judge.rewritten, 0);
  return judgeClaims(judge, judge.rewritten, 0, place);
}

/* ---- the packet and its ends ---- */

function readPacket(judge: Judge, records: Int32Array, at: number): void {
  const tables = judge.tables;
  const flags = records[at + PACKET_FLAGS]!;
  const protocol = records[at + PACKET_PROTOCOL]!;
  judge.version = (flags & FLAG_IPV6) !== 0 ? 6 : 4;
  judge.protocol = protocol;
  judge.tcpFlags = records[at + PACKET_TCP_FLAGS]!;
  const slot = layout.keySlot(protocol, judge.version);
  judge.hasPorts = slot === layout.KEY_SLOT_OTHER || (flags & FLAG_L4_PORTS) !== 0;
  const isLater = (flags & FLAG_FRAGMENT) !== 0 && (flags & FLAG_FIRST_FRAGMENT) === 0;
  judge.missingReason = isLater ? REASON_FRAGMENT : REASON_TRUNCATED;
  setKeys(judge, slot, protocol, records[at + PACKET_SRC_PORT]!, records[at + PACKET_DST_PORT]!);
  const src = classAt(tables, judge.version, records, at + PACKET_SRC);
  const dst = classAt(tables, judge.version, records, at + PACKET_DST);
  const classes = judge.version === 4 ? tables.classes4 : tables.classes6;
  judge.srcPeer = classes[src + layout.CLASS_PEER]!;
  judge.dstPeer = classes[dst + layout.CLASS_PEER]!;
  judge.srcFlags = classes[src + layout.CLASS_FLAGS]!;
  judge.dstFlags = classes[dst + layout.CLASS_FLAGS]!;
}

/** Keys as tables/layout.ts has them; `first` and `second` are source and destination port, or ICMP type and code. */
function setKeys(judge: Judge, slot: number, protocol: number, first: number, second: number): void {
  judge.icmpType = slot === layout.KEY_SLOT_ICMP && judge.hasPorts ? first : layout.NONE;
  judge.key = layout.keyOf(slot, protocol, first, second);
  const hasSourcePort = slot !== layout.KEY_SLOT_OTHER && slot !== layout.KEY_SLOT_ICMP;
  judge.sourceKey = (slot << layout.SLOT_BITS) | (hasSourcePort ? first : 0);
}

function ownerAt(judge: Judge, records: Int32Array, at: number): number {
  return findOwner(judge.tables, judge.version, records[at]!, records[at + 1]!, records[at + 2]!, records[at + 3]!);
}

/* ---- claims ---- */

/** Judges each combination of claims on the two addresses; uncertain if their answers differ, else the answer is the first's. */
function judgeClaims(judge: Judge, records: Int32Array, at: number, place: number): number {
  const { tables } = judge;
  const srcOwner = ownerAt(judge, records, at + PACKET_SRC);
  const dstOwner = ownerAt(judge, records, at + PACKET_DST);
  const firstSrc = Math.max(0, nextClaim(tables, srcOwner, 0));
  const firstDst = Math.max(0, nextClaim(tables, dstOwner, 0));
  const first = judgeChoice(judge, srcOwner, dstOwner, firstSrc, firstDst, place);
  const hasMoreSrc = place !== SENDER_IS_POD && nextClaim(tables, srcOwner, firstSrc + 1) !== layout.NONE;
  const hasMoreDst = place !== RECEIVER_IS_POD && nextClaim(tables, dstOwner, firstDst + 1) !== layout.NONE;
  if ((!hasMoreSrc && !hasMoreDst) || first === VERDICT_UNCERTAIN) return first;
  // Every one is judged to its end: what a node may have let through, it keeps.
  let isSame = true;
  for (let src = firstSrc; src !== layout.NONE; src = hasMoreSrc ? nextClaim(tables, srcOwner, src + 1) : layout.NONE) {
    for (
      let dst = firstDst;
      dst !== layout.NONE;
      dst = hasMoreDst ? nextClaim(tables, dstOwner, dst + 1) : layout.NONE
    ) {
      if (src === firstSrc && dst === firstDst) continue;
      if (judgeChoice(judge, srcOwner, dstOwner, src, dst, place) !== first) isSame = false;
    }
  }
  if (!isSame) return uncertain(judge, REASON_SHARED_ADDRESS);
  return judgeChoice(judge, srcOwner, dstOwner, firstSrc, firstDst, place);
}

/** The first claim at or after number `from` that counts, or NONE: with `--node`, those of that node alone. */
function nextClaim(tables: Tables, owner: number, from: number): number {
  const count = claimCount(tables, owner);
  for (let claim = from; claim < count; claim++) {
    if (tables.localNode === layout.NONE || claimNode(tables, owner, claim) === tables.localNode) return claim;
  }
  return layout.NONE;
}

function judgeChoice(
  judge: Judge,
  srcOwner: number,
  dstOwner: number,
  srcChoice: number,
  dstChoice: number,
  place: number,
): number {
  reset(judge);
  resolveEnds(judge, srcOwner, dstOwner, srcChoice, dstChoice, place);
  const visits = visitCount(judge);
  for (let visit = 0; visit < visits; visit++) {
    const outcome = crossNode(judge, visit);
    if (judge.doubt !== REASON_NONE) return uncertain(judge, judge.doubt);
    if (outcome === OUTCOME_DENY) return denied(judge);
  }
  return allowed(judge);
}

function reset(judge: Judge): void {
  judge.checkCount = 0;
  judge.pathLength = 0;
  judge.reason = REASON_NONE;
  judge.deciding = layout.NONE;
  judge.state = CT_NEW;
  judge.doubt = REASON_NONE;
}

/** Sets the ends, taking claim number `srcChoice` and `dstChoice` of addresses that several claim (lookup.ts). */
function resolveEnds(
  judge: Judge,
  srcOwner: number,
  dstOwner: number,
  srcChoice: number,
  dstChoice: number,
  place: number,
): void {
  const { tables, atInterface } = judge;
  judge.srcPod = claimPod(tables, srcOwner, srcChoice);
  judge.dstPod = claimPod(tables, dstOwner, dstChoice);
  judge.srcNode = claimNode(tables, srcOwner, srcChoice);
  judge.dstNode = claimNode(tables, dstOwner, dstChoice);
  if (place === SENDER_IS_POD) {
    judge.srcPod = atInterface;
    judge.srcNode = nodeOf(judge, atInterface);
  } else if (place === RECEIVER_IS_POD) {
    judge.dstPod = atInterface;
    judge.dstNode = nodeOf(judge, atInterface);
  }
  judge.srcEndpoint = judge.srcPod === layout.NONE ? ownerHostEndpoint(tables, srcOwner) : judge.srcPod;
  judge.dstEndpoint = judge.dstPod === layout.NONE ? ownerHostEndpoint(tables, dstOwner) : judge.dstPod;
}

function nodeOf(judge: Judge, endpoint: number): number {
  return judge.tables.endpoints[endpoint * ENDPOINT_WORDS + layout.ENDPOINT_NODE]!;
}

/* ---- the answer ---- */

function denied(judge: Judge): number {
  judge.verdict = VERDICT_DENY;
  judge.deciding = judge.checkCount - 1;
  return VERDICT_DENY;
}

/** Unpoliced if no check ran; the reason is that of the last one's step (a failsafe port). */
function allowed(judge: Judge): number {
  judge.verdict = judge.checkCount > 0 ? VERDICT_ALLOW : VERDICT_UNPOLICED;
  judge.deciding = judge.checkCount - 1;
  const last = judge.deciding * CHECK_WORDS;
  if (judge.checkCount > 0 && judge.checks[last + CHECK_STEP_COUNT]! > 0) {
    judge.reason = judge.tables.steps[judge.path[judge.pathLength - 1]! * STEP_WORDS + layout.STEP_REASON]!;
  }
  return judge.verdict;
}

function uncertain(judge: Judge, reason: number): number {
  markUncertain(judge, reason);
  return VERDICT_UNCERTAIN;
}

/** Takes back the verdict of the last packet: evidence is missing, for REASON_*. Checks are kept where they hold all the same. */
export function markUncertain(judge: Judge, reason: number): void {
  judge.verdict = VERDICT_UNCERTAIN;
  judge.reason = reason;
  judge.deciding = layout.NONE;
  if (
    reason === REASON_SHARED_ADDRESS ||
    reason === REASON_EVICTED ||
    reason === REASON_MASKED_SOURCE ||
    reason === REASON_STALE_IDENTITY
  ) {
    judge.checkCount = 0;
  }
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
