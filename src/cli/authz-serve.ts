/**
 * `authz --listen`: the process around the authorization service.
 *
 * It loads, listens, and then looks every second whether a file of the input has changed. A change is loaded beside the running
 * service and put in its place in one step; one that does not load leaves the last good policies where they are, and is
 * said in the log and in the metrics. SIGHUP loads at once. SIGTERM and SIGINT drain and end the process.
 */
import { statSync } from 'node:fs';
import { pino } from 'pino';
import { DenialLog } from '../authz/denial-log.ts';
import { type ListenAddress, parseListen } from '../authz/listen.ts';
import { AuthzMetrics, serveMetrics } from '../authz/metrics.ts';
import { AuthzServer } from '../authz/server.ts';
import { PolicyError } from '../base/errors.ts';
import { expandFiles } from '../load/files.ts';
import { openAuthorizer } from './authz-inputs.ts';
import type { AuthzOptions } from './commands/authz.ts';
import { EXIT_FINE, EXIT_TROUBLE, ExitError, UsageError } from './exit.ts';
import type { Output } from './output.ts';

const WATCH_INTERVAL_MS = 1_000;

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
  const logger = pino(
    {
      level: 'info',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => output.stderr.write(line) },
  );
  const metrics = new AuthzMetrics();
  const seen = { fingerprint: fingerprint(options) };
  const authorizer = await openAuthorizer(options, output);
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

  const reload = (isForced: boolean): Promise<void> =>
    reloadInput(isForced, { options, logger, metrics, server, seen });
  let running: Promise<void> = Promise.resolve();
  const queue = (isForced: boolean): void => {
    running = running.then(() => reload(isForced));
  };
  const timer = setInterval(() => queue(false), WATCH_INTERVAL_MS);
  const offReload = signals.onReload(() => queue(true));
  signals.onReady?.(server, page?.port);
  await aborted(signals.stop);
  clearInterval(timer);
  offReload();
  logger.info('stopping');
  const isDrained = await server.stop();
  await page?.close();
  if (isDrained) logger.info('stopped');
  else logger.error('stopped; calls that did not end in time were cut off');
  return isDrained ? EXIT_FINE : EXIT_TROUBLE;
}

function metricsOf(options: AuthzOptions): Extract<ListenAddress, { kind: 'tcp' }> | undefined {
  if (options.metrics === undefined) return undefined;
  const address = parseListen(options.metrics, '--metrics', options.allowRemote === true);
  if (address.kind === 'unix') throw new UsageError('--metrics: a page for Prometheus needs HOST:PORT');
  return address;
}

interface Reload {
  readonly options: AuthzOptions;
  readonly logger: pino.Logger;
  readonly metrics: AuthzMetrics;
  readonly server: AuthzServer;
  readonly seen: { fingerprint: string };
}

/** Loads the input if it has changed. Never rejects. */
async function reloadInput(isForced: boolean, { options, logger, metrics, server, seen }: Reload): Promise<void> {
  const lines: string[] = [];
  try {
    const now = fingerprint(options);
    if (!isForced && now === seen.fingerprint) return;
    // What was seen before the load: a file that changes while it is read is read again.
    seen.fingerprint = now;
    const authorizer = await openAuthorizer(options, collecting(lines));
    server.use(authorizer);
    metrics.reloaded('taken');
    const { endpoints, policies } = authorizer.form;
    for (const line of lines) logger.warn({ detail: line }, 'input');
    logger.info({ endpoints: endpoints.length, policies: policies.length }, 'reloaded');
  } catch (error) {
    metrics.reloaded('refused');
    for (const line of lines) logger.error({ detail: line }, 'input');
    const detail = error instanceof ExitError ? undefined : (error as Error).message;
    logger.error(
      { ...(detail === undefined ? {} : { detail }) },
      'the changed input is refused; the last good policies stay',
    );
  }
}

/** Equal as long as no file of the input has changed. What cannot be looked at differs from everything that can. */
function fingerprint(options: AuthzOptions): string {
  const names = (options.filename ?? []).filter((name) => name !== '-');
  if (names.length === 0) return '';
  try {
    return expandFiles(names, options.recursive === true)
      .map(({ path }) => {
        const { size, mtimeMs, ctimeMs, ino } = statSync(path);
        return [path, size, mtimeMs, ctimeMs, ino].join(' ');
      })
      .join('\n');
  } catch (error) {
    if (error instanceof PolicyError || (error instanceof Error && 'code' in error))
      return `unreadable: ${error.message}`;
    throw error;
  }
}

/** An output that keeps the lines of standard error, without `margay: ` before them. */
function collecting(lines: string[]): Output {
  const ignore = { write: () => {}, isTerminal: false, columns: undefined };
  return {
    stdout: ignore,
    stderr: { ...ignore, write: (text) => lines.push(text.trimEnd().replace(/^margay: /, '')) },
    hasColor: false,
    isClosed: () => false,
    interruptible: () => new AbortController().signal,
    flush: () => {},
  };
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
