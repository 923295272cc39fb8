import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { PolicyError } from '../../src/base/errors.ts';
import { evaluate } from '../../src/selector/evaluate.ts';
import { normaliseSelector, parseSelector } from '../../src/selector/selector.ts';

/** One selector with Calico's answer; `matches` has a 1 or 0 for each label set of the first line. */
interface Line {
  readonly selector: string;
  readonly valid: boolean;
  readonly canonical?: string;
  readonly id?: string;
  readonly matches?: string;
}

const FILE = new URL('../conformance/selectors.jsonl', import.meta.url);
const [head, ...rest] = readFileSync(FILE, 'utf8').trimEnd().split('\n');
const labelSets = (JSON.parse(head!) as { labels: Record<string, string>[] }).labels;
const lines = rest.map((text) => JSON.parse(text) as Line);

test('the file is whole', () => {
  expect(labelSets.length).toBe(12);
  expect(lines.length).toBe(1500);
  expect(lines.filter((line) => line.valid).length).toBe(1271);
});

test("every line has Calico's answer", () => {
  const answers = lines.map((line) => answer(line.selector));
  expect(answers).toEqual(lines);
});

test('the tree, a map and Normalise agree with the answers', () => {
  for (const line of lines.filter((each) => each.valid)) {
    const selector = parseSelector(line.selector);
    const byTree = labelSets.map((labels) => evaluate(selector.root, (key) => labels[key]));
    const byMap = labelSets.map((labels) => selector.matches(new Map(Object.entries(labels))));
    expect([bits(byTree), bits(byMap)], line.selector).toEqual([line.matches, line.matches]);
    expect(normaliseSelector(`\n${line.selector}\u00a0`)).toBe(line.canonical);
  }
});

function answer(text: string): Line {
  try {
    const { canonical, id, matches } = parseSelector(text);
    return { canonical, id, matches: bits(labelSets.map(matches)), selector: text, valid: true };
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { selector: text, valid: false };
  }
}

function bits(values: readonly boolean[]): string {
  return values.map((value) => (value ? '1' : '0')).join('');
}
