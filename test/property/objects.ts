/** Random objects other than policies: who has labels and addresses, and the settings of nodes. */
import fc from 'fast-check';
import {
  account,
  bgpConfiguration,
  type Document,
  endpointSlice,
  type Fields,
  felixConfiguration,
  globalNetworkSet,
  hostEndpoint,
  namespace,
  networkSet,
  node,
  pod,
  profile,
} from '../rows/objects.ts';
import { fields, labels, oneIn, pick, plainLabelMap, some, sometimes } from './arbitraries.ts';
import {
  ACCOUNTS,
  NAMESPACES,
  NETS,
  NODE_ADDRESSES,
  NODES,
  OTHER_ADDRESSES,
  POD_ADDRESSES,
  PORT_NAMES,
  PORT_PROTOCOLS,
  PORTS,
  PROFILES,
  SERVICES,
} from './pools.ts';
import { rules } from './rules.ts';

/** Objects that one world in `n` lacks. */
function mostly(n: number, documents: readonly fc.Arbitrary<Document>[]): fc.Arbitrary<Document[]> {
  const each = documents.map((document) => fc.tuple(oneIn(n), document));
  return fc.tuple(...each).map((list) => list.filter(([isMissing]) => !isMissing).map(([, document]) => document));
}

export const namespaces = mostly(
  6,
  NAMESPACES.map((name) => labels.map((map) => namespace(name, map))),
);

export const accounts = mostly(
  4,
  NAMESPACES.slice(0, 2).flatMap((ns) => ACCOUNTS.map((name) => labels.map((map) => account(`${ns}/${name}`, map)))),
);

/** Dual stack, or of one family alone. */
const families = pick([2, 2, 2, 0, 1]);

function addressesOf(pair: readonly [string, string], family: number): readonly string[] {
  return family === 2 ? pair : [pair[family]!];
}

const containerPort = fields({
  name: pick([...PORT_NAMES, undefined]),
  containerPort: pick(PORTS),
  protocol: sometimes(1.5, pick(PORT_PROTOCOLS)),
});

/** What makes a pod no endpoint, or a strange one; most pods have none of it. */
const oddity: fc.Arbitrary<Fields> = fc.oneof(
  { weight: 20, arbitrary: fc.constant({}) },
  {
    weight: 5,
    arbitrary: pick<Fields>([
      { spec: { hostNetwork: true } },
      { spec: { nodeName: '' } },
      { spec: { nodeName: 'n3' } },
      { status: { phase: 'Succeeded' } },
      { status: { phase: 'Failed' } },
      { status: { podIPs: [] } },
      { status: { podIP: '', podIPs: [] } },
      { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } },
      { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' }, annotations: { 'cni.projectcalico.org/podIP': '' } },
      { annotations: { 'cni.projectcalico.org/allowedSourcePrefixes': '["10.9.0.0/16"]' } },
    ]),
  },
);

const podDocument = fc
  .record({
    ns: pick([...NAMESPACES, 'app']),
    account: sometimes(1.4, pick([...ACCOUNTS, 'ghost'])),
    map: labels,
    family: families,
    stray: sometimes(12, fc.nat({ max: 9 })),
    ports: fc.array(containerPort, { maxLength: 2 }),
    initPorts: sometimes(6, some(containerPort, 1)),
    odd: oddity,
  })
  .map(({ ns, account: serviceAccount, map, family, stray, ports, initPorts, odd }) => (index: number): Document => {
    const { annotations, metadata, spec, status } = odd as Record<string, Fields | undefined>;
    return pod(`${ns}/pod-${index}`, {
      // A stray pod takes an address that may be another's.
      ip: addressesOf(POD_ADDRESSES[stray ?? index]!, family),
      node: NODES[index < 5 ? 0 : 1]!,
      labels: map,
      ...(serviceAccount === undefined ? {} : { account: serviceAccount }),
      ports: ports.filter((port) => port.name !== undefined || port.protocol !== undefined),
      ...(initPorts === undefined ? {} : { initPorts }),
      ...(annotations === undefined ? {} : { annotations: annotations as Record<string, string> }),
      ...(metadata === undefined ? {} : { metadata }),
      ...(spec === undefined ? {} : { spec }),
      ...(status === undefined ? {} : { status }),
    });
  });

/** Each of the ten addresses has a pod in two worlds of three. */
export const pods: fc.Arbitrary<Document[]> = fc
  .tuple(...POD_ADDRESSES.map(() => sometimes(1.5, podDocument)))
  .map((makers) => makers.flatMap((make, index) => (make === undefined ? [] : [make(index)])));

export const nodes = mostly(
  8,
  NODES.map((name, index) =>
    fc.tuple(families, oneIn(5)).map(([family, hasPodCidr]) => {
      const document = node(name, ...addressesOf(NODE_ADDRESSES[index]!, family));
      return hasPodCidr ? { ...document, spec: { podCIDRs: [`10.0.${index}.0/24`, `fd00:${index}::/64`] } } : document;
    }),
  ),
);

const netList = fc
  .tuple(some(pick(NETS.flat()), 3), sometimes(4, pick(OTHER_ADDRESSES)))
  .map(([nets, pair]) => (pair === undefined ? nets : [...nets, ...pair]));

const setLabels = labels.map((map) => {
  const { 'projectcalico.org/namespace': _refused, ...rest } = map;
  return rest;
});

export const networkSets: fc.Arbitrary<Document[]> = fc
  .array(fc.tuple(pick([...NAMESPACES, undefined]), setLabels, netList), { maxLength: 3 })
  .map((sets) =>
    sets.map(([ns, map, nets], index) =>
      ns === undefined ? globalNetworkSet(`set-${index}`, map, nets) : networkSet(`${ns}/set-${index}`, map, nets),
    ),
  );

