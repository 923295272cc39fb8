import { describe, expect, test } from 'vitest';
import type { NetworkPolicy } from '../../src/model/resources.ts';
import { calicoObject, clusterPolicy, load, policy } from './support.ts';

function kubernetes(apiVersion: string, kind: string, fields: object): string {
  return JSON.stringify({ apiVersion, kind, metadata: { name: 'x' }, ...fields });
}

describe('core kinds', () => {
  test('a node: its addresses, not its names', () => {
    const status = {
      addresses: [
        { type: 'InternalIP', address: '10.0.0.1' },
        { type: 'Hostname', address: 'n1' },
        { address: 'fd00::1' },
        {},
      ],
    };
    const node = (spec: object): string => kubernetes('v1', 'Node', { spec, status });
    expect(
      load(node({ podCIDR: '10.1.0.0/24', podCIDRs: ['10.1.0.0/24', 'fd01::/64'] })).resources.nodes,
    ).toMatchObject([{ addresses: ['10.0.0.1', 'fd00::1'], podCIDRs: ['10.1.0.0/24', 'fd01::/64'] }]);
    expect(load(node({ podCIDR: '10.1.0.0/24' })).resources.nodes).toMatchObject([{ podCIDRs: ['10.1.0.0/24'] }]);
    expect(load(kubernetes('v1', 'Node', {})).resources.nodes).toMatchObject([{ addresses: [], podCIDRs: [] }]);
    expect(load(node({ podCIDRs: ['x'] })).errors).toMatchObject([
      { field: 'spec.podCIDRs[0]', message: "'x' is not a CIDR" },
    ]);
  });

  test('a service', () => {
    const spec = {
      clusterIP: '10.96.0.1',
      clusterIPs: ['10.96.0.1', 'fd00::1'],
      externalIPs: ['1.1.1.1'],
      loadBalancerIP: '2.2.2.2',
      selector: { app: 'x' },
      ports: [{ port: 80 }, { name: 'dns', protocol: 'UDP', port: 53, nodePort: 30_053, targetPort: 'dns' }],
    };
    const status = { loadBalancer: { ingress: [{ ip: '2.2.2.2' }, { ip: '3.3.3.3' }, { hostname: 'h' }] } };
    const [service] = load(kubernetes('v1', 'Service', { spec, status })).resources.services;
    expect(service).toMatchObject({
      type: 'ClusterIP',
      clusterIPs: ['10.96.0.1', 'fd00::1'],
      externalIPs: ['1.1.1.1'],
      loadBalancerIPs: ['2.2.2.2', '3.3.3.3'],
      ports: [
        { name: '', protocol: 'TCP', port: 80, nodePort: undefined },
        { name: 'dns', protocol: 'UDP', port: 53, nodePort: 30_053 },
      ],
    });
    expect([...service!.selector]).toEqual([['app', 'x']]);
    expect(load(kubernetes('v1', 'Service', { spec: { clusterIP: 'None' } })).resources.services).toMatchObject([
      { clusterIPs: [] },
    ]);
    expect(load(kubernetes('v1', 'Service', { spec: { clusterIP: '10.0.0.1' } })).resources.services).toMatchObject([
      { clusterIPs: ['10.0.0.1'] },
    ]);
  });

  test('an endpoint slice: all addresses, whatever their conditions', () => {
    const slice = (fields: object): string =>
      JSON.stringify({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 'x', labels: { 'kubernetes.io/service-name': 's' } },
        ...fields,
      });
    const fields = {
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: false } }, { addresses: ['10.0.0.2', '10.0.0.3'] }],
      ports: [{ port: 80 }, { name: 'any' }],
    };
    expect(load(slice(fields)).resources.endpointSlices).toMatchObject([
      {
        serviceName: 's',
        addressType: 'IPv4',
        addresses: ['10.0.0.1', '10.0.0.2', '10.0.0.3'],
        ports: [
          { name: '', protocol: 'TCP', port: 80 },
          { name: 'any', protocol: 'TCP', port: undefined },
        ],
      },
    ]);
    expect(load(slice({ addressType: 'IP' })).errors).toMatchObject([
      { field: 'addressType', message: "'IP' is not an address type" },
    ]);
  });
});

