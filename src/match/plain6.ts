/**
 * Plain frames of IPv6 in batches: the loops of plain.ts behind a lookup of 128-bit addresses.
 *
 * An address is found in a hash of whole addresses (tables/layout.ts, SECTION_EXACT6), or in the ranges if it is not there. The hash of a large
 * cluster outgrows the caches, so the lookup is two loops: the first reads the first word of every slot that the second will compare, and the
 * misses of a batch are under way together.
 */
import { specialize } from '../base/specialize.ts';
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';
import { rangeOf6 } from './lookup.ts';
import { type Aim, loopsBehind, type PlainLoops } from './plain.ts';
import type { DirectTable } from './plain-direct.ts';

/** The columns of a batch, as wire/plain6.ts fills them. */
export interface Plain6Rows {
  /** Source, then destination, four words each, most significant word first. */
  readonly addresses: Int32Array;
  readonly keys: Int32Array;
  readonly bytes: Int32Array;
}

/** Loops for `createPlainJudge` over `rows`. */
export function createLoops6(tables: Tables, rows: Plain6Rows, direct: DirectTable | undefined): PlainLoops {
  const { exact6, ranges6, classes6 } = tables;
  const { addresses, keys, bytes } = rows;
  const slots = new Int32Array(2 * keys.length);
  const aim = (work: Int32Array): Aim =>
    specialize(aim6)(exact6, ranges6, classes6, addresses, keys, slots, work, layout.addressHash, rangeOf6, {
      exactWords: layout.EXACT_SIZE,
      classWords: layout.ADDRESS_CLASS_SIZE,
      pairRow: layout.CLASS_PAIR_ROW,
      pairColumn: layout.CLASS_PAIR_COLUMN,
    });
  return loopsBehind(tables, aim, { keys, bytes }, direct);
}

interface Sizes {
  readonly exactWords: number;
  readonly classWords: number;
  readonly pairRow: number;
  readonly pairColumn: number;
}

function aim6(
  exact: Int32Array,
  ranges: Int32Array,
  classes: Int32Array,
  addresses: Int32Array,
  keys: Int32Array,
  slots: Int32Array,
  work: Int32Array,
  hash: typeof layout.addressHash,
  rangeOf: typeof rangeOf6,
  { exactWords, classWords, pairRow, pairColumn }: Sizes,
): Aim {
  const mask = exact.length / exactWords - 1;
  /** Word offset of the class of the address at `at`, whose search starts at `first`. */
  const classOf = (at: number, first: number): number => {
    const w0 = addresses[at]!;
    const w1 = addresses[at + 1]!;
    const w2 = addresses[at + 2]!;
    const w3 = addresses[at + 3]!;
    for (let slot = first; ; slot = (slot + 1) & mask) {
      const entry = slot * exactWords;
      const number = exact[entry + 4]!;
      if (number === 0) return rangeOf(ranges, w0, w1, w2, w3) * classWords;
      if (exact[entry + 3] === w3 && exact[entry + 2] === w2 && exact[entry + 1] === w1 && exact[entry] === w0) {
        return (number - 1) * classWords;
      }
    }
  };
  return (count) => {
    let touched = 0;
    for (let i = 0; i < 2 * count; i++) {
      const at = 4 * i;
      const slot = hash(addresses[at]!, addresses[at + 1]!, addresses[at + 2]!, addresses[at + 3]!) & mask;
      slots[i] = slot;
      touched = (touched + exact[slot * exactWords]!) | 0;
    }
    for (let i = 0; i < count; i++) {
      const at = 8 * i;
      const column = classes[classOf(at, slots[2 * i]!) + pairColumn]!;
      const row = classes[classOf(at + 4, slots[2 * i + 1]!) + pairRow]!;
      work[i] = (keys[i]! >>> 16) + column + row;
    }
    return touched;
  };
}
