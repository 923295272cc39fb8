/** What the service counts, for Prometheus, and the HTTP page that shows it. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Factor, Remark } from './answer.ts';
import { type Code, codeName } from './codes.ts';

/** Seconds; a decision takes microseconds, an answer through a busy loop milliseconds. */
const DURATION_BUCKETS = [0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1];

export class AuthzMetrics {
  readonly registry = new Registry();
  readonly #checks: Counter<'code'>;
  readonly #denials: Counter<'factor'>;
  readonly #remarks: Counter<'remark'>;
  readonly #seconds: Histogram;
  readonly #reloads: Counter<'result'>;
  readonly #loaded: Gauge<'what'>;
  readonly #loadedAt: Gauge;

  constructor() {
    const registers = [this.registry];
    const counter = <L extends string>(name: string, help: string, label: L): Counter<L> =>
      new Counter({ name: `margay_authz_${name}`, help, labelNames: [label], registers });
    this.#checks = counter('checks_total', 'Requests answered, by gRPC code; every one but OK denies.', 'code');
    this.#denials = counter('denials_total', 'Requests denied, by the factor that failed.', 'factor');
    const remarks = 'Requests allowed although only one factor spoke for them, by what was missing.';
    this.#remarks = counter('allowed_on_one_factor_total', remarks, 'remark');
    const help = 'Time from the request to its answer.';
    this.#seconds = new Histogram({ name: 'margay_authz_check_seconds', help, buckets: DURATION_BUCKETS, registers });
    this.#reloads = counter('reloads_total', 'Changes of the input, taken or refused.', 'result');
    this.#loaded = new Gauge({
      name: 'margay_authz_loaded',
      help: 'What the decisions are made from.',
      labelNames: ['what'],
      registers,
    });
    this.#loadedAt = new Gauge({
      name: 'margay_authz_loaded_timestamp_seconds',
      help: 'When the input was last taken.',
      registers,
    });
    for (const result of ['taken', 'refused']) this.#reloads.inc({ result }, 0);
    for (const code of ['OK', 'PERMISSION_DENIED']) this.#checks.inc({ code }, 0);
  }

  answered(code: Code, seconds: number): void {
    this.#checks.inc({ code: codeName(code) });
    this.#seconds.observe(seconds);
  }

  denied(factor: Factor | 'unavailable' | 'internal'): void {
    this.#denials.inc({ factor });
  }

  remarked(remark: Remark): void {
    this.#remarks.inc({ remark });
  }

  loaded(counts: { readonly endpoints: number; readonly policies: number; readonly subjects: number }): void {
    for (const [what, count] of Object.entries(counts)) this.#loaded.set({ what }, count);
    this.#loadedAt.setToCurrentTime();
  }

  reloaded(result: 'taken' | 'refused'): void {
    this.#reloads.inc({ result });
  }
}

/** The page of numbers at `/metrics`; `/healthz` says whether checks are answered. */
export async function serveMetrics(
  metrics: AuthzMetrics,
  host: string,
  port: number,
  isServing: () => boolean,
): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
    } else if (path === '/healthz') {
      const isFine = isServing();
      response.writeHead(isFine ? 200 : 503, { 'content-type': 'text/plain' }).end(isFine ? 'ok\n' : 'not serving\n');
    } else if (path === '/metrics') {
      metrics.registry.metrics().then(
        (text) => response.writeHead(200, { 'content-type': metrics.registry.contentType }).end(text),
        () => response.writeHead(500).end(),
      );
    } else {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('try /metrics or /healthz\n');
    }
  });
  await listening(server, host, port);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
