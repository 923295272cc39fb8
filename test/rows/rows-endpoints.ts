/** Rows 11-27: endpoints and their labels. */
import {
  CLUSTER,
  DB,
  dbAllowsFrom,
  dbDeniesFrom,
  GNP_END,
  GNP_HIT,
  globalDbAllowsFrom,
  HOST1,
  HOST2,
  NODES,
  NP_END,
  NP_HIT,
  OUTSIDE,
} from './cluster.ts';
import {
  account,
  documents,
  globalNetworkSet,
  globalPolicy,
  hostEndpoint,
  namespace,
  networkPolicy,
  networkSet,
  pod,
} from './objects.ts';
import { allow, deny, flow, type RowCase, unpoliced } from './row.ts';

const OPEN = ['projectcalico-default-allow'];
const LONG_NAME = 'a'.repeat(70);

/** A peer in `app` at this address whose pod differs in `fields`; `role == "peer"` is what the rule asks for. */
function peerCase(row: number, title: string, isPeer: boolean, fields: Parameters<typeof pod>[1]): RowCase {
  const peer = pod('app/peer', { node: 'n2', labels: { role: 'peer' }, ...fields });
  const src = typeof fields.ip === 'string' ? fields.ip : fields.ip[0]!;
  return {
    row,
    title,
    resources: documents(...CLUSTER, peer, dbAllowsFrom({ selector: 'role == "peer"' })),
    flows: [isPeer ? allow(flow(src, DB), { ingress: NP_HIT }) : deny(flow(src, DB), { ingress: NP_END })],
  };
}

