/**
 * JSON read where it lies, as bytes: checks values without building them.
 *
 * `JSON.parse` builds all of a value; of a pod of 3 KB the program needs 200 bytes. The scanner walks over the rest, and
 * holds it to all that the native way holds it to: the grammar of RFC 8259, the depth, and keys that an object has twice.
 * It decides nothing by itself. Whatever is wrong or merely unusual (an escape in a key that has another spelling, many keys) it answers with
 * `FAIL`, and then the value is parsed natively, which takes it or says what is wrong with it.
 */
import { isUtf8 } from 'node:buffer';
import { DOCUMENT_DEPTH_MAX } from '../model/limits.ts';
import { type KeyTable, keyHash } from './key-table.ts';

/** No value that the scanner takes, or not all of it is there. */
export const FAIL = -1;

export const TAB = 0x09;
export const LINE_FEED = 0x0a;
export const RETURN = 0x0d;
export const SPACE = 0x20;
export const QUOTE = 0x22;
export const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const SLASH = 0x2f;
const ZERO = 0x30;
export const COLON = 0x3a;
export const OPEN_LIST = 0x5b;
export const BACKSLASH = 0x5c;
export const CLOSE_LIST = 0x5d;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;

/** Of a byte inside quotes: 0 = itself, 1 = the closing quote, an escape, a control character or not ASCII. */
export const IS_SPECIAL = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte < SPACE || byte === QUOTE || byte === BACKSLASH || byte >= 0x80 ? 1 : 0,
);
const IS_ESCAPE = Uint8Array.from({ length: 256 }, (_, byte) =>
  '"\\/bfnrt'.includes(String.fromCharCode(byte)) ? 1 : 0,
);
const IS_HEX = Uint8Array.from({ length: 256 }, (_, byte) => (/[0-9a-fA-F]/.test(String.fromCharCode(byte)) ? 1 : 0));

/** Keys in one object, and those open at a time; an object with more is left to the native parser. */
const KEYS_MAX = 256;
const OPEN_KEYS_MAX = KEYS_MAX * (DOCUMENT_DEPTH_MAX + 1);
const FOUR_SPACES = 0x20202020;
/** In place of the first key of an object: a list. */
const IN_LIST = -1;

/** All methods take the offset of the first byte of what they read and give the offset behind it, or `FAIL`. */
export class JsonScanner {
  protected bytes: Buffer = Buffer.alloc(0);
  protected view: DataView = new DataView(new ArrayBuffer(0));
  /** Line ends that were passed since `begin` (all stand in white space), and the offset behind the last one. */
  lines = 0;
  lineStart = 0;
  /** A byte that is not ASCII has been seen. */
  protected isWide = false;
  /** The keys of the objects that are open, one after the other. */
  readonly #keyHashes = new Int32Array(OPEN_KEYS_MAX);
  readonly #keyStarts = new Int32Array(OPEN_KEYS_MAX);
  readonly #keyEnds = new Int32Array(OPEN_KEYS_MAX);
  #keyCount = 0;
  /** Of what is open around the innermost bracket inside `skip`: `firstKey` of each. */
  readonly #outer = new Int32Array(DOCUMENT_DEPTH_MAX + 2);

