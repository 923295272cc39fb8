/**
 * Labels of endpoints and network sets: their own, and those they inherit.
 *
 * A lookup takes the own label if there is one, else that of the first profile in order that has the key, else none
 * (semantics 2.3). An own label therefore shadows an inherited one of the same key: a network set may carry `pcns.env`
 * itself (corner case 17), a pod may not, since such keys are dropped from pods.
 * Source: Calico felix/labelindex/label_inheritance_index.go, updateprocessors/workloadendpointprocessor.go.
 */
import { compareBytewise } from '../base/bytewise.ts';
import type { StringMap } from '../model/resources.ts';
import type { LabelLookup } from '../selector/evaluate.ts';
import {
  LABEL_NAMESPACE,
  LABEL_ORCHESTRATOR,
  LABEL_SERVICE_ACCOUNT,
  NAMESPACE_PREFIX,
  SERVICE_ACCOUNT_PREFIX,
} from './selectors.ts';

export type LabelPairs = readonly (readonly [string, string])[];

/** One distinct set of labels as the user wrote it; objects with equal labels share one. */
export interface LabelSet {
  readonly labels: StringMap;
  /** Sorted by key bytewise. */
  readonly pairs: LabelPairs;
}

/** How many maps are known by identity: enough for the pods of a dump, which share theirs, and few to hold on to. */
const KNOWN_MAPS_MAX = 4096;

/** Hands out one `LabelSet` for each distinct content. */
export class LabelSets {
  readonly #byContent = new Map<string, LabelSet>();
  readonly #byMap = new Map<StringMap, LabelSet>();

  of(labels: StringMap): LabelSet {
    let known = this.#byMap.get(labels);
    if (known !== undefined) return known;
    known = this.#ofContent(labels);
    if (this.#byMap.size >= KNOWN_MAPS_MAX) this.#byMap.clear();
    this.#byMap.set(labels, known);
    return known;
  }

  #ofContent(labels: StringMap): LabelSet {
    const pairs = [...labels];
    if (pairs.length > 1) pairs.sort(([a], [b]) => compareBytewise(a, b));
    let content = '';
    for (const [key, value] of pairs) content += framed(key) + framed(value);
    const known = this.#byContent.get(content);
    if (known !== undefined) return known;
    const made = { labels, pairs };
    this.#byContent.set(content, made);
    return made;
  }
}

/** Text that stays unambiguous when joined with others: its length, a colon, itself. */
export function framed(text: string): string {
  return `${text.length}:${text}`;
}

/** Own labels of a pod's endpoint (semantics 2.1). */
export function podOwnLabels(labels: StringMap, namespace: string, serviceAccount: string): StringMap {
  const own = new Map<string, string>();
  for (const [key, value] of labels) {
    if (!key.startsWith(NAMESPACE_PREFIX) && !key.startsWith(SERVICE_ACCOUNT_PREFIX)) own.set(key, value);
  }
  own.set(LABEL_NAMESPACE, namespace);
  own.set(LABEL_ORCHESTRATOR, 'k8s');
  // Without an account, a label of that key that the user wrote survives.
  if (serviceAccount !== '') own.set(LABEL_SERVICE_ACCOUNT, serviceAccount);
  return own;
}

/** Own labels of a network set: of a namespaced one also the namespace, whatever the user wrote (semantics 2.5). */
export function networkSetOwnLabels(labels: StringMap, namespace: string): StringMap {
  return namespace === '' ? labels : new Map(labels).set(LABEL_NAMESPACE, namespace);
}

/** Lookup through own labels, then `parents` in order. */
export function inheritingLookup(own: StringMap, parents: readonly StringMap[]): LabelLookup {
  return (key) => {
    const value = own.get(key);
    if (value !== undefined) return value;
    for (const parent of parents) {
      const inherited = parent.get(key);
      if (inherited !== undefined) return inherited;
    }
    return undefined;
  };
}

/** Content of labels as one unambiguous text, whatever the order of the map. */
export function labelsKey(labels: StringMap): string {
  let key = '';
  for (const [name, value] of [...labels].sort(([a], [b]) => compareBytewise(a, b)))
    key += framed(name) + framed(value);
  return key;
}
