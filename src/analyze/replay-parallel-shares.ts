/**
 * The main thread's side of `blocks` and `flows` (replay-parallel.ts): lets the workers go on side by side, feeds them what they
 * cannot read themselves, and puts what they found in the order of one worker.
 */
import type { MessagePort } from 'node:worker_threads';
import { CONNTRACK_ENTRIES_DEFAULT, createConntrack } from '../conntrack/table.ts';
import { createCounters } from '../match/counters.ts';
import { openBytes } from '../packets/pcap-file.ts';
import { CaptureError } from '../packets/source.ts';
import type { Tables } from '../tables/tables.ts';
import { addCounters } from '../workers/counters.ts';
import { Feed, type FeedError } from '../workers/feed.ts';
import { type FrameBatch, oneRow, unpackFrames } from '../workers/frames.ts';
import { OrderedMerge } from '../workers/ordered-merge.ts';
import { type ConnectionRecord, ConnectionTable, type Orphan } from './connections.ts';
import { totalsOf } from './counters.ts';
import { LineQueue, type PacketRecord } from './packet-lines.ts';
import type { ReplayResult } from './replay.ts';
import { MOMENTS } from './replay-options.ts';
import type { ParallelOptions, ParallelPlan } from './replay-parallel.ts';
import type { Final, Report } from './replay-parallel-messages.ts';
import { poolOf, startAll, workerOptions } from './replay-parallel-segments.ts';
import { Replayer } from './replayer.ts';

const POLL_MS = 100;

export async function replayShares(
  tables: Tables,
  plan: ParallelPlan,
  options: ParallelOptions,
): Promise<ReplayResult> {
  const { workers, needsRing } = plan;
  const feed = new Feed(workers, needsRing);
  const gathering = new Gathering(tables, plan, options);
  const isTracked = options.stateless !== true;
  const { buffer } = isTracked
    ? createConntrack({ capacityEntries: options.conntrackEntries ?? CONNTRACK_ENTRIES_DEFAULT })
    : { buffer: undefined };
  let finish: () => void = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const pool = poolOf(options, workers);
  pool.listen((worker, message) => {
    const found = message as Report | Final;
    if (found.kind === 'final') {
      pool.done(worker);
      if (gathering.final(worker, found)) finish();
      return;
    }
    gathering.report(worker, found);
    feed.report(worker, found.steps);
  });
  const onAbort = (): void => feed.end();
  options.signal?.addEventListener('abort', onAbort, { once: true });
  if (options.signal?.aborted === true) onAbort();
  const progress = { bytesRead: 0 };
  const timer = setInterval(() => gathering.progress(needsRing ? progress.bytesRead : undefined), POLL_MS);
  const memory = { feed, progress: new SharedArrayBuffer(0), conntrack: buffer, lane: undefined };
  const errors = startAll(pool, tables, plan, options, memory);
  try {
    const fed = needsRing ? feedAll(feed, errors, plan, gathering, progress) : finished;
    await Promise.race([Promise.all([fed, finished]), pool.failure]);
    return gathering.finish();
  } finally {
    clearInterval(timer);
    options.signal?.removeEventListener('abort', onAbort);
    feed.end();
    for (const port of errors) port.close();
    await pool.stop();
  }
}

/** Reads all captures into the ring. */
export async function feedAll(
  feed: Feed,
  errors: readonly MessagePort[],
  { files }: ParallelPlan,
  gathering: Pick<Gathering, 'leaves'>,
  progress: { bytesRead: number },
): Promise<void> {
  for (const [index, { path }] of files.entries()) {
    progress.bytesRead = 0;
    const isEnough = gathering.leaves(index);
    await feed.slot();
    if (feed.hasEnded) return;
    try {
      const source = await openBytes(path);
      try {
        while ((await feed.fill(source, isEnough)) > 0) {
          progress.bytesRead = source.bytesRead;
          await feed.slot();
        }
      } finally {
        source.close();
      }
    } catch (error) {
      if (!(error instanceof CaptureError) || error.kind === 'open') throw error;
      const { kind, offset, message } = error;
      const failure: FeedError = { kind, offset, message };
      for (const port of errors) port.postMessage(failure);
      feed.fail();
    }
  }
}

/** Something that one worker would have said at a certain moment: a connection that closes, or an orphan. */
type Event = string | Orphan;

/** What has been found so far. */
export class Gathering {
  readonly wantsLines: boolean;
  readonly wantsConnections: boolean;
  readonly #plan: ParallelPlan;
  readonly #options: ParallelOptions;
  readonly #counters;
  readonly #lines: LineQueue<string>;
  readonly #events: OrderedMerge<Event>;
  readonly #frames: OrderedMerge<{ readonly from: FrameBatch; readonly row: number }>;
  /** Judges the fragments of `blocks`. */
  readonly #fragments: Replayer;
  /** Gathers the orphans of all workers. */
  readonly #orphans: ConnectionTable;
  readonly #finals: (Final | undefined)[];
  readonly #latest: (Report | undefined)[];
  /** While the last connections are closed: where those of the orphans go. */
  #closing: ConnectionRecord[] | undefined;
  /** Called when a worker is done with the file of this number. */
  #onLeft: { readonly file: number; readonly resolve: (bytes: 0) => void } | undefined;

