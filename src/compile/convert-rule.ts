/**
 * One rule of Calico's API to a draft of what Felix renders.
 *
 * Selectors, named ports and services become IP sets (semantics 3.3, 3.7, 3.8); names of protocols become numbers; what
 * Felix ignores is left out. Which of two sets a rule needs depends on its ports:
 *
 *     fields of a side               ipSets       namedPorts            ports
 *     selector S                     [S]
 *     selector S, ports [80]         [S]                                [80-80]
 *     selector S, ports [http]                    [S port http]
 *     selector S, ports [80, http]   [S]          [S port http]         [80-80]
 *
 * With named ports alone the selector is part of the tuple set, so the address need not be looked up a second time;
 * with numeric ports beside them it must be. `notPorts` use the same positive selector.
 * Source: Calico felix/calc/rule_scanner.go (ruleToParsedRule), felix/calc/rule_convert.go, updateprocessors/rules.go.
 */
import { assert } from '../base/assert.ts';
import { uniqueId } from '../base/hash.ts';
import { parsePrefixOrAddress } from '../base/ip.ts';
import type { EntityRule, IcmpMatch, Port, Protocol, Rule, ServiceMatch } from '../model/rule.ts';
import type { Selector } from '../selector/selector.ts';
import { ANYBODY, identityMatch, ruleConditions } from './conditions.ts';
import { EMPTY_SIDE, type IpSetSpec, type PlacedRule, type RuleDraft, type SideDraft } from './draft.ts';
import { type KnownSide, sideKey } from './known-sides.ts';
import { type PeerSelectors, peerSelectors } from './peers.ts';
import type { Prefix } from './plan.ts';
import { impliedIpVersion, portProtocolName, protocolNumber } from './protocols.ts';
import { headProblems, type RuleProblem, ruleProblems } from './rule-limits.ts';
import { isSyntaxError, type SelectorCache } from './selectors.ts';

/** Something in a rule that has an effect few would expect; `field` is below the object. */
export interface RuleNotice {
  readonly field: string;
  readonly message: string;
  readonly fix: string;
}

/** The draft, or the problems for which Felix drops the whole object (their fields are below the object). */
export interface ConvertedRule {
  readonly draft: RuleDraft | undefined;
  readonly problems: readonly RuleProblem[];
  readonly notices: readonly RuleNotice[];
}

/** `namespace` is the policy's, `''` for global policies and profiles. */
export function convertRule(placed: PlacedRule, namespace: string, selectors: SelectorCache): ConvertedRule {
  const { rule, path } = placed;
  const sourceKey = keyOf(rule, 'source', namespace);
  const destinationKey = keyOf(rule, 'destination', namespace);
  const knownSource = sourceKey === UNCONSTRAINED ? NO_SIDE : selectors.sides.get(sourceKey);
  const knownDestination = destinationKey === UNCONSTRAINED ? NO_SIDE : selectors.sides.get(destinationKey);
  if (knownSource !== undefined && knownDestination !== undefined) {
    const problems = placedBelow(path, headProblems(rule));
    const draft = problems.length === 0 ? ruleDraft(rule, knownSource, knownDestination) : undefined;
    return { draft, problems, notices: NONE };
  }
  const problems = ruleProblems(rule, selectors);
  const notices: RuleNotice[] = [];
  const source = convertSide(rule, 'source', namespace, selectors, problems, notices);
  const destination = convertSide(rule, 'destination', namespace, selectors, problems, notices);
  if (problems.length > 0 || source === undefined || destination === undefined) {
    return { draft: undefined, problems: placedBelow(path, problems), notices: placedBelow(path, notices) };
  }
  const sides = [
    { draft: source, identity: identityMatch(rule.source, namespace) },
    { draft: destination, identity: identityMatch(rule.destination, namespace) },
  ] as const;
  // One that is known stays the one object that stands for all its likes.
  const shared = [knownSource ?? sides[0], knownDestination ?? sides[1]] as const;
  if (notices.length === 0) {
    if (knownSource === undefined) selectors.sides.set(sourceKey, sides[0]);
    if (knownDestination === undefined) selectors.sides.set(destinationKey, sides[1]);
  }
  return { draft: ruleDraft(rule, ...shared), problems: NONE, notices: placedBelow(path, notices) };
}

/** Key of a side that asks nothing. */
const UNCONSTRAINED = '';
const NO_SIDE: KnownSide = { draft: EMPTY_SIDE, identity: ANYBODY };

