// @ts-check
// `npm test [-- vitest's arguments]`: installs what the tests need, builds, checks, runs every test, and ends with the
// plain line `N passed, N failed, N skipped`. Fails when a test failed, and when none ran.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBuild, ensureDependencies, ensureNode, main, ROOT, SetupError, say } from '../pcaps/setup.mjs';
import { ensureSystemPackages } from './install.mjs';
import { closingLine, countResults } from './support/count.mjs';

/** Each counts as one test. The build has already held src/ against the compiler; `types` adds tests and scripts. */
const CHECKS = [
  {
    name: 'check: lint and format (biome)',
    command: ['@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'],
  },
  { name: 'check: types of tests and scripts (tsc)', command: ['typescript/bin/tsc', '-p', 'test/tsconfig.json'] },
  { name: 'check: unused files, exports and dependencies (knip)', command: ['knip/bin/knip.js', '--no-progress'] },
];

const STORED_RATES = 'bench/results/ci.json';
const RATES_SECONDS = 60;

const vitestArguments = process.argv.slice(2);

// Ctrl-C reaches the children as well: they end, and the counts so far are still printed.
process.on('SIGINT', () => {});

await main(async () => {
  try {
    ensureNode();
    ensureSystemPackages();
    ensureDependencies();
    ensureBuild();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`margay: ${error.message}\n`);
    finish({ passed: 0, failed: ['setup'], skipped: [] });
    return;
  }
  const checks = await runChecks();
  const tests = await runVitest();
  await showRates();
  finish({
    passed: checks.passed + tests.passed,
    failed: [...checks.failed, ...tests.failed],
    skipped: [...checks.skipped, ...tests.skipped],
  });
});

/** @returns {Promise<import('./support/count.mjs').Counts>} */
async function runChecks() {
  /** @type {import('./support/count.mjs').Counts} */
  const counts = { passed: 0, failed: [], skipped: [] };
  if (vitestArguments.length > 0) {
    say('checks: not run, since arguments choose the tests; npm run lint runs them');
    return counts;
  }
  for (const { name, command } of CHECKS) {
    const [script = '', ...args] = command;
    const exitCode = await run([join(ROOT, 'node_modules', script), ...args]);
    if (exitCode === 0) counts.passed++;
    else counts.failed.push(name);
    say(`${name}: ${exitCode === 0 ? 'passed' : 'failed'}`);
  }
  return counts;
}

async function runVitest() {
  const folder = mkdtempSync(join(tmpdir(), 'margay-test-'));
  const reportPath = join(folder, 'report.json');
  const exitCode = await run([
    join(ROOT, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--config=test/vitest.config.ts',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${reportPath}`,
    ...vitestArguments,
  ]);
  const counts = countResults(readReport(reportPath), exitCode, ROOT);
  rmSync(folder, { recursive: true });
  return counts;
}

/**
 * A small scenario of the bench beside its stored ratios: to be read, never to fail on, since a shared machine is no judge of speed.
 */
async function showRates() {
  if (vitestArguments.length > 0) return;
  say(`rates: g100 with 200 000 packets beside ${STORED_RATES}`);
  const options =
    `--scenario g100 --packets 200000 --runs 3 --peers --seconds ${RATES_SECONDS} --out - --compare`.split(' ');
  const exitCode = await run(['bench/run.mjs', '--no-build', ...options, STORED_RATES]);
  if (exitCode !== 0) say('rates: worse than stored, or not measured; npm run bench on a quiet machine says more');
}

/** @param {string} path */
function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * Names what was skipped and what failed, then the closing line.
 * @param {import('./support/count.mjs').Counts} counts
 */
function finish(counts) {
  const isNameFilter = vitestArguments.some((word) => /^(-t|--testNamePattern)\b/.test(word));
  if (isNameFilter) say(`skipped: ${counts.skipped.length} tests, most because -t does not choose them`);
  else for (const name of counts.skipped) say(`skipped: ${name}`);
  for (const name of counts.failed) say(`failed: ${name}`);
  const hasRun = counts.passed + counts.failed.length > 0;
  if (!hasRun) say('no test ran, which counts as a failure of the run');
  process.exitCode = hasRun && counts.failed.length === 0 ? 0 : 1;
  say(closingLine(counts));
}

/**
 * Runs a Node script at the top level, its output shown as it comes.
 * @param {string[]} args
 * @returns {Promise<number | null>} exit code, null when a signal ended it
 */
function run(args) {
  return new Promise((resolve, reject) => {
    spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] })
      .on('error', reject)
      .on('close', resolve);
  });
}
