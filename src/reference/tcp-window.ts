/**
 * Segments and windows of tracked TCP connections (see tcp.ts).
 *
 * For each side a connection keeps `end`, up to where it has sent; `maxEnd`, up to where the other side's window lets it
 * send; and `maxWindow`, the largest window it offered. Worked example: SYN 100, window 1000: the originator's end =
 * maxEnd = 101. SYN-ACK 500, ack 101, window 2000: the responder's end = maxEnd = 501, the originator's maxEnd = 101 +
 * 2000. A segment that starts at 9000 is then outside, one that acknowledges 502 too.
 */
/** Flag bits of the TCP header. */
const TCP_FIN = 1;
const TCP_SYN = 2;
const TCP_RST = 4;
const TCP_ACK = 16;
const TCP_URG = 32;

export interface TcpSegment {
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  /** As in the header, unscaled. */
  readonly window: number;
  readonly payloadLengthBytes: number;
  /** The window scale option of a SYN; `undefined` = absent. */
  readonly windowScale: number | undefined;
  /** Highest right edge of the selective acknowledgement option; `undefined` = absent. */
  readonly sack: number | undefined;
  /** The SYN permits the other side to acknowledge selectively. */
  readonly permitsSack: boolean;
}

/** SYN sent, SYN-ACK seen, established, FIN wait, close wait, last ACK, time wait, closed, SYN from both sides. */
export type TcpState = 'SS' | 'SR' | 'ES' | 'FW' | 'CW' | 'LA' | 'TW' | 'CL' | 'S2';

export type Kind = 'SYN' | 'SYN-ACK' | 'FIN' | 'ACK' | 'RST';

export interface TcpSide {
  end: number;
  maxEnd: number;
  /** 0 = nothing was heard of this side. */
  maxWindow: number;
  /** The highest number this side has acknowledged. */
  maxAck: number | undefined;
  windowScale: number | undefined;
  permitsSack: boolean;
  hasUnacknowledged: boolean;
  /** Sent the FIN that began the end. */
  beganClose: boolean;
  /** Picked up in mid-stream: this side is not held to its window. */
  isLiberal: boolean;
}

/** The segment before this one. */
interface LastSegment {
  kind: Kind | undefined;
  direction: 0 | 1;
  seq: number;
  ack: number;
  end: number;
  window: number;
}

export interface TcpConnection {
  state: TcpState;
  /** Originator, responder. */
  readonly sides: [TcpSide, TcpSide];
  isAnswered: boolean;
  /** Both sides have taken part in an established connection. */
  isAssured: boolean;
  readonly last: LastSegment;
  /** Options of the last SYN that passed without effect. */
  ignoredScale: number | undefined;
  ignoredPermitsSack: boolean;
  isSimultaneous: boolean;
  expectsChallenge: boolean;
  retransmissions: number;
}

export function emptySide(): TcpSide {
  return {
    end: 0,
    maxEnd: 0,
    maxWindow: 0,
    maxAck: undefined,
    windowScale: undefined,
    permitsSack: false,
    hasUnacknowledged: false,
    beganClose: false,
    isLiberal: false,
  };
}

/** Flags count in the order RST, SYN-ACK, SYN, FIN, ACK; combinations that no TCP sends have no kind. */
export function kindOf({ flags }: TcpSegment): Kind | undefined {
  const counted = flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK | TCP_URG);
  const withoutUrgent = counted & ~TCP_URG;
  if (counted === TCP_RST || counted === (TCP_RST | TCP_ACK)) return 'RST';
  if (counted === (TCP_SYN | TCP_ACK)) return 'SYN-ACK';
  if (withoutUrgent === TCP_SYN) return 'SYN';
  if (withoutUrgent === (TCP_FIN | TCP_ACK)) return 'FIN';
  return withoutUrgent === TCP_ACK ? 'ACK' : undefined;
}

/** The least that an acknowledgement may lag behind, whatever the window. */
const ACK_LAG_BYTES_MIN = 66_000;

