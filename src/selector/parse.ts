/**
 * Selector text to tree.
 *
 *     selector := nothing                      the same as all()
 *               | or end
 *     or       := and ( "||" and )*
 *     and      := unary ( "&&" unary )*
 *     unary    := "!"* primary                 an odd number of bangs negates once, an even number not at all
 *     primary  := "(" or ")" | has(KEY) | all() | global()
 *               | KEY ( == | != | contains | starts with | ends with ) STRING
 *               | KEY ( in | not in ) "{" [ STRING ( "," STRING )* [ "," ] ] "}"
 *
 * A recursive parser dies of a stack overflow on `((((…`, so this one keeps its own stack: one frame per open
 * parenthesis, holding the finished terms of its `||` and the finished factors of the `&&` in progress. Parentheses
 * cost nothing in the tree, and tree depth is limited, so that evaluation and printing may recurse safely.
 *
 * Worked example, `a == "1" || !(has(b) && has(c))`:
 *
 *     read              stack of frames, each [terms | factors]
 *     a == "1"          [ | a == "1"]
 *     ||                [a == "1" | ]
 *     !(                [a == "1" | ] [ | ]            the new frame remembers the bang
 *     has(b) && has(c)  [a == "1" | ] [ | has(b), has(c)]
 *     )                 [a == "1" | not(and(has(b), has(c)))]
 *     end               or(a == "1", not(and(has(b), has(c))))
 *
 * Time and memory are linear in the text. Source: Calico libcalico-go/lib/selector/parser/parser.go.
 */
import { PolicyError, quoteText, SELECTOR_LIMIT, shownText } from '../base/errors.ts';
import { type JunctionNode, type Node, setNode } from './ast.ts';
import { Lexer, OPERATOR_LIST, syntaxError, type Token, type TokenKind, unexpectedText } from './tokens.ts';

/** Longest selector text in UTF-8 bytes. The API allows 1024 characters where it has a limit at all. */
export const SELECTOR_TEXT_BYTES_MAX = 65_536;

/** Most members between one pair of braces, duplicates counted. */
export const SET_MEMBERS_MAX = 10_000;

/**
 * Deepest tree, in nodes from root to leaf; redundant parentheses and runs of bangs do not count. The 1024 characters
 * of an API selector reach half of it (`!(!(!(…`). Recursion this deep stays far below Node's stack.
 */
export const NODE_DEPTH_MAX = 1000;

/** The tree of a selector, or a `PolicyError` with code `selector-syntax` or `selector-limit`. */
export function parseNode(text: string): Node {
  const lengthBytes = Buffer.byteLength(text, 'utf8');
  if (lengthBytes > SELECTOR_TEXT_BYTES_MAX) {
    throw limitError(`selector of ${lengthBytes} bytes`, `${SELECTOR_TEXT_BYTES_MAX} bytes`);
  }
  return new Parser(text).parse();
}

/** A finished subtree and its depth. */
interface Operand {
  readonly node: Node;
  readonly depth: number;
}

/** An open parenthesis, or the whole selector: `terms` are operands of `||`, `factors` those of the `&&` in progress. */
interface Frame {
  readonly open: Token | undefined;
  readonly isNegated: boolean;
  readonly terms: Operand[];
  factors: Operand[];
}

class Parser {
  readonly #lexer: Lexer;
  readonly #frames: Frame[] = [];
  #frame = newFrame(undefined, false);
  #token: Token;

  constructor(text: string) {
    this.#lexer = new Lexer(text);
    this.#token = this.#lexer.next();
  }

  parse(): Node {
    if (this.#token.kind === 'end') return { kind: 'all' };
    for (;;) {
      const operand = this.#parseUnary(); // may open frames: the operand belongs to the innermost
      this.#frame.factors.push(operand);
      while (!this.#takeJunction()) {
        const whole = this.#closeFrame();
        if (whole !== undefined) return whole;
      }
    }
  }

  /** Bangs and parentheses as they come, down to one primary. */
  #parseUnary(): Operand {
    for (;;) {
      let isNegated = false;
      while (this.#skip('!')) isNegated = !isNegated;
      if (this.#token.kind !== '(') return this.#negate({ node: this.#parsePrimary(), depth: 1 }, isNegated);
      this.#frames.push(this.#frame);
      this.#frame = newFrame(this.#token, isNegated);
      this.#advance();
    }
  }

  /** Steps over `&&` or `||`; false when the frame ends here. */
  #takeJunction(): boolean {
    const kind = this.#token.kind;
    if (kind === '||') this.#finishFactors();
    else if (kind !== '&&') return false;
    this.#advance();
    return true;
  }

  /** Ends the innermost frame: the whole tree at the end of the text, else undefined with `)` consumed. */
  #closeFrame(): Node | undefined {
    const { open, isNegated, terms } = this.#frame;
    const token = this.#token;
    if (token.kind !== (open === undefined ? 'end' : ')')) throw this.#unexpectedAfterOperand(open);
    this.#finishFactors();
    const operand = this.#negate(this.#join('or', terms), isNegated);
    const outer = this.#frames.pop();
    if (outer === undefined) return operand.node;
    this.#frame = outer;
    outer.factors.push(operand);
    this.#advance();
    return undefined;
  }

