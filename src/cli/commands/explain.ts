/** `margay explain`: why one flow, or one packet of a capture, gets its verdict. */
import { type Command, Option } from 'commander';
import type { Explanation } from '../../analyze/explain.ts';
import { flowOfRecord } from '../../analyze/read-record.ts';
import type { PacketRecord } from '../../analyze/replay.ts';
import { escapeControls } from '../../base/errors.ts';
import { parseMoment } from '../../base/time.ts';
import type { Flow } from '../../model/flow.ts';
import { checkCaptures } from '../captures.ts';
import { EXIT_FINE, EXIT_INCOMPLETE, UsageError } from '../exit.ts';
import { findPacket, type PacketFound } from '../find-packet.ts';
import { addFlowOptions, type FlowOptions, flowOf } from '../flow-options.ts';
import { type Cluster, openCluster, openClusterTables, openTimedTables } from '../inputs.ts';
import {
  addCommonOptions,
  addInputOptions,
  addJudgeOptions,
  type CommonOptions,
  type InputOptions,
  type JudgeOptions,
  outputOption,
  wholeNumber,
} from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { renderJson, renderYaml } from '../render.ts';

interface ExplainOptions extends InputOptions, CommonOptions, JudgeOptions, FlowOptions {
  readonly output: 'table' | 'json' | 'yaml';
  readonly read?: string;
  readonly packet?: number;
  readonly stateless?: boolean;
}

export function addExplain(program: Command, output: Output, finish: Finish): void {
  const command = program
    .command('explain')
    .summary('why a flow or a packet is allowed or denied, rule by rule, and what would change it')
    .description(
      'Explains the verdict on a flow: who its ends are, every rule that was tried and why it matched or not, with ' +
        'file and line, and the smallest change that would turn the verdict round. The flow is described by options, ' +
        'or is that of one packet of a capture.',
    );
  addFlowOptions(command)
    .addOption(
      new Option('-r, --read <capture>', 'instead: a packet of this capture, or of - for standard input').helpGroup(
        'Flow:',
      ),
    )
    .addOption(
      new Option('--packet <number>', 'number of the packet in the capture, from 1')
        .argParser(wholeNumber(1, 1e12))
        .helpGroup('Flow:'),
    );
  addJudgeOptions(command);
  addCommonOptions(addInputOptions(command).addOption(outputOption(['table', 'json', 'yaml'])))
    .option('--stateless', 'with -r: judge the packet by itself, without connection tracking')
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay explain -f pcaps/sa-names --src prod-engineering/web-0 --dst prod-engineering/db-0 --port 5432\n' +
        '  margay explain -f pcaps/sa-labels -r pcaps/sa-labels/capture.pcapng --packet 1',
    )
    .action(async (options: ExplainOptions) => finish(await explain(options, output)));
}

async function explain(options: ExplainOptions, output: Output): Promise<number> {
  if (options.read === undefined && options.packet === undefined) {
    const cluster = await openCluster(options, output);
    return explainOne(flowOf(options, cluster.plan), undefined, cluster, options, output);
  }
  const { read, packet } = options;
  if (read === undefined) throw new UsageError('--packet is a number in a capture: name the capture with -r');
  if (packet === undefined) throw new UsageError('--packet is missing: give the number of the packet in the capture');
  if (options.src !== undefined || options.dst !== undefined) {
    throw new UsageError('-r with --packet and --src with --dst exclude each other: both say which flow');
  }
  if (read === '-' && options.filename?.includes('-') === true) {
    throw new UsageError('-f - and -r - both ask for standard input; put one of them into a file');
  }
  checkCaptures([read]);
  const cluster = await openCluster(options, output, true);
  const { tables, timeline } = await openTimedTables(cluster.plan, options);
  const found = await findPacket(tables, read, packet, {
    timeline,
    stateless: options.stateless === true,
    capturePoint: options.capturePoint,
  });
  if (found.packet === undefined) return sayMissing(found, packet, read, output);
  const judged = (found.opener ?? found.packet) as PacketRecord;
  const flow = flowOfRecord(judged);
  if (flow === undefined) return sayNoFlow(found.packet, options, output);
  // Policies are asked as they were asked then: of those who owned the addresses at the time of that packet.
  const then = timeline === undefined ? undefined : parseMoment(judged.time);
  return explainOne(flow, found, then === undefined ? cluster : cluster.at!(then), options, output);
}

