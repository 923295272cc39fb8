/**
 * Tracked packets in batches (analyze/tracked-path.ts) against one by one through the judge: the same counts by verdict, step and reason, and
 * the same connection table to the last word. Worlds and conversations are those of stateful.test.ts, which holds one by one against
 * the reference; here each packet may come again, at once or later, and clocks may run backwards.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RuleCounts } from '../../src/analyze/counters.ts';
import { TrackedPath } from '../../src/analyze/tracked-path.ts';
import { foldAddress, formatIpv4, formatIpv6, parseAddress } from '../../src/base/ip.ts';
import { compile } from '../../src/compile/compile.ts';
import { flowHashPorts } from '../../src/conntrack/key.ts';
import { type Conntrack, createConntrack, evictedEntries } from '../../src/conntrack/table.ts';
import { type Counters, countPacket, countUndecoded, createCounters } from '../../src/match/counters.ts';
import { decidingStep, judgeTrackedPacket } from '../../src/match/judge.ts';
import { createJudge, type Judge } from '../../src/match/state.ts';
import { VERDICT_UNCERTAIN } from '../../src/model/flow.ts';
import { createRecordBatch, type RecordBatch } from '../../src/packets/source.ts';
import { buildFrame, type SyntheticAddress, wrapEthernet } from '../../src/packets/synthetic.ts';
import { type CaptureRecord, writePcap, writePcapng } from '../../src/packets/write.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import { decodePacket } from '../../src/wire/decode.ts';
import { decodeQuoted, isIcmpError } from '../../src/wire/quoted.ts';
import { DECODE_OK, PACKET_WORDS } from '../../src/wire/record.ts';
import { tablesOf } from '../analyze/replay-packets.ts';
import { ACK, FIN, ip, RST, SYN, tcpPayload, udpPayload } from '../conntrack/packets.ts';
import { openBytes } from '../packets/read-all.ts';
import { CLUSTER } from '../rows/cluster.ts';
import { networkPolicy, pod } from '../rows/objects.ts';
import { randomTraffic, WORLD } from '../workers/traffic.ts';
import { drawPackets } from './conversation.ts';
import { loadWorld, randomFrom, world } from './world.ts';

const SEED = Number(process.env.MARGAY_SEED ?? 20_260_801) + 4;
const WORLDS = 60;
const PACKETS_A_WORLD = 300;
/** One entry a shard, so that everything is evicted; a few; enough. */
const CAPACITIES = [64, 320, 6400];

/** A judge with its table and counts, one packet after the other. */
class OneByOne {
  readonly judge: Judge;
  readonly ct: Conntrack;
  readonly counters: Counters;
  readonly #records = new Int32Array(2 * PACKET_WORDS);

  constructor(tables: Tables, capacityEntries: number) {
    this.judge = createJudge(tables);
    this.ct = createConntrack({ capacityEntries });
    this.counters = createCounters(tables);
  }

  take({ view, offsets, capturedBytes, wireBytes, linkTypes, seconds, nanos }: RecordBatch, row: number): void {
    const records = this.#records;
    const bytes = wireBytes[row]!;
    const status = decodePacket(view, offsets[row]!, capturedBytes[row]!, bytes, linkTypes[row]!, records, 0);
    if (status !== DECODE_OK) {
      countUndecoded(this.counters, status, bytes);
      return;
    }
    const quotedAt = isIcmpError(records, 0) ? PACKET_WORDS : -1;
    if (quotedAt >= 0) decodeQuoted(view, records, 0, records, quotedAt);
    const timeMs = seconds[row]! * 1000 + nanos[row]! / 1e6;
    const verdict = judgeTrackedPacket(this.judge, this.ct, records, 0, view, timeMs, records, quotedAt);
    countPacket(this.counters, verdict, this.judge.reason, decidingStep(this.judge), bytes);
  }
}

/** Batches over the memory of `way`, which takes what is not plain. */
function pathOf(way: OneByOne): TrackedPath {
  const { judge, ct, counters } = way;
  const slow = (batch: RecordBatch, row: number): void => way.take(batch, row);
  return new TrackedPath({ judge, ct, owners: undefined, counters, slow, times: undefined });
}

