/** The main thread's side of `segments` (replay-parallel.ts): hands out pieces of captures, and adds up what counts. */

import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { threadEntry } from '../base/thread-entry.ts';
import { createCounters } from '../match/counters.ts';
import { PCAP_FIRST_RECORD, PcapSegmentReader } from '../packets/pcap-segment.ts';
import { createRecordBatch } from '../packets/source.ts';
import type { Tables } from '../tables/tables.ts';
import { addCounters } from '../workers/counters.ts';
import { Feed } from '../workers/feed.ts';
import { type PackedFrames, unpackFrames } from '../workers/frames.ts';
import { WorkerPool } from '../workers/pool.ts';
import { SegmentChain } from '../workers/segments.ts';
import { totalsOf } from './counters.ts';
import type { ReplayResult, SourceResult } from './replay.ts';
import type { ParallelOptions, ParallelPlan } from './replay-parallel.ts';
import {
  type PlannedFile,
  PROGRESS_BYTES,
  PROGRESS_NUMBERS,
  PROGRESS_PACKETS,
  type SegmentResult,
  type WorkerStart,
} from './replay-parallel-messages.ts';
import { Replayer } from './replayer.ts';
import { type LanePlan, planLane } from './wasm-lane.ts';

/**
 * Large segments first, since each has a cost of its own, and smaller ones towards the end, so that all workers end at about the same time: each
 * is this share of what a worker will get of the rest.
 */
const SEGMENT_SHARE = 0.5;
const SEGMENT_BYTES_MIN = 1 << 22;
const SEGMENT_BYTES_MAX = 1 << 26;
/** Segments in front of the first that is not finished yet, and files in front of it, a worker. */
const AHEAD_PER_WORKER = 4;
/** Segments in a worker's hands: it goes on with the second while the first one's result is on its way. */
const TASKS_PER_WORKER = 2;
const POLL_MS = 100;

export async function replaySegments(
  tables: Tables,
  plan: ParallelPlan,
  options: ParallelOptions,
): Promise<ReplayResult> {
  const { workers } = plan;
  const feed = new Feed(workers, false);
  const progress = new SharedArrayBuffer(workers * PROGRESS_NUMBERS * 8);
  const gathering = new Gathering(tables, plan, options, new Float64Array(progress));
  const wantsWasm = options.form === undefined || options.form === 'wasm';
  const lane = wantsWasm ? planLane(tables) : undefined;
  let finish: () => void = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  /** Workers that may be given a segment, as often as they may be given one. */
  const free: number[] = [];
  let tasks = 0;
  const assign = (): void => {
    while (free.length > 0 && options.signal?.aborted !== true) {
      const task = gathering.take();
      if (task === undefined) break;
      tasks++;
      pool.post(free.shift()!, task);
    }
    if (tasks === 0 && (gathering.isDone || options.signal?.aborted === true)) finish();
  };
  const pool = poolOf(options, workers);
  pool.listen((worker, message) => {
    tasks--;
    free.push(worker);
    gathering.put(worker, message as SegmentResult);
    assign();
  });
  const onAbort = (): void => {
    feed.end();
    assign();
  };
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setInterval(() => gathering.report(), POLL_MS);
  try {
    // What does not fit that form here, does not fit it there.
    const workerForm: ParallelOptions = wantsWasm && lane === undefined ? { ...options, form: 'script' } : options;
    startAll(pool, tables, plan, workerForm, { feed, progress, conntrack: undefined, lane });
    for (let i = 0; i < TASKS_PER_WORKER * workers; i++) free.push(i % workers);
    if (options.signal?.aborted === true) onAbort();
    assign();
    await Promise.race([finished, pool.failure]);
    return gathering.finish();
  } finally {
    clearInterval(timer);
    options.signal?.removeEventListener('abort', onAbort);
    // Who brought the threads waits for their end: there is an answer to print meanwhile.
    const stopped = pool.stop();
    if (pool !== options.pool) await stopped;
  }
}

/** The threads that were started for this replay ahead of time, or new ones. */
export function poolOf({ pool }: ParallelOptions, workers: number): WorkerPool {
  return pool?.size === workers ? pool : startPool(workers);
}

