/**
 * Secrets of TLS 1.3 handshakes, and the records that they open (RFC 8446 sections 5.2, 5.3 and 7).
 *
 * Programs write key logs (SSLKEYLOGFILE, NSS format: label, client random, secret, in hex); pcapng carries the same text in
 * decryption secrets blocks. Only the two handshake secrets are kept: certificates lie in the handshake, and the data behind it is
 * nobody's business here.
 *
 *   traffic secret ─ HKDF-Expand-Label("key") ─► key          nonce = iv xor record number, counted from 0
 *                  └ HKDF-Expand-Label("iv")  ─► iv           additional data = the record's header
 */
import { createDecipheriv, createHmac } from 'node:crypto';
import { TLS_HEADER_BYTES } from '../wire/tls-record.ts';

/** Sessions whose secrets are kept, in all key logs together. */
const SECRETS_MAX = 200_000;
/** Secrets under one name, where key logs disagree. */
const SECRETS_OF_SESSION_MAX = 4;
/** Problems of key logs that are kept to be reported; more are counted. */
const PROBLEMS_MAX = 20;

export type SecretLabel = 'CLIENT_HANDSHAKE_TRAFFIC_SECRET' | 'SERVER_HANDSHAKE_TRAFFIC_SECRET';

/** A line of a key log that is none. */
export interface KeyProblem {
  /** `keys.log:3`. */
  readonly place: string;
  readonly message: string;
}

export class KeyStore {
  readonly problems: KeyProblem[] = [];
  /** Problems beyond those in the list. */
  moreProblems = 0;
  /** Sessions that have secrets here. */
  get size(): number {
    return this.#secrets.size;
  }
  readonly #secrets = new Map<string, Buffer[]>();

  /** Takes the text of a key log; `name` is for messages. Comments, blank lines and labels of other secrets are passed over. */
  addText(name: string, text: string): void {
    let line = 0;
    for (const raw of text.split(/\r\n|\r|\n/)) {
      line++;
      const entry = raw.trim();
      if (entry === '' || entry.startsWith('#')) continue;
      const problem = this.#addEntry(entry);
      if (problem === undefined) continue;
      if (this.problems.length < PROBLEMS_MAX) this.problems.push({ place: `${name}:${line}`, message: problem });
      else this.moreProblems++;
    }
  }

  secrets(label: SecretLabel, clientRandom: string): readonly Buffer[] {
    return this.#secrets.get(`${label} ${clientRandom}`) ?? [];
  }

  #addEntry(entry: string): string | undefined {
    const [label = '', random = '', secret = '', ...rest] = entry.split(/\s+/);
    if (!/^[A-Z0-9_]+$/.test(label)) return 'not a line of a key log (label, client random, secret)';
    if (label !== 'CLIENT_HANDSHAKE_TRAFFIC_SECRET' && label !== 'SERVER_HANDSHAKE_TRAFFIC_SECRET') return undefined;
    if (!/^[0-9a-f]{64}$/i.test(random)) return 'the client random is not 32 bytes of hex';
    if (!/^([0-9a-f]{64}|[0-9a-f]{96})$/i.test(secret) || rest.length > 0)
      return 'the secret is not 32 or 48 bytes of hex';
    const key = `${label} ${random.toLowerCase()}`;
    const known = this.#secrets.get(key);
    const value = Buffer.from(secret, 'hex');
    if (known === undefined) {
      if (this.#secrets.size >= SECRETS_MAX) return `more than ${SECRETS_MAX} secrets; this one is left out`;
      this.#secrets.set(key, [value]);
    } else if (known.length < SECRETS_OF_SESSION_MAX && !known.some((other) => other.equals(value))) known.push(value);
    return undefined;
  }
}

interface Suite {
  readonly cipher: 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305' | 'aes-128-ccm';
  readonly hash: 'sha256' | 'sha384';
  readonly keyBytes: number;
  readonly tagBytes: number;
}

