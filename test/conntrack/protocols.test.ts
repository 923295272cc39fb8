import { describe, expect, test } from 'vitest';
import { flowHash, flowHashPorts } from '../../src/conntrack/key.ts';
import {
  SCTP_STATE_CLOSED,
  SCTP_STATE_COOKIE_ECHOED,
  SCTP_STATE_COOKIE_WAIT,
  SCTP_STATE_ESTABLISHED,
  SCTP_STATE_SHUTDOWN_ACK_SENT,
  SCTP_STATE_SHUTDOWN_SENT,
} from '../../src/conntrack/sctp.ts';
import { NO_ENTRY } from '../../src/conntrack/table.ts';
import { entryGeneration, getTag, setTag } from '../../src/conntrack/track.ts';
import { PACKET_DST, PACKET_SRC } from '../../src/wire/record.ts';
import { Harness } from './harness.ts';
import {
  ACK,
  be16,
  be32,
  chunk,
  icmpPayload,
  ip,
  packet,
  SYN,
  sctpPayload,
  tcpPayload,
  udpPayload,
} from './packets.ts';

const A = '10.0.0.1';
const B = '10.0.0.2';
const A6 = '2001:db8:0:0:0:0:0:1';
const B6 = '2001:db8:0:0:0:0:0:2';
const udp = (src: string, dst: string, srcPort: number, dstPort: number): Uint8Array =>
  ip(src, dst, 17, udpPayload(srcPort, dstPort));
const icmp = (src: string, dst: string, type: number, id = 7, rest: number[] = []): Uint8Array =>
  ip(src, dst, src.includes('.') ? 1 : 58, icmpPayload(type, 0, id, rest));

describe.each([
  ['IPv4', A, B],
  ['IPv6', A6, B6],
])('UDP over %s', (_name, a, b) => {
  test('is new until it is answered, then established both ways', () => {
    const harness = new Harness();
    expect(harness.accept(udp(a, b, 5000, 53))).toBe('new');
    expect(harness.accept(udp(a, b, 5000, 53))).toBe('new');
    expect(harness.accept(udp(b, a, 53, 5000))).toBe('established');
    expect(harness.lastDirection).toBe(1);
    expect(harness.accept(udp(a, b, 5000, 53))).toBe('established');
    expect(harness.lastDirection).toBe(0);
  });

  test('a packet that was dropped leaves nothing', () => {
    const harness = new Harness();
    expect(harness.track(udp(a, b, 5000, 53))).toBe('new');
    expect(harness.lastEntry).toBe(NO_ENTRY);
    expect(harness.track(udp(b, a, 53, 5000))).toBe('new');
  });

  test('the unsolicited answer is the originator', () => {
    const harness = new Harness();
    expect(harness.accept(udp(b, a, 53, 5000))).toBe('new');
    expect(harness.accept(udp(a, b, 5000, 53))).toBe('established');
    expect(harness.lastDirection).toBe(1);
  });

  test('30 s unanswered, 120 s answered, prolonged by each packet', () => {
    const harness = new Harness();
    harness.accept(udp(a, b, 5000, 53));
    harness.nowMs += 29_999;
    expect(harness.left(udp(a, b, 5000, 53))).toBe(1);
    harness.accept(udp(a, b, 5000, 53));
    expect(harness.left(udp(a, b, 5000, 53))).toBe(30_000);
    harness.accept(udp(b, a, 53, 5000));
    expect(harness.left(udp(a, b, 5000, 53))).toBe(120_000);
    harness.nowMs += 120_000;
    expect(harness.accept(udp(b, a, 53, 5000))).toBe('new');
    expect(harness.lastDirection).toBe(0);
  });

  test('each node knows its own', () => {
    const harness = new Harness();
    harness.accept(udp(a, b, 5000, 53), 1);
    expect(harness.track(udp(b, a, 53, 5000), 2)).toBe('new');
    expect(harness.track(udp(b, a, 53, 5000), 1)).toBe('established');
    expect(harness.track(udp(a, b, 5000, 53), 1)).toBe('established');
    expect(harness.track(udp(a, b, 5000, 53), 4_000_000)).toBe('new');
  });
});

