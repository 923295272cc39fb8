/**
 * The batches of a replay with connection tracking, where nothing but counts is asked for: packets whose flow has a line (match/tracked.ts) in
 * loops, all others through `slow`, in the order of the capture.
 *
 * As in fast-path.ts, records of an ordinary pcap file are walked and parsed in one loop over the read buffer, and other formats come as
 * batches that their reader has found.
 */
import { FLOW_KIND_BITS, openFlows } from '../conntrack/flows.ts';
import type { Conntrack } from '../conntrack/table.ts';
import { type Counters, countPacket } from '../match/counters.ts';
import { rememberFlow } from '../match/flow-lines.ts';
import { continueTracked, decidingStep } from '../match/judge.ts';
import { judgeSimple, type SimpleAnswer } from '../match/simple.ts';
import type { Judge } from '../match/state.ts';
import {
  accountTracked,
  countTracked,
  createTrackedJudge,
  foldTrackedCounts,
  slotOf,
  type TrackedJudge,
} from '../match/tracked.ts';
import { createWarmer, type Warmer } from '../match/warm.ts';
import { REASON_NONE } from '../model/flow.ts';
import { BATCH_RECORDS, type CaptureReader, RECORD_BYTES_MAX, type RecordBatch } from '../packets/source.ts';
import { decodePacket } from '../wire/decode.ts';
import { LINKTYPE_ETHERNET } from '../wire/link.ts';
import type { PlainScan } from '../wire/plain.ts';
import { createTrackedColumns, createTrackedScan, readTracked, type TrackedColumns } from '../wire/plain-tracked.ts';
import { PACKET_WORDS } from '../wire/record.ts';
import type { OwnerChanges } from './owner-changes.ts';
import { STAGE_CONNTRACK, STAGE_PARSE, STAGE_SLOW, type StageTimes } from './stage-times.ts';

/** Judges row `row` of `batch`, the packet `number` (from 1) of what this path has been given since `number` was last 1. */
type SlowPath = (batch: RecordBatch, row: number, number: number) => void;

export interface TrackedPathParts {
  readonly judge: Judge;
  readonly ct: Conntrack;
  readonly owners: OwnerChanges | undefined;
  /** Of the tables that `judge` has. */
  readonly counters: Counters;
  /** Takes the frames that are not plain. */
  readonly slow: SlowPath;
  readonly times: StageTimes | undefined;
  /** Which of the 64 shards of connection tracking are judged here; absent: all. What is not plain asks `slow`. */
  readonly ownsShard?: ((shard: number) => boolean) | undefined;
}

export class TrackedPath {
  /** Packets that a line answered. */
  linePackets = 0;
  readonly #parts: TrackedPathParts;
  readonly #columns: TrackedColumns;
  readonly #lines: TrackedJudge;
  readonly #warm: Warmer;
  readonly #scan: PlainScan;
  readonly #record = new Int32Array(PACKET_WORDS);
  readonly #answer: SimpleAnswer = { step: 0 };
  #isTimed = false;
  #slowMs = 0;

  constructor(parts: TrackedPathParts) {
    this.#parts = parts;
    this.#columns = createTrackedColumns(BATCH_RECORDS);
    this.#scan = createTrackedScan(this.#columns, RECORD_BYTES_MAX);
    const { tables, nodeNumbers } = parts.judge;
    openFlows(parts.ct);
    this.#lines = createTrackedJudge(tables, parts.ct, this.#columns, parts.ownsShard);
    this.#warm = createWarmer(tables, parts.ct, nodeNumbers, this.#columns, this.#lines);
  }

