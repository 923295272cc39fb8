/** Lesson 2: who may reach the database, by the labels of service accounts. */
import { allowedByProfile, NODES, OUTSIDE } from './common.mjs';

const NAMESPACE = 'prod-engineering';

const world = {
  nodes: NODES,
  outside: [OUTSIDE],
  nobody: [],
  useArp: false,
  namespaces: [{ name: NAMESPACE }, { name: 'staging' }, { name: 'kube-system' }],
  serviceAccounts: [
    { namespace: NAMESPACE, name: 'web', labels: { app: 'web-frontend' } },
    { namespace: NAMESPACE, name: 'checkout', labels: { app: 'web-frontend', team: 'shop' } },
    { namespace: NAMESPACE, name: 'reports', labels: { app: 'reports' } },
    { namespace: NAMESPACE, name: 'db', labels: { app: 'db' } },
    { namespace: NAMESPACE, name: 'default' },
    { namespace: 'staging', name: 'web', labels: { app: 'web-frontend' } },
    { namespace: 'kube-system', name: 'coredns' },
    // There is no ServiceAccount legacy-web: the pod legacy-web-0 names an account that was deleted.
  ],
  pods: [
    { namespace: NAMESPACE, name: 'db-0', node: 'node-1', host: 10, serviceAccount: 'db', labels: { app: 'db' } },
    { namespace: NAMESPACE, name: 'web-0', node: 'node-2', host: 10, serviceAccount: 'web', labels: { app: 'web' } },
    {
      namespace: NAMESPACE,
      name: 'checkout-0',
      node: 'node-1',
      host: 11,
      serviceAccount: 'checkout',
      labels: { app: 'checkout' },
    },
    {
      namespace: NAMESPACE,
      name: 'reports-0',
      node: 'node-2',
      host: 11,
      serviceAccount: 'reports',
      labels: { app: 'web-frontend' },
    },
    {
      namespace: NAMESPACE,
      name: 'legacy-web-0',
      node: 'node-2',
      host: 12,
      serviceAccount: 'legacy-web',
      labels: { app: 'web-frontend' },
    },
    {
      namespace: NAMESPACE,
      name: 'debug-0',
      node: 'node-1',
      host: 12,
      serviceAccount: 'default',
      labels: { app: 'web-frontend', 'pcsa.app': 'web-frontend' },
    },
    { namespace: 'staging', name: 'web-0', node: 'node-2', host: 20, serviceAccount: 'web', labels: { app: 'web' } },
    {
      namespace: 'kube-system',
      name: 'coredns-0',
      node: 'node-1',
      host: 30,
      serviceAccount: 'coredns',
      labels: { 'k8s-app': 'kube-dns' },
    },
  ],
};

const DB = `${NAMESPACE}/db-0`;
const WEB = `${NAMESPACE}/web-0`;
const CHECKOUT = `${NAMESPACE}/checkout-0`;
const REPORTS = `${NAMESPACE}/reports-0`;
const LEGACY = `${NAMESPACE}/legacy-web-0`;
const DEBUG = `${NAMESPACE}/debug-0`;
const STAGING_WEB = 'staging/web-0';
const DNS = 'kube-system/coredns-0';

/* The traces that occur here. allow-web-frontend governs ingress only, and only that of db-0. */
const BY_PROFILE = [allowedByProfile(NAMESPACE)];
const BY_STAGING_PROFILE = [allowedByProfile('staging')];
const BY_SYSTEM_PROFILE = [allowedByProfile('kube-system')];
const RULE_ALLOWS = [`0|default|np:${NAMESPACE}/allow-web-frontend|allow|0`];
const NO_RULE_MATCHES = [`0|default|np:${NAMESPACE}/allow-web-frontend|deny|-1`];

