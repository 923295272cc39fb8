/** Manifests to resources, plan and tables, with all that is to be said about them on standard error. */
import { formatReport } from '../base/errors.ts';
import type { Plan, PlanWarning } from '../compile/plan.ts';
import type { LoadOptions, LoadProblem, LoadResult } from '../load/load.ts';
import type { Dataplane } from '../model/flow.ts';
import type { Resources } from '../model/resources.ts';
import type { TimelineData } from '../tables/live.ts';
import type { Tables } from '../tables/tables.ts';
import { EXIT_BAD_INPUT, ExitError, UsageError } from './exit.ts';
import type { CommonOptions, IdentityOptions, InputOptions } from './options.ts';
import type { Output } from './output.ts';
import { ProgressBar } from './progress.ts';
import { counted } from './render.ts';

export interface Cluster {
  readonly resources: Resources;
  readonly plan: Plan;
  /** The same cluster at one moment, where its addresses change their owners. */
  readonly at?: (ms: number) => Cluster;
  /** Judged by identities of a store: an address of the pod network that nobody owns is `no-identity`. */
  readonly hasIdentities?: boolean;
}

/** More than these are counted, not listed: `validate` lists them all. */
const WARNINGS_SHOWN_MAX = 20;

/** Loads what `-f` names, errors included. Throws UsageError without `-f`, PolicyError for a path that is not there. */
export async function loadInputs(
  options: InputOptions,
  takesDuplicates = false,
  amend?: LoadOptions['amend'],
  bar?: ProgressBar,
): Promise<LoadResult> {
  const names = options.filename ?? [];
  if (names.length === 0) {
    throw new UsageError('-f is missing: name the files or directories that hold the policies and pods of the cluster');
  }
  const [{ expandFiles }, { loadResources }] = await Promise.all([
    import('../load/files.ts'),
    import('../load/load.ts'),
  ]);
  const loaded = loadResources(expandFiles(names, options.recursive === true), {
    strict: options.strict === true,
    permissive: options.permissive === true,
    asIs: options.asIs === true,
    takesDuplicates,
    ...(amend === undefined ? {} : { amend }),
    ...(bar === undefined
      ? {}
      : { progress: ({ objects, ...file }) => bar.update({ ...file, packets: objects, unit: 'objects' }) }),
  });
  bar?.end();
  return loaded;
}

/**
 * Loads and plans a cluster to work with. Errors are printed, all of them, and end the command with exit code 2.
 *
 * With identities that have bounds in time it is the cluster at `--at`, by default now; a caller that judges each packet at its own time
 * takes the whole timeline instead (`keepsTime`).
 */
export async function openCluster(
  options: InputOptions & CommonOptions & IdentityOptions,
  output: Output,
  keepsTime = false,
): Promise<Cluster> {
  const identities =
    options.identities === undefined && options.redis === undefined
      ? undefined
      : await (await import('./identity-inputs.ts')).openIdentities(options, output);
  const bar = output.stderr.isTerminal && options.quiet !== true ? new ProgressBar(output.stderr) : undefined;
  const loaded = await loadInputs(options, false, identities?.amend, bar);
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
  const resources = identities === undefined ? loaded.resources : identities.settle(loaded.resources, keepsTime);
  const plan = planCluster(resources);
  if (options.quiet !== true) await reportWarnings(loaded.warnings, plan.warnings, output);
  if (identities === undefined) return { resources, plan };
  const at = (ms: number): Cluster => {
    const then = identities.resourcesAt(resources, ms);
    return { resources: then, plan: planCluster(then), hasIdentities: true };
  };
  return { resources, plan, hasIdentities: true, at };
}

type TableOptions = IdentityOptions & { readonly node?: string | undefined; readonly dataplane?: Dataplane };

/** The tables of a plan, for the whole cluster or for the endpoints of one node. */
export async function openClusterTables(plan: Plan, options: TableOptions = {}): Promise<Tables> {
  return (await openTimedTables(plan, options)).tables;
}

/** The same with what changes in time, for a plan of which addresses change their owners. The tables show the state before all of it. */
export async function openTimedTables(
  plan: Plan,
  { node, dataplane, identities, redis }: TableOptions,
): Promise<{ readonly tables: Tables; readonly timeline: TimelineData | undefined }> {
  const [{ packTimedPlan }, { openTables }] = await Promise.all([
    import('../compile/pack.ts'),
    import('../tables/tables.ts'),
  ]);
  checkNode(plan, node);
  const needsIdentity = identities !== undefined || redis !== undefined;
  const { buffer, timeline } = packTimedPlan(plan, { node, dataplane, needsIdentity });
  return { tables: openTables(buffer), timeline };
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
