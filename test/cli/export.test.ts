/** `margay export`: what goes where, and what is asked for when the choice is not clear. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { lesson, margay } from './support.ts';

describe('export', () => {
  test('nft prints the tables of both IP versions for the node named', async () => {
    const { code, stdout, stderr } = await margay(['export', 'nft', ...lesson('tiers'), '--node', 'node-1']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^# Node node-1\. Load with: nft -f FILE\n/);
    expect(stdout).toContain('\ntable ip margay {\n');
    expect(stdout).toContain('\ntable ip6 margay {\n');
  });

  test('iptables prints one part, or writes all of every node', async () => {
    const one = await margay(['export', 'iptables', ...lesson('tiers'), '--node', 'node-1', '--part', 'ipset']);
    expect(one.stdout).toMatch(/^create cali40s:\S+ hash:net family inet maxelem 1048576 -exist$/m);
    const directory = mkdtempSync(join(tmpdir(), 'margay-export-'));
    try {
      const all = await margay(['export', 'iptables', ...lesson('tiers'), '--out', directory]);
      expect([all.code, all.stdout, all.stderr]).toEqual([0, '', `margay: wrote 6 files to ${directory}\n`]);
      const files = ['node-1', 'node-2'].flatMap((node) =>
        ['ip6tables', 'ipset', 'iptables'].map((part) => `${node}.${part}`),
      );
      expect(readdirSync(directory).sort()).toEqual(files);
      expect(readFileSync(join(directory, 'node-1.ipset'), 'utf8')).toBe(one.stdout);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('uses the uplink it is told', async () => {
    const { stdout } = await margay([
      'export',
      'nft',
      '-f',
      'native-fixtures/kernel/corners',
      '--node',
      'n1',
      '--uplink',
      'ens5',
      '-q',
    ]);
    expect(stdout).toContain('iifname "ens5" goto filter-cali-fh-ens5');
    expect(stdout).not.toContain('eth0"');
  });

  test.each([
    [['nft', ...lesson('tiers')], '--node is missing: the input has node-1, node-2; choose one, or use --out'],
    [
      ['nft', ...lesson('tiers'), '--node', 'n'],
      "--node: nothing in the input names the node 'n'; the input has node-1, node-2",
    ],
    [['nft', ...lesson('tiers'), '--node', 'node-1', '--uplink', 'a b'], "--uplink: 'a b' is no name of an interface"],
    [
      ['iptables', ...lesson('tiers')],
      'three texts do not go to one output: choose one with --part ipset|iptables|ip6tables, or use --out',
    ],
  ])('of %j says what is missing', async (args, message) => {
    const { code, stdout, stderr } = await margay(['export', ...args]);
    expect([code, stdout, stderr]).toEqual([2, '', `margay: ${message}\n`]);
  });

  test('names on standard error what the text does not say', async () => {
    const { stderr } = await margay(['export', 'nft', '-f', 'native-fixtures/kernel/corners', '--node', 'n1']);
    expect(stderr).toBe('margay: n1: left out snp:app/staged: staged policies are not enforced\n');
  });
});
