/** Reading of TLS's nested vectors: a number that says how long what follows is, then that. */

/**
 * A place in bytes that never passes their end: a read beyond it gives 0 or nothing, and sets `isOver` for good, so that a parser
 * may read a whole structure and ask once.
 */
export class TlsBytes {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;
  isOver = false;

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get left(): number {
    return this.isOver ? 0 : this.end - this.at;
  }

  /** An unsigned number of 1, 2 or 3 bytes, most significant first. */
  number(size: 1 | 2 | 3): number {
    if (!this.#holds(size)) return 0;
    let value = 0;
    for (let i = 0; i < size; i++) value = (value << 8) | this.bytes[this.at++]!;
    return value;
  }

  /** The next bytes, a view. */
  take(count: number): Uint8Array {
    if (!this.#holds(count)) return EMPTY;
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  /** A vector whose length is a number of `size` bytes, to read on in. */
  vector(size: 1 | 2 | 3): TlsBytes {
    const count = this.number(size);
    if (!this.#holds(count)) return new TlsBytes(EMPTY);
    this.at += count;
    return new TlsBytes(this.bytes, this.at - count, this.at);
  }

  /** All bytes from here to the end, a view. */
  rest(): Uint8Array {
    return this.take(this.left);
  }

  #holds(count: number): boolean {
    if (!this.isOver && count <= this.end - this.at) return true;
    this.isOver = true;
    return false;
  }
}

const EMPTY = new Uint8Array(0);
