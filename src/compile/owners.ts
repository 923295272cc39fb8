/**
 * Who owns an exact address.
 *
 * Nearly all addresses are IPv4 and have one owner, a pod. These are three numbers in typed arrays, found by hashing; an object with lists is
 * made for the others, and for whoever asks.
 */
import { compareBytewise } from '../base/bytewise.ts';
import { zeroWords } from '../base/words.ts';
import { addressHash } from '../tables/layout.ts';
import type { Plan, Prefix } from './plan.ts';
import type { PlanAddresses } from './plan-addresses.ts';
import { type AddressKey, addressKey, type TimedAddress, type TimedAddresses } from './timed-owners.ts';

/** Usually one endpoint, or the node whose host processes the address stands for. */
export interface Owner {
  readonly address: Prefix;
  /** Pods by key; refused ones are numbered after the endpoints of the plan. */
  readonly pods: number[];
  readonly hostEndpoints: number[];
  readonly nodes: number[];
}

/** By entry of a single owner: it is not one pod but what `#others` has. */
const OTHER = -1;

/** Owners by address, in the order in which they were added. */
export class Owners {
  /** 1 + entry by hash of an IPv4 address. */
  readonly #slots: Int32Array;
  /** By entry: the word of an IPv4 address. */
  readonly #words: Int32Array;
  /** By entry: the pod that alone owns the address, or OTHER. */
  readonly #pods: Int32Array;
  readonly #others = new Map<number, Owner>();
  readonly #ipv6 = new Map<AddressKey, number>();
  /** Of entries that are not IPv4. */
  readonly #addresses6 = new Map<number, Prefix>();
  #count = 0;

  /** `limit`: at least the number of addresses that there will be. */
  constructor(limit: number) {
    let slots = 2;
    while (slots < 2 * limit) slots *= 2;
    this.#slots = zeroWords(slots);
    this.#pods = zeroWords(limit);
    this.#words = zeroWords(limit);
  }

  get count(): number {
    return this.#count;
  }

  /** How many of them are addresses of IPv6. */
  get count6(): number {
    return this.#addresses6.size;
  }

  /** The entry of an address, or -1. */
  entryOf(address: Prefix): number {
    return address.version === 4 ? this.entryOfWord(address.words[0]) : (this.#ipv6.get(addressKey(address)) ?? -1);
  }

  /** The entry of an IPv4 address, or -1. */
  entryOfWord(word: number): number {
    const slots = this.#slots;
    const words = this.#words;
    const mask = slots.length - 1;
    for (let slot = addressHash(word, 0, 0, 0) & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot]! - 1;
      if (entry < 0 || words[entry] === word) return entry;
    }
  }

  addressAt(entry: number): Prefix {
    return this.#addresses6.get(entry) ?? { version: 4, words: [this.#words[entry]!, 0, 0, 0], length: 32 };
  }

  /** The word of an address, if it is one of IPv4. */
  wordAt(entry: number): number | undefined {
    return this.#addresses6.size > 0 && this.#addresses6.has(entry) ? undefined : this.#words[entry]!;
  }

  /** The pod that owns the address of `entry`, and nobody else does; -1 = it is not so simple. */
  podAt(entry: number): number {
    return this.#pods[entry]!;
  }

  ownerAt(entry: number): Owner {
    const pod = this.#pods[entry]!;
    if (pod === OTHER) return this.#others.get(entry)!;
    return { address: this.addressAt(entry), pods: [pod], hostEndpoints: [], nodes: [] };
  }

  /** The owner of an address that has one. */
  of(address: Prefix): Owner {
    return this.ownerAt(this.entryOf(address));
  }

  addPod(address: Prefix, pod: number): void {
    const entry = this.entryOf(address);
    if (entry < 0) this.#pods[this.#add(address)] = pod;
    else this.#lists(entry).pods.push(pod);
  }

