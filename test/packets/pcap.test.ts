import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openCapture } from '../../src/packets/pcap-file.ts';
import { CaptureError, createRecordBatch, READ_CHUNK_BYTES, RECORD_BYTES_MAX } from '../../src/packets/source.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import type { CaptureRecord, PcapOptions } from '../../src/packets/write.ts';
import { writePcap } from '../../src/packets/write.ts';
import { openBytes, readAll } from './read-all.ts';

const folder = mkdtempSync(join(tmpdir(), 'margay-pcap-'));
afterAll(() => rmSync(folder, { recursive: true }));

function someRecords(count: number, bytesMax = 200): CaptureRecord[] {
  const random = new Xorshift32(11);
  return Array.from({ length: count }, (_, index) => ({
    bytes: random.bytes(random.below(bytesMax)),
    wireBytes: 300 + index,
    seconds: 1_700_000_000 + index,
    nanos: random.below(1_000_000) * 1000,
  }));
}

function expectSame(read: Awaited<ReturnType<typeof readAll>>, written: readonly CaptureRecord[]): void {
  expect(read.length).toBe(written.length);
  read.forEach((record, index) => {
    const original = written[index]!;
    expect(Buffer.compare(record.bytes, original.bytes)).toBe(0);
    expect([record.wireBytes, record.seconds, record.nanos]).toEqual([
      original.wireBytes,
      original.seconds,
      original.nanos,
    ]);
  });
}

const forms: [string, PcapOptions][] = [
  ['little-endian microseconds', {}],
  ['big-endian microseconds', { isBigEndian: true }],
  ['little-endian nanoseconds', { isNanos: true }],
  ['big-endian nanoseconds', { isBigEndian: true, isNanos: true }],
  ['modified', { isModified: true }],
  ['modified, big-endian', { isModified: true, isBigEndian: true }],
];

describe.each(forms)('pcap, %s', (_name, options) => {
  const written = someRecords(700);
  const file = writePcap(written, { ...options, linkType: 113 });

  test('gives back what was written', async () => {
    const reader = await openBytes(file);
    const read = await readAll(reader);
    expectSame(read, written);
    expect(read.every((record) => record.linkType === 113 && record.interface === 0)).toBe(true);
    expect(reader.error).toBeUndefined();
    expect([reader.format, reader.linkType, reader.packetsRead]).toEqual(['pcap', 113, 700]);
  });

  test('does not depend on how the bytes arrive', async () => {
    for (const step of [1, 7, 4096]) {
      expectSame(await readAll(await openBytes(file, step)), written);
      expectSame(await readAll(await openBytes(file, step, true)), written);
    }
  });

  // The promise of the issue: packets before the cut are delivered, the error names the byte.
  test('cut at every byte', async () => {
    const records = written.slice(0, 12);
    const good = writePcap(records, options);
    const headerBytes = options.isModified === true ? 24 : 16;
    const ends = [24];
    for (const record of records) ends.push(ends.at(-1)! + headerBytes + record.bytes.length);
    expect(ends.at(-1)).toBe(good.length);
    for (let length = 0; length < good.length; length++) {
      const reader = await openBytes(good.slice(0, length));
      const read = await readAll(reader);
      const whole = ends.filter((end) => end <= length).length - 1;
      expect(read.length).toBe(Math.max(0, whole));
      if (ends.includes(length)) {
        expect(reader.error).toBeUndefined();
        continue;
      }
      const damagedAt = length < 4 ? length : length < 24 ? 0 : ends[whole]!;
      expect(reader.error).toBeInstanceOf(CaptureError);
      expect([reader.error!.kind, reader.error!.offset]).toEqual(['truncated', damagedAt]);
      expect(reader.error!.message).toContain(`byte ${damagedAt}`);
    }
  });
});

describe('pcap files on disk', () => {
  test('larger than the buffer, read without promises', async () => {
    const written = someRecords(4000, 1500);
    const path = join(folder, 'large.pcap');
    const bytes = writePcap(written);
    expect(bytes.length).toBeGreaterThan(3 * READ_CHUNK_BYTES);
    writeFileSync(path, bytes);
    const reader = await openCapture(path);
    const batch = createRecordBatch();
    let count = 0;
    for (;;) {
      while (reader.next(batch) > 0) {
        for (let row = 0; row < batch.count; row++) {
          const original = written[count++]!;
          const at = batch.offsets[row]!;
          const read = batch.bytes.subarray(at, at + batch.capturedBytes[row]!);
          if (Buffer.compare(read, original.bytes) !== 0) throw new Error(`record ${count} differs`);
        }
      }
      const more = reader.fill();
      expect(typeof more).toBe('boolean');
      if (!more) break;
    }
    expect([count, reader.bytesRead, reader.sizeBytes]).toEqual([4000, bytes.length, bytes.length]);
    expect(reader.error).toBeUndefined();
    reader.close();
    reader.close();
    expect(reader.fill()).toBe(false);
  });

  test('a missing file and a folder are errors of opening', async () => {
    await expect(openCapture(join(folder, 'none.pcap'))).rejects.toMatchObject({ kind: 'open' });
    await expect(openCapture(folder)).rejects.toThrow(/directory/);
  });
});

