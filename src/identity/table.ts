/**
 * The mapping that a reader holds: owners of addresses, and what the pods are.
 *
 * Changes are applied one at a time in the order of the log; a table that was read anew takes the place of the old one as a whole. Nothing here
 * trusts what it is given: `apply` refuses what does not parse and leaves the table as it was.
 */
import type { StringMap } from '../model/resources.ts';
import {
  type Change,
  checkPath,
  labelFields,
  type Owner,
  ownerValue,
  type PodDetails,
  parseFields,
  parseKeyAddress,
  parseLabels,
  parseOwner,
  parseOwners,
  parsePod,
  parseUid,
  podFields,
} from './keys.ts';
import { checkName, type IdentityRecord } from './record.ts';
import type { IdentitySet } from './store.ts';

export class IdentityTable {
  /** Owners by address, each uid once; never empty. A list is replaced, not changed. */
  readonly owners = new Map<string, readonly Owner[]>();
  /** By short uid. */
  readonly pods = new Map<string, PodDetails>();
  readonly accounts = new Map<string, StringMap>();
  readonly namespaces = new Map<string, StringMap>();

  /** Applies a change. Throws `Refusal`; the table is then unchanged. Signatures are no part of the table. */
  apply({ op, kind, key, value }: Change): void {
    if (kind === 'sig') return;
    if (kind === 'ep') this.#applyOwner(op, key, value);
    else if (kind === 'pod') {
      parseUid(key);
      if (op === 'del') this.pods.delete(key);
      else this.pods.set(key, parsePod(key, parseFields(value)));
    } else {
      checkLabelKey(kind, key);
      const map = kind === 'sa' ? this.accounts : this.namespaces;
      if (op === 'del') map.delete(key);
      else map.set(key, parseLabels(parseFields(value).labels));
    }
  }

  #applyOwner(op: 'set' | 'del', address: string, value: string): void {
    parseKeyAddress(address);
    const known = this.owners.get(address);
    const owner = op === 'set' ? parseOwner(value) : undefined;
    const uid = owner?.uid ?? parseUid(value);
    const left = known?.filter((each) => each.uid !== uid) ?? [];
    if (owner !== undefined) left.push(owner);
    if (left.length === 0) this.owners.delete(address);
    else this.owners.set(address, left);
  }

  /** Takes in a field of a bucket. Throws `Refusal`. */
  putOwners(address: string, text: string): void {
    parseKeyAddress(address);
    this.owners.set(address, parseOwners(text));
  }

  /** Takes in a hash of a pod, an account or a namespace. Throws `Refusal`. */
  putDetails(kind: 'pod' | 'sa' | 'ns', key: string, fields: Readonly<Record<string, unknown>>): void {
    if (kind === 'pod') {
      this.pods.set(parseUid(key), parsePod(key, fields));
      return;
    }
    checkLabelKey(kind, key);
    (kind === 'sa' ? this.accounts : this.namespaces).set(key, parseLabels(fields.labels));
  }

  /** All of it as the changes that make it, in an order in which they may be applied. */
  *changes(): Generator<Change> {
    for (const [key, labels] of this.namespaces)
      yield { op: 'set', kind: 'ns', key, value: JSON.stringify(labelFields(labels)) };
    for (const [key, labels] of this.accounts)
      yield { op: 'set', kind: 'sa', key, value: JSON.stringify(labelFields(labels)) };
    for (const [key, pod] of this.pods) yield { op: 'set', kind: 'pod', key, value: JSON.stringify(podFields(pod)) };
    for (const [key, owners] of this.owners) {
      for (const { account, uid } of owners) {
        yield { op: 'set', kind: 'ep', key, value: account === '' ? `*|${uid}` : ownerValue(account, uid) };
      }
    }
  }

  /** What a cluster looks like through this table; owners whose pod is not known are left out and counted. */
  toSet(name: string): IdentitySet & { readonly unknownPods: number } {
    const records: IdentityRecord[] = [];
    let unknownPods = 0;
    for (const [ip, owners] of this.owners) {
      for (const { uid } of owners) {
        const pod = this.pods.get(uid);
        if (pod === undefined) unknownPods++;
        else records.push(recordOf(ip, pod, this.accounts, this.namespaces, name));
      }
    }
    return { records, accounts: this.accounts, namespaces: this.namespaces, isWhole: true, unknownPods };
  }
}

function checkLabelKey(kind: 'sa' | 'ns', key: string): void {
  if (kind === 'sa') checkPath(key, 'sa');
  else checkName(key, 'ns');
}

function recordOf(
  ip: string,
  details: PodDetails,
  accounts: ReadonlyMap<string, StringMap>,
  namespaces: ReadonlyMap<string, StringMap>,
  name: string,
): IdentityRecord {
  const { pod, uid, node, account, labels, ports, annotations } = details;
  const slash = pod.indexOf('/');
  const namespace = pod.slice(0, slash);
  return {
    ip,
    namespace,
    pod: pod.slice(slash + 1),
    uid,
    node,
    serviceAccount: account.slice(account.indexOf('/') + 1),
    labels,
    ports,
    annotations,
    serviceAccountLabels: accounts.get(account),
    namespaceLabels: namespaces.get(namespace),
    fromMs: Number.NEGATIVE_INFINITY,
    toMs: Number.POSITIVE_INFINITY,
    origin: { file: name, line: 0 },
  };
}
