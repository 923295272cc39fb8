/** The kernel given the policy of e1k: how long loading takes, and one address more, beside what we take for the same. */
import { type Measurement, measured, ratio } from './measurement.ts';
import {
  ADDRESS_PUBLISHED,
  IPSET_ELEMENT,
  IPTABLES_LOAD,
  LABELS_PUBLISHED,
  NFT_LOAD,
  OBJECTS_TO_TABLES,
  over,
} from './names.ts';
import { runOnce } from './once.ts';
import { orSkipped } from './peers/build.ts';
import {
  inNamespace,
  type LoadTimes as KernelTimes,
  loadIptables,
  loadNftables,
  updateIpset,
} from './peers/netfilter.ts';
import { clusterFile } from './prepare.ts';
import { repeat, runCompile } from './scale.ts';
import { buildWorkload, shapeOf } from './workload.ts';

interface Updates {
  readonly addressUs: readonly number[];
  readonly accountUs: readonly number[];
  readonly podCount: number;
}

/** Ours with `withPeers` false; the ratios need root. */
export async function runKernel(
  name: string,
  rounds: number,
  withPeers: boolean,
  skipped: string[],
): Promise<Measurement[]> {
  const scenario = `load-${name}`;
  const workload = buildWorkload(shapeOf(name)!);
  const rows: Measurement[] = runCompile(name, rounds).map((row) => ({ ...row, scenario }));
  const ours = rows.find((row) => row.name === OBJECTS_TO_TABLES)!;
  const oursMs = Array.from({ length: rounds }, () => ours.median);

  const { addressUs, accountUs, podCount } = runOnce<Updates>('updates', [clusterFile(workload)]);
  rows.push(
    measured(scenario, ADDRESS_PUBLISHED, 'us', addressUs),
    measured(
      scenario,
      LABELS_PUBLISHED,
      'ms',
      accountUs.map((us) => us / 1000),
      { note: `${podCount} pods run as it` },
    ),
  );
  if (!withPeers) return rows;

  const elementNs: number[] = [];
  const iptables = await orSkipped(
    () =>
      repeat(`${scenario}: ipset and iptables`, rounds, () =>
        inNamespace((namespace): KernelTimes => {
          const times = loadIptables(workload, namespace);
          elementNs.push(updateIpset(workload, namespace));
          return times;
        }),
      ),
    skipped,
  );
  if (iptables !== undefined) {
    const total = iptables.map(({ ipsetMs, iptablesMs }) => ipsetMs + iptablesMs);
    const oursUs = [...addressUs].sort((a, b) => a - b)[addressUs.length >>> 1]!;
    rows.push(
      measured(
        scenario,
        'ipset restore',
        'ms',
        iptables.map(({ ipsetMs }) => ipsetMs),
      ),
      measured(
        scenario,
        'iptables-restore',
        'ms',
        iptables.map(({ iptablesMs }) => iptablesMs),
      ),
      measured(scenario, IPSET_ELEMENT, 'ns', elementNs),
      ratio(scenario, over(IPTABLES_LOAD, OBJECTS_TO_TABLES), total, oursMs),
      ratio(
        scenario,
        over(IPSET_ELEMENT, ADDRESS_PUBLISHED),
        elementNs,
        elementNs.map(() => oursUs * 1000),
      ),
    );
  }
  const nft = await orSkipped(
    () => repeat(`${scenario}: nftables`, rounds, () => inNamespace((namespace) => loadNftables(workload, namespace))),
    skipped,
  );
  if (nft !== undefined) {
    rows.push(measured(scenario, NFT_LOAD, 'ms', nft), ratio(scenario, over(NFT_LOAD, OBJECTS_TO_TABLES), nft, oursMs));
  }
  return rows;
}
