/**
 * What became of each packet on its way: where it was seen, where it ought to have been seen and was not, and what that means.
 *
 *   seen at    a place behind all checks        arrived; a leak if a check denies it
 *              a place before one that lacks it missing there: dropped on the way, or lost by the capture there
 *              a place behind one that lacks it lost by the capture of that place
 *
 * Not to see a packet means nothing where it looks otherwise: data of TCP that offloads cut or join, what is masqueraded, what is in a
 * tunnel, what goes to a service whose backend is not known.
 */
import { CHECK_KIND, CHECK_WORDS, type Judge } from '../match/state.ts';
import { CHECK_EGRESS, REASON_INVALID, VERDICT_ALLOW, VERDICT_DENY } from '../model/flow.ts';
import { NONE } from '../tables/layout.ts';
import {
  PACKET_PROTOCOL,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_HEADER_BYTES,
  PROTOCOL_TCP,
} from '../wire/record.ts';
import {
  type PacketEnds,
  type Place,
  type Places,
  STAGE_BEFORE,
  STAGE_BEHIND,
  STAGE_BETWEEN,
  STAGE_UNKNOWN,
  stageAt,
} from './capture-places.ts';
import type { SeenPacket } from './cross-capture.ts';
import type { Connection, Frame } from './outcome.ts';
import type { PacketVerdict } from './replayer.ts';
import type { Survey } from './survey.ts';

/** A capture runs from its first packet to its last, and a little longer. */
const RUNNING_SLACK_MS = 50;

/** A stage past all: the packet may be seen anywhere. */
export const MAY_BE_SEEN = 3;

/** What is kept with a packet while it may be seen elsewhere. */
export interface PacketDetail {
  readonly connection: Connection;
  readonly ends: PacketEnds;
  readonly isReply: boolean;
  readonly verdict: number;
  /** Stage from which on it must not be seen, or MAY_BE_SEEN. */
  readonly forbiddenStage: number;
  /** False for ICMP errors, which are no packets of the connection that they quote. */
  readonly isCounted: boolean;
  /** Whether it looks the same at all places: see `isComparable`. */
  readonly isComparable: boolean;
  readonly frame: Frame;
  readonly packet: number;
}

export class Passages {
  /** By capture: packets that others have and it ought to have. */
  readonly missed: Float64Array;
  readonly #places: Places;
  readonly #survey: Survey | undefined;
  /** Places at which some packet between pods was seen whose stage is known there, and some other one. */
  readonly #showsPods = new Set<Place>();
  readonly #showsOthers = new Set<Place>();
  /** Places at which some packet between pods that policy allows was not seen, and ought to have been. */
  readonly #hasMissed = new Set<Place>();

  constructor(places: Places, survey: Survey | undefined, captures: number) {
    this.#places = places;
    this.#survey = survey;
    this.missed = new Float64Array(captures);
  }

