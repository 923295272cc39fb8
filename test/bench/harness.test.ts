import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { alternate } from '../../bench/alternate.ts';
import { compareResults } from '../../bench/compare.ts';
import { FIGURE_SCENARIOS, figureRows } from '../../bench/figures.ts';
import { allocated } from '../../bench/heap.ts';
import { type Measurement, measured, type Results, ratio } from '../../bench/measurement.ts';
import { matchName, over, replayName, TCPDUMP_READING } from '../../bench/names.ts';
import { orSkipped, PeerMissing } from '../../bench/peers/build.ts';
import type { ClockEvent } from '../../bench/replay.ts';
import { printFigures, printTable } from '../../bench/report.ts';
import { Session } from '../../bench/session.ts';

const ROOT = join(import.meta.dirname, '../..');
/** A dozen processes, each of which takes a second and more on a busy machine. */
const WHOLE_RUN_MS = 300_000;

function results(measurements: readonly Measurement[], packets = 2000): Results {
  const machine = { cpu: 'x', cores: 2, memoryGiB: 1, system: 'x', node: 'v20', loadAverage: 0, versions: {} };
  return { date: '2026-11-25T00:00:00Z', command: 'x', seconds: 1, packets, machine, measurements, skipped: [] };
}

const row = (scenario: string, value: number): Measurement => measured(scenario, 'peer : ours', 'x', [value]);

describe('measurements', () => {
  test('give the median, of an even number of runs the mean of the middle two', () => {
    expect(measured('s', 'n', 'ns', [5, 1, 9])).toMatchObject({ median: 5, min: 1, max: 9, runs: 3 });
    expect(measured('s', 'n', 'ns', [4, 1, 9, 6]).median).toBe(5);
    expect(() => measured('s', 'n', 'ns', [])).toThrow('s: n was not run');
  });

  test('divide run by run, not median by median', () => {
    expect(ratio('s', 'n', [10, 30, 20], [10, 10, 10])).toMatchObject({ median: 2, min: 1, max: 3 });
    expect(ratio('s', 'n', [10, 40], [5, 10]).median).toBe(3);
  });

  test('alternate: every other round in reverse', async () => {
    const order: string[] = [];
    const runner = (name: string) => ({ name, run: () => order.push(name) });
    const values = await alternate('test', 3, [runner('a'), runner('b')]);
    expect(order.join('')).toBe('abbaab');
    expect([...values.keys()]).toEqual(['a', 'b']);
    expect(values.get('b')).toEqual([2, 3, 6]);
  });
});

describe('a comparison', () => {
  test('allows 10 % where tables stay in the caches, and 25 % where they do not', () => {
    const stored = results([row('e1k', 10), row('e10k', 10), row('match-e1k-ov', 10)]);
    const compare = (value: number): string[] =>
      compareResults(stored, results([row('e1k', value), row('e10k', value), row('match-e1k-ov', value)]))
        .text.trim()
        .split('\n')
        .map((line) => line.split(' ')[0]!);
    expect(compare(9.1)).toEqual(['ok', 'ok', 'ok']);
    expect(compare(8.9)).toEqual(['WORSE', 'ok', 'ok']);
    expect(compare(7.4)).toEqual(['WORSE', 'WORSE', 'WORSE']);
    expect(compare(20)).toEqual(['ok', 'ok', 'ok']);
  });

  test('takes a tolerance for all, prints both ratios, and knows what is new', () => {
    const { text, isWorse } = compareResults(results([row('e1k', 10)]), results([row('e1k', 6), row('g10', 3)]), 50);
    expect(isWorse).toBe(false);
    expect(text).toContain('e1k: peer : ours: 10.00 x, now 6.00 x (-40 %, allowed -50 %)');
    expect(text).toContain('new    g10: peer : ours: 3.00 x');
  });

  test('is refused between captures of other lengths', () => {
    const { text, isWorse } = compareResults(results([row('e1k', 10)], 10_000_000), results([row('e1k', 1)]));
    expect(isWorse).toBe(false);
    expect(text).toContain('not comparable: 10000000 packets are stored, 2000 were run');
  });

  test('compares ratios alone', () => {
    const { text, isWorse } = compareResults(
      results([measured('g10', 'replay', 'ns/packet', [10])]),
      results([measured('g10', 'replay', 'ns/packet', [90])]),
    );
    expect(isWorse).toBe(false);
    expect(text).toContain('no ratios to compare');
  });
});

