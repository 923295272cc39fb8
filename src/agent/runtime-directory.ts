/** Where the agent keeps its ledgers: any directory that can be written to, in memory if there is one. */
import { randomUUID } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory that can be written to; undefined where there is none (a read-only root without /dev/shm or /tmp). */
export function findRuntimeDirectory(candidates: readonly string[] = runtimeCandidates()): string | undefined {
  return candidates.find((candidate) => {
    try {
      accessSync(candidate, constants.W_OK | constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** A file there that nobody has yet. */
export function ledgerPathIn(directory: string): string {
  return join(directory, `margay-ledger-${randomUUID()}`);
}

/** systemd sets RUNTIME_DIRECTORY for units with `RuntimeDirectory=`; several are separated by colons. */
function runtimeCandidates(): string[] {
  const given = process.env.RUNTIME_DIRECTORY?.split(':').filter((path) => path !== '') ?? [];
  return [...given, '/dev/shm', tmpdir()];
}
