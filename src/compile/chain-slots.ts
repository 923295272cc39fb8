/**
 * Which chains an endpoint runs: a pod one for each direction, a host endpoint also those of semantics 6.6; and each once more as it would be
 * if staged policies were enforced, which is the same chain where there are none.
 */
import { type Dataplane, DIRECTION_EGRESS, DIRECTION_INGRESS } from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import type { ChainKind, ChainSpec } from './chains.ts';
import type { Plan, PlanGroup, PlanSettings, PlanTierPolicies } from './plan.ts';

/** Under the settings of one node, or of nodes with equal ones. */
export class ChainSlots {
  readonly #plan: Plan;
  readonly #version: 4 | 6;
  readonly #settings: PlanSettings;
  readonly #dataplane: Dataplane;
  readonly #chain: (spec: ChainSpec) => number;

  /** `chain` gives the number of a chain, new or known. */
  constructor(
    plan: Plan,
    version: 4 | 6,
    settings: PlanSettings,
    dataplane: Dataplane,
    chain: (spec: ChainSpec) => number,
  ) {
    this.#plan = plan;
    this.#version = version;
    this.#settings = settings;
    this.#dataplane = dataplane;
    this.#chain = chain;
  }

  /** The chains of an endpoint of `group`: CHAIN_SLOT_COUNT numbers, NONE where no such check runs. */
  of(group: PlanGroup): readonly number[] {
    const slots = new Array<number>(layout.CHAIN_SLOT_COUNT).fill(layout.NONE);
    if (!this.#isPoliced) return slots;
    // Also for pods without an address of this version: at its own interface a pod may send link-local or unspecified sources.
    const chain = (
      kind: ChainKind,
      direction: number,
      tiers: readonly PlanTierPolicies[],
      withStaged: boolean,
    ): number => {
      if (kind === 'untracked' && direction === DIRECTION_INGRESS && this.#isBeyondXdp(tiers, withStaged))
        return layout.NONE;
      const isNeeded = kind === 'wep' || kind === 'normal' || this.#governs(tiers, direction, withStaged);
      if (!isNeeded) return layout.NONE;
      const profiles = kind === 'wep' || kind === 'normal' ? group.profiles : [];
      return this.#chain(this.#spec(kind, direction, tiers, profiles, withStaged));
    };
    const kind = group.kind === 'wep' ? 'wep' : 'normal';
    slots[layout.SLOT_EGRESS] = chain(kind, DIRECTION_EGRESS, group.tiers, false);
    slots[layout.SLOT_INGRESS] = chain(kind, DIRECTION_INGRESS, group.tiers, false);
    slots[layout.SLOT_PENDING_EGRESS] = chain(kind, DIRECTION_EGRESS, group.tiers, true);
    slots[layout.SLOT_PENDING_INGRESS] = chain(kind, DIRECTION_INGRESS, group.tiers, true);
    if (group.kind !== 'hep') return slots;
    slots[layout.SLOT_FORWARD_EGRESS] = chain('forward', DIRECTION_EGRESS, group.forwardTiers, false);
    slots[layout.SLOT_FORWARD_INGRESS] = chain('forward', DIRECTION_INGRESS, group.forwardTiers, false);
    slots[layout.SLOT_PRE_DNAT] = chain('preDnat', DIRECTION_INGRESS, group.preDnatTiers, false);
    slots[layout.SLOT_UNTRACKED_EGRESS] = chain('untracked', DIRECTION_EGRESS, group.untrackedTiers, false);
    slots[layout.SLOT_UNTRACKED_INGRESS] = chain('untracked', DIRECTION_INGRESS, group.untrackedTiers, false);
    slots[layout.SLOT_PENDING_FORWARD_EGRESS] = chain('forward', DIRECTION_EGRESS, group.forwardTiers, true);
    slots[layout.SLOT_PENDING_FORWARD_INGRESS] = chain('forward', DIRECTION_INGRESS, group.forwardTiers, true);
    slots[layout.SLOT_PENDING_PRE_DNAT] = chain('preDnat', DIRECTION_INGRESS, group.preDnatTiers, true);
    slots[layout.SLOT_PENDING_UNTRACKED_EGRESS] = chain('untracked', DIRECTION_EGRESS, group.untrackedTiers, true);
    slots[layout.SLOT_PENDING_UNTRACKED_INGRESS] = chain('untracked', DIRECTION_INGRESS, group.untrackedTiers, true);
    return slots;
  }

  /** BPF enforces doNotTrack ingress by XDP, and that only for a single tier (semantics 6.10, Calico bpf_ep_mgr.go). */
  #isBeyondXdp(tiers: readonly PlanTierPolicies[], withStaged: boolean): boolean {
    if (this.#dataplane !== 'bpf') return false;
    const isEnforced = (policy: number): boolean => withStaged || !this.#plan.policies[policy]!.isStaged;
    return tiers.filter(({ ingress, egress }) => [...ingress, ...egress].some(isEnforced)).length > 1;
  }

  #governs(tiers: readonly PlanTierPolicies[], direction: number, withStaged: boolean): boolean {
    return tiers.some((tier) =>
      (direction === DIRECTION_INGRESS ? tier.ingress : tier.egress).some(
        (policy) => withStaged || !this.#plan.policies[policy]!.isStaged,
      ),
    );
  }

  /** The chains of a pod that Felix refuses, in the same form. */
  ofRejected(): readonly number[] {
    const slots = new Array<number>(layout.CHAIN_SLOT_COUNT).fill(layout.NONE);
    if (!this.#isPoliced) return slots;
    const chain = (direction: number): number => this.#chain(this.#spec('rejected', direction, [], [], false));
    slots[layout.SLOT_EGRESS] = slots[layout.SLOT_PENDING_EGRESS] = chain(DIRECTION_EGRESS);
    slots[layout.SLOT_INGRESS] = slots[layout.SLOT_PENDING_INGRESS] = chain(DIRECTION_INGRESS);
    return slots;
  }

  get #isPoliced(): boolean {
    return this.#version === 4 || this.#settings.ipv6Support;
  }

  #spec(
    kind: ChainKind,
    direction: number,
    tiers: readonly PlanTierPolicies[],
    profiles: readonly string[],
    withStaged: boolean,
  ): ChainSpec {
    const [version, settings, dataplane] = [this.#version, this.#settings, this.#dataplane];
    return { version, direction, kind, tiers, profiles, withStaged, settings, dataplane };
  }
}

/** Whether two groups run the same policies and profiles; equal lists of policies are one array (select-policies.ts). */
export function hasSameChains(a: PlanGroup, b: PlanGroup): boolean {
  return (
    a.kind === b.kind &&
    a.tiers === b.tiers &&
    a.forwardTiers === b.forwardTiers &&
    a.preDnatTiers === b.preDnatTiers &&
    a.untrackedTiers === b.untrackedTiers &&
    a.profiles.length === b.profiles.length &&
    a.profiles.every((name, i) => name === b.profiles[i])
  );
}
