/**
 * The short way for the segments that most packets are: a plain ACK, with or without data, in the window of an established
 * connection. It does what tcp.ts would do with such a segment, or nothing at all.
 *
 * Whatever is not plainly in order (a SACK block that matters, a liberal or half-known window, a segment beyond an edge) is
 * left to tcp.ts, so that the rules stand there and only there; a test runs random sequences through both ways. Offsets are
 * local copies: Node 20 reads an imported constant anew at every use. Gained 50 ns of 126 a
 * packet (7 of 10 flows TCP).
 */
import * as record from '../wire/record.ts';
import type { Conntrack } from './table.ts';
import * as table from './table.ts';
import * as tcp from './tcp-layout.ts';

const PACKET_TCP_SEQ = record.PACKET_TCP_SEQ;
const PACKET_TCP_ACK = record.PACKET_TCP_ACK;
const PACKET_TCP_WINDOW = record.PACKET_TCP_WINDOW;
const PACKET_TRANSPORT_HEADER_BYTES = record.PACKET_TRANSPORT_HEADER_BYTES;
const PACKET_TRANSPORT_BYTES = record.PACKET_TRANSPORT_BYTES;
const PACKET_TRANSPORT_OFFSET = record.PACKET_TRANSPORT_OFFSET;
const PACKET_TRANSPORT_CAPTURED_BYTES = record.PACKET_TRANSPORT_CAPTURED_BYTES;
const ENTRY_STATUS = table.ENTRY_STATUS;
const STATUS_ASSURED = table.STATUS_ASSURED;
const STATUS_STATE_MASK = table.STATUS_STATE_MASK;
const STATUS_SEEN_REPLY = table.STATUS_SEEN_REPLY;
const STATUS_CLOSING = table.STATUS_CLOSING;
const ENTRY_PROTOCOL = table.ENTRY_PROTOCOL;
const WINDOW_WORDS = tcp.WINDOW_WORDS;
const WINDOW_END = tcp.WINDOW_END;
const WINDOW_MAX_END = tcp.WINDOW_MAX_END;
const WINDOW_MAX_WINDOW = tcp.WINDOW_MAX_WINDOW;
const WINDOW_MAX_ACK = tcp.WINDOW_MAX_ACK;
const WINDOW_FLAGS = tcp.WINDOW_FLAGS;
const WINDOW_SCALE_SHIFT = tcp.WINDOW_SCALE_SHIFT;
const FLAG_LIBERAL = tcp.FLAG_LIBERAL;
const FLAG_SACK_PERMITTED = tcp.FLAG_SACK_PERMITTED;
const FLAG_UNACKNOWLEDGED = tcp.FLAG_UNACKNOWLEDGED;
const FLAG_MAX_ACK_SET = tcp.FLAG_MAX_ACK_SET;
const LAST_SEGMENT = tcp.LAST_SEGMENT;
const LAST_SEQ = tcp.LAST_SEQ;
const LAST_ACK = tcp.LAST_ACK;
const LAST_END = tcp.LAST_END;
const LAST_OPTIONS = tcp.LAST_OPTIONS;
const LAST_FLAGS_MASK = tcp.LAST_FLAGS_MASK;
const LAST_KIND_MASK = tcp.LAST_KIND_MASK;
const LAST_DIRECTION_SHIFT = tcp.LAST_DIRECTION_SHIFT;
const KIND_SYN = tcp.KIND_SYN;
const TCP_STATE_SYN_SENT = tcp.TCP_STATE_SYN_SENT;
/** Two bytes of padding, then the option: 12 bytes of options that most segments have. */
export const TIMESTAMPS_ALONE = 0x0101080a;
const SEGMENT_ACK_ORIGINAL = tcp.KIND_ACK;
const SEGMENT_ACK_REPLY = (1 << tcp.LAST_DIRECTION_SHIFT) | tcp.KIND_ACK;
const TIMEOUT_ESTABLISHED_MS = tcp.TIMEOUT_ESTABLISHED_MS;
const TIMEOUT_UNACKNOWLEDGED_MS = tcp.TIMEOUT_UNACKNOWLEDGED_MS;

