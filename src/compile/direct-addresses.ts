/**
 * A pod that gets another address, stored in the newest tables themselves, under the eyes of those who judge by them.
 *
 * Tables that take changes are written in two buffers in turn (repack.ts), so that nobody sees a part of a change. An address that changes hands needs
 * no second buffer: what a packet learns of it is its leaf in the trie, one word, and whose it is, another one, and everything that these lead to is
 * there already. So the words are stored one by one, each after what it leads to:
 *
 *   pod 7 goes from 10.0.0.5 to 10.0.0.9    OWNERS    10.0.0.9, in a slot that counts as empty, then its owner: pod 7
 *                                           TRIE_4    leaf of 10.0.0.9: the class of pod 7's addresses     packets find it from here on
 *                                           TRIE_4    leaf of 10.0.0.5: the class of nobody's              and the old one no more
 *                                           OWNERS    10.0.0.5: nobody
 *                                           PREFIXES  of pod 7: 10.0.0.9                                   for lists of members
 *
 * A thread that judges meanwhile meets each address before or after, never half of it; for a moment both are the pod's.
 *
 * Of which class an address is while nobody owns it, its block of 256 tells: nearly always all addresses of a block are alike. What is not so easy takes
 * the way of all other changes: blocks in which something smaller is named (a CIDR of a rule, the address of a service) or that have no leaves of
 * their own yet, classes that are new, and addresses of IPv6, whose four words no store writes at once.
 */
import { NoRoomError, type Words } from '../base/words.ts';
import * as layout from '../tables/layout.ts';
import { leafOf4 } from '../tables/live.ts';
import type { KindTable } from './kinds.ts';
import type { AddressClasses } from './pack-addresses.ts';
import type { Plan, Prefix } from './plan.ts';
import type { Sections } from './sections.ts';

/** IPv4 of the tables. */
interface Addresses {
  readonly kinds: KindTable;
  readonly numbers: AddressClasses;
  /** Classes from this number on are not whole yet. */
  readonly settled: number;
}

/** Of a hundred slots of owners, how many may be in use: beyond, searches become long, and tables are packed anew. */
const LOAD_MAX = 75;
const NO_CLASS = -1;

export class DirectAddresses {
  readonly #sections: Sections;
  readonly #addresses: Addresses;
  /** Owners of an address that was somebody's. */
  readonly #nobody: number;
  /** Blocks (address >>> 8) whose addresses are not all alike, and by block the class of nobody's. */
  readonly #uneven: ReadonlySet<number>;
  readonly #vacant = new Map<number, number>();
  /** By class of nobody's and group: the kind of its addresses. */
  readonly #kindsOf = new Map<number, Map<number, number>>();
  /** Slots of owners that are in use. */
  #used: number;

  constructor(plan: Plan, sections: Sections, addresses: Addresses, nobody: number, used: number) {
    this.#used = used;
    this.#sections = sections;
    this.#addresses = addresses;
    this.#nobody = nobody;
    this.#uneven = unevenBlocks(plan, addresses.kinds);
  }

  /** The pod that has an address alone, or a number below 0. */
  podAt(address: number): number {
    const owners = this.#sections.section(layout.SECTION_OWNERS);
    return layout.podAlone(owners.at(ownerSlot4(owners, address) + layout.OWNER_OWNER) - 1);
  }

