/** What a peer needs on this machine, and its compilation on demand. A peer that cannot run says why, by name, and is left out. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, WORK } from '../paths.ts';
import { isInstalled, runProcess } from '../process.ts';
import { progress } from '../progress.ts';

/** Why a peer cannot run here; the message says what to do. */
export class PeerMissing extends Error {}

const REMEDY = 'npm run bench -- --install-peers';

export function need(peer: string, ...programs: readonly string[]): void {
  const missing = programs.filter((program) => !isInstalled(program));
  if (missing.length > 0) throw new PeerMissing(`${peer}: ${missing.join(', ')} not installed (${REMEDY})`);
}

export function needRoot(peer: string): void {
  if (process.getuid?.() !== 0) throw new PeerMissing(`${peer}: needs root`);
}

export function source(name: string): string {
  return join(ROOT, 'bench/peers', name);
}

/** The program of `bench/peers/NAME.c`, compiled unless it is newer than its source. */
export function compiled(peer: string, name: string, flags: readonly string[]): string {
  const input = source(`${name}.c`);
  const output = join(WORK, 'bin', name);
  if (existsSync(output) && statSync(output).mtimeMs > statSync(input).mtimeMs) return output;
  need(peer, 'gcc');
  mkdirSync(join(WORK, 'bin'), { recursive: true });
  progress(`compiling ${name}.c`);
  try {
    runProcess('gcc', [
      '-O3',
      '-march=native',
      '-Wall',
      '-Wextra',
      '-Wno-unused-parameter',
      input,
      '-o',
      output,
      ...flags,
    ]);
  } catch (error) {
    throw new PeerMissing(`${peer}: cannot compile bench/peers/${name}.c (${REMEDY}): ${String(error).slice(-300)}`);
  }
  return output;
}

/** Flags that pkg-config knows for a library. */
export function libraryFlags(peer: string, library: string): string[] {
  need(peer, 'pkg-config');
  try {
    return runProcess('pkg-config', ['--cflags', '--libs', library]).stdout.trim().split(/\s+/);
  } catch {
    throw new PeerMissing(`${peer}: ${library} not installed (${REMEDY})`);
  }
}

const named = new Set<string>();

/** What `start` gives, or undefined after saying on standard error why this peer is left out. */
export async function orSkipped<T>(start: () => T | Promise<T>, skipped: string[]): Promise<T | undefined> {
  try {
    return await start();
  } catch (error) {
    if (!(error instanceof PeerMissing)) throw error;
    if (!skipped.includes(error.message)) skipped.push(error.message);
    if (!named.has(error.message)) process.stderr.write(`skipped: ${error.message}\n`);
    named.add(error.message);
    return undefined;
  }
}
