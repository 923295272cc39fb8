/**
 * The TCP part of connection tracking (semantics 6.7): the state table, windows, resets.
 *
 * A connection remembers for each side how far it has sent (`end`), how far it may send (`maxEnd`), and the largest
 * window it offered. A segment is outside when it starts beyond what the receiver allowed, or acknowledges what was
 * never sent. What lies *below* the window (a late retransmission, an old acknowledgement) passes and changes nothing.
 * A connection picked up in mid-stream is not held to windows, since its options are unknown.
 *
 * The kernel knows that it may be out of step with the two ends, so some segments pass without effect (`=` in the table)
 * and are remembered in `last`: a SYN-ACK that answers such a SYN puts the connection back in step, a reset that answers
 * one is believed, and an ACK that may be a challenge (RFC 5961) does not end a connection.
 * Source: Linux 6.18 net/netfilter/nf_conntrack_proto_tcp.c; G. van Rooij, "Real Stateful TCP Packet Filtering in IP
 * Filter".
 */
import {
  emptySide,
  fitWindow,
  isBefore,
  type Kind,
  kindOf,
  segmentEnd,
  type TcpConnection,
  type TcpSegment,
  type TcpState,
} from './tcp-window.ts';

/** Seconds without a segment after which a state is forgotten. */
const TIMEOUTS: Readonly<Record<TcpState, number>> = {
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

/** For connections where data waits for its acknowledgement, a window is shut, or nobody answered yet. */
const TIMEOUT_WAITING = 300;
const RETRANSMISSIONS_MAX = 3;

const COLUMNS: readonly (TcpState | undefined)[] = [undefined, 'SS', 'SR', 'ES', 'FW', 'CW', 'LA', 'TW', 'CL', 'S2'];
const KINDS: readonly Kind[] = ['SYN', 'SYN-ACK', 'FIN', 'ACK', 'RST'];

/** Originator, responder; a row per kind, a column per state. `-` = INVALID, `=` = passes and changes nothing. */
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

/** `closed`: it passes, and the connection is forgotten. `reopen`: it begins a new connection in place of this one. */
export type TcpOutcome = 'ok' | 'ignore' | 'invalid' | 'closed' | 'reopen';

/** A new connection that begins with `segment`, or `undefined` if none can. */
export function openTcp(segment: TcpSegment): TcpConnection | undefined {
  const kind = kindOf(segment);
  if (kind === undefined) return undefined;
  const state = nextState(undefined, 0, kind);
  if (state === '-' || state === '=') return undefined;
  const isSyn = kind === 'SYN';
  const originator = emptySide();
  originator.end = segmentEnd(segment);
  originator.maxWindow = Math.max(segment.window, 1);
  originator.maxEnd = isSyn ? originator.end : (originator.end + originator.maxWindow) >>> 0;
  originator.windowScale = isSyn ? segment.windowScale : undefined;
  originator.permitsSack = !isSyn || segment.permitsSack;
  originator.isLiberal = !isSyn;
  const responder = emptySide();
  responder.permitsSack = !isSyn;
  responder.isLiberal = !isSyn;
  const connection: TcpConnection = {
    state,
    sides: [originator, responder],
    isAnswered: false,
    isAssured: false,
    last: { kind: undefined, direction: 0, seq: 0, ack: 0, end: 0, window: 0 },
    ignoredScale: undefined,
    ignoredPermitsSack: false,
    isSimultaneous: false,
    expectsChallenge: false,
    retransmissions: 0,
  };
  fitWindow(connection, 0, kind, segment);
  connection.last.kind = kind;
  return connection;
}

/** One more segment of a connection, in direction 0 (of the originator) or 1. */
export function advanceTcp(connection: TcpConnection, direction: 0 | 1, segment: TcpSegment): TcpOutcome {
  const outcome = judge(connection, direction, segment);
  if (direction === 1 && outcome !== 'invalid' && outcome !== 'reopen') connection.isAnswered = true;
  return outcome;
}

export function tcpTimeoutSeconds(connection: TcpConnection): number {
  const { state, sides, last, isAnswered, retransmissions } = connection;
  if (last.kind === 'RST' && retransmissions < RETRANSMISSIONS_MAX) return TIMEOUTS.CL;
  const isWaiting =
    retransmissions >= RETRANSMISSIONS_MAX ||
    sides.some((side) => side.hasUnacknowledged) ||
    (last.kind === 'ACK' && last.window === 0) ||
    (!isAnswered && state === 'ES');
  return isWaiting ? Math.min(TIMEOUTS[state], TIMEOUT_WAITING) : TIMEOUTS[state];
}

function judge(connection: TcpConnection, direction: 0 | 1, segment: TcpSegment): TcpOutcome {
  const kind = kindOf(segment);
  if (kind === undefined) return 'invalid';
  let from = connection.state;
  let next = nextState(from, direction, kind);
  if (next === '-') return 'invalid';
  const isAfterEnd = next === 'SS' && (from === 'TW' || from === 'CL');
  if (isAfterEnd && mayReopen(connection, direction)) return 'reopen';
  if (next === '=' || isAfterEnd) {
    if (!answersIgnoredSyn(connection, direction, kind, segment)) {
      rememberIgnored(connection, direction, kind, segment);
      return 'ignore';
    }
    putInStep(connection, direction);
    from = 'SS';
    next = 'SR';
  }
  if (next === 'TW' && isChallenge(connection, direction, kind)) return 'ignore';
  if (next === 'S2') connection.isSimultaneous = true;
  if (next === 'SR' && direction === 1 && kind === 'ACK' && connection.isSimultaneous) next = 'ES';

  const reset = kind === 'RST' ? judgeReset(connection, direction, segment) : 'window';
  if (reset === 'invalid') return 'invalid';
  if (reset === 'stay') next = from;
  if (reset !== 'believed') {
    const fit = fitWindow(connection, direction, kind, segment);
    if (fit === 'invalid') rememberInvalid(connection, direction, kind);
    if (fit !== 'ok') return fit;
  }
  return settle(connection, direction, kind, from, next as TcpState);
}

function settle(connection: TcpConnection, direction: 0 | 1, kind: Kind, from: TcpState, next: TcpState): TcpOutcome {
  connection.last.kind = kind;
  connection.last.direction = direction;
  connection.state = next;
  if (from !== next && next === 'FW') connection.sides[direction].beganClose = true;
  if (connection.isAnswered) {
    if ((from === 'SR' || from === 'ES') && next === 'ES') connection.isAssured = true;
    return 'ok';
  }
  // A SYN that is sent again does not keep its entry alive.
  if (kind === 'SYN' && from === 'SS') return 'ignore';
  // A reset as the only answer: there never was a connection.
  return kind === 'RST' ? 'closed' : 'ok';
}

/** After a close that a side began, or after a reset from the sender of the SYN itself. */
function mayReopen({ sides, last }: TcpConnection, direction: 0 | 1): boolean {
  return sides.some((side) => side.beganClose) || (last.kind === 'RST' && last.direction === direction);
}

function answersIgnoredSyn({ last }: TcpConnection, direction: 0 | 1, kind: Kind, segment: TcpSegment): boolean {
  return kind === 'SYN-ACK' && last.kind === 'SYN' && last.direction !== direction && segment.ack === last.end;
}

function rememberIgnored(connection: TcpConnection, direction: 0 | 1, kind: Kind, segment: TcpSegment): void {
  const { last, state } = connection;
  last.kind = kind;
  last.direction = direction;
  last.seq = segment.seq;
  last.end = segmentEnd(segment);
  last.window = segment.window;
  if (kind === 'SYN' && direction === 0) {
    connection.ignoredScale = segment.windowScale;
    connection.ignoredPermitsSack = segment.permitsSack;
    connection.isSimultaneous = false;
    connection.expectsChallenge = state === 'LA';
  }
  if (state === 'SS' && kind === 'ACK' && direction === 1) last.ack = segment.ack;
}

/** An end out of the window of a connection that was in use is remembered, unless it answers such an end. */
function rememberInvalid({ last, isAssured }: TcpConnection, direction: 0 | 1, kind: Kind): void {
  const isEnd = (which: Kind | undefined): boolean => which === 'FIN' || which === 'RST';
  if (!isAssured || !isEnd(kind) || (last.direction !== direction && isEnd(last.kind))) return;
  last.kind = kind;
  last.direction = direction;
}

/** The ignored SYN was good: both sides start over from it. */
function putInStep(connection: TcpConnection, direction: 0 | 1): void {
  const { last, sides } = connection;
  const syn = emptySide();
  syn.end = last.end;
  syn.maxEnd = last.end;
  syn.maxWindow = Math.max(last.window, 1);
  syn.windowScale = connection.ignoredScale;
  syn.permitsSack = connection.ignoredPermitsSack;
  sides[direction === 0 ? 1 : 0] = syn;
  sides[direction] = { ...emptySide(), isLiberal: sides[direction].isLiberal };
  connection.expectsChallenge = false;
}

function isChallenge(connection: TcpConnection, direction: 0 | 1, kind: Kind): boolean {
  const { last, state, expectsChallenge } = connection;
  const answersSyn = kind === 'ACK' && last.kind === 'SYN' && last.direction !== direction;
  if (state !== 'LA' || !expectsChallenge || !answersSyn) return false;
  connection.expectsChallenge = false;
  return true;
}

/** `believed`: without a look at its numbers; `window`: if they fit; `stay`: it fits but changes no state. */
function judgeReset(
  connection: TcpConnection,
  direction: 0 | 1,
  segment: TcpSegment,
): 'believed' | 'window' | 'stay' | 'invalid' {
  const { state, last, isAnswered, isAssured } = connection;
  if (['FW', 'CW', 'LA', 'TW', 'CL'].includes(state)) return 'believed';
  const { maxAck } = connection.sides[direction === 0 ? 1 : 0];
  if (maxAck !== undefined && last.kind !== 'SYN') {
    const isEstablished = state === 'ES' && isAssured;
    if (segment.seq === 0 && !isEstablished) return 'window';
    if (isBefore(segment.seq, maxAck)) return 'invalid';
    if (!isEstablished || segment.seq === maxAck) return 'window';
    // Right behind the last data of its sender; anything else the receiver will challenge.
    return last.kind === 'ACK' && last.direction === direction && segment.seq === last.end ? 'window' : 'stay';
  }
  const answersSyn = isAnswered && last.kind === 'SYN' && last.direction !== direction;
  const answersAck = !isAssured && last.kind === 'ACK';
  if ((answersSyn || answersAck) && segment.ack === last.end) return 'believed';
  const answersChallenge = state === 'SS' && last.kind === 'ACK' && last.direction === 1 && segment.seq === last.ack;
  return answersChallenge ? 'believed' : 'window';
}

function nextState(state: TcpState | undefined, direction: 0 | 1, kind: Kind): TcpState | '-' | '=' {
  const row = TRANSITIONS[direction]![KINDS.indexOf(kind)]!;
  return row.trim().split(/ +/)[COLUMNS.indexOf(state)] as TcpState | '-' | '=';
}
