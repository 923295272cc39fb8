import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import { TlsBytes } from '../../src/wire/tls-bytes.ts';
import {
  CERTIFICATE,
  CLIENT_HELLO,
  HANDSHAKE_MESSAGE_BYTES_MAX,
  type HandshakeMessage,
  HandshakeReader,
  parseCertificates,
  parseCertificateVerify,
  parseClientHello,
  parseServerHello,
  parseSessionTicket,
  SERVER_HELLO,
  TLS_1_2,
  TLS_1_3,
} from '../../src/wire/tls-handshake.ts';
import {
  TLS_BODY_BYTES_MAX,
  TLS_HEADER_BYTES,
  TLS_RECORD_MALFORMED,
  TLS_RECORD_PARTIAL,
  tlsBodyBytes,
} from '../../src/wire/tls-record.ts';
import { makeCertificate, spiffe } from '../support/certificate.ts';
import { type RecordedSession, recordSession } from '../support/tls-session.ts';

describe('records', () => {
  const body = (...bytes: number[]): number => tlsBodyBytes(Uint8Array.from(bytes), 0, bytes.length);

  test.each([
    ['a handshake', [22, 3, 1, 2, 0], 512],
    ['empty application data', [23, 3, 3, 0, 0], 0],
    ['the longest body', [23, 3, 3, TLS_BODY_BYTES_MAX >> 8, TLS_BODY_BYTES_MAX & 255], TLS_BODY_BYTES_MAX],
    ['nothing', [], TLS_RECORD_PARTIAL],
    ['a type alone', [22], TLS_RECORD_PARTIAL],
    ['four bytes', [22, 3, 1, 0], TLS_RECORD_PARTIAL],
    ['one byte too long', [23, 3, 3, TLS_BODY_BYTES_MAX >> 8, (TLS_BODY_BYTES_MAX & 255) + 1], TLS_RECORD_MALFORMED],
    ['an empty handshake', [22, 3, 3, 0, 0], TLS_RECORD_MALFORMED],
    ['another type', [19], TLS_RECORD_MALFORMED],
    ['text', [0x47], TLS_RECORD_MALFORMED],
    ['another major version', [22, 2], TLS_RECORD_MALFORMED],
    ['another minor version', [22, 3, 5], TLS_RECORD_MALFORMED],
  ])('%s', (_name, bytes, expected) => {
    expect(body(...bytes)).toBe(expected);
  });

  test('are read where they stand, and nothing beyond their end', () => {
    const bytes = Uint8Array.of(9, 9, 22, 3, 1, 0, 7, 99);
    expect(tlsBodyBytes(bytes, 2, bytes.length)).toBe(7);
    expect(tlsBodyBytes(bytes, 2, 6)).toBe(TLS_RECORD_PARTIAL);
  });
});

describe('nested vectors', () => {
  test('never pass their end, and say so for good', () => {
    const reader = new TlsBytes(Uint8Array.of(0, 3, 1, 2, 3, 0, 9, 1));
    expect([...reader.vector(2).rest()]).toEqual([1, 2, 3]);
    expect([...reader.vector(2).rest()]).toEqual([]);
    expect(reader.isOver).toBe(true);
    expect(reader.left).toBe(0);
    expect(reader.number(1)).toBe(0);
  });
});

