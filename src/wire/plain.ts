/**
 * The short way for plain frames: Ethernet, IPv4 without options, TCP or UDP, whole headers, no fragment. Nearly all packets are.
 *
 * From such a frame a stateless verdict needs just both addresses, the key (protocol and destination port) and the length. a scan walks
 * the records of a classic pcap file as they lie in the read buffer and takes these as columns in the same loop; `readPlain`
 * does it for a batch of records that another walk has found. All other frames are listed in `others`, for `decodePacket`. A frame
 * is plain only if `decodePacket` would read the same from it; a test holds that.
 *
 * What makes a frame plain is one sum of differences, so that the loop has one branch a packet, which honest traffic always takes the
 * same way:
 *
 *   offset 12   08 00 45 ..     Ethernet type IPv4, version 4, five words of header   equal under a mask
 *          16   total length    covers the headers, and lies inside the frame         no difference negative
 *          20   flags, protocol no fragment; 6 or 17                                  equal to 6 or 17 under a mask
 */
import { specialize } from '../base/specialize.ts';
import { LINKTYPE_ETHERNET } from './link.ts';

export interface PlainColumns {
  /** Rows of the columns from `src` to `frames`, and the bytes on the wire of all of them. */
  count: number;
  byteCount: number;
  /** IPv4 addresses as int32. */
  readonly src: Int32Array;
  readonly dst: Int32Array;
  /** Bit 16: 0 TCP, 1 UDP; bits 0-15: destination port. */
  readonly keys: Int32Array;
  /** Bytes of the frame on the wire, at most PLAIN_BYTES_MAX. */
  readonly bytes: Int32Array;
  /** Where the frame came from: its number in the batch (`readPlain`), or where its record starts in the view (a scan). */
  readonly frames: Int32Array;
  otherCount: number;
  /** The same of the frames that are not plain, and a scan's number of the record, from 0. */
  readonly others: Int32Array;
  readonly otherNumbers: Int32Array;
  /** Of a scan: records taken, and where the next one starts. */
  recordCount: number;
  position: number;
}

/** `column` makes the array of a column; by default in memory of its own. */
export function createPlainColumns(
  capacity: number,
  column: (name: string) => Int32Array = () => new Int32Array(capacity),
): PlainColumns {
  return {
    count: 0,
    byteCount: 0,
    src: column('src'),
    dst: column('dst'),
    keys: column('keys'),
    bytes: column('bytes'),
    frames: column('frames'),
    otherCount: 0,
    others: column('others'),
    otherNumbers: column('otherNumbers'),
    recordCount: 0,
    position: 0,
  };
}

/** Longer frames are not plain: no link carries them, and counts of a batch stay exact (match/plain.ts). */
const PLAIN_BYTES_MAX = 1 << 20;

/** What the scans compare with; the loops below get it as an argument since they may name nothing outside themselves. */
export const PLAIN_FORM = {
  ethernet: LINKTYPE_ETHERNET,
  bytesMax: PLAIN_BYTES_MAX,
  /** Ethernet type IPv4, version 4, header of 5 words; the last byte (type of service) may be anything. */
  head: 0x0800_4500,
  headMask: 0xffff_ff00 | 0,
  /** More fragments, fragment offset, protocol. */
  fragmentAndProtocol: 0x3fff_00ff,
  tcp: 6,
  /** UDP's number, 17, less TCP's; bit 4 tells the two apart without a branch. */
  udpFromTcp: 11,
  /** Ethernet, IPv4 and TCP header, and how much longer TCP's is than UDP's. */
  tcpHeadersBytes: 54,
  tcpExcessBytes: 12,
  /** Shortest plain frame: the reads below stay inside it. */
  leastBytes: 42,
  /** Header of a classic pcap record: seconds, fraction, captured bytes, bytes on the wire. */
  recordHeaderBytes: 16,
} as const;

/**
 * Walks little-endian records of classic pcap (16 bytes of header) in `view` from `position` to `end` and fills the columns from as many
 * as they hold, all Ethernet frames. Stops before a record that is not all there or claims more than `capturedMax` bytes.
 */
export type PlainScan = (view: DataView, position: number, end: number) => void;

export function createPlainScan(columns: PlainColumns, capturedMax: number): PlainScan {
  return specialize(plainScan)(
    columns,
    columns.src,
    columns.dst,
    columns.keys,
    columns.bytes,
    columns.frames,
    columns.others,
    columns.otherNumbers,
    capturedMax,
    PLAIN_FORM,
  );
}

