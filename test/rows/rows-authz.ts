/** Rows 108-117: what Calico's authorization service adds to the network layer (semantics, section 8), as requests to `app/db`. */
import type { AuthzRequest } from '../../src/authz/authorizer.ts';
import { CLUSTER, DB, DB6, dbAllowsFrom, dbDeniesFrom, globalDbAllowsFrom, OUTSIDE, OUTSIDE6 } from './cluster.ts';
import { account, documents, networkSet, pod } from './objects.ts';

export interface AuthzRowCase {
  readonly row: number;
  readonly title: string;
  readonly resources: string;
  readonly requests: readonly AuthzRowRequest[];
}

export interface AuthzRowRequest {
  readonly request: AuthzRequest;
  readonly code: 'OK' | 'PERMISSION_DENIED' | 'INVALID_ARGUMENT';
  /** The factor that the answer names, where the row is about it. */
  readonly factor?: string;
}

const API = '10.0.0.2';
const WEB = '10.0.0.3';
const FAR = '10.0.0.4';

/** Pods of three accounts: two of `app`, one of `dev`. */
const WORLD = [
  ...CLUSTER,
  account('app/api', { team: 'red' }),
  account('app/web'),
  account('dev/api'),
  pod('app/api', { ip: API, labels: { role: 'client' }, account: 'api' }),
  pod('app/web', { ip: WEB, labels: { role: 'client' }, account: 'web' }),
  pod('dev/api', { ip: FAR, labels: { role: 'client' }, account: 'api' }),
];

const SPIFFE = 'spiffe://cluster.local/ns';
const API_ID = `${SPIFFE}/app/sa/api`;
const WEB_ID = `${SPIFFE}/app/sa/web`;
const FAR_ID = `${SPIFFE}/dev/sa/api`;

function ask(src: string, sourcePrincipal: string, fields: Partial<AuthzRequest> = {}): AuthzRequest {
  return {
    src,
    dst: DB,
    srcPort: 40_000,
    dstPort: 80,
    protocol: 6,
    sourcePrincipal,
    destinationPrincipal: `${SPIFFE}/app/sa/db`,
    ...fields,
  };
}

function http(path: string, method = 'GET'): Partial<AuthzRequest> {
  return { http: { method, path } };
}

const ok = (request: AuthzRequest): AuthzRowRequest => ({ request, code: 'OK' });
const denied = (request: AuthzRequest, factor?: string): AuthzRowRequest => ({
  request,
  code: 'PERMISSION_DENIED',
  ...(factor === undefined ? {} : { factor }),
});
const invalid = (request: AuthzRequest): AuthzRowRequest => ({ request, code: 'INVALID_ARGUMENT', factor: 'request' });

const FOR_API = documents(...WORLD, dbAllowsFrom({ serviceAccounts: { names: ['api'] } }));