describe('messages', () => {
  const message = (type: number, length: number): Uint8Array =>
    Uint8Array.from([type, length >> 16, (length >> 8) & 255, length & 255, ...new Uint8Array(length).fill(type)]);
  const readAll = (reader: HandshakeReader): HandshakeMessage[] => {
    const found: HandshakeMessage[] = [];
    for (let next = reader.next(); next !== undefined; next = reader.next()) found.push(next);
    return found;
  };

  test('come out whole, however records cut and gather them', () => {
    const stream = Buffer.concat([message(1, 5), message(2, 0), message(11, 3000), message(20, 12)]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 40 }), (sizes) => {
        const reader = new HandshakeReader();
        const found: HandshakeMessage[] = [];
        let at = 0;
        for (let i = 0; at < stream.length; i++) {
          const size = sizes[i % sizes.length]!;
          reader.push(stream.subarray(at, at + size));
          at += size;
          found.push(...readAll(reader));
        }
        expect(found.map(({ type, body }) => [type, body.length])).toEqual([
          [1, 5],
          [2, 0],
          [11, 3000],
          [20, 12],
        ]);
        expect(Buffer.concat(found.map(({ raw }) => raw)).equals(stream)).toBe(true);
        expect(reader.pendingBytes).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test('keep their bytes when more come', () => {
    const reader = new HandshakeReader();
    reader.push(message(1, 300));
    const first = reader.next()!;
    reader.push(message(2, 300));
    readAll(reader);
    expect(first.body.every((byte) => byte === 1)).toBe(true);
  });

  test('that claim too much end the reading, and hold no memory', () => {
    const reader = new HandshakeReader();
    reader.push(message(1, 2));
    const length = HANDSHAKE_MESSAGE_BYTES_MAX + 1;
    reader.push(Uint8Array.of(11, length >> 16, (length >> 8) & 255, length & 255, 1));
    expect(readAll(reader)).toHaveLength(1);
    expect(reader.isTooLong).toBe(true);
    reader.push(message(1, 2));
    expect(reader.next()).toBeUndefined();
  });

  test('of the longest length are read', () => {
    const reader = new HandshakeReader();
    reader.push(message(11, HANDSHAKE_MESSAGE_BYTES_MAX));
    expect(reader.next()?.body.length).toBe(HANDSHAKE_MESSAGE_BYTES_MAX);
  });
});

/** The messages in the clear of a real session. */
function clearMessages(stream: Uint8Array): HandshakeMessage[] {
  const reader = new HandshakeReader();
  const found: HandshakeMessage[] = [];
  let at = 0;
  for (;;) {
    const bytes = tlsBodyBytes(stream, at, stream.length);
    if (bytes < 0 || stream[at] !== 22) return found;
    reader.push(stream.subarray(at + TLS_HEADER_BYTES, at + TLS_HEADER_BYTES + bytes));
    for (let next = reader.next(); next !== undefined; next = reader.next()) found.push(next);
    at += TLS_HEADER_BYTES + bytes;
  }
}

describe('of real sessions', () => {
  const certificate = makeCertificate({ names: [spiffe('prod', 'web')] });
  let old: RecordedSession;
  let recent: RecordedSession;
  beforeAll(async () => {
    const options = { server: certificate, client: certificate, alpn: ['h2', 'http/1.1'], serverName: 'db.prod.svc' };
    old = await recordSession({ ...options, version: 'TLSv1.2' });
    recent = await recordSession(options);
  });
  const of = (stream: Uint8Array, type: number): HandshakeMessage =>
    clearMessages(stream).find((message) => message.type === type)!;

  test('hellos say the version, the session and what is asked for', () => {
    const hello = parseClientHello(of(recent.client, CLIENT_HELLO).body)!;
    expect(hello).toMatchObject({ serverName: 'db.prod.svc', alpn: ['h2', 'http/1.1'], offersPreSharedKey: false });
    expect(recent.keyLog).toContain(hello.random);
    expect(parseServerHello(of(recent.server, SERVER_HELLO).body)).toMatchObject({ version: TLS_1_3, isRetry: false });
    expect(parseServerHello(of(old.server, SERVER_HELLO).body)).toMatchObject({ version: TLS_1_2 });
  });

  test('certificates come out as they went in', () => {
    const { body } = of(old.client, CERTIFICATE);
    expect(parseCertificates(body, TLS_1_2)!.map((der) => Buffer.from(der).equals(certificate.der))).toEqual([true]);
    expect(parseCertificates(Uint8Array.of(0, 0, 0), TLS_1_2)).toEqual([]);
    expect(parseCertificates(Uint8Array.of(0, 0, 0, 0), TLS_1_3)).toEqual([]);
    expect(parseCertificates(Uint8Array.of(0, 0, 0, 0), TLS_1_2)).toBeUndefined();
  });

  const PARSERS = [
    parseClientHello,
    parseServerHello,
    parseCertificateVerify,
    parseSessionTicket,
    (body: Uint8Array) => parseCertificates(body, TLS_1_2),
    (body: Uint8Array) => parseCertificates(body, TLS_1_3),
  ] as const;

  test('cut at every byte are refused or read, never past their end', () => {
    for (const message of [
      ...clearMessages(old.client),
      ...clearMessages(old.server),
      ...clearMessages(recent.client),
    ]) {
      for (const parse of PARSERS) {
        const whole = JSON.stringify(parse(message.body));
        for (let length = 0; length < message.body.length; length++) {
          // In a buffer of its own: a read past the end would be of nothing, not of the rest.
          const answer = parse(message.body.slice(0, length));
          if (message.type === CERTIFICATE) expect(JSON.stringify(answer) === whole && whole !== undefined).toBe(false);
        }
      }
    }
  });

  test('with flipped, grown and shrunk bytes make no parser throw', () => {
    const random = new Xorshift32(8443);
    const messages = [...clearMessages(old.client), ...clearMessages(old.server), ...clearMessages(recent.server)];
    for (let run = 0; run < 4000; run++) {
      const body = Uint8Array.from(messages[random.below(messages.length)]!.body);
      for (let flips = random.below(6); flips >= 0; flips--)
        body[random.below(Math.max(1, body.length))] = random.below(256);
      const cut = random.below(4) === 0 ? body.slice(0, random.below(body.length + 1)) : body;
      for (const parse of PARSERS) parse(cut);
    }
  });
});
