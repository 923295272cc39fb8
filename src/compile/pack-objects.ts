/** Packing of what users named: tiers, policies, rules, IP sets with their members, groups, nodes, services; endpoints: pack-endpoints.ts. */
import { compareBytewise } from '../base/bytewise.ts';
import { comparePrefixes } from '../base/ip.ts';
import { WordInterner } from '../base/word-interner.ts';
import { zeroWords } from '../base/words.ts';
import {
  ACTION_ALLOW,
  ACTION_DENY,
  ACTION_PASS,
  type Dataplane,
  DIRECTION_EGRESS,
  DIRECTION_INGRESS,
} from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import { sortedPrefixes } from './ip-sets.ts';
import type {
  Plan,
  PlanFailsafe,
  PlanIpSet,
  PlanNode,
  PlanPolicy,
  PlanRule,
  PlanSide,
  PlanTierPolicies,
  Prefix,
} from './plan.ts';
import { floatWords, prefixWords, type Sections } from './sections.ts';

/** Numbers given while packing that the chains refer to. */
export interface ObjectNumbers {
  /** Rule object -> rule index. */
  readonly rules: ReadonlyMap<PlanRule, number>;
}

export function packObjects(plan: Plan, sections: Sections, dataplane: Dataplane): ObjectNumbers {
  const rules = new Map<PlanRule, number>();
  const sides = new SidePool(sections);
  packTiers(plan, sections);
  packPolicies(plan, sections, rules, sides);
  packProfiles(plan, sections, rules, sides);
  packIpSets(plan, sections);
  packGroups(plan, sections);
  packNodes(plan, sections, dataplane);
  packServices(plan, sections);
  return { rules };
}

function packTiers(plan: Plan, sections: Sections): void {
  for (const tier of plan.tiers) {
    sections.record(layout.SECTION_TIERS, [
      sections.string(tier.name),
      tier.defaultAction === 'pass' ? ACTION_PASS : ACTION_DENY,
      tier.exists ? 1 : 0,
      ...floatWords(tier.order),
    ]);
  }
}

function packPolicies(plan: Plan, sections: Sections, rules: Map<PlanRule, number>, sides: SidePool): void {
  plan.policies.forEach((policy, index) => {
    const ingress = packRules(policy.ingress, index, DIRECTION_INGRESS, sections, rules, sides);
    const egress = packRules(policy.egress, index, DIRECTION_EGRESS, sections, rules, sides);
    sections.record(layout.SECTION_POLICIES, [
      sections.string(policy.id),
      sections.string(policy.namespace),
      sections.string(policy.name),
      policy.tier,
      policyFlags(policy),
      ...floatWords(policy.order),
      ...ingress,
      ...egress,
      sections.string(policy.selectorText),
      sections.string(policy.origin.file),
      policy.origin.line,
      0,
      0,
      0,
    ]);
  });
}

function policyFlags(policy: PlanPolicy): number {
  return (
    (policy.isStaged ? layout.POLICY_IS_STAGED : 0) |
    (policy.hasIngress ? layout.POLICY_HAS_INGRESS : 0) |
    (policy.hasEgress ? layout.POLICY_HAS_EGRESS : 0) |
    (policy.doNotTrack ? layout.POLICY_DO_NOT_TRACK : 0) |
    (policy.preDnat ? layout.POLICY_PRE_DNAT : 0) |
    (policy.applyOnForward ? layout.POLICY_APPLY_ON_FORWARD : 0)
  );
}

function packProfiles(plan: Plan, sections: Sections, rules: Map<PlanRule, number>, sides: SidePool): void {
  plan.profiles.forEach((profile, index) => {
    const ingress = packRules(profile.ingress, ~index, DIRECTION_INGRESS, sections, rules, sides);
    const egress = packRules(profile.egress, ~index, DIRECTION_EGRESS, sections, rules, sides);
    sections.record(layout.SECTION_PROFILES, [
      sections.string(profile.name),
      ...ingress,
      ...egress,
      sections.string(profile.origin.file),
      profile.origin.line,
    ]);
  });
}

