import { describe, expect, test } from 'vitest';
import {
  addFragment,
  createReassembler,
  expireFragments,
  REASSEMBLY_BYTES_MAX,
  REASSEMBLY_MALFORMED,
  REASSEMBLY_OVERFLOW,
  REASSEMBLY_OVERLAP,
  REASSEMBLY_TIMEOUT,
  REASSEMBLY_TIMEOUT_MS,
  type ReassemblyOptions,
  waitingBytes,
  waitingDatagrams,
} from '../../src/conntrack/reassembly.ts';
import { decodePacket } from '../../src/wire/decode.ts';
import {
  FLAG_FRAGMENT,
  FLAG_L4_PORTS,
  FLAG_L4_TRUNCATED,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_WORDS,
} from '../../src/wire/record.ts';
import { addressBytes, be16, be32, packet, udpPayload } from './packets.ts';

const LINKTYPE_RAW = 101;

/** Gathers what the reassembler says. */
class Desk {
  readonly reassembler;
  readonly whole: { bytes: number[]; captured: number; tickets: number[]; port: number; flags: number }[] = [];
  readonly lost: { tickets: number[]; reason: number }[] = [];
  nowMs = 0;

  constructor(options: ReassemblyOptions = {}) {
    this.reassembler = createReassembler(options);
  }

  add(bytes: Uint8Array, ticket: number, capturedBytes = bytes.length): void {
    const { record, view } = packet(bytes, capturedBytes);
    expect((record[PACKET_FLAGS]! & FLAG_FRAGMENT) !== 0).toBe(true);
    addFragment(this.reassembler, record, 0, view, this.nowMs, ticket, this);
  }

  end(): void {
    expireFragments(this.reassembler, Number.POSITIVE_INFINITY, this);
    expect(waitingDatagrams(this.reassembler)).toBe(0);
    expect(waitingBytes(this.reassembler)).toBe(0);
  }

  complete(view: DataView, captured: number, wire: number, tickets: number[]): void {
    const record = new Int32Array(PACKET_WORDS);
    decodePacket(view, 0, captured, wire, LINKTYPE_RAW, record, 0);
    const bytes = [...new Uint8Array(view.buffer, view.byteOffset, wire)];
    this.whole.push({ bytes, captured, tickets, port: record[PACKET_DST_PORT]!, flags: record[PACKET_FLAGS]! });
    expect(record[PACKET_PROTOCOL]).toBe(17);
  }

  incomplete(tickets: number[], reason: number): void {
    this.lost.push({ tickets, reason });
  }
}

interface Shape {
  readonly id?: number;
  readonly src?: string;
  readonly protocol?: number;
}

function ipv4(
  shape: Shape,
  start: number,
  more: boolean,
  data: readonly number[],
  options: readonly number[] = [],
): Uint8Array {
  const total = 20 + options.length + data.length;
  const fragment = (start >> 3) | (more ? 0x2000 : 0);
  return Uint8Array.from([
    0x45 + options.length / 4,
    0,
    ...be16(total),
    ...be16(shape.id ?? 1),
    ...be16(fragment),
    64,
    shape.protocol ?? 17,
    0,
    0,
    ...addressBytes(shape.src ?? '10.0.0.1'),
    ...addressBytes('10.0.0.2'),
    ...options,
    ...data,
  ]);
}

/** `extensions`: headers ahead of the fragment header, whose last one says 44 in its first byte. */
function ipv6(
  shape: Shape,
  start: number,
  more: boolean,
  data: readonly number[],
  extensions: readonly number[] = [],
): Uint8Array {
  const header = [shape.protocol ?? 17, 0, ...be16(start | (more ? 1 : 0)), ...be32(shape.id ?? 1)];
  return Uint8Array.from([
    0x60,
    0,
    0,
    0,
    ...be16(extensions.length + 8 + data.length),
    extensions.length === 0 ? 44 : 0,
    64,
    ...addressBytes(shape.src ?? '2001:db8:0:0:0:0:0:1'),
    ...addressBytes('2001:db8:0:0:0:0:0:2'),
    ...extensions,
    ...header,
    ...data,
  ]);
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, index) =>
    permutations(items.filter((_, other) => other !== index)).map((rest) => [item, ...rest]),
  );
}

