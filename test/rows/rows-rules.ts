/** Rows 47-66: nets, protocols, ports, services. */

import type { Flow } from '../../src/model/flow.ts';
import { CLUSTER, DB, DB6, dbAllowsFrom, HTTP, NP_END, NP_HIT, OUTSIDE, OUTSIDE6 } from './cluster.ts';
import { type Document, documents, endpointSlice, type Fields, networkPolicy, networkSet, pod } from './objects.ts';
import { allow, deny, flow, type RowCase } from './row.ts';

const icmp = (src: string, dst: string, fields: Partial<Flow> = {}): Flow => ({
  src,
  dst,
  protocol: 'icmp',
  ...fields,
});
const icmp6 = (src: string, dst: string, fields: Partial<Flow> = {}): Flow => ({
  src,
  dst,
  protocol: 'icmpv6',
  ...fields,
});

interface Tried {
  readonly allowed?: readonly Flow[];
  readonly denied?: readonly Flow[];
  readonly permissive?: true;
}

/** An ingress rule for `db`: which flows it allows, and which it leaves to the end of the tier. */
function ingress(row: number, title: string, rule: Fields, { allowed = [], denied = [], permissive }: Tried): RowCase {
  const { source = {}, ...rest } = rule;
  return {
    row,
    title,
    resources: documents(...CLUSTER, dbAllowsFrom(source as Fields, rest)),
    ...(permissive && { permissive }),
    flows: [
      ...allowed.map((subject) => allow(subject, { ingress: NP_HIT })),
      ...denied.map((subject) => deny(subject, { ingress: NP_END })),
    ],
  };
}

/** An egress rule of `db` towards `others`. */
function egress(row: number, title: string, rule: Fields, others: readonly Document[], tried: Tried): RowCase {
  const { allowed = [], denied = [] } = tried;
  const policy = networkPolicy('app/p', {
    selector: 'app == "db"',
    types: ['Egress'],
    egress: [{ action: 'Allow', ...rule }],
  });
  return {
    row,
    title,
    resources: documents(...CLUSTER, ...others, policy),
    flows: [
      ...allowed.map((subject) => allow(subject, { egress: NP_HIT })),
      ...denied.map((subject) => deny(subject, { egress: NP_END })),
    ],
  };
}

/** A server in `app` with the ports of row 55, and a set that covers its address and others. */
const SERVER = '10.0.1.1';
const SERVERS = [
  pod('app/server', {
    ip: SERVER,
    node: 'n2',
    labels: { app: 'server' },
    ports: [HTTP, { name: 'http', containerPort: 81, protocol: 'UDP' }],
    initPorts: [{ name: 'setup', containerPort: 99, protocol: 'TCP' }],
  }),
  networkSet('app/range', { app: 'server' }, ['203.0.113.0/24']),
];

/** Service `web` in `app`: a ready and an unready backend on port 8080, one port without a number; `dns` on UDP 53. */
const BACKEND = '10.0.1.1';
const UNREADY = '10.0.1.2';
const SERVICE = [
  pod('app/web-0', { ip: BACKEND, node: 'n2' }),
  pod('app/web-1', { ip: UNREADY, node: 'n2' }),
  endpointSlice(
    'app/web-x',
    [
      { addresses: [BACKEND], conditions: { ready: true } },
      { addresses: [UNREADY], conditions: { ready: false, serving: false, terminating: true } },
    ],
    [{ name: 'http', port: 8080 }, { name: 'none' }],
  ),
  endpointSlice('dev/web-x', [{ addresses: ['10.0.1.3'] }], [{ name: 'http', port: 8080, protocol: 'TCP' }]),
];

const FORTY_PORTS = Array.from({ length: 40 }, (_, index) => 1000 + 10 * index);