const ALLOWED_INTO_DB = { egress: BY_PROFILE, ingress: RULE_ALLOWS };
const DENIED_INTO_DB = { egress: BY_PROFILE, ingress: NO_RULE_MATCHES, reason: 'end-of-tier' };
const ALLOWED_BY_PROFILES = { egress: BY_PROFILE, ingress: BY_PROFILE };
const ALLOWED_TO_DNS = { egress: BY_PROFILE, ingress: BY_SYSTEM_PROFILE };

const attempts = [
  {
    name: 'web asks the database',
    from: WEB,
    to: DB,
    program: 'psql',
    port: 5432,
    query: 'select current_date',
    outcome: 'answered',
    verdict: ALLOWED_INTO_DB,
    why: 'The account web is labelled app=web-frontend. That the pod itself is labelled app=web plays no part.',
  },
  {
    name: 'checkout asks the database from the same node',
    from: CHECKOUT,
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: ALLOWED_INTO_DB,
    why: 'Another account with the label; its further label does not matter.',
  },
  {
    name: 'a pod that carries the label itself asks the database',
    from: REPORTS,
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: DENIED_INTO_DB,
    why: 'reports-0 is labelled app=web-frontend, but serviceAccounts.selector looks at the account, and reports is labelled app=reports.',
  },
  {
    name: 'a pod whose account was deleted asks the database',
    from: LEGACY,
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: DENIED_INTO_DB,
    why: 'No object describes the account legacy-web, so the pod inherits no account labels (row 22); its own label does not help. Its namespace profile still lets it out.',
  },
  {
    name: 'a pod that forges the inherited label asks the database',
    from: DEBUG,
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: DENIED_INTO_DB,
    why: 'Inside Calico account labels bear the prefix pcsa.; a pod label that starts so is dropped (S 2.1, row 16), and the account default has no labels.',
  },
  {
    name: 'web of another namespace asks the database',
    from: STAGING_WEB,
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: { egress: BY_STAGING_PROFILE, ingress: NO_RULE_MATCHES, reason: 'end-of-tier' },
    why: 'The account staging/web has the label, but without namespaceSelector the rule means accounts of prod-engineering.',
  },
  {
    name: 'an outside machine asks the database',
    from: 'outside',
    to: DB,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: { ingress: NO_RULE_MATCHES, reason: 'end-of-tier' },
    why: 'An address outside the cluster has no account.',
  },
  {
    name: 'web asks the database over IPv6',
    from: WEB,
    to: DB,
    family: 6,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: ALLOWED_INTO_DB,
    why: "The account match covers the pod's IPv6 address too.",
  },
  {
    name: 'the pod with the label asks the database over IPv6',
    from: REPORTS,
    to: DB,
    family: 6,
    program: 'psql',
    port: 5432,
    outcome: 'answered',
    verdict: DENIED_INTO_DB,
    why: 'As over IPv4: the label of the account counts.',
  },
  {
    name: 'web pings the database',
    from: WEB,
    to: DB,
    program: 'ping',
    outcome: 'answered',
    verdict: ALLOWED_INTO_DB,
    why: 'The rule names no protocol, so it allows ICMP as well.',
  },
  {
    name: 'checkout pings the database over IPv6',
    from: CHECKOUT,
    to: DB,
    family: 6,
    program: 'ping',
    outcome: 'answered',
    verdict: ALLOWED_INTO_DB,
    why: 'ICMPv6 as well.',
  },
  {
    name: 'the pod with the label pings the database over IPv6',
    from: REPORTS,
    to: DB,
    family: 6,
    program: 'ping',
    outcome: 'answered',
    verdict: DENIED_INTO_DB,
    why: 'The account reports does not match.',
  },
  {
    name: 'web tries a closed port of the database',
    from: WEB,
    to: DB,
    program: 'curl',
    port: 5433,
    outcome: 'refused',
    verdict: ALLOWED_INTO_DB,
    why: 'Allowed by policy, refused by the pod: the reset is the answer of an allowed connection.',
  },
  {
    name: 'the pod with the label tries a closed port of the database',
    from: REPORTS,
    to: DB,
    program: 'curl',
    port: 5433,
    outcome: 'refused',
    verdict: DENIED_INTO_DB,
    why: 'Denied at the SYN; with enforcement there would be no refusal, only silence.',
  },
  {
    name: 'checkout connects to a hung service of the database',
    from: CHECKOUT,
    to: DB,
    program: 'curl',
    port: 5434,
    outcome: 'silent',
    verdict: ALLOWED_INTO_DB,
    why: 'Allowed; the service hangs.',
  },
  {
    name: 'a pod whose account was deleted connects to a hung service of the database',
    from: LEGACY,
    to: DB,
    program: 'curl',
    port: 5434,
    outcome: 'silent',
    verdict: DENIED_INTO_DB,
    why: 'Denied like its query: no account labels.',
  },
  {
    name: 'web sends metrics that nobody answers',
    from: WEB,
    to: DB,
    program: 'udp',
    port: 5434,
    outcome: 'silent',
    verdict: ALLOWED_INTO_DB,
    why: 'UDP from an account with the label.',
  },
  {
    name: 'web of another namespace sends metrics over IPv6 that nobody answers',
    from: STAGING_WEB,
    to: DB,
    family: 6,
    program: 'udp',
    port: 5434,
    outcome: 'silent',
    verdict: { egress: BY_STAGING_PROFILE, ingress: NO_RULE_MATCHES, reason: 'end-of-tier' },
    why: 'The right label in the wrong namespace.',
  },
  {
    name: 'web looks the database up',
    from: WEB,
    to: DNS,
    program: 'dig',
    port: 53,
    outcome: 'answered',
    verdict: ALLOWED_TO_DNS,
    why: 'No policy selects coredns-0 and none governs the egress of web-0: both namespace profiles allow.',
  },
  {
    name: 'the database looks itself up over IPv6',
    from: DB,
    to: DNS,
    family: 6,
    program: 'dig',
    port: 53,
    outcome: 'answered',
    verdict: ALLOWED_TO_DNS,
    why: 'allow-web-frontend has no egress rules and so leaves egress alone; the answer comes back into db-0 as part of the connection, although no rule of its policy matches coredns-0.',
  },
  {
    name: 'the pod with the label calls web',
    from: REPORTS,
    to: WEB,
    program: 'curl',
    port: 8080,
    outcome: 'answered',
    verdict: ALLOWED_BY_PROFILES,
    why: 'No policy selects web-0: the policy selects pods labelled app=db.',
  },
  {
    name: 'a pod whose account was deleted calls web',
    from: LEGACY,
    to: WEB,
    program: 'curl',
    port: 8080,
    outcome: 'answered',
    verdict: ALLOWED_BY_PROFILES,
    why: 'A missing account loses its labels only; the namespace profile decides first, and it allows (S 2.3).',
  },
  {
    name: 'an outside machine calls web over IPv6',
    from: 'outside',
    to: WEB,
    family: 6,
    program: 'curl',
    port: 8080,
    outcome: 'answered',
    verdict: { ingress: BY_PROFILE },
    why: 'No policy selects web-0, and there is no source endpoint.',
  },
];

export const lesson = {
  title: 'ingress by service-account label',
  text: `
The second policy of the Calico manual's page on service accounts: the pods labelled \`app: db\` take connections from every account of the
namespace that is labelled \`app: web-frontend\`. Callers: two such accounts, a pod that carries that label itself while its account does not, a pod whose
account was deleted, a pod that forges Calico's internal form of the label, an account of another namespace with the right label, and an
outside machine; PostgreSQL, HTTP, DNS, ping, a service that never answers and a closed port, over IPv4 and IPv6.`,
  world,
  servers: [
    { at: DB, program: 'postgres', port: 5432 },
    { at: DB, program: 'silent', port: 5434 },
    { at: WEB, program: 'http', port: 8080 },
    {
      at: DNS,
      program: 'dns',
      port: 53,
      records: { 'db.prod-engineering.svc.cluster.local': ['10.244.1.10', 'fd00:10:244:1::10'] },
    },
  ],
  attempts,
};
