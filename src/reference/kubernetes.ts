/**
 * Kubernetes NetworkPolicy and ClusterNetworkPolicy as rules of Calico (semantics, section 5).
 *
 * Both expand one Kubernetes rule into a rule per protocol and peer, protocols (sorted as texts) outside, peers inside.
 * The positions after this expansion are the rule indexes of traces.
 */
import { parsePrefix } from '../base/ip.ts';
import type {
  ClusterPeer,
  ClusterPortMatch,
  ClusterProtocol,
  ClusterRule,
  KubernetesPeer,
  KubernetesPort,
  KubernetesRule,
} from '../model/resources.ts';
import { EMPTY_ENTITY, type EntityRule, type Port, type Rule, type RuleAction } from '../model/rule.ts';
import { ruleForAll } from './profiles.ts';
import { namespaceSelectorText, podSelectorText } from './selector-text.ts';

/** Ports by protocol name (`''` = any protocol); `all` = every port of the protocol. */
type PortsByProtocol = ReadonlyMap<string, readonly Port[] | 'all'>;

/** Semantics 5.1. A rule that does not convert is dropped, the rest is kept (5.3). */
export function kubernetesRules(rules: readonly KubernetesRule[], direction: 'ingress' | 'egress'): Rule[] {
  return rules.flatMap((rule) => {
    const ports = kubernetesPorts(rule.ports);
    if (ports === undefined) return [];
    const peers = rule.peers.length === 0 ? [EMPTY_ENTITY] : rule.peers.map(kubernetesPeer);
    return expand('Allow', ports, peers, direction);
  });
}

/** Semantics 5.2. A Deny or Pass rule that does not convert denies everything; another is dropped. */
export function clusterRules(rules: readonly ClusterRule[], direction: 'ingress' | 'egress'): Rule[] {
  return rules.flatMap((rule) => {
    const action = CLUSTER_ACTIONS.get(rule.action);
    const ports = clusterPorts(rule.protocols);
    const peers = rule.peers.map((peer) => clusterPeer(peer, direction));
    const isGood = action !== undefined && ports !== undefined && peers.every((peer) => peer !== undefined);
    if (isGood) return expand(action, ports, peers as EntityRule[], direction);
    return action === 'Deny' || action === 'Pass' ? [ruleForAll('Deny')] : [];
  });
}

const CLUSTER_ACTIONS: ReadonlyMap<string, RuleAction> = new Map([
  ['Accept', 'Allow'],
  ['Deny', 'Deny'],
  ['Pass', 'Pass'],
]);

/** The ports always belong to the destination, the peer to the side that the direction names. */
function expand(
  action: RuleAction,
  portsByProtocol: PortsByProtocol,
  peers: readonly EntityRule[],
  direction: 'ingress' | 'egress',
): Rule[] {
  return [...portsByProtocol.keys()].sort().flatMap((protocol) => {
    const ports = portsByProtocol.get(protocol)!;
    const portList = ports === 'all' ? [] : ports;
    return peers.map((peer) => ({
      ...ruleForAll(action),
      protocol: protocol === '' ? undefined : protocol,
      source: direction === 'ingress' ? peer : EMPTY_ENTITY,
      destination: { ...(direction === 'ingress' ? EMPTY_ENTITY : peer), ports: portList },
    }));
  });
}

function kubernetesPeer(peer: KubernetesPeer): EntityRule {
  if (peer.ipBlock !== undefined) {
    if (parsePrefix(peer.ipBlock.cidr) === undefined) return EMPTY_ENTITY;
    const { cidr, except } = peer.ipBlock;
    const bad = except.findIndex((text) => parsePrefix(text) === undefined);
    return { ...EMPTY_ENTITY, nets: [cidr], notNets: bad < 0 ? except : except.slice(0, bad) };
  }
  return {
    ...EMPTY_ENTITY,
    selector: podSelectorText(peer.podSelector),
    namespaceSelector: peer.namespaceSelector === undefined ? '' : namespaceSelectorText(peer.namespaceSelector),
  };
}

function kubernetesPorts(entries: readonly KubernetesPort[]): PortsByProtocol | undefined {
  if (entries.length === 0) return new Map([['', 'all']]);
  const ports = new Map<string, Port[] | 'all'>();
  for (const { protocol, port, endPort } of entries) {
    const converted = port === undefined ? 'all' : kubernetesPort(port, endPort);
    if (converted === undefined) return undefined;
    addPort(ports, protocol, converted);
  }
  return ports;
}

/** `undefined` for a range that is reversed or starts at a name: its whole rule is dropped. */
function kubernetesPort(port: number | string, endPort: number | undefined): Port | undefined {
  const number = typeof port === 'string' && /^[0-9]+$/.test(port) ? Number(port) : port;
  if (endPort === undefined) {
    return typeof number === 'string' ? { type: 'named', name: number } : { type: 'range', min: number, max: number };
  }
  if (typeof number === 'string' || number > endPort) return undefined;
  return { type: 'range', min: number, max: endPort };
}

function addPort(ports: Map<string, Port[] | 'all'>, protocol: string, port: Port | 'all'): void {
  const known = ports.get(protocol);
  if (port === 'all' || known === 'all') ports.set(protocol, 'all');
  else ports.set(protocol, [...(known ?? []), port]);
}

/** `undefined` for a peer without a field that Calico supports. */
function clusterPeer(peer: ClusterPeer, direction: 'ingress' | 'egress'): EntityRule | undefined {
  const networks = direction === 'egress' ? (peer.networks ?? []) : [];
  if (peer.namespaces === undefined && peer.pods === undefined && networks.length === 0) return undefined;
  if (networks.some((text) => parsePrefix(text) === undefined)) return undefined;
  const entity = { ...EMPTY_ENTITY, nets: networks };
  if (peer.pods !== undefined) {
    const selector = podSelectorText(peer.pods.podSelector);
    return { ...entity, selector, namespaceSelector: namespaceSelectorText(peer.pods.namespaceSelector) };
  }
  if (peer.namespaces === undefined) return entity;
  return { ...entity, namespaceSelector: namespaceSelectorText(peer.namespaces) };
}

function clusterPorts(entries: readonly ClusterProtocol[]): PortsByProtocol | undefined {
  const ports = new Map<string, Port[] | 'all'>();
  for (const { tcp, udp, sctp, destinationNamedPort } of entries) {
    if (tcp === undefined && udp === undefined && sctp === undefined && destinationNamedPort === '') {
      // An entry that says nothing means any protocol, and swallows its neighbours.
      return new Map([['', 'all']]);
    }
    const [protocol, match] = tcp ? ['TCP', tcp] : udp ? ['UDP', udp] : sctp ? ['SCTP', sctp] : ['', undefined];
    const port = match === undefined ? ({ type: 'named', name: destinationNamedPort } as const) : clusterPort(match);
    if (port === undefined) return undefined;
    addPort(ports, protocol as string, port);
  }
  return ports.size === 0 ? new Map([['', 'all']]) : ports;
}

function clusterPort({ number, range }: ClusterPortMatch): Port | 'all' | undefined {
  if (number !== undefined) return { type: 'range', min: number, max: number };
  if (range === undefined) return 'all';
  return range.start > range.end ? undefined : { type: 'range', min: range.start, max: range.end };
}
