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
import { sortedPlaces } from '../base/radix-sort.ts';
import { zeroWords } from '../base/words.ts';
import type { Predicate, PredicateTable } from './fields.ts';
import type { Plan, Prefix } from './plan.ts';
import { addressKey, type TimedAddress, type TimedAddresses } from './timed-owners.ts';

/**
 * Prefixes, each with the class of the addresses in it that no longer segment covers, as two lists of one length: a cluster has a segment
 * for each of its pods. Sorted: parents before children.
 */
export interface Segments {
  readonly prefixes: readonly Prefix[];
  readonly peerClasses: Int32Array;
}

export interface PeerClasses {
  readonly segments: Segments;
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
  const byGroup = predicatesByGroup(plan, table);
  const timedClasses = new Map<TimedAddress, readonly number[]>();
  const { prefixes, predicates, timedAt } = sortedEntries(plan, version, table, marks, byGroup, timed);
  const segments: Prefix[] = [];
  const peerClasses = zeroWords(prefixes.length);
  const open: { prefix: Prefix; effective: number }[] = [];
  const wholeLength = version === 4 ? 32 : 128;
  for (let i = 0; i < prefixes.length; ) {
    const prefix = prefixes[i]!;
    let own = predicates[i]!;
    let timedHere = timedAt.get(i);
    for (i++; i < prefixes.length && isSamePrefix(prefixes[i]!, prefix); i++) {
      own = union(own, predicates[i]!);
      timedHere ??= timedAt.get(i);
    }
    while (open.length > 0 && !prefixCovers(open.at(-1)!.prefix, prefix)) open.pop();
    const parent = open.length === 0 ? 0 : open.at(-1)!.effective;
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
    peerClasses[segments.length] = effective;
    segments.push(prefix);
    // Nothing lies inside a single address.
    if (prefix.length < wholeLength) open.push({ prefix, effective });
  }
  return {
    segments: { prefixes: segments, peerClasses: peerClasses.subarray(0, segments.length) },
    count: classes.count,
    classesOf: classes.classesOf,
    timed: timedClasses,
  };
}

/** Whether two prefixes of one version are one. */
export function isSamePrefix(a: Prefix, b: Prefix): boolean {
  return a.length === b.length && a.words[0] === b.words[0] && (a.version === 4 || comparePrefixes(a, b) === 0);
}

/** Hash-consed sets of predicates; class 0 is the empty set. */
export class ClassNumbers {
  readonly classesOf: number[][];
  readonly #sets: (readonly number[])[] = [[]];
  readonly #numbers = new Map<string, number>([['', 0]]);
  /** Steps (own predicates, parent class) seen before, so that a million equal pods cost one union; the last one of each list at hand. */
  readonly #steps = new Map<
    readonly number[],
    { parent: number; number: number; readonly byParent: Map<number, number> }
  >();

  constructor(predicateCount: number) {
    this.classesOf = Array.from({ length: predicateCount }, () => []);
  }

  get count(): number {
    return this.#sets.length;
  }

