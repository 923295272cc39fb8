/**
 * What the authorization service runs on: the ingress half of a plan, as plain data. `compile/authorization.ts` makes it, `authz`
 * reads it, and they meet here as `compile` and `match` meet in layout.ts.
 *
 * It is a form of its own beside the packet tables because the two layers ask other questions of the same rules (semantics 8.3): no
 * rule is split by IP version, some members of sets count for nothing, names of accounts and HTTP requests count. None of the
 * classes, rows and folded functions would be of use, and a reload has not to wait for them.
 *
 * Everything is in the order that it runs in, and depends on the objects alone.
 */
import type { IpPrefix } from '../base/ip.ts';

export interface AuthorizationForm {
  readonly tiers: readonly FormTier[];
  /** All policies with an ingress half, without staged ones, as `FormTierPolicies.policies` numbers them. */
  readonly policies: readonly FormPolicy[];
  /** Sorted by name. */
  readonly profiles: readonly FormProfile[];
  /** Sorted by ID. Those that no ingress rule names are here, too. */
  readonly ipSets: readonly FormIpSet[];
  /** Who has which addresses, and is a member of which sets. */
  readonly owners: readonly FormOwner[];
  readonly chains: readonly FormChain[];
  /** Pods, sorted by key. */
  readonly endpoints: readonly FormEndpoint[];
  /** Sorted by namespace, then account. */
  readonly subjects: readonly FormSubject[];
}

export interface FormTier {
  readonly name: string;
  readonly defaultAction: 'deny' | 'pass';
  /** False: no Tier object describes it. */
  readonly exists: boolean;
}

export interface FormPolicy {
  /** `np:NS/NAME` and so on, as in traces. */
  readonly id: string;
  readonly rules: readonly FormRule[];
  readonly origin: FormOrigin;
}

export interface FormProfile {
  readonly name: string;
  readonly rules: readonly FormRule[];
  readonly origin: FormOrigin;
}

export interface FormOrigin {
  readonly file: string;
  readonly line: number;
}

export interface FormRule {
  readonly action: 'allow' | 'deny' | 'pass' | 'log';
  /** IP protocol number, or -1. */
  readonly protocol: number;
  readonly notProtocol: number;
  readonly source: FormSide;
  readonly destination: FormSide;
  /** `undefined` = none. */
  readonly conditions: FormConditions | undefined;
  readonly origin: FormOrigin;
}

/** One side of a rule; all parts must hold. Sets are indexes into `ipSets`. */
export interface FormSide {
  readonly nets: readonly IpPrefix[];
  readonly notNets: readonly IpPrefix[];
  readonly ipSets: readonly number[];
  readonly notIpSets: readonly number[];
  /** Numeric OR named; inclusive ranges. */
  readonly ports: readonly (readonly [number, number])[];
  readonly namedPorts: readonly number[];
  readonly notPorts: readonly (readonly [number, number])[];
  /** The tuple of address, protocol and port must be in this set; -1 = none. */
  readonly servicePorts: number;
}

/** What a rule asks of certificates and requests. */
export interface FormConditions {
  readonly source: FormIdentityMatch;
  readonly destination: FormIdentityMatch;
  /** Empty = any. */
  readonly methods: readonly string[];
  readonly paths: readonly ({ readonly exact: string } | { readonly prefix: string })[];
}

/** `''` and no names = not asked. */
export interface FormIdentityMatch {
  readonly names: readonly string[];
  readonly accountSelector: string;
  readonly namespaceSelector: string;
  readonly namespace: string;
}

export interface FormIpSet {
  readonly id: string;
  readonly text: string;
  /** Members of tuple sets that are a service's; `net` sets and named ports have none here. */
  readonly tuples: readonly { readonly address: IpPrefix; readonly protocol: number; readonly port: number }[];
}

/** Pods, hosts or network sets that are members of the same sets, or the addresses of a service. */
export interface FormOwner {
  readonly prefixes: readonly IpPrefix[];
  /** Ascending. */
  readonly ipSets: readonly number[];
}

/** The ingress policies of some endpoints. */
export interface FormChain {
  readonly tiers: readonly FormTierPolicies[];
  readonly profiles: readonly string[];
}

/** Never without policies. */
export interface FormTierPolicies {
  readonly tier: number;
  readonly policies: readonly number[];
}

export interface FormEndpoint {
  /** `wep:NS/POD`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly serviceAccount: string;
  readonly addresses: readonly IpPrefix[];
  /** Index into `chains`. */
  readonly chain: number;
  readonly origin: FormOrigin;
}

/** A namespace (`account` is `''`) or a service account, with the labels that selectors over identities see. */
export interface FormSubject {
  readonly namespace: string;
  readonly account: string;
  readonly labels: readonly (readonly [string, string])[];
}
