/**
 * Workers of a queue: one capture judged by one `margay worker` of one slot, and by two, on this machine. Redis and the submitter run
 * beside them, so this asks for a machine of which two cores are free.
 *
 * Runs alternate, each with the same number of shares; a run is the whole command, from its start to its answer, which must be that of
 * one process without a queue.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Measurement, measured, ratio } from './measurement.ts';
import { MARGAY } from './paths.ts';
import { isInstalled, runProcess } from './process.ts';

const SCENARIO = 'queue';
const READY_MS = 60_000;
const SHARES = 4;

const FORMS = [
  ['counts of packets by themselves', ['--summary', '--stateless']],
  ['counts with connection tracking', ['--summary']],
] as const;

/** `cluster`: manifests; `capture`: large enough that starting a process is nothing beside it. Empty where there is no `redis-server`. */
export async function runQueue(cluster: string, capture: string, runs = 3): Promise<Measurement[]> {
  if (!isInstalled('redis-server')) return [];
  const folder = mkdtempSync(join(tmpdir(), 'margay-bench-queue-'));
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  const redis = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
  const children: ChildProcess[] = [];
  try {
    children.push(await started('redis-server', redis, 'Ready to accept connections'));
    // A cluster for each number of workers: those of the other one only ask now and then whether there is a run.
    for (const name of ['one', 'two', 'two']) {
      const args = [MARGAY, 'worker', '--redis', url, '--cluster', name, '--concurrency', '1'];
      children.push(await started(process.execPath, args, 'ready for jobs'));
    }
    return FORMS.flatMap(([name, options]) => timeForm(name, options, { cluster, capture, url, runs }));
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

interface QueueBench {
  readonly cluster: string;
  readonly capture: string;
  readonly url: string;
  readonly runs: number;
}

function timeForm(
  name: string,
  options: readonly string[],
  { cluster, capture, url, runs }: QueueBench,
): Measurement[] {
  const base = ['replay', '-q', '-f', cluster, '-r', capture, ...options];
  const run = (more: readonly string[]) => runProcess(process.execPath, [MARGAY, ...base, ...more]);
  const alone = run([]);
  const queue = (workers: string): number => {
    const { seconds, stdout } = run(['--queue', url, '--cluster', workers, '--workers', String(SHARES)]);
    if (stdout !== alone.stdout) throw new Error(`${name}: the queue's answer is not that of one process`);
    return seconds;
  };
  // Code is compiled and files are in memory from then on.
  for (const workers of ['one', 'two']) queue(workers);
  const one: number[] = [];
  const two: number[] = [];
  for (let i = 0; i < runs; i++) {
    one.push(queue('one'));
    two.push(queue('two'));
  }
  const command = `margay ${base.slice(0, 1).concat(options).join(' ')} --queue URL --workers ${SHARES}`;
  return [
    measured(SCENARIO, `${name}: without a queue`, 's', [alone.seconds]),
    measured(SCENARIO, `${name}: one worker`, 's', one, { command }),
    measured(SCENARIO, `${name}: two workers`, 's', two, { command }),
    ratio(SCENARIO, `${name}: two workers against one`, one, two, { note: 'asked: at least 1.7' }),
  ];
}

/** A process that has said `words`; throws with what it said instead. */
async function started(command: string, args: readonly string[], words: string): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => fail(`did not start within ${READY_MS / 1000} s`), READY_MS);
    const fail = (problem: string): void => {
      clearTimeout(late);
      child.kill('SIGKILL');
      reject(new Error(`${command} ${problem}: ${said}`));
    };
    const hear = (text: Buffer): void => {
      said += text.toString();
      if (!said.includes(words)) return;
      clearTimeout(late);
      resolve();
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.once('error', (error) => fail(error.message));
    child.once('exit', () => fail('ended'));
  });
  return child;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
