/**
 * The store as readers and publisher see it: few operations, each of which may fail at any time, and a clock.
 *
 * redis.ts makes them out of Redis; the simulation of the tests out of memory, chance and a clock of its own. What is read is raw: whoever reads
 * it checks it.
 */
import type { Change, RawEntry } from './keys.ts';

export interface Clock {
  /** Milliseconds; of a steady clock where one is at hand. */
  now(): number;
  sleep(ms: number): Promise<void>;
  /** From 0 up to 1, for jitter. */
  random(): number;
}

export type Fields = Readonly<Record<string, string>>;

/** A hash of a pod, an account or a namespace. */
export interface RawDetails {
  readonly kind: 'pod' | 'sa' | 'ns';
  readonly key: string;
  readonly fields: Fields;
}

export interface ReadableStore {
  /** The fields of `meta`, empty if there is none, and the run id of the server that gave them. */
  meta(): Promise<{ readonly fields: Fields; readonly runId: string }>;
  /** The fields of `count` buckets from number `first` on. */
  buckets(first: number, count: number): Promise<readonly Fields[]>;
  /** All pods, accounts and namespaces, a part at a time. */
  details(take: (details: readonly RawDetails[]) => void): Promise<void>;
  /** Signatures by bucket. */
  signatures(): Promise<Fields>;
  /** Log entries after revision `rev`; waits for the first up to `blockMs`. Empty = none came. */
  follow(rev: number, blockMs: number): Promise<readonly RawEntry[]>;
  /** Grows whenever a connection was made anew: what was read before may be of another server. */
  readonly connections: number;
  close(): Promise<void>;
}

/** What a reader tells of itself. */
export interface AgentReport {
  readonly node: string;
  readonly epoch: string;
  readonly rev: number;
  /** Revisions that it is behind. */
  readonly lag: number;
  readonly refused: number;
}

export interface ReportingStore extends ReadableStore {
  report(report: AgentReport, expiryMs: number): Promise<void>;
}

/** Why a write was not done. `other` is a text from the server. */
export type Refused = 'epoch' | 'fence' | 'rev' | 'type';

export type WriteAnswer = { readonly rev: number } | { readonly refused: Refused };

export interface Lead {
  readonly isLeader: boolean;
  readonly fence: number;
  /** Of the data set that is there, as text; empty if there is none. */
  readonly epoch: string;
  readonly rev: string;
}

export interface Batch {
  readonly epoch: string;
  readonly fence: number;
  /** The revision that the data must have; anything else means that someone wrote, or that writes were lost. */
  readonly rev: number;
  readonly changes: readonly Change[];
}

export interface WritableStore extends ReadableStore {
  /** Takes or keeps the lead for `ttlMs`. */
  lead(id: string, ttlMs: number): Promise<Lead>;
  /** Gives the lead up, if it is held. */
  resign(id: string): Promise<void>;
  /**
   * Writes batches one after the other in one round, each as a whole or not at all; the new revision after each. One after a batch that was refused
   * is refused as well, since the revision is not what it expects.
   */
  write(batches: readonly Batch[]): Promise<readonly WriteAnswer[]>;
  /** Removes all data of the cluster but leader and agents, and begins a data set in state `building`, at revision 0. */
  begin(epoch: string, fence: number): Promise<WriteAnswer>;
  /** Declares the data set complete. */
  ready(epoch: string, fence: number): Promise<WriteAnswer>;
}