/** 43 bytes of UDP: 8 header, 35 data, each byte another. */
const DATAGRAM = [...udpPayload(4000, 53, 35).slice(0, 8), ...Array.from({ length: 35 }, (_, index) => index + 1)];
const PARTS: Record<number, readonly (readonly [number, number])[]> = {
  2: [
    [0, 16],
    [16, 43],
  ],
  3: [
    [0, 8],
    [8, 24],
    [24, 43],
  ],
  4: [
    [0, 8],
    [8, 16],
    [16, 40],
    [40, 43],
  ],
};

describe.each([
  ['IPv4', ipv4, 20],
  ['IPv6', ipv6, 40],
] as const)('%s', (name, make, headerBytes) => {
  const part = ([start, end]: readonly [number, number], shape: Shape = {}): Uint8Array =>
    make(shape, start, end < 43, DATAGRAM.slice(start, end));

  describe.each([2, 3, 4])('%i parts', (count) => {
    test.each(permutations(PARTS[count]!.map((_, index) => index)).map((order) => ({ order })))(
      'in the order $order',
      ({ order }) => {
        const desk = new Desk();
        order.forEach((index, ticket) => {
          expect(desk.whole).toHaveLength(0);
          desk.add(part(PARTS[count]![index]!), 100 + ticket);
        });
        expect(desk.whole).toHaveLength(1);
        const [datagram] = desk.whole;
        expect(datagram!.bytes.slice(headerBytes)).toEqual(DATAGRAM);
        expect(datagram!.bytes).toHaveLength(headerBytes + 43);
        expect(datagram!.captured).toBe(headerBytes + 43);
        expect(datagram!.tickets).toEqual(order.map((_, ticket) => 100 + ticket));
        expect(datagram!.port).toBe(53);
        expect(datagram!.flags & (FLAG_FRAGMENT | FLAG_L4_TRUNCATED)).toBe(0);
        desk.end();
        expect(desk.lost).toEqual([]);
      },
    );
  });

  test('the header is that of the first part, but for length and fragment bits', () => {
    const desk = new Desk();
    desk.add(part([16, 43]), 1);
    desk.add(part([0, 16]), 2);
    const header = desk.whole[0]!.bytes.slice(0, headerBytes);
    const plain = [...make({}, 0, false, DATAGRAM)].slice(0, headerBytes);
    if (name === 'IPv6') {
      plain[6] = 17;
      plain.splice(4, 2, ...be16(43));
    }
    expect(header).toEqual(plain);
  });

  test('a part twice joins the others', () => {
    const desk = new Desk();
    desk.add(part([0, 16]), 1);
    desk.add(part([0, 16]), 2);
    desk.add(part([16, 43]), 3);
    expect(desk.whole.map(({ tickets }) => tickets)).toEqual([[1, 2, 3]]);
  });

  test('after the datagram a part again waits in vain', () => {
    const desk = new Desk();
    desk.add(part([0, 16]), 1);
    desk.add(part([16, 43]), 2);
    desk.add(part([16, 43]), 3);
    desk.end();
    expect(desk.lost).toEqual([{ tickets: [3], reason: REASSEMBLY_TIMEOUT }]);
  });

  test.each([
    [
      'cut into from behind',
      [
        [0, 16],
        [8, 24],
      ],
    ],
    [
      'cut into from the front',
      [
        [16, 32],
        [8, 24],
      ],
    ],
    [
      'swallowed',
      [
        [16, 24],
        [8, 32],
      ],
    ],
    [
      'bridging two',
      [
        [0, 16],
        [24, 40],
        [8, 32],
      ],
    ],
  ] as [string, [number, number][]][])('an overlap discards all: %s', (_name, parts) => {
    const desk = new Desk();
    parts.forEach((given, ticket) => {
      desk.add(part(given), ticket);
    });
    expect(desk.lost).toEqual([{ tickets: parts.map((_, ticket) => ticket), reason: REASSEMBLY_OVERLAP }]);
    expect(waitingDatagrams(desk.reassembler)).toBe(0);
  });

  test('datagrams are told apart by address and identification', () => {
    const desk = new Desk();
    const src = name === 'IPv4' ? '10.0.0.9' : '2001:db8:0:0:0:0:0:9';
    desk.add(part([0, 16], { id: 1 }), 1);
    desk.add(part([16, 43], { id: 2 }), 2);
    desk.add(part([16, 43], { id: 1, src }), 3);
    expect(desk.whole).toHaveLength(0);
    expect(waitingDatagrams(desk.reassembler)).toBe(3);
    desk.add(part([16, 43], { id: 1 }), 4);
    expect(desk.whole[0]!.tickets).toEqual([1, 4]);
  });

  test('30 s of packet time', () => {
    const desk = new Desk();
    desk.add(part([0, 16]), 1);
    desk.nowMs = REASSEMBLY_TIMEOUT_MS - 1;
    expireFragments(desk.reassembler, desk.nowMs, desk);
    expect(desk.lost).toEqual([]);
    desk.nowMs += 1;
    // A late part comes to nothing.
    desk.add(part([16, 43]), 2);
    expect(desk.lost).toEqual([{ tickets: [1], reason: REASSEMBLY_TIMEOUT }]);
    expect(desk.whole).toEqual([]);
    desk.end();
    expect(desk.lost).toHaveLength(2);
  });

  test('time that runs backwards breaks nothing', () => {
    const desk = new Desk();
    desk.nowMs = 100_000;
    desk.add(part([0, 16]), 1);
    desk.nowMs = 1000;
    desk.add(part([16, 43]), 2);
    expect(desk.whole).toHaveLength(1);
  });

  test('two last parts that disagree', () => {
    const desk = new Desk();
    desk.add(make({}, 16, false, [1, 2, 3]), 1);
    desk.add(make({}, 24, false, [1, 2, 3]), 2);
    // IPv4 discards the datagram, IPv6 the second one.
    expect(desk.lost).toEqual([{ tickets: name === 'IPv4' ? [1, 2] : [2], reason: REASSEMBLY_MALFORMED }]);
    desk.add(make({}, 0, true, DATAGRAM.slice(0, 16)), 3);
    expect(desk.whole.map(({ tickets }) => tickets)).toEqual(name === 'IPv4' ? [] : [[1, 3]]);
  });

  test('parts that the capture cut: what is known ends there', () => {
    const desk = new Desk();
    const first = part([0, 16]);
    desk.add(part([16, 43]), 1);
    desk.add(first, 2, first.length - 4);
    const [datagram] = desk.whole;
    expect(datagram!.captured).toBe(headerBytes + 12);
    expect(datagram!.bytes).toHaveLength(headerBytes + 43);
    expect(datagram!.port).toBe(53);
    expect(datagram!.flags & FLAG_L4_PORTS).not.toBe(0);
  });

  test('a datagram past 65 535 bytes', () => {
    const desk = new Desk();
    const huge = 65_528;
    desk.add(make({}, huge, false, new Array(100).fill(1)), 1);
    desk.end();
    expect(desk.lost.flatMap(({ tickets }) => tickets)).toEqual([1]);
    expect(desk.whole).toEqual([]);
  });
});

