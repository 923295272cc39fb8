/**
 * The newest tables, as the capture processes are given them: as a whole, or by the words that were written since those that a process has.
 *
 * Words of some generations are kept, as long as they are fewer than an eighth of the tables; a process that is further behind gets all.
 */
import type { TablesOrigin } from './engine.ts';

interface Written {
  readonly generation: number;
  readonly runs: Int32Array;
}

/** Share of the tables, as a divisor; and generations. */
const KEPT_SHARE = 8;
const KEPT_MAX = 1_000;

export class TablesInUse {
  generation = 0;
  #buffer = new SharedArrayBuffer(0);
  #begun: Int32Array | undefined;
  /** The generation that the oldest of `#written` was written into. */
  #base = 0;
  #written: Written[] = [];
  #writtenWords = 0;

  take(buffer: SharedArrayBuffer, generation: number, { runs, begun }: TablesOrigin): void {
    if (runs === undefined || this.generation !== generation - 1) {
      this.#base = generation;
      this.#written = [];
      this.#writtenWords = 0;
    } else {
      this.#written.push({ generation, runs });
      this.#writtenWords += runs.length;
      while (this.#writtenWords * KEPT_SHARE > buffer.byteLength / 4 || this.#written.length > KEPT_MAX) {
        const oldest = this.#written.shift()!;
        this.#base = oldest.generation;
        this.#writtenWords -= oldest.runs.length;
      }
    }
    this.generation = generation;
    this.#buffer = buffer;
    this.#begun = begun === undefined ? undefined : new Int32Array(begun);
  }

  /** What to write into the tables of `generation` to have the newest, in order; undefined if that is not known any more. */
  since(generation: number): Int32Array | undefined {
    if (generation < this.#base || generation === 0) return undefined;
    let first = this.#written.length;
    while (first > 0 && this.#written[first - 1]!.generation > generation) first--;
    const later = this.#written.slice(first);
    const runs = new Int32Array(later.reduce((sum, each) => sum + each.runs.length, 0));
    let at = 0;
    for (const each of later) {
      runs.set(each.runs, at);
      at += each.runs.length;
    }
    return runs;
  }

  /** All of it, or undefined if it is being written over: newer tables are on their way then. */
  whole(): Uint8Array | undefined {
    const bytes = new Uint8Array(this.#buffer);
    if (this.#begun === undefined) return bytes;
    // Two buffers take turns: this one is left alone until the next but one begins.
    const copy = bytes.slice();
    return Atomics.load(this.#begun, 0) < this.generation + 2 ? copy : undefined;
  }
}

/** Stores runs of words (first word, how many, the words) in tables. */
export function writeRuns(words: Int32Array, runs: Int32Array): void {
  for (let at = 0; at < runs.length; ) {
    const count = runs[at + 1]!;
    words.set(runs.subarray(at + 2, at + 2 + count), runs[at]!);
    at += 2 + count;
  }
}
