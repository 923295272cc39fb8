/**
 * What every real cluster has and the input lacks (semantics 4.1 and 11).
 *
 * The built-in tiers always exist. Namespaces of namespaced objects, and the account `default` of each namespace, are
 * made with one warning each, unless the load is as-is. An account that a pod names and nobody wrote is not made: its
 * name still matches, its labels do not, and a warning says so.
 */
import type {
  GlobalNetworkPolicy,
  Namespace,
  NetworkPolicy,
  ObjectMeta,
  Origin,
  Pod,
  Policy,
  Resource,
  ServiceAccount,
  Tier,
} from '../model/resources.ts';
import type { LoadMode } from './object.ts';
import type { ProblemList } from './problem.ts';

/** The lists of a load while it is under way. */
export type MutableResources = {
  namespaces: Namespace[];
  serviceAccounts: ServiceAccount[];
  tiers: Tier[];
  pods: Pod[];
  policies: Policy[];
};

/** Built-in tiers. Source: Calico api/pkg/apis/projectcalico/v3/tier.go. */
const BUILT_IN_TIERS = [
  { name: 'kube-admin', order: 1000, defaultAction: 'Pass' },
  { name: 'default', order: 1_000_000, defaultAction: 'Deny' },
  { name: 'kube-baseline', order: 10_000_000, defaultAction: 'Pass' },
] as const;

/** Where things that nobody wrote are said to be. */
const BUILT_IN: Origin = { file: 'built-in', line: 0 };

export function addMissing(
  resources: MutableResources,
  all: readonly Resource[],
  problems: ProblemList,
  mode: LoadMode,
): void {
  addTiers(resources.tiers);
  if (!mode.asIs) {
    addNamespaces(resources, all, problems);
    addDefaultAccounts(resources, problems);
  }
  warnOfMissingAccounts(resources, problems);
  warnOfMissingTiers(resources, problems);
}

function addTiers(tiers: Tier[]): void {
  const known = new Set(tiers.map((tier) => tier.meta.name));
  for (const { name, order, defaultAction } of BUILT_IN_TIERS) {
    if (known.has(name)) continue;
    tiers.push({ kind: 'Tier', meta: bareMeta(name, '', BUILT_IN), order, defaultAction, isSynthesised: true });
  }
}

function bareMeta(name: string, namespace: string, origin: Origin): ObjectMeta {
  return { name, namespace, uid: '', labels: new Map(), annotations: new Map(), origin };
}

function addNamespaces(resources: MutableResources, all: readonly Resource[], problems: ProblemList): void {
  const known = new Set(resources.namespaces.map((namespace) => namespace.meta.name));
  for (const { meta } of all) {
    if (meta.namespace === '' || known.has(meta.namespace)) continue;
    known.add(meta.namespace);
    const labels = new Map([['kubernetes.io/metadata.name', meta.namespace]]);
    const made = { ...bareMeta(meta.namespace, '', meta.origin), labels };
    resources.namespaces.push({ kind: 'Namespace', meta: made, isSynthesised: true });
    problems.warnings.push({
      ...meta.origin,
      ...subject('Namespace', '', meta.namespace),
      message: 'not in the input, so it is taken to exist without labels of its own',
      fix: 'add the Namespace with its labels',
    });
  }
}

function addDefaultAccounts(resources: MutableResources, problems: ProblemList): void {
  const known = accountKeys(resources.serviceAccounts);
  const users = new Map<string, Pod>();
  for (const pod of resources.pods) {
    if (pod.serviceAccountName === 'default' && !users.has(pod.meta.namespace)) users.set(pod.meta.namespace, pod);
  }
  for (const namespace of resources.namespaces) {
    const name = namespace.meta.name;
    if (known.has(`${name}/default`)) continue;
    const pod = users.get(name);
    const origin = pod?.meta.origin ?? namespace.meta.origin;
    resources.serviceAccounts.push({
      kind: 'ServiceAccount',
      meta: bareMeta('default', name, origin),
      isSynthesised: true,
    });
    problems.warnings.push({
      ...origin,
      ...subject('ServiceAccount', name, 'default'),
      message: 'not in the input, so it is taken to exist without labels, as in every namespace',
      fix: 'add the ServiceAccount if it has labels',
    });
  }
}

function accountKeys(accounts: readonly ServiceAccount[]): Set<string> {
  return new Set(accounts.map(({ meta }) => `${meta.namespace}/${meta.name}`));
}

function warnOfMissingAccounts(resources: MutableResources, problems: ProblemList): void {
  const known = accountKeys(resources.serviceAccounts);
  const counts = new Map<string, { readonly first: Pod; count: number }>();
  for (const pod of resources.pods) {
    const key = `${pod.meta.namespace}/${pod.serviceAccountName}`;
    if (pod.serviceAccountName === '' || known.has(key)) continue;
    const entry = counts.get(key);
    if (entry === undefined) counts.set(key, { first: pod, count: 1 });
    else entry.count++;
  }
  for (const { first, count } of counts.values()) {
    const others = count > 1 ? ` (and ${count - 1} more pods)` : '';
    problems.warnings.push({
      ...first.meta.origin,
      ...subject('Pod', first.meta.namespace, first.meta.name),
      field: 'spec.serviceAccountName',
      message: `ServiceAccount ${first.meta.namespace}/${first.serviceAccountName} is not in the input${others}: its name matches, labels it may have do not`,
      fix: 'add the ServiceAccount',
    });
  }
}

function warnOfMissingTiers(resources: MutableResources, problems: ProblemList): void {
  const known = new Set(resources.tiers.map((tier) => tier.meta.name));
  for (const policy of resources.policies) {
    if (!isCalicoPolicy(policy) || known.has(policy.tier)) continue;
    problems.warnings.push({
      ...policy.meta.origin,
      ...subject(policy.kind, policy.meta.namespace, policy.meta.name),
      field: 'spec.tier',
      message: `tier '${policy.tier}' does not exist: the API would refuse the policy; one that is already there is enforced after all other tiers, with default action Deny`,
      fix: 'add the Tier, or correct the name',
    });
  }
}

function isCalicoPolicy(policy: Policy): policy is NetworkPolicy | GlobalNetworkPolicy {
  return policy.kind.endsWith('NetworkPolicy') && !policy.kind.includes('Kubernetes');
}

function subject(
  kind: string,
  namespace: string,
  name: string,
): { kind: string; namespace: string; name: string; field: string } {
  return { kind, namespace, name, field: '' };
}
