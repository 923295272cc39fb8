/**
 * Kubernetes ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2) in the form of a Calico GlobalNetworkPolicy.
 *
 * Tier Admin is `kube-admin`, Baseline is `kube-baseline`; the priority is the order. Rules expand as those of
 * NetworkPolicy do (`convert-kubernetes.ts`): protocols sorted as text, `''` (any protocol, or named ports, whose protocol
 * is open) first, and within each the peers. The directions are those that got a rule; with none, both.
 *
 * What cannot be converted fails closed where it can: a Deny or Pass rule with one bad peer or port becomes a Deny of
 * everything at its place, an Accept rule disappears (corner cases 85, 86).
 *
 * Peers `namespaces` carry no orchestrator term, so network sets match too, and a negative selector also host endpoints
 * and global network sets (corner case 87). The subject always carries it.
 * Source: Calico libcalico-go/lib/backend/k8s/conversion/clusternetworkpolicy.go; semantics 5.2, 5.3.
 */
import { formatPrefix, parsePrefix } from '../base/ip.ts';
import type {
  ClusterNetworkPolicy,
  ClusterPeer,
  ClusterPortMatch,
  ClusterProtocol,
  ClusterRule,
} from '../model/resources.ts';
import { EMPTY_ENTITY, type EntityRule, type Port, type Rule, type RuleAction } from '../model/rule.ts';
import {
  addPorts,
  compactPorts,
  namespaceSelectorText,
  type ProtocolPorts,
  plainRule,
  podSelectorText,
  protocolsInOrder,
} from './convert-kubernetes.ts';
import type { Converted, PlacedRule, PolicyForm } from './draft.ts';
import type { PlanWarning } from './plan.ts';
import { warning } from './warnings.ts';

const TIERS: ReadonlyMap<string, string> = new Map([
  ['Admin', 'kube-admin'],
  ['Baseline', 'kube-baseline'],
]);

const ACTIONS: ReadonlyMap<string, RuleAction> = new Map([
  ['Accept', 'Allow'],
  ['Deny', 'Deny'],
  ['Pass', 'Pass'],
]);

/** No value for an unknown tier or without a subject: Calico treats such a policy as nonexistent. */
export function clusterPolicyForm(policy: ClusterNetworkPolicy): Converted<PolicyForm> {
  const { meta } = policy;
  const tier = TIERS.get(policy.tier);
  const subject = subjectSelectors(policy);
  const warnings: PlanWarning[] = [];
  if (tier === undefined || subject === undefined) {
    const field = tier === undefined ? 'spec.tier' : 'spec.subject';
    const message = 'Calico treats the policy as nonexistent';
    const fix = tier === undefined ? 'write Admin or Baseline' : 'write namespaces or pods';
    return { value: undefined, warnings: [warning(policy, field, message, fix)] };
  }
  const ingress = policy.ingress.flatMap((rule, i) => expandRule(policy, rule, `spec.ingress[${i}]`, true, warnings));
  const egress = policy.egress.flatMap((rule, i) => expandRule(policy, rule, `spec.egress[${i}]`, false, warnings));
  const form: PolicyForm = {
    id: `kcnp:${meta.name}`,
    kind: policy.kind,
    namespace: '',
    name: meta.name,
    tier,
    order: policy.priority,
    isStaged: false,
    types: [...(ingress.length > 0 ? (['Ingress'] as const) : []), ...(egress.length > 0 ? (['Egress'] as const) : [])],
    selector: subject.selector,
    namespaceSelector: subject.namespaceSelector,
    serviceAccountSelector: '',
    doNotTrack: false,
    preDnat: false,
    applyOnForward: false,
    ingress,
    egress,
    origin: meta.origin,
  };
  return { value: form, warnings };
}

function subjectSelectors(
  policy: ClusterNetworkPolicy,
): Pick<EntityRule, 'selector' | 'namespaceSelector'> | undefined {
  const { subjectNamespaces, subjectPods } = policy;
  if (subjectNamespaces !== undefined) {
    return { selector: podSelectorText(undefined), namespaceSelector: namespaceSelectorText(subjectNamespaces) };
  }
  if (subjectPods === undefined) return undefined;
  return {
    selector: podSelectorText(subjectPods.podSelector),
    namespaceSelector: namespaceSelectorText(subjectPods.namespaceSelector),
  };
}

