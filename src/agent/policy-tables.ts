/**
 * Objects to tables, for the plane (plane.ts), by the cheapest of three ways:
 *
 *   written     labels of accounts and namespaces, pods that come and go: into the tables in use (compile/live-compiler.ts), a fraction of a millisecond
 *   compiled    all else; the compiler is kept, so that the next change can be written
 *   once        clusters so large that what they are made of must not be kept, where they change as a whole (files), and owners that change by
 *               themselves (identities of Redis: analyze/live-owners.ts): compiled, and nothing is kept
 *
 * What is written goes to the older of two buffers in turn (tables/buffer-pair.ts). Nobody judges by these: capture processes have copies, which they
 * change by the words that were written (`runs`). But the main process may be about to copy a whole buffer for a process that starts, so `begun` says
 * before a word is stored which generation is being made: the buffer of generation 7 is whole until 9 begins.
 */
import { isSameValue } from '../base/same-value.ts';
import type { ResourceName } from '../compile/incremental.ts';
import { LiveCompiler } from '../compile/live-compiler.ts';
import { type PackOptions, packPlan } from '../compile/pack.ts';
import type { Plan } from '../compile/plan.ts';
import { newPlanCaches, planCluster } from '../compile/plan-cluster.ts';
import type { Namespace, Pod, Resource, Resources, ServiceAccount } from '../model/resources.ts';
import { openTables, type Tables } from '../tables/tables.ts';
import { Census } from './census.ts';

/** An object that came or changed, or went. */
export type ObjectChange =
  | { readonly kind: 'set'; readonly resource: Resource }
  | { readonly kind: 'delete'; readonly resource: ResourceName };

export interface MadeTables {
  readonly tables: Tables;
  /** Of what was compiled. */
  readonly plan?: Plan;
  /** Of what was written: first word, how many, and the words themselves, again and again. */
  readonly runs?: Int32Array;
  readonly census: Census;
  /** Pods by account are not those of the tables before. */
  readonly hasOtherPods: boolean;
}

/** More objects than these are compiled as a whole: each takes up to 0.1 ms to be written. */
const CHANGES_MAX = 1_000;

export class PolicyTables {
  /** Number of the newest generation that began to be written (one word); shared with who copies buffers. */
  readonly begun = new SharedArrayBuffer(4);
  readonly #options: PackOptions;
  #live: LiveCompiler | undefined;
  #census: Census;

  constructor(options: PackOptions) {
    this.#options = options;
    this.#census = new Census(options.node);
  }

  /** Tables of these objects alone can be written to. */
  get isLive(): boolean {
    return this.#live !== undefined;
  }

  /** The objects as they are now, where they are kept. */
  resources(): Resources | undefined {
    return this.#live?.resources();
  }

  /** What is kept is dropped: whatever comes next is compiled as a whole. */
  forget(): void {
    this.#live = undefined;
  }

