/**
 * The judging half of a capture child: packets in, counts, flows and findings out. It knows nothing of threads and processes.
 *
 * Every packet takes one way through here, whatever source it comes from:
 *
 *   source ─► SourceReader ─► Replayer ─► counters ─► ledger, after each batch
 *               │ copies out (duplicates.ts)   └─► connections ─► flow-following.ts
 *               └ raw bytes (findings-ring.ts)
 *
 * `seen` is counted where packets are taken: by the ring's writer for live capture, here for readers that wait for us. So
 * `seen - settled` is what lies in the ring or waits for the rest of its fragments, and is 0 after `finish`.
 */
import type { LiveOwnership } from '../analyze/owner-changes.ts';
import { Replayer } from '../analyze/replayer.ts';
import type { Counters } from '../match/counters.ts';
import { type CaptureReader, copyRow, createRecordBatch, type RecordBatch } from '../packets/source.ts';
import { type Tables, viewTables } from '../tables/tables.ts';
import { decodePacket } from '../wire/decode.ts';
import { DECODE_STATUS_COUNT, PACKET_WORDS } from '../wire/record.ts';
import type { Finding } from './api.ts';
import { Duplicates } from './duplicates.ts';
import type { FlowUpdate, RuleHits } from './engine.ts';
import { FindingsRing } from './findings-ring.ts';
import { FlowFollowing } from './flow-following.ts';
import {
  LEDGER_ALLOW,
  LEDGER_BYTES,
  LEDGER_DUPLICATE,
  LEDGER_FLOWS_ACTIVE,
  LEDGER_FLOWS_EVICTED,
  LEDGER_IS_ESTIMATED,
  LEDGER_KERNEL_DROPS,
  LEDGER_LOST_RING,
  LEDGER_LOST_STOP,
  LEDGER_SEEN,
  LEDGER_UNDECODED,
  type LedgerWriter,
  settledPackets,
} from './ledger.ts';
import { LiveClock } from './live-clock.ts';
import type { ChildSpec } from './messages.ts';
import { NO_PACKETS, type SourceCounts, SourceReader } from './source-reader.ts';
import { writeRuns } from './tables-in-use.ts';

/** Batches that one `drain` judges before messages get their turn: about 10 ms. */
const BATCHES_A_TURN = 32;
/** Findings told of in one turn; the others are counted. */
const FINDINGS_A_TURN = 50;
/** Moments at which loss is remembered, one a turn: ten minutes of quarter seconds. */
const LOSS_MOMENTS = 2400;
const VERDICTS_JUDGED = 4;