/**
 * Whether a segment whose kind is ACK is plainly in order on the established, answered connection at word `base`; `takeAck` then takes it.
 *
 * @param mayHaveSack  the header has options other than timestamps: what they say is left to tcp.ts where the receiver asked for it
 * @param end  sequence number behind the data
 */
export function ackIsInOrder(
  words: Int32Array,
  base: number,
  direction: number,
  mayHaveSack: boolean,
  seq: number,
  ack: number,
  end: number,
  rawWindow: number,
): boolean {
  const sender = base + ENTRY_PROTOCOL + direction * WINDOW_WORDS;
  const receiver = base + ENTRY_PROTOCOL + (1 - direction) * WINDOW_WORDS;
  const receiverFlags = words[receiver + WINDOW_FLAGS]!;
  if ((receiverFlags & FLAG_SACK_PERMITTED) !== 0 && mayHaveSack) return false;
  // Both windows known and of ordinary size, the segment starts where the last one ended or sends again what lies in the window, and
  // acknowledges what is there.
  const receiverMaxWindow = words[receiver + WINDOW_MAX_WINDOW]!;
  if (words[sender + WINDOW_MAX_WINDOW]! <= 0 || receiverMaxWindow <= 0) return false;
  if (((words[sender + WINDOW_FLAGS]! | receiverFlags) & FLAG_LIBERAL) !== 0 || rawWindow === 0) return false;
  const unacknowledged = (words[receiver + WINDOW_END]! - ack) | 0;
  const senderEnd = words[sender + WINDOW_END]!;
  const senderMaxEnd = words[sender + WINDOW_MAX_END]!;
  const behind = (senderEnd - seq) | 0;
  if (behind < 0 || behind > 65_535 || ((senderEnd - end) | 0) > receiverMaxWindow) return false;
  if (((senderMaxEnd - end) | 0) < 0 || ((senderMaxEnd - seq) | 0) < 0) return false;
  if (unacknowledged < 0 || unacknowledged > 65_535) return false;
  // Counting repetitions, by the same side, is left to tcp.ts.
  const isOther = ((words[base + LAST_SEGMENT]! >>> LAST_DIRECTION_SHIFT) & 1) !== direction;
  return isOther || words[base + LAST_SEQ] !== seq || words[base + LAST_ACK] !== ack || words[base + LAST_END] !== end;
}

/** Moves the connection by a segment that `ackIsInOrder` has found so. */
export function takeAck(
  words: Int32Array,
  times: Float64Array,
  base: number,
  direction: number,
  seq: number,
  ack: number,
  end: number,
  rawWindow: number,
  timeMs: number,
): void {
  const sender = base + ENTRY_PROTOCOL + direction * WINDOW_WORDS;
  const receiver = base + ENTRY_PROTOCOL + (1 - direction) * WINDOW_WORDS;
  const senderFlags = words[sender + WINDOW_FLAGS]!;
  const receiverFlags = words[receiver + WINDOW_FLAGS]!;
  const segment = direction === 0 ? SEGMENT_ACK_ORIGINAL : SEGMENT_ACK_REPLY;
  const window = (rawWindow << (senderFlags >>> WINDOW_SCALE_SHIFT)) | 0;
  if (words[sender + WINDOW_MAX_WINDOW]! < window) words[sender + WINDOW_MAX_WINDOW] = window;
  let newSenderFlags = senderFlags;
  if (((words[sender + WINDOW_END]! - end) | 0) < 0) {
    words[sender + WINDOW_END] = end;
    newSenderFlags |= FLAG_UNACKNOWLEDGED;
  }
  if ((senderFlags & FLAG_MAX_ACK_SET) === 0 || ((words[sender + WINDOW_MAX_ACK]! - ack) | 0) < 0) {
    words[sender + WINDOW_MAX_ACK] = ack;
    newSenderFlags |= FLAG_MAX_ACK_SET;
  }
  words[sender + WINDOW_FLAGS] = newSenderFlags;
  if (((words[receiver + WINDOW_MAX_END]! - ack - window) | 0) <= 0)
    words[receiver + WINDOW_MAX_END] = (ack + window) | 0;
  let newReceiverFlags = receiverFlags;
  if (words[receiver + WINDOW_END] === ack) {
    newReceiverFlags &= ~FLAG_UNACKNOWLEDGED;
    words[receiver + WINDOW_FLAGS] = newReceiverFlags;
  }
  words[base + LAST_SEGMENT] = (words[base + LAST_SEGMENT]! & LAST_FLAGS_MASK) | segment;
  words[base + LAST_SEQ] = seq;
  words[base + LAST_ACK] = ack;
  words[base + LAST_END] = end;
  words[base + LAST_OPTIONS] = (words[base + LAST_OPTIONS]! & 0xffff) | (rawWindow << 16);
  words[base + ENTRY_STATUS]! |= STATUS_ASSURED;
  const isSettled = ((newSenderFlags | newReceiverFlags) & FLAG_UNACKNOWLEDGED) === 0;
  times[base >> 5] = timeMs + (isSettled ? TIMEOUT_ESTABLISHED_MS : TIMEOUT_UNACKNOWLEDGED_MS);
}

