/** What is known of the certificate of one flow's client, from the capture and from what logs say of it; and of its server's. */
import { X509Certificate } from 'node:crypto';
import type { SeenFlow } from './factors-capture.ts';
import { CertificateCache, type NamedPeer, type ParsedCertificate } from './factors-certificate.ts';
import type { PeerStatement } from './factors-logs.ts';
import type { CertificateRecord, Finding, FindingName, Gap, GapName } from './factors-record.ts';
import type { Crypto } from './factors-rules.ts';
import type { Proof } from './factors-tls-outcome.ts';

export interface EvidenceOptions {
  /** The only trust domain whose accounts count; undefined = any, as Calico has it. */
  readonly trustDomain?: string | undefined;
  /** One of these must have signed a certificate; undefined = not asked. */
  readonly authorities?: readonly X509Certificate[] | undefined;
}

export interface Evidence {
  readonly crypto: Crypto;
  readonly certificate: CertificateRecord | undefined;
  readonly serverCertificate: CertificateRecord | undefined;
  /** The server's account, if one certificate names one. */
  readonly server: NamedPeer['account'];
  readonly findings: readonly Finding[];
  /** Their place is for the caller to fill in where it is `''`. */
  readonly gaps: readonly Gap[];
}

export class EvidenceReader {
  readonly #options: EvidenceOptions;
  readonly #certificates = new CertificateCache();

  constructor(options: EvidenceOptions) {
    this.#options = options;
  }

  /** @param statements  of logs, without those that fit several flows */
  read(flow: SeenFlow, statements: readonly PeerStatement[]): Evidence {
    const findings: Finding[] = [];
    const gaps: Gap[] = [];
    const captured = this.#captured(flow, findings, gaps);
    const stated = statedPeer(statements, gaps);
    const server = this.#parse(flow.tls?.serverCertificates?.[0]);
    const base = {
      serverCertificate: server && certificateRecord(server, undefined),
      server: server?.account,
      findings,
      gaps,
    };
    if (stated === undefined) return { ...captured, ...base };
    if (captured.crypto === 'unknown') {
      // What is missing from the capture, the log has.
      gaps.splice(0, gaps.length, ...gaps.filter(({ name }) => name === 'conflicting-statements'));
      return { ...this.#stated(stated, findings), ...base };
    }
    if (!agrees(captured, stated)) {
      const said = stated.peer === undefined ? 'no certificate' : stated.peer.uris.join(' and ');
      const detail = `the capture shows ${inWords(captured)}, the log says ${said}`;
      gaps.push({ name: 'conflicting-statements', detail, place: stated.place });
    }
    return { ...captured, ...base };
  }

  #captured(flow: SeenFlow, findings: Finding[], gaps: Gap[]): Pick<Evidence, 'crypto' | 'certificate'> {
    const { tls } = flow;
    if (tls === undefined || tls.transport === 'plain' || tls.transport === 'silent') {
      return { crypto: 'absent', certificate: undefined };
    }
    if (tls.gap !== undefined) gaps.push({ name: tls.gap.kind, detail: tls.gap.detail, place: '' });
    const own = tls.clientCertificates?.[0];
    if (tls.clientCertificates === undefined) return { crypto: 'unknown', certificate: undefined };
    if (own === undefined) return { crypto: 'absent', certificate: undefined };
    const parsed = this.#parse(own);
    if (parsed === undefined) {
      gaps.push({
        name: 'unparsable-certificate',
        detail: `its ${own.length} bytes are no certificate to read`,
        place: '',
      });
      return { crypto: 'unknown', certificate: undefined };
    }
    const certificate = certificateRecord(parsed, tls.proof);
    const isSound = this.#check(parsed, tls.proof, flow, tls.clientCertificates, findings);
    if (tls.gap !== undefined) return { crypto: 'unknown', certificate };
    return { crypto: isSound && parsed.account !== undefined ? parsed.account : 'invalid', certificate };
  }

