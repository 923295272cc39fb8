/**
 * The decoder: bytes of one frame to one packet record (`record.ts` draws it).
 *
 * Each header checks its length once against what the capture kept and then reads without fear; nothing is read past
 * `offset + capturedBytes`, nothing is allocated, nothing throws, and every frame ends in exactly one DECODE_* status. A
 * frame is undecoded (`truncated`) only if the capture cut off an address; with readable addresses the status is
 * DECODE_OK, and FLAG_L4_TRUNCATED, FLAG_L4_INVALID and FLAG_L4_PORTS say what is known of the rest.
 *
 * Nearly every packet of a cluster is the same: untagged Ethernet, IPv4 without options, not a fragment, TCP or UDP,
 * with its transport header captured. One test of eight bytes and two comparisons recognise it, and `decodePlain` reads
 * its fields from fixed places. Everything else goes header by header. A test holds that both say the same. (Measured on
 * 2 million packets, two busy cores: 31 ns a packet with the short way, 61 without; splitting it so that V8 inlines it
 * gained nothing.)
 */

import { decodeEthernet } from './ethernet.ts';
import { decodeLink, LINKTYPE_ETHERNET } from './link.ts';
import {
  DECODE_OK,
  FLAG_L4_INVALID,
  FLAG_L4_PORTS,
  FLAG_PADDING,
  NO_VLAN,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_FRAGMENT_OFFSET_BYTES,
  PACKET_IP_ID,
  PACKET_IP_OFFSET,
  PACKET_IP_TOTAL_BYTES,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_STATUS,
  PACKET_TCP_ACK,
  PACKET_TCP_FLAGS,
  PACKET_TCP_SEQ,
  PACKET_TCP_WINDOW,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_CAPTURED_BYTES,
  PACKET_TRANSPORT_HEADER_BYTES,
  PACKET_TRANSPORT_OFFSET,
  PACKET_VLAN_ID,
  PACKET_WORDS,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from './record.ts';

// Node 20 re-reads an imported constant at every use and folds one of the own module.
const STATUS = PACKET_STATUS;
const FLAGS = PACKET_FLAGS;
const PROTOCOL = PACKET_PROTOCOL;
const SRC_PORT = PACKET_SRC_PORT;
const DST_PORT = PACKET_DST_PORT;
const SRC = PACKET_SRC;
const DST = PACKET_DST;
const TCP_FLAGS = PACKET_TCP_FLAGS;
const TCP_SEQ = PACKET_TCP_SEQ;
const TCP_ACK = PACKET_TCP_ACK;
const TCP_WINDOW = PACKET_TCP_WINDOW;
const TRANSPORT_HEADER_BYTES = PACKET_TRANSPORT_HEADER_BYTES;
const IP_ID = PACKET_IP_ID;
const FRAGMENT_OFFSET_BYTES = PACKET_FRAGMENT_OFFSET_BYTES;
const IP_OFFSET = PACKET_IP_OFFSET;
const TRANSPORT_OFFSET = PACKET_TRANSPORT_OFFSET;
const TRANSPORT_BYTES = PACKET_TRANSPORT_BYTES;
const TRANSPORT_CAPTURED_BYTES = PACKET_TRANSPORT_CAPTURED_BYTES;
const IP_TOTAL_BYTES = PACKET_IP_TOTAL_BYTES;
const VLAN_ID = PACKET_VLAN_ID;
const RECORD_WORDS = PACKET_WORDS;
const OK = DECODE_OK;
const PORTS = FLAG_L4_PORTS;
const PADDING = FLAG_PADDING;
const INVALID = FLAG_L4_INVALID;
const UNTAGGED = NO_VLAN;
const TCP = PROTOCOL_TCP;
const UDP = PROTOCOL_UDP;
const ETHERNET = LINKTYPE_ETHERNET;

/** Ethernet, IPv4 and UDP headers; with TCP 12 bytes more. */
const PLAIN_BYTES_MIN = 42;
/** Ethernet type IPv4, version 4, header of 5 words; the last byte (type of service) may be anything. */
const PLAIN_HEAD = 0x0800_4500;
const PLAIN_HEAD_MASK = 0xffff_ff00 | 0;
const FRAGMENT_BITS = 0x3fff;

/**
 * Decodes the frame at `offset` of `view` into the record at `out[outOffset]` and returns its DECODE_* status.
 *
 * @param offset, capturedBytes  the bytes that the capture kept; the caller has checked that they lie in the view
 * @param wireBytes  length of the frame on the wire; less than `capturedBytes` counts as `capturedBytes`
 * @param linkType  LINKTYPE_ number
 * @param outOffset  index of the record's first word; PACKET_WORDS words must fit
 */
export function decodePacket(
  view: DataView,
  offset: number,
  capturedBytes: number,
  wireBytes: number,
  linkType: number,
  out: Int32Array,
  outOffset: number,
): number {
  // Lengths beyond 31 bits appear only in damaged headers; cutting them there keeps all sums in small integers.
  const frameBytes = wireBytes < capturedBytes ? capturedBytes : wireBytes > 0x7fff_ffff ? 0x7fff_ffff : wireBytes | 0;
  if (linkType !== ETHERNET) return decodeLink(view, offset, capturedBytes, frameBytes, linkType, out, outOffset);
  if (
    capturedBytes >= PLAIN_BYTES_MIN &&
    (view.getInt32(offset + 12) & PLAIN_HEAD_MASK) === PLAIN_HEAD &&
    decodePlain(view, offset, capturedBytes, frameBytes, out, outOffset)
  ) {
    return OK;
  }
  return decodeEthernet(view, offset, capturedBytes, frameBytes, out, outOffset);
}

/**
 * Decodes `count` frames into consecutive records of `out`, the first one at `out[0]`.
 *
 * The columns are those of a record batch (`packets/source.ts`).
 */
export function decodeBatch(
  view: DataView,
  offsets: Int32Array,
  capturedBytes: Int32Array,
  wireBytes: Float64Array,
  linkTypes: Int32Array,
  count: number,
  out: Int32Array,
): void {
  for (let index = 0, at = 0; index < count; index++, at += RECORD_WORDS) {
    decodePacket(view, offsets[index]!, capturedBytes[index]!, wireBytes[index]!, linkTypes[index]!, out, at);
  }
}

/**
 * Decodes a frame that starts with PLAIN_HEAD behind its addresses; false, with nothing written, if it turns out to be a
 * fragment, another protocol, cut, or wrong in its lengths.
 */
function decodePlain(
  view: DataView,
  offset: number,
  captured: number,
  frameBytes: number,
  out: Int32Array,
  at: number,
): boolean {
  const totalBytes = view.getUint16(offset + 16);
  const idAndFragment = view.getInt32(offset + 18);
  const protocol = view.getUint8(offset + 23);
  const frameRest = frameBytes - 14;
  const inView = Math.min(totalBytes, captured - 14);
  const isTcp = protocol === TCP;
  if ((idAndFragment & FRAGMENT_BITS) !== 0 || totalBytes > frameRest) return false;
  if (isTcp ? inView < 40 : protocol !== UDP || inView < 28) return false;

  const transportBytes = totalBytes - 20;
  const ports = view.getInt32(offset + 34);
  let flags = totalBytes < frameRest ? PORTS | PADDING : PORTS;
  out[at + STATUS] = OK;
  out[at + PROTOCOL] = protocol;
  out[at + SRC_PORT] = ports >>> 16;
  out[at + DST_PORT] = ports & 0xffff;
  out[at + SRC] = view.getInt32(offset + 26);
  out[at + SRC + 1] = 0;
  out[at + SRC + 2] = 0;
  out[at + SRC + 3] = 0;
  out[at + DST] = view.getInt32(offset + 30);
  out[at + DST + 1] = 0;
  out[at + DST + 2] = 0;
  out[at + DST + 3] = 0;
  if (isTcp) {
    // Data offset in words (4 bits), reserved (4), flags (8), window (16).
    const offsetFlagsWindow = view.getInt32(offset + 46);
    const headerBytes = (offsetFlagsWindow >>> 28) << 2;
    out[at + TCP_FLAGS] = (offsetFlagsWindow >>> 16) & 0xff;
    out[at + TCP_SEQ] = view.getInt32(offset + 38);
    out[at + TCP_ACK] = view.getInt32(offset + 42);
    out[at + TCP_WINDOW] = offsetFlagsWindow & 0xffff;
    out[at + TRANSPORT_HEADER_BYTES] = headerBytes;
    if (headerBytes < 20 || headerBytes > transportBytes) flags |= INVALID;
  } else {
    const udpBytes = view.getUint16(offset + 38);
    out[at + TCP_FLAGS] = 0;
    out[at + TRANSPORT_HEADER_BYTES] = 8;
    if (udpBytes < 8 || udpBytes > transportBytes) flags |= INVALID;
  }
  out[at + FLAGS] = flags;
  out[at + IP_ID] = idAndFragment >>> 16;
  out[at + FRAGMENT_OFFSET_BYTES] = 0;
  out[at + IP_OFFSET] = offset + 14;
  out[at + TRANSPORT_OFFSET] = offset + 34;
  out[at + TRANSPORT_BYTES] = transportBytes;
  out[at + TRANSPORT_CAPTURED_BYTES] = inView - 20;
  out[at + IP_TOTAL_BYTES] = totalBytes;
  out[at + VLAN_ID] = UNTAGGED;
  return true;
}
