/**
 * The selector texts that Calico makes out of the fields of policies and rules (semantics 3.3, 3.4, 5.1).
 *
 * Calico joins *texts* and parses the result, and some of its behaviour only follows from that (an apostrophe in a
 * service account's name, `all()` inside a string value, a blank selector). So does the reference: every function here
 * returns a text, `''` meaning "no constraint", and the caller parses it once.
 *
 * Worked example, an ingress rule of a NetworkPolicy in `app`:
 *
 *     source: { serviceAccounts: { names: [api], selector: team == "red" }, selector: "!has(old)" }
 *     A     = (pcsa.team == "red") && (projectcalico.org/serviceaccount in {"api"})
 *     B     = (A) && (!has(old))
 *     text  = (projectcalico.org/namespace == 'app') && (B)
 */
import { PolicyError } from '../base/errors.ts';
import type { LabelSelector } from '../model/resources.ts';
import type { EntityRule, ServiceAccountMatch } from '../model/rule.ts';
import { canonicalText } from '../selector/canonical.ts';
import { prefixKeys } from '../selector/prefix.ts';
import { parseSelector, type Selector } from '../selector/selector.ts';

export const NAMESPACE_LABEL = 'projectcalico.org/namespace';
export const ORCHESTRATOR_LABEL = 'projectcalico.org/orchestrator';
export const SERVICE_ACCOUNT_LABEL = 'projectcalico.org/serviceaccount';
export const NAMESPACE_PREFIX = 'pcns.';
export const SERVICE_ACCOUNT_PREFIX = 'pcsa.';

/** The selector, or `undefined` where `text` is none. Remembered, since the same few texts come again and again. */
export function trySelector(text: string): Selector | undefined {
  if (parsed.has(text)) return parsed.get(text);
  if (parsed.size >= PARSED_COUNT_MAX) parsed.clear();
  const selector = parseOrUndefined(text);
  parsed.set(text, selector);
  return selector;
}

const PARSED_COUNT_MAX = 10_000;
const parsed = new Map<string, Selector | undefined>();

function parseOrUndefined(text: string): Selector | undefined {
  try {
    return parseSelector(text);
  } catch (error) {
    if (error instanceof PolicyError) return undefined;
    throw error;
  }
}

/** What an entity rule selects: members of `positive` and, only where that is empty, non-members of `negative`. */
export interface EntityText {
  readonly positive: string;
  readonly negative: string;
}

/** Semantics 3.3. `policyNamespace` is `''` for global policies and profiles. */
export function entityText(entity: EntityRule, policyNamespace: string): EntityText {
  const accounts = serviceAccountText(entity.serviceAccounts);
  const own = joinBoth(accounts, entity.selector);
  const isEmpty = own === '' && entity.notSelector === '' && entity.namespaceSelector === '';
  const positive = isEmpty ? '' : joinBoth(namespaceText(entity.namespaceSelector, policyNamespace), own);
  if (positive !== '' && entity.notSelector !== '') {
    return { positive: `(${positive}) && !(${entity.notSelector})`, negative: '' };
  }
  return { positive, negative: entity.notSelector };
}

/** Semantics 3.4, NetworkPolicy and its Kubernetes and staged kin. */
export function namespacedPolicyText(selector: string, serviceAccountSelector: string, namespace: string): string {
  const inNamespace = `${NAMESPACE_LABEL} == '${namespace}'`;
  const text = selector === '' ? inNamespace : `(${selector}) && ${inNamespace}`;
  const accounts = prefixedText(serviceAccountSelector, SERVICE_ACCOUNT_PREFIX);
  return accounts === '' ? text : `(${text}) && ${accounts}`;
}

/** Semantics 3.4, GlobalNetworkPolicy: `all()` comes to mean "has a namespace", then "has a service account", everywhere in the text. */
export function globalPolicyText(selector: string, namespaceSelector: string, serviceAccountSelector: string): string {
  let text = selector;
  const namespaces = prefixedText(namespaceSelector, NAMESPACE_PREFIX);
  if (namespaces !== '') {
    text = text === '' ? namespaces : `(${text}) && ${namespaces}`;
    text = text.replaceAll('all()', `has(${NAMESPACE_LABEL})`);
  }
  const accounts = prefixedText(serviceAccountSelector, SERVICE_ACCOUNT_PREFIX);
  if (accounts !== '') {
    text = text === '' ? accounts : `(${text}) && ${accounts}`;
    text = text.replaceAll('all()', `has(${SERVICE_ACCOUNT_LABEL})`);
  }
  return text;
}

/** Semantics 5.1: the terms of a pod selector. `undefined` and `{}` both select every pod. */
export function podSelectorText(selector: LabelSelector | undefined): string {
  return [`${ORCHESTRATOR_LABEL} == 'k8s'`, ...labelSelectorTerms(selector)].join(' && ');
}

/** Semantics 5.1: the terms of a namespace selector, `all()` without any. */
export function namespaceSelectorText(selector: LabelSelector): string {
  const terms = labelSelectorTerms(selector);
  return terms.length === 0 ? 'all()' : terms.join(' && ');
}

function labelSelectorTerms(selector: LabelSelector | undefined): string[] {
  if (selector === undefined) return [];
  const byKey = [...selector.matchLabels].sort(([a], [b]) => (a < b ? -1 : 1));
  const terms = byKey.map(([key, value]) => `${key} == '${value}'`);
  for (const { key, operator, values } of selector.matchExpressions) {
    const set = `{ '${values.join("', '")}' }`;
    if (operator === 'In') terms.push(`${key} in ${set}`);
    if (operator === 'NotIn') terms.push(`${key} not in ${set}`);
    if (operator === 'Exists') terms.push(`has(${key})`);
    if (operator === 'DoesNotExist') terms.push(`! has(${key})`);
  }
  return terms;
}

/** Names that spoil the text take the selector with them (semantics 3.2). */
function serviceAccountText(match: ServiceAccountMatch | undefined): string {
  if (match === undefined) return '';
  const labels = prefixedText(match.selector, SERVICE_ACCOUNT_PREFIX);
  if (match.names.length === 0) return labels;
  const names = trySelector(`${SERVICE_ACCOUNT_LABEL} in { '${match.names.join("', '")}' }`);
  return names === undefined ? '' : joinBoth(labels, names.canonical);
}

function namespaceText(namespaceSelector: string, policyNamespace: string): string {
  if (namespaceSelector !== '') {
    return prefixedText(namespaceSelector, NAMESPACE_PREFIX)
      .replaceAll('all()', `has(${NAMESPACE_LABEL})`)
      .replaceAll('global()', `!has(${NAMESPACE_LABEL})`);
  }
  return policyNamespace === '' ? '' : `${NAMESPACE_LABEL} == '${policyNamespace}'`;
}

/** Canonical text with `prefix` before every label key; `''` where there is no selector or it does not parse. */
function prefixedText(text: string, prefix: string): string {
  if (text === '') return '';
  const selector = trySelector(text);
  return selector === undefined ? '' : canonicalText(prefixKeys(selector.root, prefix));
}

function joinBoth(a: string, b: string): string {
  if (a === '') return b;
  return b === '' ? a : `(${a}) && (${b})`;
}
