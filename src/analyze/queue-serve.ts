/**
 * `margay worker`: takes jobs of all runs of a cluster, the oldest run first, as many at a time as it has slots, and judges each in a thread.
 *
 * What an attempt finds goes into Redis piece by piece while it works. It counts when the job is completed with the number and digest of all
 * pieces, which only the holder of the job's lock can do; until then the submitter keeps it apart. So a worker may die, or lose its lock, at any
 * moment: another one begins the job anew under a new attempt, and what the first one left is thrown away.
 *
 * A machine that cannot do a run (captures missing or others, another version) says why beside the run, and takes none of its jobs.
 */
import { randomBytes } from 'node:crypto';
import type { RedisConfig } from '../identity/redis-config.ts';
import type { WorkerPool } from '../workers/pool.ts';
import type { SegmentTask } from '../workers/segments.ts';
import { type HeldJob, JobTaker } from './queue-jobs.ts';
import { type JobProgress, judgeShareJob, type LocalRun, SegmentThread } from './queue-judge.ts';
import { openLocalRun } from './queue-local.ts';
import { isCount, isObject, need, parseRun, QueueError, type RunRecord } from './queue-run.ts';
import { briefly, patiently, pause, QueueStore } from './queue-store.ts';
import { ResultWriter, RunGone } from './queue-writer.ts';
import { startPool } from './replay-parallel-segments.ts';

const LOOK_MS = 400;
const BEAT_MS = 1_000;
/** Between two questions for a job, where there was none: while a run is there, and while there is none. */
const IDLE_MS = 30;
const QUIET_MS = 200;
/** How long Redis may be away at the start. */
const START_PATIENCE_MS = 10_000;
/** How long a job may go on after SIGTERM before it is given back. */
const GRACE_MS = 5_000;
const LAST_WORDS_MS = 2_000;

export interface ServeOptions {
  readonly config: RedisConfig;
  readonly cluster: string;
  /** Version of margay. */
  readonly program: string;
  /** Jobs at one time. */
  readonly concurrency: number;
  readonly root?: string | undefined;
  /** One line a thing that happens. */
  readonly onNote: (text: string) => void;
  /** No further jobs; those in hand are finished, or given back after `graceMs`. */
  readonly stop: AbortSignal;
  readonly graceMs?: number;
}

export interface Served {
  /** Jobs that were completed here. */
  jobs: number;
}

/** Serves until `stop` is aborted. Rejects with a `QueueError` if Redis cannot be reached at the start. */
export async function serveQueue(options: ServeOptions): Promise<Served> {
  const server = new QueueServer(options);
  return server.serve();
}

interface OpenRun {
  readonly id: string;
  readonly local: LocalRun;
  readonly taker: JobTaker;
  isGone: boolean;
}

interface Slot {
  readonly number: number;
  job: { readonly run: OpenRun; readonly id: string; readonly progress: JobProgress } | undefined;
  thread: { readonly run: OpenRun; readonly thread: SegmentThread } | undefined;
  /** A thread that has loaded its code while there was nothing to do. */
  spare: WorkerPool | undefined;
}

function poolOf(slot: Slot): WorkerPool {
  const pool = slot.spare ?? startPool(1);
  slot.spare = undefined;
  return pool;
}

class QueueServer {
  readonly #options: ServeOptions;
  readonly #store: QueueStore;
  readonly #id = randomBytes(6).toString('hex');
  readonly #runs = new Map<string, OpenRun>();
  /** Why runs are not served here. */
  readonly #refused = new Map<string, string>();
  readonly #slots: Slot[];
  /** Aborted when jobs in hand are to be given back. */
  readonly #giveUp = new AbortController();
  readonly #served: Served = { jobs: 0 };
  readonly #stopped: Promise<undefined>;
  #trouble = '';

