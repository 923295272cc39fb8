/** Every request of the conformance worlds, as Calico's own authorization check answered it. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { margay } from '../cli/support.ts';

const WORLDS = 'test/conformance/worlds';

const worlds = readdirSync(WORLDS);

function linesOf(world: string): readonly string[] {
  return readFileSync(`${WORLDS}/${world}/authz.jsonl`, 'utf8').trim().split('\n');
}

test('there are some thousand requests', () => {
  expect(worlds.flatMap(linesOf).length).toBeGreaterThan(3500);
});

test.each(worlds)('world %s', async (world) => {
  const file = `${WORLDS}/${world}/authz.jsonl`;
  const lines = linesOf(world);
  const wanted = lines.map((line) => JSON.parse(line) as { readonly id: string; readonly expect: string });
  const args = ['authz', '-q', '-f', `${WORLDS}/${world}/cluster.yaml`, '--requests', file, '-o', 'jsonl'];
  const { code, stdout } = await margay(args);
  expect(code).toBe(0);
  const answers = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly id: string; readonly code: string });
  expect(answers.map(({ id, code: answer }) => [id, answer])).toEqual(wanted.map(({ id, expect: code }) => [id, code]));
});
