/**
 * Names to numbers, looked up by bytes, and the order in which the last object had them.
 *
 * Keys are compared by four bytes of theirs and their length, then by content: the keys of one object seldom share these.
 */

export function keyHash(bytes: Uint8Array, from: number, to: number): number {
  const length = to - from;
  return length | (bytes[from]! << 8) | (bytes[from + (length >>> 1)]! << 16) | (bytes[to - 1]! << 24);
}

/** Slots of a table, a power of two that is many times the number of names. */
const SLOT_MASK = 511;
/** Members of an object whose order is remembered. */
const EXPECTED_MAX = 64;

/** Names to numbers, looked up by bytes, and the order in which the last object had them. */
export class KeyTable {
  /** By slot: 1 + number of the name, 0 = empty. */
  readonly #slots = new Uint8Array(SLOT_MASK + 1);
  /** The names in quotes, one after the other; by number where each begins. */
  readonly #quoted: Uint8Array;
  readonly #starts: Int32Array;
  readonly #hashes: Int32Array;
  /** By place in the object: the number of the name, -1 = some other key. */
  readonly #expected = new Int16Array(EXPECTED_MAX);
  #expectedCount = 0;

  constructor(names: readonly string[]) {
    const quoted = names.map((name) => Buffer.from(`"${name}"`));
    this.#quoted = Buffer.concat(quoted);
    this.#starts = new Int32Array(names.length + 1);
    this.#hashes = new Int32Array(names.length);
    for (const [number, name] of quoted.entries()) {
      this.#starts[number + 1] = this.#starts[number]! + name.length;
      this.#hashes[number] = keyHash(name, 1, name.length - 1);
      let slot = keySlot(name, 1, name.length - 1);
      while (this.#slots[slot] !== 0) slot = (slot + 1) & SLOT_MASK;
      this.#slots[slot] = number + 1;
    }
  }

  hashOf(number: number): number {
    return this.#hashes[number]!;
  }

  /** The number of the name, or -1. */
  find(bytes: Uint8Array, from: number, to: number): number {
    for (let slot = keySlot(bytes, from, to); ; slot = (slot + 1) & SLOT_MASK) {
      const number = this.#slots[slot]! - 1;
      if (number < 0) return -1;
      const start = this.#starts[number]! + 1;
      const length = this.#starts[number + 1]! - start - 1;
      if (length !== to - from) continue;
      let i = 0;
      while (i < length && this.#quoted[start + i] === bytes[from + i]) i++;
      if (i === length) return number;
    }
  }

  /** The number of the name that the last object had at this place. */
  expected(place: number): number {
    return this.#expected[place]!;
  }

  isUnknownExpected(place: number): boolean {
    return place < this.#expectedCount && this.#expected[place] === -1;
  }

  /** Length of the expected name in its quotes if it stands at `at`, else 0. */
  expectedLength(place: number, bytes: Uint8Array, at: number): number {
    if (place >= this.#expectedCount) return 0;
    const number = this.#expected[place]!;
    if (number < 0) return 0;
    const start = this.#starts[number]!;
    const length = this.#starts[number + 1]! - start;
    const quoted = this.#quoted;
    for (let i = 0; i < length; i++) if (quoted[start + i] !== bytes[at + i]) return 0;
    return length;
  }

  /** From now on this name is expected at this place, and nothing behind it. */
  expect(place: number, number: number): void {
    if (place >= EXPECTED_MAX) return;
    this.#expected[place] = number;
    this.#expectedCount = place + 1;
  }
}

function keySlot(bytes: Uint8Array, from: number, to: number): number {
  if (from === to) return 0;
  const middle = bytes[from + ((to - from) >>> 1)]!;
  return (bytes[from]! + 7 * middle + 31 * bytes[to - 1]! + 101 * (to - from)) & SLOT_MASK;
}
