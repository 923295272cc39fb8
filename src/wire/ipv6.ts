/**
 * IPv6 headers and their extension headers (RFC 8200).
 *
 * The transport protocol stands at the end of a chain. The chain is walked as Linux does it when a rule asks for a
 * protocol (net/ipv6/exthdrs_core.c, ipv6_find_hdr): hop-by-hop, routing, destination options, fragment and
 * authentication headers are stepped over, everything else ends the chain, "no next header" (59) and the mobility header
 * (135) included. Example: fixed header says 0, hop-by-hop (8 bytes) says 44, fragment (8 bytes, offset 0, more to come)
 * says 60, destination options (16 bytes) say 6: TCP starts 40 + 8 + 8 + 16 = 72 bytes into the packet, and the part to
 * reassemble starts at 56. In a later fragment the chain ends at the fragment header: what follows is data.
 *
 * A payload length of 0 means: look for a jumbo payload option in the hop-by-hop header (RFC 2675), or, with any
 * protocol but 59, the length was left to the driver (BIG TCP, segmentation offload) and the frame's length stands in,
 * as in IPv4.
 *
 * Cost: every step takes at least 8 bytes, and at most EXTENSION_HEADERS_MAX steps are made; options are walked only
 * where a jumbo length is looked for, one byte or more a step, inside at most 2 048 bytes.
 */

import { shortHeaderStatus } from './ipv4.ts';
import {
  DECODE_MALFORMED,
  DECODE_OK,
  FLAG_EXTENSION_HEADERS,
  FLAG_FIRST_FRAGMENT,
  FLAG_FRAGMENT,
  FLAG_IP_LENGTH_EXCEEDS_FRAME,
  FLAG_IPV6,
  FLAG_L4_INVALID,
  FLAG_L4_TRUNCATED,
  FLAG_LENGTH_FROM_FRAME,
  FLAG_MORE_FRAGMENTS,
  FLAG_PADDING,
  FLAG_PROTOCOL_UNKNOWN,
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
  PROTOCOL_AH,
  PROTOCOL_DESTINATION_OPTIONS,
  PROTOCOL_FRAGMENT,
  PROTOCOL_HOP_BY_HOP,
  PROTOCOL_NO_NEXT_HEADER,
  PROTOCOL_ROUTING,
} from './record.ts';
import { decodeTransport, writeNoTransport } from './transport.ts';

const IPV6_HEADER_BYTES = 40;

/** Extension headers walked before a packet counts as invalid. Honest traffic has one to three; Linux sets no limit. */
const EXTENSION_HEADERS_MAX = 64;

const OPTION_PAD1 = 0;
const OPTION_JUMBO_PAYLOAD = 0xc2;

/**
 * Decodes the IPv6 packet at `offset` into the record and returns its DECODE_* status, which it also stores.
 *
 * Arguments and statuses as those of `decodeIpv4`.
 */
export function decodeIpv6(
  view: DataView,
  offset: number,
  captured: number,
  frameBytes: number,
  out: Int32Array,
  at: number,
): number {
  const isWhole = captured >= IPV6_HEADER_BYTES;
  if (!isWhole || view.getUint8(offset) >>> 4 !== 6) {
    const status = isWhole ? DECODE_MALFORMED : shortHeaderStatus(captured, frameBytes);
    out[at + PACKET_STATUS] = status;
    return status;
  }
  const nextHeader = view.getUint8(offset + 6);
  let flags = FLAG_IPV6;
  let payloadBytes = view.getUint16(offset + 4);
  if (payloadBytes === 0 && nextHeader !== PROTOCOL_NO_NEXT_HEADER && frameBytes > IPV6_HEADER_BYTES) {
    const jumboBytes = nextHeader === PROTOCOL_HOP_BY_HOP ? jumboPayloadBytes(view, offset, captured) : 0;
    payloadBytes = jumboBytes > 0 ? jumboBytes : frameBytes - IPV6_HEADER_BYTES;
    if (jumboBytes === 0) flags |= FLAG_LENGTH_FROM_FRAME;
  }
  const totalBytes = IPV6_HEADER_BYTES + payloadBytes;
  if (totalBytes > frameBytes) flags |= FLAG_IP_LENGTH_EXCEEDS_FRAME;
  else if (totalBytes < frameBytes) flags |= FLAG_PADDING;

  out[at + PACKET_STATUS] = DECODE_OK;
  for (let word = 0; word < 4; word++) {
    out[at + PACKET_SRC + word] = view.getInt32(offset + 8 + (word << 2));
    out[at + PACKET_DST + word] = view.getInt32(offset + 24 + (word << 2));
  }
  out[at + PACKET_IP_ID] = 0;
  out[at + PACKET_FRAGMENT_OFFSET_BYTES] = 0;
  out[at + PACKET_IP_OFFSET] = offset;
  out[at + PACKET_IP_TOTAL_BYTES] = totalBytes;
  walkExtensionHeaders(
    view,
    offset + IPV6_HEADER_BYTES,
    offset + Math.min(captured, totalBytes),
    offset + totalBytes,
    nextHeader,
    flags,
    out,
    at,
  );
  return DECODE_OK;
}

