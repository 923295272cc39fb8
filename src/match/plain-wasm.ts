/**
 * The loops of match/plain.ts in WebAssembly: the same answers from the same tables, in about half the time.
 *
 * A script pays a comparison of bounds for each read and has no vectors; WebAssembly has neither fault, but one memory, so the hot sections of
 * the tables are copied into it, once for each generation, in a form made for these loops:
 *
 *   root      65 536 words, by the high half of an address: byte address of a page, plus 1 if the page has an entry for each low half
 *   pages     65 536 entries, or one where all addresses are alike: row << 16 | column
 *   pairs     by row, column and protocol: byte address of a function
 *   function  SIZE ports as 16-bit words, ascending, unused ones 65 535; then SIZE values (`step << 2 | STEP_*`, -1 = the full path)
 *
 * All functions have one SIZE, 8 to 64, so that a search is a comparison of the port with every start at once: the number of starts that
 * are at most the port, less one, is the index of the value.
 *
 *   starts  0 | 5432 | 5433 | 65535 …     port 5432: at most  1 1 0 0 …  two, so value 1
 *   values  deny | allow | deny | deny …
 *
 * An unused start counts too for port 65 535; the last value fills up, so the answer is the same. Cost: for 8 starts one load, one
 * comparison, one population count, in place of three dependent loads. Where functions are larger, or the copy would
 * outgrow WASM_BYTES_MAX, or rows or columns 16 bits, there is no such form, and the loops of plain.ts run.
 *
 * Comparing all keys at once is from Zhou and Ross, Implementing database operations using SIMD instructions (SIGMOD 2002).
 */
import * as wasm from '../base/wasm.ts';
import {
  add,
  and,
  br,
  brIf,
  FunctionBody,
  geS,
  i32,
  load,
  load16,
  ltS,
  mul,
  or,
  shl,
  shrU,
  store,
  sub,
  when,
} from '../base/wasm.ts';
import { WASM_BYTES_MAX } from '../model/limits.ts';
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';

const CLASS_WORDS = layout.ADDRESS_CLASS_SIZE;
const ROOT_ENTRIES = 65_536;
const PAGE_ENTRIES = 65_536;
const START_BYTES = 2;
const VALUE_BYTES = 4;
const SIZE_MIN = 8;
const SIZE_MAX = 64;

/** The hot sections in the form above, at addresses of the memory that they are for. */
export interface WasmTables {
  readonly words: Uint8Array;
  readonly rootAt: number;
  readonly pairsAt: number;
  /** Entries of a row of pairs. */
  readonly pairWidth: number;
  readonly functionSize: number;
}

/** Byte addresses of the columns of a batch (PlainRows of match/plain.ts) and of what the judge writes. */
export interface WasmColumns {
  readonly src: number;
  readonly dst: number;
  readonly keys: number;
  readonly bytes: number;
  readonly work: number;
  readonly side: number;
  /** Float64 by step. */
  readonly counts: number;
  /** A word that only keeps the touched ones alive. */
  readonly touched: number;
}

/** `tables` laid out from byte `at` (a multiple of 16) on, or `undefined` if they do not fit this form. */
export function layOutForWasm(tables: Tables, at: number): WasmTables | undefined {
  const functionSize = sizeOfFunctions(tables);
  if (functionSize > SIZE_MAX) return undefined;
  const space = new Space(at);
  const rootAt = space.take(ROOT_ENTRIES * 4);
  const ends = new PackedEnds(tables);
  if (ends.rowOffsets.length > 0xffff || ends.columnCount > 0xffff) return undefined;
  const pairWidth = 2 * ends.columnCount;
  const pages = pagesOf(tables, ends);
  if (pages === undefined) return undefined;
  for (const page of pages.list) page.at = space.take(page.entries.length * 4);
  const pairsAt = space.take(ends.rowOffsets.length * pairWidth * 4);
  const records = new FunctionRecords(tables, functionSize, space);
  const pairs = new Int32Array(ends.rowOffsets.length * pairWidth);
  ends.rowOffsets.forEach((from, row) => {
    for (let i = 0; i < pairWidth; i++) pairs[row * pairWidth + i] = records.addressOf(tables.pairs[from + i]!);
  });
  if (space.end - at > WASM_BYTES_MAX) return undefined;
  const words = new Uint8Array(space.end - at);
  const ints = new Int32Array(words.buffer);
  pages.roots.forEach((page, high) => {
    ints[(rootAt - at) / 4 + high] = page.at + (page.entries.length > 1 ? 1 : 0);
  });
  for (const page of pages.list) ints.set(page.entries, (page.at - at) / 4);
  ints.set(pairs, (pairsAt - at) / 4);
  records.write(words, at);
  return { words, rootAt, pairsAt, pairWidth, functionSize };
}

