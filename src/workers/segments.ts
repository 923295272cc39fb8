/**
 * One classic pcap file judged in pieces by several workers, with the answer of one.
 *
 * Problem. Where a record starts is known only by walking from the start of the file: each header tells where the next one lies.
 *
 * Idea. A worker that starts in the middle guesses a place that looks like a record (packets/pcap-segment.ts) and walks on to the first
 * record at or behind the end of its segment. A guess counts only if the worker before, walking from a place that is known, lands
 * exactly there; else the segment is judged once more from the right place. By induction from the file header, every record is
 * judged exactly once, whatever the payloads look like. What a segment found is added up in the order of segments.
 *
 *   file      | header | segment 0        | segment 1           | segment 2     |
 *   walks              0 ──────────────► 1007                                     known start: true
 *                             guess 1007 ──────────────────► 2011                 1007 = 1007: counts
 *                                              guess 1998 (a payload) ─────► EOF  1998 ≠ 2011: judged again from 2011
 *
 * A segment in which the walk ends in damage ends the file: nothing behind it counts.
 */

/** A piece of a capture for one worker: records that start in [start, end). */
export interface SegmentTask {
  readonly file: number;
  readonly index: number;
  /** Where a guess may begin; the true place of a record if `isExact`. */
  readonly start: number;
  /** Infinity: to the end of the file, wherever that is. */
  readonly end: number;
  readonly isExact: boolean;
}

/** What a worker found in a segment. */
export interface SegmentEnd {
  /** Where it started to judge; -1: nothing looked like a record. */
  readonly start: number;
  /** The first record that it left to the next segment. */
  readonly stop: number;
  /** The file ends here for us: damage, or an interruption. */
  readonly isLast: boolean;
}

export interface SegmentPlan {
  readonly file: number;
  readonly firstRecord: number;
  readonly sizeBytes: number;
  /** Bytes of each segment, or those of the next one when so many are left. */
  readonly segmentBytes: number | ((bytesLeft: number) => number);
}

/** The segments of one file, handed out in order and taken back in order. */
export class SegmentChain<T extends SegmentEnd> {
  /** Segments that had to be judged twice. */
  redone = 0;
  readonly #plan: SegmentPlan;
  /** Where each segment lies by its number alone. */
  readonly #starts: readonly number[];
  readonly #results = new Map<number, T>();
  #next = 0;
  #accepted = 0;
  #expected: number;
  #redo: SegmentTask | undefined;
  #hasEnded = false;

  constructor(plan: SegmentPlan) {
    this.#plan = plan;
    this.#expected = plan.firstRecord;
    this.#starts = startsOf(plan);
  }

  get isDone(): boolean {
    return this.#hasEnded || this.#accepted === this.#starts.length;
  }

  /** Work that nobody has yet, at most `ahead` segments in front of the first that is not accepted. */
  take(ahead: number): SegmentTask | undefined {
    if (this.isDone) return undefined;
    const redo = this.#redo;
    this.#redo = undefined;
    if (redo !== undefined) return redo;
    if (this.#next >= this.#starts.length || this.#next >= this.#accepted + ahead) return undefined;
    const index = this.#next++;
    const isExact = index === this.#accepted;
    return this.#task(index, isExact ? this.#expected : this.#nominal(index), isExact);
  }

  /** Takes a result back; returns all results that count from now on, in order. */
  put(index: number, result: T): T[] {
    const accepted: T[] = [];
    if (this.isDone) return accepted;
    this.#results.set(index, result);
    while (!this.isDone) {
      const found = this.#results.get(this.#accepted);
      if (found === undefined) break;
      this.#results.delete(this.#accepted);
      // The record before it may reach over a whole segment.
      const isPassed = this.#expected >= this.#nominal(this.#accepted + 1);
      if (found.start !== this.#expected && !isPassed) {
        this.redone++;
        this.#redo = this.#task(this.#accepted, this.#expected, true);
        break;
      }
      this.#accepted++;
      if (isPassed) continue;
      accepted.push(found);
      this.#expected = found.stop;
      this.#hasEnded = found.isLast;
    }
    return accepted;
  }

  #task(index: number, start: number, isExact: boolean): SegmentTask {
    return { file: this.#plan.file, index, start, end: this.#nominal(index + 1), isExact };
  }

  /** Infinity: behind the last segment. */
  #nominal(index: number): number {
    return this.#starts[index] ?? Number.POSITIVE_INFINITY;
  }
}

function startsOf({ firstRecord, sizeBytes, segmentBytes }: SegmentPlan): number[] {
  const starts = [firstRecord];
  for (let at = firstRecord; ; ) {
    at += typeof segmentBytes === 'number' ? segmentBytes : segmentBytes(sizeBytes - at);
    if (at >= sizeBytes) return starts;
    starts.push(at);
  }
}
