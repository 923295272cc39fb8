import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PolicyError } from '../../src/base/errors.ts';
import { type Node, setNode } from '../../src/selector/ast.ts';
import { canonicalText } from '../../src/selector/canonical.ts';
import { compileNode, evaluate } from '../../src/selector/evaluate.ts';
import { parseNode } from '../../src/selector/parse.ts';
import { normaliseSelector, parseSelector, type Selector } from '../../src/selector/selector.ts';
import { Lexer } from '../../src/selector/tokens.ts';
import { oracle } from './oracle.ts';

const KEYS = ['a', 'b', 'in', 'not', 'has', 'all', 'global', 'contains', 'starts', 'ends', 'x.y/z', '0a', '__proto__'];
const VALUES = ['', '1', 'ab', 'abab', "it's", 'say "x"', 'é', '\uffff', '\u{10000}', 'a\nb', '} && ('];

const arbKey = fc.constantFrom(...KEYS);
const arbValue = fc.constantFrom(...VALUES);
const arbLabels = fc.array(fc.tuple(arbKey, arbValue), { maxLength: 5 }).map((entries) => new Map(entries));

const arbLeaf: fc.Arbitrary<Node> = fc.oneof(
  fc.constantFrom<Node>({ kind: 'all' }, { kind: 'global' }),
  arbKey.map((key): Node => ({ kind: 'has', key })),
  fc
    .tuple(fc.constantFrom('==', '!=', 'contains', 'starts with', 'ends with'), arbKey, arbValue)
    .map(([kind, key, value]): Node => ({ kind, key, value })),
  fc
    .tuple(fc.constantFrom('in', 'not in'), arbKey, fc.array(arbValue, { maxLength: 4 }))
    .map(([kind, key, members]): Node => setNode(kind, key, members)),
);

const arbNode = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    arbLeaf,
    tie('node').map((operand): Node => ({ kind: 'not', operand })),
    fc
      .tuple(fc.constantFrom('and', 'or'), fc.array(tie('node'), { minLength: 2, maxLength: 3 }))
      .map(([kind, operands]): Node => ({ kind, operands })),
  ),
})).node;

/** Runs of negations as the parser reads them from text: an odd run is one, an even run none. */
function collapseBangs(node: Node): Node {
  if (node.kind === 'and' || node.kind === 'or') {
    return { kind: node.kind, operands: node.operands.map(collapseBangs) };
  }
  if (node.kind !== 'not') return node;
  if (node.operand.kind === 'not') return collapseBangs(node.operand.operand);
  return { kind: 'not', operand: collapseBangs(node.operand) };
}

/** A text for `node` with blanks, quotes, parentheses and spellings as `choose` (0 up to, not including, n) decides. */
function write(node: Node, choose: (n: number) => number): string {
  const gap = () => ['', ' ', '\t', '  '][choose(4)]!;
  const space = () => [' ', '\t', ' \t '][choose(3)]!;
  const quoted = (value: string) => {
    const isDouble = value.includes("'") || (!value.includes('"') && choose(2) === 0);
    return isDouble ? `"${value}"` : `'${value}'`;
  };
  const operator = (kind: string) => kind.replace(' ', gap());
  const wrapped = (text: string) => `(${gap()}${text}${gap()})`;
  const bangs = () => '! '.repeat(2 * choose(2));
  const bare = (): string => {
    switch (node.kind) {
      case 'all':
      case 'global':
        return `${node.kind}(${gap()})`;
      case 'has':
        return `has(${gap()}${node.key}${gap()})`;
      case 'in':
      case 'not in': {
        const members = node.values.map((value) => `${gap()}${quoted(value)}${gap()}`).join(',');
        const comma = node.values.length > 0 && choose(2) === 0 ? `,${gap()}` : '';
        return `${node.key}${space()}${operator(node.kind)}${gap()}{${gap()}${members}${comma}}`;
      }
      case 'not':
        return `!${gap()}${wrapped(write(node.operand, choose))}`;
      case 'and':
      case 'or': {
        const symbol = node.kind === 'and' ? '&&' : '||';
        return wrapped(node.operands.map((operand) => write(operand, choose)).join(`${gap()}${symbol}${gap()}`));
      }
      default:
        return `${node.key}${space()}${operator(node.kind)}${gap()}${quoted(node.value)}`;
    }
  };
  const text = `${gap()}${bangs()}${bare()}${gap()}`;
  return choose(4) === 0 ? wrapped(text) : text;
}

function parseOrError(text: string): Selector | PolicyError {
  try {
    return parseSelector(text);
  } catch (error) {
    if (error instanceof PolicyError) return error;
    throw error;
  }
}

