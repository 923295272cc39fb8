/**
 * Transport headers: ports and what connection tracking needs.
 *
 * Two lengths meet here. `transportBytes` is what the IP header declares; if a header does not fit into it, the packet
 * is wrong (FLAG_L4_INVALID, except in a first fragment, which may be tiny). `captured` is what the capture kept; if the
 * header fits into the first but not the second, we lack evidence (FLAG_L4_TRUNCATED). Ports need 4 bytes, and an ICMP
 * error quotes only 8, so whatever can be read is read.
 *
 * The checks that make FLAG_L4_INVALID are those of Linux connection tracking that need no checksum: TCP data offset
 * below 20 or past the end; UDP length below 8 or past the end (net/netfilter/nf_conntrack_proto_tcp.c, tcp_error;
 * nf_conntrack_proto_udp.c, udp_error, udplite_error). Checksums are not checked: offloading leaves them unfinished in
 * honest captures.
 */

import {
  FLAG_FIRST_FRAGMENT,
  FLAG_L4_INVALID,
  FLAG_L4_PORTS,
  FLAG_L4_TRUNCATED,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_ICMP_ID,
  PACKET_PROTOCOL,
  PACKET_SRC_PORT,
  PACKET_TCP_ACK,
  PACKET_TCP_FLAGS,
  PACKET_TCP_SEQ,
  PACKET_TCP_WINDOW,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_CAPTURED_BYTES,
  PACKET_TRANSPORT_HEADER_BYTES,
  PACKET_TRANSPORT_OFFSET,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  PROTOCOL_UDP_LITE,
} from './record.ts';

const TCP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const ICMP_HEADER_BYTES = 8;
const SCTP_HEADER_BYTES = 12;

/**
 * Reads the transport header at `offset` into the record: ports or ICMP type and code, TCP fields, their lengths.
 *
 * Writes words 1-4, 13-17, 21-23 and 27 of the record, as far as its protocol has them; what it finds is added to
 * `flags`. Reads nothing past `offset + captured`.
 *
 * @param captured  bytes in the view from `offset` on that belong to the datagram
 * @param transportBytes  transport header and data as the IP header declares them; `captured` or more
 * @param flags  FLAG_* found so far; FLAG_FIRST_FRAGMENT excuses a header that does not fit
 */
export function decodeTransport(
  view: DataView,
  offset: number,
  captured: number,
  transportBytes: number,
  protocol: number,
  flags: number,
  out: Int32Array,
  at: number,
): void {
  out[at + PACKET_PROTOCOL] = protocol;
  out[at + PACKET_TRANSPORT_OFFSET] = offset;
  out[at + PACKET_TRANSPORT_BYTES] = transportBytes;
  out[at + PACKET_TRANSPORT_CAPTURED_BYTES] = captured;
  if (protocol === PROTOCOL_TCP && captured >= TCP_HEADER_BYTES) {
    const ports = view.getInt32(offset);
    const dataOffsetBytes = (view.getUint8(offset + 12) >>> 4) << 2;
    out[at + PACKET_SRC_PORT] = ports >>> 16;
    out[at + PACKET_DST_PORT] = ports & 0xffff;
    out[at + PACKET_TCP_FLAGS] = view.getUint8(offset + 13);
    out[at + PACKET_TCP_SEQ] = view.getInt32(offset + 4);
    out[at + PACKET_TCP_ACK] = view.getInt32(offset + 8);
    out[at + PACKET_TCP_WINDOW] = view.getUint16(offset + 14);
    out[at + PACKET_TRANSPORT_HEADER_BYTES] = dataOffsetBytes;
    let found = flags | FLAG_L4_PORTS;
    if (dataOffsetBytes < TCP_HEADER_BYTES) found |= FLAG_L4_INVALID;
    else if (dataOffsetBytes > transportBytes && (flags & FLAG_FIRST_FRAGMENT) === 0) found |= FLAG_L4_INVALID;
    out[at + PACKET_FLAGS] = found;
    return;
  }
  out[at + PACKET_TCP_FLAGS] = 0;
  if (protocol === PROTOCOL_UDP && captured >= UDP_HEADER_BYTES) {
    const ports = view.getInt32(offset);
    const udpBytes = view.getUint16(offset + 4);
    out[at + PACKET_SRC_PORT] = ports >>> 16;
    out[at + PACKET_DST_PORT] = ports & 0xffff;
    out[at + PACKET_TRANSPORT_HEADER_BYTES] = UDP_HEADER_BYTES;
    out[at + PACKET_FLAGS] =
      flags | FLAG_L4_PORTS | (udpLengthFits(udpBytes, transportBytes, flags) ? 0 : FLAG_L4_INVALID);
    return;
  }
  out[at + PACKET_FLAGS] =
    flags | decodeOtherTransport(view, offset, captured, transportBytes, protocol, flags, out, at);
}

/**
 * Writes the transport words of a packet whose transport header is elsewhere or unreadable: a later fragment, or
 * extension headers cut by the capture.
 */