const RULE_ACTIONS = { allow: ACTION_ALLOW, deny: ACTION_DENY, pass: ACTION_PASS, log: layout.RULE_LOG } as const;

/** `[first rule, count]`. */
function packRules(
  list: readonly PlanRule[],
  owner: number,
  direction: number,
  sections: Sections,
  rules: Map<PlanRule, number>,
  sides: SidePool,
): [number, number] {
  const first = sections.count(layout.SECTION_RULES);
  const records = sections.section(layout.SECTION_RULES);
  const size = layout.RECORD_WORDS[layout.SECTION_RULES]!;
  const start = records.extend(list.length * size);
  const { room } = records;
  for (let index = 0; index < list.length; index++) {
    const rule = list[index]!;
    const at = start + index * size;
    room[at + layout.RULE_ACTION] = RULE_ACTIONS[rule.action];
    room[at + layout.RULE_IP_VERSION] = rule.ipVersion;
    room[at + layout.RULE_PROTOCOL] = rule.protocol;
    room[at + layout.RULE_NOT_PROTOCOL] = rule.notProtocol;
    room[at + layout.RULE_ICMP_TYPE] = rule.icmpType;
    room[at + layout.RULE_ICMP_CODE] = rule.icmpCode;
    room[at + layout.RULE_NOT_ICMP_TYPE] = rule.notIcmpType;
    room[at + layout.RULE_NOT_ICMP_CODE] = rule.notIcmpCode;
    room[at + layout.RULE_SOURCE] = sides.number(rule.source);
    room[at + layout.RULE_DESTINATION] = sides.number(rule.destination);
    room[at + layout.RULE_OWNER] = owner;
    room[at + layout.RULE_DIRECTION] = direction;
    room[at + layout.RULE_INDEX] = index;
    room[at + layout.RULE_FILE] = sections.name(rule.origin.file);
    room[at + layout.RULE_LINE] = rule.origin.line;
    rules.set(rule, first + index);
  }
  return [first, list.length];
}

/** Sides, each stored once: most ask nothing, or for one of a few sets and ports. */
class SidePool {
  readonly #sections: Sections;
  readonly #known = new Map<PlanSide, number>();
  readonly #contents = new WordInterner();
  readonly #numbers: number[] = [];

  constructor(sections: Sections) {
    this.#sections = sections;
  }

