/** `margay verify`: what policy says of each connection against what captures show of it. */
import { type Command, Option } from 'commander';
import type { VerdictLog } from '../../analyze/annotate.ts';
import type { Certainty } from '../../analyze/report-data.ts';
import type { VerifyResult } from '../../analyze/verify.ts';
import { exitCodeOf, UsageError } from '../exit.ts';
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
} from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { ProgressBar } from '../progress.ts';
import { counted } from '../render.ts';
import { resolveCaptures, toldCaptures } from '../verify-captures.ts';
import type { VerifyFormat } from '../verify-print.ts';
import type { ReportBuilder } from '../verify-report.ts';
import { printVerifySchema } from './schema.ts';

interface VerifyCommandOptions extends InputOptions, CommonOptions, EvidenceOptions, JudgeOptions {
  readonly output: VerifyFormat;
  readonly read?: readonly string[];
  readonly sent?: readonly string[];
  readonly delivered?: readonly string[];
  readonly decapsulate?: boolean;
  readonly certainty: Certainty;
  readonly schema?: boolean;
  readonly annotate?: string;
  readonly split?: string;
  readonly report?: string;
}

const CERTAINTIES: readonly Certainty[] = ['possible', 'likely', 'proven'];

export function addVerify(program: Command, output: Output, finish: Finish): void {
  const command = program
    .command('verify')
    .summary('hold the verdicts against what captures show: leaks, and what was blocked')
    .description(
      'Compares what policy says of each connection with what captures show of it. A leak is denied and was delivered; blocked is ' +
        'allowed and was dropped. Both are findings: exit code 1. Captures of several places are laid over each other, packet by packet.',
    )
    .addOption(
      new Option('-r, --read <capture>', 'capture to read, or - (repeatable); POINT=FILE tells where it was taken')
        .argParser(collect)
        .helpGroup('Packets:'),
    )
    .addOption(
      new Option('--sent <capture>', 'capture taken where connections are opened (repeatable)')
        .argParser(collect)
        .helpGroup('Packets:'),
    )
    .addOption(
      new Option('--delivered <capture>', 'capture taken where connections should arrive (repeatable)')
        .argParser(collect)
        .helpGroup('Packets:'),
    );
  addJudgeOptions(addInputOptions(command));
  addEvidenceOptions(
    addCommonOptions(
      command
        .addOption(outputOption(['table', 'wide', 'json', 'jsonl', 'junit', 'md']))
        .option('--decapsulate', 'judge and compare what tunnels carry instead of the tunnel packets')
        .addOption(
          new Option('--certainty <least>', 'exit 1 only for findings that are at least this certain')
            .choices(CERTAINTIES)
            .default('possible'),
        )
        .addOption(
          new Option(
            '--annotate <file>',
            'write all packets as pcapng, each with a comment that Wireshark shows',
          ).helpGroup('Files:'),
        )
        .addOption(
          new Option('--split <dir>', 'write allowed, denied, unpoliced and uncertain packets as pcapng').helpGroup(
            'Files:',
          ),
        )
        .addOption(new Option('--report <file>', 'write one page of HTML that needs no network').helpGroup('Files:'))
        .option('--schema', 'print the JSON schema of connections and exit'),
    ),
  )
    .addHelpText(
      'after',
      '\nPOINT of -r POINT=FILE: pod:NAMESPACE/NAME (in the pod, or at its cali interface), node:NAME (at its uplink). In pcapng\n' +
        "the names of pods' cali interfaces tell the same by themselves.\n" +
        '\nExamples:\n' +
        '  margay verify -f pcaps/enforcement -r pcaps/enforcement/node-2.pcapng\n' +
        '  margay verify -f pcaps/enforcement -r node:node-1=pcaps/enforcement/node-1.pcapng \\\n' +
        '                                     -r node:node-2=pcaps/enforcement/node-2.pcapng\n' +
        '  margay verify -f cluster/ --sent client.pcap --delivered server.pcap\n' +
        '  margay verify -f cluster/ -r pod:prod/web-0=web.pcap -r pod:prod/db-0=db.pcap -r node:node-1=eth0.pcap\n' +
        '  margay verify -f cluster/ -r day.pcapng --annotate notes.pcapng --report report.html -o jsonl',
    )
    .argument('[captures...]', 'captures to read, as with -r')
    .action(async (captures: readonly string[], options: VerifyCommandOptions) =>
      finish(await verify({ ...options, read: [...(options.read ?? []), ...captures] }, output)),
    );
}

