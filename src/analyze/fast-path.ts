/**
 * The fast path of a replay, where nothing but counts of packets by themselves is asked for: plain frames of IPv4 in batches (match/plain.ts),
 * those of IPv6 in batches of their own (fast-path6.ts), and the rest through `slow`.
 *
 * Records of an ordinary pcap file are walked and parsed in one loop over the read buffer; other formats come as batches that their
 * reader has found. The loops run as WebAssembly where they can (wasm-lane.ts), else as scripts; the answers are the same.
 */
import type { Counters } from '../match/counters.ts';
import {
  account,
  countPlain,
  createPlainJudge,
  createScriptLoops,
  foldPlainCounts,
  judgePlain,
  type PlainJudge,
} from '../match/plain.ts';
import { layOutDirect } from '../match/plain-direct.ts';
import { BATCH_RECORDS, type CaptureReader, RECORD_BYTES_MAX, type RecordBatch } from '../packets/source.ts';
import type { Tables } from '../tables/tables.ts';
import { LINKTYPE_ETHERNET } from '../wire/link.ts';
import { createPlainColumns, createPlainScan, type PlainColumns, type PlainScan, readPlain } from '../wire/plain.ts';
import { FastPath6, LONG_FROM_PACKETS } from './fast-path6.ts';
import type { BatchForm } from './replay-options.ts';
import {
  STAGE_CLASSIFY,
  STAGE_COUNT,
  STAGE_MATCH,
  STAGE_PARSE,
  STAGE_SEARCH,
  STAGE_SLOW,
  type StageTimes,
} from './stage-times.ts';
import { createWasmLane, type LanePlan, openLane, type WasmLane } from './wasm-lane.ts';

/** Judges row `row` of `batch`, the packet `number` (from 1) of what this path has been given since `number` was last 1. */
type SlowPath = (batch: RecordBatch, row: number, number: number) => void;

/**
 * A form of replay-options.ts, or the WebAssembly form as another thread laid it out; `wasm-later` and `script-later`: a search, until a capture turns out
 * long.
 */
export type PathLoops = BatchForm | `${'wasm' | 'script'}-later` | LanePlan;

/** Rows of the columns, and the bytes of all of them. */
interface BatchSize {
  readonly count: number;
  readonly byteCount: number;
}

export class FastPath {
  readonly #tables: Tables;
  /** The form to take where the capture turns out long. */
  #later: 'wasm' | 'script' | undefined;
  #lane: WasmLane | undefined;
  #columns: PlainColumns;
  #scan: PlainScan;
  #judge: PlainJudge;
  /** Of the search, once another form has taken over; what it counted is not folded yet. */
  #shortJudge: PlainJudge | undefined;
  #packets = 0;
  readonly #slow: SlowPath;
  readonly #times: StageTimes | undefined;
  readonly #six: FastPath6;
  #reader: CaptureReader | undefined;
  #isTimed = false;

  constructor(tables: Tables, slow: SlowPath, loops: PathLoops, times?: StageTimes) {
    this.#tables = tables;
    this.#times = times;
    this.#slow = slow;
    this.#six = new FastPath6(tables, loops === 'script' || loops === 'search' ? loops : undefined);
    this.#lane = loops === 'wasm' ? createWasmLane(tables) : typeof loops === 'object' ? openLane(loops) : undefined;
    if (loops === 'wasm-later' || loops === 'script-later') this.#later = loops === 'wasm-later' ? 'wasm' : 'script';
    const direct = loops === 'script' ? layOutDirect(tables) : undefined;
    // Making the script's loops takes a while, too.
    this.#columns = this.#lane?.columns ?? createPlainColumns(BATCH_RECORDS);
    this.#scan = this.#lane?.scan ?? createPlainScan(this.#columns, RECORD_BYTES_MAX);
    this.#judge = createPlainJudge(tables, this.#lane?.loops ?? createScriptLoops(tables, this.#columns, direct));
  }

  /** Goes on with the WebAssembly form, or else the direct table, where there is one for these tables. */
  #takeLongForm(): void {
    const tables = this.#tables;
    this.#lane = this.#later === 'wasm' ? createWasmLane(tables) : undefined;
    this.#later = undefined;
    const direct = this.#lane === undefined ? layOutDirect(tables) : undefined;
    if (this.#lane === undefined && direct === undefined) return;
    this.#shortJudge = this.#judge;
    this.#columns = this.#lane?.columns ?? this.#columns;
    this.#scan = this.#lane?.scan ?? this.#scan;
    this.#judge = createPlainJudge(tables, this.#lane?.loops ?? createScriptLoops(tables, this.#columns, direct));
  }

