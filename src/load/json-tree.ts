/**
 * The positions of a JSON text: where each key and each value begins.
 *
 * Values come from the native `JSON.parse`, which is fast and says nothing about places. Only where a place is needed
 * (an error, the line of a rule) is the text read a second time, here, into a tree of offsets. The same reading names
 * the first syntax error of a text that `JSON.parse` refused, and finds keys that an object holds twice, of which
 * `JSON.parse` silently keeps the last. Source of the grammar: RFC 8259.
 */
import type { FieldPath } from './problem.ts';

/** A value of a JSON text: offsets into it. */
export interface JsonNode {
  readonly start: number;
  /** Of an object; of a key given twice the last. */
  readonly members: ReadonlyMap<string, JsonMember> | undefined;
  /** Of an array. */
  readonly items: readonly JsonNode[] | undefined;
}

export interface JsonMember {
  readonly keyStart: number;
  readonly value: JsonNode;
}

/** A key that its object already holds. */
export interface DuplicateKey {
  readonly offset: number;
  readonly path: FieldPath;
}

/** What is wrong with a JSON text, and at which offset. */
export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError';
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

/** Reads one value with white space around it. Throws `JsonSyntaxError`, also for more than `depthMax` levels. */
export function parseJsonTree(text: string, depthMax: number): { root: JsonNode; duplicates: DuplicateKey[] } {
  const reader = new TreeReader(text, depthMax);
  const root = reader.document();
  return { root, duplicates: reader.duplicates };
}

/** Offset of the value at `path`, of its key where it has one; of the nearest enclosing value where it is absent. */
export function offsetOfPath(root: JsonNode, path: FieldPath): number {
  let node = root;
  let offset = root.start;
  for (const part of path) {
    if (typeof part === 'number') {
      const item = node.items?.[part];
      if (item === undefined) return offset;
      node = item;
      offset = item.start;
    } else {
      const member = node.members?.get(part);
      if (member === undefined) return offset;
      node = member.value;
      offset = member.keyStart;
    }
  }
  return offset;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const LITERAL = /(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)(?![\w.+-])/y;

class TreeReader {
  readonly duplicates: DuplicateKey[] = [];
  private readonly text: string;
  private readonly depthMax: number;
  private readonly path: (string | number)[] = [];
  private at = 0;

  constructor(text: string, depthMax: number) {
    this.text = text;
    this.depthMax = depthMax;
  }

  document(): JsonNode {
    this.skipSpace();
    const root = this.value(1);
    this.skipSpace();
    if (this.at < this.text.length) throw this.unexpected('the end of the document');
    return root;
  }

  private value(depth: number): JsonNode {
    const start = this.at;
    const code = this.text.charCodeAt(start);
    if (code === OPEN_OBJECT || code === OPEN_LIST) {
      if (depth > this.depthMax) throw new JsonSyntaxError(`nested deeper than ${this.depthMax} levels`, start);
      return code === OPEN_OBJECT ? this.object(depth) : this.list(depth);
    }
    if (code === QUOTE) this.stringEnd();
    else this.literal();
    return { start, members: undefined, items: undefined };
  }

  private object(depth: number): JsonNode {
    const start = this.at++;
    const members = new Map<string, JsonMember>();
    this.skipSpace();
    if (this.text.charCodeAt(this.at) === CLOSE_OBJECT) this.at++;
    else {
      do {
        this.skipSpace();
        const keyStart = this.at;
        if (this.text.charCodeAt(keyStart) !== QUOTE) throw this.unexpected('a key in double quotes');
        const key = this.string();
        this.path.push(key);
        if (members.has(key)) this.duplicates.push({ offset: keyStart, path: [...this.path] });
        this.skipSpace();
        if (this.text.charCodeAt(this.at) !== COLON) throw this.unexpected("':' after the key");
        this.at++;
        this.skipSpace();
        members.set(key, { keyStart, value: this.value(depth + 1) });
        this.path.pop();
      } while (this.isContinued(CLOSE_OBJECT, "',' or '}'"));
    }
    return { start, members, items: undefined };
  }

  private list(depth: number): JsonNode {
    const start = this.at++;
    const items: JsonNode[] = [];
    this.skipSpace();
    if (this.text.charCodeAt(this.at) === CLOSE_LIST) this.at++;
    else {
      do {
        this.skipSpace();
        this.path.push(items.length);
        items.push(this.value(depth + 1));
        this.path.pop();
      } while (this.isContinued(CLOSE_LIST, "',' or ']'"));
    }
    return { start, members: undefined, items };
  }

  /** Reads the comma before a further member (true) or the closing bracket (false). */
  private isContinued(close: number, expected: string): boolean {
    this.skipSpace();
    const code = this.text.charCodeAt(this.at);
    if (code !== COMMA && code !== close) throw this.unexpected(expected);
    this.at++;
    return code === COMMA;
  }

  /** Reads a string and gives its value. */
  private string(): string {
    const start = this.at;
    const hasEscapes = this.stringEnd();
    const text = this.text.slice(start, this.at);
    return hasEscapes ? (JSON.parse(text) as string) : text.slice(1, -1);
  }

  /** Reads a string; whether it has escapes. */
  private stringEnd(): boolean {
    const { text, at: start } = this;
    let hasEscapes = false;
    let at = start + 1;
    for (;;) {
      const code = text.charCodeAt(at);
      if (code === QUOTE) break;
      if (code === BACKSLASH) {
        hasEscapes = true;
        at += 2;
      } else if (code >= 0x20) at++;
      else if (at >= text.length) throw new JsonSyntaxError('text in quotes without an end', start);
      else throw new JsonSyntaxError('control character or line end inside quotes', at);
    }
    if (at >= text.length) throw new JsonSyntaxError('text in quotes without an end', start);
    this.at = at + 1;
    if (hasEscapes) this.checkEscapes(start);
    return hasEscapes;
  }

  private checkEscapes(start: number): void {
    try {
      JSON.parse(this.text.slice(start, this.at));
    } catch {
      throw new JsonSyntaxError('escape sequence that JSON does not know', start);
    }
  }

  private literal(): void {
    LITERAL.lastIndex = this.at;
    const match = LITERAL.exec(this.text);
    if (match === null) throw this.unexpected('a value');
    this.at += match[0].length;
  }

  private skipSpace(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.at++;
    }
  }

  private unexpected(expected: string): JsonSyntaxError {
    const found =
      this.at < this.text.length ? `'${String.fromCodePoint(this.text.codePointAt(this.at)!)}'` : 'end of text';
    return new JsonSyntaxError(`unexpected ${found}, expected ${expected}`, this.at);
  }
}
