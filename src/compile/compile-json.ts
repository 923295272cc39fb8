/**
 * The document of `compile -o json` (design, section 5): endpoints with their policies in the order they run, policies
 * with their converted rules, IP sets with all their members in Calico's text. Same input, same bytes: keys are sorted, or
 * in the fixed order of the types below.
 */
import { compareBytewise } from '../base/bytewise.ts';
import { formatPrefix } from '../base/ip.ts';
import { ipSetMembers } from './ip-sets.ts';
import type { Plan, PlanGroup, PlanPolicy, PlanRule, PlanSide, Prefix } from './plan.ts';

export interface EndpointJson {
  readonly node: string;
  readonly profiles: readonly string[];
  readonly tiers: readonly TierJson[];
}

/** Policies of a tier that select the endpoint, staged ones where they stand; a tier without any is left out. */
export interface TierJson {
  readonly name: string;
  readonly default_action: 'deny' | 'pass';
  readonly ingress: readonly string[];
  readonly egress: readonly string[];
}

export interface PolicyJson {
  readonly tier: string;
  /** `null` = not given, which sorts last. */
  readonly order: number | null;
  readonly selector: string;
  readonly ingress: readonly RuleJson[];
  readonly egress: readonly RuleJson[];
}

/** Fields that do not constrain the rule are left out. */
export interface RuleJson {
  readonly action: string;
  readonly ip_version?: number;
  readonly protocol?: number;
  readonly not_protocol?: number;
  readonly icmp?: IcmpJson;
  readonly not_icmp?: IcmpJson;
  readonly source?: SideJson;
  readonly destination?: SideJson;
  /** `file:line`. */
  readonly origin: string;
}

export interface IcmpJson {
  readonly type: number;
  readonly code?: number;
}

/** IP sets by ID, ports as `80` or `80:90`. */
export interface SideJson {
  readonly nets?: readonly string[];
  readonly not_nets?: readonly string[];
  readonly ip_sets?: readonly string[];
  readonly not_ip_sets?: readonly string[];
  readonly ports?: readonly string[];
  readonly named_ports?: readonly string[];
  readonly not_ports?: readonly string[];
  readonly not_named_ports?: readonly string[];
  readonly service_ports?: string;
}

export interface PlanJson {
  readonly endpoints: Readonly<Record<string, EndpointJson>>;
  readonly policies: Readonly<Record<string, PolicyJson>>;
  readonly ip_sets: Readonly<Record<string, readonly string[]>>;
}

export function planToJson(plan: Plan): PlanJson {
  const policies = [...plan.policies].sort((a, b) => compareBytewise(a.id, b.id));
  return {
    endpoints: record(
      plan.endpoints.map(({ key, node, group }) => [key, endpointJson(plan, node, plan.groups[group]!)]),
    ),
    policies: record(policies.map((policy) => [policy.id, policyJson(plan, policy)])),
    ip_sets: record(plan.ipSets.map(({ id }, i) => [id, ipSetMembers(plan, i)])),
  };
}

/** Keys have a prefix with a colon, so none is `__proto__` or looks like an array index. */
function record<T>(entries: readonly (readonly [string, T])[]): Record<string, T> {
  return Object.fromEntries(entries);
}

export function endpointJson(plan: Plan, node: string, group: PlanGroup): EndpointJson {
  const ids = (indexes: readonly number[]): string[] => indexes.map((index) => plan.policies[index]!.id);
  const tiers = group.tiers.map(({ tier, ingress, egress }) => {
    const { name, defaultAction } = plan.tiers[tier]!;
    return { name, default_action: defaultAction, ingress: ids(ingress), egress: ids(egress) };
  });
  return { node, profiles: group.profiles, tiers };
}

export function policyJson(plan: Plan, policy: PlanPolicy): PolicyJson {
  return {
    tier: plan.tiers[policy.tier]!.name,
    order: Number.isFinite(policy.order) ? policy.order : null,
    selector: policy.selectorText,
    ingress: policy.ingress.map((rule) => ruleJson(plan, rule)),
    egress: policy.egress.map((rule) => ruleJson(plan, rule)),
  };
}

function ruleJson(plan: Plan, rule: PlanRule): RuleJson {
  const source = sideJson(plan, rule.source);
  const destination = sideJson(plan, rule.destination);
  return {
    action: rule.action,
    ...(rule.ipVersion === 0 ? {} : { ip_version: rule.ipVersion }),
    ...(rule.protocol < 0 ? {} : { protocol: rule.protocol }),
    ...(rule.notProtocol < 0 ? {} : { not_protocol: rule.notProtocol }),
    ...(rule.icmpType < 0 ? {} : { icmp: icmpJson(rule.icmpType, rule.icmpCode) }),
    ...(rule.notIcmpType < 0 ? {} : { not_icmp: icmpJson(rule.notIcmpType, rule.notIcmpCode) }),
    ...(Object.keys(source).length === 0 ? {} : { source }),
    ...(Object.keys(destination).length === 0 ? {} : { destination }),
    origin: `${rule.origin.file}:${rule.origin.line}`,
  };
}

function icmpJson(type: number, code: number): IcmpJson {
  return code < 0 ? { type } : { type, code };
}

function sideJson(plan: Plan, side: PlanSide): SideJson {
  const ids = (indexes: readonly number[]): string[] => indexes.map((index) => plan.ipSets[index]!.id);
  const texts = (prefixes: readonly Prefix[]): string[] => prefixes.map(formatPrefix);
  const ranges = (ports: PlanSide['ports']): string[] =>
    ports.map(([low, high]) => (low === high ? String(low) : `${low}:${high}`));
  const lists = {
    nets: texts(side.nets),
    not_nets: texts(side.notNets),
    ip_sets: ids(side.ipSets),
    not_ip_sets: ids(side.notIpSets),
    ports: ranges(side.ports),
    named_ports: ids(side.namedPorts),
    not_ports: ranges(side.notPorts),
    not_named_ports: ids(side.notNamedPorts),
  };
  const given = Object.entries(lists).filter(([, list]) => list.length > 0);
  const service = side.servicePorts < 0 ? {} : { service_ports: plan.ipSets[side.servicePorts]!.id };
  return { ...Object.fromEntries(given), ...service };
}
