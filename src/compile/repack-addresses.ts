/** Addresses that come into tables, or change their class or owner, in the structures that pack-addresses.ts makes. */
import { NoRoomError, type Words } from '../base/words.ts';
import * as layout from '../tables/layout.ts';
import type { Prefix } from './plan.ts';
import type { Sections } from './sections.ts';

/** Gives one IPv4 address the class of this number. Nodes of the trie on the way are made where they are missing. */
export function setClass4(sections: Sections, address: number, classNumber: number): void {
  const trie = sections.section(layout.SECTION_TRIE_4);
  const middle = nodeBelow(trie, address >>> 16);
  const leaf = nodeBelow(trie, middle + ((address >>> 8) & 255));
  trie.set(leaf + (address & 255), classNumber * layout.ADDRESS_CLASS_SIZE);
}

/** Offset of the node that the entry at `at` leads to. A cell becomes a node all of whose entries say what the cell said. */
function nodeBelow(trie: Words, at: number): number {
  const entry = trie.at(at);
  if ((entry & 1) === 1) return entry >>> 1;
  const common = trie.at(entry >>> 1);
  const node = trie.extend(layout.TRIE_NODE_ENTRIES);
  trie.room.fill(common, node, node + layout.TRIE_NODE_ENTRIES);
  trie.set(at, (node << 1) | 1);
  return node;
}

/** The same for a full IPv6 address. */
export function setClass6(sections: Sections, { words }: Prefix, classNumber: number): void {
  const exact = sections.section(layout.SECTION_EXACT_6);
  const slot = slotOf(exact, layout.EXACT_SIZE, 0, 4, words, (at) => exact.at(at + 4) === 0);
  const at = slot * layout.EXACT_SIZE;
  if (exact.at(at + 4) === 0) for (let i = 0; i < 4; i++) exact.set(at + i, words[i]!);
  exact.set(at + 4, classNumber + 1);
}

/** Word offset in SECTION_INTS of the list of an address's owners, or NONE. */
export function ownersOf(sections: Sections, address: Prefix): number {
  const owners = sections.section(layout.SECTION_OWNERS);
  const at = ownerSlot(owners, address);
  return owners.at(at) === 0 ? layout.NONE : owners.at(at + layout.OWNER_LIST);
}

export function setOwners(sections: Sections, address: Prefix, list: number): void {
  const owners = sections.section(layout.SECTION_OWNERS);
  const at = ownerSlot(owners, address);
  if (owners.at(at) === 0) {
    owners.set(at, address.version);
    for (let i = 0; i < 4; i++) owners.set(at + layout.OWNER_WORDS + i, address.words[i]!);
  }
  owners.set(at + layout.OWNER_LIST, list);
}

/** Word offset of the slot that an address has, or that it would get. */
function ownerSlot(owners: Words, { version, words }: Prefix): number {
  const isFree = (at: number): boolean => owners.at(at) === 0;
  const isOf = (at: number): boolean => owners.at(at) === version;
  return slotOf(owners, layout.OWNER_SIZE, layout.OWNER_WORDS, 4, words, isFree, isOf) * layout.OWNER_SIZE;
}

function slotOf(
  table: Words,
  size: number,
  wordsAt: number,
  count: number,
  words: Prefix['words'],
  isFree: (at: number) => boolean,
  isCandidate: (at: number) => boolean = () => true,
): number {
  const mask = table.length / size - 1;
  let slot = layout.addressHash(words[0], words[1], words[2], words[3]) & mask;
  for (let steps = 0; steps <= mask / 2; steps++, slot = (slot + 1) & mask) {
    const at = slot * size;
    if (isFree(at)) return slot;
    let isSame = isCandidate(at);
    for (let i = 0; isSame && i < count; i++) isSame = table.at(at + wordsAt + i) === words[i];
    if (isSame) return slot;
  }
  throw new NoRoomError();
}
