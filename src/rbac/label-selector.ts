/** Kubernetes label selectors over the labels of roles, for aggregation. Source: apimachinery pkg/labels/selector.go. */
import type { LabelSelector, StringMap } from '../model/resources.ts';

export function selectorMatches(selector: LabelSelector, labels: StringMap): boolean {
  for (const [key, value] of selector.matchLabels) if (labels.get(key) !== value) return false;
  return selector.matchExpressions.every(({ key, operator, values }) => {
    const value = labels.get(key);
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      default:
        return false;
    }
  });
}
