/** The engine over captures in files and through pipes: the answer of a replay, told piece by piece. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { replayCaptures } from '../../src/analyze/replay.ts';
import { createRecordBatch } from '../../src/packets/source.ts';
import { buildFrame, Xorshift32 } from '../../src/packets/synthetic.ts';
import { type CaptureRecord, writePcap } from '../../src/packets/write.ts';
import { openTables } from '../../src/tables/tables.ts';
import { openBytes } from '../packets/read-all.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { ALLOWS_80, cluster, DENIES, expectSound, start, until, word } from './engine-support.ts';

const SYN = 0x02;
const ACK = 0x10;
const folder = mkdtempSync(join(tmpdir(), 'margay-engine-'));
let unbundle: () => void;
beforeAll(() => {
  unbundle = bundleThreadEntries();
});
afterAll(() => {
  unbundle();
  rmSync(folder, { recursive: true, force: true });
});

function packet(
  src: string,
  dst: string,
  srcPort: number,
  dstPort: number,
  tcpFlags: number,
  seconds: number,
): CaptureRecord {
  const bytes = buildFrame({
    src: word(src),
    dst: word(dst),
    protocol: 6,
    srcPort,
    dstPort,
    tcpFlags,
    tcpSeq: 1,
    tcpAck: 1,
  });
  return { bytes, seconds: 1_700_000_000 + seconds };
}

/** Connections to two ports, one allowed and answered, one denied and (in `leaking`) answered all the same. */
function conversation(connections: number): CaptureRecord[] {
  const records: CaptureRecord[] = [];
  for (let i = 0; i < connections; i++) {
    const port = 20_000 + i;
    const to = i % 2 === 0 ? 80 : 443;
    records.push(packet('10.0.0.1', '10.0.0.2', port, to, SYN, i));
    records.push(packet('10.0.0.2', '10.0.0.1', to, port, SYN | ACK, i));
    records.push(packet('10.0.0.1', '10.0.0.2', port, to, ACK, i));
  }
  return records;
}

function capture(name: string, records: readonly CaptureRecord[]): string {
  const path = join(folder, name);
  writeFileSync(path, writePcap(records));
  return path;
}

describe('a capture file', () => {
  test('gives the totals and connections of a replay', async () => {
    const path = capture('a.pcap', conversation(500));
    const tables = cluster(ALLOWS_80);
    const { engine, told } = await start({ sources: [{ kind: 'file', path }] });
    await engine.publish(tables, 7);
    await until('the end', () => told.hasEnded);
    const accounting = engine.accounting();
    expectSound(accounting);
    const connections: unknown[] = [];
    const replay = await replayCaptures(openTables(tables), [path], {
      onConnection: (record) => {
        connections.push(record);
      },
    });
    const { allow, deny, unpoliced, uncertain, packets } = replay.totals;
    expect(accounting).toMatchObject({ seen: packets, allow, deny, unpoliced, uncertain, lost: 0, duplicate: 0 });
    const flows = [...told.flows.values()];
    expect(flows.map(({ record }) => record)).toEqual(connections);
    expect(flows.every(({ generation, isOpen }) => generation === 7 && !isOpen)).toBe(true);
    expect(told.sources).toMatchObject([{ name: `file:${path}`, state: 'ended', restarts: 0, seen: packets }]);
    expect(await engine.stop(5000)).toEqual(accounting);
  });

  test('tells of what was denied and answered, with its raw packets', async () => {
    const path = capture('leak.pcap', conversation(10));
    const { engine, told } = await start({ sources: [{ kind: 'file', path }] });
    await engine.publish(cluster(ALLOWS_80), 1);
    await until('the end', () => told.hasEnded);
    expect(told.findings).toHaveLength(5);
    const [first] = told.findings;
    expect(first).toMatchObject({ kind: 'leak', isWeak: false, record: { action: 'deny', dest_port: 443 } });
    expect(first!.evidence[0]).toContain(`Packet ${told.flows.get(first!.flowId)!.record.first_packet}`);
    expect(first!.evidence[0]).toContain(
      'is denied by policy (ingress of shop/db: end of tier default, after np:shop/db',
    );
    expect(told.flows.get(first!.flowId)).toMatchObject({ finding: 'leak' });
    const kept = await readAll(await engine.findingsCapture());
    expect(kept.map(({ port }) => port).sort()).toEqual(kept.map(() => 443));
    expect(kept).toHaveLength(15);
    await engine.stop(5000);
  });

  test('tells of what was allowed and never answered, once it was watched for long enough', async () => {
    const tries = (port: number, seconds: readonly number[]): CaptureRecord[] =>
      seconds.map((second) => packet('10.0.0.1', '10.0.0.2', port, 80, SYN, second));
    const refused = [...tries(1002, [0, 1, 3]), packet('10.0.0.2', '10.0.0.1', 80, 1002, 0x14, 3)];
    const records = [...tries(1000, [0, 1, 3]), ...tries(1001, [0, 1]), ...refused];
    const path = capture('blocked.pcap', records);
    const { engine, told } = await start({ sources: [{ kind: 'file', path }] });
    await engine.publish(cluster(ALLOWS_80), 1);
    await until('the end', () => told.hasEnded);
    expect(told.findings).toMatchObject([{ kind: 'blocked', record: { source_port: 1000, packets: 3 } }]);
    expect(told.findings[0]!.evidence[1]).toContain('sent 3 times within 3.0 s');
    await engine.stop(5000);
  });

  test('may come through standard input, or as several files in order', async () => {
    const whole = conversation(300);
    const [first, second] = [capture('first.pcap', whole.slice(0, 500)), capture('second.pcap', whole.slice(500))];
    const all = capture('all.pcap', whole);
    const shell = ['sh', '-c', `exec "$0" "$@" < ${all}`];
    const totals: unknown[] = [];
    for (const [sources, prefix] of [
      [
        [
          { kind: 'file', path: first },
          { kind: 'file', path: second },
        ],
        [],
      ],
      [[{ kind: 'stdin' }], shell],
    ] as const) {
      const { engine, told } = await start({ sources }, {}, prefix);
      await engine.publish(cluster(ALLOWS_80), 1);
      await until('the end', () => told.hasEnded);
      const accounting = await engine.stop(5000);
      expectSound(accounting);
      expect(told.flows.size).toBe(300);
      totals.push(accounting);
    }
    expect(totals[1]).toEqual(totals[0]);
  });

  test('that is absent, cut off or none is told of', async () => {
    const good = writePcap(conversation(10));
    writeFileSync(join(folder, 'cut.pcap'), good.subarray(0, good.length - 5));
    writeFileSync(join(folder, 'none.pcap'), 'hello, world');
    const sources = ['absent', 'cut', 'none'].map(
      (name) => ({ kind: 'file', path: join(folder, `${name}.pcap`) }) as const,
    );
    const { engine, told } = await start({ sources });
    await engine.publish(cluster(ALLOWS_80), 1);
    await until('the end', () => told.hasEnded);
    expect(told.sources.map(({ state }) => state)).toEqual(['failed', 'failed', 'failed']);
    expect(told.sources[0]!.trouble).toContain('cannot open');
    expect(told.sources[1]!.trouble).toContain('cut off');
    expect(told.sources[2]!.trouble).toContain('not a capture');
    expect((await engine.stop(5000)).seen).toBe(29);
  });
});

