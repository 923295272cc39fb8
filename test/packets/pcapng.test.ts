import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BLOCK_DECRYPTION_SECRETS, SECRETS_TLS_KEY_LOG } from '../../src/packets/pcapng.ts';
import { clockOf, SPLIT_NANOS, SPLIT_SECONDS, splitTicks, splitTime } from '../../src/packets/pcapng-time.ts';
import { PCAPNG_BLOCK_BYTES_MAX, PCAPNG_INTERFACES_MAX } from '../../src/packets/source.ts';
import { concatBytes, Xorshift32 } from '../../src/packets/synthetic.ts';
import type { CaptureRecord } from '../../src/packets/write.ts';
import { pcapngBlock, writePcapng } from '../../src/packets/write.ts';
import { openBytes, readAll } from './read-all.ts';

function someRecords(count: number, interfaceCount = 1): CaptureRecord[] {
  const random = new Xorshift32(21);
  return Array.from({ length: count }, (_, index) => ({
    bytes: random.bytes(random.below(150)),
    wireBytes: 200 + index,
    seconds: 1_700_000_000 + index,
    nanos: random.below(1_000_000_000),
    interface: index % interfaceCount,
  }));
}

const byteOrders: [string, boolean][] = [
  ['little-endian', false],
  ['big-endian', true],
];

