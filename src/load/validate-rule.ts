/**
 * Checks of a Calico rule beyond its shape.
 *
 * What the API refuses is an error. Objects that reached a cluster some other way (plain writes to older CRDs) may hold
 * it all the same; under `permissive` each finding becomes a warning that says what Calico then does (semantics 3.2).
 *
 * A big cluster has hundreds of thousands of rules, nearly all of them good: the path of a field is made where something is to be said of it,
 * or where the field is there at all.
 *
 * Sources: Calico libcalico-go/lib/validator/v3/validator.go (validateRule, validateEntityRule, validatePort,
 * validateHTTPRule), the CEL rules in api/pkg/apis/projectcalico/v3/policy_common.go, and api/pkg/lib/numorstring.
 */
import { PolicyError, quoteText } from '../base/errors.ts';
import { formatPrefix, type IpPrefix, parseAddress, parsePrefix } from '../base/ip.ts';
import type { Protocol } from '../model/rule.ts';
import { parseNode } from '../selector/parse.ts';
import {
  convertProtocol,
  type RawEntity,
  type RawHttp,
  type RawIcmp,
  type RawPort,
  type RawRule,
} from './convert-rule.ts';
import { portNameProblem, subdomainProblem } from './names.ts';
import type { ObjectContext } from './object.ts';
import type { FieldPath } from './problem.ts';
import { listOf, type Opt } from './raw.ts';
import { checkAnnotations } from './validate-meta.ts';

/** What Calico does with a policy that its dataplane agent finds invalid. */
export const POLICY_DROPPED = 'Calico drops the whole policy, as if it did not exist';

export type Direction = 'ingress' | 'egress';

export function checkRule(rule: RawRule, path: FieldPath, context: ObjectContext): void {
  const protocol = convertProtocol(rule.protocol);
  const notProtocol = convertProtocol(rule.notProtocol);
  checkProtocol(protocol, path, 'protocol', context);
  checkProtocol(notProtocol, path, 'notProtocol', context);
  checkIcmp(rule, protocol, notProtocol, path, context);
  if (rule.source) checkEntity(rule.source, [...path, 'source'], context);
  if (rule.destination) checkEntity(rule.destination, [...path, 'destination'], context);
  checkPortsOfServices(rule, path, context);
  checkPortsAllowed(rule, protocol, path, context);
  checkNets(rule, path, context);
  if (rule.http) checkHttp(rule, rule.http, protocol, [...path, 'http'], context);
  const annotations = rule.metadata?.annotations;
  if (annotations) checkAnnotations(annotations, [...path, 'metadata', 'annotations'], context);
}

const PROTOCOL_NAMES = ['TCP', 'UDP', 'ICMP', 'ICMPv6', 'SCTP', 'UDPLite'];

function checkProtocol(protocol: Protocol | undefined, path: FieldPath, field: string, context: ObjectContext): void {
  if (protocol === undefined) return;
  if (typeof protocol === 'number') {
    if (protocol >= 1 && protocol <= 255) return;
    const message = `protocol number ${protocol} is not between 1 and 255`;
    context.refuse([...path, field], message, 'correct it', POLICY_DROPPED);
  } else if (!PROTOCOL_NAMES.includes(protocol)) {
    const sameName = PROTOCOL_NAMES.find((name) => name.toLowerCase() === protocol.toLowerCase());
    const fix = sameName === undefined ? `use ${PROTOCOL_NAMES.join(', ')} or a number` : `write '${sameName}'`;
    const effect = sameName === undefined ? POLICY_DROPPED : `Calico takes it as ${sameName}`;
    context.refuse([...path, field], `unknown protocol ${quoteText(protocol)}`, fix, effect);
  }
}

/** The IP version that a protocol is of, if it is ICMP of one. */
function icmpVersion(protocol: Protocol | undefined): 4 | 6 | undefined {
  if (protocol === 'ICMP' || protocol === 1) return 4;
  return protocol === 'ICMPv6' || protocol === 58 ? 6 : undefined;
}

