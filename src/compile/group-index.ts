/**
 * Which groups does a selector match, without asking every group.
 *
 * Idea: most selectors demand an exact value of some label somewhere in their top-level conjunction, `namespace == "app"`
 * above all. For each label key that a selector asks about, the groups are sorted once into lists by value; a selector
 * then looks only at the shortest list that its structure allows, and is evaluated in full on those groups alone.
 *
 *     selector                                candidates
 *     k == "v"                                groups with k = v
 *     k in {"v", "w"}                         groups with k = v or k = w
 *     has(k), k contains "x", ...             groups with k
 *     A && B                                  those of A or those of B, whichever are fewer
 *     A || B                                  those of A and those of B, if both are bounded
 *     k != "v", !A, all(), ...                all groups
 *
 * Candidates are a superset of the answer in every row, so the index can make the answer slow but never wrong. Worked
 * example: `(projectcalico.org/namespace == "app" && role != "db")` in a cluster of 500 namespaces with 6 groups each looks at
 * 6 groups of 3 000; the second operand bounds nothing. The lists of a key cost one pass over the groups, at first use.
 *
 * Rejected: an index of all labels up front (most keys are never asked for), and Calico's own scan of all endpoints for
 * each selector (felix/labelindex), which is incremental but quadratic to build.
 */
import type { StringMap } from '../model/resources.ts';
import type { Node } from '../selector/ast.ts';
import { compileNode, type LabelLookup } from '../selector/evaluate.ts';
import type { Selector } from '../selector/selector.ts';
import { inheritingLookup } from './labels.ts';

/** A group as the index sees it: own labels, then those of its profiles in order. */
export interface LabelledGroup {
  readonly own: StringMap;
  readonly parents: readonly StringMap[];
}

/** Groups that have a key, by value. Ascending. */
interface KeyLists {
  readonly present: readonly number[];
  readonly byValue: ReadonlyMap<string, readonly number[]>;
}

const NONE: readonly number[] = [];

export class GroupIndex {
  readonly #lookups: readonly LabelLookup[];
  readonly #listsByKey = new Map<string, KeyLists>();
  readonly #answers = new Map<string, readonly number[]>();

  constructor(groups: readonly LabelledGroup[]) {
    this.#lookups = groups.map(({ own, parents }) => inheritingLookup(own, parents));
  }

  /** Indexes of the groups that `selector` matches, ascending. */
  select(selector: Selector): readonly number[] {
    const known = this.#answers.get(selector.canonical);
    if (known !== undefined) return known;
    const isMatch = compileNode(selector.root);
    const matches = (group: number): boolean => isMatch(this.#lookups[group]!);
    const answer = this.#candidates(selector.root).filter(matches);
    this.#answers.set(selector.canonical, answer);
    return answer;
  }

  /** A superset of the groups that match, ascending. */
  #candidates(node: Node): readonly number[] {
    return this.#countMax(node) === Number.POSITIVE_INFINITY ? [...this.#lookups.keys()] : this.#list(node);
  }

  /** How many candidates `#list` would give at most; infinity = it cannot tell. */
  #countMax(node: Node): number {
    switch (node.kind) {
      case '==':
        return this.#lists(node.key).byValue.get(node.value)?.length ?? 0;
      case 'in': {
        const { byValue } = this.#lists(node.key);
        return node.values.reduce((sum, value) => sum + (byValue.get(value)?.length ?? 0), 0);
      }
      case 'has':
      case 'contains':
      case 'starts with':
      case 'ends with':
        return this.#lists(node.key).present.length;
      case 'and':
        return Math.min(...node.operands.map((operand) => this.#countMax(operand)));
      case 'or':
        return node.operands.reduce((sum, operand) => sum + this.#countMax(operand), 0);
      default:
        return Number.POSITIVE_INFINITY;
    }
  }

  /** Candidates of a node whose `#countMax` is finite. */
  #list(node: Node): readonly number[] {
    switch (node.kind) {
      case '==':
        return this.#lists(node.key).byValue.get(node.value) ?? NONE;
      case 'in':
        return ascendingUnion(node.values.map((value) => this.#lists(node.key).byValue.get(value) ?? NONE));
      case 'has':
      case 'contains':
      case 'starts with':
      case 'ends with':
        return this.#lists(node.key).present;
      case 'and': {
        const counts = node.operands.map((operand) => this.#countMax(operand));
        return this.#list(node.operands[counts.indexOf(Math.min(...counts))]!);
      }
      case 'or':
        return ascendingUnion(node.operands.map((operand) => this.#list(operand)));
      default:
        return [...this.#lookups.keys()];
    }
  }

  #lists(key: string): KeyLists {
    const known = this.#listsByKey.get(key);
    if (known !== undefined) return known;
    const present: number[] = [];
    const byValue = new Map<string, number[]>();
    for (const [group, lookup] of this.#lookups.entries()) {
      const value = lookup(key);
      if (value === undefined) continue;
      present.push(group);
      const list = byValue.get(value);
      if (list === undefined) byValue.set(value, [group]);
      else list.push(group);
    }
    const lists = { present, byValue };
    this.#listsByKey.set(key, lists);
    return lists;
  }
}

/** Numbers that are in any of the lists, each once, ascending. */
function ascendingUnion(lists: readonly (readonly number[])[]): readonly number[] {
  const filled = lists.filter((list) => list.length > 0);
  if (filled.length <= 1) return filled[0] ?? NONE;
  return [...new Set(filled.flat())].sort((a, b) => a - b);
}
