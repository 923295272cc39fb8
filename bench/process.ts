/** Whole processes, timed from outside: wall time, and the largest resident set as the kernel counted it. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export interface ProcessRun {
  readonly seconds: number;
  /** Undefined where GNU time is not installed. */
  readonly residentMb: number | undefined;
  /** Of all its threads, in steps of 10 ms; undefined likewise. */
  readonly cpuSeconds: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

const TIME = '/usr/bin/time';
const TIMEOUT_MS = 300_000;
const OUTPUT_BYTES_MAX = 256 * 1024 * 1024;
const WORDS_KEPT = 600;

/** Runs a command to its end; throws with its last words if it fails or takes too long. */
export function runProcess(command: string, args: readonly string[], options: ProcessOptions = {}): ProcessRun {
  const [program, all] = existsSync(TIME)
    ? [TIME, ['-f', 'resident %M user %U system %S', command, ...args]]
    : [command, args];
  const start = performance.now();
  const { status, signal, error, stdout, stderr } = spawnSync(program, all, {
    encoding: 'utf8',
    timeout: options.timeoutMs ?? TIMEOUT_MS,
    maxBuffer: OUTPUT_BYTES_MAX,
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
  });
  const seconds = (performance.now() - start) / 1000;
  if (status !== 0) {
    const words = error?.message ?? (stderr.trim().slice(-WORDS_KEPT) || `signal ${signal}`);
    throw new Error(`${command} ${args.join(' ')} failed: ${words}`);
  }
  const [, resident, user, system] = /resident (\d+) user ([\d.]+) system ([\d.]+)/.exec(stderr) ?? [];
  return {
    seconds,
    residentMb: resident === undefined ? undefined : Number(resident) / 1024,
    cpuSeconds: resident === undefined ? undefined : Number(user) + Number(system),
    stdout,
    stderr,
  };
}

/** Whether a program can be started at all. */
export function isInstalled(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
}
