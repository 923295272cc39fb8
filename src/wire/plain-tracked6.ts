/**
 * Plain frames of IPv6 among those of plain-tracked.ts: Ethernet, no extension header, TCP or UDP, whole and sound transport headers.
 *
 * The scans there meet them where a frame is no plain one of IPv4. They take a row beside those of IPv4, in the order of the capture, with each address
 * folded to one word (base/ip.ts); who needs whole addresses reads them from the frame.
 *
 *   offset 12   86 dd 6. ..      Ethernet type IPv6, version 6
 *          18   payload length   covers the transport header, and lies inside the frame
 *          20   next header      6 or 17
 *          54   transport        as in plain-tracked.ts
 */
import { foldAddress } from '../base/ip.ts';
import { specialize } from '../base/specialize.ts';
import type { TrackedColumns } from './plain-tracked.ts';
import { PLAIN6_FORM } from './plain6.ts';
import { TRAIT_IPV6, TRAIT_TCP } from './record.ts';

/**
 * Fills row `row` of the columns, all but its time, from the frame at `frame` of `view` and returns true if it is a plain one of IPv6. A frame of less than
 * PLAIN_FORM.leastBytes may not be asked about.
 */
export type ReadRow6 = (view: DataView, frame: number, captured: number, wire: number, row: number) => boolean;

const FORM6 = { ...PLAIN6_FORM, traitIpv6: TRAIT_IPV6, traitTcp: TRAIT_TCP } as const;

export function createRowReader6(columns: Rows6): ReadRow6 {
  const { traits, src, dst, ports, forms, ends, bytes, offsets, captured } = columns;
  return specialize(rowReader6)(traits, src, dst, ports, forms, ends, bytes, offsets, captured, foldAddress, FORM6);
}

type Rows6 = Pick<
  TrackedColumns,
  'traits' | 'src' | 'dst' | 'ports' | 'forms' | 'ends' | 'bytes' | 'offsets' | 'captured'
>;

function rowReader6(
  traits: Int32Array,
  src: Int32Array,
  dst: Int32Array,
  ports: Int32Array,
  forms: Int32Array,
  ends: Int32Array,
  bytes: Int32Array,
  offsets: Int32Array,
  capturedBytes: Int32Array,
  fold: typeof foldAddress,
  form6: typeof FORM6,
): ReadRow6 {
  const { head, headMask, ipBytes, leastBytes, tcpExcessBytes, bytesMax, tcp, udpFromTcp, traitIpv6, traitTcp } = form6;
  const folded = (view: DataView, at: number): number =>
    fold(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
  return (view, frame, captured, wire, row) => {
    if (captured < leastBytes || wire > bytesMax || wire < 0) return false;
    if ((view.getInt32(frame + 12) & headMask) !== head) return false;
    const protocol = view.getUint8(frame + 20);
    const isTcp = protocol === tcp;
    const least = isTcp ? leastBytes + tcpExcessBytes : leastBytes;
    if ((!isTcp && protocol !== tcp + udpFromTcp) || captured < least) return false;
    const total = ipBytes + view.getUint16(frame + 18);
    if (total < least || total > Math.max(wire, captured)) return false;
    const word = view.getInt32(frame + 58);
    const form = isTcp ? view.getInt32(frame + 66) : 0;
    const end = ipBytes + (isTcp ? (form >>> 28) << 2 : word >>> 16);
    if (end < least || end > total) return false;
    traits[row] = isTcp ? traitIpv6 | traitTcp : traitIpv6;
    src[row] = folded(view, frame + 22);
    dst[row] = folded(view, frame + 38);
    ports[row] = view.getInt32(frame + ipBytes);
    forms[row] = form;
    ends[row] = word + total - end + ((form >>> 17) & 1) + ((form >>> 16) & 1);
    bytes[row] = wire;
    offsets[row] = frame;
    capturedBytes[row] = captured;
    return true;
  };
}
