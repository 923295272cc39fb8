/** Segments of one capture: what counts, what is judged again, and where guesses land. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type ParallelOptions, planParallel } from '../../src/analyze/replay-parallel.ts';
import { guessRecord, PCAP_FIRST_RECORD, PcapSegmentReader, readPcapHeader } from '../../src/packets/pcap-segment.ts';
import { createRecordBatch } from '../../src/packets/source.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import { writePcap, writePcapng } from '../../src/packets/write.ts';
import { OrderedMerge } from '../../src/workers/ordered-merge.ts';
import { SegmentChain, type SegmentEnd } from '../../src/workers/segments.ts';

const folder = mkdtempSync(join(tmpdir(), 'margay-segments-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Found extends SegmentEnd {
  readonly name: string;
}

const chainOf = (sizeBytes: number): SegmentChain<Found> =>
  new SegmentChain<Found>({ file: 0, firstRecord: 24, sizeBytes, segmentBytes: 100 });
const found = (name: string, start: number, stop: number, isLast = false): Found => ({ name, start, stop, isLast });
const names = (list: readonly Found[]): string[] => list.map(({ name }) => name);

describe('the chain of segments', () => {
  test('hands out in order, and takes back in order whatever comes first', () => {
    const chain = chainOf(324);
    const tasks = [0, 1, 2].map(() => chain.take(8)!);
    expect(tasks.map(({ start, end, isExact }) => [start, end, isExact])).toEqual([
      [24, 124, true],
      [124, 224, false],
      [224, Number.POSITIVE_INFINITY, false],
    ]);
    expect(chain.take(8)).toBeUndefined();
    expect(names(chain.put(2, found('c', 230, 324)))).toEqual([]);
    expect(names(chain.put(1, found('b', 130, 230)))).toEqual([]);
    expect(names(chain.put(0, found('a', 24, 130)))).toEqual(['a', 'b', 'c']);
    expect([chain.isDone, chain.redone]).toEqual([true, 0]);
  });

  test('judges again what a wrong guess began', () => {
    const chain = chainOf(324);
    for (let i = 0; i < 3; i++) chain.take(8);
    expect(names(chain.put(1, found('wrong', 150, 230)))).toEqual([]);
    expect(names(chain.put(2, found('c', 230, 324)))).toEqual([]);
    expect(names(chain.put(0, found('a', 24, 130)))).toEqual(['a']);
    expect(chain.take(8)).toEqual({ file: 0, index: 1, start: 130, end: 224, isExact: true });
    expect(chain.take(8)).toBeUndefined();
    expect(names(chain.put(1, found('b', 130, 230)))).toEqual(['b', 'c']);
    expect([chain.isDone, chain.redone]).toEqual([true, 1]);
  });

  test('passes over a segment in which no record starts', () => {
    const chain = chainOf(424);
    for (let i = 0; i < 4; i++) chain.take(8);
    chain.put(1, found('nothing', -1, 0));
    chain.put(2, found('c', 330, 330));
    chain.put(3, found('d', 330, 424));
    // The record at 100 reaches over the second and the third segment.
    expect(names(chain.put(0, found('a', 24, 330)))).toEqual(['a', 'd']);
    expect([chain.isDone, chain.redone]).toEqual([true, 0]);
  });

  test('ends where the file does, whatever was found behind', () => {
    const chain = chainOf(324);
    for (let i = 0; i < 3; i++) chain.take(8);
    chain.put(1, found('b', 130, 180, true));
    chain.put(2, found('c', 230, 324));
    expect(names(chain.put(0, found('a', 24, 130)))).toEqual(['a', 'b']);
    expect([chain.isDone, chain.take(8)]).toEqual([true, undefined]);
    expect(names(chain.put(2, found('late', 230, 324)))).toEqual([]);
  });

  test('does not run far ahead of what is accepted', () => {
    const chain = chainOf(2024);
    for (let i = 0; i < 3; i++) expect(chain.take(3)).toBeDefined();
    expect(chain.take(3)).toBeUndefined();
    chain.put(0, found('a', 24, 130));
    expect(chain.take(3)).toMatchObject({ index: 3 });
  });
});

test('segments are cut by how much is left of the file', () => {
  const segmentBytes = (left: number): number => Math.max(100, Math.ceil(left / 2));
  const chain = new SegmentChain<Found>({ file: 0, firstRecord: 24, sizeBytes: 1024, segmentBytes });
  const tasks = Array.from({ length: 5 }, () => chain.take(8)!);
  expect(tasks.map(({ start }) => start)).toEqual([24, 524, 774, 899, 999]);
  expect(tasks.map(({ end }) => end)).toEqual([524, 774, 899, 999, Number.POSITIVE_INFINITY]);
  expect(chain.take(8)).toBeUndefined();
});

test('auto takes one thread for counts of captures that it would start others for with lines', async () => {
  const path = join(folder, 'sparse.pcap');
  writeFileSync(path, writePcap([]));
  truncateSync(path, 100 << 20);
  const workersFor = async (options: ParallelOptions): Promise<number> =>
    (await planParallel([path], { stateless: true, ...options }))?.workers ?? 1;
  expect(await workersFor({ workers: 'auto' })).toBe(1);
  expect(await workersFor({ workers: 'auto', onPacket: () => {} })).toBe(Math.min(25, availableParallelism()));
  expect(await workersFor({ workers: 2 })).toBe(2);
});

/** What a walk over the file in pieces delivers: wire lengths of all records, and where each piece stopped. */
function walk(path: string, cuts: readonly number[]): { lengths: number[]; stops: number[] } {
  const header = readPcapHeader(path)!;
  const batch = createRecordBatch();
  const lengths: number[] = [];
  const stops: number[] = [];
  let start = PCAP_FIRST_RECORD;
  for (const end of [...cuts, Number.POSITIVE_INFINITY]) {
    const reader = new PcapSegmentReader(path, header, start, end);
    do while (reader.next(batch) > 0) lengths.push(...batch.wireBytes.subarray(0, batch.count));
    while (reader.fill());
    expect(reader.error).toBeUndefined();
    start = reader.stop;
    stops.push(start);
    reader.close();
  }
  return { lengths, stops };
}

