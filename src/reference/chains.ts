/**
 * One endpoint, one direction: tiers, then profiles (semantics 4.4, 6.6), and the trace of both (7.4).
 */
import {
  type Dataplane,
  REASON_END_OF_TIER,
  REASON_NAMES,
  REASON_NO_PROFILE_MATCH,
  REASON_PROFILE_MISSING,
  REASON_RULE,
} from '../model/flow.ts';
import type { Endpoint } from './endpoints.ts';
import type { Packet } from './packet.ts';
import type { Direction, ReferencePolicy, ReferenceTier } from './policies.ts';
import type { ReferenceRule } from './rules.ts';

/** Which policies a chain holds: `workload` for pods, the others for host endpoints (semantics 6.6). */
export type Purpose = 'workload' | 'normal' | 'forward' | 'prednat' | 'untracked';

export interface ChainResult {
  /** `none`: the chain ended without a verdict and the packet goes on. */
  readonly action: 'allow' | 'deny' | 'none';
  /** Text of `REASON_NAMES`; `''` unless the action is deny. */
  readonly reason: string;
  readonly trace: readonly string[];
}

/** Rules of every profile that an object describes and Felix accepts; a name that is missing here denies. */
export type ProfileRules = ReadonlyMap<string, Readonly<Record<Direction, readonly ReferenceRule[]>>>;

/** Makes chains and remembers them per endpoint. `isPending` chains hold the staged policies, too. */
export class Chains {
  private readonly known = new Map<Endpoint, Map<string, readonly ReferenceTier[]>>();
  private readonly tiers: readonly ReferenceTier[];
  private readonly profiles: ProfileRules;
  private readonly dataplane: Dataplane;

  constructor(tiers: readonly ReferenceTier[], profiles: ProfileRules, dataplane: Dataplane) {
    this.tiers = tiers;
    this.dataplane = dataplane;
    this.profiles = profiles;
  }

  /** The tiers that take part: those with a policy that selects the endpoint, governs the direction and belongs in the chain. */
  tiersOf(endpoint: Endpoint, purpose: Purpose, direction: Direction, isPending: boolean): readonly ReferenceTier[] {
    const ofEndpoint = this.known.get(endpoint) ?? new Map<string, readonly ReferenceTier[]>();
    this.known.set(endpoint, ofEndpoint);
    const key = `${purpose} ${direction} ${isPending}`;
    let tiers = ofEndpoint.get(key);
    if (tiers === undefined) {
      const takesPart = (policy: ReferencePolicy): boolean =>
        (isPending || !policy.isStaged) &&
        isFor(policy, purpose) &&
        policy.governs(direction) &&
        policy.selects(endpoint.labels);
      tiers = this.tiers
        .map((tier) => ({ ...tier, policies: tier.policies.filter(takesPart) }))
        .filter((tier) => tier.policies.length > 0);
      ofEndpoint.set(key, tiers);
    }
    return tiers;
  }

  run(endpoint: Endpoint, purpose: Purpose, direction: Direction, isPending: boolean, packet: Packet): ChainResult {
    const trace: string[] = [];
    const hasTierDefault = purpose !== 'prednat' && purpose !== 'untracked';
    for (const tier of this.tiersOf(endpoint, purpose, direction, isPending)) {
      const outcome = runTier(tier, direction, packet, hasTierDefault, trace);
      if (outcome !== 'pass') return { ...outcome, trace };
    }
    if (purpose !== 'workload' && purpose !== 'normal') return { action: 'none', reason: '', trace };
    return { ...this.runProfiles(endpoint, direction, packet, trace), trace };
  }

  private runProfiles(endpoint: Endpoint, direction: Direction, packet: Packet, trace: string[]): Outcome {
    const enter = (name: string, action: string, index: number): void => {
      trace.push(`${trace.length}|__PROFILE__|pro:${name}|${action}|${index}`);
    };
    for (const name of endpoint.profiles) {
      const rules = this.profiles.get(name)?.[direction];
      if (rules === undefined) {
        enter(name, 'deny', 0);
        return deny(REASON_PROFILE_MISSING);
      }
      const index = decidingRule(rules, packet);
      const written = rules[index]?.action;
      const action = written === 'Pass' && this.dataplane === 'bpf' ? 'Deny' : written;
      // Pass goes on to the next profile, as the end of the rules does.
      if (action !== 'Allow' && action !== 'Deny') continue;
      enter(name, action.toLowerCase(), index);
      return action === 'Allow' ? ALLOW : deny(REASON_RULE);
    }
    enter('__NO_MATCH__', 'deny', 0);
    return deny(REASON_NO_PROFILE_MATCH);
  }
}

interface Outcome {
  readonly action: 'allow' | 'deny';
  readonly reason: string;
}

const ALLOW: Outcome = { action: 'allow', reason: '' };

function deny(reason: number): Outcome {
  return { action: 'deny', reason: REASON_NAMES[reason]! };
}

/** Semantics 6.6, the column "Which GNPs". */
function isFor(policy: ReferencePolicy, purpose: Purpose): boolean {
  if (purpose === 'untracked') return policy.doNotTrack;
  if (purpose === 'prednat') return policy.preDNAT;
  if (policy.doNotTrack || policy.preDNAT) return false;
  return purpose !== 'forward' || policy.applyOnForward;
}

function runTier(
  tier: ReferenceTier,
  direction: Direction,
  packet: Packet,
  hasDefault: boolean,
  trace: string[],
): Outcome | 'pass' {
  const enter = (policy: ReferencePolicy, action: string, index: number): void => {
    trace.push(`${trace.length}|${tier.name}|${policy.id}|${action}|${index}`);
  };
  for (const policy of tier.policies) {
    const rules = policy.rules[direction];
    const index = decidingRule(rules, packet);
    if (index < 0) continue;
    const action = rules[index]!.action;
    enter(policy, action.toLowerCase(), index);
    if (action === 'Pass') return 'pass';
    return action === 'Allow' ? ALLOW : deny(REASON_RULE);
  }
  if (!hasDefault) return 'pass';
  enter(tier.policies.at(-1)!, tier.defaultAction, -1);
  return tier.defaultAction === 'pass' ? 'pass' : deny(REASON_END_OF_TIER);
}

/** Index of the first rule that matches and is no Log, or -1. */
function decidingRule(rules: readonly ReferenceRule[], packet: Packet): number {
  return rules.findIndex((rule) => rule.action !== 'Log' && rule.matches(packet));
}
