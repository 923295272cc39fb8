/** `margay can-i`: may this user do that, as `kubectl auth can-i` answers it, with the rule that says so. */
import { type Command, Option } from 'commander';
import { PolicyError } from '../../base/errors.ts';
import type { Decision } from '../../rbac/authorize.ts';
import type { RuleRecord } from '../../rbac/decision-record.ts';
import type { AccessRequest } from '../../rbac/rule-match.ts';
import { EXIT_BAD_INPUT, EXIT_FINE, exitCodeOf, UsageError } from '../exit.ts';
import { readLines } from '../flow-lines.ts';
import {
  addCommonOptions,
  addInputOptions,
  type CommonOptions,
  collect,
  type InputOptions,
  outputOption,
} from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { openRbac, type RbacCluster, reportIncomplete } from '../rbac-inputs.ts';
import { renderJson, renderTable, renderYaml } from '../render.ts';

interface CanIOptions extends InputOptions, CommonOptions {
  readonly output: 'table' | 'json' | 'jsonl' | 'yaml';
  readonly as?: string;
  readonly asGroup?: readonly string[];
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
  readonly apiGroup?: string;
  readonly subresource?: string;
  readonly tier?: string;
  readonly requests?: string;
}

/** One answer; the place of the rule as `rule.file` and `rule.line`. */
interface AnswerRecord {
  readonly id?: unknown;
  readonly allowed: boolean;
  /** `rule`, `system:masters`, or `no rule allows it`. */
  readonly reason: string;
  readonly rule?: RuleRecord;
  /** With `--tier`: the rule that lets the user get the tier. */
  readonly tier_rule?: RuleRecord;
  /** A no that something missing from the input could turn into a yes. */
  readonly incomplete?: true;
}

interface LineError {
  readonly id: unknown;
  readonly line: number;
  readonly error: string;
}

export function addCanI(program: Command, output: Output, finish: Finish): void {
  const option = (flags: string, description: string): Option => new Option(flags, description).helpGroup('Question:');
  const command = program
    .command('can-i')
    .argument('[verb]', 'get, list, create, update, …, or any other verb')
    .argument('[resource]', 'RESOURCE, RESOURCE/SUBRESOURCE, RESOURCE.GROUP, or a path such as /healthz')
    .argument('[name]', 'name of the object')
    .summary('whether a user, a group or a service account may do something, and by which rule')
    .description(
      'Answers as kubectl auth can-i would, from the roles and bindings in the input, with the binding, role and rule ' +
        'that give the right. Exit code 1 if the answer to a single question is no.',
    );
  addCommonOptions(addInputOptions(command).addOption(outputOption(['table', 'json', 'jsonl', 'yaml'])))
    .addOption(option('--as <user>', 'who asks: a user, or system:serviceaccount:NAMESPACE:NAME'))
    .addOption(option('--as-group <group>', 'a group of the user (repeatable)').argParser(collect))
    .addOption(option('-n, --namespace <name>', 'namespace of the object (default: default)'))
    .addOption(option('-A, --all-namespaces', 'in all namespaces at once'))
    .addOption(option('--api-group <group>', "API group of the resource, '' for the core group"))
    .addOption(option('--subresource <name>', 'subresource, such as exec'))
    .addOption(option('--tier <name>', "a Calico policy in this tier: Calico's own rule for tiers"))
    .addOption(option('--requests <file>', 'answer the questions of a file of JSON lines, - for standard input'))
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay can-i create deployments -n prod-engineering --as ann --as-group interns -f pcaps/rbac-interns/open\n' +
        '  margay can-i create pods/exec web-0 -n prod --as system:serviceaccount:prod:web -f cluster.yaml\n' +
        '  margay can-i update networkpolicies.projectcalico.org deny-all --tier security --as ann -f cluster.yaml\n' +
        '  margay can-i --requests requests.jsonl -o jsonl -f rbac.yaml',
    )
    .action(async (verb: string | undefined, resource: string | undefined, name: string | undefined, options) =>
      finish(await canI([verb, resource, name], options as CanIOptions, output)),
    );
}

type Words = readonly [verb: string | undefined, resource: string | undefined, name: string | undefined];

