/**
 * Ownership: which pod an address belonged to, from when to when, and what the pod was.
 *
 * One record says that `ip` belonged to one pod (by `uid`) from one moment on and before another. It carries all that policy can ask of the
 * pod, so that a reader can compile with policies alone. In files a record is a line of JSON with these fields:
 *
 *   ip, namespace, pod                   required
 *   uid, service_account, node           text; without uid the pod is `namespace/pod`
 *   labels, service_account_labels, namespace_labels, annotations   maps of text
 *   ports                                [{"name", "protocol", "port"}]: the named ports of the containers
 *   from, to                             RFC 3339; absent = always so far, and still
 *
 * Whatever comes from a file or a store is hostile until `parseRecord` took it: wrong types, long texts and bad addresses are refused with a
 * reason, unknown fields are passed over (a later version may have more).
 */
import { formatAddress, parseAddress } from '../base/ip.ts';
import { formatMoment, parseMoment } from '../base/time.ts';
import { ALLOWED_SOURCE_PREFIXES, FLOATING_IPS } from '../model/pod-addresses.ts';
import type { ContainerPort, Origin, StringMap } from '../model/resources.ts';

/** What does not change while a pod lives in one address, or changes with a new record. */
export interface PodIdentity {
  readonly namespace: string;
  readonly pod: string;
  /** `namespace/pod` where the cluster gave none. */
  readonly uid: string;
  /** `''` = none. */
  readonly serviceAccount: string;
  readonly node: string;
  readonly labels: StringMap;
  readonly ports: readonly ContainerPort[];
  /** Only those that change a verdict: `IDENTITY_ANNOTATIONS`. */
  readonly annotations: StringMap;
}

