/**
 * `who-can edit`: who can change a policy, its tier, or what runs before it.
 *
 *   change-policy    update, patch or delete it
 *   change-tier      update or patch its tier: its order, its default action
 *   policy-in-front  create or change a policy that runs before it: in a tier before its own, or in its own tier with a
 *                    lower order; Kubernetes policies count where their place (tier default, order 1000) is before it
 *   new-tier         make a tier of their own, and policies in it
 *   past-the-api     write Calico's stored objects (crd.projectcalico.org), which its API and its tier rule never see
 *
 * Through Calico's API every policy needs two rights, on the tier and on the policy (`rbac/tiers.ts`).
 */
import type { Plan, PlanPolicy } from '../compile/plan.ts';
import { coversName, type Holding, holdersOfBoth, type Need, type Principal } from '../rbac/rights.ts';
import { tierNames } from '../rbac/tiers.ts';
import {
  closingParts,
  commonNotes,
  type Entry,
  sortEntries,
  stepEntry,
  type WhoCanContext,
  type WhoCanReport,
} from './who-can.ts';

/** Finds the policies that a text names: an ID (`np:ns/name`), `ns/name`, or the name of a global policy. */
export function findPolicies(plan: Plan, text: string): readonly PlanPolicy[] {
  return plan.policies.filter(({ id }) => id === text || id.slice(id.indexOf(':') + 1) === text);
}

export function whoCanEdit(context: WhoCanContext, plan: Plan, policies: readonly PlanPolicy[]): WhoCanReport {
  const entries = policies.flatMap((policy) => editEntries(context, plan, policy, namespacesOf(plan, policy)));
  return {
    question: 'edit',
    target: policies.map(({ id }) => id).join(', '),
    depth: 1,
    entries: sortEntries(distinct(entries)),
    blocked: [],
    notes: commonNotes(context),
    ...closingParts(context),
    incomplete: context.isIncomplete,
  };
}

/** Where the pods are that the policy selects. */
function namespacesOf(plan: Plan, policy: PlanPolicy): readonly string[] {
  const index = plan.policies.indexOf(policy);
  const groups = plan.groups.filter(({ tiers }) =>
    tiers.some(({ ingress, egress }) => ingress.includes(index) || egress.includes(index)),
  );
  const names = groups.flatMap(({ endpoints }) => endpoints.map((endpoint) => plan.endpoints[endpoint]!.namespace));
  return [...new Set([policy.namespace, ...names])].filter((name) => name !== '');
}

/** One entry for each subject, way and target. */
export function distinct(entries: readonly Entry[]): Entry[] {
  const found = new Map<string, Entry>();
  for (const entry of entries) {
    const key = [entry.subject, entry.links[0]!.way, entry.targets[0]].join('\n');
    if (!found.has(key)) found.set(key, entry);
  }
  return [...found.values()];
}

const CALICO = 'projectcalico.org';
const STORED = 'crd.projectcalico.org';

/** Kinds of policies by the prefix of their IDs. */
const KINDS: Readonly<Record<string, readonly [resource: string, apiGroup: string]>> = {
  np: ['networkpolicies', CALICO],
  gnp: ['globalnetworkpolicies', CALICO],
  snp: ['stagednetworkpolicies', CALICO],
  sgnp: ['stagedglobalnetworkpolicies', CALICO],
  sknp: ['stagedkubernetesnetworkpolicies', CALICO],
  knp: ['networkpolicies', 'networking.k8s.io'],
  kcnp: ['clusternetworkpolicies', 'policy.networking.k8s.io'],
};

/** Everyone who can change `policy` or what runs before it, for pods of these namespaces. */
export function editEntries(
  context: WhoCanContext,
  plan: Plan,
  policy: PlanPolicy,
  namespaces: readonly string[],
): Entry[] {
  const editor = new Editor(context, plan, policy);
  editor.change();
  editor.changeTier();
  for (const namespace of namespaces) editor.inFront(namespace);
  editor.inFrontEverywhere();
  editor.newTier();
  return editor.entries;
}

class Editor {
  readonly entries: Entry[] = [];
  readonly #context: WhoCanContext;
  readonly #plan: Plan;
  readonly #policy: PlanPolicy;
  readonly #tier: string;

  constructor(context: WhoCanContext, plan: Plan, policy: PlanPolicy) {
    this.#context = context;
    this.#plan = plan;
    this.#policy = policy;
    this.#tier = plan.tiers[policy.tier]!.name;
  }

  change(): void {
    const { id, namespace, name } = this.#policy;
    const [resource, apiGroup] = KINDS[id.slice(0, id.indexOf(':'))]!;
    const verbs = ['update', 'patch', 'delete'];
    const target = `policy ${id}`;
    if (apiGroup === CALICO && resource !== 'stagedkubernetesnetworkpolicies') {
      this.#tiered('change-policy', verbs, resource, namespace, this.#tier, name, target);
    } else this.#plain('change-policy', { verbs, apiGroup, resource }, namespace, name, target);
    if (apiGroup === CALICO)
      this.#plain('past-the-api', { verbs, apiGroup: STORED, resource }, namespace, name, target);
  }

