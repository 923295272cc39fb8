import { PolicyError } from '../base/errors.ts';
import type { Node } from './ast.ts';
import { canonicalText, selectorId } from './canonical.ts';
import { compileNode, type LabelLookup } from './evaluate.ts';
import { parseNode } from './parse.ts';

/** Labels of one object: a plain record, of which only its own keys count, or a map. */
export type Labels = Readonly<Record<string, string>> | ReadonlyMap<string, string>;

/** A parsed label selector. */
export interface Selector {
  /** The text as given. */
  readonly text: string;
  /** The tree, for rewriting and for `compileNode`. */
  readonly root: Node;
  /** Calico's canonical text; two selectors with the same one share an IP set. */
  readonly canonical: string;
  /** Calico's ID of that IP set, `s:` and 38 characters. */
  readonly id: string;
  matches(labels: Labels): boolean;
}

/**
 * Parses a label selector as Calico does.
 *
 * Empty and blank text is `all()`. Throws `PolicyError` with code `selector-syntax` (Calico refuses it too) or
 * `selector-limit` (it is larger than we read); its message quotes the offending text and names its column, from 1 in
 * UTF-16 code units, and what was expected there.
 */
export function parseSelector(text: string): Selector {
  const root = parseNode(text);
  const canonical = canonicalText(root);
  const isMatch = compileNode(root);
  return { text, root, canonical, id: selectorId(canonical), matches: (labels) => isMatch(lookupIn(labels)) };
}

/**
 * Calico's Normalise: trims white space of every kind, then gives the canonical text, or the trimmed text as it is when
 * it does not parse. Source: Calico libcalico-go/lib/selector/selector.go.
 */
export function normaliseSelector(text: string): string {
  const trimmed = trimSpace(text);
  try {
    return canonicalText(parseNode(trimmed));
  } catch (error) {
    if (error instanceof PolicyError) return trimmed;
    throw error;
  }
}

/** Looks labels up so that `__proto__`, `constructor` and their like are ordinary keys. */
function lookupIn(labels: Labels): LabelLookup {
  if (isMapLike(labels)) return (key) => labels.get(key);
  return (key) => (Object.hasOwn(labels, key) ? labels[key] : undefined);
}

/** A record's `get`, if it has such a label, is a string. */
function isMapLike(labels: Labels): labels is ReadonlyMap<string, string> {
  return typeof (labels as { readonly get?: unknown }).get === 'function';
}

/** Trims what Go calls space: Unicode's White_Space. JavaScript's `trim` lacks U+0085 and adds U+FEFF. */
function trimSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(text.charCodeAt(start))) start++;
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isSpace(unit: number): boolean {
  return SPACE_UNITS.has(unit);
}

const SPACE_UNITS: ReadonlySet<number> = new Set([
  0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006,
  0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
]);
