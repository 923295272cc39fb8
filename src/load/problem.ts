/**
 * Errors and warnings of a load, collected, never thrown: one run reports them all.
 *
 * Each has the place, the object, the path of the field, what is wrong and what to do. `formatProblem` makes the one
 * line that every verb prints: `file:line: Kind namespace/name: field: what is wrong; what to do`.
 */
import { formatReport } from '../base/errors.ts';

/** Path of a field inside a document: keys and 0-based indexes from its root. */
export type FieldPath = readonly (string | number)[];

/** A place in an input, both from 1. Columns count UTF-16 code units. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** One error or warning of a load. A part that does not apply is `''`, a line that is not known 0. */
export interface LoadProblem {
  readonly file: string;
  readonly line: number;
  /** Only where the text itself is broken; the place of a field is its line. */
  readonly column?: number;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** `spec.ingress[2].source.serviceAccounts.selector` */
  readonly field: string;
  readonly message: string;
  readonly fix: string;
}

/** The one line of style.md, section 6. */
export function formatProblem(problem: LoadProblem): string {
  const file = problem.column === undefined ? problem.file : `${problem.file}:${problem.line}`;
  return formatReport({
    origin: problem.file === '' ? undefined : { file, line: problem.column ?? problem.line },
    kind: problem.kind,
    namespace: problem.namespace,
    name: problem.name,
    field: problem.field === '' ? undefined : problem.field,
    problem: problem.message,
    fix: problem.fix === '' ? undefined : problem.fix,
  });
}

/** `spec.ingress[2].source`; a key that is no plain word is shown as `metadata.labels["a/b"]`. */
export function formatPath(path: FieldPath): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (!PLAIN_KEY.test(part)) text += `[${JSON.stringify(part)}]`;
    else text += text === '' ? part : `.${part}`;
  }
  return text;
}

const PLAIN_KEY = /^[A-Za-z_][A-Za-z0-9_-]*$/;

/** The errors and warnings of one load, in the order they were found. */
export class ProblemList {
  readonly errors: LoadProblem[] = [];
  readonly warnings: LoadProblem[] = [];
}
