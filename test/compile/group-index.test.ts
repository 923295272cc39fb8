/** The index answers what evaluating the selector on every group answers. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GroupIndex, type LabelledGroup } from '../../src/compile/group-index.ts';
import { inheritingLookup } from '../../src/compile/labels.ts';
import type { Node } from '../../src/selector/ast.ts';
import { canonicalText } from '../../src/selector/canonical.ts';
import { evaluate } from '../../src/selector/evaluate.ts';
import { parseSelector } from '../../src/selector/selector.ts';

const key = fc.constantFrom('a', 'b', 'c');
const value = fc.constantFrom('', 'x', 'xy', 'y');
const labels = fc.dictionary(key, value).map((record) => new Map(Object.entries(record)));
const group: fc.Arbitrary<LabelledGroup> = fc.record({ own: labels, parents: fc.array(labels, { maxLength: 2 }) });
const node: fc.Arbitrary<Node> = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<Node>({ kind: 'all' }, { kind: 'global' }),
    fc.record({ kind: fc.constant('has' as const), key }),
    fc.record({ kind: fc.constantFrom('==', '!=', 'contains', 'starts with', 'ends with'), key, value }),
    fc.record({ kind: fc.constantFrom('in', 'not in'), key, values: fc.uniqueArray(value).map((list) => list.sort()) }),
    fc.record({ kind: fc.constant('not' as const), operand: tie('node') }),
    fc.record({ kind: fc.constantFrom('and', 'or'), operands: fc.array(tie('node'), { minLength: 2, maxLength: 3 }) }),
  ),
})).node;

test('as evaluation does, for random selectors over random labels', () => {
  fc.assert(
    fc.property(fc.array(group, { maxLength: 70 }), fc.array(node, { minLength: 1, maxLength: 5 }), (groups, nodes) => {
      const index = new GroupIndex(groups);
      for (const root of nodes) {
        const selector = parseSelector(canonicalText(root));
        const expected = [...groups.keys()].filter((i) =>
          evaluate(selector.root, inheritingLookup(groups[i]!.own, groups[i]!.parents)),
        );
        expect(index.select(selector)).toEqual(expected);
      }
    }),
    { numRuns: 1500 },
  );
});

test('no groups, and exactly one word of them', () => {
  expect(new GroupIndex([]).select(parseSelector('!has(x)'))).toEqual([]);
  const groups = Array.from({ length: 32 }, () => ({ own: new Map(), parents: [] }));
  expect(new GroupIndex(groups).select(parseSelector('x != "1"'))).toHaveLength(32);
});
