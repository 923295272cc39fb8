import { describe, expect, test } from 'vitest';
import { PolicyError } from '../../src/base/errors.ts';
import { NODE_DEPTH_MAX, SELECTOR_TEXT_BYTES_MAX, SET_MEMBERS_MAX } from '../../src/selector/parse.ts';
import { parseSelector } from '../../src/selector/selector.ts';
import { LABEL_KEY_BYTES_MAX } from '../../src/selector/tokens.ts';

const OPERATORS = "'==', '!=', 'in', 'not in', 'contains', 'starts with' or 'ends with'";
const OPERAND = "expected a label, 'has(…)', 'all()', 'global()', '!' or '('";
const JUNCTION = "expected '&&', '||' or the end of the selector";

function errorOf(text: string): PolicyError {
  try {
    parseSelector(text);
  } catch (error) {
    if (error instanceof PolicyError) return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(text.slice(0, 60))} parses`);
}

describe('syntax errors quote the text, name its column and what was expected', () => {
  test.each([
    ['role =~ "x"', "unknown operator '=~' at column 6; use '==', '!=', 'in' or 'not in'"],
    ['a = "b"', "unknown operator '=' at column 3; use '==', '!=', 'in' or 'not in'"],
    ['a === "b"', "unknown operator '===' at column 3; use '==', '!=', 'in' or 'not in'"],
    ['a & b', "unknown operator '&' at column 3; use '==', '!=', 'in' or 'not in'"],
    ['a like "b"', `unknown operator 'like' at column 3; use ${OPERATORS}`],
    ['a inx', `unknown operator 'inx' at column 3; use ${OPERATORS}`],
    ['a containsx', `unknown operator 'containsx' at column 3; use ${OPERATORS}`],
    ['a has(b)', `unknown operator 'has' at column 3; use ${OPERATORS}`],
    ['a starts "b"', "unknown operator 'starts' at column 3; did you mean 'starts with'?"],
    ['a ends  wiht "b"', "unknown operator 'ends  wiht' at column 3; did you mean 'ends with'?"],
    ['a not\tinx {}', "unknown operator 'not\\tinx' at column 3; did you mean 'not in'?"],
    ['a', `unexpected end of selector at column 2; expected an operator after label 'a': ${OPERATORS}`],
    ['a && b', `unexpected '&&' at column 3; expected an operator after label 'a': ${OPERATORS}`],
    ['a||!b', `unexpected '||' at column 2; expected an operator after label 'a': ${OPERATORS}`],
    ['(a)', `unexpected ')' at column 3; expected an operator after label 'a': ${OPERATORS}`],
    ['a "b"', `unexpected '"b"' at column 3; expected an operator after label 'a': ${OPERATORS}`],
    ['gobal()', `unexpected '(' at column 6; expected an operator after label 'gobal': ${OPERATORS}`],
    ['has (a)', "blank between 'has' and '(' at column 4; write 'has(' without it"],
    ['!all\t()', "blank between 'all' and '(' at column 5; write 'all(' without it"],
    ['global ()', "blank between 'global' and '(' at column 7; write 'global(' without it"],
    ['has()', "unexpected ')' at column 5; expected a label key without quotes, like has(role)"],
    ['has("a")', "unexpected '\"' at column 5; expected a label key without quotes, like has(role)"],
    ['has( ', 'unexpected end of selector at column 6; expected a label key without quotes, like has(role)'],
    ['has(a b)', "unexpected 'b' at column 7; expected ')' after 'has(a'"],
    ['has(a', "unexpected end of selector at column 6; expected ')' after 'has(a'"],
    ['has(a\n)', "unexpected '\\n' at column 6; expected ')' after 'has(a'; write the selector on one line"],
    ['all(x)', "unexpected 'x' at column 5; expected ')' after 'all('"],
    ['global(', "unexpected end of selector at column 8; expected ')' after 'global('"],
    ['()', `unexpected ')' at column 2; ${OPERAND}`],
    ['!', `unexpected end of selector at column 2; ${OPERAND}`],
    ['"a" == "b"', `unexpected '"a"' at column 1; ${OPERAND}`],
    ['!= "b"', `unexpected '!=' at column 1; ${OPERAND}`],
    ['=', `unexpected '=' at column 1; ${OPERAND}`],
    ['& a', `unexpected '&' at column 1; ${OPERAND}`],
    ['has(a) && | b', `unexpected '|' at column 11; ${OPERAND}`],
    ['😀 == "b"', `unexpected '😀' at column 1; ${OPERAND}`],
    ['has(a) &&', `unexpected end of selector at column 10; ${OPERAND}`],
    ['\n', `unexpected '\\n' at column 1; ${OPERAND}; write the selector on one line`],
    ['a == 5', "unexpected '5' at column 6; expected a string after '=='; write \"5\""],
    ['a != b', "unexpected 'b' at column 6; expected a string after '!='; write \"b\""],
    ['a starts with', "unexpected end of selector at column 14; expected a string after 'starts with'"],
    ['a contains {"b"}', "unexpected '{' at column 12; expected a string after 'contains'"],
    ['a == "x', 'unclosed string \'"x\' at column 6; add the closing "'],
    ['a == \'x"', "unclosed string ''x\"' at column 6; add the closing '"],
    ['a in "x"', 'unexpected \'"x"\' at column 6; expected \'{\' after \'in\', like in {"x", "y"}'],
    ['a not in', 'unexpected end of selector at column 9; expected \'{\' after \'not in\', like not in {"x", "y"}'],
    ['a in {x}', "unexpected 'x' at column 7; expected a string or '}'; write \"x\""],
    ['a in {,}', "unexpected ',' at column 7; expected a string or '}'"],
    ['a in {"x",,}', "unexpected ',' at column 11; expected a string or '}'"],
    ['a in {"x" "y"}', "unexpected '\"y\"' at column 11; expected ',' or '}'"],
    ['a in {"x"', "unexpected end of selector at column 10; expected ',' or '}'"],
    ['a == "b" c == "d"', `unexpected 'c' at column 10; ${JUNCTION}`],
    ['a == "b")', `unexpected ')' at column 9; ${JUNCTION}`],
    ['all() =', `unexpected '=' at column 7; ${JUNCTION}`],
    ['all()\r\n', `unexpected '\\r' at column 6; ${JUNCTION}; write the selector on one line`],
    ['(a == "b"', "unexpected end of selector at column 10; expected '&&', '||' or ')' for the '(' at column 1"],
    ['all() && (!(has(a) ]', "unexpected ']' at column 20; expected '&&', '||' or ')' for the '(' at column 12"],
    [
      'a\n== "b"',
      `unexpected '\\n' at column 2; expected an operator after label 'a': ${OPERATORS}; write the selector on one line`,
    ],
  ])('%j', (text, message) => {
    const error = errorOf(text);
    expect(error.message).toBe(message);
    expect(error.code).toBe('selector-syntax');
    expect(error.message).toContain(` at column ${error.column};`);
  });

  test('the first mistake from the left is the one reported', () => {
    expect(errorOf('() @ "').column).toBe(2);
    expect(errorOf('a == "b" "').column).toBe(10);
  });

  test('long text is cut in the message', () => {
    expect(errorOf(`a == ${'"'.padEnd(100, 'x')}`).message).toBe(
      `unclosed string '"${'x'.repeat(39)}…' at column 6; add the closing "`,
    );
  });
});

