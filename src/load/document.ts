import type { Pod } from '../model/resources.ts';
import type { FieldPath, Place } from './problem.ts';

/** One document of an input: a parsed value, and where everything in it stood. */
export interface RawDocument {
  readonly file: string;
  /** Objects have own keys only as written: `__proto__` is a key like any other. */
  readonly value: unknown;
  /** Path of this value in the document the user wrote: `['items', 3]` for an item of a list, else empty. */
  readonly prefix: FieldPath;
  /** Where the document begins. */
  readonly place: Place;
  /** The line of the field at `path`, or of the nearest enclosing field that is there. */
  lineOf(path: FieldPath): number;
}

/** A text that could not be read as documents, or a part of one. */
export interface TextProblem {
  readonly file: string;
  readonly place: Place;
  readonly message: string;
  readonly fix: string;
}

/** Takes pods that were read past their documents (`pod-reader.ts`). */
export interface PodSink {
  /** As in `LoadMode`. */
  readonly isAsIs: boolean;
  /** False for a pod of which something is to be said after all: it must come as a document. */
  add(pod: Pod): boolean;
}

/** Where the readers deliver. */
export interface DocumentSink {
  /** A file or text begins; its length in bytes, or `undefined` where it comes from a stream. */
  begin?(file: string, lengthBytes: number | undefined): void;
  /** About so many more bytes of it have been read. */
  passed?(lengthBytes: number): void;
  /** Absent: every object comes as a document. */
  readonly pods?: PodSink;
  document(document: RawDocument): void;
  problem(problem: TextProblem): void;
}
