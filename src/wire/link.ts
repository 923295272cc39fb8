/**
 * Link types other than Ethernet (numbers and formats: the LINKTYPE_ registry of the tcpdump group).
 *
 * RAW and its two older numbers, IPV4 and IPV6 start with the IP header. NULL and LOOP start with the address family of
 * the machine that captured, NULL in that machine's byte order: 2 is IPv4 everywhere, IPv6 is 10 on Linux, 24 on NetBSD
 * and OpenBSD, 28 on FreeBSD, 30 on Darwin. The "cooked" Linux headers end in an Ethernet type:
 *
 *   SLL  (16 bytes)   0 packet type, 2 ARPHRD, 4 address length, 6 address (8), 14 Ethernet type
 *   SLL2 (20 bytes)   0 Ethernet type, 4 interface index, 8 ARPHRD, 10 packet type, 11 address length, 12 address (8)
 */

import { decodeEtherType, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.ts';
import { shortHeaderStatus } from './ipv4.ts';
import { DECODE_MALFORMED, DECODE_OTHER_ETHERTYPE, DECODE_UNSUPPORTED_LINK_TYPE, PACKET_STATUS } from './record.ts';

export const LINKTYPE_NULL = 0;
export const LINKTYPE_ETHERNET = 1;
/** What some systems wrote for RAW before 101 was assigned: their own DLT_RAW. */
export const LINKTYPE_DLT_RAW = 12;
export const LINKTYPE_DLT_RAW_OPENBSD = 14;
export const LINKTYPE_RAW = 101;
export const LINKTYPE_LOOP = 108;
export const LINKTYPE_LINUX_SLL = 113;
export const LINKTYPE_IPV4 = 228;
export const LINKTYPE_IPV6 = 229;
export const LINKTYPE_LINUX_SLL2 = 276;

const NULL_HEADER_BYTES = 4;
const SLL_HEADER_BYTES = 16;
const SLL2_HEADER_BYTES = 20;
const SLL_TYPE_OUTGOING = 4;

/** True for the link types that the decoder knows. */
export function isSupportedLinkType(linkType: number): boolean {
  return linkType === LINKTYPE_ETHERNET || linkHeaderBytes(linkType) >= 0;
}

/** Decodes a frame of any link type but Ethernet into the record; stores and returns its DECODE_* status. */
export function decodeLink(
  view: DataView,
  offset: number,
  captured: number,
  frameBytes: number,
  linkType: number,
  out: Int32Array,
  at: number,
): number {
  const headerBytes = linkHeaderBytes(linkType);
  if (headerBytes < 0) return fail(DECODE_UNSUPPORTED_LINK_TYPE, out, at);
  // Where the IP version chooses the decoder, its byte has to be there.
  const neededBytes = headerBytes === 0 ? 1 : headerBytes;
  if (captured < neededBytes) return fail(shortHeaderStatus(captured, frameBytes), out, at);
  const etherType = linkEtherType(view, offset, linkType);
  if (etherType < 0) return fail(headerBytes === 0 ? DECODE_MALFORMED : DECODE_OTHER_ETHERTYPE, out, at);
  return decodeEtherType(
    view,
    offset + headerBytes,
    captured - headerBytes,
    frameBytes - headerBytes,
    etherType,
    out,
    at,
  );
}

/** `frameDirection`: not told, to the host that captured, from it. */
const FRAME_EITHER_WAY = 0;
const FRAME_INBOUND = 1;
const FRAME_OUTBOUND = 2;

/** Which way the frame went, by the packet type of the "cooked" Linux headers (4 = sent by this host); FRAME_*. */
export function frameDirection(view: DataView, offset: number, captured: number, linkType: number): number {
  if (linkType === LINKTYPE_LINUX_SLL && captured >= SLL_HEADER_BYTES) {
    return view.getUint16(offset) === SLL_TYPE_OUTGOING ? FRAME_OUTBOUND : FRAME_INBOUND;
  }
  if (linkType === LINKTYPE_LINUX_SLL2 && captured >= SLL2_HEADER_BYTES) {
    return view.getUint8(offset + 10) === SLL_TYPE_OUTGOING ? FRAME_OUTBOUND : FRAME_INBOUND;
  }
  return FRAME_EITHER_WAY;
}

/** Bytes before the network header, or -1 for a link type that is not supported. */
function linkHeaderBytes(linkType: number): number {
  switch (linkType) {
    case LINKTYPE_RAW:
    case LINKTYPE_DLT_RAW:
    case LINKTYPE_DLT_RAW_OPENBSD:
    case LINKTYPE_IPV4:
    case LINKTYPE_IPV6:
      return 0;
    case LINKTYPE_NULL:
    case LINKTYPE_LOOP:
      return NULL_HEADER_BYTES;
    case LINKTYPE_LINUX_SLL:
      return SLL_HEADER_BYTES;
    case LINKTYPE_LINUX_SLL2:
      return SLL2_HEADER_BYTES;
    default:
      return -1;
  }
}

/** Ethernet type of the payload, or -1 if it is no IP. The link header has been checked to be there. */
function linkEtherType(view: DataView, offset: number, linkType: number): number {
  switch (linkType) {
    case LINKTYPE_IPV4:
      return ETHERTYPE_IPV4;
    case LINKTYPE_IPV6:
      return ETHERTYPE_IPV6;
    case LINKTYPE_NULL:
    case LINKTYPE_LOOP:
      return familyEtherType(view.getUint32(offset));
    case LINKTYPE_LINUX_SLL:
      return view.getUint16(offset + 14);
    case LINKTYPE_LINUX_SLL2:
      return view.getUint16(offset);
    default: {
      const version = view.getUint8(offset) >>> 4;
      return version === 4 ? ETHERTYPE_IPV4 : version === 6 ? ETHERTYPE_IPV6 : -1;
    }
  }
}

/** Families are small, so a number above 16 bits was written in the other byte order. */
function familyEtherType(bigEndianFamily: number): number {
  const isSwapped = bigEndianFamily > 0xffff;
  const family = isSwapped ? (bigEndianFamily >>> 24) | ((bigEndianFamily >>> 8) & 0xff00) : bigEndianFamily;
  if (family === 2) return ETHERTYPE_IPV4;
  return family === 10 || family === 24 || family === 28 || family === 30 ? ETHERTYPE_IPV6 : -1;
}

function fail(status: number, out: Int32Array, at: number): number {
  out[at + PACKET_STATUS] = status;
  return status;
}
