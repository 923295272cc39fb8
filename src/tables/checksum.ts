/** FNV-1a over the words of `words` from `first` on, as int32. Finds damage, not malice. */
export function checksumWords(words: Int32Array, first: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = first; i < words.length; i++) hash = Math.imul(hash ^ words[i]!, 0x01000193);
  return hash;
}
