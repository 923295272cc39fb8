/** The word of `known` that `word` is most likely meant to be: differing in case only, or by few edits. */
export function nearestWord(word: string, known: readonly string[]): string | undefined {
  if (word.length > WORD_LENGTH_MAX) return undefined;
  let nearest: string | undefined;
  let best = 1 + Math.floor(word.length / 4);
  for (const candidate of known) {
    if (candidate.toLowerCase() === word.toLowerCase()) return candidate;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase(), best);
    if (distance <= best && (nearest === undefined || distance < best)) {
      nearest = candidate;
      best = distance;
    }
  }
  return nearest;
}

const WORD_LENGTH_MAX = 64;

/** Levenshtein distance of two short words; anything above `limit` may be given as `limit + 1`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitution, previous[j]! + 1, current[j - 1]! + 1));
    }
    previous = current;
  }
  return previous[b.length]!;
}
