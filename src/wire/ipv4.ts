/**
 * IPv4 headers (RFC 791).
 *
 * Three lengths can disagree: the total length the header declares, the bytes the frame had on the wire, and the bytes
 * the capture kept. The declared one rules, the frame may be longer (Ethernet pads to 60 bytes) and the capture may be
 * shorter (snap length). A declared length of 0 comes from segmentation offload: the sender's kernel handed a packet of
 * up to several hundred kilobytes to the driver (IPv4 BIG TCP) or to an old capture driver, and the capture saw it before
 * the lengths were filled in; the length of the frame stands in for it, as tcpdump and tshark do it.
 */

import {
  DECODE_MALFORMED,
  DECODE_OK,
  DECODE_TRUNCATED,
  FLAG_FIRST_FRAGMENT,
  FLAG_FRAGMENT,
  FLAG_IP_LENGTH_EXCEEDS_FRAME,
  FLAG_IP_OPTIONS,
  FLAG_L4_TRUNCATED,
  FLAG_LENGTH_FROM_FRAME,
  FLAG_MORE_FRAGMENTS,
  FLAG_PADDING,
  PACKET_DST,
  PACKET_FRAGMENT_DATA_BYTES,
  PACKET_FRAGMENT_DATA_OFFSET,
  PACKET_FRAGMENT_OFFSET_BYTES,
  PACKET_FRAGMENT_PROTOCOL,
  PACKET_IP_ID,
  PACKET_IP_OFFSET,
  PACKET_IP_TOTAL_BYTES,
  PACKET_SRC,
  PACKET_STATUS,
} from './record.ts';
import { decodeTransport, writeNoTransport } from './transport.ts';

const IPV4_HEADER_BYTES = 20;

/**
 * Decodes the IPv4 packet at `offset` into the record and returns its DECODE_* status, which it also stores.
 *
 * DECODE_TRUNCATED if the capture cut the fixed header, DECODE_MALFORMED for another version, a header length below 20
 * or a total length below the header's; otherwise DECODE_OK, whatever the transport is like. The VLAN words are left to
 * the caller.
 *
 * @param captured  bytes in the view from `offset` on
 * @param frameBytes  bytes of the frame from `offset` on, on the wire; at least `captured`
 */
export function decodeIpv4(
  view: DataView,
  offset: number,
  captured: number,
  frameBytes: number,
  out: Int32Array,
  at: number,
): number {
  if (captured < IPV4_HEADER_BYTES) return fail(shortHeaderStatus(captured, frameBytes), out, at);
  const firstWord = view.getInt32(offset);
  const headerBytes = (firstWord >>> 22) & 0x3c;
  if (firstWord >>> 28 !== 4 || headerBytes < IPV4_HEADER_BYTES) return fail(DECODE_MALFORMED, out, at);

  let flags = 0;
  let totalBytes = firstWord & 0xffff;
  if (totalBytes === 0) {
    totalBytes = frameBytes;
    flags |= FLAG_LENGTH_FROM_FRAME;
  }
  if (totalBytes < headerBytes) return fail(DECODE_MALFORMED, out, at);
  if (totalBytes > frameBytes) flags |= FLAG_IP_LENGTH_EXCEEDS_FRAME;
  else if (totalBytes < frameBytes) flags |= FLAG_PADDING;
  if (headerBytes > IPV4_HEADER_BYTES) flags |= FLAG_IP_OPTIONS;

  const secondWord = view.getInt32(offset + 4);
  const protocol = view.getUint8(offset + 9);
  out[at + PACKET_STATUS] = DECODE_OK;
  out[at + PACKET_SRC] = view.getInt32(offset + 12);
  out[at + PACKET_SRC + 1] = 0;
  out[at + PACKET_SRC + 2] = 0;
  out[at + PACKET_SRC + 3] = 0;
  out[at + PACKET_DST] = view.getInt32(offset + 16);
  out[at + PACKET_DST + 1] = 0;
  out[at + PACKET_DST + 2] = 0;
  out[at + PACKET_DST + 3] = 0;
  out[at + PACKET_IP_ID] = secondWord >>> 16;
  out[at + PACKET_IP_OFFSET] = offset;
  out[at + PACKET_IP_TOTAL_BYTES] = totalBytes;

  const transportOffset = offset + headerBytes;
  const transportBytes = totalBytes - headerBytes;
  const inView = captured - headerBytes;
  const transportCaptured = inView <= 0 ? 0 : Math.min(inView, transportBytes);

  // Bit 13 is "more fragments", bits 0-12 the offset in units of 8 bytes.
  if ((secondWord & 0x3fff) === 0) {
    out[at + PACKET_FRAGMENT_OFFSET_BYTES] = 0;
  } else {
    const fragmentOffsetBytes = (secondWord & 0x1fff) << 3;
    flags |= FLAG_FRAGMENT;
    if ((secondWord & 0x2000) !== 0) flags |= FLAG_MORE_FRAGMENTS;
    out[at + PACKET_FRAGMENT_OFFSET_BYTES] = fragmentOffsetBytes;
    out[at + PACKET_FRAGMENT_DATA_OFFSET] = transportOffset;
    out[at + PACKET_FRAGMENT_DATA_BYTES] = transportBytes;
    out[at + PACKET_FRAGMENT_PROTOCOL] = protocol;
    if (fragmentOffsetBytes !== 0) {
      writeNoTransport(transportOffset, transportCaptured, transportBytes, protocol, flags, out, at);
      return DECODE_OK;
    }
    flags |= FLAG_FIRST_FRAGMENT;
  }
  // Options cut by the capture: the transport header is beyond its end, whatever its protocol.
  if (inView < 0) flags |= FLAG_L4_TRUNCATED;
  decodeTransport(view, transportOffset, transportCaptured, transportBytes, protocol, flags, out, at);
  return DECODE_OK;
}

/** Status of a fixed header that is not all there: cut by the capture, or too short already on the wire. */
export function shortHeaderStatus(captured: number, frameBytes: number): number {
  return captured < frameBytes ? DECODE_TRUNCATED : DECODE_MALFORMED;
}

/** Stores a status that is not DECODE_OK and returns it. */
function fail(status: number, out: Int32Array, at: number): number {
  out[at + PACKET_STATUS] = status;
  return status;
}
