/**
 * What is read of a pod, field by field: from bytes to the texts of the model, with the rules that hold for each.
 *
 * Labels, ports, accounts and nodes repeat from pod to pod: they are looked up by their bytes and shared, and so are checked once
 * (`ByteMap`). A field of which something is to be said is refused: the pod then goes the long way.
 */
import { ByteMap } from '../base/byte-map.ts';
import type { ContainerPort, Pod, StringMap } from '../model/resources.ts';
import { portsOf } from './convert-core.ts';
import type { RawDocument } from './document.ts';
import { labelValueProblem } from './names.ts';
import { ObjectContext } from './object.ts';
import { ProblemList } from './problem.ts';
import { NO_ENTRIES, type RawMap, stringMap } from './raw.ts';
import { isValid } from './schema-check.ts';
import type { Schema } from './schemas/build.ts';
import { checkAnnotations, checkLabels, labelName } from './validate-meta.ts';

/* Kinds of places in a pod. First the scalars with a field of their own, ... */
export const SPOT_NONE = 0;
export const SPOT_NAME = 1;
export const SPOT_NAMESPACE = 2;
export const SPOT_UID = 3;
export const SPOT_DELETION = 4;
export const SPOT_NODE = 5;
export const SPOT_HOST_NETWORK = 6;
export const SPOT_ACCOUNT = 7;
export const SPOT_OLD_ACCOUNT = 8;
export const SPOT_PHASE = 9;
export const SPOT_POD_IP = 10;
/* ... then entries of `podIPs` and values of annotations, and whole values: the map of labels, the lists of ports of one container. */
export const SPOT_IP = 11;
export const SPOT_ANNOTATION = 12;
export const SPOT_LABELS = 13;
export const SPOT_PORTS = 14;
export const SPOT_INIT_PORTS = 15;
/** What must stand there as it does. */
export const SPOT_FIXED = 16;

export const NO_TEXTS: readonly string[] = [];
export const NO_PORTS: readonly ContainerPort[] = [];

/** A pod while it is read. Annotations are without the idle ones. */
export class PodDraft {
  name = '';
  namespace = '';
  uid = '';
  labels: StringMap = NO_ENTRIES;
  annotations: StringMap = NO_ENTRIES;
  isDeleted = false;
  nodeName = '';
  hostNetwork = false;
  serviceAccountName = '';
  serviceAccount = '';
  phase = '';
  podIP = '';
  podIPs = NO_TEXTS;
  containerPorts = NO_PORTS;
  initContainerPorts = NO_PORTS;

  copy(other: PodDraft): void {
    this.name = other.name;
    this.namespace = other.namespace;
    this.uid = other.uid;
    this.labels = other.labels;
    this.annotations = other.annotations;
    this.isDeleted = other.isDeleted;
    this.nodeName = other.nodeName;
    this.hostNetwork = other.hostNetwork;
    this.serviceAccountName = other.serviceAccountName;
    this.serviceAccount = other.serviceAccount;
    this.phase = other.phase;
    this.podIP = other.podIP;
    this.podIPs = other.podIPs;
    this.containerPorts = other.containerPorts;
    this.initContainerPorts = other.initContainerPorts;
  }

  /** `isAsIs` as in `LoadMode`. */
  toPod(file: string, line: number, isAsIs: boolean): Pod {
    return {
      kind: 'Pod',
      meta: {
        name: this.name,
        namespace: this.namespace || 'default',
        uid: this.uid,
        labels: this.labels,
        annotations: this.annotations,
        origin: { file, line },
      },
      nodeName: this.nodeName,
      hostNetwork: this.hostNetwork,
      serviceAccountName: this.serviceAccountName || this.serviceAccount || (isAsIs ? '' : 'default'),
      phase: this.phase,
      hasDeletionTimestamp: this.isDeleted,
      podIPs: this.podIPs,
      podIP: this.podIP,
      containerPorts: this.containerPorts,
      initContainerPorts: this.initContainerPorts,
      isSynthesised: false,
    };
  }
}

export const EMPTY_DRAFT = new PodDraft();

/** A region of a dump stands for this, and holds nothing to report. */
type Known<T> = T | 'to be reported';

/** All take a range of bytes: of a text what is inside its quotes. */
export class PodFields {
  readonly draft = new PodDraft();
  readonly #portsSchema: Schema;
  readonly #texts = new ByteMap<string>();
  readonly #namespaces = new ByteMap<string>();
  readonly #labelSets = new ByteMap<Known<StringMap>>();
  readonly #labelValues = new ByteMap<string>();
  /** `''` = something is to be said of the key. */
  readonly #annotationKeys = new ByteMap<string>();
  #lastAddress = '';
  readonly #portLists = new ByteMap<Known<readonly ContainerPort[]>>();

  constructor(portsSchema: Schema) {
    this.#portsSchema = portsSchema;
  }

