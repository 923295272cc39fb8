/**
 * From the policy of a shape to something that judges packets: our tables beside the kernel's, round by round; and what a change takes.
 *
 * The kernel is given rules and sets as they would come out of Calico's agent, and we the objects that they come from: what ours
 * takes from the text on is in rows of its own.
 */
import { type Measurement, measured, ratio } from './measurement.ts';
import {
  ADDRESS_MOVED,
  ADDRESS_PUBLISHED,
  byAgent,
  IPSET_ELEMENT,
  IPTABLES_LOAD,
  LABELS_PUBLISHED,
  NFT_LOAD,
  OBJECTS_TO_TABLES,
  over,
} from './names.ts';
import { runOnce } from './once.ts';
import { orSkipped } from './peers/build.ts';
import { inNamespace, loadIptables, loadNftables, updateIpset } from './peers/netfilter.ts';
import { clusterFile } from './prepare.ts';
import { progress } from './progress.ts';
import { type CompileTimes, compileMs, compileOnce, compileRows } from './scale.ts';
import { buildWorkload, shapeOf, type Workload } from './workload.ts';

interface Updates {
  readonly moveNs: readonly number[];
  readonly addressUs: readonly number[];
  readonly accountUs: readonly number[];
  readonly agentAddressUs: readonly number[];
  readonly agentAccountUs: readonly number[];
  readonly podCount: number;
}

interface KernelRun {
  readonly ipsetMs: number;
  readonly iptablesMs: number;
  readonly elementNs: number;
}

export async function runKernel(
  name: string,
  rounds: number,
  withPeers: boolean,
  skipped: string[],
): Promise<Measurement[]> {
  const scenario = `load-${name}`;
  const shape = shapeOf(name);
  if (shape === undefined) throw new Error(`no shape '${name}' to load`);
  const workload = buildWorkload(shape);
  const compiles: CompileTimes[] = [];
  const netfilter: KernelRun[] = [];
  const nftMs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    progress(`${scenario}: round ${round + 1} of ${rounds}`);
    compiles.push(compileOnce(name));
    if (!withPeers) continue;
    const run = await orSkipped(() => inNamespace((namespace) => runNetfilter(workload, namespace)), skipped);
    if (run !== undefined) netfilter.push(run);
    const nft = await orSkipped(() => inNamespace((namespace) => loadNftables(workload, namespace)), skipped);
    if (nft !== undefined) nftMs.push(nft);
  }
  progress(`${scenario}: changes`);
  const updates = runOnce<Updates>('updates', [clusterFile(workload)]);
  return [
    ...compileRows(scenario, compiles),
    ...updateRows(scenario, updates),
    ...netfilterRows(scenario, netfilter, compiles, updates),
    ...nftRows(scenario, nftMs, compiles),
  ];
}

function runNetfilter(workload: Workload, namespace: string): KernelRun {
  const times = loadIptables(workload, namespace);
  return { ...times, elementNs: updateIpset(workload, namespace) };
}

function updateRows(scenario: string, updates: Updates): Measurement[] {
  const { moveNs, addressUs, agentAddressUs, podCount } = updates;
  const [accountMs, agentMs] = [updates.accountUs, updates.agentAccountUs].map((all) => all.map((us) => us / 1000));
  const note = `${podCount} pods run as it`;
  return [
    measured(scenario, ADDRESS_MOVED, 'ns', moveNs),
    measured(scenario, ADDRESS_PUBLISHED, 'us', addressUs),
    measured(scenario, LABELS_PUBLISHED, 'ms', accountMs!, { note }),
    measured(scenario, byAgent(ADDRESS_PUBLISHED), 'us', agentAddressUs),
    measured(scenario, byAgent(LABELS_PUBLISHED), 'ms', agentMs!, { note }),
  ];
}

function netfilterRows(
  scenario: string,
  runs: readonly KernelRun[],
  compiles: readonly CompileTimes[],
  { moveNs, addressUs }: Updates,
): Measurement[] {
  if (runs.length === 0) return [];
  const totalMs = runs.map(({ ipsetMs, iptablesMs }) => ipsetMs + iptablesMs);
  const elementNs = runs.map((run) => run.elementNs);
  const ipsetMs = runs.map((run) => run.ipsetMs);
  const iptablesMs = runs.map((run) => run.iptablesMs);
  // Ours is measured in one sitting, many times: its median stands beside each round of theirs.
  const element = (ours: string, ns: readonly number[]): Measurement => {
    const { median } = measured(scenario, ours, 'ns', ns);
    return ratio(
      scenario,
      over(IPSET_ELEMENT, ours),
      elementNs,
      elementNs.map(() => median),
    );
  };
  return [
    measured(scenario, 'ipset restore', 'ms', ipsetMs),
    measured(scenario, 'iptables-restore', 'ms', iptablesMs),
    measured(scenario, IPSET_ELEMENT, 'ns', elementNs),
    ratio(scenario, over(IPTABLES_LOAD, OBJECTS_TO_TABLES), totalMs, compiles.map(compileMs)),
    element(ADDRESS_MOVED, moveNs),
    element(
      ADDRESS_PUBLISHED,
      addressUs.map((us) => us * 1000),
    ),
  ];
}

function nftRows(scenario: string, nftMs: readonly number[], compiles: readonly CompileTimes[]): Measurement[] {
  if (nftMs.length === 0) return [];
  return [
    measured(scenario, NFT_LOAD, 'ms', nftMs),
    ratio(scenario, over(NFT_LOAD, OBJECTS_TO_TABLES), nftMs, compiles.map(compileMs)),
  ];
}
