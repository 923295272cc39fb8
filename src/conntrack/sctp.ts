/**
 * SCTP associations as Linux keeps them: a state table over chunk types, and verification tags.
 *
 * Each packet is a common header (ports, verification tag, checksum) and a list of chunks, and every chunk moves the
 * state by the table below. The tag of a packet must be the one that its receiver chose in INIT or INIT ACK
 * (RFC 9260 section 8.5); an entry keeps the tag expected in each direction. Data and SACK move nothing.
 *
 * Worked example. INIT with initiate tag 0xa: packet tag 0, so the entry opens, state closed, and expects 0xa in the reply
 * direction. INIT ACK with packet tag 0xa and initiate tag 0xb: cookie wait, 0xb expected in the original direction.
 * COOKIE ECHO (0xb): cookie echoed. COOKIE ACK (0xa): established, 210 s. DATA with tag 0xc: INVALID.
 *
 * A chunk that the capture cut off is not looked at; a packet without one whole chunk header in the capture is not judged.
 *
 * Source: Linux 6.18 net/netfilter/nf_conntrack_proto_sctp.c; RFC 9260.
 */
import { PACKET_TRANSPORT_BYTES, PACKET_TRANSPORT_CAPTURED_BYTES, PACKET_TRANSPORT_OFFSET } from '../wire/record.ts';
import type { Conntrack } from './table.ts';
import {
  DIRECTION_ORIGINAL,
  ENTRY_PROTOCOL,
  ENTRY_STATUS,
  STATUS_ASSURED,
  STATUS_CLOSING,
  STATUS_STATE_MASK,
} from './table.ts';

const SCTP_STATE_NONE = 0;
export const SCTP_STATE_CLOSED = 1;
export const SCTP_STATE_COOKIE_WAIT = 2;
export const SCTP_STATE_COOKIE_ECHOED = 3;
export const SCTP_STATE_ESTABLISHED = 4;
export const SCTP_STATE_SHUTDOWN_SENT = 5;
const SCTP_STATE_SHUTDOWN_RECD = 6;
export const SCTP_STATE_SHUTDOWN_ACK_SENT = 7;

const COMMON_HEADER_BYTES = 12;
/** Fixed part of INIT and INIT ACK behind the chunk header. */
const INIT_HEADER_BYTES = 16;
const CHUNK_DATA = 0;
const CHUNK_INIT = 1;
const CHUNK_INIT_ACK = 2;
const CHUNK_HEARTBEAT = 4;
const CHUNK_HEARTBEAT_ACK = 5;
const CHUNK_ABORT = 6;
const CHUNK_SHUTDOWN_ACK = 8;
const CHUNK_COOKIE_ECHO = 10;
const CHUNK_COOKIE_ACK = 11;
const CHUNK_SHUTDOWN_COMPLETE = 14;
/** Flag T of ABORT and SHUTDOWN COMPLETE: the tag is the sender's own, reflected. */
const CHUNK_FLAG_T = 1;

/** Chunks that a packet without an entry must not carry. */
const CHUNKS_NEVER_FIRST = (1 << CHUNK_ABORT) | (1 << CHUNK_SHUTDOWN_COMPLETE) | (1 << CHUNK_COOKIE_ACK);
/** Chunks with tag rules of their own; a packet with none of them must carry the expected tag. */
const CHUNKS_WITH_TAG_RULE =
  (1 << CHUNK_INIT) |
  (1 << CHUNK_SHUTDOWN_COMPLETE) |
  (1 << CHUNK_COOKIE_ECHO) |
  (1 << CHUNK_ABORT) |
  (1 << CHUNK_SHUTDOWN_ACK) |
  (1 << CHUNK_HEARTBEAT) |
  (1 << CHUNK_HEARTBEAT_ACK);

const CELL_INVALID = 9;

/** Row of a chunk type, or -1 if it moves nothing. */
const CHUNK_ROWS = Int8Array.of(-1, 0, 1, -1, 9, 10, 2, 3, 4, 5, 6, 7, -1, -1, 8, -1);

