/**
 * A replay by several workers against the same by one: lines, connections, totals, counts a rule, sources, in their order and to the
 * byte.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { replayCaptures } from '../../src/analyze/replay.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { guessRecord, readPcapHeader } from '../../src/packets/pcap-segment.ts';
import { buildFrame, concatBytes, Xorshift32 } from '../../src/packets/synthetic.ts';
import { type CaptureRecord, writePcap, writePcapng } from '../../src/packets/write.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import { documents } from '../rows/objects.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { answerOf, MODES, type Mode } from './answer.ts';
import { randomTraffic, WORLD } from './traffic.ts';

const PCAPS = new URL('../../pcaps/', import.meta.url);
const CONFORMANCE = new URL('../conformance/', import.meta.url);
/** Tables so small that everything is thrown out of them all the time. */
const SMALL = { conntrackEntries: 128, connectionEntries: 128 };

let folder: string;
let removeEntries: () => void;
let world: Tables;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-workers-'));
  removeEntries = bundleThreadEntries();
  world = tablesOf([{ name: 'world.yaml', text: documents(...WORLD) }]);
});
afterAll(() => {
  removeEntries();
  rmSync(folder, { recursive: true });
});

function tablesOf(sources: readonly { name: string; text: string }[]): Tables {
  const { resources, errors } = loadResources([...sources]);
  expect(errors).toEqual([]);
  return openTables(compile(resources));
}

