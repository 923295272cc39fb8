/**
 * Two factors: for each flow of a capture, which account its address says it is, which its certificate says, and what policy makes of
 * one of them alone and of both.
 *
 *   capture ─► flows and handshakes ─┐
 *   logs    ─► statements ───────────┴► evidence ─► crypto ──┐
 *   tables  ─► owner of the address ────────────► network ──┴► rules that name accounts ─► verdicts, findings, matrix
 *
 * A rule of Calico that names a service account is a set of addresses: whoever sends from one of them has the account. A mesh asks for a
 * certificate: whoever has it, and its key, has the account. Each alone can be taken by somebody else; both together must be. This is
 * where one can see, on real traffic, which connections rested on one of them alone.
 *
 * Nothing here changes a verdict; `verdicts.address` is that of `replay`.
 */
import type { X509Certificate } from 'node:crypto';
import type { Plan } from '../compile/plan.ts';
import type { Resources } from '../model/resources.ts';
import type { TimelineData } from '../tables/live.ts';
import type { Tables } from '../tables/tables.ts';
import { formatTime } from './connections.ts';
import { HBONE_PORT } from './factors-ambient.ts';
import { type CaptureSource, type ReadOptions, readFlows, type SeenFlow } from './factors-capture.ts';
import { type Evidence, EvidenceReader } from './factors-evidence.ts';
import type { KeyStore } from './factors-keys.ts';
import { type LogProblem, type PeerStatement, StatementIndex } from './factors-logs.ts';
import type { NetworkIdentity } from './factors-network.ts';
import { peerAuthenticationOf } from './factors-peer-auth.ts';
import type {
  CryptoName,
  FactorsRecord,
  FactorsTotals,
  Finding,
  FindingName,
  Gap,
  MatrixCell,
  MatrixRow,
  RuleRecord,
} from './factors-record.ts';
import { type Crypto, type MetPolicies, RuleBook } from './factors-rules.ts';
import { totalsOf } from './factors-totals.ts';

/** Flows that are kept to be answered for; the rest is counted. */
const FLOWS_KEPT_MAX = 100_000;
/** Rules in a record; the matrix counts all. */
const RULES_SHOWN_MAX = 20;

export interface FactorsInput {
  readonly plan: Plan;
  readonly resources: Resources;
  readonly tables: Tables;
  /** How the owners of addresses change with time, as the tables were compiled with. */
  readonly timeline?: TimelineData | undefined;
  readonly captures: readonly string[];
  readonly keys: KeyStore;
  readonly statements?: readonly PeerStatement[];
  readonly logProblems?: readonly LogProblem[];
  readonly trustDomain?: string | undefined;
  readonly authorities?: readonly X509Certificate[] | undefined;
  readonly rootNamespace?: string | undefined;
  /** Records of every flow, not of those alone that something asks about. */
  readonly all?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: ReadOptions['onProgress'];
  readonly flowsMax?: number;
}

export interface FactorsResult {
  /** In the order of first packets. */
  readonly records: readonly FactorsRecord[];
  readonly matrix: readonly MatrixRow[];
  readonly totals: FactorsTotals;
  /** What is missing from no single flow: lines of key logs and access logs, flows that were too many. */
  readonly gaps: readonly Gap[];
  readonly sources: readonly CaptureSource[];
  /** Flows that were answered for early, since too many were open at one time. */
  readonly evictedFlows: number;
  /** Lines of logs that are about no flow of the captures. */
  readonly unmatchedStatements: number;
  /** Evidence is missing where a rule asks for it, or was given and cannot be used. */
  readonly isIncomplete: boolean;
  readonly interrupted: boolean;
}

interface KeptFlow {
  readonly flow: SeenFlow;
  readonly statements: readonly PeerStatement[];
}

