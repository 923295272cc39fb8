/**
 * Kubernetes NetworkPolicy in the form of a Calico NetworkPolicy.
 *
 * Tier `default`, order 1000, only Allow rules. A label selector becomes selector text: for pods it starts with
 * `projectcalico.org/orchestrator == 'k8s'`, which keeps host endpoints and network sets out, then come matchLabels by
 * key, then matchExpressions as written. Values are pasted between single quotes.
 *
 * A rule of peers and ports is expanded: ports are collected by protocol, and there is one Calico rule for each protocol
 * (sorted as text) and, within it, for each peer. `from: [A, B]`, `ports: [UDP 53, 80, TCP 443]` gives
 *
 *     0  TCP  from A  [80, 443]      1  TCP  from B  [80, 443]      2  UDP  from A  [53]      3  UDP  from B  [53]
 *
 * and these positions are the rule indexes of traces. An entry without a port means all ports of its protocol and
 * absorbs the numbers. Port lists with two numeric ports or more are compacted: names first, then merged ranges.
 *
 * A rule that cannot be converted (a named port with endPort, a reversed range) is dropped; the rest of the policy stays.
 * Source: Calico libcalico-go/lib/backend/k8s/conversion/conversion.go; semantics 5.1, 5.3.
 */
import { compareBytewise } from '../base/bytewise.ts';
import { formatPrefix, parsePrefix } from '../base/ip.ts';
import type {
  KubernetesNetworkPolicy,
  KubernetesPeer,
  KubernetesPort,
  KubernetesRule,
  LabelSelector,
  Origin,
  PolicyType,
} from '../model/resources.ts';
import { EMPTY_ENTITY, type EntityRule, type Port, type Rule } from '../model/rule.ts';
import type { Converted, PlacedRule, PolicyForm } from './draft.ts';
import { sortedLabels } from './labels.ts';
import type { PlanWarning } from './plan.ts';
import { LABEL_ORCHESTRATOR } from './selectors.ts';
import { warning } from './warnings.ts';

/** Order of every converted NetworkPolicy. */
const KUBERNETES_POLICY_ORDER = 1000;

export function kubernetesPolicyForm(policy: KubernetesNetworkPolicy): Converted<PolicyForm> {
  const { kind, meta } = policy;
  const isStaged = kind === 'StagedKubernetesNetworkPolicy';
  const warnings: PlanWarning[] = [];
  const form: PolicyForm = {
    id: `${isStaged ? 'sknp' : 'knp'}:${meta.namespace}/${meta.name}`,
    kind,
    namespace: meta.namespace,
    name: meta.name,
    tier: 'default',
    order: KUBERNETES_POLICY_ORDER,
    isStaged,
    types: policyTypes(policy.policyTypes),
    selector: podSelectorText(policy.podSelector),
    namespaceSelector: '',
    serviceAccountSelector: '',
    doNotTrack: false,
    preDnat: false,
    applyOnForward: false,
    ingress: expandRules(policy, policy.ingress, 'ingress', warnings),
    egress: expandRules(policy, policy.egress, 'egress', warnings),
    origin: meta.origin,
  };
  return { value: form, warnings };
}

/** Ingress alone if there is none: an API server without the field could only mean ingress. */
function policyTypes(types: readonly PolicyType[]): PolicyType[] {
  const known = (['Ingress', 'Egress'] as const).filter((type) => types.includes(type));
  return known.length === 0 ? ['Ingress'] : known;
}

/** Terms of a pod selector; `undefined` selects all pods. */
export function podSelectorText(selector: LabelSelector | undefined): string {
  return [`${LABEL_ORCHESTRATOR} == 'k8s'`, ...labelTerms(selector)].join(' && ');
}

/** Terms of a namespace selector; `''` if absent, `all()` if it selects everything. */
export function namespaceSelectorText(selector: LabelSelector | undefined): string {
  if (selector === undefined) return '';
  if (selector.matchLabels.size === 0 && selector.matchExpressions.length === 0) return 'all()';
  return labelTerms(selector).join(' && ');
}

