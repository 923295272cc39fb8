/**
 * The publisher: makes the store look like its source, and keeps it so.
 *
 *   source ──► wanted ──┐
 *                       ├─► differences ──► batches ──► store
 *   store ──► published ┘
 *
 * One publisher writes at a time: it holds the lead by a lease, and each take-over raises the fence, so that a stale one that wakes after its lease is
 * refused by its number. A batch also names the epoch and the revision that it expects, so that a write of anyone else, and writes that the server
 * lost, show at the next batch.
 *
 * After every failure and refusal, and each minute, `published` is read back from the store: an answer that did not come says nothing about the
 * write. What is missing, damaged, half written or older than what was acknowledged is begun anew under a new epoch, in state `building`,
 * which readers do not take before it is complete.
 */
import { changesBetween, type Entries, type Entry, entryName } from './entries.ts';
import { type Change, type Meta, parseMeta } from './keys.ts';
import { Refusal } from './record.ts';
import type { Batch, Clock, Refused, WritableStore, WriteAnswer } from './shared-store.ts';
import type { Signer } from './sign.ts';
import { readSnapshot } from './snapshot.ts';
import type { IdentityTable } from './table.ts';

/** Changes in one batch: half a millisecond of the server's time. */
const BATCH_CHANGES = 50;
/** Batches in one round. */
const ROUND_BATCHES = 16;
const LEASE_MS = 10_000;
/** How often the lease is kept and the data set looked at, at most. */
const LOOK_MS = 1_000;
const RECONCILE_MS = 60_000;
const RETRY_MS = 50;
const RETRY_MS_MAX = 2_000;
/** Longest wait while nothing is to do, so that the lease is kept. */
const IDLE_MS = 250;

/** Why a data set was begun anew. */
export const REBUILD_CAUSES = ['missing', 'unfinished', 'damaged', 'lost'] as const;
export type RebuildCause = (typeof REBUILD_CAUSES)[number];

/** A key that holds another type than ours. */
export class WrongTypeError extends Error {
  override readonly name = 'WrongTypeError';
}

export interface PublisherOptions {
  readonly store: WritableStore;
  readonly clock: Clock;
  /** Unique among publishers. */
  readonly id: string;
  readonly newEpoch: () => string;
  readonly signer?: Signer | undefined;
  readonly onTrouble?: (trouble: string) => void;
  readonly leaseMs?: number;
  readonly reconcileMs?: number;
}

export class IdentityPublisher {
  isLeader = false;
  epoch = '';
  rev = 0;
  batches = 0;
  changes = 0;
  takeOvers = 0;
  readonly rebuilds: Record<RebuildCause, number> = { missing: 0, unfinished: 0, damaged: 0, lost: 0 };
  readonly refusals: Record<Refused, number> = { epoch: 0, fence: 0, rev: 0, type: 0 };
  readonly #options: PublisherOptions;
  readonly #wanted: Entries = new Map();
  #published: Entries = new Map();
  /** Names of entries that may differ, in the order in which they are to be written. */
  #dirty = new Set<string>();
  #hasSource = false;
  #isLoaded = false;
  /** Why what is there must not be built upon. */
  #doubt: RebuildCause | undefined;
  #fence = 0;
  #leadDueMs = 0;
  #reconcileDueMs = Number.POSITIVE_INFINITY;
  #failures = 0;
  #trouble = '';
  #isStopped = false;
  #wake: () => void = () => {};

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** True if the store has all that is wanted, as far as is known. */
  get isSettled(): boolean {
    return this.isLeader && this.#hasSource && this.#isLoaded && this.#dirty.size === 0;
  }

