/**
 * A world in one number: publishers, readers and a store that fails, on a clock that jumps from event to event.
 *
 * Everything that happens follows from the seed, so a failing run can be repeated. The store keeps the rules of the scripts (identity/script.ts); what
 * it may do to its users: answer late, not at all, or after it has done the work; lose everything, come back as it was some time ago, trim
 * its log, cut connections, and be unreachable to some of them. A publisher may sleep through its lease.
 */

import { entryName } from '../../../src/identity/entries.ts';
import {
  BUCKETS,
  bucketOf,
  type Change,
  ownerValue,
  type PodDetails,
  podFields,
  type RawEntry,
  SCHEMA,
} from '../../../src/identity/keys.ts';
import type {
  Batch,
  Clock,
  Fields,
  Lead,
  RawDetails,
  WritableStore,
  WriteAnswer,
} from '../../../src/identity/shared-store.ts';
import type { IdentityTable } from '../../../src/identity/table.ts';

/** mulberry32 */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Timer {
  readonly atMs: number;
  readonly number: number;
  readonly wake: () => void;
}

/** Virtual time: whoever sleeps is woken in order, and what follows from it runs before the next. */
export class World {
  nowMs = 0;
  readonly random: () => number;
  #timers: Timer[] = [];
  #count = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  clock(): Clock {
    return { now: () => this.nowMs, sleep: (ms) => this.sleep(ms), random: this.random };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.at(this.nowMs + Math.max(0, ms), resolve));
  }

  at(atMs: number, wake: () => void): void {
    const timer = { atMs, number: this.#count++, wake };
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#timers[middle]!;
      if (other.atMs < timer.atMs || (other.atMs === timer.atMs && other.number < timer.number)) high = middle;
      else low = middle + 1;
    }
    this.#timers.splice(low, 0, timer);
  }

  /** Runs until `untilMs`, or until `isDone` says so. */
  async run(untilMs: number, isDone: () => boolean = () => false): Promise<boolean> {
    while (this.#timers.length > 0 && this.#timers.at(-1)!.atMs <= untilMs) {
      const timer = this.#timers.pop()!;
      this.nowMs = timer.atMs;
      timer.wake();
      for (let i = 0; i < 24; i++) await undefined;
      if (isDone()) return true;
    }
    return isDone();
  }
}

/** The data of a server. */
interface Data {
  meta: Record<string, string>;
  /** Values by entry name. */
  entries: Map<string, Change>;
  log: { rev: number; change: Change }[];
  leader: string;
  leaderUntilMs: number;
}

const EMPTY = (): Data => ({ meta: {}, entries: new Map(), log: [], leader: '', leaderUntilMs: 0 });

function copyOf(data: Data): Data {
  return { ...data, meta: { ...data.meta }, entries: new Map(data.entries), log: [...data.log] };
}