export function writeNoTransport(
  offset: number,
  captured: number,
  transportBytes: number,
  protocol: number,
  flags: number,
  out: Int32Array,
  at: number,
): void {
  out[at + PACKET_FLAGS] = flags;
  out[at + PACKET_PROTOCOL] = protocol;
  out[at + PACKET_SRC_PORT] = 0;
  out[at + PACKET_DST_PORT] = 0;
  out[at + PACKET_TCP_FLAGS] = 0;
  out[at + PACKET_TCP_SEQ] = 0;
  out[at + PACKET_TCP_ACK] = 0;
  out[at + PACKET_TCP_WINDOW] = 0;
  out[at + PACKET_TRANSPORT_HEADER_BYTES] = 0;
  out[at + PACKET_TRANSPORT_OFFSET] = offset;
  out[at + PACKET_TRANSPORT_BYTES] = transportBytes;
  out[at + PACKET_TRANSPORT_CAPTURED_BYTES] = captured;
  out[at + PACKET_ICMP_ID] = 0;
}

/** A UDP length of 0 stands for "longer than 65 535" (RFC 2675), and segmentation offload leaves it 0 as well. */
function udpLengthFits(udpBytes: number, transportBytes: number, flags: number): boolean {
  if ((flags & FLAG_FIRST_FRAGMENT) !== 0) return udpBytes >= UDP_HEADER_BYTES;
  if (udpBytes === 0) return transportBytes > 0xffff;
  return udpBytes >= UDP_HEADER_BYTES && udpBytes <= transportBytes;
}

/** Everything but a whole TCP or UDP header: ICMP, SCTP, UDP-Lite, cut headers, protocols known by number only. */
function decodeOtherTransport(
  view: DataView,
  offset: number,
  captured: number,
  transportBytes: number,
  protocol: number,
  flags: number,
  out: Int32Array,
  at: number,
): number {
  out[at + PACKET_SRC_PORT] = 0;
  out[at + PACKET_DST_PORT] = 0;
  const headerBytes = fixedHeaderBytes(protocol);
  out[at + PACKET_TRANSPORT_HEADER_BYTES] = headerBytes;
  if (headerBytes === 0) return 0;

  let found = 0;
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    if (captured >= 2) {
      out[at + PACKET_SRC_PORT] = view.getUint8(offset);
      out[at + PACKET_DST_PORT] = view.getUint8(offset + 1);
      found |= FLAG_L4_PORTS;
    }
    out[at + PACKET_ICMP_ID] = captured >= 6 ? view.getUint16(offset + 4) : 0;
  } else {
    if (captured >= 4) {
      out[at + PACKET_SRC_PORT] = view.getUint16(offset);
      out[at + PACKET_DST_PORT] = view.getUint16(offset + 2);
      found |= FLAG_L4_PORTS;
    }
    if (protocol === PROTOCOL_TCP) {
      out[at + PACKET_TCP_SEQ] = captured >= 8 ? view.getInt32(offset + 4) : 0;
      out[at + PACKET_TCP_ACK] = captured >= 12 ? view.getInt32(offset + 8) : 0;
      out[at + PACKET_TCP_FLAGS] = captured >= 14 ? view.getUint8(offset + 13) : 0;
      out[at + PACKET_TCP_WINDOW] = captured >= 16 ? view.getUint16(offset + 14) : 0;
    }
    // The checksum coverage of UDP-Lite stands where UDP has its length: 0 means all, 1-7 are illegal (RFC 3828).
    if (protocol === PROTOCOL_UDP_LITE && captured >= 6) {
      const coverage = view.getUint16(offset + 4);
      const isTooLong = coverage > transportBytes && (flags & FLAG_FIRST_FRAGMENT) === 0;
      if ((coverage > 0 && coverage < UDP_HEADER_BYTES) || isTooLong) found |= FLAG_L4_INVALID;
    }
  }
  if (captured < headerBytes) found |= cutHeaderFlags(headerBytes, transportBytes, flags);
  return found;
}

/** A header that is not all there: the datagram is too short for it, or the capture (or a tiny fragment) cut it. */
function cutHeaderFlags(headerBytes: number, transportBytes: number, flags: number): number {
  const isFirstFragment = (flags & FLAG_FIRST_FRAGMENT) !== 0;
  return transportBytes < headerBytes && !isFirstFragment ? FLAG_L4_INVALID : FLAG_L4_TRUNCATED;
}

function fixedHeaderBytes(protocol: number): number {
  switch (protocol) {
    case PROTOCOL_TCP:
      return TCP_HEADER_BYTES;
    case PROTOCOL_UDP:
    case PROTOCOL_UDP_LITE:
      return UDP_HEADER_BYTES;
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
      return ICMP_HEADER_BYTES;
    case PROTOCOL_SCTP:
      return SCTP_HEADER_BYTES;
    default:
      return 0;
  }
}
