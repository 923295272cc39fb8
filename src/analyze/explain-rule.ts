/**
 * One rule against one flow, part by part: what it asks, what the flow has, and whether that fits (semantics 3.5-3.8).
 *
 * The verdict comes from the tables; this says why. `explain.ts` holds the two against each other.
 */
import { formatAddress, formatPrefix, type IpAddress, prefixContains } from '../base/ip.ts';
import { isUnknownToBpf } from '../compile/fields.ts';
import type { Plan, PlanIpSet, PlanRule, PlanSide, Prefix } from '../compile/plan.ts';
import {
  type Dataplane,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../model/flow.ts';
import type { Node } from '../selector/ast.ts';
import type { Owner } from './explain-owners.ts';
import { explainSelector, orList } from './explain-selector.ts';
import { protocolName } from './record.ts';

/** The flow as rules see it. Ports are undefined where the protocol has none. */
export interface Probe {
  readonly src: IpAddress;
  readonly dst: IpAddress;
  readonly protocol: number;
  readonly srcPort: number | undefined;
  readonly dstPort: number | undefined;
  readonly icmpType: number | undefined;
  readonly icmpCode: number | undefined;
  readonly srcOwners: readonly Owner[];
  readonly dstOwners: readonly Owner[];
  /** Whose reading of rules applies (semantics 6.10). */
  readonly dataplane: Dataplane;
}

export type Side = 'source' | 'destination';

export interface RulePart {
  /** `protocol`, `source.selector`, `destination.ports`, …: the fields of the rule that the part stands for. */
  readonly field: string;
  readonly holds: boolean;
  /** What the flow has, in a sentence; where it does not fit, also what the rule asks. */
  readonly text: string;
  /** For a selector of which exactly one part does not hold: that part. */
  readonly onlyMiss?: Node | undefined;
}

/** All parts that the rule has. It matches if every one holds; a rule without parts matches everything. */
export function ruleParts(plan: Plan, rule: PlanRule, probe: Probe): readonly RulePart[] {
  return [
    ...headParts(rule, probe),
    ...sideParts(plan, rule.source, 'source', probe),
    ...sideParts(plan, rule.destination, 'destination', probe),
  ];
}

function headParts(rule: PlanRule, probe: Probe): RulePart[] {
  const parts: RulePart[] = [];
  const version = probe.src.version;
  const part = (field: string, holds: boolean, has: string, wanted: string): void => {
    parts.push({ field, holds, text: holds ? has : `${has}, not ${wanted}` });
  };
  const has = `the protocol is ${protocolName(probe.protocol)}`;
  if (rule.protocol >= 0) {
    const isUnknown = isUnknownToBpf(rule.protocol, rule.isProtocolNamed, probe.dataplane);
    const wanted = isUnknown ? 'protocol 0, which BPF takes the name for' : protocolName(rule.protocol);
    part('protocol', !isUnknown && rule.protocol === probe.protocol, has, wanted);
  }
  if (rule.notProtocol >= 0) {
    const isUnknown = isUnknownToBpf(rule.notProtocol, rule.isNotProtocolNamed, probe.dataplane);
    const holds = isUnknown || rule.notProtocol !== probe.protocol;
    parts.push({ field: 'notProtocol', holds, text: holds ? has : `${has}, which the rule excludes` });
  }
  if (rule.ipVersion !== 0) {
    part('ipVersion', rule.ipVersion === version, `the flow is IPv${version}`, `IPv${rule.ipVersion}`);
  }
  const isIcmp = probe.protocol === (version === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
  const icmp = isIcmp ? `the ICMP type is ${probe.icmpType}, code ${probe.icmpCode}` : has;
  if (rule.icmpType >= 0) {
    const holds = isIcmp && isIcmpOf(probe, rule.icmpType, rule.icmpCode);
    part('icmp', holds, icmp, icmpText(rule.icmpType, rule.icmpCode));
  }
  if (rule.notIcmpType >= 0) {
    const holds = isOtherIcmp(rule, probe, isIcmp);
    const wanted = `ICMP other than ${icmpText(rule.notIcmpType, rule.notIcmpCode)}`;
    part('notICMP', holds, icmp, wanted);
  }
  return parts;
}

/** `notICMP`, as each dataplane has it (compile/fields.ts). */
function isOtherIcmp({ notIcmpType: type, notIcmpCode: code }: PlanRule, probe: Probe, isIcmp: boolean): boolean {
  if (probe.dataplane === 'bpf') {
    const port = probe.dstPort ?? 0;
    return isIcmp ? !isIcmpOf(probe, type, code) : !((port & 255) === type && (code < 0 || port >> 8 === code));
  }
  if (!isIcmp || isIcmpOf(probe, type, code)) return false;
  return probe.dataplane !== 'nftables' || code < 0 || (probe.icmpType !== type && probe.icmpCode !== code);
}

function isIcmpOf(probe: Probe, type: number, code: number): boolean {
  return probe.icmpType === type && (code < 0 || probe.icmpCode === code);
}

function icmpText(type: number, code: number): string {
  return code < 0 ? `type ${type}` : `type ${type}, code ${code}`;
}

function sideParts(plan: Plan, side: PlanSide, name: Side, probe: Probe): RulePart[] {
  const address = name === 'source' ? probe.src : probe.dst;
  const owners = name === 'source' ? probe.srcOwners : probe.dstOwners;
  const text = formatAddress(address);
  const parts: RulePart[] = [];
  if (side.nets.length > 0) parts.push(netsPart(side.nets, name, address));
  if (side.notNets.length > 0) parts.push(notNetsPart(side.notNets, name, address));
  for (const index of side.ipSets) {
    const set = plan.ipSets[index]!;
    const holds = isMember(plan, set, address);
    parts.push({
      field: `${name}.${isService(set) ? 'services' : 'selector'}`,
      holds,
      ...setFinding(set, holds, text, owners),
    });
  }
  for (const index of side.notIpSets) {
    const set = plan.ipSets[index]!;
    const holds = !isMember(plan, set, address);
    const { text: finding } = setFinding(set, !holds, text, owners);
    parts.push({ field: `${name}.notSelector`, holds, text: holds ? finding : `${finding}, which the rule excludes` });
  }
  if (side.ports.length > 0 || side.namedPorts.length > 0) parts.push(portsPart(plan, side, name, probe));
  if (side.notPorts.length > 0 || side.notNamedPorts.length > 0) parts.push(notPortsPart(plan, side, name, probe));
  if (side.servicePorts >= 0) parts.push(servicePart(plan, side.servicePorts, name, probe));
  return parts;
}

function isService(set: PlanIpSet): boolean {
  return set.id.startsWith('svc');
}

function setFinding(
  set: PlanIpSet,
  isIn: boolean,
  address: string,
  owners: readonly Owner[],
): { readonly text: string; readonly onlyMiss?: Node | undefined } {
  if (isService(set)) return { text: `${address} is ${isIn ? 'an' : 'no'} endpoint of ${set.text}` };
  return explainSelector(set.text, isIn, address, owners);
}

/** Networks of the other IP version alone leave a rule that no packet of this version meets (semantics 3.6). */
function netsPart(nets: readonly Prefix[], side: Side, address: IpAddress): RulePart {
  const own = nets.filter((net) => net.version === address.version);
  const text = formatAddress(address);
  const inside = own.find((net) => prefixContains(net, address));
  if (inside !== undefined) {
    return { field: `${side}.nets`, holds: true, text: `the ${side} ${text} is in ${formatPrefix(inside)}` };
  }
  const listed = orList(nets.map(formatPrefix));
  return { field: `${side}.nets`, holds: false, text: `the ${side} ${text} is not in ${listed}` };
}

function notNetsPart(nets: readonly Prefix[], side: Side, address: IpAddress): RulePart {
  const field = `${side}.notNets`;
  const own = nets.filter((net) => net.version === address.version);
  const text = formatAddress(address);
  if (own.length === 0) {
    const problem = `notNets holds no IPv${address.version} network, and then the rule is for no IPv${address.version} packet`;
    return { field, holds: false, text: problem };
  }
  const inside = own.find((net) => net.length === 0) ?? own.find((net) => prefixContains(net, address));
  if (inside === undefined)
    return { field, holds: true, text: `the ${side} ${text} is in none of the excluded networks` };
  return { field, holds: false, text: `the ${side} ${text} is in ${formatPrefix(inside)}, which the rule excludes` };
}

function portsPart(plan: Plan, side: PlanSide, name: Side, probe: Probe): RulePart {
  const port = name === 'source' ? probe.srcPort : probe.dstPort;
  const field = `${name}.ports`;
  const wanted = [...side.ports.map(rangeText), ...side.namedPorts.map((index) => plan.ipSets[index]!.portName)];
  if (!hasPorts(probe)) {
    return { field, holds: false, text: `${protocolName(probe.protocol)} has no ports, not port ${orList(wanted)}` };
  }
  const holds =
    side.ports.some(([low, high]) => port !== undefined && port >= low && port <= high) ||
    side.namedPorts.some((index) => isTupleMember(plan, plan.ipSets[index]!, name, probe));
  const has = `the ${name} port is ${port}`;
  return { field, holds, text: holds ? has : `${has}, not ${orList(wanted)}` };
}

function notPortsPart(plan: Plan, side: PlanSide, name: Side, probe: Probe): RulePart {
  const port = name === 'source' ? probe.srcPort : probe.dstPort;
  const isNumbered = hasPorts(probe) && side.notPorts.some(([low, high]) => port! >= low && port! <= high);
  const isNamed = side.notNamedPorts.some((index) => isTupleMember(plan, plan.ipSets[index]!, name, probe));
  const holds = !isNumbered && !isNamed;
  const has = hasPorts(probe) ? `the ${name} port is ${port}` : `${protocolName(probe.protocol)} has no ports`;
  return { field: `${name}.notPorts`, holds, text: holds ? has : `${has}, which the rule excludes` };
}

function servicePart(plan: Plan, index: number, name: Side, probe: Probe): RulePart {
  const set = plan.ipSets[index]!;
  const holds = isTupleMember(plan, set, name, probe);
  const address = formatAddress(name === 'source' ? probe.src : probe.dst);
  const port = (name === 'source' ? probe.srcPort : probe.dstPort) ?? 'no port';
  return {
    field: `${name}.services`,
    holds,
    text: `${address} with ${protocolName(probe.protocol)} ${port} is ${holds ? 'an' : 'no'} endpoint of ${set.text}`,
  };
}

function hasPorts({ protocol }: Probe): boolean {
  return protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP;
}

function rangeText([low, high]: readonly [number, number]): string {
  return low === high ? String(low) : `${low}:${high}`;
}

/** Whether the set of addresses holds `address`. */
function isMember(plan: Plan, set: PlanIpSet, address: IpAddress): boolean {
  const covers = (prefix: Prefix): boolean => prefixContains(prefix, address);
  return set.prefixes.some(covers) || set.groups.some((group) => plan.groups[group]!.prefixes.some(covers));
}

/** Whether the set of address, protocol and port holds that of one side of the flow. */
function isTupleMember(plan: Plan, set: PlanIpSet, side: Side, probe: Probe): boolean {
  const address = side === 'source' ? probe.src : probe.dst;
  const port = side === 'source' ? probe.srcPort : probe.dstPort;
  if (!hasPorts(probe)) return false;
  const isOwned = set.groups.some((index) => {
    const group = plan.groups[index]!;
    const isPort = group.namedPorts.some(
      (named) =>
        named.name === set.portName &&
        named.port === port &&
        named.protocol === probe.protocol &&
        (set.portProtocol === 0 || set.portProtocol === named.protocol),
    );
    return isPort && group.prefixes.some((prefix) => prefixContains(prefix, address));
  });
  return (
    isOwned ||
    set.tuples.some(
      (tuple) => tuple.port === port && tuple.protocol === probe.protocol && prefixContains(tuple.address, address),
    )
  );
}
