/**
 * Felix's own shapes of change at scale, through the incremental compiler: `churn.js FILE…`. Prints one line of JSON.
 *
 * - `parentsMs`: 100 000 label updates of namespaces and service accounts, then one plan of all
 * - `selectorMs`: a policy's selector changes, and the plan of it, each by itself
 */
import { IncrementalCompiler } from '../../src/compile/incremental.ts';
import { expandFiles } from '../../src/load/files.ts';
import { formatProblem, loadResources } from '../../src/load/load.ts';
import type { NetworkPolicy, Resource } from '../../src/model/resources.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';

const PARENT_UPDATES = 100_000;
const BUDGET_MS = 15_000;
const SAMPLES_MAX = 100;

const { resources, errors } = loadResources(expandFiles(process.argv.slice(2), false));
if (errors.length > 0) throw new Error(errors.slice(0, 5).map(formatProblem).join('\n'));
const compiler = new IncrementalCompiler(resources);
const firstMs = timed(() => compiler.plan());
const random = new Xorshift32(3);

const parents: readonly Resource[] = [...resources.namespaces, ...resources.serviceAccounts];
const parentsMs = timed(() => {
  for (let i = 0; i < PARENT_UPDATES; i++) {
    const parent = parents[random.below(parents.length)]!;
    compiler.set(withLabels(parent, new Map([...parent.meta.labels, ['bench', `${i % 7}`]])));
  }
  compiler.plan();
});

const selectorMs: number[] = [];
const endMs = performance.now() + BUDGET_MS;
const networkPolicies = resources.policies.filter((policy): policy is NetworkPolicy => policy.kind === 'NetworkPolicy');
for (let i = 0; i < SAMPLES_MAX && (i < 3 || performance.now() < endMs); i++) {
  const policy = networkPolicies[random.below(networkPolicies.length)]!;
  selectorMs.push(
    timed(() => {
      compiler.set({ ...policy, selector: `app in {"app-${i % 10}", "app-${(i + 3) % 10}"}` });
      compiler.plan();
    }),
  );
}
process.stdout.write(`${JSON.stringify({ firstMs, parentsMs, selectorMs, updates: PARENT_UPDATES })}\n`);

function timed(body: () => void): number {
  const start = performance.now();
  body();
  return performance.now() - start;
}

function withLabels<T extends Resource>(resource: T, labels: ReadonlyMap<string, string>): T {
  return { ...resource, meta: { ...resource.meta, labels } };
}
