/** Captures in which addresses change hands within seconds: each packet by the owner at its own time. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ConnectionRecord } from '../../src/analyze/connections.ts';
import { type ReplayOptions, replayCaptures } from '../../src/analyze/replay.ts';
import { packTimedPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { overlayIdentities } from '../../src/identity/overlay.ts';
import { loadResources } from '../../src/load/load.ts';
import { buildFrame, Xorshift32 } from '../../src/packets/synthetic.ts';
import { writePcap } from '../../src/packets/write.ts';
import type { TimelineData } from '../../src/tables/live.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import { ACK, answers, replayPackets, SYN } from '../analyze/replay-packets.ts';
import { recordOf } from './support/cluster.ts';

const POLICIES = `
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.0.0.0/24]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  selector: app == "db"
  types: [Ingress]
  ingress:
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {names: [web]}}}
`;

const WEB = { namespace: 'shop', pod: 'web-0', uid: 'u1', service_account: 'web', node: 'n1', labels: { app: 'web' } };
const JOB = { namespace: 'shop', pod: 'job-0', uid: 'u2', service_account: 'job', node: 'n1', labels: { app: 'job' } };
const DB = {
  namespace: 'shop',
  pod: 'db-0',
  uid: 'u3',
  service_account: 'db',
  node: 'n1',
  labels: { app: 'db' },
  ip: '10.0.0.9',
};

/** Captures of replay-packets.ts begin at second 1 000. */
const time = (seconds: number): string => new Date((1000 + seconds) * 1000).toISOString();

interface Timed {
  readonly tables: Tables;
  readonly timeline: TimelineData;
  /** Of the plan. */
  readonly warnings: readonly string[];
}

function timed(lines: readonly object[], needsIdentity = true): Timed {
  const set = { records: lines.map(recordOf), accounts: new Map(), namespaces: new Map(), isWhole: false };
  const { resources } = loadResources([{ name: 'p.yaml', text: POLICIES }], {
    amend: (all) => overlayIdentities(all, set).resources,
  });
  const plan = planCluster(resources);
  const { buffer, timeline } = packTimedPlan(plan, { needsIdentity });
  return { tables: openTables(buffer), timeline: timeline!, warnings: plan.warnings.map(({ message }) => message) };
}

const REUSED = [
  { ...WEB, ip: '10.0.0.5', to: time(2) },
  { ...JOB, ip: '10.0.0.5', from: time(3) },
  { ...WEB, uid: 'u4', pod: 'web-1', ip: '10.0.0.5', from: time(4), to: time(5) },
  DB,
];

describe('an address that is used again within seconds', () => {
  const AT = [0, 1.999999, 2, 2.999, 3, 4, 4.999, 5, 60];
  // As a peer an address of two owners counts for both (semantics 7.2), so the account `web` is let in at 4 s.
  const WANTED = [
    'allow',
    'allow',
    'uncertain no-identity',
    'uncertain no-identity',
    'deny end-of-tier',
    'allow',
    'allow',
    'deny end-of-tier',
    'deny end-of-tier',
  ];

  test.each([
    ['in order', (order: number[]) => order],
    ['backwards', (order: number[]) => [...order].reverse()],
    ['to and fro', (order: number[]) => [...order].sort((a, b) => ((a * 7) % 9) - ((b * 7) % 9))],
  ])('is judged by its owner at the time of each packet, %s', async (_name, arrange) => {
    const order = arrange(AT.map((_, i) => i));
    const { tables, timeline } = timed(REUSED);
    const packets = order.map((i) => ({ src: '10.0.0.5', dst: '10.0.0.9', at: AT[i]!, srcPort: 40_000 + i }));
    for (const stateless of [true, false]) {
      const lines = await replayPackets(tables, packets, { timeline, stateless });
      expect(answers(lines)).toEqual(order.map((i) => WANTED[i]));
    }
  });

  test('is reported while two own it, and uncertain where their answers differ', async () => {
    const { tables, timeline, warnings } = timed([
      { ...DB, to: time(2) },
      { ...JOB, ip: '10.0.0.9', from: time(1) },
      { ...JOB, ip: '10.0.0.7', uid: 'u7', pod: 'job-7' },
    ]);
    expect(warnings.join()).toContain('address 10.0.0.9 belongs to wep:shop/db-0 and wep:shop/job-0');
    const packets = [0, 1, 2].map((at, i) => ({ src: '10.0.0.7', dst: '10.0.0.9', at, srcPort: 40_000 + i }));
    const lines = await replayPackets(tables, packets, { timeline });
    expect(answers(lines)).toEqual(['deny end-of-tier', 'uncertain shared-address', 'allow']);
    const after = timed([
      { ...DB, to: time(2) },
      { ...JOB, ip: '10.0.0.9', from: time(2) },
    ]);
    expect(after.warnings).toEqual([]);
  });

  test('names the owner of that time in the record', async () => {
    const { tables, timeline } = timed(REUSED);
    const packets = [0, 3, 3.5].map((at, i) => ({ src: '10.0.0.5', dst: '10.0.0.9', at, srcPort: 40_000 + i }));
    const lines = await replayPackets(tables, packets, { timeline });
    expect(lines.map(({ source_name }) => source_name)).toEqual(['web-0', 'job-0', 'job-0']);
  });

  test('without an identity store that ought to know is the outside where nobody owns it', async () => {
    const { tables, timeline } = timed(REUSED, false);
    const lines = await replayPackets(tables, [{ src: '10.0.0.5', dst: '10.0.0.9', at: 2.5 }], { timeline });
    expect(answers(lines)).toEqual(['deny end-of-tier']);
    expect(lines[0]!.source_type).toBe('net');
  });

  test('has no past: the same ports from its next owner are a new connection', async () => {
    const { tables, timeline } = timed([
      { ...WEB, ip: '10.0.0.5', to: time(2) },
      { ...JOB, ip: '10.0.0.5', from: time(2) },
      DB,
    ]);
    const reply = { src: '10.0.0.9', dst: '10.0.0.5', srcPort: 80, dstPort: 40_000 };
    const packets = [
      { src: '10.0.0.5', dst: '10.0.0.9', at: 0, tcpFlags: SYN, tcpSeq: 1 },
      { ...reply, at: 0.1, tcpFlags: SYN | ACK, tcpSeq: 9, tcpAck: 2 },
      { src: '10.0.0.5', dst: '10.0.0.9', at: 0.2, tcpFlags: ACK, tcpSeq: 2, tcpAck: 10 },
      { src: '10.0.0.5', dst: '10.0.0.9', at: 2.1, tcpFlags: ACK, tcpSeq: 2, tcpAck: 10 },
    ];
    const lines = await replayPackets(tables, packets, { timeline });
    expect(answers(lines)).toEqual(['allow', 'allow', 'allow', 'deny end-of-tier']);
    const connections: ConnectionRecord[] = [];
    await replayPackets(tables, packets, { timeline, onConnection: (record) => connections.push(record) });
    expect(connections.map(({ source_name, action, packets: count }) => [source_name, action, count])).toEqual([
      ['web-0', 'allow', 3],
      ['job-0', 'deny', 1],
    ]);
  });
});

