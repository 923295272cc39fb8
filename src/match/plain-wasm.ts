/**
 * The loops of match/plain.ts in WebAssembly: the same answers from the same tables, in about half the time.
 *
 * A script pays a comparison of bounds for each read and has no vectors; WebAssembly has neither fault, but one memory, so the hot sections of
 * the tables are copied into it, once for each generation, in a form made for these loops:
 *
 *   root      65 536 words, by the high half of an address: byte address of a page, plus 1 if the page has an entry for each low half
 *   pages     65 536 numbers of 16 bits, or one where all addresses are alike
 *   pairs     by row, column and protocol: number of a function, in 16 bits where they are that few
 *   function  SIZE ports as 16-bit words, ascending, unused ones 65 535; then SIZE steps, all ones = the full path, in 16 bits where
 *             they are that few: a function of 8 ports is then half a line of the cache, and never lies in two
 *
 * There are two roots, one that leads to columns for sources and one that leads to rows for destinations: sources come from everywhere and
 * destinations are few, so the pages of sources take half the cache that pages of both would take.
 *
 * All functions have one SIZE, 8 to 64, so that a search is a comparison of the port with every start at once: the number of starts that
 * are at most the port, less one, is the index of the value.
 *
 *   starts  0 | 5432 | 5433 | 65535 …     port 5432: at most  1 1 0 0 …  two, so step 1
 *   steps   deny | allow | deny | deny …
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
const STEPS_OF_16_BITS = 0xffff;
/** Bytes of a line of the cache: what is aligned to it lies in as few as it can. */
const LINE_BYTES = 64;
const SIZE_MIN = 8;
const SIZE_MAX = 64;

/** The hot sections in the form above, at addresses of the memory that they are for. */
export interface WasmTables {
  /** Shared, for the threads that copy it. */
  readonly words: Uint8Array;
  readonly columnRootAt: number;
  readonly rowRootAt: number;
  readonly pairsAt: number;
  /** Entries of a row of pairs, and log2 of the bytes of one. */
  readonly pairWidth: number;
  readonly pairShift: 1 | 2;
  readonly functionsAt: number;
  readonly functionSize: number;
  /** Bytes of a step in a function. */
  readonly stepBytes: 2 | 4;
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

/** `tables` laid out from byte `at` (a multiple of 64) on, or `undefined` if they do not fit this form. */
export function layOutForWasm(tables: Tables, at: number, isWide = false): WasmTables | undefined {
  const functionSize = sizeOfFunctions(tables);
  if (functionSize > SIZE_MAX) return undefined;
  const space = new Space(at);
  const ends = new Ends(tables);
  if (ends.rowOffsets.length > 0xffff || ends.columnCount > 0xffff) return undefined;
  const pairWidth = 2 * ends.columnCount;
  const columns = pagesOf(tables.trie4, ends.columns, space);
  const rows = pagesOf(tables.trie4, ends.rows, space);
  if (columns === undefined || rows === undefined) return undefined;
  const stepBytes = isWide || tables.counts[layout.SECTION_STEPS]! > STEPS_OF_16_BITS ? 4 : 2;
  const records = new FunctionRecords(tables, functionSize, stepBytes);
  const numbers = new Int32Array(ends.rowOffsets.length * pairWidth);
  ends.rowOffsets.forEach((from, row) => {
    for (let i = 0; i < pairWidth; i++) numbers[row * pairWidth + i] = records.numberOf(tables.pairs[from + i]!);
  });
  const pairs = isWide || records.count > 65_536 ? numbers : Uint16Array.from(numbers);
  const pairsAt = space.take(pairs.byteLength);
  const functionsAt = space.take(records.count * records.bytes);
  if (space.end - at > WASM_BYTES_MAX) return undefined;
  const words = new Uint8Array(new SharedArrayBuffer(space.end - at));
  const ints = new Int32Array(words.buffer);
  for (const { roots, rootAt, list } of [columns, rows]) {
    ints.set(roots, (rootAt - at) / 4);
    for (const page of list) new Uint16Array(words.buffer).set(page.entries, (page.at - at) / 2);
  }
  words.set(new Uint8Array(pairs.buffer), pairsAt - at);
  records.write(words, functionsAt - at);
  return {
    words,
    columnRootAt: columns.rootAt,
    rowRootAt: rows.rootAt,
    pairsAt,
    pairWidth,
    pairShift: pairs instanceof Uint16Array ? 1 : 2,
    functionsAt,
    functionSize,
    stepBytes,
  };
}

/** The functions in use, numbered; number 0 leaves every port to the full path. */
class FunctionRecords {
  readonly bytes: number;
  readonly #functions: Int32Array;
  readonly #size: number;
  readonly #stepBytes: 2 | 4;
  /** By word offset in SECTION_FUNCTIONS; 0 = not in use so far. */
  readonly #numbers: Int32Array;
  readonly #refs: number[] = [layout.NONE];

