/** What a capture lost of a TCP stream, against a count byte by byte. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TcpGaps } from '../../src/analyze/tcp-gaps.ts';

const BASE = 0xffff_fff0;

/** Segments and acknowledgements by their distance from the first byte; the stream wraps around soon. */
type Step = { readonly at: number; readonly length: number } | { readonly ack: number };

/** The same with a set of bytes: those acknowledged, not seen before that, counted once each. */
function naive(steps: readonly Step[]): number {
  const seen = new Set<number>([0]);
  const lost = new Set<number>();
  for (const step of steps) {
    if ('ack' in step) {
      for (let byte = 0; byte < step.ack; byte++) if (!seen.has(byte)) lost.add(byte);
    } else {
      for (let byte = step.at; byte < step.at + step.length; byte++) seen.add(byte);
    }
    for (const byte of lost) seen.add(byte);
  }
  return lost.size;
}

function counted(steps: readonly Step[]): number {
  const gaps = new TcpGaps();
  gaps.seen(BASE | 0, 1);
  for (const step of steps) {
    if ('ack' in step) gaps.acknowledged((BASE + step.ack) | 0);
    else gaps.seen((BASE + step.at) | 0, step.length);
  }
  return gaps.lostBytes;
}

describe('TcpGaps', () => {
  test('counts bytes that were acknowledged and never seen, once each', () => {
    const segment = fc.record({ at: fc.integer({ min: 1, max: 60 }), length: fc.integer({ min: 0, max: 12 }) });
    const acknowledgement = fc.record({ ack: fc.integer({ min: 0, max: 72 }) });
    // No more than eight holes at a time fit; six segments make five.
    const steps = fc.array(fc.oneof(segment, acknowledgement), { maxLength: 6 });
    fc.assert(
      fc.property(steps, (drawn) => {
        expect(counted(drawn)).toBe(naive(drawn));
      }),
      { numRuns: 3000 },
    );
  });

  test('never counts too much, however many holes there are', () => {
    const segment = fc.record({ at: fc.integer({ min: 1, max: 400 }), length: fc.integer({ min: 0, max: 4 }) });
    const acknowledgement = fc.record({ ack: fc.integer({ min: 0, max: 420 }) });
    fc.assert(
      fc.property(fc.array(fc.oneof(segment, acknowledgement), { maxLength: 80 }), (drawn) => {
        expect(counted(drawn)).toBeLessThanOrEqual(naive(drawn));
      }),
      { numRuns: 500 },
    );
  });

  test('of a direction that was never seen nothing is lost', () => {
    const gaps = new TcpGaps();
    expect([gaps.acknowledged(1000), gaps.lostBytes]).toEqual([false, 0]);
  });
});
