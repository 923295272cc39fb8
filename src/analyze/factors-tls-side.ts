/** One direction of a TLS session (factors-tls.ts): how far it is read, and what it has shown. */
import { inflateSync } from 'node:zlib';
import { TlsBytes } from '../wire/tls-bytes.ts';
import {
  type CertificateVerify,
  HANDSHAKE_MESSAGE_BYTES_MAX,
  HandshakeReader,
  parseCertificates,
  TLS_1_3,
} from '../wire/tls-handshake.ts';
import type { RecordOpener } from './factors-keys.ts';
import type { HalfStream } from './tcp-stream.ts';

export class Side {
  readonly stream: HalfStream;
  readonly reader = new HandshakeReader();
  position = 0;
  /** Behind its ChangeCipherSpec: in TLS 1.2 and older nothing more can be read. */
  hasChangedCipher = false;
  isDone = false;
  opener: RecordOpener | undefined;
  openedRecords = 0;
  certificates: readonly Uint8Array[] | undefined;
  /** The certificates came encrypted, as those of TLS 1.3 must. */
  isSealed = false;
  /** Raw messages, for the transcript. */
  readonly messages: Uint8Array[] = [];
  verify: CertificateVerify | undefined;
  /** Number of messages before that one. */
  verifyAt = 0;

  constructor(stream: HalfStream) {
    this.stream = stream;
  }
}

/** The certificates of a compressed message (RFC 8879), zlib alone; undefined for others and for what is damaged. */
export function decompressed(body: Uint8Array): readonly Uint8Array[] | undefined {
  const reader = new TlsBytes(body);
  const algorithm = reader.number(2);
  const length = reader.number(3);
  const packed = reader.vector(3).rest();
  if (reader.isOver || algorithm !== 1 || length > HANDSHAKE_MESSAGE_BYTES_MAX) return undefined;
  try {
    const plain = inflateSync(packed, { maxOutputLength: length });
    return plain.length === length ? parseCertificates(plain, TLS_1_3) : undefined;
  } catch {
    return undefined;
  }
}
