/** Match alone, as a session: loads and compiles a scenario's cluster, then judges the same packets in memory when told to. */
import { CHECKED_PACKETS, compareSums } from '../agree.ts';
import { createNaive, naiveSums, type Sums } from '../naive.ts';
import { clusterFile } from '../prepare.ts';
import { scenarioOf } from '../scenario.ts';
import { serveSession } from '../session.ts';
import { buildWorkload } from '../workload.ts';
import { drawTuples } from '../workload-traffic.ts';
import { createBatchJudge } from './batch.ts';
import { openCluster } from './load.ts';

/** Of one run: a single pass over a million packets takes ten milliseconds, which an interrupt can double. */
const PASSES = 5;

const [, , name = '', count = ''] = process.argv;
const packets = Number(count);
const { shape, traffic } = scenarioOf(name);
const workload = buildWorkload(shape);
const { tables, times } = openCluster(clusterFile(workload));
const tuples = drawTuples(workload, traffic, packets);
const { pass, sums } = createBatchJudge(tables, tuples);

const checked = Math.min(CHECKED_PACKETS, packets);
pass(checked);
compareSums(`${name}, match`, sums(shape), naiveSums(createNaive(workload), tuples, checked));
// Once over all, so that the first timed pass runs as the others do.
pass(packets);
const { hits, sum } = sums(shape);

await serveSession({ ...times, hits, sum }, () => {
  const start = performance.now();
  for (let i = 0; i < PASSES; i++) pass(packets);
  const ns = ((performance.now() - start) * 1e6) / PASSES;
  const again = meanOf(sums(shape));
  if (again.hits !== hits || again.sum !== sum) throw new Error(`${name}: two passes over the same packets differ`);
  return { ns, packets };
});

function meanOf(all: Sums): Sums {
  return { packets: all.packets / PASSES, allow: all.allow / PASSES, hits: all.hits / PASSES, sum: all.sum / PASSES };
}
