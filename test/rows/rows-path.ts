/** Rows 88-107 but 91-93: the data path. */
import { CLUSTER, DB, DB6, HOST1, HOST1_6, HOST2, OUTSIDE, OUTSIDE6 } from './cluster.ts';
import {
  bgpConfiguration,
  type Document,
  documents,
  endpointSlice,
  type Fields,
  felixConfiguration,
  globalPolicy,
  hostEndpoint,
  networkPolicy,
  pod,
} from './objects.ts';
import { allow, deny, flow, type RowCase, unpoliced } from './row.ts';

const ALLOW = [{ action: 'Allow' }];
const PROFILE = ['0|__PROFILE__|pro:kns.app|allow|0'];
const OPEN_HOST = ['0|__PROFILE__|pro:projectcalico-default-allow|allow|0'];

/** A second pod of n1, and one of n2. */
const NEAR = '10.0.0.2';
const FAR = '10.0.1.1';
const WORLD: readonly Document[] = [
  ...CLUSTER,
  pod('app/near', { ip: [NEAR, 'fd00::2'], labels: { role: 'near' } }),
  pod('app/far', { ip: FAR, node: 'n2', labels: { role: 'far' } }),
];

/** Explicit host endpoint of n1, label host = n1; everything allowed unless policy says otherwise. */
function explicitHost(spec: Fields = { profiles: ['projectcalico-default-allow'] }): Document {
  return hostEndpoint('h1', { host: 'n1' }, { node: 'n1', interfaceName: 'eth0', expectedIPs: [HOST1], ...spec });
}

function wildcardHost(): Document {
  const spec = { node: 'n1', interfaceName: '*', profiles: ['projectcalico-default-allow'] };
  return hostEndpoint('w1', { host: 'n1' }, spec);
}

/** A global policy for the host endpoints of n1. */
function hostPolicy(name: string, spec: Fields): Document {
  return globalPolicy(name, { selector: 'host == "n1"', ...spec });
}

