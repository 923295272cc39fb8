/**
 * Rules to terms: what a rule asks of the source address, of the destination address, and of protocol and ports.
 *
 * The bit rows of a chain (chains.ts) answer "which steps match" by intersecting one row for each field. That works only if
 * a step is a conjunction of one test a field. Most rules are; the exception is a named port, which ties the
 * address to the port: `ports: [http, 8080]` is "port 8080, or (address, protocol, port) in the set of http". So a rule
 * becomes one or more **terms**, each a conjunction, whose union is the rule:
 *
 *   ports: [http, 8080]     -> { keys: tcp 8080 }
 *                              { dst in tuple(http set, tcp, 80),   keys: tcp 80 }      one for each distinct
 *                              { dst in tuple(http set, tcp, 8081), keys: tcp 8081 }    protocol and port in the set
 *   notPorts: [http]        -> { keys: all but tcp 80 and tcp 8081 }
 *                              { dst not in tuple(http set, tcp, 80), keys: tcp 80 } …
 *
 * An address test is a list of predicates that must hold and one that must not; a predicate is a set of addresses
 * (classes.ts finds which peer classes are in it): an IP set, a list of CIDRs, or a tuple as above.
 *
 * The filter by IP version is semantics 3.6 (Calico felix/rules/policy.go, FilterRuleToIPVersion); the fields are 3.5, 3.7, 3.9 and,
 * for notICMP without a protocol, 10.5. Where the dataplanes differ: 6.10.
 */
import { formatPrefix } from '../base/ip.ts';
import { type Dataplane, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDPLITE } from '../model/flow.ts';
import {
  ALL_KEYS,
  allIcmpKeys,
  bpfIcmpKeys,
  complementKeys,
  icmpCodeKeys,
  icmpKeys,
  intersectKeys,
  isAllKeys,
  type KeySet,
  portKey,
  portKeys,
  protocolKeys,
  subtractKeys,
} from './keys.ts';
import type { Plan, PlanIpSet, PlanRule, PlanSide, Prefix } from './plan.ts';

/** Predicates all of which (`allOf`) and none of which (`noneOf`) an address must satisfy. Ascending predicate numbers. */
export interface AddressTest {
  readonly allOf: readonly number[];
  readonly noneOf: readonly number[];
}

export interface Term {
  readonly src: AddressTest;
  readonly dst: AddressTest;
  readonly keys: KeySet;
  /** Source ports, as keys; `ALL_KEYS` for nearly all rules. */
  readonly sourceKeys: KeySet;
}

export type Predicate =
  | { readonly type: 'set'; readonly set: number }
  | { readonly type: 'nets'; readonly prefixes: readonly Prefix[] }
  | { readonly type: 'tuple'; readonly set: number; readonly protocol: number; readonly port: number };

export const ANY_ADDRESS: AddressTest = { allOf: [], noneOf: [] };

/**
 * Numbers predicates in the order they are first asked for. One table serves both IP versions: most rules mean the same in either, and
 * their terms are then the very same objects.
 */
export class PredicateTable {
  readonly predicates: Predicate[] = [];
  readonly #plan: Plan;
  readonly #numbers = new Map<string, number>();
  readonly #tuples = new Map<number, readonly { protocol: number; port: number }[]>();
  /** By form: 0 = of sides that are the same for both versions, else the version. */
  readonly #alternatives = new Map<number, Map<PlanSide, readonly SideAlternative[]>>();
  /** By source, destination, and protocol and form. */
  readonly #terms = new Map<PlanSide, Map<PlanSide, Map<number, readonly Term[]>>>();

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  set(set: number): number {
    return this.#number(`s${set}`, () => ({ type: 'set', set }));
  }

  nets(prefixes: readonly Prefix[]): number {
    const key = `n${prefixes.map(formatPrefix).sort().join(',')}`;
    return this.#number(key, () => ({ type: 'nets', prefixes }));
  }

  tuple(set: number, protocol: number, port: number): number {
    return this.#number(`t${set},${protocol},${port}`, () => ({ type: 'tuple', set, protocol, port }));
  }