/** RFC 8446, B.4. */
const SUITES: ReadonlyMap<number, Suite> = new Map([
  [0x1301, { cipher: 'aes-128-gcm', hash: 'sha256', keyBytes: 16, tagBytes: 16 }],
  [0x1302, { cipher: 'aes-256-gcm', hash: 'sha384', keyBytes: 32, tagBytes: 16 }],
  [0x1303, { cipher: 'chacha20-poly1305', hash: 'sha256', keyBytes: 32, tagBytes: 16 }],
  [0x1304, { cipher: 'aes-128-ccm', hash: 'sha256', keyBytes: 16, tagBytes: 16 }],
  [0x1305, { cipher: 'aes-128-ccm', hash: 'sha256', keyBytes: 16, tagBytes: 8 }],
]);

const IV_BYTES = 12;

/** The hash of a suite of TLS 1.3, for transcripts too; undefined for an unknown one. */
export function suiteHash(cipherSuite: number): 'sha256' | 'sha384' | undefined {
  return SUITES.get(cipherSuite)?.hash;
}

/** What a record held. */
export interface OpenedRecord {
  readonly type: number;
  readonly content: Uint8Array;
}

/** Opens the records of one direction, one after the other. */
export class RecordOpener {
  readonly #suite: Suite;
  readonly #key: Buffer;
  readonly #iv: Buffer;
  #number = 0;

  /** Undefined if the suite is not one of TLS 1.3, or the secret has not its length. */
  static of(cipherSuite: number, secret: Buffer): RecordOpener | undefined {
    const suite = SUITES.get(cipherSuite);
    if (suite === undefined || secret.length !== (suite.hash === 'sha256' ? 32 : 48)) return undefined;
    return new RecordOpener(suite, secret);
  }

  private constructor(suite: Suite, secret: Buffer) {
    this.#suite = suite;
    this.#key = expandLabel(suite.hash, secret, 'key', suite.keyBytes);
    this.#iv = expandLabel(suite.hash, secret, 'iv', IV_BYTES);
  }

  /** Opens a whole record, header included; undefined, and as before, if the key does not fit. */
  open(record: Uint8Array): OpenedRecord | undefined {
    const { cipher, tagBytes } = this.#suite;
    const header = record.subarray(0, TLS_HEADER_BYTES);
    const sealed = record.subarray(TLS_HEADER_BYTES, record.length - tagBytes);
    if (record.length < TLS_HEADER_BYTES + tagBytes) return undefined;
    const options = { authTagLength: tagBytes };
    try {
      // One call for ciphers of either interface; CCM has to know the length beforehand.
      const decipher = createDecipheriv(cipher as 'aes-128-ccm', this.#key, this.#nonce(), options);
      decipher.setAAD(header, { plaintextLength: sealed.length });
      decipher.setAuthTag(record.subarray(record.length - tagBytes));
      const plain = decipher.update(sealed);
      decipher.final();
      this.#number++;
      return withoutPadding(plain);
    } catch {
      return undefined;
    }
  }

  #nonce(): Buffer {
    const nonce = Buffer.from(this.#iv);
    // Handshakes don't reach 2^32 records.
    const low = nonce.readUInt32BE(IV_BYTES - 4) ^ this.#number;
    nonce.writeUInt32BE(low >>> 0, IV_BYTES - 4);
    return nonce;
  }
}

/** The last byte that is not zero is the type of what stands before it (RFC 8446, 5.4). */
function withoutPadding(plain: Uint8Array): OpenedRecord | undefined {
  let end = plain.length;
  while (end > 0 && plain[end - 1] === 0) end--;
  return end === 0 ? undefined : { type: plain[end - 1]!, content: plain.subarray(0, end - 1) };
}

/** HKDF-Expand-Label with an empty context (RFC 8446, 7.1); `length` is at most one block of the hash. */
function expandLabel(hash: string, secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`, 'latin1');
  const info = Buffer.concat([Buffer.from([length >> 8, length & 255, name.length]), name, Buffer.from([0])]);
  return createHmac(hash, secret)
    .update(info)
    .update(Buffer.from([1]))
    .digest()
    .subarray(0, length);
}
