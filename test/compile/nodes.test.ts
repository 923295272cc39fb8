import { describe, expect, test } from 'vitest';
import type { Plan, PlanNode } from '../../src/compile/plan.ts';
import { hostEndpoint, joinDocuments, permissivePlanOf, planOf, pod, prefixTexts, warningLines } from './cluster.ts';

const NODE = `{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDRs: [10.0.0.0/24]}, status: {addresses: [{type: InternalIP, address: 192.168.1.1}, {type: Hostname, address: n1}, {type: InternalIP, address: 'fd00::1'}]}}`;
const felix = (name: string, spec: string): string =>
  `{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: ${name}}, spec: {${spec}}}`;

function nodeOf(plan: Plan, name = 'n1'): PlanNode {
  const found = plan.nodes.find((node) => node.name === name);
  if (found === undefined) throw new Error(`no node ${name}`);
  return found;
}

/** Key of an endpoint by index. */
const keyOf = (plan: Plan, index: number): string => (index < 0 ? 'none' : plan.endpoints[index]!.key);

describe('which host endpoint governs', () => {
  const governing = (...hosts: string[]): [string, boolean, string] => {
    const plan = planOf(joinDocuments(NODE, ...hosts));
    const { uplinkEndpoint, isUplinkExplicit, wildcardEndpoint } = nodeOf(plan);
    return [keyOf(plan, uplinkEndpoint), isUplinkExplicit, keyOf(plan, wildcardEndpoint)];
  };
  const byName = (name: string): string => hostEndpoint(name, 'node: n1, interfaceName: eth0');
  const byAddress = (name: string, ip = '192.168.1.1'): string => hostEndpoint(name, `node: n1, expectedIPs: [${ip}]`);
  const wildcard = (name: string): string =>
    hostEndpoint(name, "node: n1, interfaceName: '*', expectedIPs: [192.168.1.1]");

  test('row 26: by name and by address are equal, the smallest name wins', () => {
    expect(governing(byName('b'), byAddress('a'))).toEqual(['hep:a', true, 'none']);
    expect(governing(byName('a'), byAddress('b'))).toEqual(['hep:a', true, 'none']);
  });

  test('the wildcard governs the uplink only without an explicit one, pod interfaces always', () => {
    expect(governing(wildcard('all'))).toEqual(['hep:all', false, 'hep:all']);
    expect(governing(wildcard('all'), byName('eth0'))).toEqual(['hep:eth0', true, 'hep:all']);
    expect(governing(wildcard('w2'), wildcard('w1'))).toEqual(['hep:w1', false, 'hep:w1']);
  });

  test('what a host endpoint expects is an address of its node, so it governs by any; without one it governs nothing', () => {
    expect(governing(byAddress('a', '172.16.0.1'))).toEqual(['hep:a', true, 'none']);
    expect(governing(byAddress('a', '"fd00::1"'))).toEqual(['hep:a', true, 'none']);
    const plan = permissivePlanOf(joinDocuments(NODE, hostEndpoint('a', 'node: n1, expectedIPs: [banana]')));
    expect(nodeOf(plan)).toMatchObject({ uplinkEndpoint: -1, isUplinkExplicit: false, wildcardEndpoint: -1 });
  });

  test('a node whose addresses nothing tells has those that its host endpoints expect', () => {
    const plan = planOf(hostEndpoint('a', 'node: n9, expectedIPs: [172.16.0.1]'));
    expect(keyOf(plan, nodeOf(plan, 'n9').uplinkEndpoint)).toBe('hep:a');
  });
});

test('nodes: those of objects and those that endpoints name, by name, with all addresses', () => {
  const plan = planOf(
    joinDocuments(
      pod('a', '10.0.0.1', { node: 'n0' }),
      NODE,
      hostEndpoint('h', 'node: n1, interfaceName: eth1, expectedIPs: [172.16.0.1, 192.168.1.1]'),
    ),
  );
  expect(
    plan.nodes.map(({ name, addresses, podCidrs }) => [name, prefixTexts(addresses), prefixTexts(podCidrs)]),
  ).toEqual([
    ['n0', [], []],
    ['n1', ['172.16.0.1/32', '192.168.1.1/32', 'fd00::1/128'], ['10.0.0.0/24']],
  ]);
});

