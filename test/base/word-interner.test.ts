import { expect, test } from 'vitest';
import { WordInterner } from '../../src/base/word-interner.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';

test('equal arrays have one number, different ones different numbers, in the order they came', () => {
  const random = new Xorshift32(7);
  const interner = new WordInterner();
  const numbers = new Map<string, number>();
  const scratch = new Int32Array(6);
  for (let i = 0; i < 5000; i++) {
    // Few values and lengths, so that arrays repeat and are beginnings of each other.
    const words = scratch.subarray(0, random.below(7));
    for (let word = 0; word < words.length; word++) words[word] = random.below(4) - 1;
    const key = words.join();
    const known = numbers.get(key) ?? numbers.size;
    numbers.set(key, known);
    expect(interner.number(words)).toBe(known);
  }
  expect(interner.count).toBe(numbers.size);
  expect(numbers.size).toBeGreaterThan(1000);
  for (const [key, number] of numbers) expect(interner.array(number).join()).toBe(key);
});
