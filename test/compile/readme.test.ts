/** Each sentence of src/compile/README.md names tests that hold it: here, that they exist. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { INTERFACE_ROWS, ROWS } from '../rows/rows.ts';
import { AUTHZ_ROWS } from '../rows/rows-authz.ts';

const TEST = new URL('../', import.meta.url);
const README = readFileSync(new URL('../src/compile/README.md', TEST), 'utf8');
const SENTENCES = README.split('\n').filter((line) => line.startsWith('- '));
const KNOWN_ROWS = new Set([...[...ROWS, ...AUTHZ_ROWS].map(({ row }) => row), ...INTERFACE_ROWS.keys()]);

test('there are sentences', () => {
  expect(SENTENCES.length).toBeGreaterThan(60);
});

test.each(SENTENCES)('%s', (sentence) => {
  const references = [...sentence.matchAll(/\[([^\]]+)\]/g)].map((match) => match[1]!);
  expect(references.length).toBeGreaterThan(0);
  for (const reference of references) {
    const row = /^row (\d+)$/.exec(reference);
    if (row !== null) {
      expect(KNOWN_ROWS).toContain(Number(row[1]));
      continue;
    }
    const [, name, title] = /^([a-z/-]+): (.+)$/.exec(reference)!;
    const file = new URL(`${name!.includes('/') ? name : `compile/${name}`}.test.ts`, TEST);
    expect(existsSync(file), `${reference}: no such file`).toBe(true);
    const titles = [
      ...readFileSync(file, 'utf8').matchAll(/(?:test|describe)(?:\.each\([\s\S]*?\))?\(\s*[`'"]([^\n]*)/g),
    ];
    const found = titles.some((match) => match[1]!.startsWith(title!));
    expect(found, `${reference}: no such test`).toBe(true);
  }
});

test('every row of the data path and of order is named', () => {
  const named = new Set([...README.matchAll(/\[row (\d+)\]/g)].map((match) => Number(match[1])));
  // Rows 1-10 are about the selector language.
  expect([...KNOWN_ROWS].filter((row) => row > 10 && !named.has(row))).toEqual([]);
});
