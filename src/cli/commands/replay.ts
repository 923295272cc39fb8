/** `margay replay`: captures in, the verdict on every connection or packet out. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ConnectionRecord } from '../../analyze/connections.ts';
import type { PacketRecord, ReplayOptions, ReplayResult, WorkerCount } from '../../analyze/replay.ts';
import type { ReplayStats, StageTimes } from '../../analyze/stage-times.ts';
import type { WorkerPool as Pool } from '../../workers/pool.ts';
import { checkCaptures } from '../captures.ts';
import { exitCodeOf, UsageError } from '../exit.ts';
import { HboneCounter, hboneNote } from '../hbone.ts';
import type { FollowedIdentities } from '../identity-follow.ts';
import { openCluster, openTimedTables } from '../inputs.ts';
import {
  addCommonOptions,
  addEvidenceOptions,
  addInputOptions,
  addJudgeOptions,
  type CommonOptions,
  collect,
  type EvidenceOptions,
  type InputOptions,
  isEvidenceThin,
  type JudgeOptions,
  outputOption,
  wholeNumber,
} from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { ProgressBar } from '../progress.ts';
import { type Checker, createChecker } from '../reference-check.ts';
import { counted } from '../render.ts';
import { createPrinter, type Printer, type ReplayFormat } from '../replay-print.ts';
import { statsText } from '../replay-summary.ts';
import { printSchema } from './schema.ts';

interface ReplayCommandOptions extends InputOptions, CommonOptions, EvidenceOptions, JudgeOptions {
  readonly output: ReplayFormat;
  readonly read?: readonly string[];
  readonly packets?: boolean;
  readonly summary?: boolean;
  readonly stateless?: boolean;
  readonly decapsulate?: boolean;
  readonly check?: boolean;
  readonly schema?: boolean;
  readonly workers: WorkerCount;
  readonly stats?: boolean;
  readonly queue?: string;
}

export function addReplay(program: Command, output: Output, finish: Finish): void {
  const command = program
    .command('replay')
    .summary('judge a capture: the verdict on every connection, with the rule that decides it')
    .description(
      'Judges every packet of captures by the policies of a cluster, and prints the connections with their verdicts. ' +
        'Reads pcap and pcapng, plain or compressed; - is standard input. Denied traffic is no finding: exit code 0.',
    )
    .addOption(
      new Option('-r, --read <capture>', 'capture to read, or - for standard input (repeatable)')
        .argParser(collect)
        .helpGroup('Packets:'),
    );
  addJudgeOptions(addInputOptions(command));
  addEvidenceOptions(
    addCommonOptions(
      command
        .addOption(outputOption(['table', 'wide', 'json', 'jsonl', 'csv']))
        .option('--packets', 'one line a packet instead of one a connection')
        .option('--summary', 'totals and counts a rule alone: the form for big captures')
        .option('--stateless', 'judge each packet by itself, without connection tracking')
        .option('--decapsulate', 'judge what tunnels carry instead of the tunnel packets')
        .option('--check', 'ask the slow reference evaluator as well and report where it disagrees')
        .addOption(
          new Option(
            '--workers <count>',
            'threads that judge, or auto: one a core; small captures need one, the answer is the same',
          )
            .argParser(workerCount)
            .default(1),
        )
        .option(
          '--stats',
          'say on standard error where the time went, stage by stage; with -o json in the document too',
        )
        .addOption(
          new Option(
            '--identity-stale-after <seconds>',
            'with --redis and -r -: verdicts are stale-identity when Redis was away for longer (30)',
          ).argParser(wholeNumber(1, 86_400)),
        )
        .option(
          '--queue <url>',
          'let margay worker judge, on any hosts: redis[s]://[user@]host[:port][/db]; --workers: parts of the work',
        )
        .option('--schema', 'print the JSON schema of records and exit'),
    ),
  )
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay replay -f pcaps/sa-names -r pcaps/sa-names/capture.pcapng\n' +
        '  margay replay -f pcaps/tiers -r pcaps/tiers/capture.pcapng -o jsonl | jq \'select(.action=="deny")\'\n' +
        '  margay replay -f cluster/ -r big.pcap --summary --stateless --workers auto\n' +
        '  margay replay -f cluster/ -r day-1.pcap -r day-2.pcap --queue redis://host:6379     # see margay worker --help\n' +
        '  tcpdump -i any -w - | margay replay -f cluster/ -r - --packets -o jsonl',
    )
    .argument('[captures...]', 'captures to read, as with -r')
    .action(async (captures: readonly string[], options: ReplayCommandOptions) =>
      finish(await replay({ ...options, read: [...(options.read ?? []), ...captures] }, output)),
    );
}

async function replay(options: ReplayCommandOptions, output: Output): Promise<number> {
  if (options.schema === true) return printSchema(output);
  const captures = options.read ?? [];
  if (captures.length === 0) throw new UsageError('-r is missing: name the capture to judge, or - for standard input');
  if (options.packets === true && options.summary === true) {
    throw new UsageError('--packets and --summary exclude each other: the one prints every packet, the other none');
  }
  if (captures.filter((name) => name === '-').length + (options.filename?.includes('-') === true ? 1 : 0) > 1) {
    throw new UsageError('standard input can be read once only; put one of the inputs given as - into a file');
  }
  checkCaptures(captures);
  if (options.queue !== undefined) (await import('../queue.ts')).checkQueue(captures);
  // What streams in is of now, and so are the owners of its addresses.
  const isLive = options.redis !== undefined && options.at === undefined && captures.join() === '-';
  const followed = isLive
    ? await (await import('../identity-follow.ts')).FollowedIdentities.start(options, output)
    : undefined;
  const pool = followed === undefined ? await startThreads(captures, options) : undefined;
  try {
    return await replayCluster(captures, followed, pool, options, output);
  } finally {
    await pool?.stop();
    await followed?.close();
  }
}

/** Threads load their code while this one loads the cluster. */
async function startThreads(captures: readonly string[], options: ReplayCommandOptions): Promise<Pool | undefined> {
  const { workers, queue, summary } = options;
  if (workers === 1 || queue !== undefined) return undefined;
  const { startWorkers } = await import('../../analyze/replay-parallel.ts');
  const asked = summary === true ? {} : { onConnection: () => {} };
  return startWorkers(captures, { workers, ...modeOptions(options), ...asked });
}

