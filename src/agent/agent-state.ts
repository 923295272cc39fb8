/** What the agent knows: the newest of everything it was told, and what follows from it for status, health and banners. */
import { readFileSync } from 'node:fs';
import type {
  Accounting,
  AgentStatus,
  Finding,
  FindingList,
  FlowDetail,
  FlowEntry,
  RateStep,
  SourceStatus,
} from './api.ts';
import { Banners, LOSS_SHOWN_MS } from './banners.ts';
import { StepNames } from './board.ts';
import type { AgentConfig } from './config.ts';
import { FlowDeltas, FlowStore } from './flow-store.ts';
import { Graph } from './graph.ts';
import type { Explained, Generation, IdentityStatus, PolicyStatus } from './plane-messages.ts';
import { Rates } from './rates.ts';

/** Read at each question. */
export interface EngineView {
  accounting(): Accounting;
  sources(): readonly SourceStatus[];
  flows(): { readonly active: number; readonly evicted: number };
  lagMs(): number;
}

/** Findings that are kept; all are counted. */
const FINDINGS_MAX = 1_000;

export class AgentState {
  readonly flowStore: FlowStore;
  readonly deltas = new FlowDeltas();
  readonly graph = new Graph();
  readonly steps = new StepNames();
  readonly rates = new Rates();
  readonly banners = new Banners();
  generation: Generation | undefined;
  policy: PolicyStatus = { name: 'policies', isInSync: false, isRefused: false };
  identity: IdentityStatus = { name: 'identities', revision: 0, lag: 0, ageMs: 0, resyncs: {} };
  #identityAtMs = performance.now();
  #publishedAt = '';
  readonly #config: AgentConfig;
  readonly #version: string;
  readonly #engine: EngineView;
  readonly #startedAt = new Date().toISOString();
  readonly #findings: Finding[] = [];
  readonly #found = { leak: 0, blocked: 0 };
  #lost = { packets: 0, atMs: Number.NEGATIVE_INFINITY };
  #evicted = { flows: 0, atMs: Number.NEGATIVE_INFINITY };

  constructor(config: AgentConfig, version: string, engine: EngineView) {
    this.#config = config;
    this.#version = version;
    this.#engine = engine;
    this.flowStore = new FlowStore(config.flowsKept);
  }

  published(generation: Generation): void {
    this.generation = generation;
    this.#publishedAt = new Date().toISOString();
  }

  policyChanged(status: PolicyStatus): void {
    this.policy = status;
    const trouble = status.trouble ?? 'not all objects have been seen';
    const { generation } = this;
    const isOld = !status.isInSync && generation !== undefined;
    const stays = `generation ${generation?.number} stays in use`;
    this.banners.set('stale-policy', isOld ? `Policies may be old, ${stays}: ${trouble}` : undefined);
    const isUnused = status.isRefused && this.generation === undefined;
    this.banners.set('compile-failed', isUnused ? `No policies could be compiled: ${trouble}` : undefined);
  }

  identityChanged(status: IdentityStatus): void {
    this.identity = status;
    this.#identityAtMs = performance.now();
    this.#staleBanner();
  }

