/**
 * TCP connections as Linux keeps them: a state table, and windows that both directions must stay in.
 *
 * Problem. A firewall in the middle sees every segment but not what the ends think. It must tell the segments of a known
 * connection from stray ones, and forget connections in time.
 *
 * Idea. A segment counts by the first of its flags in the order RST, SYN-ACK, SYN, FIN, ACK. The table below (one row per
 * direction and kind, one column per state) gives the new state, INVALID, or IGNORE: let through and learn from it, since
 * we may be out of step with the ends. For each direction the entry keeps `end`, the highest sequence number sent;
 * `maxEnd`, the highest that the other side's window allows; and `maxWindow`, the widest window advertised, scaled by
 * the option of the SYN. A segment [seq, end) with acknowledgement `ack` of a sender is in the window if
 *
 *   I    seq <= sender.maxEnd                               not beyond what the receiver offered
 *   II   end >= sender.end - receiver.maxWindow             not wholly older than the receiver's window
 *   III  ack <= receiver.end                                acknowledges only what was sent
 *   IV   ack >= receiver.end - max(66000, sender.maxWindow) not too old
 *
 * I and III make a segment INVALID, II and IV (and I, when it overshoots by less than a window) let it through without
 * effect, as recent kernels do.
 *
 * Worked example. SYN seq 100, window 1000, no scaling: the originator's end = maxEnd = 101, state SYN sent. SYN-ACK seq
 * 500 ack 101 window 2000: the responder's end = maxEnd = 501, the originator's maxEnd = 101 + 2000 = 2101, state SYN-ACK
 * seen. ACK seq 101 ack 501: in the window, established; the responder's maxEnd = 501 + 1000. Data of 300 bytes at 101:
 * I 101 <= 2101, III 501 <= 501, so the originator's end = 401. A forged segment at seq 9000: I fails by more than the
 * window, INVALID. A FIN at 401: end 402, FIN wait; its ACK: close wait; and so on to time wait, 120 s.
 *
 * RST. If the other side has acknowledged `maxAck`, a RST below it is INVALID; in an established connection only a RST
 * exactly there (or right behind the last segment of its sender) closes it, because the receiver will answer any other
 * with a challenge ACK (RFC 5961); and a RST that answers a SYN or ACK which we let through as IGNORE closes at once.
 * A RST as the only answer deletes the entry.
 *
 * Differs: a capture may cut the options of a SYN off (snap length). The kernel always sees them. We then take both
 * directions as liberal, that is, sequence numbers never make a segment INVALID, rather than judge by a wrong scale.
 *
 * Source: Linux 6.18 net/netfilter/nf_conntrack_proto_tcp.c (`tcp_conntracks`, `tcp_in_window`,
 * `nf_conntrack_tcp_packet`); van Rooij, "Real Stateful TCP Packet Filtering in IP Filter"; RFC 9293, 7323, 2018, 5961.
 */
import {
  PACKET_TCP_ACK,
  PACKET_TCP_FLAGS,
  PACKET_TCP_SEQ,
  PACKET_TCP_WINDOW,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_CAPTURED_BYTES,
  PACKET_TRANSPORT_HEADER_BYTES,
  PACKET_TRANSPORT_OFFSET,
} from '../wire/record.ts';
import type { Conntrack } from './table.ts';
import {
  DIRECTION_ORIGINAL,
  DIRECTION_REPLY,
  ENTRY_EXPIRES,
  ENTRY_PROTOCOL,
  ENTRY_STATUS,
  STATUS_ASSURED,
  STATUS_CLOSING,
  STATUS_SEEN_REPLY,
  STATUS_STATE_MASK,
} from './table.ts';

export const TCP_STATE_NONE = 0;
export const TCP_STATE_SYN_SENT = 1;
export const TCP_STATE_SYN_RECV = 2;
export const TCP_STATE_ESTABLISHED = 3;
export const TCP_STATE_FIN_WAIT = 4;
export const TCP_STATE_CLOSE_WAIT = 5;
export const TCP_STATE_LAST_ACK = 6;
export const TCP_STATE_TIME_WAIT = 7;
export const TCP_STATE_CLOSE = 8;
export const TCP_STATE_SYN_SENT2 = 9;

/** What `tcpPacket` says of a segment on a known connection. */
export const TCP_ACCEPT = 0;
export const TCP_INVALID = 1;
/** The segment ended the entry: the only answer was a RST. The caller removes the entry; the packet still belongs to it. */
export const TCP_ACCEPT_AND_DELETE = 2;
/** A SYN on a finished connection: the caller removes the entry and tracks the packet as the first of a new one. */
export const TCP_REOPEN = 3;

/** Kinds of segments: the rows of the table. */
const KIND_SYN = 0;
const KIND_SYN_ACK = 1;
const KIND_FIN = 2;
const KIND_ACK = 3;
const KIND_RST = 4;
const KIND_NONE = 5;

const CELL_INVALID = 10;
const CELL_IGNORE = 11;