describe("Felix's settings", () => {
  test('defaults', () => {
    const { settings } = nodeOf(planOf(NODE));
    expect(settings).toMatchObject({
      defaultEndpointToHostAction: 'accept',
      vxlanPort: 4789,
      allowVxlanFromWorkloads: false,
      allowIpipFromWorkloads: false,
      disableConntrackInvalidCheck: false,
      ipv6Support: true,
      vxlanEnabled: false,
      ipipEnabled: false,
      interfacePrefixes: ['cali'],
      serviceLoopPrevention: true,
    });
    const list = (ports: PlanNode['settings']['failsafeInbound']): string[] =>
      ports.map(({ protocol, port }) => `${protocol}:${port}`);
    expect(list(settings.failsafeInbound)).toEqual([
      '6:22',
      '6:179',
      '6:2379',
      '6:2380',
      '6:5473',
      '6:6443',
      '6:6666',
      '6:6667',
      '17:68',
    ]);
    expect(list(settings.failsafeOutbound)).toEqual([
      '17:53',
      '17:67',
      '6:179',
      '6:2379',
      '6:2380',
      '6:5473',
      '6:6443',
      '6:6666',
      '6:6667',
    ]);
  });

  test('a node overrides the cluster field by field', () => {
    const plan = planOf(
      joinDocuments(
        NODE,
        NODE.replace('name: n1', 'name: n2'),
        felix('default', 'vxlanPort: 1, defaultEndpointToHostAction: Drop, serviceLoopPrevention: Disabled'),
        felix('node.n1', 'vxlanPort: 2, defaultEndpointToHostAction: Return'),
      ),
    );
    expect(nodeOf(plan).settings).toMatchObject({
      vxlanPort: 2,
      defaultEndpointToHostAction: 'return',
      serviceLoopPrevention: false,
    });
    expect(nodeOf(plan, 'n2').settings).toMatchObject({
      vxlanPort: 1,
      defaultEndpointToHostAction: 'drop',
      serviceLoopPrevention: false,
    });
  });

  test('failsafe ports: a list replaces the default, an empty one has none, net limits the remote side', () => {
    const plan = planOf(
      joinDocuments(
        NODE,
        felix(
          'default',
          'failsafeInboundHostPorts: [{protocol: UDP, port: 9, net: 10.0.0.0/8}], failsafeOutboundHostPorts: []',
        ),
      ),
    );
    const { failsafeInbound, failsafeOutbound } = nodeOf(plan).settings;
    expect(failsafeInbound.map(({ protocol, port, net }) => [protocol, port, prefixTexts([net!])])).toEqual([
      [17, 9, ['10.0.0.0/8']],
    ]);
    expect(failsafeOutbound).toEqual([]);
  });

  test('a list that Felix cannot read is its default, with a warning', () => {
    const plan = permissivePlanOf(
      joinDocuments(
        NODE,
        felix('default', 'failsafeInboundHostPorts: [{protocol: TCP, port: 9}, {protocol: SCTP, port: 9}]'),
      ),
    );
    expect(nodeOf(plan).settings.failsafeInbound).toHaveLength(9);
    expect(warningLines(plan)).toEqual([
      'FelixConfiguration default spec.failsafeInboundHostPorts[1]: Felix cannot read this entry and uses its default list',
    ]);
  });
});

describe('services', () => {
  const service = `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: app}, spec: {clusterIPs: [10.96.0.1, 'fd96::1'], clusterIP: 10.96.0.1, externalIPs: [203.0.113.1], ports: [{name: http, port: 80, targetPort: 8080}, {name: dns, port: 53, protocol: UDP}]}, status: {loadBalancer: {ingress: [{ip: 203.0.113.2}]}}}`;
  const headless =
    '{apiVersion: v1, kind: Service, metadata: {name: none, namespace: app}, spec: {clusterIP: None, ports: [{port: 80}]}}';
  const slice =
    '{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, namespace: app, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, endpoints: [{addresses: [10.0.0.2]}, {addresses: [10.0.0.1]}], ports: [{name: http, port: 8080}, {name: dns, port: 5353}]}';

  test('addresses, and backends by name and protocol of the port', () => {
    const plan = planOf(joinDocuments(service, headless, slice));
    expect(plan.services.map(({ key, addresses }) => [key, prefixTexts(addresses)])).toEqual([
      ['app/web', ['10.96.0.1/32', '203.0.113.1/32', '203.0.113.2/32', 'fd96::1/128']],
    ]);
    expect(
      plan.services[0]!.ports.map(({ protocol, port, backends }) => [
        protocol,
        port,
        backends.map((b) => [...prefixTexts([b.address]), b.port]),
      ]),
    ).toEqual([
      [
        6,
        80,
        [
          ['10.0.0.1/32', 8080],
          ['10.0.0.2/32', 8080],
        ],
      ],
      // The slice has a TCP port of that name, the service a UDP one.
      [17, 53, []],
    ]);
  });

  test('loop prefixes are those of the default BGPConfiguration', () => {
    const bgp = (name: string, cidr: string): string =>
      `{apiVersion: projectcalico.org/v3, kind: BGPConfiguration, metadata: {name: ${name}}, spec: {serviceClusterIPs: [{cidr: ${cidr}}], serviceExternalIPs: [{cidr: 203.0.113.0/24}]}}`;
    const plan = planOf(joinDocuments(bgp('default', '10.96.0.0/12'), bgp('node.n1', '10.97.0.0/16')));
    expect(prefixTexts(plan.serviceLoopPrefixes)).toEqual(['10.96.0.0/12', '203.0.113.0/24']);
  });
});
