import { describe, expect, test } from 'vitest';
import { LineTable } from '../../src/load/line-table.ts';
import { formatPath, formatProblem, type LoadProblem } from '../../src/load/problem.ts';
import { nearestWord } from '../../src/load/suggest.ts';

const PROBLEM: LoadProblem = {
  file: 'a.yaml',
  line: 3,
  kind: 'Pod',
  namespace: 'n',
  name: 'p',
  field: 'spec.x',
  message: 'what',
  fix: 'do',
};

describe('the line of a problem', () => {
  test.each([
    [{}, 'a.yaml:3: Pod n/p: spec.x: what; do'],
    [{ namespace: '' }, 'a.yaml:3: Pod p: spec.x: what; do'],
    [{ field: '' }, 'a.yaml:3: Pod n/p: what; do'],
    [{ fix: '' }, 'a.yaml:3: Pod n/p: spec.x: what'],
    [{ kind: '', namespace: '', name: '', field: '' }, 'a.yaml:3: what; do'],
    [{ kind: '', namespace: '', name: '', field: '', column: 7 }, 'a.yaml:3:7: what; do'],
    [{ file: '' }, 'Pod n/p: spec.x: what; do'],
    [{ message: 'a\nb\x1b[0m' }, 'a.yaml:3: Pod n/p: spec.x: a\\nb\\u{1b}[0m; do'],
  ])('%j', (part, line) => {
    expect(formatProblem({ ...PROBLEM, ...part })).toBe(line);
  });
});

test.each([
  [[], ''],
  [['spec'], 'spec'],
  [['spec', 'ingress', 2, 'source'], 'spec.ingress[2].source'],
  [['metadata', 'labels', 'a/b'], 'metadata.labels["a/b"]'],
  [['metadata', 'labels', ''], 'metadata.labels[""]'],
  [['a b', 0], '["a b"][0]'],
  [['x', '__proto__'], 'x.__proto__'],
])('path %j', (path, text) => {
  expect(formatPath(path)).toBe(text);
});

describe('places', () => {
  test('in a text of its own', () => {
    const lines = new LineTable('ab\n\nc\n');
    expect([0, 2, 3, 4, 5, 6].map((offset) => lines.place(offset))).toEqual([
      { line: 1, column: 1 },
      { line: 1, column: 3 },
      { line: 2, column: 1 },
      { line: 3, column: 1 },
      { line: 3, column: 2 },
      { line: 4, column: 1 },
    ]);
  });

  test('in a part of a text', () => {
    const lines = new LineTable('ab\nc', { line: 10, column: 5 });
    expect([0, 1, 3].map((offset) => lines.place(offset))).toEqual([
      { line: 10, column: 5 },
      { line: 10, column: 6 },
      { line: 11, column: 1 },
    ]);
  });
});

test.each([
  ['Allow', 'Allow'],
  ['allow', 'Allow'],
  ['alow', 'Allow'],
  ['Alllow', 'Allow'],
  ['deni', 'Deny'],
  ['permit', undefined],
  ['', undefined],
  ['x'.repeat(100), undefined],
])('the word next to %s', (word, nearest) => {
  expect(nearestWord(word, ['Allow', 'Deny'])).toBe(nearest);
});
