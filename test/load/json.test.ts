import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { RawDocument, TextProblem } from '../../src/load/document.ts';
import { readJsonPieces } from '../../src/load/documents.ts';
import { type JsonCut, JsonCutError, JsonCutter, type JsonSink, type ListHeader } from '../../src/load/json-cutter.ts';
import { type JsonNode, JsonSyntaxError, offsetOfPath, parseJsonTree } from '../../src/load/json-tree.ts';
import { LineTable } from '../../src/load/line-table.ts';
import { LOOK_AHEAD_BYTES, type TextPiece } from '../../src/load/text-buffer.ts';

class Recorder implements JsonSink {
  readonly items: { readonly cut: JsonCut; readonly index: number; readonly header: ListHeader }[] = [];
  readonly values: { readonly cut: JsonCut; readonly itemCount: number | undefined }[] = [];

  item(cut: JsonCut, index: number, header: ListHeader): void {
    this.items.push({ cut, index, header });
  }

  value(cut: JsonCut, itemCount: number | undefined): void {
    this.values.push({ cut, itemCount });
  }
}

const LIMITS = { depthMax: 64, pieceLengthMax: Number.POSITIVE_INFINITY };

/** A piece with so many bytes before it that may be written, and some behind it. */
function roomyPiece(piece: Buffer, freeBefore: number): TextPiece {
  const memory = Buffer.alloc(freeBefore + piece.length + LOOK_AHEAD_BYTES, '"');
  piece.copy(memory, freeBefore);
  return { bytes: memory.subarray(freeBefore, freeBefore + piece.length), freeBefore };
}

function scribble(piece: TextPiece | undefined): void {
  if (piece !== undefined) new Uint8Array(piece.bytes.buffer, piece.bytes.byteOffset - piece.freeBefore).fill(QUOTE);
}

const QUOTE = 0x22;
const BEHIND = Buffer.alloc(LOOK_AHEAD_BYTES, QUOTE);

function cutPieces(
  pieces: readonly (string | Buffer)[],
  limits = LIMITS,
  freeBefore: (index: number) => number = () => 0,
): Recorder {
  const recorder = new Recorder();
  const cutter = new JsonCutter(recorder, limits, { line: 1, column: 1 });
  const given: TextPiece[] = [];
  for (const [index, piece] of pieces.entries()) {
    // Memory of the last piece but one is its giver's again, and of the last one if nothing was free around it.
    scribble(given.at(-2));
    if (given.at(-1)?.freeBefore === 0) scribble(given.at(-1));
    const next = roomyPiece(Buffer.from(piece), freeBefore(index));
    given.push(next);
    cutter.feed(next);
    if (next.freeBefore === 0) expect(Buffer.from(next.bytes.buffer, next.bytes.length).equals(BEHIND)).toBe(true);
  }
  cutter.end();
  return recorder;
}

function errorOf(pieces: readonly string[], limits = LIMITS): string {
  try {
    cutPieces(pieces, limits);
  } catch (error) {
    if (error instanceof JsonCutError) return `${error.place.line}:${error.place.column}: ${error.message}`;
    throw error;
  }
  return '';
}

