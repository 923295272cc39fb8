import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { constants, deflateRawSync, gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { StreamSource } from '../../src/packets/byte-source.ts';
import { createDecompressor } from '../../src/packets/gzip.ts';
import { openCapture, openSource } from '../../src/packets/pcap-file.ts';
import { createRecordBatch } from '../../src/packets/source.ts';
import { concatBytes, Xorshift32 } from '../../src/packets/synthetic.ts';
import type { CaptureRecord } from '../../src/packets/write.ts';
import { writePcap, writePcapng } from '../../src/packets/write.ts';
import { MemorySource, openBytes, readAll } from './read-all.ts';

const folder = mkdtempSync(join(tmpdir(), 'margay-gzip-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Half noise, half zeros, so that the compressed form has literals and copies. */
function someRecords(count: number): CaptureRecord[] {
  const random = new Xorshift32(31);
  return Array.from({ length: count }, () => ({
    bytes: concatBytes([random.bytes(20 + random.below(40)), new Uint8Array(40)]),
  }));
}

describe('compressed captures', () => {
  test('pcap and pcapng from disk and from a stream', async () => {
    const written = someRecords(3000);
    for (const plain of [writePcap(written), writePcapng(written)]) {
      const path = join(folder, 'capture.gz');
      const packed = gzipSync(plain);
      writeFileSync(path, packed);
      const reader = await openCapture(path);
      const read = await readAll(reader);
      expect(reader.error).toBeUndefined();
      expect(read.map((record) => Buffer.from(record.bytes))).toEqual(written.map((one) => Buffer.from(one.bytes)));
      expect([reader.bytesRead, reader.sizeBytes]).toEqual([packed.length, packed.length]);
      reader.close();

      const stream = new StreamSource('stream', Readable.from(chunksOf(packed, 1000)));
      const streamed = await openSource('stream', stream, undefined);
      expect((await readAll(streamed)).length).toBe(3000);
      expect(streamed.error).toBeUndefined();
      expect(streamed.sizeBytes).toBeUndefined();
    }
  });

  test('several members, and zeros behind the last', async () => {
    const file = writePcap(someRecords(40));
    const packed = concatBytes([gzipSync(file.subarray(0, 1001)), gzipSync(file.subarray(1001)), new Uint8Array(512)]);
    const reader = await openBytes(packed);
    expect((await readAll(reader)).length).toBe(40);
    expect(reader.error).toBeUndefined();
  });

  // Whatever the cut, what can be decompressed is decompressed; it grows with every byte and ends with everything.
  test('cut at every byte', async () => {
    const written = someRecords(25);
    const plain = writePcap(written);
    const packed = gzipSync(plain, { level: 9 });
    const ends = [24];
    for (const record of written) ends.push(ends.at(-1)! + 16 + record.bytes.length);
    let most = 0;
    for (let length = 2; length < packed.length; length++) {
      const reader = await openBytes(packed.slice(0, length));
      const read = await readAll(reader);
      expect(read.length).toBeGreaterThanOrEqual(most);
      most = read.length;
      expect(reader.error).toMatchObject({ kind: 'truncated' });
      // All whole records of the bytes that came out were delivered.
      const cameOut = reader.error!.offset;
      expect(read.length).toBe(Math.max(0, ends.filter((end) => end <= cameOut).length - 1));
      expect(reader.error!.message).toMatch(
        new RegExp(`byte ${cameOut} of the decompressed capture .byte ${length} of`),
      );
    }
    expect(most).toBe(25);
  });

  test('damage in the middle: what lies before it is delivered', async () => {
    const written = someRecords(2000);
    const plain = writePcap(written);
    // Stored blocks keep bytes where they are, so the damage (a bad block type) has an exact place.
    const good = deflateRawSync(plain.subarray(0, 100_000), { finishFlush: constants.Z_SYNC_FLUSH });
    const header = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3);
    const packed = concatBytes([header, good, new Uint8Array(200_000).fill(0xff)]);
    const whole = recordsWithin(written, 100_000);

    const path = join(folder, 'damaged.gz');
    writeFileSync(path, packed);
    const reader = await openCapture(path);
    expect((await readAll(reader)).length).toBe(whole);
    expect(reader.error).toMatchObject({ kind: 'malformed', offset: 100_000 });
    expect(reader.error!.message).toContain(`(byte ${header.length + good.length} of the file)`);

    const stream = new StreamSource('stream', Readable.from(chunksOf(packed, 5000)));
    const streamed = await openSource('stream', stream, undefined);
    const read = await readAll(streamed);
    expect(read.length).toBeLessThanOrEqual(whole);
    expect(streamed.error!.message).toContain('cannot be read twice');
  });

  test('a wrong checksum: all packets, then the error', async () => {
    const packed = gzipSync(writePcap(someRecords(300)));
    packed[packed.length - 6]! ^= 1;
    const reader = await openBytes(packed);
    expect((await readAll(reader)).length).toBe(300);
    expect(reader.error).toMatchObject({ kind: 'malformed' });
  });

  test('bit flips anywhere end in records and perhaps an error, never in a hang', async () => {
    const packed = gzipSync(writePcap(someRecords(25)));
    const random = new Xorshift32(77);
    for (let round = 0; round < 300; round++) {
      const damaged = Uint8Array.from(packed);
      damaged[2 + random.below(damaged.length - 2)]! ^= 1 << random.below(8);
      const reader = await openBytes(damaged);
      expect((await readAll(reader)).length).toBeLessThanOrEqual(10_000);
    }
  });

  test('a bomb stops at the limits, in bounded memory', async () => {
    // 64 MiB of empty records in 64 KiB.
    const plain = concatBytes([writePcap([]), new Uint8Array(64 * 1024 * 1024)]);
    const packed = gzipSync(plain);
    const limits = { decompressedBytesMax: 8 * 1024 * 1024 };
    const reader = await openSource('bomb', new MemorySource(packed), undefined, limits);
    const batch = createRecordBatch();
    const before = process.memoryUsage().arrayBuffers;
    let peak = 0;
    do {
      while (reader.next(batch) > 0);
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
    } while (await reader.fill());
    expect(reader.error).toMatchObject({ kind: 'limit' });
    expect(reader.packetsRead).toBeGreaterThan(500_000);
    expect(peak).toBeLessThan(48 * 1024 * 1024);
  });

  test('gzip in gzip is not opened', async () => {
    const reader = await openBytes(gzipSync(gzipSync(writePcap([]))));
    expect(reader.error).toMatchObject({ kind: 'not-a-capture' });
  });

  test('zstd: read where Node.js can, else said plainly', async () => {
    const reader = await openBytes(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 4, 0, 0, 0));
    expect(await readAll(reader)).toEqual([]);
    if (createDecompressor('zstd') === undefined) {
      expect(reader.error).toMatchObject({ kind: 'unsupported' });
      expect(reader.error!.message).toContain('zstd -d');
    } else {
      expect(reader.error).toBeDefined();
    }
  });
});

function chunksOf(bytes: Uint8Array, size: number): Uint8Array[] {
  const chunks = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size));
  return chunks;
}

function recordsWithin(records: readonly CaptureRecord[], bytes: number): number {
  let end = 24;
  let count = 0;
  for (const record of records) {
    end += 16 + record.bytes.length;
    if (end > bytes) break;
    count++;
  }
  return count;
}
