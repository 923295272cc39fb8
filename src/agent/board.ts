/** Policies as a board: what a generation consists of, and how often each of its rules decided. */
import { createHash } from 'node:crypto';
import { chainDirection } from '../analyze/counters.ts';
import type { Plan, PlanPolicy, PlanProfile, PlanRule } from '../compile/plan.ts';
import { REASON_NAMES } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import { field, type Tables, textField } from '../tables/tables.ts';
import type { PolicyBoard, PolicyHits } from './api.ts';
import type { RuleHits } from './engine.ts';
import type { BoardPolicy, BoardRule, BoardTier } from './plane-messages.ts';

/** Profiles stand behind all tiers. */
const PROFILES = '__PROFILE__';

/** The board of a plan, tiers and policies in the order they run. */
export function boardOf(plan: Plan): BoardTier[] {
  const tiers = plan.tiers.map((tier, index) => ({
    name: tier.name,
    order: finite(tier.order),
    policies: plan.policies
      .filter((policy) => policy.tier === index)
      .map((policy) => boardPolicy(policy, tier.defaultAction)),
  }));
  const profiles = plan.profiles.map(boardProfile);
  return profiles.length === 0 ? tiers : [...tiers, { name: PROFILES, order: null, policies: profiles }];
}

function boardPolicy(policy: PlanPolicy, defaultAction: string): BoardPolicy {
  const end = (direction: 'ingress' | 'egress', has: boolean): BoardRule[] =>
    has ? [{ direction, index: -1, action: defaultAction }] : [];
  return {
    name: policy.id,
    order: finite(policy.order),
    isStaged: policy.isStaged,
    source: sourceOf(policy.origin),
    digest: digestOf(policy),
    rules: [
      ...policy.ingress.map((rule, index) => boardRule('ingress', rule, index)),
      ...end('ingress', policy.hasIngress),
      ...policy.egress.map((rule, index) => boardRule('egress', rule, index)),
      ...end('egress', policy.hasEgress),
    ],
  };
}

function boardProfile(profile: PlanProfile): BoardPolicy {
  return {
    name: `pro:${profile.name}`,
    order: null,
    isStaged: false,
    source: sourceOf(profile.origin),
    digest: digestOf(profile),
    rules: [
      ...profile.ingress.map((rule, index) => boardRule('ingress', rule, index)),
      ...profile.egress.map((rule, index) => boardRule('egress', rule, index)),
    ],
  };
}

function boardRule(direction: 'ingress' | 'egress', { action, origin }: PlanRule, index: number): BoardRule {
  return { direction, index, action, source: sourceOf(origin) };
}

/** Of the rules without the numbers of sets, which other policies change, and without lines, which comments change. */
function digestOf({ ingress, egress }: Pick<PlanPolicy, 'ingress' | 'egress'>): string {
  const bare = [ingress, egress].map((rules) => rules.map(({ origin: _, ...rule }) => rule));
  return createHash('sha256').update(JSON.stringify(bare)).digest('base64').slice(0, 16);
}

function sourceOf({ file, line }: { readonly file: string; readonly line: number }): string {
  return line === 0 ? file : `${file}:${line}`;
}

function finite(order: number): number | null {
  return Number.isFinite(order) ? order : null;
}

/** What a step of the tables stands for. */
export interface StepName {
  readonly policy: string;
  readonly direction: string;
  readonly index: number;
  readonly action: string;
  readonly reason: string;
}

/** Sets of tables whose steps are known: an older one may still report for a moment. */
const TABLES_KEPT = 2;

/** Generations of one set of tables: those that were written into it only add steps. */
interface NamedSteps {
  readonly first: number;
  last: number;
  tables: Tables;
  readonly names: Map<number, StepName>;
}

/** Names of steps, of the newest generations. */
export class StepNames {
  readonly #known: NamedSteps[] = [];