function checkIcmp(
  rule: RawRule,
  protocol: Protocol | undefined,
  notProtocol: Protocol | undefined,
  path: FieldPath,
  context: ObjectContext,
): void {
  if (rule.icmp) checkIcmpFields(rule.icmp, [...path, 'icmp'], context);
  if (rule.notICMP) checkIcmpFields(rule.notICMP, [...path, 'notICMP'], context);
  if (rule.icmp && icmpVersion(protocol) === undefined) {
    const message = 'icmp without protocol ICMP or ICMPv6';
    context.refuse(
      [...path, 'icmp'],
      message,
      'add protocol: ICMP or protocol: ICMPv6',
      'the rule matches only packets that fit both',
    );
  }
  if (!rule.ipVersion) return;
  for (const [field, each] of [
    ['protocol', protocol],
    ['notProtocol', notProtocol],
  ] as const) {
    const version = icmpVersion(each);
    if (version === undefined || rule.ipVersion === version) continue;
    const message = `protocol ${version === 4 ? 'ICMP' : 'ICMPv6'} is of IP version ${version}, and ipVersion is ${rule.ipVersion}`;
    context.refuse([...path, field], message, `set ipVersion: ${version}, or remove it`, 'no packet fits both');
  }
}

function checkIcmpFields(raw: RawIcmp, path: FieldPath, context: ObjectContext): void {
  if (raw.code === null || raw.code === undefined) return;
  if (raw.type !== null && raw.type !== undefined) return;
  context.refuse([...path, 'code'], 'an ICMP code without a type', 'add the type', 'Calico ignores the code');
}

const SELECTORS = ['selector', 'notSelector', 'namespaceSelector'] as const;
const PORT_FIELDS = ['ports', 'notPorts'] as const;

function checkEntity(entity: RawEntity, path: FieldPath, context: ObjectContext): void {
  for (const field of SELECTORS) {
    if (entity[field]) checkSelector(entity[field], [...path, field], POLICY_DROPPED, context);
  }
  const ofAccounts = entity.serviceAccounts?.selector;
  if (ofAccounts) checkSelector(ofAccounts, [...path, 'serviceAccounts', 'selector'], POLICY_DROPPED, context);
  if (entity.selector) checkNoGlobal(entity.selector, [...path, 'selector'], context);
  if (entity.namespaceSelector) checkGlobalAlone(entity.namespaceSelector, [...path, 'namespaceSelector'], context);
  checkAccountNames(entity, path, context);
  if (entity.services) checkServices(entity, path, context);
  for (const field of PORT_FIELDS) {
    const ports = listOf(entity[field]);
    for (let index = 0; index < ports.length; index++) {
      if (!isPortNumber(ports[index]!)) checkPort(ports[index]!, [...path, field, index], context);
    }
  }
}

/** Reports a selector that does not parse, with `effect` for permissive loads. */
export function checkSelector(text: Opt<string>, path: FieldPath, effect: string, context: ObjectContext): void {
  if (text === null || text === undefined || text === '') return;
  try {
    parseNode(text);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    context.refuse(path, error.problem, error.fix ?? 'correct the selector', effect);
  }
}

/** `global()` has a meaning in the namespace selector of a rule alone; the API looks for the mere text. */
export function checkNoGlobal(text: Opt<string>, path: FieldPath, context: ObjectContext): void {
  if (!text?.includes('global(')) return;
  const fix = "remove it; it is allowed as the whole namespaceSelector of a rule's source or destination";
  context.refuse(path, "'global(' is not allowed here", fix, 'global() is true for everything');
}

function checkGlobalAlone(text: Opt<string>, path: FieldPath, context: ObjectContext): void {
  if (!text?.includes('global(') || /^[ \t]*global\([ \t]*\)[ \t]*$/.test(text)) return;
  const message = 'global() cannot be combined with other selectors';
  const effect = 'Calico replaces global() by !has(projectcalico.org/namespace)';
  context.refuse(path, message, 'use global() alone', effect);
}

/** The API takes any name. What a quote in one does is for `compile` to say. */
function checkAccountNames(entity: RawEntity, path: FieldPath, context: ObjectContext): void {
  const names = listOf(entity.serviceAccounts?.names);
  for (let index = 0; index < names.length; index++) {
    const name = names[index]!;
    if (name.includes("'") || subdomainProblem(name) === undefined) continue;
    const message = `no service account can be called ${quoteText(name)}, so it matches nothing`;
    context.warn([...path, 'serviceAccounts', 'names', index], message, 'correct the name');
  }
}

function checkServices(entity: RawEntity, path: FieldPath, context: ObjectContext): void {
  const { name, namespace } = entity.services!;
  const field = [...path, 'services'];
  if ((name ?? '') === '') {
    context.refuse(
      [...field, 'name'],
      'services without the name of a service',
      'add the name',
      'Calico ignores the field',
    );
  }
  for (const [key, text] of [
    ['name', name ?? ''],
    ['namespace', namespace ?? ''],
  ] as const) {
    const problem = text === '' ? undefined : subdomainProblem(text);
    if (problem === undefined) continue;
    context.refuse([...field, key], `name ${quoteText(text)} is ${problem}`, 'correct it', 'it matches no service');
  }
  const excluded = [
    ['selector', entity.selector ?? ''],
    ['notSelector', entity.notSelector ?? ''],
    ['namespaceSelector', entity.namespaceSelector ?? ''],
    ['nets', listOf(entity.nets)],
    ['notNets', listOf(entity.notNets)],
  ] as const;
  for (const [key, value] of excluded) {
    if (value.length > 0) reportExclusive(key, path, context);
  }
  if (entity.serviceAccounts) reportExclusive('serviceAccounts', path, context);
}

