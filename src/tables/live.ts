/**
 * Addresses that change their owner in tables that are in use.
 *
 * What a packet learns of an address comes from two places: the class that the trie (IPv4) or the hash of exact addresses (IPv6) leads to,
 * and the list of those who own it. Everything else is compiled for every class and every owner that can occur, so a change of
 * owner is two stores of an int32 each, seen by every thread that shares the buffer:
 *
 *   TRIE_4 leaf of 10.0.0.5     class 12  ──►  class 7
 *   OWNERS slot of 10.0.0.5     list 480  ──►  list 512
 *
 * The stores are not one: a thread may meet the new class with the old owners for some nanoseconds, which shows in the names of a record, while
 * the class alone decides on the fast path. Within one thread, changes come between packets.
 *
 * `OwnerTimeline` plays the changes of a capture's time. Packets are not always in order of time, so it goes back as well: each change
 * knows what was before.
 *
 * The checksum of the buffer is that of its state when it was published: open it (`openTables`) before the first change. Threads that stand at
 * different times of a timeline need a copy each.
 */
import { check } from './check.ts';
import * as layout from './layout.ts';
import type { Tables } from './tables.ts';

/** Changes by time. */
export interface TimelineData {
  /** Milliseconds since 1970, ascending. */
  readonly times: Float64Array;
  /** CHANGE_SIZE words a change, in the same order. */
  readonly changes: Int32Array;
}

export const CHANGE_SIZE = 9;
/** 4 or 6 */
const CHANGE_VERSION = 0;
const CHANGE_ADDRESS = 1;
/** Number of an address class of the version, then an owner as in SECTION_OWNERS. */
export const CHANGE_BEFORE = 5;
export const CHANGE_AFTER = 7;

/**
 * Gives the address whose four words start at `words[at]` another class and other owners. The tables must have been compiled with the
 * address as a whole one (it had an owner there, at some time); throws an `InvariantError` otherwise.
 *
 * @param classNumber  address class of its version
 * @param newOwner  as in SECTION_OWNERS
 */
export function setAddressOwner(
  tables: Tables,
  version: number,
  words: Int32Array,
  at: number,
  classNumber: number,
  newOwner: number,
  onStore?: OnStore,
): void {
  const owner = version === 4 ? ownerWord4(tables.owners, words[at]!) : ownerWord6(tables.owners6, words, at);
  check(owner >= 0, 'an address that changes its owner has no place among the owners');
  if (version === 4) {
    const leaf = leafOf4(tables.trie4, words[at]!);
    check(leaf >= 0, 'an address that changes its owner has no place of its own in the trie');
    tables.trie4[leaf] = classNumber * layout.ADDRESS_CLASS_SIZE;
    onStore?.(tables.starts[layout.SECTION_TRIE_4]! + leaf, 1);
  } else {
    const slot = exactSlot(tables.exact6, words, at);
    check(slot >= 0, 'an address that changes its owner has no place among the exact addresses');
    tables.exact6[slot + 4] = classNumber + 1;
    onStore?.(tables.starts[layout.SECTION_EXACT_6]! + slot + 4, 1);
  }
  (version === 4 ? tables.owners : tables.owners6)[owner] = newOwner + 1;
  onStore?.(tables.starts[version === 4 ? layout.SECTION_OWNERS : layout.SECTION_OWNERS_6]! + owner, 1);
}

/** Called after each store, with the words of the buffer that changed: for who keeps a copy of it in step. */
export type OnStore = (firstWord: number, words: number) => void;

/** Index in `trie` of the leaf of one address, or -1 if it shares its leaf with others. */
export function leafOf4(trie: Int32Array, address: number): number {
  const root = trie[address >>> 16]!;
  if ((root & 1) === 0) return -1;
  const middle = trie[(root >>> 1) + ((address >>> 8) & 255)]!;
  return (middle & 1) === 0 ? -1 : (middle >>> 1) + (address & 255);
}

function exactSlot(exact: Int32Array, words: Int32Array, from: number): number {
  const mask = exact.length / layout.EXACT_SIZE - 1;
  for (let slot = hashAt(words, from) & mask; ; slot = (slot + 1) & mask) {
    const at = slot * layout.EXACT_SIZE;
    if (exact[at + 4] === 0) return -1;
    if (isSame(exact, at, words, from)) return at;
  }
}

/** Index in `owners` of the word that says who owns an address, or -1 if it has no slot. */
function ownerWord4(owners: Int32Array, address: number): number {
  const mask = owners.length / layout.OWNER_SIZE - 1;
  for (let slot = layout.addressHash(address, 0, 0, 0) & mask; ; slot = (slot + 1) & mask) {
    const at = slot * layout.OWNER_SIZE;
    if (owners[at + layout.OWNER_OWNER] === 0) return -1;
    if (owners[at + layout.OWNER_ADDRESS] === address) return at + layout.OWNER_OWNER;
  }
}

function ownerWord6(owners: Int32Array, words: Int32Array, from: number): number {
  const mask = owners.length / layout.OWNER_6_SIZE - 1;
  for (let slot = hashAt(words, from) & mask; ; slot = (slot + 1) & mask) {
    const at = slot * layout.OWNER_6_SIZE;
    if (owners[at + layout.OWNER_6_OWNER] === 0) return -1;
    if (isSame(owners, at, words, from)) return at + layout.OWNER_6_OWNER;
  }
}

