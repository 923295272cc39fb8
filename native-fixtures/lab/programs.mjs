/**
 * The real programs of the lab: servers that pods run, and clients that make one connection each.
 *
 * Every attempt has its own source port (or ICMP identifier), so that a capture's packets can be told apart for certain.
 * `psql` cannot choose its port; instead the namespace's range of ephemeral ports is narrowed to that one.
 */
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './netns.mjs';
import { SCRIPT as TLS } from './tls.mjs';

const SOCKETS = join(dirname(fileURLToPath(import.meta.url)), 'sockets.py');
const CLIENT_TIMEOUT_MS = 15_000;

/** Programs the lab runs, and the Debian package each comes in. `postgres` is looked for separately: Debian keeps it off the path. */
export const REQUIRED_PROGRAMS = {
  ip: 'iproute2',
  ethtool: 'ethtool',
  tcpdump: 'tcpdump',
  tshark: 'tshark',
  mergecap: 'wireshark-common',
  editcap: 'wireshark-common',
  openssl: 'openssl',
  psql: 'postgresql-client',
  setpriv: 'util-linux',
  python3: 'python3',
  curl: 'curl',
  dnsmasq: 'dnsmasq-base',
  dig: 'bind9-dnsutils',
  ping: 'iputils-ping',
};

/**
 * Starts a server in a pod's namespace and waits until it listens.
 *
 * @param {{ netns: string, program: 'postgres' | 'http' | 'dns' | 'silent' | 'tls', port: number, records?: Record<string, string[]>,
 *   account?: string }} server
 *   `records`: for dns, the addresses of each name; `account`: for tls, whose certificate it shows
 */
export async function startServer(lab, server) {
  switch (server.program) {
    case 'postgres':
      return startPostgres(lab, server);
    case 'http':
      return startHttp(lab, server);
    case 'dns':
      return startDns(lab, server);
    case 'tls': {
      const argv = [process.execPath, TLS, 'serve', String(server.port), lab.directory, server.account];
      return lab.start(server.netns, argv, /ready/);
    }
    case 'silent':
      return lab.start(server.netns, ['python3', SOCKETS, 'serve-silent', String(server.port)], /ready/);
    default:
      throw new Error(`unknown server program '${server.program}'`);
  }
}

async function startPostgres(lab, { netns, port }) {
  const bin = await postgresDirectory();
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map(async (flag) => Number((await run(['id', flag, 'postgres'])).stdout)),
  );
  const home = join(lab.directory, `postgres-${netns}`);
  chmodSync(lab.directory, 0o755);
  mkdirSync(home);
  chownSync(home, uid, gid);
  const asPostgres = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
  const data = join(home, 'data');
  await run([...asPostgres, join(bin, 'initdb'), '-D', data, '--auth=trust', '--no-sync', '-E', 'UTF8'], {
    timeoutMs: 60_000,
  });
  writeFileSync(join(data, 'pg_hba.conf'), 'local all all trust\nhost all all all trust\n');
  const settings = [
    `port=${port}`,
    'listen_addresses=*',
    `unix_socket_directories=${home}`,
    'fsync=off',
    'autovacuum=off',
  ];
  const argv = [...asPostgres, join(bin, 'postgres'), '-D', data, ...settings.flatMap((setting) => ['-c', setting])];
  return lab.start(netns, argv, /ready to accept connections/, { cwd: home });
}

/** Where `initdb` and `postgres` are: the newest of Debian's /usr/lib/postgresql/<version>/bin. */
export async function postgresDirectory() {
  const found = await run(['sh', '-c', 'ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1']);
  return found.stdout.trim() || null;
}

async function startHttp(lab, { netns, port }) {
  const directory = join(lab.directory, `http-${netns}-${port}`);
  mkdirSync(directory);
  writeFileSync(join(directory, 'index.html'), 'ok\n');
  return lab.start(
    netns,
    ['python3', '-m', 'http.server', String(port), '--bind', '::', '--directory', directory],
    /Serving HTTP/,
  );
}

async function startDns(lab, { netns, port, records }) {
  const names = Object.entries(records).map(([name, addresses]) => `--host-record=${[name, ...addresses].join(',')}`);
  return lab.start(
    netns,
    [
      'dnsmasq',
      '--no-daemon',
      '--conf-file=/dev/null',
      '--no-resolv',
      '--no-hosts',
      '--user=root',
      `--port=${port}`,
      ...names,
    ],
    /started, version/,
  );
}

/**
 * Makes one attempt and returns the client's exit status; 0 means it got its answer.
 *
 * @param {{ netns: string, program: 'psql' | 'curl' | 'dig' | 'udp' | 'ping' | 'tls', src: string, dst: string, port?: number, id: number,
 *   query?: string, tls?: '1.2' | '1.3' | 'plain', certificate?: string }} attempt
 *   `id` is the source port, or the ICMP identifier of `ping`; `certificate`: for tls, the account whose certificate is shown
 */
export async function makeAttempt(lab, attempt) {
  const { netns, src, dst, port, id } = attempt;
  const isIpv6 = dst.includes(':');
  const bracketed = isIpv6 ? `[${dst}]` : dst;
  const client = async (argv, options = {}) =>
    (await lab.run(netns, argv, { allowFailure: true, timeoutMs: CLIENT_TIMEOUT_MS, ...options })).status;
  switch (attempt.program) {
    case 'psql': {
      await lab.sysctl(netns, { 'net/ipv4/ip_local_port_range': `${id} ${id}` });
      const target = `host=${dst} port=${port} user=postgres dbname=postgres sslmode=disable gssencmode=disable connect_timeout=2`;
      const status = await client(['psql', '-XAtq', '-c', attempt.query ?? 'select 1', target]);
      await lab.sysctl(netns, { 'net/ipv4/ip_local_port_range': '32768 60999' });
      return status;
    }
    case 'curl': {
      const timing = ['--connect-timeout', '2', '--max-time', '5'];
      const url = `http://${bracketed}:${port}/`;
      return client([
        'curl',
        '-sS',
        '-o',
        '/dev/null',
        '--noproxy',
        '*',
        '--interface',
        src,
        '--local-port',
        String(id),
        ...timing,
        url,
      ]);
    }
    case 'dig': {
      const options = ['+tries=1', '+timeout=1', '+nocookie', '+noedns', '-b', `${src}#${id}`, '-p', String(port)];
      return client(['dig', ...options, `@${dst}`, attempt.query ?? 'db.prod-engineering.svc.cluster.local', 'A']);
    }
    case 'tls': {
      const { tls, certificate } = attempt;
      const argv = [process.execPath, TLS, 'call', src, String(id), dst, String(port), lab.directory, tls];
      return client(certificate === undefined ? argv : [...argv, certificate]);
    }
    case 'udp':
      return client(['python3', SOCKETS, 'send-udp', src, String(id), dst, String(port)]);
    case 'ping':
      return client(['ping', isIpv6 ? '-6' : '-4', '-n', '-c', '2', '-i', '0.2', '-W', '1', '-e', String(id), dst]);
    default:
      throw new Error(`unknown client program '${attempt.program}'`);
  }
}
