/**
 * What an entry of the connection table remembers of a TCP connection, from ENTRY_PROTOCOL on: tcp.ts explains it.
 *
 *   words 17-21  WINDOW_* of the original direction
 *         22-26  WINDOW_* of the reply direction
 *         27-31  LAST_*: the last segments of either direction
 */
import { ENTRY_PROTOCOL } from './table.ts';

/** States: the low bits of ENTRY_STATUS. */
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

/** Kinds of segments: the rows of the table. */
export const KIND_SYN = 0;
export const KIND_SYN_ACK = 1;
export const KIND_FIN = 2;
export const KIND_ACK = 3;
export const KIND_RST = 4;
export const KIND_NONE = 5;

/**
 * Words of one direction; the reply direction follows the original one.
 *
 *   0 end   1 maxEnd   2 maxWindow   3 maxAck   4 window scale << 8 | WINDOW_* flags
 */
export const WINDOW_WORDS = 5;
export const WINDOW_END = 0;
export const WINDOW_MAX_END = 1;
export const WINDOW_MAX_WINDOW = 2;
export const WINDOW_MAX_ACK = 3;
export const WINDOW_FLAGS = 4;
export const FLAG_WINDOW_SCALE = 1;
export const FLAG_SACK_PERMITTED = 2;
/** This direction sent the first FIN. */
export const FLAG_CLOSE_INIT = 4;
export const FLAG_LIBERAL = 8;
export const FLAG_UNACKNOWLEDGED = 16;
export const FLAG_MAX_ACK_SET = 32;
export const WINDOW_FLAGS_MASK = 0xff;
export const WINDOW_SCALE_SHIFT = 8;
export const WINDOW_SCALE_MAX = 14;

/**
 * What the last segments were, behind the two directions.
 *
 *   LAST_SEGMENT: kind (bits 0-3), direction (bit 4), LAST_SIMULTANEOUS_OPEN, LAST_CHALLENGE, retransmissions (bits 24-31)
 *   LAST_OPTIONS: scale and flags of the last ignored SYN, in the form of WINDOW_FLAGS
 */
export const LAST_SEGMENT = ENTRY_PROTOCOL + 2 * WINDOW_WORDS;
export const LAST_SEQ = LAST_SEGMENT + 1;
export const LAST_ACK = LAST_SEGMENT + 2;
/** The window of the last segment is kept above bit 16 of LAST_OPTIONS. */
export const LAST_OPTIONS = LAST_SEGMENT + 3;
export const LAST_END = LAST_SEGMENT + 4;
export const LAST_KIND_MASK = 0x1f;
export const LAST_DIRECTION_SHIFT = 4;
export const LAST_SIMULTANEOUS_OPEN = 1 << 5;
export const LAST_CHALLENGE = 1 << 6;
export const LAST_FLAGS_MASK = LAST_SIMULTANEOUS_OPEN | LAST_CHALLENGE;
export const LAST_RETRANSMISSIONS_SHIFT = 24;

/** Data that nobody acknowledged, segments repeated three times, a closed window: no state lasts longer than this. */
export const TIMEOUT_UNACKNOWLEDGED_MS = 300e3;
export const RETRANSMISSIONS_MAX = 3;
/** An established connection that everything was acknowledged in (`tcp_timeout_established`). */
export const TIMEOUT_ESTABLISHED_MS = 432e6;
