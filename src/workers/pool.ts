/**
 * A pool of worker threads that stands or falls as one.
 *
 * Problem. Each worker holds a part of the answer. One that dies (an exception, out of memory, `process.exit` in a dependency) must
 * never leave the others' parts to look like the whole.
 *
 * Idea. `failure` rejects with a WorkerFault when the first worker throws or ends before it said that it is done; whoever waits for
 * anything of the pool races against it. `stop` ends all threads, whatever they are doing, and is to be called in a `finally`.
 */
import { type MessagePort, Worker } from 'node:worker_threads';
import { END_THREAD, WorkerFault } from '../base/thread-entry.ts';

/** How long a thread may take to end by itself; one that waits for work does so at once. */
const GRACE_MS = 500;

export class WorkerPool {
  readonly size: number;
  /** Rejects when a worker fails, or `onMessage` does; never resolves. */
  readonly failure: Promise<never>;
  readonly #workers: Worker[];
  readonly #done: boolean[];
  #fail: (reason: unknown) => void = () => {};
  #onMessage: (index: number, message: unknown) => void = () => {};
  #isStopped = false;
  readonly #exits: Promise<void>[] = [];

  /** Starts `count` threads at once: they load their code while there is nothing for them to do yet. */
  constructor(entry: URL, count: number) {
    this.size = count;
    this.failure = new Promise((_, reject) => {
      this.#fail = reject;
    });
    // Nobody may be waiting just then.
    this.failure.catch(() => {});
    this.#done = new Array(count).fill(false);
    this.#workers = Array.from({ length: count }, (_, index) => {
      const worker = new Worker(entry, { name: `margay worker ${index + 1}` });
      worker.on('message', (message: unknown) => this.#receive(index, message));
      worker.on('error', (error: unknown) => this.#failed(index, reasonOf(error)));
      worker.on('messageerror', (error) => this.#failed(index, reasonOf(error)));
      this.#exits.push(new Promise((resolve) => worker.once('exit', () => resolve())));
      worker.on('exit', (code) => {
        if (!this.#done[index]) this.#failed(index, `it ended by itself with code ${code}`);
      });
      return worker;
    });
  }

  /** Who hears from the workers from now on; they are silent until they are told something. */
  listen(onMessage: (index: number, message: unknown) => void): void {
    this.#onMessage = onMessage;
  }

  /** SharedArrayBuffers in the message are shared, what `transfer` lists is moved, the rest is copied. */
  post(index: number, message: unknown, transfer: readonly MessagePort[] = []): void {
    this.#workers[index]!.postMessage(message, transfer);
  }

  /** Worker `index` has said all that it has to say: its end is no failure any more. */
  done(index: number): void {
    this.#done[index] = true;
  }

  /**
   * Ends all threads; resolves when they are gone. Any number of times. A thread that is ended from outside, in the middle of native code,
   * can take the process with it, so each is asked first, and ended only if it does not go in time.
   */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const worker of this.#workers) worker.postMessage(END_THREAD);
    const late = new Promise((resolve) => setTimeout(resolve, GRACE_MS).unref());
    await Promise.race([late, Promise.all(this.#exits)]);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #receive(index: number, message: unknown): void {
    if (this.#isStopped) return;
    try {
      this.#onMessage(index, message);
    } catch (error) {
      this.#fail(error);
    }
  }

  #failed(index: number, reason: string): void {
    if (this.#isStopped) return;
    const which = `worker ${index + 1} of ${this.#workers.length}`;
    this.#fail(new WorkerFault(`${which} failed: ${reason}; the answer is incomplete and must not be used`));
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isOurs = error.name === 'InvariantError' || error instanceof TypeError || error instanceof RangeError;
  const text = isOurs ? (error.stack ?? error.message).replace(/\s*\n\s*/g, ' ') : error.message.replaceAll('\n', ' ');
  const code = (error as { code?: unknown }).code;
  return code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'it ran out of memory; try fewer workers' : text;
}
