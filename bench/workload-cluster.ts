/**
 * A workload as a cluster: pods, accounts and policies that ask for exactly its sets and rules.
 *
 * Source pods run as `s0`, `s1`, … (overlapping: all as `s0`, the sets being labels), protected pods as `d0`, `d1`, …, each with one
 * policy of ingress rules. One global egress policy for all source pods puts the second direction to work on every packet.
 */
import { rulesOf, type Workload } from './workload.ts';

/** The cluster as objects of the Kubernetes API, as `kubectl get -o json` would dump them. */
export function* workloadObjects(workload: Workload): Generator<unknown> {
  const { shape } = workload;
  const meta = (name: string, extra: object = {}): object => ({ name, namespace: 'bench', ...extra });
  yield { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bench', labels: {} } };
  yield { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' }, status: { addresses: [] } };
  yield { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta('default') };
  for (let set = 0; set < shape.sets; set++)
    yield { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta(`s${set}`) };
  for (let i = 0; i < shape.accounts; i++) yield { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta(`d${i}`) };
  let number = 0;
  const pod = (address: number, account: string, labels: Record<string, string>): unknown => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: meta(`p${number++}`, { labels }),
    spec: { nodeName: 'n1', serviceAccountName: account, containers: [{ name: 'c', image: 'x' }] },
    status: { phase: 'Running', podIPs: [{ ip: dotted(address) }] },
  });
  if (shape.overlapping) {
    const labels = new Map<number, Record<string, string>>();
    workload.sets.forEach((members, set) => {
      for (const address of members) labels.set(address, { ...labels.get(address), [`s${set}`]: 'y' });
    });
    for (const address of workload.pods) yield pod(address, 's0', labels.get(address) ?? {});
  } else {
    for (let set = 0; set < shape.sets; set++)
      for (const address of workload.sets[set]!) yield pod(address, `s${set}`, {});
  }
  for (let e = 0; e < shape.endpoints; e++)
    yield pod(workload.endpoints[e]!, `d${e % shape.accounts}`, { role: 'server' });
  for (let account = 0; account < shape.accounts; account++) {
    yield {
      apiVersion: 'projectcalico.org/v3',
      kind: 'NetworkPolicy',
      metadata: meta(`d${account}`),
      spec: {
        serviceAccountSelector: `projectcalico.org/name == "d${account}"`,
        types: ['Ingress'],
        ingress: rulesOf(workload, account).map((rule) => ({
          action: rule.allow ? 'Allow' : 'Deny',
          protocol: rule.protocol === 6 ? 'TCP' : 'UDP',
          source: shape.overlapping
            ? { selector: `has(s${rule.set})` }
            : { serviceAccounts: { names: [`s${rule.set}`] } },
          destination: { ports: [rule.low === rule.high ? rule.low : `${rule.low}:${rule.high}`] },
        })),
      },
    };
  }
  yield {
    apiVersion: 'projectcalico.org/v3',
    kind: 'GlobalNetworkPolicy',
    metadata: { name: 'clients' },
    spec: {
      selector: 'role != "server"',
      types: ['Egress'],
      egress: [
        { action: 'Deny', protocol: 'TCP', destination: { ports: [65_535] } },
        { action: 'Allow', destination: { namespaceSelector: 'all()' } },
      ],
    },
  };
}

/** The manifests as one JSON text of kind List. */
export function workloadJson(workload: Workload): string {
  const parts: string[] = [];
  for (const object of workloadObjects(workload)) parts.push(JSON.stringify(object));
  return `{"apiVersion":"v1","kind":"List","items":[\n${parts.join(',\n')}\n]}\n`;
}

function dotted(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}
