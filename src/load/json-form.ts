/**
 * The form of a JSON value, by which the next value of the same form is read at the speed of a comparison.
 *
 * What a program prints ten thousand times differs in its texts and numbers alone: keys, brackets, white space and their order stay. Once one
 * such value has been read the long way and found good, its bytes are kept as a form, in which every scalar that is no key is a hole:
 *
 *     form   {"name": "web-1", "ready": true, "ip": "10.0.0.7"}
 *                      ^^^^^            ^^^^         ^^^^^^^^      holes 0, 1, 2
 *     next   {"name": "web-22", "ready": true, "ip": "10.0.0.9"}
 *            ================                                      equal up to the form's quote behind `web-1`: hole 0 differs
 *                      ^^^^^^                                      it is read as any text: `web-22`
 *                            =================================     from the closing quotes on equal, hole 1 with it
 *                                                    ^^^^^^^^      hole 2 differs: `10.0.0.9`
 *                                                            ==    the end: the value is good, and holes 0 and 2 are what it has of its own
 *
 * Eight bytes are compared at a time, four times in a row where all of them are equal. What a hole may hold is what JSON allows there (a
 * text for a text, a number or a word for either), so a value that matches is as good as the one the form was made of: same keys, none
 * twice, same depth. One that differs anywhere else has another form, and is read the long way.
 */
import { BACKSLASH, COLON, FAIL, IS_SPECIAL, JsonScanner, QUOTE, SPACE } from './json-scanner.ts';

/** Behind everything. */
const NEVER = 0x7fffffff;
const WORD_BYTES = 8;
const STRIDE_BYTES = 4 * WORD_BYTES;

/** Bytes of a value that was found good, and its holes. Offsets are from the value's first byte. */
export class JsonForm {
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly length: number;
  /** By hole, in order: offset of what is in it (inside the quotes) and offset behind; last a hole that is nowhere. */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** By hole: a text that must be ASCII without escapes. */
  readonly isPlain: Uint8Array;

  /** The form of `bytes[from]` to before `bytes[end]`, a value that is good; scalars that begin at an offset of `fixed` are no holes. */
  constructor(bytes: Buffer, from: number, end: number, fixed: ReadonlySet<number>) {
    this.length = end - from;
    this.bytes = Buffer.from(bytes.subarray(from, end));
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.length);
    const starts: number[] = [];
    const ends: number[] = [];
    for (const { start, end: holeEnd } of scalarsOf(this.bytes)) {
      if (fixed.has(from + start)) continue;
      starts.push(start);
      ends.push(holeEnd);
    }
    this.starts = Int32Array.from([...starts, NEVER]);
    this.ends = Int32Array.from([...ends, NEVER]);
    this.isPlain = new Uint8Array(this.starts.length);
  }

  get holeCount(): number {
    return this.starts.length - 1;
  }

  /** The first hole at or behind an offset of the form. */
  holeAt(offset: number): number {
    let hole = 0;
    while (this.starts[hole]! < offset) hole++;
    return hole;
  }

  /** A number that values of one structure share: of all that is not in a hole. */
  get structureHash(): number {
    let hash = this.length ^ 0x811c9dc5;
    let at = 0;
    for (let hole = 0; hole < this.starts.length; hole++) {
      const end = Math.min(this.starts[hole]!, this.length);
      for (; at < end; at++) hash = Math.imul(hash ^ this.bytes[at]!, 0x01000193);
      at = this.ends[hole]!;
    }
    return hash;
  }
}

