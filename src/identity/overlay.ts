/**
 * Identities laid over manifests: the pods that the compiler sees.
 *
 * A store may know a pod better than the manifests do. Where both know it (by namespace and name, and uid if both have one) the store's word
 * holds, for all its spans; a manifest that says just the same stays the object that it is, with its file and line. Manifest pods that the store
 * does not know own their addresses always, unless the store is whole (Redis), which makes them pods of the past.
 */

import { podAddressTexts } from '../model/pod-addresses.ts';
import {
  type AddressSpan,
  addResource,
  emptyResources,
  type ObjectMeta,
  type Origin,
  type Pod,
  type Resource,
  type Resources,
  type ServiceAccount,
  type StringMap,
} from '../model/resources.ts';
import { compareRecords, type IdentityRecord, keptAnnotations, NO_LABELS, portObject, sortedObject } from './record.ts';
import type { IdentitySet } from './store.ts';

export interface Overlaid {
  readonly resources: readonly Resource[];
  /** Pods of the manifests that a whole store does not know, as `namespace/name`. */
  readonly leftOut: readonly string[];
}

/** `resources` with the pods of `set`, and the accounts and namespaces that only the set knows. */
export function overlayIdentities(resources: readonly Resource[], set: IdentitySet): Overlaid {
  const pods = new PodsOfSet(resources, set);
  const leftOut: string[] = [];
  const kept = resources.filter((resource) => {
    if (resource.kind !== 'Pod' || podAddressTexts(resource).length === 0) return true;
    if (pods.takes(resource)) return false;
    if (set.isWhole) leftOut.push(`${resource.meta.namespace}/${resource.meta.name}`);
    return !set.isWhole;
  });
  return { resources: [...kept, ...pods.all(), ...missingOwners(kept, set)], leftOut };
}

/** The same for objects by their kinds: with the pods of `set`, and the accounts and namespaces that only it knows. */
export function overlayObjects(resources: Resources, set: IdentitySet): Resources {
  const owned: readonly Resource[] = [...resources.namespaces, ...resources.serviceAccounts, ...resources.pods];
  const lists = emptyResources();
  for (const resource of overlayIdentities(owned, set).resources) addResource(lists, resource);
  const { namespaces, serviceAccounts, pods } = lists;
  return { ...resources, namespaces, serviceAccounts, pods };
}

/** The state at one moment: each pod with the addresses that it owned then, without spans. */
export function podsAt(pods: readonly Pod[], atMs: number): readonly Pod[] {
  return pods.flatMap((pod) => {
    if (pod.spans === undefined) return [pod];
    const owned = new Set(pod.spans.filter(({ fromMs, toMs }) => fromMs <= atMs && atMs < toMs).map(({ ip }) => ip));
    if (owned.size === 0) return [];
    const { spans: _, ...rest } = pod;
    return [{ ...rest, podIPs: pod.podIPs.filter((ip) => owned.has(ip)) }];
  });
}

/** Pods of the set by what policy can tell of them: one object for each, with all its addresses. */
class PodsOfSet {
  readonly #accounts: ReadonlyMap<string, StringMap>;
  readonly #groups = new Map<string, IdentityRecord[]>();
  readonly #byName = new Map<string, string[]>();
  readonly #same: Pod[] = [];
  readonly #done = new Set<string>();

  constructor(resources: readonly Resource[], set: IdentitySet) {
    this.#accounts = accountLabels(resources, set);
    for (const record of set.records) {
      const key = contentKey(record);
      const group = this.#groups.get(key);
      if (group !== undefined) {
        group.push(record);
        continue;
      }
      this.#groups.set(key, [record]);
      const name = `${record.namespace}/${record.pod}`;
      const keys = this.#byName.get(name);
      if (keys === undefined) this.#byName.set(name, [key]);
      else keys.push(key);
    }
  }

  /** True if the set knows the pod, which then comes out of `all`, as it is if the set says the same. */
  takes(pod: Pod): boolean {
    const { namespace, name, uid } = pod.meta;
    const path = `${namespace}/${name}`;
    const keys = (this.#byName.get(path) ?? []).filter((key) => {
      const known = this.#groups.get(key)![0]!.uid;
      return uid === '' || known === path || known === uid;
    });
    if (keys.length === 0) return false;
    if (keys.length === 1) {
      const made = this.#make(this.#groups.get(keys[0]!)!);
      if (saysTheSame(pod, made)) {
        this.#same.push(pod);
        this.#done.add(keys[0]!);
      }
    }
    return true;
  }

  all(): Pod[] {
    const rest = [...this.#groups].filter(([key]) => !this.#done.has(key));
    rest.sort(([, [a]], [, [b]]) => comparePods(a!, b!));
    return [...this.#same, ...rest.map(([, records]) => this.#make(records))];
  }

  #make(records: readonly IdentityRecord[]): Pod {
    const first = records[0]!;
    const { namespace, pod, uid, serviceAccount, serviceAccountLabels, origin } = first;
    const ips = [...new Set(records.map(({ ip }) => ip))];
    const known = this.#accounts.get(`${namespace}/${serviceAccount}`);
    const isOther =
      serviceAccountLabels !== undefined && known !== undefined && !isSameMap(known, serviceAccountLabels);
    const isBounded = records.some(({ fromMs, toMs }) => Number.isFinite(fromMs) || Number.isFinite(toMs));
    return {
      kind: 'Pod',
      meta: {
        name: pod,
        namespace,
        uid: uid === `${namespace}/${pod}` ? '' : uid,
        labels: first.labels,
        annotations: first.annotations,
        origin,
      },
      nodeName: first.node === '' ? UNKNOWN_NODE : first.node,
      hostNetwork: false,
      serviceAccountName: serviceAccount,
      phase: 'Running',
      hasDeletionTimestamp: false,
      podIPs: ips,
      podIP: ips[0]!,
      containerPorts: first.ports,
      initContainerPorts: [],
      isSynthesised: false,
      ...(isBounded ? { spans: spansOf(records) } : {}),
      ...(isOther ? { accountLabels: serviceAccountLabels } : {}),
    };
  }
}

