import { describe, expect, test } from 'vitest';
import type { FrameSpec } from '../../src/packets/synthetic.ts';
import { buildFragments, buildFrame, buildPacket, concatBytes, wrapEthernet } from '../../src/packets/synthetic.ts';
import { decodePacket } from '../../src/wire/decode.ts';
import { decodeQuoted, isIcmpError } from '../../src/wire/quoted.ts';
import * as record from '../../src/wire/record.ts';
import * as tunnel from '../../src/wire/tunnel.ts';
import { flowOf } from './record-of.ts';

const ROUTER4 = 0x0a0000fe;
const A4 = 0x0a000001;
const B4 = 0x0a000002;
const ROUTER6 = [0xfd000000 | 0, 0, 0, 0xfe] as const;
const A6 = [0xfd000000 | 0, 0, 0, 1] as const;
const B6 = [0xfd000000 | 0, 0, 0, 2] as const;
const TCP4: FrameSpec = { src: A4, dst: B4, protocol: 6, srcPort: 40000, dstPort: 443, tcpSeq: 0x01020304 };
const UDP6: FrameSpec = { src: A6, dst: B6, protocol: 17, srcPort: 40000, dstPort: 53, payload: new Uint8Array(4) };

interface Layers {
  readonly view: DataView;
  readonly out: Int32Array;
  readonly outer: Int32Array;
  readonly inner: Int32Array;
}

function decodeOuter(frame: Uint8Array, captured = frame.length): Layers {
  const view = new DataView(frame.buffer, frame.byteOffset, captured);
  const out = new Int32Array(2 * record.PACKET_WORDS);
  expect(decodePacket(view, 0, captured, frame.length, 1, out, 0)).toBe(record.DECODE_OK);
  return { view, out, outer: out.subarray(0, record.PACKET_WORDS), inner: out.subarray(record.PACKET_WORDS) };
}

describe('packets quoted by ICMP errors', () => {
  test('8 bytes of transport are enough for the ports', () => {
    const quote = buildPacket(TCP4).slice(0, 28);
    for (const icmpType of [3, 4, 5, 11, 12]) {
      const { view, out, inner } = decodeOuter(
        buildFrame({ src: ROUTER4, dst: A4, protocol: 1, icmpType, payload: quote }),
      );
      expect(isIcmpError(out, 0)).toBe(true);
      expect(decodeQuoted(view, out, 0, out, record.PACKET_WORDS)).toBe(record.DECODE_OK);
      expect(flowOf(inner)).toEqual({ protocol: 6, srcPort: 40000, dstPort: 443, src: [A4], dst: [B4] });
      expect(inner[record.PACKET_TCP_SEQ]).toBe(0x01020304);
      const state = inner[record.PACKET_FLAGS]! & (record.FLAG_L4_TRUNCATED | record.FLAG_L4_INVALID);
      expect(state).toBe(record.FLAG_L4_TRUNCATED);
    }
  });

  test('ICMPv6 quotes as much as fits', () => {
    const { view, out, inner } = decodeOuter(
      buildFrame({ src: ROUTER6, dst: A6, protocol: 58, icmpType: 1, icmpCode: 4, payload: buildPacket(UDP6) }),
    );
    expect(isIcmpError(out, 0)).toBe(true);
    expect(decodeQuoted(view, out, 0, out, record.PACKET_WORDS)).toBe(record.DECODE_OK);
    expect(flowOf(inner)).toEqual({ protocol: 17, srcPort: 40000, dstPort: 53, src: [...A6], dst: [...B6] });
  });

  test('questions and answers quote nothing', () => {
    for (const icmpType of [0, 8, 13, 14, 128]) {
      expect(isIcmpError(decodeOuter(buildFrame({ src: ROUTER4, dst: A4, protocol: 1, icmpType })).out, 0)).toBe(false);
    }
    for (const icmpType of [128, 129, 133, 135, 136]) {
      const frame = buildFrame({ src: ROUTER6, dst: A6, protocol: 58, icmpType });
      expect(isIcmpError(decodeOuter(frame).out, 0)).toBe(false);
    }
    // ICMP in IPv6 and ICMPv6 in IPv4 are just protocols.
    expect(isIcmpError(decodeOuter(buildFrame({ src: A6, dst: B6, protocol: 1, icmpType: 3 })).out, 0)).toBe(false);
    expect(isIcmpError(decodeOuter(buildFrame({ src: A4, dst: B4, protocol: 58, icmpType: 1 })).out, 0)).toBe(false);
  });

  test('a quote cut at every length, by its sender and by the capture', () => {
    const quote = buildPacket(TCP4);
    for (let length = 0; length <= quote.length; length++) {
      const sent = decodeOuter(
        buildFrame({ src: ROUTER4, dst: A4, protocol: 1, icmpType: 3, payload: quote.slice(0, length) }),
      );
      const status = decodeQuoted(sent.view, sent.out, 0, sent.out, record.PACKET_WORDS);
      expect(status).toBe(length < 20 ? record.DECODE_MALFORMED : record.DECODE_OK);
      expect(sent.inner[record.PACKET_STATUS]).toBe(status);

      const whole = buildFrame({ src: ROUTER4, dst: A4, protocol: 1, icmpType: 3, payload: quote });
      const kept = decodeOuter(whole, whole.length - quote.length + length);
      const keptStatus = decodeQuoted(kept.view, kept.out, 0, kept.out, record.PACKET_WORDS);
      expect(keptStatus).toBe(length < 20 ? record.DECODE_TRUNCATED : record.DECODE_OK);
      const hasPorts = length >= 24;
      if (length >= 20) expect((kept.inner[record.PACKET_FLAGS]! & record.FLAG_L4_PORTS) !== 0).toBe(hasPorts);
    }
  });
});

