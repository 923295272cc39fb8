/**
 * Captures that anybody may have made: damaged ones, and the test files of the tcpdump project (outside the repository; skipped by name where
 * they are absent). Nothing crashes, every packet is counted once, annotated files are whole.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { VerdictLog, writeAnnotated } from '../../src/analyze/annotate.ts';
import type { CaptureInput } from '../../src/analyze/capture-places.ts';
import { type VerifyResult, verifyCaptures } from '../../src/analyze/verify.ts';
import { packPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import { openCapture } from '../../src/packets/pcap-file.ts';
import { createRecordBatch } from '../../src/packets/source.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import { openTables } from '../../src/tables/tables.ts';

const OTHERS = new URL('../../../shared/captures/tcpdump', import.meta.url).pathname;
const isHere = existsSync(OTHERS);
const WORLDS = new URL('../conformance/worlds/', import.meta.url);
const MUTATIONS = 60;
const SEED = 20_261_126;

const world = new URL(`${readdirSync(WORLDS)[0]}/`, WORLDS);
const { resources } = loadResources([
  { name: 'cluster.yaml', text: readFileSync(new URL('cluster.yaml', world), 'utf8') },
]);
const plan = planCluster(resources);
const tables = openTables(packPlan(plan));
const folder = mkdtempSync(join(tmpdir(), 'margay-hostile-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function verifyFiles(captures: readonly CaptureInput[], log?: VerdictLog): Promise<VerifyResult> {
  let connections = 0;
  const result = await verifyCaptures(tables, captures, {
    plan,
    resources,
    conntrackEntries: 256,
    connectionEntries: 64,
    sightingEntries: 64,
    onConnection: (record, id) => {
      connections++;
      log?.connection(record, id);
      expect(record.evidence.length).toBeLessThanOrEqual(12);
    },
    ...(log === undefined ? {} : { onPacket: (packet) => log.packet(packet) }),
  });
  const { totals } = result;
  const read = result.captures.reduce((sum, capture) => sum + capture.packets, 0);
  const { allow, deny, unpoliced, uncertain, undecoded, seen_again } = totals;
  expect(totals.packets).toBe(read);
  expect(allow + deny + unpoliced + uncertain + undecoded + seen_again).toBe(read);
  expect(totals.connections).toBe(connections);
  expect(result.matrix.reduce((sum, cell) => sum + cell.connections, 0)).toBe(connections);
  expect(result.matrix.reduce((sum, cell) => sum + cell.findings, 0)).toBe(totals.leaks + totals.blocked);
  return result;
}

async function packetCount(file: string): Promise<number> {
  const reader = await openCapture(file);
  const batch = createRecordBatch();
  do while (reader.next(batch) > 0);
  while (await reader.fill());
  expect(reader.error).toBeUndefined();
  reader.close();
  return reader.packetsRead;
}

describe('hostile captures', () => {
  test('damaged ones, two at a time', async () => {
    const random = new Xorshift32(SEED);
    const good = readFileSync(new URL('packets.pcap', world));
    let seenAgain = 0;
    for (let i = 0; i < MUTATIONS; i++) {
      const captures = [0, 1].map((which): CaptureInput => {
        const bytes = Buffer.from(good.subarray(0, 24 + random.below(20_000)));
        for (let n = random.below(12); n > 0; n--)
          bytes[24 + random.below(Math.max(1, bytes.length - 24))] = random.below(256);
        const file = join(folder, `${which}.pcap`);
        writeFileSync(file, bytes);
        return { file, point: { kind: (['unknown', 'sent', 'delivered'] as const)[random.below(3)]! } };
      });
      seenAgain += (await verifyFiles(captures)).totals.seen_again;
    }
    expect(seenAgain).toBeGreaterThan(1000);
  });

  test.skipIf(!isHere)(
    `those of the tcpdump project, one by one and all at once, annotated${isHere ? '' : ' (skipped: ../shared/captures is absent)'}`,
    async () => {
      const files = readdirSync(OTHERS)
        .filter((name) => /\.pcap(ng)?$/.test(name))
        .map((name) => join(OTHERS, name));
      expect(files.length).toBeGreaterThan(300);
      let packets = 0;
      for (const file of files) packets += (await verifyFiles([{ file, point: { kind: 'unknown' } }])).totals.packets;
      const log = new VerdictLog();
      try {
        const some = files.slice(0, 100).map((file): CaptureInput => ({ file, point: { kind: 'unknown' } }));
        const result = await verifyFiles(some, log);
        const annotated = join(folder, 'annotated.pcapng');
        const written = await writeAnnotated(result, log, { all: annotated });
        expect(written.get(annotated)).toBe(result.totals.packets);
        expect(await packetCount(annotated)).toBe(result.totals.packets);
      } finally {
        log.close();
      }
      expect(packets).toBeGreaterThan(3000);
    },
  );
});
