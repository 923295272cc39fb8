/**
 * The reader: a table that follows the store, and is never worse than the last good one.
 *
 *   snapshot ──► follow the log, entry by entry ──► an entry is missing, the epoch or server is another, … ──► snapshot
 *
 * Redis reports neither lost data nor a trimmed stream nor that it is another server now, so the reader asks: an entry must be of the same epoch and
 * exactly one revision after the last; epoch, run id and revision are compared at each reconnect and each time that nothing came for a second. Whatever is wrong leads to a
 * new snapshot, counted by its cause. Until that is there, and complete, the table in use stays as it is: an empty, half written or
 * unreachable Redis never empties it.
 *
 * With a key (sign.ts) changes are held back until the signature of their bucket has come and fits.
 */
import { type Change, entryRev, type Meta, parseChange, parseMeta, type RawEntry } from './keys.ts';
import { Refusal } from './record.ts';
import type { Clock, ReadableStore } from './shared-store.ts';
import type { SignatureCheck } from './sign.ts';
import { type NoSnapshot, readSnapshot } from './snapshot.ts';
import { IdentityTable } from './table.ts';

/** Why a table was read anew; `start` is the first. */
export const RESYNC_CAUSES = ['start', 'gap', 'epoch', 'server', 'behind', 'trimmed', 'refused'] as const;
export type ResyncCause = (typeof RESYNC_CAUSES)[number];

export interface ReaderOptions {
  readonly store: ReadableStore;
  readonly clock: Clock;
  /** Called after each change that was applied, and with `undefined` when the whole table was replaced. */
  readonly onChange?: (change: Change | undefined) => void;
  /** Called with what keeps the reader from its work, in one line; not for each retry. */
  readonly onTrouble?: (trouble: string) => void;
  readonly blockMs?: number;
  readonly signatures?: SignatureCheck | undefined;
}

/** How long to wait after the first failure; doubled with each further one up to the longest, and half of it by chance. */
const RETRY_MS = 50;
const RETRY_MS_MAX = 2_000;

export class IdentityReader {
  /** The table in use; empty until the first snapshot. Replaced as a whole, changed in place by single entries. */
  table = new IdentityTable();
  epoch = '';
  rev = 0;
  isSynced = false;
  /** The moment of the clock when the store last confirmed the table; minus infinity before the first. */
  confirmedMs = Number.NEGATIVE_INFINITY;
  /** Revisions behind, when last asked. */
  lag = 0;
  refused = 0;
  readonly resyncs: Record<ResyncCause, number> = {
    start: 0,
    gap: 0,
    epoch: 0,
    server: 0,
    behind: 0,
    trimmed: 0,
    refused: 0,
  };
  readonly #options: ReaderOptions;
  #runId = '';
  #connections = -1;
  #cause: ResyncCause = 'start';
  #failures = 0;
  #trouble = '';
  #isStopped = false;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  /** How old what the table says may be. */
  ageMs(): number {
    return this.#options.clock.now() - this.confirmedMs;
  }