/** Reads captures and answers for their flows. Memory: FLOWS_KEPT_MAX flows, whatever the size of the captures. */
export async function analyzeFactors(input: FactorsInput): Promise<FactorsResult> {
  const book = new RuleBook(input.plan);
  const index = new StatementIndex(input.statements ?? []);
  const kept: KeptFlow[] = [];
  let flows = 0;
  let dropped = 0;
  const { sources, evicted } = await readFlows(input.tables, input.captures, {
    keys: input.keys,
    timeline: input.timeline,
    onFlow: (flow) => {
      flows++;
      const met = book.meet(flow.record, flow.startMs);
      const statements = index.match(flow);
      const hasShown = (flow.tls?.clientCertificates?.length ?? 0) > 0;
      const isAsked = (met?.asking.length ?? 0) > 0 || hasShown || statements.length > 0 || input.all === true;
      if (!isAsked) return;
      if (kept.length < FLOWS_KEPT_MAX) kept.push({ flow, statements });
      else dropped++;
    },
    ...(input.signal === undefined ? {} : { signal: input.signal }),
    ...(input.onProgress === undefined ? {} : { onProgress: input.onProgress }),
    ...(input.flowsMax === undefined ? {} : { flowsMax: input.flowsMax }),
  });
  kept.sort((a, b) => a.flow.firstPacket - b.flow.firstPacket);
  const ambiguous = index.ambiguous();
  const maker = new RecordMaker(input, book, sources);
  const records = kept.map((each) => maker.record(each, ambiguous));
  const gaps = commonGaps(input, ambiguous, dropped, maker);
  return {
    records,
    matrix: maker.matrix(),
    totals: totalsOf(records, gaps, flows, sources),
    gaps,
    sources,
    evictedFlows: evicted,
    unmatchedStatements: (input.statements?.length ?? 0) - index.matchedCount,
    isIncomplete: gaps.length > 0 || records.some((each) => each.rules.length > 0 && each.gaps.length > 0),
    interrupted: input.signal?.aborted === true,
  };
}

class RecordMaker {
  readonly #input: FactorsInput;
  readonly #book: RuleBook;
  readonly #evidence: EvidenceReader;
  readonly #sources: readonly CaptureSource[];
  readonly #cells = new Map<string, Partial<Record<MatrixCell, number>>>();
  readonly #labels: ReadonlyMap<string, ReadonlyMap<string, string>>;

  constructor(input: FactorsInput, book: RuleBook, sources: readonly CaptureSource[]) {
    this.#input = input;
    this.#book = book;
    this.#sources = sources;
    this.#evidence = new EvidenceReader({ trustDomain: input.trustDomain, authorities: input.authorities });
    this.#labels = new Map(input.plan.endpoints.map(({ key, labels }) => [key, new Map(labels)]));
  }

