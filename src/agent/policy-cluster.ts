/**
 * Policies, and what they speak of, from the Kubernetes API: listed and watched, kind by kind.
 *
 * Which kinds there are is asked first: a cluster without Calico's own API server has its objects under `crd.projectcalico.org/v1`, one without
 * ClusterNetworkPolicy has none. Kinds that come later are found when they are asked for again. With identities from Redis neither pods nor
 * accounts are asked for: they are most of a large cluster.
 */
import { openKubernetesApi } from '../identity/kubernetes.ts';
import { type Answer, type KubernetesApi, ListWatch, type ObjectSink } from '../identity/list-watch.ts';
import { SYSTEM_CLOCK } from '../identity/system-clock.ts';
import { type LoadResult, loadResources, type ObjectSource } from '../load/load.ts';
import type { PlaneOptions } from './plane-messages.ts';
import type { PolicySource, SourceEvents } from './policy-source.ts';
import type { ObjectChange } from './policy-tables.ts';

interface KindGroup {
  /** `/apis/networking.k8s.io/v1`. */
  readonly path: string;
  /** Plural names. */
  readonly kinds: readonly string[];
}

const CALICO_KINDS = [
  'networkpolicies',
  'globalnetworkpolicies',
  'stagednetworkpolicies',
  'stagedglobalnetworkpolicies',
  'stagedkubernetesnetworkpolicies',
  'tiers',
  'networksets',
  'globalnetworksets',
  'hostendpoints',
  'profiles',
  'felixconfigurations',
  'bgpconfigurations',
];
/** The first of these that is there has Calico's objects. */
const CALICO: readonly KindGroup[] = [
  { path: '/apis/projectcalico.org/v3', kinds: CALICO_KINDS },
  { path: '/apis/crd.projectcalico.org/v1', kinds: CALICO_KINDS },
];
const OTHERS: readonly KindGroup[] = [
  { path: '/apis/discovery.k8s.io/v1', kinds: ['endpointslices'] },
  { path: '/apis/networking.k8s.io/v1', kinds: ['networkpolicies'] },
  { path: '/apis/policy.networking.k8s.io/v1alpha2', kinds: ['clusternetworkpolicies'] },
];
const CORE_KINDS = ['namespaces', 'nodes', 'services'];
const IDENTITY_KINDS = ['pods', 'serviceaccounts'];

const DISCOVERY_MS = 60_000;
const RETRY_MS = 1_000;
/** Changes within this time are one; those that can be written into the tables there are (policy-tables.ts) need not wait for so many others. */
const BURST_MS = 100;
const SINGLE_BURST_MS = 20;
/** A watch that has stood for so long stands. */
const STANDS_MS = 2_000;
/** A watch ends by itself after so long, and is taken up again. */
const WATCH_SECONDS = 300;

/** Kinds of which one object can change without a look at the others. */
const SINGLE_KINDS: ReadonlySet<string> = new Set(['pods', 'namespaces', 'serviceaccounts']);

interface Changed {
  /** Plural name. */
  readonly kind: string;
  readonly object: Fields;
  readonly isGone: boolean;
}

interface Watched {
  readonly kind: string;
  readonly apiVersion: string;
  readonly objects: Map<string, Readonly<Record<string, unknown>>>;
  isListed: boolean;
  trouble: string | undefined;
}

export class ClusterPolicies implements PolicySource {
  readonly name: string;
  readonly textOf = (): undefined => undefined;
  readonly #options: PlaneOptions;
  readonly #events: SourceEvents;
  readonly #api: KubernetesApi;
  readonly #ended = new AbortController();
  /** By path: `/api/v1/pods`. */
  readonly #watched = new Map<string, Watched>();
  /** Objects that came, changed or went since the last look, by name; undefined: whole lists were replaced. */
  #changes: Map<string, Changed> | undefined;
  #isDiscovered = false;
  #discoveryTrouble: string | undefined;
  #burst: NodeJS.Timeout | undefined;

  private constructor(options: PlaneOptions, events: SourceEvents) {
    this.#options = options;
    this.#events = events;
    this.#api = openKubernetesApi(options);
    this.name = options.context === undefined ? 'kubernetes' : `kubernetes ${options.context}`;
    void this.#discoverForever();
  }

  /** Throws `StoreError` where there is no cluster to be found; one that does not answer is asked again and again. */
  static open(options: PlaneOptions, events: SourceEvents): ClusterPolicies {
    return new ClusterPolicies(options, events);
  }

  get isComplete(): boolean {
    return this.#isDiscovered && [...this.#watched.values()].every(({ isListed }) => isListed);
  }

  get isInSync(): boolean {
    return this.isComplete && this.trouble === undefined;
  }

