/**
 * Whether whoever shows a certificate has its key: the client's signature over the handshake (RFC 8446, 4.4.3; RFC 5246, 7.4.8).
 *
 *   TLS 1.2   signature over   ClientHello, all messages of the server up to ServerHelloDone, Certificate, ClientKeyExchange
 *   TLS 1.3   signature over   64 blanks, "TLS 1.3, client CertificateVerify", 0, hash of all messages before it: ClientHello,
 *                              ServerHello … Finished of the server, Certificate (after a HelloRetryRequest the first hello is
 *                              there by its hash)
 */
import { constants, createHash, verify } from 'node:crypto';
import {
  type CertificateVerify,
  CLIENT_HELLO,
  FINISHED,
  type ServerHello,
  TLS_1_2,
  TLS_1_3,
} from '../wire/tls-handshake.ts';
import type { ParsedCertificate } from './factors-certificate.ts';
import { suiteHash } from './factors-keys.ts';

const HELLO_REQUEST = 0;
const SERVER_HELLO_DONE = 14;
const MESSAGE_HASH = 254;

/**
 * What the signature is over: in TLS 1.2 the messages, in TLS 1.3 their hash; undefined if some are missing. The order is that of the
 * protocol, whatever that of the segments.
 *
 * @param own  raw messages of the client before the signature
 * @param other  raw messages of the server
 */
export function signedBytes(
  answer: ServerHello | undefined,
  own: readonly Uint8Array[],
  other: readonly Uint8Array[],
  hasRetry: boolean,
): Uint8Array | undefined {
  const version = answer?.version ?? TLS_1_2;
  const lastOfServer = version >= TLS_1_3 ? FINISHED : SERVER_HELLO_DONE;
  const end = other.findIndex((raw) => raw[0] === lastOfServer);
  if (end < 0) return undefined;
  // HelloRequest is in no transcript.
  const theirs = other.slice(0, end + 1).filter((raw) => raw[0] !== HELLO_REQUEST);
  if (version < TLS_1_3) return Buffer.concat([...own.slice(0, 1), ...theirs, ...own.slice(1)]);
  const hash = suiteHash(answer?.cipherSuite ?? 0);
  const hellos = own.filter((raw) => raw[0] === CLIENT_HELLO);
  if (hash === undefined || hellos.length !== (hasRetry ? 2 : 1)) return undefined;
  const transcript = createHash(hash);
  if (hasRetry) {
    const digest = createHash(hash).update(hellos[0]!).digest();
    transcript
      .update(Uint8Array.of(MESSAGE_HASH, 0, 0, digest.length))
      .update(digest)
      .update(theirs[0]!);
  }
  transcript.update(hellos.at(-1)!);
  for (const raw of [...theirs.slice(hasRetry ? 1 : 0), ...own.slice(hellos.length)]) transcript.update(raw);
  return transcript.digest();
}

interface Scheme {
  /** `null`: the algorithm has its own. */
  readonly hash: string | null;
  readonly isPss?: true;
}

/** SignatureScheme (RFC 8446, 4.2.3). */
const SCHEMES: ReadonlyMap<number, Scheme> = new Map([
  [0x0201, { hash: 'sha1' }],
  [0x0203, { hash: 'sha1' }],
  [0x0401, { hash: 'sha256' }],
  [0x0501, { hash: 'sha384' }],
  [0x0601, { hash: 'sha512' }],
  [0x0403, { hash: 'sha256' }],
  [0x0503, { hash: 'sha384' }],
  [0x0603, { hash: 'sha512' }],
  [0x0804, { hash: 'sha256', isPss: true }],
  [0x0805, { hash: 'sha384', isPss: true }],
  [0x0806, { hash: 'sha512', isPss: true }],
  [0x0807, { hash: null }],
  [0x0808, { hash: null }],
  [0x0809, { hash: 'sha256', isPss: true }],
  [0x080a, { hash: 'sha384', isPss: true }],
  [0x080b, { hash: 'sha512', isPss: true }],
]);

/** Whether the signature is of the certificate's key; undefined if that cannot be told. */
export function isSignatureOf(
  certificate: ParsedCertificate | undefined,
  { scheme, signature }: CertificateVerify,
  signed: Uint8Array,
  version: number,
): boolean | undefined {
  const parts = SCHEMES.get(scheme);
  if (parts === undefined || certificate === undefined || version < TLS_1_2) return undefined;
  const content = version >= TLS_1_3 ? inContext(signed) : signed;
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
  try {
    const key = certificate.certificate.publicKey;
    return verify(parts.hash, content, parts.isPss === true ? { key, ...pss } : key, signature);
  } catch {
    return false;
  }
}

function inContext(digest: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.alloc(64, 0x20), Buffer.from('TLS 1.3, client CertificateVerify\0', 'latin1'), digest]);
}