function labelTerms(selector: LabelSelector | undefined): string[] {
  if (selector === undefined) return [];
  const labels = sortedLabels(selector.matchLabels);
  const terms = labels.map(([key, value]) => `${key} == '${value}'`);
  for (const { key, operator, values } of selector.matchExpressions) {
    const list = `{ '${values.join("', '")}' }`;
    if (operator === 'In') terms.push(`${key} in ${list}`);
    else if (operator === 'NotIn') terms.push(`${key} not in ${list}`);
    else if (operator === 'Exists') terms.push(`has(${key})`);
    else if (operator === 'DoesNotExist') terms.push(`! has(${key})`);
    // Calico skips operators it does not know.
  }
  return terms;
}

function expandRules(
  policy: KubernetesNetworkPolicy,
  rules: readonly KubernetesRule[],
  direction: 'ingress' | 'egress',
  warnings: PlanWarning[],
): PlacedRule[] {
  return rules.flatMap((rule, i) => {
    const path = `spec.${direction}[${i}]`;
    const ports = collectKubernetesPorts(rule.ports);
    if (typeof ports === 'string') {
      const message = `${ports}; Calico drops this rule and keeps the rest of the policy`;
      warnings.push(warning(policy, `${path}.ports`, message, 'correct the port'));
      return [];
    }
    warnMalformedBlocks(policy, rule, path, direction, warnings);
    return expand(ports, rule, direction).map((expanded) => ({ rule: expanded, path }));
  });
}

function expand(ports: ProtocolPorts, rule: KubernetesRule, direction: 'ingress' | 'egress'): Rule[] {
  const peers = rule.peers.length === 0 ? [undefined] : rule.peers;
  return protocolsInOrder(ports).flatMap((protocol) => {
    const destinationPorts = compactPorts(ports.get(protocol)!);
    return peers.map((peer) => {
      const entity = peerEntity(peer);
      if (direction === 'egress') {
        return plainRule('Allow', protocol, EMPTY_ENTITY, { ...entity, ports: destinationPorts }, rule.origin);
      }
      return plainRule('Allow', protocol, entity, { ...EMPTY_ENTITY, ports: destinationPorts }, rule.origin);
    });
  });
}

/** One entry a protocol as written, `''` for "any protocol"; an empty list of ports means all of them. */
export type ProtocolPorts = ReadonlyMap<string, readonly Port[]>;

export function protocolsInOrder(ports: ProtocolPorts): string[] {
  return [...ports.keys()].sort(compareBytewise);
}

/** Adds `ports` to those of `protocol`; an empty list means all ports and absorbs numbers before and after it. */
export function addPorts(byProtocol: Map<string, readonly Port[]>, protocol: string, ports: readonly Port[]): void {
  const known = byProtocol.get(protocol);
  if (ports.length === 0) byProtocol.set(protocol, []);
  else if (known === undefined) byProtocol.set(protocol, ports);
  else if (known.length > 0) byProtocol.set(protocol, [...known, ...ports]);
}

/** The ports of a rule by protocol, or what is wrong with one of them. */
function collectKubernetesPorts(ports: readonly KubernetesPort[]): ProtocolPorts | string {
  const byProtocol = new Map<string, readonly Port[]>();
  if (ports.length === 0) addPorts(byProtocol, '', []);
  for (const { protocol, port, endPort } of ports) {
    const parsed = port === undefined ? [] : parseKubernetesPort(port, endPort);
    if (typeof parsed === 'string') return parsed;
    addPorts(byProtocol, protocol, parsed);
  }
  return byProtocol;
}

function parseKubernetesPort(port: number | string, endPort: number | undefined): Port[] | string {
  const parsed = parsePortText(endPort === undefined ? String(port) : `${port}:${endPort}`);
  return typeof parsed === 'string' ? parsed : [parsed];
}

