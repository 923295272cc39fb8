/**
 * The figures that the project wants to reach, each with where it is measured: one table says what is reached and what is not.
 *
 * `best` is the form that the program chooses, with WebAssembly where it fits; `TS` the same without it. What compares two scenarios
 * divides their medians.
 */
import type { Measurement } from './measurement.ts';
import {
  ACL_CLASSES,
  ADDRESS_MOVED,
  ADDRESS_PUBLISHED,
  DUMP_SECONDS,
  EBPF,
  EVAL_SECONDS,
  heapName,
  IPSET_ELEMENT,
  IPTABLES_LOAD,
  LABELS_PUBLISHED,
  LESSON,
  LIBPCAP,
  LIBPCAP_ACL,
  matchName,
  OBJECTS_TO_TABLES,
  over,
  RESIDENT,
  replayName,
  TABLES,
  TCPDUMP_COPYING,
  TCPDUMP_READING,
  TEXT_TO_TABLES,
} from './names.ts';
import { FORMS, type Form } from './replay.ts';
import { short } from './text.ts';

export interface FigureRow {
  readonly what: string;
  readonly goal: number;
  readonly isAtMost: boolean;
  readonly unit: string;
  readonly value: number | undefined;
  /** Smallest and largest of the runs, where it is one measurement. */
  readonly spread: string | undefined;
}

/** Of a scenario's row, or computed from several. */
type Source = readonly [scenario: string, name: string] | ((rows: Finder) => number | undefined);
type Finder = (scenario: string, name: string) => Measurement | undefined;
type Figure = readonly [what: string, sign: '>=' | '<=', goal: number, unit: string, source: Source];

/** Milliseconds of Calico's own Go code over the cluster of e1k as JSON, to its first complete dataplane update: the fastest of its runs. */
const CALICO_FIRST_UPDATE_MS = 13_200;

type Rows = readonly [scenario: string, nameOf: (form: Form) => string];

/** Median of one row over the median of another, for each form; at most `goal`. */
function quotients(what: string, goal: number, upper: Rows, lower: Rows): Figure[] {
  return FORMS.map((form) => {
    const source = (find: Finder): number | undefined => {
      const [above, below] = [upper, lower].map(([scenario, nameOf]) => find(scenario, nameOf(form)));
      return above === undefined || below === undefined ? undefined : above.median / below.median;
    };
    return [`${what} (${form})`, '<=', goal, 'x', source];
  });
}

function calicoRatio(find: Finder): number | undefined {
  const ours = find('load-e1k', TEXT_TO_TABLES);
  return ours === undefined ? undefined : CALICO_FIRST_UPDATE_MS / ours.median;
}

/** Goals of the best form and of pure TypeScript, from a ratio that has a row for each form. */
function byForm(
  what: string,
  [best, script]: readonly [number, number],
  source: (form: Form) => readonly [scenario: string, name: string],
  sign: '>=' | '<=' = '>=',
): Figure[] {
  return [
    [`${what} (best)`, sign, best, 'x', source('best')],
    [`${what} (TS)`, sign, script, 'x', source('TS')],
  ];
}

const replayed =
  (scenario: string, peer: string, isTracked = false) =>
  (form: Form) =>
    [scenario, over(peer, replayName(form, isTracked))] as const;
const matched = (scenario: string, peer: string) => (form: Form) => [scenario, over(peer, matchName(form))] as const;

