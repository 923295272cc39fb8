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
 * Objects that come and go: a `LiveCompiler` writes small changes into tables that it has made (labels of accounts and namespaces, pods), which takes a
 * fraction of a millisecond, and packs the rest anew:
 *
 * ```ts
 * const compiler = new LiveCompiler(resources);
 * let tables = compiler.publish();
 * compiler.set(relabelledAccount);
 * tables = compiler.publish(); // the tables before stay as they are until the next `publish`
 * ```
 *
 * Only pods that have another address and are otherwise the same are stored in the newest tables themselves, which takes microseconds: `publish` gives the
 * same tables then. `publish(() => true, true)` does without.
 *
 * All functions are synchronous and keep no state but in what they return. Mistakes of the user are `PolicyError`s, or
 * entries of a load's `errors`; anything else that is thrown is a fault of margay's.
 */
import { PolicyError } from './base/errors.ts';

export { evaluateFlow } from './analyze/evaluate-flow.ts';
export type { EndType, FlowRecord, PendingRecord } from './analyze/record.ts';
export { RECORD_SCHEMA } from './analyze/record-schema.ts';
export type { Origin } from './base/errors.ts';
export { type CompileOptions, compile } from './compile/compile.ts';
export { LiveCompiler } from './compile/live-compiler.ts';
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
export type { Resource, Resources } from './model/resources.ts';
export { type Labels, parseSelector, type Selector } from './selector/selector.ts';
export { openTables, type Tables } from './tables/tables.ts';
export { PolicyError };
