/** `margay who-can`: roles joined with policy. Who can be an account, label one, edit a policy, reach a pod. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { WhoCanContext, WhoCanReport } from '../../analyze/who-can.ts';
import type { ReachTarget } from '../../analyze/who-can-paths.ts';
import type { ReachReport } from '../../analyze/who-can-reach.ts';
import type { Resources } from '../../model/resources.ts';
import type { Account } from '../../rbac/account-ways.ts';
import { EXIT_FINE, exitCodeOf, UsageError } from '../exit.ts';
import {
  addCommonOptions,
  addInputOptions,
  type CommonOptions,
  collect,
  type InputOptions,
  outputOption,
  wholeNumber,
} from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { openRbac, type RbacCluster, reportIncomplete } from '../rbac-inputs.ts';
import { renderJson, renderYaml } from '../render.ts';

interface WhoCanOptions extends InputOptions, CommonOptions {
  readonly output: 'table' | 'json' | 'yaml' | 'sarif' | 'dot';
  readonly depth: number;
  readonly users?: string;
  readonly serviceAccount?: Account;
  readonly selector?: string;
  readonly policy?: readonly string[];
  readonly port?: { readonly port: number; readonly protocol: string };
  readonly diff?: readonly string[];
  readonly emitAdmissionPolicy?: boolean;
  readonly allowGroup?: readonly string[];
}

const STEPS_MAX = 6;

export function addWhoCan(program: Command, output: Output, finish: Finish): void {
  const whoCan = program
    .command('who-can')
    .summary('who can run as an account, label one, edit a policy, or reach a pod')
    .description(
      'Joins the roles and bindings of the input with its policies. Answers list every subject with the binding, role and ' +
        'rule that give the right, and the steps where it takes more than one.',
    )
    .addHelpText('after', EXAMPLES);
  const verb = (name: string, description: string): Command =>
    addCommonOptions(
      addInputOptions(whoCan.command(name).description(description)).addOption(
        outputOption(['table', 'json', 'yaml', 'sarif', 'dot']),
      ),
    )
      .addOption(
        new Option('--depth <steps>', 'the most steps to look for').argParser(wholeNumber(1, STEPS_MAX)).default(2),
      )
      .option('--users <file>', 'YAML or JSON file: a map from users to lists of their groups');
  const act =
    (work: (options: WhoCanOptions, words: readonly string[]) => Promise<number>) =>
    async (...words: unknown[]): Promise<void> => {
      const options = words[words.length - 2] as WhoCanOptions;
      const names = words.slice(0, -2).filter((word): word is string => typeof word === 'string');
      finish(await work(options, names));
    };
  const account = (): Option =>
    new Option('--service-account <ns/name>', 'the account').argParser(parseAccount).makeOptionMandatory();
  addEmitOptions(
    verb('assign', 'Who can run something as a service account, or use its rights.').addOption(account()),
  ).action(act((options) => assign(options, output)));
  addEmitOptions(verb('label', 'Who can make something count as an account with certain labels.').addOption(account()))
    .option('--selector <expr>', "selector over the account's labels that is to match")
    .action(act((options) => label(options, output)));
  verb('edit', 'Who can change a policy, its tier, or put a policy in front of it.')
    .addOption(
      new Option('--policy <id>', 'np:NAMESPACE/NAME, gnp:NAME, knp:NAMESPACE/NAME, or without its prefix (repeatable)')
        .argParser(collect)
        .makeOptionMandatory(),
    )
    .action(act((options) => edit(options, output)));
  addEmitOptions(verb('reach', 'Who can open connections to a pod: from the tables and the roles together.'))
    .argument('[pod]', 'NAMESPACE/POD')
    .addOption(new Option('--port <port>', 'such as 5432 or 53/udp (default: any)').argParser(parsePort))
    .option(
      '--diff <old-new...>',
      'two inputs, before and after: what the change opens and closes; exit 1 on anything opened',
    )
    .action(act((options, words) => reach(options, words, output)));
}

const EXAMPLES = `
Examples:
  margay who-can assign --service-account prod-engineering/senior -f pcaps/sa-selector -f pcaps/rbac-interns/open
  margay who-can reach prod-engineering/db-0 --port 5432 -f pcaps/sa-selector -f pcaps/rbac-interns/open
  margay who-can reach prod-engineering/db-0 --port 5432 -f pcaps/sa-selector \\
    --diff pcaps/rbac-interns/open pcaps/rbac-interns/closed
  margay who-can edit --policy prod-engineering/restrict-intern-access -f pcaps/sa-selector \\
    -f pcaps/rbac-interns/open`;

function addEmitOptions(command: Command): Command {
  return command
    .option('--emit-admission-policy', 'write a ValidatingAdmissionPolicy that closes the gap, instead of the answer')
    .addOption(new Option('--allow-group <group>', 'who it lets through (repeatable)').argParser(collect));
}

function parseAccount(text: string): Account {
  const [namespace, name, ...rest] = text.replace(/^system:serviceaccount:([^:]+):/, '$1/').split('/');
  if (!namespace || !name || rest.length > 0) throw new InvalidArgumentError('Write NAMESPACE/NAME.');
  return { namespace, name };
}

function parsePort(text: string): { readonly port: number; readonly protocol: string } {
  const match = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const port = Number(match?.[1]);
  if (match === null || port < 1 || port > 65535) throw new InvalidArgumentError('Write PORT or PORT/PROTOCOL.');
  return { port, protocol: (match[2] ?? 'tcp').toLowerCase() };
}

/* ---- the questions ---- */

