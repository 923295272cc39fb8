/**
 * Cuts JSON text into objects without building it as a whole: one pass that knows nothing but quotes and brackets.
 *
 * A `kubectl get -o json` dump is one value of up to gigabytes whose `items` are the objects. The cutter hands out each
 * item as text of its own as soon as its closing bracket is seen, and at the end the value around them with `items`
 * emptied. Native `JSON.parse` then does the work, item by item, and memory stays that of one item. Concatenated values
 * (`{…}{…}`) come out one by one. Text may be fed in pieces; it must be such that one code unit is a whole character or
 * (for bytes read as latin1) a whole byte.
 *
 *     {"apiVersion":"v1","items":[ {"kind":"Pod",…} , {…} ],"kind":"List"}
 *     depth 1              2       3            2     3   2 1            0
 *                                  item 0             item 1             the value, `items` now `[]`
 *
 * Lines are counted on the way (a line end cannot stand inside a JSON string), and so are the colons outside quotes:
 * a parsed object with fewer keys than colons had a key twice.
 */
import type { Place } from './problem.ts';

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
  /** An object of the top-level `items`; `index` counts from 0. */
  item(cut: JsonCut, index: number, header: ListHeader): void;
  /** A top-level value, its `items` emptied; `itemCount` is `undefined` if it had no list of that name. */
  value(cut: JsonCut, itemCount: number | undefined): void;
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

const TAB = 0x09;
const LINE_FEED = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

export class JsonCutter {
  private readonly sink: JsonSink;
  private readonly depthMax: number;
  private readonly pieceLengthMax: number;

  /** Text not yet handed out; all offsets below are into it. */
  private text = '';
  private at = 0;
  /** Where to go on looking for the end of a string that began before: not before this offset. */
  private stringAt = 0;
  private line: number;
  /** Offset of column 1 of the current line; negative when the line began in text already dropped. */
  private lineStart: number;

  private depth = 0;
  private colons = 0;
  /** Of the value at depth 1. */
  private valueStart = 0;
  private valuePlace: Place = { line: 1, column: 1 };
  private valueColons = 0;
  private isObject = false;
  /** The value's text before and with the `[` of its items, once they began. */
  private prefix = '';
  private key = '';
  private lastString = '';
  private apiVersion = '';
  private kind = '';
  /** Of the items. */
  private inItems = false;
  private itemCount: number | undefined;
  private itemStart = 0;
  private itemPlace: Place = { line: 1, column: 1 };
  private itemColons = 0;
  private isItemDue = false;

  constructor(sink: JsonSink, limits: { depthMax: number; pieceLengthMax: number }, origin: Place) {
    this.sink = sink;
    this.depthMax = limits.depthMax;
    this.pieceLengthMax = limits.pieceLengthMax;
    this.line = origin.line;
    this.lineStart = 1 - origin.column;
  }

  /** Takes the next piece of text and hands out what ends in it. Throws `JsonCutError`. */
  feed(piece: string): void {
    const keepFrom = this.keepFrom();
    this.text = keepFrom === 0 ? this.text + piece : this.text.slice(keepFrom) + piece;
    this.at -= keepFrom;
    this.stringAt -= keepFrom;
    this.lineStart -= keepFrom;
    this.valueStart -= keepFrom;
    this.itemStart -= keepFrom;
    this.scan();
    this.checkLength(this.text.length - this.keepFrom(), this.valuePlace);
  }

  private checkLength(length: number, place: Place): void {
    if (length <= this.pieceLengthMax) return;
    throw new JsonCutError(`one object is longer than ${this.pieceLengthMax} bytes`, place);
  }