describe("Calico's kinds", () => {
  test('sets', () => {
    const { networkSets } = load(
      [
        calicoObject('NetworkSet', { nets: ['10.0.0.0/8', '10.0.0.1'] }, { namespace: 'a' }),
        calicoObject('GlobalNetworkSet', {}),
      ].join('\n'),
    ).resources;
    expect(networkSets).toMatchObject([
      { kind: 'NetworkSet', nets: ['10.0.0.0/8', '10.0.0.1'], meta: { namespace: 'a' } },
      { kind: 'GlobalNetworkSet', nets: [], meta: { namespace: '' } },
    ]);
  });

  test('a host endpoint', () => {
    const ports = [
      { name: 'a', protocol: 'TCP', port: 1 },
      { name: 'b', protocol: '17', port: 2 },
    ];
    const text = calicoObject(
      'HostEndpoint',
      { node: 'n', interfaceName: '*', expectedIPs: ['10.0.0.1'], profiles: ['p'], ports },
      { labels: { a: 'b' } },
    );
    expect(load(text).resources.hostEndpoints).toMatchObject([
      {
        node: 'n',
        interfaceName: '*',
        expectedIPs: ['10.0.0.1'],
        profiles: ['p'],
        ports: [ports[0], { name: 'b', protocol: 17, port: 2 }],
      },
    ]);
  });

  test('a profile', () => {
    const [profile] = load(calicoObject('Profile', { ingress: [{ action: 'Pass' }], labelsToApply: { a: 'b' } }))
      .resources.profiles;
    expect(profile).toMatchObject({ ingress: [{ action: 'Pass' }], egress: [] });
    expect([...profile!.labelsToApply]).toEqual([['a', 'b']]);
  });

  test('settings of Felix, absent ones told from empty ones', () => {
    const spec = {
      defaultEndpointToHostAction: 'ACCEPT',
      failsafeInboundHostPorts: [],
      failsafeOutboundHostPorts: [
        { protocol: 'UDP', port: 53, net: '10.0.0.0/8' },
        { protocol: 'TCP', port: 22 },
      ],
      vxlanPort: 4790,
      allowVXLANPacketsFromWorkloads: false,
      allowIPIPPacketsFromWorkloads: true,
      workloadSourceSpoofing: 'any',
      disableConntrackInvalidCheck: true,
      serviceLoopPrevention: 'Disabled',
      floatingIPs: 'Enabled',
      ipv6Support: false,
      vxlanEnabled: undefined,
      ipipEnabled: undefined,
      interfacePrefix: undefined,
      bpfEnabled: false,
    };
    const [configuration] = load(calicoObject('FelixConfiguration', spec)).resources.felixConfigurations;
    const { bpfEnabled: _, ...ours } = spec;
    expect(configuration).toMatchObject({
      ...ours,
      defaultEndpointToHostAction: 'Accept',
      workloadSourceSpoofing: 'Any',
      failsafeOutboundHostPorts: [
        { protocol: 'udp', port: 53, net: '10.0.0.0/8' },
        { protocol: 'tcp', port: 22, net: '' },
      ],
    });
    const [empty] = load(calicoObject('FelixConfiguration', {})).resources.felixConfigurations;
    const { kind, meta, ...settings } = empty!;
    expect([kind, meta.name]).toEqual(['FelixConfiguration', 'x']);
    expect(new Set(Object.values(settings))).toEqual(new Set([undefined]));
  });

  test('settings of BGP', () => {
    const spec = { serviceClusterIPs: [{ cidr: '10.96.0.0/12' }], serviceExternalIPs: [{}], asNumber: 1 };
    expect(load(calicoObject('BGPConfiguration', spec)).resources.bgpConfigurations).toMatchObject([
      { serviceClusterIPs: ['10.96.0.0/12'], serviceExternalIPs: [''], serviceLoadBalancerIPs: [] },
    ]);
  });
});