async function assign(options: WhoCanOptions, output: Output): Promise<number> {
  const account = options.serviceAccount!;
  const cluster = await openRbac(options, output);
  if (options.emitAdmissionPolicy === true) return emit(cluster.resources, [account], [], options, output);
  warnOfAccount(account, cluster, output, options);
  const { whoCanAssign } = await import('../../analyze/who-can-assign.ts');
  return finishReport(whoCanAssign(await contextOf(cluster, options), account), cluster, options, output);
}

async function label(options: WhoCanOptions, output: Output): Promise<number> {
  const account = options.serviceAccount!;
  const [{ parseSelector }, { whoCanLabel }] = await Promise.all([
    import('../../selector/selector.ts'),
    import('../../analyze/who-can-label.ts'),
  ]);
  const selector = options.selector === undefined ? undefined : parseSelector(options.selector);
  const cluster = await openRbac(options, output);
  warnOfAccount(account, cluster, output, options);
  const report = whoCanLabel(await contextOf(cluster, options), account, selector);
  if (options.emitAdmissionPolicy === true) {
    const keys = [...Object.keys(report.labels ?? {}), ...(report.without ?? [])];
    return emit(cluster.resources, [account], keys, options, output);
  }
  return finishReport(report, cluster, options, output);
}

async function edit(options: WhoCanOptions, output: Output): Promise<number> {
  const cluster = await openRbac(options, output);
  const [{ planCluster }, { findPolicies, whoCanEdit }] = await Promise.all([
    import('../../compile/plan-cluster.ts'),
    import('../../analyze/who-can-edit.ts'),
  ]);
  const plan = planCluster(cluster.resources);
  const policies = (options.policy ?? []).flatMap((text) => {
    const found = findPolicies(plan, text);
    if (found.length > 0) return found;
    const known = plan.policies.slice(0, 5).map(({ id }) => id);
    throw new UsageError(
      `--policy: no policy of the input is called '${text}'; there are ${known.join(', ') || 'none'}`,
    );
  });
  return finishReport(whoCanEdit(await contextOf(cluster, options), plan, policies), cluster, options, output);
}

async function reach(options: WhoCanOptions, words: readonly string[], output: Output): Promise<number> {
  const inputs = options.diff === undefined ? [] : [...options.diff];
  const name = words[0] ?? inputs[2];
  if (name === undefined) throw new UsageError('name the pod to reach, as NAMESPACE/POD');
  const [namespace, pod, ...rest] = name.split('/');
  if (!namespace || !pod || rest.length > 0) throw new UsageError(`'${name}' is no pod; write NAMESPACE/POD`);
  const target = { namespace, pod, port: options.port?.port, protocol: options.port?.protocol ?? 'tcp' };
  if (options.diff !== undefined) return reachDiff(target, inputs, options, output);
  const cluster = await openRbac(options, output);
  const report = await reachReport(target, cluster, options);
  if (options.emitAdmissionPolicy !== true) return finishReport(report, cluster, options, output);
  const accounts = report.accounts.map(({ account }) => parseAccount(account));
  return emit(cluster.resources, accounts, [], options, output);
}

async function reachReport(target: ReachTarget, cluster: RbacCluster, options: WhoCanOptions): Promise<ReachReport> {
  const { whoCanReach } = await import('../../analyze/who-can-reach.ts');
  return whoCanReach(await contextOf(cluster, options), target, options.diff === undefined);
}