export const ENDPOINT_ROWS: readonly RowCase[] = [
  peerCase(11, 'a hostNetwork pod is no peer', false, { ip: HOST2, spec: { hostNetwork: true } }),
  {
    row: 11,
    title: 'the address of a hostNetwork pod is a peer through a host endpoint or a network set',
    resources: documents(
      ...CLUSTER,
      pod('app/agent', { ip: HOST2, node: 'n2', labels: { role: 'agent' }, spec: { hostNetwork: true } }),
      hostEndpoint('h2', { role: 'host' }, { node: 'n2', interfaceName: '*', expectedIPs: [HOST2], profiles: OPEN }),
      globalNetworkSet('hosts', { role: 'set' }, [`${HOST1}/32`]),
      globalDbAllowsFrom({ selector: 'role in {"host", "agent"}' }),
      networkPolicy('app/q', {
        selector: 'app == "q"',
        ingress: [{ action: 'Allow', source: { selector: 'role == "set"', namespaceSelector: 'global()' } }],
      }),
      pod('app/q', { ip: '10.0.1.9', node: 'n2', labels: { app: 'q' } }),
    ),
    flows: [
      allow(flow(HOST2, DB), { egress: ['0|__PROFILE__|pro:projectcalico-default-allow|allow|0'], ingress: GNP_HIT }),
      allow(flow(HOST1, '10.0.1.9')),
    ],
  },
  peerCase(12, 'a pod that succeeded has no address any more', false, {
    ip: '10.0.1.1',
    status: { phase: 'Succeeded' },
  }),
  peerCase(12, 'a pod that failed has no address any more', false, { ip: '10.0.1.1', status: { phase: 'Failed' } }),
  peerCase(13, 'a terminating pod that holds its address is an endpoint', true, {
    ip: '10.0.1.1',
    metadata: { deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 30 },
    annotations: { 'cni.projectcalico.org/podIP': '10.0.1.1/32' },
  }),
  peerCase(13, 'a terminating pod that gave its address back is none', false, {
    ip: '10.0.1.1',
    metadata: { deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 30 },
    annotations: { 'cni.projectcalico.org/podIP': '' },
  }),
  peerCase(14, 'a pod that is not ready is an endpoint', true, {
    ip: '10.0.1.1',
    status: { conditions: [{ type: 'Ready', status: 'False' }] },
  }),
  {
    row: 15,
    title: 'the namespace label of a pod is the true one',
    resources: documents(
      ...CLUSTER,
      pod('dev/spy', { ip: '10.0.1.1', node: 'n2', labels: { role: 'peer', 'projectcalico.org/namespace': 'app' } }),
      dbAllowsFrom({ selector: 'role == "peer"' }),
    ),
    flows: [deny(flow('10.0.1.1', DB), { ingress: NP_END })],
  },
  ...['pcns.fake', 'pcsa.fake'].map(
    (label): RowCase => ({
      row: 16,
      title: `pod label ${label} is removed`,
      resources: documents(
        ...CLUSTER,
        pod('dev/spy', { ip: '10.0.1.1', node: 'n2', labels: { role: 'peer', [label]: 'y' } }),
        globalNetworkSet('set', { [label]: 'y' }, ['203.0.113.0/24']),
        globalDbAllowsFrom({ selector: `${label} == "y"` }),
      ),
      flows: [
        deny(flow('10.0.1.1', DB), { ingress: GNP_END }),
        // A network set keeps such a label.
        allow(flow(OUTSIDE, DB), { ingress: GNP_HIT }),
      ],
    }),
  ),
  {
    row: 17,
    title: "a NetworkSet's own pcns. label shadows the inherited one",
    resources: documents(
      ...CLUSTER,
      networkSet('app/own', { 'pcns.env': 'test' }, ['203.0.113.0/24']),
      networkSet('app/inherits', {}, ['198.51.100.0/24']),
      dbAllowsFrom({ namespaceSelector: 'env == "prod"' }),
    ),
    flows: [deny(flow(OUTSIDE, DB), { ingress: NP_END }), allow(flow('198.51.100.1', DB), { ingress: NP_HIT })],
  },
  {
    row: 18,
    title: 'a set or host endpoint labelled with a service account counts as that account',
    resources: documents(
      ...CLUSTER,
      globalNetworkSet('gset', { 'projectcalico.org/serviceaccount': 'api' }, ['203.0.113.0/24']),
      networkSet('dev/set', { 'projectcalico.org/serviceaccount': 'api' }, ['198.51.100.0/24']),
      hostEndpoint(
        'h2',
        { 'projectcalico.org/serviceaccount': 'api' },
        { node: 'n2', interfaceName: 'eth0', expectedIPs: [HOST2], profiles: OPEN },
      ),
      globalDbAllowsFrom({ serviceAccounts: { names: ['api'] } }),
    ),
    flows: [
      allow(flow(OUTSIDE, DB), { ingress: GNP_HIT }),
      allow(flow('198.51.100.1', DB), { ingress: GNP_HIT }),
      allow(flow(HOST2, DB), { ingress: GNP_HIT }),
      deny(flow('192.0.2.1', DB), { ingress: GNP_END }),
    ],
  },
  {
    row: 19,
    title: 'a host endpoint labelled with a namespace belongs to it',
    resources: documents(
      ...CLUSTER,
      hostEndpoint(
        'h2',
        { 'projectcalico.org/namespace': 'app', role: 'gateway' },
        { node: 'n2', interfaceName: 'eth0', expectedIPs: [HOST2], profiles: OPEN },
      ),
      dbAllowsFrom({ selector: 'role == "gateway"' }),
      networkPolicy('app/gateway', { selector: 'role == "gateway"', ingress: [{ action: 'Allow', protocol: 'UDP' }] }),
    ),
    flows: [
      allow(flow(HOST2, DB), { ingress: NP_HIT }),
      deny(flow(OUTSIDE, HOST2), { ingress: ['0|default|np:app/gateway|deny|-1'] }),
      allow(flow(OUTSIDE, HOST2, { protocol: 'udp' }), { ingress: ['0|default|np:app/gateway|allow|0'] }),
    ],
  },
  {
    row: 20,
    title: "a namespace's own label projectcalico.org/name is replaced by its name",
    resources: documents(
      ...NODES,
      namespace('app'),
      namespace('dev', { 'projectcalico.org/name': 'fake' }),
      pod('app/db', { ip: DB, labels: { app: 'db' } }),
      pod('dev/peer', { ip: '10.0.1.1', node: 'n2' }),
      networkPolicy('app/p', {
        selector: 'app == "db"',
        ingress: [
          { action: 'Deny', source: { namespaceSelector: 'projectcalico.org/name == "fake"' } },
          { action: 'Allow', source: { namespaceSelector: 'projectcalico.org/name == "dev"' } },
        ],
      }),
    ),
    flows: [allow(flow('10.0.1.1', DB), { ingress: ['0|default|np:app/p|allow|1'] })],
  },
  {
    row: 21,
    title: 'a pod whose Namespace is missing has none of its labels and is denied both ways',
    asIs: true,
    resources: documents(
      ...CLUSTER,
      pod('ghost/a', { ip: '10.0.1.1', node: 'n2', labels: { role: 'peer' }, account: 'x' }),
      networkPolicy('ghost/open', { selector: 'all()', types: ['Egress'], egress: [{ action: 'Allow' }] }),
      pod('void/a', { ip: '10.0.1.2', node: 'n2', account: 'x' }),
      dbAllowsFrom({ namespaceSelector: 'has(projectcalico.org/name)' }),
    ),
    flows: [
      deny(flow('10.0.1.1', DB), { ingress: NP_END }),
      deny(flow('10.0.1.2', DB), { reason: 'profile-missing', egress: ['0|__PROFILE__|pro:kns.void|deny|0'] }),
      deny(flow(OUTSIDE, '10.0.1.1'), { reason: 'profile-missing', ingress: ['0|__PROFILE__|pro:kns.ghost|deny|0'] }),
    ],
  },
  {
    row: 22,
    title: 'a missing ServiceAccount: its name matches, its labels do not, the namespace still allows',
    resources: documents(
      ...CLUSTER,
      pod('app/peer', { ip: '10.0.1.1', node: 'n2', account: 'ghost' }),
      networkPolicy('app/p', {
        selector: 'app == "db"',
        ingress: [
          {
            action: 'Deny',
            source: { serviceAccounts: { selector: 'has(projectcalico.org/name)', names: ['ghost'] } },
          },
          { action: 'Allow', source: { serviceAccounts: { names: ['ghost'] } } },
        ],
      }),
    ),
    flows: [
      allow(flow('10.0.1.1', DB), { ingress: ['0|default|np:app/p|allow|1'] }),
      allow(flow(OUTSIDE, '10.0.1.1'), { ingress: ['0|__PROFILE__|pro:kns.app|allow|0'] }),
    ],
  },
  {
    row: 23,
    title: 'a service account name of 70 characters matches',
    resources: documents(
      ...CLUSTER,
      account(`app/${LONG_NAME}`),
      pod('app/peer', { ip: '10.0.1.1', node: 'n2', account: LONG_NAME }),
      pod('app/short', { ip: '10.0.1.2', node: 'n2', account: 'a' }),
      dbAllowsFrom({ serviceAccounts: { names: [LONG_NAME] } }),
    ),
    flows: [allow(flow('10.0.1.1', DB), { ingress: NP_HIT }), deny(flow('10.0.1.2', DB), { ingress: NP_END })],
  },
  {
    row: 24,
    title: 'an address of two pods is a peer if either is',
    resources: documents(
      ...CLUSTER,
      pod('app/bad', { ip: '10.0.1.1', node: 'n2', labels: { role: 'bad' } }),
      pod('app/good', { ip: '10.0.1.1', node: 'n2', labels: { role: 'good' } }),
      pod('app/other', { ip: '10.0.1.2', node: 'n2', labels: { role: 'good' } }),
      dbDeniesFrom({ selector: 'role == "bad"' }),
    ),
    flows: [
      deny(flow('10.0.1.1', DB), { ingress: ['0|default|np:app/p|deny|0'] }),
      allow(flow('10.0.1.2', DB), { ingress: ['0|default|np:app/p|allow|1'] }),
    ],
  },
  {
    row: 24,
    title: 'an address of two pods whose own policies answer differently is uncertain',
    resources: documents(
      ...CLUSTER,
      pod('app/closed', { ip: '10.0.1.1', node: 'n2', labels: { role: 'closed' } }),
      pod('app/open', { ip: '10.0.1.1', node: 'n2', labels: { role: 'open' } }),
      networkPolicy('app/p', { selector: 'role == "closed"', types: ['Egress'], egress: [] }),
    ),
    flows: [{ flow: flow('10.0.1.1', DB), expect: 'uncertain', reason: 'shared-address' }],
  },
  {
    row: 25,
    title: 'a host endpoint with an interface name alone is no peer',
    resources: documents(
      ...CLUSTER,
      hostEndpoint('h2', { role: 'gateway' }, { node: 'n2', interfaceName: 'eth0', profiles: OPEN }),
      globalDbAllowsFrom({ selector: 'role == "gateway"' }),
    ),
    flows: [deny(flow(HOST2, DB), { ingress: GNP_END })],
  },
  {
    row: 26,
    title: 'of two host endpoints for an interface the smaller name governs, by name or by address',
    resources: documents(
      ...CLUSTER,
      hostEndpoint('b', { which: 'b' }, { node: 'n1', interfaceName: 'eth0', profiles: OPEN }),
      hostEndpoint('a', { which: 'a' }, { node: 'n1', expectedIPs: [HOST1], profiles: OPEN }),
      globalPolicy('p', {
        selector: 'which == "a"',
        types: ['Ingress'],
        ingress: [{ action: 'Allow', protocol: 'UDP' }],
      }),
    ),
    flows: [
      deny(flow(OUTSIDE, HOST1), { ingress: GNP_END }),
      allow(flow(OUTSIDE, HOST1, { protocol: 'udp' }), { ingress: GNP_HIT }),
    ],
  },
  {
    row: 27,
    title: 'a host endpoint with a port of protocol number 6 is ignored whole',
    resources: documents(
      ...CLUSTER,
      hostEndpoint(
        'h1',
        {},
        { node: 'n1', interfaceName: 'eth0', expectedIPs: [HOST1], ports: [{ name: 'http', port: 80, protocol: 6 }] },
      ),
      hostEndpoint(
        'h2',
        {},
        {
          node: 'n2',
          interfaceName: 'eth0',
          expectedIPs: [HOST2],
          ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
        },
      ),
    ),
    flows: [unpoliced(flow(OUTSIDE, HOST1)), deny(flow(OUTSIDE, HOST2), { reason: 'no-profile-match' })],
  },
];
