/** Who owns which exact address: the hashes that `findOwner` of match/lookup.ts looks into. */
import { zeroWords } from '../base/words.ts';
import * as layout from '../tables/layout.ts';
import { type Owner, type Owners, ownerList, podAlone } from './owners.ts';
import type { Prefix } from './plan.ts';
import type { Sections } from './sections.ts';

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
