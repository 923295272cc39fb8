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
const ENTRY_STATUS = table.ENTRY_STATUS;
const ENTRY_EXPIRES = table.ENTRY_EXPIRES;
const STATUS_ASSURED = table.STATUS_ASSURED;
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
const SEGMENT_ACK_ORIGINAL = tcp.KIND_ACK;
const SEGMENT_ACK_REPLY = (1 << tcp.LAST_DIRECTION_SHIFT) | tcp.KIND_ACK;
const TIMEOUT_ESTABLISHED_MS = tcp.TIMEOUT_ESTABLISHED_MS;
const TIMEOUT_UNACKNOWLEDGED_MS = tcp.TIMEOUT_UNACKNOWLEDGED_MS;

/**
 * Takes a segment whose kind is ACK on an established, answered connection. False: not taken, nothing was changed.
 *
 * The caller has checked flags, state and STATUS_SEEN_REPLY.
 */
export function fastAck(
  ct: Conntrack,
  words: Int32Array,
  base: number,
  direction: number,
  records: Int32Array,
  at: number,
  timeMs: number,
): boolean {
  const sender = base + ENTRY_PROTOCOL + direction * WINDOW_WORDS;
  const receiver = base + ENTRY_PROTOCOL + (1 - direction) * WINDOW_WORDS;
  const senderFlags = words[sender + WINDOW_FLAGS]!;
  const receiverFlags = words[receiver + WINDOW_FLAGS]!;
  const headerBytes = records[at + PACKET_TRANSPORT_HEADER_BYTES]!;
  if ((receiverFlags & FLAG_SACK_PERMITTED) !== 0 && headerBytes > 20) return false;
  const seq = records[at + PACKET_TCP_SEQ]!;
  const ack = records[at + PACKET_TCP_ACK]!;
  const rawWindow = records[at + PACKET_TCP_WINDOW]!;
  const end = (seq + records[at + PACKET_TRANSPORT_BYTES]! - headerBytes) | 0;
  const senderEnd = words[sender + WINDOW_END]!;
  const senderMaxEnd = words[sender + WINDOW_MAX_END]!;
  const senderMaxWindow = words[sender + WINDOW_MAX_WINDOW]!;
  const receiverEnd = words[receiver + WINDOW_END]!;
  const receiverMaxEnd = words[receiver + WINDOW_MAX_END]!;
  // Both windows known and of ordinary size, the segment starts where the last one ended, and acknowledges what is there.
  if (senderMaxWindow <= 0 || words[receiver + WINDOW_MAX_WINDOW]! <= 0) return false;
  if (((senderFlags | receiverFlags) & FLAG_LIBERAL) !== 0 || rawWindow === 0) return false;
  const unacknowledged = (receiverEnd - ack) | 0;
  if (seq !== senderEnd || ((senderMaxEnd - end) | 0) < 0 || unacknowledged < 0 || unacknowledged > 65_535)
    return false;
  const last = words[base + LAST_SEGMENT]!;
  const segment = direction === 0 ? SEGMENT_ACK_ORIGINAL : SEGMENT_ACK_REPLY;
  // Counting repetitions is left to tcp.ts.
  if (words[base + LAST_SEQ] === seq && words[base + LAST_ACK] === ack && words[base + LAST_END] === end) return false;

  const window = (rawWindow << (senderFlags >>> WINDOW_SCALE_SHIFT)) | 0;
  if (senderMaxWindow < window) words[sender + WINDOW_MAX_WINDOW] = window;
  let newSenderFlags = senderFlags;
  if (end !== seq) {
    words[sender + WINDOW_END] = end;
    newSenderFlags |= FLAG_UNACKNOWLEDGED;
  }
  if ((senderFlags & FLAG_MAX_ACK_SET) === 0 || ((words[sender + WINDOW_MAX_ACK]! - ack) | 0) < 0) {
    words[sender + WINDOW_MAX_ACK] = ack;
    newSenderFlags |= FLAG_MAX_ACK_SET;
  }
  words[sender + WINDOW_FLAGS] = newSenderFlags;
  if (((receiverMaxEnd - ack - window) | 0) <= 0) words[receiver + WINDOW_MAX_END] = (ack + window) | 0;
  let newReceiverFlags = receiverFlags;
  if (unacknowledged === 0) {
    newReceiverFlags &= ~FLAG_UNACKNOWLEDGED;
    words[receiver + WINDOW_FLAGS] = newReceiverFlags;
  }
  words[base + LAST_SEGMENT] = (last & LAST_FLAGS_MASK) | segment;
  words[base + LAST_SEQ] = seq;
  words[base + LAST_ACK] = ack;
  words[base + LAST_END] = end;
  words[base + LAST_OPTIONS] = (words[base + LAST_OPTIONS]! & 0xffff) | (rawWindow << 16);
  words[base + ENTRY_STATUS]! |= STATUS_ASSURED;
  const isSettled = ((newSenderFlags | newReceiverFlags) & FLAG_UNACKNOWLEDGED) === 0;
  ct.times[(base >> 1) + ENTRY_EXPIRES] = timeMs + (isSettled ? TIMEOUT_ESTABLISHED_MS : TIMEOUT_UNACKNOWLEDGED_MS);
  return true;
}
