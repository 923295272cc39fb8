/**
 * A decision in words and as a record: what decided, where it is written, and for a denial which factor failed.
 *
 * Two factors speak for a peer: the network (its address is in the rule's sets) and its certificate (the identity). A third
 * thing a rule may ask is the HTTP request. For a denial that no rule ordered, the rules that could have allowed the request at
 * this destination and port are looked at, and the one that came nearest tells what was missing:
 *
 *     network              no such rule takes the source's address or port
 *     identity             the address fits, the certificate does not: a spoofed address or another account's pod
 *     network+identity     neither fits
 *     request              both fit, method or path does not
 *     port                 no rule allows anything at this destination port
 *     policy               a rule denies it
 */
import type { Authorizer, AuthzRequest, Decision, DecisionReason, Miss } from './authorizer.ts';
import { CODE_OK, type CodeName, codeName } from './codes.ts';
import type { IdentityKind } from './identities.ts';

export type Factor =
  | 'network'
  | 'identity'
  | 'request'
  | 'network+identity'
  | 'network+request'
  | 'identity+request'
  | 'network+identity+request'
  | 'port'
  | 'policy'
  | 'endpoint';

/** What Calico lets through although only one factor speaks for it. */
export type Remark = 'plaintext' | 'principal-not-spiffe' | 'foreign-trust-domain';

/** One line of `authz --requests -o jsonl`. */
export interface AuthzRecord {
  readonly code: CodeName;
  readonly reason: DecisionReason;
  /** Denials only. */
  readonly factor?: Factor;
  /** `NS/POD`. */
  readonly endpoint?: string;
  /** The tier, policy and position of what decided; position -1 is the end of the tier. */
  readonly tier?: string;
  readonly policy?: string;
  readonly rule_index?: number;
  /** `file:line`. */
  readonly rule?: string;
  /** What the source's principal is. */
  readonly identity?: IdentityKind;
  /** `NS/ACCOUNT` and trust domain of the source's certificate. */
  readonly source_account?: string;
  readonly trust_domain?: string;
  readonly remarks?: readonly Remark[];
}

export function authzRecord(authorizer: Authorizer, request: AuthzRequest, decision: Decision): AuthzRecord {
  const { step, endpoint, identity } = decision;
  const isDenied = decision.code !== CODE_OK;
  const origin = step?.origin;
  const remarks = remarksOn(request, decision, authorizer.options.trustDomains);
  return {
    code: codeName(decision.code),
    reason: decision.reason,
    ...(isDenied ? { factor: failedFactor(authorizer, request, decision) } : {}),
    ...(endpoint === undefined ? {} : { endpoint: `${endpoint.namespace}/${endpoint.name}` }),
    ...(step === undefined || step.tier === '' ? {} : { tier: step.tier }),
    ...(step === undefined || step.policy === '' ? {} : { policy: step.policy, rule_index: step.index }),
    ...(origin === undefined ? {} : { rule: `${origin.file}:${origin.line}` }),
    ...(identity === undefined ? {} : { identity: identity.kind }),
    ...(identity?.principal === undefined
      ? {}
      : {
          source_account: `${identity.principal.namespace}/${identity.principal.account}`,
          trust_domain: identity.principal.trustDomain,
        }),
    ...(remarks.length === 0 ? {} : { remarks }),
  };
}

/**
 * Noted on every answer about a known pod, whatever the code: no certificate, one that is no account's, or one of another trust
 * domain than those given, or where none are given than the destination's own.
 */
export function remarksOn(
  request: AuthzRequest,
  { identity }: Decision,
  trustDomains: readonly string[] = [],
): Remark[] {
  if (identity === undefined) return [];
  if (identity.kind === 'plaintext') return ['plaintext'];
  if (identity.principal === undefined) return ['principal-not-spiffe'];
  const own = /^spiffe:\/\/([^/]+)\//.exec(request.destinationPrincipal)?.[1];
  const home = trustDomains.length > 0 ? trustDomains : own === undefined ? [] : [own];
  return home.length > 0 && !home.includes(identity.principal.trustDomain) ? ['foreign-trust-domain'] : [];
}

/** The factor that failed; see the file comment. */
export function failedFactor(authorizer: Authorizer, request: AuthzRequest, decision: Decision): Factor {
  switch (decision.reason) {
    case 'rule':
    case 'missing-tier':
      return 'policy';
    case 'bad-path':
    case 'bad-request':
      return 'request';
    case 'unknown-endpoint':
      return 'endpoint';
    case 'identity-required':
    case 'trust-domain':
      return 'identity';
    case 'end-of-tier':
    case 'no-profile-match':
      return factorOf(authorizer.nearestMiss(request, decision));
    default:
      return decision.reason satisfies never;
  }
}

const PARTS = ['network', 'identity', 'request'] as const;

function factorOf(miss: Miss | undefined): Factor {
  return miss === undefined ? 'port' : (PARTS.filter((part) => miss[part]).join('+') as Factor);
}
