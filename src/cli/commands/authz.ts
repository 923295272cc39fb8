/** `margay authz`: Calico's second layer, as a service for Envoy, or for requests in a file. */
import { type Command, Option } from 'commander';
import type { AuthzRecord } from '../../authz/answer.ts';
import { PolicyError } from '../../base/errors.ts';
import { EXIT_BAD_INPUT, EXIT_FINE, UsageError } from '../exit.ts';
import { readLines } from '../flow-lines.ts';
import {
  addCommonOptions,
  addIdentityOptions,
  addInputOptions,
  type CommonOptions,
  collect,
  type IdentityOptions,
  type InputOptions,
  outputOption,
  wholeNumber,
} from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { renderJson, renderTable, renderYaml } from '../render.ts';

export interface AuthzOptions extends InputOptions, CommonOptions, IdentityOptions {
  readonly output: 'table' | 'json' | 'jsonl' | 'yaml';
  readonly requests?: string;
  readonly listen?: string;
  readonly metrics?: string;
  readonly allowRemote?: boolean;
  /** Seconds. */
  readonly identityDeadAfter: number;
  readonly node?: string;
  readonly endpoint?: string;
  readonly requireIdentity?: boolean;
  readonly trustDomain?: readonly string[];
}

/** What takes the place of an answer for a line that is no request: a denial, too. */
interface LineError {
  readonly id: unknown;
  readonly line: number;
  readonly code: 'INVALID_ARGUMENT';
  readonly error: string;
}

type Answer = ({ readonly id?: unknown } & AuthzRecord) | LineError;

export function addAuthz(program: Command, output: Output, finish: Finish): void {
  const option = (group: string) => (flags: string, description: string) =>
    new Option(flags, description).helpGroup(group);
  const [request, service, decision] = [option('Requests:'), option('Service:'), option('Decision:')];
  const command = program
    .command('authz')
    .summary("Calico's check of certificates and HTTP requests, as an authorization service for Envoy")
    .description(
      "Decides what Calico's authorization service decides: the ingress policies of the destination pod, asked again with the " +
        "certificate and the HTTP request of the peer. Serves Envoy's ext_authz, version 3, over gRPC (--listen), or answers " +
        'the requests of a file (--requests). Denies are no finding: exit code 0.',
    );
  addCommonOptions(
    addIdentityOptions(addInputOptions(command)).addOption(outputOption(['table', 'json', 'jsonl', 'yaml'])),
  )
    .addOption(request('--requests <file>', 'answer the requests of a file of JSON lines, - for standard input'))
    .addOption(service('--listen <address>', 'serve on unix:PATH, or HOST:PORT of the loopback interface'))
    .addOption(service('--metrics <address>', 'serve Prometheus metrics on HOST:PORT'))
    .addOption(service('--allow-remote', 'let --listen and --metrics take an address that others can reach'))
    .addOption(
      service('--identity-dead-after <seconds>', 'with --redis: deny everything after so long without the store')
        .argParser(wholeNumber(1, 86_400))
        .default(300),
    )
    .addOption(decision('--endpoint <pod>', 'answer for this pod, NAMESPACE/POD, whatever the destination address'))
    .addOption(decision('--node <name>', 'answer for the pods of one node only'))
    .addOption(decision('--require-identity', "deny what Calico allows without a service account's certificate"))
    .addOption(
      decision('--trust-domain <domain>', 'deny what Calico allows with another trust domain (repeatable)').argParser(
        collect,
      ),
    )
    .addHelpText('after', `\n${EXAMPLES}`)
    .action(async (options: AuthzOptions) => finish(await authz(options, output)));
}

const EXAMPLES = `Examples:
  margay authz -f pcaps/sa-names --requests pcaps/sa-names/requests.jsonl
  margay authz -f pcaps/sa-names --requests - -o jsonl --require-identity
  margay authz -f pcaps/sa-names --listen unix:/tmp/margay-authz.sock --metrics 127.0.0.1:9464

A request is one line of JSON: src, dst, dst_port, and where there are any source_principal,
dest_principal, http_method, http_path, protocol, src_port, source_labels, dest_labels, id.`;

async function authz(options: AuthzOptions, output: Output): Promise<number> {
  if (options.requests !== undefined && options.listen !== undefined) {
    throw new UsageError('--requests and --listen exclude each other: answer a file, or serve');
  }
  if (options.endpoint !== undefined && !/^[^/]+\/[^/]+$/.test(options.endpoint)) {
    throw new UsageError(`--endpoint '${options.endpoint}' is no pod; give NAMESPACE/POD`);
  }
  if (options.listen !== undefined) {
    const { serveAuthz } = await import('../authz-serve.ts');
    return serveAuthz(options, options.listen, output);
  }
  if (options.requests === undefined) {
    throw new UsageError('give --listen ADDRESS to serve, or --requests FILE to answer the requests of a file');
  }
  if (options.metrics !== undefined) throw new UsageError('--metrics is for a service; give --listen, too');
  if (options.requests === '-' && options.filename?.includes('-') === true) {
    throw new UsageError('-f - and --requests - both ask for standard input; put one of them into a file');
  }
  return answerLines(options.requests, options, output);
}

