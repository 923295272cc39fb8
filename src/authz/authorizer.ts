/**
 * The decision of the authorization service for one request: may this peer, with this certificate and this HTTP request, talk to
 * this pod? Calico's second layer (semantics section 8), asked after the network layer has let the connection through.
 *
 * A request brings addresses, ports, principals and perhaps a method and a path. Of these the ports, the method and the path vary
 * with every request; the rest is the same for all requests between two workloads. So the work is cut there:
 *
 *     address ─► class (which sets it is in)           text of the address, remembered
 *     principal ─► identity (what rules ask of it)     text of the principal, remembered
 *     chain + classes + identities + protocol ─► candidates: the steps whose other tests hold, in order, up to the first that
 *                                                has no port or HTTP test and decides      remembered
 *     candidates + ports + HTTP request ─► the step that decides                           a scan of few
 *
 * Worked example: 100 rules, each for one account and one port. A peer's class and identity fit one of them; its candidates are
 * that rule and the end of the tier, and a decision tests one port. With 1 000 policies the same.
 *
 * What is remembered is bounded: past a limit everything is forgotten at once and worked out again as requests come.
 * Nothing here throws for what a request holds; what is no request is INVALID_ARGUMENT, a destination that nobody knows is denied.
 */
import type { AuthorizationForm, FormEndpoint } from '../tables/authorization.ts';
import { type AddressClass, AddressIndex, addressKey, parsePeerAddress } from './addresses.ts';
import { CODE_INVALID_ARGUMENT, CODE_OK, CODE_PERMISSION_DENIED, type Code } from './codes.ts';
import { type Identity, IdentityMatches } from './identities.ts';
import { holdsAddress, holdsPorts, holdsProtocol, holdsRequest, REQUEST_FITS, REQUEST_IS_BAD } from './rule-tests.ts';
import { type CompiledRule, type Step, StepCompiler } from './steps.ts';

export interface AuthzRequest {
  readonly src: string;
  readonly dst: string;
  readonly srcPort: number;
  readonly dstPort: number;
  /** IP protocol number; TCP where the proxy gives none. */
  readonly protocol: number;
  /** `''` = plain text. */
  readonly sourcePrincipal: string;
  readonly destinationPrincipal: string;
  readonly sourceLabels?: Readonly<Record<string, string>> | undefined;
  readonly destinationLabels?: Readonly<Record<string, string>> | undefined;
  /** `undefined`: no HTTP attributes, as from Envoy's network filter. */
  readonly http?: { readonly method: string; readonly path: string } | undefined;
}

export interface AuthorizerOptions {
  /** Refuse what Calico lets through without an account's certificate. */
  readonly requireIdentity?: boolean;
  /** Refuse what Calico lets through with a certificate of any other trust domain. Empty or absent: not compared. */
  readonly trustDomains?: readonly string[];
  /** `NS/POD`: answer for this pod whatever the destination address, as a sidecar does. */
  readonly endpoint?: string | undefined;
}

/** Why a request was decided as it was, beside the reasons of steps. */
export type DecisionReason =
  | Step['reason']
  | 'bad-request'
  | 'bad-path'
  | 'unknown-endpoint'
  | 'identity-required'
  | 'trust-domain';

export interface Decision {
  readonly code: Code;
  readonly reason: DecisionReason;
  /** The step that decided, or that had allowed what `reason` refuses; `undefined` if no policy was asked. */
  readonly step: Step | undefined;
  /** The pod that was asked about. */
  readonly endpoint: FormEndpoint | undefined;
  /** Who the source is. */
  readonly identity: Identity | undefined;
}

/** What is known of one address: its class, and the pods that have it. */
interface Peer {
  readonly class: AddressClass;
  readonly key: string;
  readonly targets: readonly Target[];
}

/** A pod with its chain's steps; pods of one chain share what is remembered for classes. */
interface Target {
  readonly endpoint: FormEndpoint;
  readonly chain: ChainState;
}

interface ChainState {
  readonly steps: readonly Step[];
  readonly asksSource: boolean;
  readonly asksDestination: boolean;
  /** By protocol and destination's class and identity, then by source's class and identity. */
  readonly candidates: Map<number, Map<number, Candidates>>;
  /** The nearest misses by both ends, protocol, port and tier; `undefined` where source ports or the request itself count, too. */
  readonly misses: Map<string, Miss | undefined> | undefined;
}