/** The functions in use and their addresses. */
class FunctionRecords {
  readonly #tables: Tables;
  readonly #size: number;
  readonly #space: Space;
  /** By word offset in SECTION_FUNCTIONS: address, 0 = not in use so far. */
  readonly #addresses: Int32Array;
  readonly #refs: number[] = [];
  readonly #full: number;

  constructor(tables: Tables, size: number, space: Space) {
    this.#tables = tables;
    this.#size = size;
    this.#space = space;
    this.#addresses = new Int32Array(tables.functions.length);
    this.#full = space.take(this.#bytes);
  }

  get #bytes(): number {
    return this.#size * (START_BYTES + VALUE_BYTES);
  }

  /** Of the function `ref`; for NONE that of one that leaves every port to the full path. */
  addressOf(ref: number): number {
    if (ref < 0) return this.#full;
    const known = this.#addresses[ref >>> 5]!;
    if (known !== 0) return known;
    this.#refs.push(ref);
    const address = this.#space.take(this.#bytes);
    this.#addresses[ref >>> 5] = address;
    return address;
  }

  /** Writes all records into `out`, which starts at address `base`. */
  write(out: Uint8Array, base: number): void {
    const { functions } = this.#tables;
    const size = this.#size;
    const shorts = new Uint16Array(out.buffer);
    const ints = new Int32Array(out.buffer);
    const full = (this.#full - base) / VALUE_BYTES + size / 2;
    ints.fill(layout.NONE, full, full + size);
    for (const ref of this.#refs) {
      const address = this.#addresses[ref >>> 5]! - base;
      const startsAt = address / START_BYTES;
      const valuesAt = address / VALUE_BYTES + size / 2;
      const from = ref >>> 5;
      const count = 1 << (ref & 31);
      for (let i = 0; i < size; i++) {
        const start = i < count ? functions[from + i]! : layout.KEY_UNUSED;
        shorts[startsAt + i] = start === layout.KEY_UNUSED ? 0xffff : start;
        ints[valuesAt + i] = functions[from + count + Math.min(i, count - 1)]!;
      }
    }
  }
}

/** Smallest power of two from SIZE_MIN on that holds every function of a pair. */
function sizeOfFunctions({ pairs }: Tables): number {
  let depth = Math.log2(SIZE_MIN);
  for (let i = 0; i < pairs.length; i++) {
    const ref = pairs[i]!;
    if (ref >= 0 && (ref & 31) > depth) depth = ref & 31;
  }
  return 1 << depth;
}

/** Addresses handed out one behind the other, each a multiple of 16. */
class Space {
  end: number;

  constructor(at: number) {
    this.end = at;
  }

  take(bytes: number): number {
    const at = this.end;
    this.end += (bytes + 15) & ~15;
    return at;
  }
}

/** Row and column of each address class as `row << 16 | column`; rows are numbered as they come. */
class PackedEnds {
  /** Of each row: its word offset in SECTION_PAIRS. */
  readonly rowOffsets: number[] = [];
  columnCount = 1;
  /** By word offset of the class, as the trie has it. */
  readonly packed: Int32Array;

  constructor({ classes4 }: Tables) {
    const rows = new Map<number, number>();
    this.packed = new Int32Array(classes4.length);
    for (let at = 0; at < classes4.length; at += CLASS_WORDS) {
      const offset = classes4[at + layout.CLASS_PAIR_ROW]!;
      const column = classes4[at + layout.CLASS_PAIR_COLUMN]! >> 1;
      let row = rows.get(offset);
      if (row === undefined) {
        row = this.rowOffsets.push(offset) - 1;
        rows.set(offset, row);
      }
      this.columnCount = Math.max(this.columnCount, column + 1);
      this.packed[at] = (row << 16) | column;
    }
  }
}

interface Page {
  readonly entries: Int32Array;
  at: number;
}

/** The page of each high half, or `undefined` if they would be too large together. */
function pagesOf({ trie4 }: Tables, { packed }: PackedEnds): { list: Page[]; roots: Page[] } | undefined {
  const list: Page[] = [];
  /** The page of one entry by what it says; neighbours mostly say the same. */
  const whole = new Map<number, Page>();
  let last: Page | undefined;
  let bytes = 0;
  const page = (entries: Int32Array): Page => {
    const made = { entries, at: 0 };
    list.push(made);
    bytes += entries.byteLength;
    return made;
  };
  const roots: Page[] = [];
  for (let high = 0; high < ROOT_ENTRIES; high++) {
    const root = trie4[high]!;
    if ((root & 1) === 1) {
      roots.push(page(pageEntries(trie4, packed, root >>> 1)));
      if (bytes > WASM_BYTES_MAX) return undefined;
      continue;
    }
    const only = packed[trie4[trie4[root >>> 1]! >>> 1]!]!;
    if (last?.entries[0] !== only) {
      last = whole.get(only) ?? page(Int32Array.of(only));
      whole.set(only, last);
    }
    roots.push(last!);
  }
  return { list, roots };
}

