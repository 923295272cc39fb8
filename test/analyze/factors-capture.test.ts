/** Captures to flows with their handshakes: segments lost, doubled, out of order, cut; many connections; tunnels; secrets anywhere. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CaptureSource, type ReadOptions, readFlows, type SeenFlow } from '../../src/analyze/factors-capture.ts';
import { parseCertificate } from '../../src/analyze/factors-certificate.ts';
import { KeyStore } from '../../src/analyze/factors-keys.ts';
import { StreamBudget } from '../../src/analyze/tcp-stream.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { buildFragments, wrapEthernet, Xorshift32 } from '../../src/packets/synthetic.ts';
import type { CaptureRecord } from '../../src/packets/write.ts';
import { openTables } from '../../src/tables/tables.ts';
import { makeCertificate, spiffe } from '../support/certificate.ts';
import { address, captureOf, connection, type Ends, recordsOf, type Segment } from '../support/tcp-capture.ts';
import { type RecordedSession, recordSession } from '../support/tls-session.ts';

const LESSON = 'pcaps/two-factor';
const tables = openTables(
  compile(
    loadResources(
      ['cluster.yaml', 'policies.yaml'].map((name) => ({ name, text: readFileSync(`${LESSON}/${name}`, 'utf8') })),
    ).resources,
  ),
);
const ENDS: Ends = { src: '10.244.1.10', srcPort: 40000, dst: '10.244.2.10', dstPort: 8443 };
const WEB = 'spiffe://cluster.local/ns/prod/sa/web';

let folder: string;
let old: RecordedSession;
let recent: RecordedSession;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'margay-factors-'));
  const server = makeCertificate({ names: [spiffe('prod', 'db')] });
  const client = makeCertificate({ names: [spiffe('prod', 'web')] });
  old = await recordSession({ version: 'TLSv1.2', server, client });
  recent = await recordSession({ server, client });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Read {
  readonly flows: SeenFlow[];
  readonly sources: readonly CaptureSource[];
  readonly keys: KeyStore;
  readonly evicted: number;
}

async function read(captures: readonly Uint8Array[], options: Partial<ReadOptions> = {}): Promise<Read> {
  const files = captures.map((bytes, index) => {
    const file = join(folder, `${index}.pcapng`);
    writeFileSync(file, bytes);
    return file;
  });
  const flows: SeenFlow[] = [];
  const keys = options.keys ?? new KeyStore();
  const { sources, evicted } = await readFlows(tables, files, { onFlow: (flow) => flows.push(flow), ...options, keys });
  return { flows, sources, keys, evicted };
}

const readRecords = async (records: readonly CaptureRecord[], keyLog = '', options: Partial<ReadOptions> = {}) =>
  (await read([captureOf(records, keyLog)], options)).flows;

/** The URI of the client's certificate, or why there is none. */
function said({ tls }: SeenFlow): string {
  const own = tls?.clientCertificates?.[0];
  if (own !== undefined) return `${parseCertificate(own)?.uris.join()} ${tls?.proof}`;
  return tls?.gap?.kind ?? tls?.transport ?? 'no tcp';
}

const BOTH = [
  ['TLS 1.2', () => old],
  ['TLS 1.3', () => recent],
] as const;

