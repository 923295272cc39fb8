import { afterEach, describe, expect, test } from 'vitest';
import { formatProblem } from '../../src/load/load.ts';
import { errorsOf, load } from './support.ts';

/** A document that is in order, to stand beside one that is not. */
const GOOD = 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: good\n';

function nested(depth: number): string {
  return `${'['.repeat(depth)}${']'.repeat(depth)}`;
}

function laughs(levels: number): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < levels; i++) lines.push(`a${i}: &a${i} [${new Array(9).fill(`*a${i - 1}`).join(', ')}]`);
  return lines.join('\n');
}

/** Bad text, and the one error that it must end in. */
const BAD: readonly (readonly [string, string, string])[] = [
  [
    'alias bomb',
    laughs(9),
    't.yaml:7:45: more than 5000000 values, repeated ones counted; use fewer aliases, or split the file',
  ],
  [
    'too many aliases',
    `a: &a x\nb:\n${'- *a\n'.repeat(10_001)}`,
    't.yaml:10003:3: more than 10000 aliases in one document; write the values out',
  ],
  ['deep flow', `a: ${nested(100_000)}`, 't.yaml:1:70: nested deeper than 64 levels; flatten the document'],
  [
    'deep flow maps',
    `${'{a: '.repeat(1000)}1${'}'.repeat(1000)}`,
    't.yaml:1:266: nested deeper than 64 levels; flatten the document',
  ],
  [
    'deep blocks',
    Array.from({ length: 1000 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
    't.yaml:67:68: nested deeper than 64 levels; flatten the document',
  ],
  ['deep sequences', `${'- '.repeat(1000)}x`, 't.yaml:1:134: nested deeper than 64 levels; flatten the document'],
  ['deep JSON', `{"a":${nested(1000)}}`, 't.yaml:1:69: nested deeper than 64 levels; correct the JSON'],
  [
    'NUL',
    'a: b\nc: d\0e\n',
    't.yaml:2:5: character U+0000 is not allowed in YAML; remove it, or write it as an escape in double quotes',
  ],
  [
    'control character',
    'a: "\x1b[31m"',
    't.yaml:1:5: character U+001B is not allowed in YAML; remove it, or write it as an escape in double quotes',
  ],
  [
    'BOM inside',
    'a: b\ufeffc',
    't.yaml:1:5: character U+FEFF is not allowed in YAML; remove it, or write it as an escape in double quotes',
  ],
  [
    'half a character',
    'a: b\ud800',
    't.yaml:1:5: character U+D800 is not allowed in YAML; remove it, or write it as an escape in double quotes',
  ],
  ['not UTF-8', 'a: b\nc: \uffff', 't.yaml:2:4: bytes that are not UTF-8; save the file as UTF-8'],
  ['tab as indentation', 'a:\n\tb: c\n', 't.yaml:2:1: Tabs are not allowed as indentation'],
  ['key twice', 'a: 1\nb: 2\na: 3\n', "t.yaml:3:1: key 'a' twice; remove one of the two"],
  ['key twice under two writings', '{a: 1, "a": 2}', "t.yaml:1:8: key 'a' twice; remove one of the two"],
  ['key twice in JSON', '{"a":1,\n "b":{"c":1,"c":2}}', "t.yaml:2:13: key 'c' twice; remove one of the two"],
  ['prototype key twice', '{"__proto__":1,"__proto__":2}', "t.yaml:1:16: key '__proto__' twice; remove one of the two"],
  ['undefined alias', 'a: *x', "t.yaml:1:4: alias '*x' names no finished value before it; define the anchor first"],
  [
    'alias into itself',
    'a: &x [*x]',
    "t.yaml:1:8: alias '*x' names no finished value before it; define the anchor first",
  ],
  ['list as a key', '? [a]\n: b\n', 't.yaml:1:3: a list or a map as a key; use text as the key'],
  ['no key', '~: b\n', 't.yaml:1:1: a key without text; write the key, or quote it'],
  [
    'merge of text',
    'a:\n  <<: b\n',
    "t.yaml:2:3: '<<' must be given a map or a list of maps; quote the key if you mean the text '<<'",
  ],
  [
    'unknown tag',
    'a: !!binary aGk=',
    't.yaml:1:13: tag !!binary does not fit the value or is not supported; quote the text, or remove the tag',
  ],
  [
    'tag that does not fit',
    'a: !!int x',
    't.yaml:1:10: tag !!int does not fit the value or is not supported; quote the text, or remove the tag',
  ],
  ['open quote', 'a: "b\n', 't.yaml:2:1: Missing closing "quote'],
  [
    'open list',
    'a: [b\n',
    't.yaml:2:1: Flow sequence in block collection must be sufficiently indented and end with a ]',
  ],
  ['JSON with a slip', '{"a": 1,\n "b" 2}', "t.yaml:2:6: unexpected '2', expected ':' after the key; correct the JSON"],
  [
    'JSON cut off',
    '{"a": {"b": 1}',
    "t.yaml:1:1: unexpected end: the object that '{' opened is not closed; correct the JSON",
  ],
  ['JSON cut off in quotes', '{"a": "b', 't.yaml:1:7: text in quotes without an end; correct the JSON'],
  ['JSON with more behind it', '{"a": 1} x', "t.yaml:1:10: unexpected 'x' outside of an object; correct the JSON"],
  ['no map', 'just text', 't.yaml:1: a document must be a map with apiVersion and kind; write a Kubernetes object'],
  ['a list', '- a\n- b\n', 't.yaml:1: a document must be a map with apiVersion and kind; write a Kubernetes object'],
];

describe('hostile text ends in an error with its place', () => {
  // Memory and time are those of the limits, not of the text: the suite's time limit would catch the rest.
  test.each(BAD)('%s', (_name, text, line) => {
    const last = errorsOf(text).at(-1);
    expect(last?.slice(0, line.length)).toBe(line);
  });

  test.each(BAD)('%s: the documents around it are read', (_name, text) => {
    const { resources, errors } = load(`${GOOD}---\n${text}\n---\n${GOOD.replace('good', 'after')}`);
    expect(resources.namespaces.map(({ meta }) => meta.name)).toEqual(['good', 'after']);
    expect(errors.length).toBeGreaterThan(0);
    expect(
      errors.every(({ line }) => line >= 5),
      errors.map(formatProblem).join('\n'),
    ).toBe(true);
  });
});

describe('64 levels are taken, 65 are not', () => {
  test.each([
    ['flow', (depth: number) => `a: ${nested(depth - 1)}`],
    ['blocks', (depth: number) => Array.from({ length: depth }, (_, i) => `${' '.repeat(i)}a:`).join('\n')],
    ['sequences', (depth: number) => `${'- '.repeat(depth)}x`],
    ['JSON', (depth: number) => `{"a":${nested(depth - 1)}}`],
  ])('%s', (_name, textOf) => {
    expect(errorsOf(textOf(64)).filter((line) => line.includes('nested'))).toEqual([]);
    expect(errorsOf(textOf(65)).filter((line) => line.includes('nested deeper than 64 levels'))).toHaveLength(1);
  });
});

describe('text that is unusual and in order', () => {
  test.each([
    ['BOM at the beginning', `\ufeff${GOOD}`],
    ['CRLF', GOOD.replaceAll('\n', '\r\n')],
    ['no line end', GOOD.trimEnd()],
    ['document markers', `---\n${GOOD}...\n---\n# nothing\n---\n`],
    ['content on the marker', '--- {apiVersion: v1, kind: Namespace, metadata: {name: good}}'],
    ['a directive', `%YAML 1.2\n---\n${GOOD}`],
    ['a flow map', '{apiVersion: v1, kind: Namespace, metadata: {name: good},}'],
    ['a flow map with JSON keys', '{"apiVersion": v1, "kind": Namespace, "metadata": {"name": good}}'],
    ['comments', `# first\n${GOOD}# last`],
    ['JSON', '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"good"}}'],
    ['JSON with an escape', '{"apiVersion":"v1","kind":"Names\\u0070ace","metadata":{"name":"good"}}'],
    ['anchors and merge', 'x: &x {name: good}\napiVersion: v1\nkind: Namespace\nmetadata: {<<: [*x], uid: u}\n'],
  ])('%s', (_name, text) => {
    const { resources, errors } = load(text);
    expect(errors.map(formatProblem)).toEqual([]);
    expect(resources.namespaces.map(({ meta }) => meta.name)).toEqual(['good']);
  });

  test('an honest file of many aliases', () => {
    const pods = Array.from({ length: 1000 }, (_, i) => {
      return `- {apiVersion: v1, kind: Pod, metadata: {name: p${i}, namespace: a, labels: *l}}`;
    });
    const { resources, errors } = load(`l: &l {app: x}\nkind: List\napiVersion: v1\nitems:\n${pods.join('\n')}`);
    expect(errors).toEqual([]);
    expect(resources.pods.map(({ meta }) => meta.labels.get('app'))).toEqual(new Array(1000).fill('x'));
  });

  test('several JSON values in a row', () => {
    const text = ['a', 'b'].map((name) => `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"${name}"}}`);
    expect(load(text.join('\n')).resources.namespaces.map(({ meta }) => meta.name)).toEqual(['a', 'b']);
  });
});

describe('prototype keys are keys', () => {
  afterEach(() => {
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(({} as Record<string, unknown>).env).toBeUndefined();
  });

  const LABELS = '{"__proto__": "p", "constructor": "c", "toString": "t", "hasOwnProperty": "h"}';
  const POD = `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "a", "labels": ${LABELS}}}`;

  test.each([
    ['JSON', POD],
    ['YAML', POD.replaceAll('"', '')],
    ['YAML list', `kind: List\napiVersion: v1\nitems: [${POD}]`],
  ])('%s', (_name, text) => {
    const { resources, errors } = load(text);
    // The label grammar of Kubernetes allows no underscore at the beginning.
    expect(errors.map(({ field }) => field)).toEqual(['metadata.labels.__proto__']);
    const permitted = load(text, { permissive: true }).resources.pods[0]!.meta.labels;
    expect([...permitted]).toEqual([
      ['__proto__', 'p'],
      ['constructor', 'c'],
      ['toString', 't'],
      ['hasOwnProperty', 'h'],
    ]);
    expect(resources.pods).toEqual([]);
  });

  test.each([
    ['{"__proto__": {"env": "prod"}, "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}'],
    ['__proto__: {env: prod}\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}'],
    ['constructor: {prototype: {env: prod}}\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}'],
  ])('as a field they are unknown: %s', (text) => {
    const { warnings, resources } = load(text);
    expect(warnings[0]?.message).toMatch(/^unknown field '(?:__proto__|constructor)'/);
    expect(resources.namespaces[0]?.meta.name).toBe('a');
  });

  test('a document that is nothing but such keys has no kind', () => {
    expect(errorsOf('{"__proto__": {"kind": "Pod", "apiVersion": "v1"}}')).toEqual([
      't.yaml:1: the object has no kind; add kind',
    ]);
  });
});
