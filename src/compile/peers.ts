/**
 * How the selector fields of one side of a rule, and of a policy, combine into one selector over endpoints.
 *
 * One side of a rule has up to five fields that speak of endpoints: `serviceAccounts` (names and selector), `selector`,
 * `namespaceSelector` and `notSelector`; the namespace of a namespaced policy is a sixth. All of them become ONE selector,
 * whose IP set the address is looked up in, so that each is tested on the same endpoint or network set. The nesting of
 * the text decides the ID of the set, and Calico builds it in this order, each step only if both sides exist:
 *
 *     A = (SA selector) && (SA names)     B = (A) && (selector)     P = (N) && (B)     text = (P) && (!(notSelector))
 *
 * N is the namespace selector, its keys prefixed with `pcns.`, or else `projectcalico.org/namespace == 'ns'` in a
 * namespaced policy as soon as any other field is given. In the *printed* N, `all()` and `global()` are replaced as text:
 * "has a namespace" and "has none". That replacement also reaches into quoted values; we do the same.
 *
 * Worked example, in namespace `app`, `{selector: role == 'db', serviceAccounts: {names: [api]}}`:
 *
 *     A  projectcalico.org/serviceaccount in {"api"}
 *     B  (projectcalico.org/serviceaccount in {"api"}) && (role == 'db')
 *     P  (projectcalico.org/namespace == 'app') && ((projectcalico.org/serviceaccount in {"api"}) && (role == 'db'))
 *
 * Where only `notSelector` is left (a global policy or a profile), there is no positive part: the address must not be in
 * the set of `notSelector`, so that addresses nobody owns match.
 *
 * Source: Calico updateprocessors/rules.go (GetEntityRuleSelector), selectors.go, networkpolicyprocessor.go,
 * globalnetworkpolicyprocessor.go; felix/calc/rule_scanner.go (combineMatchesIfPossible). Semantics 3.3, 3.4.
 */
import type { PolicyError } from '../base/errors.ts';
import type { EntityRule } from '../model/rule.ts';
import type { Selector } from '../selector/selector.ts';
import {
  isSyntaxError,
  LABEL_NAMESPACE,
  LABEL_SERVICE_ACCOUNT,
  NAMESPACE_PREFIX,
  SERVICE_ACCOUNT_PREFIX,
  type SelectorCache,
} from './selectors.ts';
import { serviceAccountSelector } from './service-accounts.ts';

/** What one side of a rule asks of the endpoint behind the address. */
export interface PeerSelectors {
  /** The address must be in this set. */
  readonly positive: Selector | undefined;
  /** The address must not be in this set; only without a positive part. */
  readonly negative: Selector | undefined;
  /** The service-account match was unusable and dropped as a whole. */
  readonly isServiceAccountsDropped: boolean;
}

/** The selectors of one side; `namespace` is that of the policy, `''` for global policies and profiles. Or the syntax error. */
export function peerSelectors(
  entity: EntityRule,
  namespace: string,
  selectors: SelectorCache,
): PeerSelectors | PolicyError {
  const accounts =
    entity.serviceAccounts === undefined
      ? { text: '', isDropped: false }
      : serviceAccountSelector(entity.serviceAccounts, selectors);
  const isServiceAccountsDropped = accounts.isDropped;
  const positiveText = positivePart(entity, accounts.text, namespace, selectors);
  if (positiveText === '') {
    if (entity.notSelector === '') return { positive: undefined, negative: undefined, isServiceAccountsDropped };
    const negative = selectors.parse(entity.notSelector);
    return isSyntaxError(negative) ? negative : { positive: undefined, negative, isServiceAccountsDropped };
  }
  const text = entity.notSelector === '' ? positiveText : `(${positiveText}) && (!(${entity.notSelector}))`;
  const positive = selectors.parse(text);
  return isSyntaxError(positive) ? positive : { positive, negative: undefined, isServiceAccountsDropped };
}

/** P of the file comment; `''` if nothing constrains the endpoint. */
function positivePart(entity: EntityRule, accounts: string, namespace: string, selectors: SelectorCache): string {
  const namespaceText = namespacePart(entity.namespaceSelector, namespace, selectors);
  const text =
    accounts !== '' && entity.selector !== '' ? `(${accounts}) && (${entity.selector})` : accounts || entity.selector;
  const isScoped = text !== '' || entity.notSelector !== '' || entity.namespaceSelector !== '';
  if (namespaceText === '' || !isScoped) return text;
  return text === '' ? namespaceText : `(${namespaceText}) && (${text})`;
}

/** N of the file comment. */
function namespacePart(namespaceSelector: string, namespace: string, selectors: SelectorCache): string {
  if (namespaceSelector === '') return namespace === '' ? '' : `${LABEL_NAMESPACE} == '${namespace}'`;
  return (selectors.prefixed(namespaceSelector, NAMESPACE_PREFIX) ?? '')
    .replaceAll('all()', `has(${LABEL_NAMESPACE})`)
    .replaceAll('global()', `!has(${LABEL_NAMESPACE})`);
}

/** The endpoints a policy applies to: selector text before parsing, and the fields that did not parse and were ignored. */
export interface PolicySelector {
  readonly text: string;
  readonly ignoredFields: readonly ('namespaceSelector' | 'serviceAccountSelector')[];
}

/** Semantics 3.4, namespaced policies. */
export function namespacedPolicySelector(
  selector: string,
  serviceAccounts: string,
  namespace: string,
  selectors: SelectorCache,
): PolicySelector {
  const scope = `${LABEL_NAMESPACE} == '${namespace}'`;
  const scoped = selector === '' ? scope : `(${selector}) && ${scope}`;
  const appended = appendPrefixed(scoped, serviceAccounts, SERVICE_ACCOUNT_PREFIX, selectors);
  return { text: appended.text, ignoredFields: appended.isIgnored ? ['serviceAccountSelector'] : [] };
}

/**
 * Semantics 3.4, global policies. A given namespace selector turns every `all()` of the text so far, the user's own
 * selector included, into "has a namespace", and a given account selector those that are left into "has an account".
 */
export function globalPolicySelector(
  selector: string,
  namespaces: string,
  serviceAccounts: string,
  selectors: SelectorCache,
): PolicySelector {
  const ignoredFields: ('namespaceSelector' | 'serviceAccountSelector')[] = [];
  let text = selector;
  if (namespaces !== '') {
    const appended = appendPrefixed(text, namespaces, NAMESPACE_PREFIX, selectors);
    if (appended.isIgnored) ignoredFields.push('namespaceSelector');
    text = appended.text.replaceAll('all()', `has(${LABEL_NAMESPACE})`);
  }
  if (serviceAccounts !== '') {
    const appended = appendPrefixed(text, serviceAccounts, SERVICE_ACCOUNT_PREFIX, selectors);
    if (appended.isIgnored) ignoredFields.push('serviceAccountSelector');
    text = appended.text.replaceAll('all()', `has(${LABEL_SERVICE_ACCOUNT})`);
  }
  return { text, ignoredFields };
}

/** `(text) && prefixed(added)`; an addition that does not parse is left out. */
function appendPrefixed(
  text: string,
  added: string,
  prefix: string,
  selectors: SelectorCache,
): { readonly text: string; readonly isIgnored: boolean } {
  if (added === '') return { text, isIgnored: false };
  const prefixed = selectors.prefixed(added, prefix);
  if (prefixed === undefined) return { text, isIgnored: true };
  return { text: text === '' ? prefixed : `(${text}) && ${prefixed}`, isIgnored: false };
}
