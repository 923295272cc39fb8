/** `margay compile`: what Calico would program for these objects, and our tables as a file. */
import { type Command, Option } from 'commander';
import type { Plan } from '../../compile/plan.ts';
import { DATAPLANES, type Dataplane } from '../../model/flow.ts';
import { EXIT_FINE } from '../exit.ts';
import { checkNode, openCluster } from '../inputs.ts';
import { addCommonOptions, addInputOptions, type CommonOptions, type InputOptions, outputOption } from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { counted, renderJson, renderTable, renderYaml } from '../render.ts';

interface CompileOptions extends InputOptions, CommonOptions {
  readonly output: 'table' | 'json' | 'yaml';
  readonly out?: string;
  readonly node?: string;
  readonly dataplane: Dataplane;
}

export function addCompile(program: Command, output: Output, finish: Finish): void {
  const command = program
    .command('compile')
    .summary('compile policies into IP sets and rule tables keyed by endpoint')
    .description(
      'Compiles policies and objects into what the dataplane would hold: the tiers and policies of each endpoint in the ' +
        "order they run, their rules, and every IP set under Calico's own ID with all its members.",
    );
  addCommonOptions(addInputOptions(command).addOption(outputOption(['table', 'json', 'yaml'])))
    .option('--out <file>', 'write the binary tables to a file')
    .option('--node <name>', 'in the binary tables, only the endpoints of one node are local')
    .addOption(
      new Option('--dataplane <kind>', "in the binary tables, Calico's dataplane, where they differ")
        .choices(DATAPLANES)
        .default('iptables'),
    )
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay compile -f pcaps/sa-names\n' +
        "  margay compile -f pcaps/sa-names -o json | jq '.ip_sets'",
    )
    .action(async (options: CompileOptions) => finish(await compile(options, output)));
}

async function compile(options: CompileOptions, output: Output): Promise<number> {
  const { plan } = await openCluster(options, output);
  checkNode(plan, options.node);
  const size = options.out === undefined ? undefined : await writeTables(plan, options.out, options);
  if (options.output === 'table') {
    output.stdout.write(await renderSummary(plan, output));
  } else {
    const { planToJson } = await import('../../compile/compile-json.ts');
    const document = planToJson(plan);
    output.stdout.write(options.output === 'json' ? renderJson(document) : await renderYaml(document));
  }
  if (size !== undefined && options.quiet !== true) {
    output.stderr.write(`margay: wrote ${size} bytes of tables to ${options.out}\n`);
  }
  return EXIT_FINE;
}

/** Writes beside the file and renames, so that nobody ever finds half of it. Returns the size in bytes. */
async function writeTables(
  plan: Plan,
  path: string,
  { node, dataplane }: Pick<CompileOptions, 'node' | 'dataplane'>,
): Promise<number> {
  const [{ renameSync, rmSync, writeFileSync }, { packPlan }] = await Promise.all([
    import('node:fs'),
    import('../../compile/pack.ts'),
  ]);
  const bytes = new Uint8Array(packPlan(plan, { node, dataplane }));
  const draft = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(draft, bytes);
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
  return bytes.length;
}

async function renderSummary(plan: Plan, output: Output): Promise<string> {
  const rows = plan.tiers.flatMap((tier, index) => {
    const policies = plan.policies.filter((policy) => policy.tier === index);
    if (policies.length === 0) return [];
    const ruleCount = policies.reduce((sum, { ingress, egress }) => sum + ingress.length + egress.length, 0);
    const groups = plan.groups.filter((group) => group.tiers.some((entry) => entry.tier === index));
    const endpointCount = groups.reduce((sum, group) => sum + group.endpoints.length, 0);
    return [[tier.name, tier.defaultAction, policies.length, ruleCount, endpointCount]];
  });
  const table = { head: ['tier', 'default', 'policies', 'rules', 'endpoints selected'], rows };
  const facts = [
    counted(plan.endpoints.length, 'endpoint'),
    counted(
      plan.groups.filter(({ kind }) => kind !== 'ns').length,
      'group of equal endpoints',
      'groups of equal endpoints',
    ),
    counted(plan.policies.length, 'policy', 'policies'),
    counted(plan.ipSets.length, 'IP set'),
    counted(plan.nodes.length, 'node'),
  ];
  const tiers = rows.length === 0 ? 'no policies: namespaces allow everything\n' : await renderTable(table, output);
  return `${facts.join(', ')}\n\n${tiers}`;
}