test('canonical text reads back as itself, but for runs of bangs, and keeps its truth', () => {
  fc.assert(
    fc.property(arbNode, fc.array(arbLabels, { minLength: 1, maxLength: 4 }), (node, labelSets) => {
      const canonical = canonicalText(node);
      const again = parseSelector(canonical);
      expect(again.canonical).toBe(canonicalText(collapseBangs(node)));
      if (!canonical.includes('!!')) expect(again.root).toEqual(node);
      expect(parseSelector(again.canonical).canonical).toBe(again.canonical);
      for (const labels of labelSets) {
        const truth = evaluate(node, (key) => labels.get(key));
        expect(again.matches(labels)).toBe(truth);
        expect(compileNode(node)((key) => labels.get(key))).toBe(truth);
      }
    }),
    { numRuns: 2000 },
  );
});

test('however a selector is written, its tree is the same', () => {
  fc.assert(
    fc.property(arbNode, fc.array(fc.nat(11), { minLength: 1, maxLength: 60 }), (node, choices) => {
      let index = 0;
      const text = write(node, (n) => choices[index++ % choices.length]! % n);
      expect(parseNode(text)).toEqual(node);
      expect(normaliseSelector(text)).toBe(canonicalText(node));
    }),
    { numRuns: 2000 },
  );
});

// Pieces of the language in any order: nearly selectors, most of them broken somewhere.
const PIECES = [
  ...[
    'a',
    'b',
    'in',
    'not',
    'notin',
    'has',
    'all',
    'has(',
    'all(',
    'global()',
    'all()',
    'has(a)',
    'contains',
    'starts',
  ],
  ...['with', 'startswith', 'ends with', '==', '!=', '=', '!', '&&', '&', '||', '|', '(', ')', '{', '}', ',', '"', "'"],
  ...['"1"', "'ab'", '{"1"}', '{}', 'a == "1"', 'b in {"1", "ab"}', '\n', 'é', '\u00a0', '😀', '5', '@'],
];
const arbSoup = fc
  .array(fc.tuple(fc.constantFrom(...PIECES), fc.constantFrom('', ' ', '\t')), { maxLength: 12 })
  .map((pieces) => pieces.flat().join(''));

// One edit away from a selector: the same kinds of damage as in the conformance data, and more positions.
const arbDamaged = fc
  .tuple(
    arbNode,
    fc.array(fc.nat(11), { minLength: 1, maxLength: 30 }),
    fc.nat(),
    fc.constantFrom('', ...PIECES),
    fc.nat(2),
  )
  .map(([node, choices, position, piece, cutLength]) => {
    let index = 0;
    const text = write(node, (n) => choices[index++ % choices.length]! % n);
    const at = position % (text.length + 1);
    return text.slice(0, at) + piece + text.slice(at + cutLength);
  });

test('accepts what the grammar accepts, with the same truth, and refuses the rest with a column', () => {
  const labelSets = [new Map<string, string>(), new Map([['a', '1']]), new Map([['a', 'ab']]), new Map([['b', '1']])];
  let validCount = 0;
  let invalidCount = 0;
  fc.assert(
    fc.property(fc.oneof(arbSoup, arbDamaged), arbLabels, (text, labels) => {
      const expected = oracle(text);
      const result = parseOrError(text);
      if (expected === undefined) {
        invalidCount++;
        expect(result, text).toBeInstanceOf(PolicyError);
        const { column } = result as PolicyError;
        expect(column).toBeGreaterThanOrEqual(1);
        expect(column).toBeLessThanOrEqual(text.length + 1);
        expect((result as PolicyError).message).not.toMatch(/\n/);
        return;
      }
      validCount++;
      if (result instanceof PolicyError) throw result;
      for (const each of [...labelSets, labels]) expect(result.matches(each), text).toBe(expected(each));
    }),
    { numRuns: 6000 },
  );
  expect(validCount).toBeGreaterThan(300);
  expect(invalidCount).toBeGreaterThan(1000);
});

test('any text at all parses or is a PolicyError, also by Normalise', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary', maxLength: 40 }), fc.string({ maxLength: 40 })), (text) => {
      parseOrError(text);
      expect(typeof normaliseSelector(text)).toBe('string');
    }),
    { numRuns: 3000 },
  );
});

// Linear time, stated without a clock: tokens never overlap and each takes at least one character.
test('the lexer moves forward with every token', () => {
  fc.assert(
    fc.property(fc.oneof(arbSoup, fc.string({ unit: 'binary', maxLength: 40 })), (text) => {
      const lexer = new Lexer(text);
      let position = 0;
      try {
        for (let token = lexer.next(); token.kind !== 'end'; token = lexer.next()) {
          expect(token.start).toBeGreaterThanOrEqual(position);
          expect(token.end).toBeGreaterThan(token.start);
          position = token.end;
        }
      } catch (error) {
        expect(error).toBeInstanceOf(PolicyError);
        return;
      }
      expect(lexer.next()).toEqual({ kind: 'end', value: '', start: text.length, end: text.length });
    }),
    { numRuns: 3000 },
  );
});
