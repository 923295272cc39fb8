/**
 * Where the code of a worker thread lies: beside the module that starts it, in the form that this module runs in.
 *
 *   dist/cli/chunk-XYZ.mjs          dist/cli/replay-worker.mjs         the bundle (cli/bundle.mjs), flat
 *   dist/analyze/replay-parallel.js dist/analyze/replay-worker.js      what tsc wrote: the library
 *   src/analyze/replay-parallel.ts  (none)                             the sources: Node.js 20 runs no TypeScript
 *
 * A test runner that compiles on the way does so in its own threads only. It bundles the entries itself (test/support) and says
 * where by `useThreadEntries`.
 */

/** A thread has failed: there is no whole answer. One line. The command line ends with exit code 4. */
export class WorkerFault extends Error {
  override readonly name = 'WorkerFault';
  /** As errors of the system have one: it is reported by its message alone. */
  readonly code = 'WORKER_FAULT';
}

let folder: string | undefined;

/** From now on threads are started from `NAME.mjs` in this folder (a file URL that ends in `/`); undefined: as above. */
export function useThreadEntries(folderUrl: string | undefined): void {
  folder = folderUrl;
}

/** Entry `name` for the module at `moduleUrl` (its `import.meta.url`). */
export function threadEntry(moduleUrl: string, name: string): URL {
  if (folder !== undefined) return new URL(`${name}.mjs`, folder);
  return new URL(`./${name}${moduleUrl.slice(moduleUrl.lastIndexOf('.'))}`, moduleUrl);
}

/** A message to a thread that has nothing more to do: it closes its port, and so ends. */
export const END_THREAD = 'end';
