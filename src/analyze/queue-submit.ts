/**
 * A replay by the workers of a queue, with the answer of one machine, to the byte.
 *
 * How it is divided. Verdicts are those of `replay-parallel.ts`, which proves by its tests that a replay in parts is the replay: the same
 * planner, the same threads and the same merge are at work here, with Redis in place of memory. So a job is
 *
 *   segments   a piece of a capture, where packets are judged each by itself and only counted; pieces follow as they are done
 *   blocks     share k of N of the packets, each judged by itself, in all captures
 *   flows      share k of N of the flows, by the hash of the connection, in all captures
 *
 * Never a file of several: connections go on from one rotated file to the next, and what they share lies in one share. Each share walks over
 * all captures (some 40 ns a packet) and judges only what is its own.
 *
 * When it is printed. Pieces of results go to a spool on this disk as they come. When every job has been completed once, by an attempt of which
 * every piece is there and fits its digest, they are merged and printed: all of the answer, or none of it.
 */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { shownText } from '../base/errors.ts';
import type { RedisConfig } from '../identity/redis-config.ts';
import { createCounters } from '../match/counters.ts';
import { LAYOUT_VERSION } from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { countedPackets } from '../workers/counters.ts';
import { JobBoard } from './queue-jobs.ts';
import { mergeOf, type QueueMerge } from './queue-merge.ts';
import {
  edgeDigest,
  isCount,
  isDigest,
  isObject,
  need,
  PIECE_BYTES,
  QueueError,
  RUN_FORMAT,
  type RunRecord,
  SHARES_MAX,
  sha256,
  TABLES_BYTES_MAX,
} from './queue-run.ts';
import { type AttemptSpool, SpoolFolder } from './queue-spool.ts';
import { briefly, patiently, pause, QueueStore, type SeenWorker } from './queue-store.ts';
import { type ReplayResult, replayCaptures } from './replay.ts';
import { type ParallelOptions, type ParallelPlan, planParallel } from './replay-parallel.ts';
import { workerOptions } from './replay-parallel-segments.ts';
import { STAGE_NAMES } from './stage-times.ts';

/** All keys of a run go by themselves when nothing was heard of its submitter for so long. */
const TTL_MS = 30_000;
/** A job goes to another worker when nothing was heard of its own for so long. */
const LOCK_MS = 10_000;
/** How long Redis may be away, and how long there may be no worker for the run. */
const AWAY_MS = 30_000;
const NO_WORKER_MS = 60_000;
/** At the start there is nothing to lose yet, and the address may be wrong. */
const START_MS = 2_000;
const NO_WORKER_NOTE_MS = 2_000;
const LOOK_MS = 40;
const WORKERS_LOOK_MS = 500;
/** Times that a completed job may be done again, because Redis has lost a piece of it. */
const TRIES = 3;
/** Attempts at a job whose pieces are kept apart. */
const ATTEMPTS_MAX = 8;
const JOBS_MAX = 64;
/** Shares of a run where nobody says how many: two for each slot of a worker. */
const SHARES_AUTO_MIN = 4;
const SHARES_AUTO_MAX = 16;
const CLEAN_MS = 3_000;
/** A piece of a capture is some milliseconds of work and a job some more of talk, so pieces are larger than those of threads. */
const SEGMENT_BYTES_MIN = 16 * 1024 * 1024;
const SEGMENT_BYTES_MAX = 256 * 1024 * 1024;
const SEGMENTS_PER_SHARE = 2;

export interface QueuePlace {
  readonly config: RedisConfig;
  readonly cluster: string;
  /** Version of margay. */
  readonly program: string;
  readonly onNote: (text: string) => void;
  /** The times above, for tests. */
  readonly ttlMs?: number;
  readonly lockMs?: number;
  readonly awayMs?: number;
  readonly noWorkerMs?: number;
}

/** Ctrl-C: nothing was printed, and the keys are gone. */
export class QueueCancelled extends Error {
  override readonly name = 'QueueCancelled';
}

/**
 * Replays by the queue at `place`. `options.workers` is the number of shares; 1 or `auto`: as many as fit the workers that are there. Rejects
 * with a `QueueError` when no whole answer comes, with `QueueCancelled` when the signal is aborted.
 */