export class SimulatedServer {
  data = EMPTY();
  runId = 'run-0';
  generation = 0;
  /** Digests of every state that a complete data set ever had. */
  readonly states = new Set<string>();
  readonly world: World;
  #old = EMPTY();
  #waiters: { rev: number; resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor(world: World) {
    this.world = world;
  }

  /** Notes what `restart` may come back with. */
  save(): void {
    this.#old = copyOf(this.data);
  }

  restart(from: 'empty' | 'old' | 'same'): void {
    this.generation++;
    this.runId = `run-${this.generation}`;
    if (from === 'empty') this.data = EMPTY();
    if (from === 'old') this.data = copyOf(this.#old);
    this.cut();
  }

  /** All connections end. */
  cut(): void {
    this.generation++;
    for (const { reject } of this.#waiters.splice(0)) reject(new Error('the connection is lost'));
  }

  flush(): void {
    this.data = EMPTY();
  }

  trim(): void {
    this.data.log = this.data.log.slice(-1);
  }

  wait(rev: number, blockMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter = { rev, resolve, reject };
      this.#waiters.push(waiter);
      this.world.at(this.world.nowMs + blockMs, () => {
        this.#waiters = this.#waiters.filter((each) => each !== waiter);
        resolve();
      });
    });
  }

  lead(id: string, ttlMs: number): Lead {
    const { data, world } = this;
    const holder = data.leaderUntilMs > world.nowMs ? data.leader : '';
    const { epoch = '', rev = '' } = data.meta;
    if (holder !== '' && holder !== id) return { isLeader: false, fence: Number(data.meta.fence ?? 0), epoch, rev };
    if (holder === '' || data.meta.fence === undefined) data.meta.fence = String(Number(data.meta.fence ?? 0) + 1);
    data.leader = id;
    data.leaderUntilMs = world.nowMs + ttlMs;
    return { isLeader: true, fence: Number(data.meta.fence), epoch, rev };
  }

  write({ epoch, fence, rev, changes }: Batch): WriteAnswer {
    const { meta, entries, log } = this.data;
    if (meta.epoch !== epoch) return { refused: 'epoch' };
    if (meta.fence !== String(fence)) return { refused: 'fence' };
    if (meta.rev !== String(rev)) return { refused: 'rev' };
    let now = rev;
    for (const change of changes) {
      const name = change.op === 'del' && change.kind === 'ep' ? `ep ${change.key} ${change.value}` : entryName(change);
      if (change.op === 'set') entries.set(name, change);
      else if (!entries.delete(name) && change.kind === 'ep') continue;
      now++;
      if (meta.state === 'ready') {
        log.push({ rev: now, change });
        this.#note();
      }
    }
    meta.rev = String(now);
    for (const { resolve } of this.#waiters.splice(0)) resolve();
    return { rev: now };
  }

  begin(epoch: string, fence: number): WriteAnswer {
    const { data } = this;
    if (data.meta.fence !== String(fence)) return { refused: 'fence' };
    data.meta = {
      fence: String(fence),
      schema: SCHEMA,
      epoch,
      rev: '0',
      buckets: String(BUCKETS),
      count: '0',
      state: 'building',
    };
    data.entries.clear();
    data.log = [];
    return { rev: 0 };
  }

  ready(epoch: string, fence: number): WriteAnswer {
    const { meta } = this.data;
    if (meta.epoch !== epoch) return { refused: 'epoch' };
    if (meta.fence !== String(fence)) return { refused: 'fence' };
    meta.state = 'ready';
    this.#note();
    return { rev: Number(meta.rev) };
  }

  #note(): void {
    this.states.add(digestOf(this.data.entries.values()));
  }
}

const hashes = new Map<string, number>();

function hashOf(name: string, value: string): number {
  const text = `${name} ${value}`;
  let hash = hashes.get(text);
  if (hash === undefined) {
    hash = 0x811c9dc5;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    hashes.set(text, hash);
  }
  return hash;
}

/** One text for equal sets of entries, whatever their order. */
function digest(all: Iterable<number>): string {
  let mixed = 0;
  let sum = 0;
  let count = 0;
  for (const hash of all) {
    mixed ^= hash;
    sum = (sum + Math.imul(hash, 0x9e3779b1)) | 0;
    count++;
  }
  return `${count} ${mixed} ${sum}`;
}

export function digestOf(entries: Iterable<Change>): string {
  const all: number[] = [];
  for (const entry of entries) all.push(hashOf(entryName(entry), entry.value));
  return digest(all);
}

const podHashes = new WeakMap<PodDetails, number>();

/** The same for a table; pods are the same objects as long as nothing changes, so each is spelled out once. */
export function digestOfTable({ pods, owners }: IdentityTable): string {
  const all: number[] = [];
  for (const [key, pod] of pods) {
    const hash = podHashes.get(pod) ?? hashOf(`pod ${key}`, JSON.stringify(podFields(pod)));
    podHashes.set(pod, hash);
    all.push(hash);
  }
  for (const [address, each] of owners) {
    for (const { account, uid } of each) all.push(hashOf(`ep ${address} ${uid}`, ownerValue(account, uid)));
  }
  return digest(all);
}