/** Texts that are no keys (the inside of their quotes), numbers and words of a value that is good JSON. */
function* scalarsOf(bytes: Uint8Array): Generator<{ readonly start: number; readonly end: number }> {
  for (let at = 0; at < bytes.length; at++) {
    const code = bytes[at]!;
    if (code === QUOTE) {
      const start = ++at;
      while (bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1;
      if (!isColonNext(bytes, at + 1)) yield { start, end: at };
    } else if (IS_LITERAL[code] === 1) {
      const start = at;
      while (IS_LITERAL[bytes[at]!] === 1) at++;
      yield { start, end: at-- };
    }
  }
}

function isColonNext(bytes: Uint8Array, from: number): boolean {
  let at = from;
  while (bytes[at]! <= SPACE) at++;
  return bytes[at] === COLON;
}

/** Bytes of numbers, `true`, `false` and `null`. */
const IS_LITERAL = Uint8Array.from({ length: 256 }, (_, byte) => (/[-+.\w]/.test(String.fromCharCode(byte)) ? 1 : 0));

/** Reads values by forms. The buffers it is given must go on for 8 bytes behind what is to be read. */
export class FormReader extends JsonScanner {
  /** The holes in which the value matched last differs from its form, in order, and what stands there: offset of the first byte and behind. */
  protected changedCount = 0;
  protected changedHoles = new Int32Array(1024);
  protected changedStarts = new Int32Array(1024);
  protected changedEnds = new Int32Array(1024);

  /** Offset behind the value at `from` if it has this form, else FAIL. */
  protected match(form: JsonForm, from: number): number {
    const { bytes, view } = this;
    const { bytes: own, view: ownView, starts, ends, length } = form;
    if (form.holeCount > this.changedHoles.length) this.#grow(form.holeCount);
    const lastWord = length - WORD_BYTES;
    const lastStride = length - STRIDE_BYTES;
    let count = 0;
    let hole = 0;
    let at = from;
    let ownAt = 0;
    for (;;) {
      // Unequal as numbers are unequal bytes and, by bytes, what is no number; there is no zero among these bytes that could have two signs.
      // Behind the end of what has come there are zeros, which a form has not: so no word behind the first of them is looked at.
      while (
        ownAt <= lastStride &&
        view.getFloat64(at, true) === ownView.getFloat64(ownAt, true) &&
        view.getFloat64(at + 8, true) === ownView.getFloat64(ownAt + 8, true) &&
        view.getFloat64(at + 16, true) === ownView.getFloat64(ownAt + 16, true) &&
        view.getFloat64(at + 24, true) === ownView.getFloat64(ownAt + 24, true)
      ) {
        at += STRIDE_BYTES;
        ownAt += STRIDE_BYTES;
      }
      while (ownAt <= lastWord && view.getFloat64(at, true) === ownView.getFloat64(ownAt, true)) {
        at += WORD_BYTES;
        ownAt += WORD_BYTES;
      }
      const near = ownAt <= lastWord ? ownAt + WORD_BYTES : length;
      while (ownAt < near && bytes[at] === own[ownAt]) {
        at++;
        ownAt++;
      }
      if (ownAt === length) break;
      if (ownAt === near) continue;
      while (ends[hole]! < ownAt) hole++;
      const ownStart = starts[hole]!;
      if (ownAt < ownStart) return FAIL;
      const start = at - (ownAt - ownStart);
      at = own[ownStart - 1] === QUOTE ? this.#textEnd(start, form.isPlain[hole]!) : this.literal(start);
      if (at < 0) return FAIL;
      this.changedHoles[count] = hole;
      this.changedStarts[count] = start;
      this.changedEnds[count++] = at;
      ownAt = ends[hole++]!;
    }
    this.changedCount = count;
    return at;
  }

  /** Offset of the quote that ends a text, from its first byte. */
  #textEnd(start: number, isPlain: number): number {
    const bytes = this.bytes;
    let at = start;
    while (IS_SPECIAL[bytes[at]!] === 0) at++;
    if (bytes[at] === QUOTE) return at;
    if (isPlain === 1) return FAIL;
    at = this.stringRest(at);
    return at < 0 ? FAIL : at - 1;
  }

  #grow(count: number): void {
    this.changedHoles = new Int32Array(count);
    this.changedStarts = new Int32Array(count);
    this.changedEnds = new Int32Array(count);
  }
}
