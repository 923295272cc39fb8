import { describe, expect, test } from 'vitest';
import type { Node } from '../../src/selector/ast.ts';
import { canonicalText } from '../../src/selector/canonical.ts';
import { compileNode, evaluate } from '../../src/selector/evaluate.ts';
import { prefixKeys } from '../../src/selector/prefix.ts';
import { normaliseSelector, parseSelector } from '../../src/selector/selector.ts';

function canonical(text: string): string {
  return parseSelector(text).canonical;
}

function expectInvalid(...texts: readonly string[]): void {
  for (const text of texts) expect(() => parseSelector(text), JSON.stringify(text)).toThrow(/ at column \d+; /);
}

describe('corner cases of the semantics, by row', () => {
  test('row 1: != and not in match an endpoint without the label', () => {
    expect(parseSelector('a != "x"').matches({ b: 'x' })).toBe(true);
    expect(parseSelector('a not in {"x"}').matches({})).toBe(true);
    expect(parseSelector('a != "x"').matches({ a: 'x' })).toBe(false);
    expect(parseSelector('a not in {"x"}').matches({ a: 'x' })).toBe(false);
  });

  test('row 2: an empty set parses; in it is nothing, outside it everything', () => {
    for (const labels of [{}, { a: '' }, { a: 'x' }]) {
      expect(parseSelector('a in {}').matches(labels)).toBe(false);
      expect(parseSelector('a not in { }').matches(labels)).toBe(true);
    }
    expect(canonical('a in { }')).toBe('a in {}');
  });

  test('row 3: one trailing comma is accepted', () => {
    expect(canonical('a in {"x",}')).toBe('a in {"x"}');
    expect(canonical('a in {"x" , "w" ,\t}')).toBe('a in {"w", "x"}');
    expectInvalid('a in {,}', 'a in {"x",,}');
  });

  test('row 4: a blank before the parenthesis of a function is a syntax error', () => {
    expectInvalid('has (a)', 'all ()', 'global\t()');
    expect(canonical('has( a\t)||all( )||global(\t)')).toBe('(has(a) || all() || global())');
  });

  test('row 5: joined and spread word operators are accepted and printed with one blank', () => {
    expect(canonical('a startswith"x"')).toBe('a starts with "x"');
    expect(canonical('a ends \t with"x"')).toBe('a ends with "x"');
    expect(canonical('a notin{"x"}')).toBe('a not in {"x"}');
    expect(canonical('a not\t in{"x"}')).toBe('a not in {"x"}');
  });

  test('row 6: a newline is an error unless inside quotes; Normalise trims the ends', () => {
    expectInvalid('a == "x"\n', '\na == "x"', 'a ==\n"x"', 'a == "x"\r');
    expect(parseSelector('a == "x\ny"').matches({ a: 'x\ny' })).toBe(true);
    expect(normaliseSelector('\n a == "x" \r\n')).toBe('a == "x"');
    expect(normaliseSelector(' a ==\n"x" ')).toBe('a ==\n"x"');
  });

  test('row 7: a bang binds to the whole comparison, tighter than &&', () => {
    const selector = parseSelector('! a == "b" && c == "d"');
    expect(selector.canonical).toBe('(!a == "b" && c == "d")');
    expect(selector.matches({ a: 'x', c: 'd' })).toBe(true);
    expect(selector.matches({ a: 'b', c: 'd' })).toBe(false);
    expect(selector.matches({ a: 'x' })).toBe(false);
  });

  test('row 8: a number must be quoted, though a label may be a number', () => {
    expectInvalid('a == 5', 'a in {5}');
    expect(canonical('5 == "5"')).toBe('5 == "5"');
  });

  test('row 9: a value with both kinds of quote cannot be expressed', () => {
    expectInvalid(`a == "it's "x""`, `a == 'it's "x"'`, 'a == "\\""');
    expect(parseSelector(`a == 'say "x"'`).matches({ a: 'say "x"' })).toBe(true);
    expect(parseSelector(`a == "it's"`).matches({ a: "it's" })).toBe(true);
  });

  test('row 10: global() is true wherever it stands', () => {
    expect(parseSelector('global()').matches({})).toBe(true);
    expect(parseSelector('a == "x" && global()').matches({ a: 'x' })).toBe(true);
    expect(parseSelector('!global()').matches({ a: 'x' })).toBe(false);
  });
});

