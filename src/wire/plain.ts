/**
 * The short way for plain frames: Ethernet, IPv4 without options, TCP or UDP, whole headers, no fragment. Nearly all packets are.
 *
 * `readPlain` takes from a batch of frames just what a stateless verdict needs, as columns: both addresses, and protocol and
 * destination port in one number. All other frames are listed in `others`, for `decodePacket`. A frame is plain only if
 * `decodePacket` would read the same from it; a test holds that.
 */
import { LINKTYPE_ETHERNET } from './link.ts';

export interface PlainColumns {
  /** Row i belongs to the i-th plain frame of the batch; `frames` says which of the batch it is. */
  count: number;
  readonly frames: Int32Array;
  /** IPv4 addresses as int32. */
  readonly src: Int32Array;
  readonly dst: Int32Array;
  /** Bit 16: 0 TCP, 1 UDP; bits 0-15: destination port. */
  readonly ports: Int32Array;
  otherCount: number;
  readonly others: Int32Array;
}

export function createPlainColumns(capacity: number): PlainColumns {
  const column = (): Int32Array => new Int32Array(capacity);
  return { count: 0, frames: column(), src: column(), dst: column(), ports: column(), otherCount: 0, others: column() };
}

// Node 20 re-reads an imported constant at every use and folds one of the own module.
const ETHERNET = LINKTYPE_ETHERNET;
/** Ethernet type IPv4, version 4, header of 5 words; the last byte (type of service) may be anything. */
const HEAD = 0x0800_4500;
const HEAD_MASK = 0xffff_ff00 | 0;
const FRAGMENT_BITS = 0x3fff;
const TCP = 6;
const UDP = 17;
/** Ethernet and IPv4 header. */
const HEADERS_BYTES = 34;

/** Fills `columns` from `count` frames; the other parameters are the columns of a record batch (packets/source.ts). */
export function readPlain(
  columns: PlainColumns,
  view: DataView,
  offsets: Int32Array,
  capturedBytes: Int32Array,
  wireBytes: Float64Array,
  linkTypes: Int32Array,
  count: number,
): void {
  const { frames, src, dst, ports, others } = columns;
  let plain = 0;
  let other = 0;
  for (let i = 0; i < count; i++) {
    const offset = offsets[i]!;
    const captured = capturedBytes[i]!;
    // What the reader delivers lies in the view, and the buffer goes on behind it far enough for these reads only if it is long.
    if (captured < 42 || linkTypes[i] !== ETHERNET) {
      others[other++] = i;
      continue;
    }
    const protocol = view.getUint8(offset + 23);
    const totalBytes = view.getUint16(offset + 16);
    const isUdp = protocol === UDP ? 1 : 0;
    const least = HEADERS_BYTES + (isUdp === 1 ? 8 : 20);
    if (
      (view.getInt32(offset + 12) & HEAD_MASK) !== HEAD ||
      (view.getUint16(offset + 20) & FRAGMENT_BITS) !== 0 ||
      (isUdp === 0 && protocol !== TCP) ||
      captured < least ||
      totalBytes + 14 < least ||
      totalBytes + 14 > Math.max(wireBytes[i]!, captured)
    ) {
      others[other++] = i;
      continue;
    }
    frames[plain] = i;
    src[plain] = view.getInt32(offset + 26);
    dst[plain] = view.getInt32(offset + 30);
    ports[plain] = (isUdp << 16) | view.getUint16(offset + 36);
    plain++;
  }
  columns.count = plain;
  columns.otherCount = other;
}