/** Next states; columns none, SS, SR, ES, FW, CW, LA, TW, CL, S2; `-` is INVALID and `=` is IGNORE. */
const TRANSITIONS: readonly string[] = [
  // originator:  no SS SR ES FW CW LA TW CL S2
  /* SYN     */ 'SS SS =  =  =  =  =  SS SS S2',
  /* SYN-ACK */ '-  -  SR -  -  -  -  -  -  SR',
  /* FIN     */ '-  -  FW FW LA LA LA TW CL -',
  /* ACK     */ 'ES -  ES ES CW CW TW TW CL -',
  /* RST     */ '-  CL CL CL CL CL CL CL CL CL',
  /* none    */ '-  -  -  -  -  -  -  -  -  -',
  // responder:   no SS SR ES FW CW LA TW CL S2
  /* SYN     */ '-  S2 -  -  -  -  -  SS -  S2',
  /* SYN-ACK */ '-  SR =  =  =  =  =  =  =  SR',
  /* FIN     */ '-  -  FW FW LA LA LA TW CL -',
  /* ACK     */ '-  =  SR ES CW CW TW TW CL =',
  /* RST     */ '-  CL CL CL CL CL CL CL CL CL',
  /* none    */ '-  -  -  -  -  -  -  -  -  -',
];
const CELL_NAMES = ['no', 'SS', 'SR', 'ES', 'FW', 'CW', 'LA', 'TW', 'CL', 'S2', '-', '='];
/** Cell of (direction * 6 + kind) * 16 + state. */
const CELLS = parseTransitions();

function parseTransitions(): Uint8Array {
  const cells = new Uint8Array(TRANSITIONS.length * 16);
  TRANSITIONS.forEach((row, rowIndex) => {
    row.split(/ +/).forEach((cell, state) => {
      cells[rowIndex * 16 + state] = CELL_NAMES.indexOf(cell);
    });
  });
  return cells;
}

/** By state, in ms (`tcp_timeouts`). */
const TIMEOUTS_MS = Float64Array.of(0, 120e3, 60e3, 432e6, 120e3, 60e3, 30e3, 120e3, 10e3, 120e3);
/** Data that nobody acknowledged, segments repeated three times, a closed window: no state lasts longer than this. */
const TIMEOUT_UNACKNOWLEDGED_MS = 300e3;
const RETRANSMISSIONS_MAX = 3;

/** States in which a RST is taken without a look at its numbers, and which are evicted first (`tcp_can_early_drop`). */
const CLOSING_STATES =
  (1 << TCP_STATE_FIN_WAIT) |
  (1 << TCP_STATE_CLOSE_WAIT) |
  (1 << TCP_STATE_LAST_ACK) |
  (1 << TCP_STATE_TIME_WAIT) |
  (1 << TCP_STATE_CLOSE);

/**
 * Words of one direction, from ENTRY_PROTOCOL on; the reply direction follows the original one.
 *
 *   0 end   1 maxEnd   2 maxWindow   3 maxAck   4 window scale << 8 | WINDOW_* flags
 */
const WINDOW_WORDS = 5;
const WINDOW_END = 0;
const WINDOW_MAX_END = 1;
const WINDOW_MAX_WINDOW = 2;
const WINDOW_MAX_ACK = 3;
const WINDOW_FLAGS = 4;
const FLAG_WINDOW_SCALE = 1;
const FLAG_SACK_PERMITTED = 2;
/** This direction sent the first FIN. */
const FLAG_CLOSE_INIT = 4;
const FLAG_LIBERAL = 8;
const FLAG_UNACKNOWLEDGED = 16;
const FLAG_MAX_ACK_SET = 32;
const WINDOW_FLAGS_MASK = 0xff;
const WINDOW_SCALE_SHIFT = 8;
const WINDOW_SCALE_MAX = 14;

/**
 * What the last segments were, behind the two directions.
 *
 *   LAST_SEGMENT: kind (bits 0-3), direction (bit 4), LAST_SIMULTANEOUS_OPEN, LAST_CHALLENGE, retransmissions (bits 24-31)
 *   LAST_OPTIONS: scale and flags of the last ignored SYN, in the form of WINDOW_FLAGS
 */
const LAST_SEGMENT = ENTRY_PROTOCOL + 2 * WINDOW_WORDS;
const LAST_SEQ = LAST_SEGMENT + 1;
const LAST_ACK = LAST_SEGMENT + 2;
/** The window of the last segment is kept above bit 16 of LAST_OPTIONS. */
const LAST_OPTIONS = LAST_SEGMENT + 3;
const LAST_END = LAST_SEGMENT + 4;
const LAST_KIND_MASK = 0x1f;
const LAST_DIRECTION_SHIFT = 4;
const LAST_SIMULTANEOUS_OPEN = 1 << 5;
const LAST_CHALLENGE = 1 << 6;
const LAST_FLAGS_MASK = LAST_SIMULTANEOUS_OPEN | LAST_CHALLENGE;
const LAST_RETRANSMISSIONS_SHIFT = 24;

/** Smallest window that rule IV grants. */
const ACK_WINDOW_BYTES = 66_000;

