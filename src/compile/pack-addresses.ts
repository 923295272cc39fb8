/**
 * Address classes and the structures that lead from an address to its class and to its owners.
 *
 * An address class is what a packet needs to know of one of its addresses: the peer class (what rules can tell), the policy
 * classes of the endpoint that owns it, and flags. Addresses that agree in all of it share one record.
 */
import { formatPrefix } from '../base/ip.ts';
import { zeroWords } from '../base/words.ts';
import * as layout from '../tables/layout.ts';
import type { PeerClasses } from './classes.ts';
import type { KindsOfAddresses, KindTable } from './kinds.ts';
import { type Owner, type Owners, ownersInTime } from './owners.ts';
import { type ChainPacker, NO_CHECK_CLASS } from './pack-chains.ts';
import { packRanges, packTrie } from './pack-lookups.ts';
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
