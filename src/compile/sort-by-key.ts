import { compareBytewise } from '../base/bytewise.ts';

/**
 * A sorted copy, by the bytes of keys; items of one key (a pod and the one that took its name) keep their order.
 *
 * The engine's own order of strings is that of UTF-16 units, which equals byte order unless a surrogate is involved; it
 * sorts 250 000 keys several times faster than a comparison function of ours, so surrogates alone take the slow way.
 */
export function sortByKey<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  const byKey = new Map<string, T>();
  const repeats = new Map<string, number>();
  for (const item of items) {
    const key = keyOf(item);
    if (!byKey.has(key)) byKey.set(key, item);
    else {
      const count = (repeats.get(key) ?? 0) + 1;
      repeats.set(key, count);
      // No name holds a character as low, so that what follows the key decides among its own alone.
      byKey.set(`${key}\0${String(count).padStart(9, '0')}`, item);
    }
  }
  const keys = [...byKey.keys()];
  if (keys.some((key) => SURROGATE.test(key))) keys.sort(compareBytewise);
  else keys.sort();
  return keys.map((key) => byKey.get(key)!);
}

const SURROGATE = /[\ud800-\udfff]/;
