/**
 * Who the proxies say a peer was: access logs of Envoy and ztunnel, and a file of identities, joined to flows by addresses and time.
 *
 * One line is one statement. Read are:
 *
 * Envoy, JSON (`accessLogFormat`/`json_format` with these operators under these names; more fields do no harm)
 *
 *     {"start_time":"2026-01-01T00:00:00.000Z",                      %START_TIME%
 *      "duration":12,                                                %DURATION%, ms; 0 if absent
 *      "downstream_remote_address":"10.244.1.10:40001",              %DOWNSTREAM_REMOTE_ADDRESS%
 *      "downstream_direct_remote_address":"…",                       taken before the other, if there (no X-Forwarded-For in it)
 *      "downstream_local_address":"10.244.2.10:8443",                %DOWNSTREAM_LOCAL_ADDRESS%
 *      "downstream_peer_uri_san":"spiffe://cluster.local/ns/prod/sa/api",   %DOWNSTREAM_PEER_URI_SAN%; "-", "" or null = none
 *      "downstream_tls_version":"TLSv1.3"}                           %DOWNSTREAM_TLS_VERSION%, optional
 *
 * ztunnel, one line a connection, written when it ends; its start is `duration` earlier. Its JSON form has the same fields, with `time`
 * and `message`
 *
 *     2026-01-01T00:00:01.000Z info access connection complete src.addr=10.244.1.10:40001 src.identity="spiffe://…"
 *         dst.addr=10.244.2.10:15008 dst.hbone_addr=10.244.2.10:8443 dst.identity="spiffe://…" direction="inbound" duration="12ms"
 *
 * Identities file (`--peers`), JSON lines; all but `src` and `identity` may be left out, and then mean any
 *
 *     {"src":"10.244.1.10","src_port":40001,"dst":"10.244.2.10","dst_port":8443,"identity":"spiffe://…" or null,"from":"…","to":"…"}
 *
 * Envoy joins several URI names with commas, and a name may hold one: such a value is never taken apart, and names nobody.
 */
import { formatAddress, parseAddress } from '../base/ip.ts';
import type { SeenFlow } from './factors-capture.ts';
import { type NamedPeer, peerOf } from './factors-certificate.ts';

/** Clocks of proxies and of the capture may differ by as much. */
const LOG_CLOCK_SLACK_MS = 2000;
/** Lines of logs that are kept; more are counted. */
const LOG_LINES_MAX = 500_000;
/** Characters of one line. */
export const LOG_LINE_LENGTH_MAX = 65_536;

export type StatementSource = 'envoy-log' | 'ztunnel-log' | 'peers-file';

/** What one line says about the peer of one connection (or, in an identities file, of all that fit). */
export interface PeerStatement {
  /** `envoy.jsonl:3`. */
  readonly place: string;
  readonly source: StatementSource;
  readonly src: string;
  readonly srcPort: number | undefined;
  readonly dst: string | undefined;
  readonly dstPort: number | undefined;
  readonly fromMs: number;
  readonly toMs: number;
  /** Undefined: the peer showed no certificate. */
  readonly peer: NamedPeer | undefined;
}

export interface LogProblem {
  readonly place: string;
  readonly message: string;
}

export interface PeerLog {
  readonly statements: readonly PeerStatement[];
  readonly problems: readonly LogProblem[];
  /** Lines that are about something else: other messages of ztunnel. */
  readonly passedOver: number;
}

/** Reads an access log; each line by its own form. */
export function parseAccessLog(name: string, lines: Iterable<string>): PeerLog {
  return parseLines(name, lines, (text) => (text.startsWith('{') ? jsonStatement(text) : ztunnelLine(text)));
}

/** Reads a file of identities. */
export function parsePeers(name: string, lines: Iterable<string>): PeerLog {
  return parseLines(name, lines, peersStatement);
}

type Parsed = Omit<PeerStatement, 'place'> | string | undefined;

function parseLines(name: string, lines: Iterable<string>, parse: (text: string) => Parsed): PeerLog {
  const statements: PeerStatement[] = [];
  const problems: LogProblem[] = [];
  let line = 0;
  let passedOver = 0;
  for (const raw of lines) {
    line++;
    const text = raw.trim();
    if (text === '') continue;
    const place = `${name}:${line}`;
    if (statements.length >= LOG_LINES_MAX) {
      problems.push({ place, message: `more than ${LOG_LINES_MAX} lines; the rest is left out` });
      break;
    }
    const parsed = text.length > LOG_LINE_LENGTH_MAX ? 'the line is too long' : parse(text);
    if (parsed === undefined) passedOver++;
    else if (typeof parsed === 'string') problems.push({ place, message: parsed });
    else statements.push({ place, ...parsed });
  }
  return { statements, problems, passedOver };
}