test('other ports, protocols and addresses are other flows', () => {
  const harness = new Harness();
  harness.accept(udp(A, B, 5000, 53));
  for (const other of [
    udp(B, A, 53, 5001),
    udp(B, A, 54, 5000),
    udp('10.0.0.3', A, 53, 5000),
    udp(B, A, 5000, 53),
    ip(B, A, 136, [...udpPayload(53, 5000).slice(0, 6), 1, 1, 0, 0, 0, 0]),
  ]) {
    expect(harness.track(other)).toBe('new');
  }
});

test('IPv6 addresses that agree in their first words are told apart', () => {
  const harness = new Harness();
  harness.accept(udp(A6, B6, 5000, 5000));
  expect(harness.track(udp(B6, A6, 5000, 5000))).toBe('established');
  expect(harness.lastDirection).toBe(1);
  expect(harness.track(udp(A6, B6, 5000, 5000))).toBe('established');
  expect(harness.lastDirection).toBe(0);
  expect(harness.track(udp('2001:db8:0:0:0:0:0:3', A6, 5000, 5000))).toBe('new');
});

test('UDP-Lite follows UDP, and demands a checksum', () => {
  const harness = new Harness();
  const lite = (src: string, dst: string, ports: [number, number], checksum: number): Uint8Array =>
    ip(src, dst, 136, [...be16(ports[0]), ...be16(ports[1]), ...be16(8), ...be16(checksum)]);
  expect(harness.accept(lite(A, B, [1, 2], 0))).toBe('invalid');
  expect(harness.accept(lite(A, B, [1, 2], 1))).toBe('new');
  expect(harness.left(lite(A, B, [1, 2], 1))).toBe(30_000);
  expect(harness.accept(lite(B, A, [2, 1], 1))).toBe('established');
  expect(harness.left(lite(A, B, [1, 2], 1))).toBe(120_000);
});

describe('ICMP questions', () => {
  test.each([
    [A, B, 8, 0],
    [A, B, 13, 14],
    [A, B, 15, 16],
    [A, B, 17, 18],
    [A6, B6, 128, 129],
    [A6, B6, 139, 140],
  ])('%s > %s: %i is answered by %i', (a, b, question, answer) => {
    const harness = new Harness();
    expect(harness.accept(icmp(b, a, answer))).toBe('invalid');
    expect(harness.accept(icmp(a, b, question))).toBe('new');
    expect(harness.accept(icmp(a, b, question))).toBe('new');
    expect(harness.track(icmp(b, a, answer, 8))).toBe('invalid');
    expect(harness.track(icmp(a, b, answer))).toBe('invalid');
    expect(harness.left(icmp(a, b, question))).toBe(30_000);
    // A question the other way is a connection of its own, though the id is the same.
    expect(harness.track(icmp(b, a, question))).toBe('new');
    expect(harness.accept(icmp(b, a, answer))).toBe('established');
    expect(harness.accept(icmp(a, b, question))).toBe('established');
    harness.nowMs += 30_000;
    expect(harness.accept(icmp(b, a, answer))).toBe('invalid');
  });

  test.each([1, 2, 6, 7, 9, 10, 19, 40, 255])('type %i opens nothing', (type) => {
    expect(new Harness().accept(icmp(A, B, type))).toBe('invalid');
  });

  test.each([138, 141, 142, 144, 200, 255])('ICMPv6 type %i opens nothing', (type) => {
    expect(new Harness().accept(icmp(A6, B6, type))).toBe('invalid');
  });

  test.each([130, 131, 132, 133, 134, 135, 136, 143])('ICMPv6 type %i is untracked', (type) => {
    const harness = new Harness();
    expect(harness.accept(icmp(A6, B6, type))).toBe('untracked');
    expect(harness.find(icmp(A6, B6, type))).toBe(NO_ENTRY);
  });

  test('each family has its own ICMP', () => {
    expect(new Harness().accept(ip(A, B, 58, icmpPayload(128, 0, 1)))).toBe('invalid');
    expect(new Harness().accept(ip(A6, B6, 1, icmpPayload(8, 0, 1)))).toBe('invalid');
    // The numbers that ask in the packet's own family ask nothing in the other's protocol.
    expect(new Harness().accept(ip(A, B, 58, icmpPayload(8, 0, 1)))).toBe('invalid');
    expect(new Harness().accept(ip(A6, B6, 1, icmpPayload(128, 0, 1)))).toBe('invalid');
  });
});

