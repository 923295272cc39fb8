/**
 * From a changed object to tables that packets meet. All that the bench knows of how changes are published is here.
 *
 * Today a change is compiled into new tables as a whole; what a compiler keeps between changes is its own business.
 */
import { IncrementalCompiler } from '../../src/compile/incremental.ts';
import { packPlan } from '../../src/compile/pack.ts';
import type { Resource, Resources } from '../../src/model/resources.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';

export interface Publisher {
  readonly set: (resource: Resource) => void;
  /** The tables after all changes so far, open. */
  readonly publish: () => Tables;
}

export function createPublisher(resources: Resources): Publisher {
  const compiler = new IncrementalCompiler(resources);
  return { set: (resource) => compiler.set(resource), publish: () => openTables(packPlan(compiler.plan())) };
}