const IN_WINDOW_ACCEPT = 0;
const IN_WINDOW_IGNORE = 1;
const IN_WINDOW_INVALID = 2;

/** Combinations of FIN 1, SYN 2, RST 4, ACK 16, URG 32 that are no nonsense (`tcp_valid_flags`); PSH, ECE and CWR are free. */
const VALID_FLAGS = new Uint8Array(64);
for (const flags of [0x02, 0x22, 0x12, 0x04, 0x14, 0x11, 0x31, 0x10, 0x30]) VALID_FLAGS[flags] = 1;

/** False for a segment that no TCP sends: SYN with FIN, no flag at all, FIN without ACK and the like. */
export function tcpFlagsAreValid(tcpFlags: number): boolean {
  return VALID_FLAGS[tcpFlags & 0x37] === 1;
}

/** True if a segment without an entry may open a connection: a SYN, or, unless strict, a plain ACK (mid-stream pick-up). */
export function tcpMayOpen(tcpFlags: number, isStrict: boolean): boolean {
  const kind = kindOf(tcpFlags);
  return kind === KIND_SYN || (kind === KIND_ACK && !isStrict);
}

function kindOf(tcpFlags: number): number {
  if ((tcpFlags & 4) !== 0) return KIND_RST;
  if ((tcpFlags & 2) !== 0) return (tcpFlags & 16) !== 0 ? KIND_SYN_ACK : KIND_SYN;
  if ((tcpFlags & 1) !== 0) return KIND_FIN;
  return (tcpFlags & 16) !== 0 ? KIND_ACK : KIND_NONE;
}

/** Sets up a fresh entry for its first segment, one that `tcpMayOpen` admits. */
export function tcpOpen(
  ct: Conntrack,
  base: number,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
): void {
  const words = ct.words;
  const kind = kindOf(records[at + PACKET_TCP_FLAGS]!);
  const sender = base + ENTRY_PROTOCOL;
  const end = segmentEnd(records, at);
  const window = records[at + PACKET_TCP_WINDOW]!;
  words[sender + WINDOW_END] = end;
  words[sender + WINDOW_MAX_WINDOW] = window === 0 ? 1 : window;
  if (kind === KIND_SYN) {
    words[sender + WINDOW_MAX_END] = end;
    readOptions(words, sender, sender + WINDOW_WORDS, records, at, view);
  } else {
    words[sender + WINDOW_MAX_END] = end + words[sender + WINDOW_MAX_WINDOW]!;
    // The scale is unknown, so the window can't be judged.
    words[sender + WINDOW_FLAGS] = FLAG_SACK_PERMITTED | FLAG_LIBERAL;
    words[sender + WINDOW_WORDS + WINDOW_FLAGS] = FLAG_SACK_PERMITTED | FLAG_LIBERAL;
  }
  words[base + LAST_SEGMENT] = KIND_NONE;
  tcpPacket(ct, base, DIRECTION_ORIGINAL, records, at, view, timeMs);
}

/**
 * Moves the entry at word `base` by one segment; a fresh entry has state none. Returns TCP_*.
 *
 * The caller has checked `tcpFlagsAreValid`, sets STATUS_SEEN_REPLY after an accepted reply, and removes the entry when
 * told to.
 */
export function tcpPacket(
  ct: Conntrack,
  base: number,
  direction: number,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
): number {
  const words = ct.words;
  const status = words[base + ENTRY_STATUS]!;
  const oldState = status & STATUS_STATE_MASK;
  const kind = kindOf(records[at + PACKET_TCP_FLAGS]!);
  let newState = CELLS[((direction * 6 + kind) << 4) + oldState]!;

  if (newState === CELL_INVALID) return TCP_INVALID;
  let resynchronised = false;
  if (newState === CELL_IGNORE || (newState === TCP_STATE_SYN_SENT && oldState >= TCP_STATE_TIME_WAIT)) {
    if (newState !== CELL_IGNORE && mayReopen(words, base, direction)) return TCP_REOPEN;
    if (!answersIgnoredSyn(words, base, direction, kind, records[at + PACKET_TCP_ACK]!)) {
      noteIgnored(words, base, direction, kind, oldState, records, at, view);
      return TCP_ACCEPT;
    }
    resynchronise(words, base, direction);
    newState = TCP_STATE_SYN_RECV;
    resynchronised = true;
  } else if (newState === TCP_STATE_TIME_WAIT) {
    if (isChallengeAck(words, base, direction, kind, oldState)) return TCP_ACCEPT;
  } else if (newState === TCP_STATE_SYN_SENT2) {
    words[base + LAST_SEGMENT]! |= LAST_SIMULTANEOUS_OPEN;
  } else if (newState === TCP_STATE_SYN_RECV) {
    const isSimultaneous = (words[base + LAST_SEGMENT]! & LAST_SIMULTANEOUS_OPEN) !== 0;
    if (direction === DIRECTION_REPLY && kind === KIND_ACK && isSimultaneous) newState = TCP_STATE_ESTABLISHED;
  }

  let skipsWindow = false;
  if (kind === KIND_RST) {
    const outcome = judgeReset(words, base, direction, oldState, records, at);
    if (outcome === RESET_INVALID) return TCP_INVALID;
    if (outcome === RESET_KEEPS_STATE) newState = oldState;
    skipsWindow = outcome === RESET_TAKEN;
  }
  if (!skipsWindow) {
    const outcome = inWindow(ct, base, direction, kind, oldState, records, at, view);
    if (outcome === IN_WINDOW_IGNORE) return TCP_ACCEPT;
    if (outcome === IN_WINDOW_INVALID) {
      noteInvalid(ct, base, direction, kind, timeMs);
      return TCP_INVALID;
    }
  }
  return settle(ct, base, direction, kind, resynchronised ? TCP_STATE_SYN_SENT : oldState, newState, timeMs);
}

