/**
 * Kinds of addresses: what decides the peer class of an address, kept apart from the class that it comes to.
 *
 * Classes (classes.ts) say which predicates hold. A kind says why: the groups that own the address or a prefix around it, and the
 * predicates that name the address itself. Two accounts whose pods are in the same sets are one class and two kinds. So when labels of one account
 * change, nothing that is stored for an address changes but the class of its kind:
 *
 *   10.0.0.5 ─► kind (10.0.0.0/8's, group 7) ─► class {cidr, web}        the account's labels change:
 *   10.0.0.9 ─► kind (10.0.0.0/8's, group 9) ─► class {cidr, web}   ──►  kind (…, group 9) ─► class {cidr, web, db}
 *
 * A kind knows the kind of the prefix around it, which has a smaller number, so one pass in order of numbers settles what a change means.
 * There are about as many kinds as groups.
 */
import { prefixCovers } from '../base/ip.ts';
import { zeroWords } from '../base/words.ts';
import { ClassNumbers, type Entries, type PeerClasses, predicatesByGroup, sortedEntries, union } from './classes.ts';
import type { PredicateTable } from './fields.ts';
import type { Plan, Prefix } from './plan.ts';
import type { PlanAddresses } from './plan-addresses.ts';
import { type AddressKey, addressKey } from './timed-owners.ts';

/** What makes an address a member: a group it belongs to, or a predicate that names it. */
type Source = { readonly group: number } | { readonly predicate: number };

interface Kind {
  /** Of the prefix around it; -1 = there is none. */
  readonly parent: number;
  readonly sources: readonly Source[];
  peerClass: number;
  /** Others are in it. */
  isParent: boolean;
}

/** A prefix that addresses lie in. */
interface Wide {
  readonly prefix: Prefix;
  readonly kind: number;
  /** Place of the one around it in the list, or -1. */
  readonly parent: number;
}

export class KindTable {
  readonly classes: ClassNumbers;
  /** Prefixes around addresses, sorted, parents first. */
  readonly wide: Wide[] = [];
  readonly #kinds: Kind[] = [];
  readonly #numbers = new Map<string, number>();
  /** By group: kinds of its addresses, ascending. */
  readonly #ofGroup = new Map<number, number[]>();
  /** By group: its predicates, ascending. */
  readonly #byGroup: (readonly number[])[];
  /** By class: how many kinds are of it. */
  readonly #uses: number[] = [];
  /** Classes that are new since the last `takeFresh`, and those that are free. */
  #fresh: number[] = [];
  readonly #free: number[] = [];
  /** Classes that lost their last kind in the change that is going on, and before it: kept, since labels often change back, while there is room. */
  readonly #leaving = new Set<number>();
  readonly #left = new Set<number>();
  /** How many classes there may be, and who must hear that one is given up. */
  #limit = Number.POSITIVE_INFINITY;
  #onForget: (peerClass: number) => void = () => {};
  /** Classes below this are never given up: others are alike to them (pack-pairs.ts). */
  #keptClasses = Number.POSITIVE_INFINITY;
  /** Of single addresses that a predicate names. */
  readonly #named = new Map<AddressKey, readonly number[]>();

  constructor(predicateCount: number, byGroup: readonly (readonly number[])[]) {
    this.classes = new ClassNumbers(predicateCount);
    this.#byGroup = [...byGroup];
  }

  get count(): number {
    return this.#kinds.length;
  }

  classOf(kind: number): number {
    return this.#kinds[kind]!.peerClass;
  }

