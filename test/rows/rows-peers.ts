/** Rows 28-46: peer selectors and service accounts. */
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
  NP_END,
  NP_HIT,
  OUTSIDE,
} from './cluster.ts';
import {
  account,
  type Document,
  documents,
  type Fields,
  globalNetworkSet,
  globalPolicy,
  hostEndpoint,
  networkPolicy,
  networkSet,
  pod,
} from './objects.ts';
import { allow, deny, flow, type RowCase } from './row.ts';

const OPEN = ['projectcalico-default-allow'];

/** One peer of each sort, by the name the cases use. `app` is env prod, `dev` env dev. */
const PEERS = {
  /** Pod of `app`, label x, account api (team red). */
  appApi: '10.0.1.1',
  /** Pod of `app`, account web (no labels). */
  appWeb: '10.0.1.2',
  /** Pod of `dev`, label x, account api (team red). */
  devApi: '10.0.1.3',
  /** Pod of `dev`, account web (no labels). */
  devWeb: '10.0.1.4',
  appSet: '198.51.100.1',
  devSet: '198.51.101.1',
  globalSet: '203.0.113.1',
  /** Label role = lb. */
  globalLb: '203.0.114.1',
  /** Host endpoint of n2, label role = lb. */
  host: HOST2,
  internet: '192.0.2.1',
} as const;
type Peer = keyof typeof PEERS;

const WORLD: readonly Document[] = [
  ...CLUSTER,
  account('app/api', { team: 'red' }),
  account('app/web'),
  account('app/db'),
  account('dev/api', { team: 'red' }),
  account('dev/web'),
  pod('app/api', { ip: PEERS.appApi, node: 'n2', labels: { x: '1' }, account: 'api' }),
  pod('app/web', { ip: PEERS.appWeb, node: 'n2', account: 'web' }),
  pod('dev/api', { ip: PEERS.devApi, node: 'n2', labels: { x: '1' }, account: 'api' }),
  pod('dev/web', { ip: PEERS.devWeb, node: 'n2', account: 'web' }),
  networkSet('app/set', {}, ['198.51.100.0/24']),
  networkSet('dev/set', {}, ['198.51.101.0/24']),
  globalNetworkSet('gset', {}, ['203.0.113.0/24']),
  globalNetworkSet('lb', { role: 'lb' }, ['203.0.114.0/24']),
  hostEndpoint('h2', { role: 'lb' }, { node: 'n2', interfaceName: 'eth0', expectedIPs: [HOST2], profiles: OPEN }),
];

const EVERYONE = Object.keys(PEERS) as Peer[];

interface More {
  readonly rule?: Fields;
  readonly permissive?: true;
}

/** A rule of a NetworkPolicy of `app` (or of a global one) with this source, and everyone it allows. */
function namespaced(row: number, title: string, source: Fields, peers: readonly Peer[], more: More = {}): RowCase {
  return peerCase(row, title, dbAllowsFrom(source, more.rule), peers, NP_HIT, NP_END, more);
}

function global(row: number, title: string, source: Fields, peers: readonly Peer[], more: More = {}): RowCase {
  return peerCase(row, title, globalDbAllowsFrom(source, more.rule), peers, GNP_HIT, GNP_END, more);
}

function peerCase(
  row: number,
  title: string,
  policy: Document,
  peers: readonly Peer[],
  hit: readonly string[],
  end: readonly string[],
  { permissive }: More,
): RowCase {
  const flows = EVERYONE.map((peer) => {
    const subject = flow(PEERS[peer], DB);
    return peers.includes(peer) ? allow(subject, { ingress: hit }) : deny(subject, { ingress: end });
  });
  return { row, title, resources: documents(...WORLD, policy), flows, ...(permissive && { permissive }) };
}

function except(...peers: readonly Peer[]): Peer[] {
  return EVERYONE.filter((peer) => !peers.includes(peer));
}

/** Host endpoints as what policy applies to: `h1` on n1, which allows everything unless a policy selects it. */
function appliesCase(row: number, title: string, isHostSelected: boolean, spec: Fields): RowCase {
  const trace = isHostSelected
    ? ['0|default|gnp:closed|deny|-1']
    : ['0|__PROFILE__|pro:projectcalico-default-allow|allow|0'];
  const subject = flow(OUTSIDE, HOST1);
  return {
    row,
    title,
    resources: documents(
      ...CLUSTER,
      hostEndpoint('h1', {}, { node: 'n1', interfaceName: 'eth0', expectedIPs: [HOST1], profiles: OPEN }),
      globalPolicy('closed', { types: ['Ingress'], ingress: [], ...spec }),
    ),
    flows: [
      isHostSelected ? deny(subject, { ingress: trace }) : allow(subject, { ingress: trace }),
      deny(flow(OUTSIDE, DB), { ingress: ['0|default|gnp:closed|deny|-1'] }),
    ],
  };
}

/** A policy that Felix refuses for its source: it would deny the pod's traffic, and is gone. */
function goneCase(row: number, title: string, policy: Document): RowCase {
  const trace = ['0|__PROFILE__|pro:kns.app|allow|0'];
  const flows = [allow(flow(OUTSIDE, DB), { ingress: trace }), allow(flow(PEERS.appApi, DB), { ingress: trace })];
  return { row, title, resources: documents(...WORLD, policy), permissive: true, flows };
}

