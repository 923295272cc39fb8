/** Where policies come from: files that are watched, or the Kubernetes API (policy-cluster.ts). */
import { readFileSync } from 'node:fs';
import { expandFiles } from '../load/files.ts';
import { type LoadResult, loadResources } from '../load/load.ts';
import { FileWatch } from './file-watch.ts';
import type { PlaneOptions } from './plane-messages.ts';
import type { ObjectChange } from './policy-tables.ts';

export interface PolicySource {
  /** For people: `files a, b`, `kubernetes host:port`. */
  readonly name: string;
  /** False until everything has been seen once: half a cluster would be a wrong one. */
  readonly isComplete: boolean;
  /** What was loaded last is what there is, as far as one can know. */
  readonly isInSync: boolean;
  readonly trouble: string | undefined;
  /** All there is now. Throws `PolicyError` or the system's error for what cannot be read. */
  load(): LoadResult;
  /**
   * What changed since this or `load` was last called, object by object. Undefined if it is known only by loading all; objects that have warnings of
   * their own, or errors, are among these.
   */
  takeChanges(): readonly ObjectChange[] | undefined;
  /** The text of a source, by the name that origins have. */
  readonly textOf: (file: string) => string | undefined;
  close(): void;
}

export interface SourceEvents {
  readonly onChange: () => void;
  readonly onTrouble: (trouble: string) => void;
}

export async function openPolicySource(options: PlaneOptions, events: SourceEvents): Promise<PolicySource> {
  if (!options.kubernetes) return new FileSource(options, events);
  const { ClusterPolicies } = await import('./policy-cluster.ts');
  return ClusterPolicies.open(options, events);
}

/** Bytes of a file that snippets are taken from. */
const SNIPPET_FILE_BYTES_MAX = 4 << 20;

class FileSource implements PolicySource {
  readonly name: string;
  readonly isComplete = true;
  readonly isInSync = true;
  readonly trouble = undefined;
  readonly #options: PlaneOptions;
  readonly #watch: FileWatch;
  /** Files of the last load: nothing else is ever shown. */
  #files: ReadonlySet<string> = new Set();

  constructor(options: PlaneOptions, { onChange }: SourceEvents) {
    this.#options = options;
    this.name = `files ${options.filename.join(', ')}`;
    this.#watch = new FileWatch(options.filename, options.recursive, onChange);
  }

  load(): LoadResult {
    const { filename, recursive, strict, permissive, asIs } = this.#options;
    const files = expandFiles(filename, recursive);
    this.#files = new Set(files.map(({ path }) => path));
    return loadResources(files, { strict, permissive, asIs });
  }

  /** Which objects of a file have changed, its new text must tell. */
  takeChanges(): undefined {}

  readonly textOf = (file: string): string | undefined => {
    if (!this.#files.has(file)) return undefined;
    try {
      const bytes = readFileSync(file);
      return bytes.length > SNIPPET_FILE_BYTES_MAX ? undefined : bytes.toString('utf8');
    } catch {
      return undefined;
    }
  };

  close(): void {
    this.#watch.close();
  }
}
