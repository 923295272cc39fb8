/** What a TLS session says of itself, once it is read (factors-tls.ts), and what is remembered from one to the next. */
import { CertificateCache } from './factors-certificate.ts';

/** Why the client's certificate is not known though TLS was spoken; `TlsGap.detail` says the rest. */
export type TlsGapKind =
  | 'no-keys'
  | 'keys-do-not-fit'
  | 'unsupported-cipher'
  | 'handshake-not-captured'
  | 'handshake-incomplete'
  | 'handshake-malformed'
  | 'handshake-too-long'
  | 'conflicting-segments'
  | 'resumed-session'
  | 'evicted';

export interface TlsGap {
  readonly kind: TlsGapKind;
  readonly detail: string;
}

/** `signature`: checked here. `handshake`: the server went on, so it was content. `wrong`: the signature does not fit. */
export type Proof = 'signature' | 'handshake' | 'wrong' | 'none';

export interface TlsOutcome {
  /** `silent`: no payload was seen. `unknown`: payload was seen, but not its beginning. */
  readonly transport: 'tls' | 'plain' | 'silent' | 'unknown';
  /** `TLS 1.3`; undefined if no ServerHello was seen. */
  readonly version: string | undefined;
  readonly serverName: string;
  readonly alpn: readonly string[];
  /** DER, the client's own first; empty = it showed none; undefined = not known, see `gap`. */
  readonly clientCertificates: readonly Uint8Array[] | undefined;
  readonly proof: Proof;
  /** The server asked for a certificate; undefined = not known. */
  readonly wasAsked: boolean | undefined;
  readonly serverCertificates: readonly Uint8Array[] | undefined;
  /** The client offered to show a certificate later, which cannot be seen. */
  readonly mayAuthenticateLater: boolean;
  readonly isResumed: boolean;
  /** A fatal or closing alert in the clear, `server alert 42`. */
  readonly alert: string | undefined;
  readonly gap: TlsGap | undefined;
}

/** Client certificates of TLS 1.2 sessions, by ticket or session id, for those that go on in another connection. */
export class SessionMemory {
  readonly certificates = new CertificateCache();
  readonly #known = new Map<string, readonly Uint8Array[]>();

  put(key: string, certificates: readonly Uint8Array[]): void {
    if (this.#known.size >= SESSIONS_MAX) this.#known.delete(this.#known.keys().next().value!);
    this.#known.set(key, certificates);
  }

  get(key: string): readonly Uint8Array[] | undefined {
    return this.#known.get(key);
  }
}

/** Sessions of TLS 1.2 that are remembered; the oldest are forgotten. */
const SESSIONS_MAX = 10_000;
