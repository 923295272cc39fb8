/**
 * Names and values in Redis (design, section 8), and the checks of everything that comes out of it.
 *
 *   margay:{C}:meta            hash: schema, epoch, rev, fence, buckets, count, state, updated
 *   margay:{C}:ep:<bucket>     hash: address -> one word an owner, `rev|namespace/account|uid`, joined by spaces
 *   margay:{C}:pod:<uid>       hash: pod, uid, node, sa, labels, ports, annotations (the last three as JSON)
 *   margay:{C}:sa:<ns>/<name>  hash: labels (JSON)
 *   margay:{C}:ns:<name>       hash: labels (JSON)
 *   margay:{C}:sig             hash: bucket -> `rev signature` (sign.ts), if the publisher signs
 *   margay:{C}:log             stream: `<rev>-0`, op, kind, key, value, and the epoch, since revisions begin anew with each
 *
 * `uid` is short there: 12 characters of a hash, so that an owner fits the 64 bytes up to which Redis keeps small hashes compact. An owner
 * whose account makes it longer is written with `*`; the pod's hash, which always has the account, tells.
 *
 * Redis is hostile: anyone who can write there can write anything. What does not parse is refused, by a `Refusal` that says why.
 */
import { hash } from 'node:crypto';
import { formatAddress, parseAddress } from '../base/ip.ts';
import type { ContainerPort, StringMap } from '../model/resources.ts';
import {
  checkName,
  keptAnnotations,
  NO_LABELS,
  parseMap,
  parsePorts,
  portObject,
  Refusal,
  sortedObject,
} from './record.ts';

export const SCHEMA = '1';
export const BUCKETS = 1024;
/** Bytes up to which Redis keeps values of small hashes compact (`hash-max-listpack-value`). */
const COMPACT_BYTES = 64;
/** Code units of a value; a pod with all the labels that Kubernetes allows has less. */
const VALUE_LENGTH_MAX = 1_048_576;
/** Owners of one address; more are no accident. */
const OWNERS_MAX = 64;

/** What changes are about: owners of addresses, pods, accounts, namespaces, signatures. */
export const KINDS = ['ep', 'pod', 'sa', 'ns', 'sig'] as const;
export type Kind = (typeof KINDS)[number];

/** One change, as the log has it. `key` of `ep` is the address; `value` is the owner, for a deletion its short uid alone. */
export interface Change {
  readonly op: 'set' | 'del';
  readonly kind: Kind;
  readonly key: string;
  readonly value: string;
}

export interface Keys {
  readonly prefix: string;
  readonly meta: string;
  readonly log: string;
  readonly leader: string;
  readonly sig: string;
  readonly ep: (bucket: number) => string;
  readonly of: (kind: 'pod' | 'sa' | 'ns', key: string) => string;
  readonly agent: (node: string) => string;
}

/** Throws an `Error` for a cluster name that would not do in a key. */
export function keysOf(cluster: string): Keys {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(cluster)) {
    throw new Error(`the cluster name ${JSON.stringify(cluster)} must be letters, digits, dots and dashes, at most 63`);
  }
  const prefix = `margay:{${cluster}}:`;
  return {
    prefix,
    meta: `${prefix}meta`,
    log: `${prefix}log`,
    leader: `${prefix}leader`,
    sig: `${prefix}sig`,
    ep: (bucket) => `${prefix}ep:${bucket}`,
    of: (kind, key) => `${prefix}${kind}:${key}`,
    agent: (node) => `${prefix}agent:${node}`,
  };
}

/** The bucket of an address (or of any key, for signatures): FNV-1a over the bytes of its text. */
export function bucketOf(text: string): number {
  let mixed = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) mixed = Math.imul(mixed ^ text.charCodeAt(i), 0x01000193);
  return ((mixed ^ (mixed >>> 15)) >>> 0) % BUCKETS;
}

const shortUids = new Map<string, string>();
const SHORT_UIDS_MAX = 500_000;

/** 12 characters of base64url(SHA-256(uid)): 72 bits, so that among a million pods a clash has odds of one in ten thousand million. */
export function shortUid(uid: string): string {
  let short = shortUids.get(uid);
  if (short === undefined) {
    short = hash('sha256', uid, 'base64url').slice(0, 12);
    if (shortUids.size >= SHORT_UIDS_MAX) shortUids.clear();
    shortUids.set(uid, short);
  }
  return short;
}

