import { describe, expect, test } from 'vitest';
import { formatPolicyError, formatReport, PolicyError, quoteText, shownText } from '../../src/base/errors.ts';

describe('PolicyError', () => {
  test('carries code, problem, fix, column and origin, and joins problem and fix in its message', () => {
    const origin = { file: 'shop.yaml', line: 14 };
    const error = new PolicyError('selector-syntax', "unknown operator '=~' at column 6", {
      column: 6,
      origin,
      fix: "use '=='",
    });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'PolicyError', code: 'selector-syntax', column: 6, origin, fix: "use '=='" });
    expect(error.problem).toBe("unknown operator '=~' at column 6");
    expect(error.message).toBe("unknown operator '=~' at column 6; use '=='");
  });

  test('needs no details', () => {
    const error = new PolicyError('x', 'wrong');
    expect(error.message).toBe('wrong');
    expect([error.column, error.origin, error.fix]).toEqual([undefined, undefined, undefined]);
  });
});

describe('formatPolicyError', () => {
  const error = new PolicyError('selector-syntax', "unknown operator '=~' at column 6", {
    origin: { file: 'shop.yaml', line: 14 },
    fix: "use '==', '!=', 'in' or 'not in'",
  });

  test('is the line of the house style', () => {
    const field = 'spec.ingress[2].source.serviceAccounts.selector';
    expect(formatPolicyError(error, { kind: 'NetworkPolicy', namespace: 'shop', name: 'api', field })).toBe(
      `shop.yaml:14: NetworkPolicy shop/api: ${field}: unknown operator '=~' at column 6; use '==', '!=', 'in' or 'not in'`,
    );
  });

  test('leaves out what is not known', () => {
    expect(formatPolicyError(error)).toBe(`shop.yaml:14: ${error.message}`);
    expect(formatReport({ kind: 'Tier', name: 'sec', problem: 'no order' })).toBe('Tier sec: no order');
    expect(formatReport({ kind: 'Tier', namespace: '', problem: 'no name' })).toBe('Tier: no name');
    expect(formatReport({ name: 'x', field: 'spec', problem: 'bad' })).toBe('x: spec: bad');
  });

  test('is one line whatever the input holds', () => {
    const line = formatReport({ name: 'a\nb', problem: 'c\r\td\u2028e\u0000f\u202eg', fix: 'h\u0085' });
    expect(line).toBe('a\\nb: c\\r\\td\\u{2028}e\\u{0}f\\u{202e}g; h\\u{85}');
  });
});

test('quoted text is escaped and cut', () => {
  expect(quoteText('a\nb')).toBe("'a\\nb'");
  expect(shownText('x'.repeat(40))).toBe('x'.repeat(40));
  expect(shownText('x'.repeat(41))).toBe(`${'x'.repeat(40)}…`);
  expect(shownText('\ud800')).toBe('\\u{d800}');
  expect(shownText('😀é')).toBe('😀é');
});