/** A SYN may replace a finished connection if a side has closed it, or the SYN's sender reset it. */
function mayReopen(words: Int32Array, base: number, direction: number): boolean {
  const both =
    words[base + ENTRY_PROTOCOL + WINDOW_FLAGS]! | words[base + ENTRY_PROTOCOL + WINDOW_WORDS + WINDOW_FLAGS]!;
  if ((both & FLAG_CLOSE_INIT) !== 0) return true;
  return (words[base + LAST_SEGMENT]! & LAST_KIND_MASK) === ((direction << LAST_DIRECTION_SHIFT) | KIND_RST);
}

/** A SYN-ACK that acknowledges the SYN we let through: the ends agree, and we are the one out of step. */
function answersIgnoredSyn(words: Int32Array, base: number, direction: number, kind: number, ack: number): boolean {
  return (
    kind === KIND_SYN_ACK &&
    (words[base + LAST_SEGMENT]! & LAST_KIND_MASK) === (((1 - direction) << LAST_DIRECTION_SHIFT) | KIND_SYN) &&
    words[base + LAST_END] === ack
  );
}

/** Starts both windows over from the ignored SYN of the other direction. */
function resynchronise(words: Int32Array, base: number, direction: number): void {
  const synSender = base + ENTRY_PROTOCOL + (1 - direction) * WINDOW_WORDS;
  const sender = base + ENTRY_PROTOCOL + direction * WINDOW_WORDS;
  const window = words[base + LAST_OPTIONS]! >>> 16;
  words[synSender + WINDOW_END] = words[base + LAST_END]!;
  words[synSender + WINDOW_MAX_END] = words[base + LAST_END]!;
  words[synSender + WINDOW_MAX_WINDOW] = window === 0 ? 1 : window;
  words[synSender + WINDOW_FLAGS] = words[base + LAST_OPTIONS]! & 0xffff;
  words[base + LAST_SEGMENT]! &= ~LAST_CHALLENGE;
  words[sender + WINDOW_END] = 0;
  words[sender + WINDOW_MAX_END] = 0;
  words[sender + WINDOW_MAX_WINDOW] = 0;
  words[sender + WINDOW_MAX_ACK] = 0;
  words[sender + WINDOW_FLAGS]! &= FLAG_LIBERAL;
}

/** Remembers a segment that passes without effect, for the answer that may tell us that we are out of step. */
function noteIgnored(
  words: Int32Array,
  base: number,
  direction: number,
  kind: number,
  state: number,
  records: Int32Array,
  at: number,
  view: DataView,
): void {
  setLastSegment(words, base, direction, kind);
  words[base + LAST_SEQ] = records[at + PACKET_TCP_SEQ]!;
  words[base + LAST_END] = segmentEnd(records, at);
  let options = words[base + LAST_OPTIONS]! & 0xffff;
  if (kind === KIND_SYN && direction === DIRECTION_ORIGINAL) {
    options = tcpOptions(records, at, view);
    words[base + LAST_SEGMENT]! &= ~LAST_FLAGS_MASK;
    // An ACK in answer to this SYN may be a challenge (RFC 5961) and then acknowledges no FIN.
    if (state === TCP_STATE_LAST_ACK) words[base + LAST_SEGMENT]! |= LAST_CHALLENGE;
  }
  words[base + LAST_OPTIONS] = (records[at + PACKET_TCP_WINDOW]! << 16) | options;
  if (state === TCP_STATE_SYN_SENT && kind === KIND_ACK && direction === DIRECTION_REPLY) {
    words[base + LAST_ACK] = records[at + PACKET_TCP_ACK]!;
  }
}

function isChallengeAck(words: Int32Array, base: number, direction: number, kind: number, state: number): boolean {
  const last = words[base + LAST_SEGMENT]!;
  if (state !== TCP_STATE_LAST_ACK || kind !== KIND_ACK || (last & LAST_CHALLENGE) === 0) return false;
  if ((last & LAST_KIND_MASK) !== (((1 - direction) << LAST_DIRECTION_SHIFT) | KIND_SYN)) return false;
  words[base + LAST_SEGMENT] = last & ~LAST_CHALLENGE;
  return true;
}

const RESET_IN_WINDOW = 0;
const RESET_INVALID = 1;
const RESET_TAKEN = 2;
const RESET_KEEPS_STATE = 3;

