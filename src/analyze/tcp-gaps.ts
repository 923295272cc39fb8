/**
 * What a capture lost of a TCP connection: bytes that the receiver acknowledged and that no packet of the capture carried.
 *
 *   seen        [0,100)          [200,300)         holes: [100,200)
 *   ack 250     acknowledges [100,200), which was never seen: 100 bytes lost by the capture
 *   ack 100     acknowledges nothing of the hole: the network may have lost it, and it will come again
 *
 * Sequence numbers are distances from the first one seen, modulo 2^32, compared as signed differences (RFC 1982's way). Few holes
 * are kept; with more the oldest are given up, so that the count is never too high. Nothing is counted of a direction of which no
 * packet was seen.
 */
const HOLES_MAX = 8;
/** Shared by all that have none; never written. */
const NO_HOLES: number[] = [];

export class TcpGaps {
  /** Bytes acknowledged and never seen. */
  lostBytes = 0;
  #hasStart = false;
  /** Behind the last byte seen. */
  #end = 0;
  /** start, end, start, end, … of what is not seen before `#end`. */
  #holes: number[] = NO_HOLES;

  /** A segment of this direction; `length` counts SYN and FIN. */
  seen(sequence: number, length: number): void {
    if (!this.#hasStart) {
      this.#hasStart = true;
      this.#end = (sequence + length) | 0;
      return;
    }
    const end = (sequence + length) | 0;
    const beyond = (sequence - this.#end) | 0;
    if (beyond > 0) {
      if (this.#holes.length === 0) this.#holes = [];
      this.#holes.push(this.#end, sequence);
      if (this.#holes.length > 2 * HOLES_MAX) this.#holes.splice(0, 2);
    } else if (length > 0) {
      this.#fill(sequence, end);
    }
    if (((end - this.#end) | 0) > 0) this.#end = end;
  }

  /** An acknowledgement by the other side; true if it tells of something that was not seen. */
  acknowledged(acknowledgement: number): boolean {
    if (!this.#hasStart) return false;
    const before = this.lostBytes;
    const holes = this.#holes;
    for (let i = 0; i < holes.length; ) {
      const [start, end] = [holes[i]!, holes[i + 1]!];
      const upTo = ((acknowledgement - end) | 0) < 0 ? acknowledgement : end;
      const lost = (upTo - start) | 0;
      if (lost > 0) {
        this.lostBytes += lost;
        holes[i] = upTo;
      }
      if (((holes[i]! - end) | 0) >= 0) holes.splice(i, 2);
      else i += 2;
    }
    const beyond = (acknowledgement - this.#end) | 0;
    if (beyond > 0) {
      this.lostBytes += beyond;
      this.#end = acknowledgement;
    }
    return this.lostBytes > before;
  }

  #fill(start: number, end: number): void {
    const holes = this.#holes;
    for (let i = 0; i < holes.length; ) {
      const [holeStart, holeEnd] = [holes[i]!, holes[i + 1]!];
      const coversStart = ((start - holeStart) | 0) <= 0;
      const coversEnd = ((end - holeEnd) | 0) >= 0;
      const isApart = ((end - holeStart) | 0) <= 0 || ((start - holeEnd) | 0) >= 0;
      if (isApart) {
        i += 2;
      } else if (coversStart && coversEnd) {
        holes.splice(i, 2);
      } else if (coversStart) {
        holes[i] = end;
        i += 2;
      } else if (coversEnd) {
        holes[i + 1] = start;
        i += 2;
      } else {
        holes.splice(i, 2, holeStart, start, end, holeEnd);
        i += 4;
      }
    }
  }
}
