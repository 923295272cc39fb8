/** The record of `margay factors`: one flow, who its address and its certificate say it is, and what follows. */
import type { MtlsMode } from '../model/mesh.ts';
import type { Answer } from './factors-rules.ts';
import type { TlsGapKind } from './factors-tls-outcome.ts';

/** What is wrong; each is a finding (exit code 1). Said in full where `FINDING_TEXTS` has them. */
export type FindingName =
  | 'identity-mismatch'
  | 'server-identity-mismatch'
  | 'plain-text-on-trusted-path'
  | 'no-certificate-on-trusted-path'
  | 'no-uri-name'
  | 'several-uri-names'
  | 'not-a-spiffe-name'
  | 'unproven-certificate'
  | 'certificate-not-valid-then'
  | 'untrusted-issuer'
  | 'foreign-trust-domain';

export const FINDING_TEXTS: Readonly<Record<FindingName, string>> = {
  'identity-mismatch':
    'the certificate is of one account and the address of another: a stolen certificate, or a spoofed address',
  'server-identity-mismatch': "the server's certificate is of another account than the address that was called",
  'plain-text-on-trusted-path': 'plain text where a rule trusts an account: its address is all that says who it is',
  'no-certificate-on-trusted-path':
    'TLS without a client certificate where a rule trusts an account: its address is all that says who it is',
  'no-uri-name': 'the certificate has no URI name, so it names no account',
  'several-uri-names': 'the certificate has several URI names, so it names nobody (SPIFFE allows exactly one)',
  'not-a-spiffe-name': 'the URI name of the certificate is not spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT',
  'unproven-certificate': 'the signature that proves possession of the key does not fit the certificate',
  'certificate-not-valid-then': 'the certificate was not valid yet, or had expired, at the time of the connection',
  'untrusted-issuer': 'no certificate of --ca has signed the certificate',
  'foreign-trust-domain': 'the certificate is of another trust domain than --trust-domain',
};

/** What is missing; each makes the answer incomplete (exit code 3) where a rule asks for the certificate. */
export type GapName =
  | TlsGapKind
  | 'unparsable-certificate'
  | 'ambiguous-log-line'
  | 'conflicting-statements'
  | 'unreadable-line'
  | 'shared-address'
  | 'too-many-flows';

export interface Finding {
  readonly name: FindingName;
  readonly detail: string;
}

export interface Gap {
  readonly name: GapName;
  readonly detail: string;
  /** Where the evidence is, or would have been: `capture.pcapng, packet 12`, `envoy.jsonl:3`. */
  readonly place: string;
}

/** Whose certificate, as it says itself. */
export interface CertificateRecord {
  /** `prod/api-service`; absent if it names no account. */
  readonly account?: string;
  readonly trust_domain?: string;
  /** All URI names. */
  readonly uris: readonly string[];
  readonly serial?: string;
  readonly fingerprint_sha256?: string;
  readonly not_before?: string;
  readonly not_after?: string;
  /** How it is known that the key belongs to it; absent for what a log says. */
  readonly proof?: 'signature' | 'handshake' | 'wrong' | 'none';
  /** Where it was read. */
  readonly from: 'capture' | 'envoy-log' | 'ztunnel-log' | 'peers-file';
  /** For what a log says: `envoy.jsonl:3`. */
  readonly place?: string;
}

export type CryptoName = 'account' | 'absent' | 'invalid' | 'unknown';

/** One rule that names accounts, as this flow meets it. */
export interface RuleRecord {
  readonly policy: string;
  readonly index: number;
  readonly action: 'allow' | 'deny' | 'pass' | 'log';
  readonly rule: string;
  readonly accounts: string;
  readonly network: 'yes' | 'no';
  readonly crypto: 'yes' | 'no' | 'absent' | 'unknown';
}

export interface FactorsRecord {
  readonly start_time: string;
  readonly end_time: string;
  readonly first_packet: number;
  readonly packets: number;
  readonly proto: string;
  readonly source_ip: string;
  readonly source_port?: number;
  readonly dest_ip: string;
  readonly dest_port?: number;
  readonly source_type: string;
  readonly source_namespace?: string;
  readonly source_name?: string;
  readonly source_service_account?: string;
  readonly dest_type: string;
  readonly dest_namespace?: string;
  readonly dest_name?: string;
  readonly dest_service_account?: string;
  /** `prod/api-service`, by address; absent if no pod owns it. */
  readonly network?: string;
  /** What is known of the certificate. */
  readonly crypto: CryptoName;
  readonly certificate?: CertificateRecord;
  readonly dest_certificate?: CertificateRecord;
  readonly transport: 'tls' | 'plain' | 'silent' | 'unknown';
  readonly tls?: {
    readonly version?: string;
    readonly server_name?: string;
    readonly alpn?: readonly string[];
    readonly resumed?: true;
    readonly may_authenticate_later?: true;
    readonly alert?: string;
  };
  readonly hbone?: true;
  /** Of the rules below, the one that most says yes to; absent without any. */
  readonly factors?: '2 of 2' | '1 of 2' | '0 of 2';
  readonly rules: readonly RuleRecord[];
  readonly rules_left_out?: number;
  readonly verdicts: {
    /** Calico's: by addresses. */
    readonly address: string;
    /** Of a mesh that looks at certificates alone; present where a rule asks. */
    readonly certificate?: Answer;
    readonly both?: Answer;
  };
  readonly peer_authentication?: {
    readonly mode: Exclude<MtlsMode, 'UNSET'>;
    readonly level: 'port' | 'workload' | 'namespace' | 'mesh' | 'default';
    readonly policy?: string;
    readonly place?: string;
    /** Present if Istio would have refused the flow. */
    readonly refuses?: string;
  };
  readonly findings: readonly Finding[];
  readonly gaps: readonly Gap[];
}

/** How often a rule was met by each pair of answers; `network/crypto`. */
export type MatrixCell = `${'yes' | 'no'}/${'yes' | 'no' | 'absent' | 'unknown'}`;

export interface MatrixRow {
  readonly policy: string;
  readonly index: number;
  readonly action: 'allow' | 'deny' | 'pass' | 'log';
  readonly rule: string;
  readonly accounts: string;
  readonly cells: Readonly<Record<MatrixCell, number>>;
}

export interface FactorsTotals {
  readonly packets: number;
  readonly flows: number;
  /** Flows that a rule with accounts asks about, or that showed a certificate: those of the records. */
  readonly shown: number;
  readonly by_factors: Readonly<Record<'2 of 2' | '1 of 2' | '0 of 2', number>>;
  readonly findings: Readonly<Partial<Record<FindingName, number>>>;
  readonly gaps: Readonly<Partial<Record<GapName, number>>>;
  /** Flows that address, or certificate, alone would let in and both together would not. */
  readonly opened_by_address_alone: number;
  readonly opened_by_certificate_alone: number;
  readonly hbone: number;
  readonly refused_by_peer_authentication: number;
}