describe('what is wrong in a pcap file', () => {
  test('a claimed length above the bound ends reading at that record', async () => {
    const good = writePcap(someRecords(3));
    for (const claimed of [RECORD_BYTES_MAX + 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
      for (const isBigEndian of [false, true]) {
        const file = writePcap([...someRecords(3), { bytes: new Uint8Array(40) }, ...someRecords(3)], { isBigEndian });
        new DataView(file.buffer).setUint32(good.length + 8, claimed, !isBigEndian);
        const reader = await openBytes(file);
        expect((await readAll(reader)).length).toBe(3);
        expect(reader.error).toMatchObject({ kind: 'malformed', offset: good.length });
        expect(reader.error!.message).toContain(`${claimed}`);
        expect(reader.fill()).toBe(false);
        expect(reader.next(createRecordBatch())).toBe(0);
      }
    }
  });

  test('the largest record is read, also over the snap length', async () => {
    const written = [{ bytes: new Xorshift32(3).bytes(RECORD_BYTES_MAX), wireBytes: 300_000, seconds: 1, nanos: 0 }];
    const reader = await openBytes(writePcap([...written, ...written, ...written], { snapBytes: 96 }), 1000);
    expectSame(await readAll(reader), [...written, ...written, ...written]);
    expect(reader.error).toBeUndefined();
  });

  test('fractions of a second or more: a carry, or damage that counts as none', async () => {
    const micros = [
      [999_999, 10, 999_999_000],
      [1_000_000, 11, 0],
      [1_999_999, 11, 999_999_000],
      [2_000_000, 10, 0],
      [0xffffffff, 10, 0],
    ] as const;
    const nanos = [
      [999_999_999, 10, 999_999_999],
      [1_000_000_001, 11, 1],
      [3_000_000_007, 10, 0],
    ] as const;
    const forms: [PcapOptions, readonly (readonly [number, number, number])[]][] = [
      [{}, micros],
      [{ isBigEndian: true }, micros],
      [{ isNanos: true }, nanos],
      [{ isNanos: true, isBigEndian: true }, nanos],
    ];
    for (const [options, rows] of forms) {
      for (const [ticks, seconds, fraction] of rows) {
        const file = writePcap([{ bytes: new Uint8Array(4), seconds: 10 }], options);
        new DataView(file.buffer).setUint32(28, ticks, options.isBigEndian !== true);
        const [record] = await readAll(await openBytes(file));
        expect([record!.seconds, record!.nanos]).toEqual([seconds, fraction]);
      }
    }
  });

  test('times after 2038 and to 2106', async () => {
    const written = [{ bytes: new Uint8Array(1), wireBytes: 1, seconds: 0xffffffff, nanos: 999_999_000 }];
    expectSame(await readAll(await openBytes(writePcap(written))), written);
  });

  test('other versions: lengths swapped before 2.3, refused above 2', async () => {
    const file = writePcap([{ bytes: Uint8Array.of(1, 2, 3), wireBytes: 60 }]);
    const view = new DataView(file.buffer);
    view.setUint16(6, 2, true);
    view.setUint32(32, 60, true);
    view.setUint32(36, 3, true);
    const [record] = await readAll(await openBytes(file));
    expect([record!.bytes.length, record!.wireBytes]).toEqual([3, 60]);
    view.setUint16(4, 3, true);
    const reader = await openBytes(file);
    expect(await readAll(reader)).toEqual([]);
    expect(reader.error).toMatchObject({ kind: 'unsupported' });
  });

  test('the frame check sequence bits beside the link type are ignored', async () => {
    const file = writePcap([{ bytes: new Uint8Array(1) }]);
    new DataView(file.buffer).setUint32(20, 0xf400_0001, true);
    expect((await openBytes(file)).linkType).toBe(1);
  });

  test('other files are named by their first bytes', async () => {
    const reader = await openBytes(Buffer.from('%PDF-1.7 and so on'));
    expect(await readAll(reader)).toEqual([]);
    expect(reader.error).toMatchObject({ kind: 'not-a-capture', offset: 0 });
    expect(reader.error!.message).toBe(
      'memory: not a capture file: it starts with 25 50 44 46 2d 31 2e 37; ' +
        'give a pcap or pcapng file, plain or gzip (other formats: convert with editcap -F pcapng)',
    );
  });
});