function checkPortsOfServices({ destination }: RawRule, path: FieldPath, context: ObjectContext): void {
  if (!destination?.services || listOf(destination.ports).length + listOf(destination.notPorts).length === 0) return;
  const field = listOf(destination.ports).length > 0 ? 'ports' : 'notPorts';
  const message = `${field} beside destination.services, which has ports of its own`;
  context.refuse([...path, 'destination', field], message, 'remove it', 'the rule matches only what fits both');
}

function reportExclusive(key: string, path: FieldPath, context: ObjectContext): void {
  const message = `${key} cannot stand beside services`;
  context.refuse([...path, key], message, 'use one of the two, or two rules', 'the rule matches only what fits both');
}

/** What most ports are: a number that fits. */
function isPortNumber(raw: RawPort): boolean {
  return typeof raw === 'number' && raw >= 1 && raw <= 65535;
}

/** A port, a range or a name, as Calico's numorstring.Port reads it. */
function checkPort(raw: RawPort, path: FieldPath, context: ObjectContext): void {
  const text = String(raw);
  if (typeof raw === 'number' || /^[0-9]+(?::[0-9]+)?$/.test(text)) {
    const [min, max] = text.includes(':') ? text.split(':').map(Number) : [Number(raw), Number(raw)];
    if (min! < 1 || max! > 65535 || max! < 1 || min! > 65535) {
      context.refuse(path, `port ${text} is not between 1 and 65535`, 'correct it', POLICY_DROPPED);
    } else if (min! > max!) {
      context.refuse(path, `port range ${text} ends before it begins`, `write '${max}:${min}'`, POLICY_DROPPED);
    }
    return;
  }
  const problem = portNameProblem(text);
  if (problem === undefined) return;
  const isRange = /^[0-9]+-[0-9]+$/.test(text);
  const fix = isRange
    ? `write a range with a colon: '${text.replace('-', ':')}'`
    : 'use a number, a range such as 80:90, or the name of a port';
  context.refuse(path, `port name ${quoteText(text)} is ${problem}`, fix, POLICY_DROPPED);
}

const WITH_PORTS: ReadonlySet<Protocol> = new Set(['TCP', 'UDP', 'SCTP', 'tcp', 'udp', 'sctp', 6, 17, 132]);

/** Numbers need a protocol that has ports; names need one that has ports, or none at all. */
function checkPortsAllowed(
  rule: RawRule,
  protocol: Protocol | undefined,
  path: FieldPath,
  context: ObjectContext,
): void {
  if (protocol !== undefined && WITH_PORTS.has(protocol)) return;
  for (const side of ['source', 'destination'] as const) {
    for (const field of PORT_FIELDS) {
      const ports = listOf(rule[side]?.[field]);
      const isAllowed = protocol === undefined ? ports.every(isNamed) : ports.length === 0;
      if (isAllowed) continue;
      const message =
        protocol === undefined ? 'port numbers without a protocol' : `protocol ${String(protocol)} has no ports`;
      context.refuse([...path, side, field], message, 'set protocol to TCP, UDP or SCTP', POLICY_DROPPED);
    }
  }
}

function isNamed(raw: RawPort): boolean {
  return typeof raw === 'string' && !/^[0-9]+(?::[0-9]+)?$/.test(raw);
}

const NET_FIELDS = [
  ['source', 'nets'],
  ['source', 'notNets'],
  ['destination', 'nets'],
  ['destination', 'notNets'],
] as const;

/** CIDRs without host bits, of one IP version in the whole rule, and none that is everything where it is negated. */
function checkNets(rule: RawRule, path: FieldPath, context: ObjectContext): void {
  let versionOfRule: 4 | 6 | undefined = rule.ipVersion ?? undefined;
  let isMixed = false;
  for (const [side, field] of NET_FIELDS) {
    const nets = listOf(rule[side]?.[field]);
    for (let index = 0; index < nets.length; index++) {
      const text = nets[index]!;
      const place = [...path, side, field, index];
      const prefix = checkNet(text, place, context);
      if (prefix === undefined) continue;
      if (field === 'notNets' && isEverything(text, prefix)) {
        const effect = `the rule matches no IPv${prefix.version} packet`;
        context.refuse(place, `${quoteText(text)} leaves no address when it is excluded`, 'remove it', effect);
      }
      if (versionOfRule === undefined) versionOfRule = prefix.version;
      else if (versionOfRule !== prefix.version && !isMixed) {
        isMixed = true;
        reportMixed(rule, prefix, place, context);
      }
    }
  }
}