describe('tunnels', () => {
  const outer4 = { src: 0x64000001, dst: 0x64000002 };
  const outer6 = { src: ROUTER6, dst: B6 };
  const inner4 = buildPacket(TCP4);
  const inner6 = buildPacket(UDP6);
  const flow4 = { protocol: 6, srcPort: 40000, dstPort: 443, src: [A4], dst: [B4] };
  const flow6 = { protocol: 17, srcPort: 40000, dstPort: 53, src: [...A6], dst: [...B6] };
  const vxlan = (frame: Uint8Array): Uint8Array => concatBytes([Uint8Array.of(8, 0, 0, 0, 0, 0, 42, 0), frame]);
  const geneve = (type: number, packet: Uint8Array, optionWords = 0): Uint8Array =>
    concatBytes([
      Uint8Array.of(optionWords, 0, type >> 8, type & 0xff, 0, 0, 42, 0),
      new Uint8Array(4 * optionWords),
      packet,
    ]);
  const gre = (flags: number, type: number, packet: Uint8Array): Uint8Array =>
    concatBytes([
      Uint8Array.of(flags >> 8, flags & 0xff, type >> 8, type & 0xff),
      new Uint8Array(4 * [0x8000, 0x2000, 0x1000].filter((bit) => flags & bit).length),
      packet,
    ]);

  test.each([
    ['VXLAN', tunnel.TUNNEL_VXLAN, { ...outer4, protocol: 17, dstPort: 4789, payload: vxlan(buildFrame(TCP4)) }, flow4],
    [
      'VXLAN in IPv6',
      tunnel.TUNNEL_VXLAN,
      { ...outer6, protocol: 17, dstPort: 4789, payload: vxlan(buildFrame(UDP6)) },
      flow6,
    ],
    [
      'VXLAN, tagged inside',
      tunnel.TUNNEL_VXLAN,
      { ...outer4, protocol: 17, dstPort: 4789, payload: vxlan(buildFrame({ ...TCP4, vlanIds: [9] })) },
      flow4,
    ],
    [
      'Geneve, Ethernet',
      tunnel.TUNNEL_GENEVE,
      { ...outer4, protocol: 17, dstPort: 6081, payload: geneve(0x6558, buildFrame(TCP4), 3) },
      flow4,
    ],
    [
      'Geneve, IPv6',
      tunnel.TUNNEL_GENEVE,
      { ...outer4, protocol: 17, dstPort: 6081, payload: geneve(0x86dd, inner6, 63) },
      flow6,
    ],
    ['IP in IP', tunnel.TUNNEL_IPIP, { ...outer4, protocol: 4, payload: inner4 }, flow4],
    ['IPv6 in IPv4', tunnel.TUNNEL_IPIP, { ...outer4, protocol: 41, payload: inner6 }, flow6],
    ['IPv4 in IPv6', tunnel.TUNNEL_IPIP, { ...outer6, protocol: 4, payload: inner4 }, flow4],
    ['GRE', tunnel.TUNNEL_GRE, { ...outer4, protocol: 47, payload: gre(0, 0x0800, inner4) }, flow4],
    ['GRE, all fields', tunnel.TUNNEL_GRE, { ...outer4, protocol: 47, payload: gre(0xb000, 0x86dd, inner6) }, flow6],
    [
      'GRE, bridged',
      tunnel.TUNNEL_GRE,
      { ...outer4, protocol: 47, payload: gre(0x2000, 0x6558, buildFrame(TCP4)) },
      flow4,
    ],
  ] as [string, number, FrameSpec, object][])('%s', (_name, kind, spec, flow) => {
    const frame = buildFrame(spec);
    const { view, out, inner } = decodeOuter(frame);
    expect(tunnel.tunnelKind(out, 0)).toBe(kind);
    expect(tunnel.decodeInner(kind, view, out, 0, out, record.PACKET_WORDS)).toBe(record.DECODE_OK);
    expect(flowOf(inner)).toEqual(flow);
    expect(inner[record.PACKET_FLAGS]! & (record.FLAG_PADDING | record.FLAG_IP_LENGTH_EXCEEDS_FRAME)).toBe(0);
    // The capture may end anywhere in it.
    for (let captured = typeof spec.src === 'number' ? 34 : 54; captured < frame.length; captured++) {
      const cut = decodeOuter(frame, captured);
      if (tunnel.tunnelKind(cut.out, 0) === tunnel.TUNNEL_NONE) continue;
      const status = tunnel.decodeInner(kind, cut.view, cut.out, 0, cut.out, record.PACKET_WORDS);
      expect([record.DECODE_OK, record.DECODE_TRUNCATED]).toContain(status);
    }
  });

  test('what is no tunnel, or not ours to open', () => {
    const kindOf = (spec: FrameSpec): number => tunnel.tunnelKind(decodeOuter(buildFrame(spec)).out, 0);
    expect(kindOf({ ...outer4, protocol: 17, dstPort: 8472 })).toBe(tunnel.TUNNEL_NONE);
    expect(kindOf({ ...outer4, protocol: 17, srcPort: 4789, dstPort: 9 })).toBe(tunnel.TUNNEL_NONE);
    expect(kindOf({ ...outer4, protocol: 6, dstPort: 4789 })).toBe(tunnel.TUNNEL_NONE);
    const flannel = decodeOuter(buildFrame({ ...outer4, protocol: 17, dstPort: 8472 }));
    expect(tunnel.tunnelKind(flannel.out, 0, 8472)).toBe(tunnel.TUNNEL_VXLAN);

    const statusOf = (spec: FrameSpec): number => {
      const { view, out } = decodeOuter(buildFrame(spec));
      return tunnel.decodeInner(tunnel.tunnelKind(out, 0), view, out, 0, out, record.PACKET_WORDS);
    };
    expect(statusOf({ ...outer4, protocol: 47, payload: gre(1, 0x880b, inner4) })).toBe(record.DECODE_OTHER_ETHERTYPE);
    expect(statusOf({ ...outer4, protocol: 47, payload: gre(0x4000, 0x0800, inner4) })).toBe(
      record.DECODE_OTHER_ETHERTYPE,
    );
    expect(statusOf({ ...outer4, protocol: 47, payload: gre(0, 0x88be, inner4) })).toBe(record.DECODE_OTHER_ETHERTYPE);
    const noId = vxlan(buildFrame(TCP4));
    noId[0] = 0;
    expect(statusOf({ ...outer4, protocol: 17, dstPort: 4789, payload: noId })).toBe(record.DECODE_MALFORMED);
    expect(statusOf({ ...outer4, protocol: 17, dstPort: 6081, payload: geneve(0x1234, inner4) })).toBe(
      record.DECODE_OTHER_ETHERTYPE,
    );
    const nextVersion = geneve(0x0800, inner4);
    nextVersion[0] = 0x40;
    expect(statusOf({ ...outer4, protocol: 17, dstPort: 6081, payload: nextVersion })).toBe(record.DECODE_MALFORMED);
    expect(statusOf({ ...outer4, protocol: 4, payload: new Uint8Array(0) })).toBe(record.DECODE_MALFORMED);
  });

  test('only the first fragment of a tunnel packet shows what is inside', () => {
    const payload = vxlan(buildFrame({ ...TCP4, payload: new Uint8Array(40) }));
    const spec = { ...outer4, protocol: 17, dstPort: 4789, payload, ipId: 3 };
    const kinds = buildFragments(spec, 80).map((packet) => {
      const { view, out, inner } = decodeOuter(wrapEthernet(packet));
      const kind = tunnel.tunnelKind(out, 0);
      if (kind !== tunnel.TUNNEL_NONE) {
        tunnel.decodeInner(kind, view, out, 0, out, record.PACKET_WORDS);
        expect(flowOf(inner)).toEqual(flow4);
      }
      return kind;
    });
    expect(kinds).toEqual([tunnel.TUNNEL_VXLAN, tunnel.TUNNEL_NONE]);
  });
});
