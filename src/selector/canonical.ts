import { unreachable } from '../base/assert.ts';
import { uniqueId } from '../base/hash.ts';
import type { Node } from './ast.ts';

/**
 * Calico's canonical text of a selector, by which equal selectors share an IP set.
 *
 * Single spaces around operators, parentheses around every `&&` and `||` (the outermost too), none elsewhere; nested
 * nodes are not flattened; set members in byte order; a bang without space. Not idempotent in one case, as in Calico:
 * `!(!has(a))` prints as `!!has(a)`, which reads as `has(a)`, since a run of bangs collapses; the truth is the same,
 * the ID is not. Source: Calico libcalico-go/lib/selector/parser/ast.go, the collectFragments methods.
 */
export function canonicalText(node: Node): string {
  const fragments: string[] = [];
  appendNode(node, fragments);
  return fragments.join('');
}

/** ID of the IP set of a selector: `s:` and the hash of its canonical text. */
export function selectorId(canonical: string): string {
  return uniqueId('s:', canonical);
}

function appendNode(node: Node, fragments: string[]): void {
  switch (node.kind) {
    case 'all':
    case 'global':
      fragments.push(node.kind, '()');
      break;
    case 'has':
      fragments.push('has(', node.key, ')');
      break;
    case '==':
    case '!=':
    case 'contains':
    case 'starts with':
    case 'ends with':
      fragments.push(node.key, ' ', node.kind, ' ', quoteValue(node.value));
      break;
    case 'in':
    case 'not in':
      fragments.push(node.key, ' ', node.kind, ' {', node.values.map(quoteValue).join(', '), '}');
      break;
    case 'not':
      fragments.push('!');
      appendNode(node.operand, fragments);
      break;
    case 'and':
      appendJunction(node.operands, ' && ', fragments);
      break;
    case 'or':
      appendJunction(node.operands, ' || ', fragments);
      break;
    default:
      unreachable(node);
  }
}

function appendJunction(operands: readonly Node[], operator: string, fragments: string[]): void {
  let separator = '(';
  for (const operand of operands) {
    fragments.push(separator);
    appendNode(operand, fragments);
    separator = operator;
  }
  fragments.push(')');
}

/** In double quotes, or in single quotes if the value has a double one. No parsed value has both kinds. */
function quoteValue(value: string): string {
  return value.includes('"') ? `'${value}'` : `"${value}"`;
}