  #note(packets: number): void {
    this.#packets += packets;
    if (this.#later !== undefined && this.#packets >= LONG_FROM_PACKETS) this.#takeLongForm();
  }

  /** Judges the packets of `batch`. */
  batch(batch: RecordBatch): void {
    const columns = this.#columns;
    const { view, offsets, capturedBytes, wireBytes, linkTypes, count } = batch;
    const parsing = this.#startBatch();
    readPlain(columns, view, offsets, capturedBytes, wireBytes, linkTypes, count);
    const { frames, others } = columns;
    let now = this.#match(this.#judge, columns, parsing);
    if (columns.otherCount > 0) {
      const six = this.#six;
      six.takeRows(batch, others, columns.otherCount);
      if (six.columns.count > 0) now = this.#match(six.judge, six.columns, now);
    }
    const { side, sideCount } = this.#judge;
    for (let i = 0; i < sideCount; i++) this.#slow(batch, frames[side[i]!]!, frames[side[i]!]! + 1);
    if (columns.otherCount > 0) this.#six.finish((place) => this.#slow(batch, others[place]!, others[place]! + 1));
    if (this.#isTimed) this.#times!.add(STAGE_SLOW, now);
    this.#note(count);
  }

  /** When the batch that begins now began, if it is one to be timed. */
  #startBatch(): number {
    if (this.#times === undefined) return 0;
    this.#isTimed = this.#times.takesBatch(0);
    return this.#isTimed ? performance.now() : 0;
  }

  /** Judges what is in `columns`, whose reading began at `parsingMs`; returns the time if the batch is timed. */
  #match(judge: PlainJudge, { count, byteCount }: BatchSize, parsingMs: number): number {
    if (!this.#isTimed) {
      judgePlain(judge, count, byteCount);
      return 0;
    }
    const times = this.#times!;
    let now = times.add(STAGE_PARSE, parsingMs);
    if (judge.parts === undefined) {
      judgePlain(judge, count, byteCount);
      return times.add(STAGE_MATCH, now);
    }
    const [lookUp, search, tally] = judge.parts;
    lookUp(count);
    now = times.add(STAGE_CLASSIFY, now);
    search(count);
    now = times.add(STAGE_SEARCH, now);
    account(judge, tally(count), count, byteCount);
    return times.add(STAGE_COUNT, now);
  }

  /** Judges what `reader` holds, up to a batch, and returns how many packets that were; -1 if the records are of another form. */
  scan(reader: CaptureReader, batch: RecordBatch): number {
    if (reader.linkType !== LINKTYPE_ETHERNET || reader.scan === undefined) return -1;
    const columns = this.#columns;
    const lane = this.#lane;
    if (lane !== undefined && reader !== this.#reader) reader.readInto?.(lane.readBuffer);
    this.#reader = reader;
    const parsing = this.#startBatch();
    const taken = reader.scan(this.#scan, columns);
    if (taken <= 0) return taken;
    const { frames, others, otherNumbers } = columns;
    let now = this.#match(this.#judge, columns, parsing);
    if (columns.otherCount > 0) {
      const six = this.#six;
      six.takeRecords(reader.view!, others, columns.otherCount);
      if (six.columns.count > 0) now = this.#match(six.judge, six.columns, now);
    }
    const { side, sideCount } = this.#judge;
    for (let i = 0; i < sideCount; i++) {
      reader.describe?.(batch, frames[side[i]!]!);
      this.#slow(batch, 0, taken);
    }
    if (columns.otherCount > 0) {
      this.#six.finish((place) => {
        reader.describe?.(batch, others[place]!);
        this.#slow(batch, 0, otherNumbers[place]! + 1);
      });
    }
    if (this.#isTimed) this.#times!.add(STAGE_SLOW, now);
    this.#note(taken);
    return taken;
  }

  /** Counts one packet that `slow` found an answer for in the folded tables (match/folded.ts). */
  count(value: number, bytes: number): void {
    countPlain(this.#judge, value, bytes);
  }

  /** Adds what was counted so far to `counters`. */
  fold(counters: Counters): void {
    if (this.#shortJudge !== undefined) foldPlainCounts(this.#shortJudge, counters);
    foldPlainCounts(this.#judge, counters);
    this.#six.fold(counters);
  }
}