function hashAt(words: Int32Array, at: number): number {
  return layout.addressHash(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
}

function isSame(a: Int32Array, aAt: number, b: Int32Array, bAt: number): boolean {
  for (let i = 0; i < 4; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}

/* ---- tables that change while they are in use ---- */

/** What a change needs: classes and owner lists of each address that may change, and room for pods that come. */
export interface LiveData {
  /** LIVE_SIZE words an address. */
  readonly addresses: Int32Array;
  /** The owner that is nobody, as in SECTION_OWNERS: an empty list, since the address keeps its slot. */
  readonly nobody: number;
  /** By endpoint: the owner that it is alone. */
  readonly lists: Int32Array;
  /** SPARE_SIZE words for each endpoint that is nobody yet. */
  readonly spares: Int32Array;
}

export const LIVE_SIZE = 10;
/** Version and address words, as in CHANGE_VERSION and CHANGE_ADDRESS. */
export const LIVE_VERSION = 0;
export const LIVE_ADDRESS = 1;
/** Address classes while nobody owns it, while that is in doubt, and as it was compiled. */
export const LIVE_VACANT = 5;
export const LIVE_DOUBT = 6;
export const LIVE_OWNED = 7;
/** As it was compiled: its owner, and the endpoint if that is one alone; NONE = nobody owned it. */
export const LIVE_LIST = 8;
export const LIVE_ENDPOINT = 9;

export const SPARE_SIZE = 3;
const SPARE_ENDPOINT = 0;
/** String indexes, each with room for SPARE_STRING_BYTES. */
const SPARE_KEY = 1;
const SPARE_UID = 2;
/** `wep:` and a namespace and name of the longest kind. */
export const SPARE_STRING_BYTES = 4 + 63 + 1 + 253;

/** Makes spare number `spare` an endpoint like `model`, of the same template, under its own key and UID. Each spare is used once. */
export function fillSpare(
  tables: Tables,
  { spares }: LiveData,
  spare: number,
  model: number,
  names: { readonly key: string; readonly uid: string },
  onStore?: OnStore,
): number {
  const at = spare * SPARE_SIZE;
  const endpoint = spares[at + SPARE_ENDPOINT]!;
  const size = layout.ENDPOINT_SIZE;
  tables.endpoints.copyWithin(endpoint * size, model * size, (model + 1) * size);
  for (const [word, index, text] of [
    [layout.ENDPOINT_KEY, spares[at + SPARE_KEY]!, names.key],
    [layout.ENDPOINT_UID, spares[at + SPARE_UID]!, names.uid],
  ] as const) {
    writeString(tables, index, text, onStore);
    tables.endpoints[endpoint * size + word] = index;
  }
  onStore?.(tables.starts[layout.SECTION_ENDPOINTS]! + endpoint * size, size);
  return endpoint;
}

function writeString(tables: Tables, index: number, text: string, onStore?: OnStore): void {
  const bytes = new TextEncoder().encode(text);
  check(bytes.length <= SPARE_STRING_BYTES, 'a name that is longer than any');
  const at = tables.starts[layout.SECTION_STRINGS]! + index * 2;
  const first = tables.starts[layout.SECTION_STRING_BYTES]!;
  const offset = tables.words[at + layout.STRING_OFFSET_BYTES]!;
  new Uint8Array(tables.buffer, tables.words.byteOffset + first * 4 + offset, bytes.length).set(bytes);
  tables.words[at + layout.STRING_LENGTH_BYTES] = bytes.length;
  onStore?.(first + (offset >> 2), Math.ceil(((offset & 3) + bytes.length) / 4));
  onStore?.(at + layout.STRING_LENGTH_BYTES, 1);
}

/** Called with each change that was played: the version, and where the address's words lie. */
export type OnChange = (version: number, words: Int32Array, at: number) => void;

/** Tables at one moment of their timeline; they start before its first change. */
export class OwnerTimeline {
  /** The moment of the next change, and of the last one played; infinite at the ends. */
  nextMs: number;
  lastMs = Number.NEGATIVE_INFINITY;
  readonly #tables: Tables;
  readonly #data: TimelineData;
  #played = 0;

  constructor(tables: Tables, data: TimelineData) {
    this.#tables = tables;
    this.#data = data;
    this.nextMs = data.times[0] ?? Number.POSITIVE_INFINITY;
  }

  /** True if something changes between the moments, both included, or would have to be played for them. */
  isBusy(fromMs: number, toMs: number): boolean {
    return toMs >= this.nextMs || fromMs < this.lastMs;
  }

  /** Plays what changes up to and at `ms`, or takes back what changed after it. */
  moveTo(ms: number, onChange: OnChange): void {
    const { times } = this.#data;
    while (this.#played < times.length && times[this.#played]! <= ms)
      this.#play(this.#played++, CHANGE_AFTER, onChange);
    while (this.#played > 0 && times[this.#played - 1]! > ms) this.#play(--this.#played, CHANGE_BEFORE, onChange);
    this.nextMs = times[this.#played] ?? Number.POSITIVE_INFINITY;
    this.lastMs = times[this.#played - 1] ?? Number.NEGATIVE_INFINITY;
  }

  #play(index: number, state: number, onChange: OnChange): void {
    const { changes } = this.#data;
    const at = index * CHANGE_SIZE;
    const version = changes[at + CHANGE_VERSION]!;
    setAddressOwner(
      this.#tables,
      version,
      changes,
      at + CHANGE_ADDRESS,
      changes[at + state]!,
      changes[at + state + 1]!,
    );
    onChange(version, changes, at + CHANGE_ADDRESS);
  }
}
