/** A plan to what the authorization service runs on (tables/authorization.ts): ingress alone, pods alone, enforced policies alone. */
import type { AuthorizationForm, FormChain, FormOwner, FormPolicy } from '../tables/authorization.ts';
import type { Plan, PlanGroup, PlanPolicy } from './plan.ts';

export interface AuthorizationOptions {
  /** Only the pods of this node are answered for; `undefined` = of the whole cluster. Members of sets are always all there are. */
  readonly node?: string | undefined;
}

export function authorizationForm(plan: Plan, options: AuthorizationOptions = {}): AuthorizationForm {
  const policyNumbers = new Map<number, number>();
  const policies: FormPolicy[] = [];
  plan.policies.forEach((policy, index) => {
    if (!isAsked(policy)) return;
    policyNumbers.set(index, policies.length);
    policies.push({ id: policy.id, rules: policy.ingress, origin: policy.origin });
  });
  const chains = new Chains(policyNumbers);
  return {
    tiers: plan.tiers,
    policies,
    profiles: plan.profiles.map(({ name, ingress, origin }) => ({ name, rules: ingress, origin })),
    ipSets: plan.ipSets.map(({ id, text, tuples }) => ({ id, text, tuples })),
    owners: owners(plan),
    endpoints: plan.endpoints
      .filter(({ kind, node }) => kind === 'wep' && (options.node === undefined || node === options.node))
      .map(({ key, namespace, name, node, serviceAccount, addresses, group, origin }) => {
        return { key, namespace, name, node, serviceAccount, addresses, chain: chains.of(plan.groups[group]!), origin };
      }),
    chains: chains.list,
    subjects: plan.subjects,
  };
}

/** doNotTrack and preDNAT policies have no effect on pods (semantics 4.4). */
function isAsked(policy: PlanPolicy): boolean {
  return !policy.isStaged && policy.hasIngress && !policy.doNotTrack && !policy.preDnat;
}

/** Equal chains once. */
class Chains {
  readonly list: FormChain[] = [];
  readonly #policyNumbers: ReadonlyMap<number, number>;
  readonly #ofGroup = new Map<PlanGroup, number>();
  readonly #byText = new Map<string, number>();

  constructor(policyNumbers: ReadonlyMap<number, number>) {
    this.#policyNumbers = policyNumbers;
  }

  of(group: PlanGroup): number {
    let number = this.#ofGroup.get(group);
    if (number === undefined) {
      const chain = this.#make(group);
      const text = JSON.stringify(chain);
      number = this.#byText.get(text) ?? this.list.push(chain) - 1;
      this.#byText.set(text, number);
      this.#ofGroup.set(group, number);
    }
    return number;
  }

  #make(group: PlanGroup): FormChain {
    const tiers = group.tiers.flatMap(({ tier, ingress }) => {
      const policies = ingress.flatMap((policy) => this.#policyNumbers.get(policy) ?? []);
      return policies.length === 0 ? [] : [{ tier, policies }];
    });
    return { tiers, profiles: group.profiles };
  }
}

/** A group with the sets that it is in, and each service's addresses with theirs. */
function owners(plan: Plan): FormOwner[] {
  const setsOf: number[][] = plan.groups.map(() => []);
  const out: FormOwner[] = [];
  plan.ipSets.forEach((set, index) => {
    if (set.type !== 'net') return;
    for (const group of set.groups) setsOf[group]!.push(index);
    if (set.prefixes.length > 0) out.push({ prefixes: set.prefixes, ipSets: [index] });
  });
  plan.groups.forEach(({ prefixes }, group) => {
    if (setsOf[group]!.length > 0) out.push({ prefixes, ipSets: setsOf[group]! });
  });
  return out;
}
