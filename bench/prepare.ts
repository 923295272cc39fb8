/** Builds what a scenario needs, once: the cluster as one JSON file and a capture, kept in the system's temporary folder. */
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildWorkload, SHAPES, type Workload, workloadJson, writeCapture } from './workload.ts';

export interface Prepared {
  readonly scenario: string;
  readonly workload: Workload;
  readonly cluster: string;
  readonly capture: string;
  readonly packets: number;
}

export type Traffic = 'uniform' | 'zipf';

/** Files are named by everything that they depend on, so a second run uses them as they are. */
export function prepare(scenario: string, packets: number, traffic: Traffic = 'uniform'): Prepared {
  const shape = SHAPES.get(scenario);
  if (shape === undefined) {
    throw new Error(`unknown scenario ${scenario}; use start-up, parts or one of ${[...SHAPES.keys()].join(', ')}`);
  }
  const folder = join(tmpdir(), 'margay-bench');
  mkdirSync(folder, { recursive: true });
  const workload = buildWorkload(shape);
  const cluster = join(folder, `${scenario}.json`);
  const capture = join(folder, `${scenario}-${traffic}-${packets}.pcap`);
  if (!existsSync(cluster)) finish(cluster, (path) => writeFileSync(path, workloadJson(workload)));
  if (!existsSync(capture))
    finish(capture, (path) => writeCapture(path, workload, { packets, traffic, sizes: 'snap60' }));
  return { scenario, workload, cluster, capture, packets };
}

/** No half-written file under the final name. */
function finish(path: string, write: (temporary: string) => void): void {
  write(`${path}.part`);
  renameSync(`${path}.part`, path);
}
