import { expect, test } from 'vitest';
import { ByteMap } from '../../src/base/byte-map.ts';
import { sortedPlaces } from '../../src/base/radix-sort.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';

test.each([0, 1, 5, 1023, 1024, 5000])('%i keys, equal ones in the order they came', (count) => {
  const random = new Xorshift32(3);
  const keys = Uint32Array.from({ length: count }, () => random.below(count) * 0xfffff);
  const expected = [...keys.keys()].sort((a, b) => keys[a]! - keys[b]! || a - b);
  expect([...sortedPlaces(keys)]).toEqual(expected);
});

test('a map of bytes holds what was added, until its arena is full', () => {
  const random = new Xorshift32(5);
  const map = new ByteMap<number>(10_000);
  const known = new Map<string, number>();
  const text = Buffer.from(Array.from({ length: 4000 }, () => 97 + random.below(3)));
  let bytes = 0;
  for (let i = 0; i < 5000; i++) {
    const from = random.below(3990);
    const to = from + random.below(9);
    const key = text.toString('latin1', from, to);
    expect(map.get(text, from, to)).toBe(known.get(key));
    if (known.has(key) || bytes + to - from > 10_000) continue;
    map.add(text, from, to, i);
    known.set(key, i);
    bytes += to - from;
  }
  map.add(text, 0, 4000, -1);
  map.add(text, 0, 3999, -2);
  expect(map.get(text, 0, 3999)).toBe(bytes > 6000 ? undefined : -2);
  expect(known.size).toBeGreaterThan(1000);
});
