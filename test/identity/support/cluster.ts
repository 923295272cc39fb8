/** A made-up cluster that changes, as entries for a publisher, and readers and publishers with the machine's clock. */
import { randomUUID } from 'node:crypto';
import { type Entries, entriesOf, entryName } from '../../../src/identity/entries.ts';
import { IdentityPublisher, type PublisherOptions } from '../../../src/identity/publisher.ts';
import { IdentityReader, type ReaderOptions } from '../../../src/identity/reader.ts';
import { type IdentityRecord, parseRecord } from '../../../src/identity/record.ts';
import { SYSTEM_CLOCK } from '../../../src/identity/system-clock.ts';
import type { IdentityTable } from '../../../src/identity/table.ts';

export function recordOf(line: object): IdentityRecord {
  const parsed = parseRecord(line, { file: 'test', line: 1 });
  if ('refused' in parsed) throw new Error(parsed.refused);
  return parsed.value;
}

export function podLine(index: number, generation = 0): object {
  return {
    ip: `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`,
    namespace: `ns-${index % 7}`,
    pod: `pod-${index}-${generation}`,
    uid: `uid-${index}-${generation}`,
    service_account: `account-${index % 11}`,
    node: `node-${index % 50}`,
    labels: { app: `app-${index % 13}`, generation: String(generation) },
    ...(index % 5 === 0 ? { ports: [{ name: 'http', protocol: 'TCP', port: 8080 }] } : {}),
  };
}

export function setOf(lines: readonly object[]) {
  const records = lines.map(recordOf);
  const accounts = new Map(
    records.map((r) => [`${r.namespace}/${r.serviceAccount}`, new Map([['team', r.serviceAccount]])]),
  );
  const namespaces = new Map(records.map((r) => [r.namespace, new Map([['env', 'test']])]));
  return { records, accounts, namespaces, isWhole: false };
}

export function entriesOfPods(count: number, generationOf: (index: number) => number = () => 0): Entries {
  return entriesOf(setOf(Array.from({ length: count }, (_, i) => podLine(i, generationOf(i)))), 0);
}

/** A text that is equal for equal tables. */
export function textOfTable(table: IdentityTable): string {
  return [...table.changes()]
    .map((change) => `${entryName(change)} ${change.value}`)
    .sort()
    .join('\n');
}

export function textOfEntries(entries: Entries): string {
  return [...entries]
    .map(([name, { value }]) => `${name} ${value}`)
    .sort()
    .join('\n');
}

export function publisher(options: Pick<PublisherOptions, 'store'> & Partial<PublisherOptions>): IdentityPublisher {
  return new IdentityPublisher({ clock: SYSTEM_CLOCK, id: randomUUID(), newEpoch: randomUUID, ...options });
}

export function reader(options: Pick<ReaderOptions, 'store'> & Partial<ReaderOptions>): IdentityReader {
  return new IdentityReader({ clock: SYSTEM_CLOCK, ...options });
}
