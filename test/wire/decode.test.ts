import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FrameSpec, SyntheticAddress } from '../../src/packets/synthetic.ts';
import { buildFragments, buildFrame, buildPacket, concatBytes, wrapEthernet } from '../../src/packets/synthetic.ts';
import { decodeBatch, decodePacket } from '../../src/wire/decode.ts';
import {
  frameDirection,
  isSupportedLinkType,
  LINKTYPE_DLT_RAW,
  LINKTYPE_DLT_RAW_OPENBSD,
  LINKTYPE_IPV4,
  LINKTYPE_IPV6,
  LINKTYPE_LINUX_SLL,
  LINKTYPE_LINUX_SLL2,
  LINKTYPE_LOOP,
  LINKTYPE_NULL,
  LINKTYPE_RAW,
} from '../../src/wire/link.ts';
import * as record from '../../src/wire/record.ts';
import { decodeFrame, flowOf, STALE } from './record-of.ts';

const V4_SRC = 0x0a000001;
const V4_DST = 0xc0000201 | 0;
const V6_SRC = [0x20010db8, 1, 2, 3] as const;
const V6_DST = [0xfd000000 | 0, -1, 5, 6] as const;

const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
const port = fc.integer({ min: 0, max: 0xffff });
const address6 = fc.tuple(int32, int32, int32, int32);
const addresses: fc.Arbitrary<[SyntheticAddress, SyntheticAddress]> = fc.oneof(
  fc.tuple(int32, int32),
  fc.tuple(address6, address6),
);
const extensionHeaders = fc.array(
  fc.oneof(
    fc.record({ protocol: fc.constantFrom(0, 43, 60), bytes: fc.constantFrom(8, 16, 24, 264) }),
    fc.record({ protocol: fc.constant(51), bytes: fc.constantFrom(12, 16, 24) }),
  ),
  { maxLength: 4 },
);

const frameSpecs: fc.Arbitrary<FrameSpec & { payload: Uint8Array }> = fc
  .record({
    ends: addresses,
    protocol: fc.constantFrom(1, 6, 17, 58, 132, 136, 4, 47, 50, 99),
    srcPort: port,
    dstPort: port,
    tcpFlags: fc.integer({ min: 0, max: 255 }),
    tcpSeq: fc.integer({ min: 0, max: 0xffffffff }),
    tcpAck: fc.integer({ min: 0, max: 0xffffffff }),
    tcpWindow: port,
    tcpOptionBytes: fc.constantFrom(0, 0, 4, 12, 40),
    icmpType: fc.integer({ min: 0, max: 255 }),
    icmpCode: fc.integer({ min: 0, max: 255 }),
    icmpRest: fc.integer({ min: 0, max: 0xffffffff }),
    payload: fc.uint8Array({ maxLength: 60 }),
    vlanIds: fc.array(fc.integer({ min: 0, max: 4095 }), { maxLength: 3 }),
    ipOptionBytes: fc.constantFrom(0, 0, 4, 40),
    ipId: port,
    extensionHeaders,
  })
  .map(({ ends, ...rest }) => ({ ...rest, src: ends[0], dst: ends[1] }));

