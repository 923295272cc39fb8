/**
 * The batch judge of match/plain.ts by itself: addresses and keys of all packets lie in memory. A batch of them is copied into the columns
 * that the judge reads, where the reader of frames would have put them; the copies (about half a nanosecond a packet) count as
 * ours. All that the bench knows of that file's functions is here.
 */
import { ruleCounts } from '../../src/analyze/counters.ts';
import { createWasmLane } from '../../src/analyze/wasm-lane.ts';
import { createCounters } from '../../src/match/counters.ts';
import { createPlainJudge, createScriptLoops, foldPlainCounts, judgePlain } from '../../src/match/plain.ts';
import { layOutDirect } from '../../src/match/plain-direct.ts';
import { VERDICT_ALLOW, VERDICT_DENY } from '../../src/model/flow.ts';
import { BATCH_RECORDS } from '../../src/packets/source.ts';
import type { Tables } from '../../src/tables/tables.ts';
import { createPlainColumns } from '../../src/wire/plain.ts';
import { replaySums } from '../agree.ts';
import type { Sums } from '../naive.ts';
import type { Form } from '../replay.ts';
import { type Shape, TUPLE_WORDS } from '../workload.ts';

export interface BatchJudge {
  /** Judges the first `count` packets. */
  readonly pass: (count: number) => void;
  /** What the passes since the last call counted. Throws if packets were left to the full path, whose time is not in a pass. */
  readonly sums: (shape: Shape) => Sums;
}

interface Batch {
  readonly src: Int32Array;
  readonly dst: Int32Array;
  readonly keys: Int32Array;
}

const FRAME_BYTES = 60;
const UDP = 17;

/** `best` takes the WebAssembly form where there is one for these tables. */
export function createBatchJudge(tables: Tables, tuples: Int32Array, form: Form = 'TS'): BatchJudge {
  const lane = form === 'best' ? createWasmLane(tables) : undefined;
  const columns = lane?.columns ?? createPlainColumns(BATCH_RECORDS);
  columns.bytes.fill(FRAME_BYTES);
  const judge = createPlainJudge(tables, lane?.loops ?? createScriptLoops(tables, columns, layOutDirect(tables)));
  const packets = tuples.length / TUPLE_WORDS;
  const batches = Array.from({ length: Math.ceil(packets / BATCH_RECORDS) }, (_, i) => batchOf(tuples, i));
  let left = 0;
  const pass = (count: number): void => {
    for (let i = 0; i * BATCH_RECORDS < count; i++) {
      const { src, dst, keys } = batches[i]!;
      const size = Math.min(BATCH_RECORDS, count - i * BATCH_RECORDS);
      columns.src.set(src);
      columns.dst.set(dst);
      columns.keys.set(keys);
      judgePlain(judge, size, size * FRAME_BYTES);
      left += judge.sideCount;
    }
  };
  const sums = (shape: Shape): Sums => {
    if (left > 0) throw new Error(`${left} packets were left to the full path: they are in no time here`);
    const counters = createCounters(tables);
    foldPlainCounts(judge, counters);
    const totals = { packets: 0, allow: counters.packets[VERDICT_ALLOW]!, deny: counters.packets[VERDICT_DENY]! };
    return replaySums(shape, { totals, rules: ruleCounts(tables, counters) });
  };
  return { pass, sums };
}

function batchOf(tuples: Int32Array, index: number): Batch {
  const column = (value: (at: number) => number): Int32Array =>
    Int32Array.from({ length: BATCH_RECORDS }, (_, i) => {
      const at = (index * BATCH_RECORDS + i) * TUPLE_WORDS;
      return at < tuples.length ? value(at) : 0;
    });
  return {
    src: column((at) => tuples[at]!),
    dst: column((at) => tuples[at + 1]!),
    keys: column((at) => (tuples[at + 2] === UDP ? 1 << 16 : 0) | tuples[at + 4]!),
  };
}
