import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { formatProblem, loadResources } from '../../src/load/load.ts';
import { errorsOf, load } from './support.ts';

const POD = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'a' }, spec: { nodeName: 'node' } };
const SECOND = { ...POD, metadata: { name: 'q', namespace: 'a' } };
const bare = ({ metadata, spec }: typeof POD): object => ({ metadata, spec });

/** The forms in which the two pods may be given; each as JSON, indented JSON and YAML. */
const FORMS: readonly (readonly [string, object])[] = [
  ['List', { apiVersion: 'v1', kind: 'List', metadata: {}, items: [POD, SECOND] }],
  [
    'kubectl get -o json: kind last',
    { apiVersion: 'v1', items: [POD, SECOND], kind: 'List', metadata: { resourceVersion: '' } },
  ],
  ['PodList with kinds', { kind: 'PodList', apiVersion: 'v1', items: [POD, SECOND] }],
  ['PodList of the API: items without a kind', { kind: 'PodList', apiVersion: 'v1', items: [bare(POD), bare(SECOND)] }],
  ['the same, kind last', { items: [bare(POD), bare(SECOND)], apiVersion: 'v1', kind: 'PodList' }],
  [
    'a list of lists',
    { apiVersion: 'v1', kind: 'List', items: [{ apiVersion: 'v1', kind: 'List', items: [POD] }, SECOND] },
  ],
];

describe('lists', () => {
  test.each(FORMS)('%s', (_name, form) => {
    for (const text of [
      JSON.stringify(form),
      JSON.stringify(form, undefined, 2),
      stringify(form, { aliasDuplicateObjects: false }),
    ]) {
      const { resources, errors } = load(text);
      expect(errors.map(formatProblem)).toEqual([]);
      expect(resources.pods.map(({ meta }) => `${meta.namespace}/${meta.name}`)).toEqual(['a/p', 'a/q']);
    }
  });

  test.each(FORMS)('%s: each object has its own line', (_name, form) => {
    for (const text of [JSON.stringify(form, undefined, 2), stringify(form, { aliasDuplicateObjects: false })]) {
      const lines = text.split('\n');
      for (const { meta } of load(text).resources.pods) {
        const nameLine = lines.findIndex((line) => line.replaceAll(/[",\s]/g, '') === `name:${meta.name}`) + 1;
        expect(nameLine - meta.origin.line).toBeGreaterThanOrEqual(1);
        expect(nameLine - meta.origin.line).toBeLessThanOrEqual(4);
      }
    }
  });

  test.each([
    ['empty', '{"apiVersion":"v1","kind":"List","items":[]}'],
    ['null', '{"apiVersion":"v1","kind":"List","items":null}'],
    ['empty, as YAML', 'apiVersion: v1\nkind: List\nitems: []\n'],
  ])('%s', (_name, text) => {
    expect(load(text)).toMatchObject({ errors: [], warnings: [], ignored: [] });
  });

  test('what is wrong with one', () => {
    expect(errorsOf('apiVersion: v1\nkind: List\nitems: x\n')).toEqual([
      't.yaml:1: items must be a list; write the objects as a list',
    ]);
    expect(errorsOf('apiVersion: v1\nkind: List\nitems:\n- x\n- {metadata: {name: a}}\n')).toEqual([
      't.yaml:4: a document must be a map with apiVersion and kind; write a Kubernetes object',
      't.yaml:5: the object has no kind; add kind',
    ]);
    expect(errorsOf('{"items":[{"metadata":{"name":"a"}}],\n"x":1}')).toEqual([
      't.yaml:1: the object has no kind; add kind',
      't.yaml:1: the object has no kind; add kind',
    ]);
    expect(errorsOf('{"apiVersion":"v1","kind":"List","items":[\n1]}')).toEqual([
      't.yaml:2: a document must be a map with apiVersion and kind; write a Kubernetes object',
    ]);
    expect(errorsOf('{"kind":"Pod"}')).toEqual(['t.yaml:1: the object has no apiVersion; add apiVersion']);
  });

  test('an error inside is at its line, under the name of its object', () => {
    const text = JSON.stringify(
      { apiVersion: 'v1', kind: 'List', items: [POD, { ...SECOND, spec: { nodeName: 1 } }] },
      undefined,
      1,
    );
    const line = text.split('\n').findIndex((each) => each.includes('"nodeName": 1')) + 1;
    expect(errorsOf(text)).toEqual([
      `t.yaml:${line}: Pod a/q: spec.nodeName: must be text, got 1; put the value in quotes`,
    ]);
    expect(errorsOf(stringify(JSON.parse(text)))[0]).toMatch(/^t\.yaml:\d+: Pod a\/q: spec\.nodeName: must be text/);
  });
});

describe('the same object twice', () => {
  const pod = JSON.stringify(POD);

  test('names both places', () => {
    expect(errorsOf(`${pod}\n---\n${pod}`)).toEqual([
      't.yaml:3: Pod a/p: the same object is already at t.yaml:1; keep one of the two',
    ]);
    const { errors } = loadResources([
      { name: 'a.json', text: pod },
      { name: 'b.json', text: pod },
    ]);
    expect(errors.map(formatProblem)).toEqual([
      'b.json:1: Pod a/p: the same object is already at a.json:1; keep one of the two',
    ]);
  });

  test('a kind, a namespace or a group makes another object', () => {
    const policy = (apiVersion: string, metadata: object): string =>
      JSON.stringify({ apiVersion, kind: 'NetworkPolicy', metadata, spec: {} });
    const texts = [
      policy('networking.k8s.io/v1', { name: 'p', namespace: 'a' }),
      policy('networking.k8s.io/v1', { name: 'p', namespace: 'b' }),
      policy('projectcalico.org/v3', { name: 'p', namespace: 'a' }),
      policy('projectcalico.org/v3', { name: 'q', namespace: 'a' }),
    ];
    expect(load(texts.join('\n---\n')).resources.policies).toHaveLength(4);
  });

  test('the default namespace is a namespace', () => {
    const inDefault = pod.replace(',"namespace":"a"', '');
    expect(errorsOf(`${inDefault}\n---\n${pod.replace('"a"', '"default"')}`)).toEqual([
      't.yaml:3: Pod default/p: the same object is already at t.yaml:1; keep one of the two',
    ]);
  });
});

test('sources without a name are numbered', () => {
  expect(loadResources(['x', { name: 'named', text: 'x' }, 'x']).errors.map(({ file }) => file)).toEqual([
    'input-1',
    'named',
    'input-3',
  ]);
});
