import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createNaive, naiveSums } from '../../bench/naive.ts';
import { parseScenario, scenarioOf } from '../../bench/scenario.ts';
import {
  buildWorkload,
  firstRuleOf,
  rulesOf,
  SHAPE_NAMES,
  shapeOf,
  TUPLE_WORDS,
  type Workload,
} from '../../bench/workload.ts';
import { workloadJson } from '../../bench/workload-cluster.ts';
import { type CaptureShape, drawTuples, writeCapture } from '../../bench/workload-traffic.ts';

const workloadOf = (name: string, seed?: number): Workload => buildWorkload(shapeOf(name)!, seed);
const hash = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex').slice(0, 16);

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-bench-test-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function capture(workload: Workload, shape: CaptureShape, name = 'capture.pcap'): Buffer {
  const path = join(folder, name);
  writeCapture(path, workload, shape);
  return readFileSync(path);
}

// Stored results are of no use if the same names stand for other packets: whoever changes a generator changes the folder's name
// in bench/paths.ts and these.
describe('from the same seed come the same', () => {
  test('cluster and packets, today as ever', () => {
    const workload = workloadOf('g100');
    expect(hash(workloadJson(workload))).toMatchInlineSnapshot(`"e19acfc649f8ba05"`);
    expect(hash(capture(workload, { packets: 1000, traffic: 'uniform', sizes: 'snap60' }))).toMatchInlineSnapshot(
      `"2de5d043143bacdf"`,
    );
    expect(hash(capture(workload, { packets: 1000, traffic: 'zipf', sizes: 'mixed' }))).toMatchInlineSnapshot(
      `"229993f5f9163ac1"`,
    );
    expect(hash(capture(workload, { packets: 1000, traffic: 'talk', sizes: 'snap60' }))).toMatchInlineSnapshot(
      `"24cc0884c3bf71a0"`,
    );
  });

  test('and from another seed others', () => {
    expect(workloadJson(workloadOf('g10', 1))).not.toBe(workloadJson(workloadOf('g10', 2)));
    expect(drawTuples(workloadOf('g10'), 'uniform', 10, 3)).not.toEqual(
      drawTuples(workloadOf('g10'), 'uniform', 10, 2),
    );
  });

  test('so that a short capture is the beginning of a long one', () => {
    const workload = workloadOf('g10');
    const [short, long] = [100, 300].map((packets) =>
      capture(workload, { packets, traffic: 'uniform', sizes: 'mixed' }),
    );
    expect(long!.subarray(0, short!.length)).toEqual(short);
  });
});

describe('the shapes', () => {
  test.each([
    ['g10', 10, 4, 1],
    ['g100', 100, 25, 1],
    ['g1k', 1_000, 250, 1],
    ['g10k', 10_000, 1_000, 1],
    ['g100k', 100_000, 1_000, 1],
    ['e10', 1_000, 250, 5],
    ['e100', 1_000, 250, 20],
    ['e1k', 10_000, 1_000, 100],
    ['e10k', 100_000, 1_000, 1_000],
  ])('%s: %i rules, %i sets, %i accounts', (name, rules, sets, accounts) => {
    expect(shapeOf(name)).toMatchObject({ rules, sets, accounts, overlapping: false });
    expect(SHAPE_NAMES).toContain(name);
  });

  test('names of scenarios say the rest', () => {
    expect(scenarioOf('e1k-ov-zipf-mixed')).toMatchObject({ traffic: 'zipf', sizes: 'mixed' });
    expect(scenarioOf('e1k-ov').shape.overlapping).toBe(true);
    expect(scenarioOf('g10').traffic).toBe('uniform');
    expect(parseScenario('e1k-mixed-ov')).toBeUndefined();
    expect(() => scenarioOf('e2k')).toThrow("no shape in 'e2k'");
  });

  test('rules of an account are the ones that floor(i * accounts / rules) gives it', () => {
    const workload = workloadOf('e100');
    const { rules, accounts } = workload.shape;
    for (let account = 0; account < accounts; account++) {
      const own = workload.rules.filter((_, i) => Math.floor((i * accounts) / rules) === account);
      expect(rulesOf(workload, account)).toEqual(own);
      expect(workload.rules[firstRuleOf(workload.shape, account)]).toBe(own[0]);
    }
  });
});

