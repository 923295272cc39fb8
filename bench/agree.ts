/** The check before anything is timed: our answers are those of the naive reference, rule for rule. */
import type { Naive, Sums } from './naive.ts';
import { naiveSums } from './naive.ts';
import { captureFile, type Prepared } from './prepare.ts';
import { type Form, type ReplayAnswer, runReplay } from './replay.ts';
import { firstRuleOf, type Shape } from './workload.ts';
import { drawTuples } from './workload-traffic.ts';

/** Packets of the check, in whole bursts of 256; a naive pass of g10k takes 0.6 s for them. */
export const CHECKED_PACKETS = 20_480;

/** The same for a peer that takes them one by one. */
export const CHECKED_TUPLES = 2_048;

/**
 * Replays the first packets of the scenario and compares packets, allowed ones, hits and the weighted sum of rule numbers.
 * Throws if they differ. Conversations answer to connection tracking as well, so their flows are checked as first packets.
 */
export function checkReplay(prepared: Prepared, naive: Naive, form: Form): void {
  const { scenario, workload } = prepared;
  const traffic = scenario.traffic === 'talk' ? 'zipf' : scenario.traffic;
  const capture = captureFile({ ...scenario, traffic }, workload, CHECKED_PACKETS);
  const { answer } = runReplay({ cluster: prepared.cluster, capture, form });
  const expected = naiveSums(naive, drawTuples(workload, traffic, CHECKED_PACKETS), CHECKED_PACKETS);
  compareSums(`${scenario.name}, replay (${form})`, replaySums(workload.shape, answer), expected);
}

/** The sums of a replay's counts a rule. */
export function replaySums(shape: Shape, { totals, rules }: ReplayAnswer): Sums {
  const sums: Sums = { packets: totals.allow + totals.deny, allow: totals.allow, hits: 0, sum: 0 };
  for (const { policy, index, direction, packets } of rules) {
    const rule = ruleNumber(shape, policy, index, direction);
    if (rule < 0) continue;
    sums.hits += packets;
    sums.sum += (rule + 1) * packets;
  }
  return sums;
}

/** Number through all policies of an ingress rule of the protected pods' policies (`np:bench/d7`, index 3); -1 for others. */
export function ruleNumber(shape: Shape, policy = '', index = -1, direction = ''): number {
  const account = /^np:bench\/d(\d+)$/.exec(policy);
  if (account === null || direction !== 'ingress' || index < 0) return -1;
  return firstRuleOf(shape, Number(account[1])) + index;
}

/** Throws an error that shows both where they differ. */
export function compareSums(what: string, ours: Partial<Sums>, naive: Sums): void {
  for (const [key, value] of Object.entries(ours)) {
    const expected = naive[key as keyof Sums];
    if (value === expected) continue;
    throw new Error(
      `${what}: ${key} is ${value}, the naive reference says ${expected}; nothing is timed that judges differently\n` +
        `  ours  ${JSON.stringify(ours)}\n  naive ${JSON.stringify(naive)}`,
    );
  }
}
