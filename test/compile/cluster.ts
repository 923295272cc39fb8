/** Clusters for the tests of the compiler: YAML in, plan out, and short ways to what a test asks about. */
import { expect } from 'vitest';
import { formatAddress, formatPrefix } from '../../src/base/ip.ts';
import { ipSetMembers } from '../../src/compile/ip-sets.ts';
import type { Plan, PlanEndpoint, PlanGroup, PlanPolicy, PlanRule, PlanSide } from '../../src/compile/plan.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { type LoadOptions, loadResources } from '../../src/load/load.ts';

/** The plan of documents that load without errors. */
export function planOf(yaml: string, options: LoadOptions = {}): Plan {
  const { resources, errors } = loadResources([{ name: 'test.yaml', text: yaml }], options);
  expect(errors).toEqual([]);
  return planCluster(resources);
}

/** As plain CRD writes would have it. */
export function permissivePlanOf(yaml: string): Plan {
  return planOf(yaml, { permissive: true });
}

export function joinDocuments(...documents: readonly string[]): string {
  return documents.join('\n---\n');
}

interface PodOptions {
  readonly namespace?: string;
  readonly labels?: string;
  readonly serviceAccount?: string;
  readonly node?: string;
  readonly annotations?: string;
  /** Further lines below `spec`, indented by two. */
  readonly spec?: string;
  readonly phase?: string;
}

/** A running pod of namespace `app` on node `n1`. */
export function pod(name: string, ip: string, options: PodOptions = {}): string {
  const { namespace = 'app', labels = '{}', serviceAccount = 'default', node = 'n1', annotations = '{}' } = options;
  return `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${namespace}, labels: ${labels}, annotations: ${annotations}}
spec:
  nodeName: ${node}
  serviceAccountName: ${serviceAccount}
${options.spec ?? '  containers: [{name: c, image: x}]'}
status: {phase: ${options.phase ?? 'Running'}, podIP: '${ip}', podIPs: [${ip === '' ? '' : `{ip: '${ip}'}`}]}`;
}

export function namespace(name: string, labels = '{}'): string {
  return `{apiVersion: v1, kind: Namespace, metadata: {name: ${name}, labels: ${labels}}}`;
}

export function account(name: string, labels = '{}', inNamespace = 'app'): string {
  return `{apiVersion: v1, kind: ServiceAccount, metadata: {name: ${name}, namespace: ${inNamespace}, labels: ${labels}}}`;
}

/** A Calico NetworkPolicy of namespace `app`; `spec` as one line of flow YAML without the braces. */
export function networkPolicy(name: string, spec: string, inNamespace = 'app'): string {
  return `{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: ${name}, namespace: ${inNamespace}}, spec: {${spec}}}`;
}

export function globalPolicy(name: string, spec: string): string {
  return `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: ${name}}, spec: {${spec}}}`;
}

export function hostEndpoint(name: string, spec: string, labels = '{}'): string {
  return `{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: ${name}, labels: ${labels}}, spec: {${spec}}}`;
}

export function globalNetworkSet(name: string, nets: string, labels = '{}'): string {
  return `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: ${name}, labels: ${labels}}, spec: {nets: ${nets}}}`;
}

export function networkSet(name: string, nets: string, labels = '{}', inNamespace = 'app'): string {
  return `{apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: ${name}, namespace: ${inNamespace}, labels: ${labels}}, spec: {nets: ${nets}}}`;
}

export function policyOf(plan: Plan, id: string): PlanPolicy {
  const found = plan.policies.find((policy) => policy.id === id);
  if (found === undefined) throw new Error(`no policy ${id}; there are ${plan.policies.map((p) => p.id).join(', ')}`);
  return found;
}

export function endpointOf(plan: Plan, key: string): PlanEndpoint {
  const found = plan.endpoints.find((endpoint) => endpoint.key === key);
  if (found === undefined) throw new Error(`no endpoint ${key}`);
  return found;
}

export function groupOf(plan: Plan, key: string): PlanGroup {
  return plan.groups[endpointOf(plan, key).group]!;
}

/** IDs of the policies of an endpoint, tier by tier: `default< np:app/a np:app/b` for ingress, `>` for egress. */
export function runs(
  plan: Plan,
  key: string,
  list: 'tiers' | 'forwardTiers' | 'preDnatTiers' | 'untrackedTiers' = 'tiers',
): string[] {
  return groupOf(plan, key)[list].flatMap(({ tier, ingress, egress }) => {
    const line = (sign: string, indexes: readonly number[]): string[] =>
      indexes.length === 0
        ? []
        : [`${plan.tiers[tier]!.name}${sign} ${indexes.map((i) => plan.policies[i]!.id).join(' ')}`];
    return [...line('<', ingress), ...line('>', egress)];
  });
}

/** What a side demands of an address, set by set, as the canonical text of the set. */
export function setTexts(plan: Plan, indexes: readonly number[]): string[] {
  return indexes.map((index) => plan.ipSets[index]!.text);
}

/** Members of the one set of a side. */
export function peers(plan: Plan, side: PlanSide): string[] {
  expect(side.ipSets).toHaveLength(1);
  return ipSetMembers(plan, side.ipSets[0]!);
}

export function membersOf(plan: Plan, index: number): string[] {
  return ipSetMembers(plan, index);
}

/** The only ingress rule of a policy. */
export function ingressRule(plan: Plan, id: string, index = 0): PlanRule {
  return policyOf(plan, id).ingress[index]!;
}

export function egressRule(plan: Plan, id: string, index = 0): PlanRule {
  return policyOf(plan, id).egress[index]!;
}

/** No part of the side constrains anything. */
export const UNCONSTRAINED = {
  nets: [],
  notNets: [],
  ipSets: [],
  notIpSets: [],
  ports: [],
  namedPorts: [],
  notPorts: [],
  notNamedPorts: [],
  servicePorts: -1,
};

export function addresses(plan: Plan, key: string): string[] {
  return endpointOf(plan, key).addresses.map(formatAddress);
}

export function prefixTexts(prefixes: readonly Parameters<typeof formatPrefix>[0][]): string[] {
  return prefixes.map(formatPrefix);
}

/** `Kind ns/name field: message` of every warning. */
export function warningLines(plan: Plan): string[] {
  return plan.warnings.map(({ kind, namespace, name, field, message }) =>
    `${kind} ${namespace === '' ? '' : `${namespace}/`}${name} ${field}: ${message}`.replace('  ', ' '),
  );
}
