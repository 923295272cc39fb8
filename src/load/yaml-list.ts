/**
 * Takes a YAML list of objects apart as text, before it is parsed.
 *
 * `kubectl get -o yaml` prints one document whose `items` are the objects. As a whole its syntax tree takes twenty times
 * the memory of its text; item by item it takes next to none. The cut needs no parser: below a key in column 1 nothing
 * but an item of its list can begin with a dash in the column of the first dash, since whatever is inside an item is
 * indented further (YAML 1.2, chapter 8), quoted and block text included.
 *
 *     apiVersion: v1             header                apiVersion: v1
 *     items:                                           items: []
 *     - kind: Pod                item 0, line 3
 *       metadata: …                                    (empty lines, so that the rest keeps its lines)
 *     - kind: Pod                item 1, line 5
 *     kind: List                                       kind: List
 *
 * A text with anchors or aliases is left whole, as they may reach from one item into another.
 */
import type { TextPart } from './yaml.ts';

export interface YamlList {
  /** The text around the items, in whose place stands an empty list. */
  readonly header: TextPart;
  readonly items: readonly TextPart[];
}

/** The parts of a list in block form; `undefined` if the text is none, or one that cannot be cut. */
export function cutYamlList(part: TextPart): YamlList | undefined {
  const { text } = part;
  const key = ITEMS.exec(text);
  if (key === null || ANCHOR.test(text)) return undefined;
  const start = key.index + key[0].length;
  const first = FIRST_DASH.exec(text.slice(start, start + FIRST_DASH_WITHIN));
  if (first === null) return undefined;
  const found = findItems(text, start, first[1]!);
  if (found === undefined) return undefined;
  const before = text.slice(0, key.index);
  const lines = '\n'.repeat(countLines(text, key.index, found.end));
  const header = { ...part, text: `${before}items: []${lines}${text.slice(found.end)}` };
  return { header, items: itemParts(part, found.starts, found.end) };
}

const ITEMS = /^items:[ \t]*(?:#.*)?\r?\n/m;
const ANCHOR = /(?:^|[\s,[{])[&*][^\s&*]/m;
/** Blank lines and comments, then the first dash and its indentation. */
const FIRST_DASH = /^(?:[ \t]*(?:#[^\n]*)?\r?\n)*( *)-[ \t\r\n]/;
const FIRST_DASH_WITHIN = 4096;

/** Offsets of the lines on which items begin, and of the line after the last. */
function findItems(text: string, from: number, indent: string): { starts: number[]; end: number } | undefined {
  const starts: number[] = [];
  let at = from;
  while (at < text.length) {
    const lineEnd = text.indexOf('\n', at);
    const next = lineEnd < 0 ? text.length : lineEnd + 1;
    if (isItem(text, at, indent)) starts.push(at);
    else if (!isInside(text, at, next, indent)) return text[at] === ' ' ? undefined : { starts, end: at };
    at = next;
  }
  return { starts, end: text.length };
}

function isItem(text: string, at: number, indent: string): boolean {
  if (!text.startsWith(indent, at) || text[at + indent.length] !== '-') return false;
  const after = text[at + indent.length + 1];
  return after === undefined || after === ' ' || after === '\n' || after === '\r' || after === '\t';
}

/** The line is indented further than the dashes, blank, or a comment. */
function isInside(text: string, at: number, next: number, indent: string): boolean {
  if (text.startsWith(`${indent} `, at)) return true;
  const line = text.slice(at, next).trim();
  return line === '' || line.startsWith('#');
}

function itemParts(part: TextPart, starts: readonly number[], end: number): TextPart[] {
  let line = part.origin.line + countLines(part.text, 0, starts[0]!);
  return starts.map((start, index) => {
    const stop = starts[index + 1] ?? end;
    const dash = part.text.indexOf('-', start);
    const text = `${part.text.slice(start, dash)} ${part.text.slice(dash + 1, stop)}`;
    const item = { file: part.file, text, origin: { line, column: 1 } };
    line += countLines(part.text, start, stop);
    return item;
  });
}

/** Line ends from one offset to before another. */
export function countLines(text: string, from: number, to: number): number {
  let count = 0;
  for (let at = text.indexOf('\n', from); at >= 0 && at < to; at = text.indexOf('\n', at + 1)) count++;
  return count;
}
