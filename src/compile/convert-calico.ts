/**
 * Policies of every kind to drafts, by way of Calico's own form.
 *
 * Steps, as in Calico: the object becomes a policy of Calico's API (for its own kinds: it is one), the policy's selector
 * fields become one selector over endpoints, its rules become rules with IP sets, and one thing that Felix refuses
 * anywhere drops the whole policy. Semantics 3.1, 3.2, 3.4.
 */
import { PolicyError } from '../base/errors.ts';
import type { GlobalNetworkPolicy, NetworkPolicy, Policy } from '../model/resources.ts';
import type { Rule } from '../model/rule.ts';
import { clusterPolicyForm } from './convert-cluster.ts';
import { kubernetesPolicyForm } from './convert-kubernetes.ts';
import { convertRule } from './convert-rule.ts';
import type { Converted, PlacedRule, PolicyDraft, PolicyForm, RuleDraft } from './draft.ts';
import { globalPolicySelector, namespacedPolicySelector, type PolicySelector } from './peers.ts';
import type { PlanWarning } from './plan.ts';
import { isSyntaxError, type SelectorCache } from './selectors.ts';
import { type WarningSubject, warning } from './warnings.ts';

/** The draft of a policy; no value if it is staged for deletion, cannot be converted, or Felix would drop it. */
export function convertPolicy(policy: Policy, selectors: SelectorCache): Converted<PolicyDraft> {
  const form = policyForm(policy);
  if (form.value === undefined) return { value: undefined, warnings: form.warnings };
  try {
    const converted = convertForm(form.value, policy, selectors);
    return { value: converted.value, warnings: [...form.warnings, ...converted.warnings] };
  } catch (error) {
    // A limit of ours, without place: add it.
    if (!(error instanceof PolicyError)) throw error;
    const { kind, meta } = policy;
    const problem = `${kind} ${meta.namespace === '' ? '' : `${meta.namespace}/`}${meta.name}: ${error.problem}`;
    throw new PolicyError(error.code, problem, { column: error.column, origin: meta.origin, fix: error.fix });
  }
}

/** The policy in Calico's own form. */
function policyForm(policy: Policy): Converted<PolicyForm> {
  switch (policy.kind) {
    case 'NetworkPolicy':
    case 'StagedNetworkPolicy':
    case 'GlobalNetworkPolicy':
    case 'StagedGlobalNetworkPolicy':
      return { value: policy.stagedAction === 'Delete' ? undefined : calicoForm(policy), warnings: [] };
    case 'KubernetesNetworkPolicy':
    case 'StagedKubernetesNetworkPolicy':
      return policy.stagedAction === 'Delete' ? { value: undefined, warnings: [] } : kubernetesPolicyForm(policy);
    case 'KubernetesClusterNetworkPolicy':
      return clusterPolicyForm(policy);
  }
}

const SHORT_KINDS = {
  NetworkPolicy: 'np',
  StagedNetworkPolicy: 'snp',
  GlobalNetworkPolicy: 'gnp',
  StagedGlobalNetworkPolicy: 'sgnp',
} as const;

function calicoForm(policy: NetworkPolicy | GlobalNetworkPolicy): PolicyForm {
  const { kind, meta } = policy;
  const isGlobal = 'namespaceSelector' in policy;
  return {
    id: `${SHORT_KINDS[kind]}:${isGlobal ? '' : `${meta.namespace}/`}${meta.name}`,
    kind,
    namespace: isGlobal ? '' : meta.namespace,
    name: meta.name,
    tier: policy.tier,
    order: policy.order ?? Number.POSITIVE_INFINITY,
    isStaged: kind === 'StagedNetworkPolicy' || kind === 'StagedGlobalNetworkPolicy',
    types: policy.types,
    selector: policy.selector,
    namespaceSelector: isGlobal ? policy.namespaceSelector : '',
    serviceAccountSelector: policy.serviceAccountSelector,
    doNotTrack: isGlobal && policy.doNotTrack,
    preDnat: isGlobal && policy.preDNAT,
    applyOnForward: isGlobal && policy.applyOnForward,
    ingress: placeRules(policy.ingress, 'spec.ingress'),
    egress: placeRules(policy.egress, 'spec.egress'),
    origin: meta.origin,
  };
}

function placeRules(rules: readonly Rule[], field: string): PlacedRule[] {
  return rules.map((rule, i) => ({ rule, path: `${field}[${i}]` }));
}

function convertForm(form: PolicyForm, subject: WarningSubject, selectors: SelectorCache): Converted<PolicyDraft> {
  const warnings: PlanWarning[] = [];
  const applied = appliedTo(form, selectors);
  for (const field of applied.ignoredFields) {
    const message = 'does not parse; Calico ignores it, so the policy applies to more endpoints';
    warnings.push(warning(subject, `spec.${field}`, message, 'correct the selector'));
  }
  const dropped: PlanWarning[] = [];
  const ingress = convertRules(form.ingress, form.namespace, subject, selectors, warnings, dropped);
  const egress = convertRules(form.egress, form.namespace, subject, selectors, warnings, dropped);
  const selector = selectors.parse(applied.text);
  if (isSyntaxError(selector)) dropped.push(dropWarning(subject, 'spec.selector', selector.message));
  if (isSyntaxError(selector) || dropped.length > 0) return { value: undefined, warnings: [...warnings, ...dropped] };
  return { value: { ...form, selector, ingress, egress }, warnings };
}

function appliedTo(form: PolicyForm, selectors: SelectorCache): PolicySelector {
  const { selector, namespaceSelector, serviceAccountSelector, namespace } = form;
  if (namespace === '') return globalPolicySelector(selector, namespaceSelector, serviceAccountSelector, selectors);
  return namespacedPolicySelector(selector, serviceAccountSelector, namespace, selectors);
}

/** Drafts of the valid rules; what is wrong with the others goes to `dropped`, since it drops the whole object. */
export function convertRules(
  rules: readonly PlacedRule[],
  namespace: string,
  subject: WarningSubject,
  selectors: SelectorCache,
  warnings: PlanWarning[],
  dropped: PlanWarning[],
): RuleDraft[] {
  const drafts: RuleDraft[] = [];
  for (const placed of rules) {
    const { draft, problems, notices } = convertRule(placed, namespace, selectors);
    if (draft !== undefined) drafts.push(draft);
    for (const { field, message, fix } of notices) warnings.push(warning(subject, field, message, fix));
    for (const { field, problem } of problems) dropped.push(dropWarning(subject, field, problem));
  }
  return drafts;
}

function dropWarning(subject: WarningSubject, field: string, problem: string): PlanWarning {
  const effect = subject.kind === 'Profile' ? 'all rules of this profile' : 'the whole policy';
  return warning(subject, field, `${problem}; Felix drops ${effect}`, 'correct the field');
}
