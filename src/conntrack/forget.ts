/**
 * Forgetting the connections of an address that has another owner now.
 *
 * Felix removes the entries of an address when its pod goes; what the next pod with the address sends is new, whatever ports it happens to
 * use. Walks every slot ever used, so callers ask only when a packet of such an address comes.
 */
import { removeEntry } from './entries.ts';
import {
  type Conntrack,
  ENTRY_DST,
  ENTRY_META,
  ENTRY_SRC,
  ENTRY_WORDS,
  META_IPV6,
  SHARD_USED,
  SHARD_WORDS,
} from './table.ts';

/** Removes all entries, on any node, of the address whose words start at `words[at]`. */
export function forgetAddress(ct: Conntrack, version: number, words: Int32Array, at: number): void {
  const shards = (ct.headsAt / ENTRY_WORDS / (ct.entriesPerShard + 1)) | 0;
  for (let shard = 0; shard < shards; shard++) {
    const used = ct.words[ct.shardsAt + shard * SHARD_WORDS + SHARD_USED]!;
    for (let slot = 1; slot <= used; slot++) {
      const entry = shard * (ct.entriesPerShard + 1) + slot;
      const base = entry * ENTRY_WORDS;
      const meta = ct.words[base + ENTRY_META]!;
      if (meta === 0 || ((meta & META_IPV6) !== 0) !== (version === 6)) continue;
      if (isAt(ct.words, base + ENTRY_SRC, words, at) || isAt(ct.words, base + ENTRY_DST, words, at))
        removeEntry(ct, entry);
    }
  }
}

function isAt(entries: Int32Array, base: number, words: Int32Array, at: number): boolean {
  for (let i = 0; i < 4; i++) if (entries[base + i] !== words[at + i]) return false;
  return true;
}
