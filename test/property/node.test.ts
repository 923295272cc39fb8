/** `--node`: what one node's own dataplane answers, reference against tables. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compile } from '../../src/compile/compile.ts';
import { createReference } from '../../src/reference/evaluate.ts';
import { openTables } from '../../src/tables/tables.ts';
import { firstDisagreement } from './compare.ts';
import { drawFlows, loadWorld, world } from './world.ts';

test.each(['n1', 'n2'])('%s alone', (node) => {
  let decisions = 0;
  for (const one of fc.sample(world, { numRuns: 60, seed: 77 })) {
    const { resources, documents } = loadWorld(one);
    if (!resources.nodes.some((n) => n.meta.name === node)) continue;
    const flows = drawFlows(one.flowSeed, 150);
    const reference = createReference(resources, { node });
    const found = firstDisagreement(reference, openTables(compile(resources, { node })), flows);
    expect(found?.tables, found && JSON.stringify(documents) + JSON.stringify(found.flow)).toBe(found?.reference);
    decisions += flows.length;
  }
  expect(decisions).toBeGreaterThan(5000);
});
