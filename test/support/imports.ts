/**
 * Finds what a TypeScript source imports, without a parser: the text is cut into words, marks and quoted strings, with
 * comments, regular expressions and template texts left out, and the few token sequences that import are picked.
 *
 * Found: `import 'x'`, `import … from 'x'`, `export … from 'x'`, `import('x')` as value or type,
 * `require('x')`, `import.meta.resolve('x')` and `new URL('x', import.meta.url)`, the way a worker's file is named.
 */

export interface ImportFound {
  /** As written between the quotes. */
  readonly specifier: string;
  /** From 1, of the quoted specifier. */
  readonly line: number;
}

export function findImports(source: string): ImportFound[] {
  const tokens = tokenize(source);
  const found: ImportFound[] = [];
  tokens.forEach((token, at) => {
    if (token.kind !== 'string') return;
    const before = (distance: number): string => tokens[at - distance]?.text ?? '';
    const isCall = before(1) === '(';
    const isImport =
      before(1) === 'import' ||
      (before(1) === 'from' && isClause(tokens, at - 2)) ||
      (isCall && (before(2) === 'import' || before(2) === 'require')) ||
      (isCall && before(2) === 'resolve' && before(4) === 'meta') ||
      (isCall && before(2) === 'URL' && /^\.{0,2}\//.test(token.text));
    if (isImport) found.push({ specifier: token.text, line: token.line });
  });
  return found;
}

/** Whether the tokens up to `last`, before `from`, lead back to `import` or `export` with nothing but names between. */
function isClause(tokens: readonly Token[], last: number): boolean {
  for (let at = last; at >= 0; at--) {
    const { kind, text } = tokens[at]!;
    if (text === 'import' || text === 'export') return true;
    if (kind === 'word' || kind === 'string' || text === '{' || text === '}' || text === ',' || text === '*') continue;
    return false;
  }
  return false;
}

interface Token {
  readonly kind: 'word' | 'string' | 'mark';
  readonly text: string;
  readonly line: number;
}

const WORD = /[\p{ID_Start}$_#][\p{ID_Continue}$]*|\d[\w.]*/uy;
const QUOTED = /'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"/y;
const BLANK = /\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\//y;
const REGULAR_EXPRESSION = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;
/** A slash after one of these begins a regular expression; after anything else it divides. */
const BEFORE_EXPRESSION = /^(?:[([{}=,;:!&|?+\-*%<>~^]|return|typeof|case|in|of|do|else|void|throw|yield|await)?$/;

function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  /** For each template that is open: how many braces are open inside its current `${`. */
  const templates: number[] = [];
  let at = 0;
  let line = 1;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0];
  };
  const advance = (text: string): void => {
    at += text.length;
    line += text.split('\n').length - 1;
  };
  const push = (kind: Token['kind'], text: string, taken = text): void => {
    tokens.push({ kind, text, line });
    advance(taken);
  };
  /** Steps over a template's text, from after its backtick or `}`, to after its end or its next `${`. */
  const skipTemplateText = (): void => {
    const text = take(/(?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{|$)/y) ?? '';
    advance(text);
    if (text.endsWith('${')) templates.push(0);
  };
  while (at < source.length) {
    const blank = take(BLANK);
    if (blank !== undefined) {
      advance(blank);
      continue;
    }
    const word = take(WORD);
    if (word !== undefined) {
      push('word', word);
      continue;
    }
    const quoted = take(QUOTED);
    if (quoted !== undefined) {
      push('string', quoted.slice(1, -1), quoted);
      continue;
    }
    const mark = source[at]!;
    const last = tokens.at(-1);
    const beginsExpression = last?.kind !== 'string' && BEFORE_EXPRESSION.test(last?.text ?? '');
    const expression = mark === '/' && beginsExpression ? take(REGULAR_EXPRESSION) : undefined;
    if (expression !== undefined) {
      push('mark', '/…/', expression);
    } else if (mark === '`') {
      push('mark', '`');
      skipTemplateText();
    } else if (mark === '}' && templates.at(-1) === 0) {
      templates.pop();
      push('mark', '}');
      skipTemplateText();
    } else {
      if (mark === '{' && templates.length > 0) templates[templates.length - 1]!++;
      if (mark === '}' && templates.length > 0) templates[templates.length - 1]!--;
      push('mark', mark);
    }
  }
  return tokens;
}
