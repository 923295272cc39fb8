/** Where things lie: the repository, what the bench keeps between runs, and what it may throw away. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** The repository's top level: bench/run.mjs names it, since its bundle may lie behind a link. */
export const ROOT = process.env.MARGAY_BENCH_ROOT ?? findRoot(import.meta.dirname);

/** Peers that were installed or compiled; git ignores it. */
export const WORK = join(ROOT, 'bench/.work');

/** Workloads, by everything that they depend on. The number changes with the generator. */
export const WORKLOADS = join(process.env.MARGAY_BENCH_DIR ?? tmpdir(), 'margay-bench-2');

/** Ours, as users start it. */
export const MARGAY = join(ROOT, 'dist/cli/main.js');

function findRoot(start: string): string {
  for (let folder = start; ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name === 'margay') return folder;
    if (dirname(folder) === folder) throw new Error(`no package.json of margay above ${start}; run npm run bench`);
  }
}

/** The file `name` of the workloads, written once: a half-written one never has the final name. */
export function kept(name: string, write: (temporary: string) => void): string {
  mkdirSync(WORKLOADS, { recursive: true });
  const path = join(WORKLOADS, name);
  if (existsSync(path)) return path;
  const temporary = `${path}.part-${process.pid}`;
  try {
    write(temporary);
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
  return path;
}