  record({ flow, statements }: KeptFlow, ambiguous: ReadonlyMap<PeerStatement, unknown>): FactorsRecord {
    const { record, source, dest, tls } = flow;
    const evidence = this.#evidence.read(
      flow,
      statements.filter((each) => !ambiguous.has(each)),
    );
    const met = this.#book.meet(record, flow.startMs);
    const rules = this.#rules(met, evidence.crypto);
    const verdicts = this.#verdicts(record.action, met, evidence.crypto);
    const transport = tls?.transport ?? 'plain';
    const findings = [
      ...evidence.findings,
      ...mismatches(evidence, source, dest),
      ...untrusted(rules, verdicts.address, evidence.crypto, transport, flow),
    ];
    const place = this.place(flow.firstPacket);
    const gaps = evidence.gaps.map((gap) => (gap.place === '' ? { ...gap, place } : gap));
    if (source.accounts.length > 1 && rules.length > 0) {
      gaps.push({ name: 'shared-address', detail: `${record.source_ip} is of ${source.pods.join(' and ')}`, place });
    }
    return {
      start_time: timeText(flow.startMs),
      end_time: timeText(flow.endMs),
      first_packet: flow.firstPacket,
      packets: flow.packets,
      ...endsOf(record),
      ...(source.accounts.length === 0 ? {} : { network: source.accounts.join(' or ') }),
      crypto: cryptoName(evidence.crypto),
      ...(evidence.certificate === undefined ? {} : { certificate: evidence.certificate }),
      ...(evidence.serverCertificate === undefined ? {} : { dest_certificate: evidence.serverCertificate }),
      transport,
      ...tlsPart(flow),
      ...(record.proto === 'tcp' && record.dest_port === HBONE_PORT ? { hbone: true as const } : {}),
      ...(rules.length === 0 ? {} : { factors: factorsOf(rules) }),
      ...shownRules(rules),
      verdicts,
      ...this.#peerAuthentication(flow, evidence.crypto),
      findings,
      gaps,
    };
  }

  #rules(met: MetPolicies | undefined, crypto: Crypto): RuleRecord[] {
    return (met?.asking ?? []).map(({ account, network }) => {
      const { policy, index, action, place, accounts, match } = account!;
      const rule: RuleRecord = {
        policy,
        index,
        action,
        rule: place,
        accounts,
        network: network ? 'yes' : 'no',
        crypto:
          typeof crypto === 'object'
            ? this.#book.names(match, crypto)
              ? 'yes'
              : 'no'
            : crypto === 'invalid'
              ? 'no'
              : crypto,
      };
      this.#count(rule);
      return rule;
    });
  }

  #count({ policy, index, network, crypto }: RuleRecord): void {
    const key = `${policy} ${index}`;
    const cells = this.#cells.get(key) ?? {};
    const cell: MatrixCell = `${network}/${crypto}`;
    cells[cell] = (cells[cell] ?? 0) + 1;
    this.#cells.set(key, cells);
  }

  /** Every rule that names accounts, those that no flow met as well. */
  matrix(): MatrixRow[] {
    return this.#book.accountRules.map(({ policy, index, action, place, accounts }) => ({
      policy,
      index,
      action,
      rule: place,
      accounts,
      cells: Object.fromEntries(
        CELLS.map((cell) => [cell, this.#cells.get(`${policy} ${index}`)?.[cell] ?? 0]),
      ) as MatrixRow['cells'],
    }));
  }

  /** Both layers must allow (semantics 8.1): a denial by address stays one. */
  #verdicts(address: string, met: MetPolicies | undefined, crypto: Crypto): FactorsRecord['verdicts'] {
    if (met === undefined || met.asking.length === 0) return { address };
    const byBoth = this.#book.byBoth(met, crypto);
    // What the network layer never polices, it lets through.
    const isLetThrough = address === 'allow' || address === 'unpoliced';
    const both = isLetThrough ? byBoth : address === 'deny' || byBoth === 'deny' ? 'deny' : 'uncertain';
    return { address, certificate: this.#book.byCertificate(met, crypto), both };
  }

  #peerAuthentication(flow: SeenFlow, crypto: Crypto): Pick<FactorsRecord, 'peer_authentication'> {
    const { record, tls } = flow;
    if (record.dest_type !== 'wep' || record.proto !== 'tcp') return {};
    const namespace = record.dest_namespace ?? '';
    const labels = this.#labels.get(`wep:${namespace}/${record.dest_name}`) ?? new Map();
    const { resources, rootNamespace } = this.#input;
    const effective = peerAuthenticationOf(resources, namespace, labels, record.dest_port ?? 0, rootNamespace);
    if (effective === undefined) return {};
    const { mode, level, policy, place } = effective;
    const isPlain = tls?.transport === 'plain';
    const isOneSided = tls?.transport === 'tls' && crypto === 'absent';
    const what = isPlain ? 'plain text' : 'TLS without a certificate';
    const refuses = mode === 'STRICT' && (isPlain || isOneSided) ? { refuses: `STRICT refuses ${what}` } : {};
    return {
      peer_authentication: {
        mode,
        level,
        ...(policy === undefined ? {} : { policy }),
        ...(place === undefined ? {} : { place }),
        ...refuses,
      },
    };
  }

  /** Where a packet is: the capture, and its number in it. */
  place(packet: number): string {
    let before = 0;
    for (const { file, packets } of this.#sources) {
      if (packet <= before + packets) return `${file}, packet ${packet - before}`;
      before += packets;
    }
    return `packet ${packet}`;
  }
}

const CELLS: readonly MatrixCell[] = (['yes', 'no'] as const).flatMap((network) =>
  (['yes', 'no', 'absent', 'unknown'] as const).map((crypto): MatrixCell => `${network}/${crypto}`),
);

/** Certificate and address name different accounts, at either end. */
function mismatches(evidence: Evidence, source: NetworkIdentity, dest: NetworkIdentity): Finding[] {
  const of = (name: FindingName, peer: Evidence['server'], owner: NetworkIdentity): Finding[] => {
    if (peer === undefined) return [];
    const account = `${peer.namespace}/${peer.account}`;
    if (owner.accounts.includes(account)) return [];
    const who =
      owner.pods.length === 0
        ? 'of no pod'
        : `of ${owner.pods.join(' and ')}, which runs as ${owner.accounts.join(' or ')}`;
    return [{ name, detail: `the certificate is of ${account}, the address is ${who}` }];
  };
  const client = typeof evidence.crypto === 'object' ? evidence.crypto : undefined;
  // Behind a Service or a gateway the address that was called may be of no pod; that says nothing about the server.
  const server = dest.pods.length === 0 ? undefined : evidence.server;
  return [...of('identity-mismatch', client, source), ...of('server-identity-mismatch', server, dest)];
}