/* ---- owners of addresses ---- */

export interface Owner {
  /** `namespace/account`; `''` = the pod's hash tells. */
  readonly account: string;
  /** Short. */
  readonly uid: string;
}

/** `namespace/account|uid`, or `*|uid` where that with a revision of ten digits would not stay compact. */
export function ownerValue(account: string, uid: string): string {
  const value = `${account}|${uid}`;
  return Buffer.byteLength(value) + 11 >= COMPACT_BYTES ? `*|${uid}` : value;
}

export function parseOwner(value: string): Owner {
  const bar = value.indexOf('|');
  const account = value.slice(0, bar);
  if (bar < 0) throw new Refusal('an owner without account');
  if (account === '*') return { account: '', uid: parseUid(value.slice(2)) };
  checkPath(account, 'account', true);
  return { account, uid: parseUid(value.slice(bar + 1)) };
}

export function parseUid(text: string): string {
  if (!/^[\w-]{12}$/.test(text)) throw new Refusal('a short uid that is none');
  return text;
}

/** The owners in a bucket's field; each has its revision before it. */
export function parseOwners(text: string): readonly Owner[] {
  if (text.length > OWNERS_MAX * COMPACT_BYTES) throw new Refusal('an overlong list of owners');
  // Nearly all have one.
  if (!text.includes(' ')) return [parseOwnerAt(text)];
  const owners = text.split(' ').map(parseOwnerAt);
  if (new Set(owners.map(({ uid }) => uid)).size < owners.length) throw new Refusal('an owner that is there twice');
  return owners;
}

function parseOwnerAt(word: string): Owner {
  const bar = word.indexOf('|');
  parseRev(word.slice(0, Math.max(0, bar)));
  return parseOwner(word.slice(bar + 1));
}

export function parseRev(text: string | undefined): number {
  if (text === undefined || !/^\d{1,15}$/.test(text)) throw new Refusal('a revision that is no number');
  return Number(text);
}

/** IPv4 without leading zeros is its own canonical text. */
const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

/** The address, if it is written as we write it: each has one text. */
export function parseKeyAddress(text: string): string {
  if (IPV4.test(text)) return text;
  const address = text.length > 45 ? undefined : parseAddress(text);
  if (address === undefined || formatAddress(address) !== text)
    throw new Refusal('an address that is none, or not in its canonical text');
  return text;
}

/** `namespace/name`; with `mayBeBare` the name may be empty. */
export function checkPath(path: string, field: string, mayBeBare = false): void {
  const slash = path.indexOf('/');
  if (slash < 1 || path.indexOf('/', slash + 1) >= 0) throw new Refusal(`'${field}' is no namespace/name`);
  if (slash === path.length - 1 && !mayBeBare) throw new Refusal(`'${field}' has no name`);
  checkName(path.slice(0, slash), field);
  checkName(path.slice(slash + 1), field);
}

/* ---- pods, accounts, namespaces ---- */

/** What a pod's hash holds. */
export interface PodDetails {
  /** `namespace/name` */
  readonly pod: string;
  /** Whole; `namespace/name` if the cluster gave none. */
  readonly uid: string;
  readonly node: string;
  /** `namespace/account`; nothing behind the slash if it has none. */
  readonly account: string;
  readonly labels: StringMap;
  readonly ports: readonly ContainerPort[];
  readonly annotations: StringMap;
}

/** Fields and values of the hash; same pod, same texts. */
export function podFields(pod: PodDetails): Record<string, string> {
  return {
    pod: pod.pod,
    uid: pod.uid,
    node: pod.node,
    sa: pod.account,
    labels: JSON.stringify(sortedObject(pod.labels)),
    ...(pod.ports.length === 0 ? {} : { ports: JSON.stringify(pod.ports.map(portObject)) }),
    ...(pod.annotations.size === 0 ? {} : { annotations: JSON.stringify(sortedObject(pod.annotations)) }),
  };
}

type Fields = Readonly<Record<string, unknown>>;