describe.each([
  ['IPv4', A, B, '10.9.9.9', 3],
  ['IPv6', A6, B6, '2001:db8:9:9:9:9:9:9', 1],
])('ICMP errors over %s', (_name, a, b, router, type) => {
  const error = (src: string, dst: string, quoted: Uint8Array): Uint8Array => icmp(src, dst, type, 0, [...quoted]);

  test('are related if they quote a packet that this node let through', () => {
    const harness = new Harness();
    const sent = udp(a, b, 5000, 53);
    harness.accept(sent, 1);
    for (const src of [b, router]) {
      expect(harness.track(error(src, a, sent), 1)).toBe('related');
      expect(harness.lastDirection).toBe(1);
      expect(harness.lastEntry).toBe(harness.find(sent));
    }
    expect(harness.track(error(b, a, sent), 2)).toBe('invalid');
    // They answer nothing: the flow is as new as before.
    expect(harness.track(sent, 1)).toBe('new');
    expect(harness.left(sent, 1)).toBe(30_000);
  });

  test('about an answer go to the one who answered', () => {
    const harness = new Harness();
    harness.accept(udp(a, b, 5000, 53));
    const answer = udp(b, a, 53, 5000);
    expect(harness.track(error(router, b, answer))).toBe('related');
    expect(harness.lastDirection).toBe(0);
  });

  test('are invalid if they quote an unknown packet, or go to anyone but its sender', () => {
    const harness = new Harness();
    const sent = udp(a, b, 5000, 53);
    harness.accept(sent);
    expect(harness.track(error(b, a, udp(a, b, 5001, 53)))).toBe('invalid');
    expect(harness.track(error(b, router, sent))).toBe('invalid');
    expect(harness.track(error(a, b, sent))).toBe('invalid');
    harness.nowMs += 30_000;
    expect(harness.track(error(b, a, sent))).toBe('invalid');
  });

  test('about echo requests and TCP', () => {
    const harness = new Harness();
    const echo = icmp(a, b, type === 3 ? 8 : 128, 99);
    const syn = ip(a, b, 6, tcpPayload(4000, 80, SYN));
    harness.accept(echo);
    harness.accept(syn);
    expect(harness.track(error(router, a, echo))).toBe('related');
    expect(harness.track(error(router, a, syn))).toBe('related');
    // Eight bytes behind the IP header are enough.
    expect(harness.track(error(router, a, syn.subarray(0, syn.length - 12)))).toBe('related');
    // Three are not.
    expect(harness.track(error(router, a, syn.subarray(0, syn.length - 17)))).toBe('invalid');
    expect(harness.track(error(router, a, error(router, a, echo)))).toBe('invalid');
  });

  test('whose quotation the capture cut off are not judged', () => {
    const harness = new Harness();
    const sent = udp(a, b, 5000, 53);
    harness.accept(sent);
    const bytes = error(router, a, sent);
    expect(harness.track(packet(bytes, bytes.length - sent.length + 20))).toBe('truncated');
  });
});

describe('what the capture cut off', () => {
  const cut = (bytes: Uint8Array, transportBytes: number): string =>
    new Harness().track(packet(bytes, 20 + transportBytes));
  test.each([
    ['TCP without flags', ip(A, B, 6, tcpPayload(1, 2, SYN)), 13, 'truncated'],
    ['UDP without ports', udp(A, B, 1, 2), 3, 'truncated'],
    ['UDP with ports alone', udp(A, B, 1, 2), 4, 'new'],
    ['ICMP without its id', icmp(A, B, 8), 4, 'truncated'],
    ['SCTP without a chunk', ip(A, B, 132, sctpPayload(1, 2, 0, [chunk(1, new Array(16).fill(1))])), 12, 'truncated'],
    ['GRE without its version', ip(A, B, 47, new Array(20).fill(0)), 0, 'truncated'],
    ['a protocol known by its number alone', ip(A, B, 89, [1, 2, 3]), 0, 'new'],
  ])('%s', (_name, bytes, transportBytes, expected) => {
    expect(cut(bytes, transportBytes)).toBe(expected);
  });

  test('a datagram that is wrong in itself is invalid', () => {
    expect(new Harness().track(ip(A, B, 17, [0, 1, 0, 2, 0, 99, 0, 0]))).toBe('invalid');
    expect(new Harness().track(ip(A, B, 6, tcpPayload(1, 2, SYN).slice(0, 19)))).toBe('invalid');
  });
});

