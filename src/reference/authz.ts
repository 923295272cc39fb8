/**
 * The authorization check, slow and obvious: semantics section 8 read off line by line, on the model as loaded.
 *
 * The twin of `authz`: it shares the model and the selector language with it and the preparation of section 3 and 4 with the rest
 * of the reference, and knows no classes, no candidates and nothing that is remembered. Only tests use it.
 */
import {
  formatAddress,
  type IpAddress,
  type IpPrefix,
  parseAddress,
  parsePrefixOrAddress,
  prefixContains,
} from '../base/ip.ts';
import { PROTOCOL_SCTP } from '../model/flow.ts';
import type { Resources } from '../model/resources.ts';
import type { EntityRule, HttpMatch, HttpPath, Port, Rule } from '../model/rule.ts';
import {
  type Endpoint,
  hostEndpoints,
  type Labels,
  type NetworkSetMembers,
  networkSets,
  podEndpoints,
} from './endpoints.ts';
import { AddressBook, protocolNumber } from './packet.ts';
import { type ConvertedTier, convertedTiers } from './policies.ts';
import { profilesOf, type ReferenceProfile } from './profiles.ts';
import { isValidRule } from './rules.ts';
import { entityText, trySelector } from './selector-text.ts';
import { settingsOfNode } from './settings.ts';

/** Addresses are valid; principals are `''` in plain text. */
export interface AuthzQuestion {
  readonly src: string;
  readonly dst: string;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly protocol: number;
  readonly sourcePrincipal: string;
  readonly destinationPrincipal: string;
  readonly sourceLabels?: Readonly<Record<string, string>> | undefined;
  readonly destinationLabels?: Readonly<Record<string, string>> | undefined;
  readonly http?: { readonly method: string; readonly path: string } | undefined;
}

export type AuthzAnswer = 'OK' | 'PERMISSION_DENIED' | 'INVALID_ARGUMENT';

/** A path that does not start with `/` ends the whole check (8.3, last paragraph). */
class InvalidPath extends Error {}

export class AuthzReference {
  private readonly resources: Resources;
  private readonly profiles: ReadonlyMap<string, ReferenceProfile>;
  private readonly pods: readonly Endpoint[];
  private readonly members: readonly Endpoint[];
  private readonly sets: readonly NetworkSetMembers[];
  private readonly tiers: readonly ConvertedTier[];
  private readonly book = new AddressBook();

  constructor(resources: Resources) {
    const canSpoof = (node: string): boolean => settingsOfNode(resources, node).canSpoof;
    this.resources = resources;
    this.profiles = profilesOf(resources);
    this.pods = podEndpoints(resources, this.profiles, this.book, canSpoof).filter(({ isRejected }) => !isRejected);
    this.members = [...this.pods, ...hostEndpoints(resources, this.profiles, this.book)];
    this.sets = networkSets(resources, this.profiles);
    this.tiers = convertedTiers(resources);
  }

  /** An address of several pods: all of them must allow. */
  check(question: AuthzQuestion): AuthzAnswer {
    const destination = this.book.find(question.dst);
    const pods = this.pods.filter(({ addresses }) => destination !== undefined && addresses.includes(destination));
    if (pods.length === 0) return 'PERMISSION_DENIED';
    try {
      const answers = pods.map((pod) => this.checkPod(pod, question));
      return answers.find((answer) => answer !== 'OK') ?? 'OK';
    } catch (error) {
      if (error instanceof InvalidPath) return 'INVALID_ARGUMENT';
      throw error;
    }
  }

  private checkPod(pod: Endpoint, question: AuthzQuestion): AuthzAnswer {
    for (const tier of this.tiers) {
      const policies = tier.policies.filter(({ source, types, selectorText }) => {
        const isStaged = source.kind.startsWith('Staged');
        const isOther = 'doNotTrack' in source && (source.doNotTrack || source.preDNAT);
        const governs = types.length === 0 || types.includes('Ingress');
        return !isStaged && !isOther && governs && trySelector(selectorText)!.matches(pod.labels);
      });
      if (policies.length === 0) continue;
      let action: Rule['action'] | undefined;
      for (const policy of policies) {
        action = this.actionOf(policy.ingress, policy.source.meta.namespace, question);
        if (action !== undefined) break;
        if (!tier.exists) return 'INVALID_ARGUMENT';
      }
      if (action === 'Allow') return 'OK';
      if (action === 'Deny' || (action === undefined && tier.defaultAction === 'deny')) return 'PERMISSION_DENIED';
    }
    for (const name of pod.profiles) {
      const profile = this.profiles.get(name);
      const isUsable = profile?.ingress.concat(profile.egress).every((rule) => isValidRule(rule, ''));
      if (profile === undefined || isUsable !== true) continue;
      const action = this.actionOf(profile.ingress, '', question);
      if (action === 'Allow') return 'OK';
      if (action !== undefined) return 'PERMISSION_DENIED';
    }
    return 'PERMISSION_DENIED';
  }

