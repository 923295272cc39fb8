/**
 * Documents to the model: the way in for everything the user wrote.
 *
 *     text ─► documents ─► lists taken apart ─► kind ─► schema ─► checks ─► model ─► what is missing
 *
 * Nothing is thrown for bad input: every error and warning of the load is in the result, each with its file and line.
 * An object with an error is left out of the model, so a result with errors must not be judged by.
 */
import { addResource, emptyResources, type Pod, type Resource, type Resources } from '../model/resources.ts';
import { warnOfContradictions } from './consistency.ts';
import { addMissing } from './defaults.ts';
import type { DocumentSink, PodSink, RawDocument, TextProblem } from './document.ts';
import { readDocuments } from './documents.ts';
import { soundPartOf } from './faults.ts';
import type { FileSource } from './files.ts';
import { type Classification, classify, type KindLoader, STORED_VERSION } from './kinds.ts';
import { replaceNullEntries } from './null-entries.ts';
import { type LoadMode, ObjectContext, type ObjectName } from './object.ts';
import { type FieldPath, type LoadProblem, ProblemList } from './problem.ts';
import { readFileDocuments } from './read-file.ts';
import { checkSchema } from './schema-check.ts';
import { SeenObjects } from './seen-objects.ts';
import { unfoldMetadata } from './stored-metadata.ts';
import { synthesisePods, type Workload } from './workloads.ts';

export { formatProblem, type LoadProblem } from './problem.ts';

/** A text to load, and the name it goes by in messages: usually its file. */
export interface LoadSource {
  readonly name: string;
  readonly text: string;
}

/** An object that was parsed elsewhere, as an API gives it; it may be changed. Its lines are not known. */
export interface ObjectSource {
  readonly name: string;
  readonly value: unknown;
}

export interface LoadOptions extends Partial<LoadMode> {
  /** Changes the objects that were read, before what they lack is made: the way in for pods that another source knows. */
  readonly amend?: (resources: readonly Resource[]) => readonly Resource[];
  /** Called again and again while the load goes on. */
  readonly progress?: (progress: LoadProgress) => void;
}

/** How far a load is, for a progress bar. */
export interface LoadProgress {
  readonly file: string;
  readonly bytesRead: number;
  /** Of the file; `undefined` for streams. */
  readonly sizeBytes: number | undefined;
  /** Of all files so far. */
  readonly objects: number;
}

/** Objects of a kind that is not loaded. */
export interface IgnoredKind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly count: number;
}

export interface LoadResult {
  readonly resources: Resources;
  readonly errors: readonly LoadProblem[];
  readonly warnings: readonly LoadProblem[];
  /** So many of the warnings, the first ones, are about one object by itself; the others about what is missing, or does not fit together. */
  readonly ownWarnings: number;
  readonly ignored: readonly IgnoredKind[];
}

/**
 * Loads texts and files. Texts without a name are called `input-1`, `input-2`, … by their place in the list.
 *
 * Throws nothing but the system's error for a file that cannot be read.
 */
export function loadResources(
  sources: readonly (LoadSource | FileSource | ObjectSource | string)[],
  options: LoadOptions = {},
): LoadResult {
  const loader = new Loader(options);
  for (const [index, source] of sources.entries()) {
    if (typeof source !== 'string' && 'path' in source) readFileDocuments(source, loader);
    else if (typeof source !== 'string' && 'value' in source) {
      const { name, value } = source;
      loader.document({ file: name, value, prefix: [], place: { line: 0, column: 0 }, lineOf: () => 0 });
    } else {
      const { name, text } = typeof source === 'string' ? { name: `input-${index + 1}`, text: source } : source;
      loader.begin(name, text.length);
      readDocuments(name, text, loader);
    }
  }
  return loader.finish();
}

