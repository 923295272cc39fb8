/**
 * The figures that the project wants to reach, each with where it is measured: one table says what is reached and what is not.
 *
 * Goals of pure TypeScript; a form of another kind gets its own rows from `FORMS`. Rows of two scenarios are ratios of medians.
 */
import type { Measurement } from './measurement.ts';
import {
  ACL_CLASSES,
  ADDRESS_PUBLISHED,
  DUMP_SECONDS,
  EBPF,
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

const REPLAY = replayName('TS', false);
const TRACKED = replayName('TS', true);
const MATCH = matchName('TS');

/** Median of one row over the median of another. */
function quotient(
  over: readonly [string, string],
  under: readonly [string, string],
): (find: Finder) => number | undefined {
  return (find) => {
    const [upper, lower] = [find(...over), find(...under)];
    return upper === undefined || lower === undefined ? undefined : upper.median / lower.median;
  };
}

function calicoRatio(find: Finder): number | undefined {
  const ours = find('load-e1k', TEXT_TO_TABLES);
  return ours === undefined ? undefined : CALICO_FIRST_UPDATE_MS / ours.median;
}

const FIGURES: readonly Figure[] = [
  ['tcpdump reading : replay, e1k', '>=', 3.5, 'x', ['e1k', over(TCPDUMP_READING, REPLAY)]],
  [
    'tcpdump reading : replay with connection tracking, e1k zipf',
    '>=',
    1.8,
    'x',
    ['e1k-zipf', over(TCPDUMP_READING, TRACKED)],
  ],
  ['libpcap loop in C : replay, e1k', '>=', 2.9, 'x', ['e1k', over(LIBPCAP, REPLAY)]],
  ['tcpdump copying : replay, e1k', '>=', 5, 'x', ['e1k', over(TCPDUMP_COPYING, REPLAY)]],
  ['libpcap and rte_acl expanded : replay, g10', '>=', 5, 'x', ['g10', over(LIBPCAP_ACL, REPLAY)]],
  ['libpcap and rte_acl expanded : replay, g100', '>=', 6, 'x', ['g100', over(LIBPCAP_ACL, REPLAY)]],
  ['libpcap and rte_acl expanded : replay, g1k', '>=', 8, 'x', ['g1k', over(LIBPCAP_ACL, REPLAY)]],
  ['rte_acl by class ids : match, g10', '>=', 3, 'x', ['match-g10', over(ACL_CLASSES, MATCH)]],
  ['rte_acl by class ids : match, g1k', '>=', 2.5, 'x', ['match-g1k', over(ACL_CLASSES, MATCH)]],
  ['rte_acl by class ids : match, e1k', '>=', 2.4, 'x', ['match-e1k', over(ACL_CLASSES, MATCH)]],
  ['rte_acl by class ids : match, e10k', '>=', 4, 'x', ['match-e10k', over(ACL_CLASSES, MATCH)]],
  ['eBPF, 100 rules of one endpoint : match, e1k', '>=', 400, 'x', ['match-e1k', over(EBPF, MATCH)]],
  ['ipset and iptables-restore : compile, e1k', '>=', 20, 'x', ['load-e1k', over(IPTABLES_LOAD, OBJECTS_TO_TABLES)]],
  ['one ipset element : one address published', '>=', 15, 'x', ['load-e1k', over(IPSET_ELEMENT, ADDRESS_PUBLISHED)]],
  ['labels of a service account, published', '<=', 2, 'ms', ['load-e1k', LABELS_PUBLISHED]],
  ["Calico's Go to its first update (stored) : JSON to tables, e1k", '>=', 8, 'x', calicoRatio],
  ['e10k : e1k, replay', '<=', 1.6, 'x', quotient(['e10k', REPLAY], ['e1k', REPLAY])],
  [
    'overlapping : disjoint selectors, match e1k',
    '<=',
    2,
    'x',
    quotient(['match-e1k-ov', MATCH], ['match-e1k', MATCH]),
  ],
  ['tables of e10k', '<=', 64, 'MB', ['match-e10k', TABLES]],
  ['allocated a packet', '<=', 0.1, 'bytes', ['heap', heapName(false)]],
  ['allocated a packet with connection tracking', '<=', 0.1, 'bytes', ['heap', heapName(true)]],
  ['kubectl dump of 250 000 pods, 10 000 policies', '<=', 15, 's', ['dump', DUMP_SECONDS]],
  ['the same, largest resident set', '<=', 3_000, 'MB', ['dump', RESIDENT]],
  ['replay of a lesson', '<=', 400, 'ms', ['start-up', LESSON]],
];

/** What `--figures` runs, in this order, and how often each. Memory-bound scenarios need more runs. */
export const FIGURE_SCENARIOS: readonly (readonly [scenario: string, rounds: number])[] = [
  ['start-up', 5],
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
