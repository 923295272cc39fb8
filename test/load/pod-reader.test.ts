/** The short way of pods (`pod-reader.ts`) against the long one: same model, same messages, whatever stands in the text. */
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { FAIL } from '../../src/load/json-scanner.ts';
import { type LoadOptions, type LoadResult, loadResources } from '../../src/load/load.ts';
import { subdomainProblem } from '../../src/load/names.ts';
import { isSubdomain } from '../../src/load/pod-fields.ts';
import { PodReader } from '../../src/load/pod-reader.ts';
import { PodScanner } from '../../src/load/pod-scanner.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';

afterEach(() => vi.restoreAllMocks());

/** How many pods the short way took. */
function load(text: string, options?: LoadOptions): { result: LoadResult; taken: number } {
  const read = vi.spyOn(PodReader.prototype, 'read');
  const result = loadResources([{ name: 'pods.json', text }], options);
  const taken = read.mock.results.filter(({ value }) => value !== FAIL).length;
  read.mockRestore();
  return { result, taken };
}

function loadTheLongWay(text: string, options?: LoadOptions): LoadResult {
  const read = vi.spyOn(PodReader.prototype, 'read').mockReturnValue(FAIL);
  const result = loadResources([{ name: 'pods.json', text }], options);
  read.mockRestore();
  return result;
}

/** A pod as a cluster prints it, with what a dump repeats and what it does not. */
function pod(random: Xorshift32, number: number): object {
  const app = `app-${random.below(20)}`;
  const ip = `10.${random.below(4)}.${random.below(256)}.${random.below(256)}`;
  const ports = [{ containerPort: 8080 + random.below(3), name: 'http', protocol: 'TCP' }];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      annotations:
        random.below(3) === 0
          ? undefined
          : { 'cni.projectcalico.org/podIP': `${ip}/32`, note: '{"a": "ä\\n"}', 'Big.example/Key': '' },
      creationTimestamp: '2026-01-01T00:00:00Z',
      deletionTimestamp: random.below(10) === 0 ? '2026-02-01T00:00:00Z' : undefined,
      generateName: `${app}-`,
      labels: random.below(5) === 0 ? undefined : { app, 'pod-template-hash': `h${random.below(3)}`, empty: '' },
      managedFields: [{ fieldsV1: { 'f:metadata': { 'f:labels': { '.': {}, 'k:{"uid":"1"}': {} } } }, time: null }],
      name: `${app}-${number}`,
      namespace: random.below(8) === 0 ? undefined : `ns-${random.below(5)}`,
      uid: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
    },
    spec: {
      containers: [
        { args: ['-v', '2', 1.5e-3, -0, true], image: 'é/x:1', name: 'main', ports, resources: {} },
        { name: 'side', ports: random.below(2) === 0 ? [] : [{ containerPort: 9 }] },
      ],
      hostNetwork: random.below(10) === 0 ? true : undefined,
      initContainers: random.below(4) === 0 ? [{ name: 'init', ports }] : undefined,
      nodeName: `node-${random.below(9)}`,
      serviceAccount: `sa-${random.below(5)}`,
      serviceAccountName: random.below(2) === 0 ? `sa-${random.below(5)}` : undefined,
      tolerations: [{ effect: 'NoExecute', tolerationSeconds: 300 }],
    },
    status: {
      conditions: [{ lastProbeTime: null, status: 'True' }],
      phase: ['Running', 'Pending', 'Succeeded'][random.below(3)],
      podIP: ip,
      podIPs: random.below(6) === 0 ? [] : [{ ip }, ...(random.below(4) === 0 ? [{ ip: `fd00::${number}` }] : [])],
    },
  };
}

function listOf(count: number, indent?: number, kind = 'List'): string {
  const random = new Xorshift32(7);
  const items = Array.from({ length: count }, (_, number) => pod(random, number));
  return JSON.stringify({ apiVersion: 'v1', items, kind, metadata: { resourceVersion: '' } }, undefined, indent);
}

describe('a dump of 5 000 pods', () => {
  test.each([undefined, 4])('indented by %s', (indent) => {
    const text = listOf(5000, indent);
    const { result, taken } = load(text);
    expect(taken).toBe(5000);
    expect(result.errors).toEqual([]);
    expect(result).toEqual(loadTheLongWay(text));
  });

  test('as it is', () => {
    const text = listOf(100).replaceAll(/"serviceAccount(?:Name)?":"[^"]*",/g, '');
    expect(load(text, { asIs: true }).result).toEqual(loadTheLongWay(text, { asIs: true }));
    expect(load(text).taken).toBe(100);
  });

  test('of kind PodList, whose items name no kind', () => {
    const text = listOf(100)
      .replaceAll('"apiVersion":"v1","kind":"Pod",', '')
      .replace('"items"', '"kind":"PodList","items"')
      .replace('"kind":"List",', '');
    expect(load(text).taken).toBe(100);
    expect(load(text).result).toEqual(loadTheLongWay(text));
  });
});

