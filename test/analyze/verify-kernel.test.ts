/**
 * The proof of `verify`: the rules that `margay export nft` prints are loaded into a kernel, real programs talk through them, and
 * captures of every pod, every node's uplink and outside are verified. With the rules as they are nothing is found; with one rule removed or
 * turned round, exactly the connections that the programs say are affected.
 *
 * Needs root, network namespaces and the tools; is skipped by name without.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { folderCase } from '../../native-fixtures/kernel/cases.mjs';
import { clusterOf, openCluster } from '../../native-fixtures/kernel/cluster.mjs';
import { EnforcedLab } from '../../native-fixtures/kernel/enforced.mjs';
import { whyNoLab } from '../../native-fixtures/kernel/preconditions.mjs';
import type { VerifyRecord } from '../../src/analyze/verify-record.ts';
import { margay as runMargay } from '../cli/support.ts';
import { margay } from '../kernel/margay.ts';

const LESSON = 'pcaps/tiers';
const OUTSIDE = ['203.0.113.50', '198.51.100.66', '203.0.113.99', '2001:db8:56::50', '2001:db8:bad::66'];

interface Attempt {
  readonly id: number;
  readonly src: string;
  readonly dst: string;
  readonly protocol: number;
  readonly src_port: number;
  readonly dst_port: number;
  readonly listens: boolean;
}

interface Outcome {
  readonly answered: ReadonlySet<number>;
  readonly refused: ReadonlySet<number>;
  readonly silent: ReadonlySet<number>;
}

interface Answer {
  readonly totals: Readonly<Record<string, number>>;
  readonly incomplete: readonly string[];
  readonly captures: readonly { readonly packets: number; readonly missed: number; readonly error: string | null }[];
  readonly connections: readonly VerifyRecord[];
}

const why = whyNoLab() ?? (hasTcpdump() ? undefined : 'needs tcpdump');
const suffix = why === undefined ? '' : ` (skipped: ${why})`;
const lab = describe.skipIf(why !== undefined);

const kase = folderCase(LESSON);
const byTool = openCluster(margay, kase.sources, kase.options);
const cluster = clusterOf(margay, byTool.nft);
const drawn = drawAttempts();
/** Of the run in hand: each has source ports of its own, as the kernel remembers closed connections. */
let attempts = drawn;

/** Rules on each node as they are, or with one of them changed. */
function rules(change: (text: string) => string = (text) => text): string[] {
  return cluster.nodes.map((_: unknown, node: number) =>
    change(margay.renderNft(byTool.nft, node, { uplink: 'eth0' }).nft),
  );
}

/** Every pair of pods and outside, and each node to every pod: two TCP ports, one that nobody listens at, UDP and ping; IPv6 by one port. */
function drawAttempts(): Attempt[] {
  const pods: string[] = cluster.pods.flatMap((pod: { addresses: string[] }) => pod.addresses);
  const nodes: string[] = cluster.nodes.flatMap((node: { addresses: string[] }) => node.addresses);
  const pairs = [...pods, ...OUTSIDE].flatMap((src) =>
    [...pods, ...OUTSIDE]
      .filter((dst) => dst !== src && (pods.includes(src) || pods.includes(dst)))
      .map((dst) => [src, dst]),
  );
  pairs.push(...nodes.flatMap((src) => pods.map((dst) => [src, dst])));
  const found: Omit<Attempt, 'id' | 'src_port'>[] = [];
  for (const [src, dst] of pairs as [string, string][]) {
    if (src.includes(':') !== dst.includes(':') || isSameEnd(src, dst)) continue;
    const add = (protocol: number, dst_port: number, listens: boolean) =>
      found.push({ src, dst, protocol, dst_port, listens });
    add(6, 8080, true);
    if (src.includes(':')) continue;
    add(6, 5432, true);
    add(6, 9999, false);
    add(17, 53, true);
    add(1, 0, true);
  }
  return found.map((each, id) => ({ ...each, id, src_port: 20_000 + id }));
}

/** Two addresses of one pod or node. */
function isSameEnd(src: string, dst: string): boolean {
  return [...cluster.pods, ...cluster.nodes].some(
    ({ addresses }: { addresses: string[] }) => addresses.includes(src) && addresses.includes(dst),
  );
}

function hasTcpdump(): boolean {
  try {
    execFileSync('tcpdump', ['--version'], { stdio: 'pipe' });
    return true;
  } catch {
    return false;
  }
}

function keyOf({ src, dst, protocol, src_port, dst_port }: Attempt): string {
  return protocol === 1
    ? `icmp ${src} ${dst}`
    : `${protocol === 6 ? 'tcp' : 'udp'} ${src}:${src_port} ${dst}:${dst_port}`;
}

function keyOfRecord({ proto, source_ip, dest_ip, source_port, dest_port }: VerifyRecord): string {
  return proto === 'icmp'
    ? `icmp ${source_ip} ${dest_ip}`
    : `${proto} ${source_ip}:${source_port} ${dest_ip}:${dest_port}`;
}

function isAllowed(attempt: Attempt): boolean {
  const { action } = margay.evaluateFlow(byTool.nft, { ...attempt, icmp_type: 8 });
  expect(['allow', 'deny', 'unpoliced']).toContain(action);
  return action !== 'deny';
}