  /** Reads a scalar with a field of its own, texts being plain ASCII; false = something is to be said of it. */
  take(spot: number, bytes: Buffer, from: number, to: number): boolean {
    const { draft } = this;
    switch (spot) {
      case SPOT_NAME:
        draft.name = fresh(bytes, from, to);
        return isSubdomain(bytes, from, to);
      case SPOT_NAMESPACE:
        return this.#namespace(bytes, from, to);
      case SPOT_UID:
        draft.uid = fresh(bytes, from, to);
        return true;
      case SPOT_DELETION:
        draft.isDeleted = to > from;
        return true;
      case SPOT_NODE:
        draft.nodeName = this.#shared(bytes, from, to);
        return true;
      case SPOT_HOST_NETWORK:
        draft.hostNetwork = bytes[from] === 0x74;
        return draft.hostNetwork || bytes[from] === 0x66;
      case SPOT_ACCOUNT:
        draft.serviceAccountName = this.#shared(bytes, from, to);
        return true;
      case SPOT_OLD_ACCOUNT:
        draft.serviceAccount = this.#shared(bytes, from, to);
        return true;
      case SPOT_PHASE:
        draft.phase = this.#shared(bytes, from, to);
        return true;
      default:
        draft.podIP = this.address(bytes, from, to);
        return true;
    }
  }

  /** An address of a pod: most pods name theirs twice in a row, and need it once. */
  address(bytes: Buffer, from: number, to: number): string {
    const last = this.#lastAddress;
    let at = from;
    if (to - from === last.length) while (at < to && bytes[at] === last.charCodeAt(at - from)) at++;
    if (at < to || from === to) this.#lastAddress = fresh(bytes, from, to);
    return this.#lastAddress;
  }

  #namespace(bytes: Buffer, from: number, to: number): boolean {
    let namespace = this.#namespaces.get(bytes, from, to);
    if (namespace === undefined) {
      namespace = fresh(bytes, from, to);
      if (namespace !== '' && labelName(namespace) !== undefined) return false;
      this.#namespaces.add(bytes, from, to, namespace);
    }
    this.draft.namespace = namespace;
    return true;
  }

  /** Labels that have been read before, from bracket to bracket. */
  knownLabels(bytes: Buffer, from: number, to: number): Known<StringMap> | undefined {
    return this.#labelSets.get(bytes, from, to);
  }

  noteLabels(bytes: Buffer, from: number, to: number, labels: Known<StringMap>): void {
    this.#labelSets.add(bytes, from, to, labels);
  }

  /** A map of labels; `undefined` = something is to be said of it. */
  labels(bytes: Buffer, from: number, to: number): StringMap | undefined {
    let known = this.#labelSets.get(bytes, from, to);
    if (known === undefined) {
      known = labelsOf(bytes.toString('utf8', from, to));
      this.#labelSets.add(bytes, from, to, known);
    }
    return known === 'to be reported' ? undefined : known;
  }

  labelValue(bytes: Buffer, from: number, to: number): string | undefined {
    const known = this.#labelValues.get(bytes, from, to);
    if (known !== undefined) return known;
    const value = fresh(bytes, from, to);
    if (labelValueProblem(value) !== undefined) return undefined;
    this.#labelValues.add(bytes, from, to, value);
    return value;
  }

  /** The key of an annotation; `''` = something is to be said of it. */
  annotationKey(bytes: Buffer, from: number, to: number): string {
    let key = this.#annotationKeys.get(bytes, from, to);
    if (key === undefined) {
      key = annotationKeyOf(bytes.toString('utf8', from - 1, to + 1));
      this.#annotationKeys.add(bytes, from, to, key);
    }
    return key;
  }

  /** A list of ports, from bracket to bracket. */
  ports(bytes: Buffer, from: number, to: number): readonly ContainerPort[] | undefined {
    let known = this.#portLists.get(bytes, from, to);
    if (known === undefined) {
      const raw: unknown = JSON.parse(bytes.toString('utf8', from, to));
      known = isValid(this.#portsSchema, raw) ? portsOf([{ ports: raw as [] }]) : 'to be reported';
      this.#portLists.add(bytes, from, to, known);
    }
    return known === 'to be reported' ? undefined : known;
  }

  /** A text that many pods have. */
  #shared(bytes: Buffer, from: number, to: number): string {
    const known = this.#texts.get(bytes, from, to);
    if (known !== undefined) return known;
    const text = fresh(bytes, from, to);
    this.#texts.add(bytes, from, to, text);
    return text;
  }
}

/** A text of ASCII, made anew. */
export function fresh(bytes: Buffer, from: number, to: number): string {
  return bytes.toString('latin1', from, to);
}

const NOWHERE: RawDocument = { file: '', value: {}, prefix: [], place: { line: 0, column: 0 }, lineOf: () => 0 };
const MODE = { asIs: false, permissive: false, strict: false, takesDuplicates: false };

/** Labels, unless their form or the rules for them have something against it. */
function labelsOf(json: string): Known<StringMap> {
  const raw = JSON.parse(json) as Record<string, unknown>;
  if (!Object.values(raw).every((value) => typeof value === 'string')) return 'to be reported';
  return isFine(checkLabels, raw as RawMap) ? stringMap(raw as RawMap) : 'to be reported';
}

/** Objects give keys that look like indexes in an order of their own. */
export function isIndexLike(key: string): boolean {
  return /^\d+$/.test(key);
}

/** The key of annotations that stands so in JSON, or `''`. */
function annotationKeyOf(json: string): string {
  const key = JSON.parse(json) as string;
  return isFine(checkAnnotations, { [key]: '' }) && !isIndexLike(key) ? key : '';
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
