/**
 * Address classes and the structures that lead from an address to its class and to its owners.
 *
 * An address class is what a packet needs to know of one of its addresses: the peer class (what rules can tell), the policy
 * classes of the endpoint that owns it, and flags. Addresses that agree in all of it share one record.
 */
import { formatPrefix, prefixCovers } from '../base/ip.ts';
import { Words, zeroWords } from '../base/words.ts';
import * as layout from '../tables/layout.ts';
import type { PeerClasses } from './classes.ts';
import type { KindsOfAddresses, KindTable } from './kinds.ts';
import { type Owner, type Owners, ownerList, ownersInTime, podAlone } from './owners.ts';
import { type ChainPacker, NO_CHECK_CLASS } from './pack-chains.ts';
import type { Plan, Prefix } from './plan.ts';
import type { PrefixColumns } from './prefix-columns.ts';
import type { Sections } from './sections.ts';
import { type AddressKey, addressKey, type TimedAddress } from './timed-owners.ts';

/** Prefixes that need a segment although no rule names them. */
export function addressMarks(plan: Plan): Prefix[] {
  return [
    ...plan.nodes.flatMap((node) => [...node.addresses, ...node.podCidrs]),
    ...plan.services.flatMap((service) => service.addresses),
    ...plan.rejectedPods.flatMap((pod) => pod.addresses),
    ...plan.serviceLoopPrefixes,
  ];
}

/** SECTION_OWNERS and SECTION_OWNERS_6: open-addressing hashes at most half full, also with `room` addresses more. */
export function packOwners(owners: Owners, sections: Sections, room = 0): void {
  const { count, count6 } = owners;
  const [four, six] = [
    zeroWords(slotsFor(count - count6 + room) * layout.OWNER_SIZE),
    zeroWords(slotsFor(count6 + room) * layout.OWNER_6_SIZE),
  ];
  const mask = four.length / layout.OWNER_SIZE - 1;
  for (let entry = 0; entry < count; entry++) {
    const pod = owners.podAt(entry);
    const owner = pod >= 0 ? layout.podAlone(pod) : listOf(owners.ownerAt(entry), sections);
    const address = owners.wordAt(entry);
    if (address === undefined) putOwner6(six, owners.addressAt(entry), owner);
    else {
      let slot = layout.addressHash(address, 0, 0, 0) & mask;
      while (four[2 * slot + layout.OWNER_OWNER] !== 0) slot = (slot + 1) & mask;
      four[2 * slot + layout.OWNER_ADDRESS] = address;
      four[2 * slot + layout.OWNER_OWNER] = owner + 1;
    }
  }
  sections.section(layout.SECTION_OWNERS).append(four);
  sections.section(layout.SECTION_OWNERS_6).append(six);
}

function slotsFor(count: number): number {
  let slots = 2;
  while (slots < 2 * count) slots *= 2;
  return slots;
}

function listOf(owner: Owner, sections: Sections): number {
  const pod = podAlone(owner);
  return pod === undefined ? sections.ints(ownerList(owner)) : layout.podAlone(pod);
}

function putOwner6(table: Int32Array, { words }: Prefix, owner: number): void {
  const size = layout.OWNER_6_SIZE;
  const mask = table.length / size - 1;
  let slot = layout.addressHash(...words) & mask;
  while (table[slot * size + layout.OWNER_6_OWNER] !== 0) slot = (slot + 1) & mask;
  table.set(words, slot * size);
  table[slot * size + layout.OWNER_6_OWNER] = owner + 1;
}

/**
 * Writes the address classes of one version and the structure that finds them.
 *
 * @param slotsOf  chains of an endpoint by slot, or `undefined` if it is not local
 * @param needsIdentity  an address of the pod network that nobody owns is unknown, not outside
 * @param kinds  for tables that are repacked: classes are by kind of address, so that a kind can change its class
 * @param withDoubt  adds, behind those of the states, the class of an address whose owner is not known well enough
 */
