/**
 * Jobs on BullMQ, which is imported here alone: who has which job, until when, what became of it. A run is a queue of its own.
 *
 * A job is taken by hand, not by BullMQ's own loop, since a machine serves several runs with a fixed number of slots. While it is in hand its lock
 * is renewed; of a worker that has died the lock runs out, and the next look for stalled jobs puts the job back. BullMQ lets only the
 * holder of the lock complete a job, in one script: that is what makes an answer count once.
 */
import { type Job, Queue, Worker } from 'bullmq';
import { openClient, plainMessage } from '../identity/redis.ts';
import type { RedisConfig } from '../identity/redis-config.ts';
import { briefly } from './queue-store.ts';

/** Tries of a job that ends in an error, and times that it may be lost with its worker. */
const ATTEMPTS = 3;
const STALLED_MAX = 5;
const RETRY_MS = 500;
const CLOSE_MS = 500;
/** More than are ever out at one time. */
const FINISHED_AT_ONCE = 256;

export interface FinishedJob {
  readonly id: string;
  /** What the worker returned: to be checked. */
  readonly value: unknown;
  /** Why it failed for good. */
  readonly failure: string | undefined;
  remove(): Promise<void>;
}

/** The side that has work to give. */
export class JobBoard {
  readonly #client;
  readonly #queue: Queue;

  constructor(config: RedisConfig, prefix: string, run: string, onTrouble: (trouble: string) => void) {
    this.#client = openClient(config, { maxRetriesPerRequest: null });
    this.#client.on('error', (error: Error) => onTrouble(plainMessage(error)));
    this.#queue = new Queue(run, { connection: this.#client, prefix });
    this.#queue.on('error', (error) => onTrouble(plainMessage(error)));
  }

  async add(jobs: readonly { readonly id: string; readonly data: unknown }[]): Promise<void> {
    const opts = { attempts: ATTEMPTS, backoff: { type: 'fixed', delay: RETRY_MS } };
    await this.#queue.addBulk(jobs.map(({ id, data }) => ({ name: 'judge', data, opts: { ...opts, jobId: id } })));
  }

  async finished(): Promise<FinishedJob[]> {
    const jobs = (await this.#queue.getJobs(['completed', 'failed'], 0, FINISHED_AT_ONCE)) as (Job | undefined)[];
    return jobs.flatMap((job) =>
      job?.id === undefined
        ? []
        : [
            {
              id: job.id,
              value: job.returnvalue as unknown,
              failure: job.failedReason === undefined ? undefined : String(job.failedReason),
              remove: async () => {
                await job.remove();
              },
            },
          ],
    );
  }

  async close(): Promise<void> {
    // It would wait for a server that is away.
    await briefly(this.#queue.close(), CLOSE_MS);
    this.#client.disconnect(false);
  }
}

/** A job in hand. */
export interface HeldJob {
  readonly id: string;
  /** To be checked. */
  readonly data: unknown;
  /** False: it is not ours any more. */
  renew(): Promise<boolean>;
  /** False: it was not ours any more, and the value does not count. */
  complete(value: unknown): Promise<boolean>;
  fail(reason: string): Promise<void>;
  giveBack(): Promise<void>;
}

/** The side that works. */
export class JobTaker {
  readonly #client;
  readonly #worker: Worker;
  readonly #lockMs: number;

  constructor(config: RedisConfig, prefix: string, run: string, lockMs: number, onTrouble: (trouble: string) => void) {
    this.#lockMs = lockMs;
    this.#client = openClient(config, { maxRetriesPerRequest: null });
    this.#client.on('error', (error: Error) => onTrouble(plainMessage(error)));
    this.#worker = new Worker(run, null, {
      connection: this.#client,
      prefix,
      autorun: false,
      lockDuration: lockMs,
      stalledInterval: Math.ceil(lockMs / 2),
      maxStalledCount: STALLED_MAX,
    });
    this.#worker.on('error', (error) => onTrouble(plainMessage(error)));
    void this.#worker.startStalledCheckTimer();
  }

  /** A job that nobody has, if there is one. `token` is the word by which the lock knows its holder; new for each call. */
  async take(token: string): Promise<HeldJob | undefined> {
    const job = (await this.#worker.getNextJob(token, { block: false })) as Job | undefined;
    if (job?.id === undefined) return undefined;
    if (job.deferredFailure !== undefined) {
      await job.moveToFailed(new Error(`lost with its worker ${STALLED_MAX} times`), token);
      return undefined;
    }
    return {
      id: job.id,
      data: job.data,
      renew: async () => (await job.extendLock(token, this.#lockMs)) === 1,
      complete: (value) => isHeld(job.moveToCompleted(value, token, false)),
      fail: async (reason) => {
        await isHeld(job.moveToFailed(new Error(reason), token, false));
      },
      giveBack: async () => {
        await isHeld(job.moveToWait(token));
      },
    };
  }

  async close(): Promise<void> {
    await briefly(this.#worker.close(true), CLOSE_MS);
    this.#client.disconnect(false);
  }
}

/** What BullMQ says of a lock that ran out, or of a job that is gone. */
const NOT_HELD = /Missing lock|Lock mismatch|Missing key|not in the active state|is not active/i;

async function isHeld(doing: Promise<unknown>): Promise<boolean> {
  try {
    await doing;
    return true;
  } catch (error) {
    if (error instanceof Error && NOT_HELD.test(error.message)) return false;
    throw error;
  }
}