const hostPort = fields({ name: pick(PORT_NAMES), protocol: pick(PORT_PROTOCOLS), port: pick(PORTS) });

const expectedIPs = fc
  .tuple(
    sometimes(1.3, pick(NODE_ADDRESSES)),
    sometimes(6, pick(OTHER_ADDRESSES)),
    sometimes(12, pick(POD_ADDRESSES)),
    families,
  )
  .map(([own, other, stray, family]) =>
    [own, other, stray].flatMap((pair) => (pair === undefined ? [] : addressesOf(pair, family))),
  );

const hostSpec = fc
  .record({
    node: pick([...NODES, 'n1', 'n3']),
    interfaceName: pick(['', 'eth0', 'eth1', '*', '*']),
    expected: expectedIPs,
    profiles: sometimes(1.5, some(pick(PROFILES), 2)),
    ports: sometimes(2, some(hostPort, 2)),
    isNumbered: oneIn(20),
  })
  .map(({ node: name, interfaceName, expected, profiles, ports, isNumbered }): Fields => {
    return {
      node: name,
      ...(interfaceName === '' && expected.length > 0 ? {} : { interfaceName: interfaceName || 'eth0' }),
      expectedIPs: expected,
      ...(profiles === undefined ? {} : { profiles }),
      ...(isNumbered ? { ports: [{ name: 'http', protocol: 6, port: 80 }] } : ports === undefined ? {} : { ports }),
    };
  });

export const hostEndpoints: fc.Arbitrary<Document[]> = fc
  .array(fc.tuple(labels, hostSpec), { maxLength: 3 })
  .map((list) => list.map(([map, spec], index) => hostEndpoint(`h${index}`, map, spec)));

export const profiles: fc.Arbitrary<Document[]> = fc
  .tuple(
    ...PROFILES.slice(0, 2).map((name) =>
      sometimes(
        1.5,
        fields({
          ingress: sometimes(1.3, rules('ingress')),
          egress: sometimes(1.3, rules('egress')),
          labelsToApply: sometimes(2, plainLabelMap),
        }).map((spec) => profile(name, spec)),
      ),
    ),
  )
  .map((list) => list.flatMap((document) => (document === undefined ? [] : [document])));

const slice = fc
  .record({
    ns: pick(NAMESPACES.slice(0, 2)),
    service: pick(SERVICES),
    pairs: some(pick([...POD_ADDRESSES, OTHER_ADDRESSES[0]!]), 3),
    ports: some(fields({ port: sometimes(1.1, pick(PORTS)), protocol: sometimes(1.5, pick(PORT_PROTOCOLS)) }), 2, 0),
    isIpv6: fc.boolean(),
    isReady: fc.boolean(),
  })
  .map(({ ns, service, pairs, ports, isIpv6, isReady }) => (index: number): Document => {
    const addresses = pairs.map((pair) => pair[isIpv6 ? 1 : 0]);
    const document = endpointSlice(`${ns}/${service}-x`, [{ addresses, conditions: { ready: isReady } }], ports);
    return {
      ...document,
      metadata: { ...document.metadata, name: `slice-${index}` },
      addressType: isIpv6 ? 'IPv6' : 'IPv4',
    };
  });

export const endpointSlices: fc.Arbitrary<Document[]> = fc
  .array(slice, { maxLength: 3 })
  .map((makers) => makers.map((make, index) => make(index)));

const failsafe = fields({
  protocol: pick(['TCP', 'UDP']),
  port: pick(PORTS),
  net: sometimes(3, pick(NETS.flat())),
});

const felixSpec = fields({
  defaultEndpointToHostAction: sometimes(2, pick(['Drop', 'Return', 'Accept'])),
  failsafeInboundHostPorts: sometimes(4, fc.array(failsafe, { maxLength: 2 })),
  failsafeOutboundHostPorts: sometimes(4, fc.array(failsafe, { maxLength: 2 })),
  vxlanPort: sometimes(8, pick(PORTS)),
  allowVXLANPacketsFromWorkloads: sometimes(6, fc.boolean()),
  allowIPIPPacketsFromWorkloads: sometimes(6, fc.boolean()),
  workloadSourceSpoofing: sometimes(3, pick(['Any', 'Disabled'])),
  serviceLoopPrevention: sometimes(4, pick(['Drop', 'Reject', 'Disabled'])),
  ipv6Support: sometimes(10, fc.boolean()),
});

const bgpSpec = fields({
  serviceClusterIPs: sometimes(1.5, pick([[{ cidr: '10.96.0.0/30' }, { cidr: 'fd00:96::/126' }]])),
  serviceExternalIPs: sometimes(4, pick([[{ cidr: '203.0.113.0/24' }, { cidr: '2001:db8::9/128' }]])),
  serviceLoadBalancerIPs: sometimes(6, pick([[{ cidr: '10.0.0.4/30' }]])),
});

export const configurations: fc.Arbitrary<Document[]> = fc
  .tuple(sometimes(2, felixSpec), sometimes(5, felixSpec), sometimes(3, bgpSpec))
  .map(([cluster, ofNode, bgp]) => [
    ...(cluster === undefined ? [] : [felixConfiguration(cluster)]),
    ...(ofNode === undefined ? [] : [felixConfiguration(ofNode, 'node.n1')]),
    ...(bgp === undefined ? [] : [bgpConfiguration(bgp)]),
  ]);