export function packAddresses(
  plan: Plan,
  packer: ChainPacker,
  classes: PeerClasses,
  owners: Owners,
  slotsOf: SlotsOf,
  needsIdentity: boolean,
  withDoubt: boolean,
  sections: Sections,
  kinds?: KindsOfAddresses,
  room = 0,
): PackedAddresses {
  const numbers = new AddressClasses(plan, packer, owners, slotsOf, needsIdentity, sections, kinds?.table);
  const byKey = new Map([...classes.timed].map(([timed, peers]) => [addressKey(timed.address), { timed, peers }]));
  const inTime = new Map<TimedAddress, readonly number[]>();
  const outside = numbers.classOf(kinds?.table.of(-1, []) ?? 0, 0, undefined);
  const { prefixes } = classes.segments;
  const peerClasses = kinds?.kinds ?? classes.segments.peerClasses;
  const addressClasses = zeroWords(prefixes.count);
  for (let i = 0; i < prefixes.count; i++) {
    addressClasses[i] = numbers.classOfSegment(prefixes, i, peerClasses[i]!);
    if (byKey.size === 0 || !prefixes.isWhole(i)) continue;
    const prefix = prefixes.at(i);
    const changes = byKey.get(addressKey(prefix));
    if (changes !== undefined) {
      const { timed, peers } = changes;
      const states = numbers.classesInTime(prefixes, i, peers, ownersInTime(plan, timed, owners.of(timed.address)));
      if (withDoubt) states.push(numbers.doubtClass(prefixes, i, peers[0]!));
      inTime.set(timed, states);
    }
  }
  if (packer.version === 4) packTrie(prefixes, addressClasses, outside, sections);
  else packRanges(prefixes, addressClasses, outside, sections, room);
  return { inTime, numbers };
}

export interface PackedAddresses {
  /** By address that changes its owner: its class in each state. */
  readonly inTime: ReadonlyMap<TimedAddress, readonly number[]>;
  readonly numbers: AddressClasses;
}

/** The chains of an endpoint (or, numbered after them, a refused pod) by slot; `undefined` if it is not local. */
export type SlotsOf = readonly (readonly number[] | undefined)[];

/** The first `length` bits of an address. */
function prefixOf({ version, words }: Prefix, length: number): Prefix {
  const masked = words.map((word, i) => {
    const bits = Math.min(Math.max(length - 32 * i, 0), 32);
    return bits === 0 ? 0 : word & (-1 << (32 - bits));
  });
  return { version, words: masked as unknown as Prefix['words'], length };
}

/** What an address class of tables that are repacked was made from. */
export interface ClassOrigin {
  readonly kind: number;
  readonly flags: number;
  /** The chains of the pod that owns the address. */
  slots: readonly number[] | undefined;
}

export class AddressClasses {
  /** By class; only with kinds. */
  readonly origins: ClassOrigin[] = [];
  readonly #plan: Plan;
  readonly #packer: ChainPacker;
  readonly #owners: Owners;
  readonly #slotsOf: SlotsOf;
  readonly #needsIdentity: boolean;
  readonly #sections: Sections;
  readonly #numbers = new Map<string, number>();
  /** Flags of CIDRs by text, and those of them that cover the segment in hand. */
  readonly #marks = new Map<string, number>();
  /** Lengths of these CIDRs. */
  readonly #markLengths = new Set<number>();
  readonly #open: { prefix: Prefix; flags: number }[] = [];
  /** Classes by slots and `key` (peer class and flags); the last one of each list at hand. */
  readonly #bySlots = new Map<
    readonly number[] | undefined,
    { key: number; number: number; readonly byKey: Map<number, number> }
  >();
  readonly #services: ReadonlySet<AddressKey>;
  readonly #nodesWithHostEndpoint: ReadonlySet<string>;
  readonly #kinds: KindTable | undefined;

