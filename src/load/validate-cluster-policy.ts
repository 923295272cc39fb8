/**
 * Checks of ClusterNetworkPolicy beyond its shape.
 *
 * Sources: the CRD of policy.networking.k8s.io/v1alpha2 (libcalico-go/config/crd) for what the API takes; Calico
 * libcalico-go/lib/backend/k8s/conversion/clusternetworkpolicy.go for what becomes of it (semantics 5.2).
 */
import { quoteText } from '../base/errors.ts';
import { formatPrefix, type IpPrefix, parseAddress, parsePrefix } from '../base/ip.ts';
import type { RawClusterPeer, RawClusterPolicy, RawClusterProtocol, RawClusterRule } from './convert-kubernetes.ts';
import { portNameProblem } from './names.ts';
import type { ObjectContext } from './object.ts';
import type { FieldPath } from './problem.ts';
import { listOf, type Opt } from './raw.ts';
import { checkLabelSelector } from './validate-kubernetes.ts';
import { checkMeta, subdomainName } from './validate-meta.ts';
import type { Direction } from './validate-rule.ts';

export function checkClusterPolicy(raw: RawClusterPolicy, context: ObjectContext): void {
  checkMeta(raw, false, subdomainName, context);
  const spec = raw.spec ?? {};
  const subject = spec.subject ?? {};
  const path = ['spec', 'subject'];
  if (countGiven(subject) !== 1) {
    const effect = countGiven(subject) === 0 ? 'Calico takes the policy as absent' : 'Calico uses namespaces alone';
    context.refuse(path, 'subject must have exactly one of namespaces and pods', 'give one of them', effect);
  }
  checkLabelSelector(subject.namespaces, [...path, 'namespaces'], context);
  checkPods(subject.pods, [...path, 'pods'], context);
  checkRules(spec.ingress, 'ingress', context);
  checkRules(spec.egress, 'egress', context);
}

/** How many fields of an object are given. */
function countGiven(raw: object): number {
  return Object.values(raw).filter((value) => value !== null && value !== undefined).length;
}

function checkPods(raw: Opt<NonNullable<RawClusterPeer['pods']>>, path: FieldPath, context: ObjectContext): void {
  if (!raw) return;
  if (!raw.podSelector) {
    const fix = 'add podSelector: {} for all pods';
    context.refuse([...path, 'podSelector'], 'pods without podSelector', fix, 'it is taken as all pods');
  }
  checkLabelSelector(raw.namespaceSelector, [...path, 'namespaceSelector'], context);
  checkLabelSelector(raw.podSelector, [...path, 'podSelector'], context);
}

function checkRules(rules: Opt<readonly RawClusterRule[]>, direction: Direction, context: ObjectContext): void {
  const side = direction === 'ingress' ? 'from' : 'to';
  for (const [index, rule] of listOf(rules).entries()) {
    const path = ['spec', direction, index];
    const lost = lossOf(rule.action ?? '');
    for (const [at, peer] of listOf(rule[side]).entries()) checkPeer(peer, lost, [...path, side, at], context);
    for (const [at, protocol] of listOf(rule.protocols).entries()) {
      checkProtocol(protocol, lost, [...path, 'protocols', at], context);
    }
  }
}

/** What becomes of a rule that Calico cannot convert. */
function lossOf(action: string): string {
  if (action === 'Accept') return 'Calico drops the whole rule';
  return 'Calico replaces the whole rule by one that denies everything';
}

function checkPeer(peer: RawClusterPeer, lost: string, path: FieldPath, context: ObjectContext): void {
  const count = countGiven(peer);
  if (count !== 1) {
    const effect = count === 0 ? lost : 'Calico joins them with AND';
    context.refuse(path, `a peer must have exactly one field, and this one has ${count}`, 'give one', effect);
  }
  checkLabelSelector(peer.namespaces, [...path, 'namespaces'], context);
  checkPods(peer.pods, [...path, 'pods'], context);
  for (const [index, text] of listOf(peer.networks).entries()) {
    const place = [...path, 'networks', index];
    const prefix = parsePrefix(text);
    if (prefix === undefined) {
      context.refuse(place, `${quoteText(text)} is not a CIDR`, 'write ADDRESS/LENGTH', lost);
    } else if (!isStrictCidr(text, prefix)) {
      const message = `${quoteText(text)} has leading zeros in its length, or is an IPv4 address in IPv6 form`;
      const plain = formatPrefix(prefix);
      context.refuse(place, message, `write '${plain}'`, `Calico takes it as ${plain}`);
    }
  }
}

/**
 * Of what Go's `net.ParseCIDR` takes, what `isCIDR` of CEL takes too: it reads with Go's stricter `netip.ParsePrefix`,
 * and refuses mapped addresses of any length (k8s.io/apiserver/pkg/cel/library/cidr.go).
 */
function isStrictCidr(text: string, prefix: IpPrefix): boolean {
  const isMapped = parseAddress(text.slice(0, text.indexOf('/')))?.version === 4 && text.includes(':');
  return !isMapped && text.endsWith(`/${prefix.length}`);
}

function checkProtocol(raw: RawClusterProtocol, lost: string, path: FieldPath, context: ObjectContext): void {
  if (countGiven(raw) !== 1) {
    const message = 'an entry must have exactly one of tcp, udp, sctp and destinationNamedPort';
    context.refuse(path, message, 'make one entry of each', 'Calico uses the first it knows');
  }
  const name = raw.destinationNamedPort ?? '';
  const problem = name === '' ? undefined : portNameProblem(name);
  if (problem !== undefined) {
    const field = [...path, 'destinationNamedPort'];
    context.warn(field, `no port can have the name ${quoteText(name)}, which is ${problem}`, 'correct it');
  }
  for (const transport of ['tcp', 'udp', 'sctp'] as const) {
    const match = raw[transport];
    if (!match) continue;
    const field = [...path, transport, 'destinationPort'];
    if (!match.destinationPort) {
      const message = `${transport} without destinationPort: the API refuses it, and Calico takes it as every port`;
      context.warn(field, message, 'remove protocols for every protocol, or give the range 1 to 65535');
      continue;
    }
    const { range } = match.destinationPort;
    if (countGiven(match.destinationPort) !== 1) {
      context.refuse(field, 'destinationPort must have exactly one of number and range', 'give one of them', lost);
    }
    if (range && range.start >= range.end) {
      const message = `range ${range.start} to ${range.end} does not begin before it ends`;
      context.refuse([...field, 'range'], message, 'correct it, or use number', lost);
    }
  }
}
