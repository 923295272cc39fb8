/**
 * Roles and bindings as a large cluster has them, for `who-can reach`: 5 000 roles and 20 000 bindings over 500 namespaces, 3 000
 * users, 200 groups, and service accounts of every namespace; 100 cluster roles of them. One role in ten may create pods, fewer may
 * use exec, bind, escalate, impersonate, or edit policies. 1 000 pods run as 2 accounts a namespace; the pod that is asked about
 * takes connections from the accounts of three namespaces. All from a seed.
 */
import { Xorshift32 } from '../src/packets/synthetic.ts';

export const RBAC_TARGET = 'n0/db';
export const RBAC_PORT = 5432;

const NAMESPACES = 500;
const ROLES = 5_000;
const CLUSTER_ROLES = 100;
const BINDINGS = 20_000;
const USERS = 3_000;
const GROUPS = 200;
const RBAC_GROUP = 'rbac.authorization.k8s.io';

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

const READ: Rule = { apiGroups: [''], resources: ['pods', 'services', 'configmaps'], verbs: ['get', 'list', 'watch'] };
/** By weight: the rest of a hundred is READ alone. */
const POWERS: readonly (readonly [weight: number, rule: Rule])[] = [
  [6, { apiGroups: [''], resources: ['pods'], verbs: ['create', 'delete'] }],
  [6, { apiGroups: ['apps'], resources: ['deployments', 'statefulsets'], verbs: ['create', 'update', 'patch'] }],
  [3, { apiGroups: [''], resources: ['pods/exec'], verbs: ['create'] }],
  [2, { apiGroups: [''], resources: ['serviceaccounts/token'], verbs: ['create'] }],
  [1, { apiGroups: [RBAC_GROUP], resources: ['rolebindings'], verbs: ['create', 'update'] }],
  [1, { apiGroups: [RBAC_GROUP], resources: ['roles'], verbs: ['bind', 'escalate', 'update'] }],
  [1, { apiGroups: [''], resources: ['serviceaccounts'], verbs: ['impersonate'] }],
  [1, { apiGroups: ['projectcalico.org'], resources: ['networkpolicies'], verbs: ['*'] }],
  [1, { apiGroups: ['*'], resources: ['*'], verbs: ['*'] }],
];

/** The cluster as one JSON text of kind List. */
export function rbacCluster(seed = 1): string {
  const random = new Xorshift32(seed);
  const namespace = (): string => `n${random.below(NAMESPACES)}`;
  const items: object[] = [{ apiVersion: 'v1', kind: 'Node', metadata: { name: 'node' }, status: { addresses: [] } }];
  for (let n = 0; n < NAMESPACES; n++) items.push(...namespaceObjects(n));
  items.push(pod('n0', 'db', 'a0', '10.255.0.1'), policy());
  const roles: { readonly kind: 'Role' | 'ClusterRole'; readonly name: string; readonly namespace: string }[] = [];
  for (let i = 0; i < ROLES; i++) {
    const kind = i < CLUSTER_ROLES ? 'ClusterRole' : 'Role';
    const own = kind === 'Role' ? { namespace: namespace() } : {};
    roles.push({ kind, name: `r${i}`, namespace: own.namespace ?? '' });
    items.push({ apiVersion: `${RBAC_GROUP}/v1`, kind, metadata: { name: `r${i}`, ...own }, rules: rulesOf(random) });
  }
  for (let i = 0; i < BINDINGS; i++) {
    const role = roles[random.below(ROLES)]!;
    // Roles for the whole cluster are rarely bound everywhere.
    const isWide = role.kind === 'ClusterRole' && random.float() < 0.1;
    const where = isWide ? {} : { namespace: role.namespace === '' ? namespace() : role.namespace };
    items.push({
      apiVersion: `${RBAC_GROUP}/v1`,
      kind: isWide ? 'ClusterRoleBinding' : 'RoleBinding',
      metadata: { name: `b${i}`, ...where },
      roleRef: { apiGroup: RBAC_GROUP, kind: role.kind, name: role.name },
      subjects: [subject(random, namespace())],
    });
  }
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}

function namespaceObjects(n: number): object[] {
  const accounts = ['a0', 'a1'];
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: `n${n}` } },
    ...accounts.map((name) => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: `n${n}` } })),
    ...accounts.map((name, i) => pod(`n${n}`, `p${i}`, name, `10.${n >> 8}.${n & 255}.${i + 1}`)),
  ];
}

function pod(namespace: string, name: string, account: string, ip: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: name === 'db' ? { app: 'db' } : {} },
    spec: { nodeName: 'node', serviceAccountName: account, containers: [{ name: 'c', image: 'x' }] },
    status: { phase: 'Running', podIPs: [{ ip }] },
  };
}

function policy(): object {
  const source = {
    namespaceSelector: "projectcalico.org/name in {'n1', 'n2', 'n3'}",
    serviceAccounts: { names: ['a0'] },
  };
  return {
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: { name: 'db', namespace: 'n0' },
    spec: {
      selector: 'app == "db"',
      types: ['Ingress'],
      ingress: [{ action: 'Allow', protocol: 'TCP', source, destination: { ports: [RBAC_PORT] } }],
    },
  };
}

function rulesOf(random: Xorshift32): Rule[] {
  let roll = random.below(100);
  for (const [weight, rule] of POWERS) {
    if (roll < weight) return [READ, rule];
    roll -= weight;
  }
  return [READ];
}

function subject(random: Xorshift32, namespace: string): object {
  const roll = random.float();
  if (roll < 0.4) return { kind: 'ServiceAccount', name: `a${random.below(2)}`, namespace };
  const isGroup = roll < 0.6;
  const name = isGroup ? `g${random.below(GROUPS)}` : `u${random.below(USERS)}`;
  return { apiGroup: RBAC_GROUP, kind: isGroup ? 'Group' : 'User', name };
}