/** What to make of a RST before the window is looked at. */
function judgeReset(
  words: Int32Array,
  base: number,
  direction: number,
  state: number,
  records: Int32Array,
  at: number,
): number {
  if (((CLOSING_STATES >>> state) & 1) !== 0) return RESET_TAKEN;
  const seq = records[at + PACKET_TCP_SEQ]!;
  const last = words[base + LAST_SEGMENT]!;
  const lastKind = last & 0xf;
  const lastDirection = (last >>> LAST_DIRECTION_SHIFT) & 1;
  const status = words[base + ENTRY_STATUS]!;
  const receiver = base + ENTRY_PROTOCOL + (1 - direction) * WINDOW_WORDS;
  if ((words[receiver + WINDOW_FLAGS]! & FLAG_MAX_ACK_SET) !== 0 && lastKind !== KIND_SYN) {
    const maxAck = words[receiver + WINDOW_MAX_ACK]!;
    const isEstablished = state === TCP_STATE_ESTABLISHED && (status & STATUS_ASSURED) !== 0;
    if (seq === 0 && !isEstablished) return RESET_IN_WINDOW;
    if (isBefore(seq, maxAck)) return RESET_INVALID;
    if (!isEstablished || seq === maxAck) return RESET_IN_WINDOW;
    if (lastKind === KIND_ACK && lastDirection === direction && seq === words[base + LAST_END]) return RESET_IN_WINDOW;
    return RESET_KEEPS_STATE;
  }
  const answersSyn = (status & STATUS_SEEN_REPLY) !== 0 && lastKind === KIND_SYN && lastDirection !== direction;
  const answersAck = (status & STATUS_ASSURED) === 0 && lastKind === KIND_ACK;
  if ((answersSyn || answersAck) && records[at + PACKET_TCP_ACK] === words[base + LAST_END]) return RESET_TAKEN;
  if (
    state === TCP_STATE_SYN_SENT &&
    lastKind === KIND_ACK &&
    lastDirection === DIRECTION_REPLY &&
    seq === words[base + LAST_ACK]
  ) {
    return RESET_TAKEN;
  }
  return RESET_IN_WINDOW;
}

/** The window rules I to IV of the page above; updates both windows if they hold. Returns IN_WINDOW_*. */
function inWindow(
  ct: Conntrack,
  base: number,
  direction: number,
  kind: number,
  state: number,
  records: Int32Array,
  at: number,
  view: DataView,
): number {
  const words = ct.words;
  const sender = base + ENTRY_PROTOCOL + direction * WINDOW_WORDS;
  const receiver = base + ENTRY_PROTOCOL + (1 - direction) * WINDOW_WORDS;
  const tcpFlags = records[at + PACKET_TCP_FLAGS]!;
  const hasAck = (tcpFlags & 16) !== 0;
  const hasSyn = (tcpFlags & 2) !== 0;
  let seq = records[at + PACKET_TCP_SEQ]!;
  let end = segmentEnd(records, at);
  let ack = records[at + PACKET_TCP_ACK]!;
  let sack = ack;
  let window = records[at + PACKET_TCP_WINDOW]!;
  if (
    (words[receiver + WINDOW_FLAGS]! & FLAG_SACK_PERMITTED) !== 0 &&
    records[at + PACKET_TRANSPORT_HEADER_BYTES]! > 20
  ) {
    sack = highestSack(records, at, view, ack);
  }

  if (words[sender + WINDOW_MAX_WINDOW] === 0) {
    if (hasSyn) {
      startSender(words, sender, receiver, direction, end, window, records, at, view);
      if (!hasAck) return IN_WINDOW_ACCEPT;
    } else {
      adoptSender(words, sender, receiver, end, window, sack);
    }
  } else if (
    hasSyn &&
    isBefore(words[sender + WINDOW_END]!, end) &&
    (state === TCP_STATE_SYN_SENT || state === TCP_STATE_SYN_RECV)
  ) {
    startSender(words, sender, receiver, direction, end, window, records, at, view);
    if (direction === DIRECTION_REPLY && !hasAck) return IN_WINDOW_ACCEPT;
  }
  const receiverEnd = words[receiver + WINDOW_END]!;
  // Without ACK there is nothing to check; some stacks send RST with ACK set and number 0.
  if (!hasAck || (ack === 0 && (tcpFlags & 4) !== 0)) {
    ack = receiverEnd;
    sack = receiverEnd;
  }
  if (seq === 0 && (tcpFlags & 4) !== 0 && state === TCP_STATE_SYN_SENT) {
    seq = words[sender + WINDOW_END]!;
    end = seq;
  }

  const senderEnd = words[sender + WINDOW_END]!;
  const senderMaxEnd = words[sender + WINDOW_MAX_END]!;
  const senderMaxWindow = words[sender + WINDOW_MAX_WINDOW]!;
  const receiverMaxWindow = words[receiver + WINDOW_MAX_WINDOW]!;
  const isLiberal = ct.isLiberal || (words[sender + WINDOW_FLAGS]! & FLAG_LIBERAL) !== 0;
  const ackWindow = senderMaxWindow >>> 0 > ACK_WINDOW_BYTES ? senderMaxWindow : ACK_WINDOW_BYTES;
  const isEndRecent = isBefore((senderEnd - receiverMaxWindow - 1) | 0, end);
  const isAckRecent = isBefore((receiverEnd - ackWindow - 1) | 0, sack);
  const isAckSent = isBefore(sack, (receiverEnd + 1) | 0);
  if (!isBefore(seq, (senderMaxEnd + 1) | 0)) {
    const overshoot = (end - senderMaxEnd + 1) >>> 0;
    const isSlight = receiverMaxWindow !== 0 && isEndRecent && isAckRecent && isAckSent;
    if (isSlight && overshoot <= receiverMaxWindow >>> 0) {
      words[sender + WINDOW_END] = end;
      words[sender + WINDOW_FLAGS]! |= FLAG_UNACKNOWLEDGED;
      return isLiberal ? IN_WINDOW_ACCEPT : IN_WINDOW_IGNORE;
    }
    return isLiberal ? IN_WINDOW_ACCEPT : IN_WINDOW_INVALID;
  }
  if (!isAckSent) return isLiberal ? IN_WINDOW_ACCEPT : IN_WINDOW_INVALID;
  if ((receiverMaxWindow !== 0 && !isEndRecent) || !isAckRecent) return isLiberal ? IN_WINDOW_ACCEPT : IN_WINDOW_IGNORE;

  if (!hasSyn) window = (window << (words[sender + WINDOW_FLAGS]! >>> WINDOW_SCALE_SHIFT)) | 0;
  const sackWindow = (window + sack - ack) | 0;
  if (senderMaxWindow >>> 0 < sackWindow >>> 0) words[sender + WINDOW_MAX_WINDOW] = sackWindow;
  if (isBefore(senderEnd, end)) {
    words[sender + WINDOW_END] = end;
    words[sender + WINDOW_FLAGS]! |= FLAG_UNACKNOWLEDGED;
  }
  if (hasAck) noteAck(words, sender, ack);
  if (receiverMaxWindow !== 0 && isBefore(senderMaxEnd, end)) {
    words[receiver + WINDOW_MAX_WINDOW] = (receiverMaxWindow + end - senderMaxEnd) | 0;
  }
  if (isBefore((words[receiver + WINDOW_MAX_END]! - 1) | 0, (sack + window) | 0)) {
    words[receiver + WINDOW_MAX_END] = (sack + window + (window === 0 ? 1 : 0)) | 0;
  }
  if (ack === receiverEnd) words[receiver + WINDOW_FLAGS]! &= ~FLAG_UNACKNOWLEDGED;
  if (kind === KIND_ACK) noteRepetition(words, base, direction, seq, ack, end, records[at + PACKET_TCP_WINDOW]!);
  return IN_WINDOW_ACCEPT;
}

