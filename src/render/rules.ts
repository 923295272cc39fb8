/**
 * Policy rules to kernel rules.
 *
 * A rule whose fields are all single tests becomes one kernel rule and its aftermath:
 *
 *   Allow   matches -> set ACCEPT;   ACCEPT set -> return
 *   Pass    matches -> set PASS;     PASS set -> return
 *   Deny    matches -> drop
 *
 * An OR of several tests (many CIDRs, more ports than one match holds, numbers beside named ports), and a NOT of several
 * that one rule cannot hold, become **blocks** before it, which leave their answer in mark bits. Source nets `[a, b]` and
 * ports `[80, http]`:
 *
 *   clear SCRATCH0|SCRATCH1
 *   src a                    -> set SCRATCH0        first block: straight into SCRATCH0
 *   src b                    -> set SCRATCH0
 *   tcp dport 80             -> set SCRATCH1        later blocks: into SCRATCH1 …
 *   dst,port in http         -> set SCRATCH1
 *   SCRATCH1 not set         -> clear SCRATCH0      … and a miss spoils SCRATCH0
 *   SCRATCH0 set, the rest   -> the action
 *
 * A negated block starts with SCRATCH0 set (if it is the first) and clears it on a hit. Negated address-and-port sets are always
 * blocks: nftables ends a rule without a match when a packet is too short for a port to be read, and NOT must then hold.
 *
 * The filter by IP version is semantics 3.6; ports in slots of 15, 3.7 and 7.3. Source: Calico felix/rules/policy.go.
 */
import * as layout from '../tables/layout.ts';
import { field, intsField, type Tables, textField } from '../tables/tables.ts';
import { setName } from './names.ts';
import { prefixList, prefixText, rangeList } from './reader.ts';
import {
  clearMark,
  DROP,
  hasMark,
  lacksMark,
  MARK_ACCEPT,
  MARK_PASS,
  MARK_SCRATCH0,
  MARK_SCRATCH1,
  type Match,
  type PortRange,
  RETURN,
  type Rule,
  rule,
  type Side,
  setMark,
} from './ruleset.ts';

const PORT_SLOTS_MAX = 15;
const PROTOCOLS_WITH_PORTS: readonly number[] = [6, 17, 132];

export interface RuleContext {
  readonly tables: Tables;
  readonly version: 4 | 6;
  /** Called with the index of every IP set that a rule refers to. */
  readonly useSet: (ipSet: number) => void;
}

/** The kernel rules for rule `index`; empty = it can match no packet of this version, or it is a Log rule. */
export function kernelRules(context: RuleContext, index: number, comment: string): Rule[] {
  const { tables, version } = context;
  const word = (at: number): number => field(tables, layout.SECTION_RULES, index, at);
  const action = word(layout.RULE_ACTION);
  const ipVersion = word(layout.RULE_IP_VERSION);
  if (action === layout.RULE_LOG || (ipVersion !== 0 && ipVersion !== version)) return [];
  const protocol = protocolMatches(context, index);
  if (protocol === undefined) return [];
  const parts: Parts = { matches: [...protocol], blocks: [] };
  for (const side of ['src', 'dst'] as const) {
    const sideIndex = word(side === 'src' ? layout.RULE_SOURCE : layout.RULE_DESTINATION);
    if (!addSide(context, sideIndex, side, protocol, parts)) return [];
  }
  const rules = blockRules(parts.blocks);
  const matches = parts.blocks.length === 0 ? parts.matches : [hasMark(MARK_SCRATCH0), ...parts.matches];
  if (action === layout.ACTION_ALLOW || action === layout.ACTION_PASS) {
    const mark = action === layout.ACTION_ALLOW ? MARK_ACCEPT : MARK_PASS;
    rules.push(rule(matches, setMark(mark), comment), rule([hasMark(mark)], RETURN));
  } else {
    rules.push(rule(matches, DROP, comment));
  }
  return rules;
}

