/**
 * The agent's numbers for Prometheus. Nothing is counted here but what comes a few times a second: packets are counted in typed arrays where they
 * are judged, and copied when somebody asks (`collect`).
 *
 * Labels are closed lists; addresses, pods and ports are none. Series by namespace or account are for those who ask for them, and bounded.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { REASON_COUNT } from '../match/counters.ts';
import { REASON_NAMES, VERDICT_NAMES } from '../model/flow.ts';
import type { Accounting, SourceStatus } from './api.ts';
import type { StepName } from './board.ts';
import type { FlowDelta } from './flow-store.ts';
import { endName } from './graph.ts';
import type { Generation, IdentityStatus, PolicyStatus } from './plane-messages.ts';

/** What is asked for at each scrape. */
export interface MetricsView {
  readonly version: string;
  accounting(): Accounting;
  sources(): readonly SourceStatus[];
  flows(): { readonly active: number; readonly evicted: number };
  flowLog(): { readonly dropped: number; readonly lines: number };
  logDropped(): number;
  policy(): PolicyStatus;
  identity(): IdentityStatus;
  isStale(): boolean;
  isReady(): boolean;
  generation(): Generation | undefined;
  eventLoopLagSeconds(): number;
}

const COMPILE_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Series of `--metrics-by`; what comes after them is counted as `other`. */
const SERIES_MAX = 500;
/** What is wrong with a packet, as against what is none of ours. */
const ERRORS: ReadonlySet<string> = new Set(['truncated', 'malformed']);

export class AgentMetrics {
  readonly registry = new Registry();
  readonly #view: MetricsView;
  readonly #compile: Histogram;
  readonly #updates: Counter<'how'>;
  readonly #refused: Counter;
  readonly #findings: Counter<'kind'>;
  readonly #verdicts = new Map<string, { labels: Readonly<Record<string, string>>; packets: number }>();
  readonly #flows: Counter<'source' | 'dest' | 'action'> | undefined;
  readonly #series = new Set<string>();
  readonly #by: 'none' | 'namespace' | 'account';
  #unknown = 0;