describe('GRE', () => {
  const plain = [0, 0, 8, 0, 1, 2, 3, 4];
  const call = (id: number): number[] => [0x30, 1, 0x88, 0x0b, 0, 0, ...be16(id)];

  test('plain: one flow between two addresses, 30 s, 180 s once both have spoken', () => {
    const harness = new Harness();
    expect(harness.accept(ip(A, B, 47, plain))).toBe('new');
    expect(harness.left(ip(A, B, 47, plain))).toBe(30_000);
    expect(harness.accept(ip(B, A, 47, plain))).toBe('established');
    expect(harness.left(ip(A, B, 47, plain))).toBe(30_000);
    expect(harness.accept(ip(A, B, 47, plain))).toBe('established');
    expect(harness.left(ip(A, B, 47, plain))).toBe(180_000);
  });

  test('enhanced: each call has its own, one way', () => {
    const harness = new Harness();
    expect(harness.accept(ip(A, B, 47, call(7)))).toBe('new');
    expect(harness.track(ip(A, B, 47, call(8)))).toBe('new');
    expect(harness.find(ip(A, B, 47, call(8)))).toBe(NO_ENTRY);
    expect(harness.track(ip(B, A, 47, call(7)))).toBe('new');
    expect(harness.track(ip(A, B, 47, [0x30, 1, 8, 0, 0, 0, 0, 7]))).toBe('invalid');
  });
});

test.each([4, 33, 50, 89, 253])('protocol %i: one flow between two addresses, 600 s', (protocol) => {
  const harness = new Harness();
  expect(harness.accept(ip(A, B, protocol, [1, 2, 3, 4]))).toBe('new');
  expect(harness.accept(ip(B, A, protocol, [9, 9, 9, 9]))).toBe('established');
  harness.nowMs += 599_999;
  expect(harness.track(ip(A, B, protocol, [1]))).toBe('established');
  harness.nowMs += 600_000;
  expect(harness.track(ip(A, B, protocol, [1]))).toBe('new');
});

describe('SCTP', () => {
  const init = (type: number, tag: number): number[] => chunk(type, [...be32(tag), ...new Array(12).fill(1)]);
  const a = (tag: number, ...chunks: number[][]): Uint8Array => ip(A, B, 132, sctpPayload(5000, 3868, tag, chunks));
  const b = (tag: number, ...chunks: number[][]): Uint8Array => ip(B, A, 132, sctpPayload(3868, 5000, tag, chunks));
  const data = chunk(0, new Array(13).fill(0));

  function establish(): Harness {
    const harness = new Harness();
    expect(harness.accept(a(0, init(1, 0xa)))).toBe('new');
    expect(harness.state(a(0, data))).toBe(SCTP_STATE_CLOSED);
    expect(harness.accept(b(0xa, init(2, 0xb)))).toBe('established');
    expect(harness.state(a(0, data))).toBe(SCTP_STATE_COOKIE_WAIT);
    expect(harness.accept(a(0xb, chunk(10, [1, 2])))).toBe('established');
    expect(harness.state(a(0, data))).toBe(SCTP_STATE_COOKIE_ECHOED);
    expect(harness.accept(b(0xa, chunk(11)))).toBe('established');
    expect(harness.state(a(0, data))).toBe(SCTP_STATE_ESTABLISHED);
    return harness;
  }

  test('handshake, data, shutdown', () => {
    const harness = establish();
    expect(harness.left(a(0, data))).toBe(210_000);
    expect(harness.accept(a(0xb, data))).toBe('established');
    expect(harness.accept(b(0xa, chunk(3, new Array(12).fill(0)), data))).toBe('established');
    expect(harness.accept(a(0xc, data))).toBe('invalid');
    expect(harness.accept(a(0xb, chunk(7, [0, 0, 0, 0])))).toBe('established');
    expect(harness.state(a(0, data))).toBe(SCTP_STATE_SHUTDOWN_SENT);
    expect(harness.accept(b(0xa, chunk(8)))).toBe('established');
    expect(harness.state(a(0, data))).toBe(SCTP_STATE_SHUTDOWN_ACK_SENT);
    expect(harness.accept(a(0xb, chunk(14)))).toBe('established');
    expect(harness.state(a(0, data))).toBe(SCTP_STATE_CLOSED);
    expect(harness.left(a(0, data))).toBe(10_000);
  });

  test.each([
    ['INIT with a tag', a(5, init(1, 0xa)), 'invalid'],
    ['INIT with another chunk', a(0, init(1, 0xa), data), 'invalid'],
    ['INIT cut short', a(0, chunk(1, [0, 0, 0, 1])), 'invalid'],
    ['data', a(5, data), 'invalid'],
    ['ABORT', a(5, chunk(6)), 'invalid'],
    ['COOKIE ACK', a(5, chunk(11)), 'invalid'],
    ['SHUTDOWN ACK, which is answered out of the blue', a(5, chunk(8)), 'new'],
    ['HEARTBEAT, of a further path', a(5, chunk(4, [0, 0, 0, 0])), 'new'],
    ['no chunk at all', a(5), 'invalid'],
    ['a chunk of length 0', a(0, [1, 0, 0, 0]), 'invalid'],
  ])('without an entry: %s', (_name, bytes, expected) => {
    expect(new Harness().accept(bytes)).toBe(expected);
  });

  test('ABORT with the right tag, or the reflected one', () => {
    for (const abort of [b(0xa, chunk(6)), b(0xb, chunk(6, [], 1))]) {
      const harness = establish();
      expect(harness.track(b(0xb, chunk(6)))).toBe('invalid');
      expect(harness.accept(abort)).toBe('established');
      expect(harness.state(a(0, data))).toBe(SCTP_STATE_CLOSED);
    }
  });

  test('a repeated INIT is new and does not prolong', () => {
    const harness = new Harness();
    harness.accept(a(0, init(1, 0xa)));
    harness.nowMs += 4000;
    expect(harness.accept(a(0, init(1, 0xa)))).toBe('new');
    expect(harness.left(a(0, data))).toBe(6000);
  });
});

