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
import { zeroWords } from '../base/words.ts';
import type { Predicate, PredicateTable } from './fields.ts';
import type { Plan, Prefix } from './plan.ts';
import type { PlanAddresses } from './plan-addresses.ts';
import { PrefixColumns } from './prefix-columns.ts';
import { addressKey, type TimedAddress, type TimedAddresses } from './timed-owners.ts';

/** Prefixes, each with the class of the addresses in it that no longer segment covers. Sorted: parents before children. */
export interface Segments {
  readonly prefixes: PrefixColumns;
  /** By segment; may be longer. */
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
  addresses: PlanAddresses,
  table: PredicateTable,
  marks: readonly Prefix[],
  timed: TimedAddresses = new Map(),
): PeerClasses {
  const classes = new ClassNumbers(table.predicates.length);
  const byGroup = predicatesByGroup(plan, table);
  const timedClasses = new Map<TimedAddress, readonly number[]>();
  const { prefixes, lists, listOf, timedAt } = sortedEntries(plan, version, addresses, table, marks, byGroup, timed);
  const entryCount = prefixes.count;
  const open: { prefix: Prefix; effective: number }[] = [];
  // Segments take the place of the entries that have been read, and their classes that of lists.
  let count = 0;
  for (let i = 0; i < entryCount; ) {
    const first = i++;
    while (i < entryCount && prefixes.isSame(i, first)) i++;
    while (open.length > 0 && !prefixes.isCovered(first, open.at(-1)!.prefix)) open.pop();
    const parent = open.length === 0 ? 0 : open.at(-1)!.effective;
    const timedHere = timedAt.size === 0 ? undefined : timedIn(timedAt, first, i);
    let effective: number;
    if (i - first === 1 && timedHere === undefined) {
      const list = listOf[first]!;
      effective = classes.step(parent, list, lists[list]!);
    } else {
      const own = unionOf(lists, listOf, first, i);
      if (timedHere === undefined) effective = classes.ofUnion(parent, own);
      else {
        const ofStates = timedHere.states.map(({ pods }) => {
          const groups = pods.flatMap((pod) => plan.endpoints[pod]?.group ?? []);
          return classes.ofUnion(
            parent,
            groups.reduce((all, group) => union(all, byGroup[group]!), own),
          );
        });
        timedClasses.set(timedHere, ofStates);
        effective = ofStates[0]!;
      }
    }
    // Nothing lies inside a single address.
    if (!prefixes.isWhole(first)) open.push({ prefix: prefixes.at(first), effective });
    prefixes.move(first, count);
    listOf[count++] = effective;
  }
  prefixes.count = count;
  return {
    segments: { prefixes, peerClasses: listOf },
    count: classes.count,
    classesOf: classes.classesOf,
    timed: timedClasses,
  };
}

function timedIn(timedAt: Entries['timedAt'], from: number, to: number): TimedAddress | undefined {
  for (let i = from; i < to; i++) {
    const timed = timedAt.get(i);
    if (timed !== undefined) return timed;
  }
  return undefined;
}

function unionOf(lists: Entries['lists'], listOf: Int32Array, from: number, to: number): readonly number[] {
  let all = lists[listOf[from]!]!;
  for (let i = from + 1; i < to; i++) all = union(all, lists[listOf[i]!]!);
  return all;
}

/** Hash-consed sets of predicates; class 0 is the empty set. */
export class ClassNumbers {
  readonly classesOf: number[][];
  readonly #sets: (readonly number[])[] = [[]];
  readonly #numbers = new Map<string, number>([['', 0]]);
  /** By list of own predicates: the classes in known parents, so that a million equal pods cost one union; the last one at hand. */
  readonly #steps: ({ parent: number; number: number; readonly byParent: Map<number, number> } | undefined)[] = [];

  constructor(predicateCount: number) {
    this.classesOf = Array.from({ length: predicateCount }, () => []);
  }

  get count(): number {
    return this.#sets.length;
  }

  /** The class of what is of class `parent` and has these predicates of its own, which are known as `list`. */
  step(parent: number, list: number, own: readonly number[]): number {
    if (own.length === 0) return parent;
    let step = this.#steps[list];
    if (step === undefined) {
      step = { parent: -1, number: -1, byParent: new Map() };
      this.#steps[list] = step;
    }
    if (step.parent === parent) return step.number;
    let number = step.byParent.get(parent);
    if (number === undefined) {
      number = this.ofUnion(parent, own);
      step.byParent.set(parent, number);
    }
    step.parent = parent;
    step.number = number;
    return number;
  }