  constructor({ functions }: Tables, size: number, stepBytes: 2 | 4) {
    this.bytes = size * (START_BYTES + stepBytes);
    this.#functions = functions;
    this.#size = size;
    this.#stepBytes = stepBytes;
    this.#numbers = new Int32Array(functions.length);
  }

  get count(): number {
    return this.#refs.length;
  }

  numberOf(ref: number): number {
    if (ref < 0) return 0;
    const known = this.#numbers[ref >>> 5]!;
    if (known !== 0) return known;
    const number = this.#refs.push(ref) - 1;
    this.#numbers[ref >>> 5] = number;
    return number;
  }

  /** Writes all records into `out` from byte `at` on. */
  write(out: Uint8Array, at: number): void {
    const functions = this.#functions;
    const size = this.#size;
    const stepBytes = this.#stepBytes;
    const starts = new Uint16Array(out.buffer);
    const steps = stepBytes === 2 ? starts : new Int32Array(out.buffer);
    this.#refs.forEach((ref, number) => {
      const startsAt = (at + number * this.bytes) / START_BYTES;
      const stepsAt = (at + number * this.bytes + size * START_BYTES) / stepBytes;
      if (ref < 0) {
        steps.fill(layout.NONE, stepsAt, stepsAt + size);
        return;
      }
      const from = ref >>> 5;
      const count = 1 << (ref & 31);
      for (let i = 0; i < size; i++) {
        const start = i < count ? functions[from + i]! : layout.KEY_UNUSED;
        starts[startsAt + i] = start === layout.KEY_UNUSED ? 0xffff : start;
        steps[stepsAt + i] = functions[from + count + Math.min(i, count - 1)]! >> layout.VALUE_STEP_SHIFT;
      }
    });
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

/** Addresses handed out one behind the other, each at the start of a line. */
class Space {
  end: number;

  constructor(at: number) {
    this.end = at;
  }

  take(bytes: number): number {
    const at = this.end;
    this.end += (bytes + LINE_BYTES - 1) & ~(LINE_BYTES - 1);
    return at;
  }
}

/** Row and column of each address class; rows are numbered as they come. */
class Ends {
  /** Of each row: its word offset in SECTION_PAIRS. */
  readonly rowOffsets: number[] = [];
  columnCount = 1;
  /** By word offset of the class, as the trie has it. */
  readonly rows: Uint16Array;
  readonly columns: Uint16Array;

