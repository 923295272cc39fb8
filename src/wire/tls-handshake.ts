/**
 * TLS handshake messages (RFC 8446 section 4, RFC 5246 section 7.4): out of record bodies, and into what they say.
 *
 *   record   | 22 | 3.3 | 0x40 |  01 00 00 52 …                     one message may be spread over many records,
 *   record   | 22 | 3.3 | 0x1e |  …        0b 00 03 …               and one record may hold several
 *            message: type, length (3 bytes), body
 *
 * Parsers answer `undefined` to what is malformed and never throw. What they return are views of the message; a message of
 * `HandshakeReader` has memory of its own and may be kept.
 */
import { TlsBytes } from './tls-bytes.ts';

export const CLIENT_HELLO = 1;
export const SERVER_HELLO = 2;
export const NEW_SESSION_TICKET = 4;
export const CERTIFICATE = 11;
export const CERTIFICATE_REQUEST = 13;
export const CERTIFICATE_VERIFY = 15;
export const FINISHED = 20;
export const COMPRESSED_CERTIFICATE = 25;

export const TLS_1_2 = 0x0303;
export const TLS_1_3 = 0x0304;

/** A chain of certificates is a few kilobytes; what claims more is damaged, or an attack on the reader. */
export const HANDSHAKE_MESSAGE_BYTES_MAX = 65_536;
/** Certificates of one message that are kept; nothing behind the first is asked for but its number. */
const CERTIFICATES_MAX = 16;

const HEADER_BYTES = 4;
const RANDOM_BYTES = 32;

const EXTENSION_SERVER_NAME = 0;
const EXTENSION_ALPN = 16;
const EXTENSION_SESSION_TICKET = 35;
const EXTENSION_PRE_SHARED_KEY = 41;
const EXTENSION_EARLY_DATA = 42;
const EXTENSION_SUPPORTED_VERSIONS = 43;
const EXTENSION_POST_HANDSHAKE_AUTH = 49;

/** SHA-256 of "HelloRetryRequest": a ServerHello with this random is one (RFC 8446, 4.1.3). */
const RETRY_RANDOM = 'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c';

export interface HandshakeMessage {
  readonly type: number;
  readonly body: Uint8Array;
  /** Header and body, as the transcript has it. */
  readonly raw: Uint8Array;
}

/** Puts the messages of one direction together. Holds at most one message and one record body. */
export class HandshakeReader {
  #bytes: Uint8Array = new Uint8Array(0);
  #start = 0;
  #end = 0;
  /** A message claims more than HANDSHAKE_MESSAGE_BYTES_MAX: nothing after it can be read. */
  isTooLong = false;

