/**
 * Pods straight from the bytes of a dump, without a JSON value in between.
 *
 * Pods are nearly all of a big cluster's dump, and `JSON.parse`, the check of the result and the conversion of it cost ten
 * times what it takes to read what the model needs from the bytes. So the reader walks over a pod once, keeps those few fields
 * and scans over the rest (`json-scanner.ts`). Labels, ports and names repeat from pod to pod: they are looked up by
 * their bytes and shared, and so are checked once (`ByteMap`).
 *
 *     {"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"app":"api"},"managedFields":[…],"name":"api-0",…},…}
 *                                                 ^^^^^^^^^^^^^ known        ^^^ scanned over     ^^^^^ made anew
 *
 * It takes only pods of which nothing is to be said. Whatever the long way might report, or take in a way of its own (an
 * unknown field, a null, an escape where none is usual, a name against the rules) makes it give up, and the long way
 * decides: same model, same messages. `test/load/pod-reader.test.ts` holds the two to that.
 */
import { ByteMap } from '../base/byte-map.ts';
import type { ContainerPort, Pod, StringMap } from '../model/resources.ts';
import { podAnnotations, portsOf } from './convert-core.ts';
import type { RawDocument } from './document.ts';
import { CLOSE_LIST, COMMA, FAIL, JsonScanner, KeyTable, OPEN_LIST, OPEN_OBJECT, QUOTE } from './json-scanner.ts';
import { ObjectContext } from './object.ts';
import { ProblemList } from './problem.ts';
import { NO_ENTRIES, type RawMap, stringMap } from './raw.ts';
import { isValid } from './schema-check.ts';
import { anything, type Schema } from './schemas/build.ts';
import { POD } from './schemas/kubernetes.ts';
import { ANNOTATIONS_BYTES_MAX, checkAnnotations, checkLabels, labelName } from './validate-meta.ts';

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
    'labels',
    'annotations',
    'generateName',
    'deletionTimestamp',
  ]),
  level(SPEC, ['nodeName', 'hostNetwork', 'serviceAccountName', 'serviceAccount', 'containers', 'initContainers']),
  level(CONTAINER, ['name', 'ports']),
  level(STATUS, ['phase', 'podIP', 'podIPs']),
  level(STATUS.properties!.podIPs!.items!, ['ip']),
];

const V1 = Buffer.from('"v1"');
const KIND = Buffer.from('"Pod"');

function isAt(bytes: Uint8Array, from: number, text: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[from + i] !== text[i]) return false;
  return true;
}

const NONE: readonly never[] = [];

/** A region of a dump stands for this, and holds nothing to report. */
type Known<T> = T | 'to be reported';

export class PodReader extends JsonScanner {
  readonly #file: string;
  readonly #isAsIs: boolean;
  readonly #texts = new ByteMap<string>();
  readonly #namespaces = new ByteMap<string>();
  readonly #labelSets = new ByteMap<Known<StringMap>>();
  /** `''` = something is to be said of the key. */
  readonly #annotationKeys = new ByteMap<string>();
  readonly #portLists = new ByteMap<Known<readonly ContainerPort[]>>();

  #isV1 = false;
  #isPod = false;
  #name = '';
  #namespace = '';
  #uid = '';
  #labels: StringMap = NO_ENTRIES;
  #annotations: StringMap = NO_ENTRIES;
  #annotationBytes = 0;
  #isDeleted = false;
  #nodeName = '';
  #hostNetwork = false;
  #serviceAccountName = '';
  #serviceAccount = '';
  #containerPorts: readonly ContainerPort[] = NONE;
  #initContainerPorts: readonly ContainerPort[] = NONE;
  /** Of the containers being read. */
  #ports: readonly ContainerPort[] = NONE;
  #phase = '';
  #podIP = '';
  #podIPs: readonly string[] = NONE;
  /** Of the entry of `podIPs` being read. */
  #ip = '';

  /** `isAsIs` as in `LoadMode`. */
  constructor(file: string, isAsIs: boolean) {
    super();
    this.#file = file;
    this.#isAsIs = isAsIs;
  }

