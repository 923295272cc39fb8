/**
 * What a cluster ought to look like in Redis, entry by entry, and the changes that lead there.
 *
 * An entry has a name (`kind key`, for an owner also the short uid: each owner of an address is an entry of its own) and a value. What is
 * published is compared entry by entry, so that a change of one pod is a handful of entries whatever the size of the cluster.
 */
import { type Change, type Kind, labelFields, ownerValue, podFields, shortUid } from './keys.ts';
import type { IdentityRecord } from './record.ts';
import type { IdentitySet } from './store.ts';

/** The change that would set the entry. */
export type Entry = Change & { readonly op: 'set' };
/** Entries by name. */
export type Entries = Map<string, Entry>;

export function entryName({ kind, key, value }: Change): string {
  return kind === 'ep' ? `ep ${key} ${value.slice(value.lastIndexOf('|') + 1)}` : `${kind} ${key}`;
}

/** The change that takes an entry away: an owner by its uid alone. */
function deletion({ kind, key, value }: Entry): Change {
  return { op: 'del', kind, key, value: kind === 'ep' ? value.slice(value.lastIndexOf('|') + 1) : '' };
}

function entry(kind: Kind, key: string, value: string): Entry {
  return { op: 'set', kind, key, value };
}

/** The entries of one ownership. */
export function entriesOfRecord(record: IdentityRecord): Entry[] {
  const { ip, namespace, pod, uid, node, serviceAccount, labels, ports, annotations } = record;
  const account = `${namespace}/${serviceAccount}`;
  const short = shortUid(uid);
  const details = { pod: `${namespace}/${pod}`, uid, node, account, labels, ports, annotations };
  return [entry('pod', short, JSON.stringify(podFields(details))), entry('ep', ip, ownerValue(account, short))];
}

export function accountEntry(
  path: string,
  labels: IdentitySet['accounts'] extends ReadonlyMap<string, infer M> ? M : never,
): Entry {
  return entry('sa', path, JSON.stringify(labelFields(labels)));
}

export function namespaceEntry(
  name: string,
  labels: IdentitySet['namespaces'] extends ReadonlyMap<string, infer M> ? M : never,
): Entry {
  return entry('ns', name, JSON.stringify(labelFields(labels)));
}

/** All entries of a set at one moment: Redis holds the present alone. */
export function entriesOf(set: IdentitySet, atMs: number): Entries {
  const entries: Entries = new Map();
  const put = (each: Entry): void => void entries.set(entryName(each), each);
  for (const [name, labels] of set.namespaces) put(namespaceEntry(name, labels));
  for (const [path, labels] of set.accounts) put(accountEntry(path, labels));
  for (const record of set.records) {
    if (record.fromMs <= atMs && atMs < record.toMs) for (const each of entriesOfRecord(record)) put(each);
  }
  return entries;
}

const SET_ORDER: Readonly<Record<Kind, number>> = { ns: 0, sa: 1, pod: 2, ep: 3, sig: 4 };

/** Changes from `published` to `wanted`, so ordered that no owner is there without its pod, and no pod without its account. */
export function changesBetween(published: ReadonlyMap<string, Entry>, wanted: ReadonlyMap<string, Entry>): Change[] {
  const sets: Change[] = [];
  const deletions: Change[] = [];
  for (const [name, each] of wanted) if (published.get(name)?.value !== each.value) sets.push(each);
  for (const [name, each] of published) if (!wanted.has(name)) deletions.push(deletion(each));
  return inOrder([...sets, ...deletions]);
}

/** Sets from namespaces down to addresses, then deletions from addresses up to namespaces. */
function inOrder(changes: readonly Change[]): Change[] {
  const rank = ({ op, kind }: Change): number => (op === 'set' ? SET_ORDER[kind] : 10 - SET_ORDER[kind]);
  return [...changes].sort((a, b) => rank(a) - rank(b));
}
