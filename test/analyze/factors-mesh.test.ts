/** What Istio's objects say: the mTLS mode of a port, and the port rules that ambient mode makes meaningless. */
import { describe, expect, test } from 'vitest';
import { ambientWarnings } from '../../src/analyze/factors-ambient.ts';
import { peerAuthenticationOf } from '../../src/analyze/factors-peer-auth.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';

function load(objects: readonly object[]) {
  const { resources, errors } = loadResources([
    { name: 'm.yaml', text: objects.map((each) => JSON.stringify(each)).join('\n') },
  ]);
  expect(errors).toEqual([]);
  return resources;
}

describe('the mode of a port', () => {
  const peer = (name: string, namespace: string, spec: object, creationTimestamp?: string) => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name, namespace, ...(creationTimestamp === undefined ? {} : { creationTimestamp }) },
    spec,
  });
  const mtls = (mode: string) => ({ mtls: { mode } });
  const selecting = (spec: object) => ({ selector: { matchLabels: { app: 'db' } }, ...spec });
  const MESH = peer('mesh', 'istio-system', mtls('STRICT'));

  /** `mode level policy` of port 5432 of a pod of namespace prod with app=db. */
  const modeOf = (
    objects: readonly object[],
    { namespace = 'prod', app = 'db', root = 'istio-system' } = {},
  ): string => {
    const effective = peerAuthenticationOf(load(objects), namespace, new Map([['app', app]]), 5432, root);
    return effective === undefined ? 'none' : `${effective.mode} ${effective.level} ${effective.policy ?? '-'}`;
  };

  test.each<[string, object[], string]>([
    ['nothing', [], 'none'],
    ['of the mesh', [MESH], 'STRICT mesh istio-system/mesh'],
    ['of the namespace', [MESH, peer('ns', 'prod', mtls('PERMISSIVE'))], 'PERMISSIVE namespace prod/ns'],
    ['of another namespace', [peer('ns', 'lab', mtls('STRICT'))], 'PERMISSIVE default -'],
    [
      'of the workload',
      [MESH, peer('ns', 'prod', mtls('STRICT')), peer('db', 'prod', selecting(mtls('DISABLE')))],
      'DISABLE workload prod/db',
    ],
    [
      'of another workload',
      [MESH, peer('x', 'prod', { selector: { matchLabels: { app: 'x' } }, ...mtls('DISABLE') })],
      'STRICT mesh istio-system/mesh',
    ],
    [
      'of the port',
      [MESH, peer('db', 'prod', selecting({ ...mtls('STRICT'), portLevelMtls: { 5432: { mode: 'PERMISSIVE' } } }))],
      'PERMISSIVE port prod/db',
    ],
    [
      'of another port',
      [MESH, peer('db', 'prod', selecting({ ...mtls('DISABLE'), portLevelMtls: { 80: { mode: 'PERMISSIVE' } } }))],
      'DISABLE workload prod/db',
    ],
    [
      'unset everywhere',
      [
        peer('mesh', 'istio-system', mtls('UNSET')),
        peer('db', 'prod', selecting({ ...mtls('UNSET'), portLevelMtls: { 5432: { mode: 'UNSET' } } })),
      ],
      'PERMISSIVE default -',
    ],
    [
      'unset below',
      [MESH, peer('ns', 'prod', mtls('UNSET')), peer('db', 'prod', selecting(mtls('UNSET')))],
      'STRICT mesh istio-system/mesh',
    ],
    [
      'with a selector in the root namespace',
      [peer('db', 'istio-system', selecting(mtls('STRICT')))],
      'PERMISSIVE default -',
    ],
  ])('%s', (_name, objects, expected) => {
    expect(modeOf(objects)).toBe(expected);
  });

  test('of several at one level the oldest counts, and the first of those without a time', () => {
    const [a, b] = [
      peer('a', 'prod', mtls('DISABLE'), '2026-02-01T00:00:00Z'),
      peer('b', 'prod', mtls('STRICT'), '2026-01-01T00:00:00Z'),
    ];
    expect(modeOf([a, b])).toBe('STRICT namespace prod/b');
    expect(modeOf([peer('c', 'prod', mtls('PERMISSIVE')), a])).toBe('DISABLE namespace prod/a');
    expect(modeOf([peer('c', 'prod', mtls('PERMISSIVE')), peer('d', 'prod', mtls('STRICT'))])).toBe(
      'PERMISSIVE namespace prod/c',
    );
  });

  test('in the root namespace itself, and with another root', () => {
    expect(modeOf([MESH], { namespace: 'istio-system' })).toBe('STRICT mesh istio-system/mesh');
    expect(modeOf([MESH], { root: 'mesh' })).toBe('PERMISSIVE default -');
    expect(modeOf([peer('m', 'mesh', mtls('STRICT'))], { root: 'mesh' })).toBe('STRICT mesh mesh/m');
  });
});

