/**
 * The fast path, in WebAssembly and as a script, says what the full path says: the same totals and the same deciding steps, on every
 * conformance capture, plain frames and all others, and `readPlain` takes from a frame what `decodePacket` takes.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ruleCounts } from '../../src/analyze/counters.ts';
import { LONG_FROM_PACKETS } from '../../src/analyze/fast-path6.ts';
import { replayCaptures } from '../../src/analyze/replay.ts';
import { parseAddress } from '../../src/base/ip.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { buildFrame, Xorshift32 } from '../../src/packets/synthetic.ts';
import { writePcap } from '../../src/packets/write.ts';
import { openTables } from '../../src/tables/tables.ts';
import { decodePacket } from '../../src/wire/decode.ts';
import { createPlainColumns, readPlain } from '../../src/wire/plain.ts';
import {
  createPlain6Columns,
  createPlain6Scan,
  PLAIN6_ADDRESS_WORDS,
  type Plain6Columns,
  readPlain6,
} from '../../src/wire/plain6.ts';
import {
  DECODE_OK,
  FLAG_FRAGMENT,
  FLAG_IPV6,
  FLAG_L4_PORTS,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_WORDS,
} from '../../src/wire/record.ts';

const ROOT = new URL('../conformance/', import.meta.url);

for (const folder of ['basic', 'worlds']) {
  describe(`${folder}: folded tables and rows agree`, () => {
    for (const world of readdirSync(new URL(folder, ROOT))) {
      const directory = new URL(`${folder}/${world}/`, ROOT);
      if (!existsSync(new URL('packets.pcap', directory))) continue;
      test(world, async () => {
        const text = readFileSync(new URL('cluster.yaml', directory), 'utf8');
        const tables = openTables(compile(loadResources([{ name: 'cluster.yaml', text }]).resources));
        const capture = fileURLToPath(new URL('packets.pcap', directory));
        const fast = await replayCaptures(tables, [capture], { stateless: true, form: 'wasm' });
        const script = await replayCaptures(tables, [capture], { stateless: true, form: 'script' });
        const search = await replayCaptures(tables, [capture], { stateless: true, form: 'search' });
        const full = await replayCaptures(tables, [capture], { stateless: true, onPacket: () => undefined });
        expect(fast.totals).toEqual(full.totals);
        expect(fast.totals.packets).toBeGreaterThan(30);
        expect(ruleCounts(tables, fast.counters)).toEqual(ruleCounts(tables, full.counters));
        for (const other of [script, search]) {
          expect([other.totals, other.counters]).toEqual([fast.totals, fast.counters]);
        }
      });
    }
  });
}

test('a form that takes over in a long capture, of IPv4 and of IPv6, goes on with the counts', async () => {
  const pod = (name: string, last: number): object => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { name } },
    spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'c' }] },
    status: { phase: 'Running', podIPs: [{ ip: `10.0.0.${last}` }, { ip: `fd00::${last}` }] },
  });
  const policy = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'b', namespace: 'default' },
    spec: { podSelector: { matchLabels: { name: 'b' } }, ingress: [{ ports: [{ port: 80 }, { port: 5432 }] }] },
  };
  const text = [pod('a', 1), pod('b', 2), policy].map((object) => JSON.stringify(object)).join('\n---\n');
  const tables = openTables(compile(loadResources([{ name: 'cluster.yaml', text }]).resources));
  const random = new Xorshift32(21);
  const packets = ['10.0.0.', 'fd00::'].flatMap((network) => {
    const [a, b] = [1, 2].map((last) => {
      const { version, words } = parseAddress(`${network}${last}`)!;
      return version === 4 ? words[0] : words;
    });
    return Array.from({ length: 500 }, () => {
      const ports = { srcPort: 4000, dstPort: [80, 443, 5432, random.below(65_536)][random.below(4)]! };
      const frame = buildFrame({ src: a!, dst: b!, protocol: [6, 17][random.below(2)]!, ...ports });
      return { bytes: frame, seconds: 1 };
    });
  });
  const once = writePcap(packets);
  const folder = mkdtempSync(join(tmpdir(), 'margay-forms-'));
  try {
    const capture = join(folder, 'long.pcap');
    // Each version alone is long.
    const times = Math.ceil((LONG_FROM_PACKETS + 20_000) / 500);
    const records = Array.from({ length: times }, () => once.subarray(24));
    writeFileSync(capture, Buffer.concat([once.subarray(0, 24), ...records]));
    const search = await replayCaptures(tables, [capture], { stateless: true, form: 'search' });
    expect(search.totals).toMatchObject({ packets: 1000 * times, undecoded: 0 });
    expect(Math.min(search.totals.allow, search.totals.deny)).toBeGreaterThan(10_000);
    const toWasm = await replayCaptures(tables, [capture], { stateless: true });
    const toDirect = await replayCaptures(tables, [capture], { stateless: true, newTables: () => undefined });
    for (const other of [toWasm, toDirect]) {
      expect([other.totals, other.counters]).toEqual([search.totals, search.counters]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('readPlain', () => {
  /** Frames of all sorts, some damaged, with what the reader would say of them. */
  function frames(seed: number): Uint8Array[] {
    const random = new Xorshift32(seed);
    return Array.from({ length: 256 }, () => {
      const frame = buildFrame({
        src: random.next() | 0,
        dst: random.next() | 0,
        protocol: [6, 17, 1, 132][random.below(4)]!,
        srcPort: random.below(65_536),
        dstPort: random.below(65_536),
        payload: random.bytes(random.below(30)),
      });
      if (random.float() < 0.3) frame[12 + random.below(frame.length - 12)] = random.below(256);
      return random.float() < 0.2 ? frame.subarray(0, random.below(frame.length + 1)) : frame;
    });
  }

  test('takes what decodePacket takes, and leaves the rest to it', () => {
    const columns = createPlainColumns(256);
    let plainCount = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const batch = frames(seed);
      const bytes = new Uint8Array(Buffer.concat(batch));
      const view = new DataView(bytes.buffer);
      const captured = Int32Array.from(batch, (frame) => frame.length);
      const offsets = Int32Array.from(batch, () => 0);
      for (let i = 1; i < 256; i++) offsets[i] = offsets[i - 1]! + captured[i - 1]!;
      const wire = Float64Array.from(batch, (frame) => frame.length);
      readPlain(columns, view, offsets, captured, wire, new Int32Array(256).fill(1), 256);
      const record = new Int32Array(PACKET_WORDS);
      for (let row = 0; row < columns.count; row++) {
        const frame = columns.frames[row]!;
        const status = decodePacket(view, offsets[frame]!, captured[frame]!, wire[frame]!, 1, record, 0);
        expect(status).toBe(DECODE_OK);
        expect(record[PACKET_FLAGS]! & (FLAG_FRAGMENT | FLAG_IPV6 | FLAG_L4_PORTS)).toBe(FLAG_L4_PORTS);
        expect([columns.src[row], columns.dst[row]]).toEqual([record[PACKET_SRC], record[PACKET_DST]]);
        const slot = record[PACKET_PROTOCOL] === 6 ? 0 : 1;
        expect(columns.keys[row]).toBe((slot << 16) | record[PACKET_DST_PORT]!);
      }
      const listed = [...columns.frames.subarray(0, columns.count), ...columns.others.subarray(0, columns.otherCount)];
      expect(listed.sort((a, b) => a - b)).toEqual(Array.from({ length: 256 }, (_, i) => i));
      plainCount += columns.count;
    }
    expect(plainCount).toBeGreaterThan(10_000);
  });

  test('readPlain6 and its scan take what decodePacket takes, and name the rest', () => {
    const random = new Xorshift32(6);
    const address = (): [number, number, number, number] => [0xfd00_0000 | 0, random.next() | 0, 0, random.next() | 0];
    const frame = (): Uint8Array => {
      const whole = buildFrame({
        src: address(),
        dst: address(),
        protocol: [6, 17, 58, 132][random.below(4)]!,
        srcPort: random.below(65_536),
        dstPort: random.below(65_536),
        payload: random.bytes(random.below(30)),
        ...(random.float() < 0.2 ? { extensionHeaders: [{ protocol: 0, bytes: 8 }] } : {}),
      });
      if (random.float() < 0.3) whole[12 + random.below(whole.length - 12)] = random.below(256);
      return random.float() < 0.2 ? whole.slice(0, random.below(whole.length + 1)) : whole;
    };
    const record = new Int32Array(PACKET_WORDS);
    const scanned = createPlain6Columns(256);
    const scan = createPlain6Scan(scanned);
    const read = createPlain6Columns(256);
    const all = Int32Array.from({ length: 256 }, (_, i) => i);
    let plain = 0;
    for (let round = 0; round < 80; round++) {
      const batch = Array.from({ length: 256 }, frame);
      const wire = Float64Array.from(batch, ({ length }) => length + (random.float() < 0.1 ? random.below(100) : 0));
      const records = batch.map((bytes, i) => Buffer.concat([recordHeader(bytes.length, wire[i]!), bytes]));
      const view = new DataView(new Uint8Array(Buffer.concat(records)).buffer);
      const positions = new Int32Array(256);
      for (let i = 1; i < 256; i++) positions[i] = positions[i - 1]! + records[i - 1]!.length;
      const captured = Int32Array.from(batch, ({ length }) => length);
      const offsets = positions.map((position) => position + 16);
      scan(view, positions, 256);
      readPlain6(read, view, offsets, captured, wire, new Int32Array(256).fill(1), all, 256);
      expect(rowsOf(scanned)).toEqual(rowsOf(read));
      expect([...rowsOf(read).places, ...rowsOf(read).rest].sort((a, b) => a - b)).toEqual([...all]);
      for (let row = 0; row < read.count; row++, plain++) {
        const place = read.places[row]!;
        expect(decodePacket(view, offsets[place]!, captured[place]!, wire[place]!, 1, record, 0)).toBe(DECODE_OK);
        expect(record[PACKET_FLAGS]! & (FLAG_FRAGMENT | FLAG_IPV6 | FLAG_L4_PORTS)).toBe(FLAG_IPV6 | FLAG_L4_PORTS);
        const at = PLAIN6_ADDRESS_WORDS * row;
        expect(read.addresses.subarray(at, at + 4)).toEqual(record.subarray(PACKET_SRC, PACKET_SRC + 4));
        expect(read.addresses.subarray(at + 4, at + 8)).toEqual(record.subarray(PACKET_DST, PACKET_DST + 4));
        const slot = record[PACKET_PROTOCOL] === 6 ? 0 : 1;
        expect(read.keys[row]).toBe((slot << 16) | record[PACKET_DST_PORT]!);
        expect(read.bytes[row]).toBe(wire[place]);
      }
    }
    expect(plain).toBeGreaterThan(4000);
    readPlain6(read, new DataView(new ArrayBuffer(100)), all, all, new Float64Array(256), new Int32Array(256), all, 1);
    expect([read.count, read.restCount]).toEqual([0, 1]);
  });
});

/** Of a classic pcap record, little-endian. */
function recordHeader(captured: number, wire: number): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(captured, 8);
  header.writeInt32LE(wire, 12);
  return header;
}

function rowsOf(
  columns: Plain6Columns,
): Record<string, Int32Array | number> & { places: Int32Array; rest: Int32Array } {
  const { count, byteCount, restCount, addresses, keys, bytes, places, rest } = columns;
  return {
    count,
    byteCount,
    addresses: addresses.slice(0, PLAIN6_ADDRESS_WORDS * count),
    keys: keys.slice(0, count),
    bytes: bytes.slice(0, count),
    places: places.slice(0, count),
    rest: rest.slice(0, restCount),
  };
}
