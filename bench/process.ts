/** Whole processes, timed from outside: wall time, and the largest resident set as the kernel counted it. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export interface ProcessRun {
  readonly seconds: number;
  /** 0 where GNU time is not installed. */
  readonly residentMb: number;
  readonly stdout: string;
}

const TIME = '/usr/bin/time';
const TIMEOUT_MS = 600_000;

/** Runs a command to its end; throws with its last words if it fails. */
export function runProcess(command: string, args: readonly string[]): ProcessRun {
  const hasTime = existsSync(TIME);
  const [program, all] = hasTime ? [TIME, ['-f', 'resident %M', command, ...args]] : [command, [...args]];
  const start = performance.now();
  const result = spawnSync(program, all, { encoding: 'utf8', timeout: TIMEOUT_MS, maxBuffer: 64 * 1024 * 1024 });
  const seconds = (performance.now() - start) / 1000;
  if (result.status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${result.stderr.trim().slice(-400)}`);
  const resident = /resident (\d+)/.exec(result.stderr);
  return { seconds, residentMb: resident === null ? 0 : Number(resident[1]) / 1024, stdout: result.stdout };
}

/** Whether a program can be started at all. */
export function isInstalled(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
}