  ofUnion(parent: number, own: readonly number[]): number {
    return own.length === 0 ? parent : this.of(union(this.#sets[parent]!, own));
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
  readonly prefixes: PrefixColumns;
  /** Those of groups, then those that predicates name by themselves, then the empty one. */
  readonly lists: readonly (readonly number[])[];
  /** By place: the list that holds there. */
  readonly listOf: Int32Array;
  /** By place: the address that changes its owner; its predicates are then those that hold whoever owns it. */
  readonly timedAt: ReadonlyMap<number, TimedAddress>;
}

export function sortedEntries(
  plan: Plan,
  version: 4 | 6,
  addresses: PlanAddresses,
  table: PredicateTable,
  marks: readonly Prefix[],
  byGroup: readonly (readonly number[])[],
  timed: TimedAddresses,
): Entries {
  const named = table.predicates.map((predicate) => ownPrefixes(plan, predicate));
  const lists = [...byGroup, ...named.map((_, predicate) => [predicate]), NONE];
  const none = lists.length - 1;
  const few: { readonly prefix: Prefix; readonly list: number; readonly timed?: TimedAddress }[] = [];
  const add = (prefixes: readonly Prefix[], list: number): void => {
    for (const prefix of prefixes) if (prefix.version === version) few.push({ prefix, list });
  };
  for (const { address, endpoint } of addresses.others) {
    const { kind, group } = plan.endpoints[endpoint]!;
    const changes = kind === 'wep' && timed.size > 0 && timed.has(addressKey(address));
    if (!changes && address.version === version) few.push({ prefix: address, list: group });
  }
  plan.groups.forEach((group, index) => {
    if (group.kind === 'ns') add(group.prefixes, index);
  });
  for (const address of timed.values()) {
    const prefix = address.address;
    if (prefix.version === version) few.push({ prefix, list: none, timed: address });
  }
  named.forEach((prefixes, predicate) => {
    add(prefixes, byGroup.length + predicate);
  });
  add(marks, none);
  return ordered(plan, version, addresses, few, lists, timed);
}

/** The addresses of pods and `few` others, sorted. */
function ordered(
  { endpoints }: Plan,
  version: 4 | 6,
  { podWords, podOf }: PlanAddresses,
  few: readonly { readonly prefix: Prefix; readonly list: number; readonly timed?: TimedAddress }[],
  lists: Entries['lists'],
  timed: TimedAddresses,
): Entries {
  const podCount = version === 4 ? podWords.length : 0;
  const prefixes = new PrefixColumns(version, podCount + few.length);
  const listOf = zeroWords(podCount + few.length);
  for (let i = 0; i < podCount; i++) {
    if (timed.size > 0 && timed.has(podWords[i]!)) continue;
    listOf[prefixes.count] = endpoints[podOf[i]!]!.group;
    prefixes.addWord(podWords[i]!);
  }
  const firstOfFew = prefixes.count;
  for (const { prefix, list } of few) {
    listOf[prefixes.count] = list;
    prefixes.add(prefix);
  }
  const places = prefixes.sortedPlaces();
  const timedAt = new Map<number, TimedAddress>();
  const listsInOrder = zeroWords(places.length);
  for (let i = 0; i < places.length; i++) {
    const place = places[i]!;
    listsInOrder[i] = listOf[place]!;
    const address = timed.size > 0 && place >= firstOfFew ? few[place - firstOfFew]!.timed : undefined;
    if (address !== undefined) timedAt.set(i, address);
  }
  return { prefixes: prefixes.inOrder(places), lists, listOf: listsInOrder, timedAt };
}

const NONE: readonly number[] = [];

/** Prefixes of a predicate that come from no group: CIDRs of a rule, backends of a service. */
function ownPrefixes(plan: Plan, predicate: Predicate): readonly Prefix[] {
  if (predicate.type === 'nets') return predicate.prefixes;
  const set = plan.ipSets[predicate.set]!;
  if (predicate.type === 'set') return set.prefixes;
  return set.tuples
    .filter((tuple) => tuple.protocol === predicate.protocol && tuple.port === predicate.port)
    .map((tuple) => tuple.address);
}

/** Both IP versions ask the same of one table. */
const ofGroups = new WeakMap<PredicateTable, { readonly plan: Plan; readonly lists: readonly (readonly number[])[] }>();

/** For each group the predicates that hold for all its prefixes, ascending. Call when `table` has them all. */
export function predicatesByGroup(plan: Plan, table: PredicateTable): readonly (readonly number[])[] {
  const known = ofGroups.get(table);
  if (known?.plan === plan) return known.lists;
  const lists = listPredicates(plan, table);
  ofGroups.set(table, { plan, lists });
  return lists;
}

function listPredicates(plan: Plan, table: PredicateTable): readonly (readonly number[])[] {
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
