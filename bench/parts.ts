/** The parts by themselves, with tinybench: selectors, compile, one lookup, a batch, decoding. All of them on the cluster of e100. */
import { Bench } from 'tinybench';
import { packPlan } from '../src/compile/pack.ts';
import { planCluster } from '../src/compile/plan-cluster.ts';
import { judgeNewPacket } from '../src/match/judge.ts';
import { createPlainJudge, createScriptLoops, judgePlain } from '../src/match/plain.ts';
import { layOutDirect } from '../src/match/plain-direct.ts';
import { createJudge } from '../src/match/state.ts';
import { openCapture } from '../src/packets/pcap-file.ts';
import { BATCH_RECORDS, createRecordBatch } from '../src/packets/source.ts';
import { parseSelector } from '../src/selector/selector.ts';
import { openTables } from '../src/tables/tables.ts';
import { decodeBatch } from '../src/wire/decode.ts';
import { createPlainColumns, readPlain } from '../src/wire/plain.ts';
import { PACKET_WORDS } from '../src/wire/record.ts';
import { loadCluster } from './children/load.ts';
import type { Measurement } from './measurement.ts';
import { prepare } from './prepare.ts';
import { scenarioOf } from './scenario.ts';

const SELECTOR =
  'projectcalico.org/serviceaccount in {"api", "web"} && has(tier) && !(env == "dev" || env starts with "x")';
const NS_PER_MS = 1e6;

export async function runParts(): Promise<Measurement[]> {
  const prepared = prepare(scenarioOf('e100'), 1_000);
  const { resources } = loadCluster(prepared.cluster);
  const plan = planCluster(resources);
  const buffer = packPlan(plan);
  const tables = openTables(buffer);
  const batch = createRecordBatch();
  const reader = await openCapture(prepared.capture);
  while (reader.next(batch) === 0) if (!(await reader.fill())) throw new Error('the capture of the parts is empty');
  const columns = createPlainColumns(BATCH_RECORDS);
  const plain = createPlainJudge(tables, createScriptLoops(tables, columns, layOutDirect(tables)));
  const judge = createJudge(tables);
  const records = new Int32Array(BATCH_RECORDS * PACKET_WORDS);
  const { view, offsets, capturedBytes, wireBytes, linkTypes, count } = batch;
  decodeBatch(view, offsets, capturedBytes, wireBytes, linkTypes, count, records);
  readPlain(columns, view, offsets, capturedBytes, wireBytes, linkTypes, count);
  const selector = parseSelector(SELECTOR);
  const labels = { 'projectcalico.org/serviceaccount': 'web', tier: 'front', env: 'prod' };
  let sink = 0;

  // A compile takes most of a second: a few of them, not the 64 runs that tinybench makes at least.
  const slow = new Bench({ time: 0, iterations: 5, warmupTime: 0, warmupIterations: 1 });
  slow
    .add('compile: objects to plan', () => {
      sink += planCluster(resources).groups.length;
    })
    .add('compile: plan to tables', () => {
      sink += packPlan(plan).byteLength;
    })
    .add('tables: open and check', () => {
      sink += openTables(buffer).counts.length;
    });
  const fast = new Bench({ time: 300, warmupTime: 100 });
  fast
    .add('selector: parse', () => {
      sink += parseSelector(SELECTOR).id.length;
    })
    .add('selector: evaluate', () => {
      sink += selector.matches(labels) ? 1 : 0;
    })
    .add(`wire: decode ${count} frames`, () => {
      decodeBatch(view, offsets, capturedBytes, wireBytes, linkTypes, count, records);
    })
    .add(`wire: ${count} plain frames`, () => {
      readPlain(columns, view, offsets, capturedBytes, wireBytes, linkTypes, count);
    })
    .add(`match: ${count} plain frames, both checks`, () => {
      judgePlain(plain, columns.count, columns.byteCount);
    })
    .add('match: one packet over the rows', () => {
      sink += judgeNewPacket(judge, records, 0);
    });
  await slow.run();
  await fast.run();
  reader.close();
  if (!Number.isFinite(sink)) throw new Error('a part answered no number');
  return [...slow.tasks, ...fast.tasks].map(({ name, result }) => {
    if (!('latency' in result)) throw new Error(`${name} was not timed`);
    const { p50, min, max, samplesCount } = result.latency;
    const [median, least, most] = [p50, min, max].map((ms) => ms * NS_PER_MS);
    return { scenario: 'parts', name, unit: 'ns', median: median!, min: least!, max: most!, runs: samplesCount };
  });
}
