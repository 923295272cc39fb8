/**
 * Plain frames (plain.ts) with what connection tracking asks of them: ports, the TCP header, and the time.
 *
 * A frame counts as plain here only if its transport header is in order as well: a TCP data offset or a UDP length that contradicts the
 * datagram makes it INVALID to Linux, and such frames go with the others to `decodePacket`. So do those whose record has a
 * fraction of a second or more, which the reader mends. One branch a packet, as in plain.ts:
 *
 *   TCP   data offset (top four bits of the fourth word, in words)   20 to what the datagram holds
 *   UDP   length (third half-word)                                   8 to what the datagram holds
 *
 * Frames of IPv6 that are as plain take rows of the same columns (plain-tracked6.ts).
 */
import { specialize } from '../base/specialize.ts';
import { PLAIN_FORM, type PlainScan } from './plain.ts';
import { createRowReader6, type ReadRow6 } from './plain-tracked6.ts';
import { TRAIT_TCP } from './record.ts';

export interface TrackedColumns {
  /** Rows of the columns from `src` to `nanos`. */
  count: number;
  /** TRAIT_* bits. */
  readonly traits: Int32Array;
  /** Addresses: IPv4 as int32, IPv6 folded (base/ip.ts). */
  readonly src: Int32Array;
  readonly dst: Int32Array;
  /** Source port << 16 | destination port. */
  readonly ports: Int32Array;
  /** TCP: the fourth word of its header (data offset, flags, window), never 0; UDP: 0. */
  readonly forms: Int32Array;
  /** TCP: sequence number behind the segment (data, SYN and FIN count). */
  readonly ends: Int32Array;
  /** Bytes of the frame on the wire, at most 2^20. */
  readonly bytes: Int32Array;
  /** Where the frame starts in the view, and how many of its bytes are there. */
  readonly offsets: Int32Array;
  readonly captured: Int32Array;
  /** When it was captured: seconds since 1970, none of them negative, and nanoseconds. */
  readonly seconds: Int32Array;
  readonly nanos: Int32Array;
  otherCount: number;
  /** Number in the batch, from 0, of the frames that are not plain; how many rows lie before them; and where their record starts (a scan). */
  readonly others: Int32Array;
  readonly otherRows: Int32Array;
  readonly otherRecords: Int32Array;
  /** Of a scan: what the fraction of a record's time counts, records taken, and where the next one starts. */
  nanosPerTick: number;
  recordCount: number;
  position: number;
  /** Fills a row if the frame is a plain one of IPv6. */
  readonly readRow6: ReadRow6;
}

export function createTrackedColumns(capacity: number): TrackedColumns {
  const column = (): Int32Array => new Int32Array(capacity);
  const rows = {
    traits: column(),
    src: column(),
    dst: column(),
    ports: column(),
    forms: column(),
    ends: column(),
    bytes: column(),
    offsets: column(),
    captured: column(),
  };
  return {
    count: 0,
    ...rows,
    seconds: column(),
    nanos: column(),
    otherCount: 0,
    others: column(),
    otherRows: column(),
    otherRecords: column(),
    nanosPerTick: 1000,
    recordCount: 0,
    position: 0,
    readRow6: createRowReader6(rows),
  };
}

const NANOS_PER_SECOND = 1e9;
/** Later frames are left to others. */
const SECONDS_MAX = 0x7fffffff;

/** A scan (plain.ts) that fills these columns. */
export function createTrackedScan(columns: TrackedColumns, capturedMax: number): PlainScan {
  return specialize(trackedScan)(
    columns,
    columns.traits,
    columns.src,
    columns.dst,
    columns.ports,
    columns.forms,
    columns.ends,
    columns.bytes,
    columns.offsets,
    columns.captured,
    columns.seconds,
    columns.nanos,
    columns.others,
    columns.otherRows,
    columns.otherRecords,
    columns.readRow6,
    capturedMax,
    PLAIN_FORM,
    NANOS_PER_SECOND,
    TRAIT_TCP,
  );
}

