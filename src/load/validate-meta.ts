/** Checks of metadata that Kubernetes and Calico share: names, namespaces, labels, annotations. */
import { quoteText } from '../base/errors.ts';
import { labelKeyProblem, labelProblem, labelValueProblem, subdomainProblem } from './names.ts';
import type { ObjectContext } from './object.ts';
import type { FieldPath } from './problem.ts';
import type { Opt, RawMap, RawMeta, RawObject } from './raw.ts';

/** What is wrong with a name of some kind, or `undefined`. */
export type NameRule = (name: string) => string | undefined;

/** Checks the metadata of an object whose name must follow `nameRule`. */
export function checkMeta(raw: RawObject, isNamespaced: boolean, nameRule: NameRule, context: ObjectContext): void {
  const meta: RawMeta = raw.metadata ?? {};
  checkName(meta, nameRule, context);
  const namespace = meta.namespace ?? '';
  if (namespace !== '') {
    if (!isNamespaced) {
      const path = ['metadata', 'namespace'];
      context.refuse(path, `${context.id.kind} has no namespace`, 'remove the field', 'the field is ignored');
    } else {
      const problem = labelProblem(namespace);
      if (problem !== undefined) {
        context.error(['metadata', 'namespace'], `name ${quoteText(namespace)} is ${problem}`, 'correct it');
      }
    }
  }
  checkLabels(meta.labels, ['metadata', 'labels'], context);
  checkAnnotations(meta.annotations, ['metadata', 'annotations'], context);
}

function checkName(meta: RawMeta, nameRule: NameRule, context: ObjectContext): void {
  const name = meta.name ?? '';
  if (name === '') {
    const isGenerated = (meta.generateName ?? '') !== '';
    const message = isGenerated ? 'generateName alone names no object' : 'the object has no name';
    context.error(['metadata', 'name'], message, 'add metadata.name');
    return;
  }
  const problem = nameRule(name);
  if (problem === undefined) return;
  context.refuse(['metadata', 'name'], `name ${quoteText(name)} is ${problem}`, 'rename the object', NO_EFFECT);
}

export const NO_EFFECT = 'it is taken as it is';

/** Labels known to be good: clusters repeat few keys and values over many objects. */
const goodKeys = new Set<string>();
const goodValues = new Set<string>();
const GOOD_COUNT_MAX = 100_000;

export function checkLabels(raw: Opt<RawMap>, path: FieldPath, context: ObjectContext): void {
  if (raw === null || raw === undefined) return;
  for (const key of Object.keys(raw)) {
    const value = raw[key] ?? '';
    if (!isGood(key, goodKeys, labelKeyProblem)) {
      const message = `label key ${quoteText(key)} is ${labelKeyProblem(key)}`;
      context.refuse([...path, key], message, 'correct the key', NO_EFFECT);
    }
    if (!isGood(value, goodValues, labelValueProblem)) {
      const message = `label value ${quoteText(value)} is ${labelValueProblem(value)}`;
      context.refuse([...path, key], message, 'correct the value', NO_EFFECT);
    }
  }
}

function isGood(text: string, good: Set<string>, problemOf: NameRule): boolean {
  if (good.has(text)) return true;
  if (problemOf(text) !== undefined) return false;
  if (good.size >= GOOD_COUNT_MAX) good.clear();
  good.add(text);
  return true;
}

export const ANNOTATIONS_BYTES_MAX = 256 * 1024;

export function checkAnnotations(raw: Opt<RawMap>, path: FieldPath, context: ObjectContext): void {
  if (raw === null || raw === undefined) return;
  let lengthBytes = 0;
  for (const key of Object.keys(raw)) {
    const lower = key.toLowerCase();
    if (!isGood(lower, goodKeys, labelKeyProblem)) {
      const message = `annotation key ${quoteText(key)} is ${labelKeyProblem(lower)}`;
      context.refuse([...path, key], message, 'correct the key', NO_EFFECT);
    }
    lengthBytes += Buffer.byteLength(key) + Buffer.byteLength(raw[key] ?? '');
  }
  if (lengthBytes <= ANNOTATIONS_BYTES_MAX) return;
  const message = `${lengthBytes} bytes of annotations, and at most ${ANNOTATIONS_BYTES_MAX} are allowed`;
  context.refuse(path, message, 'shorten them', NO_EFFECT);
}

/** Names of most kinds. */
export const subdomainName: NameRule = subdomainProblem;

/** Names of namespaces and tiers. */
export const labelName: NameRule = labelProblem;