  get trouble(): string | undefined {
    for (const { trouble } of this.#watched.values()) if (trouble !== undefined) return trouble;
    return this.#discoveryTrouble;
  }

  /** What the API took is not refused here for its form: plain CRD writes are checked by nobody. */
  load(): LoadResult {
    this.#changes = new Map();
    const sources = [...this.#watched.values()].flatMap(({ objects }) =>
      [...objects].map(([name, value]) => ({ name, value: structuredClone(value) })),
    );
    return this.#load(sources);
  }

  takeChanges(): readonly ObjectChange[] | undefined {
    const changes = this.#changes;
    this.#changes = changes === undefined ? undefined : new Map();
    if (changes === undefined) return undefined;
    const all: ObjectChange[] = [];
    for (const [name, changed] of changes) {
      const change = this.#changeOf(name, changed);
      if (change === undefined) return undefined;
      all.push(change);
    }
    return all;
  }

  /** What a changed object is in the model, or undefined if it takes all objects to know. */
  #changeOf(name: string, { kind, object, isGone }: Changed): ObjectChange | undefined {
    if (!SINGLE_KINDS.has(kind)) return undefined;
    if (isGone) {
      if (kind !== 'pods') return undefined;
      const { name: own, namespace } = fieldsOf(object.metadata);
      return { kind: 'delete', resource: { kind: 'Pod', meta: { namespace: String(namespace), name: String(own) } } };
    }
    const loaded = this.#load([{ name, value: structuredClone(object) }]);
    if (loaded.errors.length + loaded.ownWarnings > 0) return undefined;
    const { pods, namespaces, serviceAccounts } = loaded.resources;
    const all = kind === 'pods' ? pods : kind === 'namespaces' ? namespaces : serviceAccounts;
    const resource = all.find((each) => !each.isSynthesised);
    return resource === undefined ? undefined : { kind: 'set', resource };
  }

  #load(sources: readonly ObjectSource[]): LoadResult {
    return loadResources(sources, { permissive: true, strict: false, asIs: this.#options.asIs });
  }

  close(): void {
    this.#ended.abort();
    clearTimeout(this.#burst);
  }

  async #discoverForever(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      let waitMs = DISCOVERY_MS;
      try {
        await this.#discover(signal);
        this.#isDiscovered = true;
        this.#discoveryTrouble = undefined;
        this.#changed();
      } catch (error) {
        if (signal.aborted) return;
        this.#discoveryTrouble = (error as Error).message;
        this.#events.onTrouble(this.#discoveryTrouble);
        waitMs = RETRY_MS * (1 + Math.random());
      }
      await abortableSleep(waitMs, signal);
    }
  }

  async #discover(signal: AbortSignal): Promise<void> {
    const core = this.#options.redis === undefined ? [...CORE_KINDS, ...IDENTITY_KINDS] : CORE_KINDS;
    const found: KindGroup[] = [{ path: '/api/v1', kinds: core }];
    for (const group of OTHERS) {
      const kinds = await this.#served(group, signal);
      if (kinds !== undefined) found.push({ ...group, kinds });
    }
    for (const group of CALICO) {
      const kinds = await this.#served(group, signal);
      if (kinds === undefined || kinds.length === 0) continue;
      found.push({ ...group, kinds });
      break;
    }
    for (const { path, kinds } of found) for (const kind of kinds) this.#follow(path, kind);
  }

  /** The kinds of `group` that the API serves; undefined if it does not know the group. */
  async #served({ path, kinds }: KindGroup, signal: AbortSignal): Promise<readonly string[] | undefined> {
    const { status, body } = await this.#api.get(path, {}, signal);
    if (status === 404) return undefined;
    if (status === 401 || status === 403)
      throw new Error(`${path}: ${status}: no right to ask what there is; see the role in deploy/`);
    const resources = (body as { resources?: unknown } | undefined)?.resources;
    if (status !== 200 || !Array.isArray(resources)) throw new Error(`${path}: the API answers ${status}`);
    const names = new Set(resources.map((each) => String((each as { name?: unknown } | null)?.name)));
    return kinds.filter((kind) => names.has(kind));
  }

  #follow(group: string, kind: string): void {
    const path = `${group}/${kind}`;
    if (this.#watched.has(path)) return;
    const apiVersion = group.replace(/^\/apis?\//, '');
    const watched: Watched = { kind, apiVersion, objects: new Map(), isListed: false, trouble: undefined };
    this.#watched.set(path, watched);
    const list = new ListWatch({
      api: new TroubleWatch(this.#api, () => {
        watched.trouble = undefined;
      }),
      path,
      sink: this.#sink(watched),
      clock: SYSTEM_CLOCK,
      watchSeconds: WATCH_SECONDS,
      onTrouble: (trouble) => {
        if (watched.trouble !== trouble) this.#events.onTrouble(trouble);
        watched.trouble = trouble;
      },
    });
    void list.run(this.#ended.signal);
  }

  #sink(watched: Watched): ObjectSink {
    const { objects, kind, apiVersion } = watched;
    const burstMs = SINGLE_KINDS.has(kind) ? SINGLE_BURST_MS : BURST_MS;
    const put = (raw: unknown): void => {
      const slimmed = kind === 'pods' ? slimPod(raw) : slim(raw);
      const name = nameOf(kind, slimmed);
      if (name === undefined) return;
      const object = { ...slimmed, apiVersion, kind: KIND_NAMES[kind]! };
      objects.set(name, object);
      this.#changes?.set(name, { kind, object, isGone: false });
    };
    return {
      replace: (all) => {
        objects.clear();
        this.#changes = undefined;
        for (const each of all) put(each);
        watched.isListed = true;
        watched.trouble = undefined;
        this.#changed();
      },
      set: (object) => {
        put(object);
        this.#changed(burstMs);
      },
      remove: (object) => {
        const gone = slim(object);
        const name = nameOf(kind, gone);
        if (name !== undefined) {
          objects.delete(name);
          this.#changes?.set(name, { kind, object: gone, isGone: true });
        }
        this.#changed(burstMs);
      },
    };
  }

  #changed(burstMs = BURST_MS): void {
    if (!this.isComplete || this.#burst !== undefined || this.#ended.signal.aborted) return;
    this.#burst = setTimeout(() => {
      this.#burst = undefined;
      this.#events.onChange();
    }, burstMs);
  }
}

