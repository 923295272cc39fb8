/** Manifests to roles and bindings, for `can-i` and `who-can`; what is wrong with them is said on standard error. */
import type { LoadProblem } from '../load/load.ts';
import type { Resources } from '../model/resources.ts';
import type { RbacIndex } from '../rbac/rbac-index.ts';
import { EXIT_BAD_INPUT, ExitError } from './exit.ts';
import { loadInputs, reportIgnored } from './inputs.ts';
import type { CommonOptions, InputOptions } from './options.ts';
import type { Output } from './output.ts';
import { counted } from './render.ts';

export interface RbacCluster {
  readonly resources: Resources;
  readonly index: RbacIndex;
  /** Something that the answer depends on is not in the input. */
  readonly isIncomplete: boolean;
}

/** Kinds whose warnings matter to a question about rights. */
const RBAC_KINDS = /Role|RoleBinding|AdmissionPolicy/;

/** Loads the objects and arranges the roles. Errors are printed, all of them, and end the command with exit code 2. */
export async function openRbac(options: InputOptions & CommonOptions, output: Output): Promise<RbacCluster> {
  const loaded = await loadInputs(options);
  if (options.verbose === true) reportIgnored(loaded, output);
  const { formatProblem } = await import('../load/problem.ts');
  if (loaded.errors.length > 0) {
    for (const problem of loaded.errors) output.stderr.write(`margay: ${formatProblem(problem)}\n`);
    output.stderr.write(`margay: ${counted(loaded.errors.length, 'error')} in the input; nothing can be answered\n`);
    throw new ExitError(EXIT_BAD_INPUT);
  }
  const { indexRbac } = await import('../rbac/rbac-index.ts');
  const index = indexRbac(loaded.resources);
  const warn = (problem: LoadProblem): void => {
    output.stderr.write(`margay: warning: ${formatProblem(problem)}\n`);
  };
  if (options.quiet !== true)
    for (const each of loaded.warnings.filter(({ kind }) => RBAC_KINDS.test(kind))) warn(each);
  for (const problem of index.problems) warn(problem);
  if (loaded.resources.roleBindings.length === 0 && options.quiet !== true) {
    output.stderr.write(
      'margay: warning: the input has no RoleBinding and no ClusterRoleBinding, so nobody may do anything\n',
    );
  }
  return { resources: loaded.resources, index, isIncomplete: index.problems.length > 0 };
}

/** The closing word of an answer that misses something. */
export function reportIncomplete(cluster: RbacCluster, output: Output): void {
  if (!cluster.isIncomplete) return;
  const { length } = cluster.index.problems;
  output.stderr.write(
    `margay: the answer is incomplete: ${counted(length, 'problem')} in roles and bindings, named above\n`,
  );
}
