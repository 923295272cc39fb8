import { unreachable } from '../base/assert.ts';
import type { Node } from './ast.ts';

/**
 * The selector with `prefix` put before every label key, as a new tree.
 *
 * Endpoints inherit the labels of their namespace under `pcns.` and those of their service account under `pcsa.`, so a
 * namespace or account selector becomes an endpoint selector this way: `env == "prod"` with `pcns.` is
 * `pcns.env == "prod"`. `all()` and `global()` have no key and stay. Values are untouched, and so is a key that has the
 * prefix already: it gets it a second time. A key may grow past `LABEL_KEY_BYTES_MAX` here; Calico notices when it
 * parses the result again, and so does `parseSelector(canonicalText(…))`.
 * Source: Calico libcalico-go/lib/selector/parser/ast.go, PrefixVisitor.
 */
export function prefixKeys(node: Node, prefix: string): Node {
  switch (node.kind) {
    case 'all':
    case 'global':
      return node;
    case 'has':
    case '==':
    case '!=':
    case 'contains':
    case 'starts with':
    case 'ends with':
    case 'in':
    case 'not in':
      return { ...node, key: prefix + node.key };
    case 'not':
      return { kind: 'not', operand: prefixKeys(node.operand, prefix) };
    case 'and':
    case 'or':
      return { kind: node.kind, operands: node.operands.map((operand) => prefixKeys(operand, prefix)) };
    default:
      return unreachable(node);
  }
}
