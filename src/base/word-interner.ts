/** Numbers equal arrays of words alike, by hash and comparison: joining thousands of words to text, as a map key, cost many times more. */
export class WordInterner {
  /** Hash -> numbers of the arrays with it. */
  readonly #buckets = new Map<number, number[]>();
  readonly #arrays: Int32Array[] = [];

  get count(): number {
    return this.#arrays.length;
  }

  /** The number of `words`, new (`count` before the call) or that of an equal array seen before. The array must not change later. */
  number(words: Int32Array): number {
    const hash = hashWords(words);
    let bucket = this.#buckets.get(hash);
    if (bucket === undefined) {
      bucket = [];
      this.#buckets.set(hash, bucket);
    }
    for (const number of bucket) if (sameWords(this.#arrays[number]!, words)) return number;
    bucket.push(this.#arrays.length);
    this.#arrays.push(words);
    return this.#arrays.length - 1;
  }

  array(number: number): Int32Array {
    return this.#arrays[number]!;
  }
}

/** FNV-1a over words, as int32. */
function hashWords(words: Int32Array): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = 0; i < words.length; i++) hash = Math.imul(hash ^ words[i]!, 0x01000193) ^ (hash >>> 15);
  return hash;
}

function sameWords(a: Int32Array, b: Int32Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
