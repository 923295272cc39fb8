/**
 * Tiers and policies in the order they run.
 *
 * Tiers that have an object come first, by order, then by name bytewise; a tier that only policies name follows all of
 * them, by name, denies by default, and is enforced all the same (corner case 71). Inside a tier policies run by order
 * (missing is last), ties by one string, `name/namespace/Kind`, bytewise: since `-` and `.` sort before `/`, `web-x` runs
 * before `web` (corner case 67), and a global policy, whose namespace is empty, before a namespaced one of its name (68).
 *
 * Worked example: `default` (order 1 000 000) and user tiers `alpha`, `zeta` without order (1 000 000 as well) run as
 * alpha, default, zeta, then kube-baseline (10 000 000), then the unknown tier `ghost`.
 * Source: Calico felix/calc/policy_sorter.go, TierLess and PolKVLess; semantics 4.1, 4.2.
 */
import { compareBytewise } from '../base/bytewise.ts';
import type { Tier } from '../model/resources.ts';
import type { PolicyDraft } from './draft.ts';
import type { PlanTier } from './plan.ts';

const BUILT_IN_TIERS: readonly PlanTier[] = [
  { name: 'kube-admin', order: 1000, defaultAction: 'pass', exists: true },
  { name: 'default', order: 1_000_000, defaultAction: 'deny', exists: true },
  { name: 'kube-baseline', order: 10_000_000, defaultAction: 'pass', exists: true },
];

/** All tiers that exist or that a policy names, in the order they run. */
export function orderTiers(tiers: readonly Tier[], policies: readonly PolicyDraft[]): PlanTier[] {
  const byName = new Map(BUILT_IN_TIERS.map((tier) => [tier.name, tier]));
  for (const { meta, order, defaultAction } of tiers) {
    const action = defaultAction === 'Pass' ? 'pass' : 'deny';
    byName.set(meta.name, { name: meta.name, order, defaultAction: action, exists: true });
  }
  for (const { tier } of policies) {
    if (byName.has(tier)) continue;
    byName.set(tier, { name: tier, order: Number.POSITIVE_INFINITY, defaultAction: 'deny', exists: false });
  }
  return [...byName.values()].sort(compareTiers);
}

function compareTiers(a: PlanTier, b: PlanTier): number {
  return Number(b.exists) - Number(a.exists) || compareNumbers(a.order, b.order) || compareBytewise(a.name, b.name);
}

/** Policies in the order they run; `tiers` as `orderTiers` gives them. */
export function orderPolicies(policies: readonly PolicyDraft[], tiers: readonly PlanTier[]): PolicyDraft[] {
  const tierIndex = new Map(tiers.map((tier, i) => [tier.name, i]));
  return policies
    .map((policy) => ({
      policy,
      tier: tierIndex.get(policy.tier)!,
      tie: `${policy.name}/${policy.namespace}/${policy.kind}`,
    }))
    .sort((a, b) => a.tier - b.tier || compareNumbers(a.policy.order, b.policy.order) || compareBytewise(a.tie, b.tie))
    .map(({ policy }) => policy);
}

/** Subtraction would make NaN of two infinities. */
function compareNumbers(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