/** A SYN or SYN-ACK (re)starts its sender's window. Scaling needs the option on both sides (RFC 7323). */
function startSender(
  words: Int32Array,
  sender: number,
  receiver: number,
  direction: number,
  end: number,
  window: number,
  records: Int32Array,
  at: number,
  view: DataView,
): void {
  words[sender + WINDOW_END] = end;
  words[sender + WINDOW_MAX_END] = end;
  words[sender + WINDOW_MAX_WINDOW] = window === 0 ? 1 : window;
  readOptions(words, sender, receiver, records, at, view);
  const both = words[sender + WINDOW_FLAGS]! & words[receiver + WINDOW_FLAGS]!;
  if (direction === DIRECTION_REPLY && (both & FLAG_WINDOW_SCALE) === 0) {
    words[sender + WINDOW_FLAGS]! &= WINDOW_FLAGS_MASK;
    words[receiver + WINDOW_FLAGS]! &= WINDOW_FLAGS_MASK;
  }
}

/** The first segment of a direction is no SYN: take its numbers for granted. */
function adoptSender(
  words: Int32Array,
  sender: number,
  receiver: number,
  end: number,
  window: number,
  sack: number,
): void {
  const scaled = (window << (words[sender + WINDOW_FLAGS]! >>> WINDOW_SCALE_SHIFT)) | 0;
  words[sender + WINDOW_END] = end;
  words[sender + WINDOW_MAX_WINDOW] = scaled === 0 ? 1 : scaled;
  words[sender + WINDOW_MAX_END] = (end + words[sender + WINDOW_MAX_WINDOW]!) | 0;
  if (words[receiver + WINDOW_MAX_WINDOW] === 0) {
    words[receiver + WINDOW_END] = sack;
    words[receiver + WINDOW_MAX_END] = sack;
  } else if (sack === ((words[receiver + WINDOW_END]! + 1) | 0)) {
    // The answer to a keep-alive.
    words[receiver + WINDOW_END] = sack;
  }
}

function noteAck(words: Int32Array, sender: number, ack: number): void {
  const flags = words[sender + WINDOW_FLAGS]!;
  if ((flags & FLAG_MAX_ACK_SET) === 0 || isBefore(words[sender + WINDOW_MAX_ACK]!, ack)) {
    words[sender + WINDOW_MAX_ACK] = ack;
    words[sender + WINDOW_FLAGS] = flags | FLAG_MAX_ACK_SET;
  }
}

