/** The parts of a capture child one by one: clock, copies, drops of the kernel, ledger, links, raw packets of findings. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex, PassThrough } from 'node:stream';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Duplicates } from '../../src/agent/duplicates.ts';
import { FindingsRing, flowEnds } from '../../src/agent/findings-ring.ts';
import { InterfaceCounters } from '../../src/agent/interface-counters.ts';
import { LEDGER_NUMBERS, LedgerReader, LedgerWriter } from '../../src/agent/ledger.ts';
import { FrameReader, Link } from '../../src/agent/link.ts';
import { LiveClock } from '../../src/agent/live-clock.ts';
import { splitFilter } from '../../src/agent/split-filter.ts';
import { createRecordBatch } from '../../src/packets/source.ts';
import { buildFragments, buildFrame, type FrameSpec, wrapEthernet, Xorshift32 } from '../../src/packets/synthetic.ts';
import { decodePacket } from '../../src/wire/decode.ts';
import { PACKET_WORDS } from '../../src/wire/record.ts';
import { openBytes } from '../packets/read-all.ts';
import { word } from './engine-support.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

describe('the clock of live packets', () => {
  test('goes on by itself when the wall is set, and says by how much', () => {
    const clock = new LiveClock();
    const before = clock.now();
    const day = 86_400;
    for (const jump of [day, -day, 3 * day, 0]) {
      const wall = vi.spyOn(Date, 'now').mockReturnValue((before + jump) * 1000);
      expect(clock.wallOffsetSeconds()).toBe(jump);
      expect(clock.now()).toBeGreaterThanOrEqual(before);
      expect(clock.now() - before).toBeLessThan(60);
      wall.mockRestore();
    }
  });

  test("takes a jump out of packets' own times", () => {
    const clock = new LiveClock();
    const now = clock.now();
    expect(clock.correctionOf(now)).toBe(0);
    expect(clock.correctionOf(now + 86_400)).toBe(-86_400);
    expect(clock.correctionOf(now + 86_401)).toBe(-86_400);
    expect(Math.abs(clock.correctionOf(now))).toBeLessThan(2);
  });
});

describe('copies of a packet', () => {
  const records = new Int32Array(PACKET_WORDS);
  const isCopy = (duplicates: Duplicates, frame: Uint8Array, timeMs: number): boolean => {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    decodePacket(view, 0, frame.length, frame.length, 1, records, 0);
    return duplicates.isCopy(records, 0, view, timeMs);
  };
  const tcp: FrameSpec = {
    src: word('10.0.0.1'),
    dst: word('10.0.0.2'),
    protocol: 6,
    srcPort: 1,
    dstPort: 2,
    tcpSeq: 9,
    ipId: 7,
  };

  test('are known by their names, whatever routers changed', () => {
    const duplicates = new Duplicates();
    expect(isCopy(duplicates, buildFrame(tcp), 0)).toBe(false);
    expect(isCopy(duplicates, buildFrame({ ...tcp, ttl: 63 }), 1)).toBe(true);
    expect(isCopy(duplicates, buildFrame({ ...tcp, ttl: 62, vlanIds: [5] }), 49)).toBe(true);
  });

  test.each([
    ['another IP id', { ipId: 8 }],
    ['another sequence number', { tcpSeq: 10 }],
    ['another port', { srcPort: 3 }],
    ['other data', { payload: Uint8Array.of(1) }],
    ['another acknowledgement', { tcpAck: 1 }],
    ['the other direction', { src: word('10.0.0.2'), dst: word('10.0.0.1') }],
  ])('are not: %s', (_, change) => {
    const duplicates = new Duplicates();
    expect(isCopy(duplicates, buildFrame(tcp), 0)).toBe(false);
    expect(isCopy(duplicates, buildFrame({ ...tcp, ...change }), 1)).toBe(false);
  });

  test('come within 50 ms, also where time goes back a little', () => {
    const duplicates = new Duplicates();
    expect(isCopy(duplicates, buildFrame(tcp), 1000)).toBe(false);
    expect(isCopy(duplicates, buildFrame(tcp), 990)).toBe(true);
    expect(isCopy(duplicates, buildFrame(tcp), 1051)).toBe(false);
  });

  test('of fragments are those of the same place', () => {
    const duplicates = new Duplicates();
    const spec = { ...tcp, protocol: 17, payload: new Uint8Array(4000) };
    const fragments = buildFragments(spec, 1400).map(wrapEthernet);
    expect(fragments.map((fragment) => isCopy(duplicates, fragment, 0))).toEqual([false, false, false]);
    expect(fragments.map((fragment) => isCopy(duplicates, fragment, 1))).toEqual([true, true, true]);
  });

  test('are found among a hundred thousand, and never where there are none', () => {
    const duplicates = new Duplicates();
    const random = new Xorshift32(3);
    let copies = 0;
    let wrong = 0;
    for (let i = 0; i < 100_000; i++) {
      const frame = buildFrame({ ...tcp, srcPort: random.below(65_536), ipId: i & 0xffff, tcpSeq: i });
      // 100 000 a second: 5 000 names are young enough at any time.
      const timeMs = i / 100;
      if (isCopy(duplicates, frame, timeMs)) wrong++;
      if (isCopy(duplicates, frame, timeMs + 0.1)) copies++;
    }
    expect(wrong).toBe(0);
    expect(copies).toBe(100_000);
    expect(duplicates.crowded).toBeLessThan(100_000 / 100);
  });
});

describe('drops of the kernel', () => {
  const dev = (rx: number, tx: number): string =>
    `Inter-|\n face |\n  lo: 5 7 0 0 0 0 0 0 5 7 0 0\n eth0: 100 ${rx} 0 0 0 0 0 0 100 ${tx} 0 0\n`;

  test('are what passed and was not seen, once the ring was empty', () => {
    let text = dev(10, 20);
    const counters = new InterfaceCounters(['eth0'], () => text);
    text = dev(1010, 20);
    // 900 lie in the ring, 100 are seen, and then all but 40.
    for (const [seen, dropped] of [
      [100, 0],
      [500, 0],
      [960, 0],
      [960, 0],
      [960, 0],
      [960, 0],
      [960, 0],
      [960, 40],
    ] as const) {
      expect(counters.look(seen)).toBe(dropped);
    }
  });

  test('are counted on over an interface that is made anew, and settled at the end', () => {
    let text = dev(100, 0);
    const counters = new InterfaceCounters(['eth0'], () => text);
    text = dev(150, 0);
    counters.look(50);
    text = 'nothing\n';
    counters.look(50);
    text = dev(5, 5);
    counters.look(60);
    text = dev(10, 10);
    counters.stop();
    text = dev(500, 500);
    counters.settle(65);
    expect(counters.dropped(65)).toBe(5);
  });

  test('are estimated too high while the ring is never empty, and settled when it is', () => {
    let text = dev(0, 0);
    const counters = new InterfaceCounters(['eth0'], () => text);
    for (let look = 1; look <= 8; look++) {
      text = dev(1000 * look, 0);
      counters.look(1000 * look - 13);
    }
    expect(counters.dropped(7987)).toBe(13);
    counters.stop();
    counters.settle(8000);
    expect(counters.dropped(8000)).toBe(0);
  });

  test('are not known of any, or behind a filter', () => {
    expect(InterfaceCounters.of(['any'], '')).toBeUndefined();
    expect(InterfaceCounters.of(['lo'], 'tcp')).toBeUndefined();
    expect(InterfaceCounters.of(['lo'], '')).toBeDefined();
  });
});

test('a ledger is read as it was last written, and not half', () => {
  const folder = mkdtempSync(join(tmpdir(), 'margay-ledger-'));
  const path = join(folder, 'l');
  const reader = new LedgerReader(path);
  const writer = new LedgerWriter(path);
  expect([...reader.read()]).toEqual(new Array(LEDGER_NUMBERS).fill(0));
  writer.counts[3] = 17;
  writer.write();
  expect(reader.read()[3]).toBe(17);
  // A write in progress: its first number is there, its last is not.
  const bytes = readFileSync(path);
  const numbers = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  numbers[0] = 2;
  numbers[4] = 99;
  writeFileSync(path, new Uint8Array(numbers.buffer), { flag: 'r+' });
  expect(reader.read()[3]).toBe(17);
  writer.close();
  reader.close();
  rmSync(folder, { recursive: true });
});

describe('a link', () => {
  test('brings messages and bytes whole, however the stream is cut', () => {
    const sent: [string, number[]][] = [];
    const written: Buffer[] = [];
    const stream = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        written.push(chunk);
        done();
      },
    });
    const link = new Link<unknown, unknown>(
      stream,
      () => {},
      () => {},
    );
    link.send({ kind: 'a' }, Uint8Array.of(1, 2, 3));
    link.send({ kind: 'b', text: 'ü' });
    const all = Buffer.concat(written);
    for (const size of [1, 3, 7, 1000]) {
      sent.length = 0;
      const frames = new FrameReader((text, bytes) => sent.push([text, [...bytes]]));
      for (let at = 0; at < all.length; at += size) frames.push(all.subarray(at, at + size));
      expect(sent).toEqual([
        ['{"kind":"a"}', [1, 2, 3]],
        ['{"kind":"b","text":"ü"}', []],
      ]);
    }
  });

  test('brings all that was sent before it closed, whatever is still answered meanwhile', async () => {
    const there: (() => void)[] = [];
    const written: Buffer[] = [];
    // A stream of which the other side has not read anything yet.
    const stream = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        there.push(() => {
          written.push(chunk);
          done();
        });
      },
    });
    let hasEnded = false;
    const link = new Link<unknown, unknown>(
      stream,
      () => link.send({ kind: 'answer' }),
      () => {
        hasEnded = true;
      },
    );
    link.send({ kind: 'report' });
    link.send({ kind: 'done' });
    const closed = link.close();
    const question = Buffer.from('{"kind":"question"}');
    const head = Buffer.alloc(8);
    head.writeUInt32LE(question.length, 0);
    stream.push(Buffer.concat([head, question]));
    await new Promise((resolve) => setImmediate(resolve));
    expect(hasEnded).toBe(false);
    while (there.length > 0) {
      there.shift()!();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await closed;
    const texts: string[] = [];
    new FrameReader((text) => texts.push(text)).push(Buffer.concat(written));
    expect(texts).toEqual(['{"kind":"report"}', '{"kind":"done"}']);
  });

  test('ends at lengths that cannot be and at what is no JSON', async () => {
    for (const bytes of [Buffer.alloc(8, 0xff), Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x2c])]) {
      const stream = new PassThrough();
      const ended = new Promise<void>((resolve) => new Link<unknown, unknown>(stream, () => {}, resolve));
      stream.write(bytes);
      await ended;
    }
  });
});

test('the shares of a split cover everything once', () => {
  expect(splitFilter('', 0, 1)).toBe('');
  expect(splitFilter('port 80', 1, 2)).toBe(
    '(port 80) and ((ip and ((ip[15] + ip[19]) % 2) = 1) or (ip6 and ((ip6[23] + ip6[39]) % 2) = 1))',
  );
  expect(splitFilter('', 0, 2)).toContain('or not (ip or ip6)');
});

test('raw packets of a finding: those of its flow, before and after, within bounds', async () => {
  const ring = new FindingsRing(64 * 1024);
  const add = (srcPort: number, seconds: number): void => {
    const bytes = buildFrame({
      src: word('10.0.0.1'),
      dst: word('10.0.0.2'),
      protocol: 6,
      srcPort,
      dstPort: 80,
      payload: new Uint8Array(50),
    });
    const batch = createRecordBatch();
    batch.bytes = bytes;
    batch.view = new DataView(bytes.buffer);
    batch.count = 1;
    batch.capturedBytes[0] = bytes.length;
    batch.wireBytes[0] = bytes.length;
    batch.seconds[0] = seconds;
    batch.linkTypes[0] = 1;
    ring.add(batch, () => 'eth0');
  };
  const readBack = async (): Promise<{ port: number; seconds: number }[]> => {
    const capture = ring.capture();
    if (capture.length === 0) return [];
    const reader = await openBytes(capture);
    const batch = createRecordBatch();
    const found: { port: number; seconds: number }[] = [];
    while (reader.next(batch) > 0) {
      for (let row = 0; row < batch.count; row++) {
        found.push({ port: batch.view.getUint16(batch.offsets[row]! + 34), seconds: batch.seconds[row]! });
      }
    }
    return found;
  };
  expect(ring.capture()).toHaveLength(0);
  // More than fit, so that the ring goes round.
  for (let i = 0; i < 3000; i++) add(1000 + (i % 10), i);
  const ends = flowEnds(6, { source_ip: '10.0.0.2', dest_ip: '10.0.0.1', source_port: 80, dest_port: 1003 });
  ring.follow(ends!, 100);
  ring.collect(100);
  add(1003, 9000);
  add(1004, 9001);
  ring.collect(101);
  const kept = await readBack();
  expect(kept.at(-1)).toEqual({ port: 1003, seconds: 9000 });
  expect(kept.every(({ port }) => port === 1003)).toBe(true);
  expect(kept.length).toBeGreaterThan(10);
  const seconds = kept.map((one) => one.seconds);
  expect(seconds).toEqual([...seconds].sort((a, b) => a - b));
  // Followed no longer.
  ring.collect(200);
  add(1003, 9999);
  ring.collect(201);
  expect((await readBack()).at(-1)).toEqual({ port: 1003, seconds: 9000 });
});