  /** What the first matching rule says that is no Log. */
  private actionOf(rules: readonly Rule[], namespace: string, question: AuthzQuestion): Rule['action'] | undefined {
    for (const rule of rules) if (this.matches(rule, namespace, question) && rule.action !== 'Log') return rule.action;
    return undefined;
  }

  /** All tests of 8.3, HTTP last. */
  private matches(rule: Rule, namespace: string, question: AuthzQuestion): boolean {
    const { protocol, notProtocol, source, destination, http } = rule;
    if (!this.identityMatches(source, namespace, question.sourcePrincipal, question.sourceLabels)) return false;
    const { destinationPrincipal, destinationLabels } = question;
    if (!this.identityMatches(destination, namespace, destinationPrincipal, destinationLabels)) return false;
    if (!this.addressMatches(source, namespace, question.src)) return false;
    if (!this.addressMatches(destination, namespace, question.dst)) return false;
    if (!portsMatch(source, question.srcPort) || !portsMatch(destination, question.dstPort)) return false;
    if (protocol !== undefined && protocolNumber(protocol) !== question.protocol) return false;
    if (notProtocol !== undefined && protocolNumber(notProtocol) === question.protocol) return false;
    if (!this.servicesMatch(source, destination, question)) return false;
    return http === undefined || question.http === undefined || httpMatches(http, question.http);
  }

  /** Lines "SA" and "Namespace" of 8.3, with the table of 8.2. */
  private identityMatches(
    entity: EntityRule,
    policyNamespace: string,
    principal: string,
    requestLabels: Readonly<Record<string, string>> | undefined,
  ): boolean {
    const parts = /^spiffe:\/\/[^/]+\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(principal);
    if (parts === null) return true;
    const [, namespace, name] = parts as unknown as [string, string, string];
    const accounts = entity.serviceAccounts ?? { names: [], selector: '' };
    const account = this.resources.serviceAccounts.find(
      ({ meta }) => meta.namespace === namespace && meta.name === name,
    );
    const labels = new Map(Object.entries(requestLabels ?? {}));
    if (account !== undefined) {
      for (const [key, value] of account.meta.labels) labels.set(key, value);
      labels.set('projectcalico.org/name', name);
    }
    if (accounts.names.length > 0 && !accounts.names.includes(name)) return false;
    if (accounts.selector !== '' && !selects(accounts.selector, labels)) return false;
    if (entity.namespaceSelector !== '') {
      const object = this.resources.namespaces.find(({ meta }) => meta.name === namespace);
      const own = new Map(object?.meta.labels ?? []);
      if (object !== undefined) own.set('projectcalico.org/name', namespace);
      return selects(entity.namespaceSelector, own);
    }
    const isAccountAsked = accounts.names.length > 0 || accounts.selector !== '';
    const isAsked = entity.selector !== '' || entity.notSelector !== '' || isAccountAsked;
    return policyNamespace === '' || !isAsked || namespace === policyNamespace;
  }

  /** Lines "Selector …" and "nets" of 8.3. */
  private addressMatches(entity: EntityRule, namespace: string, text: string): boolean {
    const address = parseAddress(text)!;
    const isIn = (nets: readonly string[]): boolean =>
      nets.some((net) => prefixContains(parsePrefixOrAddress(net) ?? NOWHERE, address));
    const hasNet = (nets: readonly string[]): boolean => nets.some((net) => parsePrefixOrAddress(net) !== undefined);
    if (hasNet(entity.nets) && !isIn(entity.nets)) return false;
    if (hasNet(entity.notNets) && isIn(entity.notNets)) return false;
    const { positive, negative } = entityText(entity, namespace);
    // With named ports alone there is only the set of tuples, and the ports fail anyway.
    if (positive !== '' && !isNamedAlone(entity.ports) && !this.isMember(positive, address)) return false;
    return negative === '' || !this.isMember(negative, address);
  }

