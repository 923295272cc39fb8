import { describe, expect, test } from 'vitest';
import type { SeenFlow } from '../../src/analyze/factors-capture.ts';
import { LOG_LINE_LENGTH_MAX, parseAccessLog, parsePeers, StatementIndex } from '../../src/analyze/factors-logs.ts';

const API = 'spiffe://cluster.local/ns/prod/sa/api';
const START = Date.UTC(2026, 0, 1);

const ENVOY = {
  start_time: '2026-01-01T00:00:00.000Z',
  duration: 1500,
  downstream_remote_address: '10.244.1.10:40001',
  downstream_local_address: '10.244.2.10:8443',
  downstream_peer_uri_san: API,
  downstream_tls_version: 'TLSv1.3',
  response_code: 200,
};
const envoy = (changes: object = {}): string => JSON.stringify({ ...ENVOY, ...changes });
const access = (...lines: string[]) => parseAccessLog('access.log', lines);

describe('Envoy', () => {
  test('says who the peer of a connection was', () => {
    const { statements, problems } = access(envoy());
    expect(problems).toEqual([]);
    expect(statements).toEqual([
      {
        place: 'access.log:1',
        source: 'envoy-log',
        src: '10.244.1.10',
        srcPort: 40001,
        dst: '10.244.2.10',
        dstPort: 8443,
        fromMs: START,
        toMs: START + 1500,
        peer: {
          uris: [API],
          account: { trustDomain: 'cluster.local', namespace: 'prod', account: 'api' },
          problem: undefined,
        },
      },
    ]);
  });

  test('the direct address goes before one that a header may have set; IPv6 in brackets', () => {
    const [statement] = access(
      envoy({ downstream_remote_address: '1.2.3.4:0', downstream_direct_remote_address: '[fd00:0::1]:4' }),
    ).statements;
    expect([statement?.src, statement?.srcPort]).toEqual(['fd00::1', 4]);
  });

  test.each([null, '', '-'])('%j is no certificate', (san) => {
    expect(access(envoy({ downstream_peer_uri_san: san })).statements[0]!.peer).toBeUndefined();
  });

  // Envoy joins names by commas, and a name may hold one.
  test('several names, or one with a comma, name nobody', () => {
    for (const san of [`${API},spiffe://cluster.local/ns/prod/sa/web`, 'spiffe://a,b/ns/prod/sa/web']) {
      expect(access(envoy({ downstream_peer_uri_san: san })).statements[0]!.peer).toEqual({
        uris: [san],
        account: undefined,
        problem: 'several-uri-names',
      });
    }
  });

  test.each([
    ['{', 'not JSON'],
    ['[]', 'neither JSON of Envoy nor a line of ztunnel'],
    [envoy({ downstream_remote_address: undefined }), 'no downstream_remote_address'],
    [envoy({ downstream_remote_address: '10.0.0.1' }), 'no downstream_remote_address'],
    [envoy({ downstream_remote_address: '10.0.0.1:99999' }), 'no downstream_remote_address'],
    [envoy({ downstream_local_address: 'x:1' }), 'no downstream_local_address'],
    [envoy({ start_time: 'yesterday' }), 'no start_time'],
    [envoy({ duration: 'long' }), 'duration is no number'],
    [envoy({ downstream_peer_uri_san: undefined }), 'add %DOWNSTREAM_PEER_URI_SAN%'],
    [envoy({ downstream_peer_uri_san: 7 }), 'is no text'],
    ['x'.repeat(LOG_LINE_LENGTH_MAX + 1), 'too long'],
  ])('a line that is none is named: %.40s', (line, message) => {
    const { statements, problems } = access('', line, envoy());
    expect(problems).toEqual([{ place: 'access.log:2', message: expect.stringContaining(message) }]);
    expect(statements.map(({ place }) => place)).toEqual(['access.log:3']);
  });
});