  /** Tables that were compiled. */
  take(generation: number, tables: Tables): void {
    this.#known.push({ first: generation, last: generation, tables, names: new Map() });
    if (this.#known.length > TABLES_KEPT) this.#known.shift();
  }

  /** Tables that were written into those of the generation before. */
  follow(generation: number, tables: Tables): void {
    const newest = this.#known.at(-1);
    if (newest === undefined) this.take(generation, tables);
    else Object.assign(newest, { last: generation, tables });
  }

  /** Undefined for steps of generations that are forgotten, and for what is no step. */
  of(generation: number, step: number): StepName | undefined {
    const known = this.#known.find(({ first, last }) => first <= generation && generation <= last);
    if (known === undefined) return undefined;
    const { tables, names } = known;
    let name = names.get(step);
    if (name === undefined) {
      if (step < 0 || step >= tables.counts[layout.SECTION_STEPS]!) return undefined;
      name = stepName(tables, step);
      names.set(step, name);
    }
    return name;
  }
}

interface Hits {
  packets: number;
  bytes: number;
}

/** Hits by policy and rule over all generations, for as long as a policy's rules stay the same. */
export class HitBoard {
  #tiers: readonly BoardTier[] = [];
  #generation = 0;
  readonly #names = new StepNames();
  /** By policy: its digest and hits by `direction index`. */
  readonly #hits = new Map<string, { digest: string; readonly rules: Map<string, Hits> }>();

  take(generation: number, tables: Tables, tiers: readonly BoardTier[]): void {
    this.#generation = generation;
    this.#tiers = tiers;
    this.#names.take(generation, tables);
    const names = new Set<string>();
    for (const { policies } of tiers) {
      for (const { name, digest } of policies) {
        names.add(name);
        const known = this.#hits.get(name);
        if (known?.digest !== digest) this.#hits.set(name, { digest, rules: new Map() });
      }
    }
    for (const name of this.#hits.keys()) if (!names.has(name)) this.#hits.delete(name);
  }

  /** Tables that were written into those of the generation before: policies and their rules are the same. */
  follow(generation: number, tables: Tables): void {
    this.#generation = generation;
    this.#names.follow(generation, tables);
  }

  add({ generation, hits }: RuleHits): void {
    for (const { rule, packets, bytes } of hits) {
      const name = this.#names.of(generation, rule);
      const policy = name === undefined ? undefined : this.#hits.get(name.policy);
      if (name === undefined || policy === undefined) continue;
      const key = `${name.direction} ${name.index}`;
      const count = policy.rules.get(key);
      if (count === undefined) policy.rules.set(key, { packets, bytes });
      else {
        count.packets += packets;
        count.bytes += bytes;
      }
    }
  }

  board(): PolicyBoard {
    return {
      generation: this.#generation,
      tiers: this.#tiers.map(({ name, order, policies }) => ({
        name,
        order,
        policies: policies.map((policy) => this.#policyHits(policy)),
      })),
    };
  }

  #policyHits({ name, order, isStaged, source, rules }: BoardPolicy): PolicyHits {
    const hits = this.#hits.get(name)?.rules;
    return {
      name,
      order,
      isStaged,
      ...(source === undefined ? {} : { source }),
      rules: rules.map((rule) => ({
        ...rule,
        ...(hits?.get(`${rule.direction} ${rule.index}`) ?? { packets: 0, bytes: 0 }),
      })),
    };
  }
}

function stepName(tables: Tables, step: number): StepName {
  const at = (word: number): number => field(tables, layout.SECTION_STEPS, step, word);
  const policy = textField(tables, layout.SECTION_STEPS, step, layout.STEP_TRACE_NAME);
  return {
    policy,
    direction: policy === '' ? '' : chainDirection(tables, step),
    index: at(layout.STEP_TRACE_INDEX),
    action: at(layout.STEP_ACTION) === layout.STEP_DENY ? 'deny' : 'allow',
    reason: REASON_NAMES[at(layout.STEP_REASON)] ?? '',
  };
}
