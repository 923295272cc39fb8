/**
 * Ethernet frames (IEEE 802.3) with 802.1Q and 802.1ad tags.
 *
 *   0        6        12      14
 *   | dst    | src    | type  | payload ...                 no tag
 *   | dst    | src    | 8100  | TCI | type | payload ...    one tag; 88a8, 9100 or 9200 before it: several
 *
 * A type of 1 500 or less is the length of an LLC frame, which carries no IP that a Linux node would take.
 */

import { decodeIpv4, shortHeaderStatus } from './ipv4.ts';
import { decodeIpv6 } from './ipv6.ts';
import {
  DECODE_ARP,
  DECODE_MALFORMED,
  DECODE_OTHER_ETHERTYPE,
  NO_VLAN,
  PACKET_OUTER_VLAN_ID,
  PACKET_STATUS,
  PACKET_VLAN_ID,
} from './record.ts';

const ETHERNET_HEADER_BYTES = 14;

export const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_TRANSPARENT_BRIDGING = 0x6558;

/** Tags stripped from a frame before it counts as malformed. Linux takes two; tunnels of tunnels may show a few more. */
const VLAN_TAGS_MAX = 16;

/** Decodes the Ethernet frame at `offset` into the record and returns its DECODE_* status, which it also stores. */
export function decodeEthernet(
  view: DataView,
  offset: number,
  captured: number,
  frameBytes: number,
  out: Int32Array,
  at: number,
): number {
  if (captured < ETHERNET_HEADER_BYTES) {
    const status = shortHeaderStatus(captured, frameBytes);
    out[at + PACKET_STATUS] = status;
    return status;
  }
  return decodeEtherType(
    view,
    offset + ETHERNET_HEADER_BYTES,
    captured - ETHERNET_HEADER_BYTES,
    frameBytes - ETHERNET_HEADER_BYTES,
    view.getUint16(offset + 12),
    out,
    at,
  );
}

/**
 * Decodes what stands behind an Ethernet type, VLAN tags included; also for cooked captures and GRE, which carry the
 * same types. Stores the VLAN words and the status, and returns the status.
 */
export function decodeEtherType(
  view: DataView,
  offset: number,
  captured: number,
  frameBytes: number,
  etherType: number,
  out: Int32Array,
  at: number,
): number {
  out[at + PACKET_VLAN_ID] = NO_VLAN;
  if (etherType === ETHERTYPE_IPV4) return decodeIpv4(view, offset, captured, frameBytes, out, at);
  if (etherType === ETHERTYPE_IPV6) return decodeIpv6(view, offset, captured, frameBytes, out, at);

  out[at + PACKET_OUTER_VLAN_ID] = NO_VLAN;
  let type = etherType;
  for (let tags = 0; isVlanTag(type); tags++) {
    if (captured < 4 || tags === VLAN_TAGS_MAX) {
      const status = captured < 4 ? shortHeaderStatus(captured, frameBytes) : DECODE_MALFORMED;
      out[at + PACKET_STATUS] = status;
      return status;
    }
    if (tags === 1) out[at + PACKET_OUTER_VLAN_ID] = out[at + PACKET_VLAN_ID]!;
    out[at + PACKET_VLAN_ID] = view.getUint16(offset) & 0x0fff;
    type = view.getUint16(offset + 2);
    offset += 4;
    captured -= 4;
    frameBytes -= 4;
  }
  if (type === ETHERTYPE_IPV4) return decodeIpv4(view, offset, captured, frameBytes, out, at);
  if (type === ETHERTYPE_IPV6) return decodeIpv6(view, offset, captured, frameBytes, out, at);
  const status = type === ETHERTYPE_ARP ? DECODE_ARP : DECODE_OTHER_ETHERTYPE;
  out[at + PACKET_STATUS] = status;
  return status;
}

function isVlanTag(etherType: number): boolean {
  return etherType === 0x8100 || etherType === 0x88a8 || etherType === 0x9100 || etherType === 0x9200;
}
