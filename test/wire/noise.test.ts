/** Hostile bytes: the decoder returns a status, reads nothing out of bounds, throws nothing, and keeps its promises. */
import { describe, expect, test } from 'vitest';
import type { FrameSpec } from '../../src/packets/synthetic.ts';
import { buildFragments, buildFrame, wrapEthernet, Xorshift32 } from '../../src/packets/synthetic.ts';
import { decodePacket } from '../../src/wire/decode.ts';
import { decodeQuoted, isIcmpError } from '../../src/wire/quoted.ts';
import * as record from '../../src/wire/record.ts';
import { decodeInner, TUNNEL_NONE, tunnelKind } from '../../src/wire/tunnel.ts';

const LINK_TYPES = [0, 1, 12, 14, 101, 108, 113, 228, 229, 276, 105, 999];
const V4 = { src: 0x0a000001, dst: 0x0a000002 };
const V6 = { src: [0x20010db8, 0, 0, 1], dst: [0x20010db8, 0, 0, 2] } as const;

/** What must hold of any record over `length` bytes; also follows quoted packets and tunnels a few layers down. */
function checkRecord(view: DataView, length: number, out: Int32Array, at: number, depth: number): void {
  const status = out[at + record.PACKET_STATUS]!;
  if (status < 0 || status >= record.DECODE_STATUS_COUNT) throw new Error(`no such status: ${status}`);
  if (status !== record.DECODE_OK) return;
  const captured = out[at + record.PACKET_TRANSPORT_CAPTURED_BYTES]!;
  const declared = out[at + record.PACKET_TRANSPORT_BYTES]!;
  const offset = out[at + record.PACKET_TRANSPORT_OFFSET]!;
  const flags = out[at + record.PACKET_FLAGS]!;
  if (captured < 0 || captured > declared) throw new Error(`captured ${captured} of ${declared}`);
  if (captured > 0 && offset + captured > length) throw new Error('transport bytes outside the frame');
  if (offset < out[at + record.PACKET_IP_OFFSET]! + 20) throw new Error('transport inside the IP header');
  const isLaterFragment = out[at + record.PACKET_FRAGMENT_OFFSET_BYTES]! > 0;
  if (isLaterFragment && (flags & record.FLAG_L4_PORTS) !== 0) throw new Error('ports of a later fragment');
  if ((flags & record.FLAG_L4_PORTS) === 0) {
    if (out[at + record.PACKET_SRC_PORT] !== 0 || out[at + record.PACKET_DST_PORT] !== 0) throw new Error('no ports?');
  }
  if (depth === 4) return;
  const inner = at + record.PACKET_WORDS;
  if (isIcmpError(out, at)) {
    decodeQuoted(view, out, at, out, inner);
    checkRecord(view, length, out, inner, depth + 1);
  }
  const kind = tunnelKind(out, at);
  if (kind !== TUNNEL_NONE) {
    decodeInner(kind, view, out, at, out, inner);
    checkRecord(view, length, out, inner, depth + 1);
  }
}

/** The frame at the end of its memory, so that any read behind it throws. */
function decodeAtEnd(frame: Uint8Array, wireBytes: number, linkType: number): number {
  const memory = frame.slice();
  const view = new DataView(memory.buffer);
  const out = new Int32Array(record.PACKET_WORDS * 6);
  const status = decodePacket(view, 0, memory.length, wireBytes, linkType, out, 0);
  checkRecord(view, memory.length, out, 0, 0);
  return status;
}

const seeds: Uint8Array[] = [
  buildFrame({ ...V4, protocol: 6, srcPort: 1, dstPort: 2, payload: new Uint8Array(8) }),
  buildFrame({
    ...V4,
    protocol: 17,
    srcPort: 1,
    dstPort: 4789,
    payload: vxlanOf({ ...V4, protocol: 6 }),
    vlanIds: [7],
  }),
  buildFrame({
    ...V4,
    protocol: 1,
    icmpType: 3,
    payload: buildFrame({ ...V4, protocol: 17 }).slice(14),
    ipOptionBytes: 8,
  }),
  buildFrame({ ...V6, protocol: 58, icmpType: 1, payload: buildFrame({ ...V6, protocol: 6 }).slice(14) }),
  buildFrame({
    ...V6,
    protocol: 6,
    extensionHeaders: [
      { protocol: 0, bytes: 16 },
      { protocol: 43, bytes: 24 },
      { protocol: 51, bytes: 16 },
      { protocol: 60, bytes: 8 },
    ],
  }),
  buildFrame({
    ...V4,
    protocol: 47,
    payload: Uint8Array.of(0, 0, 8, 0, ...buildFrame({ ...V4, protocol: 6 }).slice(14)),
  }),
  ...buildFragments({ ...V6, protocol: 17, payload: new Uint8Array(40) }, 16).map(wrapEthernet),
  ...buildFragments({ ...V4, protocol: 6, payload: new Uint8Array(40) }, 16).map(wrapEthernet),
];

describe('hostile frames', () => {
  test('noise of every length, all link types', () => {
    const random = new Xorshift32(41);
    const seen = new Set<number>();
    for (let round = 0; round < 60_000; round++) {
      const frame = random.bytes(random.below(160));
      // Push the noise past the first checks, or nearly all of it would end there.
      const linkType = LINK_TYPES[random.below(LINK_TYPES.length)]!;
      if (round % 2 === 0 && frame.length > 0) frame[0] = round % 4 === 0 ? 0x45 : 0x60;
      if (round % 3 === 0 && frame.length > 14) frame.set([8, 0, 0x45], 12);
      seen.add(decodeAtEnd(frame, random.below(3) === 0 ? random.next() : frame.length, linkType));
    }
    // All but ARP, whose type noise does not hit.
    expect([...seen].sort()).toEqual([0, 2, 3, 4, 5]);
  });

  test('sound frames with bytes changed, lengths flipped, tails cut', () => {
    const random = new Xorshift32(43);
    let okCount = 0;
    for (let round = 0; round < 150_000; round++) {
      const frame = seeds[random.below(seeds.length)]!.slice();
      for (let change = random.below(4); change > 0; change--) {
        const place = 12 + random.below(frame.length - 12);
        frame[place] = [0, 1, 0x7f, 0x80, 0xff, random.below(256)][random.below(6)]!;
      }
      const kept = random.below(3) === 0 ? random.below(frame.length + 1) : frame.length;
      if (decodeAtEnd(frame.slice(0, kept), frame.length, 1) === record.DECODE_OK) okCount++;
    }
    expect(okCount).toBeGreaterThan(50_000);
  });

  test('every single byte of every seed at its extremes', () => {
    for (const seed of seeds) {
      for (let place = 0; place < seed.length; place++) {
        for (const value of [0, 1, 0x40, 0x7f, 0x80, 0xff]) {
          const frame = seed.slice();
          frame[place] = value;
          decodeAtEnd(frame, frame.length, 1);
        }
      }
    }
  });
});

function vxlanOf(spec: FrameSpec): Uint8Array {
  return Uint8Array.of(8, 0, 0, 0, 0, 0, 5, 0, ...buildFrame(spec));
}
