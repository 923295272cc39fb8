/**
 * A whole reading of the store.
 *
 * Reading takes a while and the publisher does not wait, so the parts are of different moments. Revisions heal that: first the revision is noted, then
 * everything is read, then the log since the noted revision is applied over it up to a revision that is later than all reading. Setting or
 * deleting an entry twice is the same as once, so the result is exactly the state at that last revision:
 *
 *   rev 10 │ read buckets … (11: set A, 12: set B, 13: del A happen) … │ meta says 13 │ apply 11, 12, 13 ─► state 13
 */
import { BUCKETS, bucketOf, type Change, entryRev, type Meta, parseChange, parseMeta } from './keys.ts';
import { Refusal } from './record.ts';
import type { ReadableStore } from './shared-store.ts';
import { IdentityTable } from './table.ts';

/** Buckets in one pipeline: no single answer keeps the server long. */
const BUCKETS_AT_ONCE = 16;

export interface Snapshot {
  readonly meta: Meta;
  readonly runId: string;
  readonly table: IdentityTable;
  /** Values that were refused, with one of the reasons for each kind. */
  readonly refused: number;
  readonly reasons: ReadonlySet<string>;
  readonly signatures: Readonly<Record<string, string>>;
}

/** Why there is no snapshot: nothing was published, it is not complete, or it changed under the reading. */
export type NoSnapshot = 'missing' | 'building' | 'changed';

/**
 * Reads all. Throws what the store throws, and `Refusal` for a meta that can't be read.
 *
 * @param last  the table that is in use: a value that is refused keeps what it said before
 */
export async function readSnapshot(store: ReadableStore, last?: IdentityTable): Promise<Snapshot | NoSnapshot> {
  const first = await store.meta();
  const before = parseMeta(first.fields);
  if (before === undefined) return 'missing';
  if (!before.isReady) return 'building';
  const reading = new Reading(last);
  // Side by side: while one answer is read, the server works on another.
  await Promise.all([
    readBuckets(store, reading),
    store.details((details) => {
      for (const { kind, key, fields } of details) reading.details(kind, key, fields);
    }),
  ]);
  const signatures = { ...(await store.signatures()) };
  const second = await store.meta();
  const after = parseMeta(second.fields);
  if (after?.epoch !== before.epoch || !after.isReady || second.runId !== first.runId) return 'changed';
  const rev = await replayLog(store, before.epoch, before.rev, after.rev, reading, signatures);
  if (rev === undefined) return 'changed';
  const { table, refused, reasons } = reading;
  return { meta: { ...after, rev }, runId: first.runId, table, refused, reasons, signatures };
}

async function readBuckets(store: ReadableStore, reading: Reading): Promise<void> {
  for (let bucket = 0; bucket < BUCKETS; bucket += BUCKETS_AT_ONCE) {
    const read = await store.buckets(bucket, Math.min(BUCKETS_AT_ONCE, BUCKETS - bucket));
    read.forEach((fields, i) => {
      reading.bucket(bucket + i, fields);
    });
  }
}

/** Applies the log after `from` up to at least `to`; the revision reached, or `undefined` if entries are missing. */
async function replayLog(
  store: ReadableStore,
  epoch: string,
  from: number,
  to: number,
  reading: Reading,
  signatures: Record<string, string>,
): Promise<number | undefined> {
  let rev = from;
  while (rev < to) {
    const entries = await store.follow(rev, 1);
    if (entries.length === 0) return undefined;
    for (const { id, fields } of entries) {
      if (entryRev(id) !== rev + 1 || fields.epoch !== epoch) return undefined;
      rev++;
      const change = reading.change(fields);
      if (change?.kind === 'sig') signatures[change.key] = change.value;
    }
  }
  return rev;
}

class Reading {
  readonly table = new IdentityTable();
  readonly reasons = new Set<string>();
  refused = 0;
  readonly #last: IdentityTable | undefined;

  constructor(last: IdentityTable | undefined) {
    this.#last = last;
  }

  bucket(bucket: number, fields: Readonly<Record<string, string>>): void {
    for (const [address, value] of Object.entries(fields)) {
      this.#take(
        () => {
          if (bucketOf(address) !== bucket) throw new Refusal('an address in the bucket of others');
          this.table.putOwners(address, value);
        },
        () => {
          const known = this.#last?.owners.get(address);
          if (known !== undefined) this.table.owners.set(address, known);
        },
      );
    }
  }

  details(kind: 'pod' | 'sa' | 'ns', key: string, fields: Readonly<Record<string, string>>): void {
    this.#take(
      () => this.table.putDetails(kind, key, fields),
      () => this.#keep(kind, key),
    );
  }

  #keep(kind: 'pod' | 'sa' | 'ns', key: string): void {
    const { table } = this;
    const last = this.#last;
    if (last === undefined) return;
    const copy = <T>(to: Map<string, T>, from: ReadonlyMap<string, T>): void => {
      if (from.has(key)) to.set(key, from.get(key)!);
    };
    if (kind === 'pod') copy(table.pods, last.pods);
    else if (kind === 'sa') copy(table.accounts, last.accounts);
    else copy(table.namespaces, last.namespaces);
  }

  change(fields: Readonly<Record<string, unknown>>): Change | undefined {
    let change: Change | undefined;
    this.#take(
      () => {
        change = parseChange(fields);
        this.table.apply(change);
      },
      () => {},
    );
    return change;
  }

  #take(take: () => void, refuse: () => void): void {
    try {
      take();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.refused++;
      if (this.reasons.size < 16) this.reasons.add(error.message);
      refuse();
    }
  }
}