  constructor(view: MetricsView, by: 'none' | 'namespace' | 'account' = 'none') {
    this.#view = view;
    this.#by = by;
    const registers = [this.registry];
    this.#compile = new Histogram({
      name: 'margay_compile_seconds',
      help: 'Time to load and compile a generation of policies.',
      buckets: COMPILE_BUCKETS,
      registers,
    });
    this.#updates = new Counter({
      name: 'margay_updates_processed_total',
      help: 'Generations put in use: compiled as a whole, or written into the tables of the one before.',
      labelNames: ['how'],
      registers,
    });
    for (const how of ['compiled', 'written']) this.#updates.inc({ how }, 0);
    this.#refused = new Counter({
      name: 'margay_updates_refused_total',
      help: 'Changed input that was refused.',
      registers,
    });
    this.#findings = new Counter({
      name: 'margay_findings_total',
      help: 'Connections where network and policy disagree.',
      labelNames: ['kind'],
      registers,
    });
    for (const kind of ['leak', 'blocked']) this.#findings.inc({ kind }, 0);
    this.#flows =
      by === 'none'
        ? undefined
        : new Counter({
            name: 'margay_flows_total',
            help: `Connections by ${by} of their ends.`,
            labelNames: ['source', 'dest', 'action'],
            registers,
          });
    this.#packetCounters();
    this.#stateGauges();
  }

  /** The text for a scrape. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  generation({ compileMs, how }: Generation): void {
    if (how === 'compiled') this.#compile.observe(compileMs / 1000);
    this.#updates.inc({ how });
  }

  refused(): void {
    this.#refused.inc();
  }

  finding(kind: 'leak' | 'blocked'): void {
    this.#findings.inc({ kind });
  }

  /** Packets that a step decided. */
  step({ action, direction, reason }: StepName, packets: number): void {
    this.#verdict(action, direction, reason, packets);
  }

  /** Packets that no step decided: `index` into `otherPackets` of match/counters.ts. */
  other(index: number, packets: number): void {
    const action = VERDICT_NAMES[Math.floor(index / REASON_COUNT)] ?? 'unknown';
    const reason = REASON_NAMES[index % REASON_COUNT] || (action === 'allow' ? 'established' : 'not-policed');
    if (reason === 'no-identity') this.#unknown += packets;
    this.#verdict(action, '', reason, packets);
  }

  flow({ record, isNew }: FlowDelta): void {
    if (this.#flows === undefined || !isNew) return;
    const name = (end: 'source' | 'dest'): string =>
      this.#by === 'account' ? endName(record, end) : (record[`${end}_namespace`] ?? record[`${end}_type`]);
    const labels = { source: name('source'), dest: name('dest'), action: record.action };
    const key = JSON.stringify(labels);
    if (!this.#series.has(key)) {
      if (this.#series.size >= SERIES_MAX) {
        this.#flows.inc({ source: 'other', dest: 'other', action: record.action });
        return;
      }
      this.#series.add(key);
    }
    this.#flows.inc(labels);
  }

  #verdict(action: string, direction: string, reason: string, packets: number): void {
    const key = `${action} ${direction} ${reason}`;
    const count = this.#verdicts.get(key);
    if (count === undefined) this.#verdicts.set(key, { labels: { action, direction, reason }, packets });
    else count.packets += packets;
  }

  #packetCounters(): void {
    const view = this.#view;
    const verdicts = this.#verdicts;
    this.#counter('capture_packets_total', 'Packets seen, by source.', ['source'], (put) => {
      for (const { name, seen } of view.sources()) put(seen, { source: name });
    });
    this.#counter('capture_bytes_total', 'Bytes on the wire of packets that were judged.', ['source'], (put) =>
      put(view.accounting().bytes, { source: 'all' }),
    );
    const lost = 'Packets that were there and were not judged, by where they were lost.';
    this.#counter('capture_lost_packets_total', lost, ['where'], (put) => {
      const { lostByReason, droppedByKernel, isKernelDropEstimated } = view.accounting();
      for (const where of ['ring', 'child_crash']) put(0, { where });
      for (const [reason, count] of Object.entries(lostByReason)) put(count, { where: reason.replaceAll('-', '_') });
      put(droppedByKernel, { where: isKernelDropEstimated ? 'kernel_estimate' : 'kernel' });
    });
    this.#counter('packets_skipped_total', 'Packets that are no flow, or copies.', ['reason'], (put) => {
      const { duplicate, undecodedByReason } = view.accounting();
      put(duplicate, { reason: 'duplicate' });
      for (const [reason, count] of Object.entries(undecodedByReason)) if (!ERRORS.has(reason)) put(count, { reason });
    });
    this.#counter('packet_errors_total', 'Packets that could not be read.', ['reason'], (put) => {
      for (const reason of ERRORS) put(view.accounting().undecodedByReason[reason] ?? 0, { reason });
    });
    this.#counter(
      'verdicts_total',
      'Packets by verdict, the direction of the check that decided, and why.',
      ['action', 'direction', 'reason'],
      (put) => {
        for (const { labels, packets } of verdicts.values()) put(packets, labels);
      },
    );
    this.#counter('policy_evaluations_total', 'Packets that were judged.', [], (put) => put(view.accounting().judged));
    const unknown = 'Packets from or to addresses of the pod network that nobody owned.';
    this.#counter('identity_unknown_packets_total', unknown, [], (put) => put(this.#unknown));
    this.#counter('identity_resyncs_total', 'Whole readings of the identity store.', ['cause'], (put) => {
      for (const [cause, count] of Object.entries(view.identity().resyncs)) put(count, { cause });
    });
    this.#counter('resyncs_started_total', 'Whole readings of the identity store, by any cause.', [], (put) =>
      put(Object.values(view.identity().resyncs).reduce((sum, count) => sum + count, 0)),
    );
    this.#counter('flows_evicted_total', 'Connections no longer followed, for want of room.', ['cause'], (put) =>
      put(view.flows().evicted, { cause: 'table_full' }),
    );
    this.#counter('flowlog_dropped_total', 'Lines of the flow log that could not be written.', [], (put) =>
      put(view.flowLog().dropped),
    );
    this.#counter('flowlog_lines_total', 'Lines of the flow log that were written.', [], (put) =>
      put(view.flowLog().lines),
    );
    this.#counter('log_dropped_total', 'Lines of the log that nobody took.', [], (put) => put(view.logDropped()));
    this.#counter('child_restarts_total', 'Capture processes that were started again.', [], (put) =>
      put(view.sources().reduce((sum, { restarts }) => sum + restarts, 0)),
    );
  }

  #stateGauges(): void {
    const view = this.#view;
    const ofGeneration = (name: string, help: string, read: (generation: Generation) => number): void =>
      this.#gauge(name, help, [], (put) => {
        const generation = view.generation();
        put(generation === undefined ? 0 : read(generation));
      });
    ofGeneration('active_endpoints', 'Endpoints that are policed here.', (each) => each.localEndpoints);
    ofGeneration('active_policies', 'Policies in use.', (each) => each.policies);
    ofGeneration('active_selectors', 'IP sets in use.', (each) => each.selectors);
    ofGeneration('active_tiers', 'Tiers in use.', (each) => each.tiers);
    ofGeneration('generation', 'Number of the tables in use.', (each) => each.number);
    this.#gauge('resync_state', '1: waiting for policies; 2: they may be old; 3: in sync.', [], (put) =>
      put(view.generation() === undefined ? 1 : view.policy().isInSync ? 3 : 2),
    );
    this.#gauge('identity_revision', 'Revision of the identities in use.', [], (put) => put(view.identity().revision));
    this.#gauge('identity_lag_seconds', 'Since the store last confirmed them.', [], (put) =>
      put(view.identity().ageMs / 1000),
    );
    this.#gauge('identity_stale', '1 while verdicts of policy are stale-identity.', [], (put) =>
      put(Number(view.isStale())),
    );
    this.#gauge('ready', '1 while /readyz says so.', [], (put) => put(Number(view.isReady())));
    this.#gauge('flows_active', 'Connections followed now.', [], (put) => put(view.flows().active));
    this.#gauge('event_loop_lag_seconds', 'Longest gap of the main loop in the last ten seconds.', [], (put) =>
      put(view.eventLoopLagSeconds()),
    );
    this.#gauge('build_info', 'Always 1.', ['version', 'node_version'], (put) =>
      put(1, { version: view.version, node_version: process.versions.node }),
    );
    this.#gauge('process_resident_memory_bytes', 'Memory of the main process.', [], (put) =>
      put(process.memoryUsage.rss()),
    );
  }

  #counter(name: string, help: string, labelNames: string[], collect: (put: Put) => void): void {
    new Counter({
      name: `margay_${name}`,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset();
        collect((value, labels) => (labels === undefined ? this.inc(value) : this.inc(labels, value)));
      },
    });
  }

  #gauge(name: string, help: string, labelNames: string[], collect: (put: Put) => void): void {
    new Gauge({
      name: `margay_${name}`,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset();
        collect((value, labels) => (labels === undefined ? this.set(value) : this.set(labels, value)));
      },
    });
  }
}

type Put = (value: number, labels?: Readonly<Record<string, string>>) => void;
