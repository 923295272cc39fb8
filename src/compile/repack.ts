/**
 * Tables that take changes: what a change does not touch stays as it lies.
 *
 * A full pack of 200 000 pods takes seconds, and what changes is mostly small: labels of an account, a pod that comes or goes. What such a
 * change means for packets is small as well, if it is written down at the right place:
 *
 *   labels change        a group is in other sets: its kind of address (kinds.ts) gets another peer class: one record of an address class,
 *                        however many pods there are; if there was no such class, a row or column here and there
 *   policies select      a group runs other chains: the same record, and another template (layout.ts) for each of its endpoints
 *   a pod comes or goes  one leaf of the trie, one slot of the owners, one record of an endpoint
 *
 * Everything is written to the older of two buffers (tables/buffer-pair.ts), so nobody sees a part of it. Where a change needs what the tables
 * were not packed for (a predicate that no rule had, more classes than there is room for), `NoRoomError` says so, and the caller packs anew: it is
 * never wrong to do that, and `test/compile/repack.test.ts` holds both to the same verdicts.
 *
 * What comes later has other numbers than a full pack would give it, so bytes differ; verdicts, rules, names and members do not.
 */
import { assert } from '../base/assert.ts';
import { parseIpv4 } from '../base/ip.ts';
import { NoRoomError } from '../base/words.ts';
import type { Pod } from '../model/resources.ts';
import { BufferPair } from '../tables/buffer-pair.ts';
import * as layout from '../tables/layout.ts';
import { type Tables, viewTables } from '../tables/tables.ts';
import { union } from './classes.ts';
import { DirectAddresses } from './direct-addresses.ts';
import type { KindTable } from './kinds.ts';
import { type PackOptions, type PackParts, type PackRoom, packParts, type VersionParts } from './pack.ts';
import type { SpareEndpoint } from './pack-endpoints.ts';
import { netSetsByGroup, packPolicyList } from './pack-objects.ts';
import { LivePairs } from './pack-pairs.ts';
import type { Plan, PlanEndpoint, PlanGroup, PlanTierPolicies, Prefix } from './plan.ts';
import { ownersOf, setClass4, setClass6, setOwners } from './repack-addresses.ts';

const ROOM: PackRoom = { classes: 256, pairs: 128, addresses: 4096 };

/** Words to keep free behind a section of this many. */
function roomOf(section: number, length: number): number {
  switch (section) {
    case layout.SECTION_OWNERS:
    case layout.SECTION_OWNERS_6:
    case layout.SECTION_EXACT_6:
    case layout.SECTION_PAIRS:
      // Their room is inside.
      return 0;
    case layout.SECTION_ENDPOINTS:
    case layout.SECTION_TEMPLATES:
      return ROOM.addresses * layout.RECORD_WORDS[section]!;
    case layout.SECTION_TRIE_4:
      return 256 * layout.TRIE_NODE_ENTRIES;
    case layout.SECTION_INTS:
    case layout.SECTION_BITS:
    case layout.SECTION_FUNCTIONS:
    case layout.SECTION_CLASS_MAPS:
    case layout.SECTION_STRING_BYTES:
      return 65_536 + (length >>> 3);
    case layout.SECTION_FUNCTION_REFS:
    case layout.SECTION_STEPS:
    case layout.SECTION_PREFIXES:
    case layout.SECTION_STRINGS:
      return 32_768;
    default:
      return 8_192;
  }
}

/** One IP version of the tables. */
interface Version extends VersionParts {
  readonly kinds: KindTable;
  readonly live: LivePairs | undefined;
  /** By set: the predicate that asks for it. */
  readonly predicateOf: ReadonlyMap<number, number>;
  /** Address classes that have their pairs. */
  settled: number;
  /** Of the first `count` address classes: those of each kind. */
  readonly ofKind: { count: number; readonly classes: Map<number, number[]> };
}

