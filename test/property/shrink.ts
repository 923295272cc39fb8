/**
 * Makes a failing world small: the smallest documents that still fail, by leaving out one part after another.
 *
 * fast-check shrinks what it drew; this shrinks what came of it, a list of JSON documents, and so needs no knowledge of
 * how they were drawn. Documents go first, in halves, then fields and list entries, outermost first, until nothing more
 * can go. Each try is one call of `fails`, so the caller asks about the one flow that failed.
 */
import type { Document } from '../rows/objects.ts';

type Json = unknown;

export function shrinkDocuments(
  documents: readonly Document[],
  fails: (documents: readonly Document[]) => boolean,
): readonly Document[] {
  let list = dropParts(documents, fails);
  for (let isSmaller = true; isSmaller; ) {
    isSmaller = false;
    for (let index = 0; index < list.length; index++) {
      const smaller = shrinkValue(list[index]!, (value) => fails(list.with(index, value as Document)));
      if (smaller === list[index]) continue;
      list = list.with(index, smaller as Document);
      isSmaller = true;
    }
    const fewer = dropParts(list, fails);
    if (fewer.length < list.length) isSmaller = true;
    list = fewer;
  }
  return list;
}

/** Leaves out runs of entries, long runs first. */
export function dropParts<T>(list: readonly T[], fails: (list: readonly T[]) => boolean): readonly T[] {
  let kept = list;
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < kept.length; ) {
      const fewer = [...kept.slice(0, at), ...kept.slice(at + size)];
      if (fails(fewer)) kept = fewer;
      else at += size;
    }
  }
  return kept;
}

/** Leaves out fields and entries of `value`; the same object if none can go. Names of objects and kinds stay. */
function shrinkValue(value: Json, fails: (value: Json) => boolean): Json {
  if (Array.isArray(value)) {
    const kept = dropParts(value as readonly Json[], fails);
    let list = kept.length < value.length ? kept : (value as readonly Json[]);
    for (let index = 0; index < list.length; index++) {
      const smaller = shrinkValue(list[index], (entry) => fails(list.with(index, entry)));
      if (smaller !== list[index]) list = list.with(index, smaller);
    }
    return list;
  }
  if (typeof value !== 'object' || value === null) return value;
  let fields = value as Readonly<Record<string, Json>>;
  for (const key of Object.keys(fields)) {
    const { [key]: part, ...rest } = fields;
    if (fails(rest)) {
      fields = rest;
      continue;
    }
    const smaller = shrinkValue(part, (next) => fails({ ...fields, [key]: next }));
    if (smaller !== part) fields = { ...fields, [key]: smaller };
  }
  return fields;
}
