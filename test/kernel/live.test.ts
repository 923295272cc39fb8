/**
 * The kernel's word, live: rendered rules in network namespaces, one real packet a flow, arrival against prediction.
 *
 * Needs root, network namespaces and the tools; is skipped by name without. `KERNEL_LAB_RECORD=1` writes what the random
 * worlds gave to `native-fixtures/kernel/fixtures/` (the other cases are recorded by `npm run lab:kernel -- --record`),
 * `KERNEL_LAB_WORLDS=N` tries N of them, `KERNEL_LAB_SEED=S` others.
 */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { folderCase, foldersUnder } from '../../native-fixtures/kernel/cases.mjs';
import { mismatchText, runCase } from '../../native-fixtures/kernel/compare.mjs';
import { writeFixture } from '../../native-fixtures/kernel/fixture.mjs';
import { whyNoLab } from '../../native-fixtures/kernel/preconditions.mjs';
import { drawFlows, loadWorld, world } from '../property/world.ts';
import { margay } from './margay.ts';

/** Connection attempts that one run must have judged. */
const ATTEMPTS_MIN = 2000;
const RANDOM_SEED = Number(process.env.KERNEL_LAB_SEED ?? 20_261_125);
const RANDOM_COUNT = Number(process.env.KERNEL_LAB_WORLDS ?? 4);

const why = whyNoLab();
const suffix = why === undefined ? '' : ` (skipped: ${why})`;
const lab = test.skipIf(why !== undefined);
const every = (folders: string[], count: number): string[] =>
  folders.filter((_, i) => i % Math.floor(folders.length / count) === 0).slice(0, count);

describe('the kernel delivers what margay allows and drops what it denies', () => {
  let attempts = 0;

  const judge = async (kase: Parameters<typeof runCase>[1], tools: string[]) => {
    const result = await runCase(margay, kase, { tools, drawn: 250, connects: 8 });
    attempts += result.attempts;
    expect(result.mismatches.map(mismatchText)).toEqual([]);
    return result;
  };

  for (const folder of foldersUnder('pcaps')) {
    lab(`lesson ${folder}, nftables${suffix}`, () => judge(folderCase(folder), ['nft']));
  }
  lab(`corners, nftables and iptables${suffix}`, () =>
    judge(folderCase('native-fixtures/kernel/corners'), ['nft', 'iptables']),
  );
  for (const folder of every(foldersUnder('test/conformance/worlds'), 3)) {
    lab(`${folder}, nftables${suffix}`, () => judge(folderCase(folder), ['nft']));
  }
  for (const folder of every(foldersUnder('test/conformance/hosts'), 3)) {
    lab(`${folder}, iptables${suffix}`, () => judge(folderCase(folder), ['iptables']));
  }
  for (const [index, drawn] of fc.sample(world, { seed: RANDOM_SEED, numRuns: RANDOM_COUNT }).entries()) {
    lab(`random world ${index} of seed ${RANDOM_SEED}, nftables and iptables${suffix}`, async () => {
      const documents = loadWorld(drawn).documents.map((document) => `${JSON.stringify(document)}\n`);
      const kase = {
        name: `random-${RANDOM_SEED}-${index}`,
        files: [],
        sources: [{ name: 'cluster.yaml', text: documents.join('---\n') }],
        options: { permissive: drawn.permissive, asIs: drawn.asIs },
        flows: drawFlows(drawn.flowSeed, 150),
      };
      const result = await judge(kase, ['nft', 'iptables']);
      if (process.env.KERNEL_LAB_RECORD === '1') writeFixture(kase, result, ['nft', 'iptables']);
    });
  }

  // The lab must be able to see a fault: with every drop turned into an accept, what margay denies arrives.
  lab(`and is caught where the rules are not margay's${suffix}`, async () => {
    const open = (...args: Parameters<typeof margay.renderNft>) => {
      const { nft, leftOut } = margay.renderNft(...args);
      return { nft: nft.replace(/ drop( comment .*)?$/gm, ' accept'), leftOut };
    };
    const kase = folderCase('pcaps/tiers');
    const result = await runCase({ ...margay, renderNft: open }, kase, { tools: ['nft'], drawn: 100, connects: 0 });
    expect(result.mismatches.length).toBeGreaterThan(20);
    expect(result.mismatches.every(({ observed, predicted }) => observed && !predicted)).toBe(true);
  });

  afterAll(() => {
    if (why === undefined) expect(attempts).toBeGreaterThanOrEqual(ATTEMPTS_MIN);
  });
});