/** Both in one, for a packet record. The caller has checked flags, state and STATUS_SEEN_REPLY. False: nothing was changed. */
export function fastAck(
  ct: Conntrack,
  base: number,
  direction: number,
  records: Int32Array,
  at: number,
  view: DataView,
  timeMs: number,
): boolean {
  const headerBytes = records[at + PACKET_TRANSPORT_HEADER_BYTES]!;
  const options = records[at + PACKET_TRANSPORT_OFFSET]! + 20;
  const hasOptions = headerBytes > 20 && records[at + PACKET_TRANSPORT_CAPTURED_BYTES]! >= headerBytes;
  const mayHaveSack = hasOptions && !(headerBytes === 32 && view.getInt32(options) === TIMESTAMPS_ALONE);
  const seq = records[at + PACKET_TCP_SEQ]!;
  const ack = records[at + PACKET_TCP_ACK]!;
  const window = records[at + PACKET_TCP_WINDOW]!;
  const end = (seq + records[at + PACKET_TRANSPORT_BYTES]! - headerBytes) | 0;
  if (!ackIsInOrder(ct.words, base, direction, mayHaveSack, seq, ack, end, window)) return false;
  takeAck(ct.words, ct.times, base, direction, seq, ack, end, window, timeMs);
  return true;
}

/**
 * Whether the SYN in a packet record, which has just been taken by the entry at word `base`, would change nothing if it came again: each
 * condition stands for a store that tcp.ts would then make.
 */
export function synIsSettled(words: Int32Array, base: number, end: number, window: number): boolean {
  const sender = base + ENTRY_PROTOCOL;
  const receiver = base + ENTRY_PROTOCOL + WINDOW_WORDS;
  const status = words[base + ENTRY_STATUS]!;
  if ((status & (STATUS_STATE_MASK | STATUS_SEEN_REPLY | STATUS_CLOSING)) !== TCP_STATE_SYN_SENT) return false;
  if ((words[base + LAST_SEGMENT]! & LAST_KIND_MASK) !== KIND_SYN) return false;
  // The window of a SYN is never scaled. Nothing is acknowledged, so the receiver's end stands for the acknowledgement.
  const receiverEnd = words[receiver + WINDOW_END]!;
  const maxEnd = words[receiver + WINDOW_MAX_END]!;
  const granted = (receiverEnd + window + (window === 0 ? 1 : 0)) | 0;
  return (
    words[sender + WINDOW_END] === end &&
    words[sender + WINDOW_MAX_END] === end &&
    words[sender + WINDOW_MAX_WINDOW]! > 0 &&
    words[sender + WINDOW_MAX_WINDOW]! >= window &&
    words[receiver + WINDOW_MAX_WINDOW] === 0 &&
    (words[receiver + WINDOW_FLAGS]! & FLAG_UNACKNOWLEDGED) === 0 &&
    (maxEnd === granted || ((maxEnd - 1 - receiverEnd - window) | 0) >= 0)
  );
}
