/**
 * The windows of a TCP connection: rules I to IV of tcp.ts, and the options that set their scale.
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
import { DIRECTION_REPLY, ENTRY_PROTOCOL } from './table.ts';
import {
  FLAG_LIBERAL,
  FLAG_MAX_ACK_SET,
  FLAG_SACK_PERMITTED,
  FLAG_UNACKNOWLEDGED,
  FLAG_WINDOW_SCALE,
  KIND_ACK,
  LAST_ACK,
  LAST_CHALLENGE,
  LAST_DIRECTION_SHIFT,
  LAST_END,
  LAST_OPTIONS,
  LAST_RETRANSMISSIONS_SHIFT,
  LAST_SEGMENT,
  LAST_SEQ,
  TCP_STATE_SYN_RECV,
  TCP_STATE_SYN_SENT,
  WINDOW_END,
  WINDOW_FLAGS,
  WINDOW_FLAGS_MASK,
  WINDOW_MAX_ACK,
  WINDOW_MAX_END,
  WINDOW_MAX_WINDOW,
  WINDOW_SCALE_MAX,
  WINDOW_SCALE_SHIFT,
  WINDOW_WORDS,
} from './tcp-layout.ts';

/** Smallest window that rule IV grants. */
const ACK_WINDOW_BYTES = 66_000;

const IN_WINDOW_ACCEPT = 0;
export const IN_WINDOW_IGNORE = 1;
export const IN_WINDOW_INVALID = 2;

/** The window rules I to IV of the page above; updates both windows if they hold. Returns IN_WINDOW_*. */
export function inWindow(
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

/** Starts both windows over from the ignored SYN of the other direction. */
export function resynchronise(words: Int32Array, base: number, direction: number): void {
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

/** Sequence number behind the segment: data, SYN and FIN count. */
export function segmentEnd(records: Int32Array, at: number): number {
  const tcpFlags = records[at + PACKET_TCP_FLAGS]!;
  const dataBytes = records[at + PACKET_TRANSPORT_BYTES]! - records[at + PACKET_TRANSPORT_HEADER_BYTES]!;
  return (records[at + PACKET_TCP_SEQ]! + dataBytes + ((tcpFlags >>> 1) & 1) + (tcpFlags & 1)) | 0;
}

/** `first` lies before `second` on the circle of sequence numbers. */
export function isBefore(first: number, second: number): boolean {
  return ((first - second) | 0) < 0;
}

/** Takes over scale and SACK of a SYN or SYN-ACK. A header without options leaves what there was, as in the kernel. */
export function readOptions(
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
export function tcpOptions(records: Int32Array, at: number, view: DataView): number {
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
