/** Whether two values of plain data (numbers, texts, lists, Maps, objects without a class) are the same all the way down. */
export function isSameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null)
    return Number.isNaN(a) && Number.isNaN(b);
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((each, i) => isSameValue(each, b[i]));
  if (a instanceof Map) return b instanceof Map && isSameMap(a, b);
  return !Array.isArray(b) && !(b instanceof Map) && isSameRecord(a as Fields, b as Fields);
}

type Fields = Readonly<Record<string, unknown>>;

function isSameMap(a: ReadonlyMap<unknown, unknown>, b: ReadonlyMap<unknown, unknown>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (!b.has(key) || !isSameValue(value, b.get(key))) return false;
  return true;
}

function isSameRecord(a: Fields, b: Fields): boolean {
  const keys = Object.keys(a);
  if (Object.keys(b).length !== keys.length) return false;
  return keys.every((key) => key in b && isSameValue(a[key], b[key]));
}
