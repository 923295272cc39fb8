/**
 * The compiler, readable top to bottom: model to plan (what Calico would program), plan to tables (what packets run over).
 *
 *   resources ─► planCluster ─► plan: endpoints, policies in order, IP sets ─► packPlan ─► one checked, immutable buffer
 */
import { PolicyError, quoteText } from '../base/errors.ts';
import type { Resources } from '../model/resources.ts';
import { type PackOptions, packPlan } from './pack.ts';
import type { Plan } from './plan.ts';
import { planCluster } from './plan-cluster.ts';

/** Options of `compile`. `node` keeps the endpoints of one node alone, as that node's dataplane would. */
export type CompileOptions = PackOptions;

/**
 * The tables for `resources`, ready for `openTables`. Same input, same bytes.
 *
 * Objects that Calico would drop are dropped, and the plan's warnings say so. Throws a `PolicyError` for resources past a limit of ours,
 * or for a `node` that nothing in them names: without endpoints nothing would be policed.
 */
export function compile(resources: Resources, options: CompileOptions = {}): SharedArrayBuffer {
  const plan = planCluster(resources);
  requireNode(plan, options.node);
  return packPlan(plan, options);
}

/** How many nodes a message lists. */
const LISTED_MAX = 5;

/** Throws a `PolicyError`, with the nodes there are, for a node that no object names. */
function requireNode({ nodes }: Plan, node: string | undefined): void {
  if (node === undefined || nodes.some(({ name }) => name === node)) return;
  const names = nodes.slice(0, LISTED_MAX).map(({ name }) => name);
  const more = nodes.length > LISTED_MAX ? ` and ${nodes.length - LISTED_MAX} more` : '';
  const known = nodes.length === 0 ? 'there is none' : `there are ${names.join(', ')}${more}`;
  const fix = nodes.length === 0 ? 'leave it out, or add its Node' : 'name one that exists';
  throw new PolicyError('no-such-node', `no object names the node ${quoteText(node)}: ${known}`, { fix });
}
