import { compareBytewise } from '../base/bytewise.ts';

/**
 * A parsed selector, as plain readonly data. Operators carry their canonical spelling as `kind`.
 *
 * Invariants: `and` and `or` have two operands or more (one operand collapses into itself); nested nodes of one kind
 * stay nested, because Calico's canonical text shows the nesting; `values` is sorted bytewise without duplicates.
 * Source: Calico libcalico-go/lib/selector/parser/ast.go.
 */
export type Node = AllNode | GlobalNode | HasNode | ValueNode | SetNode | NotNode | JunctionNode;

/** `all()`: everything. */
export interface AllNode {
  readonly kind: 'all';
}

/** `global()`: everything, in the language itself; the conversion of rules rewrites it where it means more. */
export interface GlobalNode {
  readonly kind: 'global';
}

/** `has(key)`: the label is present, whatever its value. */
export interface HasNode {
  readonly kind: 'has';
  readonly key: string;
}

/** A label compared with one string; of these only `!=` is true when the label is absent. */
export interface ValueNode {
  readonly kind: '==' | '!=' | 'contains' | 'starts with' | 'ends with';
  readonly key: string;
  readonly value: string;
}

/** A label compared with a set of strings; `not in` is true when the label is absent. */
export interface SetNode {
  readonly kind: 'in' | 'not in';
  readonly key: string;
  readonly values: readonly string[];
}

/** `!operand`. */
export interface NotNode {
  readonly kind: 'not';
  readonly operand: Node;
}

/** `(a && b && …)` or `(a || b || …)`. */
export interface JunctionNode {
  readonly kind: 'and' | 'or';
  readonly operands: readonly Node[];
}

/** A set node from members in any order, duplicates allowed. */
export function setNode(kind: SetNode['kind'], key: string, members: Iterable<string>): SetNode {
  return { kind, key, values: [...new Set(members)].sort(compareBytewise) };
}