function jsonStatement(text: string): Parsed {
  const fields = jsonObject(text);
  if (typeof fields === 'string') return fields;
  if (!('src.addr' in fields) && !('message' in fields)) return envoyStatement(fields);
  const word = (name: string): string | undefined => {
    const value = fields[name];
    return typeof value === 'string' ? value : undefined;
  };
  return ztunnelStatement(word('message') ?? '', word('time'), word);
}

function envoyStatement(fields: Readonly<Record<string, unknown>>): Parsed {
  const remote = endOf(fields.downstream_direct_remote_address ?? fields.downstream_remote_address);
  const local = endOf(fields.downstream_local_address);
  if (remote === undefined) return 'no downstream_remote_address of the form ADDRESS:PORT';
  if (local === undefined) return 'no downstream_local_address of the form ADDRESS:PORT';
  const fromMs = timeOf(fields.start_time);
  if (fromMs === undefined) return 'no start_time that is a time';
  const { duration = 0, downstream_peer_uri_san: san } = fields;
  if (san === undefined) return 'no downstream_peer_uri_san: add %DOWNSTREAM_PEER_URI_SAN% to the format of the log';
  if (san !== null && typeof san !== 'string') return 'downstream_peer_uri_san is no text';
  const durationMs = Number(duration === null || duration === '-' ? 0 : duration);
  if (!(durationMs >= 0)) return 'duration is no number of milliseconds';
  return {
    source: 'envoy-log',
    src: remote.address,
    srcPort: remote.port,
    dst: local.address,
    dstPort: local.port,
    fromMs,
    toMs: fromMs + durationMs,
    peer: namedBy(san),
  };
}

/** `-` and nothing stand for no certificate. What holds a comma may be one name or several, and nobody can tell. */
function namedBy(uri: string | null): NamedPeer | undefined {
  if (uri === null || uri === '' || uri === '-') return undefined;
  return uri.includes(',') ? { uris: [uri], account: undefined, problem: 'several-uri-names' } : peerOf([uri]);
}

const ZTUNNEL_FIELD = /([a-z_.]+)=("(?:[^"\\]|\\.)*"|\S+)/g;

const ABOUT_A_CONNECTION = /\bconnection (complete|opened|failed)\b/;

function ztunnelLine(text: string): Parsed {
  if (!ABOUT_A_CONNECTION.test(text)) {
    return /^\d{4}-\d\d-\d\dT/.test(text) ? undefined : 'neither JSON of Envoy nor a line of ztunnel';
  }
  const fields = new Map<string, string>();
  for (const [, key, value] of text.matchAll(ZTUNNEL_FIELD)) {
    if (key !== undefined && value !== undefined && !fields.has(key)) fields.set(key, unquoted(value));
  }
  return ztunnelStatement(text, text.split(/\s/, 1)[0], (name) => fields.get(name));
}

/** @param time  of the end of the connection, or of its opening */
function ztunnelStatement(
  message: string,
  time: string | undefined,
  field: (name: string) => string | undefined,
): Parsed {
  if (!ABOUT_A_CONNECTION.test(message)) return undefined;
  const src = endOf(field('src.addr'));
  const dst = endOf(field('dst.addr'));
  if (src === undefined) return 'no src.addr of the form ADDRESS:PORT';
  if (dst === undefined) return 'no dst.addr of the form ADDRESS:PORT';
  const endMs = timeOf(time);
  if (endMs === undefined) return 'the line does not begin with a time';
  const durationMs = goDuration(field('duration') ?? '0ms');
  if (durationMs === undefined) return 'duration is none';
  const isOpening = message.includes('connection opened');
  return {
    source: 'ztunnel-log',
    src: src.address,
    srcPort: src.port,
    dst: dst.address,
    dstPort: dst.port,
    fromMs: isOpening ? endMs : endMs - durationMs,
    toMs: endMs,
    peer: namedBy(field('src.identity') ?? ''),
  };
}