async function verify(options: VerifyCommandOptions, output: Output): Promise<number> {
  if (options.schema === true) return printVerifySchema(output);
  const told = toldCaptures(options);
  const files = told.map(({ file }) => file);
  if (files.includes('-') && options.filename?.includes('-') === true) {
    throw new UsageError('standard input can be read once only; put one of the inputs given as - into a file');
  }
  const cluster = await openCluster(options, output, true);
  const captures = resolveCaptures(told, cluster.plan);
  const { tables, timeline } = await openTimedTables(cluster.plan, options);
  const [{ verifyCaptures }, { RecordSpool }, { printVerify, showsFindingsAlone }] = await Promise.all([
    import('../../analyze/verify.ts'),
    import('../spool.ts'),
    import('../verify-print.ts'),
  ]);
  const bar = output.stderr.isTerminal && options.quiet !== true ? new ProgressBar(output.stderr) : undefined;
  const spool = new RecordSpool();
  const report = options.report === undefined ? undefined : await startReport(options.report, files);
  const annotated =
    options.annotate === undefined && options.split === undefined ? undefined : await startAnnotated(options, files);
  const counts = { possible: 0, likely: 0, proven: 0 };
  try {
    const result = await verifyCaptures(tables, captures, {
      plan: cluster.plan,
      resources: cluster.resources,
      timeline,
      capturePoint: options.capturePoint,
      ...(options.decapsulate === true ? { decapsulate: true } : {}),
      onlyFindings: showsFindingsAlone(options.output) && report === undefined && annotated === undefined,
      onConnection: (record, id) => {
        if (record.certainty !== undefined) counts[record.certainty]++;
        if (options.output === 'jsonl') output.stdout.write(`${JSON.stringify(record)}\n`);
        else if (record.finding !== undefined || !showsFindingsAlone(options.output)) spool.add(id, record);
        report?.add(record, id);
        annotated?.log.connection(record, id);
      },
      ...(annotated === undefined ? {} : { onPacket: (packet) => annotated.log.packet(packet) }),
      onProgress: ({ phase, file, ...rest }) =>
        bar?.update({ ...rest, file: phase === 'survey' ? `first look at ${file}` : file }),
      signal: output.interruptible(),
    });
    bar?.end();
    // Where owners change with time there is no one cluster to explain by.
    report?.write(options.report!, result, cluster, tables, {
      manifests: options.filename ?? [],
      dataplane: options.dataplane,
      explains: timeline === undefined,
    });
    if (annotated !== undefined) await annotated.write(result, options, output);
    await printVerify(options.output, result, spool, output);
    return conclude(result, counts, options, output);
  } finally {
    bar?.end();
    spool.close();
    annotated?.log.close();
  }
}

/** Throws UsageError, before any work, if the page cannot be written. */
async function startReport(path: string, inputs: readonly string[]): Promise<ReportBuilder> {
  const [{ checkOutput }, { ReportBuilder }] = await Promise.all([
    import('../verify-files.ts'),
    import('../verify-report.ts'),
  ]);
  checkOutput('--report', path, inputs);
  return new ReportBuilder();
}

/** The same for annotated captures; `write` says on standard error what was written. */
async function startAnnotated(
  { annotate, split }: VerifyCommandOptions,
  inputs: readonly string[],
): Promise<Annotated> {
  const [{ annotatedFiles }, { VerdictLog, writeAnnotated }] = await Promise.all([
    import('../verify-files.ts'),
    import('../../analyze/annotate.ts'),
  ]);
  const named = { ...(annotate === undefined ? {} : { annotate }), ...(split === undefined ? {} : { split }) };
  const files = annotatedFiles(named, inputs)!;
  const log = new VerdictLog();
  return {
    log,
    write: async (result, { quiet }, output) => {
      const written = await writeAnnotated(result, log, files);
      if (quiet === true) return;
      for (const [path, count] of written)
        output.stderr.write(`margay: wrote ${counted(count, 'packet')} to ${path}\n`);
    },
  };
}

interface Annotated {
  readonly log: VerdictLog;
  readonly write: (result: VerifyResult, options: CommonOptions, output: Output) => Promise<void>;
}

function conclude(
  { totals, incomplete, interrupted }: VerifyResult,
  counts: Readonly<Record<Certainty, number>>,
  options: VerifyCommandOptions,
  output: Output,
): number {
  const judged = totals.packets - totals.undecoded - totals.seen_again;
  const isThin = isEvidenceThin(
    { total: judged, uncertain: totals.uncertain, policed: totals.allow + totals.deny },
    options,
  );
  const notes = [
    ...incomplete,
    ...(isThin
      ? [
          `evidence is thin: ${totals.uncertain} uncertain and ${totals.allow + totals.deny} policed of ${judged} packets`,
        ]
      : []),
  ];
  if (options.quiet !== true && !output.isClosed()) {
    for (const note of notes) output.stderr.write(`margay: ${note}\n`);
  }
  const least = CERTAINTIES.indexOf(options.certainty);
  return exitCodeOf({
    hasFinding: CERTAINTIES.slice(least).some((certainty) => counts[certainty] > 0),
    isIncomplete: notes.length > 0,
    isInterrupted: interrupted && !output.isClosed(),
    exitZero: options.exitZero,
  });
}
