/** `margay export`: the rules that Calico would have on a node, as text that the kernel's own tools load. */
import { type Command, Option } from 'commander';
import { formatReport } from '../../base/errors.ts';
import type { LeftOut } from '../../render/ruleset.ts';
import type { Tables } from '../../tables/tables.ts';
import { EXIT_FINE, UsageError } from '../exit.ts';
import { openCluster, openClusterTables } from '../inputs.ts';
import { addCommonOptions, addInputOptions, type CommonOptions, type InputOptions } from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { counted } from '../render.ts';

interface ExportOptions extends InputOptions, CommonOptions {
  readonly node?: string;
  readonly uplink?: string;
  readonly part?: Part;
  readonly out?: string;
}

type Part = 'ipset' | 'iptables' | 'ip6tables';
/** More than these are counted on standard error. */
const LEFT_OUT_SHOWN_MAX = 20;

const PARTS: readonly Part[] = ['ipset', 'iptables', 'ip6tables'];

/** What one node's rules come to: text by the ending of its file's name. */
interface NodeTexts {
  readonly node: string;
  readonly texts: Readonly<Record<string, string>>;
  readonly leftOut: readonly LeftOut[];
}

export function addExport(program: Command, output: Output, finish: Finish): void {
  const command = program
    .command('export')
    .summary('print the rules Calico would have on a node, for nft or iptables')
    .description(
      'Prints the rules that Calico would have on a node, arranged as Calico arranges them, for the tools of the kernel.\n' +
        'Nothing is loaded. What the text does not express is listed in its first lines and on standard error.',
    );
  const nft = command
    .command('nft')
    .summary('input of nft -f')
    .description("Prints the rules of Calico's nftables dataplane as input of nft -f.")
    .addHelpText('after', '\nExample:\n  margay export nft -f pcaps/tiers --node node-1');
  addExportOptions(nft).action(async (options: ExportOptions) => finish(await exportNft(options, output)));
  const iptables = command
    .command('iptables')
    .summary('input of ipset restore, iptables-restore and ip6tables-restore')
    .description(
      "Prints the rules of Calico's iptables dataplane: IP sets for ipset restore, then rules for\n" +
        'iptables-restore and ip6tables-restore. Sets must be there before the rules that name them.',
    )
    .addOption(new Option('--part <part>', 'which of the three texts to print').choices(PARTS))
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay export iptables -f pcaps/tiers --out rules\n' +
        '  margay export iptables -f pcaps/tiers --node node-1 --part ipset | ipset restore',
    );
  addExportOptions(iptables).action(async (options: ExportOptions) => finish(await exportIptables(options, output)));
}

function addExportOptions(command: Command): Command {
  return addCommonOptions(addInputOptions(command))
    .option('--node <name>', "the node whose rules to print; needed where there are several and no '--out'")
    .option('--uplink <interface>', "the node's interface to all but its pods (default: its host endpoint's, or eth0)")
    .option('--out <dir>', 'write files named after the node into a directory; without --node for every node');
}

async function exportNft(options: ExportOptions, output: Output): Promise<number> {
  const { renderNft } = await import('../../render/nft.ts');
  return exportNodes(options, output, 'nftables', (tables, node, names) => {
    const { nft, leftOut } = renderNft(tables, node, uplinkOf(options));
    return { node: names[node]!, texts: { nft }, leftOut };
  });
}

async function exportIptables(options: ExportOptions, output: Output): Promise<number> {
  if (options.part === undefined && options.out === undefined) {
    throw new UsageError(
      `three texts do not go to one output: choose one with --part ${PARTS.join('|')}, or use --out`,
    );
  }
  const { renderIptables } = await import('../../render/iptables.ts');
  return exportNodes(options, output, 'iptables', (tables, node, names) => {
    const { ipset, iptables4, iptables6, leftOut } = renderIptables(tables, node, uplinkOf(options));
    const all: Record<Part, string> = { ipset, iptables: iptables4, ip6tables: iptables6 };
    const texts = options.part === undefined ? all : { [options.part]: all[options.part] };
    return { node: names[node]!, texts, leftOut };
  });
}

async function exportNodes(
  options: ExportOptions,
  output: Output,
  dataplane: 'nftables' | 'iptables',
  render: (tables: Tables, node: number, names: readonly string[]) => NodeTexts,
): Promise<number> {
  const { isInterfaceName } = await import('../../render/names.ts');
  if (options.uplink !== undefined && !isInterfaceName(options.uplink)) {
    throw new UsageError(`--uplink: '${options.uplink}' is no name of an interface`);
  }
  const { plan } = await openCluster(options, output);
  const tables = await openClusterTables(plan, { node: undefined, dataplane });
  const names = plan.nodes.map(({ name }) => name);
  const nodes = chosenNodes(names, options);
  const rendered = nodes.map((node) => render(tables, node, names));
  if (options.quiet !== true) for (const each of rendered) reportLeftOut(each, output);
  if (options.out !== undefined) {
    await writeFiles(options.out, rendered, output, options.quiet === true);
  } else {
    for (const { texts } of rendered) for (const text of Object.values(texts)) output.stdout.write(text);
  }
  return EXIT_FINE;
}

function uplinkOf({ uplink }: ExportOptions): { readonly uplink?: string } {
  return uplink === undefined ? {} : { uplink };
}

/** Indexes of the nodes to render. Throws UsageError, with the nodes there are, if the choice is not clear. */
function chosenNodes(names: readonly string[], { node, out }: ExportOptions): number[] {
  const known = names.length === 0 ? 'the input has no node' : `the input has ${names.join(', ')}`;
  if (node !== undefined) {
    const index = names.indexOf(node);
    if (index < 0) throw new UsageError(`--node: nothing in the input names the node '${node}'; ${known}`);
    return [index];
  }
  if (names.length === 0)
    throw new UsageError(`there is nothing to export: ${known}; give a Node, or pods with nodeName`);
  if (out === undefined && names.length > 1)
    throw new UsageError(`--node is missing: ${known}; choose one, or use --out`);
  return names.map((_, index) => index);
}

function reportLeftOut({ node, leftOut }: NodeTexts, output: Output): void {
  for (const { what, reason } of leftOut.slice(0, LEFT_OUT_SHOWN_MAX)) {
    output.stderr.write(`margay: ${formatReport({ problem: `${node}: left out ${what}: ${reason}` })}\n`);
  }
  const rest = leftOut.length - LEFT_OUT_SHOWN_MAX;
  if (rest > 0) output.stderr.write(`margay: ${node}: and ${rest} more; the text lists them all\n`);
}

/** Node names are DNS names, but for permissive input; a file never leaves the directory. */
async function writeFiles(
  directory: string,
  rendered: readonly NodeTexts[],
  output: Output,
  isQuiet: boolean,
): Promise<void> {
  const [{ mkdirSync, writeFileSync }, { join }] = await Promise.all([import('node:fs'), import('node:path')]);
  mkdirSync(directory, { recursive: true });
  let count = 0;
  for (const { node, texts } of rendered) {
    for (const [ending, text] of Object.entries(texts)) {
      writeFileSync(join(directory, `${node.replace(/[^A-Za-z0-9._-]/g, '_')}.${ending}`), text);
      count++;
    }
  }
  if (!isQuiet) output.stderr.write(`margay: wrote ${counted(count, 'file')} to ${directory}\n`);
}
