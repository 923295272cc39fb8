/**
 * The compiler, readable top to bottom: model to plan (what Calico would program), plan to tables (what packets run over).
 *
 *   resources ─► planCluster ─► plan: endpoints, policies in order, IP sets ─► packPlan ─► one checked, immutable buffer
 */
import type { Resources } from '../model/resources.ts';
import { type PackOptions, packPlan } from './pack.ts';
import { planCluster } from './plan-cluster.ts';

export type CompileOptions = PackOptions;

/**
 * The tables for `resources`, ready for `openTables`. Same input, same bytes.
 *
 * Never throws for what users wrote: objects that Calico would drop are dropped, and the plan's warnings say so.
 */
export function compile(resources: Resources, options: CompileOptions = {}): SharedArrayBuffer {
  return packPlan(planCluster(resources), options);
}
