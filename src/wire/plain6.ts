/**
 * The short way for plain frames of IPv6: Ethernet, no extension header, TCP or UDP, whole headers. See plain.ts for IPv4.
 *
 * Most captures have fewer of them, so they are taken from what the scans of IPv4 put aside, into columns of their own, and judged by the same
 * loops (match/plain6.ts). A frame is plain only if `decodePacket` would read the same from it; a test holds that.
 */
import { specialize } from '../base/specialize.ts';
import { LINKTYPE_ETHERNET } from './link.ts';
import { PLAIN_FORM } from './plain.ts';

/** Words of a row of `addresses`: source, then destination, each most significant word first. */
export const PLAIN6_ADDRESS_WORDS = 8;

export interface Plain6Columns {
  /** Rows of the columns up to `places`, and the bytes on the wire of all of them. */
  count: number;
  byteCount: number;
  readonly addresses: Int32Array;
  /** As in the columns of IPv4: bit 16: 0 TCP, 1 UDP; bits 0-15: destination port. */
  readonly keys: Int32Array;
  readonly bytes: Int32Array;
  /** What the caller calls the frame. */
  readonly places: Int32Array;
  /** The same of the frames that are not plain. */
  restCount: number;
  readonly rest: Int32Array;
}

export function createPlain6Columns(capacity: number): Plain6Columns {
  const column = (): Int32Array => new Int32Array(capacity);
  return {
    count: 0,
    byteCount: 0,
    addresses: new Int32Array(PLAIN6_ADDRESS_WORDS * capacity),
    keys: column(),
    bytes: column(),
    places: column(),
    restCount: 0,
    rest: column(),
  };
}

/** What the loops compare with, here and in plain-tracked6.ts; they get it as an argument since they may name nothing outside themselves. */
export const PLAIN6_FORM = {
  recordHeaderBytes: PLAIN_FORM.recordHeaderBytes,
  bytesMax: PLAIN_FORM.bytesMax,
  addressWords: PLAIN6_ADDRESS_WORDS,
  /** Ethernet type IPv6, version 6; traffic class and flow label may be anything. */
  head: 0x86dd_6000 | 0,
  headMask: 0xffff_f000 | 0,
  /** Where fields of the frame lie: payload length and next header in one word, addresses, destination port. */
  payloadAt: 18,
  addressesAt: 22,
  portAt: 56,
  /** Ethernet and IPv6 header, and these with UDP's. */
  ipBytes: 54,
  leastBytes: 62,
  tcpExcessBytes: PLAIN_FORM.tcpExcessBytes,
  tcp: PLAIN_FORM.tcp,
  udpFromTcp: PLAIN_FORM.udpFromTcp,
} as const;

/** Takes the first `count` records, little-endian ones of classic pcap, whose positions in `view` are in `records`; places are indices there. */
export type Plain6Scan = (view: DataView, records: Int32Array, count: number) => void;

export function createPlain6Scan(columns: Plain6Columns): Plain6Scan {
  const { addresses, keys, bytes, places, rest } = columns;
  return specialize(plain6Scan)(columns, addresses, keys, bytes, places, rest, PLAIN6_FORM);
}

/** Takes `count` frames of any capture, that `rows` lists, from where the columns of a record batch (packets/source.ts) say; places are indices in `rows`. */
export function readPlain6(
  columns: Plain6Columns,
  view: DataView,
  offsets: Int32Array,
  capturedBytes: Int32Array,
  wireBytes: Float64Array,
  linkTypes: Int32Array,
  rows: Int32Array,
  count: number,
): void {
  columns.count = 0;
  columns.byteCount = 0;
  columns.restCount = 0;
  for (let i = 0; i < count; i++) {
    const row = rows[i]!;
    const isEthernet = linkTypes[row] === LINKTYPE_ETHERNET;
    if (isEthernet && isPlain6(view, offsets[row]!, capturedBytes[row]!, wireBytes[row]!)) {
      take(columns, i, view, offsets[row]!, wireBytes[row]!);
    } else {
      columns.rest[columns.restCount++] = i;
    }
  }
}

