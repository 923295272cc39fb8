import { describe, expect, test } from 'vitest';
import { keyText, resolveScalar } from '../../src/load/yaml-scalar.ts';
import { errorsOf, load } from './support.ts';

/** Plain text, and what kubectl's parser (Go yaml.v2, then JSON) makes of it. */
const PLAIN: readonly (readonly [string, string | number | boolean | null])[] = [
  ['yes', true],
  ['Yes', true],
  ['YES', true],
  ['yEs', 'yEs'],
  ['y', true],
  ['Y', true],
  ['on', true],
  ['On', true],
  ['true', true],
  ['TRUE', true],
  ['no', false],
  ['No', false],
  ['n', false],
  ['N', false],
  ['off', false],
  ['OFF', false],
  ['false', false],
  ['False', false],
  ['', null],
  ['~', null],
  ['null', null],
  ['Null', null],
  ['NULL', null],
  ['nULL', 'nULL'],
  ['none', 'none'],
  ['0', 0],
  ['7', 7],
  ['-7', -7],
  ['+7', 7],
  ['0644', 420],
  ['-0644', -420],
  ['0o644', 420],
  ['0x1F', 31],
  ['0X1f', 31],
  ['0b101', 5],
  ['-0b11', -3],
  ['1_000', 1000],
  ['0_7', 7],
  ['08', 8],
  ['09.5', 9.5],
  ['00', 0],
  ['12e3', 12000],
  ['1.5', 1.5],
  ['.5', 0.5],
  ['5.', 5],
  ['1e+2', 100],
  ['-1.5E-1', -0.15],
  ['12:30:45', '12:30:45'],
  ['190:20:30', '190:20:30'],
  ['2026-01-01', '2026-01-01'],
  ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z'],
  ['10.0.0.1', '10.0.0.1'],
  ['10.0.0.0/8', '10.0.0.0/8'],
  ['1.2.3', '1.2.3'],
  ['0x', '0x'],
  ['0b2', '0b2'],
  ['1a', '1a'],
  ['-', '-'],
  ['+', '+'],
  ['.', '.'],
  ['_1', '_1'],
  ['1e', '1e'],
  ['.inf', Number.POSITIVE_INFINITY],
  ['-.Inf', Number.NEGATIVE_INFINITY],
  ['text', 'text'],
];

describe('plain scalars', () => {
  test.each(PLAIN)('%s', (text, value) => {
    expect(resolveScalar(text, true, undefined)).toEqual({ value });
  });

  test('not a number', () => {
    expect(resolveScalar('.nan', true, undefined)).toEqual({ value: Number.NaN });
  });

  test('in quotes everything is text', () => {
    for (const [text] of PLAIN) expect(resolveScalar(text, false, undefined)).toEqual({ value: text });
  });
});

describe('tags', () => {
  const CORE = 'tag:yaml.org,2002:';

  test.each([
    ['str', 'yes', 'yes'],
    ['timestamp', '2026-01-01', '2026-01-01'],
    ['bool', 'yes', true],
    ['int', '0644', 420],
    ['float', '1.5', 1.5],
    ['float', '1', 1],
    ['null', '~', null],
  ])('!!%s %s', (tag, text, value) => {
    expect(resolveScalar(text, true, CORE + tag)).toEqual({ value });
  });

  test.each([
    ['bool', 'maybe'],
    ['int', '1.5'],
    ['float', 'x'],
    ['null', 'x'],
    ['set', 'x'],
  ])('!!%s %s does not fit', (tag, text) => {
    expect(resolveScalar(text, true, CORE + tag)).toHaveProperty('problem');
  });

  test('the plain tag ! makes text', () => {
    expect(resolveScalar('1', true, '!')).toEqual({ value: '1' });
  });
});

describe('keys are text, as in JSON', () => {
  test.each([
    ['yes', true, 'true'],
    ['yes', false, 'yes'],
    ['0644', true, '420'],
    ['a', true, 'a'],
    ['~', true, undefined],
    ['', false, ''],
  ])('%s, plain: %s', (text, isPlain, key) => {
    expect(keyText(text, isPlain, undefined)).toBe(key);
  });
});

describe('in a document', () => {
  const pod = (label: string): string =>
    `apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels:\n    a: ${label}\n`;

  test('a label that looks like text and is none', () => {
    expect(errorsOf(pod('yes'))).toEqual([
      't.yaml:6: Pod default/p: metadata.labels.a: must be text, got true; put the value in quotes',
    ]);
    expect(errorsOf(pod('0644'))).toEqual([
      't.yaml:6: Pod default/p: metadata.labels.a: must be text, got 420; put the value in quotes',
    ]);
    expect(errorsOf(pod('[b]'))).toEqual([
      't.yaml:6: Pod default/p: metadata.labels.a: must be text, got a list; write text',
    ]);
  });

  test.each(['"yes"', "'yes'", '|-\n      yes', '!!str yes', '12.30.45', 'v1_0'])(
    'a label that is text: %s',
    (label) => {
      const { resources, errors } = load(pod(label));
      expect(errors).toEqual([]);
      expect(resources.pods[0]?.meta.labels.get('a')).toBe(
        label.replace(/^(?:\|-\s*|!!str |["'])/, '').replace(/["']$/, ''),
      );
    },
  );
});
