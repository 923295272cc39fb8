/**
 * An input to its documents, whichever of YAML and JSON each is.
 *
 * The text is cut at the lines that begin with `---`, which YAML allows nowhere but between documents. A part that
 * begins with a brace is tried as JSON first: native parsing is fifty times faster than YAML, and cluster dumps are JSON.
 * YAML's flow maps begin with a brace too, so a part whose first value is not JSON is read as YAML before it is called
 * wrong.
 */
import { quoteText } from '../base/errors.ts';
import { DOCUMENT_DEPTH_MAX, YAML_BYTES_MAX } from '../model/limits.ts';
import { INVALID_BYTES } from './decode.ts';
import type { DocumentSink, RawDocument, TextProblem } from './document.ts';
import {
  ITEM_DEPTH,
  type ItemRead,
  type JsonCut,
  JsonCutError,
  JsonCutter,
  type JsonSink,
  type ListHeader,
} from './json-cutter.ts';
import { FAIL } from './json-scanner.ts';
import { type JsonNode, JsonSyntaxError, offsetOfPath, parseJsonTree } from './json-tree.ts';
import { LineTable } from './line-table.ts';
import { PodReader } from './pod-reader.ts';
import type { FieldPath, Place } from './problem.ts';
import type { TextPiece } from './text-buffer.ts';
import { newYamlBudget, readYaml, type TextPart, type YamlBudget } from './yaml.ts';
import { countLines, cutYamlList, type YamlList } from './yaml-list.ts';

/** Delivers all documents of a text, and all errors in it. Never throws for bad text. */
export function readDocuments(file: string, text: string, sink: DocumentSink): void {
  const budget = newYamlBudget();
  const start = text.charCodeAt(0) === BYTE_ORDER_MARK ? 1 : 0;
  if (DIRECTIVE.test(text)) {
    readYamlPart({ file, text: text.slice(start), origin: { line: 1, column: 1 } }, sink, budget);
    return;
  }
  for (const part of cutDocuments(file, text, start)) {
    if (BLANK.test(part.text)) continue;
    if (part.text.includes(INVALID_BYTES)) {
      reportInvalidBytes(part, sink);
      continue;
    }
    if (STARTS_WITH_BRACE.test(part.text)) readBracePart(part, sink, budget);
    else readYamlPart(part, sink, budget);
  }
}

/** JSON, or a flow map of YAML. A text that is neither gets the error of what it looks like more. */
function readBracePart(part: TextPart, sink: DocumentSink, budget: YamlBudget): void {
  const notJson = readJsonPart(part, sink);
  sink.passed?.(part.text.length);
  if (notJson === undefined) return;
  const documents: RawDocument[] = [];
  const problems: TextProblem[] = [];
  if (part.text.length <= FLOW_LENGTH_MAX) {
    readYaml(part, { document: (each) => documents.push(each), problem: (each) => problems.push(each) }, budget);
  }
  const isJsonMeant = documents.length === 0 && (problems.length === 0 || STARTS_LIKE_JSON.test(part.text));
  for (const document of documents) sink.document(document);
  for (const problem of isJsonMeant ? [notJson] : problems) sink.problem(problem);
}

