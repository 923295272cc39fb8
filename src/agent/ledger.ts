/**
 * The ledger: a child's counts where they outlive it.
 *
 * Problem. A child may be killed at any moment, and what it counted since its last message would be gone with it, so that nobody could say how
 * many packets it took. Memory cannot be shared between processes here, and a message for each batch would keep the main process busy.
 *
 * Idea. A small file on a file system in memory. The child overwrites it after each batch with one `pwrite` (1 to 2 µs for 256 packets); the
 * page stays when the child goes. The first and the last number are those of the write: a reader that meets a write in progress
 * sees two, and reads again. The text of a write lies within one page, so a kill never leaves half of it.
 *
 *   0 write number | seen, duplicate, … as float64 | write number
 *
 * What is claimed. `seen` counts a packet when the judging thread has noticed that the capture took it, at the latest 20 ms or one batch
 * after the fact. So after a crash `seen` misses what came in that moment; it is like what comes while no child runs: the kernel's affair
 * (`droppedByKernel`, where that can be told). Everything that was in `seen` and has no verdict is `lost`, reason `child-crash`.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { DECODE_STATUS_COUNT } from '../wire/record.ts';

export const LEDGER_SEEN = 0;
export const LEDGER_DUPLICATE = 1;
/** The ring between capture and judge was full. */
export const LEDGER_LOST_RING = 2;
/** Was in hand when the child had to stop. */
export const LEDGER_LOST_STOP = 3;
export const LEDGER_ALLOW = 4;
export const LEDGER_DENY = 5;
export const LEDGER_UNPOLICED = 6;
export const LEDGER_UNCERTAIN = 7;
/** Bytes of judged packets. */
export const LEDGER_BYTES = 8;
export const LEDGER_KERNEL_DROPS = 9;
/** 1 = the number before is an estimate. */
export const LEDGER_IS_ESTIMATED = 10;
export const LEDGER_FLOWS_ACTIVE = 11;
export const LEDGER_FLOWS_EVICTED = 12;
/** Undecoded packets by DECODE_*. */
export const LEDGER_UNDECODED = 13;
export const LEDGER_NUMBERS = LEDGER_UNDECODED + DECODE_STATUS_COUNT;

const FILE_NUMBERS = LEDGER_NUMBERS + 2;

/** Packets whose fate is known. */
export function settledPackets(counts: Float64Array): number {
  let settled = counts[LEDGER_DUPLICATE]! + counts[LEDGER_LOST_RING]! + counts[LEDGER_LOST_STOP]!;
  for (let number = LEDGER_ALLOW; number <= LEDGER_UNCERTAIN; number++) settled += counts[number]!;
  for (let status = 0; status < DECODE_STATUS_COUNT; status++) settled += counts[LEDGER_UNDECODED + status]!;
  return settled;
}

export class LedgerWriter {
  readonly counts: Float64Array;
  readonly #numbers = new Float64Array(FILE_NUMBERS);
  readonly #bytes = new Uint8Array(this.#numbers.buffer);
  #descriptor: number | undefined;

  /** Writes to the file `path`, which exists; without one `write` does nothing. */
  constructor(path: string | undefined) {
    this.counts = this.#numbers.subarray(1, 1 + LEDGER_NUMBERS);
    this.#descriptor = path === undefined ? undefined : openSync(path, 'r+');
  }

  write(): void {
    if (this.#descriptor === undefined) return;
    const number = this.#numbers[0]! + 1;
    this.#numbers[0] = number;
    this.#numbers[FILE_NUMBERS - 1] = number;
    writeSync(this.#descriptor, this.#bytes, 0, this.#bytes.length, 0);
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}

export class LedgerReader {
  readonly #numbers = new Float64Array(FILE_NUMBERS);
  readonly #bytes = new Uint8Array(this.#numbers.buffer);
  readonly #descriptor: number;
  readonly #counts = new Float64Array(LEDGER_NUMBERS);

  /** Makes the file and reads it from then on. */
  constructor(path: string) {
    this.#descriptor = openSync(path, 'wx+', 0o600);
    writeSync(this.#descriptor, this.#bytes, 0, this.#bytes.length, 0);
  }

  /** The newest whole write; the array is filled anew by the next call. */
  read(): Float64Array {
    // A writer that is stopped in mid-write does not come back for us: the one before it stays.
    for (let attempt = 0; attempt < 100; attempt++) {
      readSync(this.#descriptor, this.#bytes, 0, this.#bytes.length, 0);
      if (this.#numbers[0] !== this.#numbers[FILE_NUMBERS - 1]) continue;
      this.#counts.set(this.#numbers.subarray(1, 1 + LEDGER_NUMBERS));
      break;
    }
    return this.#counts;
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