describe.each(byteOrders)('pcapng, %s', (_name, isBigEndian) => {
  test('gives back what was written, however it arrives', async () => {
    const written = someRecords(600);
    const file = writePcapng(written, { isBigEndian });
    for (const step of [1, 13, file.length]) {
      const reader = await openBytes(file, step, step === 13);
      const read = await readAll(reader);
      expect(reader.error).toBeUndefined();
      expect(read).toEqual(written.map((record) => ({ ...record, linkType: 1, interface: 0 })));
      expect(reader.format).toBe('pcapng');
    }
  });

  test('every interface has its own clock and link type', async () => {
    const interfaces = [
      { linkType: 1, resolution: 9 },
      { linkType: 113, resolution: 6, offsetSeconds: 3600 },
      { linkType: 101, resolution: 0x80 | 10 },
      { linkType: 276, resolution: 10 },
      { linkType: 228, resolution: 0, offsetSeconds: -7 },
    ];
    const written = someRecords(50, interfaces.length);
    const read = await readAll(await openBytes(writePcapng(written, { isBigEndian, interfaces })));
    expect(read.length).toBe(50);
    read.forEach((record, index) => {
      const nanos = written[index]!.nanos!;
      const kept = [nanos, nanos - (nanos % 1000), nanosInBinary(nanos, 10), nanos, 0];
      const which = index % interfaces.length;
      expect(record.interface).toBe(which);
      expect(record.linkType).toBe(interfaces[which]!.linkType);
      expect(record.seconds).toBe(written[index]!.seconds! + (interfaces[which]!.offsetSeconds ?? 0));
      expect(record.nanos).toBe(kept[which]);
    });
  });

  test('simple packets: snap length, wire length, the time of the packet before', async () => {
    const written = [
      { bytes: Uint8Array.of(1, 2, 3, 4, 5), wireBytes: 5 },
      { bytes: new Uint8Array(8), wireBytes: 99 },
    ];
    const simple = writePcapng(written, { isBigEndian, isSimple: true, interfaces: [{ snapBytes: 8 }] });
    const read = await readAll(await openBytes(simple));
    expect(read.map((record) => [record.bytes.length, record.wireBytes, record.seconds])).toEqual([
      [5, 5, 0],
      [8, 99, 0],
    ]);
  });

  test('TLS secrets are handed on, other secrets and damaged ones passed over', async () => {
    const secrets = (type: number, text: string, claimed = text.length): Uint8Array => {
      const view = new DataView(new ArrayBuffer(8 + text.length));
      view.setUint32(0, type, !isBigEndian);
      view.setUint32(4, claimed, !isBigEndian);
      new Uint8Array(view.buffer).set(new TextEncoder().encode(text), 8);
      return pcapngBlock(BLOCK_DECRYPTION_SECRETS, new Uint8Array(view.buffer), !isBigEndian);
    };
    const file = concatBytes([
      writePcapng(someRecords(3), { isBigEndian }),
      secrets(SECRETS_TLS_KEY_LOG, 'first'),
      secrets(0x57474b4c, 'of WireGuard'),
      secrets(SECRETS_TLS_KEY_LOG, 'lies', 5000),
      pcapngBlock(BLOCK_DECRYPTION_SECRETS, new Uint8Array(4), !isBigEndian),
      secrets(SECRETS_TLS_KEY_LOG, 'second'),
    ]);
    for (const step of [7, file.length]) {
      const reader = await openBytes(file, step);
      expect((await readAll(reader)).length).toBe(3);
      expect(reader.error).toBeUndefined();
      expect(reader.tlsSecrets).toEqual(['first', 'second']);
    }
  });

  test('obsolete packet blocks, unknown blocks, drops', async () => {
    const little = !isBigEndian;
    const obsolete = new DataView(new ArrayBuffer(24));
    obsolete.setUint16(2, 5, little);
    obsolete.setUint32(8, 2_000_000, little);
    obsolete.setUint32(12, 3, little);
    obsolete.setUint32(16, 70, little);
    const drops = new DataView(new ArrayBuffer(16));
    drops.setUint16(0, 4, little);
    drops.setUint16(2, 8, little);
    drops.setBigUint64(4, 6n, little);
    const enhanced = new DataView(new ArrayBuffer(20));
    enhanced.setUint32(12, 4, little);
    enhanced.setUint32(16, 4, little);
    const file = concatBytes([
      writePcapng([], { isBigEndian, interfaces: [{}] }),
      pcapngBlock(0x0bad, new Uint8Array(40), little),
      pcapngBlock(2, new Uint8Array(obsolete.buffer), little),
      pcapngBlock(
        6,
        concatBytes([new Uint8Array(enhanced.buffer), new Uint8Array(4), new Uint8Array(drops.buffer)]),
        little,
      ),
      pcapngBlock(0x80000001, new Uint8Array(4), little),
    ]);
    const reader = await openBytes(file);
    const read = await readAll(reader);
    expect(reader.error).toBeUndefined();
    expect(read.map((record) => [record.bytes.length, record.wireBytes, record.seconds])).toEqual([
      [3, 70, 2],
      [4, 4, 0],
    ]);
    expect(reader.lostPackets).toBe(11);
  });

  test('interface statistics count what was lost, in every section', async () => {
    const section = writePcapng(someRecords(4, 2), { isBigEndian, interfaces: [{ drops: 7 }, { drops: 3 }] });
    const reader = await openBytes(concatBytes([section, section]));
    const read = await readAll(reader);
    expect(read.map((record) => record.interface)).toEqual([0, 1, 0, 1, 2, 3, 2, 3]);
    expect(reader.lostPackets).toBe(20);
  });

  test('cut at every byte', async () => {
    const written = someRecords(10);
    const file = concatBytes([
      writePcapng(written, { isBigEndian }),
      writePcapng(written, { isBigEndian: !isBigEndian }),
    ]);
    const ends = blockEnds(file, isBigEndian);
    for (let length = 4; length < file.length; length++) {
      const reader = await openBytes(file.slice(0, length));
      const read = await readAll(reader);
      const before = ends.filter((block) => block.end <= length);
      expect(read.length).toBe(before.filter((block) => block.isPacket).length);
      const damagedAt = before.at(-1)?.end ?? 0;
      if (damagedAt === length) {
        expect(reader.error).toBeUndefined();
        continue;
      }
      expect(reader.error).toMatchObject({ kind: 'truncated', offset: damagedAt });
      expect(reader.error!.message).toContain(`byte ${damagedAt}`);
    }
  });

  test('every length changed: an error at that block, the packets before it delivered', async () => {
    const little = !isBigEndian;
    const written = someRecords(5);
    const file = writePcapng(written, { isBigEndian });
    let start = 0;
    let packets = 0;
    for (const block of blockEnds(file, isBigEndian)) {
      for (const place of [start + 4, block.end - 4]) {
        for (const value of [0, 4, 11, 13, block.end - start + 4, 0x7ffffffc, PCAPNG_BLOCK_BYTES_MAX + 4, 0xffffffff]) {
          const damaged = file.slice();
          new DataView(damaged.buffer).setUint32(place, value, little);
          const reader = await openBytes(damaged);
          expect((await readAll(reader)).length).toBe(packets);
          expect(reader.error?.offset).toBe(start);
        }
      }
      if (block.isPacket) packets++;
      start = block.end;
    }
  });
});

