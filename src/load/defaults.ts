/**
 * What every real cluster has and the input lacks (semantics 4.1 and 11).
 *
 * The built-in tiers always exist. Namespaces of namespaced objects, and the account `default` of each namespace, are
 * made with one warning each, unless the load is as-is.
 */
import type { MutableResources, Namespace, ObjectMeta, Origin, Pod, ServiceAccount, Tier } from '../model/resources.ts';
import type { LoadMode } from './object.ts';
import type { ProblemList } from './problem.ts';

/** Built-in tiers. Source: Calico api/pkg/apis/projectcalico/v3/tier.go. */
export const BUILT_IN_TIERS = [
  { name: 'kube-admin', order: 1000, defaultAction: 'Pass' },
  { name: 'default', order: 1_000_000, defaultAction: 'Deny' },
  { name: 'kube-baseline', order: 10_000_000, defaultAction: 'Pass' },
] as const;

/** Where things that nobody wrote are said to be. */
const BUILT_IN: Origin = { file: 'built-in', line: 0 };

export function addMissing(resources: MutableResources, problems: ProblemList, mode: LoadMode): void {
  addTiers(resources.tiers);
  if (mode.asIs) return;
  addNamespaces(resources, problems);
  addDefaultAccounts(resources, problems);
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

/** Namespaces in the order in which objects first name them: by list of `Resources`, then by input. */
function addNamespaces(resources: MutableResources, problems: ProblemList): void {
  const known = new Set(resources.namespaces.map((namespace) => namespace.meta.name));
  for (const list of Object.values(resources) as readonly (readonly { readonly meta: ObjectMeta }[])[]) {
    let last = '';
    for (const { meta } of list) {
      if (meta.namespace === last) continue;
      last = meta.namespace;
      if (last === '' || known.has(last)) continue;
      known.add(meta.namespace);
      resources.namespaces.push(madeNamespace(meta));
      problems.warnings.push({
        ...meta.origin,
        ...subject('Namespace', '', meta.namespace),
        message: 'not in the input, so it is taken to exist without labels of its own',
        fix: 'add the Namespace with its labels',
      });
    }
  }
}

function madeNamespace({ namespace, origin }: ObjectMeta): Namespace {
  const labels = new Map([['kubernetes.io/metadata.name', namespace]]);
  return { kind: 'Namespace', meta: { ...bareMeta(namespace, '', origin), labels }, isSynthesised: true };
}

function addDefaultAccounts(resources: MutableResources, problems: ProblemList): void {
  const known = accountsByNamespace(resources.serviceAccounts);
  const users = firstPodsOfDefault(resources.pods);
  for (const { meta } of resources.namespaces) {
    if (known.get(meta.name)?.has('default') === true) continue;
    const origin = users.get(meta.name)?.meta.origin ?? meta.origin;
    const made = bareMeta('default', meta.name, origin);
    resources.serviceAccounts.push({ kind: 'ServiceAccount', meta: made, isSynthesised: true });
    problems.warnings.push({
      ...origin,
      ...subject('ServiceAccount', meta.name, 'default'),
      message: 'not in the input, so it is taken to exist without labels, as in every namespace',
      fix: 'add the ServiceAccount if it has labels',
    });
  }
}

/** The first pod of each namespace that runs as the account `default`. */
function firstPodsOfDefault(pods: readonly Pod[]): ReadonlyMap<string, Pod> {
  const users = new Map<string, Pod>();
  for (const pod of pods) {
    if (pod.serviceAccountName === 'default' && !users.has(pod.meta.namespace)) users.set(pod.meta.namespace, pod);
  }
  return users;
}

/** `namespace/name` of each account. */
export function accountKeys(accounts: readonly ServiceAccount[]): Set<string> {
  return new Set(accounts.map(({ meta }) => `${meta.namespace}/${meta.name}`));
}

/** The names of the accounts of each namespace: asked 250 000 times, two lookups are faster than one text. */
export function accountsByNamespace(accounts: readonly ServiceAccount[]): ReadonlyMap<string, ReadonlySet<string>> {
  const byNamespace = new Map<string, Set<string>>();
  for (const { meta } of accounts) {
    const names = byNamespace.get(meta.namespace);
    if (names === undefined) byNamespace.set(meta.namespace, new Set([meta.name]));
    else names.add(meta.name);
  }
  return byNamespace;
}

/** The names that a warning goes by. */
export function subject(kind: string, namespace: string, name: string, field = '') {
  return { kind, namespace, name, field };
}