  /**
   * Reads the pod whose bracket is at `from`; gives the offset behind it, or `FAIL` for what is left to the long way.
   *
   * @param isBare  it may lack version and kind, those of its list being `v1` and `PodList`
   */
  read(bytes: Buffer, from: number, depth: number, isBare: boolean): number {
    this.begin(bytes);
    this.#reset();
    const end = this.#object(from, depth, LEVEL_POD);
    if (end < 0 || this.#name === '') return FAIL;
    if (this.#isV1 !== this.#isPod || !(this.#isPod || isBare)) return FAIL;
    return this.isWide && !this.isText(from, end) ? FAIL : end;
  }

  /** The pod read last, which began on this line. */
  pod(line: number): Pod {
    return {
      kind: 'Pod',
      meta: {
        name: this.#name,
        namespace: this.#namespace || 'default',
        uid: this.#uid,
        labels: this.#labels,
        annotations: podAnnotations(this.#annotations, this.#podIPs.length > 0),
        origin: { file: this.#file, line },
      },
      nodeName: this.#nodeName,
      hostNetwork: this.#hostNetwork,
      serviceAccountName: this.#serviceAccountName || this.#serviceAccount || (this.#isAsIs ? '' : 'default'),
      phase: this.#phase,
      hasDeletionTimestamp: this.#isDeleted,
      podIPs: this.#podIPs,
      podIP: this.#podIP,
      containerPorts: this.#containerPorts,
      initContainerPorts: this.#initContainerPorts,
      isSynthesised: false,
    };
  }

  #reset(): void {
    this.#isV1 = false;
    this.#isPod = false;
    this.#name = '';
    this.#namespace = '';
    this.#uid = '';
    this.#labels = NO_ENTRIES;
    this.#annotations = NO_ENTRIES;
    this.#isDeleted = false;
    this.#nodeName = '';
    this.#hostNetwork = false;
    this.#serviceAccountName = '';
    this.#serviceAccount = '';
    this.#containerPorts = NONE;
    this.#initContainerPorts = NONE;
    this.#phase = '';
    this.#podIP = '';
    this.#podIPs = NONE;
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

  #podField(key: number, at: number, depth: number): number {
    const inner = [FAIL, FAIL, LEVEL_META, LEVEL_SPEC, LEVEL_STATUS][key]!;
    if (inner !== FAIL) return this.bytes[at] === OPEN_OBJECT ? this.#object(at, depth, inner) : FAIL;
    const end = this.#plain(at);
    const wanted = key === 0 ? V1 : KIND;
    if (end < 0 || end - at !== wanted.length || !isAt(this.bytes, at, wanted)) return FAIL;
    if (key === 0) this.#isV1 = true;
    else this.#isPod = true;
    return end;
  }

  #metaField(key: number, at: number, depth: number): number {
    if (key === 3) return this.#labelsField(at, depth);
    if (key === 4) return this.#annotationsField(at, depth);
    const end = this.#plain(at);
    if (end < 0) return FAIL;
    if (key === 0) {
      if (!isSubdomain(this.bytes, at + 1, end - 1)) return FAIL;
      this.#name = this.#fresh(at, end);
    } else if (key === 1) return this.#namespaceField(at, end);
    else if (key === 2) this.#uid = this.#fresh(at, end);
    else if (key === 6) this.#isDeleted = end - at > 2;
    return end;
  }

  #namespaceField(at: number, end: number): number {
    let namespace = this.#namespaces.get(this.bytes, at, end);
    if (namespace === undefined) {
      namespace = this.#fresh(at, end);
      if (namespace !== '' && labelName(namespace) !== undefined) return FAIL;
      this.#namespaces.add(this.bytes, at, end, namespace);
    }
    this.#namespace = namespace;
    return end;
  }

  #labelsField(at: number, depth: number): number {
    const end = this.bytes[at] === OPEN_OBJECT ? this.skip(at, depth) : FAIL;
    if (end < 0) return FAIL;
    let known = this.#labelSets.get(this.bytes, at, end);
    if (known === undefined) {
      known = labelsOf(this.bytes.toString('utf8', at, end));
      this.#labelSets.add(this.bytes, at, end, known);
    }
    if (known === 'to be reported') return FAIL;
    this.#labels = known;
    return end;
  }