test('IPv4: the protocol belongs to the key', () => {
  const desk = new Desk();
  desk.add(ipv4({ protocol: 17 }, 0, true, DATAGRAM.slice(0, 16)), 1);
  desk.add(ipv4({ protocol: 6 }, 16, false, DATAGRAM.slice(16)), 2);
  expect(waitingDatagrams(desk.reassembler)).toBe(2);
});

test('IPv4: options of the first part stay, middle parts are cut to multiples of 8', () => {
  const desk = new Desk();
  desk.add(ipv4({}, 0, true, DATAGRAM.slice(0, 16), [1, 1, 1, 0]), 1);
  desk.add(ipv4({}, 16, true, DATAGRAM.slice(16, 29)), 2);
  desk.add(ipv4({}, 24, false, DATAGRAM.slice(24)), 3);
  expect(desk.whole[0]!.bytes.slice(24)).toEqual(DATAGRAM);
  expect(desk.whole[0]!.bytes.slice(0, 4)).toEqual([0x46, 0, 0, 24 + 43]);
});

test('IPv6: headers ahead of the fragment header stay, the fragment header goes', () => {
  const desk = new Desk();
  const hopByHop = [60, 0, 1, 4, 0, 0, 0, 0];
  const destination = [44, 0, 1, 4, 0, 0, 0, 0];
  desk.add(ipv6({}, 16, false, DATAGRAM.slice(16), [...hopByHop, ...destination]), 1);
  desk.add(ipv6({}, 0, true, DATAGRAM.slice(0, 16), [...hopByHop, ...destination]), 2);
  const [datagram] = desk.whole;
  expect(datagram!.bytes.slice(40, 56)).toEqual([60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]);
  expect(datagram!.bytes.slice(56)).toEqual(DATAGRAM);
  expect(datagram!.port).toBe(53);
});

