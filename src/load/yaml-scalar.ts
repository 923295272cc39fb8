/**
 * What a YAML scalar means to kubectl.
 *
 * kubectl turns YAML into JSON with Go's yaml.v2, whose plain scalars follow YAML 1.1 for booleans (`yes`, `on`, `y`),
 * octals (`0644`, besides `0o644`), binaries and digits with `_`, and text for what 1.1 would read as a date or a sexagesimal number.
 *
 *     yes -> true    0644 -> 420    0x1F -> 31    1_000 -> 1000    12:30:45 -> text    2026-01-01 -> text    ~ -> null
 */

export type ResolvedScalar = { readonly value: string | number | boolean | null } | { readonly problem: string };

/** The value of a scalar; `isPlain` = written without quotes and not as a block; `tag` = an explicit tag, if any. */
export function resolveScalar(text: string, isPlain: boolean, tag: string | undefined): ResolvedScalar {
  if (tag === undefined) return { value: isPlain ? resolvePlain(text) : text };
  if (tag === `${CORE}str` || tag === '!' || tag === `${CORE}timestamp`) return { value: text };
  const value = resolvePlain(text);
  if (tag === `${CORE}null` && value === null) return { value };
  if (tag === `${CORE}bool` && typeof value === 'boolean') return { value };
  if (tag === `${CORE}int` && typeof value === 'number' && Number.isInteger(value)) return { value };
  if (tag === `${CORE}float` && typeof value === 'number') return { value };
  return { problem: `tag ${tag.replace(CORE, '!!')} does not fit the value or is not supported` };
}

const CORE = 'tag:yaml.org,2002:';

/** The text of a mapping key: booleans and numbers become text, as JSON keys are; a null key is `undefined`. */
export function keyText(text: string, isPlain: boolean, tag: string | undefined): string | undefined {
  const resolved = resolveScalar(text, isPlain, tag);
  const value = 'problem' in resolved ? text : resolved.value;
  return value === null ? undefined : String(value);
}

const WORDS: ReadonlyMap<string, boolean | null | number> = new Map<string, boolean | null | number>([
  ...['', '~', 'null', 'Null', 'NULL'].map((word) => [word, null] as const),
  ...['y', 'Y', 'yes', 'Yes', 'YES', 'true', 'True', 'TRUE', 'on', 'On', 'ON'].map((word) => [word, true] as const),
  ...['n', 'N', 'no', 'No', 'NO', 'false', 'False', 'FALSE', 'off', 'Off', 'OFF'].map((word) => [word, false] as const),
  ...['.nan', '.NaN', '.NAN'].map((word) => [word, Number.NaN] as const),
  ...['.inf', '.Inf', '.INF', '+.inf', '+.Inf', '+.INF'].map((word) => [word, Number.POSITIVE_INFINITY] as const),
  ...['-.inf', '-.Inf', '-.INF'].map((word) => [word, Number.NEGATIVE_INFINITY] as const),
]);

const DECIMAL = /^[-+]?(?:0|[1-9][0-9]*)$/;
const PREFIXED = /^([-+]?)0([xX][0-9a-fA-F]+|[bB][01]+|[oO]?[0-7]+)$/;
const FLOAT = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;

function resolvePlain(text: string): string | number | boolean | null {
  const word = WORDS.get(text);
  if (word !== undefined) return word;
  const first = text.charCodeAt(0);
  // Numbers begin with a digit, a sign or a dot.
  if (!((first >= 0x30 && first <= 0x39) || first === 0x2b || first === 0x2d || first === 0x2e)) return text;
  const digits = first === 0x2e ? text : text.replaceAll('_', '');
  if (DECIMAL.test(digits)) return Number(digits);
  const prefixed = PREFIXED.exec(digits);
  if (prefixed !== null) {
    const body = prefixed[2]!;
    const magnitude = Number(/^[xXbBoO]/.test(body) ? `0${body}` : `0o${body}`);
    return prefixed[1] === '-' ? -magnitude : magnitude;
  }
  return FLOAT.test(digits) ? Number(digits) : text;
}