export function startPool(workers: number): WorkerPool {
  return new WorkerPool(threadEntry(import.meta.url, 'replay-worker'), workers);
}

/** Tells each worker what it is to do; returns the ports by which they hear of errors of the feed. */
export function startAll(
  pool: WorkerPool,
  tables: Tables,
  { workers, files, division }: ParallelPlan,
  options: ParallelOptions,
  memory: {
    readonly feed: Feed;
    readonly progress: SharedArrayBuffer;
    readonly conntrack: SharedArrayBuffer | undefined;
    readonly lane: LanePlan | undefined;
  },
): MessagePort[] {
  return Array.from({ length: workers }, (_, worker) => {
    const { port1, port2 } = new MessageChannel();
    const start: WorkerStart = {
      tables: tables.buffer,
      options: workerOptions(options),
      worker,
      workers,
      division,
      files,
      wantsLines: options.onPacket !== undefined || options.onPacketText !== undefined,
      wantsConnections: options.onConnection !== undefined || options.onConnectionText !== undefined,
      wantsTimes: options.times !== undefined,
      feed: memory.feed.memory,
      errors: port2,
      conntrack: memory.conntrack,
      lane: memory.lane,
      progress: memory.progress,
    };
    pool.post(worker, start, [port2]);
    return port1;
  });
}

/** The options that a worker needs; functions cannot travel. */
export function workerOptions(options: ParallelOptions): WorkerStart['options'] {
  const { stateless, decapsulate, capturePoint, conntrackEntries, connectionEntries, trackedBatchesFrom, form } =
    options;
  return {
    ...(stateless === undefined ? {} : { stateless }),
    ...(decapsulate === undefined ? {} : { decapsulate }),
    ...(capturePoint === undefined ? {} : { capturePoint }),
    ...(form === undefined ? {} : { form }),
    ...(conntrackEntries === undefined ? {} : { conntrackEntries }),
    ...(connectionEntries === undefined ? {} : { connectionEntries }),
    ...(trackedBatchesFrom === undefined ? {} : { trackedBatchesFrom }),
  };
}

interface FileState {
  readonly file: PlannedFile;
  readonly chain: SegmentChain<SegmentResult>;
  packets: number;
  bytes: number;
  /** Fragments of segments that count, while a file before this one is not done. */
  readonly frames: PackedFrames[];
  source: SourceResult | undefined;
  hasStarted: boolean;
}

/** What has been found so far. */
export class Gathering {
  readonly #options: ParallelOptions;
  readonly #states: FileState[];
  readonly #counters;
  readonly #tables: Tables;
  /** Puts fragments together and judges them; there are none in most captures. */
  #fragments: Replayer | undefined;
  readonly #progress: Float64Array;
  readonly #ahead: number;
  readonly #workers: number;
  /** The first file that is not done. */
  #current = 0;

