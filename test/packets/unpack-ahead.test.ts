/** Large compressed captures are decompressed by a thread: the same packets and the same errors as in place. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { useThreadEntries } from '../../src/base/thread-entry.ts';
import { openByteSource } from '../../src/packets/byte-source.ts';
import type { DecompressionLimits } from '../../src/packets/gzip.ts';
import { openCapture, openSource } from '../../src/packets/pcap-file.ts';
import { type CaptureReader, createRecordBatch } from '../../src/packets/source.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import { writePcap, writePcapng } from '../../src/packets/write.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';

const folder = mkdtempSync(join(tmpdir(), 'margay-ahead-'));
const removeEntries = bundleThreadEntries();
afterAll(() => {
  removeEntries();
  rmSync(folder, { recursive: true });
});

const random = new Xorshift32(7);
const records = Array.from({ length: 12_000 }, () => ({ bytes: random.bytes(200 + random.below(100)) }));
const packed = gzipSync(writePcap(records), { level: 1 });

interface Read {
  readonly packets: number;
  readonly sum: number;
  readonly error: unknown;
  readonly bytesRead: number;
}

/** Everything that a reader says, with a sum over all bytes. */
async function readAll(reader: CaptureReader): Promise<Read> {
  const batch = createRecordBatch();
  let sum = 0;
  for (;;) {
    while (reader.next(batch) > 0) {
      for (let row = 0; row < batch.count; row++) {
        const offset = batch.offsets[row]!;
        for (let i = 0; i < batch.capturedBytes[row]!; i++) sum = (sum * 31 + batch.bytes[offset + i]!) | 0;
      }
    }
    if (!(await reader.fill())) break;
  }
  const { kind, offset, message } = reader.error ?? {};
  const { packetsRead, bytesRead } = reader;
  reader.close();
  return { packets: packetsRead, sum, error: { kind, offset, message }, bytesRead };
}

async function bothWays(name: string, bytes: Uint8Array, limits: DecompressionLimits = {}): Promise<[Read, Read]> {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  const inPlace = await openSource(path, openByteSource(path), () => openByteSource(path), limits);
  return [await readAll(await openCapture(path, limits)), await readAll(inPlace)];
}

describe('a capture that is large enough for a thread', () => {
  test('is whole', async () => {
    expect(packed.length).toBeGreaterThan(2 ** 20);
    const [ahead, inPlace] = await bothWays('whole.gz', packed);
    expect(ahead).toEqual(inPlace);
    expect(ahead).toMatchObject({ packets: 12_000, error: {}, bytesRead: packed.length });
    const [pcapng, other] = await bothWays('ng.gz', gzipSync(writePcapng(records), { level: 1 }));
    expect(pcapng).toEqual(other);
    expect(pcapng.packets).toBe(12_000);
  });

  test('is cut off', async () => {
    const [ahead, inPlace] = await bothWays('cut.gz', packed.subarray(0, 1_500_000));
    expect(ahead).toEqual(inPlace);
    expect(ahead.error).toMatchObject({ kind: 'truncated' });
    expect(ahead.packets).toBeGreaterThan(1000);
  });

  test('is damaged in the middle, and in its checksum', async () => {
    const middle = packed.slice();
    middle.fill(0xff, 1_400_000, 1_400_040);
    const last = packed.slice();
    last[last.length - 6]! ^= 1;
    for (const bytes of [middle, last]) {
      const [ahead, inPlace] = await bothWays('damaged.gz', bytes);
      // How far it has read when the reader meets damage is the thread's own affair.
      expect({ ...ahead, bytesRead: 0 }).toEqual({ ...inPlace, bytesRead: 0 });
      expect(ahead.error).toMatchObject({ kind: 'malformed' });
    }
  });

  test('is a bomb', async () => {
    const [ahead, inPlace] = await bothWays('bomb.gz', packed, { decompressedBytesMax: 1_000_000 });
    expect(ahead.error).toEqual(inPlace.error);
    expect(ahead.error).toMatchObject({ kind: 'limit' });
  });

  test('may be left in the middle', async () => {
    const path = join(folder, 'left.gz');
    writeFileSync(path, packed);
    const reader = await openCapture(path);
    await reader.fill();
    expect(reader.next(createRecordBatch())).toBeGreaterThan(0);
    reader.close();
    reader.close();
  });
});

describe('a thread that dies', () => {
  beforeEach(() => {
    writeFileSync(join(folder, 'unpack-worker.mjs'), 'process.exit(7);');
    useThreadEntries(`${pathToFileURL(folder).href}/`);
  });
  afterEach(() => removeEntries());

  test('is no end of the capture', async () => {
    const path = join(folder, 'whole.gz');
    writeFileSync(path, packed);
    await expect(openCapture(path)).rejects.toThrow(
      /the thread that decompresses failed: it ended by itself with code 7/,
    );
  });
});
