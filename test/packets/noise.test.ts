/** Hostile files: the readers end, in bounded memory, with whole records inside their buffer and at most one error. */
import { describe, expect, test } from 'vitest';
import type { ByteSource } from '../../src/packets/byte-source.ts';
import { openSource } from '../../src/packets/pcap-file.ts';
import { CaptureError, createRecordBatch, RECORD_BYTES_MAX } from '../../src/packets/source.ts';
import { buildFrame, concatBytes, Xorshift32 } from '../../src/packets/synthetic.ts';
import { writePcap, writePcapng } from '../../src/packets/write.ts';
import { MemorySource, openBytes, readAll } from './read-all.ts';

const random = new Xorshift32(61);
const records = Array.from({ length: 6 }, (_, index) => ({
  bytes: buildFrame({ src: 1, dst: 2, protocol: 6, payload: random.bytes(random.below(50)) }),
  seconds: 1000 + index,
  interface: index % 2,
}));
const interfaces = [
  { resolution: 9, drops: 3 },
  { linkType: 113, offsetSeconds: 5 },
];
const seeds: Uint8Array[] = [
  writePcap(records),
  writePcap(records, { isBigEndian: true, isNanos: true }),
  writePcap(records, { isModified: true }),
  writePcapng(records, { interfaces }),
  concatBytes([
    writePcapng(records, { interfaces, isBigEndian: true }),
    writePcapng(records, { interfaces, isSimple: true }),
  ]),
];

/** Reads all there is, checks every row, and counts the calls so that a lack of progress is seen. */
async function drain(bytes: Uint8Array, step: number): Promise<number> {
  const reader = await openBytes(bytes, step);
  const batch = createRecordBatch();
  let calls = 0;
  let packets = 0;
  do {
    while (reader.next(batch) > 0) {
      for (let row = 0; row < batch.count; row++) {
        const offset = batch.offsets[row]!;
        const captured = batch.capturedBytes[row]!;
        const isInside = offset >= 0 && captured >= 0 && offset + captured <= batch.bytes.length;
        if (!isInside || captured > RECORD_BYTES_MAX) throw new Error(`row ${row} is outside the buffer`);
        const nanos = batch.nanos[row]!;
        if (nanos < 0 || nanos > 999_999_999) throw new Error(`${nanos} nanoseconds`);
      }
      packets += batch.count;
    }
    if (++calls > bytes.length + 10) throw new Error('fill goes on without end');
  } while (await reader.fill());
  if (packets !== reader.packetsRead) throw new Error('packets were counted differently');
  if (packets > bytes.length / 12) throw new Error('more packets than the bytes can hold');
  if (reader.error !== undefined && !(reader.error.offset <= bytes.length)) throw new Error('an error past the end');
  return packets;
}

describe('hostile capture files', () => {
  test('sound files with bytes changed, lengths flipped, parts spliced', async () => {
    let readSome = 0;
    for (let round = 0; round < 12_000; round++) {
      let file: Uint8Array = seeds[random.below(seeds.length)]!.slice();
      for (let change = 1 + random.below(3); change > 0; change--) {
        const place = random.below(file.length);
        if (random.below(8) === 0) {
          const from = random.below(file.length);
          file = concatBytes([file.subarray(0, place), file.subarray(from)]);
        } else if (file.length > 0) {
          file[place] = [0, 1, 4, 0x7f, 0x80, 0xff, random.below(256)][random.below(7)]!;
        }
        if (file.length === 0) break;
      }
      if ((await drain(file, 1 + random.below(300))) > 0) readSome++;
    }
    expect(readSome).toBeGreaterThan(4000);
  });

  test('noise behind a sound start', async () => {
    for (let round = 0; round < 2000; round++) {
      const seed = seeds[random.below(seeds.length)]!;
      await drain(concatBytes([seed.subarray(0, 24 + random.below(40)), random.bytes(200)]), 64);
    }
  });

  test('a caller who never takes records loses none', async () => {
    const reader = await openBytes(writePcap(Array.from({ length: 3000 }, () => ({ bytes: new Uint8Array(1000) }))));
    for (let call = 0; call < 20; call++) expect(reader.fill()).toBe(true);
    expect((await readAll(reader)).length).toBe(3000);
    expect(reader.error).toBeUndefined();
  });

  test('a failing disk: the packets read so far, then the error', async () => {
    for (const isAsync of [false, true]) {
      const good = writePcap(records);
      const reader = await openSource('disk', new FailingSource(good, 100, isAsync), undefined);
      expect((await readAll(reader)).length).toBeGreaterThan(3);
      expect(reader.error).toMatchObject({ kind: 'io', message: 'disk: byte 500: EIO: i/o error, read' });
      expect(reader.fill()).toBe(false);
    }
  });
});

/** Fails as `readSync` or a stream does, after 500 bytes. */
class FailingSource extends MemorySource implements ByteSource {
  private readonly failsAsync: boolean;

  constructor(bytes: Uint8Array, step: number, isAsync: boolean) {
    super(bytes, step, isAsync);
    this.failsAsync = isAsync;
  }

  override read(target: Uint8Array, at: number, length: number): number | Promise<number> {
    if (this.bytesRead < 500) return super.read(target, at, length);
    const error = new CaptureError('io', 500, 'disk: byte 500: EIO: i/o error, read');
    if (this.failsAsync) return Promise.reject(error);
    throw error;
  }
}
