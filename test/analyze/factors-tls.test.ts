/** Sessions of real programs, whole, cut, torn, resumed, with the wrong keys, and changed on their way. */
import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { KeyStore } from '../../src/analyze/factors-keys.ts';
import { TlsSession } from '../../src/analyze/factors-tls.ts';
import { SessionMemory, type TlsOutcome } from '../../src/analyze/factors-tls-outcome.ts';
import { HalfStream, StreamBudget } from '../../src/analyze/tcp-stream.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import { makeCertificate, spiffe } from '../support/certificate.ts';
import { type RecordedSession, recordSession, type SessionOptions } from '../support/tls-session.ts';

const SERVER = makeCertificate({ names: [spiffe('prod', 'db')] });
const CLIENT = makeCertificate({ names: [spiffe('prod', 'web')], keyType: 'p256' });

/** A stream that holds these bytes, behind a SYN unless it is said otherwise. */
function streamOf(bytes: Uint8Array, hasSyn = true): HalfStream {
  const stream = new HalfStream(new StreamBudget());
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (hasSyn) stream.add(999, true, view, 0, 0, 0);
  stream.add(1000, false, view, 0, bytes.length, bytes.length);
  return stream;
}

interface Reading {
  readonly keys?: string;
  readonly memory?: SessionMemory;
  readonly hasSyn?: boolean;
}

function read(
  client: Uint8Array,
  server: Uint8Array,
  { keys = '', memory = new SessionMemory(), hasSyn = true }: Reading = {},
): TlsOutcome {
  const store = new KeyStore();
  store.addText('keys', keys);
  return new TlsSession(streamOf(client, hasSyn), streamOf(server, hasSyn), store, memory).outcome();
}

const readWhole = (session: RecordedSession, memory?: SessionMemory): TlsOutcome =>
  read(session.client, session.server, { keys: session.keyLog, ...(memory === undefined ? {} : { memory }) });

const isClientCertificate = (outcome: TlsOutcome): boolean =>
  outcome.clientCertificates?.length === 1 && Buffer.from(outcome.clientCertificates[0]!).equals(CLIENT.der);

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;