function keyOf(rule: Rule, side: 'source' | 'destination', namespace: string): string {
  return isUnconstrained(rule[side]) ? UNCONSTRAINED : sideKey(rule, side, namespace);
}

function placedBelow<T extends { readonly field: string }>(path: string, items: readonly T[]): readonly T[] {
  return items.length === 0 ? NONE : items.map((item) => ({ ...item, field: `${path}.${item.field}` }));
}

function ruleDraft(rule: Rule, source: KnownSide, destination: KnownSide): RuleDraft {
  return {
    action: ACTIONS[rule.action],
    ipVersion: rule.ipVersion ?? (rule.protocol === undefined ? 0 : impliedIpVersion(rule.protocol)),
    protocol: numberOrNone(rule.protocol),
    notProtocol: numberOrNone(rule.notProtocol),
    isProtocolNamed: typeof rule.protocol === 'string',
    isNotProtocolNamed: typeof rule.notProtocol === 'string',
    icmpType: rule.icmp?.type ?? -1,
    icmpCode: codeOf(rule.icmp),
    notIcmpType: rule.notICMP?.type ?? -1,
    notIcmpCode: codeOf(rule.notICMP),
    source: source.draft,
    destination: destination.draft,
    conditions: ruleConditions(rule, source.identity, destination.identity),
    origin: rule.origin,
  };
}

const ACTIONS = { Allow: 'allow', Deny: 'deny', Pass: 'pass', Log: 'log' } as const;

function numberOrNone(protocol: Protocol | undefined): number {
  return protocol === undefined ? -1 : protocolNumber(protocol)!;
}

/** Felix looks at the code only where there is a type (corner case 66). */
function codeOf(icmp: IcmpMatch | undefined): number {
  return icmp?.type === undefined ? -1 : (icmp.code ?? -1);
}

function convertSide(
  rule: Rule,
  side: 'source' | 'destination',
  namespace: string,
  selectors: SelectorCache,
  problems: RuleProblem[],
  notices: RuleNotice[],
): SideDraft | undefined {
  const entity = rule[side];
  if (isUnconstrained(entity)) return EMPTY_SIDE;
  const peers = peerSelectors(entity, namespace, selectors);
  if (isSyntaxErrorOfPeers(peers)) {
    // A bad raw field has been named already; this is one that only the combination breaks, such as a blank selector.
    if (!problems.some((item) => item.field.startsWith(`${side}.`))) {
      problems.push({ field: `${side}.selector`, problem: `combined selector: ${peers.message}` });
    }
    return undefined;
  }
  noticePeers(entity, peers, side, notices);
  const ranges = numericPorts(entity.ports);
  const names = portNames(entity.ports);
  const notNames = portNames(entity.notPorts);
  const isSetNeeded = ranges.length > 0 || names.length === 0;
  const owners = names.length > 0 || notNames.length > 0 ? (peers.positive ?? allEndpoints(selectors)) : undefined;
  const portProtocol = namedPortProtocol(rule.protocol);
  const nameSets = (list: readonly string[]): readonly IpSetSpec[] =>
    owners === undefined ? NONE : list.map((name) => portSet(owners, name, portProtocol, selectors));
  const sourceService = side === 'source' ? serviceSet(entity.services, 'svcnoport:', selectors) : undefined;
  return {
    nets: parseNets(entity.nets, `${side}.nets`, notices),
    notNets: parseNets(entity.notNets, `${side}.notNets`, notices),
    ipSets: given(isSetNeeded ? selectorSet(peers.positive, selectors) : undefined, sourceService),
    notIpSets: given(selectorSet(peers.negative, selectors)),
    ports: ranges,
    namedPorts: nameSets(names),
    notPorts: numericPorts(entity.notPorts),
    notNamedPorts: nameSets(notNames),
    servicePorts: side === 'destination' ? serviceSet(entity.services, 'svc:', selectors) : undefined,
  };
}

/** Rules are many and most of their lists are empty: one for all. */
const NONE: readonly never[] = [];

function isUnconstrained(entity: EntityRule): boolean {
  const { nets, notNets, selector, notSelector, namespaceSelector, serviceAccounts, services, ports, notPorts } =
    entity;
  const isAnyEndpoint =
    selector === '' && notSelector === '' && namespaceSelector === '' && serviceAccounts === undefined;
  const lengths = nets.length + notNets.length + ports.length + notPorts.length;
  return isAnyEndpoint && services === undefined && lengths === 0;
}