  constructor(options: ServeOptions) {
    this.#options = options;
    this.#stopped = aborted(options.stop);
    this.#store = new QueueStore(options.config, options.cluster);
    this.#slots = Array.from({ length: options.concurrency }, (_, number) => ({
      number,
      job: undefined,
      thread: undefined,
      spare: undefined,
    }));
  }

  async serve(): Promise<Served> {
    const { stop, graceMs = GRACE_MS, concurrency } = this.#options;
    const hello = (): Promise<void> => this.#store.hello(this.#id, String(concurrency));
    try {
      await patiently(hello, START_PATIENCE_MS, stop);
      this.#options.onNote(`ready for jobs from Redis at ${this.#store.name}, ${concurrency} at a time`);
      const onStop = (): void => {
        setTimeout(() => this.#giveUp.abort(new Error('stopped')), graceMs).unref();
      };
      stop.addEventListener('abort', onStop, { once: true });
      if (stop.aborted) onStop();
      const slots = Promise.all(this.#slots.map((slot) => this.#work(slot)));
      const ended = new AbortController();
      const beating = this.#every(BEAT_MS, ended.signal, async () => {
        await hello();
        await this.#beat();
      });
      const looking = this.#every(LOOK_MS, stop, () => this.#look());
      await slots;
      ended.abort();
      await Promise.all([beating, looking]);
      await briefly(this.#store.goodbye(this.#id), LAST_WORDS_MS);
      return this.#served;
    } finally {
      await Promise.all([...this.#runs.values()].map(({ taker }) => taker.close()));
      this.#store.close();
    }
  }

  /** Does `what` again and again until the signal; trouble of the connection is told once. */
  async #every(ms: number, signal: AbortSignal, what: () => Promise<void>): Promise<void> {
    while (!signal.aborted) {
      try {
        await what();
        this.#note('');
      } catch (error) {
        this.#note((error as Error).message);
      }
      await pause(ms, signal);
    }
  }

  #note(trouble: string): void {
    if (trouble !== this.#trouble && trouble !== '') this.#options.onNote(`${trouble}; trying again`);
    this.#trouble = trouble;
  }

  /** Opens runs that have come, and closes those that are gone. */
  async #look(): Promise<void> {
    const ids = await this.#store.runs();
    for (const id of [...this.#runs.keys(), ...this.#refused.keys()]) {
      if (!ids.includes(id)) await this.#forget(id);
    }
    for (const id of ids) {
      if (this.#runs.has(id) || this.#refused.has(id)) continue;
      const text = await this.#store.record(id).catch(refusal);
      // Its submitter has died: the rest of what it left goes, too.
      if (text === undefined) await this.#store.remove(id);
      else await this.#open(id, text);
    }
  }

  async #open(id: string, text: string | QueueError): Promise<void> {
    const { config, program, root } = this.#options;
    try {
      if (text instanceof QueueError) throw text;
      const record = parseRun(text, program);
      const local = await openLocalRun(this.#store, id, record, root);
      const taker = new JobTaker(config, this.#store.keys.prefix, id, record.lockMs, (trouble) => this.#note(trouble));
      this.#runs.set(id, { id, local, taker, isGone: false });
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      this.#refused.set(id, error.message);
      this.#options.onNote(`run ${id} is not for this worker: ${error.message}`);
    }
    await this.#beat();
  }

  async #forget(id: string): Promise<void> {
    this.#refused.delete(id);
    const run = this.#runs.get(id);
    if (run === undefined) return;
    run.isGone = true;
    this.#runs.delete(id);
    await run.taker.close();
    await this.#store.remove(id);
  }

  async #beat(): Promise<void> {
    for (const [id, refuses] of this.#refused) {
      if (!(await this.#store.beat(id, this.#id, JSON.stringify({ refuses: refuses.slice(0, 1000) })))) {
        this.#refused.delete(id);
      }
    }
    for (const run of this.#runs.values()) {
      const jobs = this.#slots.flatMap(({ job }) =>
        job?.run === run ? [{ id: job.id, share: job.progress.share, packets: job.progress.packets }] : [],
      );
      const text = JSON.stringify({ slots: this.#slots.length, jobs: jobs.slice(0, 40) });
      if (!(await this.#store.beat(run.id, this.#id, text))) await this.#forget(run.id);
    }
  }

  async #work(slot: Slot): Promise<void> {
    const { stop } = this.#options;
    let count = 0;
    while (!stop.aborted) {
      const token = `${this.#id}:${slot.number}:${count++}`;
      const taken = await this.#take(token);
      if (taken === undefined) {
        if (slot.thread?.run.isGone === true) await this.#endThread(slot);
        if (slot.thread === undefined) slot.spare ??= startPool(1);
        await pause(this.#runs.size > 0 ? IDLE_MS : QUIET_MS, stop);
        continue;
      }
      await this.#do(slot, taken.run, taken.job);
    }
    await this.#endThread(slot);
    await slot.spare?.stop();
  }

  async #take(token: string): Promise<{ run: OpenRun; job: HeldJob } | undefined> {
    for (const run of this.#runs.values()) {
      try {
        // While Redis is away the question stands; whoever has to stop does not wait for it.
        const job = await Promise.race([run.taker.take(token), this.#stopped]);
        if (job !== undefined) return { run, job };
      } catch (error) {
        if (!run.isGone) this.#note((error as Error).message);
      }
    }
    return undefined;
  }

  async #do(slot: Slot, run: OpenRun, job: HeldJob): Promise<void> {
    const progress = { share: 0, packets: 0 };
    const lost = new AbortController();
    const signal = AbortSignal.any([lost.signal, this.#giveUp.signal]);
    const { lockMs, division } = run.local.record;
    const renewal = setInterval(() => {
      if (run.isGone) lost.abort(new RunGone());
      job.renew().then(
        (isOurs) => isOurs || lost.abort(new JobLost()),
        () => {},
      );
    }, lockMs / 4);
    slot.job = { run, id: job.id, progress };
    const startMs = performance.now();
    try {
      const writer = new ResultWriter(this.#store, run.id, job.id, signal);
      if (division === 'segments') await this.#judgeSegment(slot, run, job, writer, progress, signal);
      else await this.#judgeShare(slot, run, job, writer, progress, signal);
      const isOurs = await job.complete(await writer.finish());
      if (!isOurs) throw new JobLost();
      this.#served.jobs++;
      const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
      this.#options.onNote(`run ${run.id}: job ${job.id} done in ${seconds} s`);
    } catch (error) {
      await this.#endThread(slot);
      await this.#failed(run, job, signal.aborted ? signal.reason : error);
    } finally {
      clearInterval(renewal);
      slot.job = undefined;
    }
  }

  async #judgeShare(
    slot: Slot,
    { local }: OpenRun,
    { data }: HeldJob,
    writer: ResultWriter,
    progress: JobProgress,
    signal: AbortSignal,
  ): Promise<void> {
    const share = shareOf(data, local.record);
    await judgeShareJob(poolOf(slot), local, share, (message) => writer.write(message), progress, signal);
  }

  async #judgeSegment(
    slot: Slot,
    run: OpenRun,
    { data }: HeldJob,
    writer: ResultWriter,
    progress: JobProgress,
    signal: AbortSignal,
  ): Promise<void> {
    const task = segmentOf(data, run.local.record);
    if (slot.thread?.run !== run) {
      await this.#endThread(slot);
      slot.thread = { run, thread: new SegmentThread(poolOf(slot), run.local) };
    }
    await writer.write(await slot.thread.thread.judge(task, progress, signal));
  }

  async #failed(run: OpenRun, job: HeldJob, error: unknown): Promise<void> {
    if (error instanceof RunGone || run.isGone) {
      this.#options.onNote(`run ${run.id}: it is over; job ${job.id} is dropped`);
      return;
    }
    if (error instanceof JobLost) {
      this.#options.onNote(
        `run ${run.id}: job ${job.id} went to another worker, since Redis had heard nothing of this one`,
      );
      return;
    }
    const isStopped = this.#giveUp.signal.aborted;
    const { message } = error as Error;
    this.#options.onNote(`run ${run.id}: job ${job.id} ${isStopped ? 'is given back' : `failed: ${message}`}`);
    const ending = isStopped ? job.giveBack() : job.fail(message.slice(0, 1000));
    await briefly(ending, LAST_WORDS_MS);
  }

  async #endThread(slot: Slot): Promise<void> {
    const thread = slot.thread?.thread;
    slot.thread = undefined;
    await thread?.stop();
  }
}

/** The lock has run out, and somebody else may have the job. */
class JobLost extends Error {}

/** One run that cannot be read must not keep this worker from the others. */
function refusal(error: unknown): QueueError {
  if (error instanceof QueueError) return error;
  if (error instanceof Error && error.message.includes('WRONGTYPE')) return new QueueError(error.message);
  throw error;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

function shareOf(data: unknown, { shares }: RunRecord): number {
  need(isObject(data) && isCount(data.share, shares - 1), 'the job makes no sense');
  return data.share;
}

/** A segment as it travels; JSON has no Infinity. */
export function segmentData({ end, ...task }: SegmentTask): unknown {
  return { ...task, end: Number.isFinite(end) ? end : null };
}

function segmentOf(data: unknown, { files }: RunRecord): SegmentTask {
  need(isObject(data), 'the job makes no sense');
  const { file, index, start, end, isExact } = data;
  need(isCount(file, files.length - 1) && isCount(index) && isCount(start), 'the job makes no sense');
  need((end === null || isCount(end)) && typeof isExact === 'boolean', 'the job makes no sense');
  return { file, index, start, end: end ?? Number.POSITIVE_INFINITY, isExact };
}
