/** Old generations are shared memory: garbage is collected by their bytes, which V8 does not count. */
import { expect, test } from 'vitest';
import { collectGarbage, RetiredMemory } from '../../src/agent/retired-memory.ts';

const MIB = 1024 * 1024;

test('garbage is collected when enough of what was in use is not any more', () => {
  let collected = 0;
  const retired = new RetiredMemory(() => collected++);
  for (let generation = 1; generation <= 32; generation++) retired.replacedBy(MIB);
  // The newest one is in use.
  expect(collected).toBe(0);
  retired.replacedBy(MIB);
  expect(collected).toBe(1);
  retired.replacedBy(40 * MIB);
  expect(collected).toBe(1);
  retired.replacedBy(MIB);
  expect(collected).toBe(2);
});

test('collecting frees shared memory that nobody holds', async () => {
  const weak = Array.from({ length: 8 }, () => new WeakRef(new SharedArrayBuffer(MIB)));
  // A reference made in a turn of the event loop holds what it refers to until the turn ends.
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  expect(weak.filter((reference) => reference.deref() !== undefined)).toEqual([]);
});
