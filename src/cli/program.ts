/**
 * The command line as a whole: the verbs, what they have in common, and how errors end.
 *
 * Only commander is loaded to begin with; each verb imports what it needs when it runs, so that a short answer comes soon.
 */
import { Command, CommanderError } from 'commander';
import { InvariantError } from '../base/assert.ts';
import { formatPolicyError, formatReport, PolicyError } from '../base/errors.ts';
import { addAgent } from './commands/agent.ts';
import { addAuthz } from './commands/authz.ts';
import { addCanI } from './commands/can-i.ts';
import { addCompile } from './commands/compile.ts';
import { addCompletion } from './commands/completion.ts';
import { addConfig } from './commands/config.ts';
import { addDoctor } from './commands/doctor.ts';
import { addEval } from './commands/eval.ts';
import { addExplain } from './commands/explain.ts';
import { addExport } from './commands/export.ts';
import { addFactors } from './commands/factors.ts';
import { addGet } from './commands/get.ts';
import { addIdentities } from './commands/identities.ts';
import { addReplay } from './commands/replay.ts';
import { addSchema } from './commands/schema.ts';
import { addValidate } from './commands/validate.ts';
import { addVerify } from './commands/verify.ts';
import { addWhoCan } from './commands/who-can.ts';
import { addWorker } from './commands/worker.ts';
import { EXIT_BAD_INPUT, EXIT_FINE, EXIT_TROUBLE, ExitError, UsageError } from './exit.ts';
import type { Output } from './output.ts';
import { readVersion } from './version.ts';

/** Runs one command line and returns its exit code. Never throws. */
export async function run(args: readonly string[], output: Output): Promise<number> {
  let code = EXIT_FINE;
  const program = createProgram(output, (exitCode) => {
    code = exitCode;
  });
  try {
    await program.parseAsync([...args], { from: 'user' });
    return code;
  } catch (error) {
    return report(error, output);
  }
}

/** How a verb hands its exit code back. */
export type Finish = (exitCode: number) => void;

const EXIT_CODES = `
Exit codes, the same for every command:
  0  answered, and fine
  1  a finding: a denied eval, a difference, a failed test (--exit-zero turns it into 0)
  2  bad usage or invalid input
  3  answered, but on incomplete evidence: damaged capture, too many uncertain packets
  4  trouble at run time`;

const EXAMPLES = `
Examples, on files that come with margay:
  margay replay  -f pcaps/sa-names -r pcaps/sa-names/capture.pcapng
  margay explain -f pcaps/sa-names --src prod-engineering/web-0 --dst prod-engineering/db-0 --port 5432`;

function createProgram(output: Output, finish: Finish): Command {
  const program = new Command('margay')
    .description(
      'The verdict that Calico would give every packet, with the rule that decides it. It observes; it never blocks.',
    )
    .version(readVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .exitOverride()
    .configureHelp({ showGlobalOptions: false, helpWidth: Math.min(output.stdout.columns ?? 100, 100) })
    .configureOutput({
      writeOut: (text) => output.stdout.write(text),
      writeErr: (text) => output.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'margay: ')),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .addHelpText('after', `${EXAMPLES}\n${EXIT_CODES}`);
  addReplay(program, output, finish);
  addVerify(program, output, finish);
  addExplain(program, output, finish);
  addEval(program, output, finish);
  addValidate(program, output, finish);
  addCompile(program, output, finish);
  addGet(program, output, finish);
  addCanI(program, output, finish);
  addWhoCan(program, output, finish);
  addFactors(program, output, finish);
  addAuthz(program, output, finish);
  addAgent(program, output, finish);
  addConfig(program, output, finish);
  addDoctor(program, output, finish);
  addExport(program, output, finish);
  addIdentities(program, output, finish);
  addWorker(program, output, finish);
  addSchema(program, output, finish);
  addCompletion(program, output, finish);
  return program;
}

/** Says what went wrong, in one line but for faults of our own, and gives the exit code for it. */
function report(error: unknown, output: Output): number {
  if (error instanceof ExitError) return error.code;
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_FINE : EXIT_BAD_INPUT;
  if (error instanceof UsageError) {
    output.stderr.write(`margay: ${formatReport({ problem: error.message })}\n`);
    return EXIT_BAD_INPUT;
  }
  if (error instanceof PolicyError) {
    output.stderr.write(`margay: ${formatPolicyError(error)}\n`);
    return EXIT_BAD_INPUT;
  }
  if (error instanceof InvariantError || !(error instanceof Error)) {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    output.stderr.write(`margay: a fault of margay's own, please report it with the input: ${detail}\n`);
    return EXIT_TROUBLE;
  }
  const isOfSystem = 'code' in error || error.name === 'CaptureError';
  const text = isOfSystem ? formatReport({ problem: error.message }) : (error.stack ?? error.message);
  output.stderr.write(`margay: ${text}\n`);
  return EXIT_TROUBLE;
}