  /** Follows the store until `stop`. Never rejects: trouble is told and tried again. */
  async run(): Promise<void> {
    while (!this.#isStopped) {
      try {
        await this.step();
        this.#failures = 0;
      } catch (error) {
        if (this.#isStopped) return;
        this.#tell(error instanceof Error ? error.message : String(error));
        await this.#pause();
      }
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** One reading of the log, or a snapshot where one is due. */
  async step(): Promise<void> {
    const { store } = this.#options;
    if (!this.isSynced) return this.#resync();
    if (store.connections !== this.#connections) {
      const connections = store.connections;
      await this.#compare(false);
      this.#connections = connections;
      return;
    }
    const entries = await store.follow(this.rev, this.#options.blockMs ?? 1_000);
    if (entries.length === 0) return this.#compare(true);
    for (const entry of entries) if (!this.#take(entry)) return;
    // Another server may have answered a connection that was made anew meanwhile.
    if (store.connections === this.#connections) this.confirmedMs = this.#options.clock.now();
  }

  /** Takes a log entry; false if a snapshot is due. */
  #take({ id, fields }: RawEntry): boolean {
    let change: Change | undefined;
    try {
      if (fields.epoch !== this.epoch) return this.#ask('epoch');
      if (entryRev(id) !== this.rev + 1) return this.#ask('gap');
      change = parseChange(fields);
      if (this.#options.signatures === undefined) this.table.apply(change);
      else this.#options.signatures.take(this.table, this.epoch, change, (each) => this.#options.onChange?.(each));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (change === undefined && !/^\d+-0$/.test(id)) return this.#ask('gap');
      this.#refuse(error.message);
      change = undefined;
    }
    this.rev++;
    if (change !== undefined && this.#options.signatures === undefined) this.#options.onChange?.(change);
    return true;
  }

  #refuse(reason: string): void {
    this.refused++;
    this.#tell(`refused: ${reason}`);
  }

  #ask(cause: ResyncCause): false {
    this.isSynced = false;
    this.#cause = cause;
    return false;
  }

  /** Compares epoch, run id and revision with the store's. */
  async #compare(isIdle: boolean): Promise<void> {
    const { store, clock } = this.#options;
    const { fields, runId } = await store.meta();
    const meta = parseMeta(fields);
    if (meta === undefined || !meta.isReady) {
      // Lost, or under construction: what is known stays, and is read anew when it is complete.
      this.#ask(meta !== undefined && meta.epoch !== this.epoch ? 'epoch' : 'server');
      throw new Error(meta === undefined ? NOTHING_THERE : UNDER_CONSTRUCTION);
    }
    if (meta.epoch !== this.epoch) return void this.#ask('epoch');
    if (runId !== this.#runId) return void this.#ask('server');
    if (meta.rev < this.rev) return void this.#ask('behind');
    this.lag = meta.rev - this.rev;
    if (meta.rev > this.rev && isIdle) {
      // Something was written and does not come: it may have been written since, or be gone from the log.
      if ((await store.follow(this.rev, 1)).length === 0) return void this.#ask('trimmed');
      return;
    }
    this.confirmedMs = clock.now();
  }

  async #resync(): Promise<void> {
    const { store, clock, signatures, onChange } = this.#options;
    const connections = store.connections;
    const snapshot = await readSnapshot(store, this.resyncs.start === 0 ? undefined : this.table);
    if (typeof snapshot === 'string') throw new Error(WHY_NOT[snapshot]);
    if (store.connections !== connections) throw new Error('the connection was made anew while the table was read');
    if (signatures !== undefined) {
      const wrong = signatures.start(snapshot.table, snapshot.meta.epoch, snapshot.signatures);
      if (wrong !== undefined) {
        this.#refuse(wrong);
        throw new Error(`the table was not taken: ${wrong}`);
      }
    }
    this.refused += snapshot.refused;
    for (const reason of snapshot.reasons) this.#tell(`refused: ${reason}`);
    this.table = snapshot.table;
    this.#settle(snapshot.meta, snapshot.runId, connections);
    this.resyncs[this.#cause]++;
    this.confirmedMs = clock.now();
    this.#trouble = '';
    onChange?.(undefined);
  }

  #settle(meta: Meta, runId: string, connections: number): void {
    this.epoch = meta.epoch;
    this.rev = meta.rev;
    this.lag = 0;
    this.#runId = runId;
    this.#connections = connections;
    this.isSynced = true;
  }

  #tell(trouble: string): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#options.onTrouble?.(trouble);
  }

  async #pause(): Promise<void> {
    const { clock } = this.#options;
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** this.#failures++);
    await clock.sleep(longest * (0.5 + clock.random() / 2));
  }
}

const NOTHING_THERE = 'the store holds no identities of this cluster: is margay identities publish running?';
const UNDER_CONSTRUCTION = 'the publisher is still writing; the table is taken when it is complete';
const WHY_NOT: Readonly<Record<NoSnapshot, string>> = {
  missing: NOTHING_THERE,
  building: UNDER_CONSTRUCTION,
  changed: 'the data changed hands while it was read; it is read again',
};