describe('cutting', () => {
  test('a list: its items, then itself without them', () => {
    const text = '{"apiVersion":"v1","items":[\n  {"a":"]}"},\n  {"b":{"c":[1,{}]}}\n],"kind":"List"}';
    const { items, values } = cutPieces([text]);
    expect(items.map(({ cut }) => cut)).toEqual([
      { text: '{"a":"]}"}', place: { line: 2, column: 3 }, keyCount: 1 },
      { text: '{"b":{"c":[1,{}]}}', place: { line: 3, column: 3 }, keyCount: 2 },
    ]);
    expect(items[0]?.header).toEqual({ apiVersion: 'v1', kind: '' });
    expect(values).toEqual([
      {
        cut: { text: '{"apiVersion":"v1","items":[],"kind":"List"}', place: { line: 1, column: 1 }, keyCount: 3 },
        itemCount: 2,
      },
    ]);
  });

  test('only the items of the outermost object are cut', () => {
    const { items, values } = cutPieces(['{"spec":{"items":[{"a":1}]}} {"items":{"a":1}} {"x":"items","y":[{}]} [{}]']);
    expect(items).toEqual([]);
    expect(values.map(({ itemCount }) => itemCount)).toEqual([undefined, undefined, undefined, undefined]);
  });

  test('the header of one value is not that of the next', () => {
    const { items } = cutPieces(['{"kind":"A","items":[{}]}{"items":[{}],"kind":"B"}']);
    expect(items.map(({ header }) => header.kind)).toEqual(['A', '']);
  });

  test.each([
    ['{"items":[1]}', "1:11: unexpected '1' in 'items', expected an object"],
    ['{"items":["a"]}', "1:11: unexpected '\"' in 'items', expected an object"],
    ['{"items":[[]]}', "1:11: unexpected '[' in 'items', expected an object"],
    ['{"items":[{} {}]}', "1:14: unexpected '{' in 'items', expected an object"],
    ['{"items":[{},,{}]}', "1:14: unexpected ',' in 'items', expected an object"],
    ['{"items":[{},]}', "1:14: unexpected ']' in 'items', expected an object"],
    ['{"items":[:]}', "1:11: unexpected ':' in 'items', expected an object"],
    ['{"items":[{}}', "1:13: unexpected '}' in 'items', expected an object"],
    ['{"items":[],"items":[]}', "1:21: key 'items' twice"],
    ['}', "1:1: unexpected '}' outside of an object"],
    [' x', "1:2: unexpected 'x' outside of an object"],
    ['{}\n:', "2:1: unexpected ':' outside of an object"],
    ['"a"', "1:1: unexpected '\"' outside of an object"],
    ['{"a":', "1:1: unexpected end: the object that '{' opened is not closed"],
    ['[{}', "1:1: unexpected end: the list that '[' opened is not closed"],
    ['{"a', '1:2: text in quotes without an end'],
    ['[[[]]]', '1:3: nested deeper than 2 levels'],
  ])('%s', (text, message) => {
    expect(errorOf([text], { ...LIMITS, depthMax: text.startsWith('[[[') ? 2 : 64 })).toBe(message);
  });

  test('an object may be as long as the limit, and no longer', () => {
    const limits = { ...LIMITS, pieceLengthMax: 20 };
    const list = (size: number): string[] => ['{"items":[{"a":"', 'x'.repeat(size), '"}', ',{}]}'];
    expect(errorOf(list(12), limits)).toBe('');
    expect(errorOf(list(30), limits)).toBe('1:1: one object is longer than 20 bytes');
    expect(errorOf([list(30).join('')], limits)).toBe('1:11: one object is longer than 20 bytes');
    expect(errorOf([JSON.stringify({ a: 'x'.repeat(30) })], limits)).toBe('1:1: one object is longer than 20 bytes');
  });

  /** Cut anywhere, the pieces come out the same. */
  test('text in any pieces', () => {
    const object = fc.dictionary(fc.string({ unit: fc.constantFrom('a', '"', '\\', '{', ']', '\n', ':') }), fc.json(), {
      maxKeys: 3,
    });
    const lists = fc.array(fc.tuple(fc.array(object, { maxLength: 4 }), fc.boolean()), { maxLength: 3 });
    fc.assert(
      fc.property(
        lists,
        fc.array(fc.nat(80)),
        fc.constantFrom(undefined, 1),
        fc.nat(),
        (given, sizes, indent, seed) => {
          const values = given.map(([items, isFirst]) => (isFirst ? { items, kind: 'List' } : { kind: 'List', items }));
          const text = values.map((value) => JSON.stringify(value, undefined, indent)).join('\n');
          const bytes = Buffer.from(text);
          const pieces: Buffer[] = [];
          let from = 0;
          for (const size of sizes) {
            pieces.push(bytes.subarray(from, from + size));
            from += size;
          }
          pieces.push(bytes.subarray(from));
          // Some pieces have no room before them, some little, some enough.
          const freeBefore = (index: number): number => [0, 3, 20, 1000][(seed + index * index) % 4]!;
          const { items, values: found } = cutPieces(pieces, LIMITS, freeBefore);
          const parse = (cut: JsonCut): unknown => JSON.parse(cut.text) as unknown;
          expect(items.map(({ cut }) => parse(cut))).toEqual(
            values.flatMap((value) => JSON.parse(JSON.stringify(value.items)) as unknown[]),
          );
          expect(found.map(({ itemCount }) => itemCount)).toEqual(values.map((value) => value.items.length));
          const lines = new LineTable(text);
          for (const { cut } of [...items, ...found]) {
            const at = offsetAt(text, cut.place);
            expect(lines.place(at)).toEqual(cut.place);
            expect(text[at]).toBe('{');
          }
          for (const { cut } of items) expect(text.startsWith(cut.text, offsetAt(text, cut.place))).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });
});

function offsetAt(text: string, { line, column }: { line: number; column: number }): number {
  const before = text.split('\n').slice(0, line - 1);
  return before.reduce((sum, each) => sum + each.length + 1, 0) + column - 1;
}

describe('positions in JSON', () => {
  const text = '{ "a": [1, {"b\\u0063": true}],\n  "d": {} }';
  const { root } = parseJsonTree(text, 64);

  test.each([
    [[], 0],
    [['a'], text.indexOf('"a"')],
    [['a', 0], text.indexOf('1')],
    [['a', 1, 'bc'], text.indexOf('"b')],
    [['d'], text.indexOf('"d"')],
    [['d', 'missing', 'more'], text.indexOf('"d"')],
    [['a', 7], text.indexOf('"a"')],
    [['a', 'b'], text.indexOf('"a"')],
    [['missing'], 0],
  ])('%j', (path, offset) => {
    expect(offsetOfPath(root, path)).toBe(offset);
  });

  /** The tree accepts what `JSON.parse` accepts, and has its shape. */
  test('agrees with JSON.parse on any text', () => {
    const unit = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      'a',
      '\\',
      '1',
      '-',
      '.',
      'e',
      'true',
      'null',
      ' ',
      '\n',
      '"k":',
    );
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string({ unit, maxLength: 12 })), (input) => {
        let value: unknown;
        let isJson = true;
        try {
          value = JSON.parse(input);
        } catch {
          isJson = false;
        }
        if (!isJson) expect(() => parseJsonTree(input, 64)).toThrow(JsonSyntaxError);
        else expectShape(parseJsonTree(input, 64).root, value);
      }),
      { numRuns: 3000 },
    );
  });

  test.each([
    ['{"a":1', "6: unexpected end of text, expected ',' or '}'"],
    ['{a:1}', "1: unexpected 'a', expected a key in double quotes"],
    ['{"a" 1}', "5: unexpected '1', expected ':' after the key"],
    ['{"a":x}', "5: unexpected 'x', expected a value"],
    ['[1 2]', "3: unexpected '2', expected ',' or ']'"],
    ['[01]', "1: unexpected '0', expected a value"],
    ['{} {}', "3: unexpected '{', expected the end of the document"],
    ['"a\nb"', '2: control character or line end inside quotes'],
    ['"a', '0: text in quotes without an end'],
    ['"a\\', '0: text in quotes without an end'],
    ['"\\q"', '0: escape sequence that JSON does not know'],
    ['[[[1]]]', '2: nested deeper than 2 levels'],
  ])('%s', (input, message) => {
    let found = '';
    try {
      parseJsonTree(input, 2);
    } catch (error) {
      if (!(error instanceof JsonSyntaxError)) throw error;
      found = `${error.offset}: ${error.message}`;
    }
    expect(found).toBe(message);
  });
});