/** The record that a whole frame of this description must give. */
function expectFields(spec: FrameSpec & { payload: Uint8Array }, frame: Uint8Array): void {
  const { status, words, flags } = decodeFrame(frame);
  expect(status).toBe(record.DECODE_OK);
  const isIpv6 = typeof spec.src !== 'number';
  const isIcmp = spec.protocol === 1 || spec.protocol === 58;
  const hasPorts = isIcmp || [6, 17, 132, 136].includes(spec.protocol);
  const extraBytes = isIpv6
    ? (spec.extensionHeaders ?? []).reduce((sum, one) => sum + one.bytes, 0)
    : (spec.ipOptionBytes ?? 0);
  const vlanIds = spec.vlanIds ?? [];
  const ipOffset = 3 + 14 + 4 * vlanIds.length;
  const transportOffset = ipOffset + (isIpv6 ? 40 : 20) + extraBytes;
  const transportBytes = 3 + frame.length - transportOffset;
  const first = hasPorts ? (isIcmp ? spec.icmpType : spec.srcPort) : 0;
  const second = hasPorts ? (isIcmp ? spec.icmpCode : spec.dstPort) : 0;
  expect(flowOf(words)).toEqual({
    protocol: spec.protocol,
    srcPort: first,
    dstPort: second,
    src: wordsOf(spec.src),
    dst: wordsOf(spec.dst),
  });
  expect(flags).toBe(
    (hasPorts ? record.FLAG_L4_PORTS : 0) |
      (isIpv6 ? record.FLAG_IPV6 : 0) |
      (isIpv6 && extraBytes > 0 ? record.FLAG_EXTENSION_HEADERS : 0) |
      (!isIpv6 && extraBytes > 0 ? record.FLAG_IP_OPTIONS : 0),
  );
  expect([...words.subarray(record.PACKET_FRAGMENT_OFFSET_BYTES, record.PACKET_VLAN_ID + 1)]).toEqual([
    0,
    ipOffset,
    transportOffset,
    transportBytes,
    transportBytes,
    3 + frame.length - ipOffset,
    vlanIds.at(-1) ?? record.NO_VLAN,
  ]);
  expect(words[record.PACKET_IP_ID]).toBe(isIpv6 ? 0 : spec.ipId);
  expect(words[record.PACKET_TCP_FLAGS]).toBe(spec.protocol === 6 ? spec.tcpFlags : 0);
  if (vlanIds.length > 1) expect(words[record.PACKET_OUTER_VLAN_ID]).toBe(vlanIds[0]);
  if (isIcmp) expect(words[record.PACKET_ICMP_ID]).toBe((spec.icmpRest ?? 0) >>> 16);
  if (spec.protocol === 6) {
    expect(words[record.PACKET_TCP_SEQ]! >>> 0).toBe(spec.tcpSeq);
    expect(words[record.PACKET_TCP_ACK]! >>> 0).toBe(spec.tcpAck);
    expect(words[record.PACKET_TCP_WINDOW]).toBe(spec.tcpWindow);
    expect(words[record.PACKET_TRANSPORT_HEADER_BYTES]).toBe(20 + (spec.tcpOptionBytes ?? 0));
  }
}

