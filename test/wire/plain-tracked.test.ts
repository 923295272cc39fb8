/** Both parses of tracked frames take from a frame what the decoder takes, and leave the same frames to it, whatever lies in a file. */
import { expect, test } from 'vitest';
import { endOf } from '../../src/conntrack/key.ts';
import { buildFrame, type SyntheticAddress, Xorshift32 } from '../../src/packets/synthetic.ts';
import { decodePacket } from '../../src/wire/decode.ts';
import { LINKTYPE_ETHERNET } from '../../src/wire/link.ts';
import {
  createTrackedColumns,
  createTrackedScan,
  readTracked,
  type TrackedColumns,
} from '../../src/wire/plain-tracked.ts';
import * as record from '../../src/wire/record.ts';

const CAPTURED_MAX = 4096;
const LIMIT = 64;
const REFUSED =
  record.FLAG_FRAGMENT |
  record.FLAG_L4_INVALID |
  record.FLAG_L4_TRUNCATED |
  record.FLAG_IP_OPTIONS |
  record.FLAG_EXTENSION_HEADERS;

interface Capture {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Records of TCP, UDP and others, some damaged, some cut, some of no time that there is; the buffer ends where the last one does. */
function capture(seed: number): Capture {
  const random = new Xorshift32(seed);
  const parts = Array.from({ length: LIMIT }, () => {
    const isIpv6 = random.float() < 0.4;
    const address = (): SyntheticAddress => {
      const words = [random.next() | 0, random.next() | 0, random.next() | 0, random.next() | 0] as const;
      return isIpv6 ? words : words[0];
    };
    const frame = buildFrame({
      src: address(),
      dst: address(),
      protocol: [6, 6, 17, 1][random.below(4)]!,
      srcPort: random.below(65_536),
      dstPort: random.below(65_536),
      tcpFlags: random.below(256),
      tcpSeq: random.next(),
      tcpAck: random.next(),
      payload: random.bytes(random.below(30)),
    });
    if (random.float() < 0.4) frame[12 + random.below(isIpv6 ? 56 : 36)] = random.below(256);
    const kept = random.float() < 0.2 ? frame.subarray(0, random.below(frame.length + 1)) : frame;
    const out = new Uint8Array(16 + kept.length);
    const view = new DataView(out.buffer);
    view.setUint32(0, random.float() < 0.05 ? random.next() : random.below(2 ** 31), true);
    view.setUint32(4, random.float() < 0.05 ? random.next() : random.below(1_000_000), true);
    view.setUint32(8, kept.length, true);
    view.setUint32(12, random.float() < 0.1 ? random.next() : frame.length, true);
    out.set(kept, 16);
    return out;
  });
  const bytes = new Uint8Array(Buffer.concat(parts));
  return { bytes, view: new DataView(bytes.buffer) };
}

/** The same records as the columns of a batch; those whose fraction a reader would mend have no row in `scan` and are told apart by `null`. */
function batchOf({ bytes, view }: Capture) {
  const offsets = new Int32Array(LIMIT);
  const captured = new Int32Array(LIMIT);
  const wire = new Float64Array(LIMIT);
  const seconds = new Float64Array(LIMIT);
  const ticks: number[] = [];
  let count = 0;
  for (let at = 0; at < bytes.length; at += 16 + captured[count++]!) {
    offsets[count] = at + 16;
    captured[count] = view.getUint32(at + 8, true);
    wire[count] = view.getUint32(at + 12, true);
    seconds[count] = view.getUint32(at, true);
    ticks.push(view.getUint32(at + 4, true));
  }
  const nanos = Int32Array.from(ticks, (tick) => Math.min(tick, 999_999) * 1000);
  return { offsets, captured, wire, seconds, nanos, ticks, count };
}

type Row = readonly (number | string)[];

function rowsOf(columns: TrackedColumns): Map<number, Row> {
  const { count, traits, src, dst, ports, forms, ends, bytes, offsets, captured, seconds, nanos } = columns;
  const names = [traits, src, dst, ports, forms, bytes, captured, seconds, nanos];
  return new Map(
    Array.from({ length: count }, (_, i): [number, Row] => [
      offsets[i]!,
      [...names.map((column) => column[i]!), forms[i] === 0 ? 'udp' : ends[i]!],
    ]),
  );
}

test('the same rows as the decoder, from a scan and from a batch', () => {
  let rows = 0;
  let others = 0;
  for (let seed = 1; seed <= 500; seed++) {
    const { bytes, view } = capture(seed);
    const scanned = createTrackedColumns(LIMIT);
    // One scan serves the loop's first seeds as script and the rest as machine code; a new one each would never be optimised.
    const scan = seed <= 3 ? createTrackedScan(scanned, CAPTURED_MAX) : undefined;
    const columns = scan === undefined ? shared.columns : scanned;
    (scan ?? shared.scan)(view, 0, bytes.length);
    const batch = batchOf({ bytes, view });
    expect(columns.recordCount).toBe(batch.count);
    const read = createTrackedColumns(LIMIT);
    const types = new Int32Array(LIMIT).fill(LINKTYPE_ETHERNET);
    const { offsets, captured, wire, seconds, nanos, ticks, count } = batch;
    readTracked(read, view, offsets, captured, wire, seconds, nanos, types, count);
    const [fromScan, fromBatch] = [rowsOf(columns), rowsOf(read)];
    const out = new Int32Array(record.PACKET_WORDS);
    const wanteds: (Row | undefined)[] = [];
    for (let i = 0; i < count; i++) {
      const at = offsets[i]!;
      const wanted = rowOf(view, at, captured[i]!, wire[i]!, seconds[i]!, nanos[i]!, out);
      wanteds.push(wanted);
      if (wanted === undefined) others++;
      else rows++;
    }
    const at = (i: number): number => offsets[i]!;
    expect([seed, wanteds.map((_, i) => fromBatch.get(at(i)))]).toEqual([seed, wanteds]);
    const inTime = wanteds.map((wanted, i) => (ticks[i]! < 1_000_000 ? wanted : undefined));
    expect([seed, wanteds.map((_, i) => fromScan.get(at(i)))]).toEqual([seed, inTime]);
    // Others stand where they came.
    for (const { otherCount, others: numbers, otherRows, offsets: plain } of [columns, read]) {
      for (let k = 0; k < otherCount; k++) {
        const before = [...plain.subarray(0, otherRows[k])].every((offset) => offset < offsets[numbers[k]!]!);
        const behind = otherRows[k]! >= columns.count || plain[otherRows[k]!]! > offsets[numbers[k]!]!;
        if (!before || !behind) throw new Error(`seed ${seed}: frame ${numbers[k]} is out of order`);
      }
    }
  }
  expect(rows).toBeGreaterThan(6000);
  expect(others).toBeGreaterThan(6000);
});

const shared = (() => {
  const columns = createTrackedColumns(LIMIT);
  return { columns, scan: createTrackedScan(columns, CAPTURED_MAX) };
})();

/** What the columns should say of a frame, by the decoder; undefined: it is one of the others. */
function rowOf(
  view: DataView,
  offset: number,
  captured: number,
  wire: number,
  seconds: number,
  nanos: number,
  out: Int32Array,
): Row | undefined {
  if (wire > 2 ** 20 || seconds > 0x7fffffff) return undefined;
  if (decodePacket(view, offset, captured, wire, LINKTYPE_ETHERNET, out, 0) !== record.DECODE_OK) return undefined;
  const flags = out[record.PACKET_FLAGS]!;
  const protocol = out[record.PACKET_PROTOCOL]!;
  const isTagged = out[record.PACKET_VLAN_ID] !== record.NO_VLAN;
  if (isTagged || (flags & (REFUSED | record.FLAG_LENGTH_FROM_FRAME)) !== 0) return undefined;
  if ((flags & record.FLAG_IP_LENGTH_EXCEEDS_FRAME) !== 0 || (protocol !== 6 && protocol !== 17)) return undefined;
  const headerBytes = out[record.PACKET_TRANSPORT_HEADER_BYTES]!;
  const tcpFlags = out[record.PACKET_TCP_FLAGS]!;
  const dataBytes = out[record.PACKET_TRANSPORT_BYTES]! - headerBytes;
  const isTcp = protocol === 6;
  // The four reserved bits below the data offset are part of the form.
  const isIpv6 = (flags & record.FLAG_IPV6) !== 0;
  const reserved = isTcp ? view.getUint8(out[record.PACKET_TRANSPORT_OFFSET]! + 12) & 15 : 0;
  const form = isTcp
    ? ((headerBytes >> 2) << 28) | (reserved << 24) | (tcpFlags << 16) | out[record.PACKET_TCP_WINDOW]!
    : 0;
  const end = (out[record.PACKET_TCP_SEQ]! + dataBytes + ((tcpFlags >> 1) & 1) + (tcpFlags & 1)) | 0;
  return [
    (isIpv6 ? record.TRAIT_IPV6 : 0) | (isTcp ? record.TRAIT_TCP : 0),
    endOf(isIpv6, out, record.PACKET_SRC),
    endOf(isIpv6, out, record.PACKET_DST),
    (out[record.PACKET_SRC_PORT]! << 16) | out[record.PACKET_DST_PORT]!,
    form,
    wire,
    captured,
    seconds,
    nanos,
    isTcp ? end : 'udp',
  ];
}
