import { unreachable } from '../base/assert.ts';
import type { Node } from './ast.ts';

/** The value of a label, or undefined when it is absent. The empty string is a value. */
export type LabelLookup = (key: string) => string | undefined;

/**
 * Whether the selector matches the labels behind `lookup`.
 *
 * An absent label makes `!=` and `not in` true and every other comparison false. `global()` is true: its meaning comes
 * from rewriting a rule's namespace selector, not from here. Strings compare exactly, case included; comparing UTF-16
 * code units of well-formed strings gives what comparing UTF-8 bytes gives. Recursion is bounded by `NODE_DEPTH_MAX`.
 * Source: Calico libcalico-go/lib/selector/parser/ast.go, the Evaluate methods.
 */
export function evaluate(node: Node, lookup: LabelLookup): boolean {
  switch (node.kind) {
    case 'all':
    case 'global':
      return true;
    case 'has':
      return lookup(node.key) !== undefined;
    case '==':
      return lookup(node.key) === node.value;
    case '!=':
      return lookup(node.key) !== node.value;
    case 'contains':
      return lookup(node.key)?.includes(node.value) === true;
    case 'starts with':
      return lookup(node.key)?.startsWith(node.value) === true;
    case 'ends with':
      return lookup(node.key)?.endsWith(node.value) === true;
    case 'in':
      return isMember(node.values, lookup(node.key));
    case 'not in':
      return !isMember(node.values, lookup(node.key));
    case 'not':
      return !evaluate(node.operand, lookup);
    case 'and':
      return node.operands.every((operand) => evaluate(operand, lookup));
    case 'or':
      return node.operands.some((operand) => evaluate(operand, lookup));
    default:
      return unreachable(node);
  }
}

/**
 * The same answer as `evaluate`, prepared once: closures instead of a walk, hash sets instead of scans. For selectors
 * that meet many endpoints; control path only.
 */
export function compileNode(node: Node): (lookup: LabelLookup) => boolean {
  switch (node.kind) {
    case 'in': {
      const { key } = node;
      const members = new Set<string | undefined>(node.values);
      return (lookup) => members.has(lookup(key));
    }
    case 'not in': {
      const { key } = node;
      const members = new Set<string | undefined>(node.values);
      return (lookup) => !members.has(lookup(key));
    }
    case 'not': {
      const operand = compileNode(node.operand);
      return (lookup) => !operand(lookup);
    }
    case 'and': {
      const operands = node.operands.map(compileNode);
      return (lookup) => operands.every((operand) => operand(lookup));
    }
    case 'or': {
      const operands = node.operands.map(compileNode);
      return (lookup) => operands.some((operand) => operand(lookup));
    }
    default:
      return (lookup) => evaluate(node, lookup);
  }
}

function isMember(values: readonly string[], value: string | undefined): boolean {
  return value !== undefined && values.includes(value);
}