async function canI(words: Words, options: CanIOptions, output: Output): Promise<number> {
  if (options.requests !== undefined) {
    if (words[0] !== undefined) throw new UsageError('--requests and a single question exclude each other');
    if (options.requests === '-' && options.filename?.includes('-') === true) {
      throw new UsageError('-f - and --requests - both ask for standard input; put one of them into a file');
    }
    return answerLines(options.requests, options, output);
  }
  const request = await requestOf(words, options, output);
  const cluster = await openRbac(options, output);
  const answer = await answerTo(request, options.tier, cluster);
  output.stdout.write(await renderAnswer(answer, options.output));
  reportIncomplete(cluster, output);
  return exitCodeOf({
    hasFinding: !answer.allowed,
    isIncomplete: cluster.isIncomplete,
    exitZero: options.exitZero,
  });
}

/** The question of the command line. Throws UsageError for one that makes no sense. */
async function requestOf([verb, what, named]: Words, options: CanIOptions, output: Output): Promise<AccessRequest> {
  if (verb === undefined || what === undefined) {
    throw new UsageError('give a verb and a resource, such as: margay can-i create pods --as ann -f cluster.yaml');
  }
  if (options.as === undefined) throw new UsageError('--as is missing: say who asks, a user or a service account');
  const [{ findResource }, { KNOWN_VERBS }, { splitResource }] = await Promise.all([
    import('../../rbac/resource-names.ts'),
    import('../../rbac/problems.ts'),
    import('../../rbac/rule-match.ts'),
  ]);
  const warn = (text: string): void => {
    if (options.quiet !== true) output.stderr.write(`margay: warning: ${text}\n`);
  };
  if (!KNOWN_VERBS.has(verb)) warn(`'${verb}' is no verb that Kubernetes or Calico asks about`);
  const groups = await groupsOf(options.as, options.asGroup);
  const base = { user: options.as, groups, verb, name: '', namespace: '', apiGroup: '', resource: '', subresource: '' };
  if (what.startsWith('/')) {
    if (named !== undefined) throw new UsageError('a path has no name; leave it out');
    return { ...base, path: what };
  }
  const [text, subresource] = splitResource(what);
  const { isKnown, isNamespaced, resource, apiGroup } = findResource(text, options.apiGroup);
  if (!isKnown) warn(`'${resource}' is no resource that margay knows; it is taken as it is`);
  const isEverywhere = options.allNamespaces === true;
  if (!isNamespaced && !isEverywhere) warn(`'${resource}' has no namespace; RoleBindings cannot give rights on it`);
  const namespace = isEverywhere || !isNamespaced ? '' : (options.namespace ?? 'default');
  return { ...base, name: named ?? '', namespace, apiGroup, resource, subresource: options.subresource ?? subresource };
}

/** Groups as the API server sets them for an impersonated user. */
async function groupsOf(user: string, given: readonly string[] | undefined): Promise<readonly string[]> {
  const { impliedGroups } = await import('../../rbac/rbac-index.ts');
  if (given === undefined) return impliedGroups(user);
  const isSet = user === 'system:anonymous' || given.some((group) => /^system:(un)?authenticated$/.test(group));
  return isSet ? given : [...given, 'system:authenticated'];
}

async function answerTo(request: AccessRequest, tier: string | undefined, cluster: RbacCluster): Promise<AnswerRecord> {
  const [{ authorize }, { authorizeInTier }, records] = await Promise.all([
    import('../../rbac/authorize.ts'),
    import('../../rbac/tiers.ts'),
    import('../../rbac/decision-record.ts'),
  ]);
  const { ruleOfDecision } = records;
  if (tier === undefined) return answerRecord(authorize(cluster.index, request), request, cluster, ruleOfDecision);
  const decision = authorizeInTier(cluster.index, request, tier);
  if (!decision.getTier.allowed) {
    return { ...answerRecord({ allowed: false }, request, cluster, ruleOfDecision), reason: `no get on tier ${tier}` };
  }
  const tierRule = ruleOfDecision(decision.getTier, request);
  const answer = answerRecord(decision.policy, request, cluster, ruleOfDecision);
  return tierRule === undefined ? answer : { ...answer, tier_rule: tierRule };
}