  constructor({ classes4 }: Tables) {
    const numbers = new Map<number, number>();
    this.rows = new Uint16Array(classes4.length);
    this.columns = new Uint16Array(classes4.length);
    for (let at = 0; at < classes4.length; at += CLASS_WORDS) {
      const offset = classes4[at + layout.CLASS_PAIR_ROW]!;
      const column = classes4[at + layout.CLASS_PAIR_COLUMN]! >> 1;
      let row = numbers.get(offset);
      if (row === undefined) {
        row = this.rowOffsets.push(offset) - 1;
        numbers.set(offset, row);
      }
      this.columnCount = Math.max(this.columnCount, column + 1);
      this.columns[at] = column;
      this.rows[at] = row;
    }
  }
}

interface Page {
  readonly entries: Uint16Array;
  readonly at: number;
}

interface Pages {
  readonly rootAt: number;
  readonly list: readonly Page[];
  /** By high half of the address: what the root says. */
  readonly roots: Int32Array;
}

/** The pages that lead from an address to the number of its class in `numbers`; `undefined` if they would be too large. */
function pagesOf(trie: Int32Array, numbers: Uint16Array, space: Space): Pages | undefined {
  const rootAt = space.take(ROOT_ENTRIES * 4);
  const list: Page[] = [];
  const page = (entries: Uint16Array): number => {
    const at = space.take(entries.byteLength);
    list.push({ entries, at });
    return entries.length > 1 ? at + 1 : at;
  };
  /** What leads to the page of one entry, by what that says. */
  const whole = new Map<number, number>();
  const wholePage = (only: number): number => {
    const entry = whole.get(only) ?? page(Uint16Array.of(only));
    whole.set(only, entry);
    return entry;
  };
  const roots = new Int32Array(ROOT_ENTRIES);
  // Neighbours mostly say the same.
  let last = -1;
  let entry = 0;
  for (let high = 0; high < ROOT_ENTRIES; high++) {
    const root = trie[high]!;
    if (root !== last) {
      last = root;
      entry = (root & 1) === 0 ? wholePage(numbers[trie[trie[root >>> 1]! >>> 1]!]!) : nodePage(root >>> 1);
      if (space.end > 2 * WASM_BYTES_MAX) return undefined;
    }
    roots[high] = entry;
  }
  return { rootAt, list, roots };

  function nodePage(middle: number): number {
    const entries = pageEntries(trie, numbers, middle);
    return isUniform(entries) ? wholePage(entries[0]!) : page(entries);
  }
}

function isUniform(entries: Uint16Array): boolean {
  const first = entries[0];
  for (let i = 1; i < entries.length; i++) if (entries[i] !== first) return false;
  return true;
}

/** The numbers of the 65 536 addresses below the trie's node `middle`. */
function pageEntries(trie: Int32Array, numbers: Uint16Array, middle: number): Uint16Array {
  const entries = new Uint16Array(PAGE_ENTRIES);
  for (let third = 0; third < 256; third++) {
    const entry = trie[middle + third]!;
    const leaf = entry >>> 1;
    const at = third * 256;
    if ((entry & 1) === 0) entries.fill(numbers[trie[leaf]!]!, at, at + 256);
    else for (let i = 0; i < 256; i++) entries[at + i] = numbers[trie[leaf + i]!]!;
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
  const [row, end, address, entry, step, sideCount] = [
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
  /** What the pages below `rootAt` say of the address in the row of `column`. */
  const numberOf = (column: number, rootAt: number): wasm.Code => [
    ...address.set(load(row.get, column)),
    ...entry.set(load(shl(shrU(address.get, i32(16)), i32(2)), rootAt)),
    ...load16(
      add(
        and(entry.get, i32(~1)),
        shl(and(and(address.get, i32(0xffff)), sub(i32(0), and(entry.get, i32(1)))), i32(1)),
      ),
    ),
  ];
  const column = numberOf(columns.src, tables.columnRootAt);
  const rowNumber = numberOf(columns.dst, tables.rowRootAt);
  const udp = shrU(load(row.get, columns.keys), i32(16));
  const pair = add(add(mul(rowNumber, i32(tables.pairWidth)), shl(column, i32(1))), udp);
  const port = and(load(row.get, columns.keys), i32(0xffff));
  const pairAt = shl(pair, i32(tables.pairShift));
  const number = tables.pairShift === 1 ? load16(pairAt, tables.pairsAt) : load(pairAt, tables.pairsAt);
  const { functionSize, stepBytes } = tables;
  const recordBytes = functionSize * (START_BYTES + stepBytes);
  const aim = each(store(row.get, add(mul(number, i32(recordBytes)), i32(tables.functionsAt)), columns.work));
  const touch = each(dead.set(add(dead.get, load16(load(row.get, columns.work)))));
  const stepAt = add(address.get, shl(startsAtMost(functionSize, address, starts.get), i32(stepBytes === 2 ? 1 : 2)));
  const lastStart = functionSize * START_BYTES - stepBytes;
  const isSide = stepBytes === 2 ? geS(step.get, i32(STEPS_OF_16_BITS)) : ltS(step.get, i32(0));
  const tally = each(
    address.set(load(row.get, columns.work)),
    starts.set(wasm.splat16(port)),
    step.set(stepBytes === 2 ? load16(stepAt, lastStart) : load(stepAt, lastStart)),
    store(row.get, step.get, columns.work),
    when(
      isSide,
      [
        ...store(row.get, i32(layout.NONE), columns.work),
        ...store(shl(sideCount.get, i32(2)), shrU(row.get, i32(2)), columns.side),
        ...sideCount.set(add(sideCount.get, i32(1))),
      ],
      [
        ...address.set(shl(step.get, i32(3))),
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