export interface JudgingEvents {
  onFinding(finding: Finding): void;
  onLog(level: 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** What `turn` has to tell. */
export interface Turn {
  readonly flows: readonly FlowUpdate[];
  readonly hits: readonly RuleHits[];
}

export class Judging {
  readonly following: FlowFollowing;
  readonly findings: FindingsRing;
  generation: number;
  isStale = false;
  readonly #events: JudgingEvents;
  readonly #ledger: LedgerWriter;
  readonly #replayer: Replayer;
  readonly #live: LiveOwnership = { onOwner: () => {} };
  readonly #batch = createRecordBatch();
  readonly #duplicates: Duplicates | undefined;
  readonly #clock = new LiveClock();
  readonly #scratch = new Int32Array(PACKET_WORDS);
  readonly #sources = new Set<SourceReader>();
  /** Of the sources that are closed. */
  readonly #closed = { seen: 0, lost: 0, drops: 0, isEstimated: 0 };
  #tables: Tables;
  #next: { readonly tables: Tables; readonly generation: number } | undefined;
  #hits: RuleHits[] = [];
  #findingsThisTurn = 0;
  #untoldFindings = 0;
  #toldUntold = 0;
  /** Loss so far, by moment: milliseconds since 1970 and packets. */
  readonly #lossMs = new Float64Array(LOSS_MOMENTS);
  readonly #lossPackets = new Float64Array(LOSS_MOMENTS);
  #lossAt = 0;

  constructor(
    buffer: SharedArrayBuffer,
    generation: number,
    spec: ChildSpec,
    ledger: LedgerWriter,
    events: JudgingEvents,
  ) {
    this.#events = events;
    this.#ledger = ledger;
    this.#tables = viewTables(buffer);
    this.generation = generation;
    this.findings = new FindingsRing(spec.findingsBytes);
    this.#duplicates = spec.isDeduplicating ? new Duplicates() : undefined;
    this.following = new FlowFollowing({
      entries: spec.flowEntries,
      idPrefix: `${spec.child}.${spec.life}`,
      blockedAfterSeconds: spec.blockedAfterSeconds,
      onFinding: (finding, ends) => {
        if (ends !== undefined) this.findings.follow(ends, this.#clock.now());
        if (this.#findingsThisTurn++ < FINDINGS_A_TURN) this.#events.onFinding(finding);
        else this.#untoldFindings++;
      },
      wasLossySince: (start) => this.#wasLossySince(Date.parse(start)),
    });
    this.following.table.generation = generation;
    this.#replayer = new Replayer(this.#tables, {
      connections: this.following.table,
      conntrackEntries: spec.conntrackEntries,
      capturePoint: spec.capturePoint,
      newTables: () => this.#takeNext(),
      live: this.#live,
      isStale: () => this.isStale,
    });
  }

  /** Adds a source; its packets are judged through what this returns. */
  open(reader: CaptureReader, counts: SourceCounts): SourceReader {
    const source = new SourceReader(reader, counts, (batch) => this.#admit(batch, source));
    this.#sources.add(source);
    return source;
  }

  /** Closes a source that gives nothing more; what it counted stays. */
  close(source: SourceReader): void {
    this.#sources.delete(source);
    this.#closed.seen += source.seen;
    this.#closed.lost += source.lost;
    this.#closed.drops += source.kernelDrops;
    if (source.isEstimated) this.#closed.isEstimated = 1;
    source.close();
    this.note();
  }

  /** Judges by `buffer` from the next batch on. */
  setTables(buffer: SharedArrayBuffer, generation: number): void {
    this.#next = { tables: viewTables(buffer), generation };
    this.#replayer.drain(NO_PACKETS, this.#batch);
  }

  /**
   * Judges by the tables in use with `runs` written into them from the next batch on. No batch is in hand, and nobody else reads them: they are changed
   * where they lie.
   */
  setWritten(generation: number, runs: Int32Array): void {
    const { words, buffer } = this.#next?.tables ?? this.#tables;
    writeRuns(words, runs);
    this.setTables(buffer as SharedArrayBuffer, generation);
  }

  /** Stores words into the tables of `generation`, if it is that which is in use, and forgets the past of addresses (five words each). */
  setOwners(generation: number, stores: Int32Array, addresses: Int32Array): void {
    if (generation !== this.generation) return;
    for (let i = 0; i + 1 < stores.length; i += 2) this.#tables.words[stores[i]!] = stores[i + 1]!;
    for (let at = 0; at + 5 <= addresses.length; at += 5) this.#live.onOwner(addresses[at]!, addresses, at + 1);
  }

  /** Judges what `source` has, up to a turn's worth; true if there may be more at once. */
  drain(source: SourceReader): boolean {
    source.budget = BATCHES_A_TURN;
    this.#replayer.drain(source, this.#batch);
    this.note();
    return source.budget === 0;
  }

  /** Writes the ledger. */
  note(): void {
    const { counts } = this.#ledger;
    const { counters } = this.#replayer;
    let { seen, lost, drops, isEstimated } = this.#closed;
    for (const source of this.#sources) {
      seen += source.seen;
      lost += source.lost;
      drops += source.kernelDrops;
      if (source.isEstimated) isEstimated = 1;
    }
    // `seen` was read first, so that what is settled is never more.
    counts[LEDGER_SEEN] = seen;
    counts[LEDGER_LOST_RING] = lost;
    counts[LEDGER_KERNEL_DROPS] = drops;
    counts[LEDGER_IS_ESTIMATED] = isEstimated;
    counts[LEDGER_FLOWS_ACTIVE] = this.following.table.active;
    counts[LEDGER_FLOWS_EVICTED] = this.following.table.evicted;
    this.#addTotals(counts, counters);
    this.#ledger.write();
  }

  readonly #totals = new Float64Array(LEDGER_UNDECODED + DECODE_STATUS_COUNT);

  /** Totals before the last `takeCounters`, and what was counted since. */
  #addTotals(counts: Float64Array, counters: Counters): void {
    for (let verdict = 0; verdict < VERDICTS_JUDGED; verdict++) {
      counts[LEDGER_ALLOW + verdict] = this.#totals[LEDGER_ALLOW + verdict]! + counters.packets[verdict]!;
    }
    let bytes = this.#totals[LEDGER_BYTES]!;
    for (let verdict = 0; verdict < VERDICTS_JUDGED; verdict++) bytes += counters.bytes[verdict]!;
    counts[LEDGER_BYTES] = bytes;
    for (let status = 0; status < DECODE_STATUS_COUNT; status++) {
      counts[LEDGER_UNDECODED + status] = this.#totals[LEDGER_UNDECODED + status]! + counters.undecoded[status]!;
    }
  }

  /** A few times a second: what changed since the last one. */
  turn(): Turn {
    this.#findingsThisTurn = 0;
    const wallOffset = this.#clock.wallOffsetSeconds();
    if (wallOffset !== this.following.table.wallOffsetSeconds) {
      this.#events.onLog('warn', 'the clock was set while capturing; times of records follow it', {
        seconds: wallOffset,
      });
      this.following.table.wallOffsetSeconds = wallOffset;
    }
    this.#noteLoss();
    const isLive = [...this.#sources].some(({ isLive }) => isLive);
    const flows = this.following.turn(isLive ? this.#clock.now() : Number.NEGATIVE_INFINITY);
    this.findings.collect(this.#clock.now());
    this.#takeHits();
    const hits = this.#hits;
    this.#hits = [];
    this.#tellUntold();
    this.note();
    return { flows, hits };
  }

  /** Settles what waits, and closes all connections; `tell` gets them in portions. */
  finish(tell: (flows: readonly FlowUpdate[]) => void): Turn {
    this.following.tellAll(tell);
    this.#replayer.finish();
    const turn = this.turn();
    const { counts } = this.#ledger;
    counts[LEDGER_LOST_STOP] = counts[LEDGER_SEEN]! - settledPackets(counts);
    this.#ledger.write();
    return turn;
  }

  /** Leaves in `batch` what is to be judged. */
  #admit(batch: RecordBatch, source: SourceReader): void {
    if (source.isLive && source.ring === undefined) this.#correctTimes(batch);
    if (this.#duplicates !== undefined) this.#dropCopies(batch, this.#duplicates);
    this.findings.add(batch, (number) => source.interfaceName(number));
    // The batch before this one has been judged.
    this.note();
  }

  #correctTimes(batch: RecordBatch): void {
    if (batch.count === 0) return;
    const correction = this.#clock.correctionOf(batch.seconds[batch.count - 1]!);
    if (correction !== 0) for (let row = 0; row < batch.count; row++) batch.seconds[row]! += correction;
  }

  #dropCopies(batch: RecordBatch, duplicates: Duplicates): void {
    let kept = 0;
    for (let row = 0; row < batch.count; row++) {
      const offset = batch.offsets[row]!;
      decodePacket(
        batch.view,
        offset,
        batch.capturedBytes[row]!,
        batch.wireBytes[row]!,
        batch.linkTypes[row]!,
        this.#scratch,
        0,
      );
      const timeMs = batch.seconds[row]! * 1000 + batch.nanos[row]! / 1e6;
      if (duplicates.isCopy(this.#scratch, 0, batch.view, timeMs)) continue;
      if (kept !== row) copyRow(batch, row, batch, kept);
      kept++;
    }
    this.#ledger.counts[LEDGER_DUPLICATE]! += batch.count - kept;
    batch.count = kept;
  }

  /** The replayer asks before each batch. */
  #takeNext(): Tables | undefined {
    const next = this.#next;
    if (next === undefined) return undefined;
    this.#next = undefined;
    this.#takeHits();
    this.#tables = next.tables;
    this.generation = next.generation;
    this.following.table.generation = next.generation;
    this.following.generationMs = Date.now();
    return next.tables;
  }

  /** Moves what was counted since the last time to the totals and to the hits of the generation in use. */
  #takeHits(): void {
    const taken = this.#replayer.takeCounters();
    this.#addTotals(this.#totals, taken);
    const hits: { rule: number; packets: number; bytes: number }[] = [];
    taken.stepPackets.forEach((packets, step) => {
      if (packets > 0) hits.push({ rule: step, packets, bytes: taken.stepBytes[step]! });
    });
    taken.otherPackets.forEach((packets, index) => {
      if (packets > 0) hits.push({ rule: -1 - index, packets, bytes: taken.otherBytes[index]! });
    });
    if (hits.length > 0) this.#hits.push({ generation: this.generation, hits });
  }

  #noteLoss(): void {
    const { counts } = this.#ledger;
    this.#lossMs[this.#lossAt] = Date.now();
    this.#lossPackets[this.#lossAt] = counts[LEDGER_LOST_RING]! + counts[LEDGER_KERNEL_DROPS]!;
    this.#lossAt = (this.#lossAt + 1) % LOSS_MOMENTS;
  }

  /** Compares with the newest moment that is not after `startMs`; where none is kept, with none. */
  #wasLossySince(startMs: number): boolean {
    const newest = (this.#lossAt + LOSS_MOMENTS - 1) % LOSS_MOMENTS;
    let before = 0;
    for (let i = 0; i < LOSS_MOMENTS; i++) {
      const at = (newest + LOSS_MOMENTS - i) % LOSS_MOMENTS;
      if (this.#lossMs[at]! > startMs) continue;
      before = this.#lossPackets[at]!;
      break;
    }
    return this.#lossPackets[newest]! > before;
  }

  #tellUntold(): void {
    const { flows, packets, bytes } = this.following.untold;
    if (flows + this.#untoldFindings === this.#toldUntold) return;
    this.#toldUntold = flows + this.#untoldFindings;
    this.#events.onLog(
      'warn',
      'more connections than can be told of one by one; their packets are counted all the same',
      {
        flows,
        packets,
        bytes,
        findings: this.#untoldFindings,
        crowdedCopies: this.#duplicates?.crowded ?? 0,
      },
    );
  }
}
