/** Loading, compiling and changing at scale: each in a fresh process, since the first compile of a process is what users wait for. */
import { statSync } from 'node:fs';
import type { LoadTimes } from './children/load.ts';
import { type Measurement, measured } from './measurement.ts';
import { DUMP_SECONDS, OBJECTS_TO_TABLES, RESIDENT, TABLES, TEXT_TO_TABLES } from './names.ts';
import { runOnce } from './once.ts';
import { kept, MARGAY } from './paths.ts';
import { clusterFile, emptyCapture } from './prepare.ts';
import { runProcess } from './process.ts';
import { progress } from './progress.ts';
import { buildWorkload, shapeOf } from './workload.ts';
import { FELIX_SCALE, type PodForm, type ScaleShape, writePods, writePolicies } from './workload-scale.ts';

export type CompileTimes = LoadTimes & { readonly loadedMb: number; readonly residentMb: number };

/** `compile-e1k` and the like: from the JSON text to tables that answer. */
export function runCompile(name: string, rounds: number): Measurement[] {
  const scenario = `compile-${name}`;
  return compileRows(
    scenario,
    repeat(scenario, rounds, () => compileOnce(name)),
  );
}

/** A shape's cluster in a fresh process. */
export function compileOnce(name: string): CompileTimes {
  const shape = shapeOf(name);
  if (shape === undefined) throw new Error(`no shape '${name}' to compile`);
  return runOnce<CompileTimes>('compile', [clusterFile(buildWorkload(shape))]);
}

/** From objects to tables that answer. */
export function compileMs({ planMs, packMs, openMs }: CompileTimes): number {
  return planMs + packMs + openMs;
}

export function compileRows(scenario: string, runs: readonly CompileTimes[]): Measurement[] {
  const row = (name: string, unit: 'ms' | 'MB', value: (run: CompileTimes) => number): Measurement =>
    measured(scenario, name, unit, runs.map(value));
  return [
    row('text to objects', 'ms', ({ loadMs }) => loadMs),
    row('objects to plan', 'ms', ({ planMs }) => planMs),
    row('plan to buffer', 'ms', ({ packMs }) => packMs),
    row('buffer checked and opened', 'ms', ({ openMs }) => openMs),
    row(OBJECTS_TO_TABLES, 'ms', compileMs),
    row(TEXT_TO_TABLES, 'ms', (run) => run.loadMs + compileMs(run)),
    row(TABLES, 'MB', ({ tableBytes }) => tableBytes / 1e6),
    row(RESIDENT, 'MB', ({ residentMb }) => residentMb),
  ];
}

/** 200 local of 250 000 endpoints, 10 000 policies. */
export function runNodeScale(shape: ScaleShape = FELIX_SCALE): Measurement[] {
  const scenario = scaleName('node-scale', shape);
  progress(`${scenario}: the tables of one node of ${shape.pods.toLocaleString('en')} pods`);
  const node = `node-${Math.floor(shape.pods / shape.podsPerNode / 2)}`;
  const run = runOnce<CompileTimes>('compile', ['--node', node, ...scaleFiles(shape, 'lean')]);
  return compileRows(scenario, [run]);
}

interface Churn {
  readonly firstMs: number;
  readonly parentsMs: number;
  readonly selectorMs: readonly number[];
  /** Each of the updates published by itself; microseconds of one. */
  readonly publishedUs: readonly number[];
}

export function runChurn(shape: ScaleShape = FELIX_SCALE): Measurement[] {
  const scenario = scaleName('churn', shape);
  progress(`${scenario}: changes among ${shape.pods.toLocaleString('en')} pods`);
  const { firstMs, parentsMs, selectorMs, publishedUs } = runOnce<Churn>('churn', scaleFiles(shape, 'lean'));
  return [
    measured(scenario, 'first plan of all', 'ms', [firstMs]),
    measured(scenario, '100 000 label updates of parents, then the plan', 'ms', [parentsMs]),
    measured(scenario, 'one selector of a policy, planned', 'ms', selectorMs),
    measured(scenario, 'label updates of parents, each published: one', 'us', publishedUs),
  ];
}

/** A dump of all pods as kubectl prints it, and the policies: the whole program, start to end. */
export function runDump(form: 'dump' | 'compact', rounds: number, shape: ScaleShape = FELIX_SCALE): Measurement[] {
  const scenario = scaleName(form === 'dump' ? 'dump' : 'dump-compact', shape);
  const files = scaleFiles(shape, form);
  const args = [MARGAY, 'replay', '--summary', '--exit-zero', '-q', '-o', 'json', '-r', emptyCapture()];
  const command = [...args, ...files.flatMap((file) => ['-f', file])];
  const runs = repeat(scenario, rounds, () => runProcess('node', command));
  return [
    measured(
      scenario,
      DUMP_SECONDS,
      's',
      runs.map(({ seconds }) => seconds),
      { command: `node ${command.join(' ')}` },
    ),
    measured(
      scenario,
      RESIDENT,
      'MB',
      runs.map(({ residentMb }) => residentMb ?? Number.NaN),
    ),
    measured(scenario, 'the dump as a file', 'MB', [statSync(files[0]!).size / 1e6]),
  ];
}

/** A trial of the harness must not pass for the real thing. */
function scaleName(name: string, shape: ScaleShape): string {
  return shape.pods === FELIX_SCALE.pods ? name : `${name}-small`;
}

/** Pods and policies, as paths. */
export function scaleFiles(shape: ScaleShape, form: PodForm): string[] {
  const pods = kept(`scale-${shape.pods}-${form}.json`, (path) => {
    progress(`writing ${shape.pods.toLocaleString('en')} pods`);
    writePods(path, shape, form);
  });
  return [pods, kept(`scale-${shape.pods}-policies.json`, (path) => void writePolicies(path, shape))];
}

function repeat<T>(what: string, rounds: number, run: () => T): T[] {
  return Array.from({ length: rounds }, (_, round) => {
    progress(`${what}: round ${round + 1} of ${rounds}`);
    return run();
  });
}