  /** What the source says now, as a whole. */
  replace(entries: ReadonlyMap<string, Entry>): void {
    // Without knowing what is published, all is compared when that has been read.
    if (this.#isLoaded)
      for (const change of changesBetween(this.#wanted, entries)) this.#dirty.add(nameOfChange(change));
    this.#wanted.clear();
    for (const [name, entry] of entries) this.#wanted.set(name, entry);
    this.#hasSource = true;
    this.#wake();
  }

  /** An entry of the source is new or another. */
  put(entry: Entry): void {
    const name = entryName(entry);
    if (this.#wanted.get(name)?.value === entry.value) return;
    this.#wanted.set(name, entry);
    this.#mark(name);
  }

  /** An entry of the source is gone. */
  remove(name: string): void {
    if (this.#wanted.delete(name)) this.#mark(name);
  }

  #mark(name: string): void {
    // Last changed, last written.
    this.#dirty.delete(name);
    this.#dirty.add(name);
    this.#wake();
  }

  /** Publishes until `stop`. Never rejects: trouble is told and tried again. */
  async run(): Promise<void> {
    while (!this.#isStopped) await this.tryStep();
    await this.resign();
  }

  /** Lets another publisher lead at once. */
  async resign(): Promise<void> {
    this.isLeader = false;
    this.#leadDueMs = 0;
    await this.#options.store.resign(this.#options.id).catch(() => {});
  }

  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  /** One step; after a failure it waits a while. False if it failed. */
  async tryStep(): Promise<boolean> {
    try {
      await this.step();
      this.#failures = 0;
      return true;
    } catch (error) {
      if (error instanceof WrongTypeError) this.#doubt = 'damaged';
      this.#isLoaded = false;
      this.#leadDueMs = 0;
      this.#tell(error instanceof Error ? error.message : String(error));
      await this.#pause();
      return false;
    }
  }

  /** Keeps the lead, then reads back what is there, writes a batch, or waits. */
  async step(): Promise<void> {
    const { clock } = this.#options;
    if (clock.now() >= this.#leadDueMs) await this.#keepLead();
    if (!this.isLeader || !this.#hasSource) return this.#idle();
    if (!this.#isLoaded || clock.now() >= this.#reconcileDueMs) return this.#load();
    if (this.#dirty.size > 0) return this.#writeSome();
    return this.#idle();
  }

  async #keepLead(): Promise<void> {
    const { store, clock, id, leaseMs = LEASE_MS } = this.#options;
    const { isLeader, fence, epoch, rev } = await store.lead(id, leaseMs);
    if (isLeader && (!this.isLeader || fence !== this.#fence)) {
      this.#isLoaded = false;
      this.takeOvers++;
    }
    // A server that lost everything counts its fences anew, and may have come to the same number.
    if (epoch !== this.epoch || rev !== String(this.rev)) this.#isLoaded = false;
    this.isLeader = isLeader;
    this.#fence = fence;
    this.#leadDueMs = clock.now() + Math.min(LOOK_MS, leaseMs / 3);
  }

  /** Reads what is published and finds what differs. */
  async #load(): Promise<void> {
    const { clock, reconcileMs = RECONCILE_MS } = this.#options;
    const found = await this.#inspect();
    if (typeof found === 'string') {
      await this.#rebuild(found);
    } else {
      this.#adopt(found.table);
      this.epoch = found.meta.epoch;
      this.rev = found.meta.rev;
    }
    this.#isLoaded = true;
    this.#reconcileDueMs = clock.now() + reconcileMs * (0.9 + clock.random() / 5);
  }

  async #inspect(): Promise<{ readonly table: IdentityTable; readonly meta: Meta } | RebuildCause> {
    const { store } = this.#options;
    if (this.#doubt !== undefined) return this.#doubt;
    try {
      const meta = parseMeta((await store.meta()).fields);
      if (meta === undefined) return 'missing';
      if (!meta.isReady) return 'unfinished';
      if (meta.epoch === this.epoch && meta.rev < this.rev) return 'lost';
      const snapshot = await readSnapshot(store);
      if (typeof snapshot === 'string') throw new Error(`what is published could not be read: ${snapshot}`);
      if (snapshot.refused > 0) {
        this.#tell(`damaged: ${[...snapshot.reasons].join('; ')}`);
        return 'damaged';
      }
      return snapshot;
    } catch (error) {
      if (error instanceof Refusal || error instanceof WrongTypeError) {
        this.#tell(`damaged: ${error.message}`);
        return 'damaged';
      }
      throw error;
    }
  }

  #adopt(table: IdentityTable): void {
    this.#published = new Map();
    for (const change of table.changes()) this.#published.set(entryName(change), change as Entry);
    this.#options.signer?.restart(this.#published.values());
    this.#dirty = new Set(changesBetween(this.#published, this.#wanted).map(nameOfChange));
  }

  /** Begins a data set anew and writes all of it. */
  async #rebuild(cause: RebuildCause): Promise<void> {
    const { store, newEpoch, signer } = this.#options;
    this.rebuilds[cause]++;
    this.#tell(`begins anew: ${REBUILD_TEXTS[cause]}`);
    const epoch = newEpoch();
    this.#take(await store.begin(epoch, this.#fence));
    this.epoch = epoch;
    this.rev = 0;
    this.#published = new Map();
    signer?.restart([]);
    this.#dirty = new Set(changesBetween(this.#published, this.#wanted).map(nameOfChange));
    while (this.#dirty.size > 0) {
      if (this.#options.clock.now() >= this.#leadDueMs) await this.#keepLead();
      if (!this.isLeader) throw new Error('another publisher took over');
      await this.#writeSome();
    }
    this.#take(await store.ready(epoch, this.#fence));
    this.#doubt = undefined;
  }

  /** One round of batches, of what has been waiting longest. */
  async #writeSome(): Promise<void> {
    const rounds: { readonly names: readonly string[]; readonly wanted: ReadonlyMap<string, Entry> }[] = [];
    const batches: Batch[] = [];
    let names: string[] = [];
    let rev = this.rev;
    for (const name of this.#dirty) {
      names.push(name);
      if (names.length < BATCH_CHANGES) continue;
      rev = this.#addBatch(names, rev, rounds, batches);
      names = [];
      if (rounds.length >= ROUND_BATCHES) break;
    }
    if (names.length > 0) this.#addBatch(names, rev, rounds, batches);
    const written = batches.filter(({ changes }) => changes.length > 0);
    const answers = written.length === 0 ? [] : await this.#options.store.write(written);
    answers.forEach((answer, i) => {
      this.rev = this.#take(answer);
      this.batches++;
      this.changes += written[i]!.changes.length;
      if (this.rev !== written[i]!.rev + written[i]!.changes.length)
        throw new Error('what was published was not what is there');
    });
    for (const { names: done, wanted } of rounds) this.#settle(done, wanted);
    this.#trouble = '';
  }

  /** The batch that brings the named entries up to date; the revision after it. */
  #addBatch(
    names: readonly string[],
    rev: number,
    rounds: { readonly names: readonly string[]; readonly wanted: ReadonlyMap<string, Entry> }[],
    batches: Batch[],
  ): number {
    const published = new Map<string, Entry>();
    const wanted = new Map<string, Entry>();
    for (const name of names) {
      const [before, after] = [this.#published.get(name), this.#wanted.get(name)];
      if (before !== undefined) published.set(name, before);
      if (after !== undefined) wanted.set(name, after);
    }
    const changes = changesBetween(published, wanted);
    if (changes.length > 0)
      changes.push(...(this.#options.signer?.sign(this.epoch, changes, rev + changes.length) ?? []));
    rounds.push({ names, wanted });
    batches.push({ epoch: this.epoch, fence: this.#fence, rev, changes });
    return rev + changes.length;
  }

  /** What was written is published. */
  #settle(names: readonly string[], wanted: ReadonlyMap<string, Entry>): void {
    for (const name of names) {
      const after = wanted.get(name);
      if (after === undefined) this.#published.delete(name);
      else this.#published.set(name, after);
      // The source may have changed it again meanwhile.
      if (this.#wanted.get(name) === after) this.#dirty.delete(name);
    }
  }

  /** The revision of an answer. Throws for a refusal, after which everything is read back. */
  #take(answer: WriteAnswer): number {
    if ('rev' in answer) return answer.rev;
    this.refusals[answer.refused]++;
    if (answer.refused === 'type') this.#doubt = 'damaged';
    if (answer.refused === 'fence') this.isLeader = false;
    throw new Error(REFUSED_TEXTS[answer.refused]);
  }

  async #idle(): Promise<void> {
    const { clock } = this.#options;
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    const untilLead = Math.max(1, this.#leadDueMs - clock.now());
    await Promise.race([woken, clock.sleep(Math.min(IDLE_MS, untilLead))]);
  }

  #tell(trouble: string): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#options.onTrouble?.(trouble);
  }

  async #pause(): Promise<void> {
    const { clock } = this.#options;
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** Math.min(10, this.#failures++));
    await clock.sleep(longest * (0.5 + clock.random() / 2));
  }
}

function nameOfChange(change: Change): string {
  if (change.op === 'del' && change.kind === 'ep') return `ep ${change.key} ${change.value}`;
  return entryName(change);
}

const REBUILD_TEXTS: Readonly<Record<RebuildCause, string>> = {
  missing: 'the store holds no identities of this cluster',
  unfinished: 'another publisher did not finish',
  damaged: 'what is there is not what a publisher wrote',
  lost: 'the store lost changes that it had acknowledged',
};

const REFUSED_TEXTS: Readonly<Record<Refused, string>> = {
  epoch: 'refused: the data set is another one',
  fence: 'refused: another publisher took over',
  rev: 'refused: someone else wrote, or writes were lost',
  type: 'refused: a key holds another type',
};
