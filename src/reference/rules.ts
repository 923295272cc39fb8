/**
 * Rules: what they match (semantics, section 3), written as one conjunction in the order of 3.9.
 *
 * A rule is prepared once: its selectors become sets, its nets prefixes. Nothing is reordered or folded, so that the
 * code below can be read beside the semantics.
 */
import { type IpPrefix, parsePrefixOrAddress } from '../base/ip.ts';
import {
  type Dataplane,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../model/flow.ts';
import type { EntityRule, IcmpMatch, Port, Protocol, Rule } from '../model/rule.ts';
import { AddressSet, type IpSets, type PortSet } from './ip-sets.ts';
import { type Address, type Packet, protocolNumber } from './packet.ts';
import { entityText, trySelector } from './selector-text.ts';

export interface ReferenceRule {
  readonly action: Rule['action'];
  readonly matches: (packet: Packet) => boolean;
}

/** Rules of one policy or profile and direction; `namespace` is `''` for global ones. All have passed `isValidRule`. */
export function prepareRules(
  rules: readonly Rule[],
  namespace: string,
  sets: IpSets,
  dataplane: Dataplane,
): ReferenceRule[] {
  return rules.map((rule) => ({ action: rule.action, matches: ruleMatcher(rule, namespace, sets, dataplane) }));
}

function ruleMatcher(rule: Rule, namespace: string, sets: IpSets, dataplane: Dataplane): (packet: Packet) => boolean {
  const ipVersion = versionOf(rule);
  const protocol = rule.protocol === undefined ? undefined : protocolNumber(rule.protocol);
  const notProtocol = rule.notProtocol === undefined ? undefined : protocolNumber(rule.notProtocol);
  const source = prepareSide(rule.source, 'source', protocol, namespace, sets);
  const destination = prepareSide(rule.destination, 'destination', protocol, namespace, sets);
  return (packet) => {
    if (ipVersion !== undefined && ipVersion !== packet.version) return false;
    if (!source.versions.includes(packet.version) || !destination.versions.includes(packet.version)) return false;
    if (protocol !== undefined && protocolIn(rule.protocol!, dataplane) !== packet.protocol) return false;
    if (notProtocol !== undefined && protocolIn(rule.notProtocol!, dataplane) === packet.protocol) return false;
    if (!sideMatches(source, packet.src, packet.protocol, packet.srcPort)) return false;
    if (!sideMatches(destination, packet.dst, packet.protocol, packet.dstPort)) return false;
    return icmpMatches(rule.icmp, rule.notICMP, packet, dataplane);
  };
}

/** BPF takes two of the names for protocol 0, which no packet has (semantics 6.10). */
function protocolIn(protocol: Protocol, dataplane: Dataplane): number {
  const isUnknown = dataplane === 'bpf' && typeof protocol === 'string' && /^(icmpv6|udplite)$/i.test(protocol);
  return isUnknown ? -1 : protocolNumber(protocol)!;
}

/** Explicit, or implied by the *names* ICMP and ICMPv6 (semantics 3.5). */
function versionOf(rule: Rule): 4 | 6 | undefined {
  if (rule.ipVersion !== undefined) return rule.ipVersion;
  if (typeof rule.protocol !== 'string') return undefined;
  const name = rule.protocol.toLowerCase();
  if (name === 'icmp') return 4;
  return name === 'icmpv6' ? 6 : undefined;
}

/** One side of a rule, prepared. */
interface Side {
  /** Versions for which the rule exists (semantics 3.6). */
  readonly versions: readonly (4 | 6)[];
  readonly nets: AddressSet | undefined;
  readonly notNets: AddressSet | undefined;
  readonly members: AddressSet | undefined;
  readonly nonMembers: AddressSet | undefined;
  readonly serviceAddresses: AddressSet | undefined;
  readonly servicePorts: PortSet | undefined;
  readonly ports: readonly PortTest[];
  readonly notPorts: readonly PortTest[];
}

type PortTest = (address: Address, protocol: number, port: number) => boolean;

function prepareSide(
  entity: EntityRule,
  side: 'source' | 'destination',
  protocol: number | undefined,
  namespace: string,
  sets: IpSets,
): Side {
  const { positive, negative } = entityText(entity, namespace);
  const { services } = entity;
  const testPort = (port: Port): PortTest => portTest(port, positive, protocol, sets);
  const nets = entity.nets.flatMap((text) => parsePrefixOrAddress(text) ?? []);
  const notNets = entity.notNets.flatMap((text) => parsePrefixOrAddress(text) ?? []);
  return {
    versions: ([4, 6] as const).filter((version) => netsHaveVersion(nets, notNets, version)),
    nets: nets.length === 0 ? undefined : new AddressSet([], nets),
    notNets: notNets.length === 0 ? undefined : new AddressSet([], notNets),
    members: positive === '' ? undefined : sets.ofSelector(positive),
    nonMembers: negative === '' ? undefined : sets.ofSelector(negative),
    serviceAddresses: services !== undefined && side === 'source' ? sets.ofServiceAddresses(services) : undefined,
    servicePorts: services !== undefined && side === 'destination' ? sets.ofServicePorts(services) : undefined,
    ports: entity.ports.map(testPort),
    notPorts: entity.notPorts.map(testPort),
  };
}

/** Semantics 3.7: a named port is a tuple owned by an endpoint that itself satisfies the positive expression. */
function portTest(port: Port, positive: string, protocol: number | undefined, sets: IpSets): PortTest {
  if (port.type === 'range') return (_address, _protocol, number) => port.min <= number && number <= port.max;
  const isUdpOrSctp = protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP;
  const portProtocol = protocol === undefined || isUdpOrSctp ? protocol : PROTOCOL_TCP;
  const set = sets.ofNamedPort(positive === '' ? 'all()' : positive, port.name, portProtocol);
  return (address, packetProtocol, number) => set.has(address, packetProtocol, number);
}

/** Semantics 3.6: a list that names no network of this version, or excludes all of it, removes the rule. */
function netsHaveVersion(nets: readonly IpPrefix[], notNets: readonly IpPrefix[], version: 4 | 6): boolean {
  for (const list of [nets, notNets]) {
    if (list.length > 0 && !list.some((prefix) => prefix.version === version)) return false;
  }
  return !notNets.some((prefix) => prefix.version === version && prefix.length === 0);
}

function sideMatches(side: Side, address: Address, protocol: number, port: number): boolean {
  if (side.nets !== undefined && !side.nets.has(address)) return false;
  if (side.notNets?.has(address)) return false;
  if (side.members !== undefined && !side.members.has(address)) return false;
  if (side.nonMembers?.has(address)) return false;
  if (side.serviceAddresses !== undefined && !side.serviceAddresses.has(address)) return false;
  if (side.servicePorts !== undefined && !side.servicePorts.has(address, protocol, port)) return false;
  if (side.ports.length > 0 && !side.ports.some((test) => test(address, protocol, port))) return false;
  return !side.notPorts.some((test) => test(address, protocol, port));
}

/**
 * Either match needs an ICMP packet of its version; a code without a type is ignored (semantics 3.5, 10.5, 10.6). Where the
 * dataplanes differ: 6.10.
 */
function icmpMatches(
  icmp: IcmpMatch | undefined,
  notIcmp: IcmpMatch | undefined,
  packet: Packet,
  dataplane: Dataplane,
): boolean {
  const isIcmp = packet.protocol === (packet.version === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
  if (icmp?.type !== undefined && !(isIcmp && icmpEquals(icmp, packet))) return false;
  if (notIcmp?.type === undefined) return true;
  if (dataplane === 'bpf') return !icmpEquals(notIcmp, isIcmp ? packet : portAsIcmp(packet));
  if (!isIcmp) return false;
  if (dataplane === 'iptables' || notIcmp.code === undefined) return !icmpEquals(notIcmp, packet);
  return notIcmp.type !== packet.icmpType && notIcmp.code !== packet.icmpCode;
}

/** Where BPF programs keep type and code, other packets have their destination port, low byte first. */
function portAsIcmp({ protocol, dstPort }: Packet): Pick<Packet, 'icmpType' | 'icmpCode'> {
  const hasPort = protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP;
  return { icmpType: hasPort ? dstPort % 256 : 0, icmpCode: hasPort ? Math.floor(dstPort / 256) : 0 };
}

function icmpEquals(match: IcmpMatch, packet: Pick<Packet, 'icmpType' | 'icmpCode'>): boolean {
  return match.type === packet.icmpType && (match.code === undefined || match.code === packet.icmpCode);
}

/** Felix's own check of a converted rule; one that fails takes its whole policy with it (semantics 3.2). */
export function isValidRule(rule: Rule, namespace: string): boolean {
  return (
    isValidProtocol(rule.protocol) &&
    isValidProtocol(rule.notProtocol) &&
    isValidIcmp(rule.icmp) &&
    isValidIcmp(rule.notICMP) &&
    [rule.source, rule.destination].every((entity) => isValidEntity(entity, rule.protocol, namespace))
  );
}

function isValidProtocol(protocol: Protocol | undefined): boolean {
  if (protocol === undefined) return true;
  return typeof protocol === 'number' ? protocol >= 1 && protocol <= 255 : protocolNumber(protocol) !== undefined;
}

function isValidIcmp(match: IcmpMatch | undefined): boolean {
  const type = match?.type ?? 0;
  const code = match?.code ?? 0;
  return type >= 0 && type <= 254 && code >= 0 && code <= 255;
}

function isValidEntity(entity: EntityRule, protocol: Protocol | undefined, namespace: string): boolean {
  const { positive, negative } = entityText(entity, namespace);
  const texts = [
    entity.selector,
    entity.notSelector,
    entity.namespaceSelector,
    entity.serviceAccounts?.selector ?? '',
    positive,
    negative,
  ];
  if (texts.some((text) => text !== '' && trySelector(text) === undefined)) return false;
  const number = protocol === undefined ? undefined : protocolNumber(protocol);
  const hasPorts = number === PROTOCOL_TCP || number === PROTOCOL_UDP || number === PROTOCOL_SCTP;
  return [...entity.ports, ...entity.notPorts].every((port) =>
    port.type === 'named'
      ? isPortName(port.name)
      : hasPorts && 1 <= port.min && port.min <= port.max && port.max <= 65535,
  );
}

/** Kubernetes' port names: at most 15 of a-z, 0-9 and single inner dashes, with a letter. */
function isPortName(name: string): boolean {
  return name.length <= 15 && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) && /[a-z]/.test(name);
}
