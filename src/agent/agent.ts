/**
 * The agent's main process: it follows policies and identities (policies.ts), gives the engine its tables, keeps what the engine tells, and shows it.
 *
 *   plane (thread) ── generation ──► agent ── publish ──► engine ──► capture processes
 *        ▲  reload, explain            │  ▲                 │
 *        └─────────────────────────────┤  └── flows, hits, findings, sources
 *                                      ├──► HTTP: page, API, metrics, health
 *                                      └──► flow log, log
 *
 * Nothing here waits for a packet, a compile, a disk or a reader, so that every question is answered within a quarter of a second.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { parseListen } from '../authz/listen.ts';
import { viewTables } from '../tables/tables.ts';
import { AgentState, roundMs } from './agent-state.ts';
import type { Accounting, ConfigValue } from './api.ts';
import { pageFolder, readAssets } from './assets.ts';
import { type AgentConfig, type ResolvedConfig, sourcesOf } from './config.ts';
import type { CaptureEngine, EngineEvents, EngineOptions } from './engine.ts';
import { FlowLog } from './flow-log.ts';
import { fileError, readTls, readToken } from './given-files.ts';
import { AgentHttp } from './http.ts';
import type { AgentLog, LineSink } from './log.ts';
import { AgentMetrics } from './metrics.ts';
import type { Generation, PlaneReport } from './plane-messages.ts';
import { PlaneClient } from './policies.ts';
import { checkPaths } from './preflight.ts';
import { RetiredMemory } from './retired-memory.ts';

export interface AgentParts {
  readonly version: string;
  readonly log: AgentLog;
  readonly stdout: LineSink;
  /** Lines of the log that nobody took. */
  readonly logDropped: () => number;
  readonly createEngine: (options: EngineOptions, events: EngineEvents) => Promise<CaptureEngine>;
  readonly signals: AgentSignals;
}

/** What comes from outside: tests bring their own. */
export interface AgentSignals {
  readonly stop: AbortSignal;
  /** Calls `reload` for SIGHUP, `dump` for SIGUSR2; returns how to take that back. */
  readonly listen: (reload: () => void, dump: () => void) => () => void;
  /** Called once, when requests are answered. */
  readonly onReady?: (url: string) => void;
}

const TICK_MS = 1_000;
/** Of the five seconds that an end may take. */
const ENGINE_STOP_MS = 3_000;
const FLOW_LOG_STOP_MS = 700;
const PLANE_STOP_MS = 500;
const LAG_WINDOW_TICKS = 10;

/** Runs until it is told to stop (or its sources have ended, with `--until-end`). Gives the exit code: 0, or 4 if something could not be ended in time. */
export async function runAgent({ config, values }: ResolvedConfig, parts: AgentParts): Promise<number> {
  const agent = new Agent(config, values, parts);
  await agent.start();
  await agent.ended;
  return agent.stop();
}

class Agent {
  readonly ended: Promise<void>;
  readonly #config: AgentConfig;
  readonly #parts: AgentParts;
  readonly #state: AgentState;
  readonly #retired = new RetiredMemory();
  readonly #metrics: AgentMetrics;
  readonly #values: readonly ConfigValue[];
  readonly #lag: IntervalHistogram;
  #lagBeforeMs = 0;
  #ticks = 0;
  #engine: CaptureEngine | undefined;
  #plane: PlaneClient | undefined;
  #http: AgentHttp | undefined;
  #flowLog: FlowLog | undefined;
  #ticking: NodeJS.Timeout | undefined;
  #unlisten: (() => void) | undefined;
  #isStale = false;
  readonly #failed = new Set<string>();
  #end: () => void = () => {};