export const PATH_ROWS: readonly RowCase[] = [
  {
    row: 88,
    title: 'pod to pod on one node: source egress allows, destination ingress denies',
    resources: documents(...WORLD, networkPolicy('app/p', { selector: 'app == "db"', types: ['Ingress'] })),
    flows: [
      deny(flow(NEAR, DB), { reason: 'end-of-tier', egress: PROFILE, ingress: ['0|default|np:app/p|deny|-1'] }),
      allow(flow(NEAR, FAR), { egress: PROFILE, ingress: PROFILE }),
    ],
  },
  {
    row: 89,
    title: 'node to its own pod is never policed, another node is',
    resources: documents(...WORLD, networkPolicy('app/p', { selector: 'app == "db"', types: ['Ingress'] })),
    flows: [unpoliced(flow(HOST1, DB)), deny(flow(HOST2, DB), { ingress: ['0|default|np:app/p|deny|-1'] })],
  },
  ...(['Accept', 'Return', undefined] as const).map(
    (action): RowCase => ({
      row: 90,
      title: `pod to its own node: the host endpoint is not asked, ${action ?? 'the default'} lets it in`,
      resources: documents(
        ...WORLD,
        explicitHost({}),
        ...(action === undefined ? [] : [felixConfiguration({ defaultEndpointToHostAction: action })]),
      ),
      flows: [allow(flow(DB, HOST1), { egress: PROFILE }), deny(flow(FAR, HOST1), { reason: 'no-profile-match' })],
    }),
  ),
  {
    row: 90,
    title: 'pod to its own node: Drop',
    resources: documents(...WORLD, felixConfiguration({ defaultEndpointToHostAction: 'Drop' })),
    flows: [
      deny(flow(DB, HOST1), { reason: 'endpoint-to-host', egress: PROFILE }),
      allow(flow(DB, HOST2), { egress: PROFILE }),
    ],
  },
  {
    row: 94,
    title: 'UDP 4789 and protocol 4 out of a pod are dropped before policy',
    resources: documents(...WORLD, networkPolicy('app/p', { selector: 'all()', types: ['Egress'], egress: ALLOW })),
    flows: [
      deny(flow(DB, OUTSIDE, { protocol: 'udp', dst_port: 4789 }), { reason: 'vxlan', egress: [] }),
      deny(flow(DB6, OUTSIDE6, { protocol: 'udp', dst_port: 4789 }), { reason: 'vxlan', egress: [] }),
      deny({ src: DB, dst: OUTSIDE, protocol: 4 }, { reason: 'ipip', egress: [] }),
      allow(flow(DB, OUTSIDE, { protocol: 'tcp', dst_port: 4789 })),
      allow(flow(DB, OUTSIDE, { protocol: 'udp', src_port: 4789, dst_port: 53 })),
    ],
  },
  {
    row: 94,
    title: 'with another port, and where both are allowed',
    resources: documents(
      ...WORLD,
      networkPolicy('app/p', { selector: 'all()', types: ['Egress'], egress: ALLOW }),
      felixConfiguration({ vxlanPort: 8472, allowIPIPPacketsFromWorkloads: true }),
      felixConfiguration({ allowVXLANPacketsFromWorkloads: true }, 'node.n2'),
    ),
    flows: [
      allow(flow(DB, OUTSIDE, { protocol: 'udp', dst_port: 4789 })),
      deny(flow(DB, OUTSIDE, { protocol: 'udp', dst_port: 8472 }), { reason: 'vxlan' }),
      allow(flow(FAR, OUTSIDE, { protocol: 'udp', dst_port: 8472 })),
      allow({ src: DB, dst: OUTSIDE, protocol: 4 }),
    ],
  },
  {
    row: 95,
    title: 'UDP 4789 and protocol 4 into a pod are judged by policy',
    resources: documents(...WORLD),
    flows: [
      allow(flow(OUTSIDE, DB, { protocol: 'udp', dst_port: 4789 }), { ingress: PROFILE }),
      allow({ src: OUTSIDE, dst: DB, protocol: 4 }, { ingress: PROFILE }),
    ],
  },
  ...([undefined, 'Disabled', 'Any'] as const).map((spoofing): RowCase => {
    const isEndpoint = spoofing === 'Any';
    const annotations = { 'cni.projectcalico.org/allowedSourcePrefixes': '["198.51.100.0/24"]' };
    return {
      row: 97,
      title: `allowedSourcePrefixes under WorkloadSourceSpoofing ${spoofing ?? 'by default'}`,
      resources: documents(
        ...WORLD,
        pod('app/spoof', { ip: '10.0.0.9', labels: { role: 'spoof' }, annotations }),
        networkPolicy('app/p', {
          selector: 'app == "db"',
          ingress: [{ action: 'Allow', source: { selector: 'role == "spoof"' } }],
        }),
        ...(spoofing === undefined ? [] : [felixConfiguration({ workloadSourceSpoofing: spoofing })]),
      ),
      flows: isEndpoint
        ? [allow(flow('10.0.0.9', DB)), allow(flow(OUTSIDE, '10.0.0.9'), { ingress: PROFILE })]
        : [
            deny(flow('10.0.0.9', DB), { reason: 'spoofed', egress: [] }),
            deny(flow('10.0.0.9', HOST1), { reason: 'spoofed', egress: [] }),
            deny(flow(OUTSIDE, '10.0.0.9'), { reason: 'spoofed', ingress: [] }),
          ],
    };
  }),
  {
    row: 98,
    title: 'an egress rule for the ClusterIP range never matches, one for the backend does',
    resources: documents(
      ...WORLD,
      endpointSlice('app/web-x', [{ addresses: [FAR] }], [{ port: 8080 }]),
      networkPolicy('app/p', {
        selector: 'app == "db"',
        types: ['Egress'],
        egress: [{ action: 'Allow', destination: { nets: ['10.96.0.0/12'] } }],
      }),
      networkPolicy('app/q', {
        selector: 'role == "near"',
        types: ['Egress'],
        egress: [{ action: 'Allow', destination: { services: { name: 'web', namespace: 'app' } } }],
      }),
    ),
    flows: [
      deny(flow(DB, FAR, { dst_port: 8080 }), { egress: ['0|default|np:app/p|deny|-1'] }),
      allow(flow(NEAR, FAR, { dst_port: 8080 }), { egress: ['0|default|np:app/q|allow|0'] }),
    ],
  },
  {
    row: 99,
    title: 'a host endpoint without policies and profiles drops host traffic but failsafes',
    resources: documents(...WORLD, explicitHost({})),
    flows: [
      deny(flow(OUTSIDE, HOST1), { reason: 'no-profile-match', ingress: ['0|__PROFILE__|pro:__NO_MATCH__|deny|0'] }),
      deny(flow(HOST1, OUTSIDE), { reason: 'no-profile-match', egress: ['0|__PROFILE__|pro:__NO_MATCH__|deny|0'] }),
      allow(flow(OUTSIDE, HOST1, { dst_port: 22 }), { reason: 'failsafe', ingress: [] }),
      allow(flow(HOST1, OUTSIDE, { protocol: 'udp', dst_port: 53 }), { reason: 'failsafe', egress: [] }),
      // The lists differ by direction, and a source port is none.
      deny(flow(HOST1, OUTSIDE, { dst_port: 22 })),
      deny(flow(OUTSIDE, HOST1, { src_port: 22 })),
      allow(flow(OUTSIDE, DB), { ingress: PROFILE }),
      allow(flow(DB, OUTSIDE), { egress: PROFILE }),
    ],
  },
  {
    row: 99,
    title: 'failsafes of the configuration, with a remote network',
    resources: documents(
      ...WORLD,
      explicitHost({}),
      felixConfiguration({
        failsafeInboundHostPorts: [{ protocol: 'TCP', port: 2222, net: '203.0.113.0/24' }],
        failsafeOutboundHostPorts: [],
      }),
    ),
    flows: [
      allow(flow(OUTSIDE, HOST1, { dst_port: 2222 }), { ingress: [] }),
      deny(flow('192.0.2.1', HOST1, { dst_port: 2222 })),
      deny(flow(OUTSIDE, HOST1, { dst_port: 22 })),
      deny(flow(HOST1, OUTSIDE, { protocol: 'udp', dst_port: 53 })),
    ],
  },
  {
    row: 100,
    title: 'apply-on-forward ingress policy: what leaves by the host endpoint is allowed',
    resources: documents(
      ...WORLD,
      explicitHost(),
      hostPolicy('p', { applyOnForward: true, types: ['Ingress'], ingress: [{ action: 'Allow', protocol: 'UDP' }] }),
    ),
    flows: [
      allow(flow(DB, OUTSIDE), { egress: PROFILE }),
      deny(flow(OUTSIDE, DB), { reason: 'end-of-tier', forward: ['0|default|gnp:p|deny|-1'] }),
      allow(flow(OUTSIDE, DB, { protocol: 'udp' }), { forward: ['0|default|gnp:p|allow|0'], ingress: PROFILE }),
    ],
  },
  {
    row: 101,
    title: 'apply-on-forward deny of a wildcard host endpoint meets pod to pod on one node',
    resources: documents(
      ...WORLD,
      wildcardHost(),
      hostPolicy('p', {
        applyOnForward: true,
        types: ['Ingress'],
        ingress: [{ action: 'Deny', protocol: 'TCP' }, ...ALLOW],
      }),
    ),
    flows: [
      deny(flow(NEAR, DB), { reason: 'rule', forward: ['0|default|gnp:p|deny|0'] }),
      allow(flow(NEAR, DB, { protocol: 'udp' }), {
        forward: ['0|default|gnp:p|allow|1'],
        egress: PROFILE,
        ingress: PROFILE,
      }),
    ],
  },
  {
    row: 101,
    title: 'an explicit host endpoint does not meet pod to pod on one node',
    resources: documents(
      ...WORLD,
      explicitHost(),
      hostPolicy('p', { applyOnForward: true, types: ['Ingress'], ingress: [{ action: 'Deny' }] }),
    ),
    flows: [allow(flow(NEAR, DB), { egress: PROFILE, ingress: PROFILE }), deny(flow(FAR, DB))],
  },
  {
    row: 102,
    title: 'doNotTrack on a wildcard host endpoint is ignored',
    resources: documents(
      ...WORLD,
      wildcardHost(),
      hostPolicy('p', {
        doNotTrack: true,
        applyOnForward: true,
        ingress: [{ action: 'Deny' }],
        egress: [{ action: 'Deny' }],
      }),
    ),
    flows: [allow(flow(OUTSIDE, HOST1), { ingress: OPEN_HOST }), allow(flow(OUTSIDE, DB), { ingress: PROFILE })],
  },
  {
    row: 102,
    title: 'doNotTrack on an explicit host endpoint is not',
    resources: documents(
      ...WORLD,
      explicitHost(),
      hostPolicy('p', {
        doNotTrack: true,
        applyOnForward: true,
        ingress: [{ action: 'Deny' }],
        egress: [{ action: 'Deny' }],
      }),
    ),
    flows: [
      deny(flow(OUTSIDE, HOST1), { reason: 'rule' }),
      deny(flow(OUTSIDE, DB), { reason: 'rule' }),
      deny(flow(HOST1, OUTSIDE), { reason: 'rule' }),
      allow(flow(DB, OUTSIDE), { egress: PROFILE }),
      // Answers of what failsafes let out or in are failsafes here, by source port.
      allow(flow(OUTSIDE, DB, { protocol: 'udp', src_port: 53 }), { ingress: PROFILE }),
      allow(flow(HOST1, OUTSIDE, { src_port: 22 }), { egress: OPEN_HOST }),
    ],
  },
  {
    row: 103,
    title: 'a failsafe bypasses preDNAT; pod policy still applies',
    resources: documents(
      ...WORLD,
      explicitHost(),
      hostPolicy('p', { preDNAT: true, applyOnForward: true, types: ['Ingress'], ingress: [{ action: 'Deny' }] }),
      networkPolicy('app/far', { selector: 'role == "near"', types: ['Ingress'], ingress: [] }),
    ),
    flows: [
      deny(flow(OUTSIDE, DB), { reason: 'rule' }),
      allow(flow(OUTSIDE, DB, { dst_port: 22 }), { ingress: PROFILE }),
      deny(flow(OUTSIDE, NEAR, { dst_port: 22 }), { reason: 'end-of-tier', ingress: ['0|default|np:app/far|deny|-1'] }),
      allow(flow(NEAR, DB), { egress: PROFILE, ingress: PROFILE }),
    ],
  },
  {
    row: 104,
    title: 'neighbour solicitation of a pod to its node passes a deny-all egress',
    resources: documents(...WORLD, networkPolicy('app/p', { selector: 'all()', types: ['Egress'], egress: [] })),
    flows: [
      allow({ src: DB6, dst: HOST1_6, protocol: 'icmpv6', icmp_type: 135, icmp_code: 0 }, { egress: [] }),
      allow({ src: DB6, dst: HOST1_6, protocol: 'icmpv6', icmp_type: 130, icmp_code: 0 }, { egress: [] }),
      // Router advertisement is not on the list, echo neither; and it is for the node alone.
      deny({ src: DB6, dst: HOST1_6, protocol: 'icmpv6', icmp_type: 134, icmp_code: 0 }),
      deny({ src: DB6, dst: HOST1_6, protocol: 'icmpv6', icmp_type: 128, icmp_code: 0 }),
      deny({ src: DB6, dst: 'fd00::2', protocol: 'icmpv6', icmp_type: 135, icmp_code: 0 }),
    ],
  },
  {
    row: 105,
    title: 'neighbour solicitation from the network at a host endpoint that denies all is dropped (iptables)',
    resources: documents(
      ...WORLD,
      explicitHost(),
      hostPolicy('p', { types: ['Ingress'], ingress: [{ action: 'Allow', protocol: 'ICMPv6', icmp: { type: 136 } }] }),
    ),
    flows: [
      deny(
        { src: OUTSIDE6, dst: HOST1_6, protocol: 'icmpv6', icmp_type: 135, icmp_code: 0 },
        { reason: 'end-of-tier' },
      ),
      allow({ src: OUTSIDE6, dst: HOST1_6, protocol: 'icmpv6', icmp_type: 136, icmp_code: 0 }),
    ],
  },
  {
    row: 106,
    title: 'an unserved ClusterIP inside serviceClusterIPs is dropped after policy allowed it',
    resources: documents(
      ...WORLD,
      bgpConfiguration({
        serviceClusterIPs: [{ cidr: '10.96.0.0/12' }],
        serviceExternalIPs: [{ cidr: '198.51.100.0/24' }],
        serviceLoadBalancerIPs: [{ cidr: '192.0.2.0/24' }],
      }),
      networkPolicy('app/p', {
        selector: 'app == "db"',
        types: ['Egress'],
        egress: [{ action: 'Allow', protocol: 'TCP' }],
      }),
    ),
    flows: [
      ...['10.96.0.1', '198.51.100.1', '192.0.2.1'].map((dst) =>
        deny(flow(DB, dst), { reason: 'service-loop', egress: ['0|default|np:app/p|allow|0'] }),
      ),
      deny(flow(DB, '10.96.0.1', { protocol: 'udp' }), { reason: 'end-of-tier' }),
      allow(flow(DB, OUTSIDE)),
    ],
  },
  {
    row: 106,
    title: 'unless ServiceLoopPrevention is Disabled',
    resources: documents(
      ...WORLD,
      bgpConfiguration({ serviceClusterIPs: [{ cidr: '10.96.0.0/12' }] }),
      felixConfiguration({ serviceLoopPrevention: 'Disabled' }),
    ),
    flows: [allow(flow(DB, '10.96.0.1'), { egress: PROFILE })],
  },
];
