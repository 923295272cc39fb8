/** One plain packet of IPv6 over the pairs of the tables (compile/pack-pairs.ts): the same answer as match/judge.ts, one search. */
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { classAt } from './lookup.ts';

const PAIR_ROW = layout.CLASS_PAIR_ROW;
const PAIR_COLUMN = layout.CLASS_PAIR_COLUMN;

/**
 * `step << 2 | STEP_*` of the step that decides, or NONE if the packet needs the full path.
 *
 * @param words  source, destination (four words each), and key: TCP 0 or UDP 1 in bit 16, destination port below
 */
export function judgePlain6(tables: Tables, words: Int32Array): number {
  const { classes6, pairs, functions } = tables;
  const column = classes6[classAt(tables, 6, words, 0) + PAIR_COLUMN]!;
  const row = classes6[classAt(tables, 6, words, 4) + PAIR_ROW]!;
  const key = words[8]!;
  const ref = pairs[row + column + (key >>> 16)]!;
  if (ref < 0) return layout.NONE;
  const port = key & 0xffff;
  const at = ref >>> 5;
  const size = 1 << (ref & 31);
  let index = 0;
  for (let half = size >>> 1; half > 0; half >>>= 1) if (functions[at + index + half]! <= port) index += half;
  return functions[at + size + index]!;
}
