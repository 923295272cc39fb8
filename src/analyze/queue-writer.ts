/** What an attempt at a job finds, into Redis as it comes: pieces of a fixed size, no faster than the submitter takes them out. */
import { createHash, randomBytes } from 'node:crypto';
import { PIECE_BYTES } from './queue-run.ts';
import type { QueueStore } from './queue-store.ts';
import { patiently, pause } from './queue-store.ts';
import { encodeMessage } from './queue-wire.ts';
import type { WorkerMessage } from './replay-parallel-messages.ts';

/** While Redis is away what was found is kept for so long; then the job has failed. */
const AWAY_MS = 60_000;
const FULL_MS = 20;

/** The run is over: nobody wants the rest. */
export class RunGone extends Error {}

/** What a job is completed with. */
export interface AttemptEnd {
  readonly attempt: string;
  readonly pieces: number;
  readonly bytes: number;
  readonly digest: string;
}

export class ResultWriter {
  readonly #store: QueueStore;
  readonly #run: string;
  readonly #job: string;
  readonly #signal: AbortSignal;
  readonly #attempt = randomBytes(8).toString('hex');
  readonly #hash = createHash('sha256');
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #pieces = 0;
  #bytes = 0;

  constructor(store: QueueStore, run: string, job: string, signal: AbortSignal) {
    this.#store = store;
    this.#run = run;
    this.#job = job;
    this.#signal = signal;
  }

  async write(message: WorkerMessage): Promise<void> {
    const frame = await encodeMessage(message);
    this.#waiting.push(frame);
    this.#waitingBytes += frame.length;
    if (this.#waitingBytes < PIECE_BYTES) return;
    const bytes = Buffer.concat(this.#waiting);
    let at = 0;
    for (; at + PIECE_BYTES <= bytes.length; at += PIECE_BYTES) await this.#push(bytes.subarray(at, at + PIECE_BYTES));
    this.#waiting = [bytes.subarray(at)];
    this.#waitingBytes = bytes.length - at;
  }

  async finish(): Promise<AttemptEnd> {
    const rest = Buffer.concat(this.#waiting);
    if (rest.length > 0) await this.#push(rest);
    return { attempt: this.#attempt, pieces: this.#pieces, bytes: this.#bytes, digest: this.#hash.digest('hex') };
  }

  /** A piece whose answer was lost is put there twice, and counted once by its number. */
  async #push(piece: Buffer): Promise<void> {
    for (;;) {
      this.#signal.throwIfAborted();
      const put = (): Promise<string> => this.#store.push(this.#run, this.#job, this.#attempt, this.#pieces, piece);
      const answer = await patiently(put, AWAY_MS, this.#signal);
      if (answer === 'ok') break;
      if (answer === 'gone') throw new RunGone();
      await pause(FULL_MS, this.#signal);
    }
    this.#hash.update(piece);
    this.#bytes += piece.length;
    this.#pieces++;
  }
}
