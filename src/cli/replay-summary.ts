/** Totals of a replay, counts a rule, and what was denied most. */
import type { RuleCount } from '../analyze/counters.ts';
import type { ReplayResult } from '../analyze/replay.ts';
import type { ReplayStats } from '../analyze/stage-times.ts';
import type { Output } from './output.ts';
import { shortNumber } from './progress.ts';
import { IN_FULL, policyText } from './record-text.ts';
import { type Cell, counted, paint, renderTable, type Table } from './render.ts';

const TOP_DENIES = 10;

/** Every rule, end of tier, profile and reason that decided a packet, most packets first. */
export function rulesTable(rules: readonly RuleCount[]): Table {
  return {
    head: ['verdict', 'packets', 'bytes', 'check', 'tier', 'decided by', 'rule at'],
    rows: rules.map((rule) => [
      rule.action,
      rule.packets,
      rule.bytes,
      rule.direction ?? '',
      rule.tier ?? '',
      decidedBy(rule),
      rule.rule ?? '',
    ]),
  };
}

function decidedBy({ policy, tier, index, reason }: RuleCount): string {
  if (policy === undefined || index === undefined) return OTHER_REASONS[reason] ?? reason;
  if (policy === 'pro:__NO_MATCH__') return 'no profile allows';
  if (policy.startsWith('pro:kns.')) return `no policy applies (namespace ${policy.slice('pro:kns.'.length)})`;
  if (index >= 0) return `rule ${index} of ${policyText(policy, IN_FULL)}`;
  return tier === undefined
    ? policyText(policy, IN_FULL)
    : `no rule of tier ${tier} (last: ${policyText(policy, IN_FULL)})`;
}

const OTHER_REASONS: Readonly<Record<string, string>> = {
  established: 'packets of open connections',
  'not-policed': 'no pod that Calico would police',
  invalid: 'answers and later packets without an open connection',
};

/** `Denied most`: the deciding rules of denied packets; nothing where nothing was denied. */
export async function topDenies(rules: readonly RuleCount[], output: Output): Promise<string> {
  const denies = rules.filter(({ action }) => action === 'deny').slice(0, TOP_DENIES);
  if (denies.length === 0) return '';
  const rows = denies.map((rule): Cell[] => [rule.packets, rule.direction ?? '', decidedBy(rule), rule.rule ?? '']);
  const table = await renderTable({ head: ['denied packets', 'check', 'by', 'rule at'], rows }, output);
  return `${table}\n`;
}

/** The sum of everything, a verdict a line; `byAction` counts connections where there are any. */
export async function renderTotals(
  { totals, sources }: ReplayResult,
  output: Output,
  byAction?: ReadonlyMap<string, number>,
): Promise<string> {
  const reasons = Object.entries(totals.undecoded_by_reason).map(([reason, count]) => `${count} ${reason}`);
  const lines: [string, number, string][] = [
    ['allow', totals.allow, ''],
    ['deny', totals.deny, ''],
    ['unpoliced', totals.unpoliced, ''],
    ['uncertain', totals.uncertain, ''],
    ['undecoded', totals.undecoded, reasons.join(', ')],
  ];
  const files = sources.map(({ file }) => (file === '-' ? 'standard input' : file)).join(', ');
  const parts = lines
    .filter(([name, count]) => count > 0 || name === 'allow' || name === 'deny')
    .map(([name, count, detail]) => `${count} ${paint(name, output)}${detail === '' ? '' : ` (${detail})`}`);
  const connections = byAction === undefined ? '' : `${connectionsText(byAction, output)}\n`;
  return `${connections}${counted(totals.packets, 'packet')}, ${totals.bytes} bytes in ${files}: ${parts.join(', ')}\n`;
}

function connectionsText(byAction: ReadonlyMap<string, number>, output: Output): string {
  const total = [...byAction.values()].reduce((sum, count) => sum + count, 0);
  const parts = ['allow', 'deny', 'unpoliced', 'uncertain']
    .filter((action) => byAction.has(action))
    .map((action) => `${byAction.get(action)} ${paint(action, output)}`);
  return `${counted(total, 'connection')}${parts.length === 0 ? '' : `: ${parts.join(', ')}`}`;
}

/** `--stats`: the stages in the order of a packet's way, with their share of the time of all threads. */
export function statsText({ seconds, packets, packets_per_second: rate, workers, stages }: ReplayStats): string {
  const sum = Object.values(stages).reduce((total, each) => total + each, 0);
  const threads = workers === 1 ? 'one thread' : `${workers} workers`;
  const lines = Object.entries(stages).map(([name, each]) => {
    const share = `${Math.round((each * 100) / sum)} %`;
    return `  ${name.padEnd(24)}${each.toFixed(3).padStart(10)} s${share.padStart(7)}\n`;
  });
  const head = `margay: ${counted(packets, 'packet')} in ${seconds.toFixed(3)} s (${shortNumber(rate)} a second, ${threads})`;
  return `${head}; the time of threads went to\n${lines.join('')}`;
}
