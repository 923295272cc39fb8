/**
 * From an address to its class: the trie of IPv4, the hash and the ranges of IPv6 (tables/layout.ts).
 *
 * Both are made from the same segments, sorted with parents before children, each with the class of what no child covers.
 */
import { prefixCovers } from '../base/ip.ts';
import { Words, zeroWords } from '../base/words.ts';
import * as layout from '../tables/layout.ts';
import type { Prefix } from './plan.ts';
import type { PrefixColumns } from './prefix-columns.ts';
import type { Sections } from './sections.ts';

/**
 * SECTION_TRIE_4. Segments come parents first, so each simply paints over what it covers. While painting, an entry >= 0 is an
 * address class and `~offset` a node; `layOutTrie` then writes the form that needs no branch.
 */
export function packTrie(
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
export function packRanges(
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
