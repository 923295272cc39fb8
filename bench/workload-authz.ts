/**
 * The authorization service's workload: 20 000 client pods of 1 000 accounts, one protected pod, and its ingress policy.
 *
 * `rules`: one policy of 100 rules, each for one account and one port, as performance.md 4e has it for Calico's own check.
 * `policies`: 1 000 policies with one such rule each; the first that matches allows, the end of the tier denies.
 * A request comes from any pod, three in four from an account that a rule names, at the rule's port; nine in ten with the pod's own
 * certificate, else with another's or none; nine in ten have HTTP attributes. All from a seed.
 */
import type { AuthzRequest } from '../src/authz/authorizer.ts';
import { Xorshift32 } from '../src/packets/synthetic.ts';

export const AUTHZ_SHAPES = ['rules', 'policies'] as const;
export type AuthzShape = (typeof AUTHZ_SHAPES)[number];

const ACCOUNTS = 1_000;
const PODS_AN_ACCOUNT = 20;
const RULES: Readonly<Record<AuthzShape, number>> = { rules: 100, policies: 1_000 };
const SERVER = '10.200.0.1';

/** The cluster as one JSON text of kind List. */
export function authzCluster(shape: AuthzShape): string {
  const meta = (name: string): object => ({ name, namespace: 'bench' });
  const items: object[] = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bench' } },
    { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' }, status: { addresses: [] } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta('server') },
    pod('server', 'server', SERVER),
  ];
  for (let account = 0; account < ACCOUNTS; account++) {
    items.push({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta(`a${account}`) });
    for (let i = 0; i < PODS_AN_ACCOUNT; i++) {
      items.push(pod(`p${account}-${i}`, `a${account}`, addressOf(account, i)));
    }
  }
  const rule = (number: number): object => ({
    action: 'Allow',
    protocol: 'TCP',
    source: { serviceAccounts: { names: [`a${accountOf(shape, number)}`] } },
    destination: { ports: [portOf(number)] },
  });
  const policy = (name: string, ingress: readonly object[]): object => ({
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: meta(name),
    spec: { serviceAccountSelector: 'projectcalico.org/name == "server"', types: ['Ingress'], ingress },
  });
  const rules = Array.from({ length: RULES[shape] }, (_, number) => rule(number));
  if (shape === 'rules') items.push(policy('server', rules));
  else for (const [number, each] of rules.entries()) items.push(policy(`server-${number}`, [each]));
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}

function pod(name: string, account: string, ip: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'bench' },
    spec: { nodeName: 'n1', serviceAccountName: account, containers: [{ name: 'c', image: 'x' }] },
    status: { phase: 'Running', podIPs: [{ ip }] },
  };
}

function addressOf(account: number, index: number): string {
  return `10.${100 + (account >> 8)}.${account & 255}.${index + 1}`;
}

/** Rules are spread over the accounts, so that some have none. */
function accountOf(shape: AuthzShape, rule: number): number {
  return shape === 'rules' ? rule * 10 : (rule * 7) % ACCOUNTS;
}

function portOf(rule: number): number {
  return 8_000 + (rule % 50);
}

export function drawRequests(shape: AuthzShape, count: number, seed = 1): AuthzRequest[] {
  const random = new Xorshift32(seed);
  const principal = (account: number): string => `spiffe://cluster.local/ns/bench/sa/a${account}`;
  return Array.from({ length: count }, () => {
    const rule = random.below(RULES[shape]);
    const account = random.float() < 0.75 ? accountOf(shape, rule) : random.below(ACCOUNTS);
    const roll = random.float();
    const other = random.below(ACCOUNTS);
    return {
      src: addressOf(account, random.below(PODS_AN_ACCOUNT)),
      dst: SERVER,
      srcPort: 32_768 + random.below(28_000),
      dstPort: portOf(rule),
      protocol: 6,
      sourcePrincipal: roll < 0.9 ? principal(account) : roll < 0.95 ? principal(other) : '',
      destinationPrincipal: 'spiffe://cluster.local/ns/bench/sa/server',
      http: random.float() < 0.9 ? { method: 'GET', path: `/items/${random.below(10_000)}?q=1` } : undefined,
    };
  });
}
