/**
 * What the compiler has to tell the user: every effect of the input that a reader of the manifests would not expect.
 *
 * Warnings never change a verdict. They are sorted by place, so that a plan depends on the objects and not on the order
 * in which they were converted.
 */
import { compareBytewise } from '../base/bytewise.ts';
import type { ObjectMeta } from '../model/resources.ts';
import type { PlanWarning } from './plan.ts';

/** The object that a warning is about: any resource will do. */
export interface WarningSubject {
  readonly kind: string;
  readonly meta: ObjectMeta;
}

/** A warning about `subject`; `field` is the path of the field (`spec.ingress[2].source`), `''` for the whole object. */
export function warning(subject: WarningSubject, field: string, message: string, fix: string): PlanWarning {
  const { origin, namespace, name } = subject.meta;
  return { origin, kind: KINDS_AS_WRITTEN.get(subject.kind) ?? subject.kind, namespace, name, field, message, fix };
}

/** Kinds that users write under another name than the model has. */
const KINDS_AS_WRITTEN: ReadonlyMap<string, string> = new Map([
  ['KubernetesNetworkPolicy', 'NetworkPolicy'],
  ['KubernetesClusterNetworkPolicy', 'ClusterNetworkPolicy'],
]);

/** Sorted by file, line, object, field, text; equal ones once. */
export function sortWarnings(warnings: readonly PlanWarning[]): PlanWarning[] {
  const sorted = [...warnings].sort(compareWarnings);
  return sorted.filter((item, i) => i === 0 || compareWarnings(sorted[i - 1]!, item) !== 0);
}

function compareWarnings(a: PlanWarning, b: PlanWarning): number {
  return (
    compareBytewise(a.origin.file, b.origin.file) ||
    a.origin.line - b.origin.line ||
    compareBytewise(a.kind, b.kind) ||
    compareBytewise(a.namespace, b.namespace) ||
    compareBytewise(a.name, b.name) ||
    compareBytewise(a.field, b.field) ||
    compareBytewise(a.message, b.message) ||
    compareBytewise(a.fix, b.fix)
  );
}