interface Block {
  readonly isNegated: boolean;
  readonly alternatives: readonly (readonly Match[])[];
}

interface Parts {
  readonly matches: Match[];
  readonly blocks: Block[];
}

/**
 * Protocol and ICMP of a rule; `undefined` = no packet can match. A rule that names an ICMP type asks for the version's
 * ICMP even if it names no protocol, or another (semantics 10.5, 10.6).
 */
function protocolMatches({ tables, version }: RuleContext, index: number): Match[] | undefined {
  const word = (at: number): number => field(tables, layout.SECTION_RULES, index, at);
  const icmp = version === 4 ? 1 : 58;
  let protocol = word(layout.RULE_PROTOCOL);
  const not = word(layout.RULE_NOT_PROTOCOL);
  const type = word(layout.RULE_ICMP_TYPE);
  const notType = word(layout.RULE_NOT_ICMP_TYPE);
  if (type >= 0 || notType >= 0) {
    if (protocol >= 0 && protocol !== icmp) return undefined;
    protocol = icmp;
  }
  if (protocol >= 0 && protocol === not) return undefined;
  const matches: Match[] = [];
  if (protocol >= 0) matches.push({ kind: 'protocol', protocol, isNegated: false });
  else if (not >= 0) matches.push({ kind: 'protocol', protocol: not, isNegated: true });
  if (type >= 0) matches.push({ kind: 'icmp', type, code: word(layout.RULE_ICMP_CODE), isNegated: false });
  if (notType >= 0)
    matches.push({ kind: 'icmp', type: notType, code: word(layout.RULE_NOT_ICMP_CODE), isNegated: true });
  return matches;
}

/** Adds what one side asks for. False if no packet of this version can match. */
function addSide(context: RuleContext, index: number, side: Side, protocol: readonly Match[], parts: Parts): boolean {
  return addNets(context, index, side, parts) && addPorts(context, index, side, protocol, parts);
}

function addNets({ tables, version, useSet }: RuleContext, index: number, side: Side, parts: Parts): boolean {
  const all = prefixList(tables, layout.SECTION_SIDES, index, layout.SIDE_NETS);
  const nets = all.filter((net) => net.version === version);
  if (all.length > 0 && nets.length === 0) return false;
  const allNot = prefixList(tables, layout.SECTION_SIDES, index, layout.SIDE_NOT_NETS);
  const notNets = allNot.filter((net) => net.version === version);
  if (allNot.length > 0 && (notNets.length === 0 || notNets.some((net) => net.length === 0))) return false;
  const isAny = nets.some((net) => net.length === 0);
  const tests = (list: typeof nets, isNegated: boolean): Match[] =>
    list.map((net) => ({ kind: 'net', side, prefix: prefixText(net), isNegated }));
  if (nets.length === 1 && notNets.length === 0 && !isAny) parts.matches.push(...tests(nets, false));
  else if (nets.length > 0 && !isAny) parts.blocks.push(anyOf(tests(nets, false)));
  // One source and one destination is all that an iptables rule holds, so a second list needs a block.
  if (notNets.length === 1 && (nets.length === 0 || isAny)) parts.matches.push(...tests(notNets, true));
  else if (notNets.length > 0) parts.blocks.push({ ...anyOf(tests(notNets, false)), isNegated: true });
  for (const [word, isNegated] of [
    [layout.SIDE_IP_SETS, false],
    [layout.SIDE_NOT_IP_SETS, true],
  ] as const) {
    for (const ipSet of intsField(tables, layout.SECTION_SIDES, index, word)) {
      useSet(ipSet);
      parts.matches.push(setMatch(tables, version, ipSet, side, isNegated));
    }
  }
  return true;
}