  /** Declares the end of the text. Throws `JsonCutError` if a value is still open. */
  end(): void {
    if (this.at < this.text.length) throw new JsonCutError('text in quotes without an end', this.place(this.at));
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

  private place(offset: number): Place {
    return { line: this.line, column: offset - this.lineStart + 1 };
  }

  private scan(): void {
    const text = this.text;
    const length = text.length;
    let at = this.at;
    while (at < length) {
      const code = text.charCodeAt(at);
      if (code === QUOTE) {
        const end = closingQuote(text, Math.max(at + 1, this.stringAt));
        if (end < 0) {
          this.stringAt = length;
          break;
        }
        if (this.depth < 3) this.string(at, end);
        at = end + 1;
        continue;
      }
      if (code === COLON) {
        this.colons++;
        if (this.depth === 1) this.key = this.lastString;
        else if (this.depth === 0 || (this.depth === 2 && this.inItems)) throw this.unexpected(at);
      } else if (code === LINE_FEED) {
        this.line++;
        this.lineStart = at + 1;
      } else if (code === OPEN_OBJECT || code === OPEN_LIST) this.open(code, at);
      else if (code === CLOSE_OBJECT || code === CLOSE_LIST) this.close(code, at);
      else if (this.depth < 3) this.other(code, at);
      at++;
    }
    this.at = at;
  }

  private string(at: number, end: number): void {
    if (this.depth === 0 || (this.inItems && this.depth === 2)) throw this.unexpected(at);
    if (this.depth !== 1) return;
    const value = this.text.slice(at + 1, end);
    if (this.key === 'kind') this.kind = value;
    if (this.key === 'apiVersion') this.apiVersion = value;
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

  private open(code: number, at: number): void {
    const depth = ++this.depth;
    if (depth > this.depthMax) throw new JsonCutError(`nested deeper than ${this.depthMax} levels`, this.place(at));
    if (depth === 1) this.openValue(code, at);
    else if (depth === 2 && code === OPEN_LIST && this.isObject && this.key === 'items') this.openItems(at);
    else if (depth === 3 && this.inItems) {
      if (code !== OPEN_OBJECT || !this.isItemDue) throw this.unexpected(at);
      this.itemStart = at;
      this.itemPlace = this.place(at);
      this.itemColons = this.colons;
    }
  }

  private openValue(code: number, at: number): void {
    this.valueStart = at;
    this.valuePlace = this.place(at);
    this.valueColons = this.colons;
    this.isObject = code === OPEN_OBJECT;
    this.prefix = '';
    this.key = '';
    this.apiVersion = '';
    this.kind = '';
    this.itemCount = undefined;
  }

  private openItems(at: number): void {
    if (this.itemCount !== undefined) throw new JsonCutError("key 'items' twice", this.place(at));
    this.prefix = this.text.slice(this.valueStart, at + 1);
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
    } else if (depth === 3 && this.inItems) this.closeItem(at);
  }

  private closeItem(at: number): void {
    const index = this.itemCount!;
    this.itemCount = index + 1;
    this.isItemDue = false;
    this.checkLength(at + 1 - this.itemStart, this.itemPlace);
    const cut = {
      text: this.text.slice(this.itemStart, at + 1),
      place: this.itemPlace,
      keyCount: this.colons - this.itemColons,
    };
    this.valueColons += cut.keyCount;
    this.sink.item(cut, index, { apiVersion: this.apiVersion, kind: this.kind });
  }

  private closeValue(at: number): void {
    const text = this.prefix + this.text.slice(this.valueStart, at + 1);
    this.checkLength(text.length, this.valuePlace);
    const cut = { text, place: this.valuePlace, keyCount: this.colons - this.valueColons };
    this.sink.value(cut, this.itemCount);
  }

  private unexpected(at: number): JsonCutError {
    const found = String.fromCodePoint(this.text.codePointAt(at)!);
    const where = this.inItems ? "in 'items', expected an object" : 'outside of an object';
    return new JsonCutError(`unexpected '${found}' ${where}`, this.place(at));
  }
}

/** Offset of the quote that ends a string whose inside begins at `from`, or -1. */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at >= 0; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return at;
  }
  return -1;
}