describe('decoding', () => {
  test('a frame gives back the fields it was built from', () => {
    fc.assert(
      fc.property(frameSpecs, (spec) => expectFields(spec, buildFrame(spec))),
      { numRuns: 5000 },
    );
  });

  // The short way of decode.ts against the general one: the same packet as RAW goes header by header.
  test('the short way and the general way agree', () => {
    const small = fc.record({
      spec: frameSpecs,
      captured: fc.integer({ min: 0, max: 120 }),
      padding: fc.integer({ min: 0, max: 20 }),
      flips: fc.array(fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 255 })), { maxLength: 2 }),
    });
    fc.assert(
      fc.property(small, ({ spec, captured, padding, flips }) => {
        const packet = concatBytes([buildPacket({ ...spec, vlanIds: [] }), new Uint8Array(padding)]);
        const frame = wrapEthernet(packet);
        for (const [place, bits] of flips) if (place < packet.length) packet[place]! ^= bits;
        frame.set(packet, 14);
        // A changed version would make RAW choose the other decoder.
        packet[0] = frame[14] = (packet[0]! & 0x0f) | (typeof spec.src === 'number' ? 0x40 : 0x60);
        const kept = Math.min(captured, packet.length);
        const byEthernet = decodeFrame(frame, 1, kept + 14, frame.length);
        const byRaw = decodeFrame(
          packet,
          typeof spec.src === 'number' ? LINKTYPE_IPV4 : LINKTYPE_IPV6,
          kept,
          packet.length,
        );
        expect(byEthernet.status).toBe(byRaw.status);
        if (byRaw.status !== record.DECODE_OK) return;
        const raw = byRaw.words.slice();
        raw[record.PACKET_IP_OFFSET]! += 14;
        raw[record.PACKET_TRANSPORT_OFFSET]! += 14;
        if ((byRaw.flags & record.FLAG_FRAGMENT) !== 0) raw[record.PACKET_FRAGMENT_DATA_OFFSET]! += 14;
        expect(byEthernet.words).toEqual(raw);
      }),
      { numRuns: 5000 },
    );
  });

  test('a batch is its frames one by one', () => {
    const specs: readonly FrameSpec[] = [TCP4, UDP6, { ...TCP4, vlanIds: [7] }, { ...TCP4, protocol: 1 }];
    const frames = [...specs.map((spec) => buildFrame(spec)), buildPacket(UDP6), new Uint8Array(9)];
    const linkTypes = Int32Array.of(1, 1, 1, 1, LINKTYPE_RAW, 1);
    const captured = Int32Array.from(frames, (frame) => frame.length);
    const wire = Float64Array.from(frames, (frame, i) => frame.length + i);
    const offsets = captured.map((_, i) => captured.subarray(0, i).reduce((sum, bytes) => sum + bytes, 0));
    const out = new Int32Array((frames.length + 1) * record.PACKET_WORDS).fill(STALE);
    const view = new DataView(concatBytes(frames).buffer);
    decodeBatch(view, offsets, captured, wire, linkTypes, frames.length, out);
    frames.forEach((_, i) => {
      const one = new Int32Array(record.PACKET_WORDS).fill(STALE);
      decodePacket(view, offsets[i]!, captured[i]!, wire[i]!, linkTypes[i]!, one, 0);
      expect(out.subarray(i * record.PACKET_WORDS, (i + 1) * record.PACKET_WORDS)).toEqual(one);
    });
    expect(out.subarray(frames.length * record.PACKET_WORDS).every((word) => word === STALE)).toBe(true);
  });

  test('words that have no mark in the picture never keep an older value', () => {
    const marked = [
      record.PACKET_TCP_SEQ,
      record.PACKET_TCP_ACK,
      record.PACKET_TCP_WINDOW,
      record.PACKET_OUTER_VLAN_ID,
      record.PACKET_ICMP_ID,
      record.PACKET_FRAGMENT_DATA_OFFSET,
      record.PACKET_FRAGMENT_DATA_BYTES,
      record.PACKET_FRAGMENT_PROTOCOL,
      31,
    ];
    fc.assert(
      fc.property(frameSpecs, fc.integer({ min: 0, max: 400 }), (spec, captured) => {
        const frame = buildFrame({ ...spec, src: V4_SRC, dst: V4_DST, payload: new Uint8Array(3) });
        const { status, words } = decodeFrame(frame, 1, Math.min(captured, frame.length));
        if (status !== record.DECODE_OK) return;
        words.forEach((word, index) => {
          if (!marked.includes(index)) expect(word).not.toBe(STALE);
        });
      }),
      { numRuns: 2000 },
    );
  });
});

const TCP4: FrameSpec = { src: V4_SRC, dst: V4_DST, protocol: 6, srcPort: 40000, dstPort: 5432, tcpFlags: 0x12 };
const UDP6: FrameSpec = { src: V6_SRC, dst: V6_DST, protocol: 17, srcPort: 40000, dstPort: 53 };

