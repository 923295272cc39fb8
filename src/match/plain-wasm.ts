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
  const functions = new Map<number, number>();
  const recordBytes = functionSize * (START_BYTES + VALUE_BYTES);
  const addressOf = (ref: number): number => {
    let address = functions.get(ref);
    if (address === undefined) {
      address = space.take(recordBytes);
      functions.set(ref, address);
    }
    return address;
  };
  addressOf(layout.NONE);
  const pairs = Int32Array.from({ length: ends.rowOffsets.length * pairWidth }, (_, i) => {
    const from = ends.rowOffsets[Math.floor(i / pairWidth)]! + (i % pairWidth);
    return addressOf(tables.pairs[from]!);
  });
  if (space.end - at > WASM_BYTES_MAX) return undefined;
  const words = new Uint8Array(space.end - at);
  const ints = new Int32Array(words.buffer);
  pages.roots.forEach((page, high) => {
    ints[(rootAt - at) / 4 + high] = page.at + (page.entries.length > 1 ? 1 : 0);
  });
  for (const page of pages.list) ints.set(page.entries, (page.at - at) / 4);
  ints.set(pairs, (pairsAt - at) / 4);
  for (const [ref, address] of functions) writeFunction(tables, ref, functionSize, words, address - at);
  return { words, rootAt, pairsAt, pairWidth, functionSize };
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
  readonly #packed: Int32Array;

  constructor({ classes4 }: Tables) {
    const rows = new Map<number, number>();
    this.#packed = new Int32Array(classes4.length / CLASS_WORDS);
    for (let i = 0; i < this.#packed.length; i++) {
      const offset = classes4[i * CLASS_WORDS + layout.CLASS_PAIR_ROW]!;
      const column = classes4[i * CLASS_WORDS + layout.CLASS_PAIR_COLUMN]! >> 1;
      let row = rows.get(offset);
      if (row === undefined) {
        row = this.rowOffsets.push(offset) - 1;
        rows.set(offset, row);
      }
      this.columnCount = Math.max(this.columnCount, column + 1);
      this.#packed[i] = (row << 16) | column;
    }
  }

  /** Of the class at this word offset. */
  of(classOffset: number): number {
    return this.#packed[classOffset / CLASS_WORDS]!;
  }
}

interface Page {
  readonly entries: Int32Array;
  at: number;
}

/** The page of each high half, or `undefined` if they would be too large together. */
function pagesOf({ trie4 }: Tables, ends: PackedEnds): { list: Page[]; roots: Page[] } | undefined {
  const list: Page[] = [];
  const whole = new Map<number, Page>();
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
    const middle = root >>> 1;
    if ((root & 1) === 0) {
      const packed = ends.of(trie4[trie4[middle]! >>> 1]!);
      const known = whole.get(packed) ?? page(Int32Array.of(packed));
      whole.set(packed, known);
      roots.push(known);
      continue;
    }
    const entries = new Int32Array(PAGE_ENTRIES);
    for (let third = 0; third < 256; third++) {
      const entry = trie4[middle + third]!;
      const leaf = entry >>> 1;
      if ((entry & 1) === 0) entries.fill(ends.of(trie4[leaf]!), third * 256, third * 256 + 256);
      else for (let i = 0; i < 256; i++) entries[third * 256 + i] = ends.of(trie4[leaf + i]!);
    }
    roots.push(page(entries));
    if (bytes > WASM_BYTES_MAX) return undefined;
  }
  return { list, roots };
}

/** Writes the function `ref`, or for NONE one that leaves every port to the full path. */
function writeFunction({ functions }: Tables, ref: number, size: number, out: Uint8Array, at: number): void {
  const starts = new Uint16Array(out.buffer, at, size).fill(0xffff);
  const values = new Int32Array(out.buffer, at + size * START_BYTES, size);
  if (ref === layout.NONE) {
    starts[0] = 0;
    values.fill(layout.NONE);
    return;
  }
  const from = ref >>> 5;
  const count = 1 << (ref & 31);
  for (let i = 0; i < count; i++) {
    const start = functions[from + i]!;
    if (start !== layout.KEY_UNUSED) starts[i] = start;
    values[i] = functions[from + count + i]!;
  }
  values.fill(values[count - 1]!, count);
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