function written(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const modeOf = (name: string): Mode => MODES.find((mode) => mode.name === name)!;
const CONNECTIONS = modeOf('connections');
const PACKETS = modeOf('packets');
const COUNTS = modeOf('summary stateless');

async function expectSame(
  tables: Tables,
  files: readonly string[],
  mode: Mode,
  workers: readonly number[],
  more: object = {},
): Promise<string> {
  const one = await answerOf(tables, files, mode, 1, more);
  for (const count of workers) {
    const several = await answerOf(tables, files, mode, count, more);
    // A difference in a megabyte of text is of no use: its first line is.
    expect([mode.name, count, firstDifference(several, one)]).toEqual([mode.name, count, undefined]);
  }
  return one;
}

function firstDifference(text: string, expected: string): unknown {
  if (text === expected) return undefined;
  const lines = text.split('\n');
  const wanted = expected.split('\n');
  const line = lines.findIndex((one, i) => one !== wanted[i]);
  return { line, is: lines[line], shouldBe: wanted[line], lines: [lines.length, wanted.length] };
}

describe('lessons', () => {
  const lessons = readdirSync(PCAPS).filter((name) => existsSync(new URL(`${name}/capture.pcapng`, PCAPS)));
  test.each(lessons)('%s', async (lesson) => {
    const at = (name: string): string => fileURLToPath(new URL(`${lesson}/${name}`, PCAPS));
    const manifests = readdirSync(new URL(lesson, PCAPS)).filter((name) => name.endsWith('.yaml'));
    const tables = tablesOf(manifests.map((name) => ({ name, text: readFileSync(at(name), 'utf8') })));
    for (const mode of [CONNECTIONS, PACKETS, COUNTS]) await expectSame(tables, [at('capture.pcapng')], mode, [4]);
  });
});

describe('recorded conversations of the conformance suite', () => {
  const recorded = ['basic', 'worlds'].flatMap((group) =>
    readdirSync(new URL(group, CONFORMANCE))
      .map((name) => `${group}/${name}`)
      .filter((name) => existsSync(new URL(`${name}/packets.pcap`, CONFORMANCE))),
  );
  // Each with one way of printing and one number of workers; all ways and numbers come about as often.
  const ways = [
    CONNECTIONS,
    PACKETS,
    modeOf('summary'),
    modeOf('packets stateless'),
    COUNTS,
    modeOf('connections stateless'),
  ];
  test('are many', () => expect(recorded.length).toBeGreaterThan(60));
  const shares = [0, 1, 2, 3, 4, 5];
  test.each(shares)('share %i', async (share) => {
    for (let i = share; i < recorded.length; i += 3 * shares.length) {
      const directory = new URL(`${recorded[i]!}/`, CONFORMANCE);
      const tables = tablesOf([{ name: 'cluster', text: readFileSync(new URL('cluster.yaml', directory), 'utf8') }]);
      const capture = fileURLToPath(new URL('packets.pcap', directory));
      await expectSame(tables, [capture], ways[share]!, [2 + (i % 3)], i % 4 === 0 ? SMALL : {});
    }
  });
});

describe('random traffic', () => {
  test('whatever is printed', async () => {
    const file = written('traffic-1.pcap', writePcap(randomTraffic(1, 3000)));
    for (const [i, mode] of MODES.entries()) await expectSame(world, [file], mode, [2 + (i % 2)], SMALL);
  });

  test('from a file that only a walk can read', async () => {
    const file = written('traffic-2.pcapng', writePcapng(randomTraffic(2, 3000)));
    for (const mode of [CONNECTIONS, modeOf('packets stateless'), COUNTS])
      await expectSame(world, [file], mode, [4], SMALL);
  });

  test('with room for everything', async () => {
    const file = written('traffic-3', writePcap(randomTraffic(3, 3000)));
    for (const mode of [CONNECTIONS, PACKETS]) await expectSame(world, [file], mode, [2]);
  });
});

describe('captures that are not simply a file of records', () => {
  const records = randomTraffic(9, 2500);
  const pcap = writePcap(records);

  test('several files, of which connections go on from one to the next', async () => {
    const parts = [0, 400, 900, 1700].map((from, i, all) => {
      const part = records.slice(from, all[i + 1]);
      return written(`part-${i}`, i % 2 === 0 ? writePcap(part) : writePcapng(part));
    });
    for (const mode of [CONNECTIONS, PACKETS, COUNTS, modeOf('packets stateless')]) {
      await expectSame(world, parts, mode, [3], SMALL);
    }
  });

  test('compressed, alone and among others', async () => {
    const packed = written('packed.gz', gzipSync(pcap));
    const plain = written('plain.pcap', pcap);
    for (const mode of [CONNECTIONS, COUNTS]) {
      await expectSame(world, [packed], mode, [2], SMALL);
      await expectSame(world, [plain, packed, plain], mode, [2], SMALL);
    }
  });

  test('cut off, damaged, of no records and of nothing', async () => {
    const middle = pcap.slice();
    // A length that cannot be, in a record header that is found by walking.
    const at = recordOffset(records, 1800);
    new DataView(middle.buffer).setUint32(at + 8, 0xfff_ffff, true);
    const files = [
      written('cut.pcap', pcap.subarray(0, pcap.length - 7)),
      written('cut-header.pcap', pcap.subarray(0, recordOffset(records, 2400) + 9)),
      written('damaged.pcap', middle),
      written('empty.pcap', writePcap([])),
      written('nothing', new Uint8Array(0)),
      written('noise', new Xorshift32(3).bytes(5000)),
      written('cut.gz', gzipSync(pcap).subarray(0, 40_000)),
      written('damaged.pcapng', writePcapng(records).fill(0xff, 90_000, 90_010)),
    ];
    for (const file of files) await expectSame(world, [file], COUNTS, [2]);
    for (const mode of [CONNECTIONS, COUNTS, modeOf('packets stateless')]) {
      const all = await expectSame(world, files, mode, [3]);
      expect(all).toContain('record 1801 claims 268435455 captured bytes');
      expect(all).toContain('the 2499 packets before it can be used');
    }
  });

  test('whose payload looks like records', async () => {
    const fakes = writePcap(Array.from({ length: 18 }, (_, i) => ({ bytes: new Uint8Array(50 + i), seconds: 1000 })));
    const liars = Array.from({ length: 150 }, (_, i): CaptureRecord => {
      const payload = concatBytes([new Uint8Array(i % 7), fakes.subarray(24)]);
      const ends = { src: 0x0a00_0002, dst: 0x0a00_0001 + (i % 3), srcPort: 1000 + i, dstPort: 53 };
      return { bytes: buildFrame({ ...ends, protocol: 17, payload }), seconds: 1000 };
    });
    const file = written('liars.pcap', writePcap(liars));
    // The guesses do land in payloads, over and over.
    const starts = new Set(liars.map((_, i) => recordOffset(liars, i)));
    const header = readPcapHeader(file)!;
    const guesses = Array.from({ length: 60 }, (_, i) => guessRecord(file, header, 2000 + 2500 * i));
    expect(guesses.filter((guess) => guess !== undefined && !starts.has(guess)).length).toBeGreaterThan(20);
    for (const segmentBytes of [4000, 20_000]) await expectSame(world, [file], COUNTS, [2, 3], { segmentBytes });
  });
});

/** Where record `index` starts in a classic pcap file. */
function recordOffset(records: readonly CaptureRecord[], index: number): number {
  return records.slice(0, index).reduce((sum, { bytes }) => sum + 16 + bytes.length, 24);
}

describe('an interruption', () => {
  const frame = buildFrame({
    src: 0x0a00_0002,
    dst: 0x0a00_0001,
    protocol: 6,
    dstPort: 80,
    payload: new Uint8Array(3000),
  });
  const records = Array.from({ length: 6000 }, (_, i): CaptureRecord => ({ bytes: frame, seconds: i }));

  test.each([
    ['lines', PACKETS, 'plain'],
    ['connections', CONNECTIONS, 'plain'],
    ['segments', COUNTS, 'plain'],
    ['a stream', PACKETS, 'gz'],
  ])('of %s leaves the answer for what was read', async (_name, mode, form) => {
    const bytes = writePcap(records);
    const file = written(`interrupted.${form}`, form === 'gz' ? gzipSync(bytes, { level: 1 }) : bytes);
    const controller = new AbortController();
    let lines = 0;
    const result = await replayCaptures(world, [file], {
      ...mode.options,
      workers: 2,
      bytesPerWorker: 1,
      segmentBytes: 1_000_000,
      signal: controller.signal,
      onProgress: () => controller.abort(),
      ...(mode.prints === 'packets' ? { onPacket: () => ++lines === 100 && controller.abort() } : {}),
      ...(mode.prints === 'connections' ? { onConnection: () => lines++ } : {}),
    });
    const { packets } = result.totals;
    expect(result.interrupted).toBe(true);
    expect(result.sources).toEqual([{ file, packets, link_type: 1, lost: 0, error: null }]);
    if (mode.prints === 'packets') expect([lines, packets > 0]).toEqual([packets, true]);
    const cut = written('read.pcap', writePcap(records.slice(0, packets)));
    const same = await replayCaptures(world, [cut], mode.options);
    expect({ ...result.totals, connections: 0 }).toEqual({ ...same.totals, connections: 0 });
  });

  test('before the first packet', async () => {
    const file = written('never.pcap', writePcap(records));
    for (const mode of [PACKETS, COUNTS]) {
      const more = { signal: AbortSignal.abort(), bytesPerWorker: 1 };
      const { totals, interrupted } = await replayCaptures(world, [file], { ...mode.options, ...more, workers: 2 });
      expect(interrupted).toBe(true);
      expect(totals.packets).toBeLessThan(6000);
    }
  });
});