test('where no ledger can be kept, reports tell the counts', async () => {
  const path = capture('no-ledger.pcap', conversation(50));
  const { engine, told } = await start({ sources: [{ kind: 'file', path }] }, { directories: [] });
  await engine.publish(cluster(ALLOWS_80), 1);
  await until('the end', () => told.hasEnded);
  const accounting = await engine.stop(5000);
  expectSound(accounting);
  expect(accounting).toMatchObject({ seen: 150, judged: 150 });
  expect(told.logs.join()).toContain('no directory can be written to');
});

describe('made-up five-tuples', () => {
  test('fill no memory: flows go, and are counted, and every packet has its verdict', async () => {
    // More flows than every table has room for, eight times over.
    const packets = 100_000;
    const path = join(folder, 'flood.pcap');
    writeFlood(path, packets);
    const { engine, told } = await start({
      sources: [{ kind: 'file', path }],
      flowEntries: 8192,
      conntrackEntries: 12_500,
    });
    await engine.publish(cluster(ALLOWS_80), 1);
    await until('the end', () => told.hasEnded, 60_000);
    const accounting = await engine.stop(5000);
    expectSound(accounting);
    expect(accounting).toMatchObject({ seen: packets, judged: packets });
    expect(engine.flows().evicted).toBeGreaterThan(packets - 13_000);
    // What was not told one by one is in the log, with its packets: the sums are those of the totals.
    const untold = told.logs.flatMap((line) => /"flows":(\d+),"packets":(\d+)/.exec(line)?.slice(1).map(Number) ?? []);
    const toldPackets = [...told.flows.values()].reduce((sum, { record }) => sum + record.packets, 0);
    expect(toldPackets + untold.at(-1)!).toBe(packets);
  });
});