const PARTS = [
  '"',
  '\\',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  'null',
  '1',
  '-',
  '\n',
  '\u0001',
  'é',
  '\uffff',
  '"name":"x",',
  ' ',
];

test('texts with a few changes anywhere', () => {
  const texts = [listOf(3), listOf(3, 1), listOf(2).replace('"labels"', '"labels":{"a":"b"},"labels"')];
  const change = fc.tuple(fc.nat(), fc.nat(12), fc.constantFrom('', ...PARTS));
  fc.assert(
    fc.property(fc.constantFrom(...texts), fc.array(change, { minLength: 1, maxLength: 2 }), (text, changes) => {
      let changed = text;
      for (const [place, length, part] of changes) {
        const at = place % changed.length;
        changed = changed.slice(0, at) + part + changed.slice(at + length);
      }
      expect(load(changed).result).toEqual(loadTheLongWay(changed));
    }),
    { numRuns: 800 },
  );
});

test.each([
  ['an unknown field', '"nodeName"', '"nodename":"x","nodeName"'],
  ['an unknown field of a container', '"image"', '"imag":1,"image"'],
  ['a null', '"node-', 'null,"hostname":"node-'],
  ['a name against the rules', '"name":"app-', '"name":"-app-'],
  ['a key twice', '"nodeName"', '"nodeName":"x","nodeName"'],
  ['a key twice, once in another spelling', '"nodeName"', '"node\\u004eame":"x","nodeName"'],
  ['a key twice where nobody looks', '"effect"', '"effect":1,"effect"'],
  ['a port of no number', '"containerPort":', '"containerPort":"x","hostPort":'],
  ['a label that is a number', '"empty":""', '"empty":1'],
  ['a label against the rules', '"empty":""', '"empty":"-"'],
  ['__proto__', '"empty":""', '"__proto__":"x"'],
  ['an escape', '"node-', '"\\u006eode-'],
  ['another kind', '"kind":"Pod"', '"kind":"Pot"'],
  ['another version', '"apiVersion":"v1","kind"', '"apiVersion":"v2","kind"'],
  ['deep brackets', '"f:labels":{', `"deep":${'['.repeat(70)}${']'.repeat(70)},"f:labels":{`],
  ['a pod twice', '"name":"app-', '"name":"app", "selfLink":"app-'],
])('%s goes the long way', (_, from, to) => {
  const text = listOf(30).replaceAll(from, to);
  const { result } = load(text);
  expect(result).toEqual(loadTheLongWay(text));
  expect([...result.errors, ...result.warnings].length + result.resources.pods.length).toBeGreaterThan(0);
});

/** The reader expects keys in the order of the last pod: other orders, and keys that come again, must not deceive it. */
test('keys in any order, and twice at any distance', () => {
  const random = new Xorshift32(11);
  const shuffled = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffled);
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value);
    for (let i = entries.length - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [entries[i], entries[j]] = [entries[j]!, entries[i]!];
    }
    return Object.fromEntries(entries.map(([key, each]) => [key, shuffled(each)]));
  };
  const pods = Array.from({ length: 300 }, (_, number) => JSON.stringify(shuffled(pod(random, number))));
  const list = (items: readonly string[]): string => `{"kind":"List","items":[${items.join(',\n')}]}`;
  expect(load(list(pods)).taken).toBe(300);
  expect(load(list(pods)).result).toEqual(loadTheLongWay(list(pods)));
  const twice = pods.map((text, i) =>
    i % 3 === 0 ? text.replace(/"(nodeName|phase|name|ports|ip)":/, '$&"x","$1":') : text,
  );
  const again = pods.map((text) => `${text.slice(0, -1)},"spec":{}}`);
  for (const items of [twice, again]) expect(load(list(items)).result).toEqual(loadTheLongWay(list(items)));
  expect(load(list(again)).result.errors.length).toBeGreaterThan(0);
});

