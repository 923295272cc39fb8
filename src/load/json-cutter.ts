/**
 * Cuts JSON text into objects without building it as a whole: one pass that knows nothing but quotes and brackets.
 *
 * A `kubectl get -o json` dump is one value of up to gigabytes whose `items` are the objects. The cutter hands out each
 * item as text of its own as soon as its closing bracket is seen, and at the end the value around them with `items`
 * emptied. Native `JSON.parse` then does the work, item by item, and memory stays that of one item. Concatenated values
 * (`{…}{…}`) come out one by one. Text comes as UTF-8 bytes, in pieces cut anywhere; bytes that are not UTF-8 become a
 * character that no document may hold (`decode.ts`).
 *
 *     {"apiVersion":"v1","items":[ {"kind":"Pod",…} , {…} ],"kind":"List"}
 *     depth 1              2       3            2     3   2 1            0
 *                                  item 0             item 1             the value, `items` now `[]`
 *
 * Lines are counted on the way (a line end cannot stand inside a JSON string), and so are the colons outside quotes:
 * a parsed object with fewer keys than colons had a key twice.
 */
import { decode } from './decode.ts';
import {
  BACKSLASH,
  CLOSE_LIST,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  LINE_FEED,
  OPEN_LIST,
  OPEN_OBJECT,
  QUOTE,
  RETURN,
  SPACE,
  TAB,
} from './json-scanner.ts';
import type { Place } from './problem.ts';
import { TextBuffer, type TextPiece } from './text-buffer.ts';

/** One piece of JSON text, and where it began. */
export interface JsonCut {
  readonly text: string;
  readonly place: Place;
  /** Colons outside quotes, which is the number of keys written. */
  readonly keyCount: number;
}

/** What is known of the list around an item when the item ends: fields that stood before `items`, else `''`. */
export interface ListHeader {
  readonly apiVersion: string;
  readonly kind: string;
}

export interface JsonSink {
  /**
   * May take the item that begins at `from` before it is cut out, and then says where it ends; `undefined` = cut it out.
   * The item may go on behind the end of `bytes`, which zeros mark (text-buffer.ts).
   */
  readItem?(bytes: Buffer, from: number, line: number, header: ListHeader): ItemRead | undefined;
  /** An object of the top-level `items`; `index` counts from 0. */
  item(cut: JsonCut, index: number, header: ListHeader): void;
  /** A top-level value, its `items` emptied; `itemCount` is `undefined` if it had no list of that name. */
  value(cut: JsonCut, itemCount: number | undefined): void;
}

/** An item that the sink took by itself: the offset behind it, the line ends in it and the offset behind the last of them. */
export interface ItemRead {
  readonly end: number;
  readonly lines: number;
  readonly lineStart: number;
}

/** The text is not a sequence of JSON objects, or goes past a limit. */
export class JsonCutError extends Error {
  override readonly name = 'JsonCutError';
  readonly place: Place;

  constructor(message: string, place: Place) {
    super(message);
    this.place = place;
  }
}

/** Bytes that mean something at any depth: quotes, brackets, colons and line ends. */
const IS_MARK = Uint8Array.from({ length: 256 }, (_, byte) =>
  [QUOTE, COLON, LINE_FEED, OPEN_OBJECT, OPEN_LIST, CLOSE_OBJECT, CLOSE_LIST].includes(byte) ? 1 : 0,
);

/**
 * So many bytes before the end of what has come no item is handed to the sink: it would seldom be whole, and a part of one goes the long
 * way. Longer items do so anyway.
 */
const HOLD_BYTES = 64 * 1024;

/** Levels of brackets, its own included, around what an item of a list holds. */
export const ITEM_DEPTH = 3;

export class JsonCutter {
  private readonly sink: JsonSink;
  private readonly depthMax: number;
  private readonly pieceLengthMax: number;
  private readonly holdBytes: number;
  private readonly buffer = new TextBuffer();

  /** Bytes not yet handed out, `length` of them and some zeros; all offsets below are into them. */
  private bytes: Buffer;
  private length = 0;
  private at = 0;
  /** Items that begin before this offset may be handed to the sink. */
  private readyTo = 0;
  /** Where to go on looking for the end of a string that began before: not before this offset. */
  private stringAt = 0;
  private line: number;
  /** Code units of the current line that lie before `countedTo`. */
  private units: number;
  private countedTo = 0;

  private depth = 0;
  private colons = 0;
  /** Of the value at depth 1. */
  private valueStart = 0;
  private valuePlace: Place = { line: 1, column: 1 };
  private valueColons = 0;
  private isObject = false;
  /** The value's text before and with the `[` of its items, once they began. */
  private prefix = '';
  private prefixBytes = 0;
  private key = '';
  private lastString = '';
  private header: ListHeader = { apiVersion: '', kind: '' };
  /** Of the items. */
  private inItems = false;
  private itemCount: number | undefined;
  private itemStart = 0;
  private itemPlace: Place = { line: 1, column: 1 };
  private itemColons = 0;
  private isItemDue = false;

