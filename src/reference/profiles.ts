/** Profiles: what namespaces, service accounts and Profile objects give to their endpoints (semantics 2.2). */
import type { ObjectMeta, Resources } from '../model/resources.ts';
import { EMPTY_ENTITY, type Rule, type RuleAction } from '../model/rule.ts';
import { NAMESPACE_PREFIX, SERVICE_ACCOUNT_PREFIX } from './selector-text.ts';

export interface ReferenceProfile {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
}

/** All profiles by name. A Profile object never replaces one that Calico derives from a namespace or service account. */
export function profilesOf(resources: Resources): Map<string, ReferenceProfile> {
  const everything = [ruleForAll('Allow')];
  const profiles: ReferenceProfile[] = [
    ...resources.profiles.map((profile) => ({
      name: profile.meta.name,
      labels: profile.labelsToApply,
      ingress: profile.ingress,
      egress: profile.egress,
    })),
    { name: 'projectcalico-default-allow', labels: new Map(), ingress: everything, egress: everything },
    ...resources.namespaces.map(({ meta }) => ({
      name: `kns.${meta.name}`,
      labels: prefixedLabels(meta, NAMESPACE_PREFIX),
      ingress: everything,
      egress: everything,
    })),
    ...resources.serviceAccounts.map(({ meta }) => ({
      name: `ksa.${meta.namespace}.${meta.name}`,
      labels: prefixedLabels(meta, SERVICE_ACCOUNT_PREFIX),
      ingress: [],
      egress: [],
    })),
  ];
  return new Map(profiles.map((profile) => [profile.name, profile]));
}

/** A rule that constrains nothing; the conversions build theirs on it. */
export function ruleForAll(action: RuleAction): Rule {
  return {
    action,
    ipVersion: undefined,
    protocol: undefined,
    notProtocol: undefined,
    icmp: undefined,
    notICMP: undefined,
    source: EMPTY_ENTITY,
    destination: EMPTY_ENTITY,
    http: undefined,
    annotations: new Map(),
    origin: { file: '', line: 0 },
  };
}

function prefixedLabels(meta: ObjectMeta, prefix: string): Map<string, string> {
  const labels = new Map([...meta.labels].map(([key, value]) => [prefix + key, value]));
  return labels.set(`${prefix}projectcalico.org/name`, meta.name);
}
