/** Lesson 1: who may reach the database, by the names of service accounts. */
import { allowedByProfile, NODES, OUTSIDE } from './common.mjs';

const NAMESPACE = 'prod-engineering';
const pod = (name, node, host, serviceAccount, labels, image) => ({
  namespace: NAMESPACE,
  name,
  node,
  host,
  serviceAccount,
  labels,
  image,
});

const world = {
  nodes: NODES,
  outside: [OUTSIDE],
  nobody: ['10.244.1.99'],
  useArp: true,
  namespaces: [
    { name: NAMESPACE, labels: { env: 'prod' } },
    { name: 'staging', labels: { env: 'staging' } },
  ],
  serviceAccounts: [
    { namespace: NAMESPACE, name: 'api-service' },
    { namespace: NAMESPACE, name: 'user-auth-service' },
    { namespace: NAMESPACE, name: 'web' },
    { namespace: NAMESPACE, name: 'db' },
    { namespace: NAMESPACE, name: 'default' },
    { namespace: 'staging', name: 'api-service' },
  ],
  pods: [
    pod('db-0', 'node-2', 10, 'db', { app: 'db' }, 'postgres:15'),
    pod('api-0', 'node-1', 10, 'api-service', { app: 'api' }),
    pod('user-auth-0', 'node-2', 11, 'user-auth-service', { app: 'user-auth' }),
    pod('web-0', 'node-1', 11, 'web', { app: 'web' }),
    // No serviceAccountName: the pod runs as the account `default` of its namespace.
    pod('batch-0', 'node-1', 12, undefined, { app: 'batch' }),
    { ...pod('api-0', 'node-2', 20, 'api-service', { app: 'api' }), namespace: 'staging' },
  ],
};

const DB = `${NAMESPACE}/db-0`;
const API = `${NAMESPACE}/api-0`;
const USER_AUTH = `${NAMESPACE}/user-auth-0`;
const WEB = `${NAMESPACE}/web-0`;
const BATCH = `${NAMESPACE}/batch-0`;
const STAGING_API = 'staging/api-0';

/* The traces that occur here. demo-calico governs ingress only, so no policy governs anybody's egress. */
const OUT = [allowedByProfile(NAMESPACE)];
const OUT_OF_STAGING = [allowedByProfile('staging')];
const INTO_UNSELECTED = [allowedByProfile(NAMESPACE)];
const RULE_ALLOWS = [`0|default|np:${NAMESPACE}/demo-calico|allow|0`];
const NO_RULE_MATCHES = [`0|default|np:${NAMESPACE}/demo-calico|deny|-1`];

const ALLOWED_INTO_DB = { egress: OUT, ingress: RULE_ALLOWS };
const DENIED_INTO_DB = { egress: OUT, ingress: NO_RULE_MATCHES, reason: 'end-of-tier' };

