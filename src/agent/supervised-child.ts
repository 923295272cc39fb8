/**
 * One capture child through its lives: started, given tables, watched, started again when it dies, its counts kept.
 *
 *   forked ─ ready ─► start, tables ─ judging ─► runs ─ done ─► ended
 *     ▲                                            │ dies (exit, kill, abort), or says nothing for `stallMs` and is killed
 *     └───────── after a pause, twice as long each time, up to `pauseMsMax` ──┘
 *
 * A child of files or standard input is not started again: what it has read is gone, or would be counted twice.
 */
import { rmSync } from 'node:fs';
import { closeBooks, type PastCounts } from './accounting.ts';
import type { SourceStatus } from './api.ts';
import type { ChildHost, HostedChild } from './child-host.ts';
import type { EngineEvents, OwnerChange } from './engine.ts';
import { LEDGER_NUMBERS, LedgerReader } from './ledger.ts';
import { Link } from './link.ts';
import type { ChildSource, ChildSpec, FromChild, ToChild } from './messages.ts';
import { ledgerPathIn } from './runtime-directory.ts';
import type { TablesInUse } from './tables-in-use.ts';

/** Times of the supervision; tests shorten them. */
export interface EngineTuning {
  readonly reportMs: number;
  /** A child that says nothing for so long is killed. Its judging thread reports every `reportMs`. */
  readonly stallMs: number;
  readonly pauseMs: number;
  readonly pauseMsMax: number;
  /** An allowed connection must have gone unanswered for so long. */
  readonly blockedAfterSeconds: number;
  /** Where ledgers may lie; undefined: where findRuntimeDirectory looks. */
  readonly directories: readonly string[] | undefined;
}

export const ENGINE_TUNING: EngineTuning = {
  reportMs: 250,
  stallMs: 10_000,
  pauseMs: 100,
  pauseMsMax: 4000,
  blockedAfterSeconds: 3,
  directories: undefined,
};

/** Lives longer than this make the next pause short again. */
const STABLE_MS = 10_000;
/** Lines that one life may print into the log. */
const LINES_MAX = 20;
/** What the assertion in cap says when an interface goes away. */
const INTERFACE_GONE = 'status == 0';
/** How long a child may take to hand over its raw packets. */
const FINDINGS_MS = 2000;

/** Before a child's first report, where it has no ledger. */
const NO_COUNTS: Float64Array = new Float64Array(LEDGER_NUMBERS);

/** What the children of one engine share. */
export interface Household {
  readonly host: ChildHost;
  readonly events: EngineEvents;
  readonly tuning: EngineTuning;
  readonly directory: string | undefined;
  readonly past: PastCounts;
  readonly newest: TablesInUse;
  isStale(): boolean;
  /** Something changed: a state, a generation that is judged by, an end. */
  onChange(): void;
}

export class SupervisedChild {
  /** Generation that it judges by; 0 before the first. */
  generation = 0;
  readonly #home: Household;
  readonly #plan: Omit<ChildSpec, 'life' | 'ledgerPath'>;
  readonly #isRestarted: boolean;
  #life = 0;
  #process: HostedChild | undefined;
  #link: Link<ToChild, FromChild> | undefined;
  #ledger: LedgerReader | undefined;
  #ledgerPath: string | undefined;
  /** The counts last read, or what a child without a ledger reported. */
  #reported = NO_COUNTS;
  #sources: readonly ChildSource[];
  /** Packets of each source, as its present life last told, and of its earlier lives. */
  #seen: readonly number[] = [];
  #seenBefore: readonly number[] = [];
  #isReady = false;
  /** Generation on its way to the child: one at a time, so that a child that does not read keeps no others in memory. */
  #underway = 0;
  #heardAt = 0;
  #startedAt = 0;
  #pauseMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isStopping = false;
  #hasStopFailed = false;
  #lines = 0;
  #lastLine = '';
  isDone = false;
  #requests = 0;
  #lastCapture: Uint8Array = new Uint8Array(0);
  readonly #captures = new Map<number, (bytes: Uint8Array) => void>();