/** Both ends of a request. */
interface Ends {
  readonly source: Peer;
  readonly destination: Peer;
  readonly identity: Identity;
  readonly other: Identity;
}

/** The steps that may decide, each with the candidate to go on with after it matched (-1 = it decides). */
interface Candidates {
  readonly steps: readonly Step[];
  readonly jumps: readonly number[];
}

/** When more is remembered than this, in entries of a list, all is forgotten: some 100 MB. */
const REMEMBERED_MAX = 1 << 22;
const PEER_WEIGHT = 8;
/** Bits of the smaller half of a pair of ids in one number. */
const ID_FACTOR = 2 ** 24;

export class Authorizer {
  readonly form: AuthorizationForm;
  readonly options: AuthorizerOptions;
  readonly #addresses = new AddressIndex();
  readonly #matches: IdentityMatches;
  readonly #chains: readonly ChainState[];
  readonly #byAddress = new Map<string, FormEndpoint[]>();
  readonly #pinned: Target | undefined;
  readonly #peers = new Map<string, Peer>();
  readonly #identities = new Map<string, Identity>();
  /** Addresses, identities' answers and candidates' steps, about in words. */
  #remembered = 0;

  readonly #rememberedMax: number;

  /** Throws `PolicyError` for nothing that a plan can hold. */
  constructor(form: AuthorizationForm, options: AuthorizerOptions = {}, rememberedMax = REMEMBERED_MAX) {
    this.form = form;
    this.#rememberedMax = rememberedMax;
    this.options = options;
    this.#matches = new IdentityMatches(form.subjects);
    const compiler = new StepCompiler(form, this.#addresses, this.#matches);
    this.#chains = form.chains.map((chain) => chainState(compiler.chain(chain)));
    this.#addresses.index(form.owners);
    for (const endpoint of form.endpoints) {
      for (const address of endpoint.addresses) {
        const list = this.#byAddress.get(addressKey(address));
        if (list === undefined) this.#byAddress.set(addressKey(address), [endpoint]);
        else list.push(endpoint);
      }
    }
    const pinned = form.endpoints.find(({ key }) => key === `wep:${options.endpoint}`);
    this.#pinned = pinned === undefined ? undefined : this.#target(pinned);
  }

  check(request: AuthzRequest): Decision {
    if (this.#remembered + this.#addresses.weight > this.#rememberedMax) this.#forget();
    const source = this.#peer(request.src);
    const destination = this.#peer(request.dst);
    if (source === undefined || destination === undefined || !hasSoundNumbers(request)) {
      return {
        code: CODE_INVALID_ARGUMENT,
        reason: 'bad-request',
        step: undefined,
        endpoint: undefined,
        identity: undefined,
      };
    }
    const identity = this.#identity(request.sourcePrincipal, request.sourceLabels);
    const targets = this.#targetsOf(destination);
    let decision: Decision | undefined;
    for (const target of targets) {
      // An address of several pods: all of them must allow.
      decision = this.#decide(request, source, destination, identity, target);
      if (decision.code !== CODE_OK) return decision;
    }
    if (decision !== undefined) return this.#refine(decision, identity);
    return { code: CODE_PERMISSION_DENIED, reason: 'unknown-endpoint', step: undefined, endpoint: undefined, identity };
  }

  /**
   * Of the Allow rules before the step that denied, the one that asks the same of the destination and came nearest; `undefined` if
   * no rule allows anything at this port. For explanations: it looks at every rule.
   */
  nearestMiss(request: AuthzRequest, decision: Decision): Miss | undefined {
    const source = this.#peer(request.src);
    const destination = this.#peer(request.dst);
    const chain = decision.endpoint === undefined ? undefined : this.#chains[decision.endpoint.chain];
    if (source === undefined || destination === undefined || chain === undefined) return undefined;
    const identity = this.#identity(request.sourcePrincipal, request.sourceLabels);
    const other = this.#identity(request.destinationPrincipal, request.destinationLabels);
    const known = chain.misses;
    const key = [
      destination.class.id,
      other.id,
      source.class.id,
      identity.id,
      request.protocol,
      request.dstPort,
    ].join();
    const stepKey = `${key},${decision.step!.tier}`;
    if (known?.has(stepKey) === true) return known.get(stepKey);
    const miss = this.#findMiss(request, decision.step!, chain, { source, destination, identity, other });
    known?.set(stepKey, miss);
    this.#remembered++;
    return miss;
  }

  #findMiss(request: AuthzRequest, end: Step, chain: ChainState, ends: Ends): Miss | undefined {
    const { source, destination, identity, other } = ends;
    const { protocol, srcPort, dstPort } = request;
    let best: Miss | undefined;
    for (const { rule } of chain.steps.slice(0, chain.steps.indexOf(end))) {
      if (rule?.action !== 'allow' || !holdsProtocol(rule, protocol)) continue;
      if (!holdsPorts(rule.destination, destination.key, protocol, dstPort)) continue;
      if (!holdsAddress(rule.destination, destination.class)) continue;
      if (!this.#matches.holds(rule.destination.identity, other)) continue;
      const network =
        !holdsAddress(rule.source, source.class) || !holdsPorts(rule.source, source.key, protocol, srcPort);
      const miss = {
        network,
        identity: !this.#matches.holds(rule.source.identity, identity),
        request: holdsRequest(rule, request.http) !== REQUEST_FITS,
      };
      const count = countOf(miss);
      // A rule that a Pass rule has skipped may miss nothing.
      if (count === 1) return miss;
      if (count > 0 && (best === undefined || count < countOf(best))) best = miss;
    }
    return best;
  }

  /** What Calico lets through and the options do not. */
  #refine(decision: Decision, identity: Identity): Decision {
    const { requireIdentity, trustDomains } = this.options;
    if (requireIdentity === true && identity.principal === undefined) {
      return { ...decision, code: CODE_PERMISSION_DENIED, reason: 'identity-required' };
    }
    if (trustDomains === undefined || trustDomains.length === 0 || identity.principal === undefined) return decision;
    if (trustDomains.includes(identity.principal.trustDomain)) return decision;
    return { ...decision, code: CODE_PERMISSION_DENIED, reason: 'trust-domain' };
  }

  #decide(request: AuthzRequest, source: Peer, destination: Peer, identity: Identity, target: Target): Decision {
    const { chain, endpoint } = target;
    const candidates = this.#candidates(request, source, destination, identity, chain);
    const { steps, jumps } = candidates;
    for (let i = 0; ; ) {
      const step = steps[i]!;
      const rule = step.rule;
      if (rule !== undefined) {
        if (rule.hasPorts && !holdsAllPorts(rule, source, destination, request)) {
          i++;
          continue;
        }
        const answer = rule.hasRequest ? holdsRequest(rule, request.http) : REQUEST_FITS;
        if (answer === REQUEST_IS_BAD)
          return { code: CODE_INVALID_ARGUMENT, reason: 'bad-path', step, endpoint, identity };
        if (answer !== REQUEST_FITS) {
          i++;
          continue;
        }
      }
      if (step.jump < 0) return { code: step.code, reason: step.reason, step, endpoint, identity };
      i = jumps[i]!;
    }
  }