/** `-f` is common to both sides. */
async function reachDiff(
  target: ReachTarget,
  inputs: readonly string[],
  options: WhoCanOptions,
  output: Output,
): Promise<number> {
  const [before, after] = inputs;
  if (before === undefined || after === undefined || inputs.length > 3) {
    throw new UsageError('--diff takes two inputs: before and after');
  }
  const common = options.filename ?? [];
  const sides: { readonly cluster: RbacCluster; readonly report: ReachReport }[] = [];
  for (const file of [before, after]) {
    const cluster = await openRbac({ ...options, filename: [...common, file] }, output);
    sides.push({ cluster, report: await reachReport(target, cluster, options) });
  }
  const { diffReach } = await import('../../analyze/who-can-diff.ts');
  const diff = diffReach(sides[0]!.report, sides[1]!.report);
  const { renderDiff } = await import('../who-can-print.ts');
  output.stdout.write(await renderDiff(diff, options.output, output));
  for (const { cluster } of sides) reportIncomplete(cluster, output);
  return exitCodeOf({
    hasFinding: diff.opened.length > 0,
    isIncomplete: diff.incomplete,
    exitZero: options.exitZero,
  });
}

/* ---- what they share ---- */

async function contextOf(cluster: RbacCluster, options: WhoCanOptions): Promise<WhoCanContext> {
  const [{ whoCanContext }, users] = await Promise.all([import('../../analyze/who-can.ts'), readUsers(options.users)]);
  return whoCanContext(cluster.resources, cluster.index, { depth: options.depth, users });
}

async function readUsers(path: string | undefined): Promise<ReadonlyMap<string, readonly string[]>> {
  if (path === undefined) return new Map();
  const [{ readFileSync }, { parse }] = await Promise.all([import('node:fs'), import('yaml')]);
  const value: unknown = parse(readFileSync(path, 'utf8'));
  const problem = new UsageError(
    `--users: ${path} is no map from users to lists of groups; write lines such as 'ann: [interns]'`,
  );
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw problem;
  return new Map(
    Object.entries(value).map(([user, groups]: [string, unknown]) => {
      if (!Array.isArray(groups) || groups.some((group) => typeof group !== 'string')) throw problem;
      return [user, groups as string[]];
    }),
  );
}

function warnOfAccount(
  { namespace, name }: Account,
  cluster: RbacCluster,
  output: Output,
  options: WhoCanOptions,
): void {
  const isKnown = cluster.resources.serviceAccounts.some(
    ({ meta }) => meta.namespace === namespace && meta.name === name,
  );
  if (isKnown || options.quiet === true) return;
  output.stderr.write(
    `margay: warning: ServiceAccount ${namespace}/${name} is not in the input; the answer holds if it is made\n`,
  );
}

async function finishReport(
  report: WhoCanReport,
  cluster: RbacCluster,
  options: WhoCanOptions,
  output: Output,
): Promise<number> {
  output.stdout.write(await renderReport(report, options, output));
  reportIncomplete(cluster, output);
  return exitCodeOf({ isIncomplete: report.incomplete });
}

async function renderReport(report: WhoCanReport, options: WhoCanOptions, output: Output): Promise<string> {
  switch (options.output) {
    case 'json':
      return renderJson(report);
    case 'yaml':
      return renderYaml(report);
    case 'sarif': {
      const { sarifOfReport } = await import('../who-can-sarif.ts');
      return renderJson(sarifOfReport(report));
    }
    case 'dot': {
      const { dotOfReport } = await import('../who-can-dot.ts');
      return dotOfReport(report);
    }
    default: {
      const { renderWhoCan } = await import('../who-can-print.ts');
      return renderWhoCan(report, output);
    }
  }
}

/** Writes the admission policies; what they leave open goes to standard error. */
async function emit(
  resources: Resources,
  accounts: readonly Account[],
  keys: readonly string[],
  options: WhoCanOptions,
  output: Output,
): Promise<number> {
  const groups = options.allowGroup ?? [];
  if (groups.length === 0)
    throw new UsageError('--emit-admission-policy needs --allow-group: who may still use the account');
  const bad = groups.find((group) => /['\\\n]/.test(group));
  if (bad !== undefined) throw new UsageError(`--allow-group: '${bad}' cannot be written into an expression`);
  const { admissionObjects, NOT_COVERED } = await import('../../rbac/admission.ts');
  const texts = await Promise.all(
    accounts.flatMap((account) => {
      const object = resources.serviceAccounts.find(
        ({ meta }) => meta.namespace === account.namespace && meta.name === account.name,
      );
      const gated = [...new Set([...(object?.meta.labels.keys() ?? []), ...keys])].sort();
      return admissionObjects(account, gated, groups).map(renderYaml);
    }),
  );
  output.stdout.write(texts.map((text) => `---\n${text}`).join(''));
  if (options.quiet !== true) {
    output.stderr.write('margay: not covered by the policy:\n');
    for (const line of NOT_COVERED) output.stderr.write(`margay:   ${line}\n`);
  }
  return EXIT_FINE;
}
