/**
 * The packet that an ICMP error quotes.
 *
 * An error message carries, 8 bytes into it, the IP header of the packet that caused it and at least the first 8 bytes
 * behind that (RFC 792; RFC 4443 sends as much as fits). 8 bytes hold the ports and, of TCP, the sequence number; the
 * rest of the header is usually missing, which here is no fault: FLAG_L4_TRUNCATED is set and FLAG_L4_PORTS says that
 * the ports are known. Which types are errors follows Linux connection tracking (nf_conntrack_proto_icmp.c,
 * nf_conntrack_icmp_error; nf_conntrack_proto_icmpv6.c, nf_conntrack_icmpv6_error).
 */

import { decodeIpv4 } from './ipv4.ts';
import { decodeIpv6 } from './ipv6.ts';
import {
  DECODE_MALFORMED,
  DECODE_TRUNCATED,
  FLAG_FRAGMENT,
  FLAG_IPV6,
  FLAG_L4_PORTS,
  NO_VLAN,
  PACKET_FLAGS,
  PACKET_ICMP_TYPE,
  PACKET_PROTOCOL,
  PACKET_STATUS,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_CAPTURED_BYTES,
  PACKET_TRANSPORT_OFFSET,
  PACKET_VLAN_ID,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
} from './record.ts';

const ICMP_HEADER_BYTES = 8;
/** Stands for "the frame went on": the quote is a part of a packet, so its end is never the packet's end. */
const UNBOUNDED_BYTES = 0x7fff_ffff;

/** True if the record, whose status is DECODE_OK, is an ICMP or ICMPv6 error, which quotes another packet. */
export function isIcmpError(record: Int32Array, at: number): boolean {
  const flags = record[at + PACKET_FLAGS]!;
  if ((flags & FLAG_L4_PORTS) === 0) return false;
  const protocol = record[at + PACKET_PROTOCOL]!;
  const type = record[at + PACKET_ICMP_TYPE]!;
  if (protocol === PROTOCOL_ICMP && (flags & FLAG_IPV6) === 0) {
    return type === 3 || type === 4 || type === 5 || type === 11 || type === 12;
  }
  return protocol === PROTOCOL_ICMPV6 && (flags & FLAG_IPV6) !== 0 && type < 128;
}

/**
 * Decodes the packet quoted by the ICMP error at `record[at]` into `out[outAt]` and returns its DECODE_* status.
 *
 * DECODE_TRUNCATED if the capture, or the fragment that carries the error, ends before both quoted addresses;
 * DECODE_MALFORMED if the error itself does, or quotes something that is no IP header of its family.
 *
 * @param view  the view that `record` was decoded from
 */
export function decodeQuoted(view: DataView, record: Int32Array, at: number, out: Int32Array, outAt: number): number {
  const flags = record[at + PACKET_FLAGS]!;
  const captured = Math.max(0, record[at + PACKET_TRANSPORT_CAPTURED_BYTES]! - ICMP_HEADER_BYTES);
  const declared = Math.max(0, record[at + PACKET_TRANSPORT_BYTES]! - ICMP_HEADER_BYTES);
  const offset = record[at + PACKET_TRANSPORT_OFFSET]! + ICMP_HEADER_BYTES;
  out[outAt + PACKET_VLAN_ID] = NO_VLAN;
  const status =
    (flags & FLAG_IPV6) !== 0
      ? decodeIpv6(view, offset, captured, UNBOUNDED_BYTES, out, outAt)
      : decodeIpv4(view, offset, captured, UNBOUNDED_BYTES, out, outAt);
  if (status === DECODE_TRUNCATED && captured === declared && (flags & FLAG_FRAGMENT) === 0) {
    out[outAt + PACKET_STATUS] = DECODE_MALFORMED;
    return DECODE_MALFORMED;
  }
  return status;
}
