/** The thread that reads a long file ahead (read-ahead.ts). */
import { closeSync, openSync, readSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { FILLED, GIVEN_BACK, LENGTHS, type ReadAheadStart, SLOT_BYTES, SLOT_COUNT, slotStart } from './read-ahead.ts';

const { path, fromByte, numbers, slots } = workerData as ReadAheadStart;
const descriptor = openSync(path, 'r');
try {
  let at = fromByte;
  for (let filled = 0; ; filled++) {
    while (filled - Atomics.load(numbers, GIVEN_BACK) >= SLOT_COUNT) {
      Atomics.wait(numbers, GIVEN_BACK, filled - SLOT_COUNT);
    }
    const slot = filled % SLOT_COUNT;
    const count = readSync(descriptor, slots, slotStart(slot), SLOT_BYTES, at);
    at += count;
    numbers[LENGTHS + slot] = count;
    Atomics.store(numbers, FILLED, filled + 1);
    Atomics.notify(numbers, FILLED);
    if (count === 0) break;
  }
} finally {
  closeSync(descriptor);
}
