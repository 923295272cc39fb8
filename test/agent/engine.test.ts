/** The engine over captures in files and through pipes: the answer of a replay, told piece by piece. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { replayCaptures } from '../../src/analyze/replay.ts';
import { buildFrame } from '../../src/packets/synthetic.ts';
import { type CaptureRecord, writePcap } from '../../src/packets/write.ts';
import { openTables } from '../../src/tables/tables.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { ALLOWS_80, cluster, expectSound, start, until, word } from './engine-support.ts';

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
    expect(told.sources).toMatchObject([{ name: `file:${path}`, state: 'ended', restarts: 0 }]);
    expect(await engine.stop(5000)).toEqual(accounting);
  });
});