describe.each(VERSIONS)('%s', (version) => {
  const record = (options: Partial<SessionOptions> = {}) =>
    recordSession({ version, server: SERVER, client: CLIENT, ...options });
  let session: RecordedSession;
  beforeAll(async () => {
    session = await record();
  });

  test.each(['p256', 'p384', 'rsa', 'ed25519'] as const)(
    'a certificate with a key of %s, proved by its signature',
    async (keyType) => {
      const client = makeCertificate({ names: [spiffe('prod', 'web')], keyType });
      const recorded = await record({ client });
      const outcome = readWhole(recorded);
      expect(outcome).toMatchObject({
        transport: 'tls',
        version: version.replace('TLSv', 'TLS '),
        proof: 'signature',
        wasAsked: true,
        isResumed: false,
        gap: undefined,
      });
      expect(Buffer.from(outcome.clientCertificates![0]!).equals(recorded.shown!)).toBe(true);
      expect(Buffer.from(outcome.serverCertificates![0]!).equals(SERVER.der)).toBe(true);
    },
  );

  test('a client that shows nothing, and one that was not asked', async () => {
    const nothing = readWhole(await record({ client: undefined }));
    expect(nothing).toMatchObject({ clientCertificates: [], proof: 'none', wasAsked: true, gap: undefined });
    const unasked = readWhole(await record({ asks: false }));
    expect(unasked).toMatchObject({ clientCertificates: [], proof: 'none', wasAsked: false, gap: undefined });
  });

  test('server name and protocols of the hello', async () => {
    const outcome = readWhole(await record({ serverName: 'db.prod.svc', alpn: ['h2'] }));
    expect(outcome).toMatchObject({ serverName: 'db.prod.svc', alpn: ['h2'] });
  });

  test('cut at every byte of the client: a certificate is whole or a gap says why there is none', () => {
    let withCertificate = 0;
    for (let length = 0; length <= session.client.length; length++) {
      const outcome = read(session.client.subarray(0, length), session.server, { keys: session.keyLog });
      if (outcome.clientCertificates !== undefined) {
        expect(isClientCertificate(outcome), `${length}`).toBe(true);
        withCertificate++;
        expect(outcome.gap !== undefined).toBe(outcome.proof === 'none');
      } else if (length > 0) expect(outcome.gap?.kind, `${length}`).toMatch(/^handshake-(incomplete|not-captured)$/);
    }
    expect(withCertificate).toBeGreaterThan(10);
  });

  test('cut at every byte of the server: no other answer than the right one, or a gap', () => {
    for (let length = 0; length <= session.server.length; length++) {
      const outcome = read(session.client, session.server.subarray(0, length), { keys: session.keyLog });
      if (outcome.gap !== undefined) expect(outcome.proof).not.toBe('signature');
      else expect([isClientCertificate(outcome), outcome.proof]).toEqual([true, 'signature']);
      expect(outcome.proof).not.toBe('wrong');
    }
  });

  test('byte by byte, the server far ahead or far behind: the same', () => {
    const keys = new KeyStore();
    keys.addText('keys', session.keyLog);
    for (const isClientFirst of [true, false]) {
      const [client, server] = [new HalfStream(new StreamBudget()), new HalfStream(new StreamBudget())];
      const reading = new TlsSession(client, server, keys, new SessionMemory());
      const grow = (stream: HalfStream, bytes: Uint8Array): void => {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        stream.add(999, true, view, 0, 0, 0);
        for (let at = 0; at < bytes.length; at++) {
          stream.add(1000 + at, false, view, at, 1, 1);
          reading.advance();
        }
      };
      const sides = [
        [client, session.client],
        [server, session.server],
      ] as const;
      for (const [stream, bytes] of isClientFirst ? sides : [...sides].reverse()) grow(stream, bytes);
      expect(reading.isDone).toBe(true);
      const outcome = reading.outcome();
      expect([isClientCertificate(outcome), outcome.proof, outcome.gap]).toEqual([true, 'signature', undefined]);
    }
  });

  test('2 000 sessions with changed bytes: no throw, and never another certificate that counts as proved', () => {
    const random = new Xorshift32(version === 'TLSv1.2' ? 12 : 13);
    let proved = 0;
    for (let run = 0; run < 2000; run++) {
      const client = Uint8Array.from(session.client);
      const server = Uint8Array.from(session.server);
      for (let changes = random.below(4); changes >= 0; changes--) {
        const side = random.below(2) === 0 ? client : server;
        // Mostly where headers and hellos are.
        const at = random.below(3) === 0 ? random.below(side.length) : random.below(300);
        side[at] = random.below(2) === 0 ? side[at]! ^ (1 << random.below(8)) : random.below(256);
      }
      const outcome = read(
        client.subarray(0, random.below(8) === 0 ? random.below(client.length) : client.length),
        server,
        {
          keys: session.keyLog,
        },
      );
      if (outcome.proof === 'signature') {
        expect(isClientCertificate(outcome)).toBe(true);
        proved++;
      }
      const isAnswered =
        outcome.transport !== 'tls' || outcome.clientCertificates !== undefined || outcome.gap !== undefined;
      expect(isAnswered).toBe(true);
    }
    expect(proved).toBeGreaterThan(20);
  });

  test('absurd lengths, endless records, noise behind a hello', () => {
    const hello = session.client.subarray(0, 5 + ((session.client[3]! << 8) | session.client[4]!));
    const tails = [
      Uint8Array.of(22, 3, 3, 255, 255),
      Uint8Array.of(22, 3, 3, 0, 4, 11, 255, 255, 255),
      new Uint8Array(60_000).fill(22),
      Buffer.concat(Array.from({ length: 9000 }, () => Uint8Array.of(21, 3, 3, 0, 1, 0))),
      Buffer.concat(Array.from({ length: 9000 }, () => Uint8Array.of(22, 3, 3, 0, 1, 0))),
      Buffer.concat(Array.from({ length: 6000 }, () => Uint8Array.of(23, 3, 3, 0, 0))),
      randomBytes(50_000),
    ];
    for (const tail of tails) {
      const outcome = read(Buffer.concat([hello, tail]), session.server, { keys: session.keyLog });
      expect(outcome.transport).toBe('tls');
      expect(outcome.clientCertificates).toBeUndefined();
      expect(outcome.gap).toBeDefined();
    }
  });

  test('a beginning that was not captured', () => {
    for (const from of [1, 40, 600]) {
      const outcome = read(session.client.subarray(from), session.server.subarray(from), {
        hasSyn: false,
        keys: session.keyLog,
      });
      expect(outcome.gap?.kind, `${from}`).toBe('handshake-not-captured');
    }
    expect(read(session.client, new Uint8Array(0), { keys: session.keyLog }).gap).toBeDefined();
    expect(read(new Uint8Array(0), session.server)).toMatchObject({
      transport: 'unknown',
      gap: { kind: 'handshake-not-captured' },
    });
  });

  test('without a SYN, but with the hello, is read as well', () => {
    const outcome = read(session.client, session.server, { keys: session.keyLog, hasSyn: false });
    expect([isClientCertificate(outcome), outcome.proof]).toEqual([true, 'signature']);
  });
});

