/** `margay validate`: every error and warning of the input, as the answer. */
import type { Command } from 'commander';
import type { PlanWarning } from '../../compile/plan.ts';
import type { LoadProblem, LoadResult } from '../../load/load.ts';
import { EXIT_BAD_INPUT, EXIT_FINE } from '../exit.ts';
import { joinWarnings, loadInputs, reportIgnored } from '../inputs.ts';
import { addCommonOptions, addInputOptions, type CommonOptions, type InputOptions, outputOption } from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { counted, renderCsv, renderJson, renderYaml, type Table } from '../render.ts';

interface ValidateOptions extends InputOptions, CommonOptions {
  readonly output: 'table' | 'json' | 'yaml' | 'csv';
}

/** The document of `-o json`: design, section 5. */
interface Report {
  readonly objects: number;
  readonly errors: readonly LoadProblem[];
  readonly warnings: readonly LoadProblem[];
}

export function addValidate(program: Command, output: Output, finish: Finish): void {
  const command = program
    .command('validate')
    .summary('check manifests: every error and warning, with file and line')
    .description(
      'Checks manifests as the API server would, and warns of what it takes but a reader would not expect. ' +
        'Exit code 2 if there are errors.',
    );
  addCommonOptions(addInputOptions(command).addOption(outputOption(['table', 'json', 'yaml', 'csv'])))
    .addHelpText('after', '\nExample:\n  margay validate -f pcaps/sa-names')
    .action(async (options: ValidateOptions) => finish(await validate(options, output)));
}

async function validate(options: ValidateOptions, output: Output): Promise<number> {
  // Each object is valid or not by itself; that another one has its name is worth a warning here.
  const loaded = await loadInputs(options, true);
  if (options.verbose === true) reportIgnored(loaded, output);
  const report = {
    objects: countObjects(loaded),
    errors: loaded.errors,
    warnings: [...joinWarnings(loaded.warnings, await planWarnings(loaded)), ...(await rbacWarnings(loaded))],
  };
  output.stdout.write(await render(report, options.output));
  return report.errors.length > 0 ? EXIT_BAD_INPUT : EXIT_FINE;
}

/** Bindings to roles that are not there, and rules that allow nothing: no verdict depends on them, rights do. */
async function rbacWarnings({ resources }: LoadResult): Promise<readonly LoadProblem[]> {
  const { indexRbac } = await import('../../rbac/rbac-index.ts');
  return indexRbac(resources).problems;
}

/** Objects that were read, but not those that were made up for a cluster to be whole. */
function countObjects({ resources }: LoadResult): number {
  let count = 0;
  for (const list of Object.values(resources)) {
    for (const object of list) if (!('isSynthesised' in object && object.isSynthesised)) count++;
  }
  return count;
}

/** What the compiler warns of, and what Istio's ambient mode makes of port rules. With errors the objects are not whole, and what follows from that would only confuse. */
async function planWarnings(loaded: LoadResult): Promise<readonly PlanWarning[]> {
  if (loaded.errors.length > 0) return [];
  const [{ planCluster }, { ambientWarnings }] = await Promise.all([
    import('../../compile/plan-cluster.ts'),
    import('../../analyze/factors-ambient.ts'),
  ]);
  const plan = planCluster(loaded.resources);
  return [...plan.warnings, ...ambientWarnings(plan, loaded.resources)];
}

async function render(report: Report, format: ValidateOptions['output']): Promise<string> {
  switch (format) {
    case 'table':
      return renderLines(report);
    case 'json':
      return renderJson(documentOf(report));
    case 'yaml':
      return renderYaml(documentOf(report));
    case 'csv':
      return renderCsv(tableOf(report));
    default:
      return format satisfies never;
  }
}

async function renderLines({ objects, errors, warnings }: Report): Promise<string> {
  const { formatProblem } = await import('../../load/problem.ts');
  const lines = [
    ...errors.map((problem) => `error: ${formatProblem(problem)}`),
    ...warnings.map((problem) => `warning: ${formatProblem(problem)}`),
    `${counted(objects, 'object')} valid, ${counted(errors.length, 'error')}, ${counted(warnings.length, 'warning')}`,
  ];
  return lines.map((line) => `${line}\n`).join('');
}

function documentOf({ objects, errors, warnings }: Report): Report {
  return { objects, errors: errors.map(entryOf), warnings: warnings.map(entryOf) };
}

/** The eight fields of the contract, always all of them. */
function entryOf({ file, line, kind, namespace, name, field, message, fix }: LoadProblem): LoadProblem {
  return { file, line, kind, namespace, name, field, message, fix };
}

function tableOf({ errors, warnings }: Report): Table {
  const rows = (severity: string, problems: readonly LoadProblem[]): (string | number)[][] =>
    problems.map((problem) => [severity, ...Object.values(entryOf(problem))]);
  return {
    head: ['severity', 'file', 'line', 'kind', 'namespace', 'name', 'field', 'message', 'fix'],
    rows: [...rows('error', errors), ...rows('warning', warnings)],
  };
}
