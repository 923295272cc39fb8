/**
 * The plan after any sequence of changes is the plan of the objects that are left. States come from the conformance
 * clusters, which have every kind; each sequence is run forwards, backwards, with empties between, squashed into one step,
 * with duplicates, and with the same change again.
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IncrementalCompiler } from '../../src/compile/incremental.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import type { Resource, Resources } from '../../src/model/resources.ts';
import { resourceKey } from '../../src/model/resources.ts';

function load(world: string): Resources {
  const text = readFileSync(new URL(`../conformance/${world}/cluster.yaml`, import.meta.url), 'utf8');
  const { resources, errors } = loadResources([{ name: 'cluster.yaml', text }]);
  expect(errors).toEqual([]);
  return resources;
}

function allObjects(resources: Resources): Resource[] {
  return (Object.values(resources) as Resource[][]).flat();
}

/** From scratch, by a compiler that never saw anything else. */
function scratch(objects: Iterable<Resource>): unknown {
  return planCluster(listed(objects));
}

function listed(objects: Iterable<Resource>): Resources {
  const compiler = new IncrementalCompiler();
  for (const object of objects) compiler.set(object);
  return compiler.resources();
}

/** Moves the compiler from what it holds to exactly `state`. */
function moveTo(compiler: IncrementalCompiler, state: readonly Resource[]): void {
  const wanted = new Set(state.map(resourceKey));
  for (const object of allObjects(compiler.resources())) if (!wanted.has(resourceKey(object))) compiler.delete(object);
  for (const object of state) compiler.set(object);
}

const WORLDS = ['worlds/2001', 'worlds/2012', 'worlds/2030', 'basic/101', 'hosts/308'];
const SETTINGS = `
{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: default}, spec: {vxlanPort: 4790}}
---
{apiVersion: projectcalico.org/v3, kind: BGPConfiguration, metadata: {name: default}, spec: {serviceClusterIPs: [{cidr: 10.96.0.0/12}]}}
`;
const { felixConfigurations, bgpConfigurations } = loadResources([SETTINGS]).resources;
const settings = [...felixConfigurations, ...bgpConfigurations];
const pools = WORLDS.map((world) => [...allObjects(load(world)), ...settings]);

describe('a sequence of states', () => {
  const states = [...pools, pools[0]!.slice(0, 20), pools[1]!.filter((object) => object.kind !== 'Namespace')];

  test('forwards and backwards, the plan after every step is that of the state', () => {
    const compiler = new IncrementalCompiler();
    for (const state of [...states, ...states.toReversed()]) {
      moveTo(compiler, state);
      expect(compiler.plan()).toStrictEqual(scratch(state));
    }
  });

  test('with empties between', () => {
    const compiler = new IncrementalCompiler();
    for (const state of states) {
      moveTo(compiler, []);
      expect(compiler.plan()).toStrictEqual(scratch([]));
      moveTo(compiler, state);
      expect(compiler.plan()).toStrictEqual(scratch(state));
    }
  });

  test('squashed: asked for the plan at the end alone', () => {
    const compiler = new IncrementalCompiler();
    for (const state of states) moveTo(compiler, state);
    expect(compiler.plan()).toStrictEqual(scratch(states.at(-1)!));
  });

  test('the same change again changes nothing, not even the plan object', () => {
    const compiler = new IncrementalCompiler();
    moveTo(compiler, states[0]!);
    const plan = compiler.plan();
    for (const object of states[0]!) compiler.set(object);
    expect(compiler.delete({ kind: 'Tier', meta: { ...states[0]![0]!.meta, name: 'no such tier' } })).toBe(false);
    expect(compiler.plan()).toBe(plan);
  });
});

test('random changes one by one: set, replace by another version, delete', () => {
  const objects = pools[0]!.concat(pools[1]!, pools[2]!);
  const change = fc.record({
    object: fc.nat({ max: objects.length - 1 }),
    isDelete: fc.boolean(),
    isFlushed: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 60 }), (changes) => {
      const compiler = new IncrementalCompiler();
      const live = new Map<string, Resource>();
      for (const { object, isDelete, isFlushed } of changes) {
        const resource = objects[object]!;
        if (isDelete) {
          compiler.delete(resource);
          live.delete(resourceKey(resource));
        } else {
          compiler.set(resource);
          live.set(resourceKey(resource), resource);
        }
        if (isFlushed) expect(compiler.plan()).toStrictEqual(scratch(live.values()));
      }
      expect(compiler.plan()).toStrictEqual(scratch(live.values()));
    }),
    { numRuns: 40, seed: 20_260_101 },
  );
});

test('the order of the input does not matter', () => {
  for (const pool of pools) expect(planCluster(listed(pool.toReversed()))).toStrictEqual(planCluster(listed(pool)));
});

test('a change of an account keeps the endpoints as they are, and its labels arrive', () => {
  const compiler = new IncrementalCompiler(listed(pools[0]!));
  const before = compiler.plan();
  const account = compiler.resources().serviceAccounts[0]!;
  compiler.set({ ...account, meta: { ...account.meta, labels: new Map([['tier', 'changed']]) } });
  const after = compiler.plan();
  expect(after.endpoints).toBe(before.endpoints);
  expect(after).toEqual(planCluster(compiler.resources()));
  const pod = compiler.resources().pods[0]!;
  compiler.set({ ...pod, meta: { ...pod.meta, labels: new Map([['app', 'changed']]) } });
  expect(compiler.plan()).toEqual(planCluster(compiler.resources()));
  expect(compiler.plan().endpoints).not.toBe(before.endpoints);
});
