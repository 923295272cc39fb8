/**
 * Memory of generations that are no longer in use.
 *
 * Tables are shared memory, which V8 frees once every thread that saw them has collected its garbage; but it does not count their bytes as a
 * reason to collect. A thread that does little would hold old generations for minutes: with 20 000 pods that was 7 MB more with every
 * change of a file. So bytes are counted here, and garbage is collected when there is enough of it to be worth the pause (about 30 ms).
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes of old generations that a thread may hold. */
const RETIRED_BYTES_MAX = 32 * 1024 * 1024;

export class RetiredMemory {
  readonly #collect: () => void;
  #newestBytes = 0;
  #bytes = 0;

  constructor(collect: () => void = collectGarbage) {
    this.#collect = collect;
  }

  /** A generation of so many bytes takes the place of the one before. */
  replacedBy(bytes: number): void {
    this.#bytes += this.#newestBytes;
    this.#newestBytes = bytes;
    if (this.#bytes < RETIRED_BYTES_MAX) return;
    this.#bytes = 0;
    this.#collect();
  }
}

/** Collects the garbage of this thread. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}
