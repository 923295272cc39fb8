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

type HeapTraffic = 'e100' | 'e100-zipf';

const NAME = 'heap';

export function runHeap(packets: number, rounds: number): Measurement[] {
  return [
    ...heapRows('best', 'e100', packets, rounds),
    ...heapRows('TS', 'e100', packets, rounds),
    ...heapRows('best', 'e100-zipf', packets, rounds),
  ];
}

/** Writes the files alone. */
export function prepareHeap(packets: number): void {
  for (const traffic of ['e100', 'e100-zipf'] as const) heapFiles(traffic, packets);
}

/** The cluster, and a capture of a tenth of the packets beside the whole one. */
function heapFiles(
  traffic: HeapTraffic,
  packets: number,
): { cluster: string; short: string; long: string; few: number } {
  const scenario = scenarioOf(traffic);
  const workload = buildWorkload(scenario.shape);
  const few = Math.round(packets / 10);
  return {
    cluster: clusterFile(workload),
    short: captureFile(scenario, workload, few),
    long: captureFile(scenario, workload, packets),
    few,
  };
}

/** With connection tracking where flows come again. */
function heapRows(form: Form, traffic: HeapTraffic, packets: number, rounds: number): Measurement[] {
  const tracked = traffic === 'e100-zipf';
  const { cluster, short, long, few } = heapFiles(traffic, packets);
  const replay = (capture: string): ReturnType<typeof allocated> =>
    allocated(runReplay({ cluster, capture, form, tracked, nodeArgs: ['--trace-gc'] }));
  const bytes: number[] = [];
  const counts: number[] = [];
  for (let round = 0; round < rounds; round++) {
    progress(`${NAME}: ${tracked ? 'tracked, ' : ''}${form}, round ${round + 1} of ${rounds}`);
    const [before, after] = [replay(short), replay(long)];
    bytes.push(((after.allocatedMb - before.allocatedMb) * 2 ** 20) / (packets - few));
    counts.push(after.count - before.count);
  }
  const name = heapName(form, tracked);
  return [
    measured(NAME, name, 'bytes/packet', bytes),
    measured(NAME, `${name}: collections more for ${packets - few} packets more`, 'count', counts),
  ];
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
