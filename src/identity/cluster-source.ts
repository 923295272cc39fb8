/**
 * A cluster as it changes, as entries for a publisher: pods, accounts and namespaces come and go one by one or all at once.
 *
 * Nothing is published before every kind has been listed: half a cluster would be a wrong one.
 */
import type { Namespace, Pod, ServiceAccount } from '../model/resources.ts';
import { accountEntry, type Entry, entriesOfRecord, entryName, namespaceEntry } from './entries.ts';
import { identitiesOf } from './of-resources.ts';
import type { IdentityPublisher } from './publisher.ts';

export type ClusterObject = Pod | ServiceAccount | Namespace;

const KINDS = ['Pod', 'ServiceAccount', 'Namespace'] as const;

export class ClusterSource {
  readonly #publisher: IdentityPublisher;
  /** Entries by object: `kind namespace/name`. */
  readonly #objects = new Map<string, readonly Entry[]>();
  readonly #listed = new Set<string>();

  constructor(publisher: IdentityPublisher) {
    this.#publisher = publisher;
  }

  get isComplete(): boolean {
    return this.#listed.size === KINDS.length;
  }

  replace(kind: (typeof KINDS)[number], objects: readonly ClusterObject[]): void {
    const names = new Set(objects.map(nameOf));
    for (const name of [...this.#objects.keys()]) {
      if (name.startsWith(`${kind} `) && !names.has(name)) this.#put(name, []);
    }
    for (const object of objects) this.set(object);
    if (this.isComplete) return;
    this.#listed.add(kind);
    if (!this.isComplete) return;
    const all = [...this.#objects.values()].flat();
    this.#publisher.replace(new Map(all.map((entry) => [entryName(entry), entry])));
  }

  set(object: ClusterObject): void {
    this.#put(nameOf(object), entriesOf(object));
  }

  remove(object: ClusterObject): void {
    this.#put(nameOf(object), []);
  }

  #put(name: string, entries: readonly Entry[]): void {
    const before = this.#objects.get(name) ?? [];
    if (entries.length === 0) this.#objects.delete(name);
    else this.#objects.set(name, entries);
    if (!this.isComplete) return;
    for (const entry of entries) this.#publisher.put(entry);
    const names = new Set(entries.map(entryName));
    // Addresses before the pod that they name.
    for (const entry of [...before].reverse())
      if (!names.has(entryName(entry))) this.#publisher.remove(entryName(entry));
  }
}

function nameOf({ kind, meta }: ClusterObject): string {
  return `${kind} ${meta.namespace}/${meta.name}`;
}

function entriesOf(object: ClusterObject): readonly Entry[] {
  const { namespace, name, labels } = object.meta;
  if (object.kind === 'ServiceAccount') return [accountEntry(`${namespace}/${name}`, labels)];
  if (object.kind === 'Namespace') return [namespaceEntry(name, labels)];
  const { records } = identitiesOf({ pods: [object], serviceAccounts: [], namespaces: [] });
  // The pod's entry is the same for all its addresses.
  return [...new Map(records.flatMap(entriesOfRecord).map((entry) => [entryName(entry), entry])).values()];
}