/** An address alone was trusted. */
function untrusted(
  rules: readonly RuleRecord[],
  verdict: string,
  crypto: Crypto,
  transport: FactorsRecord['transport'],
  { record, tls }: SeenFlow,
): Finding[] {
  const trusting = rules.find(({ network, action }) => network === 'yes' && (action === 'allow' || action === 'pass'));
  if (trusting === undefined || verdict !== 'allow' || crypto !== 'absent' || transport === 'silent') return [];
  const where = `rule ${trusting.index} of ${trusting.policy} (${trusting.rule}) trusts ${trusting.accounts}`;
  if (transport === 'tls') {
    const unasked = tls?.wasAsked === false ? '; the server did not ask for one' : '';
    return [{ name: 'no-certificate-on-trusted-path', detail: `${where}${unasked}` }];
  }
  const outside = record.proto === 'tcp' ? '' : `; ${record.proto} is outside of mutual TLS`;
  return [{ name: 'plain-text-on-trusted-path', detail: `${where}${outside}` }];
}

function factorsOf(rules: readonly RuleRecord[]): '2 of 2' | '1 of 2' | '0 of 2' {
  const admitting = rules.filter(({ action }) => action === 'allow' || action === 'pass');
  const counts = (admitting.length > 0 ? admitting : rules).map(
    ({ network, crypto }) => (network === 'yes' ? 1 : 0) + (crypto === 'yes' ? 1 : 0),
  );
  const best = Math.max(...counts);
  return best === 2 ? '2 of 2' : best === 1 ? '1 of 2' : '0 of 2';
}

/** Of many rules those that something speaks for, in their order, then others. */
function shownRules(rules: readonly RuleRecord[]): Pick<FactorsRecord, 'rules' | 'rules_left_out'> {
  if (rules.length <= RULES_SHOWN_MAX) return { rules };
  const weight = ({ network, crypto }: RuleRecord): number => (network === 'yes' ? 2 : 0) + (crypto === 'yes' ? 1 : 0);
  const first = new Set([...rules].sort((a, b) => weight(b) - weight(a)).slice(0, RULES_SHOWN_MAX));
  return { rules: rules.filter((rule) => first.has(rule)), rules_left_out: rules.length - RULES_SHOWN_MAX };
}

function cryptoName(crypto: Crypto): CryptoName {
  return typeof crypto === 'object' ? 'account' : crypto;
}

function endsOf(record: SeenFlow['record']) {
  const { source_labels: _, dest_labels: __, action: ___, reason: ____, direction: _____, ...rest } = record;
  const { egress: _a, ingress: _b, forward: _c, untracked: _d, prednat: _e, pending: _f, inner: _g, ...ends } = rest;
  return ends;
}

function tlsPart({ tls }: SeenFlow): Pick<FactorsRecord, 'tls'> {
  if (tls === undefined || tls.transport !== 'tls') return {};
  return {
    tls: {
      ...(tls.version === undefined ? {} : { version: tls.version }),
      ...(tls.serverName === '' ? {} : { server_name: tls.serverName }),
      ...(tls.alpn.length === 0 ? {} : { alpn: tls.alpn }),
      ...(tls.isResumed ? { resumed: true as const } : {}),
      ...(tls.mayAuthenticateLater && tls.clientCertificates?.length === 0
        ? { may_authenticate_later: true as const }
        : {}),
      ...(tls.alert === undefined ? {} : { alert: tls.alert }),
    },
  };
}

function timeText(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return formatTime(seconds, Math.round((ms - seconds * 1000) * 1000) * 1000);
}

function commonGaps(
  { keys, logProblems = [] }: FactorsInput,
  ambiguous: ReadonlyMap<PeerStatement, readonly SeenFlow[]>,
  dropped: number,
  maker: RecordMaker,
): Gap[] {
  const gaps: Gap[] = [];
  for (const { place, message } of keys.problems) gaps.push({ name: 'unreadable-line', detail: message, place });
  if (keys.moreProblems > 0) {
    gaps.push({
      name: 'unreadable-line',
      detail: `${keys.moreProblems} more lines of key logs are none`,
      place: 'key logs',
    });
  }
  for (const { place, message } of logProblems) gaps.push({ name: 'unreadable-line', detail: message, place });
  for (const [{ place }, flows] of ambiguous) {
    const which = flows.slice(0, 3).map(({ firstPacket }) => maker.place(firstPacket));
    const detail = `the line fits ${flows.length} connections (${which.join('; ')}), so it says nothing about any`;
    gaps.push({ name: 'ambiguous-log-line', detail, place });
  }
  if (dropped > 0) {
    const detail = `${dropped} flows beyond the first ${FLOWS_KEPT_MAX} are counted and not answered for`;
    gaps.push({ name: 'too-many-flows', detail, place: 'captures' });
  }
  return gaps;
}
