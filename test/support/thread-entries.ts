/**
 * The entries of worker threads as JavaScript: Node.js runs no TypeScript in threads that the test runner has not started. Bundled
 * once a test file, into a folder of its own, so that the tests never see a stale `dist`.
 */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildSync } from 'esbuild';
import { useThreadEntries } from '../../src/base/thread-entry.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** Threads start from the sources as they are now, until the returned function is called. */
export function bundleThreadEntries(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'margay-threads-'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  buildSync({
    absWorkingDir: ROOT,
    entryPoints: [
      'src/analyze/replay-worker.ts',
      'src/packets/unpack-worker.ts',
      'src/load/read-ahead-worker.ts',
      'src/agent/plane-worker.ts',
      'src/agent/capture-child.ts',
      'src/agent/judge-worker.ts',
    ],
    entryNames: '[name]',
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: ['cap'],
    logLevel: 'warning',
  });
  useThreadEntries(`${pathToFileURL(folder).href}/`);
  return () => {
    useThreadEntries(undefined);
    rmSync(folder, { recursive: true, force: true });
  };
}
