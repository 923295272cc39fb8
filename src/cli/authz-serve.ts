/**
 * `authz --listen`: the process around the authorization service.
 *
 * It loads, listens, and then looks every second whether a file of the input has changed. A change is loaded in a thread beside the
 * running service and put in its place in one step; one that does not load leaves the last good policies where they are, and is said
 * in the log and in the metrics. SIGHUP loads at once. SIGTERM and SIGINT drain and end the process.
 *
 *     changed file, SIGHUP, every few seconds with --redis ─► thread: load, plan, form ─► new Authorizer ─► in use
 *                                                                └─ refused ─► last good stays
 *
 * Identities from Redis are read again every few seconds, since addresses move without a change of any file. When the store has been
 * away for too long, nobody can say any more whose an address is: every answer is UNAVAILABLE until it is back.
 */
import { type Logger, pino, stdTimeFunctions } from 'pino';
import { Authorizer } from '../authz/authorizer.ts';
import { DenialLog } from '../authz/denial-log.ts';
import { type ListenAddress, parseListen } from '../authz/listen.ts';
import { AuthzMetrics, serveMetrics } from '../authz/metrics.ts';
import { AuthzServer } from '../authz/server.ts';
import { filesFingerprint } from '../load/files.ts';
import type { AuthorizationForm } from '../tables/authorization.ts';
import { authorizerOptions, loadInThread, openForm } from './authz-inputs.ts';
import type { AuthzOptions } from './commands/authz.ts';
import { EXIT_FINE, EXIT_TROUBLE, UsageError } from './exit.ts';
import type { Output } from './output.ts';

const WATCH_INTERVAL_MS = 1_000;
/** Between two looks at Redis; less where it may be away for a short time only. */
const STORE_INTERVAL_MS = 5_000;

/** What ends the service, and what makes it load again. */
export interface ServeSignals {
  readonly stop: AbortSignal;
  /** Calls `load` when the input is to be read again whether or not it looks changed; returns how to take that back. */
  readonly onReload: (load: () => void) => () => void;
  /** Called once, when requests are answered. */
  readonly onReady?: (server: AuthzServer, metricsPort: number | undefined) => void;
}

/** Serves until it is told to stop. Exit code 0; 4 if calls had to be cut off. */
export async function serveAuthz(
  options: AuthzOptions,
  listen: string,
  output: Output,
  signals: ServeSignals = processSignals(),
): Promise<number> {
  const address = parseListen(listen, '--listen', options.allowRemote === true);
  const metricsAddress = metricsOf(options);
  const logger = loggerTo(output, options.quiet === true);
  const metrics = new AuthzMetrics();
  const reloader = new Reloader(options, logger, metrics);
  const authorizer = new Authorizer(await openForm(options, output), authorizerOptions(options));
  const server = new AuthzServer({ listen: address, log: logger, denials: new DenialLog(logger), metrics });
  server.use(authorizer);
  await server.start();
  const page =
    metricsAddress === undefined
      ? undefined
      : await serveMetrics(metrics, metricsAddress.host, metricsAddress.port, () => server.isServing);
  logger.info(
    {
      listen: server.address,
      ...(page === undefined ? {} : { metrics: `${metricsAddress!.host}:${page.port}` }),
      endpoints: authorizer.form.endpoints.length,
      policies: authorizer.form.policies.length,
      require_identity: options.requireIdentity === true,
      trust_domains: options.trustDomain ?? [],
    },
    'listening',
  );
  const stopReloading = reloader.start(server, signals);
  signals.onReady?.(server, page?.port);
  await aborted(signals.stop);
  stopReloading();
  logger.info('stopping');
  const isDrained = await server.stop();
  await page?.close();
  if (isDrained) logger.info('stopped');
  else logger.error('stopped; calls that did not end in time were cut off');
  return isDrained ? EXIT_FINE : EXIT_TROUBLE;
}

/** JSON lines on standard error; quiet: denials and errors alone. */
function loggerTo(output: Output, isQuiet: boolean): Logger {
  return pino(
    {
      level: isQuiet ? 'warn' : 'info',
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => output.stderr.write(line) },
  );
}

function metricsOf(options: AuthzOptions): Extract<ListenAddress, { kind: 'tcp' }> | undefined {
  if (options.metrics === undefined) return undefined;
  const address = parseListen(options.metrics, '--metrics', options.allowRemote === true);
  if (address.kind === 'unix') throw new UsageError('--metrics: a page for Prometheus needs HOST:PORT');
  return address;
}