/**
 * Walks the extension headers from `position` on and decodes the transport behind them.
 *
 * Writes the transport words, and the fragment words and PACKET_IP_ID where there is a fragment header.
 *
 * @param capturedEnd  where the bytes in the view end
 * @param datagramEnd  where the datagram ends as declared; `capturedEnd` or more
 * @param nextHeader  protocol number of what stands at `position`
 */
function walkExtensionHeaders(
  view: DataView,
  position: number,
  capturedEnd: number,
  datagramEnd: number,
  nextHeader: number,
  flags: number,
  out: Int32Array,
  at: number,
): void {
  let protocol = nextHeader;
  for (let step = 0; isExtensionHeader(protocol); step++) {
    flags |= FLAG_EXTENSION_HEADERS;
    const isCut = capturedEnd - position < 8;
    const isPastEnd = step === EXTENSION_HEADERS_MAX || datagramEnd - position < 8;
    if (isCut || isPastEnd) {
      // A first fragment may be so small that its headers go on in the next one: evidence is missing, nothing is wrong.
      const isInvalid = isPastEnd && (flags & FLAG_FIRST_FRAGMENT) === 0;
      flags |= FLAG_PROTOCOL_UNKNOWN | (isInvalid ? FLAG_L4_INVALID : FLAG_L4_TRUNCATED);
      const captured = Math.max(0, capturedEnd - position);
      writeNoTransport(position, captured, Math.max(0, datagramEnd - position), protocol, flags, out, at);
      return;
    }
    const following = view.getUint8(position);
    if (protocol === PROTOCOL_FRAGMENT) {
      const offsetAndMore = view.getUint16(position + 2);
      const identification = view.getInt32(position + 4);
      position += 8;
      protocol = following;
      out[at + PACKET_IP_ID] = identification;
      // Bits 3-15 are the offset in units of 8 bytes, so masking them leaves bytes; bit 0 is "more fragments".
      if ((offsetAndMore & 0xfff9) === 0) continue;
      flags |= FLAG_FRAGMENT;
      if ((offsetAndMore & 1) !== 0) flags |= FLAG_MORE_FRAGMENTS;
      const fragmentOffsetBytes = offsetAndMore & 0xfff8;
      out[at + PACKET_FRAGMENT_OFFSET_BYTES] = fragmentOffsetBytes;
      out[at + PACKET_FRAGMENT_DATA_OFFSET] = position;
      out[at + PACKET_FRAGMENT_DATA_BYTES] = datagramEnd - position;
      out[at + PACKET_FRAGMENT_PROTOCOL] = following;
      if (fragmentOffsetBytes !== 0) {
        writeNoTransport(position, capturedEnd - position, datagramEnd - position, protocol, flags, out, at);
        return;
      }
      flags |= FLAG_FIRST_FRAGMENT;
    } else {
      const lengthField = view.getUint8(position + 1);
      position += protocol === PROTOCOL_AH ? (lengthField + 2) << 2 : (lengthField + 1) << 3;
      protocol = following;
    }
  }
  if (position > datagramEnd && (flags & FLAG_FIRST_FRAGMENT) === 0) {
    flags |= FLAG_L4_INVALID | FLAG_PROTOCOL_UNKNOWN;
    writeNoTransport(datagramEnd, 0, 0, protocol, flags, out, at);
    return;
  }
  if (position > capturedEnd) flags |= FLAG_L4_TRUNCATED;
  const captured = Math.max(0, capturedEnd - position);
  decodeTransport(view, position, captured, Math.max(0, datagramEnd - position), protocol, flags, out, at);
}

function isExtensionHeader(protocol: number): boolean {
  return (
    protocol === PROTOCOL_HOP_BY_HOP ||
    protocol === PROTOCOL_ROUTING ||
    protocol === PROTOCOL_FRAGMENT ||
    protocol === PROTOCOL_DESTINATION_OPTIONS ||
    protocol === PROTOCOL_AH
  );
}

/**
 * Length in a jumbo payload option of the hop-by-hop header behind the IPv6 header at `offset`, or 0 without one.
 *
 * Lengths that would fit the ordinary field are illegal there (RFC 2675, section 3) and count as absent, as do those
 * that no capture of ours can hold.
 */
function jumboPayloadBytes(view: DataView, offset: number, captured: number): number {
  const start = offset + IPV6_HEADER_BYTES;
  if (captured < IPV6_HEADER_BYTES + 8) return 0;
  const end = Math.min(start + ((view.getUint8(start + 1) + 1) << 3), offset + captured);
  let position = start + 2;
  while (position + 6 <= end) {
    const type = view.getUint8(position);
    if (type === OPTION_JUMBO_PAYLOAD) {
      const jumboBytes = view.getInt32(position + 2);
      return jumboBytes > 0xffff && jumboBytes < 0x7fff_0000 ? jumboBytes : 0;
    }
    position += type === OPTION_PAD1 ? 1 : 2 + view.getUint8(position + 1);
  }
  return 0;
}
