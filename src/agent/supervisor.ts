/**
 * The engine: capture children, what they are given, what they tell, and the one accounting over all of them.
 *
 * Live interfaces are captured by `splits` children, each of which opens all of them and takes its share of the flows by BPF, so that all copies of
 * a packet and both directions of a flow meet in one. Files and standard input are read by one more child, one after the other.
 */
import { PolicyError } from '../base/errors.ts';
import { accountingOf, createPastCounts } from './accounting.ts';
import type { Accounting, SourceStatus } from './api.ts';
import { type ChildHost, LocalHost } from './child-host.ts';
import type { CaptureEngine, EngineEvents, EngineOptions, EngineSource, OwnerChange, TablesOrigin } from './engine.ts';
import { LEDGER_FLOWS_ACTIVE, LEDGER_FLOWS_EVICTED } from './ledger.ts';
import type { ChildSpec } from './messages.ts';
import { findRuntimeDirectory } from './runtime-directory.ts';
import { splitFilter } from './split-filter.ts';
import { ENGINE_TUNING, type EngineTuning, type Household, SupervisedChild } from './supervised-child.ts';
import { TablesInUse } from './tables-in-use.ts';

/** How often hanging children are looked for. */
const WATCH_MS = 500;

/** Starts the children; they capture from the first `publish` on. */
export async function createEngine(
  options: EngineOptions,
  events: EngineEvents,
  tuning: Partial<EngineTuning> = {},
  host: ChildHost = new LocalHost(),
): Promise<CaptureEngine> {
  return new Engine(options, events, { ...ENGINE_TUNING, ...tuning }, host);
}

class Engine implements CaptureEngine {
  readonly #children: SupervisedChild[];
  readonly #home: Household;
  readonly #past = createPastCounts();
  readonly #watch: NodeJS.Timeout;
  #watchedAt = performance.now();
  readonly #newest = new TablesInUse();
  #isStale = false;
  #hasEnded = false;
  #waiting: { readonly isMet: () => boolean; readonly resolve: () => void }[] = [];
  #isChangeDue = false;

