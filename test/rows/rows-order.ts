/** Rows 67-87: order, tiers, profiles, Kubernetes' policies. */
import { CLUSTER, DB, HOST2, HTTP, OUTSIDE } from './cluster.ts';
import {
  clusterPolicy,
  type Document,
  documents,
  type Fields,
  globalPolicy,
  hostEndpoint,
  kubernetesPolicy,
  networkPolicy,
  networkSet,
  pod,
  staged,
  tier,
} from './objects.ts';
import { allow, deny, flow, type RowCase, type RowFlow } from './row.ts';

const ALLOW = [{ action: 'Allow' }];
const DENY = [{ action: 'Deny' }];
const PASS = [{ action: 'Pass' }];
const DB_SELECTOR = { selector: 'app == "db"' };
const PROFILE = '|__PROFILE__|pro:kns.app|allow|0';

/** Ingress of `db` under these policies. */
function order(row: number, title: string, objects: readonly Document[], ...flows: RowFlow[]): RowCase {
  return { row, title, resources: documents(...CLUSTER, ...objects), flows };
}

/** Flow from outside to `db`, with its trace. */
function inAllowed(...ingress: string[]): RowFlow {
  return allow(flow(OUTSIDE, DB), { ingress });
}

function inDenied(...ingress: string[]): RowFlow {
  return deny(flow(OUTSIDE, DB), { ingress });
}

/** An ingress policy of `app` for `db`. */
function np(name: string, ingress: readonly Fields[], spec: Fields = {}): Document {
  return networkPolicy(`app/${name}`, { ...DB_SELECTOR, types: ['Ingress'], ingress, ...spec });
}

function gnp(name: string, ingress: readonly Fields[], spec: Fields = {}): Document {
  return globalPolicy(name, { ...DB_SELECTOR, types: ['Ingress'], ingress, ...spec });
}

function knp(name: string, spec: Fields): Document {
  return kubernetesPolicy(`app/${name}`, { podSelector: { matchLabels: { app: 'db' } }, ...spec });
}

const SUBJECT = { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: 'db' } } } };

