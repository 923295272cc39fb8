/**
 * The plane of policies and identities: it follows both, compiles what changed, and hands finished tables out, generation by generation.
 *
 *   files, watched ────────┐                        ┌─► generation: buffer, board, counts
 *   Kubernetes API ────────┤─► objects ─► plan ─► tables
 *   Redis ─► identities ───┘      └── refused: the last good generation stays, and is said to be old
 *
 * It runs in a thread of its own (plane-worker.ts): a compile of a large cluster takes seconds, and the main process must answer meanwhile. What
 * came during a compile is compiled after it, all of it at once.
 */
import { explainFlow } from '../analyze/explain.ts';
import { explanationLines, wrapLines } from '../analyze/explain-text.ts';
import { liveRoom } from '../analyze/live-room.ts';
import { flowOfRecord } from '../analyze/read-record.ts';
import { escapeControls, PolicyError } from '../base/errors.ts';
import { packPlan, packTimedPlan } from '../compile/pack.ts';
import type { Plan } from '../compile/plan.ts';
import { newPlanCaches, planCluster } from '../compile/plan-cluster.ts';
import type { Change } from '../identity/keys.ts';
import { formatProblem, type LoadProblem } from '../load/problem.ts';
import { podAddressTexts } from '../model/pod-addresses.ts';
import type { Resources } from '../model/resources.ts';
import { openTables } from '../tables/tables.ts';
import type { ApiRecord } from './api.ts';
import { boardOf, HitBoard } from './board.ts';
import type { OwnerChange } from './engine.ts';
import { explainSteps } from './explain-steps.ts';
import { IdentityFeed } from './identity-feed.ts';
import { LiveTables } from './live-tables.ts';
import type { Explained, Generation, PlaneOptions, PlaneOrder, PlaneReport } from './plane-messages.ts';
import { openPolicySource, type PolicySource } from './policy-source.ts';

/** Lines of errors and warnings that are told one by one. */
const LINES_MAX = 20;
const STATUS_MS = 500;
/** Between two compiles that changes of identities ask for: a large cluster changes all the time. */
const IDENTITY_COMPILE_MS = 1_000;
const IDENTITY_COMPILE_SHARE = 4;
const TEXT_WIDTH = 100;
/** Endpoints from which on a cluster is large: what it is made of is not kept, and garbage is collected at once (plane-worker.ts). */
export const LARGE_ENDPOINTS = 20_000;

