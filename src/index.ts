/**
 * margay as a library: manifests in, verdicts out.
 *
 * ```ts
 * import { compile, evaluateFlow, loadResources, openTables } from 'margay';
 *
 * const { resources, errors } = loadResources([{ name: 'shop.yaml', text }]);
 * if (errors.length > 0) throw new Error(errors.map(formatProblem).join('\n'));
 * const tables = openTables(compile(resources));
 * const record = evaluateFlow(tables, { src: '10.0.0.2', dst: '10.0.0.1', protocol: 'tcp', dst_port: 5432 });
 * console.log(record.action, record.ingress?.rule); // 'allow', 'shop.yaml:31'
 * ```
 *
 * All functions are synchronous and keep no state but in what they return. Mistakes of the user are `PolicyError`s, or
 * entries of a load's `errors`; anything else that is thrown is a fault of margay's.
 */
import { PolicyError, quoteText } from './base/errors.ts';
import { type PackOptions, packPlan } from './compile/pack.ts';
import { planCluster } from './compile/plan-cluster.ts';
import type { Resources } from './model/resources.ts';

/** Options of `compile`. `node` keeps the endpoints of one node alone, as that node's dataplane would. */
export type CompileOptions = PackOptions;

/**
 * Compiles objects into tables: one buffer, shared between threads, to be opened by `openTables`.
 *
 * Same resources and options, same bytes. Throws a `PolicyError` for resources past a limit of ours, or for a `node` that
 * nothing in them names. The buffer is only as good as the load: do not compile resources of a load with errors.
 */
export function compile(resources: Resources, options: CompileOptions = {}): ArrayBufferLike {
  const plan = planCluster(resources);
  const { node } = options;
  if (node !== undefined && !plan.nodes.some(({ name }) => name === node)) {
    throw new PolicyError('no-such-node', `no object names the node ${quoteText(node)}`, {
      fix: 'name one that exists',
    });
  }
  return packPlan(plan, options);
}

export { evaluateFlow } from './analyze/evaluate-flow.ts';
export type { EndType, FlowRecord, PendingRecord } from './analyze/record.ts';
export { RECORD_SCHEMA } from './analyze/record-schema.ts';
export type { Origin } from './base/errors.ts';
export {
  formatProblem,
  type IgnoredKind,
  type LoadOptions,
  type LoadProblem,
  type LoadResult,
  type LoadSource,
  loadResources,
} from './load/load.ts';
export type { CheckRecord, Flow } from './model/flow.ts';
export type { Resources } from './model/resources.ts';
export { type Labels, parseSelector, type Selector } from './selector/selector.ts';
export { openTables, type Tables } from './tables/tables.ts';
export { PolicyError };
