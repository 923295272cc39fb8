/**
 * From a changed object to tables that packets meet. All that the bench knows of how changes are published is here.
 *
 * - `createPublisher`: for threads that share the tables. Addresses are stored in the newest ones (src/compile/direct-addresses.ts), other small changes
 *   written into the older of two buffers (src/compile/repack.ts); what either costs is in what is timed.
 * - `createAgentPublisher`: what the agent does from an object that the Kubernetes API tells of to the tables of a capture process, but for the way
 *   between its processes: written in turns, and the words that were written stored in a copy of the tables, as they are between two batches.
 */
import { PolicyTables } from '../../src/agent/policy-tables.ts';
import { TablesInUse, writeRuns } from '../../src/agent/tables-in-use.ts';
import { LiveCompiler } from '../../src/compile/live-compiler.ts';
import type { Resource, Resources } from '../../src/model/resources.ts';
import { type Tables, viewTables } from '../../src/tables/tables.ts';

export interface Publisher {
  readonly set: (resource: Resource) => void;
  /** The tables after all changes so far, open. */
  readonly publish: () => Tables;
  /** Publications so far that were stored in the newest tables, written into the older ones, and packed as a whole. */
  readonly counts: { readonly stored: number; readonly patched: number; readonly packed: number };
}

export function createPublisher(resources: Resources): Publisher {
  const compiler = new LiveCompiler(resources);
  return {
    set: (resource) => compiler.set(resource),
    publish: () => compiler.publish(),
    counts: compiler.counts,
  };
}

export function createAgentPublisher(resources: Resources): Pick<Publisher, 'set' | 'publish'> {
  const tables = new PolicyTables({});
  const inUse = new TablesInUse();
  let generation = 1;
  const first = tables.all(resources, generation)!;
  const copy = new SharedArrayBuffer(first.tables.buffer.byteLength);
  const words = new Int32Array(copy);
  words.set(first.tables.words);
  inUse.take(first.tables.buffer as SharedArrayBuffer, generation, { begun: tables.begun });
  let changed: Resource[] = [];
  return {
    set: (resource) => changed.push(resource),
    publish: () => {
      const changes = changed.map((resource) => ({ kind: 'set', resource }) as const);
      changed = [];
      const made = tables.change(changes, ++generation);
      if (made?.runs === undefined) throw new Error('a change was not written into the tables');
      inUse.take(made.tables.buffer as SharedArrayBuffer, generation, { runs: made.runs, begun: tables.begun });
      writeRuns(words, inUse.since(generation - 1)!);
      return viewTables(copy);
    },
  };
}
