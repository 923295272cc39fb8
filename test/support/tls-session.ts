/** Real TLS sessions for tests: Node.js's own client and server over a pipe in memory, with every byte of both kept. */
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import type { TestCertificate } from './certificate.ts';

export interface SessionOptions {
  readonly version?: 'TLSv1.2' | 'TLSv1.3';
  readonly server: TestCertificate;
  readonly client?: TestCertificate | undefined;
  /** Default true. */
  readonly asks?: boolean;
  readonly ciphers?: string;
  readonly clientCurves?: string;
  readonly serverCurves?: string;
  readonly alpn?: readonly string[];
  readonly serverName?: string;
  /** Go on with this session. */
  readonly session?: Buffer | undefined;
  /** Of the server, for sessions that go on: the same for both. */
  readonly ticketKeys?: Buffer;
  /** What the client says first; default `ping`. */
  readonly request?: string;
}

export interface RecordedSession {
  readonly client: Uint8Array;
  readonly server: Uint8Array;
  /** In the order written. */
  readonly pieces: readonly { readonly isClient: boolean; readonly bytes: Uint8Array }[];
  readonly keyLog: string;
  /** To go on with; the last one that the client got. */
  readonly session: Buffer | undefined;
  /** The server took the client's certificate as it is; undefined if none was shown. */
  readonly shown: Buffer | undefined;
  readonly version: string | null;
}

class PipeEnd extends Duplex {
  other!: PipeEnd;
  readonly #record: (bytes: Uint8Array) => void;

  constructor(record: (bytes: Uint8Array) => void) {
    super();
    this.#record = record;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#record(Uint8Array.from(chunk));
    this.other.push(chunk);
    done();
  }

  override _final(done: () => void): void {
    this.other.push(null);
    done();
  }
}

/** A whole session: handshake, one request, one answer, the end. */
export async function recordSession(options: SessionOptions): Promise<RecordedSession> {
  const pieces: { isClient: boolean; bytes: Uint8Array }[] = [];
  const [clientEnd, serverEnd] = [true, false].map(
    (isClient) => new PipeEnd((bytes) => pieces.push({ isClient, bytes })),
  );
  clientEnd!.other = serverEnd!;
  serverEnd!.other = clientEnd!;
  let keyLog = '';
  let session: Buffer | undefined;
  const version = options.version ?? 'TLSv1.3';
  const common = {
    minVersion: version,
    maxVersion: version,
    ...(options.ciphers ? { ciphers: options.ciphers } : {}),
  } as const;
  const server = new tls.TLSSocket(serverEnd!, {
    isServer: true,
    ...common,
    cert: options.server.pem,
    key: options.server.key,
    requestCert: options.asks !== false,
    rejectUnauthorized: false,
    ...(options.alpn ? { ALPNProtocols: [...options.alpn] } : {}),
    ...(options.serverCurves ? { ecdhCurve: options.serverCurves } : {}),
    secureContext: tls.createSecureContext({
      ...common,
      cert: options.server.pem,
      key: options.server.key,
      sessionIdContext: 'margay',
      ...(options.serverCurves ? { ecdhCurve: options.serverCurves } : {}),
      ...(options.ticketKeys ? { ticketKeys: options.ticketKeys } : {}),
    }),
  });
  const client = tls.connect({
    socket: clientEnd!,
    ...common,
    ...(options.client ? { cert: options.client.pem, key: options.client.key } : {}),
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(options.serverName ? { servername: options.serverName } : {}),
    ...(options.alpn ? { ALPNProtocols: [...options.alpn] } : {}),
    ...(options.clientCurves ? { ecdhCurve: options.clientCurves } : {}),
    ...(options.session ? { session: options.session } : {}),
  });
  client.on('keylog', (line: Buffer) => {
    keyLog += line.toString('latin1');
  });
  client.on('session', (ticket: Buffer) => {
    session = ticket;
  });
  let shown: Buffer | undefined;
  await new Promise<void>((resolve, reject) => {
    client.on('error', reject);
    server.on('error', reject);
    server.on('data', () => {
      const peer = server.getPeerCertificate();
      shown = Object.keys(peer ?? {}).length === 0 ? undefined : peer.raw;
      server.end('pong');
    });
    client.on('data', () => client.end());
    client.on('close', () => resolve());
    client.write(options.request ?? 'ping');
  });
  const joined = (isClient: boolean): Uint8Array =>
    Buffer.concat(pieces.filter((piece) => piece.isClient === isClient).map(({ bytes }) => bytes));
  return {
    client: joined(true),
    server: joined(false),
    pieces,
    keyLog,
    session,
    shown,
    version: client.getProtocol() ?? version,
  };
}