describe('ztunnel', () => {
  const line = (fields: string, message = 'connection complete'): string =>
    `2026-01-01T00:00:02.000000Z\tinfo\taccess\t${message}\t${fields}`;
  const FIELDS = `src.addr=10.244.1.10:40001 src.workload="api-0" src.namespace="prod" src.identity="${API}" dst.addr=10.244.2.10:15008 dst.hbone_addr=10.244.2.10:8443 dst.identity="spiffe://cluster.local/ns/prod/sa/db" direction="inbound" bytes_sent=1 duration="1.5s"`;

  test('says who the peer was, and when it began', () => {
    expect(access(line(FIELDS)).statements).toMatchObject([
      {
        source: 'ztunnel-log',
        src: '10.244.1.10',
        srcPort: 40001,
        dst: '10.244.2.10',
        dstPort: 15008,
        fromMs: START + 500,
        toMs: START + 2000,
        peer: { uris: [API] },
      },
    ]);
  });

  test('in JSON says the same', () => {
    const fields = Object.fromEntries(
      [...FIELDS.matchAll(/([a-z_.]+)=("[^"]*"|\S+)/g)].map(([, key, value]) => [key!, value!.replaceAll('"', '')]),
    );
    const json = (message: string) =>
      JSON.stringify({ level: 'info', time: '2026-01-01T00:00:02.000000Z', scope: 'access', message, ...fields });
    const { place: _, ...asText } = access(line(FIELDS)).statements[0]!;
    const { statements, passedOver } = access(json('connection complete'), json('workload added'));
    expect([statements, passedOver]).toEqual([[{ place: 'access.log:1', ...asText }], 1]);
    expect(access(json('connection opened')).statements[0]).toMatchObject({ fromMs: START + 2000, toMs: START + 2000 });
  });

  test('without an identity is plain text; other messages are passed over', () => {
    const { statements, passedOver, problems } = access(
      line('src.addr=10.244.1.10:40001 dst.addr=10.244.2.10:8443 direction="inbound"'),
      '2026-01-01T00:00:02.000000Z\tinfo\tproxy\tworkload added',
    );
    expect([statements.length, statements[0]!.peer, passedOver, problems]).toEqual([1, undefined, 1, []]);
  });

  test('a line that cannot be read is named', () => {
    const lines = [
      line('dst.addr=10.244.2.10:8443'),
      line('src.addr=10.244.1.10:1'),
      line(FIELDS.replace('1.5s', 'soon')),
      'connection complete src.addr=1.1.1.1:1 dst.addr=2.2.2.2:2',
    ];
    expect(access(...lines).problems.map(({ place, message }) => `${place} ${message}`)).toEqual([
      'access.log:1 no src.addr of the form ADDRESS:PORT',
      'access.log:2 no dst.addr of the form ADDRESS:PORT',
      'access.log:3 duration is none',
      'access.log:4 the line does not begin with a time',
    ]);
  });
});

describe('a file of identities', () => {
  test('may leave out all but the source and the identity', () => {
    const { statements, problems } = parsePeers('peers.jsonl', [
      JSON.stringify({ src: '10.0.0.1', identity: API }),
      JSON.stringify({
        src: 'FD00::1',
        src_port: 5,
        dst: '10.0.0.2',
        dst_port: 6,
        identity: null,
        from: '2026-01-01T00:00:00Z',
      }),
    ]);
    expect(problems).toEqual([]);
    expect(statements).toMatchObject([
      { src: '10.0.0.1', srcPort: undefined, dst: undefined, fromMs: Number.NEGATIVE_INFINITY, peer: { uris: [API] } },
      { src: 'fd00::1', srcPort: 5, dstPort: 6, fromMs: START, toMs: Number.POSITIVE_INFINITY, peer: undefined },
    ]);
  });

  test.each([
    [{ identity: API }, 'src is no address'],
    [{ src: '10.0.0.256', identity: API }, 'src is no address'],
    [{ src: '10.0.0.1', dst: 'db', identity: API }, 'dst is no address'],
    [{ src: '10.0.0.1', src_port: '5', identity: API }, 'a port is no number'],
    [{ src: '10.0.0.1', from: 'now', identity: API }, 'from and to must be times'],
    [{ src: '10.0.0.1' }, 'identity must be a text, or null'],
  ])('%j is refused', (value, message) => {
    expect(parsePeers('p', [JSON.stringify(value)]).problems[0]!.message).toContain(message);
  });
});

describe('joining', () => {
  const flow = (srcPort: number, startMs: number, endMs = startMs + 100): SeenFlow => ({
    record: {
      proto: 'tcp',
      source_ip: '10.244.1.10',
      source_port: srcPort,
      dest_ip: '10.244.2.10',
      dest_port: 8443,
      source_type: 'net',
      dest_type: 'net',
      action: 'allow',
    },
    source: { accounts: [], pods: [] },
    dest: { accounts: [], pods: [] },
    firstPacket: 1,
    packets: 3,
    startMs,
    endMs,
    tls: undefined,
  });

  test('is by addresses, ports and time, with some slack for clocks', () => {
    const index = new StatementIndex(access(envoy()).statements);
    expect(index.match(flow(40001, START + 200))).toHaveLength(1);
    expect(index.match(flow(40002, START + 200))).toHaveLength(0);
    expect(index.match(flow(40001, START + 3400))).toHaveLength(1);
    expect(index.match(flow(40001, START + 3600))).toHaveLength(0);
    expect(index.match(flow(40001, START - 2200))).toHaveLength(0);
    expect(index.matchedCount).toBe(1);
  });

  test('a line that fits two connections is ambiguous; one of an identities file may fit many', () => {
    const index = new StatementIndex([
      ...access(envoy()).statements,
      ...parsePeers('p', [JSON.stringify({ src: '10.244.1.10', identity: API })]).statements,
    ]);
    expect(index.match(flow(40001, START))).toHaveLength(2);
    expect(index.match(flow(40001, START + 1000))).toHaveLength(2);
    expect(index.match(flow(50000, START + 99_000))).toHaveLength(1);
    expect([...index.ambiguous()].map(([{ place }, flows]) => [place, flows.length])).toEqual([['access.log:1', 2]]);
  });
});
