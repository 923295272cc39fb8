/**
 * The fast path of a replay, where nothing but counts of packets by themselves is asked for: plain frames in batches (match/plain.ts),
 * the rest one by one through `slow`.
 *
 * Records of an ordinary pcap file are walked and parsed in one loop over the read buffer; other formats come as batches that their
 * reader has found. The loops run as WebAssembly where they can (wasm-lane.ts), else as scripts; the answers are the same.
 */
import type { Counters } from '../match/counters.ts';
import { countPlain, createPlainJudge, foldPlainCounts, judgePlain, type PlainJudge } from '../match/plain.ts';
import { BATCH_RECORDS, type CaptureReader, RECORD_BYTES_MAX, type RecordBatch } from '../packets/source.ts';
import type { Tables } from '../tables/tables.ts';
import { LINKTYPE_ETHERNET } from '../wire/link.ts';
import { createPlainColumns, createPlainScan, type PlainColumns, type PlainScan, readPlain } from '../wire/plain.ts';
import { createWasmLane, type WasmLane } from './wasm-lane.ts';

/** Judges row `row` of `batch`, the packet `number` (from 1) of what this path has been given since `number` was last 1. */
type SlowPath = (batch: RecordBatch, row: number, number: number) => void;

export class FastPath {
  readonly #lane: WasmLane | undefined;
  readonly #columns: PlainColumns;
  readonly #scan: PlainScan;
  readonly #judge: PlainJudge;
  readonly #slow: SlowPath;
  #reader: CaptureReader | undefined;

  /** `withWasm`: take the WebAssembly form where there is one for these tables. */
  constructor(tables: Tables, slow: SlowPath, withWasm: boolean) {
    this.#lane = withWasm ? createWasmLane(tables) : undefined;
    this.#columns = this.#lane?.columns ?? createPlainColumns(BATCH_RECORDS);
    this.#scan = createPlainScan(this.#columns, RECORD_BYTES_MAX);
    this.#judge = createPlainJudge(tables, this.#columns, this.#lane?.loops);
    this.#slow = slow;
  }

  /** Judges the packets of `batch`. */
  batch(batch: RecordBatch): void {
    const columns = this.#columns;
    const { view, offsets, capturedBytes, wireBytes, linkTypes, count } = batch;
    readPlain(columns, view, offsets, capturedBytes, wireBytes, linkTypes, count);
    const { frames, others } = columns;
    judgePlain(this.#judge, columns.count, columns.byteCount);
    const { side, sideCount } = this.#judge;
    for (let i = 0; i < sideCount; i++) this.#slow(batch, frames[side[i]!]!, frames[side[i]!]! + 1);
    for (let i = 0; i < columns.otherCount; i++) this.#slow(batch, others[i]!, others[i]! + 1);
  }

  /** Judges what `reader` holds, up to a batch, and returns how many packets that were; -1 if the records are of another form. */
  scan(reader: CaptureReader, batch: RecordBatch): number {
    if (reader.linkType !== LINKTYPE_ETHERNET || reader.scan === undefined) return -1;
    const columns = this.#columns;
    const lane = this.#lane;
    if (lane !== undefined && reader !== this.#reader) reader.readInto?.(lane.readBuffer);
    this.#reader = reader;
    const taken = reader.scan(lane?.scan ?? this.#scan, columns);
    if (taken <= 0) return taken;
    const { frames, others, otherNumbers } = columns;
    judgePlain(this.#judge, columns.count, columns.byteCount);
    const { side, sideCount } = this.#judge;
    for (let i = 0; i < sideCount; i++) {
      reader.describe?.(batch, frames[side[i]!]!);
      this.#slow(batch, 0, taken);
    }
    for (let i = 0; i < columns.otherCount; i++) {
      reader.describe?.(batch, others[i]!);
      this.#slow(batch, 0, otherNumbers[i]! + 1);
    }
    return taken;
  }

  /** Counts one packet that `slow` found an answer for in the folded tables (match/folded.ts). */
  count(value: number, bytes: number): void {
    countPlain(this.#judge, value, bytes);
  }

  /** Adds what was counted so far to `counters`. */
  fold(counters: Counters): void {
    foldPlainCounts(this.#judge, counters);
  }
}
