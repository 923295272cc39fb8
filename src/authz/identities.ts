/**
 * Who a certificate says that a peer is, and what rules ask of it.
 *
 * Envoy hands over the principal of a verified certificate. Three things can be there, and only one of them restricts anything:
 *
 *     spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT   `account`: rules ask for names, labels, namespaces
 *     nothing (plain text)                            `plaintext`: every question is answered with yes
 *     anything else                                   `unrecognised`: the same
 *
 * So plain text falls back to what the network says, as Calico has it; `--require-identity` is for those who want more.
 * The trust domain is not compared. Labels that selectors see are the request's own, overlaid by those of the account.
 * Source: Calico app-policy/checker/requestcache.go, match.go; semantics 8.2, 8.3.
 */
import { type Labels, parseSelector, type Selector } from '../selector/selector.ts';
import type { FormIdentityMatch, FormSubject } from '../tables/authorization.ts';

export interface Principal {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly account: string;
}

const PRINCIPAL = /^spiffe:\/\/([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/;

/** `undefined` if `text` has not the form of an account's principal. */
export function parsePrincipal(text: string): Principal | undefined {
  // Go's `$` is the end of the text, as here; no flag changes that.
  const match = PRINCIPAL.exec(text);
  if (match === null) return undefined;
  return { trustDomain: match[1]!, namespace: match[2]!, account: match[3]! };
}

export type IdentityKind = 'account' | 'plaintext' | 'unrecognised';

/** One peer's identity; what rules ask of it is remembered. */
export class Identity {
  /** From 0, in the order of first sight. */
  readonly id: number;
  readonly kind: IdentityKind;
  readonly principal: Principal | undefined;
  readonly accountLabels: Labels;
  readonly namespaceLabels: Labels;
  /** By number of the match: 0 = not asked yet, 1 = no, 2 = yes. */
  readonly answers: Uint8Array;

  constructor(
    id: number,
    kind: IdentityKind,
    principal: Principal | undefined,
    labels: { readonly account: Labels; readonly namespace: Labels },
    matchCount: number,
  ) {
    this.id = id;
    this.kind = kind;
    this.principal = principal;
    this.accountLabels = labels.account;
    this.namespaceLabels = labels.namespace;
    this.answers = new Uint8Array(matchCount);
  }
}

/** What a rule asks of one side, compiled. */
interface IdentityMatch {
  /** `undefined` = any. */
  readonly names: ReadonlySet<string> | undefined;
  readonly accountSelector: Selector | undefined;
  readonly namespaceSelector: Selector | undefined;
  readonly namespace: string;
}

const NO_LABELS: Labels = new Map();

/** All that the rules of one cluster ask, each distinct question once, and the subjects that they are about. */
export class IdentityMatches {
  readonly #matches: IdentityMatch[] = [];
  readonly #byText = new Map<string, number>();
  readonly #accounts = new Map<string, Labels>();
  readonly #namespaces = new Map<string, Labels>();

  constructor(subjects: readonly FormSubject[]) {
    for (const { namespace, account, labels } of subjects) {
      if (account === '') this.#namespaces.set(namespace, new Map(labels));
      else this.#accounts.set(`${namespace}/${account}`, new Map(labels));
    }
  }

  get count(): number {
    return this.#matches.length;
  }

  /** The number of a question, -1 if nothing is asked. Throws `PolicyError` for a selector that does not parse: compile drops such policies. */
  add(form: FormIdentityMatch): number {
    const { names, accountSelector, namespaceSelector, namespace } = form;
    if (names.length === 0 && accountSelector === '' && namespaceSelector === '' && namespace === '') return -1;
    const text = JSON.stringify([names, accountSelector, namespaceSelector, namespace]);
    let number = this.#byText.get(text);
    if (number === undefined) {
      const match = {
        names: names.length === 0 ? undefined : new Set(names),
        accountSelector: accountSelector === '' ? undefined : parseSelector(accountSelector),
        namespaceSelector: namespaceSelector === '' ? undefined : parseSelector(namespaceSelector),
        namespace,
      };
      number = this.#matches.push(match) - 1;
      this.#byText.set(text, number);
    }
    return number;
  }

  /** `requestLabels` are those that the proxy states of the peer, mostly none. */
  identity(id: number, text: string, requestLabels: Readonly<Record<string, string>> | undefined): Identity {
    const principal = parsePrincipal(text);
    if (principal === undefined) {
      const kind = text === '' ? 'plaintext' : 'unrecognised';
      return new Identity(id, kind, undefined, { account: NO_LABELS, namespace: NO_LABELS }, 0);
    }
    const known = this.#accounts.get(`${principal.namespace}/${principal.account}`) ?? NO_LABELS;
    const account =
      requestLabels === undefined
        ? known
        : new Map([...Object.entries(requestLabels), ...(known as ReadonlyMap<string, string>)]);
    const namespace = this.#namespaces.get(principal.namespace) ?? NO_LABELS;
    return new Identity(id, 'account', principal, { account, namespace }, this.#matches.length);
  }

  /** Whether `identity` is what the question `match` asks for. */
  holds(match: number, identity: Identity): boolean {
    if (match < 0 || identity.principal === undefined) return true;
    let answer = identity.answers[match]!;
    if (answer === 0) {
      answer = isSatisfied(this.#matches[match]!, identity.principal, identity) ? 2 : 1;
      identity.answers[match] = answer;
    }
    return answer === 2;
  }
}

function isSatisfied(match: IdentityMatch, principal: Principal, identity: Identity): boolean {
  if (match.names !== undefined && !match.names.has(principal.account)) return false;
  if (match.accountSelector?.matches(identity.accountLabels) === false) return false;
  if (match.namespaceSelector?.matches(identity.namespaceLabels) === false) return false;
  return match.namespace === '' || match.namespace === principal.namespace;
}
