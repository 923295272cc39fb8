/**
 * The search of match/plain.ts without searching, where the tables are small: ports have classes, and a table says by function and class which
 * step decides.
 *
 *   portClasses  by port: number of its class. A class are the ports between two starts of any function
 *   rows         by pair: where its function's row begins in `steps`
 *   steps        row of a function: by class of the port the step that decides, plus 1. The first row is 0 throughout: the full path
 *
 * Example: one function "0: deny, 5432: allow, 5433: deny" and one "0: deny, 80: allow, 81: deny" have the starts 0, 80, 81, 5432 and 5433, so
 * five classes; port 5432 is of class 3, and the rows are
 *
 *   class     0     1      2     3      4
 *   rows[a]   deny  deny   deny  allow  deny
 *   rows[b]   deny  allow  deny  deny   deny
 *
 * Two loads that depend on each other in place of one for each halving. The table has as many columns as there are ports in all rules together, and as many
 * rows as there are functions, so it grows with the square of the rules; with more than DIRECT_STEPS_MAX entries it would push what else the
 * loops read out of the caches, and the search is the better form.
 *
 * This is the cross product of recursive flow classification (Gupta and McKeown, Packet Classification on Multiple Fields, SIGCOMM
 * 1999) with the address classes resolved before.
 */
import * as layout from '../tables/layout.ts';
import type { Tables } from '../tables/tables.ts';

/**
 * Entries of `steps`, mostly of 2 bytes. Measured with `match-…` of the bench against the search: 1.4 times faster with 6 000 entries (g100), 1.28
 * with 220 000 (g1k), 1.2 with 540 000 (e100).
 */
const DIRECT_STEPS_MAX = 600_000;
/** Of `rows`: more pairs than this have more functions than the table takes, and are not worth the copy. */
const DIRECT_PAIRS_MAX = 1 << 20;
const PORTS = 65_536;
const STEPS_OF_16_BITS = 0xffff;

export interface DirectTable {
  readonly portClasses: Uint16Array;
  readonly rows: Int32Array;
  readonly steps: Uint16Array | Int32Array;
}

/** The functions of all pairs as one table, or `undefined` if it would be too large. Cost: linear in pairs and in entries. */
export function layOutDirect({ pairs, functions, counts }: Tables): DirectTable | undefined {
  if (pairs.length > DIRECT_PAIRS_MAX) return undefined;
  const refs = new Set(pairs.filter((ref) => ref >= 0));
  const starts = startsOf(functions, refs);
  if (starts === undefined) return undefined;
  const entries = (refs.size + 1) * starts.length;
  const steps = counts[layout.SECTION_STEPS]! < STEPS_OF_16_BITS ? new Uint16Array(entries) : new Int32Array(entries);
  const rowOf = new Map<number, number>();
  for (const ref of refs) {
    const row = (rowOf.size + 1) * starts.length;
    rowOf.set(ref, row);
    writeRow(steps, row, functions, ref, starts);
  }
  return { portClasses: classesOf(starts), rows: pairs.map((ref) => rowOf.get(ref) ?? 0), steps };
}

/** The ports at which any function says something new, ascending, 0 first; `undefined` if the table would be too large. */
function startsOf(functions: Int32Array, refs: ReadonlySet<number>): readonly number[] | undefined {
  const starts = new Set([0]);
  for (const ref of refs) {
    const from = ref >>> 5;
    for (let i = 0; i < 1 << (ref & 31); i++) {
      const start = functions[from + i]!;
      if (start !== layout.KEY_UNUSED) starts.add(start);
    }
    if ((refs.size + 1) * starts.size > DIRECT_STEPS_MAX) return undefined;
  }
  return [...starts].sort((a, b) => a - b);
}

/** By class, the step of function `ref` at the first port of the class. */
function writeRow(
  steps: DirectTable['steps'],
  row: number,
  functions: Int32Array,
  ref: number,
  starts: readonly number[],
): void {
  const from = ref >>> 5;
  const size = 1 << (ref & 31);
  let index = 0;
  starts.forEach((port, i) => {
    while (index + 1 < size && functions[from + index + 1]! <= port) index++;
    steps[row + i] = (functions[from + size + index]! >> layout.VALUE_STEP_SHIFT) + 1;
  });
}

function classesOf(starts: readonly number[]): Uint16Array {
  const classes = new Uint16Array(PORTS);
  starts.forEach((start, i) => {
    classes.fill(i, start, starts[i + 1] ?? PORTS);
  });
  return classes;
}