/** A longer part with a brace is a dump, and nobody writes dumps as flow maps. */
export const FLOW_LENGTH_MAX = 1024 * 1024;
const STARTS_LIKE_JSON = /^\s*\{\s*(?:"|\})/;

function reportInvalidBytes(part: TextPart, sink: DocumentSink): void {
  const place = new LineTable(part.text, part.origin).place(part.text.indexOf(INVALID_BYTES));
  sink.problem({ file: part.file, place, message: 'bytes that are not UTF-8', fix: 'save the file as UTF-8' });
}

const BYTE_ORDER_MARK = 0xfeff;
const BLANK = /^\s*$/;
const STARTS_WITH_BRACE = /^\s*\{/;
/** `%YAML` and `%TAG` stand before the `---` of the document they are for, so such a text is not cut. */
const DIRECTIVE = /^%(?:YAML|TAG)\b/m;

/** The parts between lines that begin with `---`; what follows the marker on its line belongs to the part. */
function* cutDocuments(file: string, text: string, start: number): Generator<TextPart> {
  let from = start;
  let origin: Place = { line: 1, column: 1 };
  let line = 1;
  let at = isMarker(text, start) ? start : nextMarker(text, start);
  let counted = start;
  while (at >= 0) {
    if (at > from) yield { file, text: text.slice(from, at), origin };
    line += countLines(text, counted, at);
    counted = at;
    from = at + 3;
    origin = { line, column: 4 };
    at = nextMarker(text, from);
  }
  yield { file, text: text.slice(from), origin };
}

function nextMarker(text: string, from: number): number {
  for (let at = text.indexOf('\n---', from); at >= 0; at = text.indexOf('\n---', at + 1)) {
    if (isMarker(text, at + 1)) return at + 1;
  }
  return -1;
}

function isMarker(text: string, at: number): boolean {
  return text.startsWith('---', at) && (at + 3 >= text.length || /[ \t\r\n]/.test(text[at + 3]!));
}

function readYamlPart(part: TextPart, sink: DocumentSink, budget: YamlBudget): void {
  if (part.text.length <= YAML_BYTES_MAX) {
    const list = cutYamlList(part);
    if (list === undefined) readYaml(part, sink, budget);
    else readYamlList(list, sink, budget);
    sink.passed?.(list === undefined ? part.text.length : list.header.text.length);
  } else {
    const message = `YAML of more than ${YAML_BYTES_MAX} bytes`;
    sink.problem({ file: part.file, place: part.origin, message, fix: 'split it, or convert it to JSON' });
  }
}

/** Delivers the items of a list, then the list itself unless it is one. */
function readYamlList({ header, items }: YamlList, sink: DocumentSink, budget: YamlBudget): void {
  const heads: RawDocument[] = [];
  let isEmpty = true;
  const problem = (each: TextProblem): void => {
    isEmpty = false;
    sink.problem(each);
  };
  readYaml(header, { document: (each) => heads.push(each), problem }, budget);
  const head = headerOf(heads[0]?.value);
  if (isOther(head)) {
    for (const each of heads) sink.document(each);
    return;
  }
  for (const [index, item] of items.entries()) {
    const prefix = ['items', index];
    const document = (each: RawDocument): void => {
      isEmpty = false;
      const { value } = each;
      const isBare = isRecord(value) && value.kind === undefined && head.kind !== '';
      const typed = isBare ? { ...value, apiVersion: head.apiVersion, kind: itemKind(head.kind) } : value;
      sink.document({ ...each, value: typed, prefix });
    };
    isEmpty = true;
    readYaml(item, { document, problem }, budget);
    sink.passed?.(item.text.length);
    if (isEmpty) problem({ file: item.file, place: item.origin, message: 'an empty item', fix: 'remove its dash' });
  }
  for (const each of heads) if (!head.kind.endsWith('List')) sink.document(each);
}

/** A kind of its own that happens to have a field of this name: what stands in it is no object. */
function isOther({ kind }: ListHeader): boolean {
  return kind !== '' && !kind.endsWith('List');
}

/** `Pod` for `PodList`. */
function itemKind(listKind: string): string {
  return listKind.replace(/List$/, '');
}

/** Delivers the JSON values of `part`, and their errors; but gives the first error if nothing was delivered before it. */
function readJsonPart(part: TextPart, sink: DocumentSink): TextProblem | undefined {
  const reader = new JsonReader(part.file, sink, part.text.length <= FLOW_LENGTH_MAX);
  const limits = { depthMax: DOCUMENT_DEPTH_MAX, pieceLengthMax: Number.POSITIVE_INFINITY };
  try {
    const cutter = new JsonCutter(reader, limits, part.origin);
    cutter.feed({ bytes: Buffer.from(wellFormed(part.text)), freeBefore: 0 });
    cutter.end();
    return undefined;
  } catch (error) {
    const problem = problemOf(error, part.file);
    if (reader.isUntouched) return problem;
    sink.problem(problem);
    return undefined;
  }
}

/** Half of a surrogate pair, which UTF-8 cannot hold, as the escape that means the same inside quotes. */
function wellFormed(text: string): string {
  return text.replace(LONE_SURROGATES, (unit) => `\\u${unit.charCodeAt(0).toString(16)}`);
}

const LONE_SURROGATES = /\p{Cs}/gu;

function problemOf(error: unknown, file: string): TextProblem {
  if (error instanceof NotJson) return error.problem;
  if (error instanceof JsonCutError) return { file, place: error.place, message: error.message, fix: JSON_FIX };
  throw error;
}

/** Delivers the JSON values of a long text given in pieces of bytes; `objectBytesMax` limits each of them. */
export function readJsonPieces(
  file: string,
  pieces: Iterable<TextPiece>,
  sink: DocumentSink,
  objectBytesMax: number,
): void {
  const reader = new JsonReader(file, sink, false);
  const limits = { depthMax: DOCUMENT_DEPTH_MAX, pieceLengthMax: objectBytesMax };
  const cutter = new JsonCutter(reader, limits, { line: 1, column: 1 });
  try {
    for (const piece of pieces) {
      cutter.feed(piece);
      sink.passed?.(piece.bytes.length);
    }
    cutter.end();
  } catch (error) {
    sink.problem(problemOf(error, file));
  }
}

const JSON_FIX = 'correct the JSON';

/** The first value is not JSON; perhaps it is YAML. */
class NotJson extends Error {
  override readonly name = 'NotJson';
  readonly problem: TextProblem;

  constructor(problem: TextProblem) {
    super(problem.message);
    this.problem = problem;
  }
}

/** Takes pieces from the cutter, parses them and passes them on as documents. */
class JsonReader implements JsonSink {
  /** Nothing has been delivered yet. */
  isUntouched = true;
  private readonly file: string;
  private readonly sink: DocumentSink;
  /** A first value that is not JSON is no error yet. */
  private readonly isYamlPossible: boolean;
  private readonly pods: PodReader | undefined;
  /** Items without a kind of their own, until the kind of the list is known. */
  private waiting: { readonly cut: JsonCut; readonly index: number }[] = [];

  constructor(file: string, sink: DocumentSink, isYamlPossible: boolean) {
    this.file = file;
    this.sink = sink;
    this.isYamlPossible = isYamlPossible;
    this.pods = sink.pods === undefined ? undefined : new PodReader(file, sink.pods.isAsIs);
  }

  readItem(bytes: Buffer, from: number, line: number, header: ListHeader): ItemRead | undefined {
    const { pods } = this;
    if (pods === undefined || isOther(header)) return undefined;
    const isBare = header.kind === 'PodList' && header.apiVersion === 'v1';
    const end = pods.read(bytes, from, ITEM_DEPTH, isBare);
    if (end === FAIL || this.sink.pods?.add(pods.pod(line)) !== true) return undefined;
    this.isUntouched = false;
    return { end, lines: pods.lines, lineStart: pods.lineStart };
  }

  item(cut: JsonCut, index: number, header: ListHeader): void {
    if (isOther(header)) return;
    const value = this.parse(cut);
    if (value === undefined) return;
    if (!isRecord(value) || value.kind !== undefined) this.deliver(cut, value, ['items', index]);
    else if (header.kind !== '' && header.apiVersion !== '') this.deliverTyped(cut, value, index, header);
    else this.waiting.push({ cut, index });
  }

  value(cut: JsonCut, itemCount: number | undefined): void {
    const value = this.parse(cut);
    const waiting = this.waiting;
    this.waiting = [];
    if (value === undefined) return;
    const header = headerOf(value);
    for (const { cut: itemCut, index } of isOther(header) ? [] : waiting) {
      this.deliverTyped(itemCut, this.parse(itemCut) as Record<string, unknown>, index, header);
    }
    // A list whose items went ahead is done; anything else is an object itself.
    if (itemCount === undefined || !header.kind.endsWith('List')) this.deliver(cut, value, []);
    this.isUntouched = false;
  }

  /** An item of a `PodList` has neither kind nor version: they are those of the list. */
  private deliverTyped(cut: JsonCut, value: Record<string, unknown>, index: number, header: ListHeader): void {
    const typed = { ...value, apiVersion: header.apiVersion, kind: itemKind(header.kind) };
    this.deliver(cut, typed, ['items', index]);
  }

  private deliver(cut: JsonCut, value: unknown, prefix: FieldPath): void {
    this.isUntouched = false;
    this.sink.document(new JsonDocument(this.file, value, prefix, cut));
  }

  /** The value; `undefined` after an error, which has been delivered. */
  private parse(cut: JsonCut): unknown {
    if (cut.text.includes(INVALID_BYTES)) {
      reportInvalidBytes({ file: this.file, text: cut.text, origin: cut.place }, this.sink);
      return undefined;
    }
    try {
      const value: unknown = JSON.parse(cut.text);
      if (countKeys(value) === cut.keyCount) return value;
      this.reportDuplicates(cut);
      return undefined;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      const problem = { file: this.file, ...syntaxErrorOf(cut), fix: JSON_FIX };
      if (this.isYamlPossible && this.isUntouched) throw new NotJson(problem);
      this.sink.problem(problem);
      return undefined;
    }
  }

  private reportDuplicates(cut: JsonCut): void {
    const lines = new LineTable(cut.text, cut.place);
    for (const { offset, path } of parseJsonTree(cut.text, DOCUMENT_DEPTH_MAX).duplicates) {
      const message = `key ${quoteText(String(path.at(-1)))} twice`;
      this.isUntouched = false;
      this.sink.problem({ file: this.file, place: lines.place(offset), message, fix: 'remove one of the two' });
    }
  }
}

/** Keys of all objects inside a value; `JSON.parse` keeps one of two equal ones. */
function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let count = 0;
  if (Array.isArray(value)) for (const item of value) count += countKeys(item as unknown);
  else for (const key in value) count += 1 + countKeys((value as Record<string, unknown>)[key]);
  return count;
}

function headerOf(value: unknown): ListHeader {
  const { apiVersion = '', kind = '' } = isRecord(value) ? value : {};
  return { apiVersion: typeof apiVersion === 'string' ? apiVersion : '', kind: typeof kind === 'string' ? kind : '' };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What `JSON.parse` stumbled over, in our words, with its place. */
function syntaxErrorOf(cut: JsonCut): { message: string; place: Place } {
  try {
    parseJsonTree(cut.text, DOCUMENT_DEPTH_MAX);
  } catch (error) {
    if (error instanceof JsonSyntaxError) {
      return { message: error.message, place: new LineTable(cut.text, cut.place).place(error.offset) };
    }
    throw error;
  }
  return { message: 'not JSON', place: cut.place };
}

/** A JSON object; its positions are read when the first line is asked for. */
class JsonDocument implements RawDocument {
  readonly file: string;
  readonly value: unknown;
  readonly prefix: FieldPath;
  private readonly cut: JsonCut;
  private isOneLine: boolean | undefined;
  private positions: { readonly root: JsonNode; readonly lines: LineTable } | undefined;

  constructor(file: string, value: unknown, prefix: FieldPath, cut: JsonCut) {
    this.file = file;
    this.value = value;
    this.prefix = prefix;
    this.cut = cut;
  }

  get place(): Place {
    return this.cut.place;
  }

  lineOf(path: FieldPath): number {
    this.isOneLine ??= !this.cut.text.includes('\n');
    if (path.length === 0 || this.isOneLine) return this.cut.place.line;
    this.positions ??= {
      root: parseJsonTree(this.cut.text, DOCUMENT_DEPTH_MAX).root,
      lines: new LineTable(this.cut.text, this.cut.place),
    };
    return this.positions.lines.place(offsetOfPath(this.positions.root, path)).line;
  }
}
