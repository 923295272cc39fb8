/**
 * Tables that change while packets are judged by them, and no packet meets two states: two buffers in turn.
 *
 * One buffer is the newest generation and is only read. A change is written to the other one, which nobody reads any more; what was
 * written there since it was the newest is first brought over, word by word. Then the two change places, and the publisher
 * says so with one store (publish.ts). A change of a hundred words costs two hundred stores, however large the tables are:
 *
 *   A  generation 7, read      A  7, read by some who are late     A  patched 8, then 9: newest
 *   B  patched 7, then 8  ──►  B  8, newest                    ──►  B  8, read by some
 *
 * If somebody still reads the older buffer, it is left to them, and a copy of the newest takes its place: a change never waits.
 *
 * Words that can be stored one by one under the eyes of readers (compile/direct-addresses.ts) go to the newest buffer itself, outside of any change. The
 * other one lacks them until it is written the next time, or there are many.
 *
 * Rejected: sections of their own buffer that are copied on write. The trie and the hashes of addresses would have to be copied as a whole
 * or changed under the eyes of readers, and every reader would have to know of two buffers.
 */
import { check } from './check.ts';

export class BufferPair {
  #newest: SharedArrayBuffer;
  #other: SharedArrayBuffer | undefined;
  /** Starts and ends of the words that `#other` lacks. */
  #behind: number[] = [];
  /** What was written since `begin`. */
  #written: number[] = [];
  #isOpen = false;

  /** `first` must not be written by anybody else. */
  constructor(first: SharedArrayBuffer) {
    this.#newest = first;
  }

  get newest(): SharedArrayBuffer {
    return this.#newest;
  }

  /** Starts and ends of the words in which the newest buffer differs from the one before it, for who keeps a copy of it elsewhere. */
  get lastWritten(): readonly number[] {
    return this.#behind;
  }

  /** Makes the second buffer now, so that the first change does not have to. */
  prepare(): void {
    if (this.#other === undefined) this.#copy();
  }

  #copy(): SharedArrayBuffer {
    const copy = new SharedArrayBuffer(this.#newest.byteLength);
    new Int32Array(copy).set(new Int32Array(this.#newest));
    this.#other = copy;
    this.#behind = [];
    return copy;
  }

  /** The buffer to write to: it has all that the newest one has. `isOtherFree`: nobody reads the one before the newest. */
  begin(isOtherFree: boolean): SharedArrayBuffer {
    check(!this.#isOpen, 'a change of tables begins before the last one ended');
    this.#isOpen = true;
    if (this.#other === undefined || !isOtherFree) return this.#copy();
    this.#bring(this.#other);
    this.#behind = [];
    return this.#other;
  }

  /** Stores in the second buffer what it lacks. */
  #bring(other: SharedArrayBuffer): void {
    const source = new Int32Array(this.#newest);
    const target = new Int32Array(other);
    const ranges = this.#behind;
    for (let i = 0; i < ranges.length; i += 2) {
      const start = ranges[i]!;
      const end = ranges[i + 1]!;
      if (end - start < FEW) for (let at = start; at < end; at++) target[at] = source[at]!;
      else target.set(source.subarray(start, end), start);
    }
  }

  /** Tells that words from `start` to before `end` are written: to the buffer of the change that is going on, or to the newest. */
  readonly note = (start: number, end: number): void => {
    if (this.#isOpen) this.#written.push(start, end);
    else this.#behind.push(start, end);
  };

  /** How many numbers of starts and ends the second buffer lacks; those from there on: `lackedFrom`. */
  get lacked(): number {
    return this.#behind.length;
  }

  lackedFrom(mark: number): readonly number[] {
    return this.#behind.slice(mark);
  }

  /** Keeps short what the second buffer lacks. `isOtherFree`: nobody reads it. */
  catchUp(isOtherFree: () => boolean): void {
    if (this.#behind.length < LACKED_MAX) return;
    if (this.#other !== undefined && isOtherFree()) this.#bring(this.#other);
    else this.#other = undefined;
    this.#behind = [];
  }

  /** The buffer that was written becomes the newest; if nothing was, all stays as it is. */
  commit(): SharedArrayBuffer {
    check(this.#isOpen && this.#other !== undefined, 'no change of tables has begun');
    if (this.#written.length === 0) {
      this.#isOpen = false;
      return this.#newest;
    }
    const written = this.#other;
    this.#other = this.#newest;
    this.#newest = written;
    this.#behind = this.#written;
    this.#written = [];
    this.#isOpen = false;
    return written;
  }
}

/** Up to so many words a loop is faster than a view. */
const FEW = 24;
/** Starts and ends of so many words are kept before the second buffer gets them. */
const LACKED_MAX = 8_192;
