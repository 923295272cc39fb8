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
