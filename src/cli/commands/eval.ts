/** `margay eval`: the verdict on one flow, or on a file of flows, each as the first packet of a new connection. */
import { type Command, Option } from 'commander';
import type { FlowRecord } from '../../analyze/record.ts';
import { PolicyError } from '../../base/errors.ts';
import type { Flow } from '../../model/flow.ts';
import { EXIT_BAD_INPUT, EXIT_FINE, exitCodeOf, UsageError } from '../exit.ts';
import { type LineError, parseFlowLine, readLines } from '../flow-lines.ts';
import { addFlowOptions, type FlowOptions, flowOf } from '../flow-options.ts';
import { openCluster, openClusterTables } from '../inputs.ts';
import {
  addCommonOptions,
  addEvidenceOptions,
  addInputOptions,
  addJudgeOptions,
  type CommonOptions,
  type EvidenceOptions,
  type InputOptions,
  isEvidenceThin,
  type JudgeOptions,
  outputOption,
} from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { csvRecordTable, recordTable, wideRecordTable } from '../record-table.ts';
import { IN_FULL, renderRecord } from '../record-text.ts';
import { renderCsv, renderJson, renderTable, renderYaml } from '../render.ts';
import { printSchema } from './schema.ts';

interface EvalOptions extends InputOptions, CommonOptions, EvidenceOptions, JudgeOptions, FlowOptions {
  readonly output: 'table' | 'wide' | 'json' | 'jsonl' | 'yaml' | 'csv';
  readonly flows?: string;
  readonly schema?: boolean;
}

/** A record of an answered line, its id first if it had one. */
type AnsweredLine = { readonly id?: unknown } & FlowRecord;

/** How many answers a table or a JSON document may hold; `-o jsonl` has no limit. */
const COLLECTED_MAX = 1_000_000;

export function addEval(program: Command, output: Output, finish: Finish): void {
  const command = program
    .command('eval')
    .summary('the verdict on a flow that you describe, or on a file of flows')
    .description(
      'Gives the verdict on a flow as the first packet of a new connection. Exit code 1 if a single flow is denied. ' +
        'With --flows it answers JSON lines with the fields src, dst, protocol, src_port, dst_port, icmp_type, icmp_code ' +
        'and id, one record a line, in order.',
    );
  addJudgeOptions(addFlowOptions(command));
  addEvidenceOptions(
    addCommonOptions(
      addInputOptions(command).addOption(outputOption(['table', 'wide', 'json', 'jsonl', 'yaml', 'csv'])),
    ),
  )
    .addOption(
      new Option('--flows <file>', 'instead: the flows of a file of JSON lines, - for standard input').helpGroup(
        'Flow:',
      ),
    )
    .option('--schema', 'print the JSON schema of records and exit')
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay eval -f pcaps/sa-names --src prod-engineering/api-0 --dst prod-engineering/db-0 --port 5432\n' +
        '  echo \'{"id":1,"src":"10.244.1.11","dst":"10.244.2.10","dst_port":5432}\' |\n' +
        '    margay eval -f pcaps/sa-names --flows - -o jsonl',
    )
    .action(async (options: EvalOptions) => finish(await evaluate(options, output)));
}

async function evaluate(options: EvalOptions, output: Output): Promise<number> {
  if (options.schema === true) return printSchema(output);
  if (options.flows === undefined) return evaluateOne(options, output);
  const given = (['src', 'dst', 'srcPort', 'dstPort', 'protocol', 'icmpType', 'icmpCode'] as const).find(
    (name) => options[name] !== undefined,
  );
  if (given !== undefined) throw new UsageError('--flows and the description of a single flow exclude each other');
  if (options.flows === '-' && options.filename?.includes('-') === true) {
    throw new UsageError('-f - and --flows - both ask for standard input; put one of them into a file');
  }
  return evaluateLines(options.flows, options, output);
}

