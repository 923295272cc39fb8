/**
 * Records the lesson pcaps/enforcement: `npm run lab:record -- enforcement`, as root on Linux, after `npm run build`.
 *
 * A cluster whose nodes enforce yesterday's policies (before/policies.yaml, by the rules of `margay export nft`) is captured while programs
 * talk: on each node one capture of all its pods' interfaces and its uplink, by dumpcap, which writes down their names. Verified against
 * today's policies the captures show leaks and a blocked connection. What each attempt is to show was reasoned, and stands below; the programs'
 * own outcomes are checked against it here, margay's answer by test/analyze/verify-lesson.test.ts.
 */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { clusterYaml } from '../lab/manifests.mjs';
import { run } from '../lab/netns.mjs';
import { ROOT } from './cases.mjs';
import { clusterOf } from './cluster.mjs';
import { EnforcedLab } from './enforced.mjs';
import { builtMargay } from './margay.mjs';
import { versions, whyNoLab } from './preconditions.mjs';

const FOLDER = join(ROOT, 'pcaps/enforcement');
const FIRST_PORT = 40_000;

const pod = (namespace, name, node, host, serviceAccount) => ({ namespace, name, node, host, serviceAccount });

const WORLD = {
  nodes: [
    { name: 'node-1', number: 1, ip4: '192.168.56.11', ip6: 'fd00:192:168:56::11' },
    { name: 'node-2', number: 2, ip4: '192.168.56.12', ip6: 'fd00:192:168:56::12' },
  ],
  namespaces: [{ name: 'shop' }, { name: 'ops' }],
  serviceAccounts: ['web', 'api', 'db', 'cache'].map((name) => ({ namespace: 'shop', name })),
  pods: [
    pod('shop', 'web-0', 'node-1', 10, 'web'),
    pod('shop', 'cache-0', 'node-1', 11, 'cache'),
    pod('ops', 'job-0', 'node-1', 12),
    pod('shop', 'api-0', 'node-2', 10, 'api'),
    pod('shop', 'db-0', 'node-2', 11, 'db'),
  ],
};

/** `program`: what the client hears. `predicted`, `observed`, `finding`, `certainty`: what verification against today's policies says. */
const ATTEMPTS = [
  {
    from: 'shop/web-0',
    to: 'shop/api-0',
    protocol: 6,
    port: 8080,
    program: 'answered',
    predicted: 'allow',
    observed: 'delivered',
    why: 'No policy selects api-0 or web-0, so the profile of the namespace allows it, yesterday as today.',
  },
  {
    from: 'shop/api-0',
    to: 'shop/db-0',
    protocol: 6,
    port: 5432,
    program: 'answered',
    predicted: 'allow',
    observed: 'delivered',
    why: 'db-clients admits the account api at 5432; yesterday nothing selected db-0.',
  },
  {
    from: 'shop/web-0',
    to: 'shop/db-0',
    protocol: 6,
    port: 5432,
    program: 'answered',
    predicted: 'deny',
    observed: 'delivered',
    finding: 'leak',
    certainty: 'proven',
    why: 'db-clients does not admit the account web. node-2 does not know that policy yet: the SYN comes out of the interface of db-0.',
  },
  {
    from: 'ops/job-0',
    to: 'shop/db-0',
    protocol: 6,
    port: 5432,
    family: 6,
    program: 'answered',
    predicted: 'deny',
    observed: 'delivered',
    finding: 'leak',
    certainty: 'proven',
    why: 'The same for a pod of another namespace, over IPv6.',
  },
  {
    from: 'shop/api-0',
    to: 'shop/db-0',
    protocol: 6,
    port: 5433,
    listens: false,
    program: 'refused',
    predicted: 'deny',
    observed: 'refused',
    finding: 'leak',
    certainty: 'proven',
    why: 'db-clients admits api at 5432 alone. Nobody listens at 5433, but the SYN was let through, and db-0 refused it by itself.',
  },
  {
    from: 'shop/web-0',
    to: 'shop/db-0',
    protocol: 1,
    program: 'answered',
    predicted: 'deny',
    observed: 'delivered',
    finding: 'leak',
    certainty: 'proven',
    why: 'db-clients has no rule for ICMP.',
  },
  {
    from: 'shop/web-0',
    to: 'shop/cache-0',
    protocol: 6,
    port: 6379,
    program: 'answered',
    predicted: 'allow',
    observed: 'delivered',
    why: 'cache-clients admits web, yesterday as today.',
  },
  {
    from: 'shop/api-0',
    to: 'shop/cache-0',
    protocol: 6,
    port: 6379,
    program: 'silent',
    predicted: 'allow',
    observed: 'unanswered',
    finding: 'blocked',
    certainty: 'proven',
    why: 'cache-clients admits api since this morning. node-1 does not know: the SYNs come in by its uplink, and none comes out at cache-0.',
  },
  {
    from: 'ops/job-0',
    to: 'shop/cache-0',
    protocol: 6,
    port: 6379,
    program: 'silent',
    predicted: 'deny',
    observed: 'unanswered',
    why: 'cache-clients does not admit job, yesterday as today.',
  },
  {
    from: 'ops/job-0',
    to: 'shop/api-0',
    protocol: 17,
    port: 8125,
    program: 'answered',
    predicted: 'allow',
    observed: 'delivered',
    why: 'No policy selects api-0, so the profile of its namespace allows it.',
  },
  {
    from: 'shop/web-0',
    to: 'shop/api-0',
    protocol: 6,
    port: 9999,
    listens: false,
    program: 'refused',
    predicted: 'allow',
    observed: 'refused',
    why: 'Nobody listens there: api-0 refuses it, no policy does.',
  },
];

