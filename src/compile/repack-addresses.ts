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
  const slot = slotOf(exact, layout.EXACT_SIZE, 4, words, (at) => exact.at(at + 4) === 0);
  const at = slot * layout.EXACT_SIZE;
  if (exact.at(at + 4) === 0) for (let i = 0; i < 4; i++) exact.set(at + i, words[i]!);
  exact.set(at + 4, classNumber + 1);
}

/** The owner of an address as SECTION_OWNERS has it, or NONE. */
export function ownersOf(sections: Sections, address: Prefix): number {
  const { owners, ownerAt } = ownerPlace(sections, address);
  return owners.at(ownerAt) - 1;
}

export function setOwners(sections: Sections, address: Prefix, owner: number): void {
  const { owners, at, ownerAt } = ownerPlace(sections, address);
  if (owners.at(ownerAt) === 0) {
    for (let i = 0; at + i < ownerAt; i++) owners.set(at + i, address.words[i as 0 | 1 | 2 | 3]);
  }
  owners.set(ownerAt, owner + 1);
}

/** Word offsets of the slot that an address has or would get, and in it of its owner. */
function ownerPlace(
  sections: Sections,
  { version, words }: Prefix,
): { readonly owners: Words; readonly at: number; readonly ownerAt: number } {
  const owners = sections.section(version === 4 ? layout.SECTION_OWNERS : layout.SECTION_OWNERS_6);
  const size = version === 4 ? layout.OWNER_SIZE : layout.OWNER_6_SIZE;
  const ownerWord = size - 1;
  const at = slotOf(owners, size, ownerWord, words, (slot) => owners.at(slot + ownerWord) === 0) * size;
  return { owners, at, ownerAt: at + ownerWord };
}

function slotOf(
  table: Words,
  size: number,
  count: number,
  words: Prefix['words'],
  isFree: (at: number) => boolean,
): number {
  const mask = table.length / size - 1;
  let slot = layout.addressHash(words[0], words[1], words[2], words[3]) & mask;
  for (let steps = 0; steps <= mask / 2; steps++, slot = (slot + 1) & mask) {
    const at = slot * size;
    if (isFree(at)) return slot;
    let isSame = true;
    for (let i = 0; isSame && i < count; i++) isSame = table.at(at + i) === words[i];
    if (isSame) return slot;
  }
  throw new NoRoomError();
}
