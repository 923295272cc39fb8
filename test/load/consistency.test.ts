import { describe, expect, test } from 'vitest';
import { calicoObject, policy, warningsOf } from './support.ts';

interface PodFields {
  readonly account?: string;
  readonly spec?: object;
  readonly status?: object;
  readonly annotations?: object;
}

function pod(
  name: string,
  { account = 'default', spec = {}, status = { podIP: '10.0.0.1' }, annotations = {} }: PodFields,
): string {
  const metadata = { name, namespace: 'a', annotations };
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata,
    spec: { serviceAccountName: account, ...spec },
    status,
  });
}

describe('accounts that no object describes', () => {
  test.each([
    [1, ''],
    [2, ' (1 more pod names it)'],
    [3, ' (2 more pods name it)'],
  ])('%i pods, one warning', (count, others) => {
    const pods = Array.from({ length: count }, (_, i) => pod(`p${i}`, { account: 'sa' }));
    expect(warningsOf(pods.join('\n'))).toEqual([
      `t.yaml:1: Pod a/p0: spec.serviceAccountName: ServiceAccount a/sa is not in the input${others}: its name matches, labels it may have do not; add the ServiceAccount`,
    ]);
  });
});

test('tiers that do not exist', () => {
  const message = (subject: string): string =>
    `t.yaml:1: ${subject}: spec.tier: tier 'x' is not in the input: Calico enforces the policy after all other tiers, and what no rule there matches is denied; add the Tier, or correct the name`;
  expect(warningsOf(policy({ tier: 'x' }))).toEqual([message('NetworkPolicy app/p')]);
  expect(warningsOf(policy({ tier: 'x' }, 'StagedGlobalNetworkPolicy'))).toEqual([
    message('StagedGlobalNetworkPolicy p'),
  ]);
  expect(warningsOf(policy({ tier: 'kube-admin' }))).toEqual([]);
  expect(warningsOf(`${policy({ tier: 'x' })}\n${calicoObject('Tier', {})}`)).toEqual([]);
});

describe('host endpoints', () => {
  const hep = (spec: object): string => calicoObject('HostEndpoint', { node: 'n', interfaceName: '*', ...spec });
  const namespace = '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}';

  test('profiles that do not exist', () => {
    const profiles = ['projectcalico-default-allow', 'kns.a', 'ksa.a.default', 'x', 'gone'];
    const text = [hep({ profiles }), namespace, calicoObject('Profile', {})].join('\n');
    expect(warningsOf(text)).toEqual([
      "t.yaml:1: HostEndpoint x: spec.profiles[4]: profile 'gone' is not in the input: traffic that reaches it is denied; add the Profile, or correct the name",
    ]);
  });

  test('nodes that do not exist, if any do', () => {
    const node = '{"apiVersion":"v1","kind":"Node","metadata":{"name":"other"}}';
    expect(warningsOf(hep({}))).toEqual([]);
    expect(warningsOf(`${hep({})}\n${node}`)).toEqual([
      "t.yaml:1: HostEndpoint x: spec.node: node 'n' is not in the input; add the Node, or correct the name",
    ]);
    expect(warningsOf(`${hep({})}\n${node.replace('other', 'n')}`)).toEqual([]);
  });
});

describe('pods without an address', () => {
  const message = (others: string): string =>
    `t.yaml:1: Pod a/p: status.podIPs: the pod has no address${others}: without one it is no endpoint, and no policy applies to it; take the pods from a running cluster (kubectl get pods -A -o json)`;

  test('one warning for all', () => {
    expect(warningsOf(pod('p', { status: {} }))).toEqual([message('')]);
    expect(
      warningsOf([pod('p', { status: {} }), pod('q', {}), pod('r', { status: { podIPs: [] } })].join('\n')),
    ).toEqual([message(' (nor has 1 more pod)')]);
  });

  test.each([
    ['an address in a list', { status: { podIPs: [{ ip: '10.0.0.1' }] } }],
    ['an address in an annotation', { status: {}, annotations: { 'cni.projectcalico.org/podIP': '10.0.0.1/32' } }],
    ["the node's addresses", { status: {}, spec: { hostNetwork: true } }],
    ['no further need of one', { status: { phase: 'Succeeded' } }],
  ])('none for a pod with %s', (_name, fields) => {
    expect(warningsOf(pod('p', fields))).toEqual([]);
  });
});

test('a service account that no cluster can have', () => {
  const text = policy({ ingress: [{ action: 'Allow', source: { serviceAccounts: { names: ['a', 'a b'] } } }] });
  expect(warningsOf(text)).toEqual([
    "t.yaml:1: NetworkPolicy app/p: spec.ingress[0].source.serviceAccounts.names[1]: no service account can be called 'a b', so it matches nothing; correct the name",
  ]);
});

test('a CIDR that Kubernetes takes and Calico does not', () => {
  const block = (ipBlock: object): string =>
    JSON.stringify({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'k', namespace: 'app' },
      spec: { egress: [{ to: [{ ipBlock }] }] },
    });
  const FIELD = 't.yaml:1: NetworkPolicy app/k: spec.egress[0].to[0].ipBlock';
  expect(warningsOf(block({ cidr: '010.0.0.0/8' }))).toEqual([
    `${FIELD}.cidr: the API takes '010.0.0.0/8' in spite of its leading zeros, but Calico cannot read it, and the peer matches any address; remove the leading zeros`,
  ]);
  expect(warningsOf(block({ cidr: '10.0.0.0/8', except: ['10.01.0.0/16'] }))).toEqual([
    `${FIELD}.except[0]: the API takes '10.01.0.0/16' in spite of its leading zeros, but Calico leaves out this entry and those after it; remove the leading zeros`,
  ]);
});

test('what the API takes and Felix does not', () => {
  const ports = [{ name: 'a', protocol: 6, port: 1 }];
  expect(warningsOf(calicoObject('HostEndpoint', { node: 'n', interfaceName: '*', ports }))).toEqual([
    't.yaml:1: HostEndpoint x: spec.ports[0].protocol: protocol 6 as a number: the API takes it, and then Calico ignores the whole host endpoint; write TCP, UDP or SCTP',
  ]);
  expect(warningsOf(calicoObject('GlobalNetworkSet', { nets: [''] }))).toEqual([
    't.yaml:1: GlobalNetworkSet x: spec.nets[0]: an empty entry is ignored; remove it',
  ]);
});