  constructor(config: AgentConfig, values: readonly ConfigValue[], parts: AgentParts) {
    this.#config = config;
    this.#values = values;
    this.#parts = parts;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#lag = monitorEventLoopDelay({ resolution: 10 });
    this.#state = new AgentState(config, parts.version, {
      accounting: () => this.#engine?.accounting() ?? NO_ACCOUNTING,
      sources: () => this.#engine?.sources() ?? [],
      flows: () => this.#engine?.flows() ?? { active: 0, evicted: 0 },
      lagMs: () => Math.max(this.#lagBeforeMs, this.#lag.max / 1e6),
    });
    const state = this.#state;
    this.#metrics = new AgentMetrics(
      {
        version: parts.version,
        accounting: () => this.#engine?.accounting() ?? NO_ACCOUNTING,
        sources: () => this.#engine?.sources() ?? [],
        flows: () => this.#engine?.flows() ?? { active: 0, evicted: 0 },
        flowLog: () => this.#flowLog ?? { dropped: 0, lines: 0 },
        logDropped: parts.logDropped,
        policy: () => state.policy,
        identity: () => state.identity,
        isStale: () => this.#isStale,
        isReady: () => state.readiness().isReady,
        generation: () => state.generation,
        eventLoopLagSeconds: () => Math.max(this.#lagBeforeMs, this.#lag.max / 1e6) / 1000,
      },
      config.metricsBy,
    );
  }

  async start(): Promise<void> {
    const { signals, log } = this.#parts;
    const config = this.#config;
    this.#lag.enable();
    // What can fail at once fails before anything runs.
    checkPaths(config);
    await this.#openFlowLog();
    const http = await this.#openHttp();
    this.#http = http;
    const sources = sourcesOf(config);
    this.#engine = await this.#parts.createEngine(engineOptions(config), this.#events());
    this.#plane = new PlaneClient(planeOptions(config), (report) => this.#report(report));
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    this.#unlisten = signals.listen(
      () => this.#reload(),
      () => this.#dump(),
    );
    if (signals.stop.aborted) this.#end();
    else signals.stop.addEventListener('abort', () => this.#end(), { once: true });
    log.log('info', 'listening', {
      url: http.url,
      sources: sources.map(({ kind }) => kind),
      node: config.node ?? null,
    });
    this.#say(`margay agent on ${http.url}`);
    signals.onReady?.(http.url);
  }

  /** Drains, flushes, says what was seen. */
  async stop(): Promise<number> {
    const { log } = this.#parts;
    log.log('info', 'stopping');
    clearInterval(this.#ticking);
    this.#unlisten?.();
    let isClean = true;
    const accounting = await (this.#engine?.stop(ENGINE_STOP_MS) ?? NO_ACCOUNTING);
    await this.#flowLog?.close(FLOW_LOG_STOP_MS);
    await Promise.all([this.#plane?.stop(PLANE_STOP_MS), this.#http?.close()]);
    this.#lag.disable();
    const { lines = 0, dropped = 0 } = this.#flowLog ?? {};
    if (accounting.seen !== accounting.judged + accounting.duplicate + accounting.undecoded + accounting.lost) {
      isClean = false;
      log.log('error', 'the accounting does not add up', { accounting });
    }
    log.log('info', 'stopped', { accounting, flow_log: { lines, dropped } });
    for (const line of accountingLines(accounting)) this.#say(line);
    if (!isClean) return 4;
    // Incomplete, or nothing at all, of what was to be read to its end.
    return this.#config.untilEnd && this.#failed.size > 0 ? (accounting.seen > 0 ? 3 : 4) : 0;
  }

  /** For people; a flow log on standard output is for programs, and the log says the same. */
  #say(line: string): void {
    if (this.#config.flowLog !== '-') this.#parts.stdout.write(`${line}\n`);
  }

  async #openFlowLog(): Promise<void> {
    const { flowLog, format, node, flowLogInterval, flowLogMaxMib, flowLogKeep } = this.#config;
    if (flowLog === undefined) return;
    const { log, stdout } = this.#parts;
    this.#flowLog = new FlowLog({
      path: flowLog,
      stdout,
      format,
      node,
      maxBytes: flowLogMaxMib * 2 ** 20,
      keep: flowLogKeep,
      intervalMs: flowLogInterval * 1000,
      onTrouble: (trouble) => {
        this.#state.flowLogTrouble(trouble);
        if (trouble === undefined) log.log('info', 'the flow log is written again');
        else log.log('error', 'flow log', { detail: trouble });
      },
    });
    await this.#flowLog.open().catch((error: Error) => {
      throw fileError('--flow-log', error);
    });
  }

  async #openHttp(): Promise<AgentHttp> {
    const { listen, tokenFile, tlsCert, tlsKey, allowHost } = this.#config;
    const address = parseListen(listen, '--listen', true);
    if (address.kind === 'unix') throw new TypeError('the configuration lets no socket through');
    const { host, port } = address;
    const token = tokenFile === undefined ? undefined : readToken(tokenFile);
    const tls = tlsCert === undefined || tlsKey === undefined ? undefined : readTls(tlsCert, tlsKey);
    const assets = readAssets(pageFolder());
    const state = this.#state;
    const http = new AgentHttp(
      {
        status: () => state.status(),
        rates: () => state.rates.series(),
        flows: (filter, limit, before) => state.flowStore.page(filter, limit, before),
        flow: async (id) => {
          const entry = state.flowStore.get(id);
          return entry === undefined ? undefined : state.detail(entry, await this.#plane!.explain(entry.record));
        },
        policies: () => this.#plane!.board(),
        graph: () => state.graph.graph(),
        findings: (limit) => state.findings(limit),
        findingsCapture: () => this.#engine!.findingsCapture(),
        config: () => this.#values,
        metrics: () => this.#metrics.text(),
        health: () => state.health(),
        readiness: () => state.readiness(),
      },
      { host, port, token, tls, allowedHosts: allowHost, assets },
    );
    await http.listen({ host, port });
    return http;
  }

  #events(): EngineEvents {
    const { log } = this.#parts;
    const state = this.#state;
    return {
      onFlows: (updates) => {
        for (const update of updates) {
          state.flowStore.take(update);
          const delta = state.deltas.of(update);
          state.graph.add(delta);
          this.#metrics.flow(delta);
          this.#flowLog?.take(update);
        }
      },
      onRuleHits: (hits) => {
        for (const { rule, packets } of hits.hits) {
          const name = rule < 0 ? undefined : state.steps.of(hits.generation, rule);
          if (rule < 0) this.#metrics.other(-1 - rule, packets);
          else if (name !== undefined) this.#metrics.step(name, packets);
        }
        this.#plane?.hits(hits);
      },
      onFinding: (finding) => {
        state.finding(finding);
        this.#metrics.finding(finding.kind);
        const { source_ip, dest_ip, dest_port, proto } = finding.record;
        const flow = { source_ip, dest_ip, proto, dest_port };
        log.log('warn', finding.kind, { ...flow, rule: finding.rule, cause: finding.cause, is_weak: finding.isWeak });
      },
      onSources: (sources) => {
        state.sourcesChanged(sources);
        for (const { name, state: now, trouble = '' } of sources) {
          if (now !== 'failed' || this.#failed.has(name)) continue;
          this.#failed.add(name);
          log.log('error', 'a source of packets failed', { source: name, detail: trouble });
        }
      },
      onLog: (level, message, fields) => log.log(level, message, fields),
      onEnd: () => {
        log.log('info', 'all sources have ended');
        if (this.#config.untilEnd) this.#end();
      },
    };
  }

  #report(report: Exclude<PlaneReport, { readonly kind: 'explained' | 'board' }>): void {
    const { log } = this.#parts;
    switch (report.kind) {
      case 'generation':
        void this.#publish(report.generation);
        return;
      case 'owners':
        this.#engine?.setOwners(report.change);
        return;
      case 'policy':
        if (report.status.isRefused && !this.#state.policy.isRefused) this.#metrics.refused();
        this.#state.policyChanged(report.status);
        return;
      case 'identity':
        this.#state.identityChanged(report.status);
        this.#checkAge();
        return;
      case 'log':
        log.log(report.level, report.message, report.fields);
        return;
      default:
        report satisfies never;
    }
  }

  /** Puts a generation in use. The engine skips those that a newer one overtakes; changes of owners follow their tables. */
  async #publish(generation: Generation): Promise<void> {
    const { log } = this.#parts;
    const { number, buffer, how, runs, begun, accountPods, compileMs, endpoints, localEndpoints } = generation;
    const { policies, warnings } = generation;
    if (how === 'written') this.#state.steps.follow(number, viewTables(buffer));
    else this.#state.steps.take(number, viewTables(buffer));
    if (accountPods !== undefined) this.#state.graph.setPods(accountPods);
    try {
      await this.#engine?.publish(buffer, number, { runs, begun });
    } catch (error) {
      log.log('error', 'a generation could not be put in use', {
        generation: number,
        detail: (error as Error).message,
      });
      return;
    }
    if (number < (this.#state.generation?.number ?? 0)) return;
    this.#state.published(generation);
    // What is written takes turns in two buffers.
    if (how === 'compiled') this.#retired.replacedBy(buffer.byteLength * (begun === undefined ? 1 : 2));
    this.#metrics.generation(generation);
    for (const detail of generation.warningLines) log.log('warn', 'input', { detail });
    const counts = { generation: number, endpoints, local_endpoints: localEndpoints, policies, warnings };
    log.log('info', 'policies in use', { ...counts, how, compile_ms: roundMs(compileMs) });
  }

  #checkAge(): void {
    const isStale = this.#state.identityAgeMs() > this.#config.identityStaleAfter * 1000;
    if (isStale === this.#isStale) return;
    this.#isStale = isStale;
    this.#engine?.setStale(isStale);
    const { trouble } = this.#state.identity;
    if (isStale)
      this.#parts.log.log('error', 'identities are stale: verdicts of policy are uncertain', { detail: trouble });
    else this.#parts.log.log('info', 'identities are current again');
  }

  #tick(): void {
    this.#checkAge();
    const status = this.#state.tick();
    if (++this.#ticks % LAG_WINDOW_TICKS === 0) {
      this.#lagBeforeMs = this.#lag.max / 1e6;
      this.#lag.reset();
    }
    this.#http?.tick(status.status, status.step);
  }

  #reload(): void {
    this.#parts.log.log('info', 'reloading');
    this.#plane?.reload();
    void this.#flowLog?.reopen();
  }

  /** SIGUSR2: everything that one would ask for, in one line of the log. */
  #dump(): void {
    const status = this.#state.status();
    const { lines = 0, dropped = 0 } = this.#flowLog ?? {};
    this.#parts.log.log('info', 'state', {
      status,
      flow_log: { lines, dropped },
      listeners: this.#http?.listeners ?? 0,
      flows_kept: this.#state.flowStore.size,
      settings: Object.fromEntries(this.#values.map(({ key, value }) => [key, value])),
    });
  }
}