class Loader implements DocumentSink {
  readonly pods: PodSink;
  private readonly mode: LoadMode;
  private readonly amend: NonNullable<LoadOptions['amend']>;
  private readonly progress: LoadOptions['progress'];
  private readonly reading = { file: '', bytesRead: 0, sizeBytes: undefined as number | undefined };
  private readonly problems = new ProblemList();
  private readonly all: Resource[] = [];
  private readonly workloads: Workload[] = [];
  private readonly seen = new SeenObjects();
  private readonly ignored = new Map<string, { apiVersion: string; kind: string; count: number }>();

  constructor(options: LoadOptions) {
    this.mode = {
      asIs: options.asIs ?? false,
      permissive: options.permissive ?? false,
      strict: options.strict ?? false,
      takesDuplicates: options.takesDuplicates ?? false,
    };
    this.pods = { isAsIs: this.mode.asIs, add: (pod) => this.addPod(pod) };
    this.amend = options.amend ?? ((resources) => resources);
    this.progress = options.progress;
  }

  begin(file: string, lengthBytes: number | undefined): void {
    this.reading.file = file;
    this.reading.bytesRead = 0;
    this.reading.sizeBytes = lengthBytes;
  }

  passed(lengthBytes: number): void {
    this.reading.bytesRead += lengthBytes;
    this.progress?.({ ...this.reading, objects: this.all.length });
  }

  problem(problem: TextProblem): void {
    const { file, place, message, fix } = problem;
    this.problems.errors.push({ file, ...place, kind: '', namespace: '', name: '', field: '', message, fix });
  }

  document(document: RawDocument): void {
    const { value } = document;
    if (!isRecord(value)) {
      this.reject(document, 'a document must be a map with apiVersion and kind', 'write a Kubernetes object');
    } else if (isList(value)) this.list(document, value);
    else this.object(document, value);
  }

  /** A `List`, or a `PodList` and the like, whose items may leave out their kind. */
  private list(document: RawDocument, value: Record<string, unknown>): void {
    const items = value.items ?? [];
    if (!Array.isArray(items)) {
      this.reject(document, 'items must be a list', 'write the objects as a list');
      return;
    }
    const itemKind = String(value.kind).replace(/List$/, '');
    for (const [index, item] of items.entries()) {
      const isBare = itemKind !== '' && isRecord(item) && item.kind === undefined;
      const typed = isBare ? { ...item, kind: itemKind, apiVersion: value.apiVersion } : (item as unknown);
      this.document(itemDocument(document, index, typed));
    }
  }

  private object(document: RawDocument, value: Record<string, unknown>): void {
    const { apiVersion, kind } = value;
    if (typeof apiVersion !== 'string' || typeof kind !== 'string' || apiVersion === '' || kind === '') {
      const missing = typeof kind === 'string' && kind !== '' ? 'apiVersion' : 'kind';
      this.reject(document, `the object has no ${missing}`, `add ${missing}`);
      return;
    }
    const classification = classify(apiVersion, kind);
    if (classification.type === 'load') this.load(classification.loader, document, value);
    else if (classification.type === 'ignore') this.ignore(apiVersion, kind);
    else this.leaveOut(classification, kind, document, value);
  }

  /** A kind that is not loaded, and about which the user must know. */
  private leaveOut(
    { type, message, fix }: Classification & { readonly message: string; readonly fix: string },
    kind: string,
    document: RawDocument,
    value: Record<string, unknown>,
  ): void {
    const context = new ObjectContext(nameOf(kind, false, value), document, this.problems, this.mode);
    if (type === 'refuse') context.error(['kind'], message, fix);
    else {
      context.warn(['kind'], message, fix);
      this.ignore(String(value.apiVersion), kind);
    }
  }

  private ignore(apiVersion: string, kind: string): void {
    const key = `${apiVersion} ${kind}`;
    const entry = this.ignored.get(key);
    if (entry === undefined) this.ignored.set(key, { apiVersion, kind, count: 1 });
    else entry.count++;
  }