describe('TLS 1.2', () => {
  const record = (options: Partial<SessionOptions> = {}) =>
    recordSession({ version: 'TLSv1.2', server: SERVER, client: CLIENT, ...options });

  test('a certificate without its key: the signature does not fit', async () => {
    const session = await record();
    // Another certificate of the same length in place of the client's own, which keeps all lengths as they are.
    const other = makeCertificate({ names: [spiffe('prod', 'api')] });
    const at = Buffer.from(session.client).indexOf(CLIENT.der);
    expect(at).toBeGreaterThan(0);
    for (let attempt = other; ; ) {
      if (attempt.der.length !== CLIENT.der.length) {
        // Signatures of ECDSA differ in length by a byte or two.
        attempt = makeCertificate({ names: [spiffe('prod', 'api')] });
        continue;
      }
      const client = Uint8Array.from(session.client);
      client.set(attempt.der, at);
      const outcome = read(client, session.server);
      expect([outcome.proof, outcome.gap]).toEqual(['wrong', undefined]);
      break;
    }
  });

  test('messages in records of one byte, and all in one record', async () => {
    const session = await record();
    const ccs = Buffer.from(session.client).indexOf(Uint8Array.of(20, 3, 3, 0, 1, 1));
    const bodies: Uint8Array[] = [];
    for (let at = 0; at < ccs; ) {
      const length = (session.client[at + 3]! << 8) | session.client[at + 4]!;
      bodies.push(session.client.subarray(at + 5, at + 5 + length));
      at += 5 + length;
    }
    const messages = Buffer.concat(bodies);
    for (const size of [1, 7, messages.length]) {
      const records: Uint8Array[] = [];
      for (let at = 0; at < messages.length; at += size) {
        const body = messages.subarray(at, at + size);
        records.push(Uint8Array.of(22, 3, 3, body.length >> 8, body.length & 255), body);
      }
      const outcome = read(Buffer.concat([...records, session.client.subarray(ccs)]), session.server);
      expect([isClientCertificate(outcome), outcome.proof, outcome.gap]).toEqual([true, 'signature', undefined]);
    }
  });

  test('a session that goes on has the certificate of the one before, if that was read', async () => {
    const ticketKeys = randomBytes(48);
    const first = await record({ ticketKeys });
    const second = await record({ ticketKeys, session: first.session });
    const memory = new SessionMemory();
    expect(readWhole(first, memory).isResumed).toBe(false);
    const outcome = readWhole(second, memory);
    expect([outcome.isResumed, isClientCertificate(outcome), outcome.proof]).toEqual([true, true, 'handshake']);
    const alone = readWhole(second);
    expect([alone.isResumed, alone.clientCertificates, alone.gap?.kind]).toEqual([true, undefined, 'resumed-session']);
  });
});

