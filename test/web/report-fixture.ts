/** A made-up report with as many connections as asked for, findings and hostile names among them. */

import type {
  ObservedColumn,
  Predicted,
  ReportCell,
  ReportConnection,
  ReportData,
  ReportEnd,
} from '../../src/analyze/report-data.ts';
import { HOSTILE, LONG, START_MS } from './fixtures.ts';

const PREDICTED: readonly Predicted[] = ['allow', 'deny', 'unpoliced', 'uncertain'];
const OBSERVED: readonly ObservedColumn[] = ['delivered', 'refused', 'unanswered', 'unknown'];
const OUTCOMES: Readonly<Record<ObservedColumn, string>> = {
  delivered: 'established',
  refused: 'refused',
  unanswered: 'no-answer',
  unknown: 'midstream',
};
const ACCOUNTS = ['shop/web', 'shop/cart', 'shop/checkout', 'data/orders-db', 'data/cache'] as const;
const STEPS = 120;
const STEP_MS = 500;

export function reportData(connectionCount: number): ReportData {
  const connections = Array.from({ length: connectionCount }, (_, id) => connectionOf(id));
  const findings = connections.filter(({ finding }) => finding !== undefined);
  const series = (scale: number): number[] =>
    Array.from({ length: STEPS }, (_, step) => Math.max(0, Math.round(scale * (1 + Math.sin(step / 9)) - (step % 5))));
  return {
    version: 1,
    generated_at: '2026-03-04T10:05:00Z',
    margay: '0.1.0',
    inputs: {
      manifests: ['cluster/', 'policies/'],
      captures: [
        { file: 'sent.pcapng', point: 'sent', packets: 48_210, lost: 0, error: null },
        {
          file: `${HOSTILE}.pcapng`,
          point: 'node node-2',
          packets: 47_990,
          lost: 12,
          clock_offset_ms: -3.25,
          error: 'cut off after 47990 packets',
        },
      ],
    },
    totals: {
      packets: 96_200,
      bytes: 61_400_000,
      allow: 41_000,
      deny: 812,
      unpoliced: 5_100,
      uncertain: 40,
      undecoded: 118,
      seen_again: 49_130,
      connections: connectionCount,
      leaks: findings.filter(({ finding }) => finding === 'leak').length,
      blocked: findings.filter(({ finding }) => finding === 'blocked').length,
      start_time: new Date(START_MS).toISOString(),
      end_time: new Date(START_MS + STEPS * STEP_MS).toISOString(),
    },
    incomplete: ['12 packets were lost while node node-2 was captured: what was not seen there may have arrived.'],
    timeline: {
      start_ms: START_MS,
      step_ms: STEP_MS,
      allow: series(300),
      deny: series(4),
      unpoliced: series(40),
      uncertain: series(0.4),
      undecoded: series(1),
      leaks: Array.from({ length: STEPS }, (_, step) => (step % 37 === 12 ? 1 : 0)),
      blocked: Array.from({ length: STEPS }, (_, step) => (step % 53 === 30 ? 1 : 0)),
    },
    matrix: matrixOf(connections),
    graph: {
      nodes: [
        ...ACCOUNTS.map((id) => {
          const [namespace = '', name = ''] = id.split('/');
          return { id, kind: 'account' as const, namespace, name, connections: 10 };
        }),
        { id: 'net', kind: 'outside', namespace: '', name: 'outside', connections: 7 },
      ],
      edges: [
        edge('net', 'shop/web', { allow: 40, unpoliced: 2 }),
        edge('shop/web', 'shop/cart', { allow: 31 }),
        edge('shop/web', 'shop/checkout', { allow: 22, blocked: 3 }),
        edge('shop/cart', 'data/cache', { allow: 90 }),
        edge('shop/cart', 'data/orders-db', { deny: 12, leaks: 4 }),
        edge('shop/checkout', 'data/orders-db', { allow: 18, uncertain: 1 }),
      ],
      left_out: { nodes: 0, edges: 0 },
    },
    findings: { items: findings.slice(0, 60), left_out: Math.max(0, findings.length - 60) },
    connections: { items: connections, left_out: 17 },
  };
}

