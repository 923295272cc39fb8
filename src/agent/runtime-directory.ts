/** Where the agent keeps its ledgers: any directory that can be written to, in memory if there is one. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Makes a directory of its own for this process; undefined where nothing can be written to (a read-only root without /dev/shm or /tmp). */
export function makeRuntimeDirectory(candidates: readonly string[] = runtimeCandidates()): string | undefined {
  for (const candidate of candidates) {
    try {
      return mkdtempSync(join(candidate, 'margay-'));
    } catch {
      // The next one.
    }
  }
  return undefined;
}

/** systemd sets RUNTIME_DIRECTORY for units with `RuntimeDirectory=`; several are separated by colons. */
function runtimeCandidates(): string[] {
  const given = process.env.RUNTIME_DIRECTORY?.split(':').filter((path) => path !== '') ?? [];
  return [...given, '/dev/shm', tmpdir()];
}
