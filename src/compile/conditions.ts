/**
 * What rules ask beyond the packet: of the certificates at both ends, and of the HTTP request (semantics 8.3).
 *
 * The network layer has made IP sets of accounts and selectors (`peers.ts`) and never reads this. The authorization service asks
 * both: the address must be in the set AND the certificate must name such an account. So names and selectors go into the plan
 * once more, as the user wrote them, beside the labels of the accounts and namespaces that the selectors are about.
 *
 * What is asked of the namespace, for one side of a rule:
 *
 *     namespaceSelector given                                  it, over the namespace's labels
 *     else: policy has a namespace, and the side has
 *           selector, notSelector or a non-empty serviceAccounts   exactly the policy's
 *     else                                                     nothing
 *
 * Source: Calico app-policy/checker/match.go (matchSrcNamespaces, computeNamespaceMatch), felix/calc/profile_decoder.go.
 */
import { compareBytewise } from '../base/bytewise.ts';
import type { ObjectMeta, Resources } from '../model/resources.ts';
import type { EntityRule, Rule } from '../model/rule.ts';
import { sortedLabels } from './labels.ts';
import type { PlanConditions, PlanIdentityMatch, PlanSubject } from './plan.ts';
import { LABEL_NAME } from './selectors.ts';

/** `source` and `destination` are what the sides ask (`identityMatch`). `undefined`: the rule asks nothing of this kind. */
export function ruleConditions(
  rule: Rule,
  source: PlanIdentityMatch,
  destination: PlanIdentityMatch,
): PlanConditions | undefined {
  const methods = rule.http?.methods ?? NONE;
  const paths = rule.http?.paths ?? NONE;
  if (source === ANYBODY && destination === ANYBODY && methods.length + paths.length === 0) return undefined;
  return { source, destination, methods, paths };
}

const NONE: readonly never[] = [];

/** Of a side that asks for no identity. */
export const ANYBODY: PlanIdentityMatch = { names: [], accountSelector: '', namespaceSelector: '', namespace: '' };

/** `policyNamespace` is `''` for global policies and profiles. */
export function identityMatch(entity: EntityRule, policyNamespace: string): PlanIdentityMatch {
  const { selector, notSelector, namespaceSelector } = entity;
  const names = entity.serviceAccounts?.names ?? [];
  const accountSelector = entity.serviceAccounts?.selector ?? '';
  const isScoped = selector !== '' || notSelector !== '' || names.length > 0 || accountSelector !== '';
  const namespace = namespaceSelector === '' && isScoped ? policyNamespace : '';
  if (names.length === 0 && accountSelector === '' && namespaceSelector === '' && namespace === '') return ANYBODY;
  return { names, accountSelector, namespaceSelector, namespace };
}

/** Namespaces and accounts with their labels; each also has the label of its own name, which wins over one that a user set. */
export function planSubjects(resources: Resources): PlanSubject[] {
  const subject = (namespace: string, account: string, meta: ObjectMeta): PlanSubject => {
    const labels = new Map(meta.labels).set(LABEL_NAME, meta.name);
    return { namespace, account, labels: sortedLabels(labels) };
  };
  const subjects = [
    ...resources.namespaces.map(({ meta }) => subject(meta.name, '', meta)),
    ...resources.serviceAccounts.map(({ meta }) => subject(meta.namespace, meta.name, meta)),
  ];
  return subjects.sort((a, b) => compareBytewise(a.namespace, b.namespace) || compareBytewise(a.account, b.account));
}