function expandRule(
  policy: ClusterNetworkPolicy,
  rule: ClusterRule,
  path: string,
  isIngress: boolean,
  warnings: PlanWarning[],
): PlacedRule[] {
  const expanded = convertRule(rule, isIngress);
  if (typeof expanded !== 'string') return expanded.map((item) => ({ rule: item, path }));
  const isClosed = rule.action === 'Deny' || rule.action === 'Pass';
  const effect = isClosed ? 'Calico puts a Deny of everything in its place' : 'Calico drops the rule';
  warnings.push(warning(policy, path, `${expanded}; ${effect}`, 'use fields that Calico supports'));
  return isClosed ? [{ rule: plainRule('Deny', '', EMPTY_ENTITY, EMPTY_ENTITY, rule.origin), path }] : [];
}

/** Calico's rules, or what makes the rule inconvertible. */
function convertRule(rule: ClusterRule, isIngress: boolean): Rule[] | string {
  const action = ACTIONS.get(rule.action);
  if (action === undefined) return `unknown action '${rule.action}'`;
  const ports = collectPorts(rule.protocols);
  if (typeof ports === 'string') return ports;
  const peers: EntityRule[] = [];
  for (const peer of rule.peers) {
    const entity = peerEntity(peer, isIngress);
    if (typeof entity === 'string') return entity;
    peers.push(entity);
  }
  const annotations = rule.name === '' ? new Map<string, string>() : new Map([['name', rule.name]]);
  return protocolsInOrder(ports).flatMap((protocol) => {
    const destinationPorts = compactPorts(ports.get(protocol)!);
    return peers.map((entity) => {
      const source = isIngress ? entity : EMPTY_ENTITY;
      const destination = { ...(isIngress ? EMPTY_ENTITY : entity), ports: destinationPorts };
      return { ...plainRule(action, protocol, source, destination, rule.origin), annotations };
    });
  });
}

function peerEntity(peer: ClusterPeer, isIngress: boolean): EntityRule | string {
  let entity: EntityRule | undefined;
  if (peer.namespaces !== undefined) {
    entity = { ...EMPTY_ENTITY, namespaceSelector: namespaceSelectorText(peer.namespaces) };
  }
  if (peer.pods !== undefined) {
    const selector = podSelectorText(peer.pods.podSelector);
    entity = { ...EMPTY_ENTITY, selector, namespaceSelector: namespaceSelectorText(peer.pods.namespaceSelector) };
  }
  if (!isIngress && peer.networks !== undefined && peer.networks.length > 0) {
    const nets: string[] = [];
    for (const text of peer.networks) {
      const prefix = parsePrefix(text);
      if (prefix === undefined) return `'${text}' is no CIDR`;
      nets.push(formatPrefix(prefix));
    }
    entity = { ...(entity ?? EMPTY_ENTITY), nets };
  }
  if (entity !== undefined) return entity;
  const given = peer.unsupported.length === 0 ? '' : ` (${peer.unsupported.join(', ')})`;
  return `a peer has no field that Calico supports${given}`;
}

/** Ports by protocol; an entry without any protocol means everything and ends the list. */
function collectPorts(protocols: readonly ClusterProtocol[]): ProtocolPorts | string {
  const byProtocol = new Map<string, readonly Port[]>();
  if (protocols.length === 0) return new Map([['', []]]);
  for (const entry of protocols) {
    const match = entry.tcp ?? entry.udp ?? entry.sctp;
    if (match === undefined) {
      if (entry.destinationNamedPort === '') return new Map([['', []]]);
      addPorts(byProtocol, '', [{ type: 'named', name: entry.destinationNamedPort }]);
      continue;
    }
    const name = entry.tcp !== undefined ? 'TCP' : entry.udp !== undefined ? 'UDP' : 'SCTP';
    const ports = portsOf(match);
    if (typeof ports === 'string') return ports;
    addPorts(byProtocol, name, ports);
  }
  return byProtocol;
}

function portsOf(match: ClusterPortMatch): Port[] | string {
  if (match.number !== undefined && match.number !== 0) {
    return [{ type: 'range', min: match.number, max: match.number }];
  }
  if (match.range === undefined) return [];
  const { start, end } = match.range;
  return start > end ? `port range ${start}-${end} is reversed` : [{ type: 'range', min: start, max: end }];
}