function wordOf(address: string): number {
  return parseAddress(address)!.words[0];
}

interface Found {
  readonly counts: unknown;
  readonly table: Buffer;
  readonly evicted: number;
  readonly byLine: number;
}

async function oneByOne(tables: Tables, capture: Uint8Array, capacity: number): Promise<Found> {
  const way = new OneByOne(tables, capacity);
  const reader = await openBytes(capture);
  const batch = createRecordBatch();
  do while (reader.next(batch) > 0) for (let row = 0; row < batch.count; row++) way.take(batch, row);
  while (await reader.fill());
  return found(tables, way, 0);
}

/** `step` cuts the capture into reads of so many bytes. */
async function inBatches(tables: Tables, capture: Uint8Array, capacity: number, step: number): Promise<Found> {
  const way = new OneByOne(tables, capacity);
  const path = pathOf(way);
  const reader = await openBytes(capture, step);
  const batch = createRecordBatch();
  do {
    for (;;) {
      const taken = path.scan(reader, batch);
      if (taken === 0) break;
      if (taken > 0) continue;
      if (reader.next(batch) === 0) break;
      path.batch(batch);
    }
  } while (await reader.fill());
  path.fold(way.counters);
  return found(tables, way, path.linePackets);
}

function found(tables: Tables, { ct, counters }: OneByOne, byLine: number): Found {
  const rules = new RuleCounts();
  rules.addSteps(tables, counters);
  rules.addOthers(counters);
  const { packets, bytes, undecoded } = counters;
  return {
    counts: { packets: [...packets], bytes: [...bytes], undecoded: [...undecoded], rules: rules.sorted() },
    table: Buffer.from(ct.buffer),
    evicted: evictedEntries(ct),
    byLine,
  };
}

/** Each packet once, twice or more often, close by or much later. */
function repeated(records: readonly CaptureRecord[], seed: number): CaptureRecord[] {
  const random = randomFrom(seed);
  const out: CaptureRecord[] = [];
  let ms = 0;
  for (const record of records) {
    ms = record.seconds! * 1000 + record.nanos! / 1e6;
    out.push(record);
    for (let copies = Math.floor(random() * 4); copies > 0; copies--) {
      const which = random() < 0.6 ? record : out[Math.floor(random() * out.length)]!;
      // Mostly forward by little, now and then back.
      const at = Math.max(0, ms + (random() < 0.9 ? Math.floor(random() * 3) : Math.floor(random() * 90_000) - 45_000));
      out.push({ ...which, seconds: Math.floor(at / 1000), nanos: (at % 1000) * 1e6 });
    }
  }
  return out;
}

async function compare(tables: Tables, records: readonly CaptureRecord[], seed: number): Promise<[number, number]> {
  const capacity = CAPACITIES[seed % CAPACITIES.length]!;
  const captures = [writePcap(records), writePcap(records, { isNanos: true }), writePcapng(records)];
  const capture = captures[seed % captures.length]!;
  const wanted = await oneByOne(tables, capture, capacity);
  const got = await inBatches(tables, capture, capacity, seed % 2 === 0 ? capture.length : 5000);
  expect(got.counts).toEqual(wanted.counts);
  expect(got.table.equals(wanted.table)).toBe(true);
  return [got.byLine, wanted.evicted];
}

test('conversations through random worlds', async () => {
  let lined = 0;
  let evicted = 0;
  let number = 0;
  await fc.assert(
    fc.asyncProperty(world, async (drawn) => {
      const tables = openTables(compile(loadWorld(drawn).resources));
      const records = drawPackets(drawn.flowSeed, PACKETS_A_WORLD).map(({ bytes, timeMs }) => ({
        bytes: wrapEthernet(bytes),
        seconds: Math.floor(timeMs / 1000),
        nanos: (timeMs % 1000) * 1e6,
      }));
      const [byLine, thrownOut] = await compare(tables, repeated(records, drawn.flowSeed), number++);
      lined += byLine;
      evicted += thrownOut;
    }),
    { numRuns: WORLDS, seed: SEED, endOnFailure: true },
  );
  expect(lined).toBeGreaterThan(5000);
  expect(evicted).toBeGreaterThan(100);
});

