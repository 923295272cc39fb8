/** Counters as text: the totals of a replay, and what each rule decided. The numbers are counted in match/counters.ts. */
import { compareBytewise } from '../base/bytewise.ts';
import { type Counters, REASON_COUNT } from '../match/counters.ts';
import { REASON_NAMES, VERDICT_NAMES } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import { field, type Tables, textField } from '../tables/tables.ts';
import { DECODE_STATUS_NAMES } from '../wire/record.ts';
import { stepOrigin } from './record.ts';

/** The `totals` of `replay -o json`. */
export interface Totals {
  packets: number;
  allow: number;
  deny: number;
  unpoliced: number;
  uncertain: number;
  undecoded: number;
  undecoded_by_reason: Record<string, number>;
  bytes: number;
  connections: number;
}

export function totalsOf(counters: Counters, connections: number): Totals {
  const [allow, deny, unpoliced, uncertain, undecoded] = counters.packets;
  return {
    packets: counters.packets.reduce((sum, count) => sum + count, 0),
    allow: allow!,
    deny: deny!,
    unpoliced: unpoliced!,
    uncertain: uncertain!,
    undecoded: undecoded!,
    undecoded_by_reason: Object.fromEntries(
      DECODE_STATUS_NAMES.map((name, status): [string, number] => [name, counters.undecoded[status]!]).filter(
        ([, count]) => count > 0,
      ),
    ),
    bytes: counters.bytes.reduce((sum, count) => sum + count, 0),
    connections,
  };
}

/** What one rule, end of tier, profile or reason decided. */
export interface RuleCount {
  action: string;
  /** `np:app/web`, `pro:kns.app`; absent where no policy decided. */
  policy?: string;
  tier?: string;
  direction?: string;
  /** Index in the policy and direction; -1 = end of tier. */
  index?: number;
  /** `file:line` of the rule. */
  rule?: string;
  /** `rule`, `end-of-tier`, …, `established`. */
  reason: string;
  packets: number;
  bytes: number;
}

/** All counts above zero, most packets first, ties by what is counted. Equal rules of several chains are added up. */
export function ruleCounts(tables: Tables, counters: Counters): RuleCount[] {
  const counts = new RuleCounts();
  counts.addSteps(tables, counters);
  counts.addOthers(counters);
  return counts.sorted();
}

/** Counts by what they are of, from the tables of any number of generations. */
export class RuleCounts {
  readonly #merged = new Map<string, RuleCount>();

  /** Packets that a step decided. */
  addSteps(tables: Tables, counters: Counters): void {
    const { stepPackets, stepBytes } = counters;
    for (let step = 0; step < stepPackets.length; step++) {
      const packets = stepPackets[step]!;
      if (packets === 0) continue;
      const entry = stepCount(tables, step);
      const { action, policy = '', direction = '', index = '', reason } = entry;
      this.#add(`${action}|${policy}|${direction}|${index}|${reason}`, entry, packets, stepBytes[step]!);
    }
  }

  /** Packets that no step decided, by their reason. */
  addOthers(counters: Counters): void {
    counters.otherPackets.forEach((packets, index) => {
      if (packets === 0) return;
      const action = VERDICT_NAMES[Math.floor(index / REASON_COUNT)]!;
      const reason = REASON_NAMES[index % REASON_COUNT]! || (action === 'allow' ? 'established' : 'not-policed');
      this.#add(`${action}|${reason}`, { action, reason, packets: 0, bytes: 0 }, packets, counters.otherBytes[index]!);
    });
  }

  /** Most packets first, ties by what is counted. */
  sorted(): RuleCount[] {
    return [...this.#merged]
      .sort(([aKey, a], [bKey, b]) => b.packets - a.packets || compareBytewise(aKey, bKey))
      .map(([, entry]) => entry);
  }

  #add(key: string, found: RuleCount, packets: number, bytes: number): void {
    let entry = this.#merged.get(key);
    if (entry === undefined) {
      entry = found;
      this.#merged.set(key, entry);
    }
    entry.packets += packets;
    entry.bytes += bytes;
  }
}

/** Nothing counted yet. Properties go in one by one, since there are thousands of these to make. */
function stepCount(tables: Tables, step: number): RuleCount {
  const at = (word: number): number => field(tables, layout.SECTION_STEPS, step, word);
  const name = textField(tables, layout.SECTION_STEPS, step, layout.STEP_TRACE_NAME);
  const tier = at(layout.STEP_TIER);
  const origin = stepOrigin(tables, step);
  const entry = { action: at(layout.STEP_ACTION) === layout.STEP_DENY ? 'deny' : 'allow' } as RuleCount;
  if (name !== '') {
    entry.policy = name;
    entry.index = at(layout.STEP_TRACE_INDEX);
  }
  if (tier !== layout.NONE) entry.tier = textField(tables, layout.SECTION_TIERS, tier, layout.TIER_NAME);
  if (name !== '') entry.direction = chainDirection(tables, step);
  if (origin !== undefined) entry.rule = origin;
  entry.reason = REASON_NAMES[at(layout.STEP_REASON)]!;
  entry.packets = 0;
  entry.bytes = 0;
  return entry;
}

const directions = new WeakMap<Tables, Uint8Array>();

/** Direction of the chains that `step` belongs to: those of IPv4 and IPv6 may share it, but not those of different directions. */
export function chainDirection(tables: Tables, step: number): string {
  let ofSteps = directions.get(tables);
  if (ofSteps === undefined) {
    ofSteps = new Uint8Array(tables.counts[layout.SECTION_STEPS]!);
    for (let chain = 0; chain < tables.counts[layout.SECTION_CHAINS]!; chain++) {
      const first = field(tables, layout.SECTION_CHAINS, chain, layout.CHAIN_FIRST_STEP);
      const count = field(tables, layout.SECTION_CHAINS, chain, layout.CHAIN_STEP_COUNT);
      ofSteps.fill(field(tables, layout.SECTION_CHAINS, chain, layout.CHAIN_DIRECTION), first, first + count);
    }
    directions.set(tables, ofSteps);
  }
  return ofSteps[step] === 0 ? 'ingress' : 'egress';
}
