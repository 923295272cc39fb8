import { describe, expect, test } from 'vitest';
import { formatProblem } from '../../src/load/load.ts';
import type { KubernetesNetworkPolicy, NetworkPolicy, Pod } from '../../src/model/resources.ts';
import { calicoObject, ingressRule, kubernetesPolicy, load, policy, warningsOf } from './support.ts';

const POD = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"a"},"status":{"podIP":"10.0.0.1"}}';
const lines = (text: string, asIs = false): string[] => load(text, { asIs }).warnings.map(formatProblem);

describe('what every cluster has', () => {
  test('the built-in tiers, where the input lacks them', () => {
    const own = calicoObject('Tier', { order: 1_000_000 }, { name: 'default' });
    const { resources, warnings } = load(`${own}\n---\n${calicoObject('Tier', { order: 5 })}`);
    expect(warnings).toEqual([]);
    expect(
      resources.tiers.map(({ meta, order, defaultAction, isSynthesised }) => [
        meta.name,
        order,
        defaultAction,
        isSynthesised,
      ]),
    ).toEqual([
      ['default', 1_000_000, 'Deny', false],
      ['x', 5, 'Deny', false],
      ['kube-admin', 1000, 'Pass', true],
      ['kube-baseline', 10_000_000, 'Pass', true],
    ]);
  });

  test('namespaces and their default accounts, with one warning each', () => {
    const { resources } = load(`${POD}\n---\n${POD.replace('"p"', '"q"')}`);
    expect(resources.namespaces).toMatchObject([{ isSynthesised: true, meta: { name: 'a', namespace: '' } }]);
    expect([...resources.namespaces[0]!.meta.labels]).toEqual([['kubernetes.io/metadata.name', 'a']]);
    expect(resources.serviceAccounts).toMatchObject([
      { isSynthesised: true, meta: { name: 'default', namespace: 'a' } },
    ]);
    expect(resources.serviceAccounts[0]!.meta.labels.size).toBe(0);
    expect(lines(`\n${POD}`)).toEqual([
      't.yaml:2: Namespace a: not in the input, so it is taken to exist without labels of its own; add the Namespace with its labels',
      't.yaml:2: ServiceAccount a/default: not in the input, so it is taken to exist without labels, as in every namespace; add the ServiceAccount if it has labels',
    ]);
  });

  test('nothing is made that is there', () => {
    const namespace = '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a","labels":{"x":"y"}}}';
    const account =
      '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default","namespace":"a","labels":{"k":"v"}}}';
    const { resources, warnings } = load([POD, namespace, account].join('\n'));
    expect(warnings).toEqual([]);
    expect(resources.namespaces.map(({ isSynthesised }) => isSynthesised)).toEqual([false]);
    expect([...resources.namespaces[0]!.meta.labels]).toEqual([
      ['x', 'y'],
      ['kubernetes.io/metadata.name', 'a'],
    ]);
    expect([...resources.serviceAccounts[0]!.meta.labels]).toEqual([['k', 'v']]);
  });

  test('the label of a namespace is its name, whatever is written', () => {
    const text =
      '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a","labels":{"kubernetes.io/metadata.name":"b"}}}';
    expect([...load(text).resources.namespaces[0]!.meta.labels]).toEqual([['kubernetes.io/metadata.name', 'a']]);
  });

  test('as it is: tiers, and nothing else', () => {
    const { resources } = load(POD, { asIs: true });
    expect(resources.namespaces).toEqual([]);
    expect(resources.serviceAccounts).toEqual([]);
    expect(resources.tiers).toHaveLength(3);
    expect(resources.pods[0]!.serviceAccountName).toBe('');
    expect(lines(POD, true)).toEqual([]);
  });
});

describe('fields of pods', () => {
  const pod = (spec: object, asIs = false): Pod =>
    load(JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec }), { asIs }).resources.pods[0]!;

  test.each([
    [{}, 'default', ''],
    [{ serviceAccountName: 'a', serviceAccount: 'b' }, 'a', 'a'],
    [{ serviceAccount: 'b' }, 'b', 'b'],
    [{ serviceAccountName: '' }, 'default', ''],
    [{ serviceAccountName: null }, 'default', ''],
  ])('account of %j', (spec, name, asIsName) => {
    expect(pod(spec).serviceAccountName).toBe(name);
    expect(pod(spec, true).serviceAccountName).toBe(asIsName);
  });

  test('namespace, ports, and fields that are null', () => {
    const spec = {
      hostNetwork: null,
      containers: [
        { name: 'c', ports: [{ containerPort: 80 }, { name: 'dns', containerPort: 53, protocol: 'UDP' }] },
        { ports: null },
      ],
      initContainers: [{ ports: [{ name: 'i', containerPort: 1, protocol: null }] }],
    };
    expect(pod(spec)).toMatchObject({
      meta: { namespace: 'default', uid: '' },
      nodeName: '',
      hostNetwork: false,
      hasDeletionTimestamp: false,
      containerPorts: [
        { name: '', containerPort: 80, protocol: 'TCP' },
        { name: 'dns', containerPort: 53, protocol: 'UDP' },
      ],
      initContainerPorts: [{ name: 'i', containerPort: 1, protocol: 'TCP' }],
    });
  });
});