/** Loads the input again when it has changed, one load at a time. */
class Reloader {
  readonly #options: AuthzOptions;
  readonly #logger: Logger;
  readonly #metrics: AuthzMetrics;
  #fingerprint: string;
  /** Of the form in use; the first load has none. */
  #digest = '';
  #isLoading = false;
  #isWanted = false;
  #loadedMs = performance.now();
  #isDead = false;

  /** Remembers how the files look; to be made before they are loaded. */
  constructor(options: AuthzOptions, logger: Logger, metrics: AuthzMetrics) {
    this.#options = options;
    this.#logger = logger;
    this.#metrics = metrics;
    this.#fingerprint = fingerprint(options);
  }

  /** Watches until the returned function is called. */
  start(server: AuthzServer, signals: ServeSignals): () => void {
    const { redis, identityDeadAfter } = this.#options;
    const timers = [setInterval(() => this.#look(server), WATCH_INTERVAL_MS)];
    if (redis !== undefined) {
      const intervalMs = Math.min(STORE_INTERVAL_MS, (identityDeadAfter * 1000) / 3);
      timers.push(setInterval(() => this.#load(server), intervalMs));
    }
    const off = signals.onReload(() => this.#load(server));
    return () => {
      for (const timer of timers) clearInterval(timer);
      off();
    };
  }

  #look(server: AuthzServer): void {
    const now = fingerprint(this.#options);
    if (now !== this.#fingerprint) {
      this.#fingerprint = now;
      this.#load(server);
    }
    if (this.#options.redis === undefined || this.#isDead) return;
    const ageSeconds = (performance.now() - this.#loadedMs) / 1000;
    if (ageSeconds < this.#options.identityDeadAfter) return;
    this.#isDead = true;
    server.use(undefined);
    const detail = `no identities from Redis for ${Math.round(ageSeconds)} s`;
    this.#logger.error({ detail }, 'the store is away: every request is denied');
  }

  /** Asked for during a load, it loads once more after it: what was read may be older than the question. */
  #load(server: AuthzServer): void {
    this.#isWanted = true;
    if (this.#isLoading) return;
    this.#isLoading = true;
    void this.#loadWanted(server).finally(() => {
      this.#isLoading = false;
    });
  }

  async #loadWanted(server: AuthzServer): Promise<void> {
    while (this.#isWanted) {
      this.#isWanted = false;
      const startedMs = performance.now();
      try {
        // What is dead must be put in place again even if it is the same.
        const digest = this.#isDead ? '' : this.#digest;
        const answer = await loadInThread({ options: this.#options, digest });
        if (answer.outcome === 'refused') {
          this.#refused(answer.lines);
          continue;
        }
        this.#loadedMs = startedMs;
        this.#isDead = false;
        if (answer.form !== undefined) this.#take(answer.form, answer.digest ?? '', answer.lines, server);
      } catch (error) {
        this.#refused([(error as Error).message]);
      }
    }
  }

  #take(form: AuthorizationForm, digest: string, lines: readonly string[], server: AuthzServer): void {
    server.use(new Authorizer(form, authorizerOptions(this.#options)));
    this.#digest = digest;
    this.#metrics.reloaded('taken');
    for (const line of lines) this.#logger.warn({ detail: line }, 'input');
    this.#logger.info({ endpoints: form.endpoints.length, policies: form.policies.length }, 'reloaded');
  }

  #refused(lines: readonly string[]): void {
    this.#metrics.reloaded('refused');
    for (const line of lines) this.#logger.error({ detail: line }, 'input');
    this.#logger.error('the changed input is refused; the last good policies stay');
  }
}

/** Equal as long as no file of the input has changed. What cannot be looked at differs from everything that can. */
function fingerprint(options: AuthzOptions): string {
  const names = [...(options.filename ?? []), options.identities ?? '-'].filter((name) => name !== '-');
  if (names.length === 0) return '';
  return filesFingerprint(names, options.recursive === true);
}

function processSignals(): ServeSignals {
  const controller = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => controller.abort());
  return {
    stop: controller.signal,
    onReload: (load) => {
      process.on('SIGHUP', load);
      return () => process.off('SIGHUP', load);
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
