/** The command line as `npm run build` bundles it, from the sources as they are now, in a folder of its own: for tests of whole processes. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');

export interface Bundled {
  /** Path of `main.js`. */
  readonly main: string;
  readonly remove: () => void;
}

export function bundleCommandLine(): Bundled {
  const folder = mkdtempSync(join(tmpdir(), 'margay-bundled-'));
  mkdirSync(join(folder, 'dist/cli'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  execFileSync(process.execPath, [join(ROOT, 'src/cli/bundle.mjs'), join(folder, 'dist/cli')], { stdio: 'pipe' });
  return { main: join(folder, 'dist/cli/main.js'), remove: () => rmSync(folder, { recursive: true, force: true }) };
}
