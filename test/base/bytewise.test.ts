import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareBytewise } from '../../src/base/bytewise.ts';

test('orders where UTF-16 would not', () => {
  expect(compareBytewise('\uffff', '\u{10000}')).toBeLessThan(0);
  expect('\uffff' < '\u{10000}').toBe(false);
  expect(compareBytewise('a', 'ab')).toBeLessThan(0);
  expect(compareBytewise('b', 'ab')).toBeGreaterThan(0);
  expect(compareBytewise('é', 'é')).toBe(0);
});

test('agrees with the bytes', () => {
  const unit = fc.constantFrom('', 'a', 'b', 'é', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{10ffff}', '\u{1f600}');
  const text = fc.array(unit, { maxLength: 4 }).map((units) => units.join(''));
  fc.assert(
    fc.property(text, text, (left, right) => {
      const expected = Buffer.compare(Buffer.from(left), Buffer.from(right));
      expect(Math.sign(compareBytewise(left, right))).toBe(expected);
    }),
    { numRuns: 3000 },
  );
});
