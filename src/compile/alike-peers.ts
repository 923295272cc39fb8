/**
 * Which peer classes no policy class tells apart: they share a row and a column of the pairs (pack-pairs.ts).
 *
 * Partition refinement (Paige and Tarjan, "Three partition refinement algorithms", 1987): all peer classes begin in one part, and each
 * policy class divides the parts by what it answers. Since it answers most of them what it answers to row 0, only classes with another row
 * are looked at: those of one part with one answer move to a new part together, the rest stays.
 *
 *     parts {0 1 2 3 4}    policy class A answers 1 and 3 `a`, 4 `b`     ─► {0 2} {1 3} {4}
 *                          policy class B answers 2 and 3 `a`            ─► {0} {2} {1} {3} {4}
 */
import { zeroWords } from '../base/words.ts';
import * as layout from '../tables/layout.ts';
import { MapReader } from './class-maps.ts';
import type { Sections } from './sections.ts';

/** For each of `count` peer classes the smallest one that all of `policyClasses` answer alike. */
export function alikePeers(sections: Sections, count: number, policyClasses: readonly number[]): Int32Array {
  const policy = sections.section(layout.SECTION_POLICY_CLASSES).view();
  const maps = new MapReader(sections.section(layout.SECTION_CLASS_MAPS).view(), count);
  const answers = distinctNumbers(sections.section(layout.SECTION_FUNCTION_REFS).view());
  const partition = new Partition(count, answers.count);
  for (const policyClass of policyClasses) {
    const record = policyClass * layout.POLICY_CLASS_SIZE;
    const firstRef = policy[record + layout.POLICY_CLASS_REFS]!;
    const usual = answers.numbers[firstRef]!;
    const mapped = maps.read(policy[record + layout.POLICY_CLASS_MAP]!);
    partition.begin();
    for (let i = 0; i < mapped && maps.classes[i]! < count; i++) {
      const answer = answers.numbers[firstRef + maps.rows[i]!]!;
      if (answer !== usual) partition.move(maps.classes[i]!, answer);
    }
  }
  return partition.smallest();
}

/** Numbers from 0 for the different values among `values`. */
function distinctNumbers(values: Int32Array): { readonly numbers: Int32Array; readonly count: number } {
  const numbers = zeroWords(values.length);
  const known = new Map<number, number>();
  for (let i = 0; i < values.length; i++) {
    let number = known.get(values[i]!);
    if (number === undefined) {
      number = known.size;
      known.set(values[i]!, number);
    }
    numbers[i] = number;
  }
  return { numbers, count: known.size };
}

/** The parts that the classes are divided into, by number. */
class Partition {
  readonly #partOf: Int32Array;
  readonly #answerCount: number;
  /** By part, and the division in which a class left it last. */
  readonly #sizes: number[];
  readonly #leftIn: number[] = [];
  #division = 0;
  /** In one division: the new part by old part and answer. */
  readonly #moved = new Map<number, number>();
  /** Numbers that nobody has any more: they are given again, but not in the division in which they became free. */
  readonly #free: number[] = [];
  readonly #emptied: number[] = [];

  constructor(count: number, answerCount: number) {
    this.#partOf = zeroWords(count);
    this.#answerCount = answerCount;
    this.#sizes = [count];
  }

  /** The next division begins. */
  begin(): void {
    this.#division++;
    this.#moved.clear();
    for (const part of this.#emptied.splice(0)) this.#free.push(part);
  }

  /** A class leaves its part for the one of those that left it with the same answer. A class that is alone in its part stays. */
  move(peerClass: number, answer: number): void {
    const old = this.#partOf[peerClass]!;
    if (this.#sizes[old] === 1 && this.#leftIn[old] !== this.#division) return;
    this.#leftIn[old] = this.#division;
    const key = old * this.#answerCount + answer;
    let next = this.#moved.get(key);
    if (next === undefined) {
      next = this.#free.pop() ?? this.#sizes.push(0) - 1;
      this.#moved.set(key, next);
    }
    this.#partOf[peerClass] = next;
    this.#sizes[next]!++;
    this.#sizes[old]!--;
    if (this.#sizes[old] === 0) this.#emptied.push(old);
  }

  /** By class the smallest one of its part. */
  smallest(): Int32Array {
    const firstOf = new Map<number, number>();
    return this.#partOf.map((part, peerClass) => {
      const first = firstOf.get(part) ?? peerClass;
      firstOf.set(part, first);
      return first;
    });
  }
}