// The whole of it once, as users start it: what is stored decides the exit code, and the results say what was measured where.
describe('npm run bench', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'margay-bench-test-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const bench = (...args: string[]): { status: number | null; stdout: string; stderr: string } => {
    const command = ['bench/run.mjs', '--no-build', ...args];
    return spawnSync(process.execPath, command, {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...process.env, MARGAY_BENCH_DIR: folder },
    });
  };

  test(
    'exits 1 if a ratio is worse than the stored one',
    () => {
      const name = over(TCPDUMP_READING, replayName('TS', false));
      const stored = (value: number): string => {
        const path = join(folder, `stored-${value}.json`);
        writeFileSync(path, JSON.stringify(results([measured('g10', name, 'x', [value])])));
        return path;
      };
      const out = join(folder, 'out.json');
      const small = ['--scenario', 'g10', '--packets', '2000', '--runs', '1', '--peers', '--out', out];
      const worse = bench(...small, '--compare', stored(1e9));
      expect(worse.stderr).not.toContain('g10 failed');
      if (/skipped: tcpdump/.test(worse.stderr)) return expect(worse.stdout).toContain('tcpdump not installed');
      expect(worse.stdout).toContain(`WORSE  g10: ${name}`);
      expect(worse.status).toBe(1);
      const { measurements, machine, command } = JSON.parse(readFileSync(out, 'utf8')) as Results;
      expect(machine.node).toBe(process.version);
      expect(machine.versions.tcpdump).toMatch(/^\d/);
      expect(command).toContain('--scenario g10');
      const replay = measurements.find((found) => found.name === replayName('TS', false))!;
      expect(replay.command).toContain('replay --summary --stateless --exit-zero');
      expect(replay.median).toBeGreaterThan(0);
      expect(measurements.some(({ name: row }) => row.includes(': stage '))).toBe(true);
    },
    WHOLE_RUN_MS,
  );

  test('exits 0 if none is worse', () => {
    const path = join(folder, 'stored.json');
    writeFileSync(path, JSON.stringify(results([row('compile-g10', 1e9)], 10_000_000)));
    const { status, stdout } = bench('--scenario', 'compile-g10', '--runs', '1', '--out', '-', '--compare', path);
    expect(stdout).toContain('no ratios to compare');
    expect(status).toBe(0);
  });

  test('names a scenario that there is not, and fails', () => {
    const { status, stderr } = bench('--scenario', 'e2k', '--out', '-');
    expect(stderr).toContain("no scenario 'e2k'");
    expect(status).toBe(1);
  });

  test('--help lists scenarios and options', () => {
    const { status, stdout } = bench('--help');
    expect(status).toBe(0);
    for (const word of ['--figures', '--install-peers', 'match-SHAPE', 'dump']) expect(stdout).toContain(word);
  });
});

