import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HalfStream, RANGES_MAX, STREAM_BYTES_MAX, StreamBudget } from '../../src/analyze/tcp-stream.ts';

const TEXT = Uint8Array.from({ length: 400 }, (_, i) => (i * 37 + (i >> 3)) & 255);

/** Adds `bytes[from, to)` at its place behind `start`. */
function add(
  stream: HalfStream,
  bytes: Uint8Array,
  start: number,
  from: number,
  to: number,
  captured = to - from,
): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return stream.add((start + from) | 0, false, view, from, captured, to - from);
}

function syn(stream: HalfStream, sequence: number): void {
  stream.add(sequence | 0, true, new DataView(new ArrayBuffer(0)), 0, 0, 0);
}

const text = (stream: HalfStream): Uint8Array => stream.bytes.subarray(0, stream.length);

describe('a stream', () => {
  test('is the same for every cutting, order and repetition of its segments', () => {
    const segment = fc.tuple(fc.nat(TEXT.length - 1), fc.integer({ min: 1, max: 90 }));
    fc.assert(
      fc.property(
        fc.integer(),
        fc.array(segment, { maxLength: 30 }),
        fc.integer({ min: 1, max: 60 }),
        (isn, extra, step) => {
          const stream = new HalfStream(new StreamBudget());
          syn(stream, isn);
          const pieces: [number, number][] = extra.map(([from, length]) => [
            from,
            Math.min(TEXT.length, from + length),
          ]);
          for (let at = 0; at < TEXT.length; at += step)
            pieces.splice(at % (pieces.length + 1), 0, [at, Math.min(TEXT.length, at + step)]);
          for (const [from, to] of pieces) add(stream, TEXT, isn + 1, from, to);
          expect(text(stream)).toEqual(TEXT);
          expect([stream.hasConflict, stream.isCut, stream.isFull]).toEqual([false, false, false]);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('ends at the first hole, and goes on when it is filled', () => {
    const stream = new HalfStream(new StreamBudget());
    syn(stream, -2);
    add(stream, TEXT, -1, 0, 10);
    add(stream, TEXT, -1, 20, 30);
    add(stream, TEXT, -1, 40, 50);
    expect(stream.length).toBe(10);
    add(stream, TEXT, -1, 10, 20);
    expect(stream.length).toBe(30);
    add(stream, TEXT, -1, 5, 45);
    expect(text(stream)).toEqual(TEXT.subarray(0, 50));
  });

  test('keeps what came first where segments differ, and notes it', () => {
    const stream = new HalfStream(new StreamBudget());
    syn(stream, 0);
    add(stream, TEXT, 1, 10, 20);
    const other = Uint8Array.from(TEXT, (byte) => byte ^ 1);
    add(stream, other, 1, 0, 15);
    expect(stream.hasConflict).toBe(true);
    expect(text(stream)).toEqual(Uint8Array.from([...other.subarray(0, 10), ...TEXT.subarray(10, 20)]));
  });

  test('whose SYN comes late moves to its place', () => {
    const stream = new HalfStream(new StreamBudget());
    add(stream, TEXT, 1000, 30, 60);
    expect([stream.hasStart, stream.length]).toEqual([false, 30]);
    syn(stream, 999);
    expect([stream.hasStart, stream.length]).toEqual([true, 0]);
    add(stream, TEXT, 1000, 0, 30);
    expect(text(stream)).toEqual(TEXT.subarray(0, 60));
  });

  test('forgets data that cannot belong to a SYN behind it', () => {
    for (const first of [5000, 999 - 10 * STREAM_BYTES_MAX]) {
      const stream = new HalfStream(new StreamBudget());
      add(stream, TEXT, 1000, 0, 60);
      syn(stream, first);
      expect(stream.length).toBe(0);
      add(stream, TEXT, first + 1, 0, 20);
      expect(text(stream)).toEqual(TEXT.subarray(0, 20));
    }
  });

  test('without a SYN starts with the first segment; keep-alive probes add nothing', () => {
    const stream = new HalfStream(new StreamBudget());
    add(stream, TEXT, 1000, 10, 20);
    add(stream, TEXT, 1000, 9, 10);
    add(stream, TEXT, 1000, 5, 25);
    expect(text(stream)).toEqual(TEXT.subarray(10, 25));
    expect(stream.hasStart).toBe(false);
  });

  test('data beside the SYN is behind it', () => {
    const stream = new HalfStream(new StreamBudget());
    stream.add(41, true, new DataView(TEXT.buffer), 0, 4, 4);
    add(stream, TEXT, 42, 4, 8);
    expect(text(stream)).toEqual(TEXT.subarray(0, 8));
  });

  test('notes what the capture cut off, and ends there', () => {
    const stream = new HalfStream(new StreamBudget());
    syn(stream, 0);
    add(stream, TEXT, 1, 0, 100, 60);
    add(stream, TEXT, 1, 100, 150);
    expect([stream.length, stream.isCut]).toEqual([60, true]);
  });

  test('keeps no more than its limit, whatever the lengths', () => {
    const budget = new StreamBudget();
    const stream = new HalfStream(budget);
    const long = new Uint8Array(STREAM_BYTES_MAX + 5000).fill(7);
    syn(stream, 0);
    add(stream, long, 1, 0, 1000);
    add(stream, long, 1, 500, long.length);
    expect([stream.length, stream.isFull]).toEqual([STREAM_BYTES_MAX, true]);
    expect(budget.bytesUsed).toBe(STREAM_BYTES_MAX);
    stream.add(1, false, new DataView(long.buffer), 0, 10, 0x7fff_ffff);
    stream.add(1, false, new DataView(long.buffer), 0, -5, -1);
    stream.add(STREAM_BYTES_MAX + 1, false, new DataView(long.buffer), 0, 10, 10);
    expect(stream.length).toBe(STREAM_BYTES_MAX);
    stream.release();
    expect([budget.bytesUsed, stream.length]).toEqual([0, 0]);
    expect(add(stream, long, 1, 0, 10)).toBe(true);
    expect(budget.bytesUsed).toBe(0);
  });

  test('in too many pieces keeps the near ones', () => {
    const stream = new HalfStream(new StreamBudget());
    syn(stream, 0);
    for (let i = RANGES_MAX + 20; i >= 0; i--) add(stream, TEXT, 1, 2 * i, 2 * i + 1);
    expect([stream.length, stream.isFull]).toEqual([1, true]);
    for (let i = 0; i < RANGES_MAX - 1; i++) add(stream, TEXT, 1, 2 * i + 1, 2 * i + 2);
    expect(stream.length).toBeGreaterThanOrEqual(2 * RANGES_MAX - 2);
  });

  test('says when the memory of all is used up', () => {
    const budget = new StreamBudget(5000);
    const [a, b] = [new HalfStream(budget), new HalfStream(budget)];
    expect(add(a, TEXT, 1, 0, 100)).toBe(true);
    expect(add(b, TEXT, 1, 0, 100)).toBe(true);
    const c = new HalfStream(budget);
    expect(add(c, TEXT, 1, 0, 100)).toBe(false);
    a.release();
    expect(add(c, TEXT, 1, 0, 100)).toBe(true);
    expect(text(c)).toEqual(TEXT.subarray(0, 100));
  });
});
