/**
 * Owners of addresses from Redis while a capture streams in (`-r -`): what is judged now is judged by who owns the addresses now.
 *
 * Changes go into the tables in use (analyze/live-owners.ts). What those have no room for makes new tables, taken between two batches of packets.
 * While Redis is away the last good owners stay, and after a while the verdicts by them are `stale-identity`.
 */
import { hostname } from 'node:os';
import { LiveOwners } from '../analyze/live-owners.ts';
import { liveRoom } from '../analyze/live-room.ts';
import type { LiveOwnership } from '../analyze/owner-changes.ts';
import { packTimedPlan } from '../compile/pack.ts';
import { planCluster } from '../compile/plan-cluster.ts';
import { StoreError, signatureCheck } from '../identity/once.ts';
import { overlayObjects } from '../identity/overlay.ts';
import { IdentityReader } from '../identity/reader.ts';
import type { RedisStore } from '../identity/redis.ts';
import type { IdentitySet } from '../identity/store.ts';
import { SYSTEM_CLOCK } from '../identity/system-clock.ts';
import type { Dataplane } from '../model/flow.ts';
import type { Resources } from '../model/resources.ts';
import { openTables, type Tables } from '../tables/tables.ts';
import { openRedis, readKey } from './identity-store.ts';
import type { CommonOptions, IdentityOptions } from './options.ts';
import type { Output } from './output.ts';

const STALE_AFTER_SECONDS = 30;
const PATIENCE_MS = 10_000;
/** How often a reader tells what it has applied, and how long that is believed. */
const REPORT_MS = 5_000;
const REPORT_EXPIRY_MS = 30_000;

type FollowOptions = IdentityOptions &
  CommonOptions & { readonly node?: string | undefined; readonly dataplane?: Dataplane };

export class FollowedIdentities implements LiveOwnership {
  /** Set by who judges: forgets what is known of an address that has another owner. */
  onOwner: LiveOwners['onOwner'] = () => {};
  readonly #reader: IdentityReader;
  readonly #options: FollowOptions;
  readonly #close: () => Promise<void>;
  #resources: Resources | undefined;
  #owners: LiveOwners | undefined;
  #isReplaced = false;

  private constructor(reader: IdentityReader, options: FollowOptions, close: () => Promise<void>) {
    this.#reader = reader;
    this.#options = options;
    this.#close = close;
  }

  /** Connects and waits for the first whole table. Throws `StoreError`. */
  static async start(options: FollowOptions, output: Output): Promise<FollowedIdentities> {
    const store = await openRedis(options);
    let trouble = '';
    let followed: FollowedIdentities | undefined;
    const reader = new IdentityReader({
      store,
      clock: SYSTEM_CLOCK,
      // So that silence is told from absence well within the allowed age.
      blockMs: Math.min(1_000, staleAfterMs(options) / 4),
      signatures: signatureCheck(readKey('--verify-key', options.verifyKey)),
      onTrouble: (text) => {
        trouble = text;
        if (options.quiet !== true) output.stderr.write(`margay: --redis: ${text}\n`);
      },
      onChange: (change) => {
        if (change === undefined) followed?.replaced();
        else followed?.changed(change);
      },
    });
    const running = reader.run();
    const reporting = setInterval(() => report(store, reader, options), REPORT_MS);
    const close = async (): Promise<void> => {
      clearInterval(reporting);
      reader.stop();
      await store.close();
      await running;
    };
    const end = SYSTEM_CLOCK.now() + PATIENCE_MS;
    while (!reader.isSynced) {
      if (SYSTEM_CLOCK.now() > end) {
        await close();
        throw new StoreError(trouble);
      }
      await SYSTEM_CLOCK.sleep(20);
    }
    followed = new FollowedIdentities(reader, options, close);
    return followed;
  }

  get set(): IdentitySet {
    return this.#reader.table.toSet('(redis)');
  }

  /** Tables of these objects with the owners there are now; they follow from here on. */
  compile(resources: Resources): Tables {
    this.#resources = resources;
    this.#isReplaced = false;
    const plan = planCluster(overlayObjects(resources, this.set));
    const { node, dataplane } = this.#options;
    const live = liveRoom(resources.nodes);
    const packed = packTimedPlan(plan, { node, dataplane, needsIdentity: true, live });
    const tables = openTables(packed.buffer);
    this.#owners = new LiveOwners(tables, packed.live!, plan, this.#reader.table, (version, words, at) =>
      this.onOwner(version, words, at),
    );
    return tables;
  }

  changed(change: Parameters<LiveOwners['apply']>[0]): void {
    if (!this.#isReplaced) this.#owners?.apply(change);
  }

  /** The reader has another table as a whole. */
  replaced(): void {
    this.#isReplaced = true;
  }

  /** New tables, where those in use cannot follow any more. */
  newTables(): Tables | undefined {
    if (this.#resources === undefined || (!this.#isReplaced && this.#owners?.isOutdated !== true)) return undefined;
    return this.compile(this.#resources);
  }

  isStale(): boolean {
    return this.#reader.ageMs() > staleAfterMs(this.#options);
  }

  close(): Promise<void> {
    return this.#close();
  }
}

/** Tells the store what was applied here; a reader that may not write there goes on all the same. */
function report(
  store: RedisStore,
  { isSynced, epoch, rev, lag, refused }: IdentityReader,
  options: FollowOptions,
): void {
  if (!isSynced) return;
  const node = options.node ?? hostname();
  store.report({ node, epoch, rev, lag, refused }, REPORT_EXPIRY_MS).catch(() => {});
}

function staleAfterMs({ identityStaleAfter = STALE_AFTER_SECONDS }: FollowOptions): number {
  return identityStaleAfter * 1_000;
}