  number(parent: number, own: readonly number[]): number {
    if (own.length === 0) return parent;
    let step = this.#steps.get(own);
    if (step === undefined) {
      step = { parent: -1, number: -1, byParent: new Map() };
      this.#steps.set(own, step);
    }
    if (step.parent === parent) return step.number;
    let number = step.byParent.get(parent);
    if (number === undefined) {
      number = this.of(union(this.#sets[parent]!, own));
      step.byParent.set(parent, number);
    }
    step.parent = parent;
    step.number = number;
    return number;
  }

  /** The predicates of a class, ascending. */
  set(number: number): readonly number[] {
    return this.#sets[number]!;
  }

  /** The class of exactly these predicates, which are ascending, if there is one. */
  find(set: readonly number[]): number | undefined {
    return this.#numbers.get(set.join(','));
  }

  /** Nothing is of this class any more, and it is not found again. */
  forget(number: number): void {
    const set = this.#sets[number]!;
    this.#numbers.delete(set.join(','));
    for (const predicate of set) {
      const classes = this.classesOf[predicate]!;
      classes.splice(classes.indexOf(number), 1);
    }
  }

  /** A class that was forgotten becomes that of these predicates. */
  reuse(number: number, set: readonly number[]): void {
    this.#sets[number] = set;
    this.#numbers.set(set.join(','), number);
    for (const predicate of set) this.classesOf[predicate]!.push(number);
  }

  /** The class of exactly these predicates, which are ascending: a new one if there is none. */
  of(set: readonly number[]): number {
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

/** Prefixes in order, each as often as it is named, and for each the predicates that hold there: one list for all prefixes of a group. */
export interface Entries {
  readonly prefixes: readonly Prefix[];
  readonly predicates: readonly (readonly number[])[];
  /** By place: the address that changes its owner; its predicates are then those that hold whoever owns it. */
  readonly timedAt: ReadonlyMap<number, TimedAddress>;
}

export function sortedEntries(
  plan: Plan,
  version: 4 | 6,
  table: PredicateTable,
  marks: readonly Prefix[],
  byGroup: readonly (readonly number[])[],
  timed: TimedAddresses,
): Entries {
  const prefixes: Prefix[] = [];
  const predicates: (readonly number[])[] = [];
  const timedOf = new Map<number, TimedAddress>();
  const none: readonly number[] = [];
  const add = (list: readonly Prefix[], own: readonly number[]): void => {
    for (const prefix of list) {
      if (prefix.version !== version) continue;
      prefixes.push(prefix);
      predicates.push(own);
    }
  };
  plan.groups.forEach((group, index) => {
    const changes = timed.size > 0 && group.kind === 'wep';
    add(changes ? group.prefixes.filter((prefix) => !timed.has(addressKey(prefix))) : group.prefixes, byGroup[index]!);
  });
  for (const address of timed.values()) {
    if (address.address.version !== version) continue;
    timedOf.set(prefixes.length, address);
    add([address.address], none);
  }
  table.predicates.forEach((predicate, number) => {
    add(ownPrefixes(plan, predicate), [number]);
  });
  add(marks, none);
  const places = version === 4 ? placesOfIpv4(prefixes) : placesOfIpv6(prefixes);
  const timedAt = new Map<number, TimedAddress>();
  if (timedOf.size > 0) {
    for (const [i, place] of places.entries()) {
      const address = timedOf.get(place);
      if (address !== undefined) timedAt.set(i, address);
    }
  }
  return {
    prefixes: Array.from(places, (place) => prefixes[place]!),
    predicates: Array.from(places, (place) => predicates[place]!),
    timedAt,
  };
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

/** Sorted by address as numbers; the few that share an address, by length. */
function placesOfIpv4(prefixes: readonly Prefix[]): Int32Array {
  const words = new Uint32Array(prefixes.length);
  for (let i = 0; i < words.length; i++) words[i] = prefixes[i]!.words[0];
  const places = sortedPlaces(words);
  const wordAt = (i: number): number => words[places[i]!]!;
  for (let from = 0; from < places.length; ) {
    let to = from + 1;
    while (to < places.length && wordAt(to) === wordAt(from)) to++;
    if (to - from > 1) places.subarray(from, to).sort((a, b) => prefixes[a]!.length - prefixes[b]!.length || a - b);
    from = to;
  }
  return places;
}

function placesOfIpv6(prefixes: readonly Prefix[]): Int32Array {
  const places = Int32Array.from(prefixes, (_, place) => place);
  return places.sort((a, b) => comparePrefixes(prefixes[a]!, prefixes[b]!) || a - b);
}

/** For each group the predicates that hold for all its prefixes, ascending. */
export function predicatesByGroup(plan: Plan, table: PredicateTable): readonly (readonly number[])[] {
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

/** Of ascending lists. */
export function union(a: readonly number[], b: readonly number[]): readonly number[] {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  return [...new Set([...a, ...b])].sort((x, y) => x - y);
}