  /** Judges the packets of `batch`. */
  batch(batch: RecordBatch): void {
    const { view, offsets, capturedBytes, wireBytes, seconds, nanos, linkTypes, count } = batch;
    const parsing = this.#startBatch();
    readTracked(this.#columns, view, offsets, capturedBytes, wireBytes, seconds, nanos, linkTypes, count);
    this.#judge(view, batch, undefined, parsing);
  }

  /** Judges what `reader` holds, up to a batch, and returns how many packets that were; -1 if the records are of another form. */
  scan(reader: CaptureReader, batch: RecordBatch): number {
    const { nanosPerTick } = reader;
    if (reader.linkType !== LINKTYPE_ETHERNET || reader.scan === undefined || nanosPerTick === undefined) return -1;
    this.#columns.nanosPerTick = nanosPerTick;
    const parsing = this.#startBatch();
    const taken = reader.scan(this.#scan, this.#columns);
    if (taken > 0) this.#judge(reader.view!, batch, reader, parsing);
    return taken;
  }

  /** Adds what was counted so far to `counters`. */
  fold(counters: Counters): void {
    foldTrackedCounts(this.#lines, counters);
  }

  #startBatch(): number {
    const { times } = this.#parts;
    if (times === undefined) return 0;
    this.#isTimed = times.takesBatch(0);
    return this.#isTimed ? performance.now() : 0;
  }

  /** Judges what is in the columns, all in order; `reader` if they are of a scan. */
  #judge(view: DataView, batch: RecordBatch, reader: CaptureReader | undefined, parsingMs: number): void {
    const { count, otherCount, others, otherRows, otherRecords } = this.#columns;
    const { loops, order } = this.#lines;
    const { ct, times } = this.#parts;
    const start = this.#isTimed ? times!.add(STAGE_PARSE, parsingMs) : 0;
    this.#slowMs = 0;
    const own = loops.aim(count);
    const likely = loops.touch(own);
    this.#warm.begin(likely);
    let long = 0;
    let place = 0;
    for (let other = 0; other <= otherCount; other++) {
      let to = own;
      if (other < otherCount) for (to = place; to < own && order[to]! < otherRows[other]!; ) to++;
      for (;;) {
        place = loops.act(view, place, to, ct.flowStamp << FLOW_KIND_BITS);
        if (place >= to) break;
        long++;
        this.#long(view, order[place++]!);
      }
      if (other < otherCount) this.#other(batch, reader, others[other]!, otherRecords[other]!);
    }
    accountTracked(this.#lines, own - long);
    this.linePackets += own - long;
    if (!this.#isTimed) return;
    times!.addMs(STAGE_SLOW, this.#slowMs, long + otherCount);
    times!.addMs(STAGE_CONNTRACK, performance.now() - start - this.#slowMs, long + otherCount + 1);
  }

  /** A plain frame whose flow has no line. */
  #long(view: DataView, row: number): void {
    const start = this.#isTimed ? performance.now() : 0;
    const { judge, ct, owners, counters } = this.#parts;
    const { offsets, captured, bytes, seconds, nanos } = this.#columns;
    const timeMs = seconds[row]! * 1000 + nanos[row]! / 1e6;
    const warm = this.#warm;
    warm.need(view, row);
    const record = this.#record;
    const answer = this.#answer;
    decodePacket(view, offsets[row]!, captured[row]!, bytes[row]!, LINKTYPE_ETHERNET, record, 0);
    owners?.forget(record, 0);
    let reason = REASON_NONE;
    let verdict = judgeSimple(judge, ct, warm, row, record, 0, view, timeMs, answer);
    if (verdict < 0) {
      verdict = continueTracked(judge, record, 0);
      reason = judge.reason;
      answer.step = decidingStep(judge);
    }
    const slot = slotOf(this.#lines, verdict, reason, answer.step);
    if (slot >= 0) countTracked(this.#lines, slot, bytes[row]!);
    else countPacket(counters, verdict, reason, answer.step, bytes[row]!);
    rememberFlow(this.#lines, judge, ct, this.#columns, row, timeMs, record, 0, verdict, slot);
    if (this.#isTimed) this.#slowMs += performance.now() - start;
  }

  /** A frame that is not plain: number `number` of the batch, from 0. */
  #other(batch: RecordBatch, reader: CaptureReader | undefined, number: number, at: number): void {
    const start = this.#isTimed ? performance.now() : 0;
    if (reader === undefined) this.#parts.slow(batch, number, number + 1);
    else {
      reader.describe?.(batch, at);
      this.#parts.slow(batch, 0, number + 1);
    }
    if (this.#isTimed) this.#slowMs += performance.now() - start;
  }
}