function answerRecord(
  decision: Decision,
  request: AccessRequest,
  cluster: RbacCluster,
  ruleOf: (decision: Decision, request: AccessRequest) => RuleRecord | undefined,
): AnswerRecord {
  const rule = ruleOf(decision, request);
  const reason = !decision.allowed ? 'no rule allows it' : decision.by === 'masters' ? 'system:masters' : 'rule';
  return {
    allowed: decision.allowed,
    reason,
    ...(rule === undefined ? {} : { rule }),
    ...(cluster.isIncomplete && !decision.allowed ? { incomplete: true as const } : {}),
  };
}

async function renderAnswer(answer: AnswerRecord, format: CanIOptions['output']): Promise<string> {
  switch (format) {
    case 'json':
      return renderJson(answer);
    case 'jsonl':
      return `${JSON.stringify(answer)}\n`;
    case 'yaml':
      return renderYaml(answer);
    default:
      return renderWords(answer);
  }
}

/** `yes` or `no` on a line of its own, as kubectl has it, then why. */
async function renderWords({ allowed, reason, rule, tier_rule: tierRule }: AnswerRecord): Promise<string> {
  const { describeRule } = await import('../rbac-text.ts');
  const lines = [allowed ? 'yes' : `no - ${reason}`];
  if (allowed && rule === undefined) lines.push('  members of system:masters may do anything');
  if (tierRule !== undefined) lines.push('  get on the tier:', ...describeRule(tierRule));
  if (rule !== undefined) lines.push(...describeRule(rule));
  return `${lines.join('\n')}\n`;
}

async function answerLines(path: string, options: CanIOptions, output: Output): Promise<number> {
  const cluster = await openRbac(options, output);
  const collected: (AnswerRecord | LineError)[] = [];
  let malformed = 0;
  let line = 0;
  for (const text of readLines(path)) {
    line++;
    if (text.trim() === '') continue;
    const answer = await answerLine(text, line, options.tier, cluster);
    if ('error' in answer) malformed++;
    if (options.output === 'jsonl') output.stdout.write(`${JSON.stringify(answer)}\n`);
    else collected.push(answer);
    if (output.isClosed()) return EXIT_FINE;
  }
  if (options.output === 'json') output.stdout.write(renderJson(collected));
  else if (options.output === 'yaml') output.stdout.write(await renderYaml(collected));
  else if (options.output === 'table') output.stdout.write(await renderTable(answerTable(collected), output));
  reportIncomplete(cluster, output);
  if (malformed === 0) return exitCodeOf({ isIncomplete: cluster.isIncomplete });
  const file = path === '-' ? 'standard input' : path;
  output.stderr.write(
    `margay: ${malformed} of ${line} lines of ${file} are no request; each is answered with its error\n`,
  );
  return EXIT_BAD_INPUT;
}

async function answerLine(
  text: string,
  line: number,
  tier: string | undefined,
  cluster: RbacCluster,
): Promise<AnswerRecord | LineError> {
  const { parseAccessRequest } = await import('../../rbac/request.ts');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { id: null, line, error: `not JSON: ${(error as Error).message}; give one JSON object a line` };
  }
  const id = typeof value === 'object' && value !== null && 'id' in value ? value.id : undefined;
  try {
    const answer = await answerTo(parseAccessRequest(value), tier, cluster);
    return id === undefined ? answer : { id, ...answer };
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { id: id ?? null, line, error: error.message };
  }
}

function answerTable(answers: readonly (AnswerRecord | LineError)[]) {
  const cell = (id: unknown): string => (id === undefined ? '' : typeof id === 'string' ? id : JSON.stringify(id));
  const rows = answers.map((answer) => {
    if ('error' in answer) return [cell(answer.id), answer.error, '', '', ''];
    const { rule } = answer;
    const place = rule === undefined ? '' : `${rule.file}:${rule.line}`;
    const role = rule === undefined ? '' : `${rule.role.kind} ${rule.role.name}[${rule.index}]`;
    return [cell(answer.id), answer.allowed ? 'yes' : 'no', role, rule?.binding.name ?? '', place];
  });
  return { head: ['id', 'allowed', 'rule', 'binding', 'place'], rows };
}
