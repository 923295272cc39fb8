import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { formatProblem, type LoadOptions, loadResources } from '../../src/load/load.ts';
import { KINDS, near, schemaOf } from './arbitrary.ts';
import { errorsOf, load } from './support.ts';

const MODES: readonly LoadOptions[] = [{}, { permissive: true }, { asIs: true, strict: true }];

/** Loads in every mode, and checks what must hold of any result. */
function loadEveryWay(text: string): void {
  for (const mode of MODES) {
    const { resources, errors, warnings } = loadResources([text], mode);
    for (const problem of [...errors, ...warnings]) {
      expect(problem.message).not.toBe('');
      expect(formatProblem(problem)).not.toMatch(/undefined|NaN|\[object/);
      expect(problem.line).toBeGreaterThan(0);
    }
    for (const list of Object.values(resources)) {
      for (const { kind, meta } of list)
        expect([typeof kind, typeof meta.name, typeof meta.namespace]).toEqual(['string', 'string', 'string']);
    }
  }
}

describe('a load never throws', () => {
  test.each(KINDS)('%s %s, whatever stands in it', (apiVersion, kind) => {
    const metadata = fc.constantFrom<unknown>({ name: 'a', namespace: 'b' }, { name: 'a' }, {}, null, undefined);
    fc.assert(
      fc.property(near(schemaOf(apiVersion, kind), 6), metadata, fc.boolean(), (value, meta, isYaml) => {
        const object = { ...(value as object), apiVersion, kind, metadata: meta };
        loadEveryWay(isYaml ? stringify(object, { aliasDuplicateObjects: false }) : JSON.stringify(object));
      }),
      { numRuns: 150 },
    );
  });

  test.each(KINDS)('%s %s, with nothing in it', (apiVersion, kind) => {
    const bare = { apiVersion, kind, metadata: { name: 'a' } };
    for (const rest of [
      {},
      { spec: null },
      { spec: {} },
      { spec: null, status: null, metadata: { name: 'a', labels: null, annotations: null } },
    ]) {
      loadEveryWay(JSON.stringify({ ...bare, ...rest }));
    }
    const spec = kind === 'ClusterNetworkPolicy' ? { tier: 'Admin', priority: 1, subject: {} } : {};
    expect(errorsOf(JSON.stringify({ apiVersion, kind, spec })).join('\n')).toContain('the object has no name');
  });

  test.each(['.nan', '.inf', '-.inf'])('a number that YAML alone has: %s', (order) => {
    const tier = `apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\nspec: {order: ${order}}\n`;
    expect(errorsOf(tier)).toEqual([`t.yaml:4: Tier a: spec.order: must be a number, got ${order}; write a number`]);
    loadEveryWay(tier);
  });

  test('a number that is too large for JSON', () => {
    const tier = '{"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"a"},"spec":{"order":1e999}}';
    expect(errorsOf(tier)).toEqual(['t.yaml:1: Tier a: spec.order: must be a number, got .inf; write a number']);
  });

  test('any text', () => {
    const unit = fc.constantFrom(
      'a',
      'kind: Pod',
      '- ',
      ':',
      '{',
      '}',
      '[',
      ']',
      '"',
      "'",
      '\n',
      ' ',
      '&a',
      '*a',
      '!!int ',
      '|',
      '>',
      '#',
      '%',
      '---\n',
      '...\n',
      '?',
      '<<',
      '\t',
      '\0',
      '\ufeff',
      '\r',
    );
    fc.assert(fc.property(fc.string({ unit, maxLength: 30 }), loadEveryWay), { numRuns: 2000 });
  });
});

describe('turns of YAML that kubectl takes', () => {
  const namespace = (yaml: string): string[] => {
    const { resources, errors } = load(yaml);
    expect(errors.map(formatProblem)).toEqual([]);
    return resources.namespaces.map(
      ({ meta }) =>
        `${meta.name} ${[...meta.labels].filter(([key]) => key.length === 1).map((pair) => pair.join('='))}`,
    );
  };

  test.each([
    [
      'merged fields stand behind own ones',
      'x: &x {name: no, labels: {a: "1"}}\napiVersion: v1\nkind: Namespace\nmetadata: {<<: *x, name: own}',
      'own a=1',
    ],
    [
      'the first of several sources wins',
      'apiVersion: v1\nkind: Namespace\nmetadata: {<<: [{name: one}, {name: two, labels: {b: "2"}}]}',
      'one b=2',
    ],
    ['a quoted << is a key', 'apiVersion: v1\nkind: Namespace\nmetadata: {name: a, "<<": {}}', 'a '],
    ['an alias as a key', 'x: &k name\napiVersion: v1\nkind: Namespace\nmetadata: {*k : a}', 'a '],
    ['a tag on a key', 'apiVersion: v1\nkind: Namespace\nmetadata: {!!str name: a, labels: {!!int x: b}}', 'a x=b'],
    ['an anchor set anew', 'x: &a one\ny: &a two\napiVersion: v1\nkind: Namespace\nmetadata: {name: *a}', 'two '],
    ['explicit keys', '? apiVersion\n: v1\n? kind\n: Namespace\n? metadata\n: name: a', 'a '],
    ['folded text', 'apiVersion: v1\nkind: >-\n  Namespace\nmetadata:\n  name: |-\n    a\n', 'a '],
    ['a flow list of bare items', 'kind: NamespaceList\napiVersion: v1\nitems: [{metadata: {name: a}}]', 'a '],
  ])('%s', (_name, yaml, expected) => {
    expect(namespace(yaml)).toEqual([expected]);
  });
});
