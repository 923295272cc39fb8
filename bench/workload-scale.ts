/**
 * A cluster of the size that Felix's own scale tests have: 250 000 pods, 200 of them on each node, and 10 000 policies.
 *
 * 500 namespaces of ten service accounts; a pod runs as one of them and carries its labels as a Deployment would set them.
 * Twenty policies a namespace select an account or an app, and let in peers by account, by label, or by namespace, on a port.
 * A `lean` pod has what a verdict depends on; a `dump` of them is what `kubectl get pods -A -o json` prints of running pods (8 KB each),
 * `compact` the same without white space (3 KB).
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { Xorshift32 } from '../src/packets/synthetic.ts';
import { dumpPod, type PodFacts } from './workload-pod.ts';

export interface ScaleShape {
  readonly pods: number;
  readonly podsPerNode: number;
  readonly namespaces: number;
  readonly accountsPerNamespace: number;
  readonly policies: number;
}

export const FELIX_SCALE: ScaleShape = {
  pods: 250_000,
  podsPerNode: 200,
  namespaces: 500,
  accountsPerNamespace: 10,
  policies: 10_000,
};

/** The same proportions with a hundredth of the pods, for trials. */
export const SMALL_SCALE: ScaleShape = {
  pods: 2_500,
  podsPerNode: 200,
  namespaces: 50,
  accountsPerNamespace: 10,
  policies: 100,
};

/** What a verdict depends on; what kubectl prints; the same without white space. */
export type PodForm = 'lean' | 'dump' | 'compact';

const CHUNK_BYTES = 1 << 22;

/** Writes all pods as one JSON list, the way that kubectl does; returns how many bytes that are. */
export function writePods(path: string, shape: ScaleShape, form: PodForm): number {
  const indent = form === 'dump' ? 4 : undefined;
  return writeList(path, shape.pods, (index) => {
    const facts = podFacts(shape, index);
    const text = JSON.stringify(form === 'lean' ? leanPod(facts) : dumpPod(facts), null, indent);
    return indent === undefined ? text : text.replaceAll('\n', '\n        ');
  });
}

/** Writes namespaces, nodes, accounts and policies. */
export function writePolicies(path: string, shape: ScaleShape): number {
  const objects = [...clusterObjects(shape)];
  return writeList(path, objects.length, (index) => JSON.stringify(objects[index]));
}

function writeList(path: string, count: number, textOf: (index: number) => string): number {
  const file = openSync(path, 'w');
  let text = '{\n    "apiVersion": "v1",\n    "items": [\n        ';
  let bytes = 0;
  const flush = (): void => {
    bytes += writeSync(file, text);
    text = '';
  };
  for (let index = 0; index < count; index++) {
    text += `${index > 0 ? ',\n        ' : ''}${textOf(index)}`;
    if (text.length > CHUNK_BYTES) flush();
  }
  text += '\n    ],\n    "kind": "List",\n    "metadata": {\n        "resourceVersion": ""\n    }\n}\n';
  flush();
  closeSync(file);
  return bytes;
}

export function namespaceName(index: number): string {
  return `team-${index}`;
}

export function accountName(index: number): string {
  return `app-${index}`;
}

/** Pods of one namespace and account follow each other in no particular way: neighbours on a node are strangers. */
export function podFacts(shape: ScaleShape, index: number): PodFacts {
  const random = new Xorshift32(index * 2_654_435 + 17);
  const namespace = index % shape.namespaces;
  const account = Math.floor(index / shape.namespaces) % shape.accountsPerNamespace;
  const node = Math.floor(index / shape.podsPerNode);
  const address = `10.${(index >>> 14) & 255}.${(index >>> 6) & 255}.${1 + (index & 63)}`;
  return {
    index,
    namespace: namespaceName(namespace),
    account: accountName(account),
    node: `node-${node}`,
    address,
    hostAddress: nodeAddress(node),
    version: `v${random.below(3)}`,
    tier: ['front', 'logic', 'data'][account % 3]!,
    hash: random.below(1 << 30).toString(36),
  };
}

function nodeAddress(node: number): string {
  return `192.168.${node >>> 8}.${node & 255}`;
}

function leanPod({ index, namespace, account, node, address, version, tier }: PodFacts): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `${account}-${index}`, namespace, labels: { app: account, version, tier } },
    spec: { nodeName: node, serviceAccountName: account, containers: [{ name: 'app', image: 'x' }] },
    status: { phase: 'Running', podIPs: [{ ip: address }] },
  };
}

function* clusterObjects(shape: ScaleShape): Generator<object> {
  const random = new Xorshift32(5);
  for (let node = 0; node * shape.podsPerNode < shape.pods; node++) {
    const addresses = [{ type: 'InternalIP', address: nodeAddress(node) }];
    yield { apiVersion: 'v1', kind: 'Node', metadata: { name: `node-${node}` }, status: { addresses } };
  }
  for (let i = 0; i < shape.namespaces; i++) {
    const labels = { team: `t${i % 50}`, env: ['prod', 'stage', 'dev'][i % 3]! };
    yield { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespaceName(i), labels } };
    yield { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: namespaceName(i) } };
    for (let a = 0; a < shape.accountsPerNamespace; a++) {
      const metadata = { name: accountName(a), namespace: namespaceName(i), labels: { role: `r${a % 4}` } };
      yield { apiVersion: 'v1', kind: 'ServiceAccount', metadata };
    }
  }
  for (let i = 0; i < shape.policies; i++) yield policy(random, shape, i);
}

function policy(random: Xorshift32, shape: ScaleShape, index: number): object {
  const account = accountName(random.below(shape.accountsPerNamespace));
  const byAccount = random.float() < 0.5;
  return {
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: { name: `p${index}`, namespace: namespaceName(index % shape.namespaces) },
    spec: {
      order: 100 + random.below(10),
      ...(byAccount
        ? { serviceAccountSelector: `projectcalico.org/name == "${account}"` }
        : { selector: `app == "${account}"` }),
      types: ['Ingress'],
      ingress: Array.from({ length: 1 + random.below(3) }, () => ({
        action: random.float() < 0.9 ? 'Allow' : 'Deny',
        protocol: random.float() < 0.8 ? 'TCP' : 'UDP',
        source: peer(random, shape),
        destination: { ports: [[80, 443, 5432, 6379, 8080, 9090][random.below(6)]!] },
      })),
    },
  };
}

function peer(random: Xorshift32, shape: ScaleShape): object {
  const kind = random.float();
  const account = accountName(random.below(shape.accountsPerNamespace));
  if (kind < 0.5) return { serviceAccounts: { names: [account] } };
  if (kind < 0.75) return { selector: `app == "${account}" && version != "v2"` };
  const namespace = namespaceName(random.below(shape.namespaces));
  return { serviceAccounts: { names: [account] }, namespaceSelector: `projectcalico.org/name == "${namespace}"` };
}