  /** Nobody can see the packet any more. */
  settle({ detail, places, timeMs }: SeenPacket<PacketDetail>, wasEarly: boolean): void {
    if (detail === undefined) return;
    const { connection, ends, isReply } = detail;
    let latest = STAGE_UNKNOWN;
    for (const place of places) {
      const stage = stageAt(place.point, ends, isReply);
      if (stage === STAGE_UNKNOWN) continue;
      (isBetweenPods(ends) ? this.#showsPods : this.#showsOthers).add(place);
      if (stage > latest) latest = stage;
    }
    if (latest >= detail.forbiddenStage) connection.leakedPackets++;
    if (detail.isCounted) this.#count(detail, places, timeMs, latest, wasEarly);
  }

  /** An uplink that shows no packet of the kind carries them in tunnels, or is another interface. */
  isBlind(place: Place, isBetweenPods: boolean): boolean {
    return place.point.kind === 'node' && !(isBetweenPods ? this.#showsPods : this.#showsOthers).has(place);
  }

  /** Blind places at which packets between pods were looked for. */
  blindPlaces(): Place[] {
    return [...this.#hasMissed].filter((place) => this.isBlind(place, true));
  }

  #count(detail: PacketDetail, places: readonly Place[], timeMs: number, latest: number, wasEarly: boolean): void {
    const { connection, ends, isReply } = detail;
    const passage = isReply ? connection.backward : connection.forward;
    if (latest === STAGE_BEHIND) passage.arrived++;
    if (latest >= STAGE_BETWEEN) passage.passedSource++;
    // Wherever it was seen, its source has sent it.
    const reached = Math.max(latest, STAGE_BEFORE);
    let isMissing = false;
    let isDoubtful = wasEarly;
    let isMissingAtSource = false;
    for (const place of detail.isComparable ? this.#places.thatSee(ends) : []) {
      if (places.includes(place) || mayBeMasqueraded(place, detail)) continue;
      const stage = stageAt(place.point, ends, isReply);
      if (stage === STAGE_UNKNOWN) continue;
      if (stage < latest) {
        if (this.#isRunning(place.capture, timeMs)) this.missed[place.capture]! += 1;
      } else if (reached < STAGE_BEHIND && stage > reached) {
        isMissing = true;
        if (stage === STAGE_BETWEEN) isMissingAtSource = true;
        if (!this.#isRunning(place.capture, timeMs)) isDoubtful = true;
        if (!connection.missedAt.includes(place)) connection.missedAt.push(place);
        if (detail.verdict === VERDICT_ALLOW && isBetweenPods(ends)) this.#hasMissed.add(place);
      }
    }
    if (!isMissing) return;
    passage.missing++;
    if (isDoubtful) passage.doubtful++;
    if (isMissingAtSource) passage.missingAtSource++;
    connection.note(isReply ? 'answer did not arrive' : 'did not arrive', detail.frame);
  }

  /** Whether a capture was running at a time, as far as its packets tell. */
  #isRunning(capture: number, timeMs: number): boolean {
    const surveyed = this.#survey?.captures[capture];
    if (surveyed === undefined) return true;
    const ownMs = timeMs + (surveyed.offsetMs ?? 0);
    return ownMs >= surveyed.firstMs - RUNNING_SLACK_MS && ownMs <= surveyed.lastMs + RUNNING_SLACK_MS;
  }
}

/**
 * Whether a packet looks the same wherever it is seen. Segments of TCP with data may be cut or joined by offloads on their way, and the bytes
 * that are acknowledged tell of them; a packet to a service whose backend is not known looks otherwise behind its translation.
 */
export function isComparable({ records, at, judge, quotedAt }: PacketVerdict): boolean {
  if (quotedAt >= 0 || judge.originalKey !== NONE) return false;
  if (records[at + PACKET_PROTOCOL] !== PROTOCOL_TCP) return true;
  return records[at + PACKET_TRANSPORT_BYTES]! <= records[at + PACKET_TRANSPORT_HEADER_BYTES]!;
}

function isBetweenPods({ srcPod, dstPod }: PacketEnds): boolean {
  return srcPod !== NONE && dstPod !== NONE;
}

/** What a pod sends outside may have its node's address at the uplink already (natOutgoing): not to see it there as it was shows nothing. */
function mayBeMasqueraded({ point }: Place, { ends, verdict }: PacketDetail): boolean {
  return point.kind === 'node' && ends.dstNode === NONE && ends.srcPod !== NONE && verdict !== VERDICT_DENY;
}

/** A packet that egress policy denies must not be seen behind its source's node; one that is denied otherwise, nowhere behind all. */
export function forbiddenStage(judge: Judge): number {
  if (judge.reason === REASON_INVALID || judge.deciding < 0) return MAY_BE_SEEN;
  return judge.checks[judge.deciding * CHECK_WORDS + CHECK_KIND] === CHECK_EGRESS ? STAGE_BETWEEN : STAGE_BEHIND;
}
