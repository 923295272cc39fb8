/**
 * What the packet loop allocates: the same replay over few and over many packets with `--trace-gc`. All that is allocated between
 * opening the capture and the end shows as growth from one collection to the next; the difference of the two runs, over the
 * difference in packets, is what a packet costs. A promise for each read of the file makes a few hundredths of a byte.
 */
import { type Measurement, measured } from './measurement.ts';
import { heapName } from './names.ts';
import { captureFile, clusterFile } from './prepare.ts';
import { progress } from './progress.ts';
import { type Form, type ReplayRun, runReplay } from './replay.ts';
import { scenarioOf } from './scenario.ts';
import { buildWorkload } from './workload.ts';

export function runHeap(packets: number, rounds: number): Measurement[] {
  const name = 'heap';
  const few = Math.round(packets / 10);
  const rows = (form: Form, traffic: 'e100' | 'e100-zipf', tracked: boolean): Measurement[] => {
    const scenario = scenarioOf(traffic);
    const workload = buildWorkload(scenario.shape);
    const cluster = clusterFile(workload);
    const [short, long] = [few, packets].map((count) => captureFile(scenario, workload, count));
    const samples = Array.from({ length: rounds }, (_, round) => {
      progress(`${name}: ${tracked ? 'tracked, ' : ''}${form}, round ${round + 1} of ${rounds}`);
      const [before, after] = [short!, long!].map((capture) => {
        return allocated(runReplay({ cluster, capture, form, tracked, nodeArgs: ['--trace-gc'] }));
      });
      return {
        bytes: ((after!.allocatedMb - before!.allocatedMb) * 2 ** 20) / (packets - few),
        runs: after!.count - before!.count,
      };
    });
    const suffix = `${tracked ? ', with connection tracking' : ''}, ${form}`;
    return [
      measured(
        name,
        heapName(form, tracked),
        'bytes/packet',
        samples.map(({ bytes }) => bytes),
      ),
      measured(
        name,
        `collections more in ${packets - few} packets more${suffix}`,
        'count',
        samples.map(({ runs }) => runs),
      ),
    ];
  };
  return [...rows('best', 'e100', false), ...rows('TS', 'e100', false), ...rows('best', 'e100-zipf', true)];
}

/**
 * Collections between two moments of a process, and the megabytes allocated: what the heap grew by from the end of each to the start of
 * the next. A line of the trace: `[1:0x5] 57 ms: Scavenge 4.2 (5.8) -> 3.9 (6.8) MB, …`
 */
export function allocated({ stdout, opened, ended }: Pick<ReplayRun, 'stdout' | 'opened' | 'ended'>): {
  readonly count: number;
  readonly allocatedMb: number;
} {
  let count = 0;
  let allocatedMb = 0;
  let afterMb = opened.heapBytes / 2 ** 20;
  for (const [, at, before, after] of stdout.matchAll(TRACE)) {
    if (Number(at) < opened.atMs) continue;
    count++;
    allocatedMb += Math.max(0, Number(before) - afterMb);
    afterMb = Number(after);
  }
  return { count, allocatedMb: allocatedMb + Math.max(0, ended.heapBytes / 2 ** 20 - afterMb) };
}

const TRACE = /\] +(\d+) ms: [^\n]*? ([\d.]+) \([\d.]+\) -> ([\d.]+) \([\d.]+\) MB/g;
