/**
 * Pairs: both checks of a packet folded into one port function, found by one load.
 *
 * A packet between two address classes meets at most two checks, egress of its source and ingress of its destination, and each is
 * a port function already (fold.ts). What they say together is again a function of the key: the egress step where egress denies or where no
 * ingress check runs, else the ingress step. So the packet path needs no more than the number of that function:
 *
 *   PAIRS[row of the destination + column of the source] ──► port function ──search for the key──► step that decides
 *
 * A **column** is a way to be a source: the egress policy class, and what ingress policies can tell of the address. A **row** is a way to be a
 * destination, the other way round. Two peer classes that all policy classes of a direction answer alike share it: a thousand kinds
 * of client that only ever send are one row, since every egress function takes them for the same.
 *
 *                     column: other   client   monitor
 *   row: other            any->0      any->0   any->0         0: no check, 7: the database's profile …
 *   row: database         [deny 41]   [5432 -> allow 40, else deny 41]   [9187 -> allow 38, else deny 41]
 *
 * Row 0 and column 0 belong to the addresses that need the full path (host endpoints, service and shared addresses), and hold NONE,
 * as does a pair of which one function is not folded (source ports). NONE sends a packet to match/judge.ts. A pair has a function of the port for
 * TCP and one for UDP, the protocols of plain packets (wire/plain.ts): searches are shorter, and the functions for UDP, where few rules
 * differ, are few and stay in the cache.
 *
 * Alike is found by partition refinement (alike-peers.ts), at the cost of what differs. Rows x columns are to be filled, by one load, one
 * table look-up and one store each. With more pairs than PAIRS_MAX there are none, and packets take the policy classes' own functions
 * one by one (match/folded.ts), two searches and no batches.
 *
 * Rejected: one row for each policy class and one search for each direction: two maps, two refs and two searches a packet. The cross
 * product of classes is Gupta and McKeown's recursive flow classification (SIGCOMM 1999).
 */
import { WordInterner } from '../base/word-interner.ts';
import { NoRoomError, zeroWords } from '../base/words.ts';
import { PAIR_FUNCTION_WORDS_MAX, PAIRS_MAX } from '../model/limits.ts';
import * as layout from '../tables/layout.ts';
import { alikePeers } from './alike-peers.ts';
import { PairFunctions, RefReader } from './pair-functions.ts';
import type { Sections } from './sections.ts';

const CLASS_WORDS = layout.ADDRESS_CLASS_SIZE;
const POLICY_CLASS_WORDS = layout.POLICY_CLASS_SIZE;

/** TCP and UDP: slots 0 and 1 of keys. */
const PLAIN_PROTOCOLS = 2;

/**
 * Writes SECTION_PAIRS and the words of the address classes that point there. Call after the address classes of both versions.
 *
 * @param room  for tables that are repacked: how many rows and columns may come
 */
export function packPairs(sections: Sections, room = 0): readonly PairTable[] {
  const pairs = sections.section(layout.SECTION_PAIRS);
  const versions = [layout.SECTION_CLASSES_4, layout.SECTION_CLASSES_6].map(
    (section) => new PairTable(sections, section, room),
  );
  const columnsMax = Math.max(...versions.map(({ columnCount }) => columnCount));
  pairs.append(new Int32Array(PLAIN_PROTOCOLS * columnsMax).fill(layout.NONE));
  for (const table of versions) table.write();
  return versions;
}

/** Who shares a row or a column: number by address class, and an address class that stands for each number. */
export interface Sharing {
  /** By address class; 0 = needs the full path. */
  readonly numbers: Int32Array;
  /** By number: the policy class of the own direction, and a peer class. */
  readonly policyClasses: number[];
  readonly peers: number[];
  /** Numbers by policy class and kind of peer (`sharingKey`), and what policy classes and peers stand for themselves there. */
  readonly known: Map<number, number>;
  readonly same: Int32Array;
  readonly alike: Int32Array;
}

const SHARING_KEYS = 2 ** 26;

function sharingKey(policyClass: number, peer: number): number {
  return policyClass * SHARING_KEYS + peer;
}

export class PairTable {
  readonly #sections: Sections;
  readonly #section: number;
  readonly #columns: Sharing;
  readonly #rows: Sharing;
  readonly #room: number;
  /** Where row 1 begins; undefined = there are no pairs. */
  #firstRow: number | undefined;
  #functions: PairFunctions | undefined;
  #width: number | undefined;