export async function replayByQueue(
  tables: Tables,
  files: readonly string[],
  options: ParallelOptions,
  place: QueuePlace,
): Promise<ReplayResult> {
  const store = new QueueStore(place.config, place.cluster);
  try {
    const seen = await patiently(() => store.workers(), START_MS, options.signal);
    const shares = sharesFor(seen, options.workers);
    const plan = await planParallel(files, { ...options, workers: shares, bytesPerWorker: 1 });
    // A capture of no bytes, or one that cannot be opened: there is nothing to share out.
    if (plan === undefined) return await replayCaptures(tables, files, { ...options, workers: 1 });
    const segmentBytes = options.segmentBytes ?? segmentBytesFor(plan);
    const submission = new Submission(store, tables, plan, { ...options, segmentBytes }, place);
    return await submission.run();
  } finally {
    store.close();
  }
}

function sharesFor(seen: readonly SeenWorker[], wanted: ParallelOptions['workers']): number {
  if (typeof wanted === 'number' && wanted > 1) return Math.min(wanted, SHARES_MAX);
  const slots = seen.reduce((sum, { text }) => sum + (/^\d{1,3}$/.test(text) ? Number(text) : 0), 0);
  return Math.max(SHARES_AUTO_MIN, Math.min(SHARES_AUTO_MAX, 2 * slots));
}

function segmentBytesFor({ files, workers }: ParallelPlan): number {
  const fair = Math.ceil(files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) / (workers * SEGMENTS_PER_SHARE));
  return Math.min(SEGMENT_BYTES_MAX, Math.max(SEGMENT_BYTES_MIN, fair));
}

/** A job that is out. */
interface OpenJob {
  readonly data: unknown;
  readonly attempts: Map<string, AttemptSpool>;
  readonly tries: number;
}

class Submission {
  readonly #store: QueueStore;
  readonly #tables: Tables;
  readonly #plan: ParallelPlan;
  readonly #options: ParallelOptions;
  readonly #place: QueuePlace;
  readonly #run = randomBytes(8).toString('hex');
  readonly #nonce = randomBytes(12).toString('hex');
  readonly #spools = new SpoolFolder();
  readonly #jobs = new Map<string, OpenJob>();
  readonly #merge: QueueMerge;
  #count = 0;
  #done = 0;
  /** The last piece that was read. */
  #last = '';
  #workers: readonly SeenWorker[] = [];
  #workersMs = 0;
  #keptMs = 0;
  #servedMs = performance.now();
  #isWaitNoted = false;
  readonly #noted = new Set<string>();
  #trouble = '';

  constructor(store: QueueStore, tables: Tables, plan: ParallelPlan, options: ParallelOptions, place: QueuePlace) {
    this.#store = store;
    this.#tables = tables;
    this.#plan = plan;
    this.#options = options;
    this.#place = place;
    const expected = { files: plan.files.length, counters: createCounters(tables), stages: STAGE_NAMES.length };
    this.#merge = mergeOf(tables, plan, options, expected);
  }

