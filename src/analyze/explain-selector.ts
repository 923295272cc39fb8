/**
 * Why a selector holds for an address, or which part of it does not, in a user's words.
 *
 * The sets that rules look up are selectors over inherited labels: `pcsa.tier == "gold"` is a label of the service
 * account, `projectcalico.org/serviceaccount in {"api"}` its name. Each part of a conjunction becomes a sentence about the pod, its
 * account or its namespace.
 */
import {
  LABEL_NAMESPACE,
  LABEL_SERVICE_ACCOUNT,
  NAMESPACE_PREFIX,
  SERVICE_ACCOUNT_PREFIX,
} from '../compile/selectors.ts';
import type { Node } from '../selector/ast.ts';
import { canonicalText } from '../selector/canonical.ts';
import { evaluate } from '../selector/evaluate.ts';
import { parseSelector } from '../selector/selector.ts';
import type { Owner } from './explain-owners.ts';

export interface SelectorFinding {
  readonly text: string;
  /** The one part that does not hold, if it is only one: what a smallest change can be made of. */
  readonly onlyMiss: Node | undefined;
}

/** What to say about an address with these owners, of which `isMember` says whether the set has it. */
export function explainSelector(
  selectorText: string,
  isMember: boolean,
  address: string,
  owners: readonly Owner[],
): SelectorFinding {
  if (owners.length === 0) {
    return { text: `${address} belongs to no pod, host endpoint or network set of the input`, onlyMiss: undefined };
  }
  const parts = conjuncts(parseSelector(selectorText).root);
  const fits = (owner: Owner): boolean => parts.every((part) => evaluate(part, owner.lookup));
  const matching = owners.find(fits);
  if (isMember) {
    const owner = matching ?? owners[0]!;
    return { text: parts.map((part) => leafText(part, owner, true)).join(', '), onlyMiss: undefined };
  }
  const misses = owners.map((owner) => ({ owner, parts: parts.filter((part) => !evaluate(part, owner.lookup)) }));
  const text = misses
    .map(({ owner, parts }) => parts.map((part) => leafText(part, owner, false)).join(', '))
    .join('; ');
  const first = misses[0]!;
  return { text, onlyMiss: first.parts.length === 1 ? first.parts[0] : undefined };
}

/** The parts of nested conjunctions. */
function conjuncts(node: Node): readonly Node[] {
  return node.kind === 'and' ? node.operands.flatMap(conjuncts) : [node];
}

/** One part as a sentence about its owner. */
function leafText(node: Node, owner: Owner, holds: boolean): string {
  switch (node.kind) {
    case 'all':
    case 'global':
      return `${owner.path} is a ${owner.kind}`;
    case '==':
      return valueText(node.key, owner, holds, [node.value]);
    case 'in':
      return valueText(node.key, owner, holds, node.values);
    case '!=':
    case 'not in':
    case 'has':
    case 'contains':
    case 'starts with':
    case 'ends with':
      return `${stateText(node.key, owner)}${holds ? '' : ` (wanted: ${wantedText(node)})`}`;
    default:
      return `${holds ? '' : 'not '}${canonicalText(node)} for the labels of ${owner.path}`;
  }
}

function wantedText(node: Node): string {
  switch (node.kind) {
    case '!=':
      return `not ${node.value}`;
    case 'not in':
      return `none of ${node.values.join(', ')}`;
    case 'has':
      return 'any value';
    case 'contains':
    case 'starts with':
    case 'ends with':
      return `${node.kind} ${node.value}`;
    default:
      return canonicalText(node);
  }
}

function valueText(key: string, owner: Owner, holds: boolean, wanted: readonly string[]): string {
  const state = stateText(key, owner);
  if (holds) return state;
  const hint = shadowHint(key, owner);
  if (owner.lookup(key) === undefined) return `${state} (wanted: ${orList(wanted)})${hint}`;
  return `${state}, not ${orList(wanted)}${hint}`;
}

/** What the owner has where a selector looks for `key`. */
function stateText(key: string, owner: Owner): string {
  const value = owner.lookup(key);
  if (key === LABEL_SERVICE_ACCOUNT) {
    return value === undefined
      ? `${owner.path} is a ${owner.kind} without a service account`
      : `the service account of ${owner.path} is ${value}`;
  }
  if (key === LABEL_NAMESPACE) {
    return value === undefined ? `${owner.path} is in no namespace` : `the namespace of ${owner.path} is ${value}`;
  }
  const [label, whose] = labelOwner(key, owner);
  return value === undefined ? `${whose} has no label ${label}` : `the label ${label} of ${whose} is ${value}`;
}

/** The label as its object has it, and which object that is. */
function labelOwner(key: string, owner: Owner): readonly [string, string] {
  if (key.startsWith(SERVICE_ACCOUNT_PREFIX)) {
    const account =
      owner.serviceAccount === '' ? 'its missing service account' : `service account ${owner.serviceAccount}`;
    const isKnown = owner.accountLabels !== undefined || owner.serviceAccount === '';
    return [key.slice(SERVICE_ACCOUNT_PREFIX.length), isKnown ? account : `${account}, which no object describes,`];
  }
  if (key.startsWith(NAMESPACE_PREFIX)) {
    return [key.slice(NAMESPACE_PREFIX.length), `namespace ${owner.namespace === '' ? '(none)' : owner.namespace}`];
  }
  return [key, owner.path];
}

/** A pod often carries the label that was meant for its account, or the other way round. */
function shadowHint(key: string, owner: Owner): string {
  if (key.startsWith(SERVICE_ACCOUNT_PREFIX)) {
    const label = key.slice(SERVICE_ACCOUNT_PREFIX.length);
    const own = owner.labels.get(label);
    return own === undefined ? '' : ` (the pod's own label ${label}=${own} does not count here)`;
  }
  const ofAccount = owner.lookup(key) === undefined ? owner.accountLabels?.get(key) : undefined;
  return ofAccount === undefined ? '' : ` (the label ${key}=${ofAccount} of its service account does not count here)`;
}

/** `a`, `a or b`, `a, b or c`; long lists are cut. */
export function orList(values: readonly string[], max = 6): string {
  if (values.length === 0) return 'one of an empty list';
  if (values.length > max) return `${values.slice(0, max).join(', ')} or ${values.length - max} others`;
  const last = values.at(-1)!;
  return values.length === 1 ? last : `${values.slice(0, -1).join(', ')} or ${last}`;
}