/** Next states; columns none, closed, cookie wait, cookie echoed, established, shutdown sent, received, ack sent, heartbeat. */
const TRANSITIONS: readonly string[] = [
  // original:             no CL CW CE ES SS SR SA HS
  /* INIT              */ 'CL CL CW CE ES CL CL SA CW',
  /* INIT ACK          */ 'CL CL CW CE ES SS SR SA CL',
  /* ABORT             */ 'CL CL CL CL CL CL CL CL CL',
  /* SHUTDOWN          */ 'CL CL CW CE SS SS SR SA CL',
  /* SHUTDOWN ACK      */ 'SA CL CW CE ES SA SA SA SA',
  /* ERROR             */ 'CL CL CW CE ES SS SR SA CL',
  /* COOKIE ECHO       */ 'CL CL CE CE ES SS SR SA CL',
  /* COOKIE ACK        */ 'CL CL CW ES ES SS SR SA CL',
  /* SHUTDOWN COMPLETE */ 'CL CL CW CE ES SS SR CL CL',
  /* HEARTBEAT         */ 'HS CL CW CE ES SS SR SA HS',
  /* HEARTBEAT ACK     */ 'CL CL CW CE ES SS SR SA HS',
  // reply:                no CL CW CE ES SS SR SA HS
  /* INIT              */ '-  CL CW CE ES SS SR SA -',
  /* INIT ACK          */ '-  CW CW CE ES SS SR SA -',
  /* ABORT             */ '-  CL CL CL CL CL CL CL -',
  /* SHUTDOWN          */ '-  CL CW CE SR SS SR SA -',
  /* SHUTDOWN ACK      */ '-  CL CW CE ES SA SA SA -',
  /* ERROR             */ '-  CL CW CL ES SS SR SA -',
  /* COOKIE ECHO       */ '-  CL CE CE ES SS SR SA -',
  /* COOKIE ACK        */ '-  CL CW ES ES SS SR SA -',
  /* SHUTDOWN COMPLETE */ '-  CL CW CE ES SS SR CL -',
  /* HEARTBEAT         */ '-  CL CW CE ES SS SR SA HS',
  /* HEARTBEAT ACK     */ '-  CL CW CE ES SS SR SA ES',
];
const CELL_NAMES = ['no', 'CL', 'CW', 'CE', 'ES', 'SS', 'SR', 'SA', 'HS', '-'];
/** Cell of (direction * 11 + row) * 16 + state. */
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

/** By state, in ms (`sctp_timeouts`). */
const TIMEOUTS_MS = Float64Array.of(0, 10e3, 3e3, 3e3, 210e3, 3e3, 3e3, 3e3, 30e3);
const EARLY_DROP_STATES =
  (1 << SCTP_STATE_SHUTDOWN_SENT) | (1 << SCTP_STATE_SHUTDOWN_RECD) | (1 << SCTP_STATE_SHUTDOWN_ACK_SENT);

/** Words of an entry: the tag expected in each direction, and the rest of `struct ip_ct_sctp`. */
const SCTP_TAG = ENTRY_PROTOCOL;
const SCTP_FLAGS = ENTRY_PROTOCOL + 2;
/** An INIT was seen in the direction (bit 0 original, bit 1 reply). */
const FLAG_HEARTBEAT_FAILED = 1 << 2;
const FLAG_LAST_DIRECTION = 1 << 3;

/** True if the capture holds enough of the packet to be judged. */
export function sctpIsReadable(records: Int32Array, at: number): boolean {
  const capturedBytes = records[at + PACKET_TRANSPORT_CAPTURED_BYTES]!;
  return capturedBytes >= COMMON_HEADER_BYTES + 4 || capturedBytes >= records[at + PACKET_TRANSPORT_BYTES]!;
}

/**
 * Moves the entry at word `base` by one packet; false if the packet is INVALID. `isNew`: the entry is fresh (all words of
 * the protocol 0, state none) and the packet opens it; then false means that it may not.
 */
