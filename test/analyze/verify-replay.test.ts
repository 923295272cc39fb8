/**
 * `verify` judges as `replay` does: on captures of one place without duplicates every packet has the same verdict, every connection the same
 * record, and what both observe agrees.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { ConnectionRecord } from '../../src/analyze/connections.ts';
import { replayCaptures } from '../../src/analyze/replay.ts';
import { verifyCaptures } from '../../src/analyze/verify.ts';
import type { VerifyRecord } from '../../src/analyze/verify-record.ts';
import { packPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables } from '../../src/tables/tables.ts';
import { LESSONS } from '../cli/support.ts';

const WORLDS = 'test/conformance/worlds';
const worlds = readdirSync(WORLDS)
  .slice(0, 12)
  .map((name) => ({ name, files: [`${WORLDS}/${name}/cluster.yaml`], capture: `${WORLDS}/${name}/packets.pcap` }));
const lessons = LESSONS.map((name) => ({
  name,
  files: [`pcaps/${name}/cluster.yaml`, `pcaps/${name}/policies.yaml`],
  capture: `pcaps/${name}/capture.pcapng`,
}));

/**
 * By what replay calls it. Refusals, and answers of connections that began before, are told apart by `verify` alone; ICMP errors about nothing
 * that is open are one-way to it.
 */
const OBSERVED: Readonly<Record<string, readonly string[]>> = {
  established: ['established'],
  answered: ['answered', 'half-open', 'refused', 'one-way'],
  refused: ['refused', 'rejected', 'unreachable', 'answered', 'no-answer', 'too-short'],
  'no-answer': ['no-answer', 'too-short', 'one-way'],
  midstream: ['midstream', 'one-way', 'answered', 'too-short', 'no-answer', 'refused'],
};

describe.each([...lessons, ...worlds])('verify and replay of $name', ({ files, capture }) => {
  test('agree', async () => {
    const { resources } = loadResources(files.map((name) => ({ name, text: readFileSync(name, 'utf8') })));
    const plan = planCluster(resources);
    const replayed: ConnectionRecord[] = [];
    const replay = await replayCaptures(openTables(packPlan(plan)), [capture], {
      onConnection: (record) => replayed.push(record),
    });
    const verified: VerifyRecord[] = [];
    const verify = await verifyCaptures(openTables(packPlan(plan)), [{ file: capture, point: { kind: 'unknown' } }], {
      plan,
      resources,
      onConnection: (record) => verified.push(record),
    });
    expect(verify.totals.seen_again).toBe(0);
    expect(verify.totals).toMatchObject(replay.totals);
    replayed.sort((a, b) => a.first_packet - b.first_packet);
    verified.sort((a, b) => a.first_packet - b.first_packet);
    const shared = (record: ConnectionRecord | VerifyRecord): unknown => {
      const { first_packet, packets, bytes, packets_by_action, community_id, start_time, end_time, action, reason } =
        record;
      return { first_packet, packets, bytes, packets_by_action, community_id, start_time, end_time, action, reason };
    };
    expect(verified.map(shared)).toEqual(replayed.map(shared));
    verified.forEach((record, i) => {
      const { observed } = replayed[i]!;
      expect(OBSERVED[observed], `${observed}: ${record.text}`).toContain(record.outcome);
    });
  });
});
