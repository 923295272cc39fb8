/** What a parsed document may hold once its schema has passed: optional fields may be `null`, which means absent. */
import type { ObjectMeta, StringMap } from '../model/resources.ts';
import type { ObjectContext } from './object.ts';

export type Opt<T> = T | null | undefined;
export type RawMap = Readonly<Record<string, Opt<string>>>;

export interface RawMeta {
  readonly name?: Opt<string>;
  readonly generateName?: Opt<string>;
  readonly namespace?: Opt<string>;
  readonly uid?: Opt<string>;
  readonly creationTimestamp?: Opt<string>;
  readonly deletionTimestamp?: Opt<string>;
  readonly labels?: Opt<RawMap>;
  readonly annotations?: Opt<RawMap>;
}

export interface RawObject {
  readonly apiVersion?: Opt<string>;
  readonly kind?: Opt<string>;
  readonly metadata?: Opt<RawMeta>;
}

export const NO_ENTRIES: StringMap = new Map();

/** A map of own keys; a `null` value is an empty text, as Go reads it. */
export function stringMap(raw: Opt<RawMap>): StringMap {
  if (raw === null || raw === undefined) return NO_ENTRIES;
  const keys = Object.keys(raw);
  if (keys.length === 0) return NO_ENTRIES;
  const map = new Map<string, string>();
  for (const key of keys) map.set(key, raw[key] ?? '');
  return map;
}

/** Metadata of the object of `context`, its namespace defaulted. */
export function objectMeta(raw: Opt<RawMeta>, context: ObjectContext): ObjectMeta {
  return {
    name: context.id.name,
    namespace: context.id.namespace,
    uid: raw?.uid ?? '',
    labels: stringMap(raw?.labels),
    annotations: stringMap(raw?.annotations),
    origin: context.origin([]),
  };
}

/** The same with the time at which the object was stored, if it was and that is a time. */
export function policyMeta(raw: Opt<RawMeta>, context: ObjectContext): ObjectMeta {
  const createdMs = Date.parse(String(raw?.creationTimestamp ?? ''));
  return { ...objectMeta(raw, context), ...(Number.isNaN(createdMs) ? {} : { createdMs }) };
}

const NO_ITEMS: readonly never[] = [];

/** The list, or an empty one: all empty ones are the same. */
export function listOf<T>(raw: Opt<readonly T[]>): readonly T[] {
  return raw ?? NO_ITEMS;
}