describe('the table of figures', () => {
  const rows = [
    measured('e1k', over(TCPDUMP_READING, replayName('TS', false)), 'x', [3.9, 4, 4.1]),
    measured('match-e1k', matchName('TS'), 'ns/packet', [10]),
    measured('match-e1k-ov', matchName('TS'), 'ns/packet', [25]),
  ];

  test('says of each whether it is reached, and what was not measured', () => {
    const figures = figureRows(rows);
    expect(figures.find(({ what }) => what === 'tcpdump reading : replay, e1k (TS)')).toMatchObject({
      value: 4,
      spread: '3.90..4.10',
    });
    expect(figures.find(({ what }) => /^overlapping.*e1k.*TS/.test(what))).toMatchObject({
      value: 2.5,
      isAtMost: true,
    });
    expect(figures.find(({ what }) => what === 'tables of e10k')!.value).toBeUndefined();
    const text = printFigures(results(rows), figures);
    expect(text).toMatch(/tcpdump reading : replay, e1k \(TS\) +│ +>= 3.5 x │ +4.00 x \(3.90..4.10\) │ yes/);
    expect(text).toMatch(/overlapping : disjoint.*TS.* 2.50 x │ NO/);
    expect(text).toMatch(/tables of e10k .* not measured │ -/);
    expect(text).toContain('no figures of record: captures of 2,000 packets');
    expect(printFigures(results(rows, 10_000_000), figures)).not.toContain('no figures of record');
  });

  test('has every scenario once among those that --figures runs', () => {
    const names = FIGURE_SCENARIOS.map(([name]) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const [, rounds] of FIGURE_SCENARIOS) expect(rounds).toBeGreaterThan(0);
  });

  test('and results are printed with what was left out', () => {
    const text = printTable({ ...results(rows), skipped: ['rte_acl: not installed'] });
    expect(text).toContain('skipped: rte_acl: not installed');
    expect(text).toContain('match-e1k-ov');
  });
});

describe('peers', () => {
  test('that are missing are named and left out; other errors are errors', async () => {
    const skipped: string[] = [];
    const missing = (): never => {
      throw new PeerMissing('nobody: not installed');
    };
    expect(await orSkipped(missing, skipped)).toBeUndefined();
    expect(skipped).toEqual(['nobody: not installed']);
    await expect(orSkipped(() => Promise.reject(new Error('wrong answer')), skipped)).rejects.toThrow('wrong answer');
  });

  test('stay as sessions: ready once, an answer for each run, their last words if they end', async () => {
    const script = `
      console.log('talk of a library');
      console.log(JSON.stringify({ ready: 7 }));
      require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
        if (line === 'die') { console.error('no more'); process.exit(3); }
        console.log(JSON.stringify({ got: line }));
      });`;
    const session = await Session.start<{ ready: number }, { got: string }>('echo', process.execPath, ['-e', script]);
    expect(session.ready.ready).toBe(7);
    expect(await session.run()).toEqual({ got: 'run' });
    expect(await session.run('run fast 3')).toEqual({ got: 'run fast 3' });
    await expect(session.run('die')).rejects.toThrow('echo ended: no more');
    session.close();
    await expect(Session.start('mute', process.execPath, ['-e', 'process.exit(1)'])).rejects.toThrow('mute ended');
    await expect(Session.start('absent', '/nonexistent/program', [])).rejects.toThrow('ENOENT');
  });
});

describe('allocation', () => {
  const event = (name: ClockEvent['event'], atMs: number, heapMb: number): ClockEvent => ({
    event: name,
    atMs,
    startedMs: 0,
    cpuMs: 0,
    heapBytes: heapMb * 2 ** 20,
    maxRssBytes: 0,
  });

  test('is what the heap grew between collections after the capture was opened', () => {
    const stdout = [
      '[77:0x5ec0]       24 ms: Scavenge 40.0 (50.0) -> 5.0 (50.0) MB, 1.2 / 0.0 ms  (average mu = 1.000) allocation failure;',
      '[77:0x5ec0]      124 ms: Scavenge 16.0 (50.0) -> 6.5 (50.0) MB, 1.2 / 0.0 ms  (average mu = 1.000) task;',
      '{',
      '}',
      '[77:0x5ec0]      324 ms: Mark-Compact 10.5 (50.0) -> 6.0 (50.0) MB, 1.2 / 0.0 ms  (average mu = 1.000) external;',
    ].join('\n');
    const opened = event('opened', 100, 12);
    expect(allocated({ stdout, opened, ended: event('ended', 400, 7) })).toEqual({ count: 2, allocatedMb: 4 + 4 + 1 });
    expect(allocated({ stdout: '', opened, ended: event('ended', 400, 12) })).toEqual({ count: 0, allocatedMb: 0 });
  });
});
