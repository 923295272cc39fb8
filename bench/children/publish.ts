/**
 * From a changed object to tables that packets meet. All that the bench knows of how changes are published is here.
 *
 * The compiler writes small changes into the older of two buffers (src/compile/repack.ts); what that costs is in what is timed.
 */
import { LiveCompiler } from '../../src/compile/live-compiler.ts';
import type { Resource, Resources } from '../../src/model/resources.ts';
import type { Tables } from '../../src/tables/tables.ts';

export interface Publisher {
  readonly set: (resource: Resource) => void;
  /** The tables after all changes so far, open. */
  readonly publish: () => Tables;
  /** Publications so far that were written into the tables, and that were packed as a whole. */
  readonly counts: { readonly patched: number; readonly packed: number };
}

export function createPublisher(resources: Resources): Publisher {
  const compiler = new LiveCompiler(resources);
  return {
    set: (resource) => compiler.set(resource),
    publish: () => compiler.publish(),
    counts: compiler.counts,
  };
}