const attempts = [
  {
    name: 'api-service asks the database',
    from: API,
    to: DB,
    program: 'psql',
    port: 5432,
    query: 'select version()',
    outcome: 'answered',
    verdict: ALLOWED_INTO_DB,
    why: 'api-0 runs as api-service, which rule 0 of demo-calico names; the policy selects db-0 by app == "db". No policy governs the egress of api-0, so its namespace profile lets it out.',
  },
  {
    name: 'user-auth-service asks the database from the same node',
    from: USER_AUTH,
    to: DB,
    program: 'psql',
    port: 5432,
    query: 'select count(*) from pg_class',
    outcome: 'answered',
    verdict: ALLOWED_INTO_DB,
    why: 'The second name of the list. Both pods are on node-2; egress and ingress are checked all the same.',
  },
  {
    name: 'web asks the database',
    from: WEB,
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: DENIED_INTO_DB,
    why: 'The account web is not in the list, so rule 0 does not match. A policy selects db-0 for ingress and none of its rules matched: end of the default tier, deny. With enforcement node-2 would drop the SYN; the SYN-ACK seen here has no entry on node-2 and would itself be invalid.',
  },
  {
    name: 'the default account asks the database',
    from: BATCH,
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: DENIED_INTO_DB,
    why: 'batch-0 names no account and so runs as default, which is not in the list.',
  },
  {
    name: 'api-service of another namespace asks the database',
    from: STAGING_API,
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: { egress: OUT_OF_STAGING, ingress: NO_RULE_MATCHES, reason: 'end-of-tier' },
    why: "The name is right and the namespace is not: in a NetworkPolicy a rule without namespaceSelector means accounts of the policy's own namespace (S 3.3, row 30).",
  },
  {
    name: 'an outside machine asks the database',
    from: 'outside',
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: { ingress: NO_RULE_MATCHES, reason: 'end-of-tier' },
    why: '203.0.113.50 belongs to no pod, so it has no account. There is no source endpoint, hence no egress check.',
  },
  {
    name: 'api-service asks the database over IPv6',
    from: API,
    to: DB,
    family: 6,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: ALLOWED_INTO_DB,
    why: 'An account match covers all addresses of its pods, of both families.',
  },
  {
    name: 'web asks the database over IPv6',
    from: WEB,
    to: DB,
    family: 6,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: DENIED_INTO_DB,
    why: 'As over IPv4: web is not in the list.',
  },
  {
    name: 'an outside machine asks the database over IPv6',
    from: 'outside',
    to: DB,
    family: 6,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: { ingress: NO_RULE_MATCHES, reason: 'end-of-tier' },
    why: 'As over IPv4: no account, no rule matches.',
  },
  {
    name: 'api-service pings the database',
    from: API,
    to: DB,
    program: 'ping',
    outcome: 'answered',
    verdict: ALLOWED_INTO_DB,
    why: 'Rule 0 names no protocol and no port, so it allows everything from these accounts. The echo reply is the answer of an allowed flow.',
  },
  {
    name: 'web pings the database',
    from: WEB,
    to: DB,
    program: 'ping',
    outcome: 'answered',
    verdict: DENIED_INTO_DB,
    why: 'The second request is judged like the first: node-2 dropped the first and kept no entry. The echo replies have no entry on node-2 and would be invalid.',
  },
  {
    name: 'user-auth-service pings the database over IPv6',
    from: USER_AUTH,
    to: DB,
    family: 6,
    program: 'ping',
    outcome: 'answered',
    verdict: ALLOWED_INTO_DB,
    why: 'As for IPv4: the rule names no protocol.',
  },
  {
    name: 'the default account pings the database over IPv6',
    from: BATCH,
    to: DB,
    family: 6,
    program: 'ping',
    outcome: 'answered',
    verdict: DENIED_INTO_DB,
    why: 'The account default is not in the list.',
  },
  {
    name: 'api-service tries a closed port of the database',
    from: API,
    to: DB,
    program: 'curl',
    port: 5433,
    outcome: 'refused',
    verdict: ALLOWED_INTO_DB,
    why: 'Policy allows every port; it is the pod that refuses, with a reset that belongs to the allowed connection.',
  },
  {
    name: 'web tries a closed port of the database',
    from: WEB,
    to: DB,
    program: 'curl',
    port: 5433,
    outcome: 'refused',
    verdict: DENIED_INTO_DB,
    why: 'With enforcement the SYN would never have reached the pod, and web would have waited instead of being refused.',
  },
  {
    name: 'api-service connects to a hung service of the database',
    from: API,
    to: DB,
    program: 'curl',
    port: 5434,
    outcome: 'silent',
    verdict: ALLOWED_INTO_DB,
    why: 'Allowed and never answered: the silence is not policy. The repeated SYN is judged again, with the same verdict.',
  },
  {
    name: 'web connects to a hung service of the database',
    from: WEB,
    to: DB,
    program: 'curl',
    port: 5434,
    outcome: 'silent',
    verdict: DENIED_INTO_DB,
    why: 'Denied and never answered: exactly what this connection would look like with enforcement.',
  },
  {
    name: 'api-service sends metrics that nobody answers',
    from: API,
    to: DB,
    program: 'udp',
    port: 5434,
    outcome: 'silent',
    verdict: ALLOWED_INTO_DB,
    why: 'UDP from an account in the list, allowed by rule 0; the service never answers.',
  },
  {
    name: 'web sends metrics that nobody answers',
    from: WEB,
    to: DB,
    program: 'udp',
    port: 5434,
    outcome: 'silent',
    verdict: DENIED_INTO_DB,
    why: 'UDP from an account that is not in the list.',
  },
  {
    name: 'web calls the api',
    from: WEB,
    to: API,
    program: 'curl',
    port: 8080,
    outcome: 'answered',
    verdict: { egress: OUT, ingress: INTO_UNSELECTED },
    why: 'No policy selects api-0, so the profile of its namespace allows.',
  },
  {
    name: 'the database calls the api',
    from: DB,
    to: API,
    program: 'curl',
    port: 8080,
    outcome: 'answered',
    verdict: { egress: OUT, ingress: INTO_UNSELECTED },
    why: 'demo-calico has ingress rules only and so governs ingress only: what db-0 sends is left to its profile.',
  },
  {
    name: 'an outside machine calls the api over IPv6',
    from: 'outside',
    to: API,
    family: 6,
    program: 'curl',
    port: 8080,
    outcome: 'answered',
    verdict: { ingress: INTO_UNSELECTED },
    why: 'No policy selects api-0, and a namespace profile allows from anywhere.',
  },
  {
    name: 'web calls an address that nobody has',
    from: WEB,
    to: '10.244.1.99',
    program: 'curl',
    port: 8080,
    outcome: 'silent',
    verdict: { egress: OUT },
    why: 'Only the source is an endpoint: its egress is allowed by profile, and there is no pod whose ingress could be checked.',
  },
  {
    name: 'the node of the database connects to it',
    from: 'node-2',
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: {},
    why: 'A node reaches its own pods without any check (kubelet probes), S 6.1.',
  },
  {
    name: 'the other node connects to the database',
    from: 'node-1',
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: { ingress: NO_RULE_MATCHES, reason: 'end-of-tier' },
    why: 'To node-2 this comes from elsewhere: the ingress of db-0 is checked, and 192.168.56.11 has no account.',
  },
];

export const lesson = {
  title: 'ingress by service-account name',
  text: `
The first policy of the Calico manual's page on service accounts: the pods labelled \`app: db\` take connections from the accounts
\`api-service\` and \`user-auth-service\` and from nobody else. Callers: both of them, another account, a pod that names no account (and so
runs as \`default\`), the same account name in another namespace, an address outside the cluster, both nodes; PostgreSQL, ping and a
service that never answers, over IPv4 and IPv6, a closed port, and an address that nobody has.`,
  world,
  servers: [
    { at: DB, program: 'postgres', port: 5432 },
    { at: DB, program: 'silent', port: 5434 },
    { at: API, program: 'http', port: 8080 },
  ],
  attempts,
};
