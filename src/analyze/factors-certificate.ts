/**
 * What a certificate says about who shows it: the one SPIFFE name among its alternative names.
 *
 * A SPIFFE certificate (X.509-SVID) has exactly one URI name, `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT` in Istio. Several of them,
 * or none, name nobody, and each is said for what it is. Node.js prints all alternative names as one text, in which a name that
 * holds a comma, a quote or the like is quoted as a JSON string:
 *
 *   DNS:"a.example, URI:spiffe://cluster.local/ns/prod/sa/admin", URI:spiffe://cluster.local/ns/prod/sa/web
 *
 * Cutting that at its commas would find two URI names; read with its quotes it has one.
 */
import { createHash, X509Certificate } from 'node:crypto';

/** An account of a cluster as a certificate, or a log that saw one, names it. */
export interface SpiffeAccount {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly account: string;
}

/** Names that are no identity, by what is wrong with them. */
export type NoIdentity = 'no-uri-name' | 'several-uri-names' | 'not-a-spiffe-name';

/** The URI names of a certificate (or of a log line), and the account that they name. */
export interface NamedPeer {
  readonly uris: readonly string[];
  readonly account: SpiffeAccount | undefined;
  /** Why there is no account. */
  readonly problem: NoIdentity | undefined;
}

export interface ParsedCertificate extends NamedPeer {
  readonly certificate: X509Certificate;
  /** Milliseconds since 1970. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly serial: string;
  /** SHA-256 of the certificate, hex without colons. */
  readonly fingerprint: string;
}

/** Calico's own form (semantics 8.2): any trust domain, one segment each for namespace and account. */
const SPIFFE_ACCOUNT = /^spiffe:\/\/([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/;

export function parseSpiffeAccount(uri: string): SpiffeAccount | undefined {
  const [, trustDomain, namespace, account] = SPIFFE_ACCOUNT.exec(uri) ?? [];
  if (trustDomain === undefined || namespace === undefined || account === undefined) return undefined;
  // Characters that a name of Kubernetes cannot have are not part of one, whatever stands around them.
  return /^[a-z0-9.-]+$/.test(namespace) && /^[a-z0-9.-]+$/.test(account)
    ? { trustDomain, namespace, account }
    : undefined;
}

/** Who these URI names name: exactly one, or nobody. */
export function peerOf(uris: readonly string[]): NamedPeer {
  if (uris.length === 0) return { uris, account: undefined, problem: 'no-uri-name' };
  if (uris.length > 1) return { uris, account: undefined, problem: 'several-uri-names' };
  const account = parseSpiffeAccount(uris[0]!);
  return { uris, account, problem: account === undefined ? 'not-a-spiffe-name' : undefined };
}

/** A certificate in DER; undefined if it, or the text of its names, cannot be read. */
export function parseCertificate(der: Uint8Array): ParsedCertificate | undefined {
  try {
    const certificate = new X509Certificate(der);
    // Bytes behind the certificate, which OpenSSL passes over, would make two readings of one message.
    if (certificate.raw.length !== der.length) return undefined;
    const names = alternativeNames(certificate.subjectAltName ?? '');
    if (names === undefined) return undefined;
    return {
      ...peerOf(names.filter(({ type }) => type === 'URI').map(({ value }) => value)),
      certificate,
      notBeforeMs: Date.parse(certificate.validFrom),
      notAfterMs: Date.parse(certificate.validTo),
      serial: certificate.serialNumber,
      fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    };
  } catch {
    return undefined;
  }
}

/** Certificates that were parsed: few are shown in many connections, and parsing takes longer than anything else about one. */
export class CertificateCache {
  readonly #parsed = new Map<string, ParsedCertificate | undefined>();

  /** As `parseCertificate`. */
  parse(der: Uint8Array): ParsedCertificate | undefined {
    const key = createHash('sha256').update(der).digest('base64');
    if (this.#parsed.has(key)) return this.#parsed.get(key);
    const parsed = parseCertificate(der);
    if (this.#parsed.size >= PARSED_MAX) this.#parsed.clear();
    this.#parsed.set(key, parsed);
    return parsed;
  }
}

/** Some 10 KiB each. */
const PARSED_MAX = 5000;

export interface AlternativeName {
  /** `URI`, `DNS`, `IP Address`, … */
  readonly type: string;
  readonly value: string;
}

/**
 * The entries of Node.js's `subjectAltName`; undefined if the text is none. Types are Node's own words and hold no colon; a value is a
 * JSON string, or goes to the next `, ` or the end.
 */
export function alternativeNames(text: string): readonly AlternativeName[] | undefined {
  const names: AlternativeName[] = [];
  let at = 0;
  while (at < text.length) {
    const colon = text.indexOf(':', at);
    if (colon < 0) return undefined;
    const type = text.slice(at, colon);
    const isQuoted = text[colon + 1] === '"';
    const end = isQuoted ? endOfQuoted(text, colon + 1) : plainEnd(text, colon + 1);
    if (end === undefined) return undefined;
    const raw = text.slice(colon + 1, end);
    const value = isQuoted ? unquoted(raw) : raw;
    if (value === undefined) return undefined;
    names.push({ type, value });
    if (end === text.length) return names;
    if (text.slice(end, end + 2) !== ', ' || end + 2 === text.length) return undefined;
    at = end + 2;
  }
  return names;
}

function plainEnd(text: string, from: number): number {
  const comma = text.indexOf(', ', from);
  return comma < 0 ? text.length : comma;
}

/** Just behind the quote that closes the one at `from`. */
function endOfQuoted(text: string, from: number): number | undefined {
  for (let i = from + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"') return i + 1;
  }
  return undefined;
}

function unquoted(text: string): string | undefined {
  try {
    return JSON.parse(text) as string;
  } catch {
    return undefined;
  }
}