describe.each(BOTH)('a connection of %s', (_version, session) => {
  const expectWeb = async (segments: readonly Segment[]): Promise<void> => {
    const flows = await readRecords(recordsOf(segments), session().keyLog);
    expect(flows.map(said)).toEqual([`${WEB} signature`]);
  };

  test.each([1448, 100, 7])('in segments of %i bytes', async (bytesMax) => {
    await expectWeb(connection(ENDS, session().pieces, { bytesMax }));
  });

  test('out of order, doubled, overlapping, by IPv6 and from a VLAN', async () => {
    const random = new Xorshift32(5);
    for (let run = 0; run < 20; run++) {
      const segments = connection(ENDS, session().pieces, { bytesMax: 90, hasEnd: false });
      for (let i = 3; i < segments.length - 1; i++) {
        const j = Math.min(segments.length - 1, i + random.below(6));
        [segments[i], segments[j]] = [segments[j]!, segments[i]!];
      }
      const again = segments.filter(() => random.below(3) === 0);
      // The same bytes in one longer segment: it overlaps with its neighbours.
      const longer = connection(ENDS, session().pieces, { bytesMax: 130, hasEnd: false }).filter(
        () => random.below(4) === 0,
      );
      await expectWeb([...segments.slice(0, 3), ...longer, ...segments.slice(3), ...again]);
    }
    await expectWeb(connection({ ...ENDS, src: 'fd00:10:244:1::10', dst: 'fd00:10:244:2::10' }, session().pieces));
    const tagged = connection(ENDS, session().pieces).map((each) => ({
      ...each,
      spec: { ...each.spec, vlanIds: [7] },
    }));
    await expectWeb(tagged);
  });

  test('without its SYN, without both, and beginning with the SYN-ACK', async () => {
    const segments = connection(ENDS, session().pieces);
    await expectWeb(segments.slice(2));
    const [flow] = await readRecords(recordsOf(segments.slice(1)), session().keyLog);
    expect([flow!.record.source_ip, flow!.record.dest_port, said(flow!)]).toEqual([ENDS.src, 8443, `${WEB} signature`]);
  });

  test('with a lost segment has a gap, at every place of the client', async () => {
    const segments = connection(ENDS, session().pieces, { bytesMax: 60 });
    let gaps = 0;
    for (let lost = 3; lost < segments.length - 2; lost++) {
      if (!segments[lost]!.isClient) continue;
      const [flow] = await readRecords(recordsOf(segments.filter((_, index) => index !== lost)), session().keyLog);
      const answer = said(flow!);
      if (flow!.tls?.gap !== undefined) gaps++;
      // In TLS 1.2 the server's going on is proof enough where the signature itself is lost.
      else expect(answer).toMatch(/^spiffe:\/\/cluster.local\/ns\/prod\/sa\/web (signature|handshake)$/);
    }
    expect(gaps).toBeGreaterThan(5);
  });

  test('with packets cut by the capture says so', async () => {
    const records = recordsOf(connection(ENDS, session().pieces)).map((record) => ({
      ...record,
      wireBytes: record.bytes.length,
      bytes: record.bytes.slice(0, 150),
    }));
    const [flow] = await readRecords(records, session().keyLog);
    expect(flow!.tls?.gap).toMatchObject({
      kind: 'handshake-incomplete',
      detail: expect.stringContaining('snap length'),
    });
  });

  test('in a tunnel is read inside it', async () => {
    const inner = recordsOf(connection(ENDS, session().pieces));
    const records = inner.map((record, index) => {
      const payload = Buffer.concat([Uint8Array.of(8, 0, 0, 0, 0, 0, 42, 0), record.bytes]);
      const outer = { src: '192.168.56.11', srcPort: 50_000, dst: '192.168.56.12', dstPort: 4789 };
      const spec = {
        src: address(outer.src),
        dst: address(outer.dst),
        protocol: 17,
        srcPort: outer.srcPort,
        dstPort: outer.dstPort,
        payload,
      };
      return { ...record, bytes: recordsOf([{ isClient: true, spec }])[0]!.bytes, nanos: index * 1000 };
    });
    expect((await readRecords(records, session().keyLog)).map(said)).toEqual([`${WEB} signature`]);
  });

  test('once more on the same ports is another flow', async () => {
    const once = recordsOf(connection(ENDS, session().pieces));
    const plain = [{ isClient: true, bytes: new TextEncoder().encode('hello') }];
    const again = recordsOf(connection(ENDS, plain), 1_790_000_100);
    const flows = await readRecords([...once, ...again], session().keyLog);
    expect(flows.map(said)).toEqual([`${WEB} signature`, 'plain']);
    expect(flows.map(({ firstPacket, packets }) => [firstPacket, packets])).toEqual([
      [1, once.length],
      [once.length + 1, again.length],
    ]);
    expect(flows[1]!.startMs - flows[0]!.startMs).toBe(100_000);
  });
});

describe('a SYN', () => {
  test('of another number is another flow, one sent again is not', async () => {
    const first = connection(ENDS, old.pieces, { hasEnd: false });
    const plain = [{ isClient: true, bytes: new TextEncoder().encode('hello') }];
    const flows = await readRecords(
      recordsOf([first[0]!, ...first, first[0]!, ...connection(ENDS, plain, { clientIsn: 5, hasEnd: false })]),
    );
    expect(flows.map(said)).toEqual([`${WEB} signature`, 'plain']);
    expect(flows.map(({ packets }) => packets)).toEqual([first.length + 2, 4]);
  });
});

describe('secrets', () => {
  test('count wherever in the file they stand, and from another file', async () => {
    const records = recordsOf(connection(ENDS, recent.pieces));
    for (const isBehind of [false, true]) {
      const { flows } = await read([captureOf(records, recent.keyLog, isBehind)]);
      expect(flows.map(said)).toEqual([`${WEB} signature`]);
    }
    const open = records.slice(0, -2);
    const { flows } = await read([captureOf(open), captureOf([], recent.keyLog)]);
    expect(flows.map(said)).toEqual([`${WEB} signature`]);
    expect((await readRecords(records)).map(said)).toEqual(['no-keys']);
  });

  test('that are damaged are reported with their place', async () => {
    const { keys, flows } = await read([captureOf(recordsOf(connection(ENDS, old.pieces)), '# fine\nnonsense here\n')]);
    expect(flows.map(said)).toEqual([`${WEB} signature`]);
    expect(keys.problems).toEqual([
      { place: `${join(folder, '0.pcapng')}, secrets block 1, line:2`, message: expect.stringContaining('not a line') },
    ]);
  });
});

