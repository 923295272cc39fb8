/**
 * Flow lines: what is known of the next packet of a flow, so that most packets need neither owners, nor policy, nor a look into buckets.
 *
 * Problem. A tracked packet goes from its addresses to their owners and nodes, on each node to its entry, and through the policy where it is
 * new: some forty loads that miss the caches, microseconds a packet. Yet the next packet of a flow nearly always does what
 * the last one did.
 *
 * Idea. After a packet was judged the long way, a line of eight words notes what the same packet would do if it came again, beside the
 * five-tuple: how it is counted, and what it does to the entries of the nodes on its way. Two lines are 64 bytes, one line of the cache, which
 * is found by the flow's hash: room for both directions of a conversation, or for two flows. Where that is full, the neighbouring place serves. A line is
 * a memory, not a truth:
 * whatever could change its answer takes it away.
 *
 *   made or removed an entry, moved TCP out of           lines of its flow, both directions (`forgetFlow`, from entries.ts and track.ts)
 *   "established and answered"
 *   looked an entry up, to move it                       the same lines, unless they hold for what was answered (`forgetUnanswered`, lookup.ts)
 *   an eviction where there was none before, new tables,
 *   another owner of an address                          all lines (`forgetFlows`)
 *
 * so a line that is there needs no look at what it was made of; only time has to be asked, since entries expire by it. Lines are of one thread
 * and of TCP and UDP alone; a fifth flow of two places takes that of another. match/flow-lines.ts writes lines, match/tracked.ts reads them.
 *
 *   word  name        meaning
 *   0     FLOW_SRC    source address, as the flow's hash sees it (key.ts, `endOf`)
 *   1     FLOW_DST    destination address
 *   2     FLOW_PORTS  source port << 16 | destination port
 *   3     FLOW_META   stamp << 5 | FLOW_TCP | FLOW_IPV6 | FLOW_* kind; another stamp than the table's, or 0: no line
 *   4     FLOW_SLOT   where the packet is counted (match/tracked.ts)
 *   5-7               by kind:
 *
 *   FLOW_COUNTED  judged anew each time, and no entry: a flow that policy denies. 5 = the segment's form, of which header length and
 *                 flags must be the same (TCP), or 0 (UDP); 7 = the last second there is
 *   FLOW_SYN      a repeated SYN that nobody answered, which changes nothing. 5 = its form, 6 = sequence number behind it,
 *                 7 = second from which on an entry may be dead
 *   FLOW_ASKED    UDP that nobody answered: prolongs its entries. 5, 6 = `entry << 1` (twice the same if there is one), 7 as for FLOW_SYN
 *   FLOW_ANSWERED UDP that was: the same, but both directions prolong, so that the entries alone know until when
 *   FLOW_ACK      established TCP. 5, 6 = `entry << 1 | direction`; segments in order move the entries as tcp-fast.ts says
 *
 * The form of a TCP segment is the fourth word of its header: data offset, flags, window.
 *
 * IPv6. A line has a whole place, so that it is one line of the cache too. Its first half is as above, with the addresses folded to a
 * word each; their first three words stand in the second half, and the fourth follows from these and the fold, which is a one-to-one
 * function of it. Word 11, where the second line of two has FLOW_META, is 0: no line. The two directions of a conversation have neighbouring places,
 * 16 words apart as lines of IPv4 are 8, and a flow may have four places in all.
 *
 *   8-10    FLOW_SRC6   first three words of the source
 *   12-14   FLOW_DST6   of the destination
 *
 * Worked example. 10.0.0.1:40000 > 10.0.1.7:53 over UDP, on one node. The first datagram finds no line, is judged, allowed by step 40, and
 * confirmed as entry 9: line (…, FLOW_ASKED, slot 40, 18, 18, 30 s from now). The second one finds it: entry 9 lives, its time-out is set to
 * 30 s from then, step 40 counts one more. The answer comes: no line of its direction; the long way calls it ESTABLISHED and, having moved
 * entry 9, takes both lines away; its own is written anew, as FLOW_ANSWERED.
 */
import { TRAIT_IPV6, TRAIT_TCP } from '../wire/record.ts';
import type { Conntrack } from './table.ts';

export const FLOW_SRC = 0;
export const FLOW_DST = 1;
export const FLOW_PORTS = 2;
export const FLOW_META = 3;
export const FLOW_SLOT = 4;
export const FLOW_FIRST = 5;
export const FLOW_SECOND = 6;
export const FLOW_THIRD = 7;
export const FLOW_SRC6 = 8;
export const FLOW_DST6 = 12;
const FLOW_META_OF_SECOND = 11;