test('the rule of names, asked of bytes', () => {
  const unit = fc.constantFrom('a', 'z', '0', '9', '-', '.', 'A', '_', 'é');
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 8 }), (name) => {
      const bytes = Buffer.from(name);
      expect(isSubdomain(bytes, 0, bytes.length)).toBe(subdomainProblem(name) === undefined);
    }),
    { numRuns: 2000 },
  );
  const long = Buffer.from('a'.repeat(254));
  expect([isSubdomain(long, 0, 253), isSubdomain(long, 0, 254)]).toEqual([true, false]);
});

/** Pods of few forms, many of each: nearly all are read by comparison with one that came before. */
describe('forms', () => {
  test('pods that differ in every scalar, in any order of their forms', () => {
    const text = listOf(400, 2);
    const { result, taken } = load(text);
    expect(taken).toBe(400);
    expect(result).toEqual(loadTheLongWay(text));
  });

  /** Every pod but the first has the form of the first, with one of its scalars replaced. */
  test('whatever stands in a hole', () => {
    const first = JSON.stringify(pod(new Xorshift32(3), 0));
    const scalars = [...first.matchAll(/:("(?:[^"\\]|\\.)*"|[-\d.e]+|true|false|null)/g)];
    expect(scalars.length).toBeGreaterThan(20);
    const others = ['""', '"x"', '"X_"', '"-"', '"\\u0061"', '"\\""', '"é"', '"\\ud83d"', '"\uffff"', '"\\x"'];
    const words = [
      '0',
      '-1',
      '70000',
      '1e3',
      '01',
      '1.',
      'true',
      'false',
      'null',
      'nul',
      '{}',
      '[]',
      `"${'y'.repeat(300)}"`,
    ];
    for (const other of [...others, ...words]) {
      const items = scalars.map(({ 0: match, 1: scalar, index }, number) => {
        const at = index + match.length - scalar!.length;
        const changed = first.slice(0, at) + other + first.slice(at + scalar!.length);
        return changed.replace('"app-', `"app-${number}-`);
      });
      const text = `{"kind":"List","items":[${first},\n${items.join(',\n')}]}`;
      expect(load(text).result, other).toEqual(loadTheLongWay(text));
    }
  });

  test('two of what a pod has one of, and values of other lengths around them', () => {
    const random = new Xorshift32(5);
    const word = (): string => 'abcdefghijklmnopqrstuvwxyz'.slice(0, 1 + random.below(20));
    const items = Array.from({ length: 200 }, (_, number) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        labels: { b: word(), a: word(), ...(number % 2 === 0 ? { 7: word(), 3: word() } : {}) },
        annotations: {
          'cni.projectcalico.org/podIPs': random.below(5) === 0 ? '' : word(),
          'cni.projectcalico.org/containerID': random.below(5) === 0 ? '' : word(),
          note: random.below(2) === 0 ? `"${word()}"` : 'same',
        },
        name: `${word()}-${number}`,
        namespace: `ns-${random.below(3)}`,
      },
      spec: {
        containers: [
          {
            name: word(),
            image: word(),
            ports: [{ containerPort: random.below(70), name: word().slice(0, 9) }, { containerPort: 1 }],
          },
          { name: word(), ports: [] },
          { name: word(), ports: [{ containerPort: 80, protocol: random.below(2) === 0 ? 'TCP' : 'UDP' }] },
        ],
        initContainers: [{ name: word(), ports: [{ containerPort: random.below(3) }] }],
        hostNetwork: random.below(2) === 0,
        serviceAccount: word(),
      },
      status: { phase: word(), podIPs: [{ ip: word() }, {}, { ip: word() }], podIP: word() },
    }));
    for (const indent of [undefined, 3]) {
      const text = JSON.stringify({ kind: 'List', items }, undefined, indent);
      const scan = vi.spyOn(PodScanner.prototype as unknown as { scan(from: number): number }, 'scan');
      const { result, taken } = load(text);
      expect(taken).toBe(200);
      // One of either form.
      expect(scan.mock.calls.length).toBeLessThan(10);
      scan.mockRestore();
      expect(result).toEqual(loadTheLongWay(text));
      const one = loadResources([{ name: 'pods.json', text }]).resources.pods.map(({ meta }) => [...meta.labels]);
      expect(one).toEqual(loadTheLongWay(text).resources.pods.map(({ meta }) => [...meta.labels]));
    }
  });

  test('more forms than are kept', () => {
    const items = Array.from({ length: 300 }, (_, number) => ({
      ...pod(new Xorshift32(number + 1), number),
      status: { phase: 'Running', [`f${number % 100}`]: number },
    }));
    const text = JSON.stringify({ kind: 'List', items });
    expect(load(text).taken).toBe(300);
    expect(load(text).result).toEqual(loadTheLongWay(text));
  });
});
