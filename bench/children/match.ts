/** Match alone, as a session: loads and compiles a scenario's cluster, then judges the same packets in memory when told to. */
import { CHECKED_PACKETS, compareSums } from '../agree.ts';
import { createNaive, naiveSums, type Sums } from '../naive.ts';
import { clusterFile } from '../prepare.ts';
import { FORMS } from '../replay.ts';
import { scenarioOf } from '../scenario.ts';
import { serveSession } from '../session.ts';
import { buildWorkload } from '../workload.ts';
import { drawTuples } from '../workload-traffic.ts';
import { type BatchJudge, createBatchJudge } from './batch.ts';
import { openCluster } from './load.ts';

/** Of one run: a single pass over a million packets takes ten milliseconds, which an interrupt can double. */
const PASSES = 5;

const [, , name = '', count = ''] = process.argv;
const packets = Number(count);
const { shape, traffic } = scenarioOf(name);
const workload = buildWorkload(shape);
const { tables, times } = openCluster(clusterFile(workload));
const tuples = drawTuples(workload, traffic, packets);
const checked = Math.min(CHECKED_PACKETS, packets);
const expected = naiveSums(createNaive(workload), tuples, checked);
const whole = new Map<string, Sums>();
const judges = new Map<string, BatchJudge>(FORMS.map((form) => [form, createBatchJudge(tables, tuples, form)]));
for (const [form, { pass, sums }] of judges) {
  pass(checked);
  compareSums(`${name}, match (${form})`, sums(shape), expected);
  // Once over all, so that the first timed pass runs as the others do.
  pass(packets);
  whole.set(form, sums(shape));
}

/** Reads `run FORM`. */
await serveSession(times, ([, form = '']) => {
  const { pass, sums } = judges.get(form)!;
  const start = performance.now();
  const startCpu = process.cpuUsage();
  for (let i = 0; i < PASSES; i++) pass(packets);
  const ns = ((performance.now() - start) * 1e6) / PASSES;
  const { user, system } = process.cpuUsage(startCpu);
  const cpuNs = ((user + system) * 1000) / PASSES;
  compareSums(`${name}, match (${form}), a later pass`, meanOf(sums(shape)), whole.get(form)!);
  return { ns, cpuNs, packets };
});

function meanOf(all: Sums): Sums {
  return { packets: all.packets / PASSES, allow: all.allow / PASSES, hits: all.hits / PASSES, sum: all.sum / PASSES };
}