describe('pieces of a pcap file', () => {
  const random = new Xorshift32(5);
  const records = Array.from({ length: 3000 }, (_, i) => ({
    bytes: random.bytes(random.below(400)),
    wireBytes: 1000 + i,
    seconds: 1_700_000_000 + i,
    nanos: random.below(1_000_000) * 1000,
  }));

  test.each([
    ['little-endian', {}],
    ['big-endian', { isBigEndian: true }],
    ['nanoseconds', { isNanos: true }],
    ['modified', { isModified: true }],
  ])('%s: every record once, wherever the cuts lie', (name, options) => {
    const path = join(folder, `${name}.pcap`);
    const bytes = writePcap(records, options);
    writeFileSync(path, bytes);
    const cuts = Array.from({ length: 60 }, () => 24 + random.below(bytes.length)).sort((a, b) => a - b);
    const { lengths, stops } = walk(path, cuts);
    expect(lengths).toEqual(records.map((_, i) => 1000 + i));
    expect(stops.at(-1)).toBe(bytes.length);
    for (const [i, cut] of cuts.entries()) expect(stops[i]).toBeGreaterThanOrEqual(cut);
  });

  test('guesses find the next record in ordinary traffic', () => {
    const path = join(folder, 'ordinary.pcap');
    const bytes = writePcap(records.map((record) => ({ ...record, bytes: random.bytes(60 + random.below(900)) })));
    writeFileSync(path, bytes);
    const header = readPcapHeader(path)!;
    const cuts = Array.from({ length: 40 }, () => 24 + random.below(bytes.length - 100_000)).sort((a, b) => a - b);
    const { stops } = walk(path, cuts);
    expect(cuts.map((cut) => guessRecord(path, header, cut))).toEqual(stops.slice(0, -1));
  });

  test('other files have no header of that kind', () => {
    const path = join(folder, 'other');
    for (const bytes of [writePcapng(records), new Uint8Array(0), writePcap([]).subarray(0, 20), random.bytes(500)]) {
      writeFileSync(path, bytes);
      expect(readPcapHeader(path)).toBeUndefined();
    }
    expect(readPcapHeader(join(folder, 'absent'))).toBeUndefined();
    expect(readPcapHeader('-')).toBeUndefined();
  });
});

describe('merging what workers found', () => {
  test('nothing goes out while an earlier thing may come', () => {
    const out: string[] = [];
    const merge = new OrderedMerge<string>(2, (item) => out.push(item));
    merge.put(0, 3, 0, 'a3');
    merge.put(0, 9, 0, 'a9');
    merge.drain();
    expect([out, merge.waiting]).toEqual([[], 2]);
    merge.promise(1, 5);
    merge.drain();
    expect(out).toEqual(['a3']);
    merge.put(1, 7, 0, 'b7');
    merge.drain();
    expect(out).toEqual(['a3', 'b7']);
    merge.promise(1, 9);
    merge.drain();
    expect(out).toEqual(['a3', 'b7', 'a9']);
  });

  test('random streams come out as if they were sorted', () => {
    const random = new Xorshift32(11);
    for (let round = 0; round < 50; round++) {
      const out: number[] = [];
      const merge = new OrderedMerge<number>(3, (item) => out.push(item));
      const all = Array.from({ length: 5000 }, (_, i) => ({
        tag: Math.floor(i / 2),
        tie: i % 2,
        input: random.below(3),
      }));
      let next = 0;
      while (next < all.length) {
        const until = Math.min(all.length, next + random.below(400));
        const bySide = [0, 1, 2].sort(() => random.below(3) - 1);
        for (const input of bySide) {
          for (let i = next; i < until; i++) if (all[i]!.input === input) merge.put(input, all[i]!.tag, all[i]!.tie, i);
          if (until > next) merge.promise(input, all[until - 1]!.tag - 1);
          merge.drain();
        }
        next = until;
      }
      for (const input of [0, 1, 2]) merge.promise(input, Number.POSITIVE_INFINITY);
      merge.drain();
      expect(out).toEqual(all.map((_, i) => i));
      expect(merge.waiting).toBe(0);
    }
  });
});