describe('limits', () => {
  test('a key has at most 512 bytes, in a comparison and in has()', () => {
    const key = 'k'.repeat(LABEL_KEY_BYTES_MAX);
    expect(parseSelector(`${key} == "x" && has(${key})`).canonical).toBe(`(${key} == "x" && has(${key}))`);
    const shown = `'${'k'.repeat(40)}…' of 513 bytes`;
    const fix = 'label keys have at most 512 bytes';
    expect(errorOf(`${key}k == "x"`).message).toBe(`label key ${shown} at column 1; ${fix}`);
    expect(errorOf(`! has( ${key}k)`).message).toBe(`label key ${shown} at column 8; ${fix}`);
  });

  test('the text is measured in bytes', () => {
    const fits = `a == "${'é'.repeat((SELECTOR_TEXT_BYTES_MAX - 8) / 2)}" `;
    expect(Buffer.byteLength(fits)).toBe(SELECTOR_TEXT_BYTES_MAX);
    expect(parseSelector(fits).canonical).toBe(fits.trimEnd());
    const error = errorOf(`${fits} `);
    expect(error.message).toBe('selector of 65537 bytes; at most 65536 bytes are supported');
    expect([error.code, error.column]).toEqual(['selector-limit', undefined]);
  });

  test('a set has at most 10 000 members', () => {
    expect(parseSelector(`a in {${'"",'.repeat(SET_MEMBERS_MAX)}}`).canonical).toBe('a in {""}');
    const error = errorOf(`a in {${'"",'.repeat(SET_MEMBERS_MAX)}""}`);
    expect(error.message).toBe('more than 10000 members in a set at column 30007; at most 10000 are supported');
    expect([error.code, error.column]).toEqual(['selector-limit', 30_007]);
  });

  test('a tree is at most 1000 deep, and at that depth everything works', () => {
    const nots = (count: number) => `${'!('.repeat(count)}has(a)${')'.repeat(count)}`;
    const deepest = parseSelector(nots(NODE_DEPTH_MAX - 1));
    expect(deepest.matches({})).toBe(true);
    expect(deepest.matches({ a: '' })).toBe(false);
    const error = errorOf(nots(NODE_DEPTH_MAX));
    const column = NODE_DEPTH_MAX * 3 + 'has(a)'.length;
    expect(error.message).toBe(`selector nested 1001 deep at column ${column}; at most 1000 levels are supported`);
    expect([error.code, error.column]).toEqual(['selector-limit', column]);
    const junctions = (count: number) => `${'(all()&&(all()||'.repeat(count)}has(a)${'))'.repeat(count)}`;
    expect(parseSelector(junctions(499)).matches({})).toBe(true);
    expect(errorOf(junctions(500)).code).toBe('selector-limit');
  });
});