/** Counts how often the same segment came in a row. */
function noteRepetition(
  words: Int32Array,
  base: number,
  direction: number,
  seq: number,
  ack: number,
  end: number,
  window: number,
): void {
  const last = words[base + LAST_SEGMENT]!;
  if (
    ((last >>> LAST_DIRECTION_SHIFT) & 1) === direction &&
    words[base + LAST_SEQ] === seq &&
    words[base + LAST_ACK] === ack &&
    words[base + LAST_END] === end &&
    words[base + LAST_OPTIONS]! >>> 16 === window
  ) {
    const isSaturated = last >>> LAST_RETRANSMISSIONS_SHIFT === 255;
    if (!isSaturated) words[base + LAST_SEGMENT] = (last + (1 << LAST_RETRANSMISSIONS_SHIFT)) | 0;
    return;
  }
  words[base + LAST_SEGMENT] =
    (last & ~(1 << LAST_DIRECTION_SHIFT) & ((1 << LAST_RETRANSMISSIONS_SHIFT) - 1)) |
    (direction << LAST_DIRECTION_SHIFT);
  words[base + LAST_SEQ] = seq;
  words[base + LAST_ACK] = ack;
  words[base + LAST_END] = end;
  words[base + LAST_OPTIONS] = (words[base + LAST_OPTIONS]! & 0xffff) | (window << 16);
}

/** FIN or RST outside the window, from both sides: the ends are done with each other, so don't wait five days. */
function noteInvalid(ct: Conntrack, base: number, direction: number, kind: number, timeMs: number): void {
  const words = ct.words;
  if ((words[base + ENTRY_STATUS]! & STATUS_ASSURED) === 0 || (kind !== KIND_RST && kind !== KIND_FIN)) return;
  const last = words[base + LAST_SEGMENT]!;
  const lastKind = last & 0xf;
  const isOther = ((last >>> LAST_DIRECTION_SHIFT) & 1) !== direction;
  if (!isOther || (lastKind !== KIND_FIN && lastKind !== KIND_RST)) {
    setLastSegment(words, base, direction, kind);
    return;
  }
  const expires = (base >> 1) + ENTRY_EXPIRES;
  if (ct.times[expires]! - timeMs > TIMEOUT_UNACKNOWLEDGED_MS) ct.times[expires] = timeMs + TIMEOUT_UNACKNOWLEDGED_MS;
}

/** A segment that counts: new state, new expiry. */
function settle(
  ct: Conntrack,
  base: number,
  direction: number,
  kind: number,
  oldState: number,
  newState: number,
  timeMs: number,
): number {
  const words = ct.words;
  const sender = base + ENTRY_PROTOCOL + direction * WINDOW_WORDS;
  setLastSegment(words, base, direction, kind);
  if (oldState !== newState && newState === TCP_STATE_FIN_WAIT) words[sender + WINDOW_FLAGS]! |= FLAG_CLOSE_INIT;
  let status = (words[base + ENTRY_STATUS]! & ~(STATUS_STATE_MASK | STATUS_CLOSING)) | newState;
  if (((CLOSING_STATES >>> newState) & 1) !== 0) status |= STATUS_CLOSING;
  let timeoutMs = timeoutOf(words, base, kind, newState);
  if ((status & STATUS_SEEN_REPLY) === 0) {
    words[base + ENTRY_STATUS] = status;
    if (kind === KIND_RST) return TCP_ACCEPT_AND_DELETE;
    // A repeated SYN doesn't prolong the life of a connection that nobody answers.
    if (kind === KIND_SYN && oldState === TCP_STATE_SYN_SENT) return TCP_ACCEPT;
    if (newState === TCP_STATE_ESTABLISHED && timeoutMs > TIMEOUT_UNACKNOWLEDGED_MS)
      timeoutMs = TIMEOUT_UNACKNOWLEDGED_MS;
  } else if (
    newState === TCP_STATE_ESTABLISHED &&
    (oldState === TCP_STATE_SYN_RECV || oldState === TCP_STATE_ESTABLISHED)
  ) {
    status |= STATUS_ASSURED;
  }
  words[base + ENTRY_STATUS] = status;
  ct.times[(base >> 1) + ENTRY_EXPIRES] = timeMs + timeoutMs;
  return TCP_ACCEPT;
}

function timeoutOf(words: Int32Array, base: number, kind: number, state: number): number {
  const timeoutMs = TIMEOUTS_MS[state]!;
  const isLong = timeoutMs > TIMEOUT_UNACKNOWLEDGED_MS;
  if (isLong && words[base + LAST_SEGMENT]! >>> LAST_RETRANSMISSIONS_SHIFT >= RETRANSMISSIONS_MAX) {
    return TIMEOUT_UNACKNOWLEDGED_MS;
  }
  if (kind === KIND_RST) return TIMEOUTS_MS[TCP_STATE_CLOSE]!;
  if (!isLong) return timeoutMs;
  const both =
    words[base + ENTRY_PROTOCOL + WINDOW_FLAGS]! | words[base + ENTRY_PROTOCOL + WINDOW_WORDS + WINDOW_FLAGS]!;
  if ((both & FLAG_UNACKNOWLEDGED) !== 0) return TIMEOUT_UNACKNOWLEDGED_MS;
  return words[base + LAST_OPTIONS]! >>> 16 === 0 ? TIMEOUT_UNACKNOWLEDGED_MS : timeoutMs;
}

