/**
 * The memory that the WebAssembly form of the fast path works in, and its two functions.
 *
 *   0      results of the scan, touched word
 *   1 KiB  columns of a batch, 1 KiB each
 *   16 KiB counts by step (float64)
 *   …      the hot sections of the tables (match/plain-wasm.ts)
 *   …      the read buffer of the capture, so that no byte is copied
 */
import { instantiate } from '../base/wasm.ts';
import { PACKET_UNIT } from '../match/packed-counts.ts';
import type { PlainLoops } from '../match/plain.ts';
import { judgeFunction, layOutForWasm } from '../match/plain-wasm.ts';
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

/**
 * A lane for `tables`, or `undefined` where they do not fit the form, or the engine has no WebAssembly with vectors. `isWide` lays them
 * out as tables of more rules would be.
 */
export function createWasmLane(tables: Tables, isWide = false): WasmLane | undefined {
  const steps = tables.counts[SECTION_STEPS]!;
  const tablesAt = aligned(COUNTS_AT + 8 * steps);
  const laidOut = layOutForWasm(tables, tablesAt, isWide);
  if (laidOut === undefined) return undefined;
  const bufferAt = aligned(tablesAt + laidOut.words.length);
  const pages = Math.ceil((bufferAt + READ_BUFFER_BYTES) / PAGE_BYTES);
  const at = Object.fromEntries(COLUMNS.map((name, i) => [name, COLUMNS_AT + i * COLUMN_BYTES])) as Record<
    (typeof COLUMNS)[number],
    number
  >;
  const instance = instantiate(
    [
      scan.scanFunction({ ...at, results: RESULTS_AT }, BATCH_RECORDS, RECORD_BYTES_MAX),
      judgeFunction(laidOut, { ...at, counts: COUNTS_AT, touched: TOUCHED_AT }, PACKET_UNIT),
    ],
    pages,
  );
  if (instance === undefined) return undefined;
  const { memory } = instance;
  new Uint8Array(memory).set(laidOut.words, tablesAt);
  const functions = instance.exports as {
    scan: (base: number, position: number, end: number) => void;
    judge: (count: number) => number;
  };
  const column = (name: string): Int32Array =>
    new Int32Array(memory, at[name as (typeof COLUMNS)[number]], BATCH_RECORDS);
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

/** Calls `run` and takes over what it leaves in `results`; a view of other memory is left to the script. */
function scanOf(
  run: (base: number, position: number, end: number) => void,
  columns: PlainColumns,
  results: Int32Array,
): PlainScan {
  const elsewhere = createPlainScan(columns, RECORD_BYTES_MAX);
  return (view, position, end) => {
    if (view.buffer !== results.buffer) {
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