/** Tells when a watch has stood for a while, so that trouble before it is over. */
class TroubleWatch implements KubernetesApi {
  readonly #api: KubernetesApi;
  readonly #onStands: () => void;

  constructor(api: KubernetesApi, onStands: () => void) {
    this.#api = api;
    this.#onStands = onStands;
  }

  get(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer> {
    return this.#api.get(path, query, signal);
  }

  async watch(
    path: string,
    query: Readonly<Record<string, string>>,
    onLine: (line: string) => void,
    signal: AbortSignal,
  ): Promise<Answer> {
    const timer = setTimeout(this.#onStands, STANDS_MS);
    try {
      return await this.#api.watch(path, query, onLine, signal);
    } finally {
      clearTimeout(timer);
    }
  }
}

const KIND_NAMES: Readonly<Record<string, string>> = {
  pods: 'Pod',
  serviceaccounts: 'ServiceAccount',
  namespaces: 'Namespace',
  nodes: 'Node',
  services: 'Service',
  endpointslices: 'EndpointSlice',
  networkpolicies: 'NetworkPolicy',
  clusternetworkpolicies: 'ClusterNetworkPolicy',
  globalnetworkpolicies: 'GlobalNetworkPolicy',
  stagednetworkpolicies: 'StagedNetworkPolicy',
  stagedglobalnetworkpolicies: 'StagedGlobalNetworkPolicy',
  stagedkubernetesnetworkpolicies: 'StagedKubernetesNetworkPolicy',
  tiers: 'Tier',
  networksets: 'NetworkSet',
  globalnetworksets: 'GlobalNetworkSet',
  hostendpoints: 'HostEndpoint',
  profiles: 'Profile',
  felixconfigurations: 'FelixConfiguration',
  bgpconfigurations: 'BGPConfiguration',
};

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** `NetworkPolicy/shop/web`: what origins say instead of a file. */
function nameOf(kind: string, object: Fields): string | undefined {
  const { name, namespace } = fieldsOf(object.metadata);
  if (typeof name !== 'string') return undefined;
  return `kubernetes:${[KIND_NAMES[kind], namespace, name].filter((part) => typeof part === 'string').join('/')}`;
}

/** Without who changed which field, which is half of many objects. */
function slim(raw: unknown): Fields {
  const object = fieldsOf(raw);
  const { managedFields: _, ...metadata } = fieldsOf(object.metadata);
  return { ...object, metadata };
}

/** What a policy can tell of a pod. */
function slimPod(raw: unknown): Fields {
  const { metadata, spec, status } = fieldsOf(raw);
  const meta = pick(metadata, ['name', 'namespace', 'uid', 'labels', 'annotations', 'deletionTimestamp']);
  const own = Object.entries(fieldsOf(meta.annotations)).filter(([key]) => key.includes('projectcalico.org/'));
  const containers: Record<string, unknown> = pick(spec, ['containers', 'initContainers']);
  for (const [name, list] of Object.entries(containers)) {
    if (Array.isArray(list)) containers[name] = list.map((each) => pick(each, ['name', 'ports', 'restartPolicy']));
  }
  return {
    metadata: own.length === 0 ? without(meta, 'annotations') : { ...meta, annotations: Object.fromEntries(own) },
    spec: { ...pick(spec, ['nodeName', 'hostNetwork', 'serviceAccountName']), ...containers },
    status: pick(status, ['phase', 'podIP', 'podIPs']),
  };
}

/** The fields of these names that are there. */
function pick(value: unknown, names: readonly string[]): Record<string, unknown> {
  const fields = fieldsOf(value);
  return Object.fromEntries(names.filter((name) => fields[name] != null).map((name) => [name, fields[name]]));
}

function without(fields: Fields, name: string): Fields {
  const { [name]: _, ...rest } = fields;
  return rest;
}

function abortableSleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
