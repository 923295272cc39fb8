/**
 * The workload of `margay eval --flows`: a cluster of 1 000 pods and 200 policies, and 100 000 flows between them, from a seed.
 *
 *     node bench/eval-workload.js FOLDER [flows]      writes cluster.yaml, cluster.json and flows.jsonl
 *
 * 20 namespaces with 10 accounts of 5 pods each; a policy for each account, Calico's and Kubernetes' in turn, of five rules by
 * account, by label and by named port. Of the flows nine of ten are between pods, the others from or to the outside; half are aimed at
 * a port that some rule names.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { Xorshift32 } from '../src/packets/synthetic.ts';

const NAMESPACES = 20;
const ACCOUNTS = 10;
const PODS_OF_ACCOUNT = 5;
const RULES = 5;

export interface EvalWorkload {
  readonly objects: readonly object[];
  /** Lines of JSON. */
  readonly flows: string;
}

export function buildEvalWorkload(flowCount: number, seed = 1): EvalWorkload {
  const random = new Xorshift32(seed);
  const objects: object[] = [{ apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' }, status: { addresses: [] } }];
  const addresses: string[] = [];
  for (let n = 0; n < NAMESPACES; n++) {
    objects.push({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: `ns-${n}`, labels: { team: `t${n % 5}` } } });
    for (let a = 0; a < ACCOUNTS; a++) {
      const metadata = { name: `sa-${a}`, namespace: `ns-${n}`, labels: { tier: `tier${a % 3}` } };
      objects.push({ apiVersion: 'v1', kind: 'ServiceAccount', metadata });
      for (let p = 0; p < PODS_OF_ACCOUNT; p++) {
        addresses.push(`10.${n}.${a}.${p + 1}`);
        objects.push(pod(n, a, p, addresses.at(-1)!));
      }
      objects.push(a % 2 === 0 ? calicoPolicy(random, n, a) : kubernetesPolicy(random, n, a));
    }
  }
  return { objects, flows: Array.from({ length: flowCount }, (_, id) => flow(random, id, addresses)).join('') };
}

function pod(namespace: number, account: number, number: number, ip: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `app-${account}-${number}`,
      namespace: `ns-${namespace}`,
      labels: { app: `app-${account}`, version: `v${number % 2}` },
    },
    spec: {
      nodeName: 'n1',
      serviceAccountName: `sa-${account}`,
      containers: [{ name: 'main', image: 'x', ports: [{ name: 'metrics', containerPort: 9000 + account }] }],
    },
    status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
  };
}

function calicoPolicy(random: Xorshift32, namespace: number, account: number): object {
  const rule = (i: number): object => {
    const source =
      i % 2 === 0
        ? { serviceAccounts: { names: [`sa-${random.below(ACCOUNTS)}`] } }
        : { selector: `app == 'app-${random.below(ACCOUNTS)}'`, namespaceSelector: `team == 't${random.below(5)}'` };
    const ports = i === RULES - 1 ? ['metrics'] : [8000 + random.below(50)];
    return { action: i === 2 ? 'Deny' : 'Allow', protocol: 'TCP', source, destination: { ports } };
  };
  return {
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: { name: `p-${account}`, namespace: `ns-${namespace}` },
    spec: {
      serviceAccountSelector: `projectcalico.org/name == 'sa-${account}'`,
      types: ['Ingress'],
      ingress: Array.from({ length: RULES }, (_, i) => rule(i)),
    },
  };
}

function kubernetesPolicy(random: Xorshift32, namespace: number, account: number): object {
  const rule = (): object => ({
    from: [
      {
        namespaceSelector: { matchLabels: { team: `t${random.below(5)}` } },
        podSelector: { matchLabels: { app: `app-${random.below(ACCOUNTS)}` } },
      },
    ],
    ports: [{ protocol: 'TCP', port: 8000 + random.below(50) }],
  });
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: `k-${account}`, namespace: `ns-${namespace}` },
    spec: {
      podSelector: { matchLabels: { app: `app-${account}` } },
      policyTypes: ['Ingress'],
      ingress: Array.from({ length: RULES }, () => rule()),
    },
  };
}

function flow(random: Xorshift32, id: number, addresses: readonly string[]): string {
  const end = (): string =>
    random.below(20) === 0 ? `192.0.2.${random.below(256)}` : addresses[random.below(addresses.length)]!;
  const port = random.below(2) === 0 ? 8000 + random.below(50) : random.below(65_536);
  const protocol = random.below(10) === 0 ? 'udp' : 'tcp';
  const fields = { id, src: end(), dst: end(), protocol, src_port: 1024 + random.below(60_000), dst_port: port };
  return `${JSON.stringify(fields)}\n`;
}

/** Writes the files into `folder`. */
export function writeEvalWorkload(folder: string, flowCount: number): void {
  const { objects, flows } = buildEvalWorkload(flowCount);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'cluster.json'), JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
  writeFileSync(join(folder, 'cluster.yaml'), objects.map((object) => stringify(object)).join('---\n'));
  writeFileSync(join(folder, 'flows.jsonl'), flows);
}

const [, , folder, count = '100000'] = process.argv;
if (import.meta.url.endsWith('/eval-workload.js') && folder !== undefined) writeEvalWorkload(folder, Number(count));
