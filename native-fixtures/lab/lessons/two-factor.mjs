/** Lesson 5: an address and a certificate, and what one of them alone opens. */
import { allowedByProfile, NODES, OUTSIDE } from './common.mjs';

const NAMESPACE = 'prod';
const pod = (name, node, host, serviceAccount) => ({
  namespace: NAMESPACE,
  name,
  node,
  host,
  serviceAccount,
  labels: { app: name.replace(/-0$/, '') },
});

const world = {
  nodes: NODES,
  outside: [OUTSIDE],
  nobody: [],
  namespaces: [{ name: NAMESPACE }],
  serviceAccounts: ['api-service', 'web', 'db'].map((name) => ({ namespace: NAMESPACE, name })),
  pods: [pod('db-0', 'node-2', 10, 'db'), pod('api-0', 'node-1', 10, 'api-service'), pod('web-0', 'node-1', 11, 'web')],
};

const DB = `${NAMESPACE}/db-0`;
const API = `${NAMESPACE}/api-0`;
const WEB = `${NAMESPACE}/web-0`;
const PORT = 8443;

const OUT = [allowedByProfile(NAMESPACE)];
const ALLOWED = { egress: OUT, ingress: [`0|default|np:${NAMESPACE}/db-clients|allow|0`] };
const DENIED = { egress: OUT, ingress: [`0|default|np:${NAMESPACE}/db-clients|deny|-1`], reason: 'end-of-tier' };

const call = (attempt) => ({ to: DB, program: 'tls', port: PORT, outcome: 'answered', ...attempt });
const BY_ADDRESS = 'db-clients names the account api-service, and the address is that of api-0, which runs as it.';

const attempts = [
  call({
    name: 'api-service, TLS 1.2',
    from: API,
    tls: '1.2',
    certificate: 'api-service',
    verdict: ALLOWED,
    why: `${BY_ADDRESS} Its certificate says the same: two factors.`,
  }),
  call({
    name: 'api-service, TLS 1.3',
    from: API,
    tls: '1.3',
    certificate: 'api-service',
    verdict: ALLOWED,
    why: `${BY_ADDRESS} TLS 1.3 encrypts certificates; the capture holds the secrets of the handshake.`,
  }),
  call({
    name: 'api-service over IPv6, TLS 1.3',
    from: API,
    family: 6,
    tls: '1.3',
    certificate: 'api-service',
    verdict: ALLOWED,
    why: `${BY_ADDRESS} The account covers the addresses of both families.`,
  }),
  call({
    name: 'web with the certificate of api-service, TLS 1.2',
    from: WEB,
    tls: '1.2',
    certificate: 'api-service',
    verdict: DENIED,
    why: 'A stolen certificate. The address is that of web-0, whose account db-clients does not name: Calico drops the connection at the SYN, before any certificate is shown. A mesh that looks at certificates alone would let it in.',
  }),
  call({
    name: 'web with the certificate of api-service, TLS 1.3',
    from: WEB,
    tls: '1.3',
    certificate: 'api-service',
    verdict: DENIED,
    why: 'As over TLS 1.2.',
  }),
  call({
    name: 'an outside machine with the address of api-0, TLS 1.2 without a certificate',
    from: 'outside',
    as: API,
    tls: '1.2',
    verdict: ALLOWED,
    why: `A spoofed address: a machine on the wire has node-2 route 10.244.1.10 to itself, as a forged BGP announcement would. ${BY_ADDRESS} So Calico lets it in; only the missing certificate gives it away.`,
  }),
  call({
    name: 'an outside machine with the address of api-0, TLS 1.3 without a certificate',
    from: 'outside',
    as: API,
    tls: '1.3',
    verdict: ALLOWED,
    why: 'As over TLS 1.2.',
  }),
  call({
    name: 'an outside machine with the address of api-0 and the certificate of web, TLS 1.3',
    from: 'outside',
    as: API,
    tls: '1.3',
    certificate: 'web',
    verdict: ALLOWED,
    why: `${BY_ADDRESS} The certificate is a good one of another account: the two factors disagree.`,
  }),
  call({
    name: 'api-service in plain text',
    from: API,
    tls: 'plain',
    verdict: ALLOWED,
    why: `${BY_ADDRESS} Nothing but the address says so.`,
  }),
  call({
    name: 'an outside machine with the address of api-0, in plain text',
    from: 'outside',
    as: API,
    tls: 'plain',
    verdict: ALLOWED,
    why: `${BY_ADDRESS} In plain text the spoofer looks exactly like api-0.`,
  }),
  call({
    name: 'web with its own certificate, TLS 1.3',
    from: WEB,
    tls: '1.3',
    certificate: 'web',
    verdict: DENIED,
    why: 'An honest stranger: neither its address nor its certificate is that of api-service.',
  }),
  call({
    name: 'web in plain text',
    from: WEB,
    tls: 'plain',
    verdict: DENIED,
    why: 'The account web is not in the list.',
  }),
];

export const lesson = {
  title: 'an address and a certificate, and what one of them alone opens',
  text: `
The database takes connections from the account \`api-service\` alone (\`policies.yaml\`). Calico knows that account by the addresses of its pods; a mesh
such as Istio knows it by the name in its certificate. Callers: \`api-service\` itself, a pod that stole its certificate, a machine that took over the address of its
pod, and plain text; over TLS 1.2, and over TLS 1.3 whose handshake secrets are in the capture (a decryption secrets block; the data stays closed).`,
  more: `
One command shows what each of the two factors opens alone, and what both leave closed:

    npx margay factors -f pcaps/two-factor/ -r pcaps/two-factor/capture.pcapng

| caller | address says | certificate says | address alone | certificate alone | both |
|---|---|---|---|---|---|
| \`api-service\` itself | api-service | api-service | allow | allow | **allow** |
| \`web\` with the stolen certificate of \`api-service\` | web | api-service | deny | **allow** | deny |
| a machine with the address of \`api-0\`, TLS without a certificate | api-service | nothing | **allow** | deny | deny |
| the same with a certificate of \`web\` | api-service | web | **allow** | deny | deny |
| the same in plain text, or \`api-service\` itself in plain text | api-service | nothing | **allow** | deny | deny |
| \`web\` as itself | web | web | deny | deny | deny |

- Address alone is Calico's network layer, and what \`replay\` shows. The spoofer took the address over on the wire, behind the check at pods' interfaces
  with which Calico stops pods from doing the same: node-2 routes 10.244.1.10 to it, as a forged BGP announcement would have it.
- Certificate alone is a mesh without network policy. The thief shows a good certificate and proves that it has the key (margay checks the signature
  over the handshake), so nothing in the connection gives it away but where it comes from.
- Both is Calico with Istio where every connection must have a certificate. The PeerAuthentication in \`policies.yaml\` is STRICT: Istio would have refused
  the five connections without a certificate. Make it PERMISSIVE and they would be admitted by their address.
- The certificates were made for the recording and were valid for a day, as Istio's are. margay reads them by the capture's time: one that had expired
  by then is a finding of its own. Expiry is what ends a thief's gain: a stolen certificate opens something until it expires, and nothing after.
- The secrets in the capture are those of the handshakes alone; what was said behind them cannot be read. Without them TLS 1.3 shows no certificates, the
  answer is incomplete, and the exit code 3.
`,
  world,
  servers: [{ at: DB, program: 'tls', port: PORT, account: 'db' }],
  attempts,
};