export const PEER_ROWS: readonly RowCase[] = [
  namespaced(28, 'notSelector alone in an NP: other members of its namespace only', { notSelector: 'has(x)' }, [
    'appWeb',
    'appSet',
  ]),
  global(
    29,
    'notSelector alone in a GNP: everyone that is no member',
    { notSelector: 'has(x)' },
    except('appApi', 'devApi'),
  ),
  namespaced(30, 'service account names in an NP: own namespace', { serviceAccounts: { names: ['api'] } }, ['appApi']),
  global(31, 'service account names in a GNP: every namespace', { serviceAccounts: { names: ['api'] } }, [
    'appApi',
    'devApi',
  ]),
  namespaced(
    32,
    'namespaceSelector and names: the selected namespaces, not the own one',
    { namespaceSelector: 'env == "dev"', serviceAccounts: { names: ['api'] } },
    ['devApi'],
  ),
  namespaced(33, 'a negative namespaceSelector takes what has no namespace', { namespaceSelector: 'env != "prod"' }, [
    'devApi',
    'devWeb',
    'devSet',
    'globalSet',
    'globalLb',
    'host',
  ]),
  namespaced(34, 'namespaceSelector all(): pods and NetworkSets', { namespaceSelector: 'all()' }, [
    'appApi',
    'appWeb',
    'devApi',
    'devWeb',
    'appSet',
    'devSet',
  ]),
  namespaced(
    35,
    'namespaceSelector global() with a selector: host endpoints and global sets of it',
    { namespaceSelector: 'global()', selector: 'role == "lb"' },
    ['globalLb', 'host'],
  ),
  namespaced(35, 'namespaceSelector global() alone', { namespaceSelector: 'global()' }, [
    'globalSet',
    'globalLb',
    'host',
  ]),
  global(
    36,
    'serviceAccounts.selector all() in a GNP: every endpoint and set',
    { serviceAccounts: { selector: 'all()' } },
    except('internet'),
  ),
  namespaced(
    37,
    'a negative serviceAccounts.selector takes NetworkSets of the namespace',
    { serviceAccounts: { selector: '!has(team)' } },
    ['appWeb', 'appSet'],
  ),
  namespaced(
    38,
    'a name with an apostrophe: the whole account match is ignored',
    { serviceAccounts: { names: ["it's"], selector: 'team == "blue"' } },
    EVERYONE,
    { permissive: true },
  ),
  namespaced(39, 'serviceAccounts {} is no constraint', { serviceAccounts: {} }, EVERYONE),
  global(39, 'serviceAccounts {} is no constraint in a GNP', { serviceAccounts: {} }, EVERYONE),
  appliesCase(40, 'GNP selector all() with a namespaceSelector leaves host endpoints out', false, {
    selector: 'all()',
    namespaceSelector: '!has(prod)',
  }),
  appliesCase(40, 'the same with an empty selector takes them', true, { namespaceSelector: '!has(prod)' }),
  appliesCase(41, 'GNP serviceAccountSelector all() requires a service account', false, {
    serviceAccountSelector: 'all()',
  }),
  {
    row: 41,
    title: 'NP serviceAccountSelector all() has no effect',
    asIs: true,
    resources: documents(
      ...CLUSTER,
      pod('app/bare', { ip: '10.0.0.2', labels: { role: 'bare' } }),
      networkPolicy('app/np', { selector: 'role == "bare"', serviceAccountSelector: 'all()', ingress: [] }),
      pod('dev/bare', { ip: '10.0.0.3', labels: { role: 'bare' } }),
      globalPolicy('gnp', { namespaceSelector: 'env == "dev"', serviceAccountSelector: 'all()', types: ['Ingress'] }),
    ),
    flows: [
      deny(flow(OUTSIDE, '10.0.0.2'), { ingress: ['0|default|np:app/np|deny|-1'] }),
      // A pod without service account, which only `--as-is` leaves so.
      allow(flow(OUTSIDE, '10.0.0.3'), { ingress: ['0|__PROFILE__|pro:kns.dev|allow|0'] }),
    ],
  },
  {
    row: 42,
    title: 'an invalid policy-level namespaceSelector of a GNP is ignored',
    permissive: true,
    resources: documents(
      ...WORLD,
      globalPolicy('p', {
        selector: 'app == "db"',
        namespaceSelector: 'env = "none"',
        types: ['Ingress'],
        ingress: [],
      }),
    ),
    flows: [deny(flow(OUTSIDE, DB), { ingress: GNP_END })],
  },
  goneCase(
    43,
    'an invalid selector in one rule takes the whole policy',
    networkPolicy('app/p', {
      selector: 'app == "db"',
      types: ['Ingress'],
      ingress: [{ action: 'Deny' }, { action: 'Deny', source: { selector: 'a = "b"' } }],
    }),
  ),
  goneCase(44, 'a blank selector in an NP rule takes the whole policy', dbDeniesFrom({ selector: ' ' })),
  global(44, 'a blank selector in a GNP rule is all()', { selector: ' ' }, except('internet'), { permissive: true }),
  namespaced(45, 'a selector of nobody never matches', { selector: 'has(nobody)' }, []),
  global(45, 'a notSelector of nobody is always satisfied', { notSelector: 'has(nobody)' }, EVERYONE),
  namespaced(46, "destination.serviceAccounts of the pod's own account", {}, EVERYONE, {
    rule: { destination: { serviceAccounts: { names: ['db'] } } },
  }),
  namespaced(46, 'destination.serviceAccounts of another account', {}, [], {
    rule: { destination: { serviceAccounts: { names: ['web'] } } },
  }),
];