export class PolicyPlane {
  readonly #options: PlaneOptions;
  readonly #send: (report: PlaneReport) => void;
  #caches = newPlanCaches();
  #source: PolicySource | undefined;
  #identities: IdentityFeed | undefined;
  #resources: Resources | undefined;
  #warnings: readonly LoadProblem[] = [];
  /** Number of the tables in use, and what they were made of, unless that is large. */
  #inUse: { readonly generation: number; readonly resources: Resources | undefined } | undefined;
  #live: LiveTables | undefined;
  readonly #hits = new HitBoard();
  #generation: number;
  #trouble = '';
  #isRefused = false;
  /** What has to be done: read the objects again, or only compile them. */
  #wanted: 'nothing' | 'compile' | 'load' = 'nothing';
  #timer: NodeJS.Timeout | undefined;
  #compiledMs = Number.NEGATIVE_INFINITY;
  #lastCompileMs = 0;
  #statusTimer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: PlaneOptions, send: (report: PlaneReport) => void) {
    this.#options = options;
    this.#send = send;
    this.#generation = options.firstGeneration - 1;
  }

  async start(): Promise<void> {
    this.#source = await openPolicySource(this.#options, {
      onChange: () => this.#want('load', 0),
      onTrouble: (trouble) => this.#log('warn', 'policies', { detail: trouble }),
    });
    if (this.#options.redis !== undefined) {
      this.#identities = await IdentityFeed.open(this.#options, {
        onChange: (change) => this.#identitiesChanged(change),
        onTrouble: (trouble) => this.#log('warn', 'identities', { detail: trouble }),
      });
    }
    this.#statusTimer = setInterval(() => this.#tellStatus(), STATUS_MS);
    this.#want('load', 0);
  }

  async take(order: PlaneOrder): Promise<void> {
    switch (order.kind) {
      case 'reload':
        this.#want('load', 0);
        return;
      case 'hits':
        this.#hits.add(order.hits);
        return;
      case 'board':
        // Made here: with ten thousand policies it takes longer than the main process may stand still.
        this.#send({ kind: 'board', id: order.id, json: new TextEncoder().encode(JSON.stringify(this.#hits.board())) });
        return;
      case 'explain':
        this.#send({ kind: 'explained', id: order.id, ...this.#explain(order.record) });
        return;
      case 'stop':
        await this.stop();
        return;
      default:
        order satisfies never;
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    clearInterval(this.#statusTimer);
    this.#live?.close();
    this.#source?.close();
    await this.#identities?.close();
  }

  #want(what: 'compile' | 'load', afterMs: number): void {
    if (this.#isStopped) return;
    if (this.#wanted !== 'load') this.#wanted = what;
    if (this.#timer !== undefined && afterMs > 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#work();
    }, afterMs);
  }

  /** A change goes into the tables in use; what they cannot follow, and a table that was read anew, need new ones. */
  #identitiesChanged(change: Change | undefined): void {
    if (change === undefined) {
      // The tables in use speak of the table before.
      this.#live?.close();
      this.#live = undefined;
    } else if (this.#live !== undefined) {
      this.#live.apply(change);
      if (!this.#live.isOutdated) return;
    }
    const sinceMs = performance.now() - this.#compiledMs;
    const betweenMs = Math.max(IDENTITY_COMPILE_MS, IDENTITY_COMPILE_SHARE * this.#lastCompileMs);
    this.#want('compile', Math.max(0, betweenMs - sinceMs));
  }

  /** Loads and compiles what is wanted; refuses what is wrong with all its errors. */
  #work(): void {
    const wanted = this.#wanted;
    this.#wanted = 'nothing';
    const startedMs = performance.now();
    try {
      if (wanted === 'load' && !this.#load()) return;
      if (this.#resources !== undefined && this.#identities?.isReady !== false)
        this.#compile(this.#resources, startedMs);
    } catch (error) {
      const detail = error instanceof PolicyError ? error.message : ((error as Error).stack ?? String(error));
      this.#refuse([detail]);
    } finally {
      this.#tellStatus();
    }
  }

  #load(): boolean {
    const source = this.#source;
    if (source === undefined || !source.isComplete) return false;
    const loaded = source.load();
    if (loaded.errors.length > 0) {
      this.#refuse(loaded.errors.map(formatProblem));
      return false;
    }
    this.#resources = loaded.resources;
    this.#warnings = loaded.warnings;
    return true;
  }

  #compile(resources: Resources, startedMs: number): void {
    const { node, dataplane } = this.#options;
    const overlaid = this.#identities === undefined ? resources : this.#identities.overlay(resources);
    // Pods of identities are made anew each time: nothing known of them is found again.
    const plan = planCluster(overlaid, this.#identities === undefined ? this.#caches : newPlanCaches());
    if (node !== undefined && !plan.nodes.some(({ name }) => name === node)) {
      this.#refuse([`--node: no Node, pod or host endpoint of the input names the node '${escapeControls(node)}'`]);
      return;
    }
    const identities = this.#identities;
    const options = { node, dataplane, needsIdentity: identities !== undefined };
    const packed = packTimedPlan(
      plan,
      identities === undefined ? options : { ...options, live: liveRoom(overlaid.nodes) },
    );
    const { buffer } = packed;
    const tables = openTables(buffer);
    this.#compiledMs = performance.now();
    this.#lastCompileMs = this.#compiledMs - startedMs;
    this.#generation++;
    this.#live?.close();
    if (identities !== undefined && packed.live !== undefined) {
      const send = (change: OwnerChange): void => this.#send({ kind: 'owners', change });
      this.#live = new LiveTables(tables, packed.live, plan, identities.table, this.#generation, send);
    }
    // Of a large cluster plan and pods take more memory than all else: they are not kept, and read again by who asks.
    const isLarge = plan.endpoints.length >= LARGE_ENDPOINTS && this.#identities === undefined;
    this.#inUse = { generation: this.#generation, resources: isLarge ? undefined : resources };
    if (isLarge) {
      this.#caches = newPlanCaches();
      this.#resources = undefined;
    }
    this.#trouble = '';
    this.#isRefused = false;
    this.#hits.take(this.#generation, tables, boardOf(plan));
    this.#send({ kind: 'generation', generation: this.#describe(plan, buffer, this.#lastCompileMs) });
  }

  #describe(plan: Plan, buffer: SharedArrayBuffer, compileMs: number): Generation {
    const { node } = this.#options;
    const pods = new Map<string, number>();
    let local = 0;
    for (const endpoint of plan.endpoints) {
      if (node === undefined || endpoint.node === node) local++;
      if (endpoint.kind !== 'wep') continue;
      const account = `${endpoint.namespace}/${endpoint.serviceAccount}`;
      pods.set(account, (pods.get(account) ?? 0) + 1);
    }
    const lines = this.#warnings.slice(0, LINES_MAX).map(formatProblem);
    return {
      number: this.#generation,
      buffer,
      compileMs,
      endpoints: plan.endpoints.length,
      localEndpoints: local,
      policies: plan.policies.length,
      selectors: plan.ipSets.length,
      tiers: plan.tiers.length,
      rules: plan.policies.reduce((sum, { ingress, egress }) => sum + ingress.length + egress.length, 0),
      warnings: this.#warnings.length + plan.warnings.length,
      warningLines: lines,
      accountPods: [...pods],
    };
  }

  #refuse(lines: readonly string[]): void {
    for (const line of lines.slice(0, LINES_MAX)) this.#log('error', 'input', { detail: line });
    const rest = lines.length - 1;
    this.#trouble = `${lines[0]}${rest > 0 ? ` (and ${rest} more; margay validate lists them)` : ''}`;
    this.#isRefused = true;
    const stays =
      this.#inUse === undefined ? 'nothing is judged before it is corrected' : 'the last good policies stay';
    this.#log('error', `the input is refused; ${stays}`, { generation: this.#inUse?.generation ?? 0 });
  }

  #tellStatus(): void {
    const source = this.#source;
    if (source === undefined || this.#isStopped) return;
    const trouble = this.#isRefused ? this.#trouble : source.trouble;
    const status = {
      name: source.name,
      isInSync: source.isInSync && !this.#isRefused && this.#inUse !== undefined,
      isRefused: this.#isRefused,
      ...(trouble === undefined ? {} : { trouble }),
    };
    this.#send({ kind: 'policy', status });
    const identity = this.#identities?.status() ?? {
      name: source.name,
      revision: 0,
      lag: 0,
      ageMs: 0,
      resyncs: {},
    };
    this.#send({ kind: 'identity', status: identity });
  }

  #explain(record: ApiRecord): { readonly answer: Explained | undefined; readonly error?: string } {
    const inUse = this.#inUse;
    const flow = flowOfRecord(record);
    if (inUse === undefined) return { answer: undefined, error: 'no policies are loaded' };
    if (flow === undefined) return { answer: undefined, error: 'policies cannot be asked about a flow without ports' };
    try {
      const { node, dataplane, capturePoint } = this.#options;
      const all = inUse.resources ?? this.#source!.load().resources;
      const resources = this.#around(all, [flow.src, flow.dst]);
      const plan = planCluster(resources);
      const needsIdentity = this.#identities !== undefined;
      const tables = openTables(packPlan(plan, { node, dataplane, needsIdentity }));
      const explanation = explainFlow(resources, plan, tables, flow, { dataplane, capturePoint });
      const lines = wrapLines(explanationLines(explanation).map(escapeControls), TEXT_WIDTH);
      const steps = explainSteps(explanation, this.#source?.textOf ?? (() => undefined));
      return { answer: { generation: inUse.generation, steps, text: lines.join('\n') } };
    } catch (error) {
      return { answer: undefined, error: (error as Error).message };
    }
  }

  /** The cluster with the pods of these addresses alone: what a policy says of a flow hangs on no other pod. */
  #around(resources: Resources, addresses: readonly string[]): Resources {
    const identities = this.#identities;
    if (identities !== undefined) return identities.overlay(resources, addresses);
    const wanted = new Set(addresses);
    return {
      ...resources,
      pods: resources.pods.filter((pod) => podAddressTexts(pod).some((text) => wanted.has(text))),
    };
  }

  #log(level: 'info' | 'warn' | 'error', message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#send({ kind: 'log', level, message, fields });
  }
}