test('IPv6: an odd part in the middle spoils the datagram, a first part without its transport header is refused', () => {
  const desk = new Desk();
  desk.add(ipv6({}, 0, true, DATAGRAM.slice(0, 16)), 1);
  desk.add(ipv6({}, 16, true, DATAGRAM.slice(16, 21)), 2);
  expect(desk.lost).toEqual([{ tickets: [1, 2], reason: REASSEMBLY_MALFORMED }]);
  desk.add(ipv6({ protocol: 6 }, 0, true, DATAGRAM.slice(0, 16)), 3);
  expect(desk.lost[1]).toEqual({ tickets: [3], reason: REASSEMBLY_MALFORMED });
});

describe('bounds', () => {
  test('datagrams: the oldest goes', () => {
    const desk = new Desk({ datagramsMax: 10 });
    for (let id = 1; id <= 25; id++) desk.add(ipv4({ id }, 0, true, DATAGRAM.slice(0, 16)), id);
    expect(waitingDatagrams(desk.reassembler)).toBe(10);
    expect(desk.lost).toEqual(
      Array.from({ length: 15 }, (_, index) => ({ tickets: [index + 1], reason: REASSEMBLY_OVERFLOW })),
    );
    desk.add(ipv4({ id: 25 }, 16, false, DATAGRAM.slice(16)), 99);
    expect(desk.whole[0]!.tickets).toEqual([25, 99]);
  });

  test('bytes: never more than allowed, duplicates counted too', () => {
    const desk = new Desk({ bytesMax: 20_000 });
    for (let count = 0; count < 3000; count++) {
      desk.add(ipv4({ id: count % 7 }, 0, true, DATAGRAM.slice(0, 16)), count);
      expect(waitingBytes(desk.reassembler)).toBeLessThanOrEqual(20_000);
    }
    desk.end();
    const tickets = desk.lost.flatMap((lost) => lost.tickets);
    expect(tickets.sort((a, b) => a - b)).toEqual(Array.from({ length: 3000 }, (_, index) => index));
  });

  test('the default holds 64 of the largest datagrams of each of three hosts', () => {
    expect(REASSEMBLY_BYTES_MAX).toBeGreaterThan(3 * 64 * 65_535);
  });

  test('memory is the parts, not the capture that they lay in', () => {
    const desk = new Desk();
    const capture = new Uint8Array(1_000_000);
    const bytes = ipv4({}, 0, true, DATAGRAM.slice(0, 16));
    capture.set(bytes);
    const view = new DataView(capture.buffer);
    const record = new Int32Array(PACKET_WORDS);
    decodePacket(view, 0, bytes.length, bytes.length, LINKTYPE_RAW, record, 0);
    addFragment(desk.reassembler, record, 0, view, 0, 1, desk);
    capture.fill(0xff);
    desk.add(ipv4({}, 16, false, DATAGRAM.slice(16)), 2);
    expect(desk.whole[0]!.bytes.slice(20)).toEqual(DATAGRAM);
  });
});