const NO_FIELDS: Record<string, string> = Object.freeze({});

/** The store as one client sees it. */
export class SimulatedStore implements WritableStore {
  connections = 1;
  /** Nothing gets through before this moment. */
  unreachableUntilMs = 0;
  /** Answers of before this moment come then. */
  asleepUntilMs = 0;
  /** Chance that a question fails. */
  failures = 0.02;
  readonly #server: SimulatedServer;
  #seen: number;

  constructor(server: SimulatedServer) {
    this.#server = server;
    this.#seen = server.generation;
  }

  /** A question: some time, and maybe a failure, before and after the work. */
  async #ask<T>(work: () => T, isShort = false): Promise<T> {
    const { world } = this.#server;
    if (!isShort || world.random() < 0.05) await world.sleep(world.random() * 4);
    this.#check();
    const result = work();
    if (!isShort || world.random() < 0.05) await world.sleep(world.random() * 4);
    if (world.nowMs < this.asleepUntilMs) await world.sleep(this.asleepUntilMs - world.nowMs);
    this.#check();
    return result;
  }

  #check(): void {
    const { world, generation } = this.#server;
    const isCut = this.#seen !== generation;
    if (isCut) {
      this.#seen = generation;
      this.connections++;
    }
    if (isCut || world.nowMs < this.unreachableUntilMs || world.random() < this.failures * 0.5)
      throw new Error('no answer');
  }

  meta(): Promise<{ fields: Fields; runId: string }> {
    return this.#ask(() => ({ fields: { ...this.#server.data.meta }, runId: this.#server.runId }));
  }

  buckets(first: number, count: number): Promise<Fields[]> {
    return this.#ask(() => {
      const out: Record<string, string>[] = new Array(count).fill(NO_FIELDS);
      for (const { kind, key, value } of this.#server.data.entries.values()) {
        const bucket = kind === 'ep' ? bucketOf(key) - first : -1;
        if (bucket < 0 || bucket >= count) continue;
        const fields = out[bucket] === NO_FIELDS ? {} : out[bucket]!;
        fields[key] = `${fields[key] === undefined ? '' : `${fields[key]} `}1|${value}`;
        out[bucket] = fields;
      }
      return out;
    }, true);
  }

  async details(take: (details: readonly RawDetails[]) => void): Promise<void> {
    const details = await this.#ask(() =>
      [...this.#server.data.entries.values()].flatMap(({ kind, key, value }): RawDetails[] =>
        kind === 'ep' || kind === 'sig' ? [] : [{ kind, key, fields: JSON.parse(value) as Fields }],
      ),
    );
    take(details);
  }

  signatures(): Promise<Fields> {
    return this.#ask(() => ({}), true);
  }

  async follow(rev: number, blockMs: number): Promise<RawEntry[]> {
    const { world } = this.#server;
    await this.#ask(() => {}, true);
    const after = (): { rev: number; change: Change }[] => this.#server.data.log.filter((entry) => entry.rev > rev);
    if (after().length === 0) await this.#server.wait(rev, blockMs);
    this.#check();
    const entries = after();
    const some = entries.slice(0, 1 + Math.floor(world.random() * entries.length));
    return some.map((entry) => ({
      id: `${entry.rev}-0`,
      fields: { ...entry.change, epoch: this.#server.data.meta.epoch! },
    }));
  }

  lead(id: string, ttlMs: number): Promise<Lead> {
    return this.#ask(() => this.#server.lead(id, ttlMs));
  }

  async resign(): Promise<void> {}

  write(batches: readonly Batch[]): Promise<WriteAnswer[]> {
    return this.#ask(() => batches.map((batch) => this.#server.write(batch)));
  }

  begin(epoch: string, fence: number): Promise<WriteAnswer> {
    return this.#ask(() => this.#server.begin(epoch, fence));
  }

  ready(epoch: string, fence: number): Promise<WriteAnswer> {
    return this.#ask(() => this.#server.ready(epoch, fence));
  }

  async close(): Promise<void> {}
}