  constructor(options: EngineOptions, events: EngineEvents, tuning: EngineTuning, host: ChildHost) {
    const directory = findRuntimeDirectory(tuning.directories);
    if (directory === undefined) {
      events.onLog(
        'warn',
        'no directory can be written to (RUNTIME_DIRECTORY, /dev/shm, TMPDIR): counts of a capture child that dies are lost with it',
      );
    }
    this.#home = {
      host,
      events,
      tuning,
      directory,
      past: this.#past,
      newest: this.#newest,
      isStale: () => this.#isStale,
      onChange: () => this.#changeLater(),
    };
    this.#children = planChildren(options, tuning).map(
      (plan) =>
        new SupervisedChild(
          this.#home,
          plan,
          plan.sources.map((source) => statusName(source, plan.child, options.splits)),
        ),
    );
    for (const child of this.#children) child.start();
    host.onEnd(() => this.#onHostEnd());
    this.#watch = setInterval(() => this.#watchChildren(), WATCH_MS);
  }

  publish(tables: SharedArrayBuffer, generation: number, origin: TablesOrigin = {}): Promise<void> {
    this.#newest.take(tables, generation, origin);
    for (const child of this.#children) child.publish();
    return this.#until(() => this.#children.every((child) => !child.isRunning || child.generation >= generation));
  }

  setOwners(change: OwnerChange): void {
    if (change.generation !== this.#newest.generation) return;
    for (const child of this.#children) child.setOwners(change);
  }

  setStale(isStale: boolean): void {
    this.#isStale = isStale;
    for (const child of this.#children) child.setStale(isStale);
  }

  accounting(): Accounting {
    return accountingOf(
      this.#past,
      this.#running().map((child) => child.counts()),
    );
  }

  sources(): readonly SourceStatus[] {
    return this.#children.flatMap((child) => child.sources());
  }

  flows(): { readonly active: number; readonly evicted: number } {
    let active = 0;
    let evicted = this.#past.counts[LEDGER_FLOWS_EVICTED]!;
    for (const child of this.#running()) {
      const counts = child.counts();
      active += counts[LEDGER_FLOWS_ACTIVE]!;
      evicted += counts[LEDGER_FLOWS_EVICTED]!;
    }
    return { active, evicted };
  }

  async findingsCapture(): Promise<Uint8Array> {
    const sections = await Promise.all(this.#children.map((child) => child.findings()));
    return new Uint8Array(Buffer.concat(sections));
  }

  async stop(limitMs: number): Promise<Accounting> {
    clearInterval(this.#watch);
    for (const child of this.#children) child.stop();
    const timer = setTimeout(() => {
      for (const child of this.#children) child.kill();
    }, limitMs);
    await this.#until(() => this.#children.every((child) => child.isOver));
    clearTimeout(timer);
    this.#home.host.close();
    return this.accounting();
  }

  #running(): SupervisedChild[] {
    return this.#children.filter((child) => child.isRunning);
  }

  /** Resolves once `isMet`, which is asked after each change. */
  #until(isMet: () => boolean): Promise<void> {
    if (isMet()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push({ isMet, resolve });
    });
  }

  /** After the event in hand, once for all changes that come together. */
  #changeLater(): void {
    if (this.#isChangeDue) return;
    this.#isChangeDue = true;
    setImmediate(() => {
      this.#isChangeDue = false;
      this.#home.events.onSources(this.sources());
      const met = this.#waiting.filter(({ isMet }) => isMet());
      this.#waiting = this.#waiting.filter((one) => !met.includes(one));
      for (const { resolve } of met) resolve();
      this.#checkEnd();
    });
  }

  #checkEnd(): void {
    if (this.#hasEnded || this.#children.some((child) => child.isLive || !child.isOver)) return;
    this.#hasEnded = true;
    this.#home.events.onEnd();
  }

  #watchChildren(): void {
    const now = performance.now();
    const isLate = now - this.#watchedAt > 4 * WATCH_MS;
    this.#watchedAt = now;
    for (const child of this.#children) {
      if (isLate) child.forgive();
      else child.watch();
    }
  }

  #onHostEnd(): void {
    this.#home.events.onLog(
      'error',
      'the process that forks the capture children is gone; no capture can be restarted',
    );
  }
}

type ChildPlan = Omit<ChildSpec, 'life' | 'ledgerPath'>;

function planChildren(options: EngineOptions, tuning: EngineTuning): ChildPlan[] {
  const live = options.sources.filter(({ kind }) => kind === 'cap' || kind === 'tcpdump');
  const finite = options.sources.filter(({ kind }) => kind === 'file' || kind === 'stdin');
  if (live.length + finite.length === 0)
    throw new PolicyError('no-source', 'there is no source of packets', { fix: 'name an interface or a file' });
  const splits = live.length === 0 ? 0 : options.splits;
  const children = splits + (finite.length > 0 ? 1 : 0);
  // Each has its share of the connections, as each has its share of the flows.
  const share = (entries: number): number => Math.max(64, Math.ceil(entries / children));
  const plan = (child: number, sources: readonly EngineSource[], filter: string): ChildPlan => ({
    child,
    sources,
    filter,
    snapBytes: options.snapBytes,
    ringBytes: options.ringBytes,
    captureBytes: options.captureBytes,
    flowEntries: share(options.flowEntries),
    conntrackEntries: share(options.conntrackEntries),
    capturePoint: options.capturePoint,
    isDeduplicating: options.isDeduplicating ?? isSeenTwice(sources),
    findingsBytes: Math.ceil(options.findingsBytes / children),
    reportMs: tuning.reportMs,
    blockedAfterSeconds: tuning.blockedAfterSeconds,
  });
  const plans = Array.from({ length: splits }, (_, index) =>
    plan(index, live, splitFilter(options.filter, index, splits)),
  );
  if (finite.length > 0) plans.push(plan(splits, finite, ''));
  return plans;
}

/** One packet may come several times: through `any`, or through two of several interfaces. */
function isSeenTwice(sources: readonly EngineSource[]): boolean {
  const live = sources.flatMap((source) => ('interfaceName' in source ? [source.interfaceName] : []));
  return live.length > 1 || live[0] === 'any';
}

function statusName(source: EngineSource, child: number, splits: number): string {
  if (source.kind === 'file') return `file:${source.path}`;
  if (source.kind === 'stdin') return 'stdin';
  return `${source.kind}:${source.interfaceName}${splits > 1 ? `/${child + 1}` : ''}`;
}
