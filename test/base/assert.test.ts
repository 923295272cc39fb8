import { expect, test } from 'vitest';
import {
  assert,
  checkedInt32,
  checkedInteger,
  checkedUint8,
  checkedUint16,
  checkedUint32,
  InvariantError,
  unreachable,
} from '../../src/base/assert.ts';

test('assert stops with the broken invariant', () => {
  expect(() => assert(true, 'rows fit')).not.toThrow();
  expect(() => assert(false, 'rows fit')).toThrow(new InvariantError('broken invariant: rows fit'));
});

test('unreachable names the case', () => {
  expect(() => unreachable({ kind: 'new' } as never)).toThrow('broken invariant: unexpected case {"kind":"new"}');
});

test.each([
  [checkedUint8, 0, 255],
  [checkedUint16, 0, 65_535],
  [checkedUint32, 0, 4_294_967_295],
  [checkedInt32, -2_147_483_648, 2_147_483_647],
] as const)('%o takes its range and nothing else', (check, low, high) => {
  expect(check(low, 'port')).toBe(low);
  expect(check(high, 'port')).toBe(high);
  for (const value of [low - 1, high + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => check(value, 'port')).toThrow(`port is an integer from ${low} to ${high}, got ${value}`);
  }
});

test('checkedInteger takes any range', () => {
  expect(checkedInteger(7, 5, 9, 'count')).toBe(7);
  expect(() => checkedInteger(4, 5, 9, 'count')).toThrow(InvariantError);
});
