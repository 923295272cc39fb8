/**
 * Objects of which some fields have the wrong type: what can still be said of the rest.
 *
 * One run is to report every error, so an object whose shape is wrong is checked all the same, without the parts that
 * are wrong: the entry of a list around them becomes an empty one (a rule with a wrong action is no rule to judge by), or the
 * field goes. What the checks then say of those places follows from the first error, and is not said.
 *
 *     spec.ingress[0].action: 'allow' is not one of …    ingress[0] is checked as {}, and nothing is said about it
 *     spec.ingress[1].source.selector: …                 is reported too
 */
import type { FieldPath } from './problem.ts';

/** An object without the parts that hold a fault; `places` are where parts were taken out. */
export interface SoundPart {
  readonly value: unknown;
  readonly places: readonly FieldPath[];
}

/** The sound part of an object; `undefined` if a whole field of the object itself (`spec`) is at fault. */
export function soundPartOf(value: unknown, faults: readonly FieldPath[]): SoundPart | undefined {
  if (faults.some((path) => path.length < 2)) return undefined;
  const copy: unknown = structuredClone(value);
  const places = faults.map((path) => placeOf(copy, path));
  for (const place of places) takeOut(copy, place);
  return { value: copy, places };
}

/**
 * The innermost entry of a list of objects that is or holds the fault, else the field of a map that is it. A list whose
 * entry is an object, and wrong for that, is a list of something else.
 */
function placeOf(root: unknown, fault: FieldPath): FieldPath {
  let place: FieldPath | undefined;
  let field: FieldPath = fault;
  let value = root;
  for (const [index, part] of fault.entries()) {
    const isListOfMaps = Array.isArray(value) && value.some(isMap);
    value = childOf(value, part);
    const isEntry = isListOfMaps && !(index === fault.length - 1 && isMap(value));
    if (isEntry) place = fault.slice(0, index + 1);
    if (typeof part === 'string') field = fault.slice(0, index + 1);
  }
  return place ?? field;
}

function takeOut(root: unknown, place: FieldPath): void {
  const holder = place.slice(0, -1).reduce<unknown>(childOf, root);
  const last = place.at(-1)!;
  if (Array.isArray(holder) && typeof last === 'number') holder[last] = {};
  else if (isMap(holder)) delete holder[last];
}

function childOf(value: unknown, part: string | number): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
  return (value as Record<string | number, unknown>)[part];
}

function isMap(value: unknown): value is Record<string | number, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One path is the other, or leads to it. */
export function areRelated(a: FieldPath, b: FieldPath): boolean {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) if (a[index] !== b[index]) return false;
  return true;
}