  changeTier(): void {
    const verbs = ['update', 'patch'];
    const target = `tier ${this.#tier}`;
    this.#plain('change-tier', { verbs, apiGroup: CALICO, resource: 'tiers' }, '', this.#tier, target);
    this.#plain('past-the-api', { verbs, apiGroup: STORED, resource: 'tiers' }, '', this.#tier, target);
  }

  /** Policies of one namespace that run before this one. */
  inFront(namespace: string): void {
    for (const tier of this.#tiersBefore()) {
      const target = this.#front(`tier ${tier}, namespace ${namespace}`);
      this.#tiered('policy-in-front', WRITE, 'networkpolicies', namespace, tier, undefined, target);
    }
    const need = { verbs: WRITE, apiGroup: STORED, resource: 'networkpolicies' };
    this.#plain('past-the-api', need, namespace, undefined, this.#front(`namespace ${namespace}`));
    if (!this.#isBehind('default', KUBERNETES_ORDER)) return;
    const kubernetes = { verbs: WRITE, apiGroup: 'networking.k8s.io', resource: 'networkpolicies' };
    const target = this.#front(`Kubernetes policies, namespace ${namespace}`);
    this.#plain('policy-in-front', kubernetes, namespace, undefined, target);
  }

  inFrontEverywhere(): void {
    for (const tier of this.#tiersBefore()) {
      this.#tiered('policy-in-front', WRITE, 'globalnetworkpolicies', '', tier, undefined, this.#front(`tier ${tier}`));
    }
    const stored = { verbs: WRITE, apiGroup: STORED, resource: 'globalnetworkpolicies' };
    this.#plain('past-the-api', stored, '', undefined, this.#front('the whole cluster'));
    if (!this.#isBehind('kube-admin', 0)) return;
    const need = { verbs: WRITE, apiGroup: 'policy.networking.k8s.io', resource: 'clusternetworkpolicies' };
    this.#plain('policy-in-front', need, '', undefined, this.#front('ClusterNetworkPolicies'));
  }

  /** A tier that nobody knows yet has a name that no role lists, so only rights on all names count. */
  newTier(): void {
    const { rights } = this.#context;
    const makers = rights
      .holders({ verbs: ['create'], apiGroup: CALICO, resource: 'tiers' }, '')
      .filter((holding) => coversName(holding, ''));
    if (makers.length === 0) return;
    const writers = rights
      .holders({ verbs: ['create'], apiGroup: CALICO, resource: 'tier.globalnetworkpolicies' }, '')
      .filter((holding) => holding.names.length === 0);
    for (const { principal, first, second } of holdersOfBoth(makers, writers)) {
      const right = 'create tiers and tier.globalnetworkpolicies';
      this.#add(principal, 'new-tier', right, [first, second], this.#front('a tier of its own'));
    }
  }

  #tiersBefore(): readonly string[] {
    return this.#plan.tiers.slice(0, this.#policy.tier + 1).map(({ name }) => name);
  }

  /** Whether a policy of this tier and order runs before the policy in question. */
  #isBehind(tierName: string, order: number): boolean {
    const tier = this.#plan.tiers.findIndex(({ name }) => name === tierName);
    if (tier < 0 || tier > this.#policy.tier) return false;
    return tier < this.#policy.tier || order < this.#policy.order;
  }

  #front(where: string): string {
    return `a policy before ${this.#policy.id} (${where})`;
  }

  /** `name` undefined = a policy whose name its author chooses. */
  #tiered(
    way: string,
    verbs: readonly string[],
    resource: string,
    namespace: string,
    tier: string,
    name: string | undefined,
    target: string,
  ): void {
    const { rights } = this.#context;
    const getters = rights
      .holders({ verbs: ['get'], apiGroup: CALICO, resource: 'tiers' }, '')
      .filter((holding) => coversName(holding, tier));
    if (getters.length === 0) return;
    const fits = ({ names }: Holding): boolean => {
      if (names.length === 0) return true;
      if (name === undefined) return names.some((each) => each.startsWith(`${tier}.`));
      return tierNames(tier, name).some((each) => names.includes(each));
    };
    const writers = rights.holders({ verbs, apiGroup: CALICO, resource: `tier.${resource}` }, namespace).filter(fits);
    for (const { principal, first, second } of holdersOfBoth(getters, writers)) {
      this.#add(principal, way, `get tiers and ${second.verb} tier.${resource}`, [first, second], target);
    }
  }

  #plain(way: string, need: Need, namespace: string, name: string | undefined, target: string): void {
    for (const holding of this.#context.rights.holders(need, namespace)) {
      if (name === undefined ? holding.verb === 'create' && !coversName(holding, '') : !coversName(holding, name))
        continue;
      this.#add(holding.principal, way, `${holding.verb} ${need.resource}.${need.apiGroup}`, [holding], target);
    }
  }

  #add(principal: Principal, way: string, right: string, holdings: readonly Holding[], to: string): void {
    const { users } = this.#context.options;
    this.entries.push(stepEntry(principal, { way, right, holdings, to }, 'policy', users));
  }
}

const WRITE: readonly string[] = ['create', 'update', 'patch'];

/** The order of Kubernetes' policies in tier `default` (semantics 4.2). */
const KUBERNETES_ORDER = 1000;
