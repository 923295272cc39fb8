/**
 * Following one kind of object of the Kubernetes API: a list, then a watch from its version on, for ever.
 *
 *   list (pages) ─► replace all ─► watch ─► set, set, remove, bookmark … ─► the stream ends: watch on from the last version
 *       ▲                              │
 *       └──── 410 Gone, ERROR ─────────┘
 *
 * A list says what is there, so what is missing in it is gone: no deletion is lost, however long nobody watched. A watch that ends, breaks in the
 * middle of a line or says nothing for too long is taken up again where it was; a version that the server has forgotten (410) needs a new list.
 * Failures wait longer each time, by chance a part of that, or as long as the server asks (429, Retry-After).
 */
import type { Clock } from './shared-store.ts';

export interface Answer {
  readonly status: number;
  /** Parsed JSON, or `undefined` if it is none. */
  readonly body: unknown;
  readonly retryAfterSeconds?: number | undefined;
}

export interface KubernetesApi {
  get(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer>;
  /** Calls `onLine` for each whole line; resolves when the stream ends, in whatever way. `body` is that of an answer which is no stream. */
  watch(
    path: string,
    query: Readonly<Record<string, string>>,
    onLine: (line: string) => void,
    signal: AbortSignal,
  ): Promise<Answer>;
}

export interface ObjectSink {
  /** All objects there are. */
  replace(objects: readonly unknown[]): void;
  set(object: unknown): void;
  remove(object: unknown): void;
}

export interface ListWatchOptions {
  readonly api: KubernetesApi;
  /** `/api/v1/pods` */
  readonly path: string;
  readonly sink: ObjectSink;
  readonly clock: Clock;
  readonly onTrouble?: (trouble: string) => void;
  /** How long the server keeps a watch open; a watch that says nothing for half a minute longer is broken. */
  readonly watchSeconds?: number;
}

const PAGE_OBJECTS = 500;
const WATCH_SECONDS = 300;
const SILENCE_MS = 30_000;
const RETRY_MS = 100;
const RETRY_MS_MAX = 30_000;
/** Watches that fail one after the other before the list is asked again. */
const WATCH_FAILURES_MAX = 5;

/** What was lost with the version: the list must be asked again. */
class Gone extends Error {
  override readonly name = 'Gone';
}

class TryLater extends Error {
  override readonly name = 'TryLater';
  readonly seconds: number | undefined;

  constructor(message: string, seconds?: number) {
    super(message);
    this.seconds = seconds;
  }
}

export class ListWatch {
  lists = 0;
  watches = 0;
  /** Lines that were no event. */
  badLines = 0;
  readonly #options: ListWatchOptions;
  #version = '';
  #failures = 0;

  constructor(options: ListWatchOptions) {
    this.#options = options;
  }

  /** Follows until the signal is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.#version === '') await this.#list(signal);
        else await this.#watch(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Gone) this.#version = '';
        await this.#failed(error as Error);
      }
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { api, path, sink } = this.#options;
    const objects: unknown[] = [];
    let next = '';
    do {
      const query = { limit: String(PAGE_OBJECTS), ...(next === '' ? {} : { continue: next }) };
      const list = this.#check(await api.get(path, query, signal));
      if (!Array.isArray(list.items)) throw new TryLater(`${path}: a list without items`);
      for (const item of list.items as unknown[]) objects.push(item);
      const metadata = fieldsOf(list.metadata);
      next = textOf(metadata.continue);
      this.#version = next === '' ? textOf(metadata.resourceVersion) : '';
    } while (next !== '');
    if (this.#version === '') throw new TryLater(`${path}: a list without version`);
    sink.replace(objects);
    this.lists++;
    this.#failures = 0;
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { api, path, clock, watchSeconds = WATCH_SECONDS } = this.#options;
    const query = {
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: this.#version,
      timeoutSeconds: String(Math.ceil(watchSeconds * (1 + clock.random()))),
    };
    const silent = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    let fault: Error | undefined;
    const listen = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), watchSeconds * 2_000 + SILENCE_MS);
      timer.unref();
    };
    this.watches++;
    listen();
    try {
      const stop = AbortSignal.any([signal, silent.signal]);
      const take = (line: string): void => {
        listen();
        if (fault !== undefined) return;
        fault = this.#line(line);
        if (fault !== undefined) silent.abort();
      };
      const answer = await api.watch(path, query, take, stop).catch((error: Error) => {
        if (fault === undefined) throw error;
      });
      if (fault !== undefined) throw fault;
      if (answer !== undefined) this.#check(answer, true);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Takes one event; what is wrong with the watch if it must end. */
  #line(line: string): Error | undefined {
    const { sink, path } = this.#options;
    const event = fieldsOf(parse(line));
    const type = textOf(event.type);
    const object = fieldsOf(event.object);
    if (type === 'ERROR') {
      const code = object.code;
      const message = `${path}: the watch ends: ${textOf(object.message) || String(code)}`;
      return code === 410 ? new Gone(message) : new TryLater(message);
    }
    const version = textOf(fieldsOf(object.metadata).resourceVersion);
    if (version === '') {
      this.badLines++;
      return new TryLater(`${path}: a line that is no event`);
    }
    if (type === 'ADDED' || type === 'MODIFIED') sink.set(event.object);
    else if (type === 'DELETED') sink.remove(event.object);
    this.#version = version;
    this.#failures = 0;
    return undefined;
  }

  /** The body of a good answer. */
  #check({ status, body, retryAfterSeconds }: Answer, isStream = false): Readonly<Record<string, unknown>> {
    const { path } = this.#options;
    if (status === 410) throw new Gone(`${path}: the version is gone`);
    if (status === 401 || status === 403)
      throw new TryLater(`${path}: ${status}: no right to list and watch; see the README for the role`);
    if (status !== 200) throw new TryLater(`${path}: the API answers ${status}`, retryAfterSeconds);
    if (!isStream && body === undefined) throw new TryLater(`${path}: an answer that is no JSON`);
    return fieldsOf(body);
  }

  async #failed(error: Error): Promise<void> {
    const { clock, onTrouble } = this.#options;
    this.#failures++;
    if (this.#failures > WATCH_FAILURES_MAX) this.#version = '';
    onTrouble?.(error.message);
    const asked = error instanceof TryLater && error.seconds !== undefined ? error.seconds * 1_000 : 0;
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** Math.min(10, this.#failures - 1));
    await clock.sleep(Math.max(asked, longest * (0.5 + clock.random() / 2)));
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