  constructor(tables: Tables, { files, workers }: ParallelPlan, options: ParallelOptions, progress: Float64Array) {
    this.#options = options;
    this.#progress = progress;
    this.#counters = createCounters(tables);
    this.#tables = tables;
    this.#workers = workers;
    this.#ahead = AHEAD_PER_WORKER * workers;
    let bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    this.#states = files.map((file, index): FileState => {
      const isWhole = file.header === undefined;
      bytes -= file.sizeBytes;
      const bytesBehind = bytes;
      const segmentBytes = (left: number): number => segmentSize((left + bytesBehind) / workers);
      const chain = new SegmentChain<SegmentResult>({
        file: index,
        firstRecord: isWhole ? 0 : PCAP_FIRST_RECORD,
        sizeBytes: file.sizeBytes,
        segmentBytes: isWhole ? Number.POSITIVE_INFINITY : (options.segmentBytes ?? segmentBytes),
      });
      return { file, chain, packets: 0, bytes: 0, frames: [], source: undefined, hasStarted: false };
    });
  }

  get isDone(): boolean {
    return this.#current === this.#states.length;
  }

  take(): ReturnType<SegmentChain<SegmentResult>['take']> {
    const last = Math.min(this.#states.length, this.#current + this.#ahead);
    for (let file = this.#current; file < last; file++) {
      const state = this.#states[file]!;
      const task = state.chain.take(this.#ahead);
      if (task === undefined) continue;
      state.hasStarted = true;
      return task;
    }
    return undefined;
  }

  put(worker: number, result: SegmentResult): void {
    this.#progress.fill(0, worker * PROGRESS_NUMBERS, (worker + 1) * PROGRESS_NUMBERS);
    const state = this.#states[result.file]!;
    for (const found of state.chain.put(result.index, result)) this.#accept(state, found);
    while (!this.isDone) {
      const current = this.#states[this.#current]!;
      this.#judgeFragments(current);
      if (!current.chain.isDone) break;
      this.#current++;
    }
    this.report();
  }

  report(): void {
    const state = this.#states[Math.min(this.#current, this.#states.length - 1)]!;
    let { bytes, packets } = state;
    for (let at = 0; at < this.#progress.length; at += PROGRESS_NUMBERS) {
      bytes += this.#progress[at + PROGRESS_BYTES]!;
      packets += this.#progress[at + PROGRESS_PACKETS]!;
    }
    const sizeBytes = state.file.sizeBytes;
    this.#options.onProgress?.({
      file: state.file.path,
      bytesRead: Math.min(bytes, sizeBytes),
      sizeBytes,
      packets,
    });
  }

  finish(): ReplayResult {
    for (const state of this.#states.slice(0, this.#current + 1)) this.#judgeFragments(state);
    if (this.#fragments !== undefined) {
      this.#fragments.finish();
      addCounters(this.#counters, this.#fragments.counters);
    }
    const isAborted = this.#options.signal?.aborted === true;
    const shown = this.#states.slice(0, isAborted ? this.#current + 1 : this.#states.length);
    return {
      totals: totalsOf(this.#counters, 0),
      counters: this.#counters,
      sources: shown.filter(({ hasStarted }) => hasStarted).map((state) => sourceOf(state, null)),
      interrupted: isAborted,
      evictedConnections: 0,
      workers: this.#workers,
    };
  }

  #accept(state: FileState, found: SegmentResult): void {
    if (found.hasError && state.file.header !== undefined) {
      state.source = this.#diagnose(state, found);
    } else if (state.file.header === undefined) {
      state.source = { ...found.source!, file: state.file.path };
    }
    addCounters(this.#counters, found.counters);
    if (found.stageMs !== undefined) this.#options.times?.addAll(found.stageMs);
    state.packets += found.packets;
    state.bytes += found.stop - found.start;
    if (found.frames !== undefined) state.frames.push(found.frames);
  }

  #judgeFragments(state: FileState): void {
    for (const packed of state.frames.splice(0)) {
      // Few packets at most: not worth the WebAssembly form.
      this.#fragments ??= new Replayer(this.#tables, { ...workerOptions(this.#options), form: 'script' }, {});
      for (const { batch, packets, interfaceName } of unpackFrames(packed)) {
        // Numbers of a segment start anew with each: here they only tell fragments apart.
        for (let row = 0; row < batch.count; row++) packets[row] = ++this.#fragmentCount;
        this.#fragments.batch(batch, { interfaceName }, packets);
      }
    }
  }

  #fragmentCount = 0;

  /** Walks over the damaged segment once more: texts of errors count the packets of the whole file. */
  #diagnose(state: FileState, found: SegmentResult): SourceResult {
    const { file } = state;
    const reader = new PcapSegmentReader(file.path, file.header!, found.start, Number.POSITIVE_INFINITY, state.packets);
    const batch = createRecordBatch();
    try {
      do while (reader.next(batch) > 0);
      while (reader.fill());
      return sourceOf({ ...state, packets: reader.packetsRead }, reader.error?.message ?? null);
    } finally {
      reader.close();
    }
  }
}

function segmentSize(bytesPerWorker: number): number {
  return Math.min(SEGMENT_BYTES_MAX, Math.max(SEGMENT_BYTES_MIN, Math.ceil(bytesPerWorker * SEGMENT_SHARE)));
}

function sourceOf(state: FileState, error: string | null): SourceResult {
  if (state.source !== undefined) return state.source;
  const { file, packets } = state;
  return { file: file.path, packets, link_type: file.header?.linkType, lost: 0, error };
}
