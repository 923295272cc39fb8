/**
 * `null` as an entry of a list, for kinds that the API server decodes into Go types of its own.
 *
 * Go's JSON decoder leaves an element that is `null` at its zero value, so `ingress: [null]` (in YAML an empty `-`) is
 * one empty rule, which matches everything, and an error only where an empty entry is one. Custom resources are
 * checked by their OpenAPI schema instead, which refuses such entries.
 *
 * Source: encoding/json, Unmarshal ("The JSON null value unmarshals into …"), as in k8s.io/apimachinery
 * pkg/runtime/serializer/json.
 */
import type { ObjectContext } from './object.ts';
import type { FieldPath } from './problem.ts';
import type { Schema } from './schemas/build.ts';

/** Replaces, in place, each entry that is `null` by the zero value of the list's type, with a warning. */
export function replaceNullEntries(schema: Schema, value: unknown, context: ObjectContext): void {
  visit(schema, value, [], context);
}

function visit(schema: Schema, value: unknown, path: FieldPath, context: ObjectContext): void {
  if (Array.isArray(value)) {
    const items = schema.items;
    if (items === undefined) return;
    for (const [index, entry] of (value as unknown[]).entries()) {
      if (entry === null) replace(items, value as unknown[], index, path, context);
      else visit(items, entry, [...path, index], context);
    }
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, field] of Object.entries(value)) {
      const known = schema.properties?.[key];
      if (known !== undefined) visit(known, field as unknown, [...path, key], context);
    }
  }
}

function replace(items: Schema, list: unknown[], index: number, path: FieldPath, context: ObjectContext): void {
  if (items.type !== 'object' && items.type !== 'string') return;
  const isObject = items.type === 'object';
  list[index] = isObject ? {} : '';
  const message = `the API takes an empty entry as ${isObject ? '{}, which has no field' : 'an empty text'}`;
  context.warn([...path, index], message, isObject ? 'write {} or remove it' : 'write a text or remove it');
}
