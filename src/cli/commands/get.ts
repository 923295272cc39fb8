/** `margay get`: the objects of the compiled cluster, the way kubectl lists them. */
import { Argument, type Command } from 'commander';
import { EXIT_BAD_INPUT, EXIT_FINE } from '../exit.ts';
import { openCluster } from '../inputs.ts';
import { LISTINGS, type Listing, type Row } from '../listings.ts';
import { addCommonOptions, addInputOptions, type CommonOptions, type InputOptions, outputOption } from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { renderCsv, renderJson, renderTable, renderYaml } from '../render.ts';

interface GetOptions extends InputOptions, CommonOptions {
  readonly output: 'table' | 'wide' | 'json' | 'yaml' | 'csv';
  readonly namespace?: string;
}

/** What may be asked for, and the other words for it. */
const ALIASES: Readonly<Record<string, string>> = {
  endpoint: 'endpoints',
  ep: 'endpoints',
  ipset: 'ipsets',
  policy: 'policies',
  pol: 'policies',
  tier: 'tiers',
  serviceaccount: 'serviceaccounts',
  sa: 'serviceaccounts',
};

export function addGet(program: Command, output: Output, finish: Finish): void {
  const command = program
    .command('get')
    .summary('list endpoints, ipsets, policies, tiers or serviceaccounts')
    .description(
      'Lists what the compiled cluster holds. Names choose: a name, NAMESPACE/NAME, or the id that margay prints. ' +
        'Short words: ep, ipset, pol, tier, sa.',
    )
    .addArgument(
      new Argument('<what>', 'endpoints, ipsets, policies, tiers or serviceaccounts').argParser((word: string) =>
        Object.hasOwn(ALIASES, word) ? ALIASES[word]! : word,
      ),
    )
    .argument('[name...]', 'only these');
  addCommonOptions(addInputOptions(command).addOption(outputOption(['table', 'wide', 'json', 'yaml', 'csv'])))
    .option('-n, --namespace <name>', 'only objects of this namespace (all without it)')
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay get endpoints -f pcaps/sa-names -o wide\n' +
        '  margay get policies  -f pcaps/tiers\n' +
        '  margay get ipsets    -f pcaps/sa-labels -o yaml',
    )
    .action(async (what: string, names: readonly string[], options: GetOptions) =>
      finish(await get(what, names, options, output)),
    );
}

async function get(what: string, names: readonly string[], options: GetOptions, output: Output): Promise<number> {
  const listing = LISTINGS.find(({ name }) => name === what);
  if (listing === undefined) {
    const { UsageError } = await import('../exit.ts');
    const known = LISTINGS.map(({ name }) => name).join(', ');
    throw new UsageError(`get: there is no kind '${what}'; choose one of ${known}`);
  }
  const cluster = await openCluster(options, output);
  const all = listing.rows(cluster).filter((row) => isIn(row, options.namespace));
  const rows = names.length === 0 ? all : all.filter((row) => names.some((name) => isCalled(row, name)));
  const missing = names.filter((name) => !all.some((row) => isCalled(row, name)));
  output.stdout.write(await render(listing, rows, options.output, output));
  for (const name of missing) {
    output.stderr.write(`margay: no ${listing.one} '${name}'${inNamespace(options.namespace)}\n`);
  }
  return missing.length > 0 ? EXIT_BAD_INPUT : EXIT_FINE;
}

function isIn(row: Row, namespace: string | undefined): boolean {
  return namespace === undefined || row.namespace === namespace;
}

function isCalled(row: Row, name: string): boolean {
  return row.name === name || row.id === name || `${row.namespace}/${row.name}` === name;
}

function inNamespace(namespace: string | undefined): string {
  return namespace === undefined ? '' : ` in namespace '${namespace}'`;
}

async function render(
  listing: Listing,
  rows: readonly Row[],
  format: GetOptions['output'],
  output: Output,
): Promise<string> {
  const isWide = format !== 'table';
  const table = {
    head: isWide ? [...listing.head, ...listing.wideHead] : listing.head,
    rows: rows.map((row) => (isWide ? [...row.cells, ...row.wideCells] : row.cells)),
  };
  switch (format) {
    case 'table':
    case 'wide':
      if (rows.length === 0) return '';
      return renderTable(table, output);
    case 'csv':
      return renderCsv(table);
    case 'json':
      return renderJson({ items: rows.map(({ item }) => item) });
    case 'yaml':
      return renderYaml({ items: rows.map(({ item }) => item) });
    default:
      return format satisfies never;
  }
}
