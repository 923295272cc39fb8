/**
 * The TCP part of connection tracking (semantics 6.7): the state table, and the windows.
 *
 * A connection remembers for each side how far it has sent (`end`), how far it may send (`maxEnd`), and the largest
 * window it offered. A segment is outside when it starts beyond what the receiver allowed, or acknowledges what was
 * never sent. What lies *below* the window (a late retransmission, an old acknowledgement) passes and changes nothing.
 * A connection picked up in mid-stream is not held to windows, since its options are unknown.
 * Source: Linux net/netfilter/nf_conntrack_proto_tcp.c; G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter".
 */

/** Flag bits of the TCP header. */
export const TCP_FIN = 1;
export const TCP_SYN = 2;
export const TCP_RST = 4;
export const TCP_ACK = 16;

export interface TcpSegment {
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  /** As in the header, unscaled. */
  readonly window: number;
  readonly payloadLengthBytes: number;
  /** The window scale option of a SYN; `undefined` = absent. */
  readonly windowScale: number | undefined;
}

/** SYN sent, SYN-ACK seen, established, FIN wait, close wait, last ACK, time wait, closed, SYN from both sides. */
export type TcpState = 'SS' | 'SR' | 'ES' | 'FW' | 'CW' | 'LA' | 'TW' | 'CL' | 'S2';

interface TcpSide {
  end: number;
  maxEnd: number;
  /** 0 = nothing was heard of this side. */
  maxWindow: number;
  scale: number;
  hasScale: boolean;
}

export interface TcpConnection {
  state: TcpState;
  /** Originator, responder. */
  readonly sides: readonly [TcpSide, TcpSide];
  /** Picked up in mid-stream: windows are not checked. */
  readonly isLiberal: boolean;
}

/** Seconds without a packet after which a state is forgotten. */
export const TCP_TIMEOUTS: Readonly<Record<TcpState, number>> = {
  SS: 120,
  SR: 60,
  ES: 432_000,
  FW: 120,
  CW: 60,
  LA: 30,
  TW: 120,
  CL: 10,
  S2: 120,
};

const COLUMNS = ['none', 'SS', 'SR', 'ES', 'FW', 'CW', 'LA', 'TW', 'CL', 'S2'];

/** Rows of 6.7: originator, responder; SYN, SYN-ACK, FIN, ACK or data, RST. `-` = INVALID, `=` = passes and changes nothing. */
const TRANSITIONS: readonly (readonly string[])[] = [
  [
    'SS SS =  =  =  =  =  SS SS S2',
    '-  -  SR -  -  -  -  -  -  SR',
    '-  -  FW FW LA LA LA TW CL - ',
    'ES -  ES ES CW CW TW TW CL - ',
    '-  CL CL CL CL CL CL CL CL CL',
  ],
  [
    '-  S2 -  -  -  -  -  SS -  S2',
    '-  SR =  =  =  =  =  =  =  SR',
    '-  -  FW FW LA LA LA TW CL - ',
    '-  =  SR ES CW CW TW TW CL = ',
    '-  CL CL CL CL CL CL CL CL CL',
  ],
];

/** A new connection that begins with `segment`, or `undefined` if none can. */
export function openTcp(segment: TcpSegment): TcpConnection | undefined {
  const state = transition(undefined, 0, segment);
  if (state === '-') return undefined;
  const isSyn = (segment.flags & TCP_SYN) !== 0;
  const window = Math.max(segment.window, 1);
  const end = segmentEnd(segment);
  const originator: TcpSide = {
    end,
    maxEnd: isSyn ? end : (end + window) >>> 0,
    maxWindow: window,
    scale: segment.windowScale ?? 0,
    hasScale: segment.windowScale !== undefined,
  };
  const responder: TcpSide = { end: 0, maxEnd: 0, maxWindow: 0, scale: 0, hasScale: false };
  return { state: state as TcpState, sides: [originator, responder], isLiberal: !isSyn };
}

/**
 * One more segment of a connection, in direction 0 (of the originator) or 1. `reopen`: it begins a new connection in
 * place of this one. `ignore`: it passes, and changes nothing.
 */
export function advanceTcp(
  connection: TcpConnection,
  direction: 0 | 1,
  segment: TcpSegment,
): 'ok' | 'ignore' | 'invalid' | 'reopen' {
  const next = transition(connection.state, direction, segment);
  if (next === '-') return 'invalid';
  if (next === '=') return 'ignore';
  if (next === 'SS' && (connection.state === 'TW' || connection.state === 'CL')) return 'reopen';
  const fit = fitWindow(connection, direction, segment);
  if (fit === 'ok') connection.state = next as TcpState;
  return fit;
}

/** Flags count in the order RST, SYN-ACK, SYN, FIN, ACK. */
function transition(state: TcpState | undefined, direction: 0 | 1, { flags }: TcpSegment): string {
  const row = flagRow(flags);
  if (row < 0) return '-';
  return TRANSITIONS[direction]![row]!.trim().split(/ +/)[COLUMNS.indexOf(state ?? 'none')]!;
}