  /** Also when nobody has told for a while. */
  identityAgeMs(): number {
    if (this.#config.redis === undefined) return 0;
    return this.identity.ageMs + (performance.now() - this.#identityAtMs);
  }

  sourcesChanged(sources: readonly SourceStatus[]): void {
    const down = sources.filter(({ state }) => state === 'restarting' || state === 'failed');
    const text = down.map(
      ({ name, state, trouble }) => `${name} is ${state}${trouble === undefined ? '' : `: ${trouble}`}`,
    );
    this.banners.set('capture-down', down.length === 0 ? undefined : `Packets go by unseen: ${text.join('; ')}`);
  }

  flowLogTrouble(trouble: string | undefined): void {
    const text = trouble === undefined ? undefined : `Flows are missing in the flow log: ${trouble}`;
    this.banners.set('flow-log', text);
  }

  finding(finding: Finding): void {
    this.#found[finding.kind]++;
    this.#findings.push(finding);
    if (this.#findings.length > FINDINGS_MAX) this.#findings.shift();
    this.flowStore.mark(finding.flowId, finding.kind);
  }

  findings(limit: number): FindingList {
    const newest = limit === 0 ? [] : this.#findings.slice(-limit).reverse();
    return { findings: newest, total: this.#found.leak + this.#found.blocked };
  }

  /** Once a second. */
  tick(): { readonly status: AgentStatus; readonly step: RateStep } {
    const accounting = this.#engine.accounting();
    const nowMs = performance.now();
    this.#lossBanner(accounting, nowMs);
    this.#evictedBanner(nowMs);
    this.#staleBanner();
    const step = this.rates.sample(accounting, Date.now() / 1000);
    return { status: this.status(), step };
  }

  #lossBanner({ lost, droppedByKernel, isKernelDropEstimated, lostByReason }: Accounting, nowMs: number): void {
    const packets = lost + droppedByKernel;
    if (packets > this.#lost.packets) this.#lost.atMs = nowMs;
    this.#lost.packets = packets;
    if (nowMs - this.#lost.atMs > LOSS_SHOWN_MS) {
      this.banners.set('loss', undefined);
      return;
    }
    const kernel = `${droppedByKernel} by the kernel${isKernelDropEstimated ? ' (estimated)' : ''}`;
    const parts = [...Object.entries(lostByReason).map(([reason, count]) => `${count} ${reason}`), kernel];
    const text = `Packets were lost (${parts.join(', ')}): flows and findings of this time may be incomplete; more --capture-mib and --ring-mib help, and --splits where there are cores for them`;
    this.banners.set('loss', text);
  }

  #evictedBanner(nowMs: number): void {
    const { evicted } = this.#engine.flows();
    if (evicted > this.#evicted.flows) this.#evicted.atMs = nowMs;
    this.#evicted.flows = evicted;
    const isRecent = nowMs - this.#evicted.atMs <= LOSS_SHOWN_MS;
    const text = `More connections than there is room for: ${evicted} were given up early; a larger --flow-entries helps`;
    this.banners.set('evicted', isRecent ? text : undefined);
  }

  #staleBanner(): void {
    const ageSeconds = Math.round(this.identityAgeMs() / 1000);
    const isStale = ageSeconds > this.#config.identityStaleAfter;
    const trouble = this.identity.trouble ?? 'the store does not answer';
    const text = `Owners of addresses were last confirmed ${ageSeconds} s ago, verdicts of policy are uncertain: ${trouble}`;
    this.banners.set('stale-identity', isStale ? text : undefined);
  }

  status(): AgentStatus {
    const { generation } = this;
    const engine = this.#engine;
    const { active, evicted } = engine.flows();
    const trouble = this.identity.trouble;
    return {
      version: this.#version,
      node: this.#config.node ?? null,
      startedAt: this.#startedAt,
      now: new Date().toISOString(),
      isReady: this.readiness().isReady,
      generation: {
        number: generation?.number ?? 0,
        publishedAt: this.#publishedAt,
        how: generation?.how ?? 'compiled',
        compileMs: roundMs(generation?.compileMs ?? 0),
        endpoints: generation?.endpoints ?? 0,
        localEndpoints: generation?.localEndpoints ?? 0,
        policies: generation?.policies ?? 0,
        tiers: generation?.tiers ?? 0,
        rules: generation?.rules ?? 0,
        warnings: generation?.warnings ?? 0,
      },
      policySource: {
        name: this.policy.name,
        isInSync: this.policy.isInSync,
        ...(this.policy.trouble === undefined ? {} : { trouble: this.policy.trouble }),
      },
      identitySource: {
        name: this.identity.name,
        revision: this.identity.revision,
        lagMs: Math.round(this.identityAgeMs()),
        isStale: this.identityAgeMs() > this.#config.identityStaleAfter * 1000,
        ...(trouble === undefined ? {} : { trouble }),
      },
      sources: engine.sources(),
      accounting: engine.accounting(),
      activeFlows: active,
      evictedFlows: evicted,
      findings: { ...this.#found },
      eventLoopLagMs: Math.round(engine.lagMs()),
      memoryBytes: memoryBytes(engine.sources()),
      banners: this.banners.list(),
    };
  }

  /** Alive: this answers, and capture has not given up. */
  health(): { readonly isHealthy: boolean; readonly reasons: readonly string[] } {
    const failed = this.#engine.sources().filter(({ state }) => state === 'failed');
    const reasons = failed.map(({ name, trouble }) => `${name}: ${trouble ?? 'failed'}`);
    return { isHealthy: reasons.length === 0, reasons };
  }

  /** Whether its answers are those of the policies, the identities and the packets there are now. */
  readiness(): {
    readonly isReady: boolean;
    readonly reasons: readonly { readonly kind: string; readonly text: string }[];
  } {
    const reasons: { kind: string; text: string }[] = [];
    if (this.generation === undefined)
      reasons.push({ kind: 'no-policy', text: this.policy.trouble ?? 'policies are being loaded' });
    else if (!this.policy.isInSync) reasons.push({ kind: 'stale-policy', text: this.policy.trouble ?? 'not in sync' });
    if (this.identityAgeMs() > this.#config.identityDeadAfter * 1000) {
      reasons.push({ kind: 'stale-identity', text: this.identity.trouble ?? 'the store does not answer' });
    }
    const sources = this.#engine.sources();
    for (const { name, state, trouble } of sources) {
      if (state !== 'running' && state !== 'ended')
        reasons.push({ kind: 'capture-down', text: `${name}: ${trouble ?? state}` });
    }
    if (sources.length === 0) reasons.push({ kind: 'capture-down', text: 'capture has not started' });
    return { isReady: reasons.length === 0, reasons };
  }

  detail(entry: FlowEntry, explained: { readonly answer: Explained | undefined; readonly error?: string }): FlowDetail {
    const { answer, error } = explained;
    if (answer === undefined) return { ...entry, steps: [], text: error ?? '' };
    const isOther = answer.generation !== entry.generation;
    const note = isOther
      ? `Judged by generation ${entry.generation}; this is what generation ${answer.generation} says of a new connection:\n\n`
      : '';
    return { ...entry, steps: answer.steps, text: `${note}${answer.text}` };
  }
}

/** Whole milliseconds, or thousandths of one where there are few. */
export function roundMs(ms: number): number {
  return ms < 10 ? Math.round(ms * 1000) / 1000 : Math.round(ms);
}

/** Resident memory of this process and of those of the sources. */
function memoryBytes(sources: readonly SourceStatus[]): number {
  let bytes = process.memoryUsage.rss();
  for (const { pid } of sources) {
    if (pid === undefined) continue;
    try {
      bytes += Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
    } catch {
      // It ended meanwhile, or this is no Linux.
    }
  }
  return bytes;
}