function peersStatement(text: string): Parsed {
  const fields = jsonObject(text);
  if (typeof fields === 'string') return fields;
  const src = addressOf(fields.src);
  if (src === undefined) return 'src is no address';
  const dst = fields.dst === undefined ? undefined : addressOf(fields.dst);
  if (fields.dst !== undefined && dst === undefined) return 'dst is no address';
  const srcPort = portOf(fields.src_port);
  const dstPort = portOf(fields.dst_port);
  if (srcPort === 'none' || dstPort === 'none') return 'a port is no number from 0 to 65535';
  const fromMs = fields.from === undefined ? Number.NEGATIVE_INFINITY : timeOf(fields.from);
  const toMs = fields.to === undefined ? Number.POSITIVE_INFINITY : timeOf(fields.to);
  if (fromMs === undefined || toMs === undefined) return 'from and to must be times, such as 2026-01-01T00:00:00Z';
  const { identity } = fields;
  if (identity !== null && typeof identity !== 'string') return 'identity must be a text, or null for none';
  return { source: 'peers-file', src, srcPort, dst, dstPort, fromMs, toMs, peer: namedBy(identity) };
}

function jsonObject(text: string): Readonly<Record<string, unknown>> | string {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    return 'not a JSON object';
  } catch (error) {
    return `not JSON: ${(error as Error).message}`;
  }
}

interface End {
  readonly address: string;
  readonly port: number;
}

/** `10.0.0.1:80` and `[fd00::1]:80`; the address in its canonical text. */
function endOf(value: unknown): End | undefined {
  if (typeof value !== 'string') return undefined;
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value) ?? [];
  const address = addressOf(bracketed ?? plain);
  const number = portOf(port === undefined ? undefined : Number(port));
  return address === undefined || number === undefined || number === 'none' ? undefined : { address, port: number };
}

function addressOf(value: unknown): string | undefined {
  const address = typeof value === 'string' ? parseAddress(value) : undefined;
  return address === undefined ? undefined : formatAddress(address);
}

function portOf(value: unknown): number | undefined | 'none' {
  if (value === undefined) return undefined;
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 65535 ? value : 'none';
}

function timeOf(value: unknown): number | undefined {
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(value)) return undefined;
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? undefined : ms;
}

/** `2ms`, `1.5s`, `300µs`: one number and one unit. */
function goDuration(text: string): number | undefined {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ns|µs|μs|us|ms|s|m|h)$/.exec(text) ?? [];
  if (number === undefined || unit === undefined) return undefined;
  return Number(number) * UNIT_MS[unit]!;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  µs: 1e-3,
  μs: 1e-3,
  us: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

function unquoted(value: string): string {
  if (!value.startsWith('"')) return value;
  try {
    return JSON.parse(value) as string;
  } catch {
    return value.slice(1, -1);
  }
}

/** Stands for any address or port in a key. */
const ANY = '*';

/** Statements found by flow. */
export class StatementIndex {
  readonly #byEnds = new Map<string, PeerStatement[]>();
  readonly #matches = new Map<PeerStatement, SeenFlow[]>();

  constructor(statements: readonly PeerStatement[]) {
    for (const statement of statements) {
      const { src, srcPort = ANY, dst = ANY, dstPort = ANY } = statement;
      const key = `${src} ${srcPort} ${dst} ${dstPort}`;
      const list = this.#byEnds.get(key);
      if (list === undefined) this.#byEnds.set(key, [statement]);
      else list.push(statement);
    }
  }

  /** Those about a flow, in the order of the files. Call it once a flow: it keeps count of what each line was about. */
  match(flow: SeenFlow): readonly PeerStatement[] {
    const statements: PeerStatement[] = [];
    const { source_ip, source_port = ANY, dest_ip, dest_port = ANY } = flow.record;
    for (const srcPort of [source_port, ANY]) {
      for (const dst of [dest_ip, ANY]) {
        for (const dstPort of [dest_port, ANY]) {
          const found = this.#byEnds.get(`${source_ip} ${srcPort} ${dst} ${dstPort}`) ?? [];
          for (const statement of found) if (isOfTime(statement, flow)) statements.push(statement);
        }
      }
    }
    for (const statement of statements) {
      const flows = this.#matches.get(statement);
      if (flows === undefined) this.#matches.set(statement, [flow]);
      else flows.push(flow);
    }
    return statements;
  }

  /** Lines of logs that fit more than one flow: each of them is about one connection. */
  ambiguous(): ReadonlyMap<PeerStatement, readonly SeenFlow[]> {
    return new Map([...this.#matches].filter(([{ source }, flows]) => source !== 'peers-file' && flows.length > 1));
  }

  get matchedCount(): number {
    return this.#matches.size;
  }
}

function isOfTime({ fromMs, toMs }: PeerStatement, { startMs, endMs }: SeenFlow): boolean {
  return fromMs <= endMs + LOG_CLOCK_SLACK_MS && toMs >= startMs - LOG_CLOCK_SLACK_MS;
}
