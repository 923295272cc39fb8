/**
 * Felix's own shapes of change at scale, through the incremental compiler: `churn.js FILE…`. Prints one line of JSON.
 *
 * - `parentsMs`: 100 000 label updates of namespaces and service accounts, then one plan of all
 * - `selectorMs`: a policy's selector changes, and the plan of it, each by itself
 * - `publishedUs`: such label updates, each published to who judges packets before the next one; ten policies have rules by the label. Microseconds of
 *   one, over some thousands
 */
import { IncrementalCompiler } from '../../src/compile/incremental.ts';
import { LiveCompiler } from '../../src/compile/live-compiler.ts';
import { expandFiles } from '../../src/load/files.ts';
import { formatProblem, loadResources } from '../../src/load/load.ts';
import type { NetworkPolicy, Policy, Resource } from '../../src/model/resources.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';

const PARENT_UPDATES = 100_000;
const PUBLISHED_SAMPLES = 9;
const PUBLISHED_UPDATES = 2_000;
const POLICIES_BY_LABEL = 10;
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
const live = new LiveCompiler({ ...resources, policies: withRulesByLabel(resources.policies) });
live.publish();
const publishedUs = Array.from(
  { length: PUBLISHED_SAMPLES },
  () =>
    timed(() => {
      for (let i = 0; i < PUBLISHED_UPDATES; i++) {
        const parent = parents[random.below(parents.length)]!;
        live.set(withLabels(parent, new Map([...parent.meta.labels, ['bench', `${i % 7}`]])));
        live.publish();
      }
    }) *
    (1_000 / PUBLISHED_UPDATES),
);
if (live.counts.packed > 1) throw new Error('label updates were not written into the tables');
process.stdout.write(`${JSON.stringify({ firstMs, parentsMs, selectorMs, publishedUs, updates: PARENT_UPDATES })}\n`);

/** The first policies with a rule more: from accounts with a label that the updates set. */
function withRulesByLabel(policies: readonly Policy[]): Policy[] {
  let left = POLICIES_BY_LABEL;
  return policies.map((policy) => {
    if (policy.kind !== 'NetworkPolicy' || !('serviceAccountSelector' in policy) || left-- <= 0) return policy;
    const [rule] = policy.ingress;
    const source = { ...rule!.source, serviceAccounts: { names: [], selector: 'bench in {"1", "2"}' } };
    return { ...policy, ingress: [{ ...rule!, source }, ...policy.ingress] };
  });
}

function timed(body: () => void): number {
  const start = performance.now();
  body();
  return performance.now() - start;
}

function withLabels<T extends Resource>(resource: T, labels: ReadonlyMap<string, string>): T {
  return { ...resource, meta: { ...resource.meta, labels } };
}
