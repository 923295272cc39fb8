/**
 * The beginning of one direction of a TCP connection, put together from its segments: enough of it to read a handshake.
 *
 * Every byte has its place, the distance of its sequence number from the first one. What arrives is copied to its place, whatever
 * the order; ranges say what is there, and the range that starts at 0 is what can be read:
 *
 *   segments, as captured   seq+0 "abcd"   seq+8 "ij"   seq+4 "efgh"   seq+2 "cdef" again
 *   ranges                  [0,4)          [0,4) [8,10) [0,10)         [0,10), nothing new
 *
 * - What arrived first stays, as in Linux's receive queue. A later segment that says something else about the same bytes is
 *   noted (`hasConflict`): either somebody injects, or the capture mixes two connections, and then nobody knows what was received.
 * - Memory is bounded: STREAM_BYTES_MAX of a direction are kept, in at most RANGES_MAX ranges, and all streams together take no
 *   more than their `StreamBudget`. What does not fit is left out and noted.
 * - Bytes that the capture cut off (snap length) are holes that nothing will fill: `isCut`.
 *
 * Cost: a copy of each byte, and a walk over the few ranges. Rejected: a list of segments to be sorted at the end, which an
 * endless stream would fill; the kernel's way of delivering in order, which needs the holes as well.
 */

/** Kept of a direction. A handshake with long certificate chains takes 10 KiB. */
export const STREAM_BYTES_MAX = 65_536;
/** Pieces of a stream with holes between them; a receiver has more, a handshake does not need them. */
export const RANGES_MAX = 64;
/** Of all streams that are being read at one time. */
const STREAMS_BYTES_MAX = 64 * 1024 * 1024;

const FIRST_BYTES = 2048;

/** Memory that many streams share. */
export class StreamBudget {
  readonly bytesMax: number;
  bytesUsed = 0;

  constructor(bytesMax: number = STREAMS_BYTES_MAX) {
    this.bytesMax = bytesMax;
  }
}

export class HalfStream {
  /** From the first byte of the connection on; valid up to `length`. */
  bytes: Uint8Array = NOTHING;
  /** Bytes that can be read, from the first one without a hole. */
  length = 0;
  /** The first byte is known, because the SYN was seen. */
  hasStart = false;
  /** Two segments differ in the same bytes. */
  hasConflict = false;
  /** The capture kept only a part of some segment. */
  isCut = false;
  /** Something was left out for lack of room: more than STREAM_BYTES_MAX, more than RANGES_MAX, or the budget. */
  isFull = false;
  /** Any payload was seen at all. */
  hasData = false;
  readonly #budget: StreamBudget;
  #isReleased = false;
  #base = 0;
  #hasBase = false;
  /** start, end, start, end, …: ascending, disjoint, never adjacent. */
  #ranges: number[] = [];

  constructor(budget: StreamBudget) {
    this.#budget = budget;
  }

  /** True while the stream needs room that the budget does not have; the owner frees another stream's and adds the segment again. */
  get bytesHeld(): number {
    return this.bytes.length;
  }

