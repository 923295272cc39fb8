import { describe, expect, test } from 'vitest';
import type { ApiRecord, FlowEntry, RateStep } from '../../src/agent/api.ts';
import { appended, type FlowList, fresh, updated } from '../../src/web/page/flow-rows.ts';
import { formatHash, parseHash, withParameters } from '../../src/web/page/hash.ts';
import { columnsOf, mergeSteps, recentRate, sparkline } from '../../src/web/page/rate-columns.ts';
import { EventParser } from '../../src/web/page/sse.ts';
import { filterConnections, NO_FILTER, searchTexts } from '../../src/web/report/filter.ts';
import * as format from '../../src/web/shared/format.ts';
import {
  formatService,
  joinAddress,
  parseTrace,
  viewDecision,
  viewEnd,
  viewPending,
} from '../../src/web/shared/record.ts';
import { FLOWS, HOSTILE_FLOW } from './fixtures.ts';
import { reportData } from './report-fixture.ts';

describe('numbers and times', () => {
  test.each([
    [0, '0'],
    [999, '999'],
    [1_234_567, '1\u202f234\u202f567'],
  ])('count %d', (value, text) => expect(format.formatCount(value)).toBe(text));

  test.each([
    [0, '0'],
    [0.333, '0.333'],
    [999, '999'],
    [999.6, '1.00k'],
    [12_345, '12.3k'],
    [4_010_000, '4.01M'],
  ])('short %d', (value, text) => expect(format.formatShort(value)).toBe(text));

  test('a share that is not zero never reads as zero', () => {
    expect(format.formatShare(1, 1_000_000)).toBe('<0.1\u00a0%');
    expect(format.formatShare(0, 10)).toBe('0.0\u00a0%');
    expect(format.formatShare(10, 10)).toBe('100\u00a0%');
    expect(format.formatShare(0, 0)).toBe('–');
  });

  test.each([
    [14, '14 ms'],
    [3_000, '3 s'],
    [125_000, '2 min 5 s'],
    [3_600_000, '1 h'],
    [90_000_000, '1 d 1 h'],
    [-5, '0 ms'],
  ])('span %d', (spanMs, text) => expect(format.formatSpan(spanMs).replaceAll('\u00a0', ' ')).toBe(text));

  test('times that are none stay as they are', () => {
    expect(format.formatClock('2026-01-02T03:04:05.678901Z')).toBe('03:04:05');
    expect(format.formatPreciseClock('2026-01-02T03:04:05.678901Z')).toBe('03:04:05.678');
    expect(format.formatDate('<b>')).toBe('<b>');
  });
});

describe('the address of a view', () => {
  test('is read back as it was written', () => {
    const place = {
      view: 'connections',
      parameters: { verdict: 'deny', account: 'prod/web', text: 'a=b&c #1' },
    } as const;
    expect(parseHash(formatHash(place))).toEqual(place);
  });

  test('may be anything', () => {
    expect(parseHash('')).toEqual({ view: 'overview', parameters: {} });
    expect(parseHash('#/nowhere?evil=1&port=80&text=')).toEqual({ view: 'overview', parameters: { port: '80' } });
    expect(parseHash('#main').view).toBe('overview');
    expect(parseHash(`#/graph?text=${'x'.repeat(5_000)}`).parameters.text).toHaveLength(300);
  });

  test('changes parameter by parameter', () => {
    const place = parseHash('#/connections?verdict=deny&port=80');
    expect(formatHash(withParameters(place, { port: undefined, flow: '7' }))).toBe('#/connections?verdict=deny&flow=7');
  });
});

describe('server-sent events', () => {
  const stream =
    'retry: 2000\n\nevent: status\ndata: {"a":1}\n\n: comment\r\nevent: rates\r\ndata: x\r\ndata: y\r\n\r\ndata\n\n';
  const expected = [
    { name: 'status', data: '{"a":1}' },
    { name: 'rates', data: 'x\ny' },
    { name: 'message', data: '' },
  ];

  test.each([1, 2, 3, 7, 1_000])('in pieces of %d', (size) => {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < stream.length; at += size) events.push(...parser.push(stream.slice(at, at + size)));
    expect(events).toEqual(expected);
  });

  test('an event without its end waits', () => {
    const parser = new EventParser();
    expect(parser.push('data: 1\n')).toEqual([]);
    expect(parser.push('\n')).toEqual([{ name: 'message', data: '1' }]);
  });
});

describe('rates', () => {
  const step = (time: number, allow: number): RateStep => ({
    time,
    allow,
    deny: 0,
    unpoliced: 0,
    uncertain: 0,
    undecoded: 0,
    lost: 0,
  });

  test('a newer word replaces the older, ten minutes stay', () => {
    const known = Array.from({ length: 600 }, (_, index) => step(1_000 + index, 1));
    const merged = mergeSteps(known, [step(1_599, 5), step(1_600, 6)]);
    expect(merged).toHaveLength(600);
    expect(merged[0]?.time).toBe(1_001);
    expect(merged.slice(-2).map(({ allow }) => allow)).toEqual([5, 6]);
  });

  test('a second that nobody told of is a hole, not a zero', () => {
    const { times, counts } = columnsOf([step(10, 1), step(12, 3)], 600);
    expect(times).toEqual([10, 11, 12]);
    expect(counts.allow).toEqual([1, null, 3]);
    expect(columnsOf([step(10, 1), step(12, 3)], 2).times).toEqual([11, 12]);
    expect(columnsOf([], 10).times).toEqual([]);
  });

  test('means and small lines', () => {
    expect(recentRate([step(1, 100), step(2, 2), step(3, 4)], 'allow', 2)).toBe(3);
    expect(recentRate([], 'allow', 2)).toBe(0);
    expect(sparkline([0, 0], 10, 10, 2)).toBe('');
    expect(sparkline([0, 4], 10, 12, 2)).toBe('0.0,11.0 10.0,1.0');
  });
});

