/**
 * Tunnels: which packets carry another one, and decoding that one.
 *
 * Each call unwraps one layer; who wants more calls again on the inner record and chooses how deep (TUNNEL_DEPTH_MAX is
 * our advice). The formats: VXLAN RFC 7348 (8 bytes, then Ethernet), Geneve RFC 8926 (8 bytes and options, then an
 * Ethernet type's payload), IP in IP RFC 2003 and 4213, GRE RFC 2784 and 2890:
 *
 *   VXLAN   0 flags (08 = id is valid), 4 network id (24 bits)
 *   Geneve  0 version (2 bits) and length of options in words (6 bits), 2 Ethernet type, 4 network id, 8 options
 *   GRE     0 flags (8000 checksum, 4000 routing, 2000 key, 1000 sequence) and version, 2 Ethernet type, then 4 bytes
 *           for each of checksum, key and sequence that is there
 */

import { decodeEthernet, decodeEtherType, ETHERTYPE_TRANSPARENT_BRIDGING } from './ethernet.ts';
import { decodeIpv4 } from './ipv4.ts';
import { decodeIpv6 } from './ipv6.ts';
import {
  DECODE_MALFORMED,
  DECODE_OTHER_ETHERTYPE,
  DECODE_TRUNCATED,
  FLAG_FRAGMENT,
  FLAG_L4_INVALID,
  FLAG_L4_PORTS,
  NO_VLAN,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_FRAGMENT_OFFSET_BYTES,
  PACKET_PROTOCOL,
  PACKET_STATUS,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_CAPTURED_BYTES,
  PACKET_TRANSPORT_OFFSET,
  PACKET_VLAN_ID,
  PROTOCOL_GRE,
  PROTOCOL_IPV4,
  PROTOCOL_IPV6,
  PROTOCOL_UDP,
} from './record.ts';

export const TUNNEL_NONE = 0;
export const TUNNEL_VXLAN = 1;
export const TUNNEL_GENEVE = 2;
export const TUNNEL_IPIP = 3;
export const TUNNEL_GRE = 4;

/** Layers worth unwrapping; Calico uses one, a cloud's own overlay makes two. */
export const TUNNEL_DEPTH_MAX = 4;

/** Default of Felix's VXLANPort, and IANA's number. */
const VXLAN_PORT = 4789;
const GENEVE_PORT = 6081;

const UDP_HEADER_BYTES = 8;
const VXLAN_HEADER_BYTES = 8;
const GENEVE_HEADER_BYTES = 8;
const GRE_HEADER_BYTES = 4;
const GRE_CHECKSUM = 0x8000;
const GRE_ROUTING = 0x4000;
const GRE_KEY = 0x2000;
const GRE_SEQUENCE = 0x1000;
const GRE_VERSION = 0x0007;

/**
 * TUNNEL_* of the record, whose status is DECODE_OK: what its protocol and destination port say it carries.
 *
 * Later fragments and packets with an invalid transport header are TUNNEL_NONE.
 */
export function tunnelKind(record: Int32Array, at: number, vxlanPort: number = VXLAN_PORT): number {
  if (record[at + PACKET_FRAGMENT_OFFSET_BYTES] !== 0) return TUNNEL_NONE;
  const protocol = record[at + PACKET_PROTOCOL]!;
  if (protocol === PROTOCOL_UDP) {
    const flags = record[at + PACKET_FLAGS]!;
    if ((flags & FLAG_L4_PORTS) === 0 || (flags & FLAG_L4_INVALID) !== 0) return TUNNEL_NONE;
    const dstPort = record[at + PACKET_DST_PORT]!;
    return dstPort === vxlanPort ? TUNNEL_VXLAN : dstPort === GENEVE_PORT ? TUNNEL_GENEVE : TUNNEL_NONE;
  }
  if (protocol === PROTOCOL_IPV4 || protocol === PROTOCOL_IPV6) return TUNNEL_IPIP;
  return protocol === PROTOCOL_GRE ? TUNNEL_GRE : TUNNEL_NONE;
}

/**
 * Decodes the packet inside the tunnel packet at `record[at]` into `out[outAt]` and returns its DECODE_* status.
 *
 * DECODE_OTHER_ETHERTYPE also for GRE of another version or with source routes, and for other payloads of Geneve.
 * The offsets of the new record point into the same view.
 *
 * @param kind  what `tunnelKind` said; not TUNNEL_NONE
 * @param view  the view that `record` was decoded from
 */