export function sctpPacket(
  ct: Conntrack,
  base: number,
  direction: number,
  isNew: boolean,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
): boolean {
  const words = ct.words;
  const start = records[at + PACKET_TRANSPORT_OFFSET]!;
  const declaredEnd = start + records[at + PACKET_TRANSPORT_BYTES]!;
  const capturedEnd = start + records[at + PACKET_TRANSPORT_CAPTURED_BYTES]!;
  const end = Math.min(declaredEnd, capturedEnd);
  const seen = chunkTypes(view, start + COMMON_HEADER_BYTES, end);
  if (seen < 0) return false;
  if (isNew) {
    if ((seen & CHUNKS_NEVER_FIRST) !== 0) return false;
    if (!openAssociation(words, base, view, start, end)) return false;
  }
  const tag = view.getInt32(start + 4);
  if ((seen & CHUNKS_WITH_TAG_RULE) === 0 && tag !== words[base + SCTP_TAG + direction]) return false;

  let keepsTimeout = false;
  let state = SCTP_STATE_NONE;
  for (let offset = start + COMMON_HEADER_BYTES; offset + 4 <= end; offset += chunkBytes(view, offset)) {
    const type = view.getUint8(offset);
    const hasData = (seen & (1 << CHUNK_DATA)) !== 0;
    if (type === CHUNK_HEARTBEAT || type === CHUNK_HEARTBEAT_ACK) {
      const outcome = judgeHeartbeat(words, base, direction, type, tag, hasData || keepsTimeout);
      if (outcome === HEARTBEAT_INVALID) return false;
      if (outcome === HEARTBEAT_IGNORED) {
        keepsTimeout = true;
        continue;
      }
    } else if (!tagFits(words, base, direction, type, view.getUint8(offset + 1), tag)) {
      return false;
    }
    const oldState = words[base + ENTRY_STATUS]! & STATUS_STATE_MASK;
    state = nextState(direction, oldState, type);
    if (state === CELL_INVALID) return false;
    if (type === CHUNK_INIT || type === CHUNK_INIT_ACK) {
      if (offset + 4 + INIT_HEADER_BYTES > end) return false;
      if (!noteInitiateTag(words, base, direction, type, view.getInt32(offset + 4), isNew)) return false;
      // A repeated INIT doesn't prolong the life of an association that nobody answers.
      if (type === CHUNK_INIT && !isNew && state === SCTP_STATE_CLOSED && oldState === SCTP_STATE_CLOSED) {
        keepsTimeout = true;
      }
    }
    setState(words, base, oldState, state);
  }
  if (!keepsTimeout) ct.times[base >> 5] = timeMs + TIMEOUTS_MS[state]!;
  return true;
}

/** Bits of the chunk types below 32 in the packet; -1 if their order is impossible or there is none. */
function chunkTypes(view: DataView, start: number, end: number): number {
  let seen = 0;
  let count = 0;
  let isAlone = false;
  for (let offset = start; offset + 4 <= end; offset += chunkBytes(view, offset)) {
    const type = view.getUint8(offset);
    if (type === CHUNK_INIT || type === CHUNK_INIT_ACK || type === CHUNK_SHUTDOWN_COMPLETE) isAlone = true;
    const mustBeFirst = isAlone || type === CHUNK_COOKIE_ACK || type === CHUNK_COOKIE_ECHO;
    if ((mustBeFirst && count !== 0) || view.getUint16(offset + 2) === 0) return -1;
    if (type < 31) seen |= 1 << type;
    count++;
  }
  return count === 0 ? -1 : seen;
}

/** Length of the chunk with its padding; never 0, which `chunkTypes` has refused. */
function chunkBytes(view: DataView, offset: number): number {
  return (view.getUint16(offset + 2) + 3) & ~3;
}

function nextState(direction: number, state: number, type: number): number {
  const row = type < 16 ? CHUNK_ROWS[type]! : -1;
  return row < 0 ? state : CELLS[((direction * 11 + row) << 4) + state]!;
}

/** The tags that a first packet tells (`sctp_new`); false if it opens nothing. */
function openAssociation(words: Int32Array, base: number, view: DataView, start: number, end: number): boolean {
  const tag = view.getInt32(start + 4);
  for (let offset = start + COMMON_HEADER_BYTES; offset + 4 <= end; offset += chunkBytes(view, offset)) {
    const type = view.getUint8(offset);
    const state = nextState(DIRECTION_ORIGINAL, SCTP_STATE_NONE, type);
    if (state === SCTP_STATE_NONE || state === CELL_INVALID) return false;
    if (type === CHUNK_INIT) {
      if (tag !== 0 || offset + 4 + INIT_HEADER_BYTES > end) return false;
      words[base + SCTP_TAG + 1] = view.getInt32(offset + 4);
    } else if (type === CHUNK_HEARTBEAT || type === CHUNK_HEARTBEAT_ACK) {
      words[base + SCTP_TAG] = tag;
    } else {
      words[base + SCTP_TAG + 1] = tag;
    }
  }
  return true;
}