  constructor(
    plan: Plan,
    packer: ChainPacker,
    owners: Owners,
    slotsOf: SlotsOf,
    needsIdentity: boolean,
    sections: Sections,
    kinds?: KindTable,
  ) {
    this.#kinds = kinds;
    this.#plan = plan;
    this.#packer = packer;
    this.#owners = owners;
    this.#slotsOf = slotsOf;
    this.#needsIdentity = needsIdentity;
    this.#sections = sections;
    for (const prefix of plan.serviceLoopPrefixes) this.#mark(prefix, layout.CLASS_IS_LOOP | layout.CLASS_NEEDS_PATH);
    for (const prefix of plan.nodes.flatMap((node) => node.podCidrs)) this.#mark(prefix, layout.CLASS_IN_POD_CIDR);
    this.#services = new Set(plan.services.flatMap((service) => service.addresses.map(addressKey)));
    this.#nodesWithHostEndpoint = new Set(
      plan.nodes.filter((node) => node.uplinkEndpoint >= 0 || node.wildcardEndpoint >= 0).map((node) => node.name),
    );
  }

  #mark(prefix: Prefix, flags: number): void {
    const key = formatPrefix(prefix);
    this.#marks.set(key, (this.#marks.get(key) ?? 0) | flags);
    this.#markLengths.add(prefix.length);
  }

  /** Segments must come in their order, parents first: a CIDR's flags hold for all that lies in it. */
  classOfSegment(prefixes: PrefixColumns, i: number, peerClass: number): number {
    const flags = this.#flagsOf(prefixes, i);
    const entry = prefixes.isWhole(i) ? this.#entryOf(prefixes, i) : -1;
    if (entry < 0) return this.classOf(peerClass, flags, undefined);
    const pod = this.#owners.podAt(entry);
    if (pod < 0) return this.classOf(peerClass, flags, this.#owners.ownerAt(entry));
    return this.#withSlots(peerClass, flags | this.#podFlags(pod), this.#slotsOf[pod]);
  }

  #entryOf(prefixes: PrefixColumns, i: number): number {
    return prefixes.version === 4 ? this.#owners.entryOfWord(prefixes.words[i]!) : this.#owners.entryOf(prefixes.at(i));
  }

  /** Right after `classOfSegment` for an address that changes its owner: the class with the peer class and owner of each state. */
  classesInTime(
    prefixes: PrefixColumns,
    i: number,
    peerClasses: readonly number[],
    owners: readonly Owner[],
  ): number[] {
    const flags = this.#flagsOf(prefixes, i);
    return owners.map((owner, state) => this.classOf(peerClasses[state]!, flags, owner));
  }

  /** The class of an address of which no more is known than where it lies. */
  doubtClass(prefixes: PrefixColumns, i: number, peerClass: number): number {
    const flags = this.#flagsOf(prefixes, i) | layout.CLASS_NO_IDENTITY | layout.CLASS_NEEDS_PATH;
    return this.#withSlots(peerClass, flags, undefined);
  }

  #flagsOf(prefixes: PrefixColumns, i: number): number {
    const flags = this.#marks.size === 0 ? 0 : this.#inheritedFlags(prefixes, i);
    const isService = this.#services.size > 0 && prefixes.isWhole(i) && this.#services.has(addressKey(prefixes.at(i)));
    return isService ? flags | layout.CLASS_IS_SERVICE | layout.CLASS_NEEDS_PATH : flags;
  }

  #inheritedFlags(prefixes: PrefixColumns, i: number): number {
    while (this.#open.length > 0 && !prefixes.isCovered(i, this.#open.at(-1)!.prefix)) this.#open.pop();
    const inherited = this.#open.at(-1)?.flags ?? 0;
    if (!this.#markLengths.has(prefixes.lengths[i]!)) return inherited;
    const prefix = prefixes.at(i);
    const own = this.#marks.get(formatPrefix(prefix));
    if (own === undefined) return inherited;
    this.#open.push({ prefix, flags: inherited | own });
    return inherited | own;
  }

  /** The number of the address class with this peer class, flags and owner. */
  classOf(peerClass: number, baseFlags: number, owner: Owner | undefined): number {
    if (owner === undefined || owner.pods.length + owner.hostEndpoints.length + owner.nodes.length === 0) {
      const isUnknown = this.#needsIdentity && (baseFlags & layout.CLASS_IN_POD_CIDR) !== 0;
      const flags = isUnknown ? baseFlags | layout.CLASS_NO_IDENTITY | layout.CLASS_NEEDS_PATH : baseFlags;
      return this.#withSlots(peerClass, flags, undefined);
    }
    const { pods, hostEndpoints, nodes } = owner;
    let flags = baseFlags;
    if (pods.length !== 1 || hostEndpoints.length + nodes.length > 0) flags |= layout.CLASS_NEEDS_PATH;
    for (const index of pods) flags |= this.#podFlags(index);
    return this.#withSlots(peerClass, flags, pods.length === 1 ? this.#slotsOf[pods[0]!] : undefined);
  }

  /** Looked up by the list of slots itself, which all pods of a group share. */
  #withSlots(peerClass: number, flags: number, slots: readonly number[] | undefined): number {
    let known = this.#bySlots.get(slots);
    if (known === undefined) {
      known = { key: -1, number: -1, byKey: new Map() };
      this.#bySlots.set(slots, known);
    }
    const key = peerClass * 256 + flags;
    if (known.key === key) return known.number;
    let number = known.byKey.get(key);
    if (number === undefined) {
      number = this.#make(peerClass, flags, slots);
      known.byKey.set(key, number);
    }
    known.key = key;
    known.number = number;
    return number;
  }

  /** The class of one address by itself, whose segment need not be the next; `pod` owns it, or nobody does. */
  classOfAddress(address: Prefix, kind: number, pod: number | undefined): number {
    let flags = 0;
    if (this.#marks.size > 0) {
      for (let length = 0; length <= address.length; length++) {
        flags |= this.#marks.get(formatPrefix(prefixOf(address, length))) ?? 0;
      }
    }
    if (pod === undefined) return this.classOf(kind, flags, undefined);
    return this.#withSlots(kind, flags | this.#podFlags(pod), this.#slotsOf[pod]);
  }

  /** The class of an address of pod `pod`, of this kind, that is of class `vacant` while nobody owns it. */
  classLike(vacant: number, kind: number, pod: number): number {
    return this.#withSlots(kind, this.origins[vacant]!.flags | this.#podFlags(pod), this.#slotsOf[pod]);
  }

  isService(address: Prefix): boolean {
    return this.#services.has(addressKey(address));
  }

  /** Pods that had one list of chains have another: classes of theirs go on under it. */
  replaceSlots(old: readonly number[], slots: readonly number[]): void {
    const known = this.#bySlots.get(old);
    if (known === undefined) return;
    this.#bySlots.delete(old);
    this.#bySlots.set(slots, known);
    for (const origin of this.origins) if (origin.slots === old) origin.slots = slots;
  }

  /** Peer class, flags and policy classes as they are now. */
  wordsOf({ kind, flags, slots }: ClassOrigin): readonly [number, number, number, number] {
    const peerClass = this.#kinds!.classOf(kind);
    const of = (slot: number): number =>
      slots === undefined ? NO_CHECK_CLASS : this.#packer.policyClass(slots[slot]!, peerClass);
    return [peerClass, flags, of(layout.SLOT_EGRESS), of(layout.SLOT_INGRESS)];
  }

  #make(peerClass: number, flags: number, slots: readonly number[] | undefined): number {
    if (this.#kinds !== undefined) {
      const origin = { kind: peerClass, flags, slots };
      this.origins.push(origin);
      return this.#sections.record(this.#section, [...this.wordsOf(origin), 0, 0]);
    }
    const egress =
      slots === undefined ? NO_CHECK_CLASS : this.#packer.policyClass(slots[layout.SLOT_EGRESS]!, peerClass);
    const ingress =
      slots === undefined ? NO_CHECK_CLASS : this.#packer.policyClass(slots[layout.SLOT_INGRESS]!, peerClass);
    // Row and column of the pairs come when all classes are known (pack-pairs.ts).
    return this.#intern([peerClass, flags, egress, ingress, 0, 0]);
  }

  #podFlags(index: number): number {
    const { endpoints, rejectedPods } = this.#plan;
    const isLocal = this.#slotsOf[index] !== undefined;
    if (this.#nodesWithHostEndpoint.size === 0) return isLocal ? layout.CLASS_IS_LOCAL : 0;
    const { node } = endpoints[index] ?? rejectedPods[index - endpoints.length]!;
    const hasHostEndpoint = this.#nodesWithHostEndpoint.has(node);
    return (hasHostEndpoint ? layout.CLASS_NEEDS_PATH : 0) | (isLocal ? layout.CLASS_IS_LOCAL : 0);
  }

  get #section(): number {
    return this.#packer.version === 4 ? layout.SECTION_CLASSES_4 : layout.SECTION_CLASSES_6;
  }

  #intern(words: readonly number[]): number {
    const key = words.join(',');
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#sections.record(this.#section, words);
      this.#numbers.set(key, number);
    }
    return number;
  }
}