export function decodeInner(
  kind: number,
  view: DataView,
  record: Int32Array,
  at: number,
  out: Int32Array,
  outAt: number,
): number {
  const offset = record[at + PACKET_TRANSPORT_OFFSET]!;
  const captured = record[at + PACKET_TRANSPORT_CAPTURED_BYTES]!;
  const declared = record[at + PACKET_TRANSPORT_BYTES]!;
  // The datagram goes on in later fragments, so the end of this one is not the end of what it carries.
  const frameBytes = (record[at + PACKET_FLAGS]! & FLAG_FRAGMENT) !== 0 ? 0x7fff_ffff : declared;
  out[outAt + PACKET_VLAN_ID] = NO_VLAN;
  switch (kind) {
    case TUNNEL_VXLAN:
      return decodeVxlan(view, offset, captured, frameBytes, out, outAt);
    case TUNNEL_GENEVE:
      return decodeGeneve(view, offset, captured, frameBytes, out, outAt);
    case TUNNEL_GRE:
      return decodeGre(view, offset, captured, frameBytes, out, outAt);
    default:
      return record[at + PACKET_PROTOCOL] === PROTOCOL_IPV4
        ? decodeIpv4(view, offset, captured, frameBytes, out, outAt)
        : decodeIpv6(view, offset, captured, frameBytes, out, outAt);
  }
}

function decodeVxlan(
  view: DataView,
  offset: number,
  captured: number,
  frameBytes: number,
  out: Int32Array,
  at: number,
): number {
  const skipped = UDP_HEADER_BYTES + VXLAN_HEADER_BYTES;
  if (captured < skipped) return fail(shortStatus(captured, frameBytes), out, at);
  if ((view.getUint8(offset + UDP_HEADER_BYTES) & 0x08) === 0) return fail(DECODE_MALFORMED, out, at);
  return decodeEthernet(view, offset + skipped, captured - skipped, frameBytes - skipped, out, at);
}

function decodeGeneve(
  view: DataView,
  offset: number,
  captured: number,
  frameBytes: number,
  out: Int32Array,
  at: number,
): number {
  if (captured < UDP_HEADER_BYTES + GENEVE_HEADER_BYTES) return fail(shortStatus(captured, frameBytes), out, at);
  const versionAndLength = view.getUint8(offset + UDP_HEADER_BYTES);
  if (versionAndLength >>> 6 !== 0) return fail(DECODE_MALFORMED, out, at);
  const skipped = UDP_HEADER_BYTES + GENEVE_HEADER_BYTES + ((versionAndLength & 0x3f) << 2);
  if (captured < skipped) return fail(shortStatus(captured, frameBytes), out, at);
  const etherType = view.getUint16(offset + UDP_HEADER_BYTES + 2);
  return decodePayload(view, offset + skipped, captured - skipped, frameBytes - skipped, etherType, out, at);
}

function decodeGre(
  view: DataView,
  offset: number,
  captured: number,
  frameBytes: number,
  out: Int32Array,
  at: number,
): number {
  if (captured < GRE_HEADER_BYTES) return fail(shortStatus(captured, frameBytes), out, at);
  const greFlags = view.getUint16(offset);
  if ((greFlags & (GRE_ROUTING | GRE_VERSION)) !== 0) return fail(DECODE_OTHER_ETHERTYPE, out, at);
  let skipped = GRE_HEADER_BYTES;
  if ((greFlags & GRE_CHECKSUM) !== 0) skipped += 4;
  if ((greFlags & GRE_KEY) !== 0) skipped += 4;
  if ((greFlags & GRE_SEQUENCE) !== 0) skipped += 4;
  if (captured < skipped) return fail(shortStatus(captured, frameBytes), out, at);
  const etherType = view.getUint16(offset + 2);
  return decodePayload(view, offset + skipped, captured - skipped, frameBytes - skipped, etherType, out, at);
}

/** What an Ethernet type in a tunnel header names: a bridged Ethernet frame, or a packet. */
function decodePayload(
  view: DataView,
  offset: number,
  captured: number,
  frameBytes: number,
  etherType: number,
  out: Int32Array,
  at: number,
): number {
  return etherType === ETHERTYPE_TRANSPARENT_BRIDGING
    ? decodeEthernet(view, offset, captured, frameBytes, out, at)
    : decodeEtherType(view, offset, captured, frameBytes, etherType, out, at);
}

function shortStatus(captured: number, frameBytes: number): number {
  return captured < frameBytes ? DECODE_TRUNCATED : DECODE_MALFORMED;
}

function fail(status: number, out: Int32Array, at: number): number {
  out[at + PACKET_STATUS] = status;
  return status;
}