describe('hostile input', () => {
  test('parentheses and bangs without end', () => {
    expect(errorOf('('.repeat(50_000)).column).toBe(50_001);
    expect(errorOf('!'.repeat(50_000)).column).toBe(50_001);
    expect(errorOf('!('.repeat(25_000)).column).toBe(50_001);
    expect(errorOf('{'.repeat(50_000)).column).toBe(1);
    expect(errorOf('"'.repeat(50_001)).column).toBe(1);
  });

  test('redundant parentheses and runs of bangs cost nothing', () => {
    const deep = `${'('.repeat(30_000)}has(a)${')'.repeat(30_000)}`;
    expect(parseSelector(deep).canonical).toBe('has(a)');
    expect(parseSelector(`${'!'.repeat(50_001)}has(a)`).canonical).toBe('!has(a)');
    expect(parseSelector(`${'! \t'.repeat(20_000)}has(a)`).canonical).toBe('has(a)');
  });

  test('closed nesting past the limit is an error, not a stack overflow', () => {
    const count = 16_000;
    expect(errorOf(`${'!('.repeat(count)}has(a)${')'.repeat(count)}`).code).toBe('selector-limit');
    expect(errorOf(`${'(a==""||'.repeat(7000)}has(a)${')'.repeat(7000)}`).code).toBe('selector-limit');
  });

  test('wide selectors work', () => {
    const count = 10_000;
    const wide = Array.from({ length: count }, () => 'a==""')
      .join('&&')
      .slice(0, 65_529);
    expect(parseSelector(wide.slice(0, wide.lastIndexOf('&&'))).matches({ a: '' })).toBe(true);
    expect(parseSelector(Array.from({ length: 8000 }, () => 'all()').join('||')).matches({})).toBe(true);
  });

  test('NUL, control characters and lone surrogates are values like any other inside quotes, errors outside', () => {
    const value = '\0\n\r\u202e\ud800';
    expect(parseSelector(`a == "${value}"`).matches({ a: value })).toBe(true);
    for (const character of value) expect(errorOf(`${character}a == "b"`).column).toBe(1);
  });
});
