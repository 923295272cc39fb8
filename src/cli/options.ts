/** Options that several verbs share, with one name and one meaning each. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseMoment } from '../base/time.ts';
import { DATAPLANES, type Dataplane } from '../model/flow.ts';

/** Where objects come from, and how they are taken. */
export interface InputOptions {
  readonly filename?: readonly string[];
  readonly recursive?: boolean;
  readonly strict?: boolean;
  readonly permissive?: boolean;
  readonly asIs?: boolean;
}

export interface CommonOptions {
  readonly verbose?: boolean;
  readonly quiet?: boolean;
  readonly exitZero?: boolean;
}

export function addInputOptions(command: Command): Command {
  return command
    .addOption(
      new Option('-f, --filename <file>', 'file or directory of manifests, or - for standard input (repeatable)')
        .argParser(collect)
        .helpGroup('Objects:'),
    )
    .addOption(new Option('-R, --recursive', 'read directories with all that is below them').helpGroup('Objects:'))
    .addOption(new Option('--strict', 'unknown fields are errors, not warnings').helpGroup('Objects:'))
    .addOption(
      new Option('--permissive', 'take objects that the API would refuse, as plain CRD writes would').helpGroup(
        'Objects:',
      ),
    )
    .addOption(
      new Option('--as-is', 'invent no Namespace and no ServiceAccount that the input lacks').helpGroup('Objects:'),
    );
}

export function addCommonOptions(command: Command): Command {
  return command
    .option('-v, --verbose', 'say more on standard error')
    .option('-q, --quiet', 'say nothing on standard error but errors')
    .option('--exit-zero', 'exit 0 where a finding would give 1');
}

/** Who owns which address, when, beside what the manifests say. */
export interface IdentityOptions {
  readonly identities?: string;
  readonly redis?: string;
  readonly cluster?: string;
  readonly verifyKey?: string;
  /** Seconds. */
  readonly identityStaleAfter?: number;
  /** Milliseconds since 1970. */
  readonly at?: number;
}

export function addIdentityOptions(command: Command): Command {
  const group = 'Identities:';
  return command
    .addOption(
      new Option(
        '--identities <file>',
        'file of who owned which address, from when to when; - for standard input',
      ).helpGroup(group),
    )
    .addOption(
      new Option(
        '--redis <url>',
        'take the owners of addresses from Redis: redis[s]://[user@]host[:port][/db]',
      ).helpGroup(group),
    )
    .addOption(new Option('--cluster <name>', "with --redis: the cluster's name there").helpGroup(group))
    .addOption(
      new Option(
        '--verify-key <file>',
        'with --redis: take only what is signed; PEM of an Ed25519 public key',
      ).helpGroup(group),
    )
    .addOption(
      new Option('--at <time>', 'judge everything as at this time (2026-01-01T00:00:00Z, or seconds since 1970)')
        .argParser(moment)
        .helpGroup(group),
    );
}

/** A parser of moments. */
function moment(text: string): number {
  const value = parseMoment(text);
  if (value === undefined) throw new InvalidArgumentError('It must be a time such as 2026-01-01T00:00:00Z.');
  return value;
}

/** How packets are judged: the same options, with the same meaning, on every verb that judges any. */
export interface JudgeOptions extends IdentityOptions {
  readonly node?: string;
  readonly dataplane: Dataplane;
  readonly capturePoint: (typeof CAPTURE_POINTS)[number];
}

const CAPTURE_POINTS = ['unknown', 'veth', 'host'] as const;

export function addJudgeOptions(command: Command): Command {
  return addIdentityOptions(command)
    .addOption(
      new Option('--node <name>', 'only the endpoints of one node, as its dataplane would').helpGroup('Judgement:'),
    )
    .addOption(
      new Option('--capture-point <where>', "where packets were seen: on pods' veths, on the host, or unknown")
        .choices(CAPTURE_POINTS)
        .default('unknown')
        .helpGroup('Judgement:'),
    )
    .addOption(
      new Option('--dataplane <kind>', "Calico's dataplane, where they differ")
        .choices(DATAPLANES)
        .default('iptables')
        .helpGroup('Judgement:'),
    );
}

/** The `-o` of a verb; the first format is the default. */
export function outputOption(formats: readonly [string, ...string[]]): Option {
  return new Option('-o, --output <format>', 'form of the answer').choices(formats).default(formats[0]);
}

/** For a repeatable option: each value after the ones before. */
export function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}

/** A parser of whole numbers between two bounds, both included. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

/** A percentage, fractions allowed. */
function percentage(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= 100)) throw new InvalidArgumentError('It must be a number from 0 to 100.');
  return value;
}

/** How much missing evidence is too much: exit code 3. */
export interface EvidenceOptions {
  readonly maxUncertain: number;
  readonly minCoverage: number;
}

export function addEvidenceOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--max-uncertain <percent>', 'exit 3 if more than this share is uncertain')
        .argParser(percentage)
        .default(100),
    )
    .addOption(
      new Option('--min-coverage <percent>', 'exit 3 if less than this share is policed')
        .argParser(percentage)
        .default(0),
    );
}

/** `policed` = allowed or denied. Nothing judged is nothing missing. */
export function isEvidenceThin(
  counts: { readonly total: number; readonly uncertain: number; readonly policed: number },
  options: EvidenceOptions,
): boolean {
  const { total, uncertain, policed } = counts;
  if (total === 0) return false;
  return uncertain * 100 > options.maxUncertain * total || policed * 100 < options.minCoverage * total;
}