  /** Adds what is wrong with a certificate; false if it names nobody then. */
  #check(
    parsed: ParsedCertificate,
    proof: Proof,
    { startMs }: SeenFlow,
    chain: readonly Uint8Array[],
    findings: Finding[],
  ): boolean {
    const add = (name: FindingName, detail: string): void => void findings.push({ name, detail });
    const count = findings.length;
    if (parsed.problem !== undefined) add(parsed.problem, parsed.uris.join(' and ') || 'no URI name');
    if (proof === 'wrong') add('unproven-certificate', 'whoever showed it does not have its key');
    this.#checkDomain(parsed, findings);
    const { authorities } = this.#options;
    if (authorities !== undefined && !this.#isIssued(parsed, chain, authorities)) {
      add('untrusted-issuer', `issued by ${parsed.certificate.issuer?.replaceAll('\n', ', ') || 'nobody named'}`);
    }
    const isSound = findings.length === count;
    // Whoever has the key is still who it was for: expiry takes the account from nobody, it ends what a thief can do.
    if (startMs < parsed.notBeforeMs || startMs > parsed.notAfterMs) {
      const { not_before: from, not_after: to } = certificateRecord(parsed, undefined);
      add('certificate-not-valid-then', `valid from ${from} to ${to}`);
    }
    return isSound;
  }

  #checkDomain({ account }: NamedPeer, findings: Finding[]): void {
    const { trustDomain } = this.#options;
    if (account === undefined || trustDomain === undefined || account.trustDomain === trustDomain) return;
    findings.push({ name: 'foreign-trust-domain', detail: `of ${account.trustDomain}, not ${trustDomain}` });
  }

  /** Whether a chain of certificates, as shown, leads to an authority. */
  #isIssued(own: ParsedCertificate, chain: readonly Uint8Array[], authorities: readonly X509Certificate[]): boolean {
    let current = own.certificate;
    for (const next of [...chain.slice(1), undefined]) {
      if (authorities.some((authority) => isSignedBy(current, authority))) return true;
      const issuer = this.#parse(next)?.certificate;
      if (issuer === undefined || !issuer.ca || !isSignedBy(current, issuer)) return false;
      current = issuer;
    }
    return false;
  }

  #stated(statement: PeerStatement, findings: Finding[]): Pick<Evidence, 'crypto' | 'certificate'> {
    const { peer, source, place } = statement;
    if (peer === undefined) return { crypto: 'absent', certificate: undefined };
    const count = findings.length;
    if (peer.problem !== undefined)
      findings.push({ name: peer.problem, detail: `${peer.uris.join(' and ')} (${place})` });
    this.#checkDomain(peer, findings);
    const certificate: CertificateRecord = { ...namesOf(peer), from: source, place };
    return { crypto: findings.length === count && peer.account !== undefined ? peer.account : 'invalid', certificate };
  }

  #parse(der: Uint8Array | undefined): ParsedCertificate | undefined {
    return der === undefined ? undefined : this.#certificates.parse(der);
  }
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** The one thing that all statements say; undefined if there is none, or they differ, which is a gap. */
function statedPeer(statements: readonly PeerStatement[], gaps: Gap[]): PeerStatement | undefined {
  const opinions = new Map(statements.map((statement) => [statement.peer?.uris.join('\n') ?? '-', statement]));
  if (opinions.size <= 1) return statements[0];
  const name: GapName = 'conflicting-statements';
  const places = [...opinions.values()].map(
    ({ place, peer }) => `${place} ${peer?.uris.join(' and ') ?? 'no certificate'}`,
  );
  gaps.push({ name, detail: `logs say different things: ${places.join('; ')}`, place: statements[0]!.place });
  return undefined;
}

function agrees({ crypto, certificate }: Pick<Evidence, 'crypto' | 'certificate'>, { peer }: PeerStatement): boolean {
  if (peer === undefined || crypto === 'absent') return (peer === undefined) === (crypto === 'absent');
  return certificate?.uris.join(',') === peer.uris.join(',');
}

function inWords({ crypto, certificate }: Pick<Evidence, 'crypto' | 'certificate'>): string {
  return crypto === 'absent' ? 'no certificate' : (certificate?.uris.join(' and ') ?? 'a certificate');
}

function namesOf({ uris, account }: NamedPeer): Pick<CertificateRecord, 'account' | 'trust_domain' | 'uris'> {
  if (account === undefined) return { uris };
  return { account: `${account.namespace}/${account.account}`, trust_domain: account.trustDomain, uris };
}

function certificateRecord(parsed: ParsedCertificate, proof: Proof | undefined): CertificateRecord {
  const time = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');
  return {
    ...namesOf(parsed),
    serial: parsed.serial,
    fingerprint_sha256: parsed.fingerprint,
    ...(Number.isNaN(parsed.notBeforeMs) ? {} : { not_before: time(parsed.notBeforeMs) }),
    ...(Number.isNaN(parsed.notAfterMs) ? {} : { not_after: time(parsed.notAfterMs) }),
    ...(proof === undefined ? {} : { proof }),
    from: 'capture',
  };
}

/** The certificates of a PEM file. Throws the error of Node.js for what is none. */
export function readAuthorities(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}
