/**
 * The plane of policies and identities: it follows both, compiles what changed, and hands finished tables out, generation by generation.
 *
 *   files, watched ────────┐                        ┌─► generation: buffer, board, counts
 *   Kubernetes API ────────┤─► objects ─► plan ─► tables
 *   Redis ─► identities ───┘      └── refused: the last good generation stays, and is said to be old
 *
 * Of the objects of files and of the API, those that changed are told apart: where it is labels, or pods, the next generation is written into the
 * tables there are (policy-tables.ts), in a fraction of a millisecond. Owners of addresses that Redis knows have a way of their own
 * (live-tables.ts): it keeps up with thousands of changes a second, in far less memory than a compiler with all its pods takes, and it has an
 * answer where two claim an address for a moment.
 *
 * It runs in a thread of its own (plane-worker.ts): a compile of a large cluster takes seconds, and the main process must answer meanwhile. What
 * came during a compile is compiled after it, all of it at once.
 */
import { explainFlow } from '../analyze/explain.ts';
import { explanationLines, wrapLines } from '../analyze/explain-text.ts';
import { liveRoom } from '../analyze/live-room.ts';
import { flowOfRecord } from '../analyze/read-record.ts';
import { escapeControls, PolicyError } from '../base/errors.ts';
import { type PackOptions, packPlan, packTimedPlan } from '../compile/pack.ts';
import type { Plan } from '../compile/plan.ts';
import { planCluster } from '../compile/plan-cluster.ts';
import type { Change } from '../identity/keys.ts';
import { formatProblem, type LoadProblem } from '../load/problem.ts';
import { podAddressTexts } from '../model/pod-addresses.ts';
import type { Resources } from '../model/resources.ts';
import { openTables } from '../tables/tables.ts';
import type { ApiRecord } from './api.ts';
import { boardOf, HitBoard } from './board.ts';
import { Census } from './census.ts';
import type { OwnerChange } from './engine.ts';
import { explainSteps } from './explain-steps.ts';
import { IdentityFeed } from './identity-feed.ts';
import { LiveTables } from './live-tables.ts';
import type { Explained, Generation, PlaneOptions, PlaneOrder, PlaneReport } from './plane-messages.ts';
import { openPolicySource, type PolicySource } from './policy-source.ts';
import { type MadeTables, PolicyTables } from './policy-tables.ts';

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
  readonly #packOptions: PackOptions;
  readonly #tables: PolicyTables;
  #source: PolicySource | undefined;
  #identities: IdentityFeed | undefined;
  #resources: Resources | undefined;
  /** Of the last load of all objects. */
  #warnings: readonly LoadProblem[] = [];
  /** How many warnings of the load in use are about pods (census.ts), and about all else. */
  #podWarnings = 0;
  #otherWarnings = 0;
  /** Of the last plan, which generations that are written go on from. */
  #ofPlan: OfPlan = { policies: 0, selectors: 0, tiers: 0, rules: 0, planWarnings: 0 };
  /** Number of the tables in use, and what they were made of, unless that is large and not kept. */
  #inUse: { readonly generation: number; readonly resources: () => Resources | undefined } | undefined;
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
    const { node, dataplane } = options;
    this.#packOptions = { node, dataplane, needsIdentity: options.redis !== undefined };
    this.#tables = new PolicyTables(this.#packOptions);
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
        // Whoever asks wants all of it compiled, whatever it looks like.
        this.#tables.forget();
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
      if (wanted === 'load') {
        if (this.#takeChanges(startedMs)) return;
        if (!this.#load()) return;
      }
      if (this.#resources !== undefined && this.#identities?.isReady !== false)
        this.#compile(this.#resources, startedMs);
    } catch (error) {
      // What was taken of it is not known.
      this.#tables.forget();
      const detail = error instanceof PolicyError ? error.message : ((error as Error).stack ?? String(error));
      this.#refuse([detail]);
    } finally {
      this.#tellStatus();
    }
  }

  /** Takes what changed, object by object; false if all have to be loaded. */
  #takeChanges(startedMs: number): boolean {
    const source = this.#source;
    if (!this.#tables.isLive || this.#isRefused || source?.isComplete !== true) return false;
    const changes = source.takeChanges();
    if (changes === undefined) return false;
    if (changes.length === 0) return true;
    const made = this.#tables.change(changes, this.#generation + 1);
    if (made === undefined) return false;
    this.#use(made, startedMs);
    return true;
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
    if (this.#identities !== undefined) {
      this.#compileIdentities(this.#identities, resources, startedMs);
      return;
    }
    // Of a large cluster plan and pods take more memory than all else: they are not kept, and read again by who asks. Pods of the API come and
    // go one by one, so there they are.
    const isLarge = resources.pods.length >= LARGE_ENDPOINTS && !this.#options.kubernetes;
    const made = isLarge ? this.#tables.once(resources) : this.#tables.all(resources, this.#generation + 1);
    // From here on the tables keep them, or nobody.
    this.#resources = undefined;
    if (made !== undefined) this.#use(made, startedMs, this.#warnings.length);
    else if (this.#isRefused || this.#warnings.length !== this.#otherWarnings + this.#podWarnings) {
      // The same objects once more, but something else is said of them.
      this.#tables.forget();
      this.#compile(resources, startedMs);
    }
  }

  #compileIdentities(identities: IdentityFeed, resources: Resources, startedMs: number): void {
    const overlaid = identities.overlay(resources);
    const plan = planCluster(overlaid);
    const packed = packTimedPlan(plan, { ...this.#packOptions, live: liveRoom(overlaid.nodes) });
    const tables = openTables(packed.buffer);
    const census = new Census(this.#options.node, plan.endpoints);
    if (!this.#namesNode(plan, census)) return;
    this.#live?.close();
    const send = (change: OwnerChange): void => this.#send({ kind: 'owners', change });
    this.#live = new LiveTables(tables, packed.live!, plan, identities.table, this.#generation + 1, send);
    this.#inUse = { generation: this.#generation + 1, resources: () => resources };
    this.#use({ tables, plan, census, hasOtherPods: true }, startedMs, this.#warnings.length);
  }

  /** Puts tables in use as the next generation. `loadWarnings`: how many the load gave, where all objects were loaded. */
  #use({ tables, plan, runs, census, hasOtherPods }: MadeTables, startedMs: number, loadWarnings?: number): void {
    if (!this.#namesNode(plan, census)) return;
    // A pod without an address: nothing is otherwise than it was.
    if (runs?.length === 0 && census.podWarnings === this.#podWarnings && loadWarnings === undefined) return;
    this.#compiledMs = performance.now();
    this.#lastCompileMs = this.#compiledMs - startedMs;
    this.#generation++;
    if (this.#identities === undefined)
      this.#inUse = { generation: this.#generation, resources: () => this.#tables.resources() };
    this.#trouble = '';
    this.#isRefused = false;
    if (plan === undefined) this.#hits.follow(this.#generation, tables);
    else {
      this.#hits.take(this.#generation, tables, boardOf(plan));
      this.#ofPlan = describePlan(plan);
    }
    const { planWarnings, ...counts } = this.#ofPlan;
    this.#podWarnings = census.podWarnings;
    if (loadWarnings !== undefined) this.#otherWarnings = loadWarnings - census.podWarnings;
    const generation: Generation = {
      number: this.#generation,
      buffer: tables.buffer as SharedArrayBuffer,
      how: plan === undefined ? 'written' : 'compiled',
      ...(runs === undefined ? {} : { runs }),
      ...(this.#tables.isLive ? { begun: this.#tables.begun } : {}),
      compileMs: this.#lastCompileMs,
      ...counts,
      endpoints: census.endpoints,
      localEndpoints: census.localEndpoints,
      warnings: this.#otherWarnings + this.#podWarnings + planWarnings,
      // They are told once.
      warningLines: plan === undefined ? [] : this.#warnings.slice(0, LINES_MAX).map(formatProblem),
      ...(hasOtherPods ? { accountPods: census.accountPods } : {}),
    };
    this.#send({ kind: 'generation', generation });
  }

  /** Whether the input knows the node that is asked for; it is refused otherwise. */
  #namesNode(plan: Plan | undefined, census: Census): boolean {
    const { node } = this.#options;
    if (node === undefined || census.localEndpoints > 0) return true;
    const { nodes = [], hostEndpoints = [] } = (plan === undefined ? this.#tables.resources() : undefined) ?? {};
    const isNamed =
      plan?.nodes.some(({ name }) => name === node) === true ||
      nodes.some(({ meta }) => meta.name === node) ||
      hostEndpoints.some((host) => host.node === node);
    if (isNamed) return true;
    this.#tables.forget();
    this.#refuse([`--node: no Node, pod or host endpoint of the input names the node '${escapeControls(node)}'`]);
    return false;
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
      const all = inUse.resources() ?? this.#source!.load().resources;
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

/** What a plan tells of a generation. */
interface OfPlan extends Pick<Generation, 'policies' | 'selectors' | 'tiers' | 'rules'> {
  readonly planWarnings: number;
}

function describePlan({ policies, ipSets, tiers, warnings }: Plan): OfPlan {
  return {
    policies: policies.length,
    selectors: ipSets.length,
    tiers: tiers.length,
    rules: policies.reduce((sum, { ingress, egress }) => sum + ingress.length + egress.length, 0),
    planWarnings: warnings.length,
  };
}