  /** The same for an IPv4 address. */
  addPodWord(word: number, pod: number): void {
    const entry = this.entryOfWord(word);
    if (entry < 0) this.#pods[this.#addWord(word)] = pod;
    else this.#lists(entry).pods.push(pod);
  }

  /** The lists of an address, to be changed. */
  lists(address: Prefix): Owner {
    const entry = this.entryOf(address);
    if (entry >= 0) return this.#lists(entry);
    const added = this.#add(address);
    this.#pods[added] = OTHER;
    const owner = { address, pods: [], hostEndpoints: [], nodes: [] };
    this.#others.set(added, owner);
    return owner;
  }

  /** Those that are not one pod alone. */
  others(): Iterable<Owner> {
    return this.#others.values();
  }

  #lists(entry: number): Owner {
    const owner = this.ownerAt(entry);
    this.#pods[entry] = OTHER;
    this.#others.set(entry, owner);
    return owner;
  }

  #add(address: Prefix): number {
    if (address.version === 4) return this.#addWord(address.words[0]);
    const entry = this.#count++;
    this.#ipv6.set(addressKey(address), entry);
    this.#addresses6.set(entry, address);
    return entry;
  }

  #addWord(word: number): number {
    const entry = this.#count++;
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = addressHash(word, 0, 0, 0) & mask;
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = entry + 1;
    this.#words[entry] = word;
    return entry;
  }
}

/** The owners of all addresses. One that changes its owner has those of its first state. */
export function collectOwners(plan: Plan, { podWords, podOf, others }: PlanAddresses, timed: TimedAddresses): Owners {
  let limit = timed.size + podWords.length + others.length;
  for (const { addresses } of [...plan.rejectedPods, ...plan.nodes]) limit += addresses.length;
  const owners = new Owners(limit);
  for (let i = 0; i < podWords.length; i++) owners.addPodWord(podWords[i]!, podOf[i]!);
  for (const { address, endpoint } of others) {
    if (plan.endpoints[endpoint]!.kind === 'wep') owners.addPod(address, endpoint);
    else owners.lists(address).hostEndpoints.push(endpoint);
  }
  plan.rejectedPods.forEach((pod, index) => {
    for (const address of pod.addresses) owners.addPod(address, plan.endpoints.length + index);
  });
  for (const { address, states } of timed.values()) {
    const { pods } = owners.lists(address);
    pods.splice(0, pods.length, ...states[0]!.pods);
  }
  if (plan.rejectedPods.length > 0) for (const { pods } of owners.others()) sortByPodKey(plan, pods);
  plan.nodes.forEach((node, index) => {
    for (const address of node.addresses) owners.lists(address).nodes.push(index);
  });
  return owners;
}

function sortByPodKey(plan: Plan, pods: number[]): void {
  const keyOf = (pod: number): string => (plan.endpoints[pod] ?? plan.rejectedPods[pod - plan.endpoints.length]!).key;
  pods.sort((a, b) => compareBytewise(keyOf(a), keyOf(b)));
}

/** The owner in each state of an address that changes it: other pods, the same hosts. */
export function ownersInTime(plan: Plan, { states }: TimedAddress, { address, hostEndpoints, nodes }: Owner): Owner[] {
  return states.map(({ pods }) => {
    const own = [...pods];
    if (plan.rejectedPods.length > 0) sortByPodKey(plan, own);
    return { address, pods: own, hostEndpoints, nodes };
  });
}

/** The pod that an owner is alone, if it is one. */
export function podAlone({ pods, nodes, hostEndpoints }: Owner): number | undefined {
  return pods.length === 1 && nodes.length + hostEndpoints.length === 0 ? pods[0] : undefined;
}

/** The list of an owner, in the form of SECTION_OWNERS. */
export function ownerList({ pods, nodes, hostEndpoints }: Owner): number[] {
  return [pods.length, ...pods, nodes.length, ...nodes, hostEndpoints.length, ...hostEndpoints];
}
