/** Kubernetes and Calico objects for the rows, as the JSON documents that `-f` takes. Names of namespaced ones are `ns/name`. */

export type Fields = Readonly<Record<string, unknown>>;
type Labels = Readonly<Record<string, string>>;

export interface Document {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Fields;
  readonly [field: string]: unknown;
}

/** Documents as one text, in the order given. */
export function documents(...objects: readonly Document[]): string {
  return objects.map((object) => JSON.stringify(object, null, 1)).join('\n---\n');
}

export function namespace(name: string, labels: Labels = {}): Document {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

export function account(path: string, labels: Labels = {}): Document {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { ...named(path), labels } };
}

export function node(name: string, ...addresses: readonly string[]): Document {
  const status = { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) };
  return { apiVersion: 'v1', kind: 'Node', metadata: { name }, status };
}

export interface PodFields {
  readonly ip: string | readonly string[];
  readonly node?: string;
  readonly labels?: Labels;
  readonly account?: string;
  readonly ports?: readonly Fields[];
  readonly initPorts?: readonly Fields[];
  readonly annotations?: Labels;
  readonly metadata?: Fields;
  readonly spec?: Fields;
  readonly status?: Fields;
}

export function pod(path: string, fields: PodFields): Document {
  const ips = typeof fields.ip === 'string' ? [fields.ip] : fields.ip;
  const { labels = {}, annotations = {}, ports = [], initPorts } = fields;
  const initContainers = initPorts && { initContainers: [{ name: 'i', image: 'x', ports: initPorts }] };
  const accountName = fields.account === undefined ? {} : { serviceAccountName: fields.account };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...named(path), labels, annotations, ...fields.metadata },
    spec: {
      nodeName: fields.node ?? 'n1',
      ...accountName,
      containers: [{ name: 'c', image: 'x', ports }],
      ...initContainers,
      ...fields.spec,
    },
    status: { phase: 'Running', podIP: ips[0], podIPs: ips.map((ip) => ({ ip })), ...fields.status },
  };
}

export function networkPolicy(path: string, spec: Fields): Document {
  return calico('NetworkPolicy', named(path), spec);
}

export function globalPolicy(name: string, spec: Fields): Document {
  return calico('GlobalNetworkPolicy', { name }, spec);
}

export function staged(kind: string, path: string, spec: Fields): Document {
  return calico(kind, named(path), spec);
}

export function tier(name: string, spec: Fields): Document {
  return calico('Tier', { name }, spec);
}

export function networkSet(path: string, labels: Labels, nets: readonly string[]): Document {
  return calico('NetworkSet', { ...named(path), labels }, { nets });
}

export function globalNetworkSet(name: string, labels: Labels, nets: readonly string[]): Document {
  return calico('GlobalNetworkSet', { name, labels }, { nets });
}

export function hostEndpoint(name: string, labels: Labels, spec: Fields): Document {
  return calico('HostEndpoint', { name, labels }, spec);
}

export function profile(name: string, spec: Fields): Document {
  return calico('Profile', { name }, spec);
}

export function felixConfiguration(spec: Fields, name = 'default'): Document {
  return calico('FelixConfiguration', { name }, spec);
}

export function bgpConfiguration(spec: Fields): Document {
  return calico('BGPConfiguration', { name: 'default' }, spec);
}

/** networking.k8s.io/v1 NetworkPolicy. */
export function kubernetesPolicy(path: string, spec: Fields): Document {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: named(path), spec };
}

export function clusterPolicy(name: string, spec: Fields): Document {
  return { apiVersion: 'policy.networking.k8s.io/v1alpha2', kind: 'ClusterNetworkPolicy', metadata: { name }, spec };
}

/** `endpoints` as in the API; the slice belongs to the service of its own name, less `-x`. */
export function endpointSlice(path: string, endpoints: readonly Fields[], ports: readonly Fields[]): Document {
  const { namespace: ns, name } = named(path);
  const labels = { 'kubernetes.io/service-name': name.replace(/-x$/, '') };
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace: ns, name, labels },
    addressType: 'IPv4',
    endpoints,
    ports,
  };
}

function calico(kind: string, metadata: Fields, spec: Fields): Document {
  return { apiVersion: 'projectcalico.org/v3', kind, metadata, spec };
}

function named(path: string): { readonly name: string; readonly namespace?: string } {
  const [first, second] = path.split('/');
  return second === undefined ? { name: first! } : { namespace: first!, name: second };
}