lab(`captures of an enforced cluster${suffix}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'margay-verify-'));
  const kernel = new EnforcedLab(cluster);
  let run = 0;

  beforeAll(() => kernel.build(OUTSIDE));
  afterAll(async () => {
    await kernel.cleanup();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Records under `nfts`, and verifies what was recorded. */
  async function verified(nfts: string[]): Promise<{ outcome: Outcome; answer: Answer; code: number; args: string[] }> {
    const at = join(folder, `run-${run}`);
    attempts = drawn.map((each) => ({ ...each, src_port: each.src_port + run * drawn.length }));
    run++;
    mkdirSync(at);
    const outcome = (await kernel.record(nfts, attempts, at)) as unknown as Outcome;
    const captures = [
      ...cluster.pods.map(
        (pod: { key: string }, i: number) => `pod:${pod.key.slice('wep:'.length)}=${at}/pod-${i}.pcap`,
      ),
      ...cluster.nodes.map((node: { name: string }, i: number) => `node:${node.name}=${at}/node-${i}.pcap`),
      `${at}/outside.pcap`,
    ];
    const args = ['verify', '-f', LESSON, ...captures.flatMap((capture) => ['-r', capture])];
    const { code, stdout, stderr } = await runMargay([...args, '-q', '-o', 'json']);
    expect(stderr).toBe('');
    return { outcome, answer: JSON.parse(stdout) as Answer, code, args };
  }

  function expectSound(answer: Answer): void {
    const { packets, allow, deny, unpoliced, uncertain, undecoded, seen_again } = answer.totals;
    const read = answer.captures.reduce((sum, capture) => sum + capture.packets, 0);
    expect(packets).toBe(read);
    expect(allow! + deny! + unpoliced! + uncertain! + undecoded! + seen_again!).toBe(read);
    expect(answer.connections.length).toBe(attempts.length);
    expect(new Set(answer.connections.map(keyOfRecord))).toEqual(new Set(attempts.map(keyOf)));
    expect(answer.incomplete).toEqual([]);
    expect(answer.captures.map(({ missed, error }) => [missed, error])).toEqual(answer.captures.map(() => [0, null]));
  }

  test('verify clean, and every connection is observed as its program saw it', async () => {
    const { outcome, answer, code, args } = await verified(rules());
    expectSound(answer);
    // The programs first: the kernel did what the policies say.
    const wrong = attempts.filter((each) => isAllowed(each) === outcome.silent.has(each.id));
    expect(wrong).toEqual([]);
    expect(answer.connections.filter(({ finding }) => finding !== undefined)).toEqual([]);
    expect(code).toBe(0);
    const byKey = new Map(answer.connections.map((record) => [keyOfRecord(record), record]));
    for (const each of attempts) {
      const record = byKey.get(keyOf(each))!;
      const expected = outcome.answered.has(each.id)
        ? 'delivered'
        : outcome.refused.has(each.id)
          ? 'refused'
          : 'unanswered';
      expect([keyOf(each), record.observed], record.text).toEqual([keyOf(each), expected]);
      // What was dropped left its pod and did not arrive; outside and nodes' own processes are not watched at both ends.
      if (expected === 'unanswered' && record.source_type === 'wep') expect(record.outcome, record.text).toBe('lost');
    }
    for (const set of [outcome.answered, outcome.refused, outcome.silent]) expect(set.size).toBeGreaterThan(20);

    // Of one end alone the same captures prove less, and still nothing wrong.
    const web = cluster.pods.findIndex((pod: { key: string }) => pod.key === 'wep:shop/web-0');
    const one = await runMargay([
      'verify',
      '-f',
      LESSON,
      '-r',
      args[args.indexOf('-r') + 1 + 2 * web]!.split('=')[1]!,
      '-q',
    ]);
    expect([one.code, one.stderr]).toEqual([0, '']);
  });

  const sabotages = [
    {
      name: 'a rule that denies, removed',
      change: (text: string) => text.replace(/^.*comment "gnp:security.block-threats egress rule 0"\n/gm, ''),
      finding: 'leak',
      rule: /gnp:security\.block-threats/,
    },
    {
      name: 'a rule that allows, turned round',
      change: (text: string) =>
        text.replace(
          /meta mark set meta mark or 0x00010000 comment "np:shop\/web-clients ingress rule 0"/g,
          'drop comment "turned round"',
        ),
      finding: 'blocked',
      rule: /np:shop\/web-clients/,
    },
  ] as const;

  test.each(sabotages)('with $name, exactly what it affects is found', async ({ change, finding, rule }) => {
    const nfts = rules(change);
    expect(nfts).not.toEqual(rules());
    const { outcome, answer, code } = await verified(nfts);
    expectSound(answer);
    const affected = attempts.filter((each) => isAllowed(each) === outcome.silent.has(each.id)).map(keyOf);
    expect(affected.length).toBeGreaterThan(0);
    expect(affected.length).toBeLessThan(attempts.length / 4);
    const found = answer.connections.filter((record) => record.finding !== undefined);
    expect(found.map(keyOfRecord).sort()).toEqual([...affected].sort());
    for (const record of found) {
      expect(record.finding).toBe(finding);
      expect(record.certainty, record.text).toBe('proven');
      expect(record.text).toMatch(rule);
      expect(record.evidence.length).toBeGreaterThan(0);
    }
    expect(code).toBe(1);
  });
});
