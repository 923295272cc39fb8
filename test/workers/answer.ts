/** What a replay says, as text, for comparing one worker's with several workers'. */
import { ruleCounts } from '../../src/analyze/counters.ts';
import { type ReplayOptions, replayCaptures } from '../../src/analyze/replay.ts';
import type { Tables } from '../../src/tables/tables.ts';

export interface Mode {
  readonly name: string;
  readonly prints: 'connections' | 'packets' | 'summary';
  readonly options: ReplayOptions;
}

const PRINTS = ['connections', 'packets', 'summary'] as const;

/** Everything that changes how the work is divided. */
export const MODES: readonly Mode[] = PRINTS.flatMap((prints) =>
  [false, true].flatMap((stateless) =>
    [false, true].map((decapsulate) => ({
      name: `${prints}${stateless ? ' stateless' : ''}${decapsulate ? ' decapsulated' : ''}`,
      prints,
      options: { ...(stateless ? { stateless } : {}), ...(decapsulate ? { decapsulate } : {}) },
    })),
  ),
);

/** The whole answer. */
export async function answerOf(
  tables: Tables,
  files: readonly string[],
  mode: Mode,
  workers: number,
  more: ReplayOptions = {},
): Promise<string> {
  const lines: string[] = [];
  const result = await replayCaptures(tables, files, {
    ...mode.options,
    ...(mode.prints === 'packets' ? { onPacket: (line) => lines.push(JSON.stringify(line)) } : {}),
    ...(mode.prints === 'connections' ? { onConnection: (record) => lines.push(JSON.stringify(record)) } : {}),
    // Threads for the smallest capture, and segments of a few packets.
    bytesPerWorker: 1,
    segmentBytes: 8000,
    // One worker tracks one by one; several in batches, from the start or from some packet on.
    trackedBatchesFrom: workers === 1 ? Number.POSITIVE_INFINITY : workers === 2 ? 0 : 700,
    ...more,
    workers,
  });
  const { totals, sources, interrupted, evictedConnections, counters } = result;
  const rest = { totals, sources, interrupted, evictedConnections, rules: ruleCounts(tables, counters) };
  return [...lines, JSON.stringify(rest, null, 1)].join('\n');
}
