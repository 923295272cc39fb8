/**
 * Peer classes: addresses that no rule can tell apart.
 *
 * Every predicate of fields.ts is a union of prefixes. Two addresses covered by the same predicates are in the same
 * class, so a rule needs to be tested once a class and not once an address, and a packet needs one lookup an
 * address and not one a set. Classes are found by a sweep over all prefixes in order of address, then length, which
 * visits a prefix right before everything inside it:
 *
 *   prefixes            own predicates     stack of open prefixes     effective      class
 *   10.0.0.0/8          {cidr}             [/8]                       {cidr}         1
 *     10.0.0.5/32       {web}              [/8, /32]                  {cidr, web}    2
 *     10.0.0.6/32       {web}              [/8, /32]                  {cidr, web}    2
 *   192.0.2.0/24        {}                 [/24]                      {}             0 (what no predicate covers)
 *
 * The effective set of a prefix is its parent's and its own; equal sets are one class (hash-consed). Longest-prefix
 * matching thus costs nothing later: whoever paints the segments in this order, children after parents, gets it.
 *
 * Cost: one sort of all prefixes, then a step each. An address that two pods own has the predicates of both (semantics 7.2). One that changes
 * its owner (timed-owners.ts) has a class for each of its states.
 */
import { comparePrefixes, prefixCovers } from '../base/ip.ts';
import type { Predicate, PredicateTable } from './fields.ts';
import type { Plan, Prefix } from './plan.ts';
import { addressKey, type TimedAddress, type TimedAddresses } from './timed-owners.ts';

/** A prefix and the class of the addresses in it that no longer segment covers. Sorted: parents before children. */
export interface Segment {
  readonly prefix: Prefix;
  readonly peerClass: number;
}

export interface PeerClasses {
  readonly segments: readonly Segment[];
  /** Class numbers run from 0 (no predicate holds) to `count - 1`. */
  readonly count: number;
  /** The classes of each predicate, ascending: predicate -> class numbers. */
  readonly classesOf: readonly (readonly number[])[];
  /** Of the addresses that change their owner: the class in each state. Their segment has that of the first. */
  readonly timed: ReadonlyMap<TimedAddress, readonly number[]>;
}

/**
 * The classes of one IP version.
 *
 * @param marks  further prefixes that need a segment of their own although no predicate names them (node addresses, …)
 * @param timed  addresses that change their owner
 */
export function buildPeerClasses(
  plan: Plan,
  version: 4 | 6,
  table: PredicateTable,
  marks: readonly Prefix[],
  timed: TimedAddresses = new Map(),
): PeerClasses {
  const classes = new ClassNumbers(table.predicates.length);
  const segments: Segment[] = [];
  const open: { prefix: Prefix; effective: number }[] = [];
  const byGroup = predicatesByGroup(plan, table);
  const timedClasses = new Map<TimedAddress, readonly number[]>();
  const entries = sortedEntries(plan, version, table, marks, byGroup, timed);
  for (let i = 0; i < entries.length; ) {
    const prefix = entries[i]!.prefix;
    let own: readonly number[] = entries[i]!.predicates;
    let timedHere = entries[i]!.timed;
    let next = i + 1;
    while (next < entries.length && comparePrefixes(entries[next]!.prefix, prefix) === 0) {
      own = union(own, entries[next]!.predicates);
      timedHere ??= entries[next]!.timed;
      next++;
    }
    i = next;
    while (open.length > 0 && !prefixCovers(open.at(-1)!.prefix, prefix)) open.pop();
    const parent = open.at(-1)?.effective ?? 0;
    let effective: number;
    if (timedHere === undefined) effective = classes.number(parent, own);
    else {
      const ofStates = timedHere.states.map(({ pods }) => {
        const groups = pods.flatMap((pod) => plan.endpoints[pod]?.group ?? []);
        return classes.number(
          parent,
          groups.reduce((all, group) => union(all, byGroup[group]!), own),
        );
      });
      timedClasses.set(timedHere, ofStates);
      effective = ofStates[0]!;
    }
    segments.push({ prefix, peerClass: effective });
    open.push({ prefix, effective });
  }
  return { segments, count: classes.count, classesOf: classes.classesOf, timed: timedClasses };
}

/** Hash-consed sets of predicates; class 0 is the empty set. */
class ClassNumbers {
  readonly classesOf: number[][];
  readonly #sets: (readonly number[])[] = [[]];
  readonly #numbers = new Map<string, number>([['', 0]]);
  /** (parent class, own predicates) seen before, so that a million equal pods cost one union. */
  readonly #steps = new Map<readonly number[], Map<number, number>>();