function addPorts(context: RuleContext, index: number, side: Side, protocol: readonly Match[], parts: Parts): boolean {
  const { tables, version, useSet } = context;
  const named = (word: number): Match[] =>
    Array.from(intsField(tables, layout.SECTION_SIDES, index, word), (ipSet) => {
      useSet(ipSet);
      return setMatch(tables, version, ipSet, side, false);
    });
  const services = field(tables, layout.SECTION_SIDES, index, layout.SIDE_SERVICE_PORTS);
  if (services >= 0) {
    useSet(services);
    parts.matches.push(setMatch(tables, version, services, side, false));
  }
  const ranges = rangeList(tables, index, layout.SIDE_PORTS);
  const notRanges = rangeList(tables, index, layout.SIDE_NOT_PORTS);
  const hasPorts = protocol.some(
    (match) => match.kind === 'protocol' && !match.isNegated && PROTOCOLS_WITH_PORTS.includes(match.protocol),
  );
  const names = named(layout.SIDE_NAMED_PORTS);
  if (ranges.length > 0 || names.length > 0) {
    // Calico refuses numbers without such a protocol; were there any, they could match nothing.
    const numbers = hasPorts ? portMatches(ranges, side, false) : [];
    const alternatives = [...numbers.map((match) => [...protocol, match]), ...names.map((match) => [match])];
    if (alternatives.length === 0) return false;
    const [only] = alternatives;
    if (alternatives.length === 1) parts.matches.push(only!.at(-1)!);
    else parts.blocks.push({ isNegated: false, alternatives });
  }
  if (notRanges.length > 0 && hasPorts) parts.matches.push(...portMatches(notRanges, side, true));
  const notNames = named(layout.SIDE_NOT_NAMED_PORTS);
  if (notNames.length > 0) parts.blocks.push({ ...anyOf(notNames), isNegated: true });
  return true;
}

function anyOf(matches: readonly Match[]): Block {
  return { isNegated: false, alternatives: matches.map((match) => [match]) };
}

function setMatch(tables: Tables, version: 4 | 6, ipSet: number, side: Side, isNegated: boolean): Match {
  return {
    kind: 'set',
    side,
    set: setName(version, textField(tables, layout.SECTION_IP_SETS, ipSet, layout.IP_SET_ID)),
    hasPort: field(tables, layout.SECTION_IP_SETS, ipSet, layout.IP_SET_TYPE) === layout.IP_SET_IP_PORT,
    isNegated,
  };
}

/** Ports in groups that fit the 15 slots of a multiport match (semantics 7.3). */
function portMatches(ranges: readonly PortRange[], side: Side, isNegated: boolean): Match[] {
  const groups: PortRange[][] = [];
  let free = 0;
  for (const range of ranges) {
    const slots = range[0] === range[1] ? 1 : 2;
    if (slots > free) {
      groups.push([]);
      free = PORT_SLOTS_MAX;
    }
    groups.at(-1)!.push(range);
    free -= slots;
  }
  return groups.map((group) => ({ kind: 'ports', side, ranges: group, isNegated }));
}

/** See the top of the file. */
function blockRules(blocks: readonly Block[]): Rule[] {
  const rules: Rule[] = [];
  blocks.forEach((block, index) => {
    const isFirst = index === 0;
    if (isFirst) {
      rules.push(rule([], clearMark(MARK_SCRATCH0 | MARK_SCRATCH1)));
      if (block.isNegated) rules.push(rule([], setMark(MARK_SCRATCH0)));
    } else if (!block.isNegated) {
      rules.push(rule([], clearMark(MARK_SCRATCH1)));
    }
    const hit = block.isNegated ? clearMark(MARK_SCRATCH0) : setMark(isFirst ? MARK_SCRATCH0 : MARK_SCRATCH1);
    for (const matches of block.alternatives) rules.push(rule(matches, hit));
    if (!isFirst && !block.isNegated) rules.push(rule([lacksMark(MARK_SCRATCH1)], clearMark(MARK_SCRATCH0)));
  });
  return rules;
}
