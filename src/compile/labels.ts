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
import type { Node } from '../selector/ast.ts';
import type { LabelLookup } from '../selector/evaluate.ts';
import type { Selector } from '../selector/selector.ts';
import {
  LABEL_NAMESPACE,
  LABEL_ORCHESTRATOR,
  LABEL_SERVICE_ACCOUNT,
  NAMESPACE_PREFIX,
  SERVICE_ACCOUNT_PREFIX,
} from './selectors.ts';

/** How many maps are known by identity: enough for the pods of a dump, which share theirs where labels are equal. */
const KNOWN_MAPS_MAX = 2 ** 17;

/**
 * Labels of objects, reduced to the keys that selectors ask about.
 *
 * Most labels tell pods apart for other programs than this one (each ReplicaSet has a `pod-template-hash` of its own); what no selector
 * names cannot change which selectors match, and 250 000 pods become as many groups as policies can tell apart.
 */
export class AskedLabels {
  readonly #asked: ReadonlySet<string>;
  readonly #byContent = new Map<string, StringMap>();
  readonly #byMap = new Map<StringMap, StringMap>();

  constructor(asked: ReadonlySet<string>) {
    this.#asked = asked;
  }

  /** Those of `labels` that some selector asks about; one object for each distinct content. */
  of(labels: StringMap): StringMap {
    let known = this.#byMap.get(labels);
    if (known !== undefined) return known;
    known = this.#make(labels);
    if (this.#byMap.size >= KNOWN_MAPS_MAX) this.#byMap.clear();
    this.#byMap.set(labels, known);
    return known;
  }

  #make(labels: StringMap): StringMap {
    const keys: string[] = [];
    for (const key of labels.keys()) if (this.#asked.has(key)) keys.push(key);
    keys.sort(compareBytewise);
    let content = '';
    for (const key of keys) content += framed(key) + framed(labels.get(key)!);
    let asked = this.#byContent.get(content);
    if (asked === undefined) {
      asked = new Map(keys.map((key) => [key, labels.get(key)!]));
      this.#byContent.set(content, asked);
    }
    return asked;
  }
}

/** By key bytewise. Made where they are written: kept for 250 000 pods they would be a third of a plan's memory. */
export function sortedLabels(labels: StringMap): (readonly [string, string])[] {
  return [...labels].sort(([a], [b]) => compareBytewise(a, b));
}

/** The keys that `selectors` ask about, and those that endpoints have by themselves. */
export function askedKeys(selectors: Iterable<Selector>): ReadonlySet<string> {
  const keys = new Set([LABEL_NAMESPACE, LABEL_ORCHESTRATOR, LABEL_SERVICE_ACCOUNT]);
  for (const { root } of selectors) addKeys(root, keys);
  return keys;
}

/** Adds the keys that a formula asks about. */
export function addKeys(node: Node, keys: Set<string>): void {
  if ('key' in node) keys.add(node.key);
  else if ('operand' in node) addKeys(node.operand, keys);
  else if ('operands' in node) for (const operand of node.operands) addKeys(operand, keys);
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
  for (const [name, value] of sortedLabels(labels)) key += framed(name) + framed(value);
  return key;
}
