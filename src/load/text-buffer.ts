/** Pieces of text, cut anywhere, as one buffer that holds what has not been taken in so far. */

/** As many as the longest thing that is looked at without a look at each byte: an escape, or a word of eight bytes. */
export const LOOK_AHEAD_BYTES = 8;

export interface TextPiece {
  readonly bytes: Buffer;
  /**
   * 0: the piece is good until the next one is asked for, and nothing may be written around it. More: so many bytes of memory before it and
   * LOOK_AHEAD_BYTES behind it may be written, and all of that, the piece itself too, is left alone until the next but one is asked for.
   */
  readonly freeBefore: number;
}

/**
 * What is kept of the pieces so far and the last piece, one behind the other, and then LOOK_AHEAD_BYTES of zeros: readers look some bytes ahead,
 * and code that has once read behind the end of an array is slow ever after.
 */
export class TextBuffer {
  bytes: Buffer = Buffer.alloc(LOOK_AHEAD_BYTES);
  /** Without the zeros. */
  length = 0;
  /** The bytes lie in the memory of the last piece. */
  #isBorrowed = false;

  /** Forgets what is before `keepFrom`, an offset of `bytes`, and puts the piece behind the rest: `bytes` then begin with what was there. */
  add({ bytes, freeBefore }: TextPiece, keepFrom: number): void {
    const keptBytes = this.length - keepFrom;
    if (freeBefore > 0 && keptBytes <= freeBefore) this.#moveBefore(bytes, keepFrom);
    else this.#copy(bytes, keepFrom);
    this.length = keptBytes + bytes.length;
    this.bytes.fill(0, this.length, this.length + LOOK_AHEAD_BYTES);
  }

  /** Into the piece's memory. */
  #moveBefore(piece: Buffer, keepFrom: number): void {
    const keptBytes = this.length - keepFrom;
    const all = keptBytes + piece.length + LOOK_AHEAD_BYTES;
    const bytes = Buffer.from(piece.buffer, piece.byteOffset - keptBytes, all);
    this.bytes.copy(bytes, 0, keepFrom, this.length);
    this.bytes = bytes;
    this.#isBorrowed = true;
  }

  /** Into memory of its own, that of the pieces before if it fits. */
  #copy(piece: Buffer, keepFrom: number): void {
    const keptBytes = this.length - keepFrom;
    const length = keptBytes + piece.length;
    if (!this.#isBorrowed && length + LOOK_AHEAD_BYTES <= this.bytes.length) {
      this.bytes.copyWithin(0, keepFrom, this.length);
    } else {
      const room = Math.max(length, Math.min(2 * this.bytes.length, 2 * length));
      const bytes = Buffer.allocUnsafe(room + LOOK_AHEAD_BYTES);
      this.bytes.copy(bytes, 0, keepFrom, this.length);
      this.bytes = bytes;
      this.#isBorrowed = false;
    }
    piece.copy(this.bytes, keptBytes);
  }
}
