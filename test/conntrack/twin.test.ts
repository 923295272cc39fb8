import fc from 'fast-check';
import { expect, test } from 'vitest';
import { evictedEntries } from '../../src/conntrack/table.ts';
import { Harness } from './harness.ts';
import { ACK, FIN, icmpPayload, ip, packet, SYN, tcpPayload, udpPayload } from './packets.ts';
import { Twin, type TwinPacket } from './twin.ts';

const FLAGS = { SYN, 'SYN-ACK': SYN | ACK, FIN: FIN | ACK, ACK };
const HOSTS = { 4: ['10.0.0.1', '10.0.0.2'], 6: ['2001:db8:0:0:0:0:0:1', '2001:db8:0:0:0:0:0:2'] } as const;

function bytesOf(sent: TwinPacket): Uint8Array {
  const { src, dst, protocol, first, second } = sent;
  if (protocol === 6) return ip(src, dst, 6, tcpPayload(first, second, FLAGS[sent.kind!]));
  if (protocol === 17) return ip(src, dst, 17, udpPayload(first, second));
  if (protocol === 1 || protocol === 58) return ip(src, dst, protocol, icmpPayload(first, 0, second));
  return ip(src, dst, protocol, [0, 0, 8, 0]);
}

/** Few values, so that packets meet. */
const arbPacket: fc.Arbitrary<TwinPacket> = fc
  .record({
    version: fc.constantFrom(4 as const, 6 as const),
    isSwapped: fc.boolean(),
    protocol: fc.constantFrom(6, 6, 6, 17, 17, 1, 47, 89),
    ports: fc.constantFrom([1000, 80], [1001, 80], [80, 80]),
    question: fc.constantFrom(0, 1, 2, 3),
    kind: fc.constantFrom('SYN' as const, 'SYN-ACK' as const, 'FIN' as const, 'ACK' as const, 'ACK' as const),
  })
  .map(({ version, isSwapped, protocol, ports, question, kind }) => {
    const [src, dst] = isSwapped ? [HOSTS[version][1], HOSTS[version][0]] : [HOSTS[version][0], HOSTS[version][1]];
    if (protocol === 1) {
      const types = version === 4 ? [8, 0, 13, 14] : [128, 129, 128, 129];
      return { src, dst, protocol: version === 4 ? 1 : 58, first: types[question]!, second: 7 };
    }
    const hasPorts = protocol === 6 || protocol === 17;
    const [first, second] = hasPorts ? [isSwapped ? ports[1]! : ports[0]!, isSwapped ? ports[0]! : ports[1]!] : [0, 0];
    return { src, dst, protocol, first, second, kind };
  });

const arbStep = fc.record({
  packet: arbPacket,
  node: fc.constantFrom(0, 1),
  isAccepted: fc.constantFrom(true, true, true, false),
  // Established connections last 300 s or five days by numbers that the twin lacks: short steps, or very long ones.
  waitMs: fc.constantFrom(0, 0, 1, 999, 1000, 5000, 9999, -3000, 6 * 86_400_000),
});

test('agrees with the slow twin', () => {
  let packets = 0;
  fc.assert(
    fc.property(fc.array(arbStep, { minLength: 20, maxLength: 120, size: 'max' }), (steps) => {
      const harness = new Harness({ liberal: true, capacityEntries: 64 * 32 });
      const twin = new Twin();
      let untouchedMs = 0;
      for (const { packet: sent, node, isAccepted, waitMs } of steps) {
        const isLong = waitMs > 86_400_000;
        untouchedMs = isLong ? 0 : untouchedMs + Math.abs(waitMs);
        // Past 250 s of short steps the next one is long, whatever was drawn.
        const stepMs = untouchedMs > 250_000 ? 6 * 86_400_000 : waitMs;
        if (stepMs > 86_400_000) untouchedMs = 0;
        harness.nowMs += stepMs;
        const known = packet(bytesOf(sent));
        const ours = isAccepted ? harness.accept(known, node) : harness.track(known, node);
        const theirs = twin.track(sent, node, harness.nowMs);
        if (isAccepted && theirs === 'new') twin.confirm(sent, node, harness.nowMs);
        packets++;
        expect(ours).toBe(theirs);
      }
      expect(evictedEntries(harness.ct)).toBe(0);
    }),
    { numRuns: 1000, seed: 20_240_607 },
  );
  expect(packets).toBeGreaterThan(50_000);
});