/** The API compares the text of an IPv4 prefix, and the value of an IPv6 one. */
function isEverything(text: string, prefix: IpPrefix): boolean {
  return prefix.version === 4 ? text === '0.0.0.0/0' : prefix.length === 0;
}

function reportMixed(rule: RawRule, prefix: IpPrefix, path: FieldPath, context: ObjectContext): void {
  const effect =
    'each packet is compared with the CIDRs of its own version alone, and a list without any never matches';
  if (rule.ipVersion) {
    const message = `an IPv${prefix.version} CIDR in a rule of ipVersion ${rule.ipVersion}`;
    context.refuse(path, message, 'correct the CIDR, or ipVersion', effect);
  } else context.refuse(path, 'IPv4 and IPv6 CIDRs in one rule', 'make two rules, one for each IP version', effect);
}

/** The prefix of a rule's net, or `undefined` after a report. */
function checkNet(text: string, path: FieldPath, context: ObjectContext): IpPrefix | undefined {
  const prefix = parsePrefix(text);
  if (prefix === undefined) {
    const address = parseAddress(text);
    if (address === undefined) {
      const effect = 'Calico skips it, and where no CIDR of a list is left the list no longer restricts the rule';
      context.refuse(path, `${quoteText(text)} is not a CIDR`, 'write ADDRESS/LENGTH', effect);
      return undefined;
    }
    const full = `${text}/${address.version === 4 ? 32 : 128}`;
    context.refuse(
      path,
      `${quoteText(text)} is an address, not a CIDR`,
      `write '${full}'`,
      `Calico takes it as ${full}`,
    );
    return undefined;
  }
  if (hasHostBits(text, prefix)) {
    const masked = formatPrefix(prefix);
    context.refuse(
      path,
      `CIDR ${quoteText(text)} has bits set after its length`,
      `write '${masked}'`,
      `Calico takes it as ${masked}`,
    );
  }
  return prefix;
}

/** The address before the slash is not the first of the prefix. */
export function hasHostBits(text: string, prefix: IpPrefix): boolean {
  const address = parseAddress(text.slice(0, text.indexOf('/')));
  if (address === undefined || address.version !== prefix.version) return true;
  return address.words.some((word, index) => word !== prefix.words[index]);
}

/** HTTP matches are for rules that allow TCP; Calico's network layer ignores them. */
function checkHttp(
  rule: RawRule,
  http: RawHttp,
  protocol: Protocol | undefined,
  path: FieldPath,
  context: ObjectContext,
): void {
  const ignored = 'the network layer ignores http, so the rule matches without it';
  if (rule.action !== 'Allow') {
    context.refuse(path, `http in a rule with action ${rule.action}`, 'use it with action Allow only', ignored);
  }
  if (protocol !== undefined && protocol !== 'TCP' && protocol !== 6) {
    context.refuse(path, `http in a rule with protocol ${String(protocol)}`, 'set protocol: TCP', ignored);
  }
  const methods = listOf(http.methods);
  for (const [index, method] of methods.entries()) {
    if (methods.indexOf(method) === index) continue;
    context.refuse([...path, 'methods', index], `method ${quoteText(method)} twice`, 'remove one', ignored);
  }
  for (const [index, { exact, prefix }] of listOf(http.paths).entries()) {
    checkHttpPath(exact ?? '', prefix ?? '', [...path, 'paths', index], ignored, context);
  }
}

function checkHttpPath(exact: string, prefix: string, path: FieldPath, effect: string, context: ObjectContext): void {
  const value = exact || prefix;
  if (exact !== '' && prefix !== '') context.refuse(path, 'exact and prefix in one path', 'make two entries', effect);
  else if (value === '') context.refuse(path, 'a path with neither exact nor prefix', 'add one of them', effect);
  if (value !== '' && (!value.startsWith('/') || /[? #]/.test(value))) {
    const field = [...path, exact === '' ? 'prefix' : 'exact'];
    const message = `path ${quoteText(value)} must begin with '/' and hold no '?', '#' or space`;
    context.refuse(field, message, 'correct it', effect);
  }
}