export const AUTHZ_ROWS: readonly AuthzRowCase[] = [
  {
    row: 108,
    title: 'plain text to a rule about accounts is allowed from an address of the set',
    resources: FOR_API,
    requests: [ok(ask(API, '')), denied(ask(WEB, ''), 'network'), denied(ask(OUTSIDE, ''), 'network')],
  },
  {
    row: 108,
    title: 'a Deny rule about an account is met by plain text, too',
    resources: documents(...WORLD, dbDeniesFrom({ serviceAccounts: { names: ['api'] } })),
    requests: [
      denied(ask(API, ''), 'policy'),
      ok(ask(WEB, '')),
      ok(ask(API, WEB_ID)),
      denied(ask(API, API_ID), 'policy'),
    ],
  },
  {
    row: 109,
    title: 'a certificate of the wrong account from an address of the set does not match',
    resources: FOR_API,
    requests: [denied(ask(API, WEB_ID), 'identity'), denied(ask(API, FAR_ID), 'identity'), ok(ask(API, API_ID))],
  },
  {
    row: 109,
    title: 'labels of the account are those of its object, whatever the request states',
    resources: documents(...WORLD, dbAllowsFrom({ serviceAccounts: { selector: 'team == "red"' } })),
    requests: [
      ok(ask(API, API_ID)),
      ok(ask(API, API_ID, { sourceLabels: { team: 'blue' } })),
      denied(ask(API, WEB_ID), 'identity'),
      // An account without that label has what the request says.
      ok(ask(API, WEB_ID, { sourceLabels: { team: 'red' } })),
    ],
  },
  {
    row: 110,
    title: 'the right certificate from an address outside the set does not match',
    resources: FOR_API,
    requests: [
      denied(ask(WEB, API_ID), 'network'),
      denied(ask(OUTSIDE, API_ID), 'network'),
      denied(ask(WEB, WEB_ID), 'network+identity'),
    ],
  },
  {
    row: 111,
    title: 'a principal that is no account counts as plain text',
    resources: FOR_API,
    requests: [
      'cn=x',
      'spiffe://cluster.local/ns/app/sa/web/x',
      'spiffe:///ns/app/sa/web',
      'SPIFFE://d/ns/app/sa/web',
    ].flatMap((principal) => [ok(ask(API, principal)), denied(ask(WEB, principal), 'network')]),
  },
  {
    row: 112,
    title: 'the trust domain is not compared',
    resources: FOR_API,
    requests: [
      ok(ask(API, 'spiffe://evil.example/ns/app/sa/api')),
      denied(ask(API, 'spiffe://cluster.local/ns/dev/sa/api'), 'identity'),
    ],
  },
  {
    row: 113,
    title: 'in a namespaced policy a selector asks for an identity of the namespace',
    resources: documents(...WORLD, dbAllowsFrom({ selector: 'role == "client"' })),
    requests: [ok(ask(API, API_ID)), ok(ask(API, WEB_ID)), denied(ask(API, FAR_ID), 'identity'), ok(ask(API, ''))],
  },
  {
    row: 113,
    title: 'in a global one it does not, nor beside a namespaceSelector, which asks itself',
    resources: documents(
      ...WORLD,
      globalDbAllowsFrom({ selector: 'role == "client"', namespaceSelector: 'env == "prod"' }),
    ),
    requests: [ok(ask(API, API_ID)), denied(ask(API, FAR_ID), 'identity'), denied(ask(FAR, API_ID), 'network')],
  },
  {
    row: 114,
    title: 'a named port is never met, a numeric one beside it is, and a named notPort excludes nothing',
    resources: documents(...WORLD, dbAllowsFrom({}, { protocol: 'TCP', destination: { ports: ['http'] } })),
    requests: [denied(ask(API, API_ID), 'port'), denied(ask(API, API_ID, { dstPort: 8080 }), 'port')],
  },
  {
    row: 114,
    title: 'numeric ports beside the named one, and a named notPort',
    resources: documents(
      ...WORLD,
      dbAllowsFrom({}, { protocol: 'TCP', destination: { ports: ['http', 8080], notPorts: ['http'] } }),
    ),
    requests: [denied(ask(API, API_ID), 'port'), ok(ask(API, API_ID, { dstPort: 8080 }))],
  },
  {
    row: 115,
    title: 'a prefix matches whole segments of the normal form',
    resources: documents(...WORLD, dbAllowsFrom({}, { http: { methods: ['GET'], paths: [{ prefix: '/pub' }] } })),
    requests: [
      ok(ask(API, API_ID, http('/pub'))),
      ok(ask(API, API_ID, http('/pub/x?y#z'))),
      ok(ask(API, API_ID, http('/a/../pub//x'))),
      ok(ask(API, API_ID, http('/p%75b;v=1'))),
      denied(ask(API, API_ID, http('/public')), 'request'),
      denied(ask(API, API_ID, http('/pub/../admin')), 'request'),
      denied(ask(API, API_ID, http('/pub/%2e%2e/admin')), 'request'),
      denied(ask(API, API_ID, http('/pub/%252e%252e/admin')), 'request'),
      denied(ask(API, API_ID, http('/pub/%zz')), 'request'),
      denied(ask(API, API_ID, http('/pub', 'POST')), 'request'),
      denied(ask(API, API_ID, http('/pub', 'get')), 'request'),
      invalid(ask(API, API_ID, http('pub'))),
      invalid(ask(API, API_ID, http(''))),
      // The method differs, so the path is never asked about.
      denied(ask(API, API_ID, http('pub', 'POST')), 'request'),
    ],
  },
  {
    row: 116,
    title: 'without HTTP attributes the HTTP part holds',
    resources: documents(
      ...WORLD,
      dbAllowsFrom({ serviceAccounts: { names: ['api'] } }, { http: { methods: ['GET'], paths: [{ exact: '/x' }] } }),
    ),
    requests: [
      ok(ask(API, API_ID)),
      ok(ask(API, API_ID, http('/x'))),
      denied(ask(API, API_ID, http('/y')), 'request'),
      denied(ask(API, WEB_ID), 'identity'),
    ],
  },
  {
    row: 117,
    title: 'notNets of IPv4 do not exclude an IPv6 source, nor does nets of the other version remove the rule',
    resources: documents(...WORLD, dbAllowsFrom({ notNets: ['10.0.0.0/8'] })),
    requests: [ok(ask(OUTSIDE6, '', { dst: DB6 })), ok(ask(OUTSIDE, '')), denied(ask(API, ''), 'network')],
  },
  {
    row: 117,
    title: 'a member of a set that ends inside the last byte never matches',
    resources: documents(
      ...WORLD,
      networkSet('app/near', { near: 'yes' }, [
        '192.0.2.0/24',
        '198.51.100.0/25',
        '203.0.113.8/31',
        '203.0.113.77/32',
        '2001:db8::/120',
        '2001:db8:1::/121',
      ]),
      dbAllowsFrom({ selector: 'near == "yes"' }),
    ),
    requests: [
      ok(ask('192.0.2.1', '')),
      denied(ask('198.51.100.1', ''), 'network'),
      denied(ask(OUTSIDE, ''), 'network'),
      ok(ask('203.0.113.77', '')),
      ok(ask('2001:db8::9', '', { dst: DB6 })),
      denied(ask('2001:db8:1::9', '', { dst: DB6 }), 'network'),
    ],
  },
];
