/**
 * The agent over HTTP: page, API, metrics, health. It answers and changes nothing: GET alone.
 *
 *   request ─► limits of the server ─► Host ─► method ─► token ─► route ─► headers that browsers obey
 *
 * The Host header must be an address or a name that is ours: a page elsewhere whose name was made to lead here (DNS rebinding) has its own name in
 * it. There are no CORS headers. Whoever opens too many connections, or sends headers that are too long or too slow, is dropped by the server
 * before any of this; capture runs in other processes.
 */
import { timingSafeEqual } from 'node:crypto';
import { createServer, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, isIP } from 'node:net';
import { hostname } from 'node:os';
import { createAdaptorServer } from '@hono/node-server';
import { type Context, Hono, type Next } from 'hono';
import type {
  AccountGraph,
  AgentStatus,
  ApiError,
  ConfigValue,
  FindingList,
  FlowDetail,
  FlowPage,
  PolicyBoard,
  RateSeries,
  RateStep,
} from './api.ts';
import type { Asset } from './assets.ts';
import { EventStreams } from './event-streams.ts';
import { type FlowFilter, PAGE_MAX } from './flow-store.ts';

/** What is behind the routes. */
export interface AgentView {
  status(): AgentStatus;
  rates(): RateSeries;
  flows(filter: FlowFilter, limit: number, before: number): FlowPage;
  flow(id: string): Promise<FlowDetail | undefined>;
  /** JSON of a `PolicyBoard`; undefined before there is one. */
  policies(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  graph(): AccountGraph;
  findings(limit: number): FindingList;
  findingsCapture(): Promise<Uint8Array>;
  config(): readonly ConfigValue[];
  metrics(): Promise<string>;
  /** Whether the agent lives: its capture may restart, but has not given up. */
  health(): { readonly isHealthy: boolean; readonly reasons: readonly string[] };
  readiness(): {
    readonly isReady: boolean;
    readonly reasons: readonly { readonly kind: string; readonly text: string }[];
  };
}

export interface HttpOptions {
  readonly host: string;
  readonly port: number;
  readonly token: string | undefined;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly allowedHosts: readonly string[];
  readonly assets: ReadonlyMap<string, Asset>;
  readonly limits?: Partial<HttpLimits>;
}

/** Limits of the server. Ordinary browsers and scrapers stay far below all of them. */
export interface HttpLimits {
  readonly connections: number;
  readonly headerBytes: number;
  readonly headers: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveMs: number;
  /** How often times are looked at. */
  readonly checkMs: number;
}

const HTTP_LIMITS: HttpLimits = {
  connections: 128,
  headerBytes: 16 << 10,
  headers: 64,
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  keepAliveMs: 5_000,
  checkMs: 1_000,
};

const PAGE_DEFAULT = 100;
const FINDINGS_DEFAULT = 200;

const CONTENT_POLICY =
  "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

export class AgentHttp {
  readonly #server: Server;
  readonly #streams = new EventStreams();
  readonly #isTls: boolean;
  readonly #host: string;
  #port = 0;