function flagRow(flags: number): number {
  if ((flags & TCP_RST) !== 0) return 4;
  if ((flags & TCP_SYN) !== 0) return (flags & TCP_ACK) !== 0 ? 1 : 0;
  if ((flags & TCP_FIN) !== 0) return 2;
  return (flags & TCP_ACK) !== 0 ? 3 : -1;
}

/** The least that an acknowledgement may lag behind, whatever the window. */
const ACK_LAG_BYTES_MIN = 66_000;

function fitWindow(connection: TcpConnection, direction: 0 | 1, segment: TcpSegment): 'ok' | 'ignore' | 'invalid' {
  const sender = connection.sides[direction];
  const receiver = connection.sides[1 - direction]!;
  const isSyn = (segment.flags & TCP_SYN) !== 0;
  const isOpening = connection.state === 'SS' || connection.state === 'SR';
  const isReplacedSyn = isSyn && isOpening && isAfter(segmentEnd(segment), sender.end);
  if (sender.maxWindow === 0 || isReplacedSyn) startSide(sender, receiver, direction, segment);

  const ack = effectiveAck(receiver, segment);
  const isRstToSyn = (segment.flags & TCP_RST) !== 0 && segment.seq === 0 && connection.state === 'SS';
  const seq = isRstToSyn ? sender.end : segment.seq;
  const end = isRstToSyn ? sender.end : segmentEnd(segment);

  const verdict = compareWindow(sender, receiver, seq, end, ack);
  if (verdict !== 'ok') return connection.isLiberal ? 'ok' : verdict;
  const window = isSyn ? segment.window : segment.window * 2 ** sender.scale;
  sender.maxWindow = Math.max(sender.maxWindow, window);
  if (isAfter(end, sender.end)) sender.end = end;
  if (receiver.maxWindow !== 0 && isAfter(end, sender.maxEnd)) receiver.maxWindow += (end - sender.maxEnd) >>> 0;
  const allowed = (ack + window) >>> 0;
  if (isAfter(allowed, (receiver.maxEnd - 1) >>> 0)) receiver.maxEnd = window === 0 ? (allowed + 1) >>> 0 : allowed;
  return 'ok';
}

function compareWindow(
  sender: TcpSide,
  receiver: TcpSide,
  seq: number,
  end: number,
  ack: number,
): 'ok' | 'ignore' | 'invalid' {
  if (!isBefore(seq, sender.maxEnd + 1)) return 'invalid';
  if (!isBefore(ack, receiver.end + 1)) return 'invalid';
  if (receiver.maxWindow !== 0 && !isAfter(end, sender.end - receiver.maxWindow - 1)) return 'ignore';
  const lag = Math.max(sender.maxWindow, ACK_LAG_BYTES_MIN);
  return isAfter(ack, receiver.end - lag - 1) ? 'ok' : 'ignore';
}

/** First word of a side: a SYN (with or without ACK) tells its numbers, anything else lets us guess them. */
function startSide(sender: TcpSide, receiver: TcpSide, direction: 0 | 1, segment: TcpSegment): void {
  const end = segmentEnd(segment);
  sender.end = end;
  if ((segment.flags & TCP_SYN) !== 0) {
    sender.maxEnd = end;
    sender.maxWindow = Math.max(segment.window, 1);
    sender.scale = segment.windowScale ?? 0;
    sender.hasScale = segment.windowScale !== undefined;
    // Scaling holds only if both sides asked for it (RFC 7323).
    if (direction === 1 && !(sender.hasScale && receiver.hasScale)) {
      sender.scale = 0;
      receiver.scale = 0;
    }
    return;
  }
  sender.maxWindow = Math.max(segment.window * 2 ** sender.scale, 1);
  sender.maxEnd = (end + sender.maxWindow) >>> 0;
  if (receiver.maxWindow === 0) {
    receiver.end = segment.ack;
    receiver.maxEnd = segment.ack;
  } else if (segment.ack === (receiver.end + 1) >>> 0) {
    // An answer to a keep-alive.
    receiver.end = segment.ack;
  }
}

/** Without ACK, or with a reset that acknowledges 0, as if everything were acknowledged. */
function effectiveAck(receiver: TcpSide, { flags, ack }: TcpSegment): number {
  const isEmptyReset = (flags & TCP_RST) !== 0 && ack === 0;
  return (flags & TCP_ACK) === 0 || isEmptyReset ? receiver.end : ack;
}

function segmentEnd({ seq, payloadLengthBytes, flags }: TcpSegment): number {
  return (seq + payloadLengthBytes + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0)) >>> 0;
}

/** Sequence numbers compare on a circle of 2^32. */
function isBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

function isAfter(a: number, b: number): boolean {
  return isBefore(b, a);
}