/** Words of a place. */
export const FLOW_PAIR_WORDS = 16;
/** From one line to the next that a flow may have; there are four, this, twice and three times this to or fro (exclusive or) from the first. */
export const FLOW_APART = 8;
export const FLOW_APART6 = 16;

export const FLOW_KIND_BITS = 5;
export const FLOW_IPV6 = TRAIT_IPV6;
export const FLOW_TCP = TRAIT_TCP;
export const FLOW_COUNTED = 1;
export const FLOW_SYN = 2;
export const FLOW_ASKED = 3;
export const FLOW_ANSWERED = 4;
export const FLOW_ACK = 5;
const KIND_END = 6;
const KIND_MASK = 7;

/** Most pairs of lines: 16 MB of them, of which only pages in use take memory, so that flows by the ten thousand seldom meet. */
const PAIRS_LOG2_MAX = 18;
const PAIRS_LOG2_MIN = 6;
/** Stamps start anew behind this. */
const STAMP_MAX = (1 << (31 - FLOW_KIND_BITS)) - 1;

/** Makes room for lines: one pair for about four entries of the table, since few flows are in use at a time. Not done twice. */
export function openFlows(ct: Conntrack): void {
  if (ct.flowMask > 0) return;
  const log2 = 30 - Math.clz32(64 * ct.entriesPerShard - 1);
  const pairs = 1 << Math.max(PAIRS_LOG2_MIN, Math.min(PAIRS_LOG2_MAX, log2));
  ct.flows = new Int32Array(pairs * FLOW_PAIR_WORDS);
  ct.flowMask = pairs - 1;
}

/**
 * Takes away the lines of the packets between two addresses whose flow has this hash (`flowHash` of key.ts).
 *
 * @param src, dst  as FLOW_SRC and FLOW_DST have them
 */
export function forgetFlow(ct: Conntrack, hash: number, isIpv6: boolean, src: number, dst: number): void {
  forgetKinds(ct, hash, isIpv6, src, dst, KIND_END);
}

/**
 * The same, but for lines that hold whatever their entries go through while those live and stay answered (FLOW_ANSWERED) or established
 * (FLOW_ACK: whoever moves an entry out of that state takes its lines away). Both directions of a conversation keep theirs so.
 */
export function forgetUnanswered(ct: Conntrack, hash: number, isIpv6: boolean, src: number, dst: number): void {
  forgetKinds(ct, hash, isIpv6, src, dst, FLOW_ANSWERED);
}

/** Takes away the flow's lines of kinds below `kinds`. */
function forgetKinds(ct: Conntrack, hash: number, isIpv6: boolean, src: number, dst: number, kinds: number): void {
  const { flows } = ct;
  const place = (hash & ct.flowMask) * 16;
  const apart = isIpv6 ? 16 : 8;
  // Whichever way round; that ports differ is left to chance.
  const sum = src ^ dst;
  for (let away = 0; away <= 3 * apart; away += apart) {
    const line = place ^ away;
    if ((flows[line]! ^ flows[line + 1]!) === sum && (flows[line + 3]! & KIND_MASK) < kinds) flows[line + 3] = 0;
  }
}

/**
 * The line where a flow's next one is to be written: its own, else one that does not hold, else `preferred`, which holds for another flow. The
 * words of the place that are not written by the caller are made such that they hold for nobody.
 *
 * @param preferred  where its line is looked for first; three others are FLOW_APART or FLOW_APART6 words, twice and three times that, to or fro
 */
export function lineFor(
  ct: Conntrack,
  preferred: number,
  isIpv6: boolean,
  src: number,
  dst: number,
  ports: number,
): number {
  const { flows } = ct;
  const apart = isIpv6 ? FLOW_APART6 : FLOW_APART;
  let free = -1;
  for (let away = 3 * apart; away >= 0; away -= apart) {
    const line = preferred ^ away;
    if (flows[line] === src && flows[line + 1] === dst && flows[line + 2] === ports) {
      free = line;
      break;
    }
    if (flows[line + 3]! >>> FLOW_KIND_BITS !== ct.flowStamp) free = line;
  }
  const line = free < 0 ? preferred : free;
  const place = line & -FLOW_PAIR_WORDS;
  if (isIpv6) flows[place + FLOW_META_OF_SECOND] = 0;
  else if ((flows[place + FLOW_META]! & FLOW_IPV6) !== 0) flows[place + FLOW_META] = 0;
  return line;
}

/** Takes away all lines. */
export function forgetFlows(ct: Conntrack): void {
  ct.flowStamp++;
  if (ct.flowStamp <= STAMP_MAX) return;
  ct.flows.fill(0);
  ct.flowStamp = 1;
}