const FIGURES: readonly Figure[] = [
  ...byForm('tcpdump reading : replay, e1k', [4, 3.5], replayed('e1k', TCPDUMP_READING)),
  ...byForm('the same with connection tracking, zipf', [2.3, 1.8], replayed('e1k-zipf', TCPDUMP_READING, true)),
  ...byForm('libpcap loop in C : replay, e1k', [3.8, 2.9], replayed('e1k', LIBPCAP)),
  ...byForm('tcpdump copying : replay, e1k', [7.2, 5], replayed('e1k', TCPDUMP_COPYING)),
  ...byForm('libpcap and rte_acl expanded : replay, g10', [6, 5], replayed('g10', LIBPCAP_ACL)),
  ...byForm('libpcap and rte_acl expanded : replay, g100', [7.5, 6], replayed('g100', LIBPCAP_ACL)),
  ...byForm('libpcap and rte_acl expanded : replay, g1k', [9, 8], replayed('g1k', LIBPCAP_ACL)),
  ...byForm('rte_acl by class ids : match, g10', [6, 3], matched('match-g10', ACL_CLASSES)),
  ...byForm('rte_acl by class ids : match, g1k', [5, 2.5], matched('match-g1k', ACL_CLASSES)),
  ...byForm('rte_acl by class ids : match, e1k', [4.5, 2.4], matched('match-e1k', ACL_CLASSES)),
  ...byForm('rte_acl by class ids : match, e10k', [9, 4], matched('match-e10k', ACL_CLASSES)),
  ...byForm('eBPF, 100 rules of one endpoint : match, e1k', [800, 400], matched('match-e1k', EBPF)),
  ['ipset and iptables-restore : compile, e1k', '>=', 20, 'x', ['load-e1k', over(IPTABLES_LOAD, OBJECTS_TO_TABLES)]],
  ['one ipset element : one address to another owner', '>=', 15, 'x', ['load-e1k', over(IPSET_ELEMENT, ADDRESS_MOVED)]],
  [
    'one ipset element : one new address published',
    '>=',
    15,
    'x',
    ['load-e1k', over(IPSET_ELEMENT, ADDRESS_PUBLISHED)],
  ],
  ['labels of a service account, published', '<=', 2, 'ms', ['load-e1k', LABELS_PUBLISHED]],
  ["Calico's Go to its first update (stored) : JSON to tables, e1k", '>=', 8, 'x', calicoRatio],
  ...quotients(
    'e10k : e1k, replay',
    1.6,
    ['e10k', (form) => replayName(form, false)],
    ['e1k', (form) => replayName(form, false)],
  ),
  ...['e10', 'e100', 'e1k'].flatMap((shape) =>
    quotients(
      `overlapping : disjoint selectors, match ${shape}`,
      2,
      [`match-${shape}-ov`, matchName],
      [`match-${shape}`, matchName],
    ),
  ),
  ...byForm('one worker : two workers, e1k', [1.8, 1.8], (form) => [
    'e1k',
    over(replayName(form, false), replayName(form, false, 2)),
  ]),
  ['tables of e10k', '<=', 64, 'MB', ['match-e10k', TABLES]],
  ['allocated a packet (best)', '<=', 0.1, 'bytes', ['heap', heapName('best', false)]],
  ['allocated a packet (TS)', '<=', 0.1, 'bytes', ['heap', heapName('TS', false)]],
  ['allocated a packet with connection tracking (best)', '<=', 0.1, 'bytes', ['heap', heapName('best', true)]],
  ['kubectl dump of 250 000 pods, 10 000 policies', '<=', 15, 's', ['dump', DUMP_SECONDS]],
  ['the same, largest resident set', '<=', 3_000, 'MB', ['dump', RESIDENT]],
  ['eval of 100 000 flows, 1 000 pods, 200 policies', '<=', 3, 's', ['eval', EVAL_SECONDS]],
  ['replay of a lesson', '<=', 400, 'ms', ['start-up', LESSON]],
];

/** What `--figures` runs, in this order, and how often each. Memory-bound scenarios need more runs. */
export const FIGURE_SCENARIOS: readonly (readonly [scenario: string, rounds: number])[] = [
  ['start-up', 5],
  ['eval', 5],
  ['g10', 5],
  ['g100', 5],
  ['g1k', 5],
  ['e1k', 5],
  ['e1k-zipf', 5],
  ['e10k', 9],
  ['match-g10', 9],
  ['match-g1k', 9],
  ['match-e1k', 9],
  ['match-e10k', 9],
  ['match-e1k-ov', 9],
  ['match-e10', 5],
  ['match-e10-ov', 5],
  ['match-e100', 5],
  ['match-e100-ov', 5],
  ['load-e1k', 3],
  ['heap', 1],
  ['dump', 1],
];

export function figureRows(measurements: readonly Measurement[]): FigureRow[] {
  const find: Finder = (scenario, name) => measurements.find((row) => row.scenario === scenario && row.name === name);
  return FIGURES.map(([what, sign, goal, unit, source]) => {
    const shared = { what, goal, isAtMost: sign === '<=', unit };
    if (typeof source === 'function') return { ...shared, value: source(find), spread: undefined };
    const row = find(...source);
    const spread = row !== undefined && row.runs > 1 ? `${short(row.min)}..${short(row.max)}` : undefined;
    return { ...shared, value: row?.median, spread };
  });
}
