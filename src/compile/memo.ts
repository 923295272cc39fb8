/**
 * Results of conversions, by the identity of the object they were made from.
 *
 * A memo lives through many compiles and keeps what the last one used: `turn` ends a compile, and what it did not ask for
 * is forgotten. Objects are never changed in place, so an object seen before has the result it had. (A WeakMap would
 * forget by itself, but 250 000 weak entries cost the collector more than the conversions.)
 */
export class Memo<K extends object, V> {
  #last: Map<K, V> | undefined;
  #current = new Map<K, V>();

  /** The result for `key`, made at most once for each object in use. */
  get(key: K, make: (key: K) => V): V {
    const known = this.#last?.get(key) ?? make(key);
    this.#current.set(key, known);
    return known;
  }

  turn(): void {
    this.#last = this.#current;
    this.#current = new Map();
  }
}

/** How far results are looked for on the spot, and how many may be missing in a row before a map is made of them. */
const NEAR = 16;
const MISSES_MAX = 64;

/**
 * The same for a list so long that a map of it costs as much as the conversions: results are kept by place.
 *
 * Between two compiles most objects stay where they were. Where one came, went or was replaced, those behind it are found by
 * walking on in both lists; where many did, by a map of the rest. A result that is not found is made again.
 */
export class ListMemo<K extends object, V> {
  #keys: readonly K[] = [];
  #values: readonly V[] = [];

  /** Results for all keys, in order. */
  map(keys: readonly K[], make: (key: K) => V): readonly V[] {
    const last = this.#keys;
    let at = 0;
    let misses = 0;
    let places: Map<K, number> | undefined;
    const values: V[] = [];
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!;
      if (last[at] !== key && at < last.length) {
        if (misses > MISSES_MAX) places ??= new Map(last.map((each, place) => [each, place]));
        const place = places === undefined ? nearby(last, key, at + 1) : (places.get(key) ?? -1);
        if (place >= 0) at = place;
      }
      if (last[at] === key) {
        values.push(this.#values[at++]!);
        misses = 0;
      } else {
        values.push(make(key));
        misses++;
        if (at + 1 < last.length && last[at + 1] === keys[i + 1]) at++;
      }
    }
    this.#keys = keys.slice();
    this.#values = values;
    return values;
  }
}

function nearby<K>(list: readonly K[], key: K, from: number): number {
  for (let at = from; at < Math.min(from + NEAR, list.length); at++) if (list[at] === key) return at;
  return -1;
}
