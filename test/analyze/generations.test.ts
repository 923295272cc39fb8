/** A packet path that goes on with other tables in mid-capture: whole batches, connections kept by node name, totals of all generations. */
import { describe, expect, test } from 'vitest';
import { totalsOf } from '../../src/analyze/counters.ts';
import { Replayer } from '../../src/analyze/replayer.ts';
import { parseAddress } from '../../src/base/ip.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { BATCH_RECORDS, createRecordBatch } from '../../src/packets/source.ts';
import { buildFrame, Xorshift32 } from '../../src/packets/synthetic.ts';
import { writePcap } from '../../src/packets/write.ts';
import { HEADER_CHECKSUM } from '../../src/tables/layout.ts';
import { Publisher, Subscriber } from '../../src/tables/publish.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import { openBytes } from '../packets/read-all.ts';

const POD = (name: string, ip: string, node: string): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop, labels: {app: ${name}}}
spec: {nodeName: ${node}, serviceAccountName: ${name}, containers: [{name: c, image: x}]}
status: {phase: Running, podIP: ${ip}, podIPs: [{ip: ${ip}}]}
---`;
const NODE = (name: string, ip: string): string => `
apiVersion: v1
kind: Node
metadata: {name: ${name}}
status: {addresses: [{type: InternalIP, address: ${ip}}]}
---`;
const POLICY = (rules: string): string => `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec: {selector: app == "db", types: [Ingress], ingress: [${rules}]}
`;

function cluster(rules: string, more = ''): SharedArrayBuffer {
  const text =
    POD('web', '10.0.0.1', 'n1') + POD('db', '10.0.0.2', 'n2') + NODE('n1', '192.168.0.1') + more + POLICY(rules);
  const { resources, errors } = loadResources([{ name: 'cluster.yaml', text }]);
  expect(errors).toEqual([]);
  return compile(resources);
}

const DENIES = cluster('');
const ALLOWS = cluster('{action: Allow}');

function frame(src: string, dst: string, srcPort: number, dstPort: number, tcpFlags: number): Uint8Array {
  return buildFrame({ src: word(src), dst: word(dst), protocol: 6, srcPort, dstPort, tcpFlags });
}

function word(address: string): number {
  return parseAddress(address)!.words[0];
}

const SYN = frame('10.0.0.1', '10.0.0.2', 40_000, 5432, 2);

async function replay(
  frames: readonly Uint8Array[],
  first: Tables,
  newTables: () => Tables | undefined,
  stateless: boolean,
  onPacket?: () => void,
) {
  const replayer = new Replayer(first, {
    stateless,
    newTables,
    trackedBatchesFrom: 0,
    ...(onPacket === undefined ? {} : { onPacket }),
  });
  const records = frames.map((bytes, i) => ({ bytes, seconds: 1000 + i }));
  const reader = await openBytes(writePcap(records));
  const batch = createRecordBatch();
  do replayer.drain(reader, batch);
  while (await reader.fill());
  replayer.finish();
  return { totals: totalsOf(replayer.counters, 0), rules: replayer.rules() };
}

describe('other tables in mid-capture', () => {
  test('whole batches by one or the other, and totals of both', async () => {
    const frames = Array.from({ length: 10 * BATCH_RECORDS }, () => SYN);
    let looks = 0;
    const newer = (): Tables | undefined => (++looks === 5 ? openTables(ALLOWS) : undefined);
    const { totals, rules } = await replay(frames, openTables(DENIES), newer, true);
    expect([totals.packets, totals.deny, totals.allow]).toEqual([2560, 4 * BATCH_RECORDS, 6 * BATCH_RECORDS]);
    expect(rules.map(({ action, policy, index, packets }) => [action, policy, index, packets])).toEqual([
      ['allow', 'np:shop/db', 0, 6 * BATCH_RECORDS],
      ['deny', 'np:shop/db', -1, 4 * BATCH_RECORDS],
    ]);
  });

  test('connections go on, though every node has another index', async () => {
    const conversation = [
      SYN,
      frame('10.0.0.2', '10.0.0.1', 5432, 40_000, 0x12),
      frame('10.0.0.1', '10.0.0.2', 40_000, 5432, 0x10),
    ];
    const fill = Array.from({ length: BATCH_RECORDS - 3 }, () => frame('203.0.113.1', '203.0.113.2', 1, 2, 2));
    // Behind the swap: a packet of the known connection, and a first one of another.
    const after = [frame('10.0.0.1', '10.0.0.2', 40_000, 5432, 0x10), frame('10.0.0.1', '10.0.0.2', 40_001, 5432, 2)];
    const shifted = openTables(cluster('', NODE('a0', '192.168.0.9')));
    let looks = 0;
    const newer = (): Tables | undefined => (++looks === 2 ? shifted : undefined);
    const { totals } = await replay([...conversation, ...fill, ...after], openTables(ALLOWS), newer, false);
    expect([totals.allow, totals.deny, totals.unpoliced]).toEqual([4, 1, BATCH_RECORDS - 3]);
  });
});

/** Batches with connection tracking (analyze/tracked-path.ts) against one packet after the other, over the same swaps. */
test('tracked batches know the tables of their time', async () => {
  const random = new Xorshift32(5);
  const frames = Array.from({ length: 20 * BATCH_RECORDS }, () => {
    const port = 40_000 + random.below(300);
    const isReply = random.below(3) === 0;
    const flags = [2, 2, 2, 0x12, 0x10, 0x11][random.below(6)]!;
    if (isReply) return frame('10.0.0.2', '10.0.0.1', 5432, port, flags);
    return frame('10.0.0.1', '10.0.0.2', port, 5432, flags);
  });
  const generations = [DENIES, ALLOWS, cluster('', NODE('a0', '192.168.0.9')), ALLOWS].map((buffer) =>
    openTables(buffer),
  );
  const results = [];
  for (const onPacket of [undefined, () => {}]) {
    let looks = 0;
    const newTables = (): Tables | undefined => (++looks % 3 === 0 ? generations[(looks / 3) % 4] : undefined);
    results.push(await replay(frames, generations[0]!, newTables, false, onPacket));
  }
  expect(results[0]).toEqual(results[1]);
  const { allow, deny } = results[0]!.totals;
  expect([allow > 1000, deny > 500]).toEqual([true, true]);
});

describe('publishing', () => {
  test('the newest generation, once, and nothing new costs one look', () => {
    const publisher = new Publisher();
    const early = new Subscriber(publisher.subscribe());
    expect(early.poll()).toBeUndefined();
    publisher.publish(DENIES);
    publisher.publish(ALLOWS);
    const late = new Subscriber(publisher.subscribe());
    for (const subscriber of [early, late]) {
      // The memory is shared, the object is another.
      expect(subscriber.poll()?.words[HEADER_CHECKSUM]).toBe(new Int32Array(ALLOWS)[HEADER_CHECKSUM]);
      expect([subscriber.generation, subscriber.poll()]).toEqual([2, undefined]);
    }
    publisher.close();
  });

  test('tables that are not sound are not published', () => {
    const publisher = new Publisher();
    const subscriber = new Subscriber(publisher.subscribe());
    const damaged = new SharedArrayBuffer(ALLOWS.byteLength);
    new Int32Array(damaged).set(new Int32Array(ALLOWS));
    new Int32Array(damaged)[damaged.byteLength / 4 - 1]! ^= 1;
    expect(() => publisher.publish(damaged)).toThrow('the checksum does not fit');
    expect([publisher.generation, subscriber.poll()]).toEqual([0, undefined]);
    publisher.close();
  });
});