describe('fields of policies', () => {
  const types = (spec: object): readonly string[] => (load(policy(spec)).resources.policies[0] as NetworkPolicy).types;
  const rule = [{ action: 'Allow' }];

  test.each([
    [{}, ['Ingress']],
    [{ ingress: rule }, ['Ingress']],
    [{ egress: rule }, ['Egress']],
    [{ ingress: rule, egress: rule }, ['Ingress', 'Egress']],
    [{ ingress: [], egress: rule }, ['Egress']],
    [{ types: [], egress: rule }, ['Egress']],
    [{ types: null, ingress: rule }, ['Ingress']],
    [{ types: ['Egress', 'Ingress'] }, ['Ingress', 'Egress']],
    [{ types: ['Egress'], ingress: rule }, ['Egress']],
  ])('types of %j', (spec, expected) => {
    expect(types(spec)).toEqual(expected);
  });

  test('an empty egress list without types is warned of', () => {
    expect(warningsOf(policy({ egress: [], ingress: rule }))[0]).toMatch(
      /^t\.yaml:1: NetworkPolicy app\/p: spec\.egress: types are not given and egress is an empty list/,
    );
    expect(warningsOf(policy({ egress: [], types: ['Egress'] }))).toEqual([]);
  });

  test('tier, order, staged action', () => {
    const [plain, staged] = load(`${policy({ tier: '' })}\n---\n${policy({ stagedAction: '' }, 'StagedNetworkPolicy')}`)
      .resources.policies;
    expect(plain).toMatchObject({ tier: 'default', order: undefined, stagedAction: 'Set' });
    expect(staged).toMatchObject({ kind: 'StagedNetworkPolicy', stagedAction: 'Set' });
    expect(load(policy({ order: 1.5 })).resources.policies[0]).toMatchObject({ order: 1.5 });
  });

  const kubernetesTypes = (text: string): readonly string[] =>
    (load(text).resources.policies[0] as KubernetesNetworkPolicy).policyTypes;

  test.each([
    [{}, ['Ingress']],
    [{ egress: [{}] }, ['Ingress', 'Egress']],
    [{ egress: [] }, ['Ingress']],
    [{ policyTypes: ['Egress'] }, ['Egress']],
    [{ policyTypes: [], egress: [{}] }, ['Ingress', 'Egress']],
  ])('policyTypes of %j', (spec, expected) => {
    expect(kubernetesTypes(kubernetesPolicy(spec))).toEqual(expected);
  });

  test('nothing fills in the staged form of a Kubernetes policy', () => {
    const text = policy({ egress: [{}] }, 'StagedKubernetesNetworkPolicy');
    expect(kubernetesTypes(text)).toEqual(['Ingress']);
    expect(warningsOf(text)[0]).toContain('the egress rules have no effect');
    expect(warningsOf(policy({ policyTypes: ['Egress'], egress: [{}] }, 'StagedKubernetesNetworkPolicy'))).toEqual([]);
  });

  test('a policy without a spec is an empty one', () => {
    const text =
      '{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"k","namespace":"app"}}';
    expect(load(text).resources.policies[0]).toMatchObject({
      podSelector: { matchExpressions: [] },
      ingress: [],
      egress: [],
    });
  });

  test('rules: numbers, names, absent parts', () => {
    const text = ingressRule({
      protocol: '6',
      notProtocol: 'UDPLite',
      source: { ports: [80, '81', '82:83', 'http'], serviceAccounts: {}, services: null },
      metadata: { annotations: { a: 'b' } },
    });
    const [rule] = (load(text).resources.policies[0] as NetworkPolicy).ingress;
    expect(rule).toMatchObject({
      protocol: 6,
      notProtocol: 'UDPLite',
      http: undefined,
      icmp: undefined,
      ipVersion: undefined,
    });
    expect(rule!.source).toMatchObject({ serviceAccounts: { names: [], selector: '' }, services: undefined, nets: [] });
    expect(rule!.source.ports).toEqual([
      { type: 'range', min: 80, max: 80 },
      { type: 'range', min: 81, max: 81 },
      { type: 'range', min: 82, max: 83 },
      { type: 'named', name: 'http' },
    ]);
    expect([...rule!.annotations]).toEqual([['a', 'b']]);
    expect(rule!.destination).toMatchObject({ selector: '', serviceAccounts: undefined });
  });

  test('http paths', () => {
    const [rule] = (
      load(ingressRule({ http: { methods: ['GET'], paths: [{ exact: '/a' }, { prefix: '/b' }] } })).resources
        .policies[0] as NetworkPolicy
    ).ingress;
    expect(rule!.http).toEqual({ methods: ['GET'], paths: [{ exact: '/a' }, { prefix: '/b' }] });
  });
});
