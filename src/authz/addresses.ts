/**
 * Which sets and nets an address is in, as the authorization service sees it.
 *
 * Every distinct list of members or of nets that an ingress rule tests is one predicate. The prefixes of all of them lie in one
 * index: by IP version and length, a hash of the masked address. A lookup asks once for each length that occurs, and interns the
 * predicates that it found: addresses in the same ones are of one class, so that what is worked out for a class holds for all of
 * them. Text is looked up first: a peer that has asked before costs one hash of its text.
 *
 * Differs from the packet path, as Calico's checker does (semantics 8.3): a member of a set with an IPv4 prefix of 25 to 31 bits
 * or an IPv6 prefix of 121 to 127 bits never matches, nets know no IP version of the rule.
 */
import { type IpAddress, type IpPrefix, parseAddress } from '../base/ip.ts';
import type { FormOwner } from '../tables/authorization.ts';

/** Addresses that are in the same predicates. */
export interface AddressClass {
  readonly id: number;
  /** Predicate number to 1 or 0. */
  readonly has: Uint8Array;
}

export class AddressIndex {
  readonly #setPredicates = new Map<number, number>();
  readonly #netPredicates = new Map<string, number>();
  #predicateCount = 0;
  #weight = 0;
  /** By length: masked address to the predicates of that prefix. Filled by `index`. */
  readonly #v4 = new Map<number, Map<number, number[]>>();
  readonly #v6 = new Map<number, Map<string, number[]>>();
  readonly #classes = new Map<string, AddressClass>();
  readonly #nets: { readonly prefixes: readonly IpPrefix[]; readonly predicate: number }[] = [];

  /** The predicate of membership in a set of the form. */
  set(set: number): number {
    let predicate = this.#setPredicates.get(set);
    if (predicate === undefined) {
      predicate = this.#predicateCount++;
      this.#setPredicates.set(set, predicate);
    }
    return predicate;
  }

  /** The predicate of being in one of these nets. */
  nets(prefixes: readonly IpPrefix[]): number {
    const text = prefixes.map(({ version, words, length }) => `${version}:${words.join(',')}/${length}`).join(' ');
    let predicate = this.#netPredicates.get(text);
    if (predicate === undefined) {
      predicate = this.#predicateCount++;
      this.#netPredicates.set(text, predicate);
      this.#nets.push({ prefixes, predicate });
    }
    return predicate;
  }

  /** Ends the collection of predicates and fills the index with their members. */
  index(owners: readonly FormOwner[]): void {
    for (const { prefixes, ipSets } of owners) {
      const predicates = ipSets.flatMap((set) => this.#setPredicates.get(set) ?? []);
      if (predicates.length === 0) continue;
      for (const prefix of prefixes) if (isSeen(prefix)) this.#add(prefix, predicates);
    }
    for (const { prefixes, predicate } of this.#nets) for (const prefix of prefixes) this.#add(prefix, [predicate]);
  }

  /** The class of an address. */
  classOf(address: IpAddress): AddressClass {
    const found = new Set<number>();
    const add = (list: readonly number[] | undefined): void => {
      if (list !== undefined) for (const predicate of list) found.add(predicate);
    };
    const { version, words } = address;
    if (version === 4) for (const [length, map] of this.#v4) add(map.get(mask(words[0], length)));
    else for (const [length, map] of this.#v6) add(map.get(key6(words, length)));
    const key = [...found].sort((a, b) => a - b).join(',');
    let known = this.#classes.get(key);
    if (known === undefined) {
      const has = new Uint8Array(this.#predicateCount);
      for (const predicate of found) has[predicate] = 1;
      known = { id: this.#classes.size, has };
      this.#weight += has.length >> 2;
      this.#classes.set(key, known);
    }
    return known;
  }

  /** Of all classes, about in words. */
  get weight(): number {
    return this.#weight;
  }

  /** Forgets the classes; those given out must be forgotten, too. */
  clear(): void {
    this.#classes.clear();
    this.#weight = 0;
  }

  #add(prefix: IpPrefix, predicates: number[]): void {
    if (prefix.version === 4) insert(this.#v4, prefix.length, mask(prefix.words[0], prefix.length), predicates);
    else insert(this.#v6, prefix.length, key6(prefix.words, prefix.length), predicates);
  }
}

function insert<K>(byLength: Map<number, Map<K, number[]>>, length: number, key: K, predicates: number[]): void {
  const map = byLength.get(length) ?? new Map<K, number[]>();
  byLength.set(length, map);
  const known = map.get(key);
  // Pods of one group share their list.
  map.set(key, known === undefined ? predicates : [...known, ...predicates]);
}

/** Whether Calico's checker finds this member. */
function isSeen({ version, length }: IpPrefix): boolean {
  return version === 4 ? length < 25 || length > 31 : length < 121 || length > 127;
}

function mask(word: number, length: number): number {
  return length === 0 ? 0 : word & (-1 << (32 - length));
}

function key6(words: readonly number[], length: number): string {
  let key = '';
  for (let i = 0; i < 4; i++) key += `${mask(words[i]!, Math.min(32, Math.max(0, length - 32 * i)))},`;
  return key;
}

/** An address as a map's key. */
export function addressKey(address: IpAddress): string {
  return address.words.join(',');
}

/** Characters of the longest address with the longest name of an interface, and some. */
const ADDRESS_LENGTH_MAX = 80;

/** As `parseAddress`, but also with a zone, which Envoy writes for link-local peers and which no rule knows. */
export function parsePeerAddress(text: string): IpAddress | undefined {
  if (text.length > ADDRESS_LENGTH_MAX) return undefined;
  const zone = text.indexOf('%');
  return parseAddress(zone < 0 ? text : text.slice(0, zone));
}
