/**
 * `npm run test:soak`: 20 million decisions on worlds from a seed that is printed, reference against tables.
 *
 * Stops at the first disagreement, shrinks it, and writes it as a folder under test/cases, to be named and described by whoever
 * mends it. MARGAY_SEED repeats a run, MARGAY_DECISIONS makes it longer or shorter.
 */
import { join } from 'node:path';
import fc from 'fast-check';
import { test } from 'vitest';
import { compile } from '../../src/compile/compile.ts';
import { createReference } from '../../src/reference/evaluate.ts';
import { openTables } from '../../src/tables/tables.ts';
import { firstDisagreement } from './compare.ts';
import { failureText, shrinkFailure, writeCase } from './failure.ts';
import { drawFlows, loadWorld, world } from './world.ts';

const SEED = Number(process.env.MARGAY_SEED ?? Math.floor(Math.random() * 2 ** 31));
const DECISIONS = Number(process.env.MARGAY_DECISIONS ?? 20_000_000);
const FLOWS_A_WORLD = 1000;
const WORLDS_A_ROUND = 200;

test(`soak, seed ${SEED}`, { timeout: 0 }, () => {
  const started = performance.now();
  const report = (text: string): boolean => process.stdout.write(`${text}\n`);
  report(`${DECISIONS} decisions; seed ${SEED} (MARGAY_SEED=${SEED} repeats this run)`);
  let decisions = 0;
  for (let round = 0; decisions < DECISIONS; round++) {
    for (const drawn of fc.sample(world, { numRuns: WORLDS_A_ROUND, seed: SEED + round })) {
      if (decisions >= DECISIONS) break;
      const { resources } = loadWorld(drawn);
      const flows = drawFlows(drawn.flowSeed, Math.min(FLOWS_A_WORLD, DECISIONS - decisions));
      const found = firstDisagreement(createReference(resources), openTables(compile(resources)), flows);
      if (found !== undefined) {
        const failure = shrinkFailure(drawn, found);
        const folder = join(import.meta.dirname, '..', 'cases', `soak-${SEED}-${round}`);
        writeCase(folder, failure, `test:soak, seed ${SEED}, round ${round}`);
        throw new Error(`after ${decisions} decisions; written to ${folder}\n${failureText(failure)}`);
      }
      decisions += flows.length;
    }
    const seconds = (performance.now() - started) / 1000;
    const left = ((DECISIONS - decisions) / decisions) * seconds;
    report(
      `${decisions} agree, ${((decisions / DECISIONS) * 100).toFixed(1)} %, ${seconds.toFixed(0)} s, ${left.toFixed(0)} s left`,
    );
  }
});
