/**
 * Records as lines of JSON: the text of `JSON.stringify`, at a third of its cost.
 *
 * Most of a record is the same for many flows: the labels of its ends, the checks that one step decided. record.ts makes those
 * objects once and freezes them, so their text can be kept beside them; what is left are short strings and numbers.
 */
const texts = new WeakMap<object, string>();

/**
 * One line, without its end. `record` is as flat as records are; objects in it that are frozen are taken never to change.
 *
 * @param id  stands before all fields, unless it is undefined
 */
export function recordJson(record: object, id?: unknown): string {
  let text = id === undefined ? '' : `{"id":${valueJson(id)}`;
  for (const name in record) {
    const value = (record as Record<string, unknown>)[name];
    if (value === undefined) continue;
    text += text === '' ? `{"${name}":` : `,"${name}":`;
    text += valueJson(value);
  }
  return text === '' ? '{}' : `${text}}`;
}

function valueJson(value: unknown): string {
  if (typeof value === 'string') return PLAIN_TEXT.test(value) ? `"${value}"` : JSON.stringify(value);
  if (typeof value === 'number') return Number.isFinite(value) ? `${value}` : 'null';
  if (typeof value !== 'object' || value === null || !Object.isFrozen(value)) return JSON.stringify(value);
  let text = texts.get(value);
  if (text === undefined) {
    text = JSON.stringify(value);
    texts.set(value, text);
  }
  return text;
}

/** Printable ASCII without quote and backslash: needs no escape. */
const PLAIN_TEXT = /^[ !#-[\]-~]*$/;