  /** Adds the body of a record (a copy). */
  push(body: Uint8Array): void {
    if (this.isTooLong || body.length === 0) return;
    const kept = this.#end - this.#start;
    if (this.#end + body.length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(2 * kept, kept + body.length, 512));
      larger.set(this.#bytes.subarray(this.#start, this.#end));
      this.#bytes = larger;
      this.#start = 0;
      this.#end = kept;
    }
    this.#bytes.set(body, this.#end);
    this.#end += body.length;
  }

  /** The next whole message. */
  next(): HandshakeMessage | undefined {
    const available = this.#end - this.#start;
    if (this.isTooLong || available < HEADER_BYTES) return undefined;
    const bytes = this.#bytes;
    const at = this.#start;
    const bodyBytes = (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    if (bodyBytes > HANDSHAKE_MESSAGE_BYTES_MAX) {
      this.isTooLong = true;
      this.#bytes = new Uint8Array(0);
      return undefined;
    }
    if (available < HEADER_BYTES + bodyBytes) return undefined;
    this.#start += HEADER_BYTES + bodyBytes;
    const raw = bytes.slice(at, this.#start);
    return { type: raw[0]!, body: raw.subarray(HEADER_BYTES), raw };
  }

  /** Bytes of a message that has begun and not ended. */
  get pendingBytes(): number {
    return this.#end - this.#start;
  }
}

export interface ClientHello {
  /** Lower-case hex, by which key logs name the session. */
  readonly random: string;
  /** Hex, `''` if empty. */
  readonly sessionId: string;
  /** The session ticket of TLS 1.2 and older in hex, `''` = none. */
  readonly ticket: string;
  readonly serverName: string;
  readonly alpn: readonly string[];
  readonly offersEarlyData: boolean;
  readonly offersPreSharedKey: boolean;
  readonly offersPostHandshakeAuth: boolean;
}

export function parseClientHello(body: Uint8Array): ClientHello | undefined {
  const reader = new TlsBytes(body);
  reader.number(2);
  const random = hex(reader.take(RANDOM_BYTES));
  const sessionId = hex(reader.vector(1).rest());
  reader.vector(2);
  reader.vector(1);
  if (reader.isOver) return undefined;
  const extensions = readExtensions(reader);
  if (extensions === undefined) return undefined;
  const of = (type: number): Uint8Array | undefined => extensions.get(type);
  return {
    random,
    sessionId,
    ticket: hex(of(EXTENSION_SESSION_TICKET) ?? NOTHING),
    serverName: serverName(of(EXTENSION_SERVER_NAME)),
    alpn: protocolNames(of(EXTENSION_ALPN)),
    offersEarlyData: extensions.has(EXTENSION_EARLY_DATA),
    offersPreSharedKey: extensions.has(EXTENSION_PRE_SHARED_KEY),
    offersPostHandshakeAuth: extensions.has(EXTENSION_POST_HANDSHAKE_AUTH),
  };
}

export interface ServerHello {
  /** What both sides speak from here on. */
  readonly version: number;
  readonly sessionId: string;
  readonly cipherSuite: number;
  readonly isRetry: boolean;
  /** TLS 1.3: an earlier session goes on, so no certificates come. */
  readonly usesPreSharedKey: boolean;
}

export function parseServerHello(body: Uint8Array): ServerHello | undefined {
  const reader = new TlsBytes(body);
  const legacyVersion = reader.number(2);
  const random = hex(reader.take(RANDOM_BYTES));
  const sessionId = hex(reader.vector(1).rest());
  const cipherSuite = reader.number(2);
  reader.number(1);
  if (reader.isOver) return undefined;
  const extensions = readExtensions(reader);
  if (extensions === undefined) return undefined;
  const selected = extensions.get(EXTENSION_SUPPORTED_VERSIONS);
  const version = selected?.length === 2 ? (selected[0]! << 8) | selected[1]! : legacyVersion;
  const usesPreSharedKey = extensions.has(EXTENSION_PRE_SHARED_KEY);
  return { version, sessionId, cipherSuite, isRetry: random === RETRY_RANDOM, usesPreSharedKey };
}

/** The certificates of a Certificate message as DER, the sender's own first; none = the sender has none to show. */
export function parseCertificates(body: Uint8Array, version: number): readonly Uint8Array[] | undefined {
  const reader = new TlsBytes(body);
  if (version >= TLS_1_3) reader.vector(1);
  const list = reader.vector(3);
  const certificates: Uint8Array[] = [];
  while (list.left > 0) {
    const certificate = list.vector(3).rest();
    if (version >= TLS_1_3) list.vector(2);
    if (certificates.length < CERTIFICATES_MAX) certificates.push(certificate);
  }
  return reader.isOver || list.isOver || reader.left > 0 ? undefined : certificates;
}

export interface CertificateVerify {
  /** SignatureScheme; in TLS 1.2 the same two bytes are hash and signature algorithm. */
  readonly scheme: number;
  readonly signature: Uint8Array;
}

/** TLS 1.2 and newer; older versions have no scheme in it. */
export function parseCertificateVerify(body: Uint8Array): CertificateVerify | undefined {
  const reader = new TlsBytes(body);
  const scheme = reader.number(2);
  const signature = reader.vector(2).rest();
  return reader.isOver || reader.left > 0 ? undefined : { scheme, signature };
}

/** The ticket of a NewSessionTicket of TLS 1.2 and older, in hex. */
export function parseSessionTicket(body: Uint8Array): string | undefined {
  const reader = new TlsBytes(body);
  reader.take(4);
  const ticket = hex(reader.vector(2).rest());
  return reader.isOver ? undefined : ticket;
}

/** Extensions by type, the first of each; an absent block is an empty one. */
function readExtensions(reader: TlsBytes): ReadonlyMap<number, Uint8Array> | undefined {
  const found = new Map<number, Uint8Array>();
  if (reader.left === 0) return found;
  const list = reader.vector(2);
  while (list.left > 0) {
    const type = list.number(2);
    const value = list.vector(2).rest();
    if (!list.isOver && !found.has(type)) found.set(type, value);
  }
  return reader.isOver || list.isOver ? undefined : found;
}

/** The host name of a server_name extension, `''` without one. */
function serverName(extension: Uint8Array | undefined): string {
  if (extension === undefined) return '';
  const list = new TlsBytes(extension).vector(2);
  const type = list.number(1);
  const name = list.vector(2).rest();
  return type === 0 && !list.isOver ? latin(name) : '';
}

function protocolNames(extension: Uint8Array | undefined): readonly string[] {
  if (extension === undefined) return [];
  const list = new TlsBytes(extension).vector(2);
  const names: string[] = [];
  while (list.left > 0) names.push(latin(list.vector(1).rest()));
  return list.isOver ? [] : names;
}

const NOTHING = new Uint8Array(0);

function latin(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 255));
}

function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}