describe('a capture with many changes', () => {
  /** 60 addresses, each with a new owner every 50 to 200 ms, and packets between them all the time. */
  function busy(): { lines: object[]; bytes: Uint8Array } {
    const random = new Xorshift32(7);
    const below = (limit: number): number => Math.abs(random.next()) % limit;
    const lines: object[] = [DB];
    for (let host = 20; host < 80; host++) {
      for (let at = 0, n = 0; at < 4; n++) {
        const until = at + 0.05 + below(150) / 1000;
        lines.push({
          ...(below(2) === 0 ? WEB : JOB),
          pod: `p-${host}-${n}`,
          uid: `u-${host}-${n}`,
          ip: `10.0.0.${host}`,
          from: time(at),
          to: time(until),
        });
        at = until;
      }
    }
    const records = Array.from({ length: 4_000 }, (_, i) => ({
      bytes: buildFrame({
        src: 0x0a000014 + below(60),
        dst: 0x0a000009,
        protocol: 6,
        // Few enough that flows come again, under other owners.
        srcPort: 1024 + below(60),
        dstPort: 80,
      }),
      seconds: 1000 + Math.floor(i / 1000),
      nanos: (i % 1000) * 1e6,
    }));
    return { lines, bytes: writePcap(records) };
  }

  test('has the same totals packet by packet and over the fast path', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'margay-'));
    try {
      const { lines, bytes } = busy();
      const file = join(folder, 'c.pcap');
      writeFileSync(file, bytes);
      const { tables, timeline } = timed(lines);
      const totals = async (options: ReplayOptions) =>
        (await replayCaptures(tables, [file], { timeline, stateless: true, ...options })).totals;
      const slow = await totals({ onPacket: () => {} });
      expect(await totals({})).toEqual(slow);
      const tracked = await totals({ stateless: false, onPacket: () => {} });
      expect(await totals({ stateless: false, trackedBatchesFrom: 0 })).toEqual(tracked);
      expect(await totals({ workers: 2 })).toEqual(slow);
      expect(slow.allow).toBeGreaterThan(500);
      expect(slow.deny).toBeGreaterThan(500);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

test('verdicts of policy by owners that nobody vouches for are stale-identity', async () => {
  const { tables, timeline } = timed(REUSED);
  let count = 0;
  const lines = await replayPackets(
    tables,
    [
      { src: '10.0.0.5', dst: '10.0.0.9', at: 0 },
      { src: '10.0.0.5', dst: '10.0.0.9', at: 1, srcPort: 40_001 },
      { src: '192.0.2.1', dst: '192.0.2.2', at: 1 },
    ],
    { timeline, isStale: () => count++ > 0 },
  );
  expect(answers(lines)).toEqual(['allow', 'uncertain stale-identity', 'unpoliced']);
});
