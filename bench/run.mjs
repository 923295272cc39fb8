// @ts-check
// Builds the program, bundles the bench beside it (as the program itself is bundled) and starts it. Plain Node, so that
// `npm run bench` needs nothing but installed packages. Types are checked with the tests' (test/tsconfig.json).
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const OUT = join(ROOT, 'node_modules/.cache/margay-bench');
const HEAP_MB = 8192;

const [first, ...rest] = process.argv.slice(2);
// `--no-build` takes dist/ as it is, for who has just built it.
const takesBuild = first === '--no-build';
if (!takesBuild) run('npm', ['run', '--silent', 'build']);

rmSync(OUT, { recursive: true, force: true });
const children = readdirSync(join(ROOT, 'bench/children')).filter((name) => name.endsWith('.ts'));
await build({
  absWorkingDir: ROOT,
  entryPoints: ['bench/main.ts', ...children.map((name) => `bench/children/${name}`)],
  outdir: OUT,
  outbase: 'bench',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  logLevel: 'warning',
});
run('node', [`--max-old-space-size=${HEAP_MB}`, join(OUT, 'main.js'), ...(takesBuild ? rest : process.argv.slice(2))]);

/**
 * @param {string} command
 * @param {string[]} args
 */
function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
