/**
 * Which IP sets of a plan an address is a member of, without walking the sets: from the address to the groups that have it, and from
 * those to their sets. Full addresses are looked up, wider prefixes (network sets, few) walked.
 */
import { type IpAddress, prefixContains } from '../base/ip.ts';
import type { Plan, Prefix } from '../compile/plan.ts';
import { type AddressKey, addressKey } from '../compile/timed-owners.ts';

/** Prefixes to what they lead to. */
class PrefixIndex {
  readonly #exact = new Map<AddressKey, number[]>();
  readonly #wide: { readonly prefix: Prefix; readonly target: number }[] = [];

  add(prefix: Prefix, target: number): void {
    if (prefix.length !== (prefix.version === 4 ? 32 : 128)) {
      this.#wide.push({ prefix, target });
      return;
    }
    const key = addressKey(prefix);
    const list = this.#exact.get(key);
    if (list === undefined) this.#exact.set(key, [target]);
    else list.push(target);
  }

  find(address: IpAddress): readonly number[] {
    const exact = this.#exact.get(addressKey({ ...address, length: 0 })) ?? [];
    const wide = this.#wide.filter(({ prefix }) => prefixContains(prefix, address)).map(({ target }) => target);
    return wide.length === 0 ? exact : [...exact, ...wide];
  }
}

export class Members {
  readonly #plan: Plan;
  readonly #groups = new PrefixIndex();
  readonly #sets = new PrefixIndex();
  readonly #setsOfGroup: readonly number[][];

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#setsOfGroup = plan.groups.map(() => []);
    plan.groups.forEach(({ prefixes }, group) => {
      for (const prefix of prefixes) this.#groups.add(prefix, group);
    });
    plan.ipSets.forEach(({ type, groups, prefixes }, set) => {
      if (type !== 'net') return;
      for (const group of groups) this.#setsOfGroup[group]!.push(set);
      for (const prefix of prefixes) this.#sets.add(prefix, set);
    });
  }

  /** @param owning  groups of the pods that own the address at the time, where its owners change; undefined = all that have it */
  setsOf(address: IpAddress, owning?: ReadonlySet<number>): ReadonlySet<number> {
    const sets = new Set(this.#sets.find(address));
    for (const group of this.#groups.find(address)) {
      const isOwner = owning === undefined || this.#plan.groups[group]!.kind !== 'wep' || owning.has(group);
      if (isOwner) for (const set of this.#setsOfGroup[group]!) sets.add(set);
    }
    return sets;
  }
}