function trackedScan(
  columns: TrackedColumns,
  traits: Int32Array,
  src: Int32Array,
  dst: Int32Array,
  ports: Int32Array,
  forms: Int32Array,
  ends: Int32Array,
  bytes: Int32Array,
  offsets: Int32Array,
  capturedBytes: Int32Array,
  seconds: Int32Array,
  nanos: Int32Array,
  others: Int32Array,
  otherRows: Int32Array,
  otherRecords: Int32Array,
  readRow6: ReadRow6,
  capturedMax: number,
  form: typeof PLAIN_FORM,
  nanosPerSecond: number,
  traitTcp: number,
): PlainScan {
  const { bytesMax, head, headMask, fragmentAndProtocol, tcp, udpFromTcp } = form;
  const { tcpHeadersBytes, tcpExcessBytes, leastBytes, recordHeaderBytes } = form;
  const limit = src.length;
  return (view, position, end) => {
    const { nanosPerTick } = columns;
    const lastTick = (nanosPerSecond / nanosPerTick - 1) | 0;
    let at = position;
    let plain = 0;
    let other = 0;
    let taken = 0;
    for (; taken < limit && end - at >= recordHeaderBytes; taken++) {
      const captured = view.getInt32(at + 8, true);
      const next = at + recordHeaderBytes + captured;
      if (captured < 0 || captured > capturedMax || next > end) break;
      const record = at;
      at = next;
      if (captured >= leastBytes) {
        const wire = view.getInt32(record + 12, true);
        const time = view.getInt32(record, true);
        const ticks = view.getInt32(record + 4, true);
        const frame = record + recordHeaderBytes;
        const protocol = view.getInt32(frame + 20) & fragmentAndProtocol;
        const total = view.getUint16(frame + 16) + 14;
        const isUdp = (protocol >> 4) & 1;
        const least = tcpHeadersBytes - tcpExcessBytes * isUdp;
        const longest = Math.max(wire, captured);
        // The second and the fourth word of the header; UDP has no fourth, and a TCP frame too short for it is refused below.
        const second = view.getInt32(frame + 38);
        const fourth = view.getInt32(frame + (captured < tcpHeadersBytes ? 38 : 46));
        const header = (((fourth >>> 28) << 2) & (isUdp - 1)) | ((second >>> 16) & -isUdp);
        const short =
          (captured - least) |
          (total - least) |
          (longest - total) |
          (bytesMax - wire) |
          wire |
          (header + 34 - least) |
          (total - 34 - header) |
          ticks |
          (lastTick - ticks) |
          time;
        const differs = ((view.getInt32(frame + 12) & headMask) ^ head) | (protocol ^ (tcp + udpFromTcp * isUdp));
        if ((differs | (short >> 31)) === 0) {
          traits[plain] = traitTcp & (isUdp - 1);
          src[plain] = view.getInt32(frame + 26);
          dst[plain] = view.getInt32(frame + 30);
          ports[plain] = view.getInt32(frame + 34);
          forms[plain] = fourth & (isUdp - 1);
          ends[plain] = second + total - 34 - header + ((fourth >>> 17) & 1) + ((fourth >>> 16) & 1);
          bytes[plain] = wire;
          offsets[plain] = frame;
          capturedBytes[plain] = captured;
          seconds[plain] = time;
          nanos[plain] = Math.imul(ticks, nanosPerTick);
          plain++;
          continue;
        }
        if ((ticks | (lastTick - ticks) | time) >= 0 && readRow6(view, frame, captured, wire, plain)) {
          seconds[plain] = time;
          nanos[plain] = Math.imul(ticks, nanosPerTick);
          plain++;
          continue;
        }
      }
      others[other] = taken;
      otherRows[other] = plain;
      otherRecords[other++] = record;
    }
    columns.count = plain;
    columns.otherCount = other;
    columns.recordCount = taken;
    columns.position = at;
  };
}

/** The same from `count` frames that lie in `view` where the columns of a record batch (packets/source.ts) say. */
export function readTracked(
  columns: TrackedColumns,
  view: DataView,
  frameOffsets: Int32Array,
  capturedBytes: Int32Array,
  wireBytes: Float64Array,
  frameSeconds: Float64Array,
  frameNanos: Int32Array,
  linkTypes: Int32Array,
  count: number,
): void {
  const { traits, src, dst, ports, forms, ends, bytes, offsets, captured, seconds, nanos } = columns;
  const { others, otherRows, readRow6 } = columns;
  const { ethernet, bytesMax, head, headMask, fragmentAndProtocol, tcp, udpFromTcp } = PLAIN_FORM;
  const { tcpHeadersBytes, tcpExcessBytes, leastBytes } = PLAIN_FORM;
  const traitTcp = TRAIT_TCP;
  let plain = 0;
  let other = 0;
  for (let i = 0; i < count; i++) {
    const inView = capturedBytes[i]!;
    const wire = wireBytes[i]!;
    const second = frameSeconds[i]!;
    const isInTime = second >= 0 && second <= SECONDS_MAX;
    if (inView >= leastBytes && wire <= bytesMax && linkTypes[i] === ethernet && isInTime) {
      const frame = frameOffsets[i]!;
      const protocol = view.getInt32(frame + 20) & fragmentAndProtocol;
      const total = view.getUint16(frame + 16) + 14;
      const isUdp = (protocol >> 4) & 1;
      const least = tcpHeadersBytes - tcpExcessBytes * isUdp;
      const word = view.getInt32(frame + 38);
      const fourth = view.getInt32(frame + (inView < tcpHeadersBytes ? 38 : 46));
      const header = (((fourth >>> 28) << 2) & (isUdp - 1)) | ((word >>> 16) & -isUdp);
      const short =
        (inView - least) |
        (total - least) |
        (Math.max(wire, inView) - total) |
        (header + 34 - least) |
        (total - 34 - header);
      const differs = ((view.getInt32(frame + 12) & headMask) ^ head) | (protocol ^ (tcp + udpFromTcp * isUdp));
      if ((differs | (short >> 31)) === 0) {
        traits[plain] = traitTcp & (isUdp - 1);
        src[plain] = view.getInt32(frame + 26);
        dst[plain] = view.getInt32(frame + 30);
        ports[plain] = view.getInt32(frame + 34);
        forms[plain] = fourth & (isUdp - 1);
        ends[plain] = word + total - 34 - header + ((fourth >>> 17) & 1) + ((fourth >>> 16) & 1);
        bytes[plain] = wire;
        offsets[plain] = frame;
        captured[plain] = inView;
        seconds[plain] = second;
        nanos[plain] = frameNanos[i]!;
        plain++;
        continue;
      }
      if (readRow6(view, frame, inView, wire, plain)) {
        seconds[plain] = second;
        nanos[plain] = frameNanos[i]!;
        plain++;
        continue;
      }
    }
    otherRows[other] = plain;
    others[other++] = i;
  }
  columns.count = plain;
  columns.otherCount = other;
}
