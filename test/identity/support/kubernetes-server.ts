/**
 * The Kubernetes API as far as a publisher sees it: lists in pages, watches, bookmarks, and the ways in which they fail.
 *
 * No cluster can run where these tests run, so a small HTTP server plays the API. The shapes of its answers follow the documentation ("Kubernetes
 * API concepts": lists, chunks, watches, bookmarks, 410), not a recording. It is told to fail: 410 Gone in a list, in a watch's answer or as an ERROR event, 429 with
 * Retry-After, 500, half a line of JSON and then nothing, slow answers, and a watch that misses changes, so that only a new list shows them.
 */
import { writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';

interface Stored {
  readonly kind: string;
  readonly object: Record<string, unknown> & { metadata: Record<string, unknown> };
}

const KINDS: Readonly<Record<string, string>> = {
  '/api/v1/pods': 'Pod',
  '/api/v1/serviceaccounts': 'ServiceAccount',
  '/api/v1/namespaces': 'Namespace',
};

export class KubernetesServer {
  port = 0;
  /** Answers of this kind to the next so many requests. */
  failures: { status: number; count: number; retryAfter?: number } = { status: 500, count: 0 };
  /** Lists whose second page is gone. */
  expiredPages = 0;
  delayMs = 0;
  /** True: changes do not reach watches. */
  isDeaf = false;
  readonly requests: string[] = [];
  /** Kinds that are served, by the path of their list. */
  readonly kinds: Record<string, string>;
  readonly #objects = new Map<string, Stored>();
  readonly #events: { version: number; kind: string; line: string }[] = [];
  readonly #watches = new Set<{ kind: string; response: ServerResponse }>();
  #version = 1000;
  #oldest = 0;
  #server: Server | undefined;

  constructor(kinds: Readonly<Record<string, string>> = KINDS) {
    this.kinds = { ...kinds };
  }

  async start(): Promise<void> {
    this.#server = createServer((request, response) => void this.#answer(request.url ?? '', response));
    await new Promise<void>((resolve) => this.#server!.listen(0, '127.0.0.1', resolve));
    this.port = (this.#server.address() as { port: number }).port;
  }

  /** Writes a configuration for clients of this server into `folder` and returns its path. */
  writeKubeconfig(folder: string): string {
    const path = join(folder, 'kubeconfig');
    const cluster = { server: `http://127.0.0.1:${this.port}`, 'insecure-skip-tls-verify': true };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: { token: 'not-for-logs' } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    writeFileSync(path, JSON.stringify(config));
    return path;
  }

  async close(): Promise<void> {
    this.breakWatches();
    this.#server?.closeAllConnections();
    await new Promise<void>((resolve) => this.#server?.close(() => resolve()));
  }

  put(kind: string, object: Record<string, unknown> & { metadata: Record<string, unknown> }): void {
    const key = keyOf(kind, object);
    const isNew = !this.#objects.has(key);
    const stored = this.#stamp(kind, object);
    this.#objects.set(key, stored);
    this.#emit(kind, isNew ? 'ADDED' : 'MODIFIED', stored.object);
  }

  remove(kind: string, namespace: string, name: string): void {
    const key = `${kind} ${namespace}/${name}`;
    const stored = this.#objects.get(key)!;
    this.#objects.delete(key);
    this.#emit(kind, 'DELETED', this.#stamp(kind, stored.object).object);
  }

  bookmark(): void {
    this.#version++;
    for (const [, kind] of Object.entries(this.kinds)) {
      const object = {
        kind,
        apiVersion: 'v1',
        metadata: { resourceVersion: String(this.#version), creationTimestamp: null },
      };
      this.#send(kind, `${JSON.stringify({ type: 'BOOKMARK', object })}\n`);
    }
  }

  /** The server forgets all versions so far: watches that ask for one of them get 410. */
  compact(): void {
    this.#oldest = this.#version;
  }

  /** An ERROR event ends each watch, as when its version is too old. */
  expireWatches(): void {
    const object = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: 'too old resource version: 1 (2)',
      reason: 'Expired',
      code: 410,
    };
    for (const { response } of this.#watches) response.write(`${JSON.stringify({ type: 'ERROR', object })}\n`);
    this.breakWatches(true);
  }

  /** Watches end in the middle of a line. */
  halfLine(): void {
    for (const { response } of this.#watches)
      response.write('{"type":"MODIFIED","object":{"kind":"Pod","metadata":{"na');
    this.breakWatches();
  }

  breakWatches(isGraceful = false): void {
    for (const { response } of this.#watches) {
      if (isGraceful) response.end();
      else response.destroy();
    }
    this.#watches.clear();
  }

  get watchCount(): number {
    return this.#watches.size;
  }

  #stamp(kind: string, object: Stored['object']): Stored {
    this.#version++;
    return { kind, object: { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } } };
  }

  #emit(kind: string, type: string, object: Stored['object']): void {
    const line = `${JSON.stringify({ type, object: { kind, apiVersion: 'v1', ...object } })}\n`;
    this.#events.push({ version: this.#version, kind, line });
    if (!this.isDeaf) this.#send(kind, line);
  }

  #send(kind: string, line: string): void {
    for (const watch of this.#watches) if (watch.kind === kind) watch.response.write(line);
  }

  async #answer(text: string, response: ServerResponse): Promise<void> {
    const url = new URL(text, 'http://api');
    this.requests.push(text);
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    const kind = this.kinds[url.pathname];
    if (kind === undefined) return this.#discover(url.pathname, response);
    if (this.failures.count > 0) {
      this.failures.count--;
      return status(response, this.failures.status, this.failures.retryAfter);
    }
    if (url.searchParams.get('watch') === '1')
      this.#watch(kind, Number(url.searchParams.get('resourceVersion')), response);
    else this.#list(kind, url.searchParams, response);
  }

  /** The kinds of a group and version; 404 where there is none. */
  #discover(path: string, response: ServerResponse): void {
    const below = Object.entries(this.kinds).filter(([each]) => each.slice(0, each.lastIndexOf('/')) === path);
    if (below.length === 0) {
      status(response, 404);
      return;
    }
    const resources = below.map(([each, kind]) => ({
      name: each.slice(path.length + 1),
      kind,
      verbs: ['get', 'list', 'watch'],
    }));
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ kind: 'APIResourceList', apiVersion: 'v1', groupVersion: path, resources }));
  }

  #list(kind: string, query: URLSearchParams, response: ServerResponse): void {
    const all = [...this.#objects.values()].filter((stored) => stored.kind === kind);
    const from = Number(query.get('continue') ?? 0);
    if (from > 0 && this.expiredPages > 0) {
      this.expiredPages--;
      status(response, 410);
      return;
    }
    const limit = Math.min(Number(query.get('limit') ?? 500), 7);
    const rest = all.length - from - limit;
    const metadata = {
      resourceVersion: String(this.#version),
      ...(rest > 0 ? { continue: String(from + limit), remainingItemCount: rest } : {}),
    };
    // Items of a list name neither kind nor version.
    const items = all.slice(from, from + limit).map(({ object }) => object);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ kind: `${kind}List`, apiVersion: 'v1', metadata, items }));
  }

  #watch(kind: string, version: number, response: ServerResponse): void {
    if (version < this.#oldest) {
      status(response, 410);
      return;
    }
    response.setHeader('content-type', 'application/json');
    response.flushHeaders();
    const watch = { kind, response };
    this.#watches.add(watch);
    response.on('close', () => this.#watches.delete(watch));
    if (this.isDeaf) return;
    for (const event of this.#events) if (event.kind === kind && event.version > version) response.write(event.line);
  }
}

function keyOf(kind: string, { metadata }: Stored['object']): string {
  return `${kind} ${String(metadata.namespace ?? '')}/${String(metadata.name)}`;
}

function status(response: ServerResponse, code: number, retryAfter?: number): void {
  const reason = code === 410 ? 'Expired' : code === 429 ? 'TooManyRequests' : 'InternalError';
  response.statusCode = code;
  if (retryAfter !== undefined) response.setHeader('retry-after', String(retryAfter));
  response.setHeader('content-type', 'application/json');
  response.end(
    JSON.stringify({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: reason,
      reason,
      code,
    }),
  );
}