async function replayCluster(
  captures: readonly string[],
  followed: FollowedIdentities | undefined,
  pool: Pool | undefined,
  options: ReplayCommandOptions,
  output: Output,
): Promise<number> {
  const cluster = await openCluster(options, output, true);
  const { tables, timeline } =
    followed === undefined
      ? await openTimedTables(cluster.plan, options)
      : { tables: followed.compile(cluster.resources), timeline: undefined };
  if (options.check === true && timeline !== undefined) {
    throw new UsageError(
      '--check asks the reference about one moment: addresses change their owners here, so add --at',
    );
  }
  const [replayCaptures, { ruleCounts }] = await Promise.all([
    replayerOf(options, output),
    import('../../analyze/counters.ts'),
  ]);
  const mode = options.packets === true ? 'packets' : options.summary === true ? 'summary' : 'connections';
  const printer = createPrinter(mode, options.output, output, options.node);
  const checker = options.check === true ? await createChecker(cluster.resources, tables, options) : undefined;
  const bar = output.stderr.isTerminal && options.quiet !== true ? new ProgressBar(output.stderr) : undefined;
  const stop = stopSignal(output);
  const hbone = new HboneCounter();
  const clock = options.stats === true ? await createStatsClock() : undefined;
  try {
    const result = await replayCaptures(tables, captures, {
      ...modeOptions(options),
      ...hbone.watch(mode, callbacks(mode, printer, checker)),
      workers: options.workers,
      ...(pool === undefined ? {} : { pool }),
      timeline,
      ...(followed === undefined
        ? {}
        : { live: followed, newTables: () => followed.newTables(), isStale: () => followed.isStale() }),
      ...(clock === undefined ? {} : { times: clock.times }),
      onProgress: (progress) => {
        bar?.update(progress);
        // Who pipes a live capture in wants each line when it is known.
        if (progress.sizeBytes === undefined) output.flush();
        stop.poll();
      },
      signal: stop.signal,
    });
    bar?.end();
    const stats = clock?.stats(result);
    await printer.finish(result, ruleCounts(tables, result.counters), stats);
    if (stats !== undefined && !output.isClosed()) output.stderr.write(statsText(stats));
    const hasDifference = checker?.report(output, options.quiet === true) ?? false;
    if (hbone.count > 0 && options.quiet !== true && !output.isClosed()) {
      output.stderr.write(`margay: ${hboneNote(hbone.count, mode === 'packets' ? 'packet' : 'connection')}\n`);
    }
    return conclude(result, hasDifference, options, output);
  } finally {
    bar?.end();
    printer.close();
  }
}