  async run(): Promise<ReplayResult> {
    const { config } = this.#place;
    const onTrouble = (trouble: string): void => {
      this.#trouble = trouble;
    };
    const board = new JobBoard(config, this.#store.keys.prefix, this.#run, onTrouble);
    try {
      await this.#ask(() => this.#create());
      while (!this.#merge.isDone) {
        await this.#fill(board);
        await this.#keep();
        await this.#read();
        const hadNews = await this.#collect(board);
        await this.#look();
        this.#report();
        if (!hadNews) await pause(LOOK_MS, this.#options.signal);
        if (this.#options.signal?.aborted === true) throw new QueueCancelled('cancelled');
      }
      return await this.#finish();
    } finally {
      await board.close();
      await briefly(this.#store.remove(this.#run), CLEAN_MS);
      this.#merge.close();
      for (const { attempts } of this.#jobs.values()) for (const spool of attempts.values()) spool.close();
      this.#spools.close();
    }
  }

  async #create(): Promise<void> {
    const { division, workers, needsRing, files } = this.#plan;
    const { ttlMs = TTL_MS, lockMs = LOCK_MS, program } = this.#place;
    const { buffer } = this.#tables;
    need(
      buffer.byteLength <= TABLES_BYTES_MAX,
      `the tables have ${buffer.byteLength} bytes; more than ${TABLES_BYTES_MAX} are not put into Redis`,
    );
    const bytes = new Uint8Array(buffer);
    const options = this.#options;
    const record: RunRecord = {
      format: RUN_FORMAT,
      program,
      layout: LAYOUT_VERSION,
      division,
      shares: workers,
      needsRing,
      wantsLines: options.onPacket !== undefined || options.onPacketText !== undefined,
      wantsConnections: options.onConnection !== undefined || options.onConnectionText !== undefined,
      wantsTimes: options.times !== undefined,
      options: workerOptions(options),
      files: files.map(({ path, sizeBytes }) => {
        const { digest } = edgeDigest(path);
        return { name: path, path: resolve(path), sizeBytes, digest };
      }),
      tables: { sizeBytes: bytes.length, pieces: Math.ceil(bytes.length / PIECE_BYTES), digest: sha256(bytes) },
      lockMs,
    };
    await this.#store.create(this.#run, this.#nonce, JSON.stringify(record), bytes, ttlMs);
    this.#keptMs = performance.now();
  }

  /** Puts jobs there, up to a bound: further ones follow as these are done. */
  async #fill(board: JobBoard): Promise<void> {
    const added: { id: string; data: unknown }[] = [];
    while (this.#jobs.size < JOBS_MAX) {
      const data = this.#merge.take();
      if (data === undefined) break;
      added.push(this.#open(data, 1));
    }
    if (added.length > 0) await this.#ask(() => board.add(added));
  }

  #open(data: unknown, tries: number): { id: string; data: unknown } {
    const id = `job-${this.#count++}`;
    this.#jobs.set(id, { data, attempts: new Map(), tries });
    return { id, data };
  }

  async #keep(): Promise<void> {
    const { ttlMs = TTL_MS } = this.#place;
    if (performance.now() - this.#keptMs < ttlMs / 5) return;
    const isThere = await this.#ask(() => this.#store.keep(this.#run, this.#nonce, ttlMs, this.#jobs.keys()));
    need(isThere, `Redis at ${this.#store.name} has lost the run (was it restarted without its data?); start it again`);
    this.#keptMs = performance.now();
  }

  /** Takes pieces of results out of Redis, when they are here. */
  async #read(): Promise<void> {
    for (;;) {
      const { pieces, last, isMore } = await this.#ask(() => this.#store.results(this.#run, this.#last));
      for (const { job, attempt, number, bytes } of pieces) {
        const open = this.#jobs.get(job);
        if (open === undefined) continue;
        let spool = open.attempts.get(attempt);
        if (spool === undefined && open.attempts.size < ATTEMPTS_MAX) {
          spool = this.#spools.create();
          open.attempts.set(attempt, spool);
        }
        spool?.add(number, bytes);
      }
      if (last !== this.#last) await this.#ask(() => this.#store.drop(this.#run, last));
      this.#last = last;
      if (!isMore) return;
    }
  }

  /** Takes jobs that are done; true if there were any. */
  async #collect(board: JobBoard): Promise<boolean> {
    const finished = await this.#ask(() => board.finished());
    // What a job is completed with was put there before.
    if (finished.length > 0) await this.#read();
    for (const job of finished) {
      const open = this.#jobs.get(job.id);
      if (open !== undefined) {
        need(
          job.failure === undefined || isObject(job.value),
          `a job failed on every try: ${shownText(job.failure ?? '')}`,
        );
        await this.#accept(board, job.id, open, job.value);
      }
      await this.#ask(() => job.remove());
    }
    return finished.length > 0;
  }

  async #accept(board: JobBoard, id: string, open: OpenJob, value: unknown): Promise<void> {
    need(isObject(value), 'a job was completed with something that makes no sense');
    const { attempt, pieces, bytes, digest } = value;
    need(
      typeof attempt === 'string' && isCount(pieces) && isCount(bytes) && isDigest(digest),
      'a job was completed with something that makes no sense',
    );
    const spool = open.attempts.get(attempt);
    const isWhole = spool?.pieces === pieces && spool.bytes === bytes && spool.digest() === digest;
    for (const other of open.attempts.values()) if (other !== spool || !isWhole) other.close();
    this.#jobs.delete(id);
    if (spool === undefined || !isWhole) {
      need(
        open.tries < TRIES,
        `Redis at ${this.#store.name} has lost results, or they are damaged; start the run again`,
      );
      await this.#ask(() => board.add([this.#open(open.data, open.tries + 1)]));
      return;
    }
    this.#merge.put(open.data, spool);
    this.#done++;
  }

  /** Looks who is at work. Says so if nobody is, and gives up in the end. */
  async #look(): Promise<void> {
    const now = performance.now();
    if (now - this.#workersMs < WORKERS_LOOK_MS) return;
    this.#workersMs = now;
    this.#workers = await this.#ask(() => this.#store.workers(this.#run));
    const words = this.#workers.map(({ text }) => wordsOf(text));
    for (const { refuses } of words) {
      if (refuses === undefined || this.#noted.has(refuses)) continue;
      this.#noted.add(refuses);
      this.#place.onNote(`a worker stays away: ${refuses}`);
    }
    if (words.some(({ refuses }) => refuses === undefined)) this.#servedMs = now;
    const { noWorkerMs = NO_WORKER_MS } = this.#place;
    const silentMs = now - this.#servedMs;
    if (silentMs > NO_WORKER_NOTE_MS && !this.#isWaitNoted) {
      this.#isWaitNoted = true;
      this.#place.onNote('no worker is there for this run; start one: margay worker --redis URL');
    }
    const reasons = [...this.#noted].join('; ');
    need(
      silentMs < noWorkerMs,
      `no worker took the run for ${Math.round(noWorkerMs / 1000)} s${reasons === '' ? '' : `: ${reasons}`}`,
    );
  }

  #report(): void {
    const { onProgress } = this.#options;
    if (onProgress === undefined) return;
    const words = this.#workers.map(({ text }) => wordsOf(text));
    const inHand = words.flatMap(({ jobs }) => jobs).filter(({ id }) => this.#jobs.has(id));
    const state = this.#merge.progress(this.#done, inHand);
    const workers = words.filter(({ refuses }) => refuses === undefined).length;
    const unit = `packets, ${state.jobs} jobs done, ${workers} ${workers === 1 ? 'worker' : 'workers'},`;
    const progress = { file: `queue at ${this.#store.name}`, bytesRead: state.share * 1e6, sizeBytes: 1e6 };
    onProgress({ ...progress, packets: state.packets, ...{ unit } });
  }

  async #finish(): Promise<ReplayResult> {
    let result: ReplayResult;
    try {
      result = await this.#merge.finish();
    } catch (error) {
      if (this.#options.signal?.aborted === true) throw new QueueCancelled('cancelled');
      if (!(error instanceof TypeError) && !(error instanceof RangeError)) throw error;
      throw new QueueError(`what workers found makes no sense: ${error.message}`);
    }
    const read = result.sources.reduce((sum, { packets }) => sum + packets, 0);
    const counted = countedPackets(result.counters);
    need(counted === read, `${read} packets were read and ${counted} counted: what workers found makes no sense`);
    return result;
  }

  /** Asks Redis, for as long as it may be away. */
  async #ask<T>(what: () => Promise<T>): Promise<T> {
    const { awayMs = AWAY_MS } = this.#place;
    const { signal } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    let onAbort = (): void => {};
    const late = new Promise<never>((_, reject) => {
      const away = `Redis at ${this.#store.name} has been away for ${Math.round(awayMs / 1000)} s`;
      timer = setTimeout(
        () => reject(new QueueError(`${away}${this.#trouble === '' ? '' : `: ${this.#trouble}`}; there is no answer`)),
        awayMs + 2_500,
      );
      onAbort = () => reject(new QueueCancelled('cancelled'));
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted === true) onAbort();
    });
    try {
      const asked = patiently(what, awayMs, signal);
      asked.catch(() => {});
      return await Promise.race([asked, late]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

interface WorkerWords {
  readonly refuses: string | undefined;
  readonly jobs: readonly { readonly id: string; readonly share: number; readonly packets: number }[];
}

/** What a worker says of itself; nothing of it but what makes sense. */
function wordsOf(text: string): WorkerWords {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { refuses: 'it says what makes no sense', jobs: [] };
  }
  if (!isObject(value)) return { refuses: 'it says what makes no sense', jobs: [] };
  if (typeof value.refuses === 'string') return { refuses: value.refuses.slice(0, 1000), jobs: [] };
  const jobs = Array.isArray(value.jobs) ? (value.jobs as unknown[]) : [];
  return {
    refuses: undefined,
    jobs: jobs.flatMap((job) =>
      isObject(job) &&
      typeof job.id === 'string' &&
      typeof job.share === 'number' &&
      job.share >= 0 &&
      job.share <= 1 &&
      isCount(job.packets)
        ? [{ id: job.id, share: job.share, packets: job.packets }]
        : [],
    ),
  };
}