  private isMember(text: string, address: IpAddress): boolean {
    const owned = this.members.filter(({ labels }) => selects(text, labels)).flatMap(({ addresses }) => addresses);
    const listed = this.sets.filter(({ labels }) => selects(text, labels)).flatMap(({ prefixes }) => prefixes);
    return (
      owned.some(({ text: own }) => own === formatAddress(address)) ||
      listed.some((prefix) => isSeen(prefix) && prefixContains(prefix, address))
    );
  }

  private servicesMatch(source: EntityRule, destination: EntityRule, question: AuthzQuestion): boolean {
    const slicesOf = ({ services }: EntityRule): Resources['endpointSlices'] =>
      this.resources.endpointSlices.filter(
        ({ meta, serviceName }) => meta.namespace === services!.namespace && serviceName === services!.name,
      );
    const holds = (addresses: readonly string[], text: string): boolean => {
      const wanted = this.book.find(text);
      return addresses.some((each) => this.book.find(each) === wanted);
    };
    if (source.services !== undefined && source.services.name !== '') {
      if (!slicesOf(source).some(({ addresses }) => holds(addresses, question.src))) return false;
    }
    if (destination.services === undefined || destination.services.name === '') return true;
    if (question.protocol === PROTOCOL_SCTP) return false;
    return slicesOf(destination).some(
      ({ addresses, ports }) =>
        holds(addresses, question.dst) &&
        ports.some(
          ({ protocol, port }) =>
            port === question.dstPort && protocolNumber(protocol === '' ? 'TCP' : protocol) === question.protocol,
        ),
    );
  }
}

/** A prefix that contains no address of either version in use here. */
const NOWHERE: IpPrefix = { version: 6, words: [-1, -1, -1, -1], length: 128 };

function selects(text: string, labels: Labels): boolean {
  return trySelector(text)!.matches(labels);
}

function isSeen({ version, length }: IpPrefix): boolean {
  const bits = version === 4 ? 32 : 128;
  // The last byte of the address is cut somewhere inside.
  return length <= bits - 8 || length === bits;
}

function isNamedAlone(ports: readonly Port[]): boolean {
  return ports.length > 0 && ports.every(({ type }) => type === 'named');
}

/** Named ports never match, so they never exclude either. */
function portsMatch({ ports, notPorts }: EntityRule, port: number): boolean {
  const isIn = (list: readonly Port[]): boolean =>
    list.some((each) => each.type === 'range' && each.min <= port && port <= each.max);
  return (ports.length === 0 || isIn(ports)) && !isIn(notPorts);
}

function httpMatches(rule: HttpMatch, request: { readonly method: string; readonly path: string }): boolean {
  const { methods, paths } = rule;
  if (methods.length > 0 && !methods.includes('*') && !methods.includes(request.method)) return false;
  if (paths.length === 0) return true;
  if (request.path[0] !== '/') throw new InvalidPath();
  const path = segmentsOf(request.path);
  return path !== undefined && paths.some((each) => pathMatches(each, path));
}

function pathMatches(rule: HttpPath, path: readonly string[]): boolean {
  const wanted = 'exact' in rule ? rule.exact : rule.prefix;
  const segments = wanted.startsWith('/') ? segmentsOf(wanted) : undefined;
  if (segments === undefined) return false;
  const isPrefix = segments.every((segment, i) => segment === path[i]);
  return isPrefix && ('prefix' in rule || segments.length === path.length);
}

/** The segments of a path, byte by byte; `undefined` = it matches nothing. */
function segmentsOf(text: string): string[] | undefined {
  const bytes: number[] = [];
  const raw = Buffer.from(text);
  for (let i = 0; i < raw.length; i++) {
    const character = String.fromCharCode(raw[i]!);
    if (character === '?' || character === '#') break;
    if (character !== '%') {
      bytes.push(raw[i]!);
      continue;
    }
    const digits = raw.subarray(i + 1, i + 3).toString('latin1');
    if (digits.length < 2 || ![...digits].every((digit) => '0123456789abcdefABCDEF'.includes(digit))) return undefined;
    bytes.push(Number(`0x${digits}`));
    i += 2;
  }
  const decoded = String.fromCharCode(...bytes);
  if (['%2e', '%2f', '%5c', '\0'].some((bad) => decoded.toLowerCase().includes(bad))) return undefined;
  const out: string[] = [];
  for (const segment of decoded.split('\\').join('/').split('/')) {
    const name = segment.split(';')[0]!;
    if (name === '..') out.splice(-1);
    if (!['', '.', '..'].includes(name)) out.push(name);
  }
  return out;
}
