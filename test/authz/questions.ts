/** Random requests for the random worlds of test/property, and HTTP parts for their rules. */
import type { AuthzRequest } from '../../src/authz/authorizer.ts';
import { formatAddress } from '../../src/base/ip.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../src/model/flow.ts';
import type { FormEndpoint } from '../../src/tables/authorization.ts';
import { ACCOUNTS, NAMESPACES, NODE_ADDRESSES, OTHER_ADDRESSES, POD_ADDRESSES, PORTS } from '../property/pools.ts';
import { randomFrom } from '../property/world.ts';
import type { Document, Fields } from '../rows/objects.ts';

const METHODS = ['GET', 'POST', 'get', ''] as const;
const RULE_METHODS: readonly (readonly string[])[] = [['GET'], ['POST', 'GET'], ['*'], []];
const RULE_PATHS: readonly (readonly Fields[])[] = [
  [],
  [{ exact: '/api' }],
  [{ prefix: '/api' }],
  [{ prefix: '/' }],
  [{ exact: '/a%20b' }, { prefix: '/pub/' }],
  [{ exact: '/x/../api/v1' }],
];
const PATHS = [
  '/api',
  '/api/',
  '/api/v1?x=1',
  '/apis',
  '//api//v1',
  '/api/../pub/x',
  '/pub/%2e%2e/api',
  '/pub/%252e%252e/api',
  '/api;v=1/v1#f',
  '/a%20b',
  '/api%2Fv1',
  '/api%5cv1',
  '/%zz',
  '/api%00',
  '/',
  '',
  'api',
  '*',
] as const;

/** The documents with an `http` in some of the rules that may have one; with `isAnywhere` in others, too, which the API refuses. */
export function withHttp(documents: readonly Document[], seed: number, isAnywhere: boolean): readonly Document[] {
  const random = randomFrom(seed);
  const choose = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
  const http = (): Fields => ({ methods: choose(RULE_METHODS), paths: choose(RULE_PATHS) });
  return documents.map((document) => {
    const spec = document.spec as Fields | undefined;
    const { apiVersion } = document as { readonly apiVersion?: unknown };
    if (apiVersion !== 'projectcalico.org/v3' || !Array.isArray(spec?.ingress)) return document;
    const ingress = (spec.ingress as readonly Fields[]).map((rule) => {
      const isTcp = rule.protocol === undefined || rule.protocol === 'TCP' || rule.protocol === 6;
      const mayHave = rule.action === 'Allow' && isTcp;
      return random() < 0.4 && (mayHave || isAnywhere) ? { ...rule, http: http() } : rule;
    });
    return { ...document, spec: { ...spec, ingress } };
  });
}

const SRC_ADDRESSES = [...POD_ADDRESSES, ...POD_ADDRESSES, ...NODE_ADDRESSES, ...OTHER_ADDRESSES];

/** `count` requests, most of them to the endpoints of the world, and from them with their own certificates. */
export function drawQuestions(seed: number, count: number, endpoints: readonly FormEndpoint[]): AuthzRequest[] {
  const random = randomFrom(seed);
  const choose = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
  const principal = (): string => {
    const roll = random();
    if (roll < 0.2) return '';
    if (roll < 0.25)
      return choose(['cn=x', 'spiffe://d/ns/app/sa/api/x', 'spiffe:///ns/app/sa/api', 'SPIFFE://d/ns/app/sa/api']);
    const domain = roll < 0.9 ? 'cluster.local' : 'other.domain';
    const namespace = choose([...NAMESPACES, ...NAMESPACES, 'nowhere']);
    return `spiffe://${domain}/ns/${namespace}/sa/${choose([...ACCOUNTS, ...ACCOUNTS, 'ghost'])}`;
  };
  const labels = (): Record<string, string> | undefined =>
    random() < 0.2 ? { env: choose(['a', 'b']), 'projectcalico.org/name': 'api' } : undefined;
  const owned = endpoints.flatMap(({ namespace, serviceAccount, addresses }) => {
    const principal = `spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`;
    return addresses.map((address) => ({ text: formatAddress(address), version: address.version, principal }));
  });
  const anyPeer = (family: number): { text: string; principal: string } => ({
    text: choose(SRC_ADDRESSES)[family]!,
    principal: principal(),
  });
  const peerOf = (family: number): { text: string; principal: string } => {
    const known = owned.filter(({ version }) => version === (family === 0 ? 4 : 6));
    if (known.length === 0 || random() < 0.3) return anyPeer(family);
    const peer = choose(known);
    return random() < 0.6 ? peer : { text: peer.text, principal: principal() };
  };
  return Array.from({ length: count }, () => {
    const family = random() < 0.5 ? 0 : 1;
    // Both families now and then: a service mesh may carry one in the other.
    const other = random() < 0.05 ? 1 - family : family;
    const [source, destination] = [peerOf(family), peerOf(other)];
    return {
      src: source.text,
      dst: destination.text,
      srcPort: choose([40_000, ...PORTS]),
      dstPort: choose(PORTS),
      protocol: random() < 0.8 ? PROTOCOL_TCP : choose([PROTOCOL_UDP, 132, 1]),
      sourcePrincipal: source.principal,
      destinationPrincipal: destination.principal,
      sourceLabels: labels(),
      destinationLabels: labels(),
      http: random() < 0.7 ? { method: choose(METHODS), path: choose(PATHS) } : undefined,
    };
  });
}
