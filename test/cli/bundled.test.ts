/** What works from the sources and may not once it is bundled: packages that are loaded on demand. */
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { type Bundled, bundleCommandLine } from '../support/bundled.ts';

let bundled: Bundled;
beforeAll(() => {
  bundled = bundleCommandLine();
});
afterAll(() => bundled.remove());

test.each(['yaml', 'json', 'table'])('-o %s', (format) => {
  const args = [bundled.main, 'get', 'tiers', '-f', 'pcaps/tiers', '-o', format];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  if (format === 'table') expect(stdout).toMatch(/^NAME .*\n/);
  else expect(parse(stdout).items).not.toHaveLength(0);
});