  /** `section` is SECTION_CLASSES_4 or _6. */
  constructor(sections: Sections, section: number, room: number) {
    this.#room = room;
    this.#sections = sections;
    this.#section = section;
    const classes = sections.section(section).view();
    const same = samePolicyClasses(sections);
    const count = layout.peerClassCount(classes);
    const used = (word: number): number[] => policyClassesOf(classes, word, same);
    this.#columns = share(classes, layout.CLASS_EGRESS, same, alikePeers(sections, count, used(layout.CLASS_INGRESS)));
    this.#rows = share(classes, layout.CLASS_INGRESS, same, alikePeers(sections, count, used(layout.CLASS_EGRESS)));
  }

  /** Column 0 included. */
  get columnCount(): number {
    return this.#columns.peers.length + this.#room;
  }

  /** For `LivePairs`: undefined where there are no pairs. */
  get live() {
    if (this.#firstRow === undefined || this.#functions === undefined) return undefined;
    return {
      firstRow: this.#firstRow,
      rowWords: PLAIN_PROTOCOLS * (this.#width ?? 0),
      rows: this.#rows,
      columns: this.#columns,
      functions: this.#functions,
    };
  }

  write(): void {
    const pairs = this.#sections.section(layout.SECTION_PAIRS);
    const isTooLarge = (this.#rows.peers.length + this.#room) * this.columnCount > PAIRS_MAX;
    const filled = isTooLarge ? undefined : this.#fill();
    const width = PLAIN_PROTOCOLS * this.columnCount;
    const base = filled === undefined ? 0 : pairs.append(filled) - width;
    if (filled !== undefined) this.#firstRow = base + width;
    this.#width = this.columnCount;
    const classes = this.#sections.section(this.#section);
    for (let i = 0; i < this.#rows.numbers.length; i++) {
      const [row, column] = [this.#rows.numbers[i]!, this.#columns.numbers[i]!];
      const isFilled = filled !== undefined && row > 0;
      classes.set(i * CLASS_WORDS + layout.CLASS_PAIR_ROW, isFilled ? base + row * width : 0);
      classes.set(i * CLASS_WORDS + layout.CLASS_PAIR_COLUMN, isFilled ? column * PLAIN_PROTOCOLS : 0);
    }
  }

  /** Rows 1 and up, or `undefined` if their functions outgrow the budget. */
  #fill(): Int32Array | undefined {
    const width = this.columnCount;
    const rowCount = this.#rows.peers.length;
    const columnCount = this.#columns.peers.length;
    const filled = zeroWords((rowCount - 1 + this.#room) * width * PLAIN_PROTOCOLS).fill(layout.NONE);
    const egress = new RefReader(this.#sections, this.#columns.policyClasses);
    const ingress = new RefReader(this.#sections, this.#rows.policyClasses);
    const functions = new PairFunctions(this.#sections, egress.refs, ingress.refs);
    this.#functions = functions;
    for (let row = 1; row < rowCount; row++) {
      const rowPeer = this.#rows.peers[row]!;
      const at = (row - 1) * width;
      for (let column = 1; column < columnCount; column++) {
        const out = egress.id(column, rowPeer);
        const into = ingress.id(row, this.#columns.peers[column]!);
        const pair = functions.both(out, into);
        filled[PLAIN_PROTOCOLS * (at + column)] = functions.tcp[pair]!;
        filled[PLAIN_PROTOCOLS * (at + column) + 1] = functions.udp[pair]!;
      }
      if (functions.words > PAIR_FUNCTION_WORDS_MAX) return undefined;
    }
    return filled;
  }
}

/** By policy class: the first one with the same functions. Chains that differ in profiles alone (accounts of one namespace) often have them. */
function samePolicyClasses(sections: Sections): Int32Array {
  const policy = sections.section(layout.SECTION_POLICY_CLASSES).view();
  const refs = sections.section(layout.SECTION_FUNCTION_REFS).view();
  const known = new WordInterner();
  const firsts: number[] = [];
  return Int32Array.from({ length: policy.length / POLICY_CLASS_WORDS }, (_, policyClass) => {
    const at = policyClass * POLICY_CLASS_WORDS;
    const first = policy[at + layout.POLICY_CLASS_REFS]!;
    const columns = policy[at + layout.POLICY_CLASS_COLUMNS]!;
    const words = zeroWords(columns + 1);
    words.set(refs.subarray(first, first + columns));
    words[columns] = policy[at + layout.POLICY_CLASS_MAP]!;
    const number = known.number(words);
    if (number === firsts.length) firsts.push(policyClass);
    return firsts[number]!;
  });
}

/** The different policy classes that occur in `word` of the address classes, ascending. */
function policyClassesOf(classes: Int32Array, word: number, same: Int32Array): number[] {
  const seen = new Set<number>();
  for (let at = 0; at < classes.length; at += CLASS_WORDS) seen.add(same[classes[at + word]!]!);
  return [...seen].sort((a, b) => a - b);
}

/** Numbers from 1 for each (policy class in `word`, kind of peer) that occurs where the full path is not needed. */
function share(classes: Int32Array, word: number, same: Int32Array, alike: Int32Array): Sharing {
  const numbers = zeroWords(classes.length / CLASS_WORDS);
  const policyClasses = [0];
  const peers = [0];
  const known = new Map<number, number>();
  for (let i = 0; i < numbers.length; i++) {
    const at = i * CLASS_WORDS;
    if ((classes[at + layout.CLASS_FLAGS]! & layout.CLASS_NEEDS_PATH) !== 0) continue;
    const policyClass = same[classes[at + word]!]!;
    const peer = alike[classes[at + layout.CLASS_PEER]!]!;
    const key = sharingKey(policyClass, peer);
    let number = known.get(key);
    if (number === undefined) {
      number = peers.length;
      known.set(key, number);
      policyClasses.push(policyClass);
      peers.push(peer);
    }
    numbers[i] = number;
  }
  return { numbers, policyClasses, peers, known, same, alike };
}

function keyIn({ same, alike }: Sharing, policyClass: number, peer: number): number {
  return sharingKey(same[policyClass] ?? policyClass, alike[peer] ?? peer);
}

/** How often each number occurs. */
function usesOf(numbers: Int32Array): number[] {
  const uses: number[] = [];
  for (const number of numbers) uses[number] = (uses[number] ?? 0) + 1;
  uses[0] ??= 0;
  return uses;
}

/**
 * Rows and columns that come while packets run, in the room behind those of a `PairTable`.
 *
 * A way to be a source that was not there before gets a column of its own, and a way to be a destination a row. Classes that share a row
 * or column do so because all policy classes answer them alike; of one that comes later this has to be seen first.
 */
export class LivePairs {
  readonly #sections: Sections;
  readonly #table: NonNullable<PairTable['live']>;
  readonly #room: { rows: number; columns: number };
  readonly #merged = new Map<number, Map<number, number>>();
  /** Policy classes that answer alike whoever shares a row, or a column. */
  readonly #seen = { rows: new Set<number>(), columns: new Set<number>() };
  /** By address class its row and column, by row and column how many address classes are there, and those that came and are free again. */
  readonly #placed: { readonly rows: number[]; readonly columns: number[] };
  readonly #uses: { readonly rows: number[]; readonly columns: number[] };
  readonly #free = { rows: [] as number[], columns: [] as number[] };
  readonly #kept: { readonly rows: number; readonly columns: number };

  constructor(sections: Sections, table: NonNullable<PairTable['live']>, room: number) {
    this.#sections = sections;
    this.#table = table;
    this.#room = { rows: room, columns: room };
    this.#placed = { rows: [...table.rows.numbers], columns: [...table.columns.numbers] };
    this.#uses = { rows: usesOf(table.rows.numbers), columns: usesOf(table.columns.numbers) };
    this.#kept = { rows: table.rows.peers.length, columns: table.columns.peers.length };
    for (const policyClass of table.columns.policyClasses) this.#seen.rows.add(policyClass);
    for (const policyClass of table.rows.policyClasses) this.#seen.columns.add(policyClass);
  }

  /** The words CLASS_PAIR_ROW and CLASS_PAIR_COLUMN of address class `number`. Throws `NoRoomError`. */
  placesOf(number: number, peer: number, egress: number, ingress: number): [row: number, column: number] {
    const column = this.#numberOf(this.#table.columns, egress, peer, 'columns');
    this.#place(number, column, 'columns');
    const row = this.#numberOf(this.#table.rows, ingress, peer, 'rows');
    this.#place(number, row, 'rows');
    const { firstRow, rowWords } = this.#table;
    return [firstRow + (row - 1) * rowWords, column * PLAIN_PROTOCOLS];
  }

  /** A peer class is given up: what is known of it must not pass for what comes under its number. */
  forget(peer: number): void {
    for (const what of ['rows', 'columns'] as const) {
      const sharing = this.#table[what];
      for (let number = this.#kept[what]; number < sharing.peers.length; number++) {
        if (sharing.peers[number] === peer) sharing.known.delete(keyIn(sharing, sharing.policyClasses[number]!, peer));
      }
    }
  }

  /**
   * Notes where an address class is. A row or column that nobody is at any more is kept for who comes back, until there is no room for others. Then
   * it can be written anew at once: whoever still reads it does so in another buffer.
   */
  #place(addressClass: number, number: number, what: 'rows' | 'columns'): void {
    const uses = this.#uses[what];
    const old = this.#placed[what][addressClass] ?? 0;
    if (old === number) return;
    this.#placed[what][addressClass] = number;
    uses[number] = (uses[number] ?? 0) + 1;
    uses[old]!--;
    if (uses[old] === 0 && old >= this.#kept[what]) this.#free[what].push(old);
  }

  /** A number for a new row or column. */
  #take(what: 'rows' | 'columns'): number {
    const sharing = this.#table[what];
    if (this.#room[what] > 0) {
      this.#room[what]--;
      return sharing.peers.length;
    }
    for (;;) {
      const number = this.#free[what].shift();
      if (number === undefined) throw new NoRoomError();
      if (this.#uses[what][number] !== 0) continue;
      const key = keyIn(sharing, sharing.policyClasses[number]!, sharing.peers[number]!);
      if (sharing.known.get(key) === number) sharing.known.delete(key);
      return number;
    }
  }

  #numberOf(sharing: Sharing, policyClass: number, peer: number, what: 'rows' | 'columns'): number {
    const known = sharing.known.get(keyIn(sharing, policyClass, peer));
    if (known !== undefined) return known;
    const number = this.#take(what);
    sharing.peers[number] = peer;
    sharing.policyClasses[number] = policyClass;
    sharing.known.set(keyIn(sharing, policyClass, peer), number);
    if (what === 'columns') {
      this.#see(policyClass, this.#table.rows, this.#seen.rows);
      for (let row = 1; row < this.#table.rows.peers.length; row++) this.#fill(row, number);
    } else {
      this.#see(policyClass, this.#table.columns, this.#seen.columns);
      for (let column = 1; column < this.#table.columns.peers.length; column++) this.#fill(number, column);
    }
    return number;
  }

  /** Sees to it that `policyClass` answers alike whoever shares a number of `sharing`. */
  #see(policyClass: number, { alike }: Sharing, seen: Set<number>): void {
    if (seen.has(policyClass)) return;
    for (let peer = 0; peer < alike.length; peer++) {
      if (alike[peer] !== peer && this.#answer(policyClass, peer) !== this.#answer(policyClass, alike[peer]!))
        throw new NoRoomError();
    }
    seen.add(policyClass);
  }

  #fill(row: number, column: number): void {
    const { rows, columns, firstRow, rowWords, functions } = this.#table;
    const out = this.#answer(columns.policyClasses[column]!, rows.peers[row]!);
    const into = this.#answer(rows.policyClasses[row]!, columns.peers[column]!);
    let byIngress = this.#merged.get(out);
    if (byIngress === undefined) {
      byIngress = new Map();
      this.#merged.set(out, byIngress);
    }
    let pair = byIngress.get(into);
    if (pair === undefined) {
      pair = functions.mergeRefs(out, into);
      byIngress.set(into, pair);
    }
    const pairs = this.#sections.section(layout.SECTION_PAIRS);
    const at = firstRow + (row - 1) * rowWords + column * PLAIN_PROTOCOLS;
    pairs.set(at, functions.tcp[pair]!);
    pairs.set(at + 1, functions.udp[pair]!);
  }

  /** The ref of the function that a policy class has for a peer class. */
  #answer(policyClass: number, peer: number): number {
    const policy = this.#sections.section(layout.SECTION_POLICY_CLASSES);
    const at = policyClass * POLICY_CLASS_WORDS;
    const maps = this.#sections.section(layout.SECTION_CLASS_MAPS).room;
    const row = layout.mappedRow(maps, policy.at(at + layout.POLICY_CLASS_MAP), peer);
    return this.#sections.section(layout.SECTION_FUNCTION_REFS).at(policy.at(at + layout.POLICY_CLASS_REFS) + row);
  }
}
