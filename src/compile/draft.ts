/**
 * Between model and plan: policies and rules after conversion, IP sets still named by their own description.
 *
 * A draft depends on one object alone, so it can be kept while other objects change; numbering comes last. The rules of
 * Kubernetes policies become Calico's (`convert-kubernetes.ts`, `convert-cluster.ts`) before they become drafts, as in
 * Calico, so that there is one conversion of rules.
 */
import type { Origin, PolicyType } from '../model/resources.ts';
import type { Rule } from '../model/rule.ts';
import type { Selector } from '../selector/selector.ts';
import type { PlanRule, PlanSide, PlanWarning } from './plan.ts';

/** What an IP set is made of; equal IDs mean equal sets. */
export interface IpSetSpec {
  readonly id: string;
  readonly type: 'net' | 'ipPort';
  readonly text: string;
  /** Whose addresses or ports; `undefined` for a service. */
  readonly selector: Selector | undefined;
  readonly portName: string;
  /** 0 = any. */
  readonly portProtocol: number;
  /** `namespace/name`, or `''`. */
  readonly service: string;
}

/** `PlanSide` with descriptions instead of indexes. */
export interface SideDraft extends Pick<PlanSide, 'nets' | 'notNets' | 'ports' | 'notPorts'> {
  readonly ipSets: readonly IpSetSpec[];
  readonly notIpSets: readonly IpSetSpec[];
  readonly namedPorts: readonly IpSetSpec[];
  readonly notNamedPorts: readonly IpSetSpec[];
  readonly servicePorts: IpSetSpec | undefined;
}

/** A side that constrains nothing; rules share it, since most sides of most rules are this. */
export const EMPTY_SIDE: SideDraft = {
  nets: [],
  notNets: [],
  ipSets: [],
  notIpSets: [],
  ports: [],
  namedPorts: [],
  notPorts: [],
  notNamedPorts: [],
  servicePorts: undefined,
};

export interface RuleDraft extends Omit<PlanRule, 'source' | 'destination'> {
  readonly source: SideDraft;
  readonly destination: SideDraft;
}

/** A rule in Calico's form, and where it stands in the object the user wrote (`spec.ingress[2]`), for warnings. */
export interface PlacedRule {
  readonly rule: Rule;
  readonly path: string;
}

/** Any policy in the form of Calico's own kinds, before its rules are converted. */
export interface PolicyForm {
  /** As in `PlanPolicy`. */
  readonly id: string;
  /** Calico's kind, which breaks ties of order and name. */
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly tier: string;
  readonly order: number;
  readonly isStaged: boolean;
  /** Empty = both directions (semantics 4.3). */
  readonly types: readonly PolicyType[];
  readonly selector: string;
  readonly namespaceSelector: string;
  readonly serviceAccountSelector: string;
  readonly doNotTrack: boolean;
  readonly preDnat: boolean;
  readonly applyOnForward: boolean;
  readonly ingress: readonly PlacedRule[];
  readonly egress: readonly PlacedRule[];
  readonly origin: Origin;
}

/** A converted policy: the form with its rules converted and its selector parsed. */
export interface PolicyDraft extends Omit<PolicyForm, 'ingress' | 'egress' | 'selector'> {
  readonly selector: Selector;
  readonly ingress: readonly RuleDraft[];
  readonly egress: readonly RuleDraft[];
}

/** What became of one object: `undefined` = as if it did not exist. */
export interface Converted<T> {
  readonly value: T | undefined;
  readonly warnings: readonly PlanWarning[];
}
