/**
 * Records the lessons in pcaps/: `npm run lab:record [-- lesson …]`, as root on Linux.
 *
 * For each lesson: build the cluster out of network namespaces, start the servers, record while clients make the lesson's attempts one
 * after the other, take everything down, write capture.pcapng, cluster.yaml, expected.jsonl and README.md. policies.yaml is written by hand.
 * No policy is enforced: each capture holds what Calico would deny beside what it would allow.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { embedSecrets, readCapture, startCapture } from './capture.mjs';
import { buildClusterNet, podAddress4, podAddress6, podKey, podNetns, takeOverAddress } from './cluster-net.mjs';
import { expectation, expectedLines } from './golden.mjs';
import { clusterYaml } from './manifests.mjs';
import { Lab, run } from './netns.mjs';
import { makeAttempt, postgresDirectory, REQUIRED_PROGRAMS, startServer } from './programs.mjs';
import { makeCertificates } from './tls.mjs';

const LESSONS = ['sa-names', 'sa-labels', 'sa-selector', 'tiers', 'two-factor'];
const PCAPS = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'pcaps');
/** Source ports and ICMP identifiers of a lesson's attempts: this, plus the attempt's place in the lesson from 1. */
const FIRST_ID = 40_000;
const PROTOCOL = { psql: 'tcp', curl: 'tcp', tls: 'tcp', dig: 'udp', udp: 'udp' };

await main(process.argv.slice(2));

