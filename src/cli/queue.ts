/** `margay replay --queue` and `margay worker`: where the queue is, and what the command line says while it is at work. */
import { statSync } from 'node:fs';
import type { ReplayOptions, ReplayResult } from '../analyze/replay.ts';
import { redisConfig } from '../identity/redis-config.ts';
import type { Tables } from '../tables/tables.ts';
import type { WorkerCommandOptions } from './commands/worker.ts';
import { EXIT_FINE, EXIT_INTERRUPTED, ExitError, UsageError } from './exit.ts';
import type { Output } from './output.ts';
import { counted } from './render.ts';
import { readVersion } from './version.ts';

/** The name of a cluster that has none. */
const CLUSTER = 'default';

interface QueueOptions {
  readonly queue?: string;
  readonly cluster?: string;
  readonly quiet?: boolean;
}

/** Throws UsageError for captures and options with which a queue can do nothing. */
export function checkQueue(captures: readonly string[]): void {
  for (const name of captures) {
    if (name === '-' || !statSync(name).isFile()) {
      throw new UsageError('--queue: workers read the captures themselves, so name files that they can see');
    }
  }
}

/** What takes the place of `replayCaptures`: the workers of the queue judge. */
export async function queueReplayer(
  { queue, cluster = CLUSTER, quiet }: QueueOptions,
  output: Output,
): Promise<(tables: Tables, files: readonly string[], options?: ReplayOptions) => Promise<ReplayResult>> {
  const config = redisConfig(queue!);
  const { queueKeysOf } = await import('../analyze/queue-run.ts');
  checkCluster(() => queueKeysOf(cluster));
  const { replayByQueue } = await import('../analyze/queue-submit.ts');
  const onNote = (text: string): void => {
    if (quiet !== true && !output.isClosed()) output.stderr.write(`margay: ${text}\n`);
  };
  return async (tables, files, options = {}) => {
    if (options.timeline !== undefined || options.isStale !== undefined) {
      throw new UsageError('--queue: addresses change their owners here; name one moment with --at');
    }
    try {
      return await replayByQueue(tables, files, options, { config, cluster, program: readVersion(), onNote });
    } catch (error) {
      if ((error as Error).name !== 'QueueCancelled') throw error;
      output.stderr.write('margay: cancelled: the jobs are withdrawn, and there is no answer\n');
      throw new ExitError(EXIT_INTERRUPTED);
    }
  };
}

function checkCluster(check: () => unknown): void {
  try {
    check();
  } catch (error) {
    throw new UsageError(`--cluster: ${(error as Error).message}`);
  }
}

/** Serves until SIGTERM or Ctrl-C. */
export async function serveWorker(options: WorkerCommandOptions, output: Output): Promise<number> {
  const { redis, cluster = CLUSTER, concurrency, root, quiet } = options;
  if (redis === undefined) throw new UsageError('--redis is missing: name the server, redis://host:6379');
  if (root !== undefined && statSync(root, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new UsageError(`--root: ${root} is no directory`);
  }
  const config = redisConfig(redis);
  const { queueKeysOf } = await import('../analyze/queue-run.ts');
  checkCluster(() => queueKeysOf(cluster));
  const { serveQueue } = await import('../analyze/queue-serve.ts');
  const terminated = new AbortController();
  const onTerm = (): void => terminated.abort();
  process.once('SIGTERM', onTerm);
  const { availableParallelism } = await import('node:os');
  try {
    const served = await serveQueue({
      config,
      cluster,
      program: readVersion(),
      concurrency: concurrency ?? availableParallelism(),
      root,
      stop: AbortSignal.any([output.interruptible(), terminated.signal]),
      onNote: (text) => {
        if (quiet !== true) output.stderr.write(`margay: ${text}\n`);
      },
    });
    if (quiet !== true) output.stderr.write(`margay: stopped after ${counted(served.jobs, 'job')}\n`);
    return EXIT_FINE;
  } finally {
    process.off('SIGTERM', onTerm);
  }
}
