/**
 * The bench harness: `npm run bench [-- --scenario NAME] [--peers] [--json] [--compare FILE] [--packets N]`.
 *
 * Parts are timed by tinybench; whole runs are processes, ours and the peers' in turn on the same file, at least five times,
 * so that a machine whose speed drifts hurts both alike. Quote ratios and medians, with the machine beside them: both are printed
 * and written to bench/results/DATE.json. Before anything is timed the folded tables are checked against the rows.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { compareResults } from './compare.ts';
import { runEndToEnd } from './end-to-end.ts';
import type { Measurement, Results } from './measurement.ts';
import { runParts } from './parts.ts';
import { prepare } from './prepare.ts';
import { printTable } from './report.ts';
import { runStartUp } from './start-up.ts';

const USAGE = `Usage: npm run bench -- [options]

  --scenario NAME   start-up, parts, or a shape: g10 g100 g1k e10 e100 e1k e10k … (default: start-up, parts, g1k)
  --packets N       packets of the generated capture (default 10000000)
  --runs N          runs of each process (default 5)
  --peers           run tcpdump on the same file, in turn with ours; named and skipped where it is missing
  --json            print the results as JSON
  --compare FILE    print each ratio beside the stored one; exit 1 past the tolerance
  --tolerance P     percent that a ratio may be worse (default 25)
  --out FILE        where to write the results (default bench/results/DATE.json)
`;

const { values } = parseArgs({
  options: {
    scenario: { type: 'string', multiple: true },
    packets: { type: 'string', default: '10000000' },
    runs: { type: 'string', default: '5' },
    peers: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    compare: { type: 'string' },
    tolerance: { type: 'string', default: '25' },
    out: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(USAGE);
} else {
  await main();
}

async function main(): Promise<void> {
  const scenarios = values.scenario ?? ['start-up', 'parts', 'g1k'];
  const runs = Number(values.runs);
  const measurements: Measurement[] = [];
  for (const scenario of scenarios) {
    process.stderr.write(`${scenario} …\n`);
    if (scenario === 'start-up') measurements.push(...runStartUp(runs));
    else if (scenario === 'parts') measurements.push(...(await runParts(prepare('e100', 100_000))));
    else measurements.push(...runEndToEnd(prepare(scenario, Number(values.packets)), runs, values.peers));
  }
  const results: Results = {
    date: new Date().toISOString(),
    command: `npm run bench -- ${process.argv.slice(2).join(' ')}`.trim(),
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${platform()} ${release()} ${arch()}`,
      node: process.version,
    },
    measurements,
  };
  process.stdout.write(values.json ? `${JSON.stringify(results, null, 2)}\n` : printTable(results));
  const out = values.out ?? `bench/results/${results.date.slice(0, 10)}.json`;
  mkdirSync('bench/results', { recursive: true });
  writeFileSync(out, `${JSON.stringify(results, null, 2)}\n`);
  process.stderr.write(`written to ${out}\n`);
  if (values.compare !== undefined) {
    const stored = JSON.parse(readFileSync(values.compare, 'utf8')) as Results;
    const { text, isWorse } = compareResults(stored, results, Number(values.tolerance));
    process.stdout.write(text);
    if (isWorse) process.exitCode = 1;
  }
}