function setLastSegment(words: Int32Array, base: number, direction: number, kind: number): void {
  words[base + LAST_SEGMENT] =
    (words[base + LAST_SEGMENT]! & ~LAST_KIND_MASK) | (direction << LAST_DIRECTION_SHIFT) | kind;
}

/** Sequence number behind the segment: data, SYN and FIN count. */
function segmentEnd(records: Int32Array, at: number): number {
  const tcpFlags = records[at + PACKET_TCP_FLAGS]!;
  const dataBytes = records[at + PACKET_TRANSPORT_BYTES]! - records[at + PACKET_TRANSPORT_HEADER_BYTES]!;
  return (records[at + PACKET_TCP_SEQ]! + dataBytes + ((tcpFlags >>> 1) & 1) + (tcpFlags & 1)) | 0;
}

/** `first` lies before `second` on the circle of sequence numbers. */
function isBefore(first: number, second: number): boolean {
  return ((first - second) | 0) < 0;
}

/** Takes over scale and SACK of a SYN or SYN-ACK. A header without options leaves what there was, as in the kernel. */
function readOptions(
  words: Int32Array,
  sender: number,
  receiver: number,
  records: Int32Array,
  at: number,
  view: DataView,
): void {
  const headerBytes = records[at + PACKET_TRANSPORT_HEADER_BYTES]!;
  if (headerBytes <= 20) return;
  if (records[at + PACKET_TRANSPORT_CAPTURED_BYTES]! < headerBytes) {
    words[sender + WINDOW_FLAGS]! |= FLAG_LIBERAL;
    words[receiver + WINDOW_FLAGS]! |= FLAG_LIBERAL;
    return;
  }
  words[sender + WINDOW_FLAGS] = (words[sender + WINDOW_FLAGS]! & FLAG_LIBERAL) | tcpOptions(records, at, view);
}

/** `scale << 8 | FLAG_*` of the options (`tcp_options`); 0 if the capture lacks them. */
function tcpOptions(records: Int32Array, at: number, view: DataView): number {
  const headerBytes = records[at + PACKET_TRANSPORT_HEADER_BYTES]!;
  if (records[at + PACKET_TRANSPORT_CAPTURED_BYTES]! < headerBytes) return 0;
  let found = 0;
  let offset = records[at + PACKET_TRANSPORT_OFFSET]! + 20;
  const end = records[at + PACKET_TRANSPORT_OFFSET]! + headerBytes;
  while (offset < end) {
    const option = view.getUint8(offset);
    if (option === 0) return found;
    if (option === 1) {
      offset++;
      continue;
    }
    const optionBytes = offset + 1 < end ? view.getUint8(offset + 1) : 0;
    if (optionBytes < 2 || optionBytes > end - offset) return found;
    if (option === 4 && optionBytes === 2) {
      found |= FLAG_SACK_PERMITTED;
    } else if (option === 3 && optionBytes === 3) {
      const scale = view.getUint8(offset + 2);
      found = (found & WINDOW_FLAGS_MASK) | FLAG_WINDOW_SCALE;
      found |= Math.min(scale, WINDOW_SCALE_MAX) << WINDOW_SCALE_SHIFT;
    }
    offset += optionBytes;
  }
  return found;
}

/** Highest right edge of the first SACK option, or `ack` if none lies beyond it (`tcp_sack`). */
function highestSack(records: Int32Array, at: number, view: DataView, ack: number): number {
  const headerBytes = records[at + PACKET_TRANSPORT_HEADER_BYTES]!;
  if (records[at + PACKET_TRANSPORT_CAPTURED_BYTES]! < headerBytes) return ack;
  let offset = records[at + PACKET_TRANSPORT_OFFSET]! + 20;
  // Timestamps alone, as on most segments.
  if (headerBytes === 32 && view.getInt32(offset) === 0x0101080a) return ack;
  const end = offset - 20 + headerBytes;
  while (offset < end) {
    const option = view.getUint8(offset);
    if (option === 0) return ack;
    if (option === 1) {
      offset++;
      continue;
    }
    const optionBytes = offset + 1 < end ? view.getUint8(offset + 1) : 0;
    if (optionBytes < 2 || optionBytes > end - offset) return ack;
    if (option === 5 && optionBytes >= 10 && ((optionBytes - 2) & 7) === 0) {
      let sack = ack;
      for (let edge = offset + 6; edge < offset + optionBytes; edge += 8) {
        const right = view.getInt32(edge);
        if (isBefore(sack, right)) sack = right;
      }
      return sack;
    }
    offset += optionBytes;
  }
  return ack;
}