export const RULE_ROWS: readonly RowCase[] = [
  ingress(
    47,
    'notNets of IPv4 alone never match IPv6',
    { source: { notNets: ['10.0.0.0/8'] } },
    {
      allowed: [flow(OUTSIDE, DB)],
      denied: [flow(OUTSIDE6, DB6), flow('10.9.9.9', DB)],
    },
  ),
  ingress(
    48,
    'notNets of both families exclude by family',
    { source: { notNets: ['10.0.0.0/8', 'fd00::/8'] } },
    {
      allowed: [flow(OUTSIDE6, DB6), flow(OUTSIDE, DB)],
      denied: [flow('fd00::77', DB6), flow('10.9.9.9', DB)],
      permissive: true,
    },
  ),
  ingress(
    49,
    'notNets with 0.0.0.0/0 remove the rule',
    { source: { notNets: ['0.0.0.0/0', '10.0.0.0/8'] } },
    {
      denied: [flow(OUTSIDE, DB), flow('10.9.9.9', DB), flow(OUTSIDE6, DB6)],
      permissive: true,
    },
  ),
  ingress(
    50,
    'nets of one family on each side never match',
    { source: { nets: ['203.0.113.0/24'] }, destination: { nets: ['fd00::/8'] } },
    { denied: [flow(OUTSIDE, DB), flow(OUTSIDE6, DB6)], permissive: true },
  ),
  ingress(
    51,
    'protocol ICMP is ICMP of IPv4',
    { protocol: 'ICMP' },
    {
      allowed: [icmp(OUTSIDE, DB)],
      denied: [icmp6(OUTSIDE6, DB6), flow(OUTSIDE, DB), { ...icmp(OUTSIDE6, DB6), protocol: 1 }],
    },
  ),
  ingress(
    52,
    'protocol 1 implies no version',
    { protocol: 1 },
    {
      allowed: [icmp(OUTSIDE, DB), { ...icmp(OUTSIDE6, DB6), protocol: 1 }],
      denied: [icmp6(OUTSIDE6, DB6)],
    },
  ),
  ingress(
    53,
    'notProtocol ICMP takes ICMPv6',
    { notProtocol: 'ICMP' },
    {
      allowed: [icmp6(OUTSIDE6, DB6), flow(OUTSIDE, DB)],
      denied: [icmp(OUTSIDE, DB)],
    },
  ),
  ingress(
    54,
    'a number beside a name of a port nobody has',
    { protocol: 'TCP', destination: { ports: ['nothing', 8080] } },
    { allowed: [flow(OUTSIDE, DB, { dst_port: 8080 })], denied: [flow(OUTSIDE, DB)] },
  ),
  ingress(
    54,
    'a name beside a number',
    { protocol: 'TCP', destination: { ports: ['http', 8080] } },
    {
      allowed: [flow(OUTSIDE, DB, { dst_port: 8080 }), flow(OUTSIDE, DB)],
      denied: [flow(OUTSIDE, DB, { dst_port: 81 }), flow(OUTSIDE, DB, { protocol: 'udp', dst_port: 8080 })],
    },
  ),
  egress(55, 'a named port without protocol takes each owner protocol', { destination: { ports: ['http'] } }, SERVERS, {
    allowed: [flow(DB, SERVER), flow(DB, SERVER, { protocol: 'udp', dst_port: 81 })],
    denied: [
      flow(DB, SERVER, { protocol: 'udp' }),
      flow(DB, SERVER, { dst_port: 81 }),
      flow(DB, OUTSIDE),
      { src: DB, dst: SERVER, protocol: 'icmp' },
    ],
  }),
  egress(56, 'a port of an init container counts', { protocol: 'TCP', destination: { ports: ['setup'] } }, SERVERS, {
    allowed: [flow(DB, SERVER, { dst_port: 99 })],
    denied: [flow(DB, SERVER)],
  }),
  egress(
    57,
    'notPorts by name, without protocol: ICMP satisfies it',
    { destination: { notPorts: ['http'] } },
    SERVERS,
    {
      allowed: [{ src: DB, dst: SERVER, protocol: 'icmp' }, flow(DB, SERVER, { dst_port: 81 }), flow(DB, OUTSIDE)],
      denied: [flow(DB, SERVER), flow(DB, SERVER, { protocol: 'udp', dst_port: 81 })],
    },
  ),
  egress(
    58,
    'a named port towards an address that only a network set covers',
    { protocol: 'TCP', destination: { selector: 'app == "server"', ports: ['http'] } },
    SERVERS,
    { allowed: [flow(DB, SERVER)], denied: [flow(DB, OUTSIDE)] },
  ),
  egress(
    58,
    'a number instead matches both',
    { protocol: 'TCP', destination: { selector: 'app == "server"', ports: ['http', 80] } },
    SERVERS,
    { allowed: [flow(DB, SERVER), flow(DB, OUTSIDE)], denied: [flow(DB, '192.0.2.1')] },
  ),
  ingress(
    59,
    '40 ports',
    { protocol: 'TCP', destination: { ports: [...FORTY_PORTS, '2000:2010'] } },
    {
      allowed: [1000, 1150, 1160, 1390, 2000, 2010].map((port) => flow(OUTSIDE, DB, { dst_port: port })),
      denied: [999, 1001, 1155, 1391, 1999, 2011].map((port) => flow(OUTSIDE, DB, { dst_port: port })),
    },
  ),
  ingress(
    59,
    '40 notPorts',
    { protocol: 'TCP', destination: { notPorts: FORTY_PORTS } },
    {
      allowed: [999, 1001, 1155, 1391].map((port) => flow(OUTSIDE, DB, { dst_port: port })),
      denied: [1000, 1150, 1160, 1390].map((port) => flow(OUTSIDE, DB, { dst_port: port })),
    },
  ),
  egress(60, 'services without a namespace match nothing', { destination: { services: { name: 'web' } } }, SERVICE, {
    denied: [flow(DB, BACKEND, { dst_port: 8080 })],
  }),
  egress(
    61,
    'a backend that is not ready counts',
    { destination: { services: { name: 'web', namespace: 'app' } } },
    SERVICE,
    { allowed: [flow(DB, UNREADY, { dst_port: 8080 }), flow(DB, BACKEND, { dst_port: 8080 })] },
  ),
  egress(
    62,
    'another port, protocol or service of a backend does not',
    { destination: { services: { name: 'web', namespace: 'app' } } },
    SERVICE,
    {
      denied: [
        flow(DB, BACKEND),
        flow(DB, BACKEND, { dst_port: 8080, protocol: 'udp' }),
        flow(DB, '10.0.1.3', { dst_port: 8080 }),
      ],
    },
  ),
  {
    row: 63,
    title: 'source.services match on the address alone',
    resources: documents(...CLUSTER, ...SERVICE, dbAllowsFrom({ services: { name: 'web', namespace: 'app' } })),
    flows: [
      allow(flow(BACKEND, DB, { src_port: 1 }), { ingress: NP_HIT }),
      allow({ src: UNREADY, dst: DB, protocol: 'icmp' }, { ingress: NP_HIT }),
      deny(flow(OUTSIDE, DB, { src_port: 8080 }), { ingress: NP_END }),
    ],
  },
  ingress(
    64,
    'http is ignored at this layer',
    { http: { methods: ['GET'], paths: [{ prefix: '/pub' }] } },
    {
      allowed: [flow(OUTSIDE, DB)],
    },
  ),
  {
    row: 65,
    title: 'Log does not end the evaluation',
    resources: documents(
      ...CLUSTER,
      networkPolicy('app/p', {
        selector: 'app == "db"',
        ingress: [{ action: 'Log' }, { action: 'Deny' }, { action: 'Allow' }],
      }),
    ),
    flows: [deny(flow(OUTSIDE, DB), { reason: 'rule', ingress: ['0|default|np:app/p|deny|1'] })],
  },
  ingress(
    66,
    'icmp.code without a type is ignored',
    { protocol: 'ICMP', icmp: { code: 3 } },
    {
      allowed: [icmp(OUTSIDE, DB), icmp(OUTSIDE, DB, { icmp_type: 13, icmp_code: 3 })],
      denied: [flow(OUTSIDE, DB)],
      permissive: true,
    },
  ),
];
