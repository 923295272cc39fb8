/**
 * The naive reference of the bench: rules in a row, the first that matches wins. It reads the workload itself, not the cluster
 * that is made from it, and knows nothing of loading, compiling or tables.
 *
 * The sum of a run is over all its packets: index + 1 of the ingress rule that decided (numbered through all policies), 0 if none
 * did. Two runs that agree in the number of packets allowed, in the hits and in this sum agree rule for rule, but by a freak.
 */
import { firstRuleOf, rulesOf, TUPLE_WORDS, type Workload, type WorkloadRule } from './workload.ts';

export interface NaiveVerdict {
  readonly allow: boolean;
  /** Number of the deciding ingress rule through all policies, or -1: the default, or denied on its way out. */
  readonly rule: number;
}

export interface Naive {
  readonly judge: (src: number, dst: number, protocol: number, port: number) => NaiveVerdict;
  /** The ingress check alone, as a classifier sees it that holds no egress policy. */
  readonly match: (src: number, dst: number, protocol: number, port: number) => number;
}

export interface Sums {
  packets: number;
  allow: number;
  /** Packets that an ingress rule decided. */
  hits: number;
  sum: number;
}

const TCP = 6;
/** The one rule of the egress policy that denies. */
const DENIED_PORT = 65_535;
const NO_RULE = -1;

export function createNaive(workload: Workload): Naive {
  const { shape } = workload;
  const members = workload.sets.map((set) => new Set(set));
  const clients = new Set(workload.pods);
  const accountOf = new Map<number, number>();
  workload.endpoints.forEach((address, index) => {
    accountOf.set(address, index % shape.accounts);
  });
  const policies = Array.from({ length: shape.accounts }, (_, account) => rulesOf(workload, account));
  const matches = (rule: WorkloadRule, src: number, protocol: number, port: number): boolean =>
    port >= rule.low && port <= rule.high && protocol === rule.protocol && members[rule.set]!.has(src);

  const match = (src: number, dst: number, protocol: number, port: number): number => {
    const account = accountOf.get(dst);
    if (account === undefined) return NO_RULE;
    const index = policies[account]!.findIndex((rule) => matches(rule, src, protocol, port));
    return index < 0 ? NO_RULE : firstRuleOf(shape, account) + index;
  };
  const judge = (src: number, dst: number, protocol: number, port: number): NaiveVerdict => {
    if (clients.has(src) && protocol === TCP && port === DENIED_PORT) return { allow: false, rule: NO_RULE };
    const rule = match(src, dst, protocol, port);
    return { allow: rule !== NO_RULE && workload.rules[rule]!.allow, rule };
  };
  return { judge, match };
}

/** Both checks over the first `count` packets. */
export function naiveSums(naive: Naive, tuples: Int32Array, count: number): Sums {
  const sums: Sums = { packets: count, allow: 0, hits: 0, sum: 0 };
  for (let at = 0; at < count * TUPLE_WORDS; at += TUPLE_WORDS) {
    const { allow, rule } = naive.judge(tuples[at]!, tuples[at + 1]!, tuples[at + 2]!, tuples[at + 4]!);
    if (allow) sums.allow++;
    if (rule >= 0) sums.hits++;
    sums.sum += rule + 1;
  }
  return sums;
}

/** The ingress check alone over the first `count` packets: hits and sum of a classifier that holds no more. */
export function naiveMatches(naive: Naive, tuples: Int32Array, count: number): Pick<Sums, 'packets' | 'hits' | 'sum'> {
  const sums = { packets: count, hits: 0, sum: 0 };
  for (let at = 0; at < count * TUPLE_WORDS; at += TUPLE_WORDS) {
    const rule = naive.match(tuples[at]!, tuples[at + 1]!, tuples[at + 2]!, tuples[at + 4]!);
    if (rule >= 0) sums.hits++;
    sums.sum += rule + 1;
  }
  return sums;
}