  #candidates(
    request: AuthzRequest,
    source: Peer,
    destination: Peer,
    identity: Identity,
    chain: ChainState,
  ): Candidates {
    const other = chain.asksDestination
      ? this.#identity(request.destinationPrincipal, request.destinationLabels)
      : undefined;
    const outer = (destination.class.id * 256 + request.protocol) * ID_FACTOR + (other === undefined ? 0 : other.id);
    let inner = chain.candidates.get(outer);
    if (inner === undefined) {
      inner = new Map();
      chain.candidates.set(outer, inner);
    }
    const key = source.class.id * ID_FACTOR + (chain.asksSource ? identity.id : 0);
    let candidates = inner.get(key);
    if (candidates === undefined) {
      candidates = this.#findCandidates(chain.steps, request.protocol, source, destination, identity, other);
      inner.set(key, candidates);
      this.#remembered += candidates.steps.length;
    }
    return candidates;
  }

  #findCandidates(
    steps: readonly Step[],
    protocol: number,
    source: Peer,
    destination: Peer,
    identity: Identity,
    other: Identity | undefined,
  ): Candidates {
    const kept: number[] = [];
    /** Where Pass rules with tests of ports or requests go on: behind a step that decides, evaluation may come back there. */
    let pending = -1;
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i]!;
      const rule = step.rule;
      if (rule !== undefined) {
        const holds =
          holdsProtocol(rule, protocol) &&
          holdsAddress(rule.source, source.class) &&
          holdsAddress(rule.destination, destination.class) &&
          this.#matches.holds(rule.source.identity, identity) &&
          (other === undefined || this.#matches.holds(rule.destination.identity, other));
        // A Log rule decides nothing, unless the path of the request is one that no rule may be asked about.
        if (!holds || (rule.action === 'log' && rule.paths === undefined)) continue;
      }
      const isCertain = rule === undefined || (!rule.hasPorts && !rule.hasRequest);
      if (isCertain && step.jump >= 0) {
        i = step.jump - 1;
        continue;
      }
      kept.push(i);
      if (!isCertain) pending = Math.max(pending, step.jump);
      else if (pending <= i) break;
      else i = pending - 1;
    }
    const jumpOf = (target: number): number => kept.findIndex((index) => index >= target);
    return {
      steps: kept.map((index) => steps[index]!),
      jumps: kept.map((index) => (steps[index]!.jump < 0 ? -1 : jumpOf(steps[index]!.jump))),
    };
  }

  #targetsOf(destination: Peer): readonly Target[] {
    return this.options.endpoint === undefined ? destination.targets : this.#pinned === undefined ? [] : [this.#pinned];
  }

  #target(endpoint: FormEndpoint): Target {
    return { endpoint, chain: this.#chains[endpoint.chain]! };
  }

  /** `undefined` if `text` is no address. */
  #peer(text: string): Peer | undefined {
    const known = this.#peers.get(text);
    if (known !== undefined) return known;
    const address = parsePeerAddress(text);
    if (address === undefined) return undefined;
    const peer = {
      class: this.#addresses.classOf(address),
      key: addressKey(address),
      targets: (this.#byAddress.get(addressKey(address)) ?? []).map((endpoint) => this.#target(endpoint)),
    };
    this.#peers.set(text, peer);
    this.#remembered += PEER_WEIGHT;
    return peer;
  }

  #identity(text: string, labels: Readonly<Record<string, string>> | undefined): Identity {
    const hasLabels = labels !== undefined && Object.keys(labels).length > 0;
    const key = hasLabels ? `${text}\n${JSON.stringify(Object.entries(labels).sort())}` : text;
    const known = this.#identities.get(key);
    if (known !== undefined) return known;
    const identity = this.#matches.identity(this.#identities.size, text, hasLabels ? labels : undefined);
    this.#identities.set(key, identity);
    // Whoever asks chooses the text.
    this.#remembered += PEER_WEIGHT + (this.#matches.count >> 2) + (key.length >> 2);
    return identity;
  }

  #forget(): void {
    this.#peers.clear();
    this.#identities.clear();
    this.#addresses.clear();
    for (const chain of this.#chains) {
      chain.candidates.clear();
      chain.misses?.clear();
    }
    this.#remembered = 0;
  }
}