describe('link types', () => {
  const head = (bytes: number[], spec: FrameSpec): Uint8Array =>
    concatBytes([Uint8Array.from(bytes), buildPacket(spec)]);
  const cooked = (etherType: number[]): number[] => [...new Array(14).fill(0), ...etherType];
  const cooked2 = (etherType: number[]): number[] => [...etherType, ...new Array(18).fill(0)];

  test.each([
    ['RAW IPv4', LINKTYPE_RAW, head([], TCP4), TCP4],
    ['RAW IPv6', LINKTYPE_RAW, head([], UDP6), UDP6],
    ['RAW, old number', LINKTYPE_DLT_RAW, head([], UDP6), UDP6],
    ['RAW, OpenBSD', LINKTYPE_DLT_RAW_OPENBSD, head([], TCP4), TCP4],
    ['IPV4', LINKTYPE_IPV4, head([], TCP4), TCP4],
    ['IPV6', LINKTYPE_IPV6, head([], UDP6), UDP6],
    ['NULL, little-endian', LINKTYPE_NULL, head([2, 0, 0, 0], TCP4), TCP4],
    ['NULL, big-endian', LINKTYPE_NULL, head([0, 0, 0, 2], TCP4), TCP4],
    ['NULL, Linux IPv6', LINKTYPE_NULL, head([10, 0, 0, 0], UDP6), UDP6],
    ['NULL, NetBSD IPv6', LINKTYPE_NULL, head([0, 0, 0, 24], UDP6), UDP6],
    ['NULL, FreeBSD IPv6', LINKTYPE_NULL, head([28, 0, 0, 0], UDP6), UDP6],
    ['NULL, Darwin IPv6', LINKTYPE_NULL, head([30, 0, 0, 0], UDP6), UDP6],
    ['LOOP', LINKTYPE_LOOP, head([0, 0, 0, 2], TCP4), TCP4],
    ['SLL', LINKTYPE_LINUX_SLL, head(cooked([0x08, 0x00]), TCP4), TCP4],
    ['SLL IPv6', LINKTYPE_LINUX_SLL, head(cooked([0x86, 0xdd]), UDP6), UDP6],
    ['SLL with a VLAN tag', LINKTYPE_LINUX_SLL, head(cooked([0x81, 0, 0, 7, 0x08, 0]), TCP4), TCP4],
    ['SLL2', LINKTYPE_LINUX_SLL2, head(cooked2([0x08, 0x00]), TCP4), TCP4],
    ['SLL2 IPv6', LINKTYPE_LINUX_SLL2, head(cooked2([0x86, 0xdd]), UDP6), UDP6],
  ] as const)('%s', (_name, linkType, frame, spec) => {
    const { status, words } = decodeFrame(frame, linkType);
    expect(status).toBe(record.DECODE_OK);
    expect(flowOf(words)).toMatchObject({ protocol: spec.protocol, srcPort: 40000, dstPort: spec.dstPort });
    for (let captured = 0; captured < frame.length; captured++) {
      const cut = decodeFrame(frame, linkType, captured);
      expect([record.DECODE_OK, record.DECODE_TRUNCATED]).toContain(cut.status);
    }
  });

  test.each([
    ['ARP', 1, wrapType(0x0806), record.DECODE_ARP],
    ['ARP in a VLAN', 1, wrapType(0x8100, [0, 5, 0x08, 0x06]), record.DECODE_ARP],
    ['ARP, cooked', LINKTYPE_LINUX_SLL, Uint8Array.from(cooked([8, 6])), record.DECODE_ARP],
    ['LLC', 1, wrapType(0x0026), record.DECODE_OTHER_ETHERTYPE],
    ['MPLS', 1, wrapType(0x8847), record.DECODE_OTHER_ETHERTYPE],
    ['PPPoE', 1, wrapType(0x8864), record.DECODE_OTHER_ETHERTYPE],
    ['LLC in a VLAN', 1, wrapType(0x8100, [0, 5, 0, 0x26]), record.DECODE_OTHER_ETHERTYPE],
    ['NULL, OSI', LINKTYPE_NULL, Uint8Array.of(7, 0, 0, 0, 1, 2), record.DECODE_OTHER_ETHERTYPE],
    ['RAW, version 5', LINKTYPE_RAW, Uint8Array.of(0x55, 0, 0, 0), record.DECODE_MALFORMED],
    ['IPV4 with version 6', LINKTYPE_IPV4, buildPacket(UDP6), record.DECODE_MALFORMED],
    [
      'IPV6 with version 4',
      LINKTYPE_IPV6,
      concatBytes([buildPacket(TCP4), new Uint8Array(9)]),
      record.DECODE_MALFORMED,
    ],
    ['802.11', 105, buildPacket(TCP4), record.DECODE_UNSUPPORTED_LINK_TYPE],
    ['nothing, other link', 147, new Uint8Array(0), record.DECODE_UNSUPPORTED_LINK_TYPE],
  ] as const)('%s', (_name, linkType, frame, status) => {
    expect(decodeFrame(frame, linkType).status).toBe(status);
  });

  test('supported are those that decode, and no others', () => {
    const known = Array.from({ length: 300 }, (_, linkType) => linkType).filter(isSupportedLinkType);
    expect(known).toEqual([0, 1, 12, 14, 101, 108, 113, 228, 229, 276]);
    const frame = new Uint8Array(64);
    for (let linkType = 0; linkType < 300; linkType++) {
      const isUnknown = decodeFrame(frame, linkType).status === record.DECODE_UNSUPPORTED_LINK_TYPE;
      expect([linkType, isUnknown]).toEqual([linkType, !isSupportedLinkType(linkType)]);
    }
  });

  test('cooked headers tell which way a frame went, if the capture kept them', () => {
    const direction = (frame: Uint8Array, linkType: number, captured = frame.length): number =>
      frameDirection(new DataView(frame.buffer), 0, captured, linkType);
    const [eitherWay, inbound, outbound] = [0, 1, 2];
    for (const [type, wanted] of [0, 1, 2, 3, 4].map((type) => [type, type === 4 ? outbound : inbound] as const)) {
      const first = Uint8Array.from(cooked([8, 0]));
      first[1] = type;
      expect([type, direction(first, LINKTYPE_LINUX_SLL)]).toEqual([type, wanted]);
      expect(direction(first, LINKTYPE_LINUX_SLL, 15)).toBe(eitherWay);
      const second = Uint8Array.from(cooked2([8, 0]));
      second[10] = type;
      expect([type, direction(second, LINKTYPE_LINUX_SLL2)]).toEqual([type, wanted]);
      expect(direction(second, LINKTYPE_LINUX_SLL2, 19)).toBe(eitherWay);
      expect(direction(second, 1)).toBe(eitherWay);
    }
  });

  test('tags nested a hundred times end in a status', () => {
    const frame = buildFrame({ ...TCP4, vlanIds: new Array(100).fill(3) });
    expect(decodeFrame(frame).status).toBe(record.DECODE_MALFORMED);
    expect(decodeFrame(buildFrame({ ...TCP4, vlanIds: new Array(16).fill(3) })).status).toBe(record.DECODE_OK);
  });
});