  /** Lets the address `from`, which is pod `index`'s alone, go over to nobody, and `to` to the pod. False: nothing was stored. */
  move(index: number, group: number, from: number, to: number): boolean {
    const owners = this.#sections.section(layout.SECTION_OWNERS);
    const trie = this.#sections.section(layout.SECTION_TRIE_4);
    const fromSlot = ownerSlot4(owners, from);
    const toSlot = ownerSlot4(owners, to);
    if (owners.at(fromSlot + layout.OWNER_OWNER) !== layout.podAlone(index) + 1) return false;
    const owner = owners.at(toSlot + layout.OWNER_OWNER);
    const isNew = owner === 0;
    if (!isNew && owner !== this.#nobody + 1) return false;
    const fromLeaf = leafOf4(trie.room, from);
    const toLeaf = leafOf4(trie.room, to);
    if (fromLeaf < 0 || toLeaf < 0) return false;
    const fromVacant = this.#vacantClass(from);
    const toVacant = this.#vacantClass(to);
    if (fromVacant === NO_CLASS || toVacant === NO_CLASS) return false;
    // Where addresses of nobody are alike, so are those of one pod.
    const owned = fromVacant === toVacant ? trie.at(fromLeaf) : this.#ownedClass(toVacant, index, group);
    if (owned === NO_CLASS || (isNew && !this.#hasRoom(owners))) return false;
    if (isNew) {
      this.#used++;
      owners.set(toSlot + layout.OWNER_ADDRESS, to);
    }
    owners.release(toSlot + layout.OWNER_OWNER, layout.podAlone(index) + 1);
    trie.release(toLeaf, owned);
    trie.release(fromLeaf, fromVacant);
    owners.release(fromSlot + layout.OWNER_OWNER, this.#nobody + 1);
    return true;
  }

  /** What the leaf of an address says while nobody owns it, or NO_CLASS. */
  #vacantClass(address: number): number {
    const block = address >>> 8;
    const known = this.#vacant.get(block);
    if (known !== undefined) return known;
    if (this.#uneven.has(block)) {
      this.#vacant.set(block, NO_CLASS);
      return NO_CLASS;
    }
    const { kinds, numbers } = this.#addresses;
    const prefix: Prefix = { version: 4, words: [address, 0, 0, 0], length: 32 };
    const entry = this.#entryOf(numbers.classOfAddress(prefix, kinds.ofAddress(prefix, undefined), undefined));
    if (entry !== NO_CLASS) this.#vacant.set(block, entry);
    return entry;
  }

  /** What the leaf of an address says while pod `index` of `group` owns it, or NO_CLASS. */
  #ownedClass(vacant: number, index: number, group: number): number {
    let kinds = this.#kindsOf.get(vacant);
    if (kinds === undefined) {
      kinds = new Map();
      this.#kindsOf.set(vacant, kinds);
    }
    const { numbers } = this.#addresses;
    const number = vacant / layout.ADDRESS_CLASS_SIZE;
    let kind = kinds.get(group);
    if (kind === undefined) {
      kind = this.#addresses.kinds.ofGroup(numbers.origins[number]!.kind, group);
      kinds.set(group, kind);
    }
    return this.#entryOf(numbers.classLike(number, kind, index));
  }

  /** A class that the next change completes is not there yet. */
  #entryOf(classNumber: number): number {
    const { kinds, settled } = this.#addresses;
    return kinds.hasFresh || classNumber >= settled ? NO_CLASS : classNumber * layout.ADDRESS_CLASS_SIZE;
  }

  #hasRoom(owners: Words): boolean {
    return this.#used * 100 < (owners.length / layout.OWNER_SIZE) * LOAD_MAX;
  }

  /** An address is about to have an owner by a change as others: no more than there is room for. Throws `NoRoomError`. */
  noteOwner(address: number): void {
    const owners = this.#sections.section(layout.SECTION_OWNERS);
    if (owners.at(ownerSlot4(owners, address) + layout.OWNER_OWNER) !== 0) return;
    if (!this.#hasRoom(owners)) throw new NoRoomError();
    this.#used++;
  }
}

/** Word offset of the slot that an address has, or that it would get: at most three of four are in use. */
function ownerSlot4(owners: Words, address: number): number {
  const mask = owners.length / layout.OWNER_SIZE - 1;
  let slot = layout.addressHash(address, 0, 0, 0) & mask;
  for (;;) {
    const at = slot * layout.OWNER_SIZE;
    if (owners.at(at + layout.OWNER_OWNER) === 0 || owners.at(at + layout.OWNER_ADDRESS) === address) return at;
    slot = (slot + 1) & mask;
  }
}

function unevenBlocks(plan: Plan, kinds: KindTable): ReadonlySet<number> {
  const narrow = [...plan.serviceLoopPrefixes, ...plan.nodes.flatMap(({ podCidrs }) => podCidrs)];
  const services = plan.services.flatMap(({ addresses }) => addresses);
  const blocks = new Set(kinds.narrowBlocks());
  for (const { version, length, words } of [...narrow, ...services])
    if (version === 4 && length > 24) blocks.add(words[0] >>> 8);
  return blocks;
}