  /**
   * Adds a segment.
   *
   * @param sequence  its sequence number (any 32 bits)
   * @param isSyn  the first byte of the payload is then the one behind the SYN
   * @param view  where the payload lies: `capturedBytes` from `offset` on, of `payloadBytes` on the wire
   * @returns false if the budget had no room for it
   */
  add(
    sequence: number,
    isSyn: boolean,
    view: DataView,
    offset: number,
    capturedBytes: number,
    payloadBytes: number,
  ): boolean {
    if (this.#isReleased) return true;
    const first = isSyn ? (sequence + 1) | 0 : sequence | 0;
    if (isSyn) this.#start(first);
    if (payloadBytes <= 0) return true;
    this.hasData = true;
    if (!this.#hasBase) {
      this.#base = first;
      this.#hasBase = true;
    }
    let from = (first - this.#base) | 0;
    let at = offset;
    let count = Math.max(0, Math.min(capturedBytes, payloadBytes));
    if (capturedBytes < payloadBytes && from >= 0) this.isCut = true;
    if (from < 0) {
      // Before the first byte: a keep-alive probe, or, without a SYN, something older than what was taken for the start.
      at -= from;
      count += from;
      from = 0;
    }
    if (count <= 0) return true;
    if (from >= STREAM_BYTES_MAX) {
      this.isFull = true;
      return true;
    }
    if (from + count > STREAM_BYTES_MAX) {
      this.isFull = true;
      count = STREAM_BYTES_MAX - from;
    }
    if (!this.#makeRoom(from + count)) return false;
    this.#place(from, new Uint8Array(view.buffer, view.byteOffset + at, count));
    return true;
  }

  /** Gives the memory back; nothing more is added. */
  release(): void {
    this.#budget.bytesUsed -= this.bytes.length;
    this.bytes = NOTHING;
    this.length = 0;
    this.#ranges = [];
    this.#isReleased = true;
  }

  /** A SYN tells where the stream starts; one that comes behind data (a capture out of order) moves the data to its place. */
  #start(first: number): void {
    if (this.hasStart && this.#ranges.length > 0) return;
    this.hasStart = true;
    const shift = (this.#base - first) | 0;
    const hadBase = this.#hasBase;
    this.#base = first;
    this.#hasBase = true;
    if (!hadBase || shift === 0 || this.#ranges.length === 0) return;
    const end = this.#ranges.at(-1)!;
    if (shift < 0 || end + shift > STREAM_BYTES_MAX || !this.#makeRoom(end + shift)) {
      // What was read does not belong to this connection, or does not fit.
      this.#ranges = [];
      this.length = 0;
      return;
    }
    this.bytes.copyWithin(shift, 0, end);
    this.#ranges = this.#ranges.map((edge) => edge + shift);
    this.length = this.#ranges[0] === 0 ? this.#ranges[1]! : 0;
  }

  #makeRoom(bytesNeeded: number): boolean {
    if (bytesNeeded <= this.bytes.length) return true;
    const size = Math.min(STREAM_BYTES_MAX, Math.max(FIRST_BYTES, 2 * this.bytes.length, bytesNeeded));
    const more = size - this.bytes.length;
    if (this.#budget.bytesUsed + more > this.#budget.bytesMax) return false;
    this.#budget.bytesUsed += more;
    const larger = new Uint8Array(size);
    larger.set(this.bytes);
    this.bytes = larger;
    return true;
  }

  /** Copies what is new of a piece, compares what is not, and adds it to the ranges. */
  #place(from: number, piece: Uint8Array): void {
    const to = from + piece.length;
    const ranges = this.#ranges;
    const merged: number[] = [];
    let start = from;
    let end = to;
    let at = from;
    for (let i = 0; i < ranges.length; i += 2) {
      const rangeStart = ranges[i]!;
      const rangeEnd = ranges[i + 1]!;
      if (rangeEnd < from || rangeStart > to) continue;
      if (rangeStart > at) this.bytes.set(piece.subarray(at - from, rangeStart - from), at);
      this.#compare(piece, from, Math.max(rangeStart, from), Math.min(rangeEnd, to));
      at = Math.max(at, rangeEnd);
      start = Math.min(start, rangeStart);
      end = Math.max(end, rangeEnd);
    }
    if (at < to) this.bytes.set(piece.subarray(at - from), at);
    for (let i = 0; i < ranges.length; i += 2) if (ranges[i + 1]! < from) merged.push(ranges[i]!, ranges[i + 1]!);
    merged.push(start, end);
    for (let i = 0; i < ranges.length; i += 2) if (ranges[i]! > to) merged.push(ranges[i]!, ranges[i + 1]!);
    if (merged.length > 2 * RANGES_MAX) {
      // The farthest piece goes: the near ones are read first.
      merged.length = 2 * RANGES_MAX;
      this.isFull = true;
    }
    this.#ranges = merged;
    this.length = merged[0] === 0 ? merged[1]! : 0;
  }

  #compare(piece: Uint8Array, from: number, start: number, end: number): void {
    for (let i = start; i < end && !this.hasConflict; i++) {
      if (piece[i - from] !== this.bytes[i]) this.hasConflict = true;
    }
  }
}

const NOTHING = new Uint8Array(0);