function engineOptions(config: AgentConfig): EngineOptions {
  const { filter, snapBytes, ringMib, captureMib, splits, flowEntries, conntrackEntries } = config;
  const { capturePoint, deduplicate, findingsMib } = config;
  return {
    sources: sourcesOf(config),
    filter,
    snapBytes,
    ringBytes: ringMib * 2 ** 20,
    captureBytes: captureMib * 2 ** 20,
    splits,
    flowEntries,
    conntrackEntries,
    capturePoint,
    isDeduplicating: deduplicate === 'auto' ? undefined : deduplicate === 'yes',
    findingsBytes: findingsMib * 2 ** 20,
  };
}

function planeOptions(config: AgentConfig) {
  const { filename, recursive, strict, permissive, asIs, node, dataplane, kubernetes, kubeconfig, context } = config;
  const { redis, cluster, verifyKey, capturePoint } = config;
  const policies = { filename, recursive, strict, permissive, asIs, node, dataplane, kubernetes, kubeconfig, context };
  return { ...policies, redis, cluster, verifyKey, capturePoint };
}

/** What people read at the end. */
function accountingLines(accounting: Accounting): string[] {
  const { seen, judged, duplicate, undecoded, lost, droppedByKernel, isKernelDropEstimated } = accounting;
  const { allow, deny, unpoliced, uncertain } = accounting;
  return [
    `seen ${seen} = judged ${judged} + duplicate ${duplicate} + undecoded ${undecoded} + lost ${lost}`,
    `judged ${judged} = allow ${allow} + deny ${deny} + unpoliced ${unpoliced} + uncertain ${uncertain}`,
    `dropped by the kernel before they were seen: ${droppedByKernel}${isKernelDropEstimated ? ' (estimated)' : ''}`,
  ];
}

export const NO_ACCOUNTING: Accounting = {
  seen: 0,
  judged: 0,
  duplicate: 0,
  undecoded: 0,
  lost: 0,
  droppedByKernel: 0,
  isKernelDropEstimated: false,
  allow: 0,
  deny: 0,
  unpoliced: 0,
  uncertain: 0,
  bytes: 0,
  undecodedByReason: {},
  lostByReason: {},
};