describe('every header cut at every length', () => {
  const chain = [
    { protocol: 0, bytes: 8 },
    { protocol: 43, bytes: 24 },
    { protocol: 60, bytes: 16 },
    { protocol: 51, bytes: 24 },
  ];
  const payload = new Uint8Array(20);
  test.each([
    ['TCP with options', { ...TCP4, tcpOptionBytes: 12, payload }],
    ['TCP in two VLANs with IP options', { ...TCP4, vlanIds: [5, 6], ipOptionBytes: 16, payload }],
    ['UDP', { ...TCP4, protocol: 17, payload }],
    ['ICMP', { ...TCP4, protocol: 1, payload }],
    ['SCTP', { ...TCP4, protocol: 132 }],
    ['protocol 99', { ...TCP4, protocol: 99, payload }],
    ['UDP in IPv6', { ...UDP6, payload }],
    ['TCP behind extension headers', { ...UDP6, protocol: 6, extensionHeaders: chain, payload }],
    ['ICMPv6', { ...UDP6, protocol: 58, payload }],
  ] as const)('%s', (_name, spec) => {
    const frame = buildFrame(spec);
    const whole = decodeFrame(frame);
    const headerBytes = { 6: 20, 17: 8, 1: 8, 58: 8, 132: 12, 99: 0 }[spec.protocol] ?? 0;
    const transportAt = whole.words[record.PACKET_TRANSPORT_OFFSET]! - 3;
    for (let captured = 0; captured <= frame.length; captured++) {
      const cut = decodeFrame(frame, 1, captured);
      if (captured < ipHeaderEnd(spec)) {
        expect(cut.status).toBe(record.DECODE_TRUNCATED);
        continue;
      }
      expect(cut.status).toBe(record.DECODE_OK);
      const isWholeHeader = captured >= transportAt + headerBytes;
      expect((cut.flags & record.FLAG_L4_TRUNCATED) === 0).toBe(isWholeHeader);
      expect(cut.flags & record.FLAG_L4_INVALID).toBe(0);
      if (isWholeHeader) {
        expect(flowOf(cut.words)).toEqual(flowOf(whole.words));
        expect(cut.flags).toBe(whole.flags);
      }
      const portBytes = spec.protocol === 99 ? 9999 : spec.protocol === 1 || spec.protocol === 58 ? 2 : 4;
      expect((cut.flags & record.FLAG_L4_PORTS) !== 0).toBe(captured >= transportAt + portBytes);
      expect(cut.words[record.PACKET_TRANSPORT_CAPTURED_BYTES]).toBeLessThanOrEqual(captured);
    }
  });

  test('a frame that is short on the wire is malformed, not truncated', () => {
    const frame = buildFrame(TCP4);
    for (let length = 0; length < 34; length++) {
      expect(decodeFrame(frame.slice(0, length)).status).toBe(record.DECODE_MALFORMED);
      expect(decodeFrame(frame, 1, length, frame.length).status).toBe(record.DECODE_TRUNCATED);
    }
  });
});