describe('many connections', () => {
  const many = (count: number, bytesMax = 1448): CaptureRecord[] => {
    const all = Array.from({ length: count }, (_, index) =>
      connection({ ...ENDS, srcPort: 20_000 + index }, old.pieces, { hasEnd: false, bytesMax }),
    );
    const segments: Segment[] = [];
    // All at one time: the first segment of each, then the second of each.
    for (let step = 0; segments.length < all.length * all[0]!.length; step++)
      for (const each of all) segments.push(each[step]!);
    return recordsOf(segments);
  };

  test('at one time are each read', async () => {
    const flows = await readRecords(many(300, 200));
    expect(flows).toHaveLength(300);
    expect(new Set(flows.map(said))).toEqual(new Set([`${WEB} signature`]));
  });

  test('past the limit of flows close early, the oldest first', async () => {
    const { flows, evicted } = await read([captureOf(many(50))], { flowsMax: 20 });
    expect(evicted).toBe(flows.length - 20);
    expect(flows.length).toBeGreaterThan(50);
    expect(flows.reduce((sum, { packets }) => sum + packets, 0)).toBe(many(50).length);
  });

  test('past the memory for handshakes say so, and the memory is kept', async () => {
    const budget = new StreamBudget(40_000);
    const flows = await readRecords(many(200, 100), '', { budget });
    const counts = new Map<string, number>();
    for (const flow of flows) counts.set(said(flow), (counts.get(said(flow)) ?? 0) + 1);
    expect(flows).toHaveLength(200);
    expect(counts.get('evicted')).toBeGreaterThan(100);
    expect(budget.bytesUsed).toBe(0);
  });

  test('streams give their memory back when they are read', async () => {
    const budget = new StreamBudget();
    let most = 0;
    const records = Array.from({ length: 200 }, (_, index) =>
      recordsOf(connection({ ...ENDS, srcPort: 20_000 + index }, old.pieces, { hasEnd: false })),
    ).flat();
    await readRecords(records, '', {
      budget,
      onFlow: () => {
        most = Math.max(most, budget.bytesUsed);
      },
    });
    expect(most).toBeLessThan(20_000);
  });
});

describe('what is no TCP connection', () => {
  test('UDP is a flow, fragments and ICMP are passed over and counted', async () => {
    const [src, dst] = [address(ENDS.src), address(ENDS.dst)];
    const udp = { src, dst, protocol: 17, srcPort: 5000, dstPort: 53, payload: new Uint8Array(30) };
    const frames = [
      ...recordsOf([
        { isClient: true, spec: udp },
        { isClient: true, spec: { src, dst, protocol: 1 } },
      ]),
      ...buildFragments({ ...udp, payload: new Uint8Array(3000) }, 1400).map((packet) => ({
        bytes: wrapEthernet(packet),
      })),
      { bytes: Uint8Array.of(1, 2, 3) },
    ];
    const { flows, sources } = await read([captureOf(frames)]);
    expect(flows.map(({ record, tls, packets }) => [record.proto, record.dest_port, tls, packets])).toEqual([
      ['udp', 53, undefined, 1],
    ]);
    expect(sources[0]).toMatchObject({ packets: frames.length, passedOver: frames.length - 1, error: null });
  });

  test('a damaged capture tells where it ends, and what came before counts', async () => {
    const whole = captureOf(recordsOf(connection(ENDS, old.pieces)));
    const { flows, sources } = await read([whole.slice(0, whole.length - 10)]);
    expect(flows.map(said)).toEqual([`${WEB} signature`]);
    expect(sources[0]!.error).toContain('cut off');
  });
});

describe('the lesson, changed', () => {
  test('500 times by seeded flips, cuts and repetitions: no throw, and no certificate that nobody showed', async () => {
    const genuine = new Set<string>();
    const file = readFileSync(`${LESSON}/capture.pcapng`);
    const honest = await read([file]);
    for (const { tls } of honest.flows)
      for (const der of tls?.clientCertificates ?? []) genuine.add(Buffer.from(der).toString('hex'));
    expect(genuine.size).toBe(3);
    const random = new Xorshift32(2026);
    let proved = 0;
    for (let run = 0; run < 500; run++) {
      const bytes = Uint8Array.from(file);
      for (let flips = random.below(30); flips >= 0; flips--) {
        const at = 900 + random.below(bytes.length - 900);
        bytes[at] = bytes[at]! ^ (1 << random.below(8));
      }
      const cut = random.below(5) === 0 ? bytes.slice(0, random.below(bytes.length)) : bytes;
      const { flows } = await read([cut]);
      for (const { tls } of flows) {
        if (tls?.proof !== 'signature') continue;
        proved++;
        expect(genuine.has(Buffer.from(tls.clientCertificates![0]!).toString('hex'))).toBe(true);
      }
    }
    expect(proved).toBeGreaterThan(500);
  });
});
