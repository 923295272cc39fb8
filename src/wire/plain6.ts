/**
 * The short way for plain frames of IPv6: Ethernet, no extension header, TCP or UDP, whole headers. See plain.ts for IPv4.
 *
 * They are fewer in most captures, so they are taken one by one from what the scans put aside, and judged by match/plain6.ts.
 * A frame is plain only if `decodePacket` would read the same from it; a test holds that.
 */
import { PLAIN_FORM } from './plain.ts';

/* Words of `Plain6`: addresses most significant word first, key as in the columns of plain.ts. */
export const PLAIN6_SRC = 0;
export const PLAIN6_DST = 4;
export const PLAIN6_KEY = 8;
export const PLAIN6_WORDS = 9;

const ETHERTYPE_IPV6 = 0x86dd;
const ETHERNET_BYTES = 14;
const IPV6_HEADER_BYTES = 40;
const TCP = 6;
const UDP = 17;
const TCP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const BYTES_MAX = PLAIN_FORM.bytesMax;

/**
 * Fills `out` from the frame at `offset` of `view` and returns true if it is a plain one.
 *
 * @param capturedBytes, wireBytes  of the frame in the capture and on the wire
 */
export function readPlain6(
  out: Int32Array,
  view: DataView,
  offset: number,
  capturedBytes: number,
  wireBytes: number,
): boolean {
  if (capturedBytes < ETHERNET_BYTES + IPV6_HEADER_BYTES + UDP_HEADER_BYTES || wireBytes > BYTES_MAX) return false;
  if (view.getUint16(offset + 12) !== ETHERTYPE_IPV6) return false;
  const ip = offset + ETHERNET_BYTES;
  const protocol = view.getUint8(ip + 6);
  if (view.getUint8(ip) >>> 4 !== 6 || (protocol !== TCP && protocol !== UDP)) return false;
  const payloadBytes = view.getUint16(ip + 4);
  const frameBytes = ETHERNET_BYTES + IPV6_HEADER_BYTES + payloadBytes;
  const leastBytes = protocol === TCP ? TCP_HEADER_BYTES : UDP_HEADER_BYTES;
  if (payloadBytes < leastBytes || frameBytes > Math.max(wireBytes, capturedBytes)) return false;
  if (capturedBytes < ETHERNET_BYTES + IPV6_HEADER_BYTES + leastBytes) return false;
  for (let word = 0; word < 8; word++) out[word] = view.getInt32(ip + 8 + 4 * word);
  out[PLAIN6_KEY] = ((protocol === UDP ? 1 : 0) << 16) | view.getUint16(ip + IPV6_HEADER_BYTES + 2);
  return true;
}
