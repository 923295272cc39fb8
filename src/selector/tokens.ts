/**
 * The words of the selector language.
 *
 * What makes this lexer unusual is that it has no keywords: a word means what its position says. Right after a label
 * a word is an operator, anywhere else it is a label, so `contains contains "x"` and `in in {"a"}` are legal. The three
 * functions are recognised by the parenthesis that follows without a blank: `has(` begins a function, `has (` is a
 * label and then a stray parenthesis. Only space and tab separate words; a newline is an error outside quotes. Strings
 * have no escapes and end at the next quote of their own kind.
 *
 * Worked example, `in notin{'a',}`: `in` is no operator here, since no label came before it, so it is label `in`. After
 * a label, `notin` is the operator `not in`. Then `{`, the string `a`, `,`, `}` and the end.
 *
 * The parser pulls one token at a time, so the first mistake from the left is the one reported. Every character is
 * looked at a bounded number of times; there are no regular expressions that could backtrack.
 * Source: Calico libcalico-go/lib/selector/tokenizer/tokenizer.go.
 */
import { PolicyError, quoteText, SELECTOR_SYNTAX, shownText } from '../base/errors.ts';
import type { SetNode, ValueNode } from './ast.ts';

/** Longest label key in bytes (keys are ASCII, so also in characters); Calico refuses longer ones. */
export const LABEL_KEY_BYTES_MAX = 512;

export type OperatorKind = ValueNode['kind'] | SetNode['kind'];

export type TokenKind =
  | OperatorKind
  | 'label'
  | 'string'
  | 'has'
  | 'all'
  | 'global'
  | '('
  | ')'
  | '{'
  | '}'
  | ','
  | '!'
  | '&&'
  | '||'
  | 'end'
  | 'invalid';

/**
 * One word of a selector. `value` is the key of `label` and `has`, the content of `string`, else empty. `invalid` is a
 * character that begins no token, left to the parser, who knows what was expected in its place.
 * `start` and `end` are offsets into the text in UTF-16 code units; the column in messages is `start + 1`.
 */
export interface Token {
  readonly kind: TokenKind;
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

/** A syntax error at `offset`: `problem at column N; fix`. */
export function syntaxError(problem: string, offset: number, fix: string): PolicyError {
  const column = offset + 1;
  return new PolicyError(SELECTOR_SYNTAX, `${problem} at column ${column}`, { column, fix });
}

/** A syntax error that quotes `text` from `start` to `end` (equal at the end of the text). */
export function unexpectedText(text: string, start: number, end: number, fix: string): PolicyError {
  const found = text.slice(start, end);
  const problem = found === '' ? 'unexpected end of selector' : `unexpected ${quoteText(found)}`;
  const isLineBreak = found === '\n' || found === '\r';
  return syntaxError(problem, start, isLineBreak ? `${fix}; write the selector on one line` : fix);
}

/** Reads a selector's tokens from left to right; after the last one it answers `end` for ever. */
export class Lexer {
  readonly text: string;
  #offset = 0;
  #isAfterLabel = false;

  constructor(text: string) {
    this.text = text;
  }

  /** The next token, or a `PolicyError` for a broken operator, function, string or key. */
  next(): Token {
    this.#skipBlanks();
    const token = this.#isAfterLabel ? this.#readAfterLabel() : this.#readWord();
    this.#isAfterLabel = token.kind === 'label';
    this.#offset = token.end;
    return token;
  }

  /** After a label: an operator if a word or a symbol run looks like one, else whatever punctuation is there. */
  #readAfterLabel(): Token {
    const start = this.#offset;
    const wordEnd = this.#keyEnd(start);
    if (wordEnd > start) return this.#readWordOperator(wordEnd);
    const symbolEnd = this.#symbolRunEnd(start);
    const symbols = this.text.slice(start, symbolEnd);
    if (symbols === '==' || symbols === '!=') return this.#token(symbols, symbolEnd);
    if (symbols === '' || symbols.startsWith('&&') || symbols.startsWith('||')) return this.#readPunctuation();
    throw this.#unknownOperator(symbolEnd, "use '==', '!=', 'in' or 'not in'");
  }

  /** `contains`, `in`, or one of the two-word operators, whose words may be joined or any number of blanks apart. */
  #readWordOperator(wordEnd: number): Token {
    const word = this.text.slice(this.#offset, wordEnd);
    const operator = WORD_OPERATORS.get(word);
    if (operator !== undefined) return this.#token(operator, wordEnd);
    const twoWords = TWO_WORD_OPERATORS.get(word);
    if (twoWords === undefined) throw this.#unknownOperator(wordEnd, `use ${OPERATOR_LIST}`);
    const secondStart = this.#blanksEnd(wordEnd);
    const secondEnd = this.#keyEnd(secondStart);
    if (this.text.slice(secondStart, secondEnd) === twoWords.second) return this.#token(twoWords.operator, secondEnd);
    throw this.#unknownOperator(secondEnd > secondStart ? secondEnd : wordEnd, `did you mean '${twoWords.operator}'?`);
  }