describe('TLS 1.3', () => {
  const record = (options: Partial<SessionOptions> = {}) =>
    recordSession({ server: SERVER, client: CLIENT, ...options });
  const labels = (log: string, pattern: RegExp): string =>
    log
      .split('\n')
      .filter((line) => pattern.test(line))
      .join('\n');

  test.each([
    'TLS_AES_128_GCM_SHA256',
    'TLS_AES_256_GCM_SHA384',
    'TLS_CHACHA20_POLY1305_SHA256',
    'TLS_AES_128_CCM_SHA256',
    'TLS_AES_128_CCM_8_SHA256',
  ])('with %s', async (ciphers) => {
    const outcome = readWhole(await record({ ciphers }));
    expect([isClientCertificate(outcome), outcome.proof, outcome.gap]).toEqual([true, 'signature', undefined]);
  });

  test('after a HelloRetryRequest', async () => {
    const session = await record({ clientCurves: 'P-521:P-256', serverCurves: 'P-256' });
    expect(session.client.length).toBeGreaterThan((await record()).client.length);
    const outcome = readWhole(session);
    expect([isClientCertificate(outcome), outcome.proof, outcome.gap]).toEqual([true, 'signature', undefined]);
  });

  test('without keys, with those of another session, with half of them', async () => {
    const [session, other] = [await record(), await record()];
    const { client, server, keyLog } = session;
    expect(read(client, server).gap?.kind).toBe('no-keys');
    expect(read(client, server, { keys: other.keyLog }).gap?.kind).toBe('no-keys');
    const secret = /CLIENT_HANDSHAKE_TRAFFIC_SECRET \S+ (\S+)/;
    const wrong = keyLog.replace(secret.exec(keyLog)![1]!, secret.exec(other.keyLog)![1]!);
    const misfit = read(client, server, { keys: wrong });
    expect(misfit).toMatchObject({ clientCertificates: undefined, gap: { kind: 'keys-do-not-fit' } });
    // Both the wrong and the right one: the right one opens it.
    expect(isClientCertificate(read(client, server, { keys: `${wrong}\n${keyLog}` }))).toBe(true);
    const ofClient = read(client, server, { keys: labels(keyLog, /^CLIENT_/) });
    expect([isClientCertificate(ofClient), ofClient.proof, ofClient.gap?.kind]).toEqual([
      true,
      'none',
      'handshake-incomplete',
    ]);
    expect(read(client, server, { keys: labels(keyLog, /^SERVER_/) }).gap?.kind).toBe('no-keys');
  });

  test('a session that goes on with an earlier one has no certificate to read', async () => {
    const ticketKeys = randomBytes(48);
    const first = await record({ ticketKeys });
    const second = await record({ ticketKeys, session: first.session });
    expect(readWhole(second)).toMatchObject({
      isResumed: true,
      clientCertificates: undefined,
      gap: { kind: 'resumed-session' },
    });
  });

  test('of an unknown cipher suite', async () => {
    const session = await record();
    const server = Uint8Array.from(session.server);
    // type, version, length | type, length | version, random, session id of 32 bytes | cipher suite
    const at = 5 + 4 + 2 + 32 + 33;
    expect([server[at], server[at + 1]! & 0xf0]).toEqual([0x13, 0]);
    server[at + 1] = 0x7f;
    expect(read(session.client, server, { keys: session.keyLog }).gap?.kind).toBe('unsupported-cipher');
  });
});

