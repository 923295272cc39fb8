/**
 * Folding: from bit rows to port functions.
 *
 * Once both addresses are known, a chain is a function of the key alone: "tcp 5432 -> step 0, everything else -> step 3".
 * A **policy class** is a chain with the row of its local end fixed; together with each distinct row of the peer it gives one
 * port function, worked out here by painting: take the steps that both rows let through, in order; each takes the keys it
 * matches out of those still undecided; what a Pass takes goes on at its jump.
 *
 *   steps both rows let through       undecided before         takes
 *   1  pass  tcp 5432  jump 3         everything               tcp 5432, which goes on at step 3: allow
 *   2  deny  (end of tier)            all but tcp 5432         the rest: deny
 *
 *   function: [0 -> deny 2] [tcp 5432 -> allow 3] [tcp 5433 -> deny 2]
 *
 * A step that looks at source ports can't be folded into keys; a function that reaches one is left to the rows (`undefined`).
 * Cost: a few interval merges for each distinct pair of rows; equal functions are stored once. The idea of folding classes into cross products is
 * Gupta and McKeown's recursive flow classification (SIGCOMM 1999).
 */
import { assert } from '../base/assert.ts';
import { KEY_LIMIT, KEY_UNUSED, STEP_PASS, VALUE_STEP_SHIFT } from '../tables/layout.ts';
import type { Step } from './chains.ts';
import { ALL_KEYS, intersectKeys, isAllKeys, type KeySet, subtractKeys } from './keys.ts';

/** Start keys (ascending, the first 0) and the step (within the chain) that decides from there on. */
export interface PortFunction {
  readonly starts: readonly number[];
  readonly steps: readonly number[];
}

/** The port function of the steps that both rows let through, or `undefined` if one of them looks at source ports. */
export function foldFunction(
  steps: readonly Step[],
  localRow: Int32Array,
  peerRow: Int32Array,
): PortFunction | undefined {
  const pieces: number[] = [];
  if (!paint(steps, localRow, peerRow, 0, ALL_KEYS, pieces)) return undefined;
  return toFunction(pieces);
}

/** `fn` as SECTION_FUNCTIONS has it. `numbers` are the indexes in SECTION_STEPS that stand for the chain's steps. */
export function encodeFunction(fn: PortFunction, steps: readonly Step[], numbers: Int32Array): Int32Array {
  return functionWords(
    fn.starts,
    fn.steps.map((step) => (numbers[step]! << VALUE_STEP_SHIFT) | steps[step]!.action),
  );
}

/** `2^k` start keys, then `2^k` values; the last value fills up. */
export function functionWords(starts: readonly number[], values: readonly number[]): Int32Array {
  const size = 1 << Math.ceil(Math.log2(starts.length));
  const words = new Int32Array(2 * size).fill(KEY_UNUSED, 0, size);
  words.set(starts);
  words.set(values, size);
  words.fill(values.at(-1)!, size + values.length);
  return words;
}

/** Appends `low, high, step` pieces for `undecided`; false = a step looks at source ports. */
function paint(
  steps: readonly Step[],
  localRow: Int32Array,
  peerRow: Int32Array,
  from: number,
  undecided: KeySet,
  pieces: number[],
): boolean {
  let rest = undecided;
  for (let word = from >>> 5; word < localRow.length && rest.length > 0; word++) {
    let bits = localRow[word]! & peerRow[word]!;
    if (word === from >>> 5) bits &= -1 << (from & 31);
    for (; bits !== 0 && rest.length > 0; bits &= bits - 1) {
      const index = (word << 5) + 31 - Math.clz32(bits & -bits);
      const step = steps[index]!;
      const hit = intersectKeys(rest, step.term.keys);
      if (hit.length === 0) continue;
      if (!isAllKeys(step.term.sourceKeys)) return false;
      rest = subtractKeys(rest, hit);
      if (step.action === STEP_PASS) {
        if (!paint(steps, localRow, peerRow, step.jump, hit, pieces)) return false;
      } else {
        for (let i = 0; i < hit.length; i += 2) pieces.push(hit[i]!, hit[i + 1]!, index);
      }
    }
  }
  return true;
}

/** A constant: the check runs for each piece, and its text must cost nothing. */
const DECIDES_ALL = 'the steps of a chain decide every key';

function toFunction(pieces: readonly number[]): PortFunction {
  const order: number[] = [];
  for (let i = 0; i < pieces.length; i += 3) order.push(i);
  order.sort((a, b) => pieces[a]! - pieces[b]!);
  const starts: number[] = [];
  const steps: number[] = [];
  let next = 0;
  for (const at of order) {
    assert(pieces[at] === next, DECIDES_ALL);
    if (steps.at(-1) !== pieces[at + 2]) {
      starts.push(next);
      steps.push(pieces[at + 2]!);
    }
    next = pieces[at + 1]! + 1;
  }
  assert(next === KEY_LIMIT, DECIDES_ALL);
  return { starts, steps };
}