describe('entries', () => {
  test('carry a tag and a generation', () => {
    const harness = new Harness();
    const bytes = udp(A, B, 1, 2);
    harness.accept(bytes);
    const entry = harness.find(bytes);
    const generation = entryGeneration(harness.ct, entry);
    expect(getTag(harness.ct, entry)).toBe(0);
    setTag(harness.ct, entry, -123);
    harness.accept(udp(B, A, 2, 1));
    expect(harness.lastEntry).toBe(entry);
    expect(getTag(harness.ct, entry)).toBe(-123);
    expect(entryGeneration(harness.ct, entry)).toBe(generation);
    harness.remove(bytes);
    expect(entryGeneration(harness.ct, entry)).not.toBe(generation);
    harness.accept(bytes);
    expect(harness.find(bytes)).toBe(entry);
    expect(getTag(harness.ct, entry)).toBe(0);
    expect(entryGeneration(harness.ct, entry)).not.toBe(generation);
  });

  test('time that runs backwards breaks nothing', () => {
    const harness = new Harness();
    harness.accept(udp(A, B, 1, 2));
    harness.nowMs -= 1_000_000;
    expect(harness.accept(udp(B, A, 2, 1))).toBe('established');
    expect(harness.left(udp(A, B, 1, 2))).toBe(120_000);
    harness.nowMs += 1_000_000;
    expect(harness.accept(udp(B, A, 2, 1))).toBe('new');
  });

  test('both directions of a flow lie in one shard, and flows spread over all', () => {
    const shardOf = (bytes: Uint8Array): number => flowHash(packet(bytes).record, 0) >>> 26;
    const seen = new Set<number>();
    for (let port = 0; port < 2000; port++) {
      const shard = shardOf(ip(A, B, 6, tcpPayload(port, 80, ACK)));
      expect(shardOf(ip(B, A, 6, tcpPayload(80, port, ACK)))).toBe(shard);
      const { record } = packet(ip(A, B, 6, tcpPayload(port, 80, ACK)));
      const [src, dst] = [record[PACKET_SRC]!, record[PACKET_DST]!];
      expect(flowHashPorts(src, dst, (port << 16) | 80, 6) >>> 26).toBe(shard);
      seen.add(shard);
    }
    expect(seen.size).toBe(64);
    expect(shardOf(icmp(B6, A6, 129))).toBe(shardOf(icmp(A6, B6, 128)));
  });
});
