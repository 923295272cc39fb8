/**
 * Profiles: where endpoints inherit labels from, and what decides when no policy did.
 *
 * Each Namespace N is the profile `kns.N` (labels with `pcns.` before the key, allows everything both ways), each
 * ServiceAccount S of N the profile `ksa.N.S` (labels with `pcsa.`, no rules); `projectcalico-default-allow` is built in.
 * Each also contributes its own name, which wins over a label of that key. Profile objects exist in etcd datastores only.
 *
 * Labels and rules are independent: a profile without object contributes no labels, and an endpoint that names it is
 * denied when it comes to its rules. A Profile object with rules that Felix refuses keeps its labels and loses its rules.
 * Source: Calico libcalico-go/lib/backend/k8s/conversion/conversion.go, lib/resources/static.go; semantics 2.2, 2.3.
 */
import type { Namespace, Origin, Profile, Resources, ServiceAccount, StringMap } from '../model/resources.ts';
import type { Rule } from '../model/rule.ts';
import { convertRules } from './convert-calico.ts';
import { type Converted, EMPTY_SIDE, type RuleDraft } from './draft.ts';
import type { Memo } from './memo.ts';
import type { PlanWarning } from './plan.ts';
import {
  LABEL_NAME,
  LABEL_SERVICE_ACCOUNT,
  NAMESPACE_PREFIX,
  SERVICE_ACCOUNT_PREFIX,
  type SelectorCache,
} from './selectors.ts';
import { warning } from './warnings.ts';

const DEFAULT_ALLOW_PROFILE = 'projectcalico-default-allow';

export interface ProfileRules {
  readonly ingress: readonly RuleDraft[];
  readonly egress: readonly RuleDraft[];
}

export interface ProfileDraft {
  readonly name: string;
  /** Labels to inherit, prefixes included. */
  readonly labels: StringMap;
  /** `undefined`: Felix refuses the rules, so they are as if missing. */
  readonly rules: ProfileRules | undefined;
  readonly origin: Origin;
}

export function namespaceProfileName(namespace: string): string {
  return `kns.${namespace}`;
}

export function serviceAccountProfileName(namespace: string, account: string): string {
  return `ksa.${namespace}.${account}`;
}

/** Drafts kept from compile to compile, by the object they come from. */
export type ProfileMemo = Memo<object, Converted<ProfileDraft>>;

/** All profiles by name. Where names clash, a Namespace or ServiceAccount that the user gave wins, then a Profile object. */
export function collectProfiles(
  resources: Resources,
  selectors: SelectorCache,
  memo: ProfileMemo,
  warnings: PlanWarning[],
): ReadonlyMap<string, ProfileDraft> {
  const { namespaces, serviceAccounts, profiles } = resources;
  const byName = new Map<string, ProfileDraft>();
  const add = ({ value, warnings: own }: Converted<ProfileDraft>): void => {
    for (const item of own) warnings.push(item);
    if (value !== undefined) byName.set(value.name, value);
  };
  const addDerived = (isSynthesised: boolean): void => {
    for (const namespace of namespaces) {
      if (namespace.isSynthesised === isSynthesised) add(memo.get(namespace, () => namespaceProfile(namespace)));
    }
    for (const account of serviceAccounts) {
      if (account.isSynthesised === isSynthesised) add(memo.get(account, () => serviceAccountProfile(account)));
    }
  };
  // Later ones win.
  addDerived(true);
  for (const profile of profiles) add(memo.get(profile, () => profileDraft(profile, selectors)));
  addDerived(false);
  byName.set(DEFAULT_ALLOW_PROFILE, DEFAULT_ALLOW);
  return byName;
}

export function namespaceProfile(namespace: Namespace): Converted<ProfileDraft> {
  const { name, labels, origin } = namespace.meta;
  const inherited = prefixedLabels(labels, NAMESPACE_PREFIX, name);
  const value = { name: namespaceProfileName(name), labels: inherited, rules: allowAll(origin), origin };
  return { value, warnings: [] };
}

export function serviceAccountProfile(account: ServiceAccount): Converted<ProfileDraft> {
  const { namespace, name, labels, origin } = account.meta;
  const inherited = prefixedLabels(labels, SERVICE_ACCOUNT_PREFIX, name);
  const profileName = serviceAccountProfileName(namespace, name);
  const value = { name: profileName, labels: inherited, rules: { ingress: [], egress: [] }, origin };
  return { value, warnings: [] };
}

/** What an endpoint with these own labels inherits of its account when that has other labels than its profile says. */
export function accountProfileLabels(own: StringMap, labels: StringMap): StringMap {
  return prefixedLabels(labels, SERVICE_ACCOUNT_PREFIX, own.get(LABEL_SERVICE_ACCOUNT) ?? '');
}

function prefixedLabels(labels: StringMap, prefix: string, name: string): StringMap {
  const prefixed = new Map<string, string>();
  for (const [key, value] of labels) prefixed.set(prefix + key, value);
  return prefixed.set(prefix + LABEL_NAME, name);
}

/** One rule without any condition, both ways. */
function allowAll(origin: Origin): ProfileRules {
  const rule: RuleDraft = {
    action: 'allow',
    ipVersion: 0,
    protocol: -1,
    notProtocol: -1,
    isProtocolNamed: false,
    isNotProtocolNamed: false,
    icmpType: -1,
    icmpCode: -1,
    notIcmpType: -1,
    notIcmpCode: -1,
    source: EMPTY_SIDE,
    destination: EMPTY_SIDE,
    conditions: undefined,
    origin,
  };
  return { ingress: [rule], egress: [rule] };
}

const BUILT_IN: Origin = { file: '(built in)', line: 0 };
const DEFAULT_ALLOW: ProfileDraft = {
  name: DEFAULT_ALLOW_PROFILE,
  labels: new Map(),
  rules: allowAll(BUILT_IN),
  origin: BUILT_IN,
};

/** Rules of Profile objects match as those of global policies do. */
function profileDraft(profile: Profile, selectors: SelectorCache): Converted<ProfileDraft> {
  const { name, origin } = profile.meta;
  const warnings: PlanWarning[] = [];
  const dropped: PlanWarning[] = [];
  const convert = (rules: readonly Rule[], field: string): RuleDraft[] => {
    const placed = rules.map((rule, i) => ({ rule, path: `spec.${field}[${i}]` }));
    return convertRules(placed, '', profile, selectors, warnings, dropped);
  };
  const rules = { ingress: convert(profile.ingress, 'ingress'), egress: convert(profile.egress, 'egress') };
  if (name === DEFAULT_ALLOW_PROFILE) {
    const message = 'the built-in profile of this name takes its place';
    return { value: undefined, warnings: [warning(profile, 'metadata.name', message, 'choose another name')] };
  }
  const isDropped = dropped.length > 0;
  const value = { name, labels: profile.labelsToApply, rules: isDropped ? undefined : rules, origin };
  return { value, warnings: [...warnings, ...dropped] };
}
