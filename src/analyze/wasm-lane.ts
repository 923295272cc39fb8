/**
 * The memory that the WebAssembly form of the fast path works in, and its two functions.
 *
 * Laying the tables out and writing the code takes longer than a thread needs for a million packets, so where several threads judge, one does it
 * for all (`planLane`), and each copies what it found into a memory of its own (`openLane`).
 *
 *   0      results of the scan, touched word
 *   1 KiB  columns of a batch, 1 KiB each
 *   16 KiB counts by step (float64)
 *   …      the hot sections of the tables (match/plain-wasm.ts)
 *   …      the read buffer of the capture, so that no byte is copied
 */
import { assemble, hasWasm, type Module, start } from '../base/wasm.ts';
import { PACKET_UNIT } from '../match/packed-counts.ts';
import type { PlainLoops } from '../match/plain.ts';
import { judgeFunction, layOutForWasm, type WasmTables } from '../match/plain-wasm.ts';
import { BATCH_RECORDS, READ_BUFFER_BYTES, RECORD_BYTES_MAX } from '../packets/source.ts';
import { SECTION_STEPS } from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { createPlainColumns, createPlainScan, type PlainColumns, type PlainScan } from '../wire/plain.ts';
import * as scan from '../wire/plain-wasm.ts';

export interface WasmLane {
  readonly columns: PlainColumns;
  readonly loops: PlainLoops;
  readonly scan: PlainScan;
  /** Where a capture is to be read into. */
  readonly readBuffer: Uint8Array;
}

const COLUMN_BYTES = 4 * BATCH_RECORDS;
const RESULTS_AT = 16;
const TOUCHED_AT = 64;
const COLUMNS_AT = 1024;
const COLUMNS = ['src', 'dst', 'keys', 'bytes', 'frames', 'others', 'otherNumbers', 'work', 'side'] as const;
const COUNTS_AT = 16_384;
const PAGE_BYTES = 65_536;

/** Tables and code of a lane, ready to be opened. Plain data that threads can share. */
export interface LanePlan {
  readonly module: Module;
  /** What lies in memory from `tablesAt` on. */
  readonly words: WasmTables['words'];
  readonly tablesAt: number;
  readonly bufferAt: number;
  readonly steps: number;
}

/** A lane for `tables`, or `undefined` where there is no plan of one. */
export function createWasmLane(tables: Tables, isWide = false): WasmLane | undefined {
  const plan = planLane(tables, isWide);
  return plan === undefined ? undefined : openLane(plan);
}

/**
 * The plan of a lane, or `undefined` where `tables` do not fit the form, or the engine has no WebAssembly with vectors. `isWide` lays them
 * out as tables of more rules would be.
 */
export function planLane(tables: Tables, isWide = false): LanePlan | undefined {
  if (!hasWasm()) return undefined;
  const steps = tables.counts[SECTION_STEPS]!;
  const tablesAt = aligned(COUNTS_AT + 8 * steps);
  const laidOut = layOutForWasm(tables, tablesAt, isWide);
  if (laidOut === undefined) return undefined;
  const bufferAt = aligned(tablesAt + laidOut.words.length);
  const pages = Math.ceil((bufferAt + READ_BUFFER_BYTES) / PAGE_BYTES);
  const at = columnAddresses();
  const module = assemble(
    [
      scan.scanFunction({ ...at, results: RESULTS_AT }, BATCH_RECORDS, RECORD_BYTES_MAX),
      judgeFunction(laidOut, { ...at, counts: COUNTS_AT, touched: TOUCHED_AT }, PACKET_UNIT),
    ],
    pages,
  );
  return module === undefined ? undefined : { module, words: laidOut.words, tablesAt, bufferAt, steps };
}

/** A lane by a plan that was made in this process. */
export function openLane({ module, words, tablesAt, bufferAt, steps }: LanePlan): WasmLane {
  const { memory, exports } = start(module);
  new Uint8Array(memory).set(words, tablesAt);
  const functions = exports as {
    scan: (base: number, position: number, end: number) => void;
    judge: (count: number) => number;
  };
  const at = columnAddresses();
  const column = (name: string): Int32Array => new Int32Array(memory, at[name as ColumnName], BATCH_RECORDS);
  const columns = createPlainColumns(BATCH_RECORDS, column);
  return {
    columns,
    loops: {
      run: functions.judge,
      steps: column('work'),
      side: column('side'),
      counts: new Float64Array(memory, COUNTS_AT, steps),
    },
    scan: scanOf(functions.scan, columns, new Int32Array(memory, RESULTS_AT, scan.SCAN_WORDS)),
    readBuffer: new Uint8Array(memory, bufferAt, READ_BUFFER_BYTES),
  };
}

type ColumnName = (typeof COLUMNS)[number];

function columnAddresses(): Record<ColumnName, number> {
  return Object.fromEntries(COLUMNS.map((name, i) => [name, COLUMNS_AT + i * COLUMN_BYTES])) as Record<
    ColumnName,
    number
  >;
}

/** Calls `run` and takes over what it leaves in `results`; a view of other memory is left to the script. */
function scanOf(
  run: (base: number, position: number, end: number) => void,
  columns: PlainColumns,
  results: Int32Array,
): PlainScan {
  let elsewhere: PlainScan | undefined;
  return (view, position, end) => {
    if (view.buffer !== results.buffer) {
      elsewhere ??= createPlainScan(columns, RECORD_BYTES_MAX);
      elsewhere(view, position, end);
      return;
    }
    const base = view.byteOffset;
    run(base, base + position, base + end);
    columns.count = results[scan.SCAN_COUNT]!;
    columns.byteCount = results[scan.SCAN_BYTE_COUNT]!;
    columns.otherCount = results[scan.SCAN_OTHER_COUNT]!;
    columns.recordCount = results[scan.SCAN_RECORD_COUNT]!;
    columns.position = results[scan.SCAN_POSITION]!;
  };
}

function aligned(bytes: number): number {
  return (bytes + 63) & ~63;
}