function expectShape(node: JsonNode, value: unknown): void {
  if (Array.isArray(value)) {
    expect(node.items).toHaveLength(value.length);
    for (const [index, item] of value.entries()) expectShape(node.items![index]!, item as unknown);
  } else if (typeof value === 'object' && value !== null) {
    expect([...node.members!.keys()].sort()).toEqual(Object.keys(value).sort());
    for (const [key, member] of node.members!) expectShape(member.value, (value as Record<string, unknown>)[key]);
  } else {
    expect(node.items).toBeUndefined();
    expect(node.members).toBeUndefined();
  }
}

describe('long JSON in pieces of bytes', () => {
  function read(
    bytes: Buffer,
    size: number,
    objectBytesMax = 1000,
  ): { documents: RawDocument[]; problems: TextProblem[] } {
    const documents: RawDocument[] = [];
    const problems: TextProblem[] = [];
    const pieces: TextPiece[] = [];
    for (let at = 0; at < bytes.length; at += size)
      pieces.push({ bytes: bytes.subarray(at, at + size), freeBefore: 0 });
    const sink = {
      document: (each: RawDocument) => documents.push(each),
      problem: (each: TextProblem) => problems.push(each),
    };
    readJsonPieces('big.json', pieces, sink, objectBytesMax);
    return { documents, problems };
  }

  const list = '{"items":[\n{"kind":"A","name":"é€😀"},\n{"kind":"B",\n"name":"plain"}],"kind":"List"}';

  test.each([1, 2, 3, 7, 1000])('in pieces of %i bytes', (size) => {
    const { documents, problems } = read(Buffer.from(list), size);
    expect(problems).toEqual([]);
    expect(documents.map(({ value }) => value)).toEqual([
      { kind: 'A', name: 'é€😀' },
      { kind: 'B', name: 'plain' },
    ]);
    expect(documents.map((document) => document.lineOf(['name']))).toEqual([2, 4]);
  });

  test('bytes that are not UTF-8 spoil their object alone', () => {
    const bytes = Buffer.from(list);
    bytes[bytes.indexOf('é') + 1] = 0x41;
    const { documents, problems } = read(bytes, 5);
    expect(documents.map(({ value }) => value)).toEqual([{ kind: 'B', name: 'plain' }]);
    expect(problems.map(({ message, place }) => [message, place.line])).toEqual([['bytes that are not UTF-8', 2]]);
  });

  test('a syntax error spoils its object alone', () => {
    const { documents, problems } = read(Buffer.from(list.replace('"A",', '"A"')), 5);
    expect(documents.map(({ value }) => value)).toEqual([{ kind: 'B', name: 'plain' }]);
    expect(problems[0]).toMatchObject({
      message: "unexpected '\"', expected ',' or '}'",
      place: { line: 2, column: 12 },
    });
  });

  test('what ends the reading is reported, and what came before stands', () => {
    const { documents, problems } = read(Buffer.from(list.slice(0, -1)), 5);
    expect(documents).toHaveLength(2);
    expect(problems.map(({ message }) => message)).toEqual([
      "unexpected end: the object that '{' opened is not closed",
    ]);
    expect(read(Buffer.from(list), 5, 20).problems.map(({ message }) => message)).toEqual([
      'one object is longer than 20 bytes',
    ]);
  });
});
