/**
 * One check of one flow, rule by rule: which tiers, policies and rules it met, in the order they run, and where it ended.
 *
 * The same order as the chains of compile/chains.ts, over the plan instead of the tables, and slow: every part of every
 * rule is looked at, so that each rule that did not match can say why. `overrides` asks what would happen if a rule
 * matched, or were not there.
 */
import type { Plan, PlanGroup, PlanRule, PlanTierPolicies } from '../compile/plan.ts';
import { type Probe, type RulePart, ruleParts } from './explain-rule.ts';

/** `wep`: pod policy; the others are those of a host endpoint. */
export type CheckKind = 'wep' | 'normal' | 'forward' | 'prednat' | 'untracked';
export type Direction = 'ingress' | 'egress';

export interface RuleWalk {
  readonly index: number;
  readonly action: PlanRule['action'];
  readonly file: string;
  readonly line: number;
  readonly outcome: 'matches' | 'logs' | 'does-not-match' | 'not-reached';
  /** Empty for rules that were not reached. */
  readonly parts: readonly RulePart[];
}

export interface PolicyWalk {
  /** `np:prod/web`. */
  readonly policy: string;
  /** What the policy selects. */
  readonly selector: string;
  readonly file: string;
  readonly line: number;
  readonly rules: readonly RuleWalk[];
}

export interface TierWalk {
  readonly tier: string;
  readonly default_action: 'deny' | 'pass';
  readonly policies: readonly PolicyWalk[];
  /** `continue`: no rule matched, and a tier of this kind of check has no end action. */
  readonly outcome: 'allow' | 'deny' | 'pass' | 'continue';
  /** The policy and rule that decided; index -1 = the end of the tier. */
  readonly decided_by: { readonly policy: string; readonly rule: number } | undefined;
}

export interface ProfileWalk {
  readonly profile: string;
  readonly exists: boolean;
  readonly file: string;
  readonly line: number;
  readonly rules: readonly RuleWalk[];
  readonly outcome: 'allow' | 'deny' | 'continue';
}

export interface CheckWalk {
  readonly tiers: readonly TierWalk[];
  readonly profiles: readonly ProfileWalk[];
  readonly action: 'allow' | 'deny';
  /** Entries as in records, `<pos>|<tier>|<policy>|<action>|<rule>`. */
  readonly trace: readonly string[];
}

/** What is assumed about one rule: that it matches, or that it is not there. */
export interface Override {
  readonly rule: PlanRule;
  readonly as: 'matching' | 'absent';
}

/** Walks the policies of `group` for one direction, staged ones left out. */
export function walkCheck(
  plan: Plan,
  group: PlanGroup,
  kind: CheckKind,
  direction: Direction,
  probe: Probe,
  override?: Override,
): CheckWalk {
  const tiers: TierWalk[] = [];
  const trace: string[] = [];
  const finish = (action: 'allow' | 'deny', profiles: readonly ProfileWalk[] = []): CheckWalk => ({
    tiers,
    profiles,
    action,
    trace,
  });
  for (const entry of tierLists(group, kind)) {
    const policies = entry[direction].filter((index) => !plan.policies[index]!.isStaged);
    if (policies.length === 0) continue;
    const tier = walkTier(plan, entry.tier, policies, kind, direction, probe, override);
    tiers.push(tier);
    if (tier.decided_by === undefined) continue;
    const { policy, rule } = tier.decided_by;
    trace.push(`${trace.length}|${tier.tier}|${policy}|${tier.outcome}|${rule}`);
    if (tier.outcome === 'allow' || tier.outcome === 'deny') return finish(tier.outcome);
  }
  if (kind !== 'wep' && kind !== 'normal') return finish('allow');
  const profiles: ProfileWalk[] = [];
  for (const name of group.profiles) {
    const profile = walkProfile(plan, name, direction, probe, override);
    profiles.push(profile);
    if (profile.outcome === 'continue') continue;
    const index = profile.exists ? profile.rules.findIndex(({ outcome }) => outcome === 'matches') : 0;
    trace.push(`${trace.length}|__PROFILE__|pro:${name}|${profile.outcome}|${index}`);
    return finish(profile.outcome, profiles);
  }
  trace.push(`${trace.length}|__PROFILE__|pro:__NO_MATCH__|deny|0`);
  return finish('deny', profiles);
}

