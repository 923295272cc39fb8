/**
 * Reads a pod by walking over it: keeps the few fields that the model needs and scans over the rest.
 *
 *     {"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"app":"api"},"managedFields":[…],"name":"api-0",…},…}
 *                                                 ^^^^^^^^^^^^^ known        ^^^ scanned over     ^^^^^ made anew
 *
 * It takes only pods of which nothing is to be said. Whatever the long way might report, or take in a way of its own (an
 * unknown field, a null, an escape where none is usual, a name against the rules) makes it give up. Where in the pod the fields stood
 * is noted, for the form that is made of it (pod-reader.ts).
 */
import type { ContainerPort } from '../model/resources.ts';
import { podAnnotations } from './convert-core.ts';
import { FormReader } from './json-form.ts';
import { CLOSE_LIST, COMMA, FAIL, OPEN_LIST, OPEN_OBJECT, QUOTE } from './json-scanner.ts';
import { KeyTable } from './key-table.ts';
import {
  EMPTY_DRAFT,
  fresh,
  NO_PORTS,
  NO_TEXTS,
  PodFields,
  SPOT_ACCOUNT,
  SPOT_ANNOTATION,
  SPOT_DELETION,
  SPOT_FIXED,
  SPOT_HOST_NETWORK,
  SPOT_INIT_PORTS,
  SPOT_IP,
  SPOT_LABELS,
  SPOT_NAME,
  SPOT_NAMESPACE,
  SPOT_NODE,
  SPOT_NONE,
  SPOT_OLD_ACCOUNT,
  SPOT_PHASE,
  SPOT_POD_IP,
  SPOT_PORTS,
  SPOT_UID,
} from './pod-fields.ts';
import { NO_ENTRIES } from './raw.ts';
import { anything, type Schema } from './schemas/build.ts';
import { POD } from './schemas/kubernetes.ts';
import { ANNOTATIONS_BYTES_MAX } from './validate-meta.ts';

/* Objects inside a pod, and of each the fields that are read; other known fields are scanned over. */
const LEVEL_POD = 0;
const LEVEL_META = 1;
const LEVEL_SPEC = 2;
const LEVEL_CONTAINER = 3;
const LEVEL_STATUS = 4;
const LEVEL_POD_IP = 5;
const LEVEL_ANNOTATIONS = 6;

interface Level {
  readonly keys: KeyTable;
  /** Keys from this number on are known by name alone. */
  readonly readCount: number;
  /** Unknown fields are fine. */
  readonly isOpen: boolean;
}

/** The level of an object with this schema; `read` must be all fields that the schema looks into. */
function level(schema: Schema, read: readonly string[]): Level {
  const others = Object.keys(schema.properties ?? {}).filter((name) => schema.properties?.[name] === anything);
  const isOpen = schema.additionalProperties !== false;
  return { keys: new KeyTable([...read, ...others]), readCount: read.length, isOpen };
}

const SPEC = POD.properties!.spec!;
const STATUS = POD.properties!.status!;
const CONTAINER = SPEC.properties!.containers!.items!;
const PORTS = CONTAINER.properties!.ports!;

const LEVELS: readonly Level[] = [
  level(POD, ['apiVersion', 'kind', 'metadata', 'spec', 'status']),
  level(POD.properties!.metadata!, [
    'name',
    'namespace',
    'uid',
    'deletionTimestamp',
    'generateName',
    'labels',
    'annotations',
  ]),
  level(SPEC, ['nodeName', 'hostNetwork', 'serviceAccountName', 'serviceAccount', 'containers', 'initContainers']),
  level(CONTAINER, ['name', 'ports']),
  level(STATUS, ['phase', 'podIP', 'podIPs']),
  level(STATUS.properties!.podIPs!.items!, ['ip']),
];

/* By number of the field: its spot. */
const META_SPOTS = [SPOT_NAME, SPOT_NAMESPACE, SPOT_UID, SPOT_DELETION, SPOT_NONE];
const SPEC_SPOTS = [SPOT_NODE, SPOT_HOST_NETWORK, SPOT_ACCOUNT, SPOT_OLD_ACCOUNT];
const STATUS_SPOTS = [SPOT_PHASE, SPOT_POD_IP];

const V1 = Buffer.from('"v1"');
const KIND = Buffer.from('"Pod"');

function isAt(bytes: Uint8Array, from: number, text: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[from + i] !== text[i]) return false;
  return true;
}