export const ORDER_ROWS: readonly RowCase[] = [
  order(67, 'web-x runs before web', [np('web', ALLOW), np('web-x', DENY)], inDenied('0|default|np:app/web-x|deny|0')),
  order(67, 'web runs before web0', [np('web', ALLOW), np('web0', DENY)], inAllowed('0|default|np:app/web|allow|0')),
  order(68, 'GNP before NP of the same name', [np('p', ALLOW), gnp('p', DENY)], inDenied('0|default|gnp:p|deny|0')),
  order(
    68,
    'the name counts before the namespace',
    [gnp('b', DENY), np('a', ALLOW)],
    inAllowed('0|default|np:app/a|allow|0'),
  ),
  order(
    69,
    'KNP before an NP without order, after one of 999',
    [np('a', DENY), knp('z', { ingress: [{}] })],
    inAllowed('0|default|knp:app/z|allow|0'),
  ),
  order(
    69,
    'KNP after an NP of order 999',
    [np('z', DENY, { order: 999 }), knp('a', { ingress: [{}] })],
    inDenied('0|default|np:app/z|deny|0'),
  ),
  order(
    70,
    'a tier without order runs after default by name',
    [tier('zeta', {}), np('zeta.p', DENY, { tier: 'zeta' }), np('p', ALLOW)],
    inAllowed('0|default|np:app/p|allow|0'),
  ),
  order(
    70,
    'a tier without order runs before default by name, and denies',
    [tier('alpha', {}), np('alpha.p', [], { tier: 'alpha' }), np('p', ALLOW)],
    inDenied('0|alpha|np:app/alpha.p|deny|-1'),
  ),
  order(
    71,
    'a policy of a missing tier runs last and denies',
    [
      np('ghost.p', [{ action: 'Allow', protocol: 'UDP' }], { tier: 'ghost' }),
      np('p', PASS),
      clusterPolicy('base', {
        tier: 'Baseline',
        priority: 1,
        subject: SUBJECT,
        ingress: [{ action: 'Pass', from: [{ namespaces: {} }] }],
      }),
    ],
    inDenied('0|default|np:app/p|pass|0', '1|kube-baseline|kcnp:base|pass|-1', '2|ghost|np:app/ghost.p|deny|-1'),
    allow(flow(OUTSIDE, DB, { protocol: 'udp' }), {
      ingress: ['0|default|np:app/p|pass|0', '1|kube-baseline|kcnp:base|pass|-1', '2|ghost|np:app/ghost.p|allow|0'],
    }),
  ),
  order(
    72,
    'a tier that governs ingress alone does not touch egress',
    [tier('t', { order: 1 }), np('t.p', [], { tier: 't' })],
    allow(flow(DB, OUTSIDE), { egress: [`0${PROFILE}`] }),
    inDenied('0|t|np:app/t.p|deny|-1'),
  ),
  {
    ...order(
      73,
      'a tier of staged policies alone is skipped',
      [
        tier('t', { order: 1 }),
        staged('StagedNetworkPolicy', 'app/t.p', { ...DB_SELECTOR, tier: 't', types: ['Ingress'], ingress: [] }),
        np('p', ALLOW),
      ],
      inAllowed('0|default|np:app/p|allow|0'),
    ),
  },
  order(
    74,
    'Pass in default goes on to kube-baseline and the profiles',
    [
      np('p', PASS),
      clusterPolicy('base', {
        tier: 'Baseline',
        priority: 1,
        subject: SUBJECT,
        ingress: [{ action: 'Deny', from: [{ namespaces: {} }] }],
      }),
      pod('dev/a', { ip: '10.0.1.1', node: 'n2' }),
    ],
    inAllowed('0|default|np:app/p|pass|0', '1|kube-baseline|kcnp:base|pass|-1', `2${PROFILE}`),
    deny(flow('10.0.1.1', DB), { ingress: ['0|default|np:app/p|pass|0', '1|kube-baseline|kcnp:base|deny|0'] }),
  ),
  order(
    75,
    'the end of default denies before kube-baseline',
    [
      np('p', [{ action: 'Allow', protocol: 'UDP' }]),
      clusterPolicy('base', {
        tier: 'Baseline',
        priority: 1,
        subject: SUBJECT,
        ingress: [{ action: 'Accept', from: [{ namespaces: {} }] }],
      }),
    ],
    inDenied('0|default|np:app/p|deny|-1'),
  ),
  order(
    76,
    'Pass leaves the tier, whatever follows in it',
    [np('a', PASS, { order: 1 }), np('b', DENY, { order: 2 })],
    inAllowed('0|default|np:app/a|pass|0', `1${PROFILE}`),
  ),
  order(
    77,
    'empty types with egress [] and ingress rules: Ingress',
    [networkPolicy('app/p', { ...DB_SELECTOR, ingress: ALLOW, egress: [] })],
    allow(flow(DB, OUTSIDE), { egress: [`0${PROFILE}`] }),
    inAllowed('0|default|np:app/p|allow|0'),
  ),
  order(
    78,
    'egress rules under types [Ingress] are ignored',
    [np('p', ALLOW, { egress: DENY })],
    allow(flow(DB, OUTSIDE), { egress: [`0${PROFILE}`] }),
  ),
  order(
    79,
    'types [Egress] without rules deny egress alone',
    [networkPolicy('app/p', { ...DB_SELECTOR, types: ['Egress'] })],
    deny(flow(DB, OUTSIDE), { reason: 'end-of-tier', egress: ['0|default|np:app/p|deny|-1'] }),
    inAllowed(`0${PROFILE}`),
  ),
  ...['doNotTrack', 'preDNAT'].map((field) =>
    order(
      80,
      `a ${field} policy that selects a pod does nothing to it`,
      [
        globalPolicy('p', {
          selector: 'all()',
          [field]: true,
          applyOnForward: true,
          types: field === 'preDNAT' ? ['Ingress'] : ['Ingress', 'Egress'],
          ingress: DENY,
          ...(field === 'preDNAT' ? {} : { egress: DENY }),
        }),
      ],
      inAllowed(`0${PROFILE}`),
      allow(flow(DB, OUTSIDE), { egress: [`0${PROFILE}`] }),
    ),
  ),
  {
    ...order(
      81,
      'KNP peer {} takes the pods of its namespace',
      [
        knp('k', { ingress: [{ from: [{}] }] }),
        pod('app/a', { ip: '10.0.1.1', node: 'n2' }),
        pod('dev/a', { ip: '10.0.1.2', node: 'n2' }),
      ],
      allow(flow('10.0.1.1', DB), { ingress: ['0|default|knp:app/k|allow|0'] }),
      deny(flow('10.0.1.2', DB), { ingress: ['0|default|knp:app/k|deny|-1'] }),
      inDenied('0|default|knp:app/k|deny|-1'),
    ),
    permissive: true,
  },
  order(
    82,
    'KNP namespaceSelector {} takes pods, no NetworkSets',
    [
      knp('k', { ingress: [{ from: [{ namespaceSelector: {} }] }] }),
      networkSet('app/set', {}, ['203.0.113.0/24']),
      pod('dev/a', { ip: '10.0.1.2', node: 'n2' }),
    ],
    inDenied('0|default|knp:app/k|deny|-1'),
    allow(flow('10.0.1.2', DB), { ingress: ['0|default|knp:app/k|allow|0'] }),
  ),
  order(
    83,
    'KNP ports [80, {}] are all TCP ports',
    [knp('k', { ingress: [{ ports: [{ port: 80 }, {}] }] })],
    allow(flow(OUTSIDE, DB, { dst_port: 1 }), { ingress: ['0|default|knp:app/k|allow|0'] }),
    deny(flow(OUTSIDE, DB, { protocol: 'udp' }), { ingress: ['0|default|knp:app/k|deny|-1'] }),
  ),
  {
    ...order(
      84,
      'KNP named port with endPort drops its rule alone',
      [
        knp('k', {
          ingress: [
            { ports: [{ port: 'http', endPort: 90 }] },
            { ports: [{ port: 443 }, { port: 53, protocol: 'UDP' }] },
          ],
        }),
      ],
      inDenied('0|default|knp:app/k|deny|-1'),
      allow(flow(OUTSIDE, DB, { dst_port: 443 }), { ingress: ['0|default|knp:app/k|allow|0'] }),
      allow(flow(OUTSIDE, DB, { dst_port: 53, protocol: 'udp' }), { ingress: ['0|default|knp:app/k|allow|1'] }),
    ),
    permissive: true,
  },
  ...[{ nodes: {} }, { domainNames: ['example.com'] }].map((peer) => ({
    ...order(
      85,
      `CNP Pass rule with peer ${Object.keys(peer)[0]} denies everything there`,
      [
        clusterPolicy('c', {
          tier: 'Admin',
          priority: 1,
          subject: SUBJECT,
          egress: [
            { action: 'Accept', to: [{ networks: ['203.0.113.0/24'] }], protocols: [{ udp: {} }] },
            { action: 'Pass', to: [{ namespaces: {} }, peer] },
            { action: 'Accept', to: [{ networks: ['0.0.0.0/0'] }] },
          ],
        }),
      ],
      allow(flow(DB, OUTSIDE, { protocol: 'udp' }), { egress: ['0|kube-admin|kcnp:c|allow|0'] }),
      deny(flow(DB, OUTSIDE), { egress: ['0|kube-admin|kcnp:c|deny|1'] }),
    ),
    permissive: true as const,
  })),
  {
    ...order(
      86,
      'CNP Accept rule with an unsupported peer is dropped',
      [
        clusterPolicy('c', {
          tier: 'Admin',
          priority: 1,
          subject: SUBJECT,
          egress: [
            { action: 'Accept', to: [{ nodes: {} }] },
            { action: 'Deny', to: [{ networks: ['203.0.113.0/24'] }] },
          ],
        }),
      ],
      deny(flow(DB, OUTSIDE), { egress: ['0|kube-admin|kcnp:c|deny|0'] }),
      allow(flow(DB, '192.0.2.1'), { egress: ['0|kube-admin|kcnp:c|pass|-1', `1${PROFILE}`] }),
    ),
    permissive: true,
  },
  order(
    87,
    'CNP peer namespaces NotIn takes host endpoints',
    [
      clusterPolicy('c', {
        tier: 'Admin',
        priority: 1,
        subject: SUBJECT,
        ingress: [
          {
            action: 'Deny',
            from: [{ namespaces: { matchExpressions: [{ key: 'env', operator: 'NotIn', values: ['prod'] }] } }],
          },
        ],
      }),
      hostEndpoint(
        'h2',
        {},
        {
          node: 'n2',
          interfaceName: 'eth0',
          expectedIPs: [HOST2],
          profiles: ['projectcalico-default-allow'],
        },
      ),
      pod('app/a', { ip: '10.0.1.1', node: 'n2', ports: [HTTP] }),
    ],
    deny(flow(HOST2, DB), { ingress: ['0|kube-admin|kcnp:c|deny|0'] }),
    allow(flow('10.0.1.1', DB), { ingress: ['0|kube-admin|kcnp:c|pass|-1', `1${PROFILE}`] }),
  ),
  order(
    118,
    'end of a tier whose two policies are both silent: the enforced log names the last',
    [
      networkPolicy('app/p1', { ...DB_SELECTOR, order: 1, types: ['Ingress'], ingress: [] }),
      networkPolicy('app/p2', { ...DB_SELECTOR, order: 2, types: ['Ingress'], ingress: [] }),
    ],
    deny(flow(OUTSIDE, DB), { reason: 'end-of-tier', ingress: ['0|default|np:app/p2|deny|-1'] }),
  ),
];