function isPlain6(view: DataView, frame: number, captured: number, wire: number): boolean {
  const { ipBytes, leastBytes, tcpExcessBytes, bytesMax, head, headMask, payloadAt, tcp, udpFromTcp } = PLAIN6_FORM;
  if (captured < leastBytes || wire > bytesMax) return false;
  if ((view.getInt32(frame + 12) & headMask) !== head) return false;
  const payload = view.getUint16(frame + payloadAt);
  const protocol = view.getUint8(frame + payloadAt + 2);
  if (protocol !== tcp && protocol !== tcp + udpFromTcp) return false;
  const least = protocol === tcp ? leastBytes + tcpExcessBytes : leastBytes;
  const total = ipBytes + payload;
  return total >= least && captured >= least && total <= Math.max(wire, captured);
}

function take(columns: Plain6Columns, place: number, view: DataView, frame: number, wire: number): void {
  const { addressWords, addressesAt, payloadAt, portAt, tcp } = PLAIN6_FORM;
  const { addresses, count } = columns;
  for (let word = 0; word < addressWords; word++) {
    addresses[addressWords * count + word] = view.getInt32(frame + addressesAt + 4 * word);
  }
  const isUdp = view.getUint8(frame + payloadAt + 2) === tcp ? 0 : 1;
  columns.keys[count] = (isUdp << 16) | view.getUint16(frame + portAt);
  columns.bytes[count] = wire;
  columns.places[count] = place;
  columns.byteCount += wire;
  columns.count = count + 1;
}

function plain6Scan(
  columns: Plain6Columns,
  addresses: Int32Array,
  keys: Int32Array,
  bytes: Int32Array,
  places: Int32Array,
  rest: Int32Array,
  form: typeof PLAIN6_FORM,
): Plain6Scan {
  const { recordHeaderBytes, bytesMax, addressWords, head, headMask, payloadAt, addressesAt, portAt } = form;
  const { ipBytes, leastBytes, tcp, udpFromTcp, tcpExcessBytes } = form;
  return (view, records, count) => {
    let plain = 0;
    let left = 0;
    let byteCount = 0;
    for (let i = 0; i < count; i++) {
      const record = records[i]!;
      const captured = view.getInt32(record + 8, true);
      if (captured >= leastBytes) {
        const wire = view.getInt32(record + 12, true);
        const frame = record + recordHeaderBytes;
        const word = view.getInt32(frame + payloadAt);
        const protocol = (word >>> 8) & 0xff;
        const total = ipBytes + (word >>> 16);
        const isUdp = (protocol >> 4) & 1;
        const least = leastBytes + tcpExcessBytes * (1 - isUdp);
        const longest = Math.max(wire, captured);
        const short = (captured - least) | (total - least) | (longest - total) | (bytesMax - wire) | wire;
        const differs = ((view.getInt32(frame + 12) & headMask) ^ head) | (protocol ^ (tcp + udpFromTcp * isUdp));
        if ((differs | (short >> 31)) === 0) {
          const at = addressWords * plain;
          const from = frame + addressesAt;
          addresses[at] = view.getInt32(from);
          addresses[at + 1] = view.getInt32(from + 4);
          addresses[at + 2] = view.getInt32(from + 8);
          addresses[at + 3] = view.getInt32(from + 12);
          addresses[at + 4] = view.getInt32(from + 16);
          addresses[at + 5] = view.getInt32(from + 20);
          addresses[at + 6] = view.getInt32(from + 24);
          addresses[at + 7] = view.getInt32(from + 28);
          keys[plain] = (isUdp << 16) | view.getUint16(frame + portAt);
          bytes[plain] = wire;
          places[plain] = i;
          byteCount += wire;
          plain++;
          continue;
        }
      }
      rest[left++] = i;
    }
    columns.count = plain;
    columns.byteCount = byteCount;
    columns.restCount = left;
  };
}