function edge(from: string, to: string, counts: Partial<Record<string, number>>): ReportData['graph']['edges'][number] {
  const { allow = 0, deny = 0, unpoliced = 0, uncertain = 0, leaks = 0, blocked = 0 } = counts;
  return { from, to, allow, deny, unpoliced, uncertain, leaks, blocked, services: ['tcp/8080', 'tcp/5432'] };
}

/** Every eleventh is a finding, the fourth has a hostile name. */
function connectionOf(id: number): ReportConnection {
  const isLeak = id % 22 === 3;
  const isBlocked = id % 22 === 14;
  const predicted = isLeak ? 'deny' : isBlocked ? 'allow' : PREDICTED[id % 9 === 0 ? 1 : id % 31 === 0 ? 3 : 0]!;
  const observed = isLeak ? 'delivered' : isBlocked || predicted === 'deny' ? 'unanswered' : 'delivered';
  const isDeny = predicted === 'deny';
  return {
    id,
    start_time: new Date(START_MS + id * 11).toISOString(),
    end_time: new Date(START_MS + id * 11 + 900).toISOString(),
    proto: 'tcp',
    source: { ...endOf(id % 5, id), port: 40_000 + (id % 20_000) },
    dest: { ...endOf((id + 1 + (id % 3)) % 5, id), port: [5432, 8080, 6379, 443][id % 4]! },
    predicted,
    ...(isDeny ? { reason: 'end-of-tier' } : {}),
    direction: 'ingress',
    rule: 'policies/orders-db.yaml:4',
    traces: [
      { check: 'egress', trace: ['0|__PROFILE__|pro:kns.shop|allow|0'] },
      {
        check: 'ingress',
        trace: isDeny ? ['0|default|np:data/default.orders-db|deny|-1'] : ['0|default|np:shop/default.web|allow|1'],
      },
    ],
    observed,
    outcome: OUTCOMES[observed],
    ...(isLeak
      ? { finding: 'leak', certainty: 'proven' }
      : isBlocked
        ? { finding: 'blocked', certainty: 'possible' }
        : {}),
    causes: isLeak
      ? [{ cause: 'established-before', text: 'The connection is older than the policy, and established ones go on.' }]
      : [],
    text: isLeak
      ? 'Denied by np:data/default.orders-db, and yet the handshake was completed and data acknowledged.'
      : `Predicted ${predicted}, observed ${observed}.`,
    ...(isLeak
      ? {
          explanation: [
            'ingress of data/orders-db-1',
            '  tier default',
            '    np:data/default.orders-db: end of tier, deny',
          ],
        }
      : {}),
    packets: 5 + (id % 40),
    bytes: 400 + id * 13,
    evidence: [
      { capture: 0, packet: 100 + id, what: 'SYN' },
      { capture: 1, packet: 101 + id, what: 'SYN-ACK' },
    ],
  };
}

function endOf(index: number, id: number): ReportEnd {
  const [namespace = '', account = ''] = ACCOUNTS[index]!.split('/');
  const name = id === 3 ? HOSTILE + LONG : `${account}-${id % 7}`;
  return {
    ip: `10.0.${index}.${id % 200}`,
    type: 'wep',
    namespace,
    name,
    service_account: id === 3 ? HOSTILE : account,
    labels: { app: id === 3 ? '</script><script>window.wasFooled=true</script>' : account },
  };
}

function matrixOf(connections: readonly ReportConnection[]): ReportCell[] {
  return PREDICTED.flatMap((predicted) =>
    OBSERVED.map((observed) => {
      const own = connections.filter((each) => each.predicted === predicted && each.observed === observed);
      return {
        predicted,
        observed,
        connections: own.length,
        packets: own.reduce((sum, { packets }) => sum + packets, 0),
        findings: own.filter(({ finding }) => finding !== undefined).length,
      };
    }),
  );
}
