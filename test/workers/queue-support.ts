/** Workers of a queue as real processes, and a replay by them as text that can be compared with one machine's. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { ruleCounts } from '../../src/analyze/counters.ts';
import { serveQueue } from '../../src/analyze/queue-serve.ts';
import { type QueuePlace, replayByQueue } from '../../src/analyze/queue-submit.ts';
import type { ReplayOptions } from '../../src/analyze/replay.ts';
import { type RedisConfig, redisConfig } from '../../src/identity/redis-config.ts';
import type { Tables } from '../../src/tables/tables.ts';
import type { RedisServer } from '../identity/support/redis-server.ts';
import { until } from '../identity/support/redis-server.ts';
import { builtSources } from '../support/built.ts';
import type { Mode } from './answer.ts';

/** The version that `builtSources` says it is. */
export const PROGRAM = '0.0.0';

/** The command line as a process of its own. */
export function startMargay(args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
  const main = join(builtSources(), 'cli', 'main.js');
  return spawn(process.execPath, [main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
}

export class WorkerProcess {
  readonly child: ChildProcess;
  said = '';

  constructor(url: string, more: readonly string[] = [], env: Readonly<Record<string, string>> = {}) {
    this.child = startMargay(['worker', '--redis', url, '--concurrency', '1', ...more], env);
    this.child.stderr?.on('data', (text) => (this.said += text));
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async ready(): Promise<this> {
    await until(
      () => this.said.includes('ready for jobs') || this.hasEnded,
      60_000,
      () => this.said,
    );
    return this;
  }

  /** Ends it and waits for its end. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    if (!this.hasEnded) {
      const ended = new Promise((resolve) => this.child.once('exit', resolve));
      this.child.kill(signal);
      await ended;
    }
    return this.child.exitCode;
  }
}

/** A worker in this process, for which thread entries must be there; returns what it says, and how to stop it. */
export function serveHere(
  redis: RedisServer,
  config: RedisConfig = redisConfig(redis.url, {}),
): { readonly notes: readonly string[]; readonly stop: () => Promise<unknown> } {
  const notes: string[] = [];
  const stopping = new AbortController();
  const serving = serveQueue({
    config,
    cluster: 'default',
    program: PROGRAM,
    concurrency: 1,
    onNote: (note) => notes.push(note),
    stop: stopping.signal,
  });
  return {
    notes,
    stop: () => {
      stopping.abort();
      return serving;
    },
  };
}

export function placeOf(redis: RedisServer, more: Partial<QueuePlace> = {}): QueuePlace {
  return {
    config: redisConfig(redis.url, {}),
    cluster: 'default',
    program: PROGRAM,
    onNote: () => {},
    lockMs: 1_500,
    ...more,
  };
}

/** The whole answer, in the form of `answerOf`. */
export async function queueAnswer(
  tables: Tables,
  files: readonly string[],
  { prints, options: modeOptions }: Mode,
  place: QueuePlace,
  more: ReplayOptions = {},
): Promise<string> {
  const lines: string[] = [];
  const result = await replayByQueue(
    tables,
    files,
    {
      ...modeOptions,
      ...(prints === 'packets' ? { onPacketText: (line) => lines.push(line) } : {}),
      ...(prints === 'connections' ? { onConnectionText: (record) => lines.push(record) } : {}),
      segmentBytes: 20_000,
      ...more,
    },
    place,
  );
  const { totals, sources, interrupted, evictedConnections, counters } = result;
  const rest = { totals, sources, interrupted, evictedConnections, rules: ruleCounts(tables, counters) };
  return [...lines, JSON.stringify(rest, null, 1)].join('\n');
}
