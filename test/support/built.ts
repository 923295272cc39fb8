/**
 * The sources as JavaScript, for tests that need them outside of the test runner: in a worker thread, which the runner does not
 * transform. Compiled once a test process, into a folder of its own, so that the tests never see a stale `dist`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');

let folder: string | undefined;

/** To be called when a test file is done: the runner ends its processes without their exit handlers. */
export function removeBuiltSources(): void {
  if (folder === undefined) return;
  rmSync(dirname(folder), { recursive: true });
  folder = undefined;
}

/** The folder that holds `index.js`, `match/judge.js` and so on. */
export function builtSources(): string {
  if (folder !== undefined) return folder;
  const made = mkdtempSync(join(tmpdir(), 'margay-built-'));
  writeFileSync(join(made, 'package.json'), '{"type":"module","version":"0.0.0"}');
  symlinkSync(join(ROOT, 'node_modules'), join(made, 'node_modules'));
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const args = [tsc, '-p', 'tsconfig.json', '--outDir', join(made, 'src'), '--declaration', 'false'];
  // Types are another test's matter; what compiles is written in any case.
  const { stdout } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
  if (!existsSync(join(made, 'src', 'index.js'))) throw new Error(`the sources do not compile:\n${stdout}`);
  folder = join(made, 'src');
  return folder;
}
