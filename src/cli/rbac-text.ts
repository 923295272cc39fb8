/** Rules and bindings in words, for terminals. */
import { escapeControls } from '../base/errors.ts';
import { objectText, type RuleRecord } from '../rbac/decision-record.ts';

/** Two indented lines: the rule and its role, and the binding with its subject. */
export function describeRule({ file, line, index, role, via, binding, subject }: RuleRecord): string[] {
  const collected = via === undefined ? '' : `, which ${via} collects`;
  return [
    `  rule ${index} of ${objectText(role)}${collected} (${file}:${line})`,
    `  bound to ${subject} by ${objectText(binding)} (${binding.file}:${binding.line})`,
  ].map(escapeControls);
}
