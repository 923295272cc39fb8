/**
 * Sequences of random worlds through the incremental compiler: after every flush its tables are, byte for byte, those that
 * a compiler makes of the same objects that has never seen others.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compile } from '../../src/compile/compile.ts';
import { IncrementalCompiler } from '../../src/compile/incremental.ts';
import { packPlan } from '../../src/compile/pack.ts';
import { type Resource, type Resources, resourceKey } from '../../src/model/resources.ts';
import { loadWorld, randomFrom, type World, world } from './world.ts';

const SEED = Number(process.env.MARGAY_SEED ?? 20_260_801) + 2;

/** One step: what the compiler is to hold afterwards, and whether its tables are asked for. */
interface Step {
  readonly resources: Resources;
  readonly isFlushed: boolean;
}

type Way = (states: readonly Resources[]) => readonly Step[];

const flushed = (resources: Resources): Step => ({ resources, isFlushed: true });
const silent = (resources: Resources): Step => ({ resources, isFlushed: false });

const EMPTY = loadWorld({ documents: [], permissive: false, asIs: true, flowSeed: 0 }).resources;

const WAYS: Readonly<Record<string, Way>> = {
  'forwards, flushed after every step': (states) => states.map(flushed),
  backwards: (states) => states.toReversed().map(flushed),
  'with empties between': (states) => states.flatMap((state) => [flushed(EMPTY), flushed(state)]),
  'squashed into one step': (states) => [...states.map(silent), flushed(states.at(-1)!)],
  'each step twice': (states) => states.flatMap((state) => [flushed(state), flushed(state)]),
  'there and back': (states) => [...states, ...states.toReversed()].map(flushed),
};

const worlds = fc.array(world, { minLength: 2, maxLength: 3 });

for (const [name, way] of Object.entries(WAYS)) {
  test(name, () => {
    fc.assert(
      fc.property(worlds, (drawn) => {
        const compiler = new IncrementalCompiler();
        for (const { resources, isFlushed } of way(drawn.map(stateOf))) {
          moveTo(compiler, resources);
          if (isFlushed) expectSameBytes(compiler, resources);
        }
      }),
      { numRuns: 12, seed: SEED, endOnFailure: true },
    );
  });
}

test('split: one object at a time, flushed now and then', () => {
  fc.assert(
    fc.property(worlds, fc.nat(), (drawn, seed) => {
      const random = randomFrom(seed);
      const compiler = new IncrementalCompiler();
      const live = new Map<string, Resource>();
      for (const change of changesBetween(drawn.map(stateOf), random)) {
        if (change.isDelete) {
          compiler.delete(change.object);
          live.delete(resourceKey(change.object));
        } else {
          compiler.set(change.object);
          live.set(resourceKey(change.object), change.object);
        }
        if (random() < 0.05) expectSameBytes(compiler, fresh(live.values()));
      }
      expectSameBytes(compiler, fresh(live.values()));
    }),
    { numRuns: 12, seed: SEED, endOnFailure: true },
  );
});

function stateOf(drawn: World): Resources {
  return loadWorld(drawn).resources;
}

function objectsOf(resources: Resources): Resource[] {
  return (Object.values(resources) as readonly (readonly Resource[])[]).flat();
}

/** Every object of the later state set and every other one deleted, in random order. */
function changesBetween(states: readonly Resources[], random: () => number): { object: Resource; isDelete: boolean }[] {
  return states.flatMap((state, index) => {
    const wanted = new Set(objectsOf(state).map(resourceKey));
    const before = index === 0 ? [] : objectsOf(states[index - 1]!);
    const changes = [
      ...objectsOf(state).map((object) => ({ object, isDelete: false })),
      ...before.filter((object) => !wanted.has(resourceKey(object))).map((object) => ({ object, isDelete: true })),
    ];
    return changes
      .map((change) => ({ change, rank: random() }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ change }) => change);
  });
}

function moveTo(compiler: IncrementalCompiler, state: Resources): void {
  const wanted = new Set(objectsOf(state).map(resourceKey));
  for (const object of objectsOf(compiler.resources())) {
    if (!wanted.has(resourceKey(object))) compiler.delete(object);
  }
  for (const object of objectsOf(state)) compiler.set(object);
}

function fresh(objects: Iterable<Resource>): Resources {
  const compiler = new IncrementalCompiler();
  for (const object of objects) compiler.set(object);
  return compiler.resources();
}

function expectSameBytes(compiler: IncrementalCompiler, state: Resources): void {
  const [found, wanted] = [packPlan(compiler.plan()), compile(state)];
  expect(Buffer.from(found).equals(Buffer.from(wanted))).toBe(true);
}
