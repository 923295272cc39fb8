/** Builds what a scenario needs, once: the cluster as one JSON file, and captures. A second run uses the files as they are. */
import { writeFileSync } from 'node:fs';
import { kept } from './paths.ts';
import { progress } from './progress.ts';
import type { Scenario } from './scenario.ts';
import { buildWorkload, type Workload } from './workload.ts';
import { workloadJson } from './workload-cluster.ts';
import { captureHeader, writeCapture } from './workload-traffic.ts';

export interface Prepared {
  readonly scenario: Scenario;
  readonly workload: Workload;
  /** Paths. */
  readonly cluster: string;
  readonly capture: string;
  readonly packets: number;
}

export function prepare(scenario: Scenario, packets: number): Prepared {
  const workload = buildWorkload(scenario.shape);
  return {
    scenario,
    workload,
    cluster: clusterFile(workload),
    capture: captureFile(scenario, workload, packets),
    packets,
  };
}

export function clusterFile(workload: Workload): string {
  const { name } = workload.shape;
  return kept(`${name}.json`, (path) => {
    progress(`${name}: writing its cluster`);
    writeFileSync(path, workloadJson(workload));
  });
}

/** The scenario's traffic; a smaller number of packets is the beginning of a larger one. */
export function captureFile({ name, traffic, sizes }: Scenario, workload: Workload, packets: number): string {
  return kept(`${workload.shape.name}-${traffic}-${sizes}-${packets}.pcap`, (path) => {
    progress(`${name}: writing ${packets.toLocaleString('en')} packets`);
    writeCapture(path, workload, { packets, traffic, sizes });
  });
}

/** A capture without packets. */
export function emptyCapture(): string {
  return kept('empty.pcap', (path) => writeFileSync(path, captureHeader(262_144)));
}