export function fitWindow(
  connection: TcpConnection,
  direction: 0 | 1,
  kind: Kind,
  segment: TcpSegment,
): 'ok' | 'ignore' | 'invalid' {
  const sender = connection.sides[direction];
  const receiver = connection.sides[direction === 0 ? 1 : 0];
  const isSyn = kind === 'SYN' || kind === 'SYN-ACK';
  const isOpening = connection.state === 'SS' || connection.state === 'SR';
  const isFirst = sender.maxWindow === 0;
  const isReplacement = isSyn && isOpening && isAfter(segmentEnd(segment), sender.end);
  if (isFirst || isReplacement) {
    startSide(sender, receiver, direction, isSyn, segment, sackOf(receiver, segment));
    if (kind === 'SYN' && (isFirst || direction === 1)) return 'ok';
  }
  const isRstToSyn = kind === 'RST' && segment.seq === 0 && connection.state === 'SS';
  const seq = isRstToSyn ? sender.end : segment.seq;
  const end = isRstToSyn ? sender.end : segmentEnd(segment);
  const ack = effectiveAck(receiver, segment, segment.ack);
  const sack = effectiveAck(receiver, segment, sackOf(receiver, segment));

  const verdict = compareWindow(sender, receiver, seq, end, sack);
  if (verdict !== 'ok') return sender.isLiberal ? 'ok' : verdict;
  const window = isSyn ? segment.window : segment.window * 2 ** (sender.windowScale ?? 0);
  sender.maxWindow = Math.max(sender.maxWindow, (window + sack - ack) >>> 0);
  if (isAfter(end, sender.end)) {
    sender.end = end;
    sender.hasUnacknowledged = true;
  }
  const hasAck = (segment.flags & TCP_ACK) !== 0;
  if (hasAck && (sender.maxAck === undefined || isAfter(ack, sender.maxAck))) sender.maxAck = ack;
  if (receiver.maxWindow !== 0 && isAfter(end, sender.maxEnd)) receiver.maxWindow += (end - sender.maxEnd) >>> 0;
  const allowed = (sack + window) >>> 0;
  if (isAfter(allowed, receiver.maxEnd - 1)) receiver.maxEnd = window === 0 ? (allowed + 1) >>> 0 : allowed;
  if (ack === receiver.end) receiver.hasUnacknowledged = false;
  if (kind === 'ACK') countRetransmissions(connection, direction, seq, ack, end, segment.window);
  return 'ok';
}

function compareWindow(
  sender: TcpSide,
  receiver: TcpSide,
  seq: number,
  end: number,
  ack: number,
): 'ok' | 'ignore' | 'invalid' {
  const lag = Math.max(sender.maxWindow, ACK_LAG_BYTES_MIN);
  const isAckRecent = isAfter(ack, receiver.end - lag - 1);
  const isAckOfSent = isBefore(ack, receiver.end + 1);
  const isEndRecent = receiver.maxWindow === 0 || isAfter(end, sender.end - receiver.maxWindow - 1);
  if (!isBefore(seq, sender.maxEnd + 1)) {
    // Some stacks send a little more than they may; should the receiver take it, its acknowledgement must fit.
    const overshot = (end - sender.maxEnd + 1) >>> 0;
    const isSlight = receiver.maxWindow !== 0 && overshot <= receiver.maxWindow;
    if (!(isSlight && isEndRecent && isAckRecent && isAckOfSent)) return 'invalid';
    sender.end = end;
    sender.hasUnacknowledged = true;
    return 'ignore';
  }
  if (!isAckOfSent) return 'invalid';
  return isEndRecent && isAckRecent ? 'ok' : 'ignore';
}

/** First word of a side: a SYN (with or without ACK) tells its numbers, anything else lets us guess them. */
function startSide(
  sender: TcpSide,
  receiver: TcpSide,
  direction: 0 | 1,
  isSyn: boolean,
  segment: TcpSegment,
  sack: number,
): void {
  const end = segmentEnd(segment);
  sender.end = end;
  if (isSyn) {
    sender.maxEnd = end;
    sender.maxWindow = Math.max(segment.window, 1);
    sender.windowScale = segment.windowScale;
    sender.permitsSack = segment.permitsSack;
    // Scaling holds only if both sides asked for it (RFC 7323).
    if (direction === 1 && (sender.windowScale === undefined || receiver.windowScale === undefined)) {
      sender.windowScale = sender.windowScale === undefined ? undefined : 0;
      receiver.windowScale = receiver.windowScale === undefined ? undefined : 0;
    }
    return;
  }
  sender.maxWindow = Math.max(segment.window * 2 ** (sender.windowScale ?? 0), 1);
  sender.maxEnd = (end + sender.maxWindow) >>> 0;
  if (receiver.maxWindow === 0) {
    receiver.end = sack;
    receiver.maxEnd = sack;
  } else if (sack === (receiver.end + 1) >>> 0) {
    // An answer to a keep-alive.
    receiver.end = sack;
  }
}

/** Without ACK, or with a reset that acknowledges 0, as if everything were acknowledged. */
function effectiveAck(receiver: TcpSide, { flags, ack }: TcpSegment, number: number): number {
  const isEmptyReset = (flags & TCP_RST) !== 0 && ack === 0;
  return (flags & TCP_ACK) === 0 || isEmptyReset ? receiver.end : number;
}

/** What the segment acknowledges at most. */
function sackOf(receiver: TcpSide, { ack, sack }: TcpSegment): number {
  return receiver.permitsSack && sack !== undefined && isAfter(sack, ack) ? sack : ack;
}

function countRetransmissions(
  connection: TcpConnection,
  direction: 0 | 1,
  seq: number,
  ack: number,
  end: number,
  window: number,
): void {
  const { last } = connection;
  const isSame =
    last.direction === direction && last.seq === seq && last.ack === ack && last.end === end && last.window === window;
  connection.retransmissions = isSame ? connection.retransmissions + 1 : 0;
  Object.assign(last, { direction, seq, ack, end, window });
}

export function segmentEnd({ seq, payloadLengthBytes, flags }: TcpSegment): number {
  return (seq + payloadLengthBytes + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0)) >>> 0;
}

/** Sequence numbers compare on a circle of 2^32. */
export function isBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

function isAfter(a: number, b: number): boolean {
  return isBefore(b, a);
}