describe('bounds of pcapng', () => {
  test('a block larger than the buffer is skipped, one past the limit is an error', async () => {
    const written = someRecords(2);
    const head = writePcapng(written);
    const large = pcapngBlock(0x0bad, new Uint8Array(PCAPNG_BLOCK_BYTES_MAX - 12), true);
    const reader = await openBytes(concatBytes([head, large, head]), 1 << 20);
    expect((await readAll(reader)).length).toBe(4);
    expect(reader.error).toBeUndefined();

    const tooLarge = pcapngBlock(0x0bad, new Uint8Array(PCAPNG_BLOCK_BYTES_MAX - 8), true);
    const refused = await openBytes(concatBytes([head, tooLarge, head]), 1 << 20);
    expect((await readAll(refused)).length).toBe(2);
    expect(refused.error).toMatchObject({ kind: 'limit', offset: head.length });
  });

  test('interfaces without end', async () => {
    const interfaces = Array.from({ length: PCAPNG_INTERFACES_MAX + 1 }, () => ({}));
    const reader = await openBytes(writePcapng([], { interfaces }));
    expect(await readAll(reader)).toEqual([]);
    expect(reader.error).toMatchObject({ kind: 'limit' });
    const allowed = await openBytes(writePcapng(someRecords(1), { interfaces: interfaces.slice(1) }));
    expect((await readAll(allowed)).length).toBe(1);
  });

  test('packets of undescribed interfaces and impossible captured lengths', async () => {
    const file = writePcapng(someRecords(3));
    const ends = blockEnds(file, false);
    const third = ends.at(-2)!.end;
    for (const [field, value] of [
      [8, 1],
      [8, 0xffffffff],
      [20, 5000],
      [20, 0xffffffff],
    ] as const) {
      const damaged = file.slice();
      new DataView(damaged.buffer).setUint32(third + field, value, true);
      const reader = await openBytes(damaged);
      expect((await readAll(reader)).length).toBe(2);
      expect(reader.error).toMatchObject({ kind: 'malformed', offset: third });
    }
  });

  test('versions and byte-order magic', async () => {
    const file = writePcapng(someRecords(1));
    for (const [place, value] of [
      [12, 2],
      [8, 0x11111111],
    ] as const) {
      const damaged = file.slice();
      new DataView(damaged.buffer).setUint32(place, value, true);
      const reader = await openBytes(damaged);
      expect(await readAll(reader)).toEqual([]);
      expect(reader.error?.offset).toBe(0);
    }
  });
});

describe('timestamps', () => {
  // Against BigInt, which is slow and obviously right.
  test('of any resolution are exact', () => {
    const uint32 = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(uint32, uint32, fc.integer({ min: 0, max: 255 }), (high, low, resolution) => {
        const ticks = (BigInt(high) << 32n) | BigInt(low);
        const exponent = BigInt(resolution & 0x7f);
        const perSecond = resolution & 0x80 ? 1n << exponent : 10n ** exponent;
        const seconds = ticks / perSecond;
        fc.pre(seconds < 2n ** 53n);
        splitTicks(high, low, clockOf(resolution, 0));
        expect(splitTime[SPLIT_SECONDS]).toBe(Number(seconds));
        expect(splitTime[SPLIT_NANOS]).toBe(Number(((ticks % perSecond) * 1_000_000_000n) / perSecond));
      }),
      { numRuns: 20_000 },
    );
  });
});

function nanosInBinary(nanos: number, exponent: number): number {
  const ticks = (BigInt(nanos) << BigInt(exponent)) / 1_000_000_000n;
  return Number((ticks * 1_000_000_000n) >> BigInt(exponent));
}

/** Ends of the blocks of a sound file whose sections may differ in byte order. */
function blockEnds(file: Uint8Array, isBigEndian: boolean): { end: number; isPacket: boolean }[] {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const ends = [];
  let little = !isBigEndian;
  for (let at = 0; at < file.length; ) {
    if (view.getUint32(at) === 0x0a0d0d0a) little = view.getUint32(at + 8, true) === 0x1a2b3c4d;
    const isPacket = view.getUint32(at, little) === 6;
    at += view.getUint32(at + 4, little);
    ends.push({ end: at, isPacket });
  }
  return ends;
}