/** A port, range or name in Calico's notation, or what is wrong. Source: Calico api/pkg/lib/numorstring/port.go. */
export function parsePortText(text: string): Port | string {
  const range = /^(\d+)(?::(\d+))?$/.exec(text);
  if (range === null) {
    return /^[a-zA-Z0-9_.-]{1,128}$/.test(text) ? { type: 'named', name: text } : `'${text}' is no port, range or name`;
  }
  const min = Number(range[1]);
  const max = Number(range[2] ?? range[1]);
  if (min > 65_535 || max > 65_535) return `'${text}' is beyond port 65535`;
  return min > max ? `port range ${text} is reversed` : { type: 'range', min, max };
}

/**
 * Names first, as written, then the numeric ports as the fewest ascending ranges. Left as it is when it holds fewer than
 * two numeric ports, a range counting as all of its numbers. Source: conversion.go, SimplifyPorts.
 */
export function compactPorts(ports: readonly Port[]): readonly Port[] {
  const ranges = ports.flatMap((port) => (port.type === 'range' ? [port] : []));
  const count = ranges.reduce((sum, { min, max }) => sum + max - min + 1, 0);
  if (ports.length <= 1 || count <= 1) return ports;
  const merged: { type: 'range'; min: number; max: number }[] = [];
  for (const { min, max } of ranges.sort((a, b) => a.min - b.min)) {
    const last = merged.at(-1);
    if (last !== undefined && min <= last.max + 1) last.max = Math.max(last.max, max);
    else merged.push({ type: 'range', min, max });
  }
  return [...ports.filter((port) => port.type === 'named'), ...merged];
}

/** A Calico rule with nothing but action, protocol (`''` = any) and sides. */
export function plainRule(
  action: Rule['action'],
  protocol: string,
  source: EntityRule,
  destination: EntityRule,
  origin: Origin,
): Rule {
  return {
    action,
    ipVersion: undefined,
    protocol: protocol === '' ? undefined : protocol,
    notProtocol: undefined,
    icmp: undefined,
    notICMP: undefined,
    source,
    destination,
    http: undefined,
    annotations: new Map(),
    origin,
  };
}

/** Any peer, a block of addresses, or pods. A malformed block constrains nothing; a malformed exception ends the list. */
function peerEntity(peer: KubernetesPeer | undefined): EntityRule {
  if (peer === undefined) return EMPTY_ENTITY;
  if (peer.ipBlock === undefined) {
    const selector = podSelectorText(peer.podSelector);
    return { ...EMPTY_ENTITY, selector, namespaceSelector: namespaceSelectorText(peer.namespaceSelector) };
  }
  const block = parsePrefix(peer.ipBlock.cidr);
  if (block === undefined) return EMPTY_ENTITY;
  const notNets: string[] = [];
  for (const text of peer.ipBlock.except) {
    const exception = parsePrefix(text);
    if (exception === undefined) break;
    notNets.push(formatPrefix(exception));
  }
  return { ...EMPTY_ENTITY, nets: [formatPrefix(block)], notNets };
}

function warnMalformedBlocks(
  policy: KubernetesNetworkPolicy,
  rule: KubernetesRule,
  path: string,
  direction: 'ingress' | 'egress',
  warnings: PlanWarning[],
): void {
  for (const [i, { ipBlock }] of rule.peers.entries()) {
    const field = `${path}.${direction === 'ingress' ? 'from' : 'to'}[${i}].ipBlock`;
    if (ipBlock === undefined) continue;
    if (parsePrefix(ipBlock.cidr) === undefined) {
      const message = `'${ipBlock.cidr}' is no CIDR: Calico drops the block, the peer is any address`;
      warnings.push(warning(policy, `${field}.cidr`, message, 'write a CIDR'));
    } else if (ipBlock.except.some((text) => parsePrefix(text) === undefined)) {
      const message = 'an entry is no CIDR: Calico ignores it and those after it';
      warnings.push(warning(policy, `${field}.except`, message, 'write CIDRs'));
    }
  }
}