describe('words', () => {
  test('are keywords by position only', () => {
    expect(canonical('contains contains "x"')).toBe('contains contains "x"');
    expect(canonical('in in {"a"}')).toBe('in in {"a"}');
    expect(canonical('not not in {"a"}')).toBe('not not in {"a"}');
    expect(canonical('starts starts with "a"')).toBe('starts starts with "a"');
    expect(canonical('has == "y" && all == "z" && global != ""')).toBe('(has == "y" && all == "z" && global != "")');
    expect(canonical('has(has) && has(all)')).toBe('(has(has) && has(all))');
  });

  test('keys hold letters, digits, _ . / - and nothing else', () => {
    for (const key of ['a', 'Z', '0', '9', '_', '.', '/', '-', 'k8s-app', 'x.y/z_0', '-a', '//']) {
      expect(canonical(`${key}=="x"`)).toBe(`${key} == "x"`);
    }
    for (const character of '+,:;@[`{^~$%*\\é\u00a0\v') expectInvalid(`a${character}b == "x"`);
  });

  test('need no blanks where a symbol separates them', () => {
    expect(canonical('a=="x"&&!b in{"y","z"}||has(c)')).toBe('((a == "x" && !b in {"y", "z"}) || has(c))');
    expect(canonical("\t a\t!= 'x' \t")).toBe('a != "x"');
  });

  test('!= is one token even where a bang could stand', () => {
    expectInvalid('!=a', '!!=a == "x"');
    expect(canonical('! !a != "x"')).toBe('a != "x"');
  });
});

describe('canonical text', () => {
  test.each([
    ['', 'all()'],
    [' \t ', 'all()'],
    ['((has(a)))', 'has(a)'],
    ['a=="1"&&b=="2"', '(a == "1" && b == "2")'],
    ['a=="1"||b=="2"&&c=="3"', '(a == "1" || (b == "2" && c == "3"))'],
    ['(a=="1"||b=="2")&&c=="3"', '((a == "1" || b == "2") && c == "3")'],
    ['has(a)&&(has(b)&&has(c))&&has(d)', '(has(a) && (has(b) && has(c)) && has(d))'],
    ['has(a)||(has(b)||has(c))', '(has(a) || (has(b) || has(c)))'],
    ['!(has(a)&&has(b))', '!(has(a) && has(b))'],
    ['!!!has(a)', '!has(a)'],
    ['!!has(a)', 'has(a)'],
    ['!(a == "b")', '!a == "b"'],
    ["a == 'x'", 'a == "x"'],
    [`a == 'x"y'`, `a == 'x"y'`],
    [`a in {'x"y', "it's", "b", 'b'}`, `a in {"b", "it's", 'x"y'}`],
    ['a in {"\u{10000}", "\uffff", "é", "z", ""}', 'a in {"", "z", "é", "\uffff", "\u{10000}"}'],
  ])('%j', (text, expected) => {
    expect(canonical(text)).toBe(expected);
    expect(canonical(expected)).toBe(expected);
  });

  test('is not idempotent for a negated negation, as in Calico', () => {
    const selector = parseSelector('!(!has(a))');
    expect(selector.canonical).toBe('!!has(a)');
    const again = parseSelector(selector.canonical);
    expect(again.canonical).toBe('has(a)');
    expect(again.id).not.toBe(selector.id);
    expect(selector.matches({ a: '' })).toBe(true);
    expect(selector.matches({})).toBe(false);
  });

  // The same vectors as test/base/hash.test.ts, from sources that are not canonical yet.
  test.each([
    ['', 's:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug'],
    ["role=='db'", 's:rV61RKD1Q8wo61pyeB0j2rwE3eiBOFbx0SsYKg'],
    ["projectcalico.org/serviceaccount in {'web','api'}", 's:7iaKulPW5pm3VtzAj5nN44qKpdDRmR5gh5kEcA'],
    ['projectcalico.org/namespace == "app" && (role == "db")', 's:wzWenftES5m57582q7DjzqyIT7SKWwyDbozj6Q'],
    [
      "projectcalico.org/namespace=='app'&&(pcsa.tier=='gold'&&projectcalico.org/serviceaccount in{'api'})",
      's:ZwZU2LI69LjYtqRYLeFw7pTGXttb1CakDPSXTg',
    ],
  ])('ID of %j', (text, id) => {
    expect(parseSelector(text).id).toBe(id);
  });
});