/**
 * SECTION_TRIE_4. Segments come parents first, so each simply paints over what it covers. While painting, an entry >= 0 is an
 * address class and `~offset` a node; `layOutTrie` then writes the form that needs no branch.
 */
function packTrie(
  { words, lengths, count }: PrefixColumns,
  classes: Int32Array,
  outside: number,
  sections: Sections,
): void {
  const trie = new Words(1 << 17);
  trie.append(new Int32Array(layout.TRIE_ROOT_ENTRIES).fill(outside));
  // Addresses come in order, so most are in the leaf of the one before.
  let lastBlock = -1;
  let lastLeaf = 0;
  for (let i = 0; i < count; i++) {
    const length = lengths[i]!;
    const address = words[i]!;
    const addressClass = classes[i]!;
    if (length <= 16) {
      fill(trie, address >>> 16, 16 - length, addressClass);
      continue;
    }
    if (length > 24 && address >>> 8 === lastBlock) {
      fill(trie, lastLeaf + (address & 255), 32 - length, addressClass);
      continue;
    }
    const middle = child(trie, address >>> 16);
    if (length <= 24) {
      fill(trie, middle + ((address >>> 8) & 255), 24 - length, addressClass);
      continue;
    }
    lastBlock = address >>> 8;
    lastLeaf = child(trie, middle + ((address >>> 8) & 255));
    fill(trie, lastLeaf + (address & 255), 32 - length, addressClass);
  }
  sections.section(layout.SECTION_TRIE_4).append(layOutTrie(trie.view()));
}

