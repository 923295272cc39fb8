/** Answers of `who-can` as SARIF 2.1.0, so that a code host shows them at the rule that gives the right. */
import type { Entry, WhoCanReport } from '../analyze/who-can.ts';
import type { ReachDiff } from '../analyze/who-can-diff.ts';
import type { ReachReport } from '../analyze/who-can-reach.ts';
import type { RuleRecord } from '../rbac/decision-record.ts';
import { readVersion } from './version.ts';

const RULES = {
  'who-can-assign': 'A subject can act as a service account',
  'who-can-label': 'A subject can make something count as a service account with certain labels',
  'who-can-edit': 'A subject can change a policy, or what runs before it',
  'who-can-reach': 'A subject can reach a pod',
  'who-can-opened': 'A change lets a subject reach a pod',
} as const;

type RuleId = keyof typeof RULES;
type Level = 'note' | 'warning' | 'error';

export function sarifOfReport(report: WhoCanReport): object {
  const ruleId: RuleId = `who-can-${report.question}`;
  const results = report.entries.map((entry) => resultOf(ruleId, 'note', describe(entry), entry));
  if (report.question === 'reach') {
    const { editors } = report as ReachReport;
    results.push(...editors.map((entry) => resultOf('who-can-edit', 'note', describe(entry), entry)));
  }
  return sarif(results);
}

/** What is opened alone: what is closed is no finding. */
export function sarifOfDiff({ opened }: ReachDiff): object {
  return sarif(opened.map(({ message, entry }) => resultOf('who-can-opened', 'error', message, entry)));
}

function describe({ subject, links }: Entry): string {
  return `${subject}: ${links.map(({ right, to }) => `${right} → ${to}`).join(', then ')}`;
}

function resultOf(ruleId: RuleId, level: Level, text: string, entry: Entry | undefined) {
  const rules = entry?.links.flatMap((link) => link.rules) ?? [];
  const [first, ...others] = rules;
  return {
    ruleId,
    level,
    message: { text },
    locations: first === undefined ? [] : [location(first)],
    ...(others.length === 0 ? {} : { relatedLocations: others.map(location) }),
  };
}

function location({ file, line }: Pick<RuleRecord, 'file' | 'line'>) {
  const region = line > 0 ? { region: { startLine: line } } : {};
  return { physicalLocation: { artifactLocation: { uri: encodeURI(file) }, ...region } };
}

function sarif(results: readonly object[]): object {
  const rules = Object.entries(RULES).map(([id, text]) => ({ id, shortDescription: { text } }));
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [{ tool: { driver: { name: 'margay', version: readVersion(), rules } }, results }],
  };
}
