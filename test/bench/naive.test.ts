import { describe, expect, test } from 'vitest';
import { CHECKED_PACKETS, compareSums, replaySums, ruleNumber } from '../../bench/agree.ts';
import { createBatchJudge } from '../../bench/children/batch.ts';
import { createNaive, naiveMatches, naiveSums } from '../../bench/naive.ts';
import { buildWorkload, shapeOf, type Workload } from '../../bench/workload.ts';
import { workloadJson } from '../../bench/workload-cluster.ts';
import { drawTuples } from '../../bench/workload-traffic.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';

const [CLIENT, STRANGER, SERVER] = [0x0a000041, 0x0a0000ff, 0x0a000081];

/** One client, one server, two rules: deny tcp 80, then allow tcp 80-90. */
function smallWorkload(): Workload {
  const shape = { name: 'small', rules: 2, sets: 1, endpoints: 1, accounts: 1, overlapping: false };
  return {
    shape,
    sets: [Int32Array.of(CLIENT)],
    pods: Int32Array.of(CLIENT),
    endpoints: Int32Array.of(SERVER),
    rules: [
      { set: 0, protocol: 6, low: 80, high: 80, allow: false },
      { set: 0, protocol: 6, low: 80, high: 90, allow: true },
    ],
  };
}

function tablesOf(workload: Workload): Tables {
  const { resources, errors } = loadResources([{ name: 'cluster.json', text: workloadJson(workload) }]);
  expect(errors).toEqual([]);
  return openTables(compile(resources));
}

describe('the naive reference', () => {
  test('takes the first rule that matches', () => {
    const { judge } = createNaive(smallWorkload());
    expect(judge(CLIENT, SERVER, 6, 80)).toEqual({ allow: false, rule: 0 });
    expect(judge(CLIENT, SERVER, 6, 81)).toEqual({ allow: true, rule: 1 });
    expect(judge(CLIENT, SERVER, 6, 91)).toEqual({ allow: false, rule: -1 });
    expect(judge(CLIENT, SERVER, 17, 81)).toEqual({ allow: false, rule: -1 });
    expect(judge(STRANGER, SERVER, 6, 81)).toEqual({ allow: false, rule: -1 });
  });

  test('denies tcp 65535 on its way out of a client, and of no one else', () => {
    const workload = smallWorkload();
    const open = { ...workload, rules: [{ set: 0, protocol: 6, low: 1, high: 65_535, allow: true }] } as const;
    const naive = createNaive({ ...open, shape: { ...workload.shape, rules: 1 } });
    expect(naive.judge(CLIENT, SERVER, 6, 65_535)).toEqual({ allow: false, rule: -1 });
    expect(naive.match(CLIENT, SERVER, 6, 65_535)).toBe(0);
    expect(naive.judge(CLIENT, SERVER, 6, 65_534)).toEqual({ allow: true, rule: 0 });
  });

  const byAccount = { name: 'by account', rules: 200, sets: 25, endpoints: 20, accounts: 10, overlapping: false };
  test.each([
    shapeOf('g10')!,
    shapeOf('g100')!,
    byAccount,
    { ...byAccount, name: 'by account, overlapping', overlapping: true },
  ])('agrees with the tables on $name, rule for rule', (shape) => {
    const workload = buildWorkload(shape);
    const tuples = drawTuples(workload, 'uniform', CHECKED_PACKETS);
    const { pass, sums } = createBatchJudge(tablesOf(workload), tuples);
    pass(CHECKED_PACKETS);
    const naive = createNaive(workload);
    const expected = naiveSums(naive, tuples, CHECKED_PACKETS);
    expect(sums(workload.shape)).toEqual(expected);
    // The egress policy takes some away that a classifier without it lets through to the rules.
    expect(naiveMatches(naive, tuples, CHECKED_PACKETS).hits).toBeGreaterThanOrEqual(expected.hits);
  });

  // A bench that would time wrong answers must fail: one rule turned round, two rules exchanged.
  test('notices a rule that decides otherwise', () => {
    const workload = buildWorkload(shapeOf('g10')!);
    const tuples = drawTuples(workload, 'uniform', CHECKED_PACKETS);
    const expected = naiveSums(createNaive(workload), tuples, CHECKED_PACKETS);
    const judged = (rules: Workload['rules']): (() => void) => {
      const { pass, sums } = createBatchJudge(tablesOf({ ...workload, rules }), tuples);
      pass(CHECKED_PACKETS);
      return () => compareSums('changed', sums(workload.shape), expected);
    };
    const [first, second, ...rest] = workload.rules;
    expect(judged(workload.rules)).not.toThrow();
    expect(judged([{ ...first!, allow: !first!.allow }, second!, ...rest])).toThrow('changed: allow is');
    expect(judged([second!, first!, ...rest])).toThrow('nothing is timed that judges differently');
  });
});

describe('sums of a replay', () => {
  const shape = shapeOf('e1k')!;

  test('number rules through all policies', () => {
    expect(ruleNumber(shape, 'np:bench/d0', 3, 'ingress')).toBe(3);
    expect(ruleNumber(shape, 'np:bench/d7', 3, 'ingress')).toBe(703);
    expect(ruleNumber(shape, 'np:bench/d7', -1, 'ingress')).toBe(-1);
    expect(ruleNumber(shape, 'gnp:clients', 0, 'egress')).toBe(-1);
  });

  test('weigh packets by the rule that decided', () => {
    const totals = { packets: 10, allow: 7, deny: 3 };
    const rules = [
      { policy: 'np:bench/d1', index: 0, direction: 'ingress', packets: 7 },
      { policy: 'np:bench/d1', index: -1, direction: 'ingress', packets: 2 },
      { policy: 'gnp:clients', index: 0, direction: 'egress', packets: 1 },
    ];
    expect(replaySums(shape, { totals, rules })).toEqual({ packets: 10, allow: 7, hits: 7, sum: 7 * 101 });
  });
});