async function main(names) {
  if (process.platform !== 'linux' || process.getuid() !== 0) {
    fail('lab:record makes network namespaces, which needs Linux and root; run it with sudo');
  }
  const unknown = names.find((name) => !LESSONS.includes(name) && name !== 'enforcement');
  if (unknown) fail(`there is no lesson '${unknown}'; the lessons are ${LESSONS.join(', ')}, enforcement`);
  if (names.includes('enforcement')) {
    // Its packets pass rules that are enforced: the kernel lab's work.
    await import('../kernel/record-enforcement.mjs');
    if (names.length === 1) return;
    names = names.filter((name) => name !== 'enforcement');
  }
  await installPrograms();
  const versions = await programVersions();
  for (const name of names.length > 0 ? names : LESSONS) await recordLesson(name, versions);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

/** Installs what is missing from Debian's packages, and says so. */
async function installPrograms() {
  const missing = new Set();
  for (const [program, debianPackage] of Object.entries(REQUIRED_PROGRAMS)) {
    const found = await run(['sh', '-c', `command -v ${program}`], { allowFailure: true });
    if (found.status !== 0) missing.add(debianPackage);
  }
  if ((await postgresDirectory()) === null) missing.add('postgresql');
  if (missing.size === 0) return;
  console.log(`installing with apt-get: ${[...missing].join(' ')}`);
  const options = { timeoutMs: 600_000, env: { DEBIAN_FRONTEND: 'noninteractive' } };
  await run(['apt-get', 'update', '-q'], options);
  const lockTimeout = ['-o', 'DPkg::Lock::Timeout=300'];
  await run(['apt-get', ...lockTimeout, 'install', '-y', '-q', '--no-install-recommends', ...missing], options);
}

async function programVersions() {
  const postgres = join(await postgresDirectory(), 'postgres');
  const commands = [
    ['uname', '-sr'],
    ['tcpdump', '--version'],
    [postgres, '--version'],
    ['psql', '--version'],
    ['python3', '--version'],
    ['curl', '--version'],
    ['dnsmasq', '--version'],
    ['dig', '-v'],
    ['ping', '-V'],
    ['mergecap', '--version'],
    ['openssl', 'version'],
    ['node', '--version'],
  ];
  const firstLines = await Promise.all(
    commands.map(async (command) => {
      const { stdout, stderr } = await run(command, { allowFailure: true });
      return `${stdout}${stderr}`.trim().split('\n')[0];
    }),
  );
  return firstLines.map((line) =>
    line.replace(/\s+/g, ' ').replace(/[ .]*(Copyright| \(x86_64| \(Git).*|,? version|\(PostgreSQL\) /g, ''),
  );
}

async function recordLesson(name, versions) {
  const { lesson } = await import(`./lessons/${name}.mjs`);
  const attempts = lesson.attempts.map((attempt, index) => resolveAttempt(lesson.world, attempt, FIRST_ID + index + 1));
  const lab = new Lab();
  const onSignal = () => lab.cleanup().then(() => process.exit(130));
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    console.log(`${name}: building ${lesson.world.pods.length} pods on ${lesson.world.nodes.length} nodes`);
    const taps = await buildClusterNet(lab, lesson.world);
    const usesTls = lesson.servers.some(({ program }) => program === 'tls');
    if (usesTls) await makeCertificates(run, lab.directory, lesson.world.serviceAccounts);
    for (const server of lesson.servers) {
      await startServer(lab, { ...server, netns: resolvePlace(lesson.world, server.at).netns });
    }
    const capture = await startCapture(lab, taps);
    for (const attempt of attempts) {
      const giveBack = attempt.as
        ? await takeOverAddress(lab, lesson.world, attempt.netns, attempt.src, attempt.to)
        : undefined;
      attempt.status = await makeAttempt(lab, attempt);
      await giveBack?.();
      console.log(`${name}: ${attempt.name}: ${attempt.status === 0 ? 'answered' : `exit status ${attempt.status}`}`);
    }
    const recorded = join(lab.directory, 'capture.pcapng');
    await capture.stop(recorded);
    if (usesTls) await embedSecrets(recorded, join(lab.directory, 'keys.log'));
    const golden = expectedLines(attempts, await readCapture(recorded));
    writeLesson(name, lesson, golden, recorded, versions);
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    await lab.cleanup();
  }
}

/** From names to addresses, and a check that the reasoned verdict has the checks that S 6.1 runs between these two ends. */
function resolveAttempt(world, attempt, id) {
  const family = attempt.family ?? 4;
  const from = resolvePlace(world, attempt.from);
  const to = resolvePlace(world, attempt.to);
  // Calico knows a caller by its address alone.
  const seen = attempt.as ? resolvePlace(world, attempt.as) : from;
  const isOwnNode = to.pod && seen.netns === to.pod.node;
  const expect = expectation(attempt.verdict);
  const isRight =
    Boolean(expect.egress) === Boolean(seen.pod) &&
    Boolean(expect.ingress) === Boolean(to.pod && !isOwnNode && expect.egress?.action !== 'deny');
  if (!isRight) throw new Error(`${attempt.name}: the verdict's directions do not fit its two ends`);
  const proto = attempt.program === 'ping' ? (family === 6 ? 'icmpv6' : 'icmp') : PROTOCOL[attempt.program];
  return { ...attempt, id, proto, netns: from.netns, src: seen[family], dst: to[family], expect };
}

/** What a lesson calls `namespace/pod`, a node's or outside machine's name, or an address. */
function resolvePlace(world, place) {
  const pod = world.pods.find((each) => podKey(each) === place);
  if (pod) return { pod, netns: podNetns(pod), 4: podAddress4(world, pod), 6: podAddress6(world, pod) };
  const machine = [...world.nodes, ...world.outside].find((each) => each.name === place);
  if (machine) return { netns: machine.name, 4: machine.ip4, 6: machine.ip6 };
  if (world.nobody.includes(place)) return { 4: place };
  throw new Error(`the lesson has no pod, machine or address '${place}'`);
}

function writeLesson(name, lesson, { lines, arpCount }, recorded, versions) {
  const directory = join(PCAPS, name);
  mkdirSync(directory, { recursive: true });
  copyFileSync(recorded, join(directory, 'capture.pcapng'));
  writeFileSync(
    join(directory, 'cluster.yaml'),
    clusterYaml(lesson.world, `${lesson.title}: the cluster. Written by native-fixtures/lab.`),
  );
  writeFileSync(join(directory, 'expected.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const packetCount = lines.reduce((sum, line) => sum + line.packets, arpCount);
  const bytes = readFileSync(recorded).length;
  writeFileSync(join(directory, 'README.md'), readme(name, lesson, { lines, arpCount, packetCount, bytes }, versions));
  console.log(`${name}: ${lines.length} connections, ${packetCount} packets, ${bytes} bytes`);
}

function readme(name, lesson, { lines, arpCount, packetCount }, versions) {
  const count = (action) => lines.filter((line) => line.action === action).length;
  const arp = arpCount > 0 ? `, ${arpCount} of them ARP` : '';
  return `# ${name}: ${lesson.title}

${lesson.text.trim()}

    npx margay replay -f pcaps/${name}/ -r pcaps/${name}/capture.pcapng
${lesson.more ? `\n${lesson.more.trim()}\n` : ''}
${packetCount} packets${arp}; ${lines.length} connections: ${count('allow')} allowed, ${count('deny')} denied, ${count('unpoliced')} unpoliced. No policy was enforced while recording,
so denied connections were answered too. \`expected.jsonl\` has the verdict of each connection (that of its first packet) with the reason in a
sentence. It was reasoned from Calico's semantics, not taken from a program's output; only the counts of packets, those of both directions,
come from the capture.

${wrap(`Recorded by \`npm run lab:record\` (native-fixtures/lab) with ${versions.join(', ')}.`)}
`;
}

function wrap(text) {
  return text.replace(/(.{1,140})(?: |$)/g, '$1\n').trim();
}
