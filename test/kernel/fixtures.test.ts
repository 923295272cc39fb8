/**
 * The kernel's word, recorded: what Linux did under our rules stands in `native-fixtures/kernel/fixtures/`, without root.
 *
 * Two things are held: the rules are still those that were loaded, byte for byte, and the verdicts are still what
 * the kernel did with each packet. A difference in the text asks for a new recording (`npm run lab:kernel -- --record`).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FIXTURES, fixtureCase, fixtureNames } from '../../native-fixtures/kernel/cases.mjs';
import { clusterOf, numberedFlows, openCluster, predict, rulesetsOf } from '../../native-fixtures/kernel/cluster.mjs';
import { rulesetFiles } from '../../native-fixtures/kernel/fixture.mjs';
import { margay } from './margay.ts';

const names = fixtureNames();
let answerCount = 0;

describe.each(names)('recorded case %s', (name) => {
  const kase = fixtureCase(name);
  const byTool = openCluster(margay, kase.sources, kase.options);

  test('renders the rules that were loaded', () => {
    const { nodes } = clusterOf(margay, byTool.nft);
    rulesetsOf(margay, byTool).forEach((ruleset, node) => {
      for (const [file, text] of Object.entries(rulesetFiles(nodes[node]!.name, ruleset))) {
        expect(text, file).toBe(readFileSync(join(FIXTURES, name, file), 'utf8'));
      }
    });
  });

  test('predicts what the kernel did with every packet and connection', () => {
    const disagreements: unknown[] = [];
    for (const line of [...kase.lines, ...kase.connects]) {
      if (line.left_out !== undefined) continue;
      const [flow] = numberedFlows(margay, [line]);
      for (const tool of kase.recorded.tools) {
        const predicted = predict(margay, byTool[tool as 'nft' | 'iptables'], flow);
        answerCount++;
        if (line[tool] !== predicted) disagreements.push({ tool, ...line, predicted });
      }
    }
    expect(disagreements).toEqual([]);
  });

  test('has left out only what a packet cannot stand for', () => {
    for (const line of kase.lines) {
      expect(line.left_out !== undefined || kase.recorded.tools.every((tool: string) => tool in line)).toBe(true);
    }
    const judged = kase.lines.filter((line: { left_out?: string }) => line.left_out === undefined);
    expect(judged.length).toBeGreaterThan(kase.lines.length / 2);
  });
});

test('the recorded cases hold thousands of answers of the kernel, both delivered and dropped', () => {
  expect(names.length).toBeGreaterThanOrEqual(15);
  expect(answerCount).toBeGreaterThanOrEqual(10_000);
});
