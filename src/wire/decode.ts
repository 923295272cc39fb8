/**
 * The decoder: bytes of one frame to one packet record (`record.ts` draws it).
 *
 * Each header checks its length once against what the capture kept and then reads without fear; nothing is read past
 * `offset + capturedBytes`, nothing is allocated, nothing throws, and every frame ends in exactly one DECODE_* status. A
 * frame is undecoded (`truncated`) only if the capture cut off an address; with readable addresses the status is
 * DECODE_OK, and FLAG_L4_TRUNCATED, FLAG_L4_INVALID and FLAG_L4_PORTS say what is known of the rest.
 *
 * IPv4 in Ethernet, nearly all there is, takes the short way through `decodeEthernet`; every other link type branches
 * off at the start.
 */

import { decodeEthernet } from './ethernet.ts';
import { decodeLink, LINKTYPE_ETHERNET } from './link.ts';
import { PACKET_WORDS } from './record.ts';

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
  return linkType === LINKTYPE_ETHERNET
    ? decodeEthernet(view, offset, capturedBytes, frameBytes, out, outOffset)
    : decodeLink(view, offset, capturedBytes, frameBytes, linkType, out, outOffset);
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
  for (let index = 0, at = 0; index < count; index++, at += PACKET_WORDS) {
    decodePacket(view, offsets[index]!, capturedBytes[index]!, wireBytes[index]!, linkTypes[index]!, out, at);
  }
}