  #annotationsField(at: number, depth: number): number {
    if (this.bytes[at] !== OPEN_OBJECT) return FAIL;
    const annotations = new Map<string, string>();
    this.#annotations = annotations;
    this.#annotationBytes = 0;
    const end = this.object(at, depth, LEVEL_ANNOTATIONS, undefined);
    if (annotations.size === 0) this.#annotations = NO_ENTRIES;
    return this.#annotationBytes > ANNOTATIONS_BYTES_MAX ? FAIL : end;
  }

  /** One annotation: keys are those of other pods, values its own. */
  #annotation(keyStart: number, keyEnd: number, at: number): number {
    let key = this.#annotationKeys.get(this.bytes, keyStart, keyEnd);
    if (key === undefined) {
      key = annotationKeyOf(this.bytes.toString('utf8', keyStart - 1, keyEnd + 1));
      this.#annotationKeys.add(this.bytes, keyStart, keyEnd, key);
    }
    if (key === '' || this.bytes[at] !== QUOTE) return FAIL;
    let end = this.#plain(at);
    const isPlain = end >= 0;
    if (!isPlain) end = this.skip(at, 0);
    if (end < 0) return FAIL;
    const value = isPlain ? this.#fresh(at, end) : (JSON.parse(this.bytes.toString('utf8', at, end)) as string);
    // At least as many bytes as they are: an escape may stand for fewer.
    this.#annotationBytes += keyEnd - keyStart + end - at;
    (this.#annotations as Map<string, string>).set(key, value);
    return end;
  }

  #specField(key: number, at: number, depth: number): number {
    if (key === 1) {
      this.#hostNetwork = this.bytes[at] === 0x74;
      return this.#hostNetwork || this.bytes[at] === 0x66 ? this.literal(at) : FAIL;
    }
    if (key >= 4) {
      this.#ports = NONE;
      const end = this.#objects(at, depth, LEVEL_CONTAINER);
      if (key === 4) this.#containerPorts = this.#ports;
      else this.#initContainerPorts = this.#ports;
      return end;
    }
    const end = this.#plain(at);
    if (end < 0) return FAIL;
    if (key === 0) this.#nodeName = this.#shared(at, end);
    else if (key === 2) this.#serviceAccountName = this.#shared(at, end);
    else this.#serviceAccount = this.#shared(at, end);
    return end;
  }

  #portsField(at: number, depth: number): number {
    const end = this.bytes[at] === OPEN_LIST ? this.list(at, depth) : FAIL;
    if (end < 0) return FAIL;
    let known = this.#portLists.get(this.bytes, at, end);
    if (known === undefined) {
      const raw: unknown = JSON.parse(this.bytes.toString('utf8', at, end));
      known = isValid(PORTS, raw) ? portsOf([{ ports: raw as [] }]) : 'to be reported';
      this.#portLists.add(this.bytes, at, end, known);
    }
    if (known === 'to be reported') return FAIL;
    if (known.length > 0) this.#ports = this.#ports.length === 0 ? known : [...this.#ports, ...known];
    return end;
  }

  #statusField(key: number, at: number, depth: number): number {
    if (key === 2) {
      this.#podIPs = NONE;
      return this.#objects(at, depth, LEVEL_POD_IP);
    }
    const end = this.#plain(at);
    if (end < 0) return FAIL;
    if (key === 0) this.#phase = this.#shared(at, end);
    else this.#podIP = this.#fresh(at, end);
    return end;
  }

  #ipField(at: number): number {
    const end = this.#plain(at);
    if (end >= 0) this.#ip = this.#fresh(at, end);
    return end;
  }

  /** A list of objects. */
  #objects(from: number, depth: number, number: number): number {
    const bytes = this.bytes;
    if (bytes[from] !== OPEN_LIST) return FAIL;
    let at = this.space(from + 1);
    if (bytes[at] === CLOSE_LIST) return at + 1;
    for (;;) {
      if (bytes[at] !== OPEN_OBJECT) return FAIL;
      this.#ip = '';
      at = this.#object(at, depth + 1, number);
      if (at < 0) return FAIL;
      if (number === LEVEL_POD_IP) this.#podIPs = this.#podIPs.length === 0 ? [this.#ip] : [...this.#podIPs, this.#ip];
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

  /** The text in quotes from `at` to before `end`, made anew. */
  #fresh(at: number, end: number): string {
    return this.bytes.toString('latin1', at + 1, end - 1);
  }

  /** The same of a text that many pods have. */
  #shared(at: number, end: number): string {
    const known = this.#texts.get(this.bytes, at, end);
    if (known !== undefined) return known;
    const text = this.#fresh(at, end);
    this.#texts.add(this.bytes, at, end, text);
    return text;
  }
}

const NOWHERE: RawDocument = { file: '', value: {}, prefix: [], place: { line: 0, column: 0 }, lineOf: () => 0 };
const MODE = { asIs: false, permissive: false, strict: false, takesDuplicates: false };

/** Labels, unless their form or the rules for them have something against it. */
function labelsOf(json: string): Known<StringMap> {
  const raw = JSON.parse(json) as Record<string, unknown>;
  if (!Object.values(raw).every((value) => typeof value === 'string')) return 'to be reported';
  return isFine(checkLabels, raw as RawMap) ? stringMap(raw as RawMap) : 'to be reported';
}

/** The key of annotations that stands so in JSON, or `''`. Objects give keys that look like indexes in an order of their own. */
function annotationKeyOf(json: string): string {
  const key = JSON.parse(json) as string;
  return isFine(checkAnnotations, { [key]: '' }) && !/^\d+$/.test(key) ? key : '';
}

function isFine(check: typeof checkLabels, raw: RawMap): boolean {
  const problems = new ProblemList();
  check(raw, [], new ObjectContext({ kind: '', namespace: '', name: '' }, NOWHERE, problems, MODE));
  return problems.errors.length === 0;
}

const NAME_LENGTH_MAX = 253;

/** `subdomainProblem` of names.ts, asked of bytes. */
export function isSubdomain(bytes: Uint8Array, from: number, to: number): boolean {
  if (to === from || to - from > NAME_LENGTH_MAX) return false;
  /** The byte before is a letter or digit, a dash, or a dot (as is the start). */
  let last: 'alphanumeric' | 'dash' | 'dot' = 'dot';
  for (let at = from; at < to; at++) {
    const code = bytes[at]!;
    if ((code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39)) last = 'alphanumeric';
    else if (code === 0x2d && last !== 'dot') last = 'dash';
    else if (code === 0x2e && last === 'alphanumeric') last = 'dot';
    else return false;
  }
  return last === 'alphanumeric';
}