  constructor(sink: JsonSink, limits: { depthMax: number; pieceLengthMax: number }, origin: Place) {
    this.sink = sink;
    this.bytes = this.buffer.bytes;
    this.depthMax = limits.depthMax;
    this.pieceLengthMax = limits.pieceLengthMax;
    this.holdBytes = sink.readItem === undefined ? 0 : Math.min(HOLD_BYTES, limits.pieceLengthMax);
    this.line = origin.line;
    this.units = origin.column - 1;
  }

  /** Takes the next piece and hands out what ends in it. Throws `JsonCutError`. */
  feed(piece: TextPiece): void {
    const keepFrom = this.keepFrom();
    if (this.countedTo < keepFrom) this.count(keepFrom);
    this.buffer.add(piece, keepFrom);
    this.bytes = this.buffer.bytes;
    this.length = this.buffer.length;
    this.at -= keepFrom;
    this.stringAt -= keepFrom;
    this.countedTo -= keepFrom;
    this.valueStart -= keepFrom;
    this.itemStart -= keepFrom;
    this.readyTo = this.length - this.holdBytes;
    this.scan();
    this.checkLength(this.length - this.keepFrom(), this.valuePlace);
  }

  private checkLength(length: number, place: Place): void {
    if (length <= this.pieceLengthMax) return;
    throw new JsonCutError(`one object is longer than ${this.pieceLengthMax} bytes`, place);
  }

  /** Declares the end of the text. Throws `JsonCutError` if a value is still open. */
  end(): void {
    this.readyTo = this.length;
    this.scan();
    if (this.at < this.length) throw new JsonCutError('text in quotes without an end', this.place(this.at));
    if (this.depth > 0) {
      const what = this.isObject ? "object that '{' opened" : "list that '[' opened";
      throw new JsonCutError(`unexpected end: the ${what} is not closed`, this.valuePlace);
    }
  }

  /** Everything before this offset has been handed out or is not needed. */
  private keepFrom(): number {
    if (this.depth === 0) return this.at;
    if (!this.inItems) return this.valueStart;
    return this.depth > 2 ? this.itemStart : this.at;
  }

  /** The place of an offset on the current line. */
  private place(offset: number): Place {
    if (offset < this.countedTo)
      return { line: this.line, column: this.units - this.unitsIn(offset, this.countedTo) + 1 };
    this.count(offset);
    return { line: this.line, column: this.units + 1 };
  }

  private count(to: number): void {
    this.units += this.unitsIn(this.countedTo, to);
    this.countedTo = to;
  }

  /** UTF-16 code units that bytes stand for: none for those that go on a character, two for four bytes. */
  private unitsIn(from: number, to: number): number {
    let units = 0;
    for (let at = from; at < to; at++) {
      const byte = this.bytes[at]!;
      if ((byte & 0xc0) !== 0x80) units += byte < 0xf0 ? 1 : 2;
    }
    return units;
  }

  private newLine(start: number): void {
    this.units = 0;
    this.countedTo = start;
  }

  private scan(): void {
    const bytes = this.bytes;
    const { length } = this;
    let at = this.at;
    while (at < length) {
      const code = bytes[at]!;
      if (IS_MARK[code] === 0) {
        if (this.depth < ITEM_DEPTH) this.other(code, at);
        at++;
      } else if (code === QUOTE) {
        const end = this.closingQuote(Math.max(at + 1, this.stringAt));
        if (end < 0) break;
        if (this.depth < ITEM_DEPTH) this.string(at, end);
        at = end + 1;
      } else if (code === COLON) {
        this.colons++;
        if (this.depth === 1) this.key = this.lastString;
        else if (this.depth === 0 || (this.depth === 2 && this.inItems)) throw this.unexpected(at);
        at++;
      } else if (code === LINE_FEED) {
        this.line++;
        this.newLine(++at);
      } else if (code === OPEN_OBJECT || code === OPEN_LIST) {
        if (this.depth === 2 && this.inItems && at >= this.readyTo) break;
        at = this.open(code, at);
      } else {
        this.close(code, at);
        at++;
      }
    }
    this.at = at;
  }

  /** Offset of the quote that ends a string whose inside begins at `from`, or -1: then `stringAt` is where to go on. */
  private closingQuote(from: number): number {
    const bytes = this.bytes;
    let at = from;
    for (; at < this.length; at++) {
      const code = bytes[at];
      if (code === QUOTE) return at;
      if (code === BACKSLASH) at++;
    }
    this.stringAt = at;
    return -1;
  }

