/** `replay --stats`: what is measured, and where it is said. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ReplayStats, STAGE_NAMES, STAGE_SLOW, StageTimes, statsOf } from '../../src/analyze/stage-times.ts';
import { buildFrame } from '../../src/packets/synthetic.ts';
import { writePcap } from '../../src/packets/write.ts';
import { capture, margay } from '../cli/support.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';

describe('samples', () => {
  test('stand for those that are not measured', () => {
    const times = new StageTimes();
    const taken = Array.from({ length: 64 }, () => times.takesBatch(0));
    expect(taken.filter(Boolean)).toHaveLength(4);
    expect(Array.from({ length: 64 }, () => times.takesBatch(1)).filter(Boolean)).toHaveLength(4);
    expect(Array.from({ length: 128 }, () => times.takesPacket()).filter(Boolean)).toHaveLength(2);
    times.addMs(STAGE_SLOW, 10, 0);
    expect(times.ms[STAGE_SLOW]).toBe(640);
    // Looking at the clock is taken off, and nothing becomes less than nothing.
    times.addMs(STAGE_SLOW, 0, 1000);
    expect(times.ms[STAGE_SLOW]).toBe(640);
    const { stages, packets, workers } = statsOf(times, performance.now(), 7, 2);
    expect([stages, packets, workers]).toEqual([{ 'slow path': 0.64 }, 7, 2]);
    times.addAll(times.take());
    expect(times.ms[STAGE_SLOW]).toBe(640);
  });
});

describe('the command line', () => {
  let folder: string;
  let big: string;
  let removeEntries: () => void;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'margay-stats-'));
    big = join(folder, 'big.pcap');
    const bytes = buildFrame({ src: 0x0a00_0002, dst: 0x0a00_0001, protocol: 6, payload: new Uint8Array(4000) });
    writeFileSync(big, writePcap(Array.from({ length: 2300 }, () => ({ bytes }))));
    removeEntries = bundleThreadEntries();
  });
  afterAll(() => {
    removeEntries();
    rmSync(folder, { recursive: true });
  });

  test.each([[['--summary', '--stateless']], [['--summary']], [['--packets']], [[]]])(
    'names stages and puts them into the document: %j',
    async (mode) => {
      for (const workers of ['1', '2']) {
        const args = ['replay', ...capture('tiers').slice(0, 2), '-r', big, '-q', ...mode, '--workers', workers];
        const plain = await margay([...args, '-o', 'json']);
        const { code, stdout, stderr } = await margay([...args, '-o', 'json', '--stats']);
        expect([code, plain.stderr]).toEqual([0, '']);
        const { stats, ...document } = JSON.parse(stdout) as { stats: ReplayStats };
        expect(document).toEqual(JSON.parse(plain.stdout));
        expect(stats).toMatchObject({ packets: 2300, workers: Number(workers) });
        expect(stats.seconds).toBeGreaterThan(0);
        const names = Object.keys(stats.stages);
        expect(names).toEqual(expect.arrayContaining(['read', 'walk and parse']));
        expect(STAGE_NAMES).toEqual(expect.arrayContaining(names));
        expect(stderr).toMatch(
          /^margay: 2300 packets in \d+\.\d{3} s \(\S+ a second, (one thread|2 workers)\); the time/,
        );
        for (const name of names) expect(stderr).toContain(`  ${name} `);
      }
    },
  );
});
