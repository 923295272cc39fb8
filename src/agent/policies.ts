/**
 * The main process's end of the plane of policies and identities: starts its thread, takes its reports, starts it again if it dies.
 */
import { Worker } from 'node:worker_threads';
import { threadEntry } from '../base/thread-entry.ts';
import type { ApiRecord } from './api.ts';
import type { RuleHits } from './engine.ts';
import type { Explained, PlaneOptions, PlaneOrder, PlaneReport } from './plane-messages.ts';

/** How long an explanation may take: one waits behind a compile. */
const EXPLAIN_MS = 10_000;
/** How long one waits for the newest hits before the last ones must do. */
const BOARD_MS = 1_000;
const RESTART_MS = 1_000;
/** Questions at a time: each has its browser waiting. */
const QUESTIONS_MAX = 32;

type Report = Exclude<PlaneReport, { readonly kind: 'explained' | 'board' }>;

export class PlaneClient {
  readonly #options: Omit<PlaneOptions, 'firstGeneration'>;
  readonly #onReport: (report: Report) => void;
  readonly #questions = new Map<number, (report: { answer: Explained | undefined; error?: string }) => void>();
  readonly #boards = new Map<number, (json?: Uint8Array<ArrayBuffer>) => void>();
  #board: Promise<void> | undefined;
  #lastBoard: Uint8Array<ArrayBuffer> | undefined;
  #worker: Worker | undefined;
  #question = 0;
  #generation = 0;
  #isStopped = false;
  #restart: NodeJS.Timeout | undefined;

  constructor(options: Omit<PlaneOptions, 'firstGeneration'>, onReport: (report: Report) => void) {
    this.#options = options;
    this.#onReport = onReport;
    this.#start();
  }

  reload(): void {
    this.#tell({ kind: 'reload' });
  }

  /** Why the policies say what they say now of the flow of a record. */
  explain(record: ApiRecord): Promise<{ readonly answer: Explained | undefined; readonly error?: string }> {
    if (this.#questions.size >= QUESTIONS_MAX || this.#worker === undefined) {
      return Promise.resolve({ answer: undefined, error: 'too many questions at a time; ask again' });
    }
    const id = ++this.#question;
    return new Promise((resolve) => {
      const timer = setTimeout(
        () => settle({ answer: undefined, error: 'the policies are being compiled; ask again' }),
        EXPLAIN_MS,
      );
      const settle = (report: { answer: Explained | undefined; error?: string }): void => {
        clearTimeout(timer);
        this.#questions.delete(id);
        resolve(report);
      };
      this.#questions.set(id, settle);
      this.#tell({ kind: 'explain', id, record });
    });
  }

  hits(hits: RuleHits): void {
    this.#tell({ kind: 'hits', hits });
  }

  /** JSON of the policies with their hits: that of now, or while a compile goes on, the last one; undefined before the first. */
  async board(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    this.#board ??= new Promise((resolve) => {
      const id = ++this.#question;
      const waitMs = this.#lastBoard === undefined ? EXPLAIN_MS : BOARD_MS;
      const timer = setTimeout(() => this.#boards.get(id)?.(), waitMs);
      this.#boards.set(id, (json) => {
        clearTimeout(timer);
        this.#board = undefined;
        resolve();
        // An answer that comes late is the newest still.
        if (json === undefined) return;
        this.#boards.delete(id);
        this.#lastBoard = json;
      });
      this.#tell({ kind: 'board', id });
    });
    await this.#board;
    return this.#lastBoard;
  }

  /** Ends the thread, at the latest after `limitMs`. */
  async stop(limitMs: number): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#restart);
    const worker = this.#worker;
    if (worker === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      worker.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#tell({ kind: 'stop' });
    });
    await worker.terminate();
  }

  #tell(order: PlaneOrder): void {
    this.#worker?.postMessage(order);
  }

  #start(): void {
    const workerData: PlaneOptions = { ...this.#options, firstGeneration: this.#generation + 1 };
    const worker = new Worker(threadEntry(import.meta.url, 'plane-worker'), { workerData, name: 'margay policies' });
    this.#worker = worker;
    worker.on('message', (report: PlaneReport) => this.#take(report));
    worker.on('error', (error) => this.#fault(error));
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const settle of this.#questions.values())
        settle({ answer: undefined, error: 'the policies are being loaded' });
      for (const settle of this.#boards.values()) settle();
      this.#boards.clear();
      if (this.#isStopped) return;
      this.#restart = setTimeout(() => this.#start(), RESTART_MS);
    });
  }

  #take(report: PlaneReport): void {
    if (report.kind === 'board') {
      this.#boards.get(report.id)?.(report.json);
      return;
    }
    if (report.kind === 'explained') {
      this.#questions.get(report.id)?.(report);
      return;
    }
    if (report.kind === 'generation') this.#generation = report.generation.number;
    this.#onReport(report);
  }

  /** The thread is gone; the last good generation stays in use. */
  #fault(error: Error): void {
    const detail = error.message;
    this.#onReport({ kind: 'log', level: 'error', message: 'the thread of the policies failed', fields: { detail } });
    const status = { name: 'policies', isInSync: false, isRefused: true, trouble: detail };
    this.#onReport({ kind: 'policy', status });
  }
}
