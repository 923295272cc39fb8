/**
 * YAML text to documents, read as kubectl's parser reads it.
 *
 * The `yaml` package gives the syntax: tokens, nodes and their offsets. What a plain scalar means is decided here
 * (`yaml-scalar.ts`), because kubectl reads the booleans and octals of YAML 1.1 but neither its dates nor its
 * sexagesimal numbers. Values are built from the nodes by our own walk, into objects without prototype, so that a key
 * `__proto__` is a key; the nodes stay behind for the line of any field.
 *
 * Limits are checked before the memory is spent: nesting token by token while the text is read, values and aliases
 * while they are built. An alias is a second reference to the same value, and counts as often as all that it repeats, so that
 * nine levels of nine aliases end in an error instead of a walk over a billion values.
 *
 * An error spoils its own document only; the others of the text are delivered.
 */
import {
  type Alias,
  Composer,
  type Document,
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  isSeq,
  Lexer,
  type ParsedNode,
  Parser,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml';
import { quoteText } from '../base/errors.ts';
import { DOCUMENT_DEPTH_MAX, YAML_ALIASES_MAX, YAML_NODES_MAX, YAML_TOKENS_MAX } from '../model/limits.ts';
import type { DocumentSink, RawDocument } from './document.ts';
import { LineTable } from './line-table.ts';
import type { FieldPath, Place } from './problem.ts';
import { keyText, resolveScalar } from './yaml-scalar.ts';

/** A text that is part of a file, and where it begins there. */
export interface TextPart {
  readonly file: string;
  readonly text: string;
  readonly origin: Place;
}

/** What one file may still hold. */
export interface YamlBudget {
  /** Values, of all its documents together. */
  nodesLeft: number;
  /** Tokens, of each document. */
  readonly tokensMax: number;
}

export function newYamlBudget(): YamlBudget {
  return { nodesLeft: YAML_NODES_MAX, tokensMax: YAML_TOKENS_MAX };
}

/** Delivers every document of `part`, and every error. Empty documents are left out. Never throws for bad text. */
export function readYaml(part: TextPart, sink: DocumentSink, budget: YamlBudget): void {
  const lines = new LineTable(part.text, part.origin);
  const fail = (error: YamlError): void =>
    sink.problem({ file: part.file, place: lines.place(error.offset), message: error.message, fix: error.fix });
  try {
    checkCharacters(part.text);
    for (const document of composeDocuments(part.text, budget.tokensMax)) {
      const failures = document.errors.map((error) => new YamlError(cleanMessage(error.message), error.pos[0], ''));
      if (failures.length > 0) fail(failures[0]!);
      else {
        const nodesLeft = budget.nodesLeft;
        try {
          deliver(document, part, lines, sink, budget);
        } catch (error) {
          // Nothing of this document is kept, so it takes nothing from those after it.
          budget.nodesLeft = nodesLeft;
          fail(asYamlError(error));
        }
      }
    }
  } catch (error) {
    fail(asYamlError(error));
  }
}

/** What is wrong with a YAML text, at which offset of it. */
class YamlError extends Error {
  override readonly name = 'YamlError';
  readonly offset: number;
  readonly fix: string;

  constructor(message: string, offset: number, fix: string) {
    super(message);
    this.offset = offset;
    this.fix = fix;
  }
}

function asYamlError(error: unknown): YamlError {
  if (error instanceof YamlError) return error;
  // The package composes nodes by recursion; our own limits come first, so this is the net below them.
  if (error instanceof RangeError) return new YamlError('nested too deeply to be read', 0, 'flatten the document');
  throw error;
}

/** The package ends its messages with ` at line L, column C:` and a picture; the place is ours to print. */
function cleanMessage(message: string): string {
  return message.replace(/ at line \d+, column \d+:[\s\S]*$/, '');
}

/** Characters that YAML does not allow anywhere; NUL would end the text in silence. */
function checkCharacters(text: string): void {
  const match = FORBIDDEN.exec(text);
  if (match === null) return;
  const code = match[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
  throw new YamlError(
    `character U+${code} is not allowed in YAML`,
    match.index,
    'remove it, or write it as an escape in double quotes',
  );
}

const FORBIDDEN = /(?![\t\n\r\u0085])[\p{Cc}\p{Cs}\ufeff\ufffe\uffff]/u;

/** Syntax of all documents, token by token, so that depth is known before the nodes exist. */
function* composeDocuments(text: string, tokensMax: number): Generator<Document.Parsed> {
  let tokenCount = 0;
  const parser = new Parser();
  const composer = new Composer({
    schema: 'failsafe',
    uniqueKeys: false,
    logLevel: 'silent',
    prettyErrors: false,
    merge: false,
  });
  for (const lexeme of new Lexer().lex(text)) {
    if (parser.stack.length > STACK_DEPTH_MAX) throw tooDeep(parser.offset);
    if (++tokenCount > tokensMax) {
      throw new YamlError(
        `more than ${tokensMax} tokens in one document`,
        parser.offset,
        'split it, or convert it to JSON',
      );
    }
    for (const token of parser.next(lexeme)) {
      for (const document of composer.next(token)) {
        tokenCount = 0;
        yield document;
      }
    }
  }
  for (const token of parser.end()) yield* composer.next(token);
  yield* composer.end();
}

/** The parser's stack holds the document, one entry a level, and at most two for the scalar in progress. */
const STACK_DEPTH_MAX = DOCUMENT_DEPTH_MAX + 3;

function tooDeep(offset: number): YamlError {
  return new YamlError(`nested deeper than ${DOCUMENT_DEPTH_MAX} levels`, offset, 'flatten the document');
}

function deliver(
  document: Document.Parsed,
  part: TextPart,
  lines: LineTable,
  sink: DocumentSink,
  budget: YamlBudget,
): void {
  if (document.contents === null) return;
  const builder = new ValueBuilder(budget);
  const root = document.contents;
  const value = builder.build(root, 1);
  if (value === null) return;
  const lineOf = (path: FieldPath): number => lines.place(offsetOf(root, path, builder.targets)).line;
  const result: RawDocument = { file: part.file, value, prefix: [], place: lines.place(root.range[0]), lineOf };
  sink.document(result);
}

/** A value that an anchor names, and how many values it holds. */
interface Anchored {
  readonly value: unknown;
  readonly size: number;
  readonly node: ParsedNode;
}

class ValueBuilder {
  /** What each alias stands for. */
  readonly targets = new Map<Alias, ParsedNode>();
  private readonly budget: YamlBudget;
  private readonly anchors = new Map<string, Anchored>();
  private aliasCount = 0;

  constructor(budget: YamlBudget) {
    this.budget = budget;
  }

  build(node: ParsedNode | null, depth: number): unknown {
    if (node === null) return null;
    if (depth > DOCUMENT_DEPTH_MAX && isCollection(node)) throw tooDeep(node.range[0]);
    if (isAlias(node)) return this.alias(node as Alias & ParsedNode);
    const before = this.budget.nodesLeft;
    this.spend(1, node);
    const value = this.content(node, depth);
    if (node.anchor !== undefined) {
      this.anchors.set(node.anchor, { value, size: before - this.budget.nodesLeft, node });
    }
    return value;
  }

  private content(node: ParsedNode, depth: number): unknown {
    if (isMap(node)) return this.map(node as YAMLMap.Parsed, depth);
    if (isSeq(node)) return (node as YAMLSeq.Parsed).items.map((item) => this.build(item as ParsedNode, depth + 1));
    if (!isScalar(node)) return null;
    const resolved = resolveScalar(
      String(node.value ?? ''),
      node.type === 'PLAIN' || node.type === undefined,
      node.tag,
    );
    if ('problem' in resolved)
      throw new YamlError(resolved.problem, node.range![0], 'quote the text, or remove the tag');
    return resolved.value;
  }

  private map(node: YAMLMap.Parsed, depth: number): unknown {
    const object = Object.create(null) as Record<string, unknown>;
    const merged: unknown[] = [];
    for (const pair of node.items) {
      if (!isPair(pair)) continue;
      const key = this.key(pair.key);
      const value = this.build(pair.value, depth + 1);
      if (key === '<<' && isScalar(pair.key) && pair.key.type === 'PLAIN')
        merged.push(...this.mergeSources(value, pair.key as ParsedNode));
      else if (Object.hasOwn(object, key)) {
        throw new YamlError(`key ${quoteText(key)} twice`, (pair.key as ParsedNode).range[0], 'remove one of the two');
      } else object[key] = value;
    }
    for (const source of merged) {
      for (const [key, value] of Object.entries(source as object)) if (!Object.hasOwn(object, key)) object[key] = value;
    }
    return object;
  }

  private mergeSources(value: unknown, node: ParsedNode): unknown[] {
    const sources = Array.isArray(value) ? value : [value];
    for (const source of sources) {
      if (typeof source !== 'object' || source === null || Array.isArray(source)) {
        throw new YamlError(
          "'<<' must be given a map or a list of maps",
          node.range[0],
          "quote the key if you mean the text '<<'",
        );
      }
      this.spend(Object.keys(source).length, node);
    }
    return sources;
  }

  private key(node: ParsedNode | null): string {
    const target = node !== null && isAlias(node) ? this.aliasTarget(node as Alias & ParsedNode).node : node;
    if (target !== null && !isScalar(target)) {
      throw new YamlError('a list or a map as a key', target.range[0], 'use text as the key');
    }
    this.spend(1, node);
    const key = keyText(String(target?.value ?? ''), target === null || target.type === 'PLAIN', target?.tag);
    if (key === undefined) throw new YamlError('a key without text', node?.range[0] ?? 0, 'write the key, or quote it');
    return key;
  }

  private alias(node: Alias & ParsedNode): unknown {
    const anchored = this.aliasTarget(node);
    this.targets.set(node, anchored.node);
    this.spend(anchored.size, node);
    return anchored.value;
  }

  private aliasTarget(node: Alias & ParsedNode): Anchored {
    if (++this.aliasCount > YAML_ALIASES_MAX) {
      throw new YamlError(
        `more than ${YAML_ALIASES_MAX} aliases in one document`,
        node.range[0],
        'write the values out',
      );
    }
    const anchored = this.anchors.get(node.source);
    if (anchored !== undefined) return anchored;
    throw new YamlError(
      `alias ${quoteText(`*${node.source}`)} names no finished value before it`,
      node.range[0],
      'define the anchor first',
    );
  }

  private spend(count: number, node: ParsedNode | null): void {
    this.budget.nodesLeft -= count;
    if (this.budget.nodesLeft >= 0) return;
    throw new YamlError(
      `more than ${YAML_NODES_MAX} values, repeated ones counted`,
      node?.range[0] ?? 0,
      'use fewer aliases, or split the file',
    );
  }
}

/** Offset of the key (or list item) at `path`; of the nearest enclosing value where it is absent. */
function offsetOf(root: ParsedNode, path: FieldPath, targets: ReadonlyMap<Alias, ParsedNode>): number {
  let node: ParsedNode | undefined = root;
  let offset = root.range[0];
  for (const part of path) {
    if (node !== undefined && isAlias(node)) node = targets.get(node as Alias);
    const next: { readonly offset: number; readonly node: ParsedNode | undefined } | undefined =
      typeof part === 'number' ? childAt(node, part) : memberAt(node, part);
    if (next === undefined) return offset;
    ({ offset, node } = next);
  }
  return offset;
}

function childAt(
  node: ParsedNode | undefined,
  index: number,
): { offset: number; node: ParsedNode | undefined } | undefined {
  if (!isSeq(node)) return undefined;
  const item = node.items[index] as ParsedNode | undefined;
  return item === undefined || item === null ? undefined : { offset: item.range[0], node: item };
}

function memberAt(
  node: ParsedNode | undefined,
  key: string,
): { offset: number; node: ParsedNode | undefined } | undefined {
  if (!isMap(node)) return undefined;
  for (const pair of (node as YAMLMap.Parsed).items) {
    const keyNode = pair.key;
    if (!isScalar(keyNode)) continue;
    if (keyText(String(keyNode.value ?? ''), keyNode.type === 'PLAIN', keyNode.tag) !== key) continue;
    return { offset: keyNode.range[0], node: pair.value ?? undefined };
  }
  return undefined;
}
