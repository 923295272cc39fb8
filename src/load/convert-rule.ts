/** Rules of Calico's policies and profiles to the model. */

import type { EntityRule, HttpPath, IcmpMatch, Port, Protocol, Rule, RuleAction } from '../model/rule.ts';
import { EMPTY_ENTITY } from '../model/rule.ts';
import type { ObjectContext } from './object.ts';
import type { FieldPath } from './problem.ts';
import { listOf, type Opt, type RawMap, stringMap } from './raw.ts';

export type RawPort = number | string;

export interface RawEntity {
  readonly nets?: Opt<readonly string[]>;
  readonly notNets?: Opt<readonly string[]>;
  readonly selector?: Opt<string>;
  readonly notSelector?: Opt<string>;
  readonly namespaceSelector?: Opt<string>;
  readonly services?: Opt<{ readonly name?: Opt<string>; readonly namespace?: Opt<string> }>;
  readonly serviceAccounts?: Opt<{ readonly names?: Opt<readonly string[]>; readonly selector?: Opt<string> }>;
  readonly ports?: Opt<readonly RawPort[]>;
  readonly notPorts?: Opt<readonly RawPort[]>;
}

export interface RawIcmp {
  readonly type?: Opt<number>;
  readonly code?: Opt<number>;
}

export interface RawHttp {
  readonly methods?: Opt<readonly string[]>;
  readonly paths?: Opt<readonly { readonly exact?: Opt<string>; readonly prefix?: Opt<string> }[]>;
}

export interface RawRule {
  readonly action: RuleAction;
  readonly ipVersion?: Opt<4 | 6>;
  readonly protocol?: Opt<number | string>;
  readonly notProtocol?: Opt<number | string>;
  readonly icmp?: Opt<RawIcmp>;
  readonly notICMP?: Opt<RawIcmp>;
  readonly source?: Opt<RawEntity>;
  readonly destination?: Opt<RawEntity>;
  readonly http?: Opt<RawHttp>;
  readonly metadata?: Opt<{ readonly annotations?: Opt<RawMap> }>;
}

/** The rules at `path`, each with its own line. */
export function convertRules(raw: Opt<readonly RawRule[]>, path: FieldPath, context: ObjectContext): readonly Rule[] {
  return listOf(raw).map((rule, index) => convertRule(rule, [...path, index], context));
}

function convertRule(raw: RawRule, path: FieldPath, context: ObjectContext): Rule {
  return {
    action: raw.action,
    ipVersion: raw.ipVersion ?? undefined,
    protocol: convertProtocol(raw.protocol),
    notProtocol: convertProtocol(raw.notProtocol),
    icmp: convertIcmp(raw.icmp),
    notICMP: convertIcmp(raw.notICMP),
    source: convertEntity(raw.source),
    destination: convertEntity(raw.destination),
    http: raw.http ? convertHttp(raw.http) : undefined,
    annotations: stringMap(raw.metadata?.annotations),
    origin: context.origin(path),
  };
}

/** A name as written, or a number; digits in quotes are the number where they fit a protocol's eight bits. */
export function convertProtocol(raw: Opt<number | string>): Protocol | undefined {
  if (raw === null || raw === undefined) return undefined;
  if (typeof raw === 'number' || !/^[0-9]+$/.test(raw)) return raw;
  return Number(raw) <= 255 ? Number(raw) : raw;
}

function convertIcmp(raw: Opt<RawIcmp>): IcmpMatch | undefined {
  return raw ? { type: raw.type ?? undefined, code: raw.code ?? undefined } : undefined;
}

function convertEntity(raw: Opt<RawEntity>): EntityRule {
  if (!raw) return EMPTY_ENTITY;
  const { serviceAccounts, services } = raw;
  return {
    nets: listOf(raw.nets),
    notNets: listOf(raw.notNets),
    selector: raw.selector ?? '',
    notSelector: raw.notSelector ?? '',
    namespaceSelector: raw.namespaceSelector ?? '',
    serviceAccounts: serviceAccounts
      ? { names: listOf(serviceAccounts.names), selector: serviceAccounts.selector ?? '' }
      : undefined,
    services: services ? { name: services.name ?? '', namespace: services.namespace ?? '' } : undefined,
    ports: convertPorts(raw.ports),
    notPorts: convertPorts(raw.notPorts),
  };
}

const NO_PORTS: readonly Port[] = [];

function convertPorts(raw: Opt<readonly RawPort[]>): readonly Port[] {
  return !raw || raw.length === 0 ? NO_PORTS : raw.map(convertPort);
}

/** `80`, `"80"`, `"80:90"` or a name; what the API refuses comes out as near to what was written as the type allows. */
function convertPort(raw: RawPort): Port {
  if (typeof raw === 'number') return { type: 'range', min: raw, max: raw };
  const match = /^([0-9]+)(?::([0-9]+))?$/.exec(raw);
  if (match === null) return { type: 'named', name: raw };
  const min = Number(match[1]);
  return { type: 'range', min, max: match[2] === undefined ? min : Number(match[2]) };
}

function convertHttp(raw: RawHttp): Rule['http'] {
  const paths = listOf(raw.paths).map((path): HttpPath => {
    return path.exact ? { exact: path.exact } : { prefix: path.prefix ?? '' };
  });
  return { methods: listOf(raw.methods), paths };
}
