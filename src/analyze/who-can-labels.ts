/**
 * Labels that make a selector true.
 *
 * Whoever may choose labels can often choose whether a selector matches. Given the selector, this says which labels would
 * do: the expression is brought into a list of alternatives, each a set of labels to have and a set not to have,
 *
 *     (role == "intern" || has(admin)) && !has(blocked)
 *       ─►  {role: intern} without blocked        {admin: any} without blocked
 *
 * Each alternative is then tried on the selector itself, so nothing is claimed that does not hold. The list is cut after
 * `ALTERNATIVES_MAX`; of a set of values the first two are tried. So "no labels found" is an answer about these tries.
 */
import type { Node } from '../selector/ast.ts';
import { compileNode } from '../selector/evaluate.ts';

/** Labels to have (by key), and keys not to have. */
export interface LabelChoice {
  readonly labels: ReadonlyMap<string, string>;
  readonly absent: ReadonlySet<string>;
}

const ALTERNATIVES_MAX = 16;
const VALUES_MAX = 2;

/** The value of a label of which only the presence matters. */
const ANY_VALUE = 'any';

/** Choices that make every one of `nodes` true, as far as own labels decide; the shortest first. */
export function labelsThatMatch(nodes: readonly Node[]): LabelChoice[] {
  let choices: readonly LabelChoice[] = [EMPTY];
  for (const node of nodes) choices = product(choices, alternatives(node, true));
  const filled = choices.map(({ labels, absent }) => ({
    labels: new Map([...labels].map(([key, value]) => [key, value === '' ? ANY_VALUE : value])),
    absent,
  }));
  const tests = nodes.map((node) => compileNode(node));
  const good = filled.filter(({ labels }) => tests.every((test) => test((key) => labels.get(key))));
  return good.sort((a, b) => a.labels.size - b.labels.size);
}

const EMPTY: LabelChoice = { labels: new Map(), absent: new Set() };

function alternatives(node: Node, isTrue: boolean): readonly LabelChoice[] {
  switch (node.kind) {
    case 'all':
    case 'global':
      return isTrue ? [EMPTY] : [];
    case 'not':
      return alternatives(node.operand, !isTrue);
    case 'and':
    case 'or':
      return junction(node.operands, isTrue, (node.kind === 'and') === isTrue);
    case 'has':
      return isTrue ? [having(node.key, '')] : [lacking(node.key)];
    case '!=':
      return isTrue ? other(node.key) : [having(node.key, node.value)];
    case 'not in':
      return isTrue ? other(node.key) : oneOf(node.key, node.values);
    case 'in':
      return isTrue ? oneOf(node.key, node.values) : other(node.key);
    default:
      return isTrue ? [having(node.key, node.value)] : other(node.key);
  }
}

function junction(operands: readonly Node[], isTrue: boolean, isConjunction: boolean): readonly LabelChoice[] {
  const lists = operands.map((operand) => alternatives(operand, isTrue));
  if (!isConjunction) return lists.flat().slice(0, ALTERNATIVES_MAX);
  return lists.reduce<readonly LabelChoice[]>(product, [EMPTY]);
}

function having(key: string, value: string): LabelChoice {
  return { labels: new Map([[key, value]]), absent: new Set() };
}

function lacking(key: string): LabelChoice {
  return { labels: new Map(), absent: new Set([key]) };
}

/** Not some value: no such label, or whatever value the rest asks for; the final test tells if it is another one. */
function other(key: string): readonly LabelChoice[] {
  return [lacking(key), EMPTY];
}

function oneOf(key: string, values: readonly string[]): readonly LabelChoice[] {
  return values.slice(0, VALUES_MAX).map((value) => having(key, value));
}

/** Every pair of choices that do not contradict each other. */
function product(lefts: readonly LabelChoice[], rights: readonly LabelChoice[]): readonly LabelChoice[] {
  const found: LabelChoice[] = [];
  for (const left of lefts) {
    for (const right of rights) {
      const both = merge(left, right);
      if (both !== undefined && found.push(both) >= ALTERNATIVES_MAX) return found;
    }
  }
  return found;
}

function merge(left: LabelChoice, right: LabelChoice): LabelChoice | undefined {
  const labels = new Map(left.labels);
  const absent = new Set([...left.absent, ...right.absent]);
  for (const [key, value] of right.labels) {
    const known = labels.get(key) ?? '';
    if (known !== '' && value !== '' && known !== value) return undefined;
    labels.set(key, known === '' ? value : known);
  }
  for (const key of absent) if (labels.has(key)) return undefined;
  return { labels, absent };
}
