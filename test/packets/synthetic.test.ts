import { describe, expect, test } from 'vitest';
import type { FrameSpec } from '../../src/packets/synthetic.ts';
import {
  buildFragments,
  buildPacket,
  concatBytes,
  crc32c,
  internetChecksum,
  Xorshift32,
} from '../../src/packets/synthetic.ts';

const V4 = { src: 0x0a000001, dst: 0xc0000201 | 0 };
const V6 = { src: [0x20010db8, 1, 2, 3], dst: [0xfd000000 | 0, -1, 5, 6] } as const;

describe('synthetic packets', () => {
  test('checksums of RFC 1071 and RFC 9260', () => {
    // The example of RFC 1071, section 3, and the check value that is published for CRC-32C.
    expect(internetChecksum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7))).toBe(~0xddf2 & 0xffff);
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });

  // Summed with its own checksum, everything that the checksum covers gives 0.
  test.each([
    ['TCP', { ...V4, protocol: 6, payload: new Xorshift32(5).bytes(33) }],
    ['UDP', { ...V4, protocol: 17, payload: new Xorshift32(6).bytes(20) }],
    ['TCP in IPv6', { ...V6, protocol: 6, payload: new Xorshift32(7).bytes(31) }],
    ['UDP in IPv6', { ...V6, protocol: 17, payload: new Xorshift32(8).bytes(8) }],
    ['ICMPv6', { ...V6, protocol: 58, payload: new Xorshift32(9).bytes(5) }],
  ] as [string, FrameSpec][])('%s', (_name, spec) => {
    const packet = buildPacket(spec);
    const isIpv4 = packet[0]! >>> 4 === 4;
    if (isIpv4) expect(internetChecksum(packet.subarray(0, 20))).toBe(0);
    const transport = packet.subarray(isIpv4 ? 20 : 40);
    const addresses = isIpv4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
    const length = transport.length;
    const pseudoHeader = concatBytes([addresses, Uint8Array.of(length >> 8, length & 0xff, 0, spec.protocol)]);
    expect(internetChecksum(concatBytes([pseudoHeader, transport]))).toBe(0);
  });

  test('ICMP and SCTP', () => {
    expect(internetChecksum(buildPacket({ ...V4, protocol: 1, payload: Uint8Array.of(1, 2, 3) }).subarray(20))).toBe(0);
    const sctp = buildPacket({ ...V4, protocol: 132, srcPort: 1, dstPort: 2 }).slice(20);
    const view = new DataView(sctp.buffer);
    const written = view.getUint32(8, true);
    view.setUint32(8, 0);
    expect(crc32c(sctp)).toBe(written);
  });

  test('fragments put together give the transport of the whole packet', () => {
    const spec = { ...V4, protocol: 17, payload: new Xorshift32(9).bytes(100) };
    const parts = buildFragments(spec, 30).map((packet) => packet.subarray(20));
    expect(parts.map((part) => part.length)).toEqual([24, 24, 24, 24, 12]);
    expect(concatBytes(parts)).toEqual(buildPacket(spec).slice(20));
  });

  test('the same seed gives the same numbers', () => {
    expect(new Xorshift32(5).bytes(8)).toEqual(new Xorshift32(5).bytes(8));
    expect(new Xorshift32(5).bytes(8)).not.toEqual(new Xorshift32(6).bytes(8));
    expect(new Xorshift32(0).next()).toBeGreaterThan(0);
  });
});