/** A pod without node would be no endpoint; its traffic is judged as on a node of its own. */
export const UNKNOWN_NODE = '(unknown node)';

function spansOf(records: readonly IdentityRecord[]): AddressSpan[] {
  return records.map(({ ip, fromMs, toMs }) => ({ ip, fromMs, toMs }));
}

/** Equal for records of one pod that policy cannot tell apart. */
function contentKey(record: IdentityRecord): string {
  const { namespace, pod, uid, serviceAccount, node, labels, ports, annotations, serviceAccountLabels } = record;
  const maps = [labels, annotations, serviceAccountLabels ?? NO_LABELS].map((map) =>
    map.size === 0 ? 0 : sortedObject(map),
  );
  return JSON.stringify([
    namespace,
    pod,
    uid,
    serviceAccount,
    node,
    ports.length === 0 ? 0 : ports.map(portObject),
    ...maps,
  ]);
}

function comparePods(a: IdentityRecord, b: IdentityRecord): number {
  const pathOf = ({ namespace, pod }: IdentityRecord): string => `${namespace}/${pod}`;
  if (pathOf(a) !== pathOf(b)) return pathOf(a) < pathOf(b) ? -1 : 1;
  return compareRecords(a, b);
}

function saysTheSame(pod: Pod, made: Pod): boolean {
  if (made.spans !== undefined || made.accountLabels !== undefined) return false;
  const ports = ({ containerPorts, initContainerPorts }: Pod): string =>
    JSON.stringify([...containerPorts, ...initContainerPorts].filter(({ name }) => name !== '').map(portObject));
  const addresses = (texts: readonly string[]): string => [...texts].sort().join();
  return (
    pod.nodeName === made.nodeName &&
    pod.serviceAccountName === made.serviceAccountName &&
    isSameMap(pod.meta.labels, made.meta.labels) &&
    isSameMap(keptAnnotations(pod.meta.annotations), made.meta.annotations) &&
    ports(pod) === ports(made) &&
    addresses(podAddressTexts(pod)) === addresses(made.podIPs)
  );
}

function isSameMap(a: StringMap, b: StringMap): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (b.get(key) !== value) return false;
  return true;
}

/** Labels of accounts by `namespace/name`: of the manifests, else of the set by itself, else of the account's last record. */
function accountLabels(resources: readonly Resource[], set: IdentitySet): ReadonlyMap<string, StringMap> {
  const labels = new Map(set.accounts);
  for (const { namespace, serviceAccount, serviceAccountLabels } of set.records) {
    const key = `${namespace}/${serviceAccount}`;
    if (serviceAccount !== '' && serviceAccountLabels !== undefined && !set.accounts.has(key))
      labels.set(key, serviceAccountLabels);
  }
  for (const resource of resources) {
    if (resource.kind === 'ServiceAccount')
      labels.set(`${resource.meta.namespace}/${resource.meta.name}`, resource.meta.labels);
  }
  return labels;
}

/** Accounts and namespaces that no manifest describes and the set has labels of. */
function missingOwners(resources: readonly Resource[], set: IdentitySet): Resource[] {
  const known = new Set(resources.map(({ kind, meta }) => `${kind}/${meta.namespace}/${meta.name}`));
  const made: Resource[] = [];
  const origins = new Map<string, Origin>();
  for (const { namespace, serviceAccount, origin } of set.records) {
    origins.set(namespace, origins.get(namespace) ?? origin);
    const account = `${namespace}/${serviceAccount}`;
    origins.set(account, origins.get(account) ?? origin);
  }
  const accounts = accountLabels([], set);
  for (const key of [...accounts.keys()].sort()) {
    if (known.has(`ServiceAccount/${key}`)) continue;
    const [namespace, name] = key.split('/') as [string, string];
    made.push({
      kind: 'ServiceAccount',
      meta: bareMeta(name, namespace, accounts.get(key)!, origins.get(key)),
      isSynthesised: false,
    } satisfies ServiceAccount);
  }
  const namespaces = new Map(set.namespaces);
  for (const { namespace, namespaceLabels } of set.records) {
    if (namespaceLabels !== undefined && !set.namespaces.has(namespace)) namespaces.set(namespace, namespaceLabels);
  }
  for (const name of [...namespaces.keys()].sort()) {
    if (known.has(`Namespace//${name}`)) continue;
    const labels = new Map(namespaces.get(name)).set('kubernetes.io/metadata.name', name);
    made.push({ kind: 'Namespace', meta: bareMeta(name, '', labels, origins.get(name)), isSynthesised: false });
  }
  return made;
}

const STORE: Origin = { file: '(identities)', line: 0 };

function bareMeta(name: string, namespace: string, labels: StringMap, origin = STORE): ObjectMeta {
  return { name, namespace, uid: '', labels, annotations: NO_LABELS, origin };
}