/** The sets that there are. */
function given(...sets: readonly (IpSetSpec | undefined)[]): readonly IpSetSpec[] {
  const list = sets.filter((set) => set !== undefined);
  return list.length === 0 ? NONE : list;
}

function isSyntaxErrorOfPeers(peers: ReturnType<typeof peerSelectors>): peers is Exclude<typeof peers, PeerSelectors> {
  return peers instanceof Error;
}

/** Owners of a named port of a side without a positive selector (semantics 3.7). */
function allEndpoints(selectors: SelectorCache): Selector {
  const all = selectors.parse('all()');
  assert(!isSyntaxError(all), 'all() is a selector');
  return all;
}

function noticePeers(entity: EntityRule, peers: PeerSelectors, side: string, notices: RuleNotice[]): void {
  if (peers.isServiceAccountsDropped) {
    notices.push({
      field: `${side}.serviceAccounts`,
      message:
        'a name with a quote in it makes Calico drop the whole serviceAccounts match: the rule applies to every account',
      fix: 'remove the quote from the name',
    });
  }
  if (entity.services !== undefined && entity.services.name !== '' && entity.services.namespace === '') {
    notices.push({
      field: `${side}.services.namespace`,
      message: 'a services match without namespace matches nothing',
      fix: 'add the namespace of the service',
    });
  }
}

/** Unparsable entries are skipped, as Calico does; if none is left, the match is gone. */
function parseNets(nets: readonly string[], field: string, notices: RuleNotice[]): readonly Prefix[] {
  if (nets.length === 0) return NONE;
  const parsed: Prefix[] = [];
  for (const [i, text] of nets.entries()) {
    const prefix = parsePrefixOrAddress(text);
    if (prefix !== undefined) parsed.push(prefix);
    else notices.push({ field: `${field}[${i}]`, message: `'${text}' is no CIDR and is skipped`, fix: 'write a CIDR' });
  }
  if (nets.length > 0 && parsed.length === 0) {
    notices.push({
      field,
      message: 'no entry is a CIDR: Calico drops the match, the rule applies to every address',
      fix: 'write CIDRs',
    });
  }
  return parsed;
}

function numericPorts(ports: readonly Port[]): readonly (readonly [number, number])[] {
  if (ports.length === 0) return NONE;
  return ports.flatMap((port) => (port.type === 'range' ? [[port.min, port.max] as const] : []));
}

/** Each name once: two equal names are one set. */
function portNames(ports: readonly Port[]): readonly string[] {
  if (!ports.some((port) => port.type === 'named')) return NONE;
  return [...new Set(ports.flatMap((port) => (port.type === 'named' ? [port.name] : [])))];
}

/** Which of the endpoints' ports a named port of this rule means: 0 = of any protocol. */
function namedPortProtocol(protocol: Protocol | undefined): number {
  if (protocol === undefined) return 0;
  const number = protocolNumber(protocol);
  return number === 17 || number === 132 ? number : 6;
}

function selectorSet(selector: Selector | undefined, selectors: SelectorCache): IpSetSpec | undefined {
  if (selector === undefined) return undefined;
  const { id, canonical } = selector;
  return selectors.ipSet(id, () => ({ ...PLAIN_SET, id, type: 'net', text: canonical, selector }));
}

const PLAIN_SET = { selector: undefined, portName: '', portProtocol: 0, service: '' } as const;

function portSet(owners: Selector, portName: string, portProtocol: number, selectors: SelectorCache): IpSetSpec {
  const protocol = portProtocolName(portProtocol);
  const key = `${owners.id},${protocol},${portName}`;
  const text = `${owners.canonical} port ${protocol} ${portName}`;
  return selectors.ipSet(key, () => {
    const id = uniqueId('n:', key);
    return { ...PLAIN_SET, id, type: 'ipPort', text, selector: owners, portName, portProtocol };
  });
}

/** The set of a services match, or none. The key is pasted as Calico does: without a namespace it is `/name`. */
function serviceSet(
  match: ServiceMatch | undefined,
  prefix: 'svc:' | 'svcnoport:',
  selectors: SelectorCache,
): IpSetSpec | undefined {
  if (match === undefined || match.name === '') return undefined;
  const service = `${match.namespace}/${match.name}`;
  const type = prefix === 'svc:' ? 'ipPort' : 'net';
  return selectors.ipSet(prefix + service, () => {
    return { ...PLAIN_SET, id: uniqueId(prefix, service), type, text: `service ${service}`, service };
  });
}