/** What of a request a rule does not take. */
export interface Miss {
  /** Source address and port. */
  readonly network: boolean;
  /** Source certificate. */
  readonly identity: boolean;
  /** HTTP method and path. */
  readonly request: boolean;
}

function countOf({ network, identity, request }: Miss): number {
  return Number(network) + Number(identity) + Number(request);
}

function chainState(steps: readonly Step[]): ChainState {
  const asks = (side: 'source' | 'destination'): boolean =>
    steps.some(({ rule }) => rule !== undefined && rule[side].identity >= 0);
  const isPlain = steps.every(({ rule }) => {
    if (rule === undefined) return true;
    const { source, destination, hasRequest } = rule;
    const asksSourcePort = source.ports !== undefined || source.notPorts.length > 0 || source.tuples !== undefined;
    return !hasRequest && !asksSourcePort && destination.tuples === undefined;
  });
  return {
    steps,
    asksSource: asks('source'),
    asksDestination: asks('destination'),
    candidates: new Map(),
    misses: isPlain ? new Map() : undefined,
  };
}

function holdsAllPorts(rule: CompiledRule, source: Peer, destination: Peer, request: AuthzRequest): boolean {
  const { protocol, srcPort, dstPort } = request;
  return (
    holdsPorts(rule.source, source.key, protocol, srcPort) &&
    holdsPorts(rule.destination, destination.key, protocol, dstPort)
  );
}

function hasSoundNumbers({ srcPort, dstPort, protocol }: AuthzRequest): boolean {
  return isBelow(srcPort, 65_536) && isBelow(dstPort, 65_536) && isBelow(protocol, 256);
}

function isBelow(value: number, limit: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < limit;
}
