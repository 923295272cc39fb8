/** What a worker of a queue does with a job: judges a share of all packets, or segments of captures, in a thread of its own (replay-worker.ts). */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { CONNTRACK_ENTRIES_DEFAULT, createConntrack } from '../conntrack/table.ts';
import { Feed } from '../workers/feed.ts';
import type { WorkerPool } from '../workers/pool.ts';
import type { SegmentTask } from '../workers/segments.ts';
import type { RunRecord } from './queue-run.ts';
import type { SourceResult } from './replay.ts';
import {
  type PlannedFile,
  PROGRESS_BYTES,
  PROGRESS_NUMBERS,
  PROGRESS_PACKETS,
  type SegmentResult,
  type WorkerMessage,
  type WorkerStart,
} from './replay-parallel-messages.ts';
import { feedAll } from './replay-parallel-shares.ts';

/** A run as it is on this machine. */
export interface LocalRun {
  readonly record: RunRecord;
  /** Where the captures are here. */
  readonly files: readonly PlannedFile[];
  readonly tables: SharedArrayBuffer;
}

/** How far a job is. */
export interface JobProgress {
  /** From 0 to 1. */
  share: number;
  packets: number;
}

/** Tells the thread of `pool` what it is to do; returns the port by which it hears of errors of the feed. */
function start(
  pool: WorkerPool,
  { record, files, tables }: LocalRun,
  feed: Feed,
  more: Pick<WorkerStart, 'worker' | 'conntrack' | 'progress'>,
): MessagePort {
  const { options, division, shares, wantsLines, wantsConnections, wantsTimes } = record;
  const { port1, port2 } = new MessageChannel();
  const message: WorkerStart = {
    tables,
    options,
    workers: shares,
    division,
    files,
    wantsLines,
    wantsConnections,
    wantsTimes,
    feed: feed.memory,
    errors: port2,
    lane: undefined,
    ...more,
  };
  pool.post(0, message, [port2]);
  return port1;
}

/**
 * Judges share `share` of a run, as worker `share` of `record.shares` threads would. `send` gets all messages, one after the other; the
 * thread, the one of `pool`, which ends with this, waits for it where it runs ahead. Rejects with a WorkerFault, with what `send` rejects with, or when the signal is aborted.
 */
export async function judgeShareJob(
  pool: WorkerPool,
  local: LocalRun,
  share: number,
  send: (message: WorkerMessage) => Promise<void>,
  progress: JobProgress,
  signal: AbortSignal,
): Promise<void> {
  const { record, files } = local;
  const total = Math.max(
    1,
    files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  );
  const starts = files.map((_, i) => files.slice(0, i).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  const feed = new Feed(1, record.needsRing);
  const leaving = new Leaving();
  let sending = Promise.resolve();
  let end: (error?: unknown) => void = () => {};
  const finished = new Promise<void>((resolve, reject) => {
    end = (error) => (error === undefined ? resolve() : reject(error));
  });
  pool.listen((_index, data) => {
    const message = data as WorkerMessage;
    if (message.kind === 'report') {
      leaving.reached(message.file);
      progress.packets = message.packets;
      progress.share = Math.min(1, ((starts[message.file] ?? total) + message.bytesRead) / total);
    } else {
      pool.done(0);
    }
    sending = sending.then(() => send(renamed(message, local)));
    sending.then(() => (message.kind === 'report' ? feed.report(0, message.steps) : end()), end);
  });
  const conntrack = record.options.stateless === true ? undefined : conntrackOf(record);
  const errors = start(pool, local, feed, { worker: share, conntrack, progress: new SharedArrayBuffer(0) });
  const onAbort = (): void => end(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  finished.catch(() => {});
  try {
    const plan = { workers: 1, division: record.division, files, needsRing: record.needsRing };
    const fed = record.needsRing ? feedAll(feed, [errors], plan, leaving, { bytesRead: 0 }) : finished;
    await Promise.race([Promise.all([fed, finished]), pool.failure]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    feed.end();
    errors.close();
    await pool.stop();
  }
}

function conntrackOf({ options }: RunRecord): SharedArrayBuffer {
  return createConntrack({ capacityEntries: options.conntrackEntries ?? CONNTRACK_ENTRIES_DEFAULT }).buffer;
}

/** Tells who reads for the thread when it wants no more of a file. */
class Leaving {
  #file = -1;
  #resolve: (bytes: 0) => void = () => {};

  leaves(file: number): Promise<0> {
    this.#file = file;
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  reached(file: number): void {
    if (file > this.#file && this.#file >= 0) this.#resolve(0);
  }
}

/** A thread that judges segment after segment of one run. */
export class SegmentThread {
  readonly #local: LocalRun;
  readonly #pool: WorkerPool;
  readonly #feed = new Feed(1, false);
  readonly #progress: Float64Array;
  readonly #errors: MessagePort;
  #take: (result: SegmentResult) => void = () => {};

  constructor(pool: WorkerPool, local: LocalRun) {
    this.#local = local;
    const progress = new SharedArrayBuffer(PROGRESS_NUMBERS * 8);
    this.#progress = new Float64Array(progress);
    this.#pool = pool;
    this.#pool.listen((_index, message) => this.#take(message as SegmentResult));
    this.#errors = start(this.#pool, local, this.#feed, { worker: 0, conntrack: undefined, progress });
  }

  /** Rejects with a WorkerFault, or when the signal is aborted: then the thread is of no more use. */
  async judge(task: SegmentTask, progress: JobProgress, signal: AbortSignal): Promise<SegmentResult> {
    const { sizeBytes } = this.#local.files[task.file]!;
    const bytes = Math.max(1, Math.min(task.end, sizeBytes) - Math.min(task.start, sizeBytes));
    const timer = setInterval(() => {
      progress.packets = this.#progress[PROGRESS_PACKETS]!;
      progress.share = Math.min(1, this.#progress[PROGRESS_BYTES]! / bytes);
    }, 200);
    let onAbort = (): void => {};
    try {
      const result = await new Promise<SegmentResult>((resolve, reject) => {
        this.#take = resolve;
        onAbort = () => reject(signal.reason as Error);
        signal.addEventListener('abort', onAbort, { once: true });
        if (signal.aborted) onAbort();
        this.#pool.failure.catch(reject);
        this.#pool.post(0, task);
      });
      return renamed(result, this.#local) as SegmentResult;
    } finally {
      clearInterval(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  async stop(): Promise<void> {
    this.#feed.end();
    this.#errors.close();
    await this.#pool.stop();
  }
}

/** Captures by the names that the user gave them, in the texts of errors, too. */
function renamed(message: WorkerMessage, { record, files }: LocalRun): WorkerMessage {
  if (message.kind === 'report') return message;
  const rename = (source: SourceResult, index: number): SourceResult => {
    const { path } = files[index]!;
    const { name } = record.files[index]!;
    const { error } = source;
    return { ...source, file: name, error: error?.startsWith(`${path}: `) ? name + error.slice(path.length) : error };
  };
  if (message.kind === 'final') return { ...message, sources: message.sources.map(rename) };
  return message.source === undefined ? message : { ...message, source: rename(message.source, message.file) };
}
