/**
 * TLS records: the frames in which TLS sends everything else (RFC 8446 section 5.1, RFC 5246 section 6.2).
 *
 *   0      content type     20 change cipher spec, 21 alert, 22 handshake, 23 application data, 24 heartbeat
 *   1-2    version          3.0 to 3.4; what it says about the real version is nothing
 *   3-4    length           of the body
 *   5      body
 *
 * Numbers in, numbers out: nothing is allocated and nothing throws. Reading TLS is no part of the packet path, though: only
 * `analyze` asks for it, on the streams that it puts together.
 */

export const TLS_HEADER_BYTES = 5;

export const TLS_CHANGE_CIPHER_SPEC = 20;
export const TLS_ALERT = 21;
export const TLS_HANDSHAKE = 22;
export const TLS_APPLICATION_DATA = 23;
const TLS_HEARTBEAT = 24;

/** 2^14 bytes of content, and what the ciphers of any version may add (RFC 5246, 6.2.3). */
export const TLS_BODY_BYTES_MAX = 16_384 + 2048;

/** The bytes so far don't hold the header. */
export const TLS_RECORD_PARTIAL = -1;
/** No record starts here. */
export const TLS_RECORD_MALFORMED = -2;

/**
 * Length of the body of the record at `at`, which may reach past `end`; or TLS_RECORD_PARTIAL, or TLS_RECORD_MALFORMED. The
 * header is judged by as much of it as is there, so that what is not TLS shows at its first byte.
 */
export function tlsBodyBytes(bytes: Uint8Array, at: number, end: number): number {
  const available = end - at;
  if (available < 1) return TLS_RECORD_PARTIAL;
  const type = bytes[at]!;
  if (type < TLS_CHANGE_CIPHER_SPEC || type > TLS_HEARTBEAT) return TLS_RECORD_MALFORMED;
  if (available > 1 && bytes[at + 1] !== 3) return TLS_RECORD_MALFORMED;
  if (available > 2 && bytes[at + 2]! > 4) return TLS_RECORD_MALFORMED;
  if (available < TLS_HEADER_BYTES) return TLS_RECORD_PARTIAL;
  const bodyBytes = (bytes[at + 3]! << 8) | bytes[at + 4]!;
  if (bodyBytes > TLS_BODY_BYTES_MAX) return TLS_RECORD_MALFORMED;
  // Only application data may be empty.
  return bodyBytes === 0 && type !== TLS_APPLICATION_DATA ? TLS_RECORD_MALFORMED : bodyBytes;
}
