/** `margay factors`: who the address says, who the certificate says, and what rests on one of them alone. */

import type { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { FactorsResult } from '../../analyze/factors.ts';
import type { KeyStore } from '../../analyze/factors-keys.ts';
import type { LogProblem, PeerLog, PeerStatement } from '../../analyze/factors-logs.ts';
import { quoteText } from '../../base/errors.ts';
import { checkCaptures } from '../captures.ts';
import { exitCodeOf, UsageError } from '../exit.ts';
import { readLines } from '../flow-lines.ts';
import { hboneNote } from '../hbone.ts';
import { openCluster, openTimedTables } from '../inputs.ts';
import {
  addCommonOptions,
  addIdentityOptions,
  addInputOptions,
  type CommonOptions,
  collect,
  type IdentityOptions,
  type InputOptions,
  outputOption,
} from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { ProgressBar } from '../progress.ts';
import { counted } from '../render.ts';

interface FactorsOptions extends InputOptions, CommonOptions, IdentityOptions {
  readonly output: 'table' | 'json' | 'jsonl';
  readonly read?: readonly string[];
  readonly keylog?: readonly string[];
  readonly accessLog?: readonly string[];
  readonly peers?: readonly string[];
  readonly ca?: readonly string[];
  readonly trustDomain?: string;
  readonly istioRoot: string;
  readonly all?: boolean;
  readonly schema?: boolean;
}

/** A key log of a busy server for a day is a few megabytes. */
const KEYLOG_BYTES_MAX = 256 * 1024 * 1024;
/** Gaps that are named on standard error; `-o json` has them all. */
const GAPS_SHOWN_MAX = 10;

export function addFactors(program: Command, output: Output, finish: Finish): void {
  const evidence = (flags: string, description: string): Option =>
    new Option(flags, description).argParser(collect).helpGroup('Evidence:');
  const command = program
    .command('factors')
    .summary('whether connections rest on an address, a certificate, or both')
    .description(
      'For each connection of a capture to a pod whose policy names service accounts: which account its address says, which ' +
        'its client certificate says, and what would get in by one of them alone. Certificates come from the handshakes ' +
        'in the capture (TLS 1.3 needs the session keys), from access logs, or from a file. Exit code 1 if address and certificate ' +
        'disagree or an address alone was trusted, 3 if evidence is missing.',
    )
    .addOption(evidence('-r, --read <capture>', 'capture to read, or - for standard input (repeatable)'))
    .addOption(
      evidence('--keylog <file>', 'TLS secrets as SSLKEYLOGFILE writes them, beside those in the capture (repeatable)'),
    )
    .addOption(evidence('--access-log <file>', 'access log of Envoy (JSON) or ztunnel (repeatable)'))
    .addOption(evidence('--peers <file>', 'JSON lines that say who a peer was: src, identity, … (repeatable)'))
    .addOption(
      evidence('--ca <file>', 'certificates (PEM) of which one must have signed; default: not checked (repeatable)'),
    )
    .addOption(
      new Option('--trust-domain <name>', 'only accounts of this trust domain count; default: any').helpGroup(
        'Evidence:',
      ),
    )
    .addOption(
      new Option('--istio-root <namespace>', "Istio's root namespace, for PeerAuthentication of the whole mesh")
        .default('istio-system')
        .helpGroup('Evidence:'),
    );
  addCommonOptions(
    addIdentityOptions(addInputOptions(command))
      .addOption(outputOption(['table', 'json', 'jsonl']))
      .option('--all', 'every TCP, UDP and SCTP flow, not only those that a rule asks about')
      .option('--schema', 'print the JSON schema of records and exit'),
  )
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay factors -f pcaps/two-factor -r pcaps/two-factor/capture.pcapng\n' +
        "  margay factors -f pcaps/two-factor -r pcaps/two-factor/capture.pcapng -o jsonl | jq 'select(.findings!=[])'\n" +
        '  margay factors -f cluster/ -r capture.pcapng --keylog keys.log --access-log envoy.jsonl',
    )
    .action(async (options: FactorsOptions) => finish(await factors(options, output)));
}

async function factors(options: FactorsOptions, output: Output): Promise<number> {
  if (options.schema === true) {
    const { printFactorsSchema } = await import('./schema.ts');
    return printFactorsSchema(output);
  }
  const captures = options.read ?? [];
  if (captures.length === 0) throw new UsageError('-r is missing: name the capture to read, or - for standard input');
  checkStandardInput(options);
  checkCaptures(captures);
  for (const [flag, files] of [
    ['--keylog', options.keylog],
    ['--access-log', options.accessLog],
    ['--peers', options.peers],
    ['--ca', options.ca],
  ] as const) {
    for (const file of files ?? []) checkFile(flag, file);
  }
  const authorities = await readCertificates(options.ca);
  const keys = await readKeys(options.keylog ?? []);
  const logs = await readLogs(options);
  const cluster = await openCluster(options, output, true);
  const { tables, timeline } = await openTimedTables(cluster.plan, options);
  const { analyzeFactors } = await import('../../analyze/factors.ts');
  const bar = output.stderr.isTerminal && options.quiet !== true ? new ProgressBar(output.stderr) : undefined;
  const signal = output.interruptible();
  try {
    const result = await analyzeFactors({
      plan: cluster.plan,
      resources: cluster.resources,
      tables,
      timeline,
      captures,
      keys,
      statements: logs.statements,
      logProblems: logs.problems,
      trustDomain: options.trustDomain,
      authorities,
      rootNamespace: options.istioRoot,
      all: options.all === true,
      signal,
      onProgress: (progress) => bar?.update(progress),
    });
    bar?.end();
    await print(result, options.output, output);
    return conclude(result, options, output);
  } finally {
    bar?.end();
  }
}