  /** Anywhere else: a function, a label, a string or punctuation. */
  #readWord(): Token {
    const start = this.#offset;
    const end = this.#keyEnd(start);
    if (end === start) return this.#readPunctuation();
    const word = this.text.slice(start, end);
    if (this.text[end] === '(') {
      if (word === 'has') return this.#readHas(end + 1);
      if (word === 'all' || word === 'global') return this.#readEmptyCall(word, end + 1);
    }
    checkKeyLength(word, start);
    return this.#token('label', end, word);
  }

  /** `has(` up to its `)`, with blanks allowed inside. */
  #readHas(argumentStart: number): Token {
    const keyStart = this.#blanksEnd(argumentStart);
    const keyEnd = this.#keyEnd(keyStart);
    const key = this.text.slice(keyStart, keyEnd);
    if (key === '') throw this.#unexpected(keyStart, 'expected a label key without quotes, like has(role)');
    checkKeyLength(key, keyStart);
    const close = this.#blanksEnd(keyEnd);
    if (this.text[close] !== ')') throw this.#unexpected(close, `expected ')' after 'has(${shownText(key)}'`);
    return this.#token('has', close + 1, key);
  }

  /** `all(` or `global(` up to its `)`. */
  #readEmptyCall(kind: 'all' | 'global', argumentStart: number): Token {
    const close = this.#blanksEnd(argumentStart);
    if (this.text[close] !== ')') throw this.#unexpected(close, `expected ')' after '${kind}('`);
    return this.#token(kind, close + 1);
  }

  #readPunctuation(): Token {
    const start = this.#offset;
    const character = this.text[start];
    switch (character) {
      case undefined:
        return this.#token('end', start);
      case '(':
      case ')':
      case '{':
      case '}':
      case ',':
        return this.#token(character, start + 1);
      case '"':
      case "'":
        return this.#readString(character);
      case '!':
        return this.text[start + 1] === '=' ? this.#token('!=', start + 2) : this.#token('!', start + 1);
      case '=':
      case '&':
      case '|':
        if (this.text[start + 1] === character) return this.#token(DOUBLED[character], start + 2);
        return this.#token('invalid', start + 1);
      default:
        return this.#token('invalid', start + codePointLength(this.text, start));
    }
  }

  #readString(quote: '"' | "'"): Token {
    const start = this.#offset;
    const close = this.text.indexOf(quote, start + 1);
    if (close === -1) {
      throw syntaxError(`unclosed string ${quoteText(this.text.slice(start))}`, start, `add the closing ${quote}`);
    }
    return this.#token('string', close + 1, this.text.slice(start + 1, close));
  }

  #token(kind: TokenKind, end: number, value = ''): Token {
    return { kind, value, start: this.#offset, end };
  }

  #unexpected(offset: number, fix: string): PolicyError {
    return unexpectedText(this.text, offset, offset + codePointLength(this.text, offset), fix);
  }

  #unknownOperator(end: number, fix: string): PolicyError {
    return syntaxError(`unknown operator ${quoteText(this.text.slice(this.#offset, end))}`, this.#offset, fix);
  }

  #skipBlanks(): void {
    this.#offset = this.#blanksEnd(this.#offset);
  }

  #blanksEnd(start: number): number {
    let end = start;
    while (this.text[end] === ' ' || this.text[end] === '\t') end++;
    return end;
  }

  #keyEnd(start: number): number {
    let end = start;
    while (isKeyUnit(this.text.charCodeAt(end))) end++;
    return end;
  }

  #symbolRunEnd(start: number): number {
    let end = start;
    while (end < this.text.length && OPERATOR_SYMBOLS.includes(this.text[end]!)) end++;
    return end;
  }
}

/** The operators, as messages list them. */
export const OPERATOR_LIST = "'==', '!=', 'in', 'not in', 'contains', 'starts with' or 'ends with'";

const DOUBLED = { '=': '==', '&': '&&', '|': '||' } as const;

/** Characters that people put into operators; a run of them after a label is quoted whole in the error. */
const OPERATOR_SYMBOLS = '=!~<>&|^*+%:?@#$;';

const WORD_OPERATORS: ReadonlyMap<string, OperatorKind> = new Map([
  ['contains', 'contains'],
  ['in', 'in'],
  ['notin', 'not in'],
  ['startswith', 'starts with'],
  ['endswith', 'ends with'],
]);

const TWO_WORD_OPERATORS: ReadonlyMap<string, { readonly second: string; readonly operator: OperatorKind }> = new Map([
  ['not', { second: 'in', operator: 'not in' }],
  ['starts', { second: 'with', operator: 'starts with' }],
  ['ends', { second: 'with', operator: 'ends with' }],
]);

function checkKeyLength(key: string, start: number): void {
  if (key.length <= LABEL_KEY_BYTES_MAX) return;
  const problem = `label key ${quoteText(key)} of ${key.length} bytes`;
  throw syntaxError(problem, start, `label keys have at most ${LABEL_KEY_BYTES_MAX} bytes`);
}

/** UTF-16 code units of the character at `offset`: 0 past the end, 2 for a surrogate pair, else 1. */
function codePointLength(text: string, offset: number): number {
  const codePoint = text.codePointAt(offset);
  if (codePoint === undefined) return 0;
  return codePoint > 0xffff ? 2 : 1;
}

/** True for `A-Z a-z 0-9 _ . / -`; false for NaN, the code unit past the end. */
function isKeyUnit(unit: number): boolean {
  if (unit >= 0x61 && unit <= 0x7a) return true;
  if (unit >= 0x41 && unit <= 0x5a) return true;
  return (unit >= 0x2d && unit <= 0x39) || unit === 0x5f;
}