/** Who judges: this process, or the workers of a queue. */
async function replayerOf(
  options: ReplayCommandOptions,
  output: Output,
): Promise<typeof import('../../analyze/replay.ts').replayCaptures> {
  if (options.queue !== undefined) return (await import('../queue.ts')).queueReplayer(options, output);
  return (await import('../../analyze/replay.ts')).replayCaptures;
}

/** Measures from now on. */
async function createStatsClock(): Promise<{ times: StageTimes; stats: (result: ReplayResult) => ReplayStats }> {
  const { StageTimes, statsOf } = await import('../../analyze/stage-times.ts');
  const times = new StageTimes();
  const startMs = performance.now();
  return { times, stats: ({ totals, workers }) => statsOf(times, startMs, totals.packets, workers) };
}

const WORKERS_MAX = 64;

/** A parser of `--workers`. */
function workerCount(text: string): WorkerCount {
  if (text === 'auto') return text;
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > WORKERS_MAX) {
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${WORKERS_MAX}, or auto.`);
  }
  return count;
}

function modeOptions(options: ReplayCommandOptions): ReplayOptions {
  return {
    ...(options.stateless === true ? { stateless: true } : {}),
    ...(options.decapsulate === true ? { decapsulate: true } : {}),
    capturePoint: options.capturePoint,
  };
}

/** Connections are gathered where they are printed or checked: they cost more than the verdicts. */
function callbacks(mode: string, printer: Printer, checker: Checker | undefined): ReplayOptions {
  if (mode === 'packets') {
    return { onPacket: (line: PacketRecord) => printer.packet(line), ...printer.asText, ...checkedOnly(checker) };
  }
  if (mode === 'summary') return checkedOnly(checker);
  return {
    onConnection: (record: ConnectionRecord) => {
      printer.connection(record);
      checker?.connection(record);
    },
    ...(checker === undefined ? printer.asText : {}),
  };
}

function checkedOnly(checker: Checker | undefined): ReplayOptions {
  return checker === undefined ? {} : { onConnection: (record) => checker.connection(record) };
}

/** What can only be said at the end, and the exit code. */
function conclude(result: ReplayResult, hasDifference: boolean, options: ReplayCommandOptions, output: Output): number {
  const { totals, sources, interrupted, evictedConnections } = result;
  for (const { error } of sources) if (error !== null) output.stderr.write(`margay: ${error}\n`);
  const lost = sources.reduce((sum, source) => sum + source.lost, 0);
  const unsupported = totals.undecoded_by_reason['unsupported-link-type'] ?? 0;
  const judged = totals.packets - totals.undecoded;
  const counts = { total: judged, uncertain: totals.uncertain, policed: totals.allow + totals.deny };
  const isThin = isEvidenceThin(counts, options);
  const notes = [
    ...(lost > 0
      ? [`${counted(lost, 'packet')} lost while capturing, says the capture: verdicts lack their evidence`]
      : []),
    ...(unsupported > 0 ? [linkTypeNote(unsupported, result)] : []),
    ...(isThin
      ? [
          `evidence is thin: ${counts.uncertain} uncertain and ${counts.policed} policed of ${counted(judged, 'packet')}`,
        ]
      : []),
    ...(evictedConnections > 0
      ? [`${counted(evictedConnections, 'connection')} printed early, since too many were open at one time`]
      : []),
    ...(interrupted ? ['interrupted: the answer covers what was read up to here'] : []),
  ];
  const isQuiet = options.quiet === true;
  if (!isQuiet && !output.isClosed()) for (const note of notes) output.stderr.write(`margay: ${note}\n`);
  return exitCodeOf({
    hasFinding: hasDifference,
    isIncomplete: sources.some(({ error }) => error !== null) || lost > 0 || unsupported > 0 || isThin,
    isInterrupted: interrupted && !output.isClosed(),
    exitZero: options.exitZero,
  });
}

function linkTypeNote(count: number, { sources }: ReplayResult): string {
  const types = [...new Set(sources.map(({ link_type: type }) => type))].filter((type) => type !== undefined);
  const which = types.length === 0 ? '' : ` (${types.join(', ')})`;
  return `${counted(count, 'packet')} of a link type${which} that margay does not read; capture on an Ethernet or "any" interface`;
}

/** Aborted by Ctrl-C, and when nobody reads the answer any more. */
function stopSignal(output: Output): { readonly signal: AbortSignal; readonly poll: () => void } {
  const closed = new AbortController();
  return {
    signal: AbortSignal.any([output.interruptible(), closed.signal]),
    poll: () => {
      if (output.isClosed()) closed.abort();
    },
  };
}