export interface IdentityRecord extends PodIdentity {
  /** Canonical text. */
  readonly ip: string;
  /** `undefined` = the record does not say. */
  readonly serviceAccountLabels: StringMap | undefined;
  readonly namespaceLabels: StringMap | undefined;
  /** Milliseconds since 1970, infinite where there is no bound; `fromMs` included, `toMs` not. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly origin: Origin;
}

/** Annotations of a pod that change a verdict (semantics 2.1). */
const IDENTITY_ANNOTATIONS: readonly string[] = [ALLOWED_SOURCE_PREFIXES, FLOATING_IPS];

/** Code units of one name or uid: those of Kubernetes have at most 253. */
const NAME_LENGTH_MAX = 256;
/** Code units of one label or annotation, key or value: annotations are lists of prefixes, a pod has 256 KiB of them at most. */
const TEXT_LENGTH_MAX = 262_144;
/** Labels of one object, and named ports of one pod. */
const ENTRIES_MAX = 4_096;

export type Parsed<T> = { readonly value: T } | { readonly refused: string };

/** The record in `value` (parsed JSON), or why it is none. */
export function parseRecord(value: unknown, origin: Origin): Parsed<IdentityRecord> {
  if (!isObject(value)) return { refused: 'a record is a JSON object' };
  try {
    const namespace = nameField(value, 'namespace', true);
    const pod = nameField(value, 'pod', true);
    const fromMs = momentField(value, 'from', Number.NEGATIVE_INFINITY);
    const toMs = momentField(value, 'to', Number.POSITIVE_INFINITY);
    if (fromMs >= toMs) throw new Refusal("'to' is not after 'from'");
    const record: IdentityRecord = {
      ip: addressField(value),
      namespace,
      pod,
      uid: nameField(value, 'uid', false) || `${namespace}/${pod}`,
      serviceAccount: nameField(value, 'service_account', false),
      node: nameField(value, 'node', false),
      labels: mapField(value, 'labels') ?? NO_LABELS,
      ports: portsField(value),
      annotations: keptAnnotations(mapField(value, 'annotations') ?? NO_LABELS),
      serviceAccountLabels: mapField(value, 'service_account_labels'),
      namespaceLabels: mapField(value, 'namespace_labels'),
      fromMs,
      toMs,
      origin,
    };
    return { value: record };
  } catch (error) {
    if (error instanceof Refusal) return { refused: error.message };
    throw error;
  }
}

/** The JSON line of a record, without the line's end. Same record, same bytes: maps are sorted by key. */
export function recordLine(record: IdentityRecord): string {
  const { ip, namespace, pod, uid, serviceAccount, node, fromMs, toMs } = record;
  return JSON.stringify({
    ip,
    namespace,
    pod,
    ...(uid === `${namespace}/${pod}` ? {} : { uid }),
    ...(serviceAccount === '' ? {} : { service_account: serviceAccount }),
    ...(node === '' ? {} : { node }),
    labels: sortedObject(record.labels),
    ...(record.ports.length === 0 ? {} : { ports: record.ports.map(portObject) }),
    ...(record.annotations.size === 0 ? {} : { annotations: sortedObject(record.annotations) }),
    ...(record.serviceAccountLabels === undefined
      ? {}
      : { service_account_labels: sortedObject(record.serviceAccountLabels) }),
    ...(record.namespaceLabels === undefined ? {} : { namespace_labels: sortedObject(record.namespaceLabels) }),
    ...(Number.isFinite(fromMs) ? { from: formatMoment(fromMs) } : {}),
    ...(Number.isFinite(toMs) ? { to: formatMoment(toMs) } : {}),
  });
}

/** By address, then time, then pod: the order of files. */
export function compareRecords(a: IdentityRecord, b: IdentityRecord): number {
  return (
    compareText(a.ip, b.ip) ||
    compareNumbers(a.fromMs, b.fromMs) ||
    compareText(podKey(a), podKey(b)) ||
    compareNumbers(a.toMs, b.toMs)
  );
}

/** Unlike a difference, good for infinite numbers. */
function compareNumbers(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function podKey({ namespace, pod, uid }: PodIdentity): string {
  return `${namespace}/${pod} ${uid}`;
}

export const NO_LABELS: StringMap = new Map();

/** The object of a map, keys in order, so that equal maps are equal text. `__proto__` is a key like any other. */
export function sortedObject(map: StringMap): Readonly<Record<string, string>> {
  return Object.fromEntries([...map].sort(([a], [b]) => compareText(a, b)));
}

export function portObject({ name, protocol, containerPort }: ContainerPort): object {
  return { name, protocol, port: containerPort };
}

export function keptAnnotations(annotations: StringMap): StringMap {
  const kept = [...annotations].filter(([key, value]) => IDENTITY_ANNOTATIONS.includes(key) && value !== '');
  return kept.length === 0 ? NO_LABELS : new Map(kept);
}

/* ---- checks of single fields, shared with what comes out of Redis ---- */

/** What was wrong, for whoever counts refusals. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
}

type Fields = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function nameField(fields: Fields, field: string, isRequired: boolean): string {
  const value = fields[field] ?? '';
  if (typeof value !== 'string') throw new Refusal(`'${field}' must be text`);
  if (isRequired && value === '') throw new Refusal(`'${field}' is missing`);
  checkName(value, field);
  return value;
}

/** Throws `Refusal` for what can be no name: too long, white space, control characters. */
export function checkName(value: string, field: string): void {
  if (value.length > NAME_LENGTH_MAX) throw new Refusal(`'${field}' is longer than ${NAME_LENGTH_MAX} characters`);
  if (/[\s\p{Cc}\p{Cs}|]/u.test(value)) throw new Refusal(`'${field}' holds white space, a bar or control characters`);
}

function addressField(fields: Fields): string {
  const { ip } = fields;
  if (typeof ip !== 'string') throw new Refusal("'ip' is missing");
  const address = ip.length > 64 ? undefined : parseAddress(ip);
  if (address === undefined) throw new Refusal(`'ip' is no IP address: ${JSON.stringify(ip.slice(0, 64))}`);
  return formatAddress(address);
}

function momentField(fields: Fields, field: string, absent: number): number {
  const value = fields[field] ?? null;
  if (value === null) return absent;
  const moment = typeof value === 'string' ? parseMoment(value) : undefined;
  if (moment === undefined) throw new Refusal(`'${field}' is no time such as 2026-01-01T00:00:00Z`);
  return moment;
}

function mapField(fields: Fields, field: string): StringMap | undefined {
  const value = fields[field] ?? null;
  return value === null ? undefined : parseMap(value, field);
}

/** A map of texts. Throws `Refusal`. */
export function parseMap(value: unknown, field: string): StringMap {
  if (!isObject(value)) throw new Refusal(`'${field}' must be a map`);
  const entries = Object.entries(value);
  if (entries.length > ENTRIES_MAX) throw new Refusal(`'${field}' has more than ${ENTRIES_MAX} entries`);
  if (entries.length === 0) return NO_LABELS;
  const map = new Map<string, string>();
  for (const [key, text] of entries) {
    if (typeof text !== 'string') throw new Refusal(`'${field}' has a value that is no text`);
    if (key.length > TEXT_LENGTH_MAX || text.length > TEXT_LENGTH_MAX)
      throw new Refusal(`'${field}' has an overlong text`);
    map.set(key, text);
  }
  return map;
}

function portsField(fields: Fields): readonly ContainerPort[] {
  const value = fields.ports ?? null;
  return value === null ? NO_PORTS : parsePorts(value);
}

const NO_PORTS: readonly ContainerPort[] = [];

/** Named ports. Throws `Refusal`. */
export function parsePorts(value: unknown): readonly ContainerPort[] {
  if (!Array.isArray(value)) throw new Refusal("'ports' must be a list");
  if (value.length > ENTRIES_MAX) throw new Refusal(`'ports' has more than ${ENTRIES_MAX} entries`);
  return value.map((entry: unknown) => {
    if (!isObject(entry)) throw new Refusal("'ports' has an entry that is no map");
    const { name, protocol, port } = entry;
    if (typeof name !== 'string' || typeof protocol !== 'string')
      throw new Refusal("'ports' has an entry without name or protocol");
    if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > 65_535)
      throw new Refusal("'ports' has a port that is none");
    checkName(name, 'ports');
    checkName(protocol, 'ports');
    return { name, protocol, containerPort: port };
  });
}