  private load(loader: KindLoader, document: RawDocument, value: Record<string, unknown>): void {
    let content: Readonly<Record<string, unknown>> = loader.dropsNulls ? withoutNulls(value) : value;
    const name = nameOf(loader.kind, loader.isNamespaced, content);
    const context = new ObjectContext(name, document, this.problems, this.mode);
    if (value.apiVersion === STORED_VERSION) content = unfoldMetadata(content, context);
    if (loader.takesNullEntries) replaceNullEntries(loader.schema, content, context);
    const faults = checkSchema(loader.schema, content, context);
    if (faults.length > 0) {
      this.checkRest(loader, content, faults, context);
      return;
    }
    loader.check(content, context);
    if (context.hasErrors) return;
    this.add(loader.convert(content, context), context);
  }

  /** Of an object whose shape is wrong: what can be said about the rest of it. */
  private checkRest(loader: KindLoader, content: unknown, faults: readonly FieldPath[], context: ObjectContext): void {
    const sound = soundPartOf(content, faults);
    if (sound === undefined) return;
    context.silence(sound.places);
    loader.check(sound.value, context);
  }

  private addPod(pod: Pod): boolean {
    if (this.seen.add('Pod', pod.meta) !== undefined) return false;
    this.all.push(pod);
    return true;
  }

  private add(object: Resource | Workload, context: ObjectContext): void {
    const kind = object.kind === 'Workload' ? object.workloadKind : object.kind;
    const first = this.seen.add(kind, object.meta)?.origin;
    if (first !== undefined) {
      const message = `the same object is already at ${first.file}:${first.line}`;
      if (this.mode.takesDuplicates) context.warn([], message, 'keep one of the two; other verbs refuse both');
      else context.error([], message, 'keep one of the two');
      return;
    }
    if (object.kind === 'Workload') this.workloads.push(object);
    else this.all.push(object);
  }

  private reject(document: RawDocument, message: string, fix: string): void {
    const { file, place } = document;
    this.problems.errors.push({ file, line: place.line, kind: '', namespace: '', name: '', field: '', message, fix });
  }

  finish(): LoadResult {
    const resources = emptyResources();
    for (const resource of this.amend(this.all)) addResource(resources, resource);
    if (resources.pods.length === 0) resources.pods = synthesisePods(this.workloads, resources.nodes, this.problems);
    const ownWarnings = this.problems.warnings.length;
    addMissing(resources, this.problems, this.mode);
    warnOfContradictions(resources, this.problems);
    return { resources, ...this.problems, ownWarnings, ignored: [...this.ignored.values()] };
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `v1 List` and the typed lists of the API; a kind of ours whose name happens to end so has no `items`. */
function isList(value: Record<string, unknown>): boolean {
  return typeof value.kind === 'string' && value.kind.endsWith('List') && 'items' in value;
}

function itemDocument(document: RawDocument, index: number, value: unknown): RawDocument {
  const prefix = [...document.prefix, 'items', index];
  const line = document.lineOf(['items', index]);
  return {
    file: document.file,
    value,
    prefix,
    place: { line, column: 1 },
    lineOf: (path) => (path.length === 0 ? line : document.lineOf(['items', index, ...path])),
  };
}

/** The object's name and namespace for messages, whatever they are; `default` where a namespace is missing. */
function nameOf(kind: string, isNamespaced: boolean, value: Readonly<Record<string, unknown>>): ObjectName {
  const meta = isRecord(value.metadata) ? value.metadata : {};
  const text = (part: unknown): string => (typeof part === 'string' ? part : '');
  return { kind, namespace: isNamespaced ? text(meta.namespace) || 'default' : '', name: text(meta.name) };
}

/** The value without fields that are `null`, which the API server takes as absent. Entries of lists stay. */
function withoutNulls<T>(value: T): T {
  if (Array.isArray(value)) {
    for (const entry of value) withoutNulls(entry as unknown);
  } else if (typeof value === 'object' && value !== null) {
    // Every field of every object comes by here: no list of them is made, and what holds nothing is not asked.
    const fields = value as Record<string, unknown>;
    for (const key in fields) {
      const field = fields[key];
      if (field === null) delete fields[key];
      else if (typeof field === 'object') withoutNulls(field);
    }
  }
  return value;
}
