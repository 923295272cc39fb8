/**
 * Mutual TLS for the lab: the certificates of a small mesh, a server that takes TLS and plain text on one port, and its client.
 *
 *     tls.mjs serve PORT DIRECTORY ACCOUNT              answers `pong` to a line, over TLS of any version or in plain text, and asks
 *                                                       TLS clients for a certificate, which they may leave out (Istio's PERMISSIVE)
 *     tls.mjs call SRC SRC_PORT DST DST_PORT DIRECTORY VERSION [ACCOUNT]
 *                                                       VERSION: 1.2, 1.3 or plain; ACCOUNT: whose certificate to show
 *
 * The server writes the secrets of TLS 1.3 handshakes to DIRECTORY/keys.log, and none that would open the data behind them.
 */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';

export const SCRIPT = fileURLToPath(import.meta.url);
const TLS_HANDSHAKE = 22;
const HANDSHAKE_SECRETS = /^(CLIENT|SERVER)_HANDSHAKE_TRAFFIC_SECRET /;
/** As long as Istio's own. */
const CERTIFICATE_DAYS = 1;

/**
 * Makes the mesh's authority and one certificate for each account, with its SPIFFE name as Istio writes it, and nothing else in it.
 *
 * @param run      of netns.mjs
 * @param directory where ca.pem, and NAME.pem and NAME.key for each account go
 * @param accounts [{ namespace, name }]; names are unique
 */
export async function makeCertificates(run, directory, accounts) {
  const at = (name) => join(directory, name);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc'];
  const days = ['-days', String(CERTIFICATE_DAYS)];
  await run(
    ['openssl', 'req', '-x509', ...newKey, ...days, '-subj', '/O=cluster.local', '-keyout', at('ca.key')].concat([
      '-out',
      at('ca.pem'),
    ]),
  );
  for (const { namespace, name } of accounts) {
    const request = [
      'openssl',
      'req',
      ...newKey,
      '-subj',
      '/',
      '-keyout',
      at(`${name}.key`),
      '-out',
      at(`${name}.csr`),
    ];
    await run(request);
    writeFileSync(
      at(`${name}.ext`),
      `keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n` +
        `subjectAltName=critical,URI:spiffe://cluster.local/ns/${namespace}/sa/${name}\n`,
    );
    const authority = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial'];
    const files = ['-in', at(`${name}.csr`), '-extfile', at(`${name}.ext`), '-out', at(`${name}.pem`)];
    await run(['openssl', 'x509', '-req', ...days, ...authority, ...files]);
  }
}

function identity(directory, account) {
  return {
    ca: readFileSync(join(directory, 'ca.pem')),
    cert: readFileSync(join(directory, `${account}.pem`)),
    key: readFileSync(join(directory, `${account}.key`)),
  };
}

function serve(port, directory, account) {
  const answer = (socket) => {
    socket.on('error', () => {});
    socket.on('data', () => socket.end('pong\n'));
  };
  // Who shows no certificate, or one of a stranger, is let in: nothing is enforced in the lab.
  const secure = tls.createServer(
    { ...identity(directory, account), requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.2' },
    answer,
  );
  secure.on('keylog', (line) => {
    if (HANDSHAKE_SECRETS.test(line.toString('latin1'))) appendFileSync(join(directory, 'keys.log'), line);
  });
  secure.on('tlsClientError', () => {});
  createServer((socket) => {
    socket.once('readable', () => {
      const first = socket.read(1);
      if (first === null) return;
      socket.unshift(first);
      if (first[0] === TLS_HANDSHAKE) secure.emit('connection', socket);
      else answer(socket);
    });
    socket.on('error', () => {});
  }).listen(port, '::', () => console.log('ready'));
}

function call(src, srcPort, dst, dstPort, directory, version, account) {
  const socket = connect({ host: dst, port: Number(dstPort), localAddress: src, localPort: Number(srcPort) });
  const protocol = `TLSv${version}`;
  const stream =
    version === 'plain'
      ? socket
      : tls.connect({
          socket,
          ca: readFileSync(join(directory, 'ca.pem')),
          ...(account === undefined ? {} : identity(directory, account)),
          minVersion: protocol,
          maxVersion: protocol,
          // A SPIFFE name is no host name; who the server is, the mesh's policy says.
          checkServerIdentity: () => undefined,
        });
  stream.setTimeout(5000, () => process.exit(28));
  stream.on('error', (error) => {
    console.error(error.message);
    process.exit(1);
  });
  stream.on('data', (data) => {
    stream.end();
    stream.on('close', () => process.exit(data.toString() === 'pong\n' ? 0 : 1));
  });
  stream.write('ping\n');
}

if (process.argv[1] === SCRIPT) {
  const [role, ...rest] = process.argv.slice(2);
  if (role === 'serve') serve(Number(rest[0]), rest[1], rest[2]);
  else if (role === 'call') call(...rest);
  else {
    console.error('usage: tls.mjs serve … or tls.mjs call …; see the head of the file');
    process.exit(2);
  }
}