  number(side: PlanSide): number {
    const known = this.#known.get(side);
    if (known !== undefined) return known;
    const words = Int32Array.from(sideWords(side, this.#sections));
    const content = this.#contents.number(words);
    this.#numbers[content] ??= this.#sections.record(layout.SECTION_SIDES, [...words]);
    this.#known.set(side, this.#numbers[content]!);
    return this.#numbers[content]!;
  }
}

function sideWords(side: PlanSide, sections: Sections): number[] {
  return [
    ...sections.prefixList(side.nets),
    ...sections.prefixList(side.notNets),
    ...sections.intList(side.ipSets),
    ...sections.intList(side.notIpSets),
    ...rangeList(side.ports, sections),
    ...sections.intList(side.namedPorts),
    ...rangeList(side.notPorts, sections),
    ...sections.intList(side.notNamedPorts),
    side.servicePorts,
    0,
  ];
}

function rangeList(ranges: readonly (readonly [number, number])[], sections: Sections): [number, number] {
  const [start] = sections.intList(ranges.flat());
  return [start, ranges.length];
}

function packIpSets(plan: Plan, sections: Sections): void {
  for (const set of plan.ipSets) {
    const first = sections.count(layout.SECTION_MEMBERS);
    const members = set.type === 'net' ? serviceMembers(set) : tupleMembers(plan, set);
    sections.section(layout.SECTION_MEMBERS).append(members.flat());
    sections.record(layout.SECTION_IP_SETS, [
      sections.string(set.id),
      set.type === 'net' ? layout.IP_SET_NET : layout.IP_SET_IP_PORT,
      sections.string(set.text),
      first,
      members.length,
    ]);
  }
}

/** Backends of a service in order of address. */
function serviceMembers(set: PlanIpSet): number[][] {
  return sortedPrefixes(set.prefixes.flatMap(splitAll)).map((prefix) => [...prefixWords(prefix), 0]);
}

/** A /0 is stored as two /1s (semantics 2.5), as the kernel's hash:net wants it. */
function splitAll(prefix: Prefix): Prefix[] {
  if (prefix.length !== 0) return [prefix];
  return [
    { version: prefix.version, words: [0, 0, 0, 0], length: 1 },
    { version: prefix.version, words: [0x80000000 | 0, 0, 0, 0], length: 1 },
  ];
}

function tupleMembers(plan: Plan, set: PlanIpSet): number[][] {
  const all: { address: Prefix; tuple: number }[] = set.tuples.map((tuple) => ({
    address: tuple.address,
    tuple: (tuple.protocol << 16) | tuple.port,
  }));
  for (const index of set.groups) {
    const group = plan.groups[index]!;
    for (const port of group.namedPorts) {
      if (port.name !== set.portName || (set.portProtocol !== 0 && set.portProtocol !== port.protocol)) continue;
      for (const address of group.prefixes) all.push({ address, tuple: (port.protocol << 16) | port.port });
    }
  }
  const order = (a: (typeof all)[0], b: (typeof all)[0]): number =>
    comparePrefixes(a.address, b.address) || a.tuple - b.tuple;
  all.sort(order);
  const unique = all.filter((member, i) => i === 0 || order(member, all[i - 1]!) !== 0);
  return unique.map((member) => [...prefixWords(member.address), member.tuple]);
}

function packGroups(plan: Plan, sections: Sections): void {
  const kinds = { wep: layout.KIND_WEP, hep: layout.KIND_HEP, ns: layout.KIND_NETWORK_SET } as const;
  const { sets, ends } = groupSets(plan);
  for (const [index, group] of plan.groups.entries()) {
    const firstSet = sections.count(layout.SECTION_NETWORK_SETS);
    for (const name of group.networkSets) {
      sections.record(layout.SECTION_NETWORK_SETS, [sections.string(name), ...sections.prefixList(group.prefixes)]);
    }
    sections.record(layout.SECTION_GROUPS, [
      kinds[group.kind],
      ...sections.intList(group.profiles.map((name) => sections.string(name))),
      packPolicyList(group.tiers, sections),
      packPolicyList(group.forwardTiers, sections),
      packPolicyList(group.preDnatTiers, sections),
      packPolicyList(group.untrackedTiers, sections),
      firstSet,
      group.networkSets.length,
      ...sections.intList(sets.subarray(index === 0 ? 0 : ends[index - 1]!, ends[index]!)),
    ]);
  }
}

/** Sets of addresses by group, ascending, one list after the other; those of group g end before `ends[g]`. */
interface SetsByGroup {
  readonly sets: Int32Array;
  readonly ends: Int32Array;
}

/** By group: the sets of addresses that it is in, ascending. */
export function netSetsByGroup(plan: Plan): number[][] {
  const { sets, ends } = groupSets(plan);
  return Array.from(ends, (end, group) => [...sets.subarray(group === 0 ? 0 : ends[group - 1]!, end)]);
}

/** Counted first, then written in place: with overlapping sets there are millions. */
function groupSets({ groups, ipSets }: Plan): SetsByGroup {
  const ends = zeroWords(groups.length);
  for (const { type, groups: members } of ipSets) {
    if (type === 'net') for (const group of members) ends[group]!++;
  }
  let total = 0;
  for (let group = 0; group < ends.length; group++) {
    const count = ends[group]!;
    ends[group] = total;
    total += count;
  }
  // Starts move to the ends while lists are written.
  const sets = zeroWords(total);
  for (let set = 0; set < ipSets.length; set++) {
    const { type, groups: members } = ipSets[set]!;
    if (type === 'net') for (const group of members) sets[ends[group]!++] = set;
  }
  return { sets, ends };
}

export function packPolicyList(tiers: readonly PlanTierPolicies[], sections: Sections): number {
  const words = [tiers.length];
  for (const { tier, ingress, egress } of tiers) words.push(tier, ingress.length, ...ingress, egress.length, ...egress);
  return sections.ints(words);
}

function packNodes(plan: Plan, sections: Sections, dataplane: Dataplane): void {
  for (const node of plan.nodes) {
    sections.record(layout.SECTION_NODES, [
      sections.string(node.name),
      node.uplinkEndpoint,
      node.isUplinkExplicit ? 1 : 0,
      node.wildcardEndpoint,
      ...sections.prefixList(node.addresses),
      ...sections.prefixList(node.podCidrs),
      node.settings.defaultEndpointToHostAction === 'drop' ? ACTION_DENY : ACTION_ALLOW,
      nodeFlags(node, dataplane),
      node.settings.vxlanPort,
      ...failsafeList(node.settings.failsafeInbound, sections),
      ...failsafeList(node.settings.failsafeOutbound, sections),
      sections.string(node.settings.interfacePrefixes.join(',')),
      0,
      0,
      0,
      0,
    ]);
  }
  for (const prefix of plan.serviceLoopPrefixes) {
    sections.record(layout.SECTION_LOOP_PREFIXES, [sections.prefix(prefix)]);
  }
}

function failsafeList(failsafes: readonly PlanFailsafe[], sections: Sections): [number, number] {
  const remote = ({ net }: PlanFailsafe): number => (net === undefined ? layout.NONE : sections.prefix(net));
  return sections.intList(failsafes.flatMap((failsafe) => [failsafe.protocol, failsafe.port, remote(failsafe)]));
}

function nodeFlags({ settings }: PlanNode, dataplane: Dataplane): number {
  return (
    (settings.allowVxlanFromWorkloads ? layout.NODE_ALLOW_VXLAN : 0) |
    (settings.allowIpipFromWorkloads ? layout.NODE_ALLOW_IPIP : 0) |
    (settings.disableConntrackInvalidCheck ? layout.NODE_NO_INVALID_CHECK : 0) |
    (settings.ipv6Support ? layout.NODE_IPV6 : 0) |
    (settings.serviceLoopPrevention ? layout.NODE_LOOP_PREVENTION : 0) |
    (settings.vxlanEnabled ? layout.NODE_VXLAN_IS_ON : 0) |
    (settings.ipipEnabled ? layout.NODE_IPIP_IS_ON : 0) |
    (dataplane === 'bpf' ? layout.NODE_IS_BPF : 0)
  );
}

/** Sorted by version, address, protocol and port, then name: the packet path searches them. */
function packServices(plan: Plan, sections: Sections): void {
  const ports = plan.services.flatMap((service) =>
    service.addresses.flatMap((address) =>
      service.ports.map((port) => ({ key: service.key, address, tuple: (port.protocol << 16) | port.port, port })),
    ),
  );
  ports.sort((a, b) => comparePrefixes(a.address, b.address) || a.tuple - b.tuple || compareBytewise(a.key, b.key));
  for (const { key, address, tuple, port } of ports) {
    const backends = port.backends.filter((backend) => backend.address.version === address.version);
    const words = backends.flatMap((backend) => [sections.prefix(backend.address), backend.port]);
    sections.record(layout.SECTION_SERVICES, [
      sections.string(key),
      sections.prefix(address),
      tuple,
      words.length === 0 ? 0 : sections.ints(words),
      backends.length,
    ]);
  }
}
