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

/** `pods` pods of 100 accounts with addresses from 10.0.0.1 on, the first hundredth on node n1, and a policy for each account. */
export function nodeCluster(pods: number): string {
  return kept(`node-${pods}.json`, (path) => {
    progress(`${pods.toLocaleString('en')} pods: writing their cluster`);
    const items: unknown[] = [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bench' } }];
    for (let i = 0; i < pods; i++) {
      const address = 0x0a000001 + i;
      const ip = [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
      const account = `a${i % 100}`;
      items.push({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: `p${i}`, namespace: 'bench', labels: { app: account } },
        spec: {
          nodeName: i < pods / 100 ? 'n1' : `n${2 + (i % 99)}`,
          serviceAccountName: account,
          containers: [{ name: 'c', image: 'x' }],
        },
        status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
      });
    }
    for (let i = 0; i < 100; i++) {
      items.push({
        apiVersion: 'projectcalico.org/v3',
        kind: 'NetworkPolicy',
        metadata: { name: `a${i}`, namespace: 'bench' },
        spec: {
          serviceAccountSelector: `projectcalico.org/name == "a${i}"`,
          types: ['Ingress'],
          ingress: [{ action: 'Allow', source: { serviceAccounts: { names: [`a${(i + 99) % 100}`] } } }],
        },
      });
    }
    writeFileSync(path, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
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