  of(parent: number, sources: readonly Source[]): number {
    const key = `${parent}|${sources.map((source) => ('group' in source ? `g${source.group}` : source.predicate)).join()}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      const peerClass = this.#settle(parent, sources);
      this.#uses[peerClass] = (this.#uses[peerClass] ?? 0) + 1;
      number = this.#kinds.push({ parent, sources, peerClass, isParent: false }) - 1;
      this.#numbers.set(key, number);
      if (parent >= 0) this.#kinds[parent]!.isParent = true;
      for (const source of sources) if ('group' in source) this.#noteGroup(source.group, number);
    }
    return number;
  }

  #noteGroup(group: number, kind: number): void {
    const known = this.#ofGroup.get(group);
    if (known === undefined) this.#ofGroup.set(group, [kind]);
    else known.push(kind);
  }

  /** The kind of an address that belongs to `group`, or to nobody. */
  ofAddress(address: Prefix, group: number | undefined): number {
    const around = this.#around(address);
    const parent = around < 0 ? -1 : this.wide[around]!.kind;
    const named = (this.#named.get(addressKey(address)) ?? []).map((predicate) => ({ predicate }));
    if (group === undefined && named.length === 0) return parent < 0 ? this.of(-1, []) : parent;
    return this.of(parent, group === undefined ? named : [{ group }, ...named]);
  }

  /** The kind of an address of `group`, of which nobody's would be of kind `vacant` and that no predicate names. */
  ofGroup(vacant: number, group: number): number {
    const { parent, sources } = this.#kinds[vacant]!;
    const isBare = parent < 0 && sources.length === 0;
    return this.of(isBare ? -1 : vacant, [{ group }]);
  }

  noteNamed(address: Prefix, predicates: readonly number[]): void {
    this.#named.set(addressKey(address), predicates);
  }

  /** Blocks of 256 addresses of IPv4 (address >>> 8) in which a prefix or an address is named that is smaller than the block. */
  narrowBlocks(): Set<number> {
    const blocks = new Set<number>();
    for (const { prefix } of this.wide)
      if (prefix.version === 4 && prefix.length > 24) blocks.add(prefix.words[0] >>> 8);
    for (const address of this.#named.keys()) if (typeof address === 'number') blocks.add(address >>> 8);
    return blocks;
  }

  /** Classes came since the last `takeFresh`. */
  get hasFresh(): boolean {
    return this.#fresh.length > 0;
  }

  addGroup(predicates: readonly number[]): void {
    this.#byGroup.push(predicates);
  }

  predicatesOf(group: number): readonly number[] {
    return this.#byGroup[group]!;
  }

  setPredicates(group: number, predicates: readonly number[]): void {
    this.#byGroup[group] = predicates;
  }

  /** After predicates of `groups` changed: the kinds whose class changed, each with the class it had. New classes come by the way. */
  settle(groups: ReadonlySet<number>): Map<number, number> {
    const changed = new Map<number, number>();
    const touched = new Set<number>();
    for (const group of groups) for (const number of this.#ofGroup.get(group) ?? []) touched.add(number);
    const isAround = [...touched].some((number) => this.#kinds[number]!.isParent);
    if (!isAround) for (const number of [...touched].sort(ascending)) this.#resettle(number, changed);
    else {
      // Prefixes around others, as of network sets: in order of numbers, parents come first.
      for (let number = 0; number < this.#kinds.length; number++)
        if (touched.has(number) || changed.has(this.#kinds[number]!.parent)) this.#resettle(number, changed);
    }
    return changed;
  }

  #resettle(number: number, changed: Map<number, number>): void {
    const kind = this.#kinds[number]!;
    const peerClass = this.#settle(kind.parent, kind.sources);
    if (peerClass === kind.peerClass) return;
    changed.set(number, kind.peerClass);
    this.#uses[peerClass] = (this.#uses[peerClass] ?? 0) + 1;
    this.#uses[kind.peerClass]!--;
    if (this.#uses[kind.peerClass] === 0) this.#leaving.add(kind.peerClass);
    kind.peerClass = peerClass;
  }

  #settle(parent: number, sources: readonly Source[]): number {
    let set = parent < 0 ? NONE : this.classes.set(this.#kinds[parent]!.peerClass);
    for (const source of sources) {
      set = union(set, 'group' in source ? this.#byGroup[source.group]! : [source.predicate]);
    }
    const known = this.classes.find(set);
    if (known !== undefined) return known;
    if (this.#free.length === 0 && this.classes.count >= this.#limit) this.#reclaim();
    const free = this.#free.pop();
    if (free !== undefined) this.classes.reuse(free, set);
    const number = free ?? this.classes.of(set);
    this.#fresh.push(number);
    return number;
  }

  /** Classes that are new since the last call; those of the first call are kept for good. */
  takeFresh(): readonly number[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    if (this.#keptClasses === Number.POSITIVE_INFINITY) this.#keptClasses = this.classes.count;
    return fresh;
  }

  /** There is room for `limit` classes; `onForget` is told of each that is given up so that its number can be had again. */
  limitClasses(limit: number, onForget: (peerClass: number) => void): void {
    this.#limit = limit;
    this.#onForget = onForget;
  }

  /** A change is whole: nothing is worked out any more from classes that lost their last kind in it. */
  endChange(): void {
    for (const number of this.#leaving) this.#left.add(number);
    this.#leaving.clear();
  }

  /** Gives up classes that no kind is of. */
  #reclaim(): void {
    for (const number of this.#left) {
      if (this.#uses[number] !== 0 || number < this.#keptClasses || this.#leaving.has(number)) continue;
      this.classes.forget(number);
      this.#free.push(number);
      this.#onForget(number);
    }
    this.#left.clear();
  }

  /** Place of the longest wide prefix around an address, or -1. */
  #around(address: Prefix): number {
    const word = address.words.map((each) => each >>> 0);
    let low = 0;
    let high = this.wide.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isAtMost(this.wide[middle]!.prefix.words, word)) low = middle + 1;
      else high = middle;
    }
    let place = low - 1;
    while (place >= 0 && !prefixCovers(this.wide[place]!.prefix, address)) place = this.wide[place]!.parent;
    return place;
  }
}

const NONE: readonly number[] = [];

function ascending(a: number, b: number): number {
  return a - b;
}

function isAtMost(words: readonly number[], limit: readonly number[]): boolean {
  for (let i = 0; i < 4; i++) {
    const word = words[i]! >>> 0;
    if (word !== limit[i]) return word < limit[i]!;
  }
  return true;
}

export interface KindsOfAddresses {
  readonly table: KindTable;
  readonly classes: PeerClasses;
  /** By segment of `classes`; may be longer. */
  readonly kinds: Int32Array;
}

/** The sweep of `buildPeerClasses`, with the kind of each segment. */
export function buildKinds(
  plan: Plan,
  version: 4 | 6,
  addresses: PlanAddresses,
  predicates: PredicateTable,
  marks: readonly Prefix[],
): KindsOfAddresses {
  const byGroup = predicatesByGroup(plan, predicates);
  const { prefixes, lists, listOf } = sortedEntries(plan, version, addresses, predicates, marks, byGroup, new Map());
  const table = new KindTable(predicates.predicates.length, byGroup);
  const entryCount = prefixes.count;
  const peerClasses = zeroWords(entryCount);
  const open: number[] = [];
  // Neighbours are often of one kind.
  let last = { list: -1, parent: -2, kind: -1 };
  // Segments take the place of the entries that have been read, and their kinds that of lists.
  let count = 0;
  for (let i = 0; i < entryCount; ) {
    const first = i++;
    while (i < entryCount && prefixes.isSame(i, first)) i++;
    while (open.length > 0 && !prefixes.isCovered(first, table.wide[open.at(-1)!]!.prefix)) open.pop();
    const around = open.at(-1) ?? -1;
    const parent = around < 0 ? -1 : table.wide[around]!.kind;
    let kind: number;
    const list = listOf[first]!;
    if (i - first === 1 && list === last.list && parent === last.parent) kind = last.kind;
    else {
      const sources = sourcesOf(lists, listOf, first, i, byGroup.length);
      const named = sources.flatMap((source) => ('predicate' in source ? [source.predicate] : []));
      if (named.length > 0 && prefixes.isWhole(first)) table.noteNamed(prefixes.at(first), named);
      kind = sources.length === 0 && parent >= 0 ? parent : table.of(parent, sources);
      if (i - first === 1) last = { list, parent, kind };
    }
    if (!prefixes.isWhole(first)) {
      open.push(table.wide.push({ prefix: prefixes.at(first), kind, parent: around }) - 1);
    }
    prefixes.move(first, count);
    peerClasses[count] = table.classOf(kind);
    listOf[count++] = kind;
  }
  prefixes.count = count;
  const classes: PeerClasses = {
    segments: { prefixes, peerClasses },
    get count() {
      return table.classes.count;
    },
    classesOf: table.classes.classesOf,
    timed: new Map(),
  };
  return { table, classes, kinds: listOf };
}

/** Groups ascending, then predicates; each once. The first `groupCount` lists are those of groups. */
function sourcesOf(
  lists: Entries['lists'],
  listOf: Int32Array,
  from: number,
  to: number,
  groupCount: number,
): Source[] {
  const groups = new Set<number>();
  const predicates = new Set<number>();
  for (let i = from; i < to; i++) {
    const list = listOf[i]!;
    if (list < groupCount) groups.add(list);
    else for (const predicate of lists[list]!) predicates.add(predicate);
  }
  const sorted = (set: ReadonlySet<number>): number[] => [...set].sort((a, b) => a - b);
  return [...sorted(groups).map((group) => ({ group })), ...sorted(predicates).map((predicate) => ({ predicate }))];
}