async function explainOne(
  flow: Flow,
  found: PacketFound | undefined,
  { plan, resources }: Cluster,
  options: ExplainOptions,
  output: Output,
): Promise<number> {
  const tables = await openClusterTables(plan, options);
  const { explainFlow } = await import('../../analyze/explain.ts');
  const explanation = explainFlow(resources, plan, tables, flow, options);
  const document = found === undefined ? explanation : { ...packetParts(found), ...explanation };
  if (options.output === 'json') output.stdout.write(renderJson(document));
  else if (options.output === 'yaml') output.stdout.write(await renderYaml(document));
  else output.stdout.write(await renderText(explanation, found, output));
  return EXIT_FINE;
}

function packetParts({ packet, opener }: PacketFound): object {
  return opener === undefined ? { packet } : { packet, policy_decided_on: opener };
}

const WIDTH_MIN = 60;
const WIDTH_MAX = 100;

async function renderText(explanation: Explanation, found: PacketFound | undefined, output: Output): Promise<string> {
  const { explanationLines, wrapLines } = await import('../../analyze/explain-text.ts');
  const lines = [...(found === undefined ? [] : packetLines(found)), ...explanationLines(explanation)];
  const width = Math.max(WIDTH_MIN, Math.min(output.stdout.columns ?? WIDTH_MAX, WIDTH_MAX));
  return wrapLines(lines.map(escapeControls), width)
    .map((line) => `${line}\n`)
    .join('');
}

/** What the packet is, and which packet the policies were asked about if not this one. */
function packetLines({ packet, opener }: PacketFound): string[] {
  const { packet: number, time, action, reason } = packet!;
  const verdict = `Packet ${number} (${time}) is ${WORDS[action] ?? action}`;
  if (opener === undefined) {
    if (packet!.direction !== undefined || action === 'unpoliced') return [`${verdict}.`, ''];
    const why =
      reason === 'invalid'
        ? ': it belongs to no connection that the node knows'
        : reason === undefined
          ? ''
          : `: ${reason}`;
    return [`${verdict}${why}.`, 'As the first packet of a new connection the policies would say:', ''];
  }
  const state =
    reason === 'invalid'
      ? 'its connection was not let in, so the node knows none that it belongs to'
      : action === 'allow'
        ? 'it belongs to a connection that was let in, and policy is not asked again'
        : (reason ?? '');
  return [`${verdict}: ${state}.`, `The policies were asked about packet ${opener.packet} (${opener.time}):`, ''];
}

const WORDS: Readonly<Record<string, string>> = {
  allow: 'allowed',
  deny: 'denied',
  unpoliced: 'not policed',
  uncertain: 'uncertain',
};

function sayMissing(found: PacketFound, wanted: number, read: string, output: Output): number {
  const name = read === '-' ? 'standard input' : read;
  if (found.error !== null) {
    output.stderr.write(`margay: ${found.error}\n`);
    output.stderr.write(
      `margay: packet ${wanted} lies behind the damage; ${found.packetsRead} packets could be read\n`,
    );
    return EXIT_INCOMPLETE;
  }
  throw new UsageError(`--packet ${wanted}: ${name} has only ${found.packetsRead} packets`);
}

/** A packet that no policy is asked about: ARP, a damaged frame, a fragment without ports. */
async function sayNoFlow(packet: PacketRecord, options: ExplainOptions, output: Output): Promise<number> {
  if (options.output === 'json') output.stdout.write(renderJson({ packet }));
  else if (options.output === 'yaml') output.stdout.write(await renderYaml({ packet }));
  else {
    const what = packet.action === 'undecoded' ? 'is no flow that policy could be asked about' : `is ${packet.action}`;
    output.stdout.write(`Packet ${packet.packet} (${packet.time}) ${what}: ${packet.reason ?? ''}.\n`);
  }
  return EXIT_FINE;
}
