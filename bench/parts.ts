/** The parts by themselves, with tinybench: selectors, compile, lookups, batches, connection tracking. */
import { readFileSync } from 'node:fs';
import { Bench } from 'tinybench';
import { packPlan } from '../src/compile/pack.ts';
import { planCluster } from '../src/compile/plan-cluster.ts';
import { loadResources } from '../src/load/load.ts';
import { judgeNewPacket } from '../src/match/judge.ts';
import { createPlainJudge, judgePlain } from '../src/match/plain.ts';
import { createJudge } from '../src/match/state.ts';
import { openCapture } from '../src/packets/pcap-file.ts';
import { BATCH_RECORDS, createRecordBatch } from '../src/packets/source.ts';
import { parseSelector } from '../src/selector/selector.ts';
import { openTables } from '../src/tables/tables.ts';
import { decodeBatch } from '../src/wire/decode.ts';
import { createPlainColumns, readPlain } from '../src/wire/plain.ts';
import { PACKET_WORDS } from '../src/wire/record.ts';
import { type Measurement, measured } from './measurement.ts';
import type { Prepared } from './prepare.ts';

const SELECTOR =
  'projectcalico.org/serviceaccount in {"api", "web"} && has(tier) && !(env == "dev" || env starts with "x")';

export async function runParts(prepared: Prepared): Promise<Measurement[]> {
  const text = readFileSync(prepared.cluster, 'utf8');
  const { resources } = loadResources([{ name: 'cluster.json', text }]);
  const plan = planCluster(resources);
  const buffer = packPlan(plan);
  const tables = openTables(buffer);
  const reader = await openCapture(prepared.capture);
  const batch = createRecordBatch();
  await reader.fill();
  reader.next(batch);
  const columns = createPlainColumns(BATCH_RECORDS);
  const plain = createPlainJudge(tables, BATCH_RECORDS);
  const judge = createJudge(tables);
  const records = new Int32Array(BATCH_RECORDS * PACKET_WORDS);
  const { view, offsets, capturedBytes, wireBytes, linkTypes, count } = batch;
  decodeBatch(view, offsets, capturedBytes, wireBytes, linkTypes, count, records);
  readPlain(columns, view, offsets, capturedBytes, wireBytes, linkTypes, count);
  const selector = parseSelector(SELECTOR);
  const labels = { 'projectcalico.org/serviceaccount': 'web', tier: 'front', env: 'prod' };
  let sink = 0;

  const bench = new Bench({ time: 300, warmupTime: 100 });
  bench
    .add('selector: parse', () => {
      sink += parseSelector(SELECTOR).id.length;
    })
    .add('selector: evaluate', () => {
      sink += selector.matches(labels) ? 1 : 0;
    })
    .add('compile: objects to plan', () => {
      sink += planCluster(resources).groups.length;
    })
    .add('compile: plan to tables', () => {
      sink += packPlan(plan).byteLength;
    })
    .add('tables: open and check', () => {
      sink += openTables(buffer).counts.length;
    })
    .add('wire: decode 256 frames', () => {
      decodeBatch(view, offsets, capturedBytes, wireBytes, linkTypes, count, records);
    })
    .add('wire: 256 plain frames', () => {
      readPlain(columns, view, offsets, capturedBytes, wireBytes, linkTypes, count);
    })
    .add('match: 256 plain frames, both checks', () => {
      judgePlain(plain, columns.src, columns.dst, columns.ports, columns.frames, columns.count, wireBytes);
    })
    .add('match: one packet over the rows', () => {
      sink += judgeNewPacket(judge, records, 0);
    });
  await bench.run();
  reader.close();
  process.stderr.write(`sink ${sink % 7}\n`);
  return bench.tasks.map((task) => {
    const result = task.result;
    if (!('latency' in result)) throw new Error(`${task.name} was not timed`);
    const { p50, min, max, samplesCount } = result.latency;
    const row = measured('parts (e100)', task.name, 'ns', [p50 * 1e6]);
    return { ...row, min: min * 1e6, max: max * 1e6, runs: samplesCount };
  });
}