describe('evaluation', () => {
  const present: readonly (readonly [string, string, boolean])[] = [
    ['k == "x"', 'x', true],
    ['k == "x"', 'X', false],
    ['k == ""', '', true],
    ['k != "x"', 'xx', true],
    ['k != "x"', 'x', false],
    ['k in {"x", "y"}', 'y', true],
    ['k in {"x", "y"}', 'z', false],
    ['k not in {"x", "y"}', 'z', true],
    ['k not in {"x", "y"}', 'x', false],
    ['k contains "b"', 'abc', true],
    ['k contains "b"', 'ac', false],
    ['k contains ""', '', true],
    ['k starts with "ab"', 'abc', true],
    ['k starts with "b"', 'abc', false],
    ['k starts with ""', '', true],
    ['k ends with "bc"', 'abc', true],
    ['k ends with "b"', 'abc', false],
    ['k ends with ""', 'x', true],
    ['has(k)', '', true],
    ['all()', 'x', true],
    ['global()', 'x', true],
    ['!k == "x"', 'x', false],
    ['!k == "x"', 'y', true],
  ];
  const absent: readonly (readonly [string, boolean])[] = [
    ['k == ""', false],
    ['k != ""', true],
    ['k in {""}', false],
    ['k in {}', false],
    ['k not in {""}', true],
    ['k not in {}', true],
    ['k contains ""', false],
    ['k starts with ""', false],
    ['k ends with ""', false],
    ['has(k)', false],
    ['all()', true],
    ['global()', true],
    ['!has(k)', true],
    ['!k != "x"', false],
  ];

  test.each(present)('%s with k = %j is %s', (text, value, expected) => {
    expect(parseSelector(text).matches({ k: value })).toBe(expected);
    expect(evaluate(parseSelector(text).root, () => value)).toBe(expected);
  });

  test.each(absent)('%s without k is %s', (text, expected) => {
    expect(parseSelector(text).matches({ K: 'x', kk: 'x' })).toBe(expected);
    expect(evaluate(parseSelector(text).root, () => undefined)).toBe(expected);
  });

  test('&& needs all, || needs one', () => {
    const both = parseSelector('has(a) && has(b) && has(c)');
    const any = parseSelector('has(a) || has(b) || has(c)');
    expect([both.matches({ a: '', b: '', c: '' }), both.matches({ a: '', b: '' })]).toEqual([true, false]);
    expect([any.matches({ c: '' }), any.matches({ d: '' })]).toEqual([true, false]);
  });

  test('keys of the prototype are ordinary keys', () => {
    for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'get', '__defineGetter__']) {
      const selector = parseSelector(`has(${key})`);
      expect(selector.matches({}), key).toBe(false);
      expect(selector.matches(new Map()), key).toBe(false);
      expect(selector.matches(JSON.parse(`{"${key}": "x"}`)), key).toBe(true);
      expect(selector.matches(new Map([[key, 'x']])), key).toBe(true);
      expect(selector.matches(Object.assign(Object.create(null), { a: 'x' })), key).toBe(false);
    }
    expect(parseSelector('constructor != "x"').matches({})).toBe(true);
  });

  test('a map need not be a Map', () => {
    class Inherited extends Map<string, string> {
      override get(key: string): string | undefined {
        return super.get(key) ?? (key === 'pcns.env' ? 'prod' : undefined);
      }
    }
    expect(parseSelector('pcns.env == "prod" && a == "1"').matches(new Inherited([['a', '1']]))).toBe(true);
  });
});

describe('prefixKeys', () => {
  test('prefixes every key and nothing else', () => {
    const { root } = parseSelector(
      'all() && global() && has(a) && !(b == "a" || c != "a") && d in {"a"} && e not in {} && ' +
        'f contains "a" && g starts with "a" && h ends with "a"',
    );
    const before = canonicalText(root);
    expect(canonicalText(prefixKeys(root, 'pcsa.'))).toBe(
      '(all() && global() && has(pcsa.a) && !(pcsa.b == "a" || pcsa.c != "a") && pcsa.d in {"a"} && ' +
        'pcsa.e not in {} && pcsa.f contains "a" && pcsa.g starts with "a" && pcsa.h ends with "a")',
    );
    expect(canonicalText(root)).toBe(before);
  });

  test('prefixes a prefixed key again, and may outgrow what the parser takes', () => {
    expect(canonicalText(prefixKeys(parseSelector('has(pcns.a)').root, 'pcns.'))).toBe('has(pcns.pcns.a)');
    const longest = prefixKeys(parseSelector(`has(${'k'.repeat(512)})`).root, 'pcns.');
    expectInvalid(canonicalText(longest));
  });
});

describe('Normalise', () => {
  test('trims what Go calls white space, before and after', () => {
    const spaces = '\t\n\v\f\r \u0085\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000';
    expect(normaliseSelector(`${spaces}has( a )${spaces}`)).toBe('has(a)');
    expect(normaliseSelector(spaces)).toBe('all()');
    expect(normaliseSelector('')).toBe('all()');
  });

  test('gives text that does not parse back, trimmed only', () => {
    expect(normaliseSelector(' a  = "x" ')).toBe('a  = "x"');
    expect(normaliseSelector('\ufeffhas(a)')).toBe('\ufeffhas(a)');
    expect(normaliseSelector('\u200bhas(a)')).toBe('\u200bhas(a)');
  });

  test('does not hide our own errors', () => {
    expect(() => normaliseSelector([] as unknown as string)).toThrow(TypeError);
  });
});

test('the result keeps the text as given', () => {
  const text = " role == 'db'";
  expect(parseSelector(text)).toMatchObject({ text, root: { kind: '==', key: 'role', value: 'db' } });
});

test('a node of no known kind stops every walk', () => {
  const stranger = { kind: 'xor' } as unknown as Node;
  for (const walk of [
    () => evaluate(stranger, () => undefined),
    () => compileNode(stranger)(() => undefined),
    () => canonicalText(stranger),
    () => prefixKeys(stranger, 'pcns.'),
  ]) {
    expect(walk).toThrow('broken invariant: unexpected case {"kind":"xor"}');
  }
});