test('a cluster policy', () => {
  const spec = {
    tier: 'Baseline',
    priority: 7,
    subject: { pods: { podSelector: { matchLabels: { a: 'b' } } } },
    ingress: [
      { name: 'in', action: 'Pass', from: [{ pods: { podSelector: {}, namespaceSelector: {} } }, { namespaces: {} }] },
    ],
    egress: [
      {
        action: 'Deny',
        to: [{ networks: ['10.0.0.0/8'] }, { nodes: {} }, { domainNames: ['a.b'] }],
        protocols: [
          { tcp: { destinationPort: { number: 80 } } },
          { udp: { destinationPort: { range: { start: 1, end: 2 } } } },
          { sctp: {} },
          { destinationNamedPort: 'http' },
        ],
      },
    ],
  };
  const { resources, warnings } = load(clusterPolicy(spec));
  expect(resources.policies).toMatchObject([
    {
      kind: 'KubernetesClusterNetworkPolicy',
      tier: 'Baseline',
      priority: 7,
      subjectNamespaces: undefined,
      subjectPods: { namespaceSelector: { matchExpressions: [] } },
      ingress: [
        {
          name: 'in',
          action: 'Pass',
          peers: [
            { namespaces: undefined, networks: undefined, unsupported: [] },
            { pods: undefined, namespaces: { matchExpressions: [] } },
          ],
          protocols: [],
        },
      ],
      egress: [
        {
          name: '',
          peers: [{ networks: ['10.0.0.0/8'] }, { unsupported: ['nodes'] }, { unsupported: ['domainNames'] }],
          protocols: [
            { tcp: { number: 80, range: undefined }, udp: undefined, destinationNamedPort: '' },
            { udp: { number: undefined, range: { start: 1, end: 2 } } },
            { sctp: { number: undefined, range: undefined } },
            { tcp: undefined, destinationNamedPort: 'http' },
          ],
        },
      ],
    },
  ]);
  expect(warnings.map(({ field }) => field)).toEqual(['spec.egress[0].protocols[2].sctp.destinationPort']);
});

describe('lines', () => {
  const yaml = `apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: p
  namespace: app
spec:
  ingress:
    - action: Allow

    - # second
      action: Deny
      source:
        nets:
          - 10.0.0.0/8
          - x
  egress: &e
    - {action: Pass}
`;

  test('of the object and of each rule', () => {
    const { meta, ingress, egress } = load(`# first\n---\n${yaml}`, { permissive: true }).resources
      .policies[0] as NetworkPolicy;
    expect(meta.origin).toEqual({ file: 't.yaml', line: 3 });
    expect(ingress.map(({ origin }) => origin.line)).toEqual([10, 13]);
    expect(egress.map(({ origin }) => origin.line)).toEqual([19]);
  });

  test('of the field that is wrong', () => {
    expect(load(yaml).errors).toMatchObject([{ line: 15, field: 'spec.ingress[1].source.nets[1]' }]);
    const json = JSON.stringify(
      JSON.parse(policy({ selector: 'all()', ingress: [{ action: 'Allow' }, { action: 'x' }] })),
      undefined,
      1,
    );
    const line = json.split('\n').findIndex((each) => each.includes('"x"')) + 1;
    expect(load(json).errors).toMatchObject([{ line, field: 'spec.ingress[1].action' }]);
  });

  test('of the nearest field where one is absent', () => {
    const text =
      'apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata:\n  namespace: a\nspec:\n  ingress:\n    - source: {}\n';
    expect(load(text).errors).toMatchObject([
      { line: 7, field: 'spec.ingress[0].action' },
      { line: 3, field: 'metadata.name' },
    ]);
    expect(load(text.replace('source: {}', 'action: Deny')).errors).toMatchObject([
      { line: 3, field: 'metadata.name' },
    ]);
  });

  test('of what an alias or a merge stands for', () => {
    const text = `apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: p, namespace: a}
spec:
  ingress: &rules
    - action: Allow
      protocol: x
  egress: *rules
`;
    expect(load(text).errors.map(({ line, field }) => `${line} ${field}`)).toEqual([
      '7 spec.ingress[0].protocol',
      '7 spec.egress[0].protocol',
    ]);
  });
});
