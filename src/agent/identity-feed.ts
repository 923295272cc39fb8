/**
 * Owners of addresses from Redis, for the plane: the table that follows the store (identity/reader.ts), laid over the objects that are compiled.
 *
 * While Redis is away the last good table stays; how old it is, is told.
 */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Change } from '../identity/keys.ts';
import { overlayTable } from '../identity/of-table.ts';
import { signatureCheck } from '../identity/once.ts';
import { IdentityReader } from '../identity/reader.ts';
import { RedisStore } from '../identity/redis.ts';
import { redisConfig } from '../identity/redis-config.ts';
import { SYSTEM_CLOCK } from '../identity/system-clock.ts';
import { IdentityTable } from '../identity/table.ts';
import type { Resources } from '../model/resources.ts';
import type { IdentityStatus, PlaneOptions } from './plane-messages.ts';

/** How often is told what was applied, and how long that is believed. */
const REPORT_MS = 5_000;
const REPORT_EXPIRY_MS = 30_000;

export interface FeedEvents {
  /** A change that was applied; undefined: the table was replaced. */
  readonly onChange: (change: Change | undefined) => void;
  readonly onTrouble: (trouble: string) => void;
}

export class IdentityFeed {
  readonly #reader: IdentityReader;
  readonly #store: RedisStore;
  readonly #name: string;
  readonly #running: Promise<void>;
  readonly #reporting: NodeJS.Timeout;
  readonly #startedMs = SYSTEM_CLOCK.now();
  #trouble: string | undefined;

  private constructor(store: RedisStore, name: string, options: PlaneOptions, events: FeedEvents) {
    this.#store = store;
    this.#name = name;
    const pem = options.verifyKey === undefined ? undefined : readFileSync(options.verifyKey, 'utf8');
    this.#reader = new IdentityReader({
      store,
      clock: SYSTEM_CLOCK,
      blockMs: 1_000,
      signatures: signatureCheck(pem),
      onTrouble: (trouble) => {
        this.#trouble = trouble;
        events.onTrouble(trouble);
      },
      onChange: events.onChange,
    });
    this.#running = this.#reader.run();
    const node = options.node ?? hostname();
    this.#reporting = setInterval(() => {
      const { isSynced, epoch, rev, lag, refused } = this.#reader;
      // A reader that may not write there goes on all the same.
      if (isSynced) store.report({ node, epoch, rev, lag, refused }, REPORT_EXPIRY_MS).catch(() => {});
    }, REPORT_MS);
  }

  /** Nothing is waited for: a store that is away is asked again and again. Throws `PolicyError` for an address that makes no sense. */
  static open(options: PlaneOptions, events: FeedEvents): IdentityFeed {
    const config = redisConfig(options.redis!);
    const store = new RedisStore({ config, cluster: options.cluster });
    return new IdentityFeed(store, `redis ${config.name}, cluster ${options.cluster}`, options, events);
  }

  get table(): IdentityTable {
    return this.#reader.table;
  }

  /** A whole table was read at least once. */
  get isReady(): boolean {
    return this.#reader.resyncs.start > 0;
  }

  /** The objects with the pods of the store (or those of some addresses alone), and the accounts and namespaces that only it knows. */
  overlay(resources: Resources, addresses?: readonly string[]): Resources {
    const { table } = this.#reader;
    if (addresses === undefined) return overlayTable(resources, table);
    const some = new IdentityTable();
    for (const [key, labels] of table.accounts) some.accounts.set(key, labels);
    for (const [key, labels] of table.namespaces) some.namespaces.set(key, labels);
    for (const address of addresses) {
      const owners = table.owners.get(address) ?? [];
      if (owners.length > 0) some.owners.set(address, owners);
      for (const { uid } of owners) {
        const pod = table.pods.get(uid);
        if (pod !== undefined) some.pods.set(uid, pod);
      }
    }
    return overlayTable(resources, some);
  }

  status(): IdentityStatus {
    const { rev, lag, resyncs, isSynced } = this.#reader;
    const ageMs = this.isReady ? this.#reader.ageMs() : SYSTEM_CLOCK.now() - this.#startedMs;
    const trouble = isSynced && ageMs < 2 * REPORT_MS ? undefined : this.#trouble;
    return {
      name: this.#name,
      revision: rev,
      lag,
      ageMs,
      ...(trouble === undefined ? {} : { trouble }),
      resyncs: { ...resyncs },
    };
  }

  async close(): Promise<void> {
    clearInterval(this.#reporting);
    this.#reader.stop();
    await this.#store.close();
    await this.#running;
  }
}