  constructor(tables: Tables, plan: ParallelPlan, options: ParallelOptions) {
    this.#plan = plan;
    this.#options = options;
    this.wantsLines = options.onPacket !== undefined || options.onPacketText !== undefined;
    this.wantsConnections = options.onConnection !== undefined || options.onConnectionText !== undefined;
    this.#counters = createCounters(tables);
    this.#finals = new Array(plan.workers).fill(undefined);
    this.#latest = new Array(plan.workers).fill(undefined);
    this.#lines = new LineQueue((text) => this.#printLine(text));
    // One more than workers: the orphans that are open at the end.
    this.#events = new OrderedMerge(plan.workers + 1, (event) => this.#happen(event));
    this.#frames = new OrderedMerge(plan.workers, ({ from, row }) => {
      this.#fragments.batch(oneRow(from, row), from, from.packets.subarray(row, row + 1));
    });
    const isFragmentLine = this.wantsLines && plan.division === 'blocks';
    this.#fragments = new Replayer(
      tables,
      {
        ...workerOptions(options),
        stateless: true,
        form: 'script',
        ...(isFragmentLine ? { onPacket: (line) => this.#lines.put(line.packet, () => JSON.stringify(line)) } : {}),
      },
      {},
    );
    this.#orphans = new ConnectionTable((record) => {
      if (this.#closing === undefined) this.#printConnection(JSON.stringify(record));
      else this.#closing.push(record);
    }, options.connectionEntries);
  }

  /** Resolves to 0 when a worker, and so all of them, wants no more of this file: it has ended, or it is damaged. */
  leaves(file: number): Promise<0> {
    return new Promise((resolve) => {
      this.#onLeft = { file, resolve };
    });
  }

  report(worker: number, report: Report): void {
    this.#latest[worker] = report;
    if (this.#onLeft !== undefined && report.file > this.#onLeft.file) this.#onLeft.resolve(0);
    if (report.lineNumbers.length > 0) {
      const texts = report.lines.split('\n');
      for (let i = 0; i < texts.length; i++) this.#lines.put(report.lineNumbers[i]!, () => texts[i]!);
    }
    this.#putEvents(worker, report);
    if (report.frames !== undefined) {
      for (const from of unpackFrames(report.frames)) {
        for (let row = 0; row < from.batch.count; row++) this.#frames.put(worker, from.packets[row]!, 0, { from, row });
      }
    }
    this.#frames.promise(worker, report.packets);
    this.#frames.drain();
  }

  /** True if all workers have said their last word. */
  final(worker: number, final: Final): boolean {
    this.#finals[worker] = final;
    this.#frames.promise(worker, Number.POSITIVE_INFINITY);
    this.#frames.drain();
    return this.#finals.every((each) => each !== undefined);
  }

  /** @param bytesRead  of the file in hand, where the main thread reads; else the workers say */
  progress(bytesRead: number | undefined): void {
    const latest = this.#latest.reduce((a, b) =>
      a === undefined || (b !== undefined && b.packets < a.packets) ? b : a,
    );
    if (latest === undefined) return;
    const file = this.#plan.files[Math.min(latest.file, this.#plan.files.length - 1)]!;
    this.#options.onProgress?.({
      file: file.path === '-' ? 'standard input' : file.path,
      bytesRead: bytesRead ?? latest.bytesRead,
      sizeBytes: file.sizeBytes > 0 ? file.sizeBytes : undefined,
      packets: latest.packets,
    });
  }

  finish(): ReplayResult {
    const finals = this.#finals as Final[];
    this.#fragments.finish();
    addCounters(this.#counters, this.#fragments.counters);
    for (const { counters, stageMs } of finals) {
      addCounters(this.#counters, counters);
      if (stageMs !== undefined) this.#options.times?.addAll(stageMs);
    }
    const sum = (of: (final: Final) => number): number => finals.reduce((total, final) => total + of(final), 0);
    const connections = sum((final) => final.connections) + this.#orphans.opened;
    return {
      totals: totalsOf(this.#counters, connections),
      counters: this.#counters,
      sources: [...finals[0]!.sources],
      interrupted: this.#options.signal?.aborted === true,
      evictedConnections: sum((final) => final.evictedConnections) + this.#orphans.evicted,
      workers: this.#plan.workers,
    };
  }

  #putEvents(worker: number, report: Report): void {
    const { moments, firsts, records, orphans, moment } = report;
    if (moments.length > 0) {
      const texts = records.split('\n');
      let orphan = 0;
      for (let i = 0; i < texts.length; i++) {
        const event = texts[i] === '' ? orphans[orphan++]! : texts[i]!;
        this.#events.put(worker, moments[i]!, firsts[i]!, event);
      }
    }
    this.#events.promise(worker, moment);
    const slowest = Math.min(...this.#latest.map((latest) => latest?.moment ?? Number.NEGATIVE_INFINITY));
    const orphansInput = this.#plan.workers;
    if (slowest < Number.POSITIVE_INFINITY) {
      this.#events.promise(orphansInput, slowest);
      this.#events.drain();
      return;
    }
    // All packets have been seen by all. First what happened at packets, then what was open.
    const end = (Math.max(...this.#latest.map((latest) => latest!.packets)) + 2) * MOMENTS;
    this.#events.promise(orphansInput, end - 1);
    this.#events.drain();
    this.#closing = [];
    this.#orphans.closeAll();
    for (const record of this.#closing) {
      this.#events.put(orphansInput, end, record.first_packet, JSON.stringify(record));
    }
    this.#events.promise(orphansInput, Number.POSITIVE_INFINITY);
    this.#events.drain();
  }

  #happen(event: Event): void {
    if (typeof event === 'string') this.#printConnection(event);
    else this.#orphans.addOrphan(event);
  }

  #printConnection(text: string): void {
    const { onConnectionText, onConnection } = this.#options;
    if (onConnectionText !== undefined) onConnectionText(text);
    else onConnection?.(JSON.parse(text) as ConnectionRecord);
  }

  #printLine(text: string): void {
    const { onPacketText, onPacket } = this.#options;
    if (onPacketText !== undefined) onPacketText(text);
    else onPacket?.(JSON.parse(text) as PacketRecord);
  }
}
