/** Lines of JSON made from remembered parts are those of `JSON.stringify`, character by character. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { recordJson } from '../../src/analyze/record-json.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import type { Flow } from '../../src/model/flow.ts';
import { openTables } from '../../src/tables/tables.ts';

const WORLDS = new URL('../conformance/worlds/', import.meta.url);

test('on every record of ten worlds', () => {
  let count = 0;
  for (const world of readdirSync(WORLDS).slice(0, 10)) {
    const text = readFileSync(new URL(`${world}/cluster.yaml`, WORLDS), 'utf8');
    const tables = openTables(compile(loadResources([{ name: 'cluster.yaml', text }]).resources));
    for (const line of readFileSync(new URL(`${world}/flows.jsonl`, WORLDS), 'utf8')
      .trim()
      .split('\n')) {
      const record = evaluateFlow(tables, JSON.parse(line) as Flow);
      expect(recordJson(record)).toBe(JSON.stringify(record));
      count++;
    }
  }
  expect(count).toBeGreaterThan(500);
});

test.each([
  {},
  { a: undefined },
  { a: undefined, b: 1 },
  { text: 'quote " and \\ and \u0007 and \u2028 and é and 😀 and \ud800', empty: '' },
  { numbers: 1.5, big: 1e21, none: Number.NaN, flag: true, nothing: null },
  { nested: { b: [1, { c: 'x' }] }, frozen: Object.freeze({ key: 'v"' }) },
])('on %j', (record) => {
  expect(recordJson(record)).toBe(JSON.stringify(record));
  // The second time from memory.
  expect(recordJson(record)).toBe(JSON.stringify(record));
});

test('objects that may change are read anew', () => {
  const record = { labels: { app: 'a' } };
  expect(recordJson(record)).toBe('{"labels":{"app":"a"}}');
  record.labels.app = 'b';
  expect(recordJson(record)).toBe('{"labels":{"app":"b"}}');
});