export class PodScanner extends FormReader {
  protected readonly fields = new PodFields(PORTS);
  /** Where the scan found what it read: the kind of place, offset of the first byte and behind. */
  protected readonly notedSpots: number[] = [];
  protected readonly notedStarts: number[] = [];
  protected readonly notedEnds: number[] = [];
  /** Of an address its place in `podIPs`, of an annotation that among `notedKeys`. */
  protected readonly notedNumbers: number[] = [];
  protected readonly notedKeys: string[] = [];
  protected annotationBytes = 0;
  /** It says of itself that it is a pod. */
  protected isTyped = false;

  #isV1 = false;
  #isPod = false;
  #annotations = new Map<string, string>();
  /** Of the containers being read. */
  #ports: readonly ContainerPort[] = NO_PORTS;
  /** Of the entry of `podIPs` being read. */
  #ip = '';

  /** Offset behind the pod whose bracket is at `from`, the draft being filled, or FAIL. */
  protected scan(from: number, depth: number): number {
    const { draft } = this.fields;
    draft.copy(EMPTY_DRAFT);
    const { notedSpots, notedStarts, notedEnds, notedNumbers, notedKeys } = this;
    for (const list of [notedSpots, notedStarts, notedEnds, notedNumbers, notedKeys]) list.length = 0;
    this.#annotations = new Map();
    this.annotationBytes = 0;
    this.#isV1 = false;
    this.#isPod = false;
    const end = this.#object(from, depth, LEVEL_POD);
    if (end < 0 || draft.name === '' || this.#isV1 !== this.#isPod) return FAIL;
    this.isTyped = this.#isPod;
    const annotations = this.#annotations.size === 0 ? NO_ENTRIES : this.#annotations;
    draft.annotations = podAnnotations(annotations, draft.podIPs.length > 0);
    return end;
  }

  protected override field(
    number: number,
    key: number,
    keyStart: number,
    keyEnd: number,
    at: number,
    depth: number,
  ): number {
    if (number === LEVEL_ANNOTATIONS) return this.#annotation(keyStart, keyEnd, at);
    const { readCount, isOpen } = LEVELS[number]!;
    if (key < 0) return isOpen ? this.skip(at, depth) : FAIL;
    if (key >= readCount) return this.skip(at, depth);
    switch (number) {
      case LEVEL_POD:
        return this.#podField(key, at, depth);
      case LEVEL_META:
        return this.#metaField(key, at, depth);
      case LEVEL_SPEC:
        return this.#specField(key, at, depth);
      case LEVEL_CONTAINER:
        return key === 0 ? this.#plain(at) : this.#portsField(at, depth);
      case LEVEL_STATUS:
        return this.#statusField(key, at, depth);
      default:
        return this.#ipField(at);
    }
  }

  #object(at: number, depth: number, number: number): number {
    return this.object(at, depth, number, LEVELS[number]!.keys);
  }

