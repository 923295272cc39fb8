/** Answers of `who-can` as tables, and differences as lines. */
import type { Entry, WhoCanReport } from '../analyze/who-can.ts';
import type { ReachDiff } from '../analyze/who-can-diff.ts';
import type { LabelReport } from '../analyze/who-can-label.ts';
import type { ReachReport } from '../analyze/who-can-reach.ts';
import { escapeControls } from '../base/errors.ts';
import { objectText, type RuleRecord } from '../rbac/decision-record.ts';
import type { Output } from './output.ts';
import { counted, renderJson, renderTable, renderYaml } from './render.ts';

const QUESTIONS: Readonly<Record<WhoCanReport['question'], string>> = {
  assign: 'Who can act as',
  label: 'Who can make something count as',
  edit: 'Who can change, or come before,',
  reach: 'Who can reach',
};

export async function renderWhoCan(report: WhoCanReport, output: Output): Promise<string> {
  const parts = [heading(report)];
  if (isReach(report)) parts.push(await accountsTable(report, output));
  parts.push(await entriesTable(report.entries, output, 'Nobody, as far as roles and bindings of the input go.\n'));
  if (isReach(report) && report.editors.length > 0) {
    parts.push(`Who can change what decides:\n${await entriesTable(report.editors, output, '')}`);
  }
  if (report.blocked.length > 0) parts.push(await blockedTable(report, output));
  parts.push(list('Notes:', report.notes), list('Not looked at:', report.not_covered));
  parts.push(list('The admission policies leave open:', report.admission_gaps));
  return parts.filter((part) => part !== '').join('\n');
}

function isReach(report: WhoCanReport): report is ReachReport {
  return report.question === 'reach';
}

function heading(report: WhoCanReport): string {
  const { question, target, depth, entries } = report;
  const port = isReach(report) ? `, port ${report.port}` : '';
  const bySteps = Array.from({ length: depth }, (_, index) => {
    const subjects = new Set(entries.filter(({ steps }) => steps === index + 1).map(({ subject }) => subject));
    return `${counted(subjects.size, 'subject')} in ${counted(index + 1, 'step')}`;
  });
  const lines = [
    `${QUESTIONS[question]} ${target}${port}? ${bySteps.join(', ')} (chains of up to ${counted(depth, 'step')}).`,
  ];
  if ('selector' in report) lines.push(selectorLine(report as LabelReport));
  return lines.map((line) => `${escapeControls(line)}\n`).join('');
}

function selectorLine({ selector, labels = {}, without = [], matches, matching = [] }: LabelReport): string {
  const pairs = [
    ...Object.entries(labels).map(([key, value]) => `${key}=${value}`),
    ...without.map((key) => `no label ${key}`),
  ];
  const now =
    matches === true ? 'the account matches as it is' : `an account matches with ${pairs.join(', ') || 'nothing'}`;
  return `Selector ${selector}: ${now}; matching now: ${shortList(matching) || 'none'}.`;
}

async function accountsTable(report: ReachReport, output: Output): Promise<string> {
  const { accounts, judged } = report;
  const tried = `${counted(judged.pods, 'pod')} and ${counted(judged.new_pods, 'pod')} that could be made were judged`;
  if (accounts.length === 0) return `No account has a path (${tried}).\n`;
  const rows = accounts.slice(0, ROWS_MAX).map(({ account, by, pods, pod_labels: labels = {}, port }) => {
    const wanted = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    const how =
      by === 'pod'
        ? shortList(pods)
        : `a new pod ${wanted.length === 0 ? 'without labels' : `with ${wanted.join(', ')}`}`;
    return [account, how, port];
  });
  const table = await renderTable({ head: ['account with a path', 'shown by', 'port'], rows }, output);
  const rest = accounts.length - rows.length;
  return `${table}${rest <= 0 ? '' : `and ${rest} more; -o json has them all\n`}(${tried})\n`;
}

function shortList(names: readonly string[]): string {
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
}

async function entriesTable(entries: readonly Entry[], output: Output, none: string): Promise<string> {
  if (entries.length === 0) return none;
  const rows = entries
    .slice(0, ROWS_MAX)
    .map(({ subject, members, steps, gives, targets, links, more_rights: more = 0 }) => {
      const who = members === undefined ? subject : `${subject} (${shortList(members)})`;
      const how = links
        .map(({ right, to }, index) => (index === links.length - 1 ? right : `${right} → ${to}`))
        .join(' → ');
      return [
        steps,
        who,
        gives,
        shortList(targets),
        how,
        `${links[0]!.rules.map(ruleText).join('; ')}${more === 0 ? '' : ` and ${more} more`}`,
      ];
    });
  const table = await renderTable({ head: ['steps', 'subject', 'gives', 'target', 'how', 'by'], rows }, output);
  const rest = entries.length - rows.length;
  return rest <= 0 ? table : `${table}and ${rest} more; -o json has them all\n`;
}

/** Rows of one table; more than these nobody reads on a terminal. */
const ROWS_MAX = 100;

function ruleText({ file, line, index, role, binding }: RuleRecord): string {
  return `${objectText(binding)}, ${objectText(role)}[${index}] (${file}:${line})`;
}

async function blockedTable({ blocked }: WhoCanReport, output: Output): Promise<string> {
  const rows = blocked
    .slice(0, ROWS_MAX)
    .map(({ subject, target, right, admission_policy: policy, unless_in: groups, file, line }) => [
      subject,
      target,
      right,
      `${policy} (${file}:${line}), unless in ${shortList(groups)}`,
    ]);
  return `Refused by admission:\n${await renderTable({ head: ['subject', 'target', 'how', 'by'], rows }, output)}`;
}

function list(head: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `${head}\n${lines.map((line) => `  ${escapeControls(line)}\n`).join('')}`;
}

export async function renderDiff(diff: ReachDiff, format: string, output: Output): Promise<string> {
  switch (format) {
    case 'json':
      return renderJson(diff);
    case 'yaml':
      return renderYaml(diff);
    case 'sarif': {
      const { sarifOfDiff } = await import('./who-can-sarif.ts');
      return renderJson(sarifOfDiff(diff));
    }
    case 'dot': {
      const { dotOfDiff } = await import('./who-can-dot.ts');
      return dotOfDiff(diff);
    }
    default:
      return renderLines(diff, output);
  }
}

function renderLines({ opened, closed, target }: ReachDiff, _output: Output): string {
  if (opened.length + closed.length === 0) return `Nothing opens and nothing closes on the way to ${target}.\n`;
  const lines = [
    ...opened.map(({ message }) => `+ ${message}`),
    ...closed.map(({ message }) => `- ${message}`),
    `${opened.length} opened, ${closed.length} closed`,
  ];
  return lines.map((line) => `${escapeControls(line)}\n`).join('');
}
