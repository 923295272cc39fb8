/**
 * How a connection begins, by the first bytes of both directions: TLS, plain text, or not to be told yet.
 *
 * TLS begins with a handshake record of the client. PostgreSQL's client asks in plain text first (SSLRequest), and TLS starts behind
 * the server's `S`; behind any other answer the connection stays plain.
 */
import { CLIENT_HELLO } from '../wire/tls-handshake.ts';
import {
  TLS_HANDSHAKE,
  TLS_HEADER_BYTES,
  TLS_RECORD_MALFORMED,
  TLS_RECORD_PARTIAL,
  tlsBodyBytes,
} from '../wire/tls-record.ts';
import type { HalfStream } from './tcp-stream.ts';

export interface Opening {
  /** `undefined`: more bytes are needed. */
  readonly transport: 'tls' | 'plain' | undefined;
  /** Bytes of each direction before the first record. */
  readonly clientBytes: number;
  readonly serverBytes: number;
  /** Why no handshake will be seen. */
  readonly missing?: string;
}

const SSL_REQUEST = Uint8Array.of(0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f);
const SSL_REQUEST_GRANTED = 0x53;

/** Of a connection without a SYN: as much is waited for, in case that packets are out of order. */
const MIDSTREAM_BYTES_MAX = 4096;

const UNDECIDED: Opening = { transport: undefined, clientBytes: 0, serverBytes: 0 };
const PLAIN: Opening = { transport: 'plain', clientBytes: 0, serverBytes: 0 };
const TLS: Opening = { transport: 'tls', clientBytes: 0, serverBytes: 0 };

export function openingOf(client: HalfStream, server: HalfStream): Opening {
  const { bytes, length } = client;
  if (length === 0) return UNDECIDED;
  if (SSL_REQUEST.subarray(0, length).every((byte, i) => byte === bytes[i])) {
    if (length < SSL_REQUEST.length || server.length < 1) return UNDECIDED;
    if (server.bytes[0] !== SSL_REQUEST_GRANTED) return PLAIN;
    return { transport: 'tls', clientBytes: SSL_REQUEST.length, serverBytes: 1 };
  }
  const body = tlsBodyBytes(bytes, 0, length);
  if (body === TLS_RECORD_PARTIAL) return UNDECIDED;
  // Whoever joins a connection in its middle may see anything: records, or the inside of one.
  if (body !== TLS_RECORD_MALFORMED && (bytes[0] === TLS_HANDSHAKE || !client.hasStart)) {
    const isHello =
      bytes[0] === TLS_HANDSHAKE && (length <= TLS_HEADER_BYTES || bytes[TLS_HEADER_BYTES] === CLIENT_HELLO);
    return isHello ? TLS : { ...TLS, missing: 'the capture begins behind the handshake' };
  }
  if (client.hasStart) return PLAIN;
  if (length < MIDSTREAM_BYTES_MAX) return UNDECIDED;
  return { ...UNDECIDED, missing: 'the capture has no beginning of the connection' };
}

/** What is left to say of a connection whose opening was not decided when it ended. */
export function unopened(client: HalfStream, server: HalfStream): 'silent' | 'plain' | 'unknown' {
  if (!client.hasData && !server.hasData) return 'silent';
  // The server has spoken and the client has not: TLS always begins with the client, unless the capture lacks its side.
  const isServerFirst = client.hasStart && !client.hasData && server.length > 0;
  return isServerFirst && tlsBodyBytes(server.bytes, 0, server.length) === TLS_RECORD_MALFORMED ? 'plain' : 'unknown';
}