async function answerLines(path: string, options: AuthzOptions, output: Output): Promise<number> {
  const [{ authorizerOptions, openForm }, { Authorizer }, { parseAuthzRequest }, { authzRecord }] = await Promise.all([
    import('../authz-inputs.ts'),
    import('../../authz/authorizer.ts'),
    import('../../authz/request.ts'),
    import('../../authz/answer.ts'),
  ]);
  const authorizer = new Authorizer(await openForm(options, output), authorizerOptions(options));
  const answer = (value: unknown): AuthzRecord => {
    const question = parseAuthzRequest(value);
    return authzRecord(authorizer, question, authorizer.check(question));
  };
  const collected: Answer[] = [];
  const onOneFactor = { identity: 0, domain: 0, allowed: 0 };
  let malformed = 0;
  let line = 0;
  for (const text of readLines(path)) {
    line++;
    if (text.trim() === '') continue;
    const record = answerLine(text, line, answer);
    if ('error' in record) malformed++;
    else countOneFactor(record, onOneFactor);
    if (options.output === 'jsonl') output.stdout.write(`${JSON.stringify(record)}\n`);
    else collected.push(record);
    if (output.isClosed()) return EXIT_FINE;
  }
  if (options.output === 'json') output.stdout.write(renderJson(collected));
  else if (options.output === 'yaml') output.stdout.write(await renderYaml(collected));
  else if (options.output === 'table') output.stdout.write(await renderTable(answerTable(collected), output));
  if (options.quiet !== true) reportOneFactor(onOneFactor, output);
  if (malformed === 0) return EXIT_FINE;
  const file = path === '-' ? 'standard input' : path;
  output.stderr.write(
    `margay: ${malformed} of ${line} lines of ${file} are no request; each is answered with its error\n`,
  );
  return EXIT_BAD_INPUT;
}

function answerLine(text: string, line: number, answer: (value: unknown) => AuthzRecord): Answer {
  const code = 'INVALID_ARGUMENT';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { id: null, line, code, error: `not JSON: ${(error as Error).message}; give one JSON object a line` };
  }
  const id = typeof value === 'object' && value !== null && 'id' in value ? value.id : undefined;
  try {
    const record = answer(value);
    return id === undefined ? record : { id, ...record };
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { id: id ?? null, line, code, error: error.message };
  }
}

/** Requests that were allowed, and those of them for which the network alone spoke. */
interface OneFactor {
  identity: number;
  domain: number;
  allowed: number;
}

function countOneFactor({ code, remarks }: AuthzRecord, counts: OneFactor): void {
  if (code !== 'OK') return;
  counts.allowed++;
  if (remarks?.includes('foreign-trust-domain') === true) counts.domain++;
  else if (remarks !== undefined) counts.identity++;
}

function reportOneFactor({ identity, domain, allowed }: OneFactor, output: Output): void {
  if (identity > 0) {
    const what = `${identity} of ${allowed} allowed requests came without an account's certificate`;
    output.stderr.write(`margay: ${what}, as Calico allows; --require-identity denies them\n`);
  }
  if (domain > 0) {
    const what = `${domain} of ${allowed} allowed requests came with a certificate of another trust domain`;
    output.stderr.write(`margay: ${what}, which Calico does not compare; --trust-domain does\n`);
  }
}

function answerTable(answers: readonly Answer[]) {
  const cell = (id: unknown): string => (id === undefined ? '' : typeof id === 'string' ? id : JSON.stringify(id));
  const rows = answers.map((answer) => {
    if ('error' in answer) return [cell(answer.id), answer.code, '', answer.error, '', ''];
    const { policy, rule_index: index } = answer;
    const isOfMargay = answer.reason === 'identity-required' || answer.reason === 'trust-domain';
    const place = policy === undefined ? answer.reason : index === -1 ? `end of ${answer.tier}` : `${policy} ${index}`;
    const rule = isOfMargay ? answer.reason : place;
    const who = answer.source_account ?? answer.identity ?? '';
    return [cell(answer.id), answer.code, answer.factor ?? '', rule, answer.rule ?? '', who];
  });
  return { head: ['id', 'code', 'factor', 'rule', 'place', 'source'], rows };
}
