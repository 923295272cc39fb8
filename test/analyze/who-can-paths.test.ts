/**
 * Paths of accounts against brute force, on the recorded worlds: every pod judged one by one on the tables of the whole
 * cluster, and every pod that is claimed to be possible made and judged.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { findPaths, type ReachTarget } from '../../src/analyze/who-can-paths.ts';
import { formatAddress } from '../../src/base/ip.ts';
import { packPlan } from '../../src/compile/pack.ts';
import type { PlanEndpoint } from '../../src/compile/plan.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import type { ObjectMeta, Pod, Resources, ServiceAccount, StringMap } from '../../src/model/resources.ts';
import { openTables } from '../../src/tables/tables.ts';

const FOLDER = join(import.meta.dirname, '..', 'conformance');
const WORLDS = ['basic', 'worlds'].flatMap((kind) =>
  readdirSync(join(FOLDER, kind))
    .slice(0, 12)
    .map((seed) => join(kind, seed)),
);
const TARGETS_MAX = 4;
const PORTS = [80, 443];

function loadWorld(world: string): Resources {
  const path = join(FOLDER, world, 'cluster.yaml');
  return loadResources([{ name: path, text: readFileSync(path, 'utf8') }]).resources;
}

/** Names of the pods by account, each judged by itself. */
function bruteForce(resources: Resources, target: ReachTarget): Map<string, string[]> {
  const plan = planCluster(resources);
  const tables = openTables(packPlan(plan));
  const goal = plan.endpoints.find(({ key }) => key === `wep:${target.namespace}/${target.pod}`)!;
  const found = new Map<string, string[]>();
  for (const sender of plan.endpoints) {
    if (sender.kind !== 'wep' || sender.serviceAccount === '' || sender === goal) continue;
    if (!pairs(sender, goal).some(([src, dst]) => isLetIn(evaluateFlow(tables, flow(src, dst, target.port!)))))
      continue;
    const account = `${sender.namespace}/${sender.serviceAccount}`;
    found.set(account, [...(found.get(account) ?? []), sender.name]);
  }
  return found;
}

function pairs(sender: PlanEndpoint, goal: PlanEndpoint): (readonly [string, string])[] {
  return sender.addresses.flatMap((src) =>
    goal.addresses
      .filter((dst) => dst.version === src.version)
      .map((dst) => [formatAddress(src), formatAddress(dst)] as const),
  );
}

function flow(src: string, dst: string, port: number) {
  return { src, dst, protocol: 'tcp', dst_port: port };
}

function isLetIn({ action }: { readonly action: string }): boolean {
  return action === 'allow' || action === 'unpoliced';
}

/** Whether a pod like this, put on the target's node, gets through. */
function isPossible(
  resources: Resources,
  { namespace, pod: targetPod, port }: ReachTarget,
  where: { readonly namespace: string; readonly account: string },
  podLabels: StringMap,
  accountLabels: StringMap | undefined,
): boolean {
  const plan = planCluster(resources);
  const goal = plan.endpoints.find(({ key }) => key === `wep:${namespace}/${targetPod}`)!;
  const like = resources.pods.find(({ meta }) => meta.namespace === namespace && meta.name === targetPod)!;
  const meta = (name: string, labels: StringMap): ObjectMeta => ({
    ...like.meta,
    name,
    namespace: where.namespace,
    labels,
  });
  const address = freeAddress(plan.endpoints, formatAddress(goal.addresses[0]!));
  const pod: Pod = {
    ...like,
    meta: { ...meta('made', podLabels), annotations: new Map() },
    serviceAccountName: where.account,
    podIPs: [address],
    podIP: address,
    containerPorts: [],
    initContainerPorts: [],
  };
  const account: ServiceAccount[] =
    accountLabels === undefined
      ? []
      : [{ kind: 'ServiceAccount', meta: meta(where.account, accountLabels), isSynthesised: false }];
  const made = {
    ...resources,
    pods: [...resources.pods, pod],
    serviceAccounts: [...resources.serviceAccounts, ...account],
  };
  const larger = planCluster(made);
  const tables = openTables(packPlan(larger));
  const sender = larger.endpoints.find(({ key }) => key === `wep:${where.namespace}/made`)!;
  return pairs(sender, goal).some(([src, dst]) => isLetIn(evaluateFlow(tables, flow(src, dst, port!))));
}

/** An address of the goal's family that no endpoint has, in its neighbourhood. */
function freeAddress(endpoints: readonly PlanEndpoint[], near: string): string {
  const taken = new Set(endpoints.flatMap(({ addresses }) => addresses.map(formatAddress)));
  const separator = near.includes(':') ? ':' : '.';
  const base = near.slice(0, near.lastIndexOf(separator) + 1);
  for (let last = 200; last < 254; last++) {
    const address = `${base}${separator === ':' ? last.toString(16) : last}`;
    if (!taken.has(address)) return address;
  }
  throw new Error('no free address');
}

describe('paths', () => {
  test.each(WORLDS)('%s: existing pods, one by one', (world) => {
    const resources = loadWorld(world);
    const plan = planCluster(resources);
    const shared = new Set(plan.sharedAddresses.flatMap(({ endpoints }) => endpoints));
    // An address with two owners is judged for both at once; such targets are for tests of their own.
    const targets = plan.endpoints.filter(
      ({ kind, addresses }, i) => kind === 'wep' && addresses.length > 0 && !shared.has(i),
    );
    for (const { namespace, name } of targets.slice(0, TARGETS_MAX)) {
      for (const port of PORTS) {
        const target = { namespace, pod: name, port, protocol: 'tcp' };
        const found = findPaths(resources, target)!;
        const shown = new Map(
          found.paths
            .filter(({ by }) => by === 'pod')
            .map(({ account, pods }) => [`${account.namespace}/${account.name}`, [...pods]]),
        );
        expect([target, new Map([...shown].sort())]).toEqual([
          target,
          new Map([...bruteForce(resources, target)].sort()),
        ]);
      }
    }
  });

  test('every pod that is said to be possible gets through when it is made', () => {
    let claims = 0;
    for (const world of WORLDS.slice(0, 8)) {
      const resources = loadWorld(world);
      const target = planCluster(resources).endpoints.find(
        ({ kind, addresses }) => kind === 'wep' && addresses[0]?.version === 4,
      );
      if (target === undefined) continue;
      const question = { namespace: target.namespace, pod: target.name, port: 80, protocol: 'tcp' };
      const { paths, labelPaths } = findPaths(resources, question)!;
      for (const { account, podLabels } of paths.filter(({ by }) => by === 'new-pod').slice(0, 5)) {
        const where = { namespace: account.namespace, account: account.name };
        expect([world, account, isPossible(resources, question, where, podLabels, undefined)]).toEqual([
          world,
          account,
          true,
        ]);
        claims++;
      }
      for (const { namespace, podLabels, accountLabels } of labelPaths.slice(0, 5)) {
        const where = { namespace, account: 'made-account' };
        expect([world, where, isPossible(resources, question, where, podLabels, accountLabels)]).toEqual([
          world,
          where,
          true,
        ]);
        claims++;
      }
    }
    expect(claims).toBeGreaterThan(20);
  });
});
