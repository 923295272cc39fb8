// @ts-check
// Builds the program, bundles the bench beside it (as the program itself is bundled) and starts it. Plain Node, so that
// `npm run bench` needs nothing but installed packages. Types are checked with the tests' (test/tsconfig.json).
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** One folder a run, named by its process: two runs at a time must not take each other's files away. */
const BUNDLES = join(ROOT, 'node_modules/.cache/margay-bench');
const OUT = join(BUNDLES, `${process.pid}`);
const HEAP_MB = 8192;

const args = process.argv.slice(2);
// `--no-build` takes dist/ as it is, for who has just built it.
const takesBuild = args[0] === '--no-build';
if (takesBuild) args.shift();
else run('npm', ['run', '--silent', 'build']);
removeLeftovers();

// Ctrl-C reaches the bench as well; this process waits for it and clears up.
process.on('SIGINT', () => {});
try {
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
  run('node', [`--max-old-space-size=${HEAP_MB}`, join(OUT, 'main.js'), ...args]);
} finally {
  rmSync(OUT, { recursive: true, force: true });
}

/** Bundles of runs that were killed. */
function removeLeftovers() {
  mkdirSync(BUNDLES, { recursive: true });
  for (const name of readdirSync(BUNDLES)) {
    if (!existsSync(`/proc/${name}`)) rmSync(join(BUNDLES, name), { recursive: true, force: true });
  }
}

/**
 * @param {string} command
 * @param {string[]} commandArgs
 */
function run(command, commandArgs) {
  const env = { ...process.env, MARGAY_BENCH_ROOT: ROOT };
  const { status } = spawnSync(command, commandArgs, { cwd: ROOT, stdio: 'inherit', env });
  process.exitCode = status ?? 1;
  if (status !== 0 && command === 'npm') process.exit();
}
