/**
 * Random packets in sequence, as bytes: conversations between the addresses of a random world, in and out of step.
 *
 * A step opens a conversation or goes on with an earlier one, from either side: TCP with its sequence numbers mostly right,
 * questions and answers over UDP and ICMP, ICMP errors that quote what was sent before, and other protocols. Clocks mostly
 * move by milliseconds, now and then past a time-out.
 */
import { parseAddress } from '../../src/base/ip.ts';
import type { Flow } from '../../src/model/flow.ts';
import { ACK, FIN, icmpPayload, ip, PSH, RST, SYN, tcpPayload, udpPayload } from '../conntrack/packets.ts';
import { drawFlows, randomFrom } from './world.ts';

export interface Sent {
  readonly bytes: Uint8Array;
  readonly timeMs: number;
  /** For messages: what it is. */
  readonly text: string;
}

interface Conversation {
  readonly flow: Flow;
  /** Next sequence number of either side. */
  readonly seq: [number, number];
  last: Uint8Array | undefined;
}

const FLAGS = [SYN, SYN | ACK, ACK, ACK, ACK | PSH, FIN | ACK, RST, RST | ACK, 0, SYN | FIN];
const SCRIPT = [SYN, SYN | ACK, ACK, ACK | PSH, ACK, FIN | ACK, FIN | ACK, ACK];
const WAITS_MS = [11_000, 31_000, 61_000, 121_000];
const START_MS = 1_700_000_000_000;
/** The kernel gives up unacknowledged data after 300 s, which semantics 6.7 and so the reference leave out. */
const LONGEST_MS = 290_000;

/** SCTP and GRE are left out: the reference tracks them by ports alone (reference/conntrack.ts). */
function isTracked({ protocol }: Flow): boolean {
  return protocol !== 'sctp' && protocol !== 47;
}

export function drawPackets(seed: number, count: number): Sent[] {
  const random = randomFrom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const pool = drawFlows(seed + 1, 60).filter(isTracked);
  const open: Conversation[] = [];
  const sent: Sent[] = [];
  let timeMs = START_MS;
  while (sent.length < count) {
    const waitMs = random() < 0.9 ? below(10) : WAITS_MS[below(WAITS_MS.length)]!;
    timeMs += timeMs + waitMs < START_MS + LONGEST_MS ? waitMs : 1;
    if (open.length === 0 || random() < 0.15) {
      open.push({ flow: pool[below(pool.length)]!, seq: [1000 + below(9000), 1000 + below(9000)], last: undefined });
    }
    // Mostly the newest, so that conversations get somewhere.
    const talk = open[random() < 0.7 ? open.length - 1 : below(open.length)]!;
    const roll = random();
    if (roll < 0.12 && talk.last !== undefined) {
      sent.push({ ...errorAbout(talk, random), timeMs });
      continue;
    }
    sent.push({ ...next(talk, below, sent.length), timeMs });
  }
  return sent;
}

function next(talk: Conversation, below: (limit: number) => number, at: number): Omit<Sent, 'timeMs'> {
  const { flow } = talk;
  const side = below(2) as 0 | 1;
  const flags = below(3) > 0 ? SCRIPT[at % SCRIPT.length]! : FLAGS[below(FLAGS.length)]!;
  const payload = payloadOf(talk, side, flags, below);
  const [src, dst] = side === 0 ? [flow.src, flow.dst] : [flow.dst, flow.src];
  const bytes = ip(plain(src), plain(dst), protocolOf(flow), payload);
  if (side === 0 || talk.last === undefined) talk.last = bytes;
  return {
    bytes,
    text: `${src} > ${dst} ${JSON.stringify(flow)} ${Buffer.from(payload.slice(0, 20)).toString('hex')}`,
  };
}

function payloadOf(talk: Conversation, side: 0 | 1, flags: number, below: (limit: number) => number): number[] {
  const { flow, seq } = talk;
  const [src, dst] = side === 0 ? [flow.src_port!, flow.dst_port!] : [flow.dst_port!, flow.src_port!];
  switch (flow.protocol) {
    case 'tcp': {
      const dataBytes = (flags & PSH) !== 0 ? 10 : 0;
      const strayBytes = below(12) === 0 ? below(200_000) : 0;
      const segment = { seq: seq[side] + strayBytes, ack: seq[side === 0 ? 1 : 0], window: 8000, dataBytes };
      if (strayBytes === 0) seq[side] += dataBytes + ((flags & (SYN | FIN)) !== 0 ? 1 : 0);
      return tcpPayload(src, dst, flags, segment);
    }
    case 'udp':
      return udpPayload(src, dst);
    case 'icmp':
    case 'icmpv6': {
      const answers: Readonly<Record<number, number>> = { 8: 0, 128: 129 };
      const type = flow.icmp_type!;
      return icmpPayload(side === 0 ? type : (answers[type] ?? type), flow.icmp_code!, 7);
    }
    case 136:
      // Coverage 0 = the whole datagram; UDP-Lite always has a checksum.
      return [src >> 8, src & 255, dst >> 8, dst & 255, 0, 0, 1, 1, 1, 2, 3, 4];
    default:
      return [1, 2, 3, 4, 5, 6, 7, 8];
  }
}

/** An error about the conversation's last packet, sent by its destination or by somebody on the way. */
function errorAbout({ flow, last }: Conversation, random: () => number): Omit<Sent, 'timeMs'> {
  const isV4 = flow.src.includes('.');
  const router = isV4 ? '198.51.100.1' : '2001:db9::1';
  const from = random() < 0.6 ? flow.dst : router;
  const to = random() < 0.9 ? flow.src : flow.dst;
  const quote = Array.from(last!.subarray(0, isV4 ? 28 : 48));
  const type = isV4 ? 3 : 1;
  const bytes = ip(plain(from), plain(to), isV4 ? 1 : 58, icmpPayload(type, 3, 0, quote));
  return {
    bytes,
    text: `${from} > ${to} error about ${JSON.stringify(flow)}, quoting ${Buffer.from(quote).toString('hex')}`,
  };
}

function protocolOf({ protocol }: Flow): number {
  const numbers: Readonly<Record<string, number>> = { tcp: 6, udp: 17, icmp: 1, icmpv6: 58 };
  return typeof protocol === 'number' ? protocol : numbers[protocol!]!;
}

/** The address without `::`, as conntrack/packets.ts takes it. */
function plain(text: string): string {
  const { version, words } = parseAddress(text)!;
  if (version === 4) return text;
  return words.flatMap((word) => [(word >>> 16).toString(16), (word & 0xffff).toString(16)]).join(':');
}