function tierLists(group: PlanGroup, kind: CheckKind): readonly PlanTierPolicies[] {
  switch (kind) {
    case 'wep':
    case 'normal':
      return group.tiers;
    case 'forward':
      return group.forwardTiers;
    case 'prednat':
      return group.preDnatTiers;
    case 'untracked':
      return group.untrackedTiers;
    default:
      return kind satisfies never;
  }
}

function walkTier(
  plan: Plan,
  tierIndex: number,
  policies: readonly number[],
  kind: CheckKind,
  direction: Direction,
  probe: Probe,
  override: Override | undefined,
): TierWalk {
  const tier = plan.tiers[tierIndex]!;
  const walks: PolicyWalk[] = [];
  let decided: { policy: string; rule: number; action: 'allow' | 'deny' | 'pass' } | undefined;
  for (const index of policies) {
    const policy = plan.policies[index]!;
    const rules = walkRules(plan, policy[direction], probe, decided !== undefined, override);
    const hit = rules.find(({ outcome }) => outcome === 'matches');
    walks.push({
      policy: policy.id,
      selector: policy.selectorText,
      file: policy.origin.file,
      line: policy.origin.line,
      rules,
    });
    if (hit !== undefined && hit.action !== 'log') decided = { policy: policy.id, rule: hit.index, action: hit.action };
  }
  const hasEnd = kind !== 'prednat' && kind !== 'untracked';
  if (decided === undefined && hasEnd) {
    decided = { policy: plan.policies[policies.at(-1)!]!.id, rule: -1, action: tier.defaultAction };
  }
  return {
    tier: tier.name,
    default_action: tier.defaultAction,
    policies: walks,
    outcome: decided?.action ?? 'continue',
    decided_by: decided === undefined ? undefined : { policy: decided.policy, rule: decided.rule },
  };
}

function walkProfile(
  plan: Plan,
  name: string,
  direction: Direction,
  probe: Probe,
  override: Override | undefined,
): ProfileWalk {
  const profile = plan.profiles.find((candidate) => candidate.name === name);
  if (profile === undefined) return { profile: name, exists: false, file: '', line: 0, rules: [], outcome: 'deny' };
  const rules = walkRules(plan, profile[direction], probe, false, override);
  const hit = rules.find(({ outcome }) => outcome === 'matches');
  const { file, line } = profile.origin;
  // A Pass goes on to the next profile; BPF denies (semantics 6.10).
  const isPassDenied = hit?.action === 'pass' && probe.dataplane === 'bpf';
  const outcome = isPassDenied ? 'deny' : hit?.action === 'allow' || hit?.action === 'deny' ? hit.action : 'continue';
  return { profile: name, exists: true, file, line, rules, outcome };
}

function walkRules(
  plan: Plan,
  rules: readonly PlanRule[],
  probe: Probe,
  isOver: boolean,
  override: Override | undefined,
): RuleWalk[] {
  let isDecided = isOver;
  return rules.map((rule, index) => {
    const { file, line } = rule.origin;
    const head = { index, action: rule.action, file, line };
    if (isDecided) return { ...head, outcome: 'not-reached', parts: [] };
    const parts = ruleParts(plan, rule, probe);
    const assumed = override?.rule === rule ? override.as : undefined;
    const matches = assumed === undefined ? parts.every(({ holds }) => holds) : assumed === 'matching';
    if (!matches) return { ...head, outcome: 'does-not-match', parts };
    if (rule.action === 'log') return { ...head, outcome: 'logs', parts };
    isDecided = true;
    return { ...head, outcome: 'matches', parts };
  });
}