/** What the 65 536 addresses below the trie's node `middle` say. */
function pageEntries(trie: Int32Array, packed: Int32Array, middle: number): Int32Array {
  const entries = new Int32Array(PAGE_ENTRIES);
  for (let third = 0; third < 256; third++) {
    const entry = trie[middle + third]!;
    const leaf = entry >>> 1;
    const at = third * 256;
    if ((entry & 1) === 0) entries.fill(packed[trie[leaf]!]!, at, at + 256);
    else for (let i = 0; i < 256; i++) entries[at + i] = packed[trie[leaf + i]!]!;
  }
  return entries;
}

/**
 * The function `judge(count): sideCount`, which does for the first `count` rows what plain.ts's aim, touch, search and tally do.
 * `packetUnit` is what a packet adds to its step's count beside its bytes.
 */
export function judgeFunction(tables: WasmTables, columns: WasmColumns, packetUnit: number): FunctionBody {
  const f = new FunctionBody('judge', 1, true);
  const [count] = f.parameters as [wasm.Local];
  /** Byte offset of the row in its column; `end` is that of the first row behind the last. */
  const [row, end, address, entry, value, sideCount] = [
    f.local(),
    f.local(),
    f.local(),
    f.local(),
    f.local(),
    f.local(),
  ];
  const dead = f.local();
  const starts = f.local(wasm.V128);
  const each = (...body: wasm.Code[]): wasm.Code => [
    ...row.set(i32(0)),
    ...wasm.block(wasm.loop(brIf(1, geS(row.get, end.get)), ...body, row.set(add(row.get, i32(4))), br(0))),
  ];
  /** Address of the page's entry for the address in `address`. */
  const pageEntry = (): wasm.Code => [
    ...entry.set(load(shl(shrU(address.get, i32(16)), i32(2)), tables.rootAt)),
    ...add(
      and(entry.get, i32(~3)),
      shl(and(and(address.get, i32(0xffff)), sub(i32(0), and(entry.get, i32(1)))), i32(2)),
    ),
  ];
  const column = [...address.set(load(row.get, columns.src)), ...load16(pageEntry())];
  const rowNumber = [...address.set(load(row.get, columns.dst)), ...load16(pageEntry(), 2)];
  const udp = shrU(load(row.get, columns.keys), i32(16));
  const pair = add(add(mul(rowNumber, i32(tables.pairWidth)), shl(column, i32(1))), udp);
  const port = and(load(row.get, columns.keys), i32(0xffff));
  const aim = each(store(row.get, load(shl(pair, i32(2)), tables.pairsAt), columns.work));
  const touch = each(dead.set(add(dead.get, load16(load(row.get, columns.work)))));
  const tally = each(
    address.set(load(row.get, columns.work)),
    starts.set(wasm.splat16(port)),
    value.set(
      load(
        add(address.get, shl(startsAtMost(tables.functionSize, address, starts.get), i32(2))),
        tables.functionSize * START_BYTES - VALUE_BYTES,
      ),
    ),
    store(row.get, value.get, columns.work),
    when(
      ltS(value.get, i32(0)),
      [
        ...store(shl(sideCount.get, i32(2)), shrU(row.get, i32(2)), columns.side),
        ...sideCount.set(add(sideCount.get, i32(1))),
      ],
      [
        ...address.set(shl(and(value.get, i32(~3)), i32(1))),
        ...wasm.addToFloat(address, load(row.get, columns.bytes), packetUnit, columns.counts),
      ],
    ),
  );
  f.code = [
    ...end.set(shl(count.get, i32(2))),
    ...aim,
    ...touch,
    ...store(i32(0), dead.get, columns.touched),
    ...tally,
    ...sideCount.get,
  ];
  return f;
}

/** How many of the `size` starts at `record` are at most the port in all lanes of `port`. */
function startsAtMost(size: number, record: wasm.Local, port: wasm.Code): wasm.Code {
  const lanes = (i: number): wasm.Code => wasm.atMost16(wasm.loadVector(record.get, i * 16), port);
  if (size === 8) return wasm.popcnt(wasm.signs16(lanes(0)));
  const sixteen = (i: number): wasm.Code => wasm.signs8(wasm.narrow16(lanes(2 * i), lanes(2 * i + 1)));
  if (size === 16) return wasm.popcnt(sixteen(0));
  const thirtyTwo = (i: number): wasm.Code => wasm.popcnt(or(sixteen(2 * i), shl(sixteen(2 * i + 1), i32(16))));
  return size === 32 ? thirtyTwo(0) : add(thirtyTwo(0), thirtyTwo(1));
}
