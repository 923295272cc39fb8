/**
 * Every packet of the recorded conversations: what the kernel did to it (test/conformance/README.md), against the replay with
 * connection tracking by node and reassembly.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type PacketRecord, replayCaptures } from '../../src/analyze/replay.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables } from '../../src/tables/tables.ts';

const ROOT = new URL('../conformance/', import.meta.url);

for (const folder of ['basic', 'worlds']) {
  describe(folder, () => {
    for (const world of readdirSync(new URL(folder, ROOT))) {
      const directory = new URL(`${folder}/${world}/`, ROOT);
      if (!existsSync(new URL('packets.jsonl', directory))) continue;
      test(world, async () => {
        const text = readFileSync(new URL('cluster.yaml', directory), 'utf8');
        const tables = openTables(compile(loadResources([{ name: 'cluster.yaml', text }]).resources));
        const lines: PacketRecord[] = [];
        const capture = fileURLToPath(new URL('packets.pcap', directory));
        const result = await replayCaptures(tables, [capture], { onPacket: (line) => lines.push(line) });
        const expected = readFileSync(new URL('packets.jsonl', directory), 'utf8')
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as { packet: number; expect: string; note: string });
        const answer = (packet: number, action: string, note: string): string => `${packet} ${action} (${note})`;
        expect(lines.map((line, i) => answer(line.packet, line.action, expected[i]?.note ?? ''))).toEqual(
          expected.map((line) => answer(line.packet, line.expect, line.note)),
        );
        expect(result.totals.packets).toBe(expected.length);
        // Counts alone take batches (analyze/tracked-path.ts).
        expect((await replayCaptures(tables, [capture], { trackedBatchesFrom: 0 })).totals).toEqual(result.totals);
      });
    }
  });
}
