/** Rules of Calico policies and profiles, as the API has them (projectcalico.org/v3 Rule and EntityRule). */
import type { Origin, StringMap } from './resources.ts';

export type RuleAction = 'Allow' | 'Deny' | 'Pass' | 'Log';

/** A protocol as written: a name (`TCP`, `ICMPv6`, …, case kept) or a number 1-255. A digit string has become a number. */
export type Protocol = string | number;

/** One port, one inclusive range, or the name of a port. */
export type Port =
  | { readonly type: 'range'; readonly min: number; readonly max: number }
  | { readonly type: 'named'; readonly name: string };

export interface IcmpMatch {
  readonly type: number | undefined;
  readonly code: number | undefined;
}

/** `serviceAccounts` of an entity; `undefined` on the entity when the field is absent. An empty object is no constraint. */
export interface ServiceAccountMatch {
  readonly names: readonly string[];
  readonly selector: string;
}

export interface ServiceMatch {
  readonly name: string;
  /** `''` = not given, which matches nothing (semantics 3.8). */
  readonly namespace: string;
}

/** One side of a rule. Empty text or list = not given. */
export interface EntityRule {
  readonly nets: readonly string[];
  readonly notNets: readonly string[];
  readonly selector: string;
  readonly notSelector: string;
  readonly namespaceSelector: string;
  readonly serviceAccounts: ServiceAccountMatch | undefined;
  readonly services: ServiceMatch | undefined;
  readonly ports: readonly Port[];
  readonly notPorts: readonly Port[];
}

/** A side that asks nothing. */
export const EMPTY_ENTITY: EntityRule = {
  nets: [],
  notNets: [],
  selector: '',
  notSelector: '',
  namespaceSelector: '',
  serviceAccounts: undefined,
  services: undefined,
  ports: [],
  notPorts: [],
};

export type HttpPath = { readonly exact: string } | { readonly prefix: string };

export interface HttpMatch {
  readonly methods: readonly string[];
  readonly paths: readonly HttpPath[];
}

export interface Rule {
  readonly action: RuleAction;
  readonly ipVersion: 4 | 6 | undefined;
  readonly protocol: Protocol | undefined;
  readonly notProtocol: Protocol | undefined;
  readonly icmp: IcmpMatch | undefined;
  readonly notICMP: IcmpMatch | undefined;
  readonly source: EntityRule;
  readonly destination: EntityRule;
  /** Ignored by the network layer; read by the authorization service alone (semantics 3.5, 8.3). */
  readonly http: HttpMatch | undefined;
  readonly annotations: StringMap;
  readonly origin: Origin;
}
