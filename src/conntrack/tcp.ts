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
import { PACKET_TCP_ACK, PACKET_TCP_FLAGS, PACKET_TCP_SEQ, PACKET_TCP_WINDOW } from '../wire/record.ts';
import type { Conntrack } from './table.ts';
import {
  DIRECTION_ORIGINAL,
  DIRECTION_REPLY,
  ENTRY_PROTOCOL,
  ENTRY_STATUS,
  STATUS_ASSURED,
  STATUS_CLOSING,
  STATUS_SEEN_REPLY,
  STATUS_STATE_MASK,
} from './table.ts';
import {
  FLAG_CLOSE_INIT,
  FLAG_LIBERAL,
  FLAG_MAX_ACK_SET,
  FLAG_SACK_PERMITTED,
  FLAG_UNACKNOWLEDGED,
  KIND_ACK,
  KIND_FIN,
  KIND_NONE,
  KIND_RST,
  KIND_SYN,
  KIND_SYN_ACK,
  LAST_ACK,
  LAST_CHALLENGE,
  LAST_DIRECTION_SHIFT,
  LAST_END,
  LAST_FLAGS_MASK,
  LAST_KIND_MASK,
  LAST_OPTIONS,
  LAST_RETRANSMISSIONS_SHIFT,
  LAST_SEGMENT,
  LAST_SEQ,
  LAST_SIMULTANEOUS_OPEN,
  RETRANSMISSIONS_MAX,
  TCP_STATE_CLOSE,
  TCP_STATE_CLOSE_WAIT,
  TCP_STATE_ESTABLISHED,
  TCP_STATE_FIN_WAIT,
  TCP_STATE_LAST_ACK,
  TCP_STATE_SYN_RECV,
  TCP_STATE_SYN_SENT,
  TCP_STATE_SYN_SENT2,
  TCP_STATE_TIME_WAIT,
  TIMEOUT_ESTABLISHED_MS,
  TIMEOUT_UNACKNOWLEDGED_MS,
  WINDOW_END,
  WINDOW_FLAGS,
  WINDOW_MAX_ACK,
  WINDOW_MAX_END,
  WINDOW_MAX_WINDOW,
  WINDOW_WORDS,
} from './tcp-layout.ts';
import {
  IN_WINDOW_IGNORE,
  IN_WINDOW_INVALID,
  inWindow,
  isBefore,
  readOptions,
  resynchronise,
  segmentEnd,
  tcpOptions,
} from './tcp-window.ts';

/** What `tcpPacket` says of a segment on a known connection. */
export const TCP_ACCEPT = 0;
export const TCP_INVALID = 1;
/** The segment ended the entry: the only answer was a RST. The caller removes the entry; the packet still belongs to it. */
const TCP_ACCEPT_AND_DELETE = 2;
/** A SYN on a finished connection: the caller removes the entry and tracks the packet as the first of a new one. */
export const TCP_REOPEN = 3;

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
const TIMEOUTS_MS = Float64Array.of(0, 120e3, 60e3, TIMEOUT_ESTABLISHED_MS, 120e3, 60e3, 30e3, 120e3, 10e3, 120e3);
/** States in which a RST is taken without a look at its numbers, and which are evicted first (`tcp_can_early_drop`). */
const CLOSING_STATES =
  (1 << TCP_STATE_FIN_WAIT) |
  (1 << TCP_STATE_CLOSE_WAIT) |
  (1 << TCP_STATE_LAST_ACK) |
  (1 << TCP_STATE_TIME_WAIT) |
  (1 << TCP_STATE_CLOSE);

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
  const entry = base >> 5;
  if (ct.times[entry]! - timeMs > TIMEOUT_UNACKNOWLEDGED_MS) ct.times[entry] = timeMs + TIMEOUT_UNACKNOWLEDGED_MS;
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
  ct.times[base >> 5] = timeMs + timeoutMs;
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
