/**
 * The places of uint32 keys in the order of the keys, equal keys in the order they came.
 *
 * Least-significant-digit radix sort with two digits of 16 bits: two passes, whatever the keys are, where a comparison sort of a
 * quarter of a million takes eighteen. Short lists are not worth its tables.
 */
export function sortedPlaces(keys: Uint32Array): Int32Array {
  const places = new Int32Array(keys.length);
  for (let i = 0; i < places.length; i++) places[i] = i;
  if (keys.length < SHORT) return places.sort((a, b) => keys[a]! - keys[b]! || a - b);
  if (isSorted(keys)) return places;
  const spare = new Int32Array(keys.length);
  pass(keys, 0, places, spare);
  pass(keys, 16, spare, places);
  return places;
}

const SHORT = 1024;
const DIGITS = 65_536;

function isSorted(keys: Uint32Array): boolean {
  for (let i = 1; i < keys.length; i++) if (keys[i - 1]! > keys[i]!) return false;
  return true;
}

function pass(keys: Uint32Array, shift: number, from: Int32Array, to: Int32Array): void {
  const ends = new Int32Array(DIGITS + 1);
  for (let i = 0; i < from.length; i++) ends[((keys[i]! >>> shift) & 0xffff) + 1]!++;
  for (let digit = 1; digit < ends.length; digit++) ends[digit]! += ends[digit - 1]!;
  for (let i = 0; i < from.length; i++) {
    const place = from[i]!;
    to[ends[(keys[place]! >>> shift) & 0xffff]!++] = place;
  }
}