describe('ambient mode', () => {
  const namespace = (labels: object) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'prod', labels } });
  const pod = (name: string, more: object = {}) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'prod', labels: { app: name }, ...more },
    spec: { nodeName: 'n', serviceAccountName: 'default' },
    status: { phase: 'Running', podIP: `10.0.0.${name.length}` },
  });
  const policy = (spec: object, name = 'p') => ({
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: { name, namespace: 'prod' },
    spec: { selector: 'app == "db"', ...spec },
  });
  const AMBIENT = { 'istio.io/dataplane-mode': 'ambient' };
  const ports = (...list: (number | string)[]) => ({ action: 'Allow', protocol: 'TCP', destination: { ports: list } });
  const warningsOf = (...objects: object[]): string[] => {
    const resources = load(objects);
    return ambientWarnings(planCluster(resources), resources).map(
      ({ kind, namespace: of, name, field, message }) => `${kind} ${of}/${name} ${field}: ${message}`,
    );
  };

  test('makes port rules of the pods in it meaningless', () => {
    const rules = policy({ ingress: [ports(5432), { action: 'Allow' }, ports('pg')], egress: [ports('8000:9000')] });
    expect(warningsOf(namespace(AMBIENT), pod('db'), rules)).toEqual([
      "NetworkPolicy prod/p spec.ingress: rules 0, 2 name ports of TCP, but pods it applies to are in Istio's ambient mode, whose traffic comes by port 15008 (HBONE): none of it matches",
      "NetworkPolicy prod/p spec.egress: rule 0 names ports of TCP, but pods it applies to, and those they call, are in Istio's ambient mode, whose traffic comes by port 15008 (HBONE): none of it matches",
    ]);
  });

  test.each<[string, object[]]>([
    ['without a pod in it', [namespace({}), pod('db')]],
    [
      'with a pod that is taken out',
      [namespace(AMBIENT), pod('db', { labels: { app: 'db', 'istio.io/dataplane-mode': 'none' } })],
    ],
    ['with a pod of another policy', [namespace({}), pod('db'), pod('web', { labels: { app: 'web', ...AMBIENT } })]],
  ])('%s nothing is said', (_name, objects) => {
    expect(warningsOf(...objects, policy({ ingress: [ports(5432)] }))).toEqual([]);
  });

  test.each<[string, object]>([
    ['the label of the pod', { labels: { app: 'db', ...AMBIENT } }],
    ["the CNI plugin's annotation", { annotations: { 'ambient.istio.io/redirection': 'enabled' } }],
  ])('is known by %s', (_name, metadata) => {
    expect(warningsOf(namespace({}), pod('db', metadata), policy({ ingress: [ports(5432)] }))).toHaveLength(1);
  });

  test('rules that see the tunnel, or are about something else, are fine', () => {
    const fine = [
      ports(5432, 15008),
      ports('15000:15010'),
      { action: 'Allow' },
      { action: 'Allow', protocol: 'UDP', destination: { ports: [53] } },
    ];
    expect(warningsOf(namespace(AMBIENT), pod('db'), policy({ ingress: fine }))).toEqual([]);
    const staged = { ...policy({ ingress: [ports(5432)] }), kind: 'StagedNetworkPolicy' };
    expect(warningsOf(namespace(AMBIENT), pod('db'), staged)).toEqual([]);
  });

  test("Kubernetes' own policies are told by their kind", () => {
    const knp = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'k', namespace: 'prod' },
      spec: { podSelector: {}, ingress: [{ ports: [{ port: 80 }] }] },
    };
    expect(warningsOf(namespace(AMBIENT), pod('db'), knp)[0]).toContain(
      'NetworkPolicy prod/k spec.ingress: rule 0 names',
    );
  });
});