function plainScan(
  columns: PlainColumns,
  src: Int32Array,
  dst: Int32Array,
  keys: Int32Array,
  bytes: Int32Array,
  frames: Int32Array,
  others: Int32Array,
  otherNumbers: Int32Array,
  capturedMax: number,
  form: typeof PLAIN_FORM,
): PlainScan {
  const { bytesMax, head, headMask, fragmentAndProtocol, tcp, udpFromTcp } = form;
  const { tcpHeadersBytes, tcpExcessBytes, leastBytes, recordHeaderBytes } = form;
  const limit = src.length;
  return (view, position, end) => {
    let at = position;
    let plain = 0;
    let other = 0;
    let taken = 0;
    let byteCount = 0;
    for (; taken < limit && end - at >= recordHeaderBytes; taken++) {
      // Signed reads keep the sums in 32-bit registers; a length of 2 GiB or more is negative and so is refused too.
      const captured = view.getInt32(at + 8, true);
      const next = at + recordHeaderBytes + captured;
      if (captured < 0 || captured > capturedMax || next > end) break;
      const record = at;
      at = next;
      if (captured >= leastBytes) {
        const wire = view.getInt32(record + 12, true);
        const frame = record + recordHeaderBytes;
        const protocol = view.getInt32(frame + 20) & fragmentAndProtocol;
        const total = view.getUint16(frame + 16) + 14;
        const isUdp = (protocol >> 4) & 1;
        const least = tcpHeadersBytes - tcpExcessBytes * isUdp;
        const longest = Math.max(wire, captured);
        const short = (captured - least) | (total - least) | (longest - total) | (bytesMax - wire) | wire;
        const differs = ((view.getInt32(frame + 12) & headMask) ^ head) | (protocol ^ (tcp + udpFromTcp * isUdp));
        if ((differs | (short >> 31)) === 0) {
          src[plain] = view.getInt32(frame + 26);
          dst[plain] = view.getInt32(frame + 30);
          keys[plain] = (isUdp << 16) | view.getUint16(frame + 36);
          bytes[plain] = wire;
          frames[plain] = record;
          byteCount += wire;
          plain++;
          continue;
        }
      }
      otherNumbers[other] = taken;
      others[other++] = record;
    }
    columns.count = plain;
    columns.byteCount = byteCount;
    columns.otherCount = other;
    columns.recordCount = taken;
    columns.position = at;
  };
}

/** The same from `count` frames that lie in `view` where the columns of a record batch (packets/source.ts) say. */
export function readPlain(
  columns: PlainColumns,
  view: DataView,
  offsets: Int32Array,
  capturedBytes: Int32Array,
  wireBytes: Float64Array,
  linkTypes: Int32Array,
  count: number,
): void {
  const { src, dst, keys, bytes, frames, others } = columns;
  const { ethernet, bytesMax, head, headMask, fragmentAndProtocol, tcp, udpFromTcp } = PLAIN_FORM;
  const { tcpHeadersBytes, tcpExcessBytes, leastBytes } = PLAIN_FORM;
  let plain = 0;
  let other = 0;
  let byteCount = 0;
  for (let i = 0; i < count; i++) {
    const captured = capturedBytes[i]!;
    const wire = wireBytes[i]!;
    if (captured >= leastBytes && wire <= bytesMax && linkTypes[i] === ethernet) {
      const frame = offsets[i]!;
      const protocol = view.getInt32(frame + 20) & fragmentAndProtocol;
      const total = view.getUint16(frame + 16) + 14;
      const isUdp = (protocol >> 4) & 1;
      const least = tcpHeadersBytes - tcpExcessBytes * isUdp;
      const short = (captured - least) | (total - least) | (Math.max(wire, captured) - total);
      const differs = ((view.getInt32(frame + 12) & headMask) ^ head) | (protocol ^ (tcp + udpFromTcp * isUdp));
      if ((differs | (short >> 31)) === 0) {
        src[plain] = view.getInt32(frame + 26);
        dst[plain] = view.getInt32(frame + 30);
        keys[plain] = (isUdp << 16) | view.getUint16(frame + 36);
        bytes[plain] = wire;
        frames[plain] = i;
        byteCount += wire;
        plain++;
        continue;
      }
    }
    others[other++] = i;
  }
  columns.count = plain;
  columns.byteCount = byteCount;
  columns.otherCount = other;
}