function fill(trie: Words, first: number, freeBits: number, value: number): void {
  for (let i = 0; i < 1 << freeBits; i++) trie.set(first + i, value);
}

/** The node below entry `at`, made from the entry's class if there is none. */
function child(trie: Words, at: number): number {
  const entry = trie.at(at);
  if (entry < 0) return ~entry;
  const node = trie.extend(layout.TRIE_NODE_ENTRIES);
  trie.room.fill(entry, node, node + layout.TRIE_NODE_ENTRIES);
  trie.set(at, ~node);
  return node;
}

/** Three levels everywhere: where the painted trie ends early, cells of one entry, shared by class, stand for the missing nodes. */
function layOutTrie(painted: Int32Array): Int32Array {
  const out = new Words(painted.length);
  out.extend(layout.TRIE_ROOT_ENTRIES);
  const classWords = layout.ADDRESS_CLASS_SIZE;
  const cells = [new Map<number, number>(), new Map<number, number>()] as const;
  const cell = (addressClass: number, level: 0 | 1): number => {
    let offset = cells[level].get(addressClass);
    if (offset === undefined) {
      const entry = level === 1 ? addressClass * classWords : cell(addressClass, 1) << 1;
      offset = out.append([entry]);
      cells[level].set(addressClass, offset);
    }
    return offset;
  };
  const node = (from: number, level: 0 | 1): number => {
    const at = out.extend(layout.TRIE_NODE_ENTRIES);
    for (let i = 0; i < layout.TRIE_NODE_ENTRIES; i++) {
      const entry = painted[from + i]!;
      if (level === 1) out.set(at + i, entry * classWords);
      else out.set(at + i, entry < 0 ? (node(~entry, 1) << 1) | 1 : cell(entry, 1) << 1);
    }
    return at;
  };
  for (let i = 0; i < layout.TRIE_ROOT_ENTRIES; i++) {
    const entry = painted[i]!;
    out.set(i, entry < 0 ? (node(~entry, 0) << 1) | 1 : cell(entry, 0) << 1);
  }
  return out.view();
}

