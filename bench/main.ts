/**
 * The bench: `npm run bench -- [options]`. `--help` lists scenarios and options, bench/README.md says what is measured and how.
 *
 * Parts are timed by tinybench; whole runs are processes, ours and the peers' in turn on the same file, so that a machine whose
 * speed drifts hurts all alike. Before anything is timed, the naive reference is asked whether the answers are right. Quote ratios and
 * medians, with the machine beside them: both are printed and written to bench/results/DATE.json.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { compareResults } from './compare.ts';
import { FIGURE_SCENARIOS, figureRows } from './figures.ts';
import { describeMachine } from './machine.ts';
import type { Measurement, Results } from './measurement.ts';
import { ROOT } from './paths.ts';
import { installPeers } from './peers/install.ts';
import { elapsedSeconds, progress } from './progress.ts';
import { printFigures, printTable } from './report.ts';
import { prepareScenario, runScenario, SCENARIO_HELP } from './run-scenario.ts';
import { closeSessions } from './session.ts';

const DEFAULT_SCENARIOS = ['start-up', 'parts', 'g1k', 'e1k'];

const USAGE = `Usage: npm run bench -- [options]

  --scenario NAME   what to run (repeatable; default: ${DEFAULT_SCENARIOS.join(', ')})
  --figures         all that the table of figures needs, with peers, and that table at the end: about 15 minutes
  --peers           run the peers as well, in turn with ours; named and left out where they are missing
  --install-peers   install the peers by apt-get and npm, then end
  --prepare         write the workloads of the chosen scenarios, then end: they are half of a first run
  --packets N       packets of a generated capture (default 10000000)
  --runs N          rounds of each scenario (default 5; with --figures what each needs)
  --json            print the results as JSON
  --compare FILE    print each ratio beside the stored one; exit 1 past the tolerance
  --tolerance P     percent that a ratio may be worse (default: 10, memory-bound scenarios 25)
  --seconds N       give up after so many seconds, without results
  --out FILE        where to write the results (default bench/results/DATE.json; - = nowhere)
  --hours N         how long agent-soak runs (default: ten minutes)
  --small           scale scenarios with a hundredth of the pods, to try the harness

${SCENARIO_HELP}`;

const { values } = parseArgs({
  options: {
    scenario: { type: 'string', multiple: true },
    figures: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: false },
    'install-peers': { type: 'boolean', default: false },
    prepare: { type: 'boolean', default: false },
    packets: { type: 'string', default: '10000000' },
    runs: { type: 'string' },
    json: { type: 'boolean', default: false },
    compare: { type: 'string' },
    tolerance: { type: 'string' },
    seconds: { type: 'string' },
    out: { type: 'string' },
    small: { type: 'boolean', default: false },
    hours: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) process.stdout.write(USAGE);
else if (values['install-peers']) process.exitCode = installPeers() ? 0 : 1;
else if (values.prepare) prepareAll();
else await main();

function prepareAll(): void {
  for (const [name] of chosenScenarios()) prepareScenario(name, numberOf('--packets', values.packets), values.small);
}

async function main(): Promise<void> {
  const stored =
    values.compare === undefined ? undefined : (JSON.parse(readFileSync(values.compare, 'utf8')) as Results);
  if (values.seconds !== undefined) giveUpAfter(numberOf('--seconds', values.seconds));
  const machine = describeMachine();
  const skipped: string[] = [];
  const measurements: Measurement[] = [];
  for (const [name, rounds] of chosenScenarios()) {
    progress(name);
    try {
      measurements.push(...(await runScenario(name, { ...runOptions(rounds), skipped })));
    } catch (error) {
      // One broken scenario of many must not lose the figures of the others; it is named, and the bench fails.
      process.stderr.write(`${name}: ${(error as Error).stack ?? String(error)}\n`);
      skipped.push(`${name} failed: ${(error as Error).message.split('\n')[0]}`);
      process.exitCode = 1;
    } finally {
      closeSessions();
    }
  }
  const results: Results = {
    date: new Date().toISOString(),
    command: `npm run bench -- ${process.argv.slice(2).join(' ')}`.trim(),
    seconds: Math.round(elapsedSeconds()),
    packets: numberOf('--packets', values.packets),
    machine,
    measurements,
    skipped,
  };
  if (values.json) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  else process.stdout.write(printTable(results));
  store(results);
  if (values.figures) process.stdout.write(printFigures(results, figureRows(measurements)));
  if (stored === undefined) return;
  const tolerance = values.tolerance === undefined ? undefined : numberOf('--tolerance', values.tolerance);
  const { text, isWorse } = compareResults(stored, results, tolerance);
  process.stdout.write(text);
  if (isWorse) process.exitCode = 1;
}

function giveUpAfter(seconds: number): void {
  const timer = setTimeout(() => {
    process.stderr.write(`not done after ${seconds} s: given up (--seconds)\n`);
    closeSessions();
    process.exit(1);
  }, seconds * 1000);
  timer.unref();
}

function chosenScenarios(): readonly (readonly [name: string, rounds: number])[] {
  const runs = values.runs === undefined ? undefined : numberOf('--runs', values.runs);
  if (values.figures && values.scenario === undefined) {
    return FIGURE_SCENARIOS.map(([name, rounds]) => [name, runs ?? rounds]);
  }
  const roundsOf = new Map(FIGURE_SCENARIOS);
  return (values.scenario ?? DEFAULT_SCENARIOS).map((name) => [name, runs ?? Math.max(5, roundsOf.get(name) ?? 5)]);
}

function runOptions(rounds: number): Omit<Parameters<typeof runScenario>[1], 'skipped'> {
  const packets = numberOf('--packets', values.packets);
  const hours = values.hours === undefined ? undefined : numberOf('--hours', values.hours);
  return { rounds, packets, withPeers: values.peers || values.figures, isSmall: values.small, hours };
}

function numberOf(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`${option}: '${text}' is no positive number`);
}

function store(results: Results): void {
  if (values.out === '-') return;
  const path = values.out ?? join(ROOT, `bench/results/${results.date.slice(0, 10)}.json`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(results, null, 2)}\n`);
  progress(`written to ${path}`);
}
