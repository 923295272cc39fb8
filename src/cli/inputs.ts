/** Manifests to resources, plan and tables, with all that is to be said about them on standard error. */
import { formatReport } from '../base/errors.ts';
import type { Plan, PlanWarning } from '../compile/plan.ts';
import type { LoadProblem, LoadResult } from '../load/load.ts';
import type { Dataplane } from '../model/flow.ts';
import type { Resources } from '../model/resources.ts';
import type { Tables } from '../tables/tables.ts';
import { EXIT_BAD_INPUT, ExitError, UsageError } from './exit.ts';
import type { CommonOptions, InputOptions } from './options.ts';
import type { Output } from './output.ts';
import { counted } from './render.ts';

export interface Cluster {
  readonly resources: Resources;
  readonly plan: Plan;
}

/** More than these are counted, not listed: `validate` lists them all. */
const WARNINGS_SHOWN_MAX = 20;

/** Loads what `-f` names, errors included. Throws UsageError without `-f`, PolicyError for a path that is not there. */
export async function loadInputs(options: InputOptions, takesDuplicates = false): Promise<LoadResult> {
  const names = options.filename ?? [];
  if (names.length === 0) {
    throw new UsageError('-f is missing: name the files or directories that hold the policies and pods of the cluster');
  }
  const [{ expandFiles }, { loadResources }] = await Promise.all([
    import('../load/files.ts'),
    import('../load/load.ts'),
  ]);
  return loadResources(expandFiles(names, options.recursive === true), {
    strict: options.strict === true,
    permissive: options.permissive === true,
    asIs: options.asIs === true,
    takesDuplicates,
  });
}

/** Loads and plans a cluster to work with. Errors are printed, all of them, and end the command with exit code 2. */
export async function openCluster(options: InputOptions & CommonOptions, output: Output): Promise<Cluster> {
  const loaded = await loadInputs(options);
  if (options.verbose === true) reportIgnored(loaded, output);
  if (loaded.errors.length > 0) {
    const { formatProblem } = await import('../load/problem.ts');
    for (const problem of loaded.errors) output.stderr.write(`margay: ${formatProblem(problem)}\n`);
    output.stderr.write(
      `margay: ${counted(loaded.errors.length, 'error')} in the input; correct ${loaded.errors.length === 1 ? 'it' : 'them'} first\n`,
    );
    throw new ExitError(EXIT_BAD_INPUT);
  }
  const { planCluster } = await import('../compile/plan-cluster.ts');
  const plan = planCluster(loaded.resources);
  if (options.quiet !== true) await reportWarnings(loaded.warnings, plan.warnings, output);
  return { resources: loaded.resources, plan };
}

/** The tables of a plan, for the whole cluster or for the endpoints of one node. */
export async function openClusterTables(
  plan: Plan,
  { node, dataplane }: { readonly node?: string | undefined; readonly dataplane?: Dataplane } = {},
): Promise<Tables> {
  const [{ packPlan }, { openTables }] = await Promise.all([
    import('../compile/pack.ts'),
    import('../tables/tables.ts'),
  ]);
  checkNode(plan, node);
  return openTables(packPlan(plan, { node, dataplane }));
}

/** Throws UsageError, with the nodes there are, for a node that nothing in the input names. */
export function checkNode(plan: Plan, node: string | undefined): void {
  if (node === undefined || plan.nodes.some(({ name }) => name === node)) return;
  const names = plan.nodes.map(({ name }) => name);
  const known = names.length === 0 ? 'the input has no node' : `it has ${listed(names)}`;
  throw new UsageError(`--node: no Node, pod or host endpoint of the input names the node '${node}'; ${known}`);
}

/** Some names in a sentence: `a, b and 3 more`. */
export function listed(names: readonly string[], max = 5): string {
  if (names.length <= max) return names.join(', ');
  return `${names.slice(0, max).join(', ')} and ${names.length - max} more`;
}

/** Warnings of the load, then those of the plan about fields that the load has not warned of already. */
export function joinWarnings(loaded: readonly LoadProblem[], planned: readonly PlanWarning[]): readonly LoadProblem[] {
  const keyOf = ({ file, namespace, name, field }: LoadProblem): string => [file, namespace, name, field].join('\n');
  const known = new Set(loaded.map(keyOf));
  return [...loaded, ...planned.map(problemOf).filter((problem) => !known.has(keyOf(problem)))];
}

/** A warning of the plan in the form of the load's. */
function problemOf(warning: PlanWarning): LoadProblem {
  const { origin, ...rest } = warning;
  return { file: origin.file, line: origin.line, ...rest };
}

async function reportWarnings(
  loaded: readonly LoadProblem[],
  planned: readonly PlanWarning[],
  output: Output,
): Promise<void> {
  const warnings = joinWarnings(loaded, planned);
  if (warnings.length === 0) return;
  const { formatProblem } = await import('../load/problem.ts');
  for (const problem of warnings.slice(0, WARNINGS_SHOWN_MAX)) {
    output.stderr.write(`margay: warning: ${formatProblem(problem)}\n`);
  }
  const rest = warnings.length - WARNINGS_SHOWN_MAX;
  if (rest > 0) output.stderr.write(`margay: ${counted(rest, 'more warning')}; margay validate lists them all\n`);
}

export function reportIgnored(loaded: LoadResult, output: Output): void {
  for (const { apiVersion, kind, count } of loaded.ignored) {
    const what = formatReport({ problem: `${counted(count, 'object')} of kind ${kind} (${apiVersion}) left out` });
    output.stderr.write(`margay: ${what}; no verdict depends on that kind\n`);
  }
}
