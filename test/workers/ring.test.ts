/** The ring between capture and judge: nothing is lost but what is counted, nothing is changed, whatever the sizes and the order of events. */
import { describe, expect, test } from 'vitest';
import { createRecordBatch } from '../../src/packets/source.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import { createRingMemory, RingReader, RingWriter } from '../../src/workers/ring.ts';

function ringOf(bytes: number): { writer: RingWriter; reader: RingReader } {
  const memory = createRingMemory(bytes);
  return { writer: new RingWriter(memory), reader: new RingReader('test', memory, ['one', 'two']) };
}

describe('the ring', () => {
  test('gives what was put in, in order', () => {
    const { writer, reader } = ringOf(4096);
    const frame = Int32Array.from({ length: 64 }, (_, i) => i * 0x01010101);
    writer.push(frame, 0, 61, 1500, 113, 1, 1_700_000_000, 999_999_999);
    const batch = createRecordBatch();
    expect(reader.next(batch)).toBe(1);
    expect(batch.capturedBytes[0]).toBe(61);
    expect(batch.wireBytes[0]).toBe(1500);
    expect([batch.linkTypes[0], batch.interfaces[0], batch.seconds[0], batch.nanos[0]]).toEqual([
      113, 1, 1_700_000_000, 999_999_999,
    ]);
    const at = batch.offsets[0]!;
    expect([...batch.bytes.subarray(at, at + 61)]).toEqual([...new Uint8Array(frame.buffer, 0, 61)]);
    expect(reader.interfaceName(1)).toBe('two');
    expect(reader.next(batch)).toBe(0);
  });

  test('loses only what it counts, at any fill', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = new Xorshift32(seed);
      // From rings that hold two frames to those that hold hundreds.
      const { writer, reader } = ringOf(512 << random.below(8));
      const batch = createRecordBatch();
      const frame = new Int32Array(80);
      let put = 0;
      let lostBefore = 0;
      const expected: number[] = [];
      const taken: number[] = [];
      const take = (): void => {
        const count = reader.next(batch);
        for (let row = 0; row < count; row++) {
          const at = batch.offsets[row]!;
          const number = batch.view.getInt32(at, true);
          taken.push(number);
          // The last word that was captured whole is the number, too.
          const last = at + (batch.capturedBytes[row]! & ~3) - 4;
          if (batch.view.getInt32(last, true) !== number) throw new Error(`frame ${number} is another one at its end`);
        }
      };
      for (let step = 0; step < 3000; step++) {
        if (random.below(5) === 0) take();
        const captured = 4 + random.below(300);
        frame.fill(++put);
        writer.push(frame, 0, captured, captured, 1, 0, 0, 0);
        if (reader.lost === lostBefore) expected.push(put);
        lostBefore = reader.lost;
      }
      for (let before = -1; before !== taken.length; ) {
        before = taken.length;
        take();
      }
      expect(reader.seen).toBe(put);
      expect(taken).toEqual(expected);
      expect(taken.length + reader.lost).toBe(put);
      expect(taken.length).toBeGreaterThan(0);
    }
  });

  test('takes nothing any more after stop, and then ends', async () => {
    const { writer, reader } = ringOf(4096);
    const frame = new Int32Array(16);
    writer.push(frame, 0, 60, 60, 1, 0, 0, 0);
    reader.stop();
    writer.push(frame, 0, 60, 60, 1, 0, 0, 0);
    expect(await reader.fill()).toBe(true);
    expect(reader.next(createRecordBatch())).toBe(1);
    expect(await reader.fill()).toBe(false);
    expect(reader.seen).toBe(1);
  });
});
