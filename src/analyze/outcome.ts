/**
 * What captures show of a connection, whatever policy says of it: was it taken, refused, or left without an answer?
 *
 *   TCP, opened by a SYN      SYN-ACK that acknowledges it, and an ACK       established
 *                             SYN-ACK alone                                  answered (half-open, if it is repeated in vain)
 *                             an ACK of a SYN-ACK that no capture has        answered (captures of one direction)
 *                             RST that acknowledges it                       refused: its receiver is there and has nobody for it
 *   UDP, ICMP, others         a packet back                                  answered
 *   all                       ICMP error from the destination itself         refused
 *                             ICMP error from elsewhere, by a filter         rejected; no route there: unreachable
 *                             a packet of it seen behind all policy          arrived
 *                             seen on its way, and not where it should come  lost
 *                             none of these, and watched for long enough     no-answer; for too short: too-short
 *   opened before the capture packets of both sides                          midstream; of one side: one-way
 *
 * An answer proves that what it answers was delivered, wherever the capture was taken: SYN-ACK and RST carry the sequence number that
 * they answer, an echo reply its identifier. A UDP packet back may have been sent by itself. That nobody answers proves little in
 * one capture: the packet, or the answer, may have been lost, or nobody may have wanted to answer.
 */

import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, VERDICT_ALLOW, VERDICT_NAMES } from '../model/flow.ts';
import { VERIFY_EVIDENCE_MAX } from '../model/limits.ts';
import {
  FLAG_IPV6,
  FLAG_L4_TRUNCATED,
  PACKET_FLAGS,
  PACKET_ICMP_CODE,
  PACKET_ICMP_TYPE,
  PACKET_PROTOCOL,
  PACKET_TCP_ACK,
  PACKET_TCP_FLAGS,
  PACKET_TCP_SEQ,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_HEADER_BYTES,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from '../wire/record.ts';
import type { Place } from './capture-places.ts';
import type { FlowRecord } from './record.ts';
import type { ObservedColumn, ReportEvidence } from './report-data.ts';
import { TcpGaps } from './tcp-gaps.ts';

/** Finer than the column of the matrix. */
export type OutcomeName =
  | 'established'
  | 'answered'
  | 'half-open'
  | 'refused'
  | 'rejected'
  | 'unreachable'
  | 'arrived'
  | 'lost'
  | 'no-answer'
  | 'too-short'
  | 'midstream'
  | 'one-way';

export const OUTCOME_COLUMNS: Readonly<Record<OutcomeName, ObservedColumn>> = {
  established: 'delivered',
  answered: 'delivered',
  'half-open': 'delivered',
  arrived: 'delivered',
  midstream: 'delivered',
  refused: 'refused',
  rejected: 'refused',
  unreachable: 'refused',
  lost: 'unanswered',
  'no-answer': 'unanswered',
  'too-short': 'unknown',
  'one-way': 'unknown',
};

/** Milliseconds without an answer, and no second try, after which silence is one. Linux sends a SYN again after one second. */
const SILENCE_MS = 3_000;
/** The same where it was tried again. */
const SILENCE_RETRIED_MS = 900;
/** SYN-ACKs in vain that make a connection half-open. */
const HALF_OPEN_REPEATS = 2;
/** Entries of evidence that any one kind of packet may fill. */
const EVIDENCE_OF_KIND_MAX = 2;

/** Where a packet stands: index of the capture, number in it from 1. */
export interface Frame {
  readonly capture: number;
  readonly number: number;
}

/** Packets of one direction, by what became of them on their way. */
export interface Passage {
  /** Seen behind all checks. */
  arrived: number;
  /** Not seen where they ought to have come, while somebody watched. */
  missing: number;
  /** Of these, the ones whose capture there was not running for certain, lost packets itself, or was not waited for. */
  doubtful: number;
  /** Missing already behind the source's node, and seen there. */
  missingAtSource: number;
  passedSource: number;
}

/** Who refused, by an ICMP error. */
export interface Rejection {
  readonly by: string;
  readonly isPeer: boolean;
  readonly kind: 'port' | 'prohibited' | 'route';
}

export class Connection {
  readonly id: number;
  readonly record: FlowRecord;
  readonly communityId: string;
  readonly protocol: number;
  readonly firstFrame: Frame;
  readonly startSeconds: number;
  readonly startNanos: number;
  endSeconds: number;
  endNanos: number;
  bytes = 0;
  /** Packets by verdict. */
  readonly verdicts: number[] = VERDICT_NAMES.map(() => 0);
  readonly forward: Passage = { arrived: 0, missing: 0, doubtful: 0, missingAtSource: 0, passedSource: 0 };
  readonly backward: Passage = { arrived: 0, missing: 0, doubtful: 0, missingAtSource: 0, passedSource: 0 };
  /** Places at which packets of it are missing. */
  readonly missedAt: Place[] = [];
  /** Packets that a check of policy denies and that were seen behind it. */
  leakedPackets = 0;
  readonly evidence: ReportEvidence[] = [];
  /** Packets of the connection that still wait to be seen elsewhere, and whether the connection itself is over. */
  waiting = 0;
  isClosed = false;
  /** It had to go early, because too many were open. */
  isEvicted = false;
  /** Its first packet is none that opens a connection. */
  isMidstream = false;
  /** Set where the capture does not tell who opened it: the verdicts on both ways round. */
  eitherWay: readonly [string, string] | undefined;
  /** Packets of the opener that ask: SYNs, datagrams, echo requests; one of them was allowed. */
  questions = 0;
  isQuestionAllowed = false;
  firstQuestionMs = Number.NaN;
  lastQuestionMs = Number.NaN;
  /** A packet back that answers what was asked, beyond doubt. */
  hasProvenAnswer = false;
  /** TCP: its opener acknowledges something, so it was answered, whether a capture has the answer or not. */
  isAcknowledging = false;
  replies = 0;
  rejection: Rejection | undefined;
  isRefused = false;
  synAcks = 0;
  isEstablished = false;
  isReset = false;
  readonly finished = { originator: false, responder: false };
  /** Of TCP: bytes of the opener and of the other side. */
  readonly gaps: readonly [TcpGaps, TcpGaps] | undefined;
  #synSequence: number | undefined;

  constructor(
    id: number,
    record: FlowRecord,
    communityId: string,
    protocol: number,
    frame: Frame,
    seconds: number,
    nanos: number,
  ) {
    this.id = id;
    this.record = record;
    this.communityId = communityId;
    this.protocol = protocol;
    this.firstFrame = frame;
    this.startSeconds = seconds;
    this.startNanos = nanos;
    this.endSeconds = seconds;
    this.endNanos = nanos;
    this.gaps = protocol === PROTOCOL_TCP ? [new TcpGaps(), new TcpGaps()] : undefined;
  }

  get packets(): number {
    return this.verdicts.reduce((sum, count) => sum + count, 0);
  }

  /** Bytes that the captures lost of it, as acknowledgements tell. */
  get lostBytes(): number {
    return this.gaps === undefined ? 0 : this.gaps[0].lostBytes + this.gaps[1].lostBytes;
  }

  get startMs(): number {
    return this.startSeconds * 1000 + this.startNanos / 1e6;
  }

  /** A packet of the connection itself, whose record is at `records[at]`. */
  add(records: Int32Array, at: number, isReply: boolean, verdict: number, timeMs: number, frame: Frame): void {
    if (records[at + PACKET_PROTOCOL] === PROTOCOL_TCP) this.#addTcp(records, at, isReply, verdict, timeMs, frame);
    else if (isReply) this.#reply('answer', frame, this.#isEcho());
    else this.#ask(this.questions === 0 ? 'question' : 'question again', verdict, timeMs, frame);
  }

  /** An ICMP error that quotes the packet at `records[quotedAt]`; its own record is at `records[at]`. */
  addError(records: Int32Array, at: number, isAboutReply: boolean, frame: Frame, by: string): void {
    const kind = rejectionKind(records, at);
    if (kind === undefined || isAboutReply) return;
    const isPeer = by === this.record.dest_ip;
    this.note(`${ERROR_TEXTS[kind]} from ${by}`, frame);
    this.rejection ??= { by, isPeer, kind };
    if (isPeer && kind === 'port') this.isRefused = true;
  }

  /** Keeps a packet as evidence, while there is room for one of its kind. */
  note(what: string, frame: Frame): void {
    if (this.evidence.length >= VERIFY_EVIDENCE_MAX) return;
    let count = 0;
    for (const known of this.evidence) if (known.what === what) count++;
    if (count >= EVIDENCE_OF_KIND_MAX) return;
    this.evidence.push({ capture: frame.capture, packet: frame.number, what });
  }

  /**
   * What is known of it at `nowMs`, the time up to which the captures were read.
   *
   * @param isMissingKnown  false: that packets were not seen elsewhere means nothing
   */
  outcome(nowMs: number, isMissingKnown = true): OutcomeName {
    if (this.isEstablished) return 'established';
    if (this.isMidstream) return this.#midstream();
    if (this.synAcks > HALF_OPEN_REPEATS && !this.isReset && this.hasProvenAnswer) return 'half-open';
    if (this.hasProvenAnswer || (this.replies > 0 && !this.isRefused)) return 'answered';
    if (this.isRefused) return 'refused';
    if (this.isAcknowledging) return 'answered';
    if (this.forward.arrived > 0) return 'arrived';
    if (this.rejection !== undefined) return this.rejection.kind === 'route' ? 'unreachable' : 'rejected';
    if (isMissingKnown && this.forward.missing > 0) return 'lost';
    const watchedMs = this.watchedMs(nowMs);
    return watchedMs >= SILENCE_MS || (this.questions > 1 && watchedMs >= SILENCE_RETRIED_MS)
      ? 'no-answer'
      : 'too-short';
  }

  /** For how long an answer to the first question was waited for. */
  watchedMs(nowMs: number): number {
    return Number.isNaN(this.firstQuestionMs) ? 0 : Math.max(0, nowMs - this.firstQuestionMs);
  }

  #midstream(): OutcomeName {
    const hasBoth = this.replies > 0 && this.packets > this.replies;
    return hasBoth || this.forward.arrived > 0 ? 'midstream' : 'one-way';
  }

  #isEcho(): boolean {
    return this.protocol === PROTOCOL_ICMP || this.protocol === PROTOCOL_ICMPV6;
  }

  #ask(what: string, verdict: number, timeMs: number, frame: Frame): void {
    if (this.questions === 0) this.firstQuestionMs = timeMs;
    this.lastQuestionMs = timeMs;
    this.questions++;
    if (verdict === VERDICT_ALLOW) this.isQuestionAllowed = true;
    this.note(what, frame);
  }

  #reply(what: string, frame: Frame, isProof: boolean): void {
    this.replies++;
    if (isProof) this.hasProvenAnswer = true;
    this.note(what, frame);
  }

  #addTcp(records: Int32Array, at: number, isReply: boolean, verdict: number, timeMs: number, frame: Frame): void {
    if ((records[at + PACKET_FLAGS]! & FLAG_L4_TRUNCATED) !== 0) return;
    const flags = records[at + PACKET_TCP_FLAGS]!;
    const sequence = records[at + PACKET_TCP_SEQ]!;
    const acknowledgement = records[at + PACKET_TCP_ACK]!;
    const payload = Math.max(0, records[at + PACKET_TRANSPORT_BYTES]! - records[at + PACKET_TRANSPORT_HEADER_BYTES]!);
    const length = payload + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0);
    const isReset = (flags & TCP_RST) !== 0;
    const answersSyn =
      (flags & TCP_ACK) !== 0 && this.#synSequence !== undefined && acknowledgement === ((this.#synSequence + 1) | 0);
    if (!isReset && this.gaps !== undefined) {
      this.gaps[isReply ? 1 : 0].seen(sequence, length);
      if ((flags & TCP_ACK) !== 0 && this.gaps[isReply ? 0 : 1].acknowledged(acknowledgement)) {
        this.note('acknowledges bytes that the capture lacks', frame);
      }
    }
    if (isReply) this.#tcpReply(flags, answersSyn, isReset, frame);
    else this.#tcpForward(flags, sequence, isReset, payload, verdict, timeMs, frame);
    if ((flags & TCP_FIN) !== 0) this.finished[isReply ? 'responder' : 'originator'] = true;
    if (isReset) this.isReset = true;
  }

  #tcpReply(flags: number, answersSyn: boolean, isReset: boolean, frame: Frame): void {
    if (isReset) {
      if (this.synAcks === 0 && answersSyn && this.replies === 0) {
        this.isRefused = true;
        this.note('RST', frame);
      }
      return;
    }
    if ((flags & (TCP_SYN | TCP_ACK)) === (TCP_SYN | TCP_ACK)) {
      this.synAcks++;
      this.#reply(this.synAcks === 1 ? 'SYN-ACK' : 'SYN-ACK again', frame, answersSyn);
      return;
    }
    this.replies++;
    if (this.replies === 1) this.note('answer', frame);
  }

  #tcpForward(
    flags: number,
    sequence: number,
    isReset: boolean,
    payload: number,
    verdict: number,
    timeMs: number,
    frame: Frame,
  ): void {
    if ((flags & (TCP_SYN | TCP_ACK | TCP_RST)) === TCP_SYN) {
      this.#synSequence = sequence;
      this.#ask(this.questions === 0 ? 'SYN' : 'SYN again', verdict, timeMs, frame);
      return;
    }
    if (this.isMidstream && this.packets <= 1)
      this.note(payload > 0 ? 'data of an open connection' : 'packet of an open connection', frame);
    if (isReset || (flags & TCP_ACK) === 0 || this.isEstablished) return;
    if (this.hasProvenAnswer) {
      this.isEstablished = true;
      this.note('ACK', frame);
    } else if (this.#synSequence !== undefined && !this.isMidstream && !this.isAcknowledging) {
      // Who only ever sent SYNs in vain has nothing to acknowledge.
      this.isAcknowledging = true;
      this.note('ACK', frame);
    }
  }
}

const ERROR_TEXTS: Readonly<Record<Rejection['kind'], string>> = {
  port: 'ICMP port unreachable',
  prohibited: 'ICMP administratively prohibited',
  route: 'ICMP unreachable',
};

/**
 * What an ICMP error says of who refuses; undefined for errors that refuse nothing (too big, time exceeded, …).
 * Source: RFC 792, RFC 1812 5.2.7.1 (codes 9, 10, 13), RFC 4443 3.1.
 */
function rejectionKind(records: Int32Array, at: number): Rejection['kind'] | undefined {
  const type = records[at + PACKET_ICMP_TYPE]!;
  const code = records[at + PACKET_ICMP_CODE]!;
  if ((records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0) {
    if (type !== 1) return undefined;
    if (code === 4) return 'port';
    return code === 1 || code === 5 || code === 6 ? 'prohibited' : 'route';
  }
  if (type !== 3 || code === 4) return undefined;
  if (code === 2 || code === 3) return 'port';
  return code === 9 || code === 10 || code === 13 ? 'prohibited' : 'route';
}
