import { compareBytewise } from '../base/bytewise.ts';

/**
 * A sorted copy, by the bytes of unique keys.
 *
 * The engine's own order of strings is that of UTF-16 units, which equals byte order unless a surrogate is involved; it
 * sorts 250 000 keys several times faster than a comparison function of ours, so surrogates alone take the slow way.
 */
export function sortByKey<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  const byKey = new Map<string, T>();
  for (const item of items) byKey.set(keyOf(item), item);
  const keys = [...byKey.keys()];
  if (keys.some((key) => SURROGATE.test(key))) keys.sort(compareBytewise);
  else keys.sort();
  return keys.map((key) => byKey.get(key)!);
}

const SURROGATE = /[\ud800-\udfff]/;