describe('addresses and sets', () => {
  const workload = workloadOf('e1k');

  test('lie in /26 blocks of 10/8, 50 of 64 in use, four of five blocks next to the one before', () => {
    const all = [...workload.pods, ...workload.endpoints];
    expect(new Set(all).size).toBe(all.length);
    expect(all.every((address) => address >>> 24 === 10)).toBe(true);
    const blocks = new Map<number, number>();
    for (const address of all) {
      blocks.set(address >>> 6, (blocks.get(address >>> 6) ?? 0) + 1);
    }
    expect([...blocks.values()].filter((count) => count !== 50)).toHaveLength(all.length % 50 === 0 ? 0 : 1);
    const sorted = [...blocks.keys()].sort((a, b) => a - b);
    const steps = sorted.slice(1).map((block, i) => block - sorted[i]!);
    expect(Math.max(...steps)).toBe(9);
    expect(steps.filter((step) => step === 1).length / steps.length).toBeCloseTo(0.8, 1);
  });

  test('sizes are log-uniform from 10 to 1000: a third of the sets below 46', () => {
    const sizes = workload.sets.map(({ length }) => length);
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(10);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1000);
    expect(sizes.filter((size) => size < 46).length / sizes.length).toBeCloseTo(1 / 3, 1);
    expect(workload.pods.length).toBeGreaterThan(190_000);
    expect(workload.pods.length).toBeLessThan(240_000);
  });

  test('sets share nothing, and do where selectors overlap', () => {
    const members = (of: Workload): number => new Set(of.sets.flatMap((set) => [...set])).size;
    const total = (of: Workload): number => of.sets.reduce((sum, set) => sum + set.length, 0);
    expect(members(workload)).toBe(total(workload));
    const overlapping = workloadOf('g1k-ov');
    expect(members(overlapping)).toBeLessThan(total(overlapping) * 0.8);
    for (const set of overlapping.sets) expect(new Set(set).size).toBe(set.length);
  });

  test('rules: 75 % TCP, 80 % allow, ports 70 % of 64 services, 20 % ranges, 10 % node ports', () => {
    const { rules } = workload;
    const share = (test: (rule: (typeof rules)[number]) => boolean): number => rules.filter(test).length / rules.length;
    expect(share(({ protocol }) => protocol === 6)).toBeCloseTo(0.75, 1);
    expect(share(({ allow }) => allow)).toBeCloseTo(0.8, 1);
    expect(share(({ low, high }) => low === 30_000 && high === 32_767)).toBeCloseTo(0.1, 1);
    const ranges = rules.filter(({ low, high }) => high > low && high - low < 200);
    expect(ranges.length / rules.length).toBeCloseTo(0.2, 1);
    for (const { low } of ranges) expect(low).toBeGreaterThanOrEqual(1024);
    expect(
      new Set(rules.filter(({ low, high }) => low === high && low <= 10_000).map(({ low }) => low)).size,
    ).toBeLessThan(300);
  });
});

describe('packets', () => {
  const COUNT = 20_000;

  test('hit a rule in about 69 of 100 cases', () => {
    for (const name of ['g10', 'g100', 'e100']) {
      const workload = workloadOf(name);
      const { hits } = naiveSums(createNaive(workload), drawTuples(workload, 'uniform', COUNT), COUNT);
      expect(hits / COUNT).toBeGreaterThan(0.62);
      expect(hits / COUNT).toBeLessThan(0.8);
    }
  });

  test('of zipf come from 100 000 flows, the first of them with weight 1/12', () => {
    const tuples = drawTuples(workloadOf('g100'), 'zipf', COUNT);
    const counts = new Map<string, number>();
    for (let at = 0; at < tuples.length; at += TUPLE_WORDS) {
      const key = tuples.subarray(at, at + TUPLE_WORDS).join();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const byCount = [...counts.values()].sort((a, b) => b - a);
    expect(byCount[0]! / COUNT).toBeCloseTo(1 / 12.09, 1);
    expect(byCount[0]! / byCount[1]!).toBeGreaterThan(1.5);
  });

  test('in a file are those in memory', () => {
    const workload = workloadOf('g10');
    const bytes = capture(workload, { packets: 500, traffic: 'talk', sizes: 'mixed' });
    const tuples = drawTuples(workload, 'talk', 500);
    let at = 24;
    for (let i = 0; i < 500; i++) {
      const ip = at + 16 + 14;
      const protocol = bytes[ip + 9]!;
      const read = [
        bytes.readInt32BE(ip + 12),
        bytes.readInt32BE(ip + 16),
        protocol,
        bytes.readUInt16BE(ip + 20),
        bytes.readUInt16BE(ip + 22),
        protocol === 6 ? bytes[ip + 33]! : 0,
      ];
      expect(read).toEqual([...tuples.subarray(i * TUPLE_WORDS, (i + 1) * TUPLE_WORDS)]);
      at += 16 + bytes.readUInt32LE(at + 8);
    }
    expect(at).toBe(bytes.length);
  });

  test('are 76 bytes each at 60 of snap length, or 7:4:1 of 64, 594 and 1518', () => {
    const workload = workloadOf('g10');
    capture(workload, { packets: 1200, traffic: 'uniform', sizes: 'snap60' }, 'snap.pcap');
    expect(statSync(join(folder, 'snap.pcap')).size).toBe(24 + 1200 * 76);
    const bytes = capture(workload, { packets: 12_000, traffic: 'uniform', sizes: 'mixed' });
    const counts = new Map<number, number>();
    for (let at = 24; at < bytes.length; ) {
      const size = bytes.readUInt32LE(at + 8);
      counts.set(size, (counts.get(size) ?? 0) + 1);
      at += 16 + size;
    }
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual([64, 594, 1518]);
    expect(counts.get(64)! / 12_000).toBeCloseTo(7 / 12, 1);
    expect(counts.get(1518)! / 12_000).toBeCloseTo(1 / 12, 1);
  });

  test('of talk answer what is allowed and nothing else', () => {
    const workload = workloadOf('g10');
    const naive = createNaive(workload);
    const tuples = drawTuples(workload, 'talk', COUNT);
    const protectedPods = new Set(workload.endpoints);
    let replies = 0;
    for (let at = 0; at < tuples.length; at += TUPLE_WORDS) {
      const [src, dst, protocol, srcPort, dstPort] = tuples.subarray(at, at + TUPLE_WORDS);
      if (protectedPods.has(dst!)) continue;
      replies++;
      expect(naive.judge(dst!, src!, protocol!, srcPort!).allow, `${dstPort}`).toBe(true);
    }
    expect(replies).toBeGreaterThan(COUNT / 20);
  });
});