  #note(spot: number, start: number, end: number, number = 0): void {
    this.notedSpots.push(spot);
    this.notedStarts.push(start);
    this.notedEnds.push(end);
    this.notedNumbers.push(number);
  }

  /** A text with a field of its own. */
  #text(spot: number, at: number): number {
    const end = this.#plain(at);
    if (end < 0 || spot === SPOT_NONE) return end;
    this.#note(spot, at + 1, end - 1);
    return this.fields.take(spot, this.bytes, at + 1, end - 1) ? end : FAIL;
  }

  #podField(key: number, at: number, depth: number): number {
    const inner = [FAIL, FAIL, LEVEL_META, LEVEL_SPEC, LEVEL_STATUS][key]!;
    if (inner !== FAIL) return this.bytes[at] === OPEN_OBJECT ? this.#object(at, depth, inner) : FAIL;
    const end = this.#plain(at);
    const wanted = key === 0 ? V1 : KIND;
    if (end < 0 || end - at !== wanted.length || !isAt(this.bytes, at, wanted)) return FAIL;
    this.#note(SPOT_FIXED, at + 1, end - 1);
    if (key === 0) this.#isV1 = true;
    else this.#isPod = true;
    return end;
  }

  #metaField(key: number, at: number, depth: number): number {
    if (key < META_SPOTS.length) return this.#text(META_SPOTS[key]!, at);
    if (this.bytes[at] !== OPEN_OBJECT) return FAIL;
    return key === META_SPOTS.length ? this.#labelsField(at, depth) : this.#annotationsField(at, depth);
  }

  #labelsField(at: number, depth: number): number {
    const end = this.skip(at, depth);
    if (end < 0) return FAIL;
    const labels = this.fields.labels(this.bytes, at, end);
    if (labels === undefined) return FAIL;
    this.#note(SPOT_LABELS, at, end);
    this.fields.draft.labels = labels;
    return end;
  }

  #annotationsField(at: number, depth: number): number {
    const end = this.object(at, depth, LEVEL_ANNOTATIONS, undefined);
    return this.annotationBytes > ANNOTATIONS_BYTES_MAX ? FAIL : end;
  }

  /** One annotation: keys are those of other pods, values its own. */
  #annotation(keyStart: number, keyEnd: number, at: number): number {
    const key = this.fields.annotationKey(this.bytes, keyStart, keyEnd);
    if (key === '' || this.bytes[at] !== QUOTE) return FAIL;
    const end = this.skip(at, 0);
    if (end < 0) return FAIL;
    this.#note(SPOT_ANNOTATION, at + 1, end - 1, this.notedKeys.length);
    this.notedKeys.push(key);
    // At least as many bytes as they are: an escape may stand for fewer.
    this.annotationBytes += keyEnd - keyStart + end - at;
    this.#annotations.set(key, annotationValue(this.bytes, at + 1, end - 1));
    return end;
  }

  #specField(key: number, at: number, depth: number): number {
    const spot = SPEC_SPOTS[key];
    if (spot === SPOT_HOST_NETWORK) {
      const end = this.literal(at);
      if (end < 0 || !this.fields.take(spot, this.bytes, at, end)) return FAIL;
      this.#note(spot, at, end);
      return end;
    }
    if (spot !== undefined) return this.#text(spot, at);
    const isInit = key > SPEC_SPOTS.length;
    this.#ports = NO_PORTS;
    const first = this.notedSpots.length;
    const end = this.#objects(at, depth, LEVEL_CONTAINER);
    if (isInit) {
      this.notedSpots.fill(SPOT_INIT_PORTS, first);
      this.fields.draft.initContainerPorts = this.#ports;
    } else this.fields.draft.containerPorts = this.#ports;
    return end;
  }

  #portsField(at: number, depth: number): number {
    const end = this.bytes[at] === OPEN_LIST ? this.list(at, depth) : FAIL;
    if (end < 0) return FAIL;
    const ports = this.fields.ports(this.bytes, at, end);
    if (ports === undefined) return FAIL;
    this.#note(SPOT_PORTS, at, end);
    if (ports.length > 0) this.#ports = this.#ports.length === 0 ? ports : [...this.#ports, ...ports];
    return end;
  }

  #statusField(key: number, at: number, depth: number): number {
    const spot = STATUS_SPOTS[key];
    if (spot !== undefined) return this.#text(spot, at);
    this.fields.draft.podIPs = NO_TEXTS;
    return this.#objects(at, depth, LEVEL_POD_IP);
  }

  #ipField(at: number): number {
    const end = this.#plain(at);
    if (end < 0) return FAIL;
    this.#note(SPOT_IP, at + 1, end - 1, this.fields.draft.podIPs.length);
    this.#ip = this.fields.address(this.bytes, at + 1, end - 1);
    return end;
  }

  /** A list of objects. */
  #objects(from: number, depth: number, number: number): number {
    const { bytes } = this;
    const { draft } = this.fields;
    if (bytes[from] !== OPEN_LIST) return FAIL;
    let at = this.space(from + 1);
    if (bytes[at] === CLOSE_LIST) return at + 1;
    for (;;) {
      if (bytes[at] !== OPEN_OBJECT) return FAIL;
      this.#ip = '';
      at = this.#object(at, depth + 1, number);
      if (at < 0) return FAIL;
      if (number === LEVEL_POD_IP) draft.podIPs = draft.podIPs.length === 0 ? [this.#ip] : [...draft.podIPs, this.#ip];
      at = this.space(at);
      const code = bytes[at];
      if (code === CLOSE_LIST) return at + 1;
      if (code !== COMMA) return FAIL;
      at = this.space(at + 1);
    }
  }

  /** A text of ASCII without escapes. */
  #plain(at: number): number {
    const bytes = this.bytes;
    if (bytes[at] !== QUOTE) return FAIL;
    let end = at + 1;
    for (;;) {
      const code = bytes[end]!;
      if (code === QUOTE) return end + 1;
      if (!(code >= 0x20 && code < 0x80) || code === 0x5c) return FAIL;
      end++;
    }
  }
}

/** The value of an annotation, from what is inside its quotes. */
export function annotationValue(bytes: Buffer, from: number, to: number): string {
  for (let at = from; at < to; at++) {
    if (bytes[at]! >= 0x80 || bytes[at] === 0x5c) return JSON.parse(bytes.toString('utf8', from - 1, to + 1)) as string;
  }
  return fresh(bytes, from, to);
}