async function evaluateOne(options: EvalOptions, output: Output): Promise<number> {
  const { plan } = await openCluster(options, output);
  const flow = flowOf(options, plan);
  const tables = await openClusterTables(plan, options);
  const { evaluateFlow } = await import('../../analyze/evaluate-flow.ts');
  const record = evaluateFlow(tables, flow, options);
  const text =
    options.output === 'table'
      ? renderRecord(record, output, options.node)
      : await render([record], true, options, output);
  output.stdout.write(text);
  return exitCodeOf({
    hasFinding: record.action === 'deny',
    isIncomplete: isEvidenceThin(countOf([record]), options),
    exitZero: options.exitZero,
  });
}

async function evaluateLines(path: string, options: EvalOptions, output: Output): Promise<number> {
  const { plan } = await openCluster(options, output);
  const tables = await openClusterTables(plan, options);
  const { evaluateFlow } = await import('../../analyze/evaluate-flow.ts');
  const { recordJson } = await import('../../analyze/record-json.ts');
  const counts = { total: 0, uncertain: 0, policed: 0 };
  const collected: (AnsweredLine | LineError)[] = [];
  let malformed = 0;
  let line = 0;
  for (const text of readLines(path)) {
    line++;
    if (text.trim() === '') continue;
    const answer = answerLine(text, line, (flow) => evaluateFlow(tables, flow, options));
    if ('error' in answer) malformed++;
    else count(answer.record, counts);
    if (options.output === 'jsonl') {
      const text = 'error' in answer ? recordJson(answer) : recordJson(answer.record, answer.id);
      output.stdout.write(`${text}\n`);
    } else if (collected.push(withId(answer)) > COLLECTED_MAX) {
      throw new UsageError(`more than ${COLLECTED_MAX} flows in one ${options.output}; use -o jsonl`);
    }
    if (output.isClosed()) return EXIT_FINE;
  }
  if (options.output !== 'jsonl') output.stdout.write(await render(collected, false, options, output));
  if (malformed > 0) {
    output.stderr.write(
      `margay: ${malformed} of ${line} lines of ${path === '-' ? 'standard input' : path} are no flow; each is answered with its error\n`,
    );
    return EXIT_BAD_INPUT;
  }
  return exitCodeOf({ isIncomplete: isEvidenceThin(counts, options) });
}

type Evaluate = (flow: Flow) => FlowRecord;

/** A line's record beside its id: of a hundred thousand lines none is copied to put the id first. */
interface Answer {
  readonly id: unknown;
  readonly record: FlowRecord;
}

function withId(answer: Answer | LineError): AnsweredLine | LineError {
  if ('error' in answer) return answer;
  return answer.id === undefined ? answer.record : { id: answer.id, ...answer.record };
}

function answerLine(text: string, line: number, evaluate: Evaluate): Answer | LineError {
  const parsed = parseFlowLine(text, line);
  if ('error' in parsed) return parsed;
  try {
    return { id: parsed.id, record: evaluate(parsed.flow) };
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { id: parsed.id ?? null, line, error: error.message };
  }
}

interface Counts {
  total: number;
  uncertain: number;
  policed: number;
}

function countOf(records: readonly FlowRecord[]): Counts {
  const counts = { total: 0, uncertain: 0, policed: 0 };
  for (const record of records) count(record, counts);
  return counts;
}

function count(record: FlowRecord, counts: Counts): void {
  counts.total++;
  if (record.action === 'uncertain') counts.uncertain++;
  if (record.action === 'allow' || record.action === 'deny') counts.policed++;
}

/** All answers in one form; a single one stands alone in JSON and YAML. */
async function render(
  answers: readonly (AnsweredLine | LineError)[],
  isSingle: boolean,
  options: EvalOptions,
  output: Output,
): Promise<string> {
  switch (options.output) {
    case 'table':
      return renderTable(recordTable(answers, { ...IN_FULL, node: options.node }), output);
    case 'wide':
      return renderTable(wideRecordTable(answers, options.node), output);
    case 'csv':
      return renderCsv(csvRecordTable(answers));
    case 'json':
      return renderJson(isSingle ? answers[0] : answers);
    case 'yaml':
      return renderYaml(isSingle ? answers[0] : answers);
    case 'jsonl':
      return answers.map((answer) => `${JSON.stringify(answer)}\n`).join('');
    default:
      return options.output satisfies never;
  }
}
