import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { RawDocument, TextProblem } from '../../src/load/document.ts';
import { readDocuments } from '../../src/load/documents.ts';
import { newYamlBudget, readYaml, type TextPart } from '../../src/load/yaml.ts';
import { cutYamlList } from '../../src/load/yaml-list.ts';

function partOf(text: string): TextPart {
  return { file: 't', text, origin: { line: 1, column: 1 } };
}

function read(text: string): { documents: RawDocument[]; problems: TextProblem[] } {
  const documents: RawDocument[] = [];
  const problems: TextProblem[] = [];
  const sink = {
    document: (each: RawDocument) => documents.push(each),
    problem: (each: TextProblem) => problems.push(each),
  };
  readDocuments('t', text, sink);
  return { documents, problems };
}

/** Header and items of a cut, each parsed by itself. */
function cut(text: string): { header: unknown; items: unknown[]; lines: number[] } | undefined {
  const list = cutYamlList(partOf(text));
  if (list === undefined) return undefined;
  return {
    header: parse(list.header.text),
    items: list.items.map((item) => parse(item.text) as unknown),
    lines: list.items.map(({ origin }) => origin.line),
  };
}

describe('cutting', () => {
  test('as kubectl prints it', () => {
    const text = 'apiVersion: v1\nitems:\n- a: 1\n  b:\n  - c\n- a: |\n    - d\n\n    e\nkind: List\n';
    expect(cut(text)).toEqual({
      header: { apiVersion: 'v1', items: [], kind: 'List' },
      items: [{ a: 1, b: ['c'] }, { a: '- d\n\ne\n' }],
      lines: [3, 6],
    });
  });

  test('indented, with comments and blank lines', () => {
    const text =
      '# top\r\nkind: List\r\nitems: # the items\r\n\r\n  # one\r\n  - a: 1\r\n\r\n# between\r\n  - - b\r\n  -\r\n    c: "x\r\n      - y"\r\n';
    expect(cut(text)).toEqual({
      header: { kind: 'List', items: [] },
      items: [{ a: 1 }, ['b'], { c: 'x - y' }],
      lines: [6, 9, 10],
    });
  });

  test.each([
    ['no items', 'a: b\n'],
    ['items of something', 'spec:\n  items:\n  - a\n'],
    ['a flow list', 'items: [a]\n'],
    ['an empty list', 'items:\nkind: List\n'],
    ['a map', 'items:\n  a: b\n'],
    ['a negative number', 'items:\n-1\n'],
    ['an anchor', 'items:\n- &a b: c\n- *a\n'],
    ['an alias in a flow list', 'x: &x 1\nitems:\n- [*x]\n'],
    ['a broken indentation', 'items:\n    - a\n  - b\n'],
  ])('not: %s', (_name, text) => {
    expect(cutYamlList(partOf(text))).toBeUndefined();
  });

  test.each(['items:\n- a & b\n', 'items:\n- "*a"\n', "items:\n- '&a'\n", 'items:\n- 2 * 3\n'])(
    'no anchors: %j',
    (text) => {
      expect(cutYamlList(partOf(text))).toBeDefined();
    },
  );

  /** Whatever is in the items, and however they are indented, the cut gives what the whole gives. */
  test('agrees with the whole', () => {
    const text = fc.string({
      unit: fc.constantFrom('a', '-', ' ', '\n', ':', '#', '"', "'", '{', '|', 'é'),
      maxLength: 12,
    });
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small' },
        text,
        fc.integer(),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('a', 'items', '- b', 'c d'), tie('tree'), { maxKeys: 3 }),
      ),
    }));
    const items = fc.array(fc.dictionary(fc.constantFrom('a', 'items', 'kind'), tree, { minKeys: 1, maxKeys: 3 }), {
      minLength: 1,
      maxLength: 4,
    });
    let cutCount = 0;
    fc.assert(
      fc.property(items, fc.boolean(), fc.constantFrom(20, 80), (list, indentSeq, lineWidth) => {
        const whole = { apiVersion: 'v1', items: list, kind: 'List' };
        const written = stringify(whole, { indentSeq, lineWidth, aliasDuplicateObjects: false, version: '1.1' });
        const found = cut(written);
        // Text such as ` &a` looks like an anchor; there is none here.
        if (found === undefined) return;
        cutCount++;
        const back = parse(written) as typeof whole;
        expect(found.items).toEqual(back.items);
        expect(found.header).toEqual({ ...back, items: [] });
        const lines = written.split('\n');
        for (const line of found.lines) expect(lines[line - 1]).toMatch(/^ *-/);
      }),
      { numRuns: 1000 },
    );
    expect(cutCount).toBeGreaterThan(900);
  });
});

describe('reading', () => {
  test('lines of fields, around the list and in it', () => {
    const { documents, problems } = read(
      '---\nkind: PodList\napiVersion: v1\nitems:\n- metadata:\n    name: a\n- kind: Own\n  x: [1\n\n- z: 2\n',
    );
    expect(documents.map(({ value }) => value)).toEqual([
      { metadata: { name: 'a' }, apiVersion: 'v1', kind: 'Pod' },
      { z: 2, apiVersion: 'v1', kind: 'Pod' },
    ]);
    expect(documents.map((document) => [document.lineOf([]), document.prefix])).toEqual([
      [5, ['items', 0]],
      [10, ['items', 2]],
    ]);
    expect(documents[0]?.lineOf(['metadata', 'name'])).toBe(6);
    expect(problems.map(({ place }) => place.line)).toEqual([10]);
  });

  test('empty items, and headers that are broken', () => {
    const empty = read('kind: List\nitems:\n- a: 1\n-\n- # nothing\n- ~\n');
    expect(empty.documents).toHaveLength(1);
    expect(empty.problems.map(({ message, place }) => `${place.line} ${message}`)).toEqual([
      '4 an empty item',
      '5 an empty item',
      '6 an empty item',
    ]);
    const broken = read('kind: List\nitems:\n- a: 1\n- b: 2\nmetadata: [\n');
    expect(broken.documents).toHaveLength(2);
    expect(broken.problems.map(({ place }) => place.line)).toEqual([6]);
  });

  test('what is no list is an object of its own', () => {
    for (const text of [
      'kind: Menu\nitems:\n- a: 1\n',
      '{"kind":"Menu","items":[{"a":1}]}',
      '{"items":[{"a":1}],"kind":"Menu"}',
    ]) {
      expect(read(text).documents.map(({ value }) => value)).toEqual([{ kind: 'Menu', items: [] }]);
    }
  });
});

test('a document may have so many tokens, and no more', () => {
  const problems: TextProblem[] = [];
  let documentCount = 0;
  const sink = { document: () => documentCount++, problem: (each: TextProblem) => problems.push(each) };
  const text = 'a: [1, 2]\n---\nb: [1, 2]\n';
  readYaml(partOf(text), sink, { ...newYamlBudget(), tokensMax: 30 });
  expect([documentCount, problems.length]).toEqual([2, 0]);
  readYaml(partOf(text), sink, { ...newYamlBudget(), tokensMax: 10 });
  expect(problems.map(({ message }) => message)).toEqual(['more than 10 tokens in one document']);
});