  protected begin(bytes: Buffer): void {
    if (bytes !== this.bytes) {
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    this.lines = 0;
    this.isWide = false;
    this.#keyCount = 0;
  }

  /** Bytes that are not ASCII are UTF-8, and none is the character that no document may hold. */
  protected isText(from: number, to: number): boolean {
    const part = this.bytes.subarray(from, to);
    return isUtf8(part) && part.indexOf('\uffff') < 0;
  }

  protected space(from: number): number {
    const bytes = this.bytes;
    const view = this.view;
    const wholeEnd = bytes.length - 3;
    let at = from;
    for (;;) {
      const code = bytes[at]!;
      if (code > SPACE) return at;
      if (code === LINE_FEED) {
        this.lines++;
        this.lineStart = ++at;
        // Half of what kubectl prints is the indentation of its lines.
        while (at < wholeEnd && view.getInt32(at) === FOUR_SPACES) at += 4;
        continue;
      }
      if (code !== SPACE && code !== TAB && code !== RETURN) return at;
      at++;
    }
  }

  /**
   * The members of an object, each value by `field`; `from` is the offset of its bracket.
   *
   * Objects of one level have their keys in the order in which the last one had them, nearly always: so the next key is first compared
   * with the one expected, which saves looking for its end, its number and its likes. Keys of `keys` that were expected are not twice.
   *
   * @param level  handed to `field`, with the number of the key in `keys` (-1 = not there) and its range
   */
  protected object(from: number, depth: number, level: number, keys: KeyTable | undefined): number {
    if (depth > DOCUMENT_DEPTH_MAX) return FAIL;
    const bytes = this.bytes;
    const firstKey = this.#keyCount;
    let isExpected = keys !== undefined;
    let at = this.space(from + 1);
    if (bytes[at] === CLOSE_OBJECT) return at + 1;
    for (let member = 0; ; member++) {
      if (bytes[at] !== QUOTE) return FAIL;
      const keyStart = at + 1;
      let key = -1;
      let keyEnd = isExpected ? at + keys!.expectedLength(member, bytes, at) - 1 : FAIL;
      if (keyEnd > at) {
        key = keys!.expected(member);
        if (!this.#noteKey(keys!.hashOf(key), keyStart, keyEnd, firstKey)) return FAIL;
      } else {
        keyEnd = this.#keyEnd(keyStart);
        if (keyEnd < 0 || !this.#isNewKey(keyStart, keyEnd, firstKey)) return FAIL;
        if (keys !== undefined) {
          key = keys.find(bytes, keyStart, keyEnd);
          isExpected = isExpected && key < 0 && keys.isUnknownExpected(member);
          if (!isExpected) keys.expect(member, key);
        }
      }
      at = this.space(keyEnd + 1);
      if (bytes[at] !== COLON) return FAIL;
      at = this.space(at + 1);
      at = this.field(level, key, keyStart, keyEnd, at, depth + 1);
      if (at < 0) return FAIL;
      at = this.space(at);
      const code = bytes[at];
      if (code === CLOSE_OBJECT) break;
      if (code !== COMMA) return FAIL;
      at = this.space(at + 1);
    }
    this.#keyCount = firstKey;
    return at + 1;
  }

  /** Offset of the quote that ends a key. Escapes that could be spelled otherwise would hide that two keys are equal. */
  #keyEnd(from: number): number {
    const bytes = this.bytes;
    let at = from;
    for (;;) {
      while (IS_SPECIAL[bytes[at]!] === 0) at++;
      const code = bytes[at]!;
      if (code === QUOTE) return at;
      if (code >= 0x80) this.isWide = true;
      else if (code !== BACKSLASH || bytes[at + 1] === SLASH || IS_ESCAPE[bytes[++at]!] !== 1) return FAIL;
      at++;
    }
  }

  /** Reads the value of a key; `level` says of which object. */
  protected field(_level: number, _key: number, _keyStart: number, _keyEnd: number, at: number, depth: number): number {
    return this.skip(at, depth);
  }

  /**
   * Any value. One loop with a stack of its own instead of functions that call each other: most bytes of a dump pass through here.
   * `firstKey` is that of the innermost object that is open, or IN_LIST.
   */
  protected skip(from: number, depth: number): number {
    const bytes = this.bytes;
    const outer = this.#outer;
    const keyHashes = this.#keyHashes;
    const keysBefore = this.#keyCount;
    let open = 0;
    let firstKey = IN_LIST;
    let at = from;
    for (;;) {
      // A value begins here.
      const code = bytes[at]!;
      let isOpened = false;
      if (code === QUOTE) {
        at++;
        while (IS_SPECIAL[bytes[at]!] === 0) at++;
        if (bytes[at] === QUOTE) at++;
        else at = this.stringRest(at);
      } else if (code === OPEN_OBJECT || code === OPEN_LIST) {
        if (depth + open > DOCUMENT_DEPTH_MAX) return FAIL;
        outer[open++] = firstKey;
        firstKey = code === OPEN_OBJECT ? this.#keyCount : IN_LIST;
        isOpened = true;
        at++;
      } else at = this.literal(at);
      if (at < 0) return FAIL;
      // Behind a value or an opening bracket: close what ends here, then go on to the next value.
      for (;;) {
        if (open === 0) {
          this.#keyCount = keysBefore;
          return at;
        }
        if (bytes[at]! <= SPACE) at = this.space(at);
        const next = bytes[at];
        if (next === (firstKey === IN_LIST ? CLOSE_LIST : CLOSE_OBJECT)) {
          if (firstKey !== IN_LIST) this.#keyCount = firstKey;
          firstKey = outer[--open]!;
          isOpened = false;
          at++;
          continue;
        }
        if (!isOpened) {
          if (next !== COMMA) return FAIL;
          at++;
          if (bytes[at]! <= SPACE) at = this.space(at);
        }
        break;
      }
      if (firstKey === IN_LIST) continue;
      if (bytes[at] !== QUOTE) return FAIL;
      const keyStart = at + 1;
      at = keyStart;
      while (IS_SPECIAL[bytes[at]!] === 0) at++;
      if (bytes[at] !== QUOTE) at = this.#keyEnd(at);
      if (at < 0) return FAIL;
      const hash = keyHash(bytes, keyStart, at);
      const count = this.#keyCount;
      for (let key = firstKey; key < count; key++) {
        if (keyHashes[key] === hash && this.isSame(this.#keyStarts[key]!, this.#keyEnds[key]!, keyStart, at))
          return FAIL;
      }
      if (!this.#noteKey(hash, keyStart, at, firstKey)) return FAIL;
      at++;
      if (bytes[at]! <= SPACE) at = this.space(at);
      if (bytes[at] !== COLON) return FAIL;
      at++;
      if (bytes[at]! <= SPACE) at = this.space(at);
    }
  }

  /** A list of anything. */
  protected list(from: number, depth: number): number {
    return this.skip(from, depth);
  }

  /** The rest of a text in quotes, from a byte that is not just itself. */
  protected stringRest(from: number): number {
    const bytes = this.bytes;
    let at = from;
    for (;;) {
      while (IS_SPECIAL[bytes[at]!] === 0) at++;
      const code = bytes[at]!;
      if (code === QUOTE) return at + 1;
      if (code >= 0x80) {
        this.isWide = true;
        at++;
      } else if (code === BACKSLASH) {
        const length = this.#escapeLength(at + 1);
        if (length === 0) return FAIL;
        at += 1 + length;
      } else return FAIL;
    }
  }

  /** Bytes behind a backslash that belong to it; 0 = it is none that JSON knows. */
  #escapeLength(at: number): number {
    const bytes = this.bytes;
    if (IS_ESCAPE[bytes[at]!] === 1) return 1;
    if (bytes[at] !== 0x75) return 0;
    for (let i = 1; i <= 4; i++) if (IS_HEX[bytes[at + i]!] !== 1) return 0;
    return 5;
  }

  protected literal(from: number): number {
    const code = this.bytes[from];
    if (code === 0x74) return this.#word(from, 'true');
    if (code === 0x66) return this.#word(from, 'false');
    if (code === 0x6e) return this.#word(from, 'null');
    return this.#number(from);
  }

  #word(from: number, word: string): number {
    for (let i = 0; i < word.length; i++) if (this.bytes[from + i] !== word.charCodeAt(i)) return FAIL;
    return from + word.length;
  }

  #number(from: number): number {
    const bytes = this.bytes;
    let at = bytes[from] === MINUS ? from + 1 : from;
    if (bytes[at] === ZERO) at++;
    else {
      const end = this.#digits(at);
      if (end === at) return FAIL;
      at = end;
    }
    if (bytes[at] === DOT) {
      const end = this.#digits(at + 1);
      if (end === at + 1) return FAIL;
      at = end;
    }
    if (bytes[at] === 0x65 || bytes[at] === 0x45) {
      const isSigned = bytes[at + 1] === MINUS || bytes[at + 1] === 0x2b;
      const start = at + (isSigned ? 2 : 1);
      const end = this.#digits(start);
      if (end === start) return FAIL;
      at = end;
    }
    return at;
  }

  #digits(from: number): number {
    let at = from;
    while (this.bytes[at]! >= ZERO && this.bytes[at]! <= 0x39) at++;
    return at;
  }

  /** Notes a key; false if its object may have it already. */
  #isNewKey(from: number, to: number, firstKey: number): boolean {
    const hash = keyHash(this.bytes, from, to);
    for (let key = firstKey; key < this.#keyCount; key++) {
      if (this.#keyHashes[key] === hash && this.isSame(this.#keyStarts[key]!, this.#keyEnds[key]!, from, to))
        return false;
    }
    return this.#noteKey(hash, from, to, firstKey);
  }

  #noteKey(hash: number, from: number, to: number, firstKey: number): boolean {
    const count = this.#keyCount;
    if (count - firstKey >= KEYS_MAX) return false;
    this.#keyHashes[count] = hash;
    this.#keyStarts[count] = from;
    this.#keyEnds[count] = to;
    this.#keyCount = count + 1;
    return true;
  }

  protected isSame(from: number, to: number, otherFrom: number, otherTo: number): boolean {
    if (to - from !== otherTo - otherFrom) return false;
    const bytes = this.bytes;
    for (let at = from, other = otherFrom; at < to; at++, other++) if (bytes[at] !== bytes[other]) return false;
    return true;
  }
}