describe('lengths that lie', () => {
  const patch = (spec: FrameSpec, place: number, value: number, bits = 16): Uint8Array => {
    const frame = buildFrame(spec);
    const view = new DataView(frame.buffer);
    if (bits === 16) view.setUint16(place, value);
    else view.setUint8(place, value);
    return frame;
  };
  const payload = new Uint8Array(30);

  test('IPv4 header length and total length', () => {
    for (let words = 0; words < 5; words++) {
      expect(decodeFrame(patch(TCP4, 14, 0x40 | words, 8)).status).toBe(record.DECODE_MALFORMED);
    }
    for (const total of [1, 8, 19]) {
      expect(decodeFrame(patch(TCP4, 16, total)).status).toBe(record.DECODE_MALFORMED);
    }
    // The header claims options that the total length does not cover.
    expect(decodeFrame(patch(TCP4, 14, 0x4f, 8)).status).toBe(record.DECODE_MALFORMED);

    const offloaded = decodeFrame(patch({ ...TCP4, payload }, 16, 0));
    expect(offloaded.status).toBe(record.DECODE_OK);
    expect(offloaded.flags & record.FLAG_LENGTH_FROM_FRAME).not.toBe(0);
    expect(offloaded.words[record.PACKET_TRANSPORT_BYTES]).toBe(50);

    const tooLong = decodeFrame(patch(TCP4, 16, 1000));
    expect(tooLong.status).toBe(record.DECODE_OK);
    expect(tooLong.flags & record.FLAG_IP_LENGTH_EXCEEDS_FRAME).not.toBe(0);
    expect(flowOf(tooLong.words)).toEqual(flowOf(decodeFrame(buildFrame(TCP4)).words));

    // 20 bytes of IP and 10 of "TCP": the rest of the frame is padding and must not be taken for ports or flags.
    const short = decodeFrame(patch({ ...TCP4, payload }, 16, 30));
    expect(short.flags & (record.FLAG_L4_INVALID | record.FLAG_PADDING)).toBe(
      record.FLAG_L4_INVALID | record.FLAG_PADDING,
    );
    expect(short.words[record.PACKET_TCP_FLAGS]).toBe(0);
    const empty = decodeFrame(patch({ ...TCP4, payload }, 16, 20));
    expect(empty.flags & (record.FLAG_L4_INVALID | record.FLAG_L4_PORTS)).toBe(record.FLAG_L4_INVALID);
  });

  test('TCP data offset, UDP length', () => {
    const isInvalid = (frame: Uint8Array): boolean => (decodeFrame(frame).flags & record.FLAG_L4_INVALID) !== 0;
    for (let words = 0; words < 16; words++) {
      expect(isInvalid(patch(TCP4, 46, words << 4, 8))).toBe(words !== 5);
      expect(isInvalid(patch({ ...TCP4, payload: new Uint8Array(40) }, 46, words << 4, 8))).toBe(words < 5);
    }
    const udp: FrameSpec = { ...TCP4, protocol: 17, payload };
    for (const [udpBytes, invalid] of [
      [0, true],
      [7, true],
      [8, false],
      [38, false],
      [39, true],
    ] as const) {
      expect(isInvalid(patch(udp, 38, udpBytes))).toBe(invalid);
      expect(isInvalid(patch({ ...UDP6, payload }, 58, udpBytes))).toBe(invalid);
    }
  });

  test('IPv6 payload length, jumbo payload, extension headers past the end', () => {
    const spec: FrameSpec = { ...UDP6, payload };
    const offloaded = decodeFrame(patch(spec, 18, 0));
    expect(offloaded.flags & record.FLAG_LENGTH_FROM_FRAME).not.toBe(0);
    expect(offloaded.words[record.PACKET_TRANSPORT_BYTES]).toBe(38);
    expect(decodeFrame(patch(spec, 18, 900)).flags & record.FLAG_IP_LENGTH_EXCEEDS_FRAME).not.toBe(0);

    const chain = buildFrame({ ...spec, extensionHeaders: [{ protocol: 60, bytes: 8 }] });
    chain[14 + 41] = 200;
    const past = decodeFrame(chain);
    expect([past.status, past.flags & record.FLAG_L4_INVALID]).toEqual([record.DECODE_OK, record.FLAG_L4_INVALID]);
    expect(past.flags & record.FLAG_L4_PORTS).toBe(0);

    // 100 000 bytes of which the capture kept 130: the length is in the hop-by-hop option.
    const jumbo = buildFrame({ ...spec, extensionHeaders: [{ protocol: 0, bytes: 8 }] });
    const view = new DataView(jumbo.buffer);
    view.setUint16(18, 0);
    view.setUint16(56, 0xc204);
    view.setUint32(58, 100_000);
    view.setUint16(14 + 48 + 4, 0);
    const large = decodeFrame(jumbo, 1, jumbo.length, 14 + 40 + 100_000);
    expect(large.words[record.PACKET_IP_TOTAL_BYTES]).toBe(100_040);
    expect(large.flags & (record.FLAG_L4_INVALID | record.FLAG_LENGTH_FROM_FRAME)).toBe(0);
    expect(flowOf(large.words)).toMatchObject({ protocol: 17, dstPort: 53 });
  });

  test('a jumbo length behind padding counts; an illegal one, and one that was not captured, are absent', () => {
    const frameBytes = 14 + 40 + 70_000;
    const jumbo = (options: readonly number[], captured?: number): ReturnType<typeof decodeFrame> => {
      const frame = buildFrame({ ...UDP6, payload, extensionHeaders: [{ protocol: 0, bytes: 16 }] });
      const view = new DataView(frame.buffer);
      view.setUint16(18, 0);
      frame.set(options, 56);
      return decodeFrame(frame, 1, captured ?? frame.length, frameBytes);
    };
    const option = (bytes: number): number[] => [
      0xc2,
      4,
      bytes >>> 24,
      (bytes >>> 16) & 255,
      (bytes >>> 8) & 255,
      bytes & 255,
    ];
    const total = (options: readonly number[], captured?: number): number =>
      jumbo(options, captured).words[record.PACKET_IP_TOTAL_BYTES]!;
    const pad1 = [0, 0];
    const padN = [1, 2, 0, 0];
    expect(total([...pad1, ...option(69_000)])).toBe(69_040);
    expect(total([...padN, ...option(69_000)])).toBe(69_040);
    // 65 535 fits the ordinary field; 0xffff_ffff is no length of ours.
    for (const bytes of [0, 0xffff, 0x7fff_0000, 0xffff_ffff]) {
      const { words, flags } = jumbo([...pad1, ...option(bytes)]);
      expect([words[record.PACKET_IP_TOTAL_BYTES], flags & record.FLAG_LENGTH_FROM_FRAME]).toEqual([
        70_040,
        record.FLAG_LENGTH_FROM_FRAME,
      ]);
    }
    expect(total([...padN, ...padN, ...padN])).toBe(70_040);
    // The first 8 bytes of the header were captured, or less.
    expect(total(option(69_000), 14 + 40 + 8)).toBe(69_040);
    expect(total(option(69_000), 14 + 40 + 7)).toBe(70_040);
  });

  test('a hundred extension headers end in a status, no next header is protocol 59, mobility 135', () => {
    const many = new Array(100).fill({ protocol: 60, bytes: 8 });
    const deep = decodeFrame(buildFrame({ ...UDP6, extensionHeaders: many }));
    expect([deep.status, deep.flags & record.FLAG_L4_INVALID]).toEqual([record.DECODE_OK, record.FLAG_L4_INVALID]);
    for (const protocol of [59, 135, 50]) {
      const last = decodeFrame(buildFrame({ ...UDP6, protocol, payload }));
      expect([last.status, last.words[record.PACKET_PROTOCOL]]).toEqual([record.DECODE_OK, protocol]);
    }
  });

  test('lengths on the wire below the captured or beyond 31 bits', () => {
    const frame = buildFrame(TCP4);
    for (const wire of [0, 10, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const { status, words } = decodeFrame(frame, 1, frame.length, wire);
      expect([status, words[record.PACKET_DST_PORT]]).toEqual([record.DECODE_OK, 5432]);
    }
  });
});

describe('fragments', () => {
  const payload = new Uint8Array(64).map((_, index) => index);
  test.each([
    ['IPv4', { ...TCP4, ipId: 77, payload }, 34],
    ['IPv6', { ...UDP6, protocol: 6, ipId: 0x89abcdef, payload }, 62],
  ] as const)('%s', (_name, spec, dataOffset) => {
    const fragments = buildFragments(spec, 24).map((packet) => decodeFrame(wrapEthernet(packet)));
    expect(fragments.length).toBe(4);
    fragments.forEach(({ status, words, flags }, index) => {
      const isFirst = index === 0;
      const isLast = index === 3;
      expect(status).toBe(record.DECODE_OK);
      expect(words[record.PACKET_PROTOCOL]).toBe(6);
      expect(words[record.PACKET_IP_ID]! >>> 0).toBe(spec.ipId);
      expect(words[record.PACKET_FRAGMENT_OFFSET_BYTES]).toBe(24 * index);
      expect(words[record.PACKET_FRAGMENT_DATA_OFFSET]).toBe(3 + dataOffset);
      expect(words[record.PACKET_FRAGMENT_DATA_BYTES]).toBe(isLast ? 12 : 24);
      expect(words[record.PACKET_FRAGMENT_PROTOCOL]).toBe(6);
      expect((flags & record.FLAG_FRAGMENT) !== 0).toBe(true);
      expect((flags & record.FLAG_MORE_FRAGMENTS) !== 0).toBe(!isLast);
      expect((flags & record.FLAG_FIRST_FRAGMENT) !== 0).toBe(isFirst);
      expect((flags & record.FLAG_L4_PORTS) !== 0).toBe(isFirst);
      expect(flags & (record.FLAG_L4_TRUNCATED | record.FLAG_L4_INVALID)).toBe(0);
    });
  });

  test('a tiny first fragment lacks evidence and is not invalid', () => {
    for (const spec of [TCP4, { ...UDP6, protocol: 6 }]) {
      const first = decodeFrame(wrapEthernet(buildFragments({ ...spec, payload }, 8)[0]!));
      expect(first.flags & (record.FLAG_L4_TRUNCATED | record.FLAG_L4_INVALID)).toBe(record.FLAG_L4_TRUNCATED);
      expect(first.flags & record.FLAG_L4_PORTS).not.toBe(0);
    }
  });

  test('an atomic IPv6 fragment is whole', () => {
    const [packet] = buildFragments({ ...UDP6, ipId: 5, payload: new Uint8Array(4) }, 1000);
    const { words, flags } = decodeFrame(wrapEthernet(packet!));
    expect(flags & record.FLAG_FRAGMENT).toBe(0);
    expect(words[record.PACKET_DST_PORT]).toBe(53);
  });
});

function wordsOf(address: SyntheticAddress): number[] {
  return typeof address === 'number' ? [address] : [...address];
}

/** Where the fixed IP header of a frame ends. */
function ipHeaderEnd(spec: FrameSpec): number {
  return 14 + 4 * (spec.vlanIds?.length ?? 0) + (typeof spec.src === 'number' ? 20 : 40);
}

function wrapType(etherType: number, behind: number[] = []): Uint8Array {
  return Uint8Array.from([
    ...new Array(12).fill(2),
    etherType >> 8,
    etherType & 0xff,
    ...behind,
    ...new Array(28).fill(0),
  ]);
}
