/**
 * The authorization service: decisions a second on one core without gRPC, and checks a second with the time to an answer over gRPC.
 *
 * Over gRPC the server is a process of its own on a unix socket, as a proxy has it; this process is the proxy: bare HTTP/2 with
 * prepared messages, so that it costs less than the server. Both run at the same time: it takes two free cores.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, connect } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AuthzRequest } from '../src/authz/authorizer.ts';
import { type Measurement, measured } from './measurement.ts';
import { runOnce } from './once.ts';
import { AUTHZ_SHAPES, authzCluster, drawRequests } from './workload-authz.ts';

const NAMES = { rules: '100 rules by account', policies: '1 000 policies' } as const;
const GRPC_REQUESTS = 20_000;
/** Open requests at a time; with one at a time the answer is timed alone. */
const STREAMS = 64;

interface Decisions {
  /** Decisions a second. */
  readonly first: number;
  readonly warm: readonly number[];
  readonly prepareMs: number;
  /** Of the requests that are allowed. */
  readonly share: number;
}

export async function runAuthz(rounds: number): Promise<Measurement[]> {
  const out: Measurement[] = [];
  for (const shape of AUTHZ_SHAPES) {
    const runs = Array.from({ length: rounds }, () => runOnce<Decisions>('authz', [shape]));
    const note = `${Math.round(runs[0]!.share * 100)} % allowed, one core, no gRPC`;
    const add = (name: string, unit: Measurement['unit'], values: readonly number[]): void => {
      out.push(measured('authz', `${NAMES[shape]}: ${name}`, unit, values, { note }));
    };
    add(
      'decisions',
      '1/s',
      runs.flatMap(({ warm }) => warm),
    );
    add(
      'decisions, each pair of peers for the first time',
      '1/s',
      runs.map(({ first }) => first),
    );
    add(
      'plan to authorizer',
      'ms',
      runs.map(({ prepareMs }) => prepareMs),
    );
  }
  out.push(...(await runService(rounds)));
  return out;
}

async function runService(rounds: number): Promise<Measurement[]> {
  const folder = mkdtempSync(join(tmpdir(), 'margay-bench-authz-'));
  const cluster = join(folder, 'cluster.json');
  const socket = join(folder, 'authz.sock');
  writeFileSync(cluster, authzCluster('policies'));
  const args = ['dist/cli/main.js', 'authz', '-f', cluster, '--listen', `unix:${socket}`];
  const server = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  try {
    await listening(server);
    const session = connect('http://localhost', { path: socket });
    const messages = drawRequests('policies', GRPC_REQUESTS).map(frameOf);
    // Until the server's code is warm.
    await run(session, messages, STREAMS);
    const rates: number[] = [];
    const serverRates: number[] = [];
    const p99: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const before = cpuSeconds(server);
      const { seconds } = await run(session, messages, STREAMS);
      rates.push(GRPC_REQUESTS / seconds);
      serverRates.push(GRPC_REQUESTS / (cpuSeconds(server) - before));
      const alone = await run(session, messages.slice(0, GRPC_REQUESTS / 10), 1);
      p99.push(percentile(alone.times, 0.99) * 1000);
    }
    session.close();
    const note = `${STREAMS} streams, a process each for server and client`;
    const name = `${NAMES.policies}, gRPC on a unix socket`;
    return [
      measured('authz', `${name}: checks`, '1/s', rates, { note }),
      measured('authz', `${name}: checks a second of the server's processor time`, '1/s', serverRates, { note }),
      measured('authz', `${name}: p99, one at a time`, 'us', p99),
    ];
  } finally {
    server.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  }
}

function listening(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    server.stderr!.on('data', (piece: Buffer) => {
      // Denials are logged, too; nobody reads them here.
      if (text.length < 65_536) text += piece.toString();
      if (text.includes('"msg":"listening"')) resolve();
    });
    server.once('exit', (code) => reject(new Error(`the service ended with ${code}: ${text.slice(-600)}`)));
  });
}

/** Seconds of processor time that a process has had, from /proc; in hundredths. */
function cpuSeconds(server: ChildProcess): number {
  const fields = readFileSync(`/proc/${server.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Sends all messages, at most `streams` at a time. */
async function run(
  session: ClientHttp2Session,
  messages: readonly Buffer[],
  streams: number,
): Promise<{ readonly seconds: number; readonly times: readonly number[] }> {
  const times: number[] = [];
  let next = 0;
  const start = performance.now();
  const worker = async (): Promise<void> => {
    while (next < messages.length) {
      const begin = performance.now();
      await call(session, messages[next++]!);
      times.push(performance.now() - begin);
    }
  };
  await Promise.all(Array.from({ length: streams }, worker));
  return { seconds: (performance.now() - start) / 1000, times };
}

const HEADERS = {
  ':method': 'POST',
  ':path': '/envoy.service.auth.v3.Authorization/Check',
  'content-type': 'application/grpc',
  te: 'trailers',
} as const;

function call(session: ClientHttp2Session, frame: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request(HEADERS);
    let status: unknown;
    stream.on('trailers', (trailers) => {
      status = trailers['grpc-status'];
    });
    stream.on('close', () => {
      if (status === '0') resolve();
      else reject(new Error(`a check ended with gRPC status ${status}`));
    });
    stream.on('error', reject);
    stream.resume();
    stream.end(frame);
  });
}

/** A CheckRequest in gRPC's frame, by Envoy's field numbers. */
function frameOf(request: AuthzRequest): Buffer {
  const peer = (address: string, port: number, principal: string): Buffer =>
    Buffer.concat([
      field(1, field(1, Buffer.concat([field(2, Buffer.from(address)), number(3, port)]))),
      field(4, Buffer.from(principal)),
    ]);
  const { http } = request;
  const attributes = [
    field(1, peer(request.src, request.srcPort, request.sourcePrincipal)),
    field(2, peer(request.dst, request.dstPort, request.destinationPrincipal)),
    ...(http === undefined
      ? []
      : [field(4, field(2, Buffer.concat([field(2, Buffer.from(http.method)), field(4, Buffer.from(http.path))])))]),
  ];
  const message = field(1, Buffer.concat(attributes));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function field(tag: number, value: Buffer): Buffer {
  return Buffer.concat([varint((tag << 3) | 2), varint(value.length), value]);
}

function number(tag: number, value: number): Buffer {
  return Buffer.concat([varint(tag << 3), varint(value)]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

function percentile(values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length * share)]!;
}