  constructor(view: AgentView, options: HttpOptions) {
    this.#isTls = options.tls !== undefined;
    this.#host = options.host;
    const app = createApp(view, options, this.#streams);
    const bounds = { ...HTTP_LIMITS, ...options.limits };
    const limits: ServerOptions = {
      maxHeaderSize: bounds.headerBytes,
      headersTimeout: bounds.headersTimeoutMs,
      requestTimeout: bounds.requestTimeoutMs,
      keepAliveTimeout: bounds.keepAliveMs,
      connectionsCheckingInterval: bounds.checkMs,
      // A request without Host is answered by ours, not by a page of Node's.
      requireHostHeader: false,
    };
    const server =
      options.tls === undefined
        ? createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false, createServer, serverOptions: limits })
        : createAdaptorServer({
            fetch: app.fetch,
            overrideGlobalObjects: false,
            createServer: createTlsServer,
            serverOptions: { ...limits, ...options.tls },
          });
    this.#server = server as Server;
    this.#server.maxConnections = bounds.connections;
    this.#server.maxHeadersCount = bounds.headers;
    // Handshakes that never end would be no requests, and so have no time limit of theirs.
    this.#server.on('connection', (socket) => {
      socket.setTimeout(bounds.requestTimeoutMs + bounds.keepAliveMs, () => {
        if (!this.#streams.isStreaming(socket)) socket.destroy();
      });
    });
  }

  /** `http://127.0.0.1:9099/`. */
  get url(): string {
    const host = this.#host.includes(':') ? `[${this.#host}]` : this.#host;
    return `${this.#isTls ? 'https' : 'http'}://${host}:${this.#port}/`;
  }

  /** Rejects with the system's error if the address can't be had. */
  listen(options: Pick<HttpOptions, 'host' | 'port'>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(options.port, options.host, () => {
        this.#server.off('error', reject);
        this.#server.on('error', () => {});
        this.#port = (this.#server.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  /** One second went by: tells everyone who listens. */
  tick(status: AgentStatus, step: RateStep): void {
    this.#streams.send('status', status);
    this.#streams.send('rates', step);
  }

  get listeners(): number {
    return this.#streams.size;
  }

  close(): Promise<void> {
    this.#streams.close();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}

function createApp(view: AgentView, options: HttpOptions, streams: EventStreams): Hono {
  const app = new Hono();
  app.use('*', async (context: Context, next: Next) => {
    const refusal = refusalOf(context, options);
    if (refusal === undefined) await next();
    else context.res = refusal;
    setHeaders(context);
  });
  addHealth(app, view, options);
  app.get('/metrics', async (context) => {
    const body = await view.metrics();
    return context.body(body, 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  });
  addApi(app, view, streams);
  addPage(app, options.assets);
  app.notFound((context) =>
    context.req.path.startsWith('/api/')
      ? problem(context, 404, 'there is no such path')
      : context.text('not found\n', 404),
  );
  app.onError((error, context) => problem(context, 500, `a fault of margay's own: ${error.message}`));
  return app;
}

/** The answer to a request that is none of ours. */
function refusalOf(context: Context, options: HttpOptions): Response | undefined {
  const host = context.req.header('host');
  if (host === undefined || !isOurHost(host, options)) {
    return problem(context, 421, 'the Host header names another host; --allow-host allows a name');
  }
  if (context.req.method !== 'GET' && context.req.method !== 'HEAD') {
    const response = problem(context, 405, 'only GET is answered: the agent observes');
    response.headers.set('allow', 'GET, HEAD');
    return response;
  }
  const path = context.req.path;
  const isProbe = path === '/healthz' || path === '/readyz';
  if (options.token === undefined || isProbe || hasToken(context, options.token)) return undefined;
  const response = problem(
    context,
    401,
    'a token is needed: Authorization: Bearer TOKEN, or as the password of any user',
  );
  response.headers.set('www-authenticate', 'Basic realm="margay", charset="UTF-8"');
  return response;
}

/** `host`, `host:port`, `[ipv6]:port`. */
function isOurHost(header: string, { host, allowedHosts }: HttpOptions): boolean {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::\d{1,5})?$/.exec(header);
  const name = (match?.[1] ?? match?.[2])?.toLowerCase().replace(/\.$/, '');
  if (name === undefined) return false;
  const isLocal = host === 'localhost' || host === '::1' || host.startsWith('127.');
  // A name can be made to lead anywhere, an address cannot.
  if (isIP(name) !== 0) return !isLocal || name === '::1' || name.startsWith('127.');
  if (name === 'localhost' || name === host.toLowerCase() || allowedHosts.some((each) => each.toLowerCase() === name))
    return true;
  return !isLocal && name === hostname().toLowerCase();
}

function hasToken(context: Context, token: string): boolean {
  const header = context.req.header('authorization') ?? '';
  const [scheme = '', rest = ''] = header.split(/ +(.*)/s);
  let given = '';
  if (scheme.toLowerCase() === 'bearer') given = rest.trim();
  else if (scheme.toLowerCase() === 'basic') {
    const text = Buffer.from(rest, 'base64').toString('utf8');
    given = text.slice(text.indexOf(':') + 1);
  }
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function setHeaders(context: Context): void {
  const { headers } = context.res;
  headers.set('content-security-policy', CONTENT_POLICY);
  headers.set('x-content-type-options', 'nosniff');
  headers.set('x-frame-options', 'DENY');
  headers.set('referrer-policy', 'no-referrer');
  headers.set('cross-origin-opener-policy', 'same-origin');
  headers.set('cross-origin-resource-policy', 'same-origin');
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-store');
}

function problem(context: Context, status: 400 | 401 | 404 | 405 | 421 | 500 | 503, error: string): Response {
  return context.json({ error } satisfies ApiError, status);
}

/** Probes are answered without a token, but the reasons are for those who have one. */
function addHealth(app: Hono, view: AgentView, { token }: HttpOptions): void {
  const mayKnow = (context: Context): boolean => token === undefined || hasToken(context, token);
  app.get('/healthz', (context) => {
    const { isHealthy, reasons } = view.health();
    return context.json(mayKnow(context) ? { isHealthy, reasons } : { isHealthy }, isHealthy ? 200 : 503);
  });
  app.get('/readyz', (context) => {
    const { isReady, reasons } = view.readiness();
    return context.json(mayKnow(context) ? { isReady, reasons } : { isReady }, isReady ? 200 : 503);
  });
}

function addApi(app: Hono, view: AgentView, streams: EventStreams): void {
  app.get('/api/v1/status', (context) => context.json(view.status()));
  app.get('/api/v1/rates', (context) => context.json(view.rates()));
  app.get('/api/v1/policies', async (context) => {
    const json = await view.policies();
    if (json === undefined) return context.json({ generation: 0, tiers: [] } satisfies PolicyBoard);
    return context.body(json, 200, { 'content-type': 'application/json' });
  });
  app.get('/api/v1/graph', (context) => context.json(view.graph()));
  app.get('/api/v1/config', (context) => context.json(view.config()));
  app.get('/api/v1/findings', (context) => {
    const limit = numberOf(context, 'limit', FINDINGS_DEFAULT, PAGE_MAX);
    return limit === undefined ? badNumber(context, 'limit') : context.json(view.findings(limit));
  });
  app.get('/api/v1/findings.pcapng', async (context) =>
    context.body(new Uint8Array(await view.findingsCapture()), 200, {
      'content-type': 'application/x-pcapng',
      'content-disposition': 'attachment; filename="findings.pcapng"',
    }),
  );
  app.get('/api/v1/flows', (context) => {
    const text = (name: string): string | undefined => context.req.query(name) || undefined;
    const limit = numberOf(context, 'limit', PAGE_DEFAULT, PAGE_MAX);
    const before = numberOf(context, 'before', Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER);
    const port = numberOf(context, 'port', -1, 65_535);
    if (limit === undefined || limit === 0) return badNumber(context, 'limit');
    if (before === undefined) return badNumber(context, 'before');
    if (port === undefined) return badNumber(context, 'port');
    const filter: FlowFilter = {
      verdict: text('verdict'),
      namespace: text('namespace'),
      account: text('account'),
      port: port < 0 ? undefined : port,
      text: text('text'),
    };
    return context.json(view.flows(filter, limit, before));
  });
  app.get('/api/v1/flows/:id', async (context) => {
    const detail = await view.flow(context.req.param('id'));
    return detail === undefined ? problem(context, 404, 'that flow is no longer kept') : context.json(detail);
  });
  app.get('/api/v1/events', (context) => {
    const headers = { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' };
    // Who asks for the headers alone does not listen.
    if (context.req.method === 'HEAD') return context.body(null, 200, headers);
    const { incoming } = context.env as { readonly incoming: { readonly socket: import('node:net').Socket } };
    const body = streams.open(incoming.socket);
    if (body === undefined) return problem(context, 503, 'too many pages listen; close one');
    return context.body(body, 200, headers);
  });
}

/** A whole number of the query from 0 on; the default if it is not there, undefined if it is none. Larger ones are cut. */
function numberOf(context: Context, name: string, standard: number, max: number): number | undefined {
  const text = context.req.query(name);
  if (text === undefined || text === '') return standard;
  return /^\d{1,15}$/.test(text) ? Math.min(Number(text), max) : undefined;
}

function badNumber(context: Context, name: string): Response {
  return problem(context, 400, `${name} must be a whole number`);
}

const NOT_BUILT = `<!doctype html><meta charset="utf-8"><title>margay</title>
<h1>margay agent</h1>
<p>The page is not built: run <code>npm run build</code>. The answers are at
<a href="/api/v1/status">/api/v1/status</a>, <a href="/metrics">/metrics</a> and <a href="/readyz">/readyz</a>.</p>
`;

function addPage(app: Hono, assets: ReadonlyMap<string, Asset>): void {
  app.get('*', (context, next) => {
    const asset = assets.get(context.req.path);
    if (asset === undefined) return context.req.path === '/' && assets.size === 0 ? context.html(NOT_BUILT) : next();
    const headers = {
      'content-type': asset.type,
      etag: asset.etag,
      'cache-control': asset.isImmutable ? 'public, max-age=31536000, immutable' : 'no-cache',
    };
    if (context.req.header('if-none-match') === asset.etag) return context.body(null, 304, headers);
    return context.body(asset.body, 200, headers);
  });
}
