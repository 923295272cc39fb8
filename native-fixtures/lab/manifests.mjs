/** The cluster of a lesson as `kubectl get -o yaml` would show it, reduced to what Calico reads: cluster.yaml. */
import { podAddress4, podAddress6 } from './cluster-net.mjs';

/** Tiers that every cluster has (S 4.1). */
const BUILT_IN_TIERS = [
  { name: 'kube-admin', order: 1000, defaultAction: 'Pass' },
  { name: 'default', order: 1000000, defaultAction: 'Deny' },
  { name: 'kube-baseline', order: 10000000, defaultAction: 'Pass' },
];

/**
 * What every cluster has is added: the built-in tiers, the label that names a namespace, the account `default` of each namespace.
 *
 * @param world  as in cluster-net.mjs, and
 *   namespaces       [{ name, labels? }]
 *   serviceAccounts  [{ namespace, name, labels? }]
 *   pods             also `labels`, and `serviceAccount`: left out, the API server would fill in `default`
 * @returns {string}  YAML documents
 */
export function clusterYaml(world, headline) {
  const documents = [
    ...BUILT_IN_TIERS.map(tierYaml),
    ...world.nodes.map(nodeYaml),
    ...world.namespaces.map(namespaceYaml),
    ...allAccounts(world).map((account) => ['apiVersion: v1', 'kind: ServiceAccount', ...metadata(account)]),
    ...world.pods.map((pod) => podYaml(world, pod)),
  ];
  return `# ${headline}\n${documents.map((lines) => `${lines.join('\n')}\n`).join('---\n')}`;
}

function allAccounts(world) {
  const isListed = (namespace) =>
    world.serviceAccounts.some((each) => each.namespace === namespace && each.name === 'default');
  const missing = world.namespaces.filter(({ name }) => !isListed(name));
  return [...world.serviceAccounts, ...missing.map(({ name }) => ({ namespace: name, name: 'default' }))];
}

function namespaceYaml({ name, labels = {} }) {
  return [
    'apiVersion: v1',
    'kind: Namespace',
    ...metadata({ name, labels: { 'kubernetes.io/metadata.name': name, ...labels } }),
  ];
}

function tierYaml({ name, order, defaultAction }) {
  const spec = ['spec:', `  order: ${order}`, `  defaultAction: ${defaultAction}`];
  return ['apiVersion: projectcalico.org/v3', 'kind: Tier', ...metadata({ name }), ...spec];
}

function nodeYaml(node) {
  return [
    'apiVersion: v1',
    'kind: Node',
    ...metadata({ name: node.name }),
    'status:',
    '  addresses:',
    ...[node.ip4, node.ip6].flatMap((address) => ['  - type: InternalIP', `    address: ${quote(address)}`]),
    '  - type: Hostname',
    `    address: ${node.name}`,
  ];
}

function podYaml(world, pod) {
  const addresses = [podAddress4(world, pod), podAddress6(world, pod)];
  return [
    'apiVersion: v1',
    'kind: Pod',
    ...metadata(pod),
    'spec:',
    `  nodeName: ${pod.node}`,
    ...(pod.serviceAccount === undefined ? [] : [`  serviceAccountName: ${pod.serviceAccount}`]),
    '  containers:',
    '  - name: main',
    `    image: ${pod.image ?? 'registry.example/app:1'}`,
    'status:',
    '  phase: Running',
    `  podIP: ${addresses[0]}`,
    '  podIPs:',
    ...addresses.map((address) => `  - ip: ${quote(address)}`),
  ];
}

function metadata({ namespace, name, labels = {} }) {
  const lines = ['metadata:', `  name: ${name}`];
  if (namespace !== undefined) lines.push(`  namespace: ${namespace}`);
  const entries = Object.entries(labels);
  if (entries.length > 0) lines.push('  labels:', ...entries.map(([key, value]) => `    ${key}: ${quote(value)}`));
  return lines;
}

/** Quotes what YAML would not read back as this string: addresses with colons, `true`, numbers. */
function quote(value) {
  return /^[a-z][a-z0-9.-]*$/.test(value) && !/^(true|false|null|yes|no|on|off)$/.test(value) ? value : `"${value}"`;
}
