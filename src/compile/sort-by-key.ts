/**
 * Sorting by the bytes of keys.
 *
 * Keys of a cluster begin alike (`wep:namespace/deployment-…`), so comparisons read the same prefix again and again. Here
 * the four bytes behind the common prefix and the place of the item make one number, and numbers are sorted natively;
 * items that agree in these bytes are told apart by the next four (a radix sort by words, most significant first).
 *
 *     wep:a/x-10  wep:a/x-2  wep:a/x-101     words behind `wep:a/x-`:  10..  2...  101.     sorted: 10.. 101. 2...
 */
import { compareBytewise } from '../base/bytewise.ts';

/** A sorted copy; items of one key (a pod and the one that took its name) keep their order. */
export function sortByKey<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  const keys = items.map(keyOf);
  if (isAscending(keys)) return [...items];
  const order = sortedPlaces(keys) ?? keys.map((_, place) => place).sort((a, b) => compareBytewise(keys[a]!, keys[b]!));
  return Array.from(order, (place) => items[place]!);
}

function isAscending(keys: readonly string[]): boolean {
  for (let i = 1; i < keys.length; i++) if (compareBytewise(keys[i - 1]!, keys[i]!) > 0) return false;
  return true;
}

/** Place and word fit into the 53 bits of a number. */
const PLACES_MAX = 2 ** 20;
const WORD_BYTES = 4;
const FEW = 8;

/** Places of `keys` in the order of their bytes, equal keys in that of their places; `undefined` where words cannot tell. */
function sortedPlaces(keys: readonly string[]): Int32Array | undefined {
  if (keys.length > PLACES_MAX || keys.length < FEW) return undefined;
  const order = Int32Array.from({ length: keys.length }, (_, place) => place);
  const numbers = new Float64Array(keys.length);
  const pending = [0, keys.length, commonPrefixLength(keys)];
  while (pending.length > 0) {
    const unit = pending.pop()!;
    const to = pending.pop()!;
    const from = pending.pop()!;
    if (to - from <= FEW) {
      insertionSort(keys, order, from, to);
      continue;
    }
    for (let i = from; i < to; i++) {
      const word = wordAt(keys[order[i]!]!, unit);
      if (word < 0) return undefined;
      numbers[i] = word * PLACES_MAX + order[i]!;
    }
    numbers.subarray(from, to).sort();
    let start = from;
    let last = -1;
    for (let i = from; i < to; i++) {
      const word = Math.floor(numbers[i]! / PLACES_MAX);
      order[i] = numbers[i]! - word * PLACES_MAX;
      if (word === last) continue;
      if (i - start > 1 && last % 256 !== 0) pending.push(start, i, unit + WORD_BYTES);
      start = i;
      last = word;
    }
    if (to - start > 1 && last % 256 !== 0) pending.push(start, to, unit + WORD_BYTES);
  }
  return order;
}

/** Four units from `unit` on as one number, 0 behind the end of the key; -1 = one of them is no single byte, or 0 itself. */
function wordAt(key: string, unit: number): number {
  let word = 0;
  for (let i = unit; i < unit + WORD_BYTES; i++) {
    const code = i < key.length ? key.charCodeAt(i) : 0;
    if (code > 0x7f || (code === 0 && i < key.length)) return -1;
    word = word * 256 + code;
  }
  return word;
}

function commonPrefixLength(keys: readonly string[]): number {
  const first = keys[0]!;
  let length = first.length;
  for (const key of keys) {
    let at = 0;
    while (at < length && key.charCodeAt(at) === first.charCodeAt(at)) at++;
    length = at;
  }
  return length;
}

function insertionSort(keys: readonly string[], order: Int32Array, from: number, to: number): void {
  for (let i = from + 1; i < to; i++) {
    const place = order[i]!;
    const key = keys[place]!;
    let at = i;
    for (; at > from && compareBytewise(keys[order[at - 1]!]!, key) > 0; at--) order[at] = order[at - 1]!;
    order[at] = place;
  }
}