  /** Tables of `resources`, of which nothing is kept. */
  once(resources: Resources): MadeTables & { readonly plan: Plan } {
    this.#live = undefined;
    const plan = planCluster(resources, newPlanCaches());
    const tables = openTables(packPlan(plan, this.#options));
    return { tables, plan, census: this.#countedAnew(plan, resources), hasOtherPods: true };
  }

  /** Tables of `resources`, all of them; undefined if they are what there was. */
  all(resources: Resources, generation: number): MadeTables | undefined {
    const live = this.#live;
    const changes = live === undefined ? [] : differences(live.resources(), resources);
    if (live === undefined || changes.length > CHANGES_MAX) {
      this.#live = undefined;
      this.#live = new LiveCompiler(resources, this.#options);
      return this.#publish(this.#live, generation);
    }
    if (changes.length === 0) return undefined;
    for (const change of changes) apply(live, change);
    const made = this.#publish(live, generation);
    this.#census.countPods(live.resources());
    return made;
  }

  /** Tables with these changes; undefined if all objects have to be looked at for what they mean. */
  change(changes: readonly ObjectChange[], generation: number): MadeTables | undefined {
    const live = this.#live;
    if (live === undefined || changes.length > CHANGES_MAX) return undefined;
    if (!changes.every((change) => isByItself(live, change))) return undefined;
    for (const change of changes) {
      const before = live.get(change.resource);
      if (before?.kind === 'Pod') this.#census.addPod(before, -1);
      if (change.kind === 'set' && change.resource.kind === 'Pod') this.#census.addPod(change.resource, 1);
      apply(live, change);
    }
    return this.#publish(live, generation);
  }

  #publish(live: LiveCompiler, generation: number): MadeTables {
    // In turns: the newest buffer may be being copied.
    const tables = live.publish(() => {
      Atomics.store(new Int32Array(this.begun), 0, generation);
      return true;
    }, true);
    const { lastWritten } = live;
    if (lastWritten === undefined) {
      const plan = live.plan();
      return { tables, plan, census: this.#countedAnew(plan, live.resources()), hasOtherPods: true };
    }
    const { came, gone } = live.lastEndpoints;
    for (const endpoint of gone) this.#census.addEndpoint(endpoint, -1);
    for (const endpoint of came) this.#census.addEndpoint(endpoint, 1);
    const hasOtherPods = came.length + gone.length > 0;
    return { tables, runs: runsOf(tables.words, lastWritten), census: this.#census, hasOtherPods };
  }

  #countedAnew(plan: Plan, resources: Resources): Census {
    this.#census = new Census(this.#options.node, plan.endpoints);
    this.#census.countPods(resources);
    return this.#census;
  }
}

function apply(live: LiveCompiler, change: ObjectChange): void {
  if (change.kind === 'set') live.set(change.resource);
  else live.delete(change.resource);
}

/** The words from each start to before each end, with where they go. */
function runsOf(words: Int32Array, ranges: readonly number[]): Int32Array {
  let length = 0;
  for (let i = 0; i < ranges.length; i += 2) length += 2 + ranges[i + 1]! - ranges[i]!;
  const runs = new Int32Array(length);
  let at = 0;
  for (let i = 0; i < ranges.length; i += 2) {
    const start = ranges[i]!;
    const count = ranges[i + 1]! - start;
    runs[at] = start;
    runs[at + 1] = count;
    runs.set(words.subarray(start, start + count), at + 2);
    at += 2 + count;
  }
  return runs;
}

/** From one set of objects to another. */
function differences(before: Resources, after: Resources): ObjectChange[] {
  const changes: ObjectChange[] = [];
  for (const name of Object.keys(before) as (keyof Resources)[]) {
    const gone = new Map<string, Resource>();
    for (const resource of before[name] as readonly Resource[]) gone.set(keyOf(resource), resource);
    for (const resource of after[name] as readonly Resource[]) {
      const key = keyOf(resource);
      const known = gone.get(key);
      gone.delete(key);
      if (known === undefined || !isSameValue(known, resource)) changes.push({ kind: 'set', resource });
    }
    for (const resource of gone.values()) changes.push({ kind: 'delete', resource });
  }
  return changes;
}

function keyOf({ kind, meta }: Resource): string {
  return `${kind}/${meta.namespace}/${meta.name}`;
}

/** Whether a change says nothing about what other objects lack: no namespace or account that nobody wrote comes or goes with it. */
function isByItself(live: LiveCompiler, { kind, resource }: ObjectChange): boolean {
  if (kind === 'set' && (resource.kind === 'Namespace' || resource.kind === 'ServiceAccount')) {
    return (live.get(resource) as Namespace | ServiceAccount | undefined)?.isSynthesised === false;
  }
  if (resource.kind !== 'Pod') return false;
  const known = live.get(resource) as Pod | undefined;
  const name = { kind: 'Namespace', meta: { namespace: '', name: resource.meta.namespace } } as const;
  const namespace = live.get(name) as Namespace | undefined;
  return known?.isSynthesised !== true && namespace?.isSynthesised === false;
}