  constructor(predicateCount: number) {
    this.classesOf = Array.from({ length: predicateCount }, () => []);
  }

  get count(): number {
    return this.#sets.length;
  }

  number(parent: number, own: readonly number[]): number {
    if (own.length === 0) return parent;
    let byParent = this.#steps.get(own);
    if (byParent === undefined) {
      byParent = new Map();
      this.#steps.set(own, byParent);
    }
    let number = byParent.get(parent);
    if (number === undefined) {
      number = this.#intern(union(this.#sets[parent]!, own));
      byParent.set(parent, number);
    }
    return number;
  }

  #intern(set: readonly number[]): number {
    const key = set.join(',');
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#sets.length;
      this.#sets.push(set);
      this.#numbers.set(key, number);
      for (const predicate of set) this.classesOf[predicate]!.push(number);
    }
    return number;
  }
}

interface Entry {
  readonly prefix: Prefix;
  /** Ascending; the same array object for all prefixes of a group. */
  readonly predicates: readonly number[];
  /** An address that changes its owner; its predicates are then those that hold whoever owns it. */
  readonly timed?: TimedAddress;
}

function sortedEntries(
  plan: Plan,
  version: 4 | 6,
  table: PredicateTable,
  marks: readonly Prefix[],
  byGroup: readonly (readonly number[])[],
  timed: TimedAddresses,
): Entry[] {
  const entries: Entry[] = [];
  const none: readonly number[] = [];
  const add = (prefixes: readonly Prefix[], predicates: readonly number[]): void => {
    for (const prefix of prefixes) if (prefix.version === version) entries.push({ prefix, predicates });
  };
  plan.groups.forEach((group, index) => {
    const changes = timed.size > 0 && group.kind === 'wep';
    add(changes ? group.prefixes.filter((prefix) => !timed.has(addressKey(prefix))) : group.prefixes, byGroup[index]!);
  });
  for (const address of timed.values()) {
    if (address.address.version === version)
      entries.push({ prefix: address.address, predicates: none, timed: address });
  }
  table.predicates.forEach((predicate, number) => {
    add(ownPrefixes(plan, predicate), [number]);
  });
  add(marks, none);
  return version === 4 ? sortIpv4(entries) : entries.sort((a, b) => comparePrefixes(a.prefix, b.prefix));
}

/** Prefixes of a predicate that come from no group: CIDRs of a rule, backends of a service. */
function ownPrefixes(plan: Plan, predicate: Predicate): readonly Prefix[] {
  if (predicate.type === 'nets') return predicate.prefixes;
  const set = plan.ipSets[predicate.set]!;
  if (predicate.type === 'set') return set.prefixes;
  return set.tuples
    .filter((tuple) => tuple.protocol === predicate.protocol && tuple.port === predicate.port)
    .map((tuple) => tuple.address);
}

/** Sorts by one float64 an entry (address and length fit in 38 bits), many times faster than comparing objects. */
function sortIpv4(entries: readonly Entry[]): Entry[] {
  if (entries.length < 1024) return [...entries].sort((a, b) => comparePrefixes(a.prefix, b.prefix));
  const keyed = new Float64Array(entries.length);
  const buckets = new Map<number, Entry[]>();
  let count = 0;
  for (const entry of entries) {
    const key = (entry.prefix.words[0] >>> 0) * 64 + entry.prefix.length;
    const bucket = buckets.get(key);
    if (bucket !== undefined) bucket.push(entry);
    else {
      buckets.set(key, [entry]);
      keyed[count++] = key;
    }
  }
  const out: Entry[] = [];
  for (const key of keyed.subarray(0, count).sort()) for (const entry of buckets.get(key)!) out.push(entry);
  return out;
}

/** For each group the predicates that hold for all its prefixes, ascending. */
function predicatesByGroup(plan: Plan, table: PredicateTable): readonly (readonly number[])[] {
  const out: number[][] = plan.groups.map(() => []);
  table.predicates.forEach((predicate, number) => {
    if (predicate.type === 'nets') return;
    const set = plan.ipSets[predicate.set]!;
    for (const group of set.groups) {
      if (predicate.type === 'set' || groupHasTuple(plan, group, set.portName, predicate)) out[group]!.push(number);
    }
  });
  return out;
}

function groupHasTuple(
  plan: Plan,
  group: number,
  portName: string,
  tuple: { readonly protocol: number; readonly port: number },
): boolean {
  return plan.groups[group]!.namedPorts.some(
    (port) => port.name === portName && port.protocol === tuple.protocol && port.port === tuple.port,
  );
}

function union(a: readonly number[], b: readonly number[]): readonly number[] {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  return [...new Set([...a, ...b])].sort((x, y) => x - y);
}
