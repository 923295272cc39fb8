/** One object being loaded: where its parts stood, and where its problems go. */
import type { Origin } from '../model/resources.ts';
import type { RawDocument } from './document.ts';
import { areRelated } from './faults.ts';
import { type FieldPath, formatPath, type ProblemList } from './problem.ts';

/** How a load treats what the API would not take. */
export interface LoadMode {
  /** Apply the defaults of fields and the built-in tiers, but invent no Namespace and no ServiceAccount. */
  readonly asIs: boolean;
  /** Take what a plain write to the CRDs could contain, with a warning that states the effect. */
  readonly permissive: boolean;
  /** Unknown fields are errors. */
  readonly strict: boolean;
  /** The same object again is a warning, and the first one counts: for `validate`, which asks of each object by itself. */
  readonly takesDuplicates: boolean;
}

/** The names an object is reported under. */
export interface ObjectName {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

export class ObjectContext {
  readonly id: ObjectName;
  readonly mode: LoadMode;
  private readonly document: RawDocument;
  private readonly problems: ProblemList;
  private lastOrigin: Origin | undefined;
  private errorCount = 0;
  /** Places that hold an error of shape: what follows from it is not reported. */
  private faultyPlaces: readonly FieldPath[] = [];

  constructor(id: ObjectName, document: RawDocument, problems: ProblemList, mode: LoadMode) {
    this.id = id;
    this.document = document;
    this.problems = problems;
    this.mode = mode;
  }

  get hasErrors(): boolean {
    return this.errorCount > 0;
  }

  /** Parts that begin on one line share theirs. */
  origin(path: FieldPath): Origin {
    const line = this.document.lineOf(path);
    if (this.lastOrigin?.line !== line) this.lastOrigin = { file: this.document.file, line };
    return this.lastOrigin;
  }

  /** From now on says nothing about these places and what leads to them. */
  silence(places: readonly FieldPath[]): void {
    this.faultyPlaces = places;
  }

  /** The object cannot be taken whatever the mode. */
  error(path: FieldPath, message: string, fix: string): void {
    if (this.isSilent(path)) return;
    this.errorCount++;
    this.problems.errors.push(this.problem(path, message, fix));
  }

  warn(path: FieldPath, message: string, fix: string): void {
    if (!this.isSilent(path)) this.problems.warnings.push(this.problem(path, message, fix));
  }

  private isSilent(path: FieldPath): boolean {
    return this.faultyPlaces.some((place) => areRelated(place, path));
  }

  /** The API refuses the field: an error, or under `permissive` a warning with Calico's `effect` (semantics 3.2). */
  refuse(path: FieldPath, message: string, fix: string, effect: string): void {
    if (this.mode.permissive) this.warn(path, `${message}: ${effect}`, fix);
    else this.error(path, message, fix);
  }

  /** A field the API does not know. */
  unknownField(path: FieldPath, message: string, fix: string): void {
    if (this.mode.strict) this.error(path, message, fix);
    else this.warn(path, `${message}, and it is ignored`, fix);
  }

  private problem(path: FieldPath, message: string, fix: string) {
    const { file, line } = this.origin(path);
    return { file, line, ...this.id, field: formatPath(path), message, fix };
  }
}
