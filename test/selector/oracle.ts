/**
 * A second reading of the selector language, written straight from the grammar with regular expressions and recursion,
 * to hold the real parser against. Slow, without messages, and without limits; shares no code with src/selector.
 */

/** Truth for labels given as a map, or undefined where the text is no selector. */
export type Predicate = (labels: ReadonlyMap<string, string>) => boolean;

const KEY = '[A-Za-z0-9_./-]{1,512}(?![A-Za-z0-9_./-])';
const STRING = `"[^"]*"|'[^']*'`;

export function oracle(text: string): Predicate | undefined {
  if (/^[ \t]*$/.test(text)) return () => true;
  const state = { text, at: 0 };
  const predicate = readOr(state);
  return predicate !== undefined && take(state, '$') !== undefined ? predicate : undefined;
}

interface State {
  readonly text: string;
  at: number;
}

function take(state: State, pattern: string): RegExpExecArray | undefined {
  const expression = new RegExp(`[ \\t]*(?:${pattern})`, 'y');
  expression.lastIndex = state.at;
  const match = expression.exec(state.text) ?? undefined;
  if (match !== undefined) state.at = expression.lastIndex;
  return match;
}

function readOr(state: State): Predicate | undefined {
  let left = readAnd(state);
  while (left !== undefined && take(state, '\\|\\|')) {
    const first: Predicate = left;
    const second = readAnd(state);
    left = second && ((labels) => first(labels) || second(labels));
  }
  return left;
}

function readAnd(state: State): Predicate | undefined {
  let left = readUnary(state);
  while (left !== undefined && take(state, '&&')) {
    const first: Predicate = left;
    const second = readUnary(state);
    left = second && ((labels) => first(labels) && second(labels));
  }
  return left;
}

function readUnary(state: State): Predicate | undefined {
  if (take(state, '!(?!=)')) {
    const operand = readUnary(state);
    return operand && ((labels) => !operand(labels));
  }
  if (take(state, '\\(')) {
    const inner = readOr(state);
    return take(state, '\\)') && inner;
  }
  const has = take(state, `has\\([ \\t]*(${KEY})[ \\t]*\\)`);
  if (has) return (labels) => labels.has(has[1]!);
  if (take(state, '(?:all|global)\\([ \\t]*\\)')) return () => true;
  return readComparison(state);
}

function readComparison(state: State): Predicate | undefined {
  const key = take(state, `(${KEY})`)?.[1];
  if (key === undefined) return undefined;
  const operator = take(
    state,
    '(==|!=|(?:contains|starts[ \\t]*with|ends[ \\t]*with|not[ \\t]*in|in)(?![A-Za-z0-9_./-]))',
  )?.[1]?.replace(/[ \t]/g, '');
  if (operator === 'in' || operator === 'notin') {
    const set = take(state, `\\{[ \\t]*((?:(?:${STRING})[ \\t]*,[ \\t]*)*(?:${STRING})?)[ \\t]*\\}`)?.[1];
    if (set === undefined) return undefined;
    const members = new Set([...set.matchAll(new RegExp(STRING, 'g'))].map((match) => match[0].slice(1, -1)));
    return (labels) => (labels.has(key) && members.has(labels.get(key)!)) === (operator === 'in');
  }
  const value = take(state, `(${STRING})`)?.[1]?.slice(1, -1);
  if (operator === undefined || value === undefined) return undefined;
  return (labels) => {
    const label = labels.get(key);
    if (label === undefined) return operator === '!=';
    const at = label.indexOf(value);
    if (operator === '==') return label === value;
    if (operator === '!=') return label !== value;
    if (operator === 'contains') return at >= 0;
    return operator === 'startswith' ? at === 0 : label.slice(label.length - value.length) === value;
  };
}