test('traffic of all kinds through a world with services, shared addresses and host endpoints', async () => {
  const { resources } = loadWorld({ documents: [...WORLD], permissive: false, asIs: false, flowSeed: 0 });
  const tables = openTables(compile(resources));
  let lined = 0;
  for (let seed = 1; seed <= 9; seed++) {
    const [byLine] = await compare(tables, repeated(randomTraffic(seed, 1500), seed), seed);
    lined += byLine;
  }
  expect(lined).toBeGreaterThan(1000);
});

/** Marks of evictions accuse the innocent now and then; here they accuse everybody, from the first eviction on. */
test('a denied flow is in doubt from the first eviction of its shard on', async () => {
  const tables = tablesOf([
    ...CLUSTER,
    pod('app/open', { ip: '10.0.0.40' }),
    pod('app/shut', { ip: '10.0.0.41', labels: { app: 'shut' } }),
    networkPolicy('app/none', { selector: 'app == "shut"', types: ['Ingress'], ingress: [] }),
  ]);
  const frame = (dst: string, srcPort: number): Uint8Array =>
    wrapEthernet(ip('198.51.100.9', dst, 17, udpPayload(srcPort, 53)));
  const shardOf = (dst: string, srcPort: number): number => {
    const [src, to] = [wordOf('198.51.100.9'), wordOf(dst)];
    return flowHashPorts(src, to, (srcPort << 16) | 53, 17) >>> 26;
  };
  const denied = frame('10.0.0.41', 1000);
  const shard = shardOf('10.0.0.41', 1000);
  const allowed: Uint8Array[] = [];
  for (let port = 1; allowed.length < 2; port++) {
    if (shardOf('10.0.0.40', port) === shard) allowed.push(frame('10.0.0.40', port));
  }
  for (const before of [[denied, denied], []]) {
    const frames = [...before, ...allowed, ...allowed, denied];
    const after = [denied, denied];
    const ways = [new OneByOne(tables, 64), new OneByOne(tables, 64)];
    for (const [i, way] of ways.entries()) {
      const path = pathOf(way);
      for (const part of [frames, after]) {
        const reader = await openBytes(writePcap(part.map((bytes) => ({ bytes, seconds: 1000 }))));
        const batch = createRecordBatch();
        do {
          while (reader.next(batch) > 0) {
            if (i === 0) for (let row = 0; row < batch.count; row++) way.take(batch, row);
            else path.batch(batch);
          }
        } while (await reader.fill());
        way.ct.filter.fill(-1);
      }
      path.fold(way.counters);
    }
    const [one, batches] = ways.map((way) => found(tables, way, 0));
    expect(batches!.counts).toEqual(one!.counts);
    expect(batches!.table.equals(one!.table)).toBe(true);
    expect(ways[0]!.counters.packets[VERDICT_UNCERTAIN]).toBe(2);
  }
});