  /** The distinct protocols and ports that occur in an address-and-port set, ascending. */
  tuplesOf(set: number): readonly { protocol: number; port: number }[] {
    let tuples = this.#tuples.get(set);
    if (tuples === undefined) {
      tuples = distinctTuples(this.#plan, this.#plan.ipSets[set]!);
      this.#tuples.set(set, tuples);
    }
    return tuples;
  }

  /** What a side comes to, worked out once. */
  alternatives(side: PlanSide, version: 4 | 6, make: () => readonly SideAlternative[]): readonly SideAlternative[] {
    const bySide = known(this.#alternatives, hasNets(side) ? version : 0, () => new Map<PlanSide, SideAlternative[]>());
    return known(bySide, side, make);
  }

  /** The terms of all rules with these sides and this protocol, worked out once; `form` is 0 where both versions have the same. */
  terms(
    source: PlanSide,
    destination: PlanSide,
    protocol: number,
    form: 0 | 4 | 6,
    make: () => readonly Term[],
  ): readonly Term[] {
    const bySource = known(this.#terms, source, () => new Map());
    const byDestination = known(bySource, destination, () => new Map<number, readonly Term[]>());
    return known(byDestination, protocol * 8 + form, make);
  }

  #number(key: string, make: () => Predicate): number {
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.predicates.length;
      this.predicates.push(make());
      this.#numbers.set(key, number);
    }
    return number;
  }
}

/** The value of `key`, made if there is none. */
function known<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

/** The terms of `rule` for packets of `version` on `dataplane`; empty = the rule can match no such packet. */
export function ruleTerms(
  rule: PlanRule,
  version: 4 | 6,
  table: PredicateTable,
  dataplane: Dataplane,
): readonly Term[] {
  if (rule.ipVersion !== 0 && rule.ipVersion !== version) return [];
  const isPlain = rule.notProtocol < 0 && rule.icmpType < 0 && rule.notIcmpType < 0;
  if (!isPlain) return newTerms(rule, version, table, dataplane);
  // Of the rules that ask for no more than a protocol beside their sides, many are alike in all of it.
  const protocol = isUnknownToBpf(rule.protocol, rule.isProtocolNamed, dataplane) ? UNKNOWN : rule.protocol;
  const form = isVersionNeutral(rule) ? 0 : version;
  return table.terms(rule.source, rule.destination, protocol, form, () => newTerms(rule, version, table, dataplane));
}

/** Whether a rule has the same terms for both IP versions. */
export function isVersionNeutral(rule: PlanRule): boolean {
  const { protocol, notProtocol, source, destination } = rule;
  if (rule.ipVersion !== 0 || rule.icmpType >= 0 || rule.notIcmpType >= 0) return false;
  return !isIcmp(protocol) && !isIcmp(notProtocol) && !hasNets(source) && !hasNets(destination);
}

/** Keys of ICMP and ICMPv6 depend on the IP version. */
function isIcmp(protocol: number): boolean {
  return protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
}

function hasNets({ nets, notNets }: PlanSide): boolean {
  return nets.length + notNets.length > 0;
}

/** Stands for a protocol that the dataplane does not know. */
const UNKNOWN = -2;

function newTerms(rule: PlanRule, version: 4 | 6, table: PredicateTable, dataplane: Dataplane): Term[] {
  const keys = protocolAndIcmpKeys(rule, version, dataplane);
  if (keys.length === 0) return [];
  const sources = table.alternatives(rule.source, version, () => sideAlternatives(rule.source, version, table));
  const destinations = table.alternatives(rule.destination, version, () =>
    sideAlternatives(rule.destination, version, table),
  );
  const terms: Term[] = [];
  for (const source of sources) {
    for (const destination of destinations) {
      const termKeys = intersectKeys(keys, destination.keys);
      if (termKeys.length === 0 || source.keys.length === 0) continue;
      terms.push({ src: source.test, dst: destination.test, keys: termKeys, sourceKeys: source.keys });
    }
  }
  return terms;
}

function protocolAndIcmpKeys(rule: PlanRule, version: 4 | 6, dataplane: Dataplane): KeySet {
  let keys: KeySet = ALL_KEYS;
  if (rule.protocol >= 0) {
    if (isUnknownToBpf(rule.protocol, rule.isProtocolNamed, dataplane)) return [];
    keys = intersectKeys(keys, protocolKeys(rule.protocol, version));
  }
  if (rule.notProtocol >= 0 && !isUnknownToBpf(rule.notProtocol, rule.isNotProtocolNamed, dataplane)) {
    keys = subtractKeys(keys, protocolKeys(rule.notProtocol, version));
  }
  if (rule.icmpType >= 0) keys = intersectKeys(keys, icmpKeys(rule.icmpType, rule.icmpCode));
  if (rule.notIcmpType < 0) return keys;
  // BPF compares without a look at the protocol; the others match ICMP packets alone.
  if (dataplane === 'bpf') return subtractKeys(keys, bpfIcmpKeys(rule.notIcmpType, rule.notIcmpCode));
  keys = subtractKeys(intersectKeys(keys, allIcmpKeys()), icmpKeys(rule.notIcmpType, rule.notIcmpCode));
  if (dataplane !== 'nftables' || rule.notIcmpCode < 0) return keys;
  // nftables tests type and code one by one, each for being another.
  return subtractKeys(subtractKeys(keys, icmpKeys(rule.notIcmpType, -1)), icmpCodeKeys(rule.notIcmpCode));
}

/** The names ICMPv6 and UDPLite are protocol 0 to BPF: no packet has it (Calico felix/bpf/polprog, protocolToNumber). */
export function isUnknownToBpf(protocol: number, isNamed: boolean, dataplane: Dataplane): boolean {
  return dataplane === 'bpf' && isNamed && (protocol === PROTOCOL_ICMPV6 || protocol === PROTOCOL_UDPLITE);
}

interface SideAlternative {
  readonly test: AddressTest;
  readonly keys: KeySet;
}

function sideAlternatives(side: PlanSide, version: 4 | 6, table: PredicateTable): SideAlternative[] {
  const base = addressTest(side, version, table);
  if (base === undefined) return [];
  let alternatives: SideAlternative[] = [{ test: base, keys: ALL_KEYS }];
  if (side.ports.length > 0 || side.namedPorts.length > 0) {
    alternatives = product(alternatives, positivePorts(side, table));
  }
  if (side.notPorts.length > 0 || side.notNamedPorts.length > 0) {
    alternatives = product(alternatives, negativePorts(side, table));
  }
  if (side.servicePorts >= 0) alternatives = product(alternatives, tupleAlternatives(side.servicePorts, table));
  return alternatives;
}

/** Nets and sets of one side; `undefined` = no address of this version can match (semantics 3.6). */
function addressTest(side: PlanSide, version: 4 | 6, table: PredicateTable): AddressTest | undefined {
  const allOf: number[] = [];
  const noneOf: number[] = [];
  if (side.nets.length > 0) {
    const nets = side.nets.filter((net) => net.version === version);
    if (nets.length === 0) return undefined;
    if (!nets.some((net) => net.length === 0)) allOf.push(table.nets(nets));
  }
  if (side.notNets.length > 0) {
    const nets = side.notNets.filter((net) => net.version === version);
    if (nets.length === 0 || nets.some((net) => net.length === 0)) return undefined;
    noneOf.push(table.nets(nets));
  }
  for (const set of side.ipSets) allOf.push(table.set(set));
  for (const set of side.notIpSets) noneOf.push(table.set(set));
  return { allOf, noneOf };
}

function positivePorts(side: PlanSide, table: PredicateTable): SideAlternative[] {
  const out: SideAlternative[] = [];
  if (side.ports.length > 0) out.push({ test: ANY_ADDRESS, keys: portKeys(side.ports) });
  for (const set of side.namedPorts) out.push(...tupleAlternatives(set, table));
  return out;
}

function tupleAlternatives(set: number, table: PredicateTable): SideAlternative[] {
  return table.tuplesOf(set).map(({ protocol, port }) => ({
    test: { allOf: [table.tuple(set, protocol, port)], noneOf: [] },
    keys: portKey(protocol, port),
  }));
}

function negativePorts(side: PlanSide, table: PredicateTable): SideAlternative[] {
  let rest = complementKeys(portKeys(side.notPorts));
  /** Tuple keys to the predicates that must not hold for them. */
  const named = new Map<number, number[]>();
  for (const set of side.notNamedPorts) {
    for (const { protocol, port } of table.tuplesOf(set)) {
      const key = portKey(protocol, port)[0]!;
      named.set(key, [...(named.get(key) ?? []), table.tuple(set, protocol, port)]);
    }
  }
  const out: SideAlternative[] = [];
  for (const [key, noneOf] of [...named].sort((a, b) => a[0] - b[0])) {
    const keys = intersectKeys(rest, [key, key]);
    if (keys.length > 0) out.push({ test: { allOf: [], noneOf }, keys });
  }
  for (const key of named.keys()) rest = subtractKeys(rest, [key, key]);
  out.push({ test: ANY_ADDRESS, keys: rest });
  return out;
}

function product(a: readonly SideAlternative[], b: readonly SideAlternative[]): SideAlternative[] {
  const out: SideAlternative[] = [];
  for (const x of a) {
    for (const y of b) {
      const keys = isAllKeys(x.keys) ? y.keys : intersectKeys(x.keys, y.keys);
      if (keys.length === 0) continue;
      out.push({
        test: {
          allOf: [...new Set([...x.test.allOf, ...y.test.allOf])].sort((p, q) => p - q),
          noneOf: [...new Set([...x.test.noneOf, ...y.test.noneOf])].sort((p, q) => p - q),
        },
        keys,
      });
    }
  }
  return out;
}

function distinctTuples(plan: Plan, set: PlanIpSet): { protocol: number; port: number }[] {
  const seen = new Map<number, { protocol: number; port: number }>();
  const add = (protocol: number, port: number): void => {
    seen.set((protocol << 16) | port, { protocol, port });
  };
  for (const group of set.groups) {
    for (const port of plan.groups[group]!.namedPorts) {
      if (port.name === set.portName && (set.portProtocol === 0 || set.portProtocol === port.protocol)) {
        add(port.protocol, port.port);
      }
    }
  }
  for (const tuple of set.tuples) add(tuple.protocol, tuple.port);
  return [...seen].sort((a, b) => a[0] - b[0]).map(([, tuple]) => tuple);
}
