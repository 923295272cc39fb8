/**
 * The ordered policies of every group.
 *
 * A policy applies to a group if its selector matches the group's labels. What a workload endpoint runs are the policies
 * that are neither doNotTrack nor preDNAT; those two kinds have no effect on it at all (corner case 80). A host endpoint
 * has four lists (semantics 6.6):
 *
 *     policy           normal   forward   preDNAT       untracked
 *     plain              x
 *     applyOnForward     x         x
 *     preDNAT                             x (ingress)
 *     doNotTrack                                           x
 *
 * Staged policies stand where they would run if they were enforced.
 *
 * Many groups run the same list, and with global policies every list is long: 200 global policies over 50 000 groups are
 * ten million entries. So lists are not built per group. Policies are taken in the order they run, and each group holds
 * the end of a chain of policies; to append policy p to all its groups, a group whose chain ends at node n moves on to the
 * child of n for p, the same child for all groups that were at n. Groups with equal lists end at one node, and the list
 * is written down once and shared.
 *
 *     policies a (groups 0 1 2), b (0 1), c (2)      0, 1: root-a-b      2: root-a-c
 *
 * Source: Calico felix/calc/active_rules_calculator.go, policy_resolver.go, event_sequencer.go (tierInfoToProtoTierInfo).
 */
import type { PlanPolicy, PlanTierPolicies } from './plan.ts';

/** Lists of one group, as in `PlanGroup`. */
export interface GroupPolicies {
  readonly tiers: readonly PlanTierPolicies[];
  readonly forwardTiers: readonly PlanTierPolicies[];
  readonly preDnatTiers: readonly PlanTierPolicies[];
  readonly untrackedTiers: readonly PlanTierPolicies[];
}

/**
 * Policies of each group.
 *
 * @param policies in the order they run
 * @param selected for each policy, the groups its selector matches
 * @param kinds for each group, its kind; network sets (`ns`) get no policies
 */
export function selectPolicies(
  policies: readonly PlanPolicy[],
  selected: readonly (readonly number[])[],
  kinds: readonly ('wep' | 'hep' | 'ns')[],
): GroupPolicies[] {
  const isHost = kinds.map((kind) => kind === 'hep');
  const isTarget = kinds.map((kind) => kind !== 'ns');
  const normal = new PolicyChains(policies, kinds.length);
  const forward = new PolicyChains(policies, kinds.length);
  const preDnat = new PolicyChains(policies, kinds.length, 'ingress only');
  const untracked = new PolicyChains(policies, kinds.length);
  for (const [index, policy] of policies.entries()) {
    const groups = selected[index]!;
    if (policy.doNotTrack) untracked.append(index, groups, isHost);
    else if (policy.preDnat) preDnat.append(index, groups, isHost);
    else {
      normal.append(index, groups, isTarget);
      if (policy.applyOnForward) forward.append(index, groups, isHost);
    }
  }
  return kinds.map((_, group) => ({
    tiers: normal.tiersOf(group),
    forwardTiers: forward.tiersOf(group),
    preDnatTiers: preDnat.tiersOf(group),
    untrackedTiers: untracked.tiersOf(group),
  }));
}

/** One list of policies a group, as ends of shared chains. Node 0 is the empty list. */
class PolicyChains {
  readonly #policies: readonly PlanPolicy[];
  readonly #isIngressOnly: boolean;
  readonly #nodeOfGroup: Int32Array;
  readonly #parents: number[] = [-1];
  readonly #policyOfNode: number[] = [-1];
  readonly #tiersOfNode = new Map<number, readonly PlanTierPolicies[]>();

  constructor(policies: readonly PlanPolicy[], groupCount: number, directions?: 'ingress only') {
    this.#policies = policies;
    this.#isIngressOnly = directions === 'ingress only';
    this.#nodeOfGroup = new Int32Array(groupCount);
  }

  /** Appends a policy to the lists of those `groups` that `isTaker` has; policies come in the order they run. */
  append(policy: number, groups: readonly number[], isTaker: readonly boolean[]): void {
    const childOf = new Map<number, number>();
    // Most groups in a row are at one node: remember the last step.
    let lastNode = -1;
    let lastChild = -1;
    for (const group of groups) {
      if (!isTaker[group]) continue;
      const node = this.#nodeOfGroup[group]!;
      if (node !== lastNode) {
        lastNode = node;
        lastChild = childOf.get(node) ?? this.#makeChild(node, policy);
        childOf.set(node, lastChild);
      }
      this.#nodeOfGroup[group] = lastChild;
    }
  }

  #makeChild(node: number, policy: number): number {
    this.#policyOfNode.push(policy);
    return this.#parents.push(node) - 1;
  }

  /** The group's list by tiers; groups with equal lists get the same array. */
  tiersOf(group: number): readonly PlanTierPolicies[] {
    const node = this.#nodeOfGroup[group]!;
    const known = this.#tiersOfNode.get(node);
    if (known !== undefined) return known;
    const list: number[] = [];
    for (let at = node; at !== 0; at = this.#parents[at]!) list.push(this.#policyOfNode[at]!);
    const tiers = this.#byTier(list.reverse());
    this.#tiersOfNode.set(node, tiers);
    return tiers;
  }

  #byTier(list: readonly number[]): PlanTierPolicies[] {
    const tiers: { tier: number; ingress: number[]; egress: number[] }[] = [];
    for (const index of list) {
      const { tier, hasIngress, hasEgress } = this.#policies[index]!;
      const isEgress = hasEgress && !this.#isIngressOnly;
      if (!hasIngress && !isEgress) continue;
      let last = tiers.at(-1);
      if (last?.tier !== tier) {
        last = { tier, ingress: [], egress: [] };
        tiers.push(last);
      }
      if (hasIngress) last.ingress.push(index);
      if (isEgress) last.egress.push(index);
    }
    return tiers;
  }
}