  #finishFactors(): void {
    this.#frame.terms.push(this.#join('and', this.#frame.factors));
    this.#frame.factors = [];
  }

  #join(kind: JunctionNode['kind'], operands: readonly Operand[]): Operand {
    if (operands.length === 1) return operands[0]!;
    const depth = 1 + operands.reduce((depthMax, operand) => Math.max(depthMax, operand.depth), 0);
    return this.#checkDepth({ node: { kind, operands: operands.map((operand) => operand.node) }, depth });
  }

  #negate(operand: Operand, isNegated: boolean): Operand {
    if (!isNegated) return operand;
    return this.#checkDepth({ node: { kind: 'not', operand: operand.node }, depth: operand.depth + 1 });
  }

  #checkDepth(operand: Operand): Operand {
    if (operand.depth <= NODE_DEPTH_MAX) return operand;
    throw limitError(`selector nested ${operand.depth} deep`, `${NODE_DEPTH_MAX} levels`, this.#token.start);
  }

  #parsePrimary(): Node {
    const token = this.#token;
    switch (token.kind) {
      case 'has':
        this.#advance();
        return { kind: 'has', key: token.value };
      case 'all':
      case 'global':
        this.#advance();
        return { kind: token.kind };
      case 'label':
        this.#advance();
        return this.#parseComparison(token);
      default:
        throw this.#unexpected("expected a label, 'has(…)', 'all()', 'global()', '!' or '('");
    }
  }

  /** What follows a label: operator and operand. */
  #parseComparison(label: Token): Node {
    const key = label.value;
    const kind = this.#token.kind;
    switch (kind) {
      case '==':
      case '!=':
      case 'contains':
      case 'starts with':
      case 'ends with':
        this.#advance();
        return { kind, key, value: this.#takeString(kind) };
      case 'in':
      case 'not in':
        this.#advance();
        return setNode(kind, key, this.#takeMembers(kind));
      default:
        throw this.#missingOperator(label);
    }
  }

  #takeString(operator: string): string {
    const { value } = this.#token;
    if (this.#skip('string')) return value;
    throw this.#unexpected(`expected a string after '${operator}'${this.#quoteAdvice()}`);
  }

  /** The strings between `{` and `}`; one comma after the last is allowed. */
  #takeMembers(operator: string): string[] {
    if (!this.#skip('{')) throw this.#unexpected(`expected '{' after '${operator}', like ${operator} {"x", "y"}`);
    const members: string[] = [];
    let isComplete = false;
    while (!isComplete && this.#token.kind === 'string') {
      if (members.length === SET_MEMBERS_MAX) {
        throw limitError(`more than ${SET_MEMBERS_MAX} members in a set`, `${SET_MEMBERS_MAX}`, this.#token.start);
      }
      members.push(this.#token.value);
      this.#advance();
      isComplete = !this.#skip(',');
    }
    if (this.#skip('}')) return members;
    throw this.#unexpected(isComplete ? "expected ',' or '}'" : `expected a string or '}'${this.#quoteAdvice()}`);
  }

  /** Steps over the token if it is of this kind. */
  #skip(kind: TokenKind): boolean {
    if (this.#token.kind !== kind) return false;
    this.#advance();
    return true;
  }

  #advance(): void {
    this.#token = this.#lexer.next();
  }

  /** A label with no operator after it; tells a function with a stray blank from a forgotten comparison. */
  #missingOperator(label: Token): PolicyError {
    const word = label.value;
    if (this.#token.kind === '(' && (word === 'has' || word === 'all' || word === 'global')) {
      return syntaxError(`blank between ${quoteText(word)} and '('`, label.end, `write '${word}(' without it`);
    }
    return this.#unexpected(`expected an operator after label ${quoteText(word)}: ${OPERATOR_LIST}`);
  }

  #unexpectedAfterOperand(open: Token | undefined): PolicyError {
    if (open === undefined) return this.#unexpected("expected '&&', '||' or the end of the selector");
    return this.#unexpected(`expected '&&', '||' or ')' for the '(' at column ${open.start + 1}`);
  }

  #unexpected(fix: string): PolicyError {
    return unexpectedText(this.#lexer.text, this.#token.start, this.#token.end, fix);
  }

  /** Where a bare word stands for a string, the string it should have been. */
  #quoteAdvice(): string {
    return this.#token.kind === 'label' ? `; write "${shownText(this.#token.value)}"` : '';
  }
}

function newFrame(open: Token | undefined, isNegated: boolean): Frame {
  return { open, isNegated, terms: [], factors: [] };
}

function limitError(problem: string, limit: string, offset?: number): PolicyError {
  const fix = `at most ${limit} are supported`;
  if (offset === undefined) return new PolicyError(SELECTOR_LIMIT, problem, { fix });
  const column = offset + 1;
  return new PolicyError(SELECTOR_LIMIT, `${problem} at column ${column}`, { column, fix });
}
