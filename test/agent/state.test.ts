/** What the agent keeps to show: connections, graph, hits, rates, log lines. */
import { describe, expect, test } from 'vitest';
import { NO_ACCOUNTING } from '../../src/agent/agent.ts';
import { AgentState } from '../../src/agent/agent-state.ts';
import type { Accounting } from '../../src/agent/api.ts';
import { boardOf, HitBoard, StepNames } from '../../src/agent/board.ts';
import { resolveConfig } from '../../src/agent/config.ts';
import { FlowDeltas, FlowStore } from '../../src/agent/flow-store.ts';
import { Graph } from '../../src/agent/graph.ts';
import { createLog, type LogFields } from '../../src/agent/log.ts';
import { AgentMetrics, type MetricsView } from '../../src/agent/metrics.ts';
import { Rates } from '../../src/agent/rates.ts';
import { packPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import * as layout from '../../src/tables/layout.ts';
import { openTables } from '../../src/tables/tables.ts';
import { update } from './records.ts';

describe('connections', () => {
  function filled(count: number, capacity = 100): FlowStore {
    const store = new FlowStore(capacity);
    for (let i = 0; i < count; i++) store.take(update(`f${i}`, { source_port: 40_000 + i }));
    return store;
  }

  test('pages go from the newest to the oldest; nothing is shown twice when more come meanwhile', () => {
    const store = filled(25);
    const ids: string[] = [];
    let before = Number.POSITIVE_INFINITY;
    for (let page = 0; page < 3; page++) {
      const { flows, next, matched, kept } = store.page({}, 10, before);
      ids.push(...flows.map(({ id }) => id));
      expect(matched).toBe(25 + page);
      expect(kept).toBe(25 + page);
      expect(next === undefined).toBe(page === 2);
      before = Number(next);
      store.take(update(`late${page}`));
    }
    expect(ids).toEqual(Array.from({ length: 25 }, (_, i) => `f${24 - i}`));
  });

  test('the oldest go; an update keeps its place and its finding', () => {
    const store = filled(12, 10);
    expect(store.size).toBe(10);
    expect(store.get('f1')).toBeUndefined();
    store.mark('f5', 'leak');
    store.take(update('f5', { packets: 99 }, { isOpen: false }));
    expect(store.get('f5')).toMatchObject({ isOpen: false, finding: 'leak', record: { packets: 99 } });
    expect(store.page({}, 100, Number.POSITIVE_INFINITY).flows.map(({ id }) => id)[6]).toBe('f5');
  });

  test.each([
    [{ verdict: 'deny' }, 3],
    [{ verdict: 'leak' }, 1],
    [{ verdict: 'allow' }, 1],
    [{ namespace: 'prod' }, 1],
    [{ account: 'db' }, 3],
    [{ account: 'shop/db' }, 2],
    [{ account: 'prod/db' }, 1],
    [{ port: 5432 }, 3],
    [{ port: 40_000 }, 3],
    [{ text: 'WEB-0' }, 3],
    [{ text: 'np:shop/db' }, 4],
    [{ text: 'app=db' }, 4],
    [{ text: '<img onerror' }, 1],
    [{ text: 'nothing of the kind' }, 0],
    [{ verdict: 'deny', port: 443 }, 1],
  ])('a filter %j', (filter, count) => {
    const store = new FlowStore(100);
    store.take(update('a'));
    store.take(update('b', { dest_port: 443, source_port: 1, dest_service_account: 'api' }, { finding: 'leak' }));
    store.take(update('c', { action: 'allow', source_labels: { x: '<img onerror=alert(1)>' } }));
    store.take(update('d', { source_namespace: 'prod', dest_namespace: 'prod', source_name: 'w-0' }));
    expect(store.page(filter, 100, Number.POSITIVE_INFINITY).matched).toBe(count);
  });

  test('what a flow has added since it was last told of', () => {
    const deltas = new FlowDeltas();
    expect(deltas.of(update('a', { packets: 3, bytes: 100 }))).toMatchObject({ isNew: true, packets: 3, bytes: 100 });
    const second = deltas.of(update('a', { packets: 5, bytes: 150 }, { finding: 'leak' }));
    expect(second).toMatchObject({ isNew: false, packets: 2, bytes: 50, finding: 'leak' });
    const last = deltas.of(update('a', { packets: 6, bytes: 160 }, { finding: 'leak', isOpen: false }));
    expect(last).toMatchObject({ isClosed: true, packets: 1, bytes: 10, finding: undefined });
    expect(deltas.size).toBe(0);
  });
});

test('the graph adds connections up by account, and stays bounded', () => {
  const graph = new Graph();
  const deltas = new FlowDeltas();
  graph.setPods([['shop/web', 3]]);
  graph.add(deltas.of(update('a', { bytes: 100 })));
  graph.add(deltas.of(update('a', { bytes: 150 }, { finding: 'leak' })));
  graph.add(deltas.of(update('b', { action: 'allow', dest_port: 443, bytes: 10 })));
  graph.add(deltas.of(update('d', { action: 'unpoliced', dest_port: 443, bytes: 1 })));
  graph.add(deltas.of(update('c', { action: 'uncertain', source_type: 'net', bytes: 1 })));
  const { nodes, edges } = graph.graph();
  expect(nodes).toEqual([
    { id: 'net:outside', kind: 'outside', pods: 0 },
    { id: 'shop/db', kind: 'account', pods: 0 },
    { id: 'shop/web', kind: 'account', pods: 3 },
  ]);
  expect(edges).toEqual([
    {
      from: 'shop/web',
      to: 'shop/db',
      allowed: 1,
      denied: 1,
      leaking: 1,
      blocked: 0,
      unpoliced: 1,
      uncertain: 0,
      bytes: 161,
      ports: ['tcp/443', 'tcp/5432'],
    },
    {
      from: 'net:outside',
      to: 'shop/db',
      allowed: 0,
      denied: 0,
      leaking: 0,
      blocked: 0,
      unpoliced: 0,
      uncertain: 1,
      bytes: 1,
      ports: ['tcp/5432'],
    },
  ]);
  for (let i = 0; i < 5_000; i++) graph.add(deltas.of(update(`x${i}`, { source_service_account: `a${i}` })));
  expect(graph.graph().edges.length).toBe(2_000);
});

test('rates are differences, a second a step, for ten minutes', () => {
  const rates = new Rates();
  const at = (allow: number, lost = 0): Accounting => ({ ...NO_ACCOUNTING, allow, lost });
  rates.sample(at(10), 100.2);
  expect(rates.sample(at(25, 3), 101.2)).toMatchObject({ time: 101, allow: 15, lost: 3, deny: 0 });
  // A clock that is put back: steps stay in order.
  rates.sample(at(26), 50);
  expect(rates.series().steps.map(({ time }) => time)).toEqual([50]);
  for (let i = 0; i < 700; i++) rates.sample(at(26 + i), 51 + i);
  expect(rates.series().steps).toHaveLength(600);
});

describe('hits', () => {
  const YAML = (action: string, comment = '') => `
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, labels: {app: db}}
spec: {nodeName: n1, containers: [{name: c, image: x}]}
status: {phase: Running, podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  selector: app == "db"
  ingress:
  ${comment}
  - {action: ${action}, protocol: TCP, destination: {ports: [80]}}
`;

  function generation(text: string) {
    const { resources, errors } = loadResources([{ name: 'a.yaml', text }]);
    expect(errors).toEqual([]);
    const plan = planCluster(resources);
    const tables = openTables(packPlan(plan));
    const steps = Array.from({ length: tables.counts[layout.SECTION_STEPS]! }, (_, step) => step);
    return { tables, board: boardOf(plan), steps };
  }

  function hitsOf(board: HitBoard): number[] {
    const policy = board
      .board()
      .tiers.flatMap(({ policies }) => policies)
      .find(({ name }) => name === 'np:shop/db');
    return policy!.rules.map(({ packets }) => packets);
  }

  test('go to the rule that decided, and stay until its policy is another', () => {
    const board = new HitBoard();
    const steps = new StepNames();
    const first = generation(YAML('Allow'));
    board.take(1, first.tables, first.board);
    steps.take(1, first.tables);
    const names = new Map(
      first.steps.map((step) => {
        const { policy, direction, index } = steps.of(1, step)!;
        return [`${policy} ${direction} ${index}`, step];
      }),
    );
    const rule = names.get('np:shop/db ingress 0')!;
    const end = names.get('np:shop/db ingress -1')!;
    board.add({
      generation: 1,
      hits: [
        { rule, packets: 5, bytes: 500 },
        { rule: end, packets: 2, bytes: 100 },
      ],
    });
    expect(hitsOf(board)).toEqual([5, 2]);
    // A comment moves lines and changes no rule.
    const second = generation(YAML('Allow', '# a comment'));
    board.take(2, second.tables, second.board);
    expect(hitsOf(board)).toEqual([5, 2]);
    // A report that comes late still belongs to its own generation.
    board.add({ generation: 1, hits: [{ rule, packets: 1, bytes: 1 }] });
    expect(hitsOf(board)).toEqual([6, 2]);
    const third = generation(YAML('Deny'));
    board.take(3, third.tables, third.board);
    expect(hitsOf(board)).toEqual([0, 0]);
    // Of a generation that nobody knows, and of a step that is none.
    board.add({ generation: 99, hits: [{ rule, packets: 1, bytes: 1 }] });
    board.add({ generation: 3, hits: [{ rule: 1e6, packets: 1, bytes: 1 }] });
    expect(hitsOf(board)).toEqual([0, 0]);
    expect([steps.of(99, 1), steps.of(1, -1), steps.of(1, 1e6)]).toEqual([undefined, undefined, undefined]);
  });
});

describe('the log', () => {
  function lines(level: 'info' | 'warn' = 'info', isPretty = false) {
    const texts: string[] = [];
    let nowMs = 0;
    const log = createLog({
      level,
      isPretty,
      hasColor: false,
      sink: { write: (text) => texts.push(text) },
      now: () => nowMs,
    });
    return {
      log: (message: string, fields?: LogFields) => log.log('info', message, fields),
      parsed: () => texts.map((text) => JSON.parse(text) as Record<string, unknown>),
      texts,
      later: (ms: number) => {
        nowMs += ms;
      },
    };
  }

  test('is lines of JSON, with control characters of others as escapes', () => {
    const { log, texts, parsed } = lines();
    log('hello', { name: 'a\u001b[2J\nb\u202ec', deep: { list: ['\r'] } });
    expect(texts[0]!.split('\n')).toHaveLength(2);
    expect(parsed()[0]).toMatchObject({
      level: 'info',
      msg: 'hello',
      name: 'a\\u{1b}[2J\\nb\\u{202e}c',
      deep: { list: ['\\r'] },
    });
    expect(texts[0]).not.toMatch(/[\u202e]/);
  });

  test('holds back what comes again and again, and says how much was left out', () => {
    const { log, parsed, later } = lines();
    for (let i = 0; i < 100; i++) log('flood', { i });
    log('something else');
    expect(parsed()).toHaveLength(11);
    later(1_000);
    log('flood');
    expect(parsed().at(-1)).toMatchObject({ msg: 'flood', suppressed: 90 });
  });

  test('leaves out what is below its level, and is for people on a terminal', () => {
    const quiet = lines('warn');
    quiet.log('hello');
    expect(quiet.texts).toEqual([]);
    const pretty = lines('info', true);
    pretty.log('hello', { url: 'http://x', count: 3 });
    expect(pretty.texts[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} INFO {2}hello {2}url=http:\/\/x {2}count=3\n$/);
  });
});

describe('metrics', () => {
  const STATE: MetricsView = {
    version: '1.2.3',
    accounting: () => ({
      ...NO_ACCOUNTING,
      seen: 10,
      judged: 6,
      duplicate: 1,
      undecoded: 2,
      lost: 1,
      bytes: 600,
      droppedByKernel: 4,
      isKernelDropEstimated: true,
      lostByReason: { ring: 1 },
      undecodedByReason: { arp: 1, malformed: 1 },
    }),
    sources: () => [{ name: 'cap:any', state: 'running', restarts: 2, seen: 10 }],
    flows: () => ({ active: 3, evicted: 4 }),
    flowLog: () => ({ dropped: 5, lines: 6 }),
    logDropped: () => 0,
    policy: () => ({ name: 'p', isInSync: true, isRefused: false }),
    identity: () => ({ name: 'i', revision: 8, lag: 0, ageMs: 1_500, resyncs: { start: 1, gap: 2 } }),
    isStale: () => true,
    isReady: () => false,
    generation: () => undefined,
    eventLoopLagSeconds: () => 0.02,
  };

  test('have the names and labels that are documented, and none by address, pod or port', async () => {
    const metrics = new AgentMetrics(STATE, 'account');
    metrics.step({ policy: 'np:a/b', direction: 'ingress', index: 0, action: 'deny', reason: 'rule' }, 7);
    metrics.other(2 * 19 + 0, 3);
    metrics.finding('leak');
    const deltas = new FlowDeltas();
    for (let i = 0; i < 700; i++) metrics.flow(deltas.of(update(`f${i}`, { source_service_account: `a${i}` })));
    const text = await metrics.text();
    for (const line of [
      'margay_capture_packets_total{source="cap:any"} 10',
      'margay_capture_lost_packets_total{where="ring"} 1',
      'margay_capture_lost_packets_total{where="child_crash"} 0',
      'margay_capture_lost_packets_total{where="kernel_estimate"} 4',
      'margay_packets_skipped_total{reason="duplicate"} 1',
      'margay_packets_skipped_total{reason="arp"} 1',
      'margay_packet_errors_total{reason="malformed"} 1',
      'margay_packet_errors_total{reason="truncated"} 0',
      'margay_verdicts_total{action="deny",direction="ingress",reason="rule"} 7',
      'margay_identity_revision 8',
      'margay_identity_lag_seconds 1.5',
      'margay_identity_stale 1',
      'margay_identity_resyncs_total{cause="gap"} 2',
      'margay_resyncs_started_total 3',
      'margay_resync_state 1',
      'margay_flows_active 3',
      'margay_flows_evicted_total{cause="table_full"} 4',
      'margay_flowlog_dropped_total 5',
      'margay_event_loop_lag_seconds 0.02',
      'margay_child_restarts_total 2',
      'margay_findings_total{kind="leak"} 1',
      `margay_build_info{version="1.2.3",node_version="${process.versions.node}"} 1`,
    ]) {
      expect(text).toContain(`${line}\n`);
    }
    const series = text.split('\n').filter((line) => line.startsWith('margay_flows_total{'));
    expect(series).toHaveLength(501);
    expect(series.some((line) => line.includes('source="other"') && line.endsWith(' 200'))).toBe(true);
    expect(text).not.toMatch(/10\.0\.0\.1|web-0|5432/);
    // A second scrape says the same: what is copied is not added.
    expect(await metrics.text()).toContain('margay_capture_packets_total{source="cap:any"} 10\n');
  });
});

describe('banners and readiness', () => {
  const { config } = resolveConfig({
    flags: { filename: ['p'], redis: 'redis://h', identityStaleAfter: 1, identityDeadAfter: 2 },
    env: {},
    file: undefined,
  });
  const GENERATION = { number: 3 } as Parameters<AgentState['published']>[0];

  function state() {
    const engine = { lost: 0, evicted: 0, source: 'running' as 'running' | 'restarting' | 'failed' };
    const made = new AgentState(config, '1', {
      accounting: () => ({ ...NO_ACCOUNTING, lost: engine.lost, lostByReason: { ring: engine.lost } }),
      sources: () => [
        { name: 'cap:any', state: engine.source, restarts: 0, seen: 0, trouble: 'the interface went away' },
      ],
      flows: () => ({ active: 0, evicted: engine.evicted }),
      lagMs: () => 0,
    });
    made.policyChanged({ name: 'p', isInSync: true, isRefused: false });
    made.identityChanged({ name: 'i', revision: 1, lag: 0, ageMs: 0, resyncs: {} });
    return { made, engine };
  }

  const kinds = (made: AgentState): string[] => made.readiness().reasons.map(({ kind }) => kind);
  const banners = (made: AgentState): string[] => made.banners.list().map(({ kind }) => kind);

  test('say what is wrong, and no longer when it is over', () => {
    const { made, engine } = state();
    expect(kinds(made)).toEqual(['no-policy']);
    made.published(GENERATION);
    expect(made.readiness()).toEqual({ isReady: true, reasons: [] });
    made.policyChanged({ name: 'p', isInSync: false, isRefused: true, trouble: 'a.yaml:3: broken' });
    expect([kinds(made), banners(made)]).toEqual([['stale-policy'], ['stale-policy']]);
    expect(made.banners.list()[0]!.text).toContain('generation 3 stays in use: a.yaml:3: broken');
    made.policyChanged({ name: 'p', isInSync: true, isRefused: false });
    made.identityChanged({ name: 'i', revision: 1, lag: 0, ageMs: 1_600, resyncs: {}, trouble: 'Redis is away' });
    made.tick();
    // Stale is a banner; dead is not ready.
    expect([kinds(made), banners(made)]).toEqual([[], ['stale-identity']]);
    made.identityChanged({ name: 'i', revision: 1, lag: 0, ageMs: 5_000, resyncs: {}, trouble: 'Redis is away' });
    expect(kinds(made)).toEqual(['stale-identity']);
    made.identityChanged({ name: 'i', revision: 1, lag: 0, ageMs: 0, resyncs: {} });
    engine.source = 'restarting';
    made.sourcesChanged(made.status().sources);
    engine.lost = 5;
    engine.evicted = 1;
    made.flowLogTrouble('the disk is full');
    made.tick();
    expect(banners(made).sort()).toEqual(['capture-down', 'evicted', 'flow-log', 'loss']);
    expect(made.banners.list().find(({ kind }) => kind === 'loss')!.text).toContain('5 ring');
    expect(kinds(made)).toEqual(['capture-down']);
    expect(made.health().isHealthy).toBe(true);
    engine.source = 'failed';
    expect(made.health()).toEqual({ isHealthy: false, reasons: ['cap:any: the interface went away'] });
  });
});
