/**
 * A map whose keys are runs of bytes, looked up where they lie: no text is made of a key that is known.
 *
 * Big inputs repeat themselves (250 000 pods name 3 000 sets of labels), and to turn bytes into a string costs several
 * times as much as to hash and compare them. Open addressing, at most half full; the bytes of all keys lie in one arena.
 * Past `arenaBytesMax` nothing is added any more, so that input without repetition does not fill memory.
 */
export class ByteMap<V> {
  readonly #arenaBytesMax: number;
  #arena = new Uint8Array(1024);
  #used = 0;
  /** By entry: where its key begins in the arena; one more than there are entries. */
  #starts: number[] = [0];
  #hashes: number[] = [];
  #values: V[] = [];
  /** 1 + entry, 0 = empty. */
  #slots = new Int32Array(64);

  constructor(arenaBytesMax = 16 * 1024 * 1024) {
    this.#arenaBytesMax = arenaBytesMax;
  }

  /** The value of `bytes[from]` to before `bytes[to]`. */
  get(bytes: Uint8Array, from: number, to: number): V | undefined {
    const slots = this.#slots;
    const mask = slots.length - 1;
    const hash = hashBytes(bytes, from, to);
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot]! - 1;
      if (entry < 0) return undefined;
      if (this.#hashes[entry] === hash && this.#isKey(entry, bytes, from, to)) return this.#values[entry];
    }
  }

  /** Adds a key that is not there yet. */
  add(bytes: Uint8Array, from: number, to: number, value: V): void {
    const length = to - from;
    if (this.#used + length > this.#arenaBytesMax) return;
    if (this.#used + length > this.#arena.length) {
      const arena = new Uint8Array(Math.max(2 * this.#arena.length, this.#used + length));
      arena.set(this.#arena);
      this.#arena = arena;
    }
    this.#arena.set(bytes.subarray(from, to), this.#used);
    this.#used += length;
    this.#starts.push(this.#used);
    this.#hashes.push(hashBytes(bytes, from, to));
    this.#values.push(value);
    if (2 * this.#values.length > this.#slots.length) this.#grow();
    else this.#place(this.#values.length - 1);
  }

  #isKey(entry: number, bytes: Uint8Array, from: number, to: number): boolean {
    const start = this.#starts[entry]!;
    if (this.#starts[entry + 1]! - start !== to - from) return false;
    const arena = this.#arena;
    for (let at = from, own = start; at < to; at++, own++) if (bytes[at] !== arena[own]) return false;
    return true;
  }

  #grow(): void {
    this.#slots = new Int32Array(2 * this.#slots.length);
    for (let entry = 0; entry < this.#values.length; entry++) this.#place(entry);
  }

  #place(entry: number): void {
    const mask = this.#slots.length - 1;
    let slot = this.#hashes[entry]! & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = entry + 1;
  }
}

/**
 * FNV-1a over words of four bytes, then over what is left, with a last stir, since the low bits choose the slot. Multiplications wait for
 * each other: a word at a time there are a quarter as many.
 */
function hashBytes(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5 | 0;
  let at = from;
  for (; at + 4 <= to; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    hash = Math.imul(hash ^ word, 0x01000193);
    hash ^= hash >>> 15;
  }
  for (; at < to; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  return hash ^ (hash >>> 15);
}