export class RepackableTables {
  /** The plan as it is now; endpoints and groups that came are behind the others. */
  readonly #plan: Omit<Plan, 'groups' | 'endpoints'> & { groups: PlanGroup[]; endpoints: PlanEndpoint[] };
  readonly #parts: PackParts;
  readonly #versions: readonly Version[];
  readonly #pair: BufferPair;
  /** By group: sets of addresses it is in, ascending, and its endpoints where they are no longer those of the plan. */
  readonly #setsOf: (readonly number[])[];
  readonly #endpointsOf = new Map<number, Set<number>>();
  readonly #nobody: number;
  /** By key: endpoints that are gone, whose places the next ones take. */
  readonly #spares = new Map<string, Spare>();
  /** Of the change that is going on. */
  #memberships = new Set<number>();
  #replacedSlots = new Set<readonly number[]>();
  #tables: Tables;
  readonly #direct: DirectAddresses;
  /** What was stored in the newest tables themselves since `start`. */
  #mark = 0;
  #stored: readonly number[] = [];
  #written: readonly number[] = [];

  /** Packs in full. The plan must not have owners that change with time, or refused pods. */
  constructor(plan: Plan, options: PackOptions, room: PackRoom = ROOM) {
    const working = { ...plan, groups: [...plan.groups], endpoints: [...plan.endpoints] };
    this.#plan = working;
    this.#parts = packParts(working, options, new Map(), room);
    const { sections, localNode, versions } = this.#parts;
    this.#nobody = sections.ints([0, 0, 0]);
    this.#setsOf = netSetsByGroup(plan);
    const buffer = sections.finish(localNode, roomOf);
    this.#pair = new BufferPair(buffer);
    this.#pair.prepare();
    // What the sections were made in is not needed any more.
    sections.bind(buffer, this.#pair.note);
    for (const { kinds } of versions) kinds?.takeFresh();
    this.#tables = viewTables(buffer);
    this.#versions = versions.map((parts) => {
      const { kinds, pairs, packer, numbers } = parts;
      assert(kinds !== undefined, 'tables that are repacked have kinds');
      const { live } = pairs;
      const livePairs = live === undefined ? undefined : new LivePairs(sections, live, room.pairs);
      kinds.limitClasses(packer.classLimit, (peerClass) => livePairs?.forget(peerClass));
      const predicateOf = new Map<number, number>();
      packer.table.predicates.forEach((predicate, number) => {
        if (predicate.type === 'set') predicateOf.set(predicate.set, number);
      });
      return {
        ...parts,
        kinds,
        live: livePairs,
        predicateOf,
        settled: numbers.origins.length,
        ofKind: { count: 0, classes: new Map() },
      };
    });
    const used = this.#parts.owners.count;
    this.#direct = new DirectAddresses(plan, sections, this.#versions[0]!, this.#nobody, used);
  }

  get tables(): Tables {
    return this.#tables;
  }

  /** Starts and ends of the words that were written since `start`. */
  get lastWritten(): readonly number[] {
    return this.#stored.length === 0 ? this.#written : [...this.#stored, ...this.#written];
  }

  /** A publication begins: some addresses may be stored at once (`move`), then a change may be written. `isOlderFree`: as in `begin`. */
  start(isOlderFree: () => boolean): void {
    this.#pair.catchUp(isOlderFree);
    this.#mark = this.#pair.lacked;
    this.#stored = [];
    this.#written = [];
  }

  /** All that was to be stored is stored. */
  endStores(): void {
    this.#stored = this.#pair.lackedFrom(this.#mark);
  }

  /** The endpoint of a pod, found by its first address; below 0 if it does not have it alone. */
  podAt({ podIPs, podIP, meta }: Pod): number {
    const word = parseIpv4(podIPs[0] ?? podIP);
    const index = word === undefined ? -1 : this.#direct.podAt(word);
    if (index < 0) return -1;
    const { kind, name, namespace } = this.#plan.endpoints[index]!;
    return kind === 'wep' && name === meta.name && namespace === meta.namespace ? index : -1;
  }

  groupOf(index: number): number {
    return this.#plan.endpoints[index]!.group;
  }

  /**
   * A pod has one other address and is the same otherwise: stored in the newest tables themselves (direct-addresses.ts). False: nothing was stored, and
   * it has to be written as a change.
   */
  move(index: number, addresses: readonly Prefix[]): boolean {
    const endpoint = this.#plan.endpoints[index]!;
    const before = endpoint.addresses;
    if (before.length !== addresses.length) return false;
    let other = -1;
    for (let i = 0; i < addresses.length; i++) {
      if (isSameAddress(addresses[i]!, before[i]!)) continue;
      if (other >= 0) return false;
      other = i;
    }
    if (other < 0) return true;
    const [from, to] = [before[other]!, addresses[other]!];
    if (from.version === 6 || to.version === 6 || isTwice(addresses, other)) return false;
    if (!this.#direct.move(index, endpoint.group, from.words[0], to.words[0])) return false;
    const { sections } = this.#parts;
    const list = sections
      .section(layout.SECTION_ENDPOINTS)
      .at(index * layout.ENDPOINT_SIZE + layout.ENDPOINT_ADDRESSES);
    sections.section(layout.SECTION_PREFIXES).set((list + other) * layout.PREFIX_SIZE + 1, to.words[0]);
    this.#plan.endpoints[index] = { ...endpoint, addresses };
    return true;
  }

  /** A change begins. `isOlderFree`: nobody reads the tables before the newest any more. */
  begin(isOlderFree: boolean): void {
    this.#parts.sections.bind(this.#pair.begin(isOlderFree), this.#pair.note);
    this.#memberships = new Set();
    this.#replacedSlots = new Set();
  }

  /** `group` enters or leaves a set of addresses. */
  setMember(group: number, set: number, isMember: boolean): void {
    const sets = this.#setsOf[group]!;
    if (sets.includes(set) === isMember) return;
    this.#setsOf[group] = isMember ? [...sets, set].sort(ascending) : sets.filter((each) => each !== set);
    this.#memberships.add(group);
  }

  /** `group` runs other policies. */
  setPolicies(group: number, lists: Lists): void {
    this.#plan.groups[group] = { ...this.#plan.groups[group]!, ...lists };
    const { sections, nodes, isLocal, writer } = this.#parts;
    const groups = sections.section(layout.SECTION_GROUPS);
    const record = group * layout.RECORD_WORDS[layout.SECTION_GROUPS]!;
    groups.set(record + layout.GROUP_TIERS, packPolicyList(lists.tiers, sections));
    groups.set(record + layout.GROUP_FORWARD_TIERS, packPolicyList(lists.forwardTiers, sections));
    groups.set(record + layout.GROUP_PRE_DNAT_TIERS, packPolicyList(lists.preDnatTiers, sections));
    groups.set(record + layout.GROUP_UNTRACKED_TIERS, packPolicyList(lists.untrackedTiers, sections));
    for (const { packer } of this.#versions) packer.forgetSlots(group);
    const records = sections.section(layout.SECTION_ENDPOINTS);
    for (const endpoint of this.#endpoints(group)) {
      const { node } = this.#plan.endpoints[endpoint]!;
      const settings = nodes.get(node);
      if (settings === undefined || !isLocal(node)) continue;
      for (const { packer, slotsOf, numbers } of this.#versions) {
        const old = slotsOf[endpoint]!;
        const slots = packer.endpointSlots(group, settings.settings, settings.key);
        if (slots === old) continue;
        if (!this.#replacedSlots.has(slots)) {
          this.#replacedSlots.add(slots);
          numbers.replaceSlots(old, slots);
        }
        slotsOf[endpoint] = slots;
      }
      const at = endpoint * layout.ENDPOINT_SIZE + layout.ENDPOINT_TEMPLATE;
      records.set(at, writer.templateWith(records.at(at), writer.chainsOf(endpoint)));
    }
  }

  /** A group of pods that is not there yet, in these sets of addresses; gives its number. */
  addGroup(group: PlanGroup, sets: readonly number[]): number {
    const { sections } = this.#parts;
    const number = this.#plan.groups.push(group) - 1;
    this.#setsOf.push(sets);
    sections.record(layout.SECTION_GROUPS, [
      layout.KIND_WEP,
      ...sections.intList(group.profiles.map((name) => sections.string(name))),
      packPolicyList(group.tiers, sections),
      packPolicyList(group.forwardTiers, sections),
      packPolicyList(group.preDnatTiers, sections),
      packPolicyList(group.untrackedTiers, sections),
      0,
      0,
      ...sections.intList(sets),
    ]);
    for (const version of this.#versions) version.kinds.addGroup(predicatesOf(version, sets, []));
    return number;
  }

  /** A pod comes; gives the number of its endpoint. Its addresses must be nobody's. */
  addPod(endpoint: PlanEndpoint): number {
    const { sections, nodes, isLocal, writer } = this.#parts;
    // Memberships must be settled before classes are made by them.
    assert(this.#memberships.size === 0, 'pods come after memberships are settled');
    const spare = this.#takeSpare(endpoint.key);
    const index = spare?.index ?? this.#plan.endpoints.length;
    this.#plan.endpoints[index] = endpoint;
    const settings = nodes.get(endpoint.node);
    if (settings === undefined) throw new NoRoomError();
    for (const { packer, slotsOf } of this.#versions) {
      const isKnown = isLocal(endpoint.node);
      slotsOf[index] = isKnown ? packer.endpointSlots(endpoint.group, settings.settings, settings.key) : undefined;
    }
    const records = sections.section(layout.SECTION_ENDPOINTS);
    const at = spare === undefined ? records.extend(layout.ENDPOINT_SIZE) : index * layout.ENDPOINT_SIZE;
    writer.write(endpoint, index, records.room, at, spare);
    if (spare !== undefined) records.wrote(at, at + layout.ENDPOINT_SIZE);
    this.#endpoints(endpoint.group).add(index);
    for (const address of endpoint.addresses) {
      if (!this.#isNobodys(address)) throw new NoRoomError();
      if (address.version === 4) this.#direct.noteOwner(address.words[0]);
      setOwners(sections, address, layout.podAlone(index));
      this.#setClass(address, endpoint.group, index);
    }
    return index;
  }

  /** A pod goes; gives what its endpoint was. */
  removePod(index: number): PlanEndpoint {
    const { sections, writer } = this.#parts;
    const endpoint = this.#plan.endpoints[index]!;
    assert(this.#memberships.size === 0, 'pods go after memberships are settled');
    const { addresses, group } = endpoint;
    for (const address of addresses) {
      if (ownersOf(sections, address) !== layout.podAlone(index)) throw new NoRoomError();
      setOwners(sections, address, this.#nobody);
      this.#setClass(address, undefined, undefined);
    }
    this.#endpoints(group).delete(index);
    const records = sections.section(layout.SECTION_ENDPOINTS);
    const at = index * layout.ENDPOINT_SIZE;
    const of = (word: number): number => records.at(at + word);
    this.#spares.set(endpoint.key, {
      index,
      key: endpoint.key,
      uid: endpoint.uid,
      keyString: of(layout.ENDPOINT_KEY),
      uidString: of(layout.ENDPOINT_UID),
      firstAddress: of(layout.ENDPOINT_ADDRESSES),
      addressCount: addresses.length,
    });
    const empty = sections.string('');
    for (let word = 0; word < layout.ENDPOINT_SIZE; word++) records.set(at + word, 0);
    for (const word of TEXTS) records.set(at + word, empty);
    records.set(at + layout.ENDPOINT_TEMPLATE, writer.bareTemplate('', '', layout.NONE));
    records.set(at + layout.ENDPOINT_NODE, layout.NONE);
    this.#plan.endpoints[index] = { ...endpoint, key: '', addresses: [] };
    return endpoint;
  }

  /** What an endpoint of this key has left, or any other. */
  #takeSpare(key: string): Spare | undefined {
    const spare = this.#spares.get(key) ?? this.#spares.values().next().value;
    if (spare !== undefined) this.#spares.delete(spare.key);
    return spare;
  }

  /** Works out what memberships and policies so far mean for addresses. */
  settle(): void {
    if (this.#memberships.size + this.#replacedSlots.size === 0) return;
    const { sections } = this.#parts;
    const groups = sections.section(layout.SECTION_GROUPS);
    for (const group of this.#memberships) {
      const at = group * layout.RECORD_WORDS[layout.SECTION_GROUPS]! + layout.GROUP_SETS;
      const [start, count] = sections.intList(this.#setsOf[group]!);
      groups.set(at, start);
      groups.set(at + 1, count);
    }
    for (const version of this.#versions) {
      for (const group of this.#memberships) {
        const { kinds } = version;
        kinds.setPredicates(group, predicatesOf(version, this.#setsOf[group]!, kinds.predicatesOf(group)));
      }
      const changed = version.kinds.settle(this.#memberships);
      this.#addClasses(version, changed);
      for (const number of this.#touchedClasses(version, changed)) this.#rewrite(version, number);
    }
    this.#memberships = new Set();
    this.#replacedSlots = new Set();
  }

  /** Address classes, ascending, of kinds that changed or of pods that run other policies. */
  #touchedClasses({ numbers, ofKind }: Version, changed: ReadonlyMap<number, number>): number[] {
    const { origins } = numbers;
    for (; ofKind.count < origins.length; ofKind.count++) {
      const { kind } = origins[ofKind.count]!;
      const known = ofKind.classes.get(kind);
      if (known === undefined) ofKind.classes.set(kind, [ofKind.count]);
      else known.push(ofKind.count);
    }
    const touched = new Set<number>();
    for (const kind of changed.keys()) for (const number of ofKind.classes.get(kind) ?? []) touched.add(number);
    if (this.#replacedSlots.size > 0) {
      origins.forEach(({ slots }, number) => {
        if (slots !== undefined && this.#replacedSlots.has(slots)) touched.add(number);
      });
    }
    return [...touched].sort(ascending);
  }

  /** The change is whole: gives the tables with it. */
  commit(): Tables {
    this.settle();
    for (const version of this.#versions) {
      for (; version.settled < version.numbers.origins.length; version.settled++)
        this.#rewrite(version, version.settled);
    }
    for (const { kinds } of this.#versions) kinds.endChange();
    const { sections } = this.#parts;
    sections.writeCounts(this.#pair.note);
    const { newest } = this.#pair;
    const buffer = this.#pair.commit();
    // Nothing was written, and the newest stays what it was: what is stored next belongs there.
    if (buffer === newest) sections.bind(buffer, this.#pair.note);
    this.#tables = viewTables(buffer);
    this.#written = this.#pair.lastWritten;
    return this.#tables;
  }

  /** Whether `address` can be given to a pod without anybody else having to do with it. */
  #isNobodys(address: Prefix): boolean {
    const list = ownersOf(this.#parts.sections, address);
    if (this.#versions[0]!.numbers.isService(address)) return false;
    return list === layout.NONE || this.#isList(list, [0, 0, 0]);
  }

  #isList(list: number, words: readonly number[]): boolean {
    const ints = this.#parts.sections.section(layout.SECTION_INTS);
    return list >= 0 && words.every((word, i) => ints.at(list + i) === word);
  }

  #setClass(address: Prefix, group: number | undefined, pod: number | undefined): void {
    const version = this.#versions[address.version === 4 ? 0 : 1]!;
    const kind = version.kinds.ofAddress(address, group);
    this.#addClasses(version, new Map());
    const number = version.numbers.classOfAddress(address, kind, pod);
    if (address.version === 4) setClass4(this.#parts.sections, address.words[0], number);
    else setClass6(this.#parts.sections, address, number);
  }

  /** Tells the chains of peer classes that are new. `changed` has kinds with the class they had: the best to start from. */
  #addClasses(version: Version, changed: ReadonlyMap<number, number>): void {
    const { kinds, packer } = version;
    const fresh = kinds.takeFresh();
    if (fresh.length === 0) return;
    const { classes } = kinds;
    const bases = new Map([...changed].map(([kind, old]) => [kinds.classOf(kind), old]));
    // What a class starts from must be known to the chains itself.
    const unknown = new Set(fresh);
    for (const number of fresh) {
      const old = bases.get(number) ?? 0;
      const base = unknown.has(old) ? 0 : old;
      const set = classes.set(number);
      packer.addClass(number, base, set, difference(set, classes.set(base)));
      unknown.delete(number);
    }
  }

  #rewrite({ numbers, packer, live }: Version, number: number): void {
    const section = packer.version === 4 ? layout.SECTION_CLASSES_4 : layout.SECTION_CLASSES_6;
    const words = numbers.wordsOf(numbers.origins[number]!);
    const [peer, flags, egress, ingress] = words;
    const hasPairs = live !== undefined && (flags & layout.CLASS_NEEDS_PATH) === 0;
    const places = hasPairs ? live.placesOf(number, peer, egress, ingress) : [0, 0];
    const records = this.#parts.sections.section(section);
    [...words, ...places].forEach((word, i) => {
      const at = number * layout.ADDRESS_CLASS_SIZE + i;
      if (records.at(at) !== word) records.set(at, word);
    });
  }

  #endpoints(group: number): Set<number> {
    let endpoints = this.#endpointsOf.get(group);
    if (endpoints === undefined) {
      endpoints = new Set(this.#plan.groups[group]!.endpoints);
      this.#endpointsOf.set(group, endpoints);
    }
    return endpoints;
  }
}

function isSameAddress(a: Prefix, b: Prefix): boolean {
  if (a.version !== b.version || a.words[0] !== b.words[0]) return false;
  return a.version === 4 || a.words.every((word, i) => word === b.words[i]);
}

function isTwice(addresses: readonly Prefix[], index: number): boolean {
  return addresses.some((address, i) => i !== index && isSameAddress(address, addresses[index]!));
}

interface Spare extends SpareEndpoint {
  readonly index: number;
}

type Lists = Pick<PlanGroup, 'tiers' | 'forwardTiers' | 'preDnatTiers' | 'untrackedTiers'> & {
  readonly tiers: readonly PlanTierPolicies[];
};

const TEXTS = [layout.ENDPOINT_KEY, layout.ENDPOINT_UID, layout.ENDPOINT_INTERFACE];

/** Predicates of a group that is in these sets; those of `known` that ask for no set of addresses stay. */
function predicatesOf(
  { packer, predicateOf }: Pick<Version, 'packer' | 'predicateOf'>,
  sets: readonly number[],
  known: readonly number[],
): readonly number[] {
  const kept = known.filter((predicate) => packer.table.predicates[predicate]!.type !== 'set');
  const asked = sets.flatMap((set) => predicateOf.get(set) ?? []).sort(ascending);
  return union(kept, asked);
}

function difference(a: readonly number[], b: readonly number[]): number[] {
  const [inA, inB] = [new Set(a), new Set(b)];
  return [...a.filter((each) => !inB.has(each)), ...b.filter((each) => !inA.has(each))];
}

function ascending(a: number, b: number): number {
  return a - b;
}