interface Painted {
  readonly prefix: Prefix;
  readonly addressClass: number;
}

/** SECTION_EXACT_6 and SECTION_RANGES_6. */
function packRanges(
  prefixes: PrefixColumns,
  classes: Int32Array,
  outside: number,
  sections: Sections,
  room: number,
): void {
  const { words, count } = prefixes;
  const wide: Painted[] = [];
  for (let i = 0; i < count; i++) {
    if (!prefixes.isWhole(i)) wide.push({ prefix: prefixes.at(i), addressClass: classes[i]! });
  }
  let slots = 2;
  while (slots < (count - wide.length + room) * 2) slots *= 2;
  const table = zeroWords(slots * layout.EXACT_SIZE);
  for (let i = 0; i < count; i++) {
    if (!prefixes.isWhole(i)) continue;
    const from = 4 * i;
    let slot = layout.addressHash(words[from]!, words[from + 1]!, words[from + 2]!, words[from + 3]!) & (slots - 1);
    while (table[slot * layout.EXACT_SIZE + 4] !== 0) slot = (slot + 1) & (slots - 1);
    const at = slot * layout.EXACT_SIZE;
    for (let word = 0; word < 4; word++) table[at + word] = words[from + word]!;
    table[at + 4] = classes[i]! + 1;
  }
  sections.section(layout.SECTION_EXACT_6).append(table);
  for (const { start, addressClass } of flatten(wide, outside)) {
    sections.record(layout.SECTION_RANGES_6, [...start, addressClass]);
  }
}

interface Range {
  readonly start: readonly [number, number, number, number];
  addressClass: number;
}

/** Nested prefixes as consecutive ranges that cover the whole space. */
function flatten(wide: readonly Painted[], outside: number): Range[] {
  const ranges: Range[] = [{ start: [0, 0, 0, 0], addressClass: outside }];
  const open: Painted[] = [];
  const put = (start: readonly [number, number, number, number], addressClass: number): void => {
    const last = ranges.at(-1)!;
    if (last.start.every((word, i) => word === start[i])) last.addressClass = addressClass;
    else if (last.addressClass !== addressClass) ranges.push({ start, addressClass });
  };
  const close = (): void => {
    const closed = open.pop()!;
    const after = addressAfter(closed.prefix);
    if (after !== undefined) put(after, open.at(-1)?.addressClass ?? outside);
  };
  for (const entry of wide) {
    while (open.length > 0 && !prefixCovers(open.at(-1)!.prefix, entry.prefix)) close();
    put(entry.prefix.words as [number, number, number, number], entry.addressClass);
    open.push(entry);
  }
  while (open.length > 0) close();
  return ranges;
}

/** The first address behind a prefix, or `undefined` at the end of the space. */
function addressAfter(prefix: Prefix): [number, number, number, number] | undefined {
  const out: [number, number, number, number] = [...prefix.words];
  if (prefix.length === 0) return undefined;
  let word = (prefix.length - 1) >>> 5;
  let add = 2 ** (31 - ((prefix.length - 1) & 31));
  for (; word >= 0; word--) {
    const sum = (out[word]! >>> 0) + add;
    out[word] = sum | 0;
    if (sum < 2 ** 32) return out;
    out[word] = (sum - 2 ** 32) | 0;
    add = 1;
  }
  return undefined;
}