/** The tag rules of chunks other than heartbeats (RFC 9260, 8.5.1). */
function tagFits(
  words: Int32Array,
  base: number,
  direction: number,
  type: number,
  chunkFlags: number,
  tag: number,
): boolean {
  if (type === CHUNK_INIT) return tag === 0;
  if (type === CHUNK_ABORT || type === CHUNK_SHUTDOWN_COMPLETE) {
    const isReflected = (chunkFlags & CHUNK_FLAG_T) !== 0;
    return tag === words[base + SCTP_TAG + (isReflected ? 1 - direction : direction)];
  }
  if (type === CHUNK_COOKIE_ECHO) return tag === words[base + SCTP_TAG + direction];
  if (type === CHUNK_COOKIE_ACK) words[base + SCTP_FLAGS]! &= ~3;
  return true;
}

const HEARTBEAT_FITS = 0;
const HEARTBEAT_IGNORED = 1;
const HEARTBEAT_INVALID = 2;

/**
 * Heartbeats teach the tags of a path that was not there when the association was set up (multi-homing), and of one whose
 * ends have changed their tags: a heartbeat with a foreign tag passes, and if its answer has one too, that is taken over.
 */
function judgeHeartbeat(
  words: Int32Array,
  base: number,
  direction: number,
  type: number,
  tag: number,
  mustFit: boolean,
): number {
  const expected = words[base + SCTP_TAG + direction]!;
  const flags = words[base + SCTP_FLAGS]!;
  if (expected === 0) {
    words[base + SCTP_TAG + direction] = tag;
  } else if (tag === expected) {
    words[base + SCTP_FLAGS] = flags & ~FLAG_HEARTBEAT_FAILED;
  } else if (mustFit) {
    return HEARTBEAT_INVALID;
  } else if (type === CHUNK_HEARTBEAT) {
    const last = direction === DIRECTION_ORIGINAL ? 0 : FLAG_LAST_DIRECTION;
    words[base + SCTP_FLAGS] = (flags & ~FLAG_LAST_DIRECTION) | FLAG_HEARTBEAT_FAILED | last;
    return HEARTBEAT_IGNORED;
  } else {
    const lastDirection = (flags & FLAG_LAST_DIRECTION) === 0 ? 0 : 1;
    if ((flags & FLAG_HEARTBEAT_FAILED) === 0 || lastDirection === direction) return HEARTBEAT_INVALID;
    words[base + SCTP_FLAGS] = flags & ~FLAG_HEARTBEAT_FAILED;
    words[base + SCTP_TAG + direction] = tag;
    words[base + SCTP_TAG + 1 - direction] = 0;
  }
  return HEARTBEAT_FITS;
}

/** Notes the tag of an INIT or INIT ACK for the other direction; false if it contradicts what is known. */
function noteInitiateTag(
  words: Int32Array,
  base: number,
  direction: number,
  type: number,
  tag: number,
  isNew: boolean,
): boolean {
  const flags = words[base + SCTP_FLAGS]!;
  const mine = 1 << direction;
  const other = 1 << (1 - direction);
  if (type === CHUNK_INIT) {
    // An INIT with the tag that is known already is a late or a repeated one, and tells nothing.
    if (isNew || words[base + SCTP_TAG + 1 - direction] !== tag) {
      words[base + SCTP_FLAGS] = ((flags & 3) === 3 ? flags & ~other : flags) | mine;
    }
  } else {
    const known = words[base + SCTP_TAG + 1 - direction]!;
    if (((flags & other) === 0 && known !== 0 && known !== tag) || ((flags & 3) === 3 && known !== tag)) return false;
  }
  words[base + SCTP_TAG + 1 - direction] = tag;
  return true;
}

function setState(words: Int32Array, base: number, oldState: number, state: number): void {
  let status = (words[base + ENTRY_STATUS]! & ~(STATUS_STATE_MASK | STATUS_CLOSING)) | state;
  if (oldState !== state && state === SCTP_STATE_ESTABLISHED) status |= STATUS_ASSURED;
  if (((EARLY_DROP_STATES >>> state) & 1) !== 0) status |= STATUS_CLOSING;
  words[base + ENTRY_STATUS] = status;
}