const why = whyNoLab();
if (why !== undefined) {
  console.error(`lab:record enforcement ${why}`);
  process.exit(4);
}

const margay = await builtMargay();
writeFileSync(
  join(FOLDER, 'cluster.yaml'),
  clusterYaml(WORLD, 'Policies that the nodes do not enforce yet: the cluster. Written by native-fixtures/kernel.'),
);
const read = (name) => ({ name, text: readFileSync(join(FOLDER, name), 'utf8') });
const { resources } = margay.loadResources([read('cluster.yaml'), read('before/policies.yaml')]);
const before = margay.openTables(margay.compile(resources, { dataplane: 'nftables' }));
const cluster = clusterOf(margay, before);
const addressOf = (key, family) =>
  cluster.pods
    .find((each) => each.key === `wep:${key}`)
    .addresses.find((each) => each.includes(':') === (family === 6));
const attempts = ATTEMPTS.map(({ from, to, protocol, port = 0, family = 4, listens = true }, index) => ({
  id: index,
  src: addressOf(from, family),
  dst: addressOf(to, family),
  protocol,
  src_port: FIRST_PORT + index + 1,
  dst_port: port,
  listens,
}));

const lab = new EnforcedLab(cluster);
const onSignal = () => lab.cleanup().finally(() => process.exit(130));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, onSignal);
try {
  await lab.build([]);
  const nfts = cluster.nodes.map((_, node) => margay.renderNft(before, node, { uplink: 'eth0' }).nft);
  const outcome = await lab.record(nfts, attempts, FOLDER, 'nodes');
  // dumpcap keeps captures to itself.
  for (const { name } of cluster.nodes) chmodSync(join(FOLDER, `${name}.pcapng`), 0o644);
  ATTEMPTS.forEach(({ from, to, program }, id) => {
    if (!outcome[program].has(id)) throw new Error(`attempt ${id + 1}, ${from} to ${to}, was not ${program}`);
  });
} finally {
  await lab.cleanup();
}

const lines = ATTEMPTS.map(({ from, to, predicted, observed, finding, certainty, why: reason }, i) => ({
  from,
  to,
  source_ip: attempts[i].src,
  dest_ip: attempts[i].dst,
  proto: { 1: 'icmp', 6: 'tcp', 17: 'udp' }[attempts[i].protocol],
  ...(attempts[i].protocol === 1 ? {} : { source_port: attempts[i].src_port, dest_port: attempts[i].dst_port }),
  predicted,
  observed,
  ...(finding === undefined ? {} : { finding, certainty }),
  why: reason,
}));
writeFileSync(join(FOLDER, 'findings.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
writeFileSync(join(FOLDER, 'README.md'), await readme());
console.log(
  `enforcement: ${lines.length} connections, ${lines.filter(({ finding }) => finding !== undefined).length} findings`,
);

async function readme() {
  const { kernel, nft, python } = versions();
  const { stdout } = await run(['dumpcap', '--version']);
  const dumpcap = `dumpcap ${/\d+(\.\d+)+/.exec(stdout)[0]}`;
  const leaks = lines.filter(({ finding }) => finding === 'leak').length;
  return `# enforcement: what the nodes do not enforce yet

This morning the team admitted the API to the cache, and shut everybody but the API out of the database. The nodes did not get it: while these captures
were taken, a real kernel on each enforced yesterday's policies (\`before/\`). So today's \`policies.yaml\` and the captures disagree: ${leaks} connections leak and
one is blocked.

    npx margay verify -f pcaps/enforcement -r node:node-1=pcaps/enforcement/node-1.pcapng -r node:node-2=pcaps/enforcement/node-2.pcapng

Each capture has all interfaces of one node, by name: that of a pod tells what comes out of the pod and what is let through to it, the uplink
what passes between the nodes. One capture alone shows less: see what \`verify\` makes of \`node-2.pcapng\` by itself. With yesterday's policies
(\`-f pcaps/enforcement/cluster.yaml -f pcaps/enforcement/before\`) nothing is found.

\`findings.jsonl\` has what each of the ${lines.length} connections shows, with the reason in a sentence. It was reasoned, not taken from a program's output.

Recorded by \`npm run lab:record -- enforcement\` (native-fixtures/kernel) with Linux ${kernel}, ${nft}, ${dumpcap}, ${python}.
`;
}