describe('generations', () => {
  test('come between two batches; flows, hits and verdicts are of one each', async () => {
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const { engine, told } = await start({ sources: [{ kind: 'file', path: fifo }] });
    const tables = [cluster(ALLOWS_80), cluster(DENIES)];
    // Opening a pipe waits for its other end.
    const pipe = open(fifo, 'w');
    await engine.publish(tables[1]!, 1);
    const writer = await pipe;
    await writer.write(writePcap([]));
    let packets = 0;
    let generation = 1;
    for (; generation <= 20; generation++) {
      if (generation > 1) await engine.publish(tables[generation % 2 === 0 ? 0 : 1]!, generation);
      const records = Array.from({ length: 300 }, (_, i) =>
        packet('10.0.0.1', '10.0.0.2', 1000 + generation * 1000 + i, 80, SYN, generation),
      );
      packets += records.length;
      await writer.write(writePcap(records).subarray(24));
      await until('they are judged', () => engine.accounting().judged === packets);
    }
    await writer.close();
    await until('the end', () => told.hasEnded);
    const accounting = await engine.stop(5000);
    expectSound(accounting);
    expect(accounting).toMatchObject({ allow: 3000, deny: 3000 });
    for (const { record, generation: of } of told.flows.values()) {
      expect(record.action).toBe(of % 2 === 0 ? 'allow' : 'deny');
      expect(Math.floor((record.source_port! - 1000) / 1000)).toBe(of);
    }
    const byGeneration = new Map<number, number>();
    for (const { generation: of, hits } of told.hits) {
      const sum = hits.reduce((total, hit) => total + hit.packets, 0);
      byGeneration.set(of, (byGeneration.get(of) ?? 0) + sum);
    }
    expect([...byGeneration]).toEqual(Array.from({ length: 20 }, (_, i) => [i + 1, 300]));
  });

  test('while nobody vouches for identities, verdicts are stale', async () => {
    const path = capture('stale.pcap', conversation(10));
    const { engine, told } = await start({ sources: [{ kind: 'file', path }] });
    engine.setStale(true);
    await engine.publish(cluster(ALLOWS_80), 1);
    await until('the end', () => told.hasEnded);
    expect(await engine.stop(5000)).toMatchObject({ allow: 0, deny: 0, uncertain: 30 });
    expect([...told.flows.values()].every(({ record }) => record.reason === 'stale-identity')).toBe(true);
  });
});

describe('an end', () => {
  test('does not wait for a pipe that nobody writes to', async () => {
    const fifo = join(folder, 'silent');
    execFileSync('mkfifo', [fifo]);
    for (const header of [new Uint8Array(0), writePcap([])]) {
      // Both ends open, so that opening it does not wait either.
      const pipe = await open(fifo, 'r+');
      await pipe.write(header);
      const { engine, told } = await start({ sources: [{ kind: 'file', path: fifo }] });
      await engine.publish(cluster(ALLOWS_80), 1);
      if (header.length > 0) await until('it is read', () => told.sources[0]?.state === 'running');
      const begin = performance.now();
      expect(await engine.stop(60_000)).toMatchObject({ seen: 0, lost: 0 });
      // Far from the limit, at which it would be killed.
      expect(performance.now() - begin).toBeLessThan(30_000);
      await pipe.close();
    }
  });

  test('at any moment, with a pipe that is full, settles every packet that was taken', async () => {
    const path = join(folder, 'flood.pcap');
    writeFlood(path, 60_000);
    const fifo = join(folder, 'full');
    execFileSync('mkfifo', [fifo]);
    const random = new Xorshift32(7);
    for (let round = 0; round < 4; round++) {
      const { engine } = await start({ sources: [{ kind: 'file', path: fifo }] });
      const feeder = spawn('sh', ['-c', `cat ${path} > ${fifo}`], { stdio: 'ignore' });
      const isFirst = round === 0;
      if (!isFirst) await engine.publish(cluster(ALLOWS_80), 1);
      const atLeast = random.below(20_000);
      if (!isFirst) await until('some are judged', () => engine.accounting().judged >= atLeast);
      const accounting = await engine.stop(5000);
      expectSound(accounting);
      expect(accounting.lost).toBe(0);
      if (!isFirst) expect(accounting.judged).toBeGreaterThanOrEqual(atLeast);
      feeder.kill();
    }
  });
});

/** Ports of the servers of a capture's packets. */
async function readAll(capture: Uint8Array): Promise<{ port: number }[]> {
  const reader = await openBytes(capture);
  const batch = createRecordBatch();
  const found: { port: number }[] = [];
  while (reader.next(batch) > 0) {
    for (let row = 0; row < batch.count; row++) {
      const at = batch.offsets[row]! + 34;
      found.push({ port: Math.min(batch.view.getUint16(at), batch.view.getUint16(at + 2)) });
    }
  }
  expect(reader.error).toBeUndefined();
  return found;
}

/** SYNs from random ports and addresses to one. */
function writeFlood(path: string, packets: number): void {
  const random = new Xorshift32(11);
  const one = writePcap([packet('10.0.0.1', '10.0.0.2', 1, 80, SYN, 0)]);
  const record = one.subarray(24);
  const bytes = new Uint8Array(24 + record.length * packets);
  bytes.set(one.subarray(0, 24));
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < packets; i++) {
    const at = 24 + i * record.length;
    bytes.set(record, at);
    // Source address and port; the checksums are not looked at.
    view.setUint32(at + 16 + 26, random.next());
    view.setUint16(at + 16 + 34, random.below(65_536));
  }
  writeFileSync(path, bytes);
}
