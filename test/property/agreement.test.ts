/**
 * The main safety net: random worlds of every kind, judged by the reference and by the tables.
 *
 * The seed is fixed, so that a run can be repeated; MARGAY_SEED draws other worlds, and `npm run test:soak` many more.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compile } from '../../src/compile/compile.ts';
import { createReference } from '../../src/reference/evaluate.ts';
import { openTables } from '../../src/tables/tables.ts';
import { firstDisagreement } from './compare.ts';
import { failureText, shrinkFailure } from './failure.ts';
import { drawFlows, loadWorld, world } from './world.ts';

const SEED = Number(process.env.MARGAY_SEED ?? 20_260_801);
const FLOWS_A_WORLD = 500;
const WORLDS = 1010;

test('reference and tables agree on half a million flows, traces and pending answers included', {
  timeout: 600_000,
}, () => {
  let decisions = 0;
  const actions = new Map<string, number>();
  fc.assert(
    fc.property(world, (drawn) => {
      const { resources } = loadWorld(drawn);
      const reference = createReference(resources);
      const tables = openTables(compile(resources));
      const flows = drawFlows(drawn.flowSeed, FLOWS_A_WORLD);
      const found = firstDisagreement(reference, tables, flows, actions);
      if (found !== undefined) throw new Error(failureText(shrinkFailure(drawn, found)));
      decisions += flows.length;
    }),
    // Our own shrinking works on the documents and one flow, which is faster and gives smaller cases.
    { numRuns: WORLDS, seed: SEED, endOnFailure: true },
  );
  expect(decisions).toBeGreaterThanOrEqual(500_000);
  // Every way for a flow to end must be common, or the worlds test less than they seem to.
  for (const [ending, least] of ENDINGS) expect([ending, (actions.get(ending) ?? 0) >= least]).toEqual([ending, true]);
});

/** Endings, and how many there must be of each. */
const ENDINGS: readonly (readonly [string, number])[] = [
  ['allow', 50_000],
  ['allow failsafe', 500],
  ['deny rule', 10_000],
  ['deny end-of-tier', 10_000],
  ['deny no-profile-match', 1000],
  ['deny profile-missing', 1000],
  ['deny vxlan', 500],
  ['deny ipip', 500],
  ['deny spoofed', 500],
  ['deny service-loop', 100],
  ['deny endpoint-to-host', 100],
  ['unpoliced', 1000],
  ['uncertain shared-address', 500],
  ['pending', 10_000],
];