  constructor(home: Household, plan: Omit<ChildSpec, 'life' | 'ledgerPath'>, names: readonly string[]) {
    this.#home = home;
    this.#plan = plan;
    this.#isRestarted = plan.sources.every(({ kind }) => kind === 'cap' || kind === 'tcpdump');
    this.#pauseMs = home.tuning.pauseMs;
    this.#sources = names.map((name) => ({ name, state: 'starting' }));
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** True if it will never judge again. */
  get isOver(): boolean {
    return this.#process === undefined && this.#timer === undefined;
  }

  /** Whether its sources go on for ever, so that it is started again when it dies. */
  get isLive(): boolean {
    return this.#isRestarted;
  }

  start(): void {
    this.#timer = undefined;
    this.#isReady = false;
    this.#lines = 0;
    this.#lastLine = '';
    this.#underway = 0;
    this.generation = 0;
    this.#startedAt = performance.now();
    this.#heardAt = this.#startedAt;
    this.#reported = NO_COUNTS;
    this.#openLedger();
    const child = this.#home.host.fork(this.#plan.sources.some(({ kind }) => kind === 'stdin'));
    this.#process = child;
    const link = new Link<ToChild, FromChild>(
      child.stream,
      (message, bytes) => this.#receive(message, bytes),
      () => {},
    );
    this.#link = link;
    child.onLine((line) => this.#onLine(line));
    child.onExit((how) => this.#onExit(how));
    link.send({ kind: 'start', spec: { ...this.#plan, life: this.#life, ledgerPath: this.#ledgerPath } });
    this.#home.onChange();
  }

  #openLedger(): void {
    if (this.#home.directory === undefined) return;
    const path = ledgerPathIn(this.#home.directory);
    try {
      this.#ledger = new LedgerReader(path);
      this.#ledgerPath = path;
    } catch (error) {
      const message = 'no ledger for a capture child: what it counts is lost if it dies, and not shown before';
      this.#home.events.onLog('error', message, { reason: error instanceof Error ? error.message : String(error) });
    }
  }

  #removeLedger(): void {
    if (this.#ledgerPath !== undefined) rmSync(this.#ledgerPath, { force: true });
    this.#ledgerPath = undefined;
  }

  /** The counts of its present life. */
  counts(): Float64Array {
    return this.#ledger?.read() ?? this.#reported;
  }

  sources(): SourceStatus[] {
    const pid = this.#process?.pid;
    return this.#sources.map((source, index) => ({
      ...source,
      restarts: this.#life,
      seen: (this.#seenBefore[index] ?? 0) + (this.#seen[index] ?? 0),
      ...(pid === undefined ? {} : { pid }),
    }));
  }

  /** Sends the newest tables, or what was written to those that it has, unless some are underway: then after these. */
  publish(): void {
    const { newest } = this.#home;
    const { generation } = newest;
    if (!this.#isReady || this.#underway !== 0 || generation <= this.generation) return;
    const runs = newest.since(this.generation);
    const bytes = runs === undefined ? newest.whole() : new Uint8Array(runs.buffer);
    if (bytes === undefined) return;
    this.#underway = generation;
    if (runs === undefined) this.#link?.send({ kind: 'tables', generation, isStale: this.#home.isStale() }, bytes);
    else this.#link?.send({ kind: 'written', generation }, bytes);
  }

  setOwners({ generation, stores, addresses }: OwnerChange): void {
    const words = new Int32Array(stores.length + addresses.length);
    words.set(stores);
    words.set(addresses, stores.length);
    this.#link?.send({ kind: 'owners', generation, storeWords: stores.length }, new Uint8Array(words.buffer));
  }

  setStale(isStale: boolean): void {
    this.#link?.send({ kind: 'stale', isStale });
  }

  /** The raw packets that it kept, or those of its last word; empty if it does not answer in time. */
  findings(): Promise<Uint8Array> {
    if (this.#link === undefined || this.generation === 0) return Promise.resolve(this.#lastCapture);
    const request = ++this.#requests;
    return new Promise((resolve) => {
      const settle = (bytes: Uint8Array): void => {
        clearTimeout(timer);
        this.#captures.delete(request);
        resolve(bytes);
      };
      const timer = setTimeout(() => settle(new Uint8Array(0)), FINDINGS_MS);
      this.#captures.set(request, settle);
      this.#link?.send({ kind: 'findings', request });
    });
  }

  /** To be called a few times a second: kills a child that hangs. One that has no tables yet has nothing to say. */
  watch(): void {
    if (this.#home.newest.generation === 0) this.#heardAt = performance.now();
    if (this.#process === undefined || performance.now() - this.#heardAt < this.#home.tuning.stallMs) return;
    const message = 'a capture child says nothing any more and is killed';
    this.#home.events.onLog('error', message, { child: this.#plan.child, silentMs: this.#home.tuning.stallMs });
    this.#heardAt = performance.now();
    this.#process.kill('SIGKILL');
  }

  /** This process itself did not run for a while: silence is no fault of the child's. */
  forgive(): void {
    this.#heardAt = performance.now();
  }

  /** Ends it in good order. */
  stop(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#link?.send({ kind: 'stop' });
    this.#home.onChange();
  }

  /** Ends it at once; what it had in hand is lost. */
  kill(): void {
    this.#hasStopFailed = true;
    this.#process?.kill('SIGKILL');
  }

  #receive(message: FromChild, bytes: Uint8Array): void {
    this.#heardAt = performance.now();
    const { events } = this.#home;
    switch (message.kind) {
      case 'ready':
        this.#isReady = true;
        this.publish();
        break;
      case 'judging':
        this.generation = message.generation;
        this.#underway = 0;
        // Both have it open: whatever happens now leaves no file behind.
        this.#removeLedger();
        this.publish();
        this.#home.onChange();
        break;
      case 'sources':
        this.#setSources(message.sources);
        break;
      case 'report':
        this.#seen = message.seen;
        if (this.#ledger === undefined) this.#reported = Float64Array.from(message.counts);
        if (message.flows.length > 0) events.onFlows(message.flows);
        for (const hits of message.hits) events.onRuleHits(hits);
        break;
      case 'finding':
        events.onFinding(message.finding);
        break;
      case 'findings':
        if (message.request === 0) this.#lastCapture = bytes;
        this.#captures.get(message.request)?.(bytes);
        break;
      case 'log':
        events.onLog(message.level, message.message, { child: this.#plan.child, ...message.fields });
        break;
      case 'done':
        this.isDone = true;
        break;
    }
  }

  /** What it prints is libpcap's or Node's own: a word of warning, or why it aborts. */
  #onLine(line: string): void {
    // Said of each interface without an address, which is nothing to worry about.
    if (line.includes('no IPv4 address assigned')) return;
    this.#lastLine = line;
    if (this.#lines++ < LINES_MAX) this.#home.events.onLog('warn', line, { child: this.#plan.child });
  }

  #setSources(sources: readonly ChildSource[]): void {
    this.#sources = sources.map((source, index) => ({ ...source, name: this.#sources[index]!.name }));
    this.#home.onChange();
  }

  #onExit(how: string): void {
    const { events } = this.#home;
    this.#process = undefined;
    this.#link = undefined;
    closeBooks(this.#home.past, this.counts(), this.#hasStopFailed ? 'stop' : 'childCrash');
    this.#ledger?.close();
    this.#ledger = undefined;
    this.#removeLedger();
    this.#seenBefore = this.sources().map(({ seen }) => seen);
    this.#seen = [];
    for (const settle of this.#captures.values()) settle(new Uint8Array(0));
    const hasLastWord = this.isDone || this.#isStopping;
    if (hasLastWord) {
      const isFailed = (state: string): boolean => state === 'failed';
      this.#sources = this.#sources.map((one) => (isFailed(one.state) ? one : { name: one.name, state: 'ended' }));
    } else {
      const isGone = this.#lastLine.includes(INTERFACE_GONE);
      const trouble = isGone ? 'an interface went away' : `the capture child ended by itself (${how})`;
      const state = this.#isRestarted ? 'restarting' : 'failed';
      this.#sources = this.#sources.map(({ name }) => ({ name, state, trouble }));
      events.onLog('error', trouble, { child: this.#plan.child, life: this.#life });
      if (this.#isRestarted) this.#startLater();
    }
    this.#home.onChange();
  }

  #startLater(): void {
    if (performance.now() - this.#startedAt > STABLE_MS) this.#pauseMs = this.#home.tuning.pauseMs;
    this.#timer = setTimeout(() => {
      this.#life++;
      this.start();
    }, this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, this.#home.tuning.pauseMsMax);
  }
}
