/**
 * Policies of every kind in one form, in the order they run (semantics 3.4, 4.1-4.3, 4.5, 5).
 */
import type { Dataplane } from '../model/flow.ts';
import type {
  ClusterNetworkPolicy,
  GlobalNetworkPolicy,
  KubernetesNetworkPolicy,
  NetworkPolicy,
  Policy,
  PolicyType,
  Resources,
} from '../model/resources.ts';
import type { Rule } from '../model/rule.ts';
import type { Labels } from './endpoints.ts';
import type { IpSets } from './ip-sets.ts';
import { clusterRules, kubernetesRules } from './kubernetes.ts';
import { isValidRule, prepareRules, type ReferenceRule } from './rules.ts';
import {
  globalPolicyText,
  namespacedPolicyText,
  namespaceSelectorText,
  podSelectorText,
  trySelector,
} from './selector-text.ts';

export type Direction = 'ingress' | 'egress';

export interface ReferencePolicy {
  /** As in traces: `np:app/web`. */
  readonly id: string;
  readonly tier: string;
  readonly isStaged: boolean;
  readonly doNotTrack: boolean;
  readonly preDNAT: boolean;
  readonly applyOnForward: boolean;
  readonly governs: (direction: Direction) => boolean;
  readonly selects: (labels: Labels) => boolean;
  readonly rules: Readonly<Record<Direction, readonly ReferenceRule[]>>;
}

export interface ReferenceTier {
  readonly name: string;
  readonly defaultAction: 'deny' | 'pass';
  /** In the order they run, staged ones where they stand. */
  readonly policies: readonly ReferencePolicy[];
}

/** All tiers that hold a policy, and their policies, in the order they run. */
export function orderedTiers(resources: Resources, sets: IpSets, dataplane: Dataplane): ReferenceTier[] {
  return convertedTiers(resources).map(({ name, defaultAction, policies }) => {
    return { name, defaultAction, policies: policies.map((policy) => prepare(policy, sets, dataplane)) };
  });
}

/** The same before rules become tests of packets. */
export function convertedTiers(resources: Resources): ConvertedTier[] {
  const converted = resources.policies.flatMap((policy) => convert(policy) ?? []).filter(isValid);
  const byTier = new Map<string, Converted[]>();
  for (const policy of converted.sort(comparePolicies)) {
    byTier.set(policy.tier, [...(byTier.get(policy.tier) ?? []), policy]);
  }
  const orders = new Map(resources.tiers.map((tier) => [tier.meta.name, tier.order]));
  const actions = new Map(resources.tiers.map((tier) => [tier.meta.name, tier.defaultAction]));
  return [...byTier.keys()].sort(compareTiers(orders)).map((name) => ({
    name,
    // A tier that no object describes denies (4.1).
    defaultAction: actions.get(name) === 'Pass' ? 'pass' : 'deny',
    exists: orders.has(name),
    policies: byTier.get(name)!,
  }));
}

/** Existing tiers first, then by order, then by name (4.1). */
function compareTiers(orders: ReadonlyMap<string, number>): (a: string, b: string) => number {
  const orderOf = (name: string): number => orders.get(name) ?? Number.POSITIVE_INFINITY;
  return (a, b) => {
    if (orders.has(a) !== orders.has(b)) return orders.has(a) ? -1 : 1;
    if (orderOf(a) !== orderOf(b)) return orderOf(a) < orderOf(b) ? -1 : 1;
    return a < b ? -1 : 1;
  };
}

/** By order, none last; ties by `name/namespace/Kind` (4.2). */
function comparePolicies(a: Converted, b: Converted): number {
  const orderA = a.order ?? Number.POSITIVE_INFINITY;
  const orderB = b.order ?? Number.POSITIVE_INFINITY;
  if (orderA !== orderB) return orderA < orderB ? -1 : 1;
  return tieText(a) < tieText(b) ? -1 : 1;
}

function tieText({ source: { kind, meta } }: Converted): string {
  return `${meta.name}/${meta.namespace}/${kind}`;
}

export interface ConvertedTier {
  readonly name: string;
  readonly defaultAction: 'deny' | 'pass';
  readonly exists: boolean;
  /** In the order they run, staged ones where they stand. */
  readonly policies: readonly Converted[];
}

/** A policy as Felix gets it. */
interface Converted {
  readonly source: Policy;
  readonly tier: string;
  readonly order: number | undefined;
  /** What it applies to: the expression E of 3.4. `''` = every endpoint. */
  readonly selectorText: string;
  /** Empty = both (4.3). */
  readonly types: readonly PolicyType[];
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
}

