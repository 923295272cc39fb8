/**
 * The three dataplanes, reference against tables on random worlds (semantics 6.10), and that they do differ where they are said to.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compile } from '../../src/compile/compile.ts';
import { DATAPLANES } from '../../src/model/flow.ts';
import { createReference } from '../../src/reference/evaluate.ts';
import { openTables } from '../../src/tables/tables.ts';
import { firstDisagreement } from './compare.ts';
import { drawFlows, loadWorld, world } from './world.ts';

const SEED = Number(process.env.MARGAY_SEED ?? 20_261_125);
const WORLDS = 50;
const FLOWS = 150;

describe.each(DATAPLANES)('%s', (dataplane) => {
  test(`reference and tables agree on ${WORLDS * FLOWS} decisions (seed ${SEED})`, () => {
    for (const one of fc.sample(world, { numRuns: WORLDS, seed: SEED })) {
      const { resources, documents } = loadWorld(one);
      const reference = createReference(resources, { dataplane });
      const tables = openTables(compile(resources, { dataplane }));
      const difference = firstDisagreement(reference, tables, drawFlows(one.flowSeed, FLOWS));
      const note = difference && `${JSON.stringify(documents)}\n${JSON.stringify(difference.flow)}`;
      expect(difference?.tables, note).toBe(difference?.reference);
    }
  });
});