describe('rows that are held', () => {
  const rows = FLOWS.slice(0, 3);
  const page = (flows: readonly FlowEntry[], next?: string) => ({
    flows,
    matched: flows.length,
    kept: 60,
    ...(next === undefined ? {} : { next }),
  });

  test('keep their places, take new contents, and count what is newer', () => {
    const held: FlowList = fresh(page(rows, '5'));
    const closed = { ...rows[1]!, isOpen: !rows[1]!.isOpen };
    const next = updated(held, page([FLOWS[9]!, closed, rows[0]!]));
    expect(next.rows).toEqual([rows[0], closed, rows[2]]);
    expect(next.newerCount).toBe(1);
    expect(next.next).toBe('5');
  });

  test('grow at the end, each once', () => {
    const next = appended(fresh(page(rows, '5')), page([rows[2]!, FLOWS[4]!]));
    expect(next.rows).toEqual([...rows, FLOWS[4]]);
    expect(next.next).toBeUndefined();
  });
});

describe('records', () => {
  const record = FLOWS[5]!.record;

  test('ends are named by account, then pod, then address', () => {
    expect(viewEnd(record, 'src')).toMatchObject({
      title: 'shop/web',
      namespace: 'shop/',
      name: 'web',
      kind: 'account',
    });
    expect(viewEnd(FLOWS[0]!.record, 'src')).toMatchObject({ title: '203.0.113.7', kind: 'outside' });
    const { source_service_account: _, ...withoutAccount } = record;
    expect(viewEnd(withoutAccount as ApiRecord, 'src')).toMatchObject({ kind: 'pod', name: record.source_name });
  });

  test('services and addresses', () => {
    expect(formatService(record)).toBe('tcp/5432');
    expect(formatService({ ...record, proto: 'icmp', icmp_type: 8 })).toBe('icmp 8/0');
    expect(joinAddress('fd00::1', 80)).toBe('[fd00::1]:80');
    expect(joinAddress('10.0.0.1', undefined)).toBe('10.0.0.1');
  });

  test('lines of traces, of any text', () => {
    expect(parseTrace('0|default|np:a/b|deny|-1')).toEqual({
      tier: 'default',
      policy: 'np:a/b',
      action: 'deny',
      rule: -1,
    });
    expect(parseTrace('0|t|odd|name|deny|2')).toMatchObject({ policy: 'odd|name', action: 'deny', rule: 2 });
    expect(parseTrace('nonsense')).toBeUndefined();
    expect(parseTrace('0|a|b|c|x')).toBeUndefined();
  });

  test('what decided', () => {
    expect(viewDecision(record)).toEqual({
      policy: 'np:data/default.orders-db',
      detail: 'ingress · end of tier default',
    });
    const { ingress: _, direction: __, ...before } = record;
    expect(viewDecision({ ...(before as ApiRecord), direction: 'egress' })).toEqual({
      policy: 'profile kns.shop',
      detail: 'egress · no tier decided',
    });
    expect(viewDecision({ ...record, ingress: { action: 'allow', trace: [] }, reason: 'failsafe' }).policy).toBe(
      'failsafe',
    );
  });

  test('what staged policies would do, of any form', () => {
    expect(viewPending({ action: 'deny', egress: ['a', 7], odd: 3 })).toEqual({
      action: 'deny',
      traces: [{ check: 'egress', trace: ['a'] }],
    });
    for (const none of [undefined, null, 'deny', { egress: [] }, []]) expect(viewPending(none)).toBeUndefined();
  });

  test('hostile names come through as they are', () => {
    expect(viewEnd(HOSTILE_FLOW.record, 'src').name).toContain('<img');
  });
});

describe('filters of a report', () => {
  const { items } = reportData(200).connections;
  const texts = searchTexts(items);

  test('each alone and together', () => {
    expect(filterConnections(items, texts, NO_FILTER)).toHaveLength(200);
    const leaks = filterConnections(items, texts, { ...NO_FILTER, finding: 'leak' });
    expect(leaks.length).toBeGreaterThan(3);
    expect(leaks.every(({ predicted, observed }) => predicted === 'deny' && observed === 'delivered')).toBe(true);
    const words = filterConnections(items, texts, { ...NO_FILTER, text: 'SHOP/web  tcp/5432', predicted: 'allow' });
    expect(words.length).toBeGreaterThan(0);
    expect(words.length).toBeLessThan(200);
    for (const { dest, predicted } of words) expect([dest.port, predicted]).toEqual([5432, 'allow']);
    expect(filterConnections(items, texts, { ...NO_FILTER, text: 'no such thing' })).toEqual([]);
  });
});
