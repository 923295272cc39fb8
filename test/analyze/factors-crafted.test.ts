/**
 * Sessions of TLS 1.3 made byte by byte, with secrets of our own: what Node.js's client never sends (early data, compressed
 * certificates, padding), and what only an attacker would.
 */
import { createCipheriv, createHash, createHmac } from 'node:crypto';
import { brotliCompressSync, deflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { KeyStore } from '../../src/analyze/factors-keys.ts';
import { TlsSession } from '../../src/analyze/factors-tls.ts';
import { SessionMemory, type TlsOutcome } from '../../src/analyze/factors-tls-outcome.ts';
import { HalfStream, StreamBudget } from '../../src/analyze/tcp-stream.ts';
import { makeCertificate, spiffe } from '../support/certificate.ts';

const CLIENT = makeCertificate({ names: [spiffe('prod', 'web')] });
const RANDOM = createHash('sha256').update('client').digest();
const SECRETS = { client: Buffer.alloc(32, 1), server: Buffer.alloc(32, 2), early: Buffer.alloc(32, 3) };
const KEYS = [
  `CLIENT_HANDSHAKE_TRAFFIC_SECRET ${RANDOM.toString('hex')} ${SECRETS.client.toString('hex')}`,
  `SERVER_HANDSHAKE_TRAFFIC_SECRET ${RANDOM.toString('hex')} ${SECRETS.server.toString('hex')}`,
].join('\n');

const vector = (size: number, ...parts: Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(size);
  length.writeUIntBE(body.length, 0, size);
  return Buffer.concat([length, body]);
};
const bytes = (...list: number[]): Buffer => Buffer.from(list);
const extension = (type: number, body: Uint8Array): Buffer =>
  Buffer.concat([bytes(type >> 8, type & 255), vector(2, body)]);
const message = (type: number, ...parts: Uint8Array[]): Buffer => Buffer.concat([bytes(type), vector(3, ...parts)]);
const record = (type: number, body: Uint8Array): Buffer => Buffer.concat([bytes(type, 3, 3), vector(2, body)]);

const clientHello = (...extensions: Buffer[]): Buffer =>
  message(1, bytes(3, 3), RANDOM, vector(1), vector(2, bytes(0x13, 1)), vector(1, bytes(0)), vector(2, ...extensions));
const serverHello = (random: Buffer = Buffer.alloc(32, 9)): Buffer =>
  message(2, bytes(3, 3), random, vector(1), bytes(0x13, 1), bytes(0), vector(2, extension(43, bytes(3, 4))));
const RETRY = serverHello(Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex'));

const certificates = (...ders: Uint8Array[]): Buffer =>
  Buffer.concat([vector(1), vector(3, ...ders.map((der) => Buffer.concat([vector(3, der), vector(2)])))]);
const CERTIFICATE = message(11, certificates(CLIENT.der));
const FINISHED = message(20, Buffer.alloc(32));
const CHANGE = record(20, bytes(1));

/** Seals records as RFC 8446 says (5.2, 7.1). */
function sealer(secret: Buffer): (type: number, content: Uint8Array, padding?: number) => Buffer {
  const expand = (label: string, length: number): Buffer => {
    const info = Buffer.concat([
      bytes(length >> 8, length & 255),
      vector(1, Buffer.from(`tls13 ${label}`)),
      bytes(0, 1),
    ]);
    return createHmac('sha256', secret).update(info).digest().subarray(0, length);
  };
  const [key, iv] = [expand('key', 16), expand('iv', 12)];
  let number = 0;
  return (type, content, padding = 0) => {
    const plain = Buffer.concat([content, bytes(type), Buffer.alloc(padding)]);
    const header = bytes(23, 3, 3, (plain.length + 16) >> 8, (plain.length + 16) & 255);
    const nonce = Buffer.from(iv);
    nonce[11]! ^= number++;
    const cipher = createCipheriv('aes-128-gcm', key, nonce);
    cipher.setAAD(header);
    return Buffer.concat([header, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  };
}

function read(client: Uint8Array, server: Uint8Array): TlsOutcome {
  const keys = new KeyStore();
  keys.addText('keys', KEYS);
  const [ofClient, ofServer] = [client, server].map((text) => {
    const stream = new HalfStream(new StreamBudget());
    const view = new DataView(text.buffer, text.byteOffset, text.byteLength);
    stream.add(0, true, view, 0, 0, 0);
    stream.add(1, false, view, 0, text.length, text.length);
    return stream;
  });
  return new TlsSession(ofClient!, ofServer!, keys, new SessionMemory()).outcome();
}

const isClientCertificate = ({ clientCertificates }: TlsOutcome): boolean =>
  clientCertificates?.length === 1 && Buffer.from(clientCertificates[0]!).equals(CLIENT.der);

/** A server's flight that asks for a certificate. */
function serverFlight(): Buffer {
  const seal = sealer(SECRETS.server);
  const flight = Buffer.concat([message(8, vector(2)), message(13, vector(1), vector(2)), FINISHED]);
  return Buffer.concat([record(22, serverHello()), CHANGE, seal(22, flight)]);
}

const HELLO = record(22, clientHello());

describe('the handshake of a client', () => {
  test('sealed by another hand opens the same: several messages in a record, one in several, padded', () => {
    const seal = sealer(SECRETS.client);
    const flight = Buffer.concat([CERTIFICATE, FINISHED]);
    const parts = [
      seal(22, flight.subarray(0, 100), 300),
      seal(22, flight.subarray(100, 101)),
      seal(22, flight.subarray(101), 1),
    ];
    const outcome = read(Buffer.concat([HELLO, CHANGE, ...parts]), serverFlight());
    expect([isClientCertificate(outcome), outcome.wasAsked, outcome.version]).toEqual([true, true, 'TLS 1.3']);
    // Nobody signed anything: the certificate is there, and its key is not.
    expect([outcome.proof, outcome.gap?.kind]).toEqual(['none', 'handshake-incomplete']);
  });

  test('with a signature that is noise is known to be wrong', () => {
    const seal = sealer(SECRETS.client);
    const verify = message(15, bytes(4, 3), vector(2, Buffer.alloc(70, 5)));
    const outcome = read(
      Buffer.concat([HELLO, seal(22, Buffer.concat([CERTIFICATE, verify, FINISHED]))]),
      serverFlight(),
    );
    expect([outcome.proof, outcome.gap]).toEqual(['wrong', undefined]);
  });

  test('behind early data, which nobody opens', () => {
    const hello = record(22, clientHello(extension(42, bytes())));
    const early = sealer(SECRETS.early);
    const seal = sealer(SECRETS.client);
    const noise = Array.from({ length: 20 }, () => early(23, Buffer.alloc(500, 65)));
    const end = early(22, message(5));
    const outcome = read(
      Buffer.concat([hello, CHANGE, ...noise, end, seal(22, CERTIFICATE), seal(22, FINISHED)]),
      serverFlight(),
    );
    expect(isClientCertificate(outcome)).toBe(true);
    const unannounced = read(Buffer.concat([HELLO, ...noise, seal(22, CERTIFICATE)]), serverFlight());
    expect(unannounced.gap?.kind).toBe('keys-do-not-fit');
    const endless = Array.from({ length: 70 }, () => early(23, Buffer.alloc(5)));
    expect(read(Buffer.concat([hello, ...endless, seal(22, CERTIFICATE)]), serverFlight()).gap?.kind).toBe(
      'keys-do-not-fit',
    );
  });

  test('behind early data that a retry refused', () => {
    const hello = clientHello(extension(42, bytes()));
    const early = sealer(SECRETS.early);
    const seal = sealer(SECRETS.client);
    const sealServer = sealer(SECRETS.server);
    const client = [
      record(22, hello),
      early(23, Buffer.alloc(50)),
      CHANGE,
      record(22, clientHello()),
      seal(22, Buffer.concat([CERTIFICATE, FINISHED])),
    ];
    const server = [
      record(22, RETRY),
      CHANGE,
      record(22, serverHello()),
      sealServer(22, Buffer.concat([message(8, vector(2)), FINISHED])),
    ];
    expect(isClientCertificate(read(Buffer.concat(client), Buffer.concat(server)))).toBe(true);
    // The retry alone: the client waits for a hello that never comes.
    expect(read(Buffer.concat(client), record(22, RETRY)).gap?.kind).toBe('handshake-incomplete');
  });

  test('with a compressed certificate: zlib is read, others and lies are not', () => {
    const body = certificates(CLIENT.der);
    const compressed = (algorithm: number, packed: Uint8Array, length = body.length): Buffer => {
      const size = Buffer.alloc(3);
      size.writeUIntBE(length, 0, 3);
      return message(25, bytes(0, algorithm), size, vector(3, packed));
    };
    const readWith = (first: Buffer): TlsOutcome =>
      read(Buffer.concat([HELLO, sealer(SECRETS.client)(22, Buffer.concat([first, FINISHED]))]), serverFlight());
    expect(isClientCertificate(readWith(compressed(1, deflateSync(body))))).toBe(true);
    expect(readWith(compressed(2, brotliCompressSync(body))).gap?.kind).toBe('handshake-malformed');
    expect(readWith(compressed(1, deflateSync(body), body.length - 1)).gap?.kind).toBe('handshake-malformed');
    expect(readWith(compressed(1, deflateSync(Buffer.alloc(10_000_000)), 65_536)).gap?.kind).toBe(
      'handshake-malformed',
    );
    expect(readWith(compressed(1, Buffer.alloc(30))).gap?.kind).toBe('handshake-malformed');
  });

  test('with a certificate in the clear, or with two, is not believed', () => {
    const seal = sealer(SECRETS.client);
    const inTheClear = [HELLO, record(22, message(11, vector(3, vector(3, CLIENT.der)))), CHANGE, seal(22, FINISHED)];
    expect(read(Buffer.concat(inTheClear), serverFlight())).toMatchObject({
      clientCertificates: undefined,
      gap: { kind: 'handshake-malformed', detail: expect.stringContaining('in the clear') },
    });
    const other = makeCertificate({ names: [spiffe('prod', 'api')] });
    const twice = Buffer.concat([CERTIFICATE, message(11, certificates(other.der)), FINISHED]);
    const outcome = read(Buffer.concat([HELLO, sealer(SECRETS.client)(22, twice)]), serverFlight());
    expect(outcome.gap).toEqual({ kind: 'handshake-malformed', detail: 'there is a second Certificate' });
    expect(outcome.proof).toBe('none');
  });

  test('that may go on later is told', () => {
    const hello = record(22, clientHello(extension(49, bytes())));
    const flight = Buffer.concat([message(11, certificates()), FINISHED]);
    const outcome = read(Buffer.concat([hello, sealer(SECRETS.client)(22, flight)]), serverFlight());
    expect([outcome.clientCertificates, outcome.mayAuthenticateLater]).toEqual([[], true]);
  });

  test('that ends with an alert says which', () => {
    const outcome = read(Buffer.concat([HELLO, sealer(SECRETS.client)(21, bytes(2, 42))]), serverFlight());
    expect(outcome).toMatchObject({
      alert: 'client alert 42',
      clientCertificates: undefined,
      gap: { kind: 'handshake-incomplete' },
    });
    const server = Buffer.concat([record(21, bytes(2, 70))]);
    expect(read(HELLO, server)).toMatchObject({
      alert: 'server alert 70',
      gap: { kind: 'handshake-incomplete', detail: expect.stringContaining('server alert 70') },
    });
  });

  test('of a sealed record with nothing in it is refused', () => {
    const seal = sealer(SECRETS.client);
    expect(read(Buffer.concat([HELLO, seal(0, Buffer.alloc(0), 20)]), serverFlight()).gap?.kind).toBe(
      'keys-do-not-fit',
    );
    expect(read(Buffer.concat([HELLO, record(23, Buffer.alloc(5))]), serverFlight()).gap?.kind).toBe('keys-do-not-fit');
  });
});