export function parsePod(key: string, fields: Fields): PodDetails {
  const { pod, uid, node, sa } = fields;
  for (const [field, value] of Object.entries({ pod, uid, node, sa })) {
    if (typeof value !== 'string') throw new Refusal(`a pod without '${field}'`);
    if (field === 'node' || field === 'uid') checkName(value.replace('/', ''), field);
  }
  checkPath(pod as string, 'pod');
  checkPath(sa as string, 'sa', true);
  if (shortUid(uid as string) !== key) throw new Refusal('a pod under the key of another uid');
  return {
    pod: pod as string,
    uid: uid as string,
    node: node as string,
    account: sa as string,
    labels: parseLabels(fields.labels),
    ports: fields.ports === undefined ? [] : parsePorts(parseJson(fields.ports, 'ports')),
    annotations:
      fields.annotations === undefined
        ? NO_LABELS
        : keptAnnotations(parseMap(parseJson(fields.annotations, 'annotations'), 'annotations')),
  };
}

export function labelFields(labels: StringMap): Record<string, string> {
  return { labels: JSON.stringify(sortedObject(labels)) };
}

/** Labels as JSON text; equal texts give the same map, since most pods share theirs with others. */
export function parseLabels(value: unknown): StringMap {
  if (value === '{}') return NO_LABELS;
  const known = typeof value === 'string' ? labelMaps.get(value) : undefined;
  if (known !== undefined) return known;
  const map = parseMap(parseJson(value, 'labels'), 'labels');
  if (labelMaps.size >= LABEL_MAPS_MAX) labelMaps.clear();
  labelMaps.set(value as string, map);
  return map;
}

const labelMaps = new Map<string, StringMap>();
const LABEL_MAPS_MAX = 50_000;

function parseJson(value: unknown, field: string): unknown {
  if (typeof value !== 'string') throw new Refusal(`'${field}' is missing`);
  if (value.length > VALUE_LENGTH_MAX) throw new Refusal(`'${field}' is longer than ${VALUE_LENGTH_MAX} characters`);
  try {
    return JSON.parse(value);
  } catch {
    throw new Refusal(`'${field}' is no JSON`);
  }
}

/** The fields in the value of a log entry about a pod, an account or a namespace. */
export function parseFields(value: string): Fields {
  const fields = parseJson(value, 'value');
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
    throw new Refusal('a value that is no map');
  return fields as Fields;
}

/* ---- meta and log ---- */

export interface Meta {
  readonly epoch: string;
  readonly rev: number;
  readonly fence: number;
  readonly count: number;
  readonly isReady: boolean;
}

/** `undefined` where there is no data set at all (never published, or lost). Throws `Refusal` for one that we can't read. */
export function parseMeta(fields: Fields): Meta | undefined {
  const { schema, epoch, state, buckets } = fields;
  if (epoch === undefined || epoch === null) return undefined;
  if (schema !== SCHEMA)
    throw new Refusal(`the data has schema ${JSON.stringify(schema)}, this program reads ${SCHEMA}`);
  if (typeof epoch !== 'string' || !/^[\w-]{1,64}$/.test(epoch)) throw new Refusal('an epoch that is none');
  if (buckets !== String(BUCKETS)) throw new Refusal('another number of buckets');
  const number = (field: string): number => parseRev(fields[field] as string | undefined);
  return { epoch, rev: number('rev'), fence: number('fence'), count: number('count'), isReady: state === 'ready' };
}

/** An entry of the log as it came. */
export interface RawEntry {
  readonly id: string;
  readonly fields: Fields;
}

export function entryRev(id: string): number {
  const dash = id.indexOf('-');
  if (id.slice(dash) !== '-0') throw new Refusal('a log entry with an id of another form');
  return parseRev(id.slice(0, dash));
}

export function parseChange(fields: Fields): Change {
  const { op, kind, key, value } = fields;
  if (op !== 'set' && op !== 'del') throw new Refusal('a change that neither sets nor deletes');
  if (!KINDS.includes(kind as Kind)) throw new Refusal('a change of an unknown kind');
  if (typeof key !== 'string' || key.length > 2 * 256) throw new Refusal('a change without key');
  if (typeof value !== 'string' || value.length > VALUE_LENGTH_MAX) throw new Refusal('a change without value');
  return { op, kind: kind as Kind, key, value };
}
