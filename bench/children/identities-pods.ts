/** Pods of the identity bench: 1 000 kinds on 100 nodes, a hundred of each kind per 100 000. */
import { type Entries, entriesOf } from '../../src/identity/entries.ts';
import type { IdentityRecord } from '../../src/identity/record.ts';

const ALWAYS = { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };
const labels = Array.from(
  { length: 1_000 },
  (_, i) =>
    new Map([
      ['app', `app-${i}`],
      ['pod-template-hash', `${(i * 2_654_435_761) >>> 0}`],
    ]),
);

export function benchPod(index: number, generation: string): IdentityRecord {
  const kind = index % 1_000;
  const suffix = generation === '' ? '0' : generation;
  return {
    ip: `10.${64 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
    namespace: `team-${kind % 40}`,
    pod: `app-${kind}-${index}-${suffix}`,
    uid: `00000000-0000-4000-8000-${String(index).padStart(6, '0')}-${suffix}`,
    serviceAccount: `account-${kind % 200}`,
    node: `node-${kind % 100}`,
    labels: labels[kind]!,
    ports: [],
    annotations: new Map(),
    serviceAccountLabels: undefined,
    namespaceLabels: undefined,
    ...ALWAYS,
    origin: { file: 'bench', line: 0 },
  };
}

export function benchEntries(pods: number): Entries {
  const records = Array.from({ length: pods }, (_, i) => benchPod(i, ''));
  const accounts = new Map(
    records.slice(0, 1_000).map((r) => [`${r.namespace}/${r.serviceAccount}`, new Map([['team', r.namespace]])]),
  );
  const namespaces = new Map(records.slice(0, 40).map((r) => [r.namespace, new Map([['env', 'bench']])]));
  return entriesOf({ records, accounts, namespaces, isWhole: true }, 0);
}