function checkStandardInput(options: FactorsOptions): void {
  const { read, filename, keylog, accessLog, peers, identities } = options;
  const inputs = [read, filename, keylog, accessLog, peers, identities].flatMap((names) => names ?? []);
  if (inputs.filter((name) => name === '-').length > 1) {
    throw new UsageError('standard input can be read once only; put one of the inputs given as - into a file');
  }
}

function checkFile(flag: string, file: string): void {
  if (file === '-') return;
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) throw new UsageError(`${quoteText(file)} does not exist; correct the path after ${flag}`);
  if (stat.isDirectory()) throw new UsageError(`${quoteText(file)} is a directory; name a file after ${flag}`);
}

async function readCertificates(files: readonly string[] | undefined): Promise<readonly X509Certificate[] | undefined> {
  if (files === undefined) return undefined;
  const { readAuthorities } = await import('../../analyze/factors-evidence.ts');
  return files.flatMap((file) => {
    try {
      const found = readAuthorities(readFileSync(file, 'latin1'));
      if (found.length > 0) return found;
    } catch {
      // Said below, with what to do.
    }
    throw new UsageError(
      `${quoteText(file)} holds no certificate in PEM that can be read; correct the path after --ca`,
    );
  });
}

async function readKeys(files: readonly string[]): Promise<KeyStore> {
  const { KeyStore } = await import('../../analyze/factors-keys.ts');
  const keys = new KeyStore();
  for (const file of files) {
    const size = file === '-' ? 0 : statSync(file).size;
    if (size > KEYLOG_BYTES_MAX) {
      throw new UsageError(
        `${quoteText(file)} has ${size} bytes, too many for a key log; keep the sessions of the capture`,
      );
    }
    keys.addText(file === '-' ? 'standard input' : file, readFileSync(file === '-' ? 0 : file, 'latin1'));
  }
  return keys;
}

interface Logs {
  readonly statements: readonly PeerStatement[];
  readonly problems: readonly LogProblem[];
}

async function readLogs(options: FactorsOptions): Promise<Logs> {
  if (options.accessLog === undefined && options.peers === undefined) return { statements: [], problems: [] };
  const { parseAccessLog, parsePeers } = await import('../../analyze/factors-logs.ts');
  const nameOf = (file: string): string => (file === '-' ? 'standard input' : file);
  const logs: PeerLog[] = [
    ...(options.accessLog ?? []).map((file) => parseAccessLog(nameOf(file), readLines(file))),
    ...(options.peers ?? []).map((file) => parsePeers(nameOf(file), readLines(file))),
  ];
  return {
    statements: logs.flatMap(({ statements }) => statements),
    problems: logs.flatMap(({ problems }) => problems),
  };
}

async function print(result: FactorsResult, format: FactorsOptions['output'], output: Output): Promise<void> {
  const { documentPieces, renderFactors } = await import('../factors-print.ts');
  if (format === 'jsonl') {
    for (const record of result.records) {
      if (output.isClosed()) return;
      output.stdout.write(`${JSON.stringify(record)}\n`);
    }
  } else if (format === 'json') {
    for (const piece of documentPieces(result)) output.stdout.write(piece);
  } else output.stdout.write(await renderFactors(result, output));
}

/** What is missing, and the exit code. */
function conclude(result: FactorsResult, options: FactorsOptions, output: Output): number {
  const { records, gaps, sources, totals, unmatchedStatements, evictedFlows, interrupted } = result;
  const missing = [...gaps, ...records.filter(({ rules }) => rules.length > 0).flatMap((record) => record.gaps)];
  const write = (text: string): void => {
    if (!output.isClosed()) output.stderr.write(`margay: ${text}\n`);
  };
  for (const { error } of sources) if (error !== null) write(error);
  if (options.quiet !== true) {
    for (const { name, detail, place } of missing.slice(0, GAPS_SHOWN_MAX)) write(`${place}: ${name}: ${detail}`);
    if (missing.length > GAPS_SHOWN_MAX)
      write(`${missing.length - GAPS_SHOWN_MAX} more gaps in the evidence; -o json names them all`);
    if (totals.hbone > 0) write(hboneNote(totals.hbone));
    if (unmatchedStatements > 0)
      write(`${counted(unmatchedStatements, 'line')} of logs are about no connection of the capture`);
    if (evictedFlows > 0) {
      write(`${counted(evictedFlows, 'connection')} answered for early, since too many were open at one time`);
    }
    if (interrupted) write('interrupted: the answer covers what was read up to here');
  }
  const lost = sources.reduce((sum, source) => sum + source.lost, 0);
  if (lost > 0 && options.quiet !== true) write(`${counted(lost, 'packet')} lost while capturing, says the capture`);
  return exitCodeOf({
    hasFinding: Object.keys(totals.findings).length > 0,
    isIncomplete: result.isIncomplete || lost > 0 || sources.some(({ error }) => error !== null),
    isInterrupted: interrupted && !output.isClosed(),
    exitZero: options.exitZero,
  });
}