/** From SYN to the last ACK with data both ways, resets and stray segments now and then: entries leave the established state under lines that say so. */
test('whole TCP conversations, many at a time', async () => {
  const tables = tablesOf([
    ...CLUSTER,
    pod('app/open', { ip: ['10.0.0.40', 'fd00::40'] }),
    pod('app/far', { ip: ['10.0.1.40', 'fd00::1:40'], node: 'n2' }),
  ]);
  const pairs = [
    ['198.51.100.9', '10.0.0.40'],
    ['10.0.0.40', '10.0.1.40'],
    ['2001:db8:0:0:0:0:0:9', 'fd00:0:0:0:0:0:0:40'],
    ['fd00:0:0:0:0:0:0:40', 'fd00:0:0:0:0:0:1:40'],
  ] as const;
  for (let seed = 1; seed <= 6; seed++) {
    const random = randomFrom(seed);
    const below = (limit: number): number => Math.floor(random() * limit);
    const records: CaptureRecord[] = [];
    const talks = Array.from({ length: 12 }, (_, i) => ({ port: 40_000 + i, next: [1000, 5000], turn: 0 }));
    for (let ms = 1_000_000; records.length < 2500; ms += below(5)) {
      const talk = talks[below(talks.length)]!;
      const script = [SYN, SYN | ACK, ACK, ...new Array(10).fill(ACK), FIN | ACK, ACK, FIN | ACK, ACK, ACK, ACK];
      const flags = below(60) === 0 ? RST : script[talk.turn % script.length]!;
      const side = flags === SYN ? 0 : flags === (SYN | ACK) ? 1 : below(2);
      const dataBytes = flags === ACK && below(2) === 0 ? below(20) : 0;
      if (flags === SYN) talk.next = [below(9000), below(9000)];
      const seq = talk.next[side]! + (below(25) === 0 ? below(200_000) : 0);
      const ack = flags === SYN ? 0 : talk.next[1 - side]!;
      talk.next[side]! += dataBytes + ((flags & (SYN | FIN)) !== 0 ? 1 : 0);
      talk.turn++;
      const ends = pairs[talk.port % pairs.length]!;
      const ports = [talk.port, 80];
      const payload = tcpPayload(ports[side]!, ports[1 - side]!, flags, { seq, ack, window: 9000, dataBytes });
      const bytes = wrapEthernet(ip(ends[side]!, ends[1 - side]!, 6, payload));
      records.push({ bytes, seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1e6 });
    }
    const [byLine] = await compare(tables, records, 2 + 3 * seed);
    expect(byLine).toBeGreaterThan(400);
  }
});

/** What lines compare first is the same of all of these: addresses of IPv6 that fold alike, and those of IPv4 that are the fold. */
test('flows that only whole addresses tell apart', async () => {
  const alike = (w0: number, w1: number, w2: number, address: string): string => {
    const words = parseAddress(address)!.words;
    return formatIpv6(w0, w1, w2, foldAddress(...words) ^ foldAddress(w0, w1, w2, 0));
  };
  const foldOf = (address: string): string => formatIpv4(foldAddress(...parseAddress(address)!.words));
  const [client, server] = ['2001:db8::9', 'fd00::40'];
  const clients = [client, alike(0x20010db8, 1, 0, client), alike(0x20010db8, 0, 7, client)];
  const servers = [server, alike(0xfd000000 | 0, 1, 1, server), alike(0xfd000000 | 0, 5, 0, server)];
  const shut = { labels: { app: 'shut' } };
  const tables = tablesOf([
    ...CLUSTER,
    ...servers.map((ip, i) => pod(`app/pod-${i}`, { ip, ...(i === 1 ? shut : {}) })),
    pod('app/old', { ip: foldOf(server), ...shut }),
    networkPolicy('app/none', { selector: 'app == "shut"', types: ['Ingress'], ingress: [] }),
  ]);
  const pairs = [
    ...clients.flatMap((from) => servers.map((to) => [from, to] as const)),
    [foldOf(client), foldOf(server)] as const,
  ];
  const specs = pairs.map(([from, to]) => ({ src: wordsOf(from), dst: wordsOf(to) }));
  for (let seed = 0; seed < 6; seed++) {
    const random = randomFrom(seed + 1);
    const records = Array.from({ length: 1500 }, (_, i): CaptureRecord => {
      const { src, dst } = specs[Math.floor(random() ** ((seed % 3) + 1) * specs.length)]!;
      const isReply = random() < 0.3;
      const protocol = random() < 0.5 ? 6 : 17;
      const ports = isReply ? { srcPort: 53, dstPort: 4000 } : { srcPort: 4000, dstPort: 53 };
      const ends = isReply ? { src: dst, dst: src } : { src, dst };
      return {
        bytes: buildFrame({ ...ends, ...ports, protocol, tcpFlags: isReply ? SYN | ACK : SYN }),
        seconds: 1000 + (i >> 5),
      };
    });
    const [byLine] = await compare(tables, records, 2 + 3 * seed);
    expect(byLine).toBeGreaterThan(50);
  }
});

function wordsOf(address: string): SyntheticAddress {
  const { version, words } = parseAddress(address)!;
  return version === 4 ? words[0] : words;
}