describe('what is not TLS', () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

  test('is plain text from its first byte', () => {
    for (const text of ['G', 'GET / HTTP/1.1\r\n', '\u0000\u0000', '\u0015']) {
      const outcome = read(bytes(text), bytes('HTTP/1.1 200 OK'));
      expect(outcome.transport, text).toBe(text === '\u0015' || text === '\u0000\u0000' ? 'unknown' : 'plain');
    }
    expect(read(bytes(''), bytes('220 ready')).transport).toBe('plain');
    expect(read(bytes(''), bytes('')).transport).toBe('silent');
  });

  test('without its beginning is unknown', () => {
    const outcome = read(bytes('some data'), bytes('more'), { hasSyn: false });
    expect(outcome).toMatchObject({ transport: 'unknown', gap: { kind: 'handshake-not-captured' } });
    const long = read(new Uint8Array(10_000).fill(65), bytes('more'), { hasSyn: false });
    expect(long.gap?.kind).toBe('handshake-not-captured');
  });

  test('PostgreSQL asks for TLS in plain text, and gets it or not', async () => {
    const request = Uint8Array.of(0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f);
    const session = await recordSession({ server: SERVER, client: CLIENT });
    const client = Buffer.concat([request, session.client]);
    const server = Buffer.concat([bytes('S'), session.server]);
    const outcome = read(client, server, { keys: session.keyLog });
    expect([isClientCertificate(outcome), outcome.proof]).toEqual([true, 'signature']);
    expect(read(Buffer.concat([request, bytes('user')]), bytes('N')).transport).toBe('plain');
    for (let length = 1; length <= request.length; length++) {
      expect(read(request.subarray(0, length), new Uint8Array(0)).gap?.kind).toBe('handshake-incomplete');
    }
  });
});

describe('segments that contradict each other', () => {
  test('make a gap, whichever certificate came first', async () => {
    const session = await recordSession({ version: 'TLSv1.2', server: SERVER, client: CLIENT });
    const client = streamOf(session.client);
    const other = Uint8Array.from(session.client, (byte, i) => (i === 400 ? byte ^ 1 : byte));
    client.add(1000, false, new DataView(other.buffer), 0, other.length, other.length);
    const outcome = new TlsSession(client, streamOf(session.server), new KeyStore(), new SessionMemory()).outcome();
    expect(outcome.gap?.kind).toBe('conflicting-segments');
  });
});

describe('key logs', () => {
  test('are read past comments, other labels and line ends of every kind', () => {
    const keys = new KeyStore();
    const random = 'ab'.repeat(32);
    const line = (label: string, secret = '01'.repeat(32)): string => `${label} ${random} ${secret}`;
    keys.addText(
      'keys.log',
      [
        '# a comment',
        '',
        line('CLIENT_HANDSHAKE_TRAFFIC_SECRET'),
        line('CLIENT_TRAFFIC_SECRET_0'),
        line('CLIENT_RANDOM', '02'.repeat(48)),
      ].join('\r\n'),
    );
    keys.addText('more.log', line('SERVER_HANDSHAKE_TRAFFIC_SECRET').toUpperCase());
    expect(keys.problems).toEqual([]);
    expect(keys.size).toBe(2);
    expect(keys.secrets('CLIENT_HANDSHAKE_TRAFFIC_SECRET', random)).toEqual([Buffer.alloc(32, 1)]);
    expect(keys.secrets('SERVER_HANDSHAKE_TRAFFIC_SECRET', random)).toHaveLength(1);
  });

  test('name the lines that are none', () => {
    const keys = new KeyStore();
    keys.addText(
      'keys.log',
      [
        'hello world',
        `CLIENT_HANDSHAKE_TRAFFIC_SECRET ${'ab'.repeat(31)} ${'01'.repeat(32)}`,
        `CLIENT_HANDSHAKE_TRAFFIC_SECRET ${'ab'.repeat(32)} ${'01'.repeat(31)}`,
        `CLIENT_HANDSHAKE_TRAFFIC_SECRET ${'ab'.repeat(32)}`,
      ].join('\n'),
    );
    expect(keys.problems.map(({ place }) => place)).toEqual(['keys.log:1', 'keys.log:2', 'keys.log:3', 'keys.log:4']);
    keys.addText('noise', 'x\n'.repeat(1000));
    expect(keys.problems).toHaveLength(20);
    expect(keys.moreProblems).toBe(984);
  });
});