/** `undefined` for what Felix is never told of. */
function convert(policy: Policy): Converted | undefined {
  switch (policy.kind) {
    case 'NetworkPolicy':
    case 'StagedNetworkPolicy':
      return policy.stagedAction === 'Delete' ? undefined : convertNetworkPolicy(policy);
    case 'GlobalNetworkPolicy':
    case 'StagedGlobalNetworkPolicy':
      return policy.stagedAction === 'Delete' ? undefined : convertGlobalPolicy(policy);
    case 'KubernetesNetworkPolicy':
    case 'StagedKubernetesNetworkPolicy':
      return policy.stagedAction === 'Delete' ? undefined : convertKubernetesPolicy(policy);
    default:
      return convertClusterPolicy(policy);
  }
}

function convertNetworkPolicy(policy: NetworkPolicy): Converted {
  const { tier, order, types, ingress, egress, selector, serviceAccountSelector } = policy;
  const selectorText = namespacedPolicyText(selector, serviceAccountSelector, policy.meta.namespace);
  return { source: policy, tier, order, selectorText, types, ingress, egress };
}

function convertGlobalPolicy(policy: GlobalNetworkPolicy): Converted {
  const { tier, order, types, ingress, egress, selector, namespaceSelector, serviceAccountSelector } = policy;
  const selectorText = globalPolicyText(selector, namespaceSelector, serviceAccountSelector);
  return { source: policy, tier, order, selectorText, types, ingress, egress };
}

function convertKubernetesPolicy(policy: KubernetesNetworkPolicy): Converted {
  return {
    source: policy,
    tier: 'default',
    order: 1000,
    selectorText: namespacedPolicyText(podSelectorText(policy.podSelector), '', policy.meta.namespace),
    types: policy.policyTypes.length === 0 ? ['Ingress'] : policy.policyTypes,
    ingress: kubernetesRules(policy.ingress, 'ingress'),
    egress: kubernetesRules(policy.egress, 'egress'),
  };
}

function convertClusterPolicy(policy: ClusterNetworkPolicy): Converted | undefined {
  const tier = { Admin: 'kube-admin', Baseline: 'kube-baseline' }[policy.tier];
  const { subjectNamespaces, subjectPods } = policy;
  const namespaces = subjectNamespaces ?? subjectPods?.namespaceSelector;
  if (tier === undefined || namespaces === undefined) return undefined;
  const pods = podSelectorText(subjectNamespaces === undefined ? subjectPods?.podSelector : undefined);
  const ingress = clusterRules(policy.ingress, 'ingress');
  const egress = clusterRules(policy.egress, 'egress');
  const types: PolicyType[] = [];
  if (ingress.length > 0) types.push('Ingress');
  if (egress.length > 0) types.push('Egress');
  const selectorText = globalPolicyText(pods, namespaceSelectorText(namespaces), '');
  return { source: policy, tier, order: policy.priority, selectorText, types, ingress, egress };
}

/** Felix's check of the converted policy; one that fails is as if absent (3.2). */
function isValid(policy: Converted): boolean {
  const { namespace } = policy.source.meta;
  const rules = [...policy.ingress, ...policy.egress];
  return trySelector(policy.selectorText) !== undefined && rules.every((rule) => isValidRule(rule, namespace));
}

function prepare(policy: Converted, sets: IpSets, dataplane: Dataplane): ReferencePolicy {
  const { source, types } = policy;
  const { namespace } = source.meta;
  const selector = trySelector(policy.selectorText)!;
  const global = source.kind === 'GlobalNetworkPolicy' || source.kind === 'StagedGlobalNetworkPolicy' ? source : null;
  const governed = {
    ingress: types.length === 0 || types.includes('Ingress'),
    egress: types.length === 0 || types.includes('Egress'),
  };
  return {
    id: policyId(source),
    tier: policy.tier,
    isStaged: source.kind.startsWith('Staged'),
    doNotTrack: global?.doNotTrack ?? false,
    preDNAT: global?.preDNAT ?? false,
    applyOnForward: global?.applyOnForward ?? false,
    governs: (direction) => governed[direction],
    selects: (labels) => selector.matches(labels),
    rules: {
      ingress: prepareRules(policy.ingress, namespace, sets, dataplane),
      egress: prepareRules(policy.egress, namespace, sets, dataplane),
    },
  };
}

const SHORT_KINDS = {
  NetworkPolicy: 'np',
  GlobalNetworkPolicy: 'gnp',
  KubernetesNetworkPolicy: 'knp',
  KubernetesClusterNetworkPolicy: 'kcnp',
  StagedNetworkPolicy: 'snp',
  StagedGlobalNetworkPolicy: 'sgnp',
  StagedKubernetesNetworkPolicy: 'sknp',
} as const;

function policyId({ kind, meta }: Policy): string {
  return `${SHORT_KINDS[kind]}:${meta.namespace === '' ? '' : `${meta.namespace}/`}${meta.name}`;
}