  private string(at: number, end: number): void {
    if (this.depth === 0 || (this.inItems && this.depth === 2)) throw this.unexpected(at);
    if (this.depth !== 1) return;
    const value = this.text(at + 1, end);
    if (this.key === 'kind') this.header = { ...this.header, kind: value };
    if (this.key === 'apiVersion') this.header = { ...this.header, apiVersion: value };
    this.lastString = value;
  }

  /** Anything outside quotes but brackets, colons and line ends. */
  private other(code: number, at: number): void {
    if (code === SPACE || code === TAB || code === RETURN) return;
    if (this.depth === 0) throw this.unexpected(at);
    if (this.depth === 1) {
      if (code === COMMA) this.key = '';
      return;
    }
    if (!this.inItems) return;
    if (code !== COMMA || this.isItemDue) throw this.unexpected(at);
    this.isItemDue = true;
  }

  /** Takes an opening bracket; gives the offset to go on at. */
  private open(code: number, at: number): number {
    const depth = ++this.depth;
    if (depth > this.depthMax) throw new JsonCutError(`nested deeper than ${this.depthMax} levels`, this.place(at));
    if (depth === 1) this.openValue(code, at);
    else if (depth === 2 && code === OPEN_LIST && this.isObject && this.key === 'items') this.openItems(at);
    else if (depth === ITEM_DEPTH && this.inItems) {
      if (code !== OPEN_OBJECT || !this.isItemDue) throw this.unexpected(at);
      const read = this.sink.readItem?.(this.bytes, at, this.line, this.header);
      if (read !== undefined) {
        this.checkLength(read.end - at, this.place(at));
        return this.skipItem(read);
      }
      this.itemStart = at;
      this.itemPlace = this.place(at);
      this.itemColons = this.colons;
    }
    return at + 1;
  }

  /** Goes on behind an item that the sink has read. */
  private skipItem({ end, lines, lineStart }: ItemRead): number {
    this.depth--;
    this.itemCount = this.itemCount! + 1;
    this.isItemDue = false;
    if (lines > 0) {
      this.line += lines;
      this.newLine(lineStart);
    }
    return end;
  }

  private openValue(code: number, at: number): void {
    this.valueStart = at;
    this.valuePlace = this.place(at);
    this.valueColons = this.colons;
    this.isObject = code === OPEN_OBJECT;
    this.prefix = '';
    this.prefixBytes = 0;
    this.key = '';
    this.header = { apiVersion: '', kind: '' };
    this.itemCount = undefined;
  }

  private openItems(at: number): void {
    if (this.itemCount !== undefined) throw new JsonCutError("key 'items' twice", this.place(at));
    this.prefix = this.text(this.valueStart, at + 1);
    this.prefixBytes = at + 1 - this.valueStart;
    this.inItems = true;
    this.itemCount = 0;
    this.isItemDue = true;
  }

  private close(code: number, at: number): void {
    const depth = this.depth--;
    if (depth === 0) throw this.unexpected(at);
    if (depth === 1) this.closeValue(at);
    else if (depth === 2 && this.inItems) {
      if (code !== CLOSE_LIST || (this.isItemDue && this.itemCount !== 0)) throw this.unexpected(at);
      this.inItems = false;
      this.valueStart = at;
    } else if (depth === ITEM_DEPTH && this.inItems) this.closeItem(at);
  }

  private closeItem(at: number): void {
    const index = this.itemCount!;
    this.itemCount = index + 1;
    this.isItemDue = false;
    this.checkLength(at + 1 - this.itemStart, this.itemPlace);
    const cut = {
      text: this.text(this.itemStart, at + 1),
      place: this.itemPlace,
      keyCount: this.colons - this.itemColons,
    };
    this.valueColons += cut.keyCount;
    this.sink.item(cut, index, this.header);
  }

  private closeValue(at: number): void {
    const text = this.prefix + this.text(this.valueStart, at + 1);
    this.checkLength(this.prefixBytes + at + 1 - this.valueStart, this.valuePlace);
    const cut = { text, place: this.valuePlace, keyCount: this.colons - this.valueColons };
    this.sink.value(cut, this.itemCount);
  }

  private text(from: number, to: number): string {
    return decode(this.bytes.subarray(from, to));
  }

  private unexpected(at: number): JsonCutError {
    const found = String.fromCodePoint(this.text(at, at + 4).codePointAt(0)!);
    const where = this.inItems ? "in 'items', expected an object" : 'outside of an object';
    return new JsonCutError(`unexpected '${found}' ${where}`, this.place(at));
  }
}
