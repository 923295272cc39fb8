/**
 * Packets without ports: later fragments on their own, and packets that the capture cut. Every rule that the missing port could
 * decide is tried; only if all agree there is a verdict, on the rows and on the folded tables alike.
 */
import { describe, expect, test } from 'vitest';
import { createConntrack } from '../../src/conntrack/table.ts';
import { judgeFolded } from '../../src/match/folded.ts';
import { decidingStep, judgeNewPacket, judgeTrackedPacket } from '../../src/match/judge.ts';
import { createJudge } from '../../src/match/state.ts';
import {
  REASON_FRAGMENT,
  REASON_NONE,
  REASON_RULE,
  REASON_TRUNCATED,
  VERDICT_ALLOW,
  VERDICT_DENY,
  VERDICT_UNCERTAIN,
  VERDICT_UNPOLICED,
} from '../../src/model/flow.ts';
import * as layout from '../../src/tables/layout.ts';
import type { Tables } from '../../src/tables/tables.ts';
import { packetBytes, tablesOf } from '../analyze/replay-packets.ts';
import { packet, type TestPacket } from '../conntrack/packets.ts';
import { CLUSTER, DB, DB6, HOST1, OUTSIDE, OUTSIDE6 } from '../rows/cluster.ts';
import { type Fields, globalPolicy, hostEndpoint, networkPolicy } from '../rows/objects.ts';

const UDP = 17;
const IPV4_HEADER_BYTES = 20;

function dbAllows(...ingress: readonly Fields[]): Tables {
  const policy = networkPolicy('app/p', {
    selector: 'app == "db"',
    types: ['Ingress'],
    ingress: ingress.map((rule) => ({ action: 'Allow', ...rule })),
  });
  return tablesOf([...CLUSTER, policy]);
}

/** Its IP header alone, the rest beyond the snap length. */
function cut(protocol = 6, dst = DB, src = OUTSIDE): TestPacket {
  return packet(
    packetBytes({ src, dst, protocol, payload: new Uint8Array(8) }),
    src.includes(':') ? 40 : IPV4_HEADER_BYTES,
  );
}

/** The second half of a datagram. */
function laterFragment(protocol = 6): TestPacket {
  const bytes = packetBytes({ src: OUTSIDE, dst: DB, protocol, payload: new Uint8Array(32) });
  new DataView(bytes.buffer, bytes.byteOffset).setUint16(6, 4);
  return packet(bytes);
}

function firstFragment(): TestPacket {
  const bytes = packetBytes({ src: OUTSIDE, dst: DB, payload: new Uint8Array(32) });
  new DataView(bytes.buffer, bytes.byteOffset).setUint16(6, 0x2000);
  return packet(bytes);
}

function judged(tables: Tables, { record }: TestPacket): readonly [verdict: number, reason: number, checks: number] {
  const judge = createJudge(tables);
  const verdict = judgeNewPacket(judge, record, 0);
  return [verdict, judge.reason, judge.checkCount];
}

const ports = (...list: readonly (number | string)[]): Fields => ({ destination: { ports: list } });
const sourcePorts = (...list: readonly (number | string)[]): Fields => ({ source: { ports: list } });
const tcp = (rest: Fields = {}): Fields => ({ protocol: 'TCP', ...rest });

describe('one packet without ports', () => {
  test('is certain where no rule of its protocol looks at them', () => {
    for (const subject of [cut(), laterFragment()]) {
      expect(judged(dbAllows(tcp()), subject)).toEqual([VERDICT_ALLOW, REASON_RULE, 1]);
      expect(judged(dbAllows({ protocol: 'UDP', ...ports(53) }), subject)[0]).toBe(VERDICT_DENY);
    }
    const udp = dbAllows(tcp(ports(80, '443:500')), tcp(sourcePorts(7)), { protocol: 'UDP' });
    expect(judged(udp, cut(UDP))[0]).toBe(VERDICT_ALLOW);
    expect(judged(udp, laterFragment(UDP))[0]).toBe(VERDICT_ALLOW);
  });

  test('is uncertain where a port of either end decides, and says what is missing', () => {
    for (const rule of [ports(80), ports(1), ports(65_535), ports('2:65535'), sourcePorts(7), sourcePorts('1:65534')]) {
      const tables = dbAllows(tcp(rule));
      expect(judged(tables, cut())).toEqual([VERDICT_UNCERTAIN, REASON_TRUNCATED, 1]);
      expect(judged(tables, laterFragment())).toEqual([VERDICT_UNCERTAIN, REASON_FRAGMENT, 1]);
      // Where the ports are there, they decide.
      expect(judged(tables, firstFragment())[0]).not.toBe(VERDICT_UNCERTAIN);
    }
  });

  test('is certain where ports choose the rule and not the answer', () => {
    for (const rule of [ports(80), sourcePorts(7), { ...ports(80), ...sourcePorts(7) }]) {
      expect(judged(dbAllows(tcp(rule), tcp()), cut())[0]).toBe(VERDICT_ALLOW);
      const denies = dbAllows({ action: 'Deny', ...tcp(rule) }, { protocol: 'UDP' });
      expect(judged(denies, laterFragment())[0]).toBe(VERDICT_DENY);
    }
  });

  test('of a combination of both ports, one that is enough for doubt is found', () => {
    const both = dbAllows(tcp({ ...ports(80), ...sourcePorts(7) }));
    expect(judged(both, cut())[0]).toBe(VERDICT_UNCERTAIN);
    expect(judged(both, cut(UDP))[0]).toBe(VERDICT_DENY);
  });

  test('on the way to a host may be for a failsafe port', () => {
    const world = [
      ...CLUSTER,
      hostEndpoint('h1', { host: 'n1' }, { node: 'n1', interfaceName: 'eth0', expectedIPs: [HOST1] }),
    ];
    expect(judged(tablesOf(world), cut(6, HOST1))).toEqual([VERDICT_UNCERTAIN, REASON_TRUNCATED, 1]);
    // No failsafe port is SCTP.
    expect(judged(tablesOf(world), cut(132, HOST1))[0]).toBe(VERDICT_DENY);
    const open = globalPolicy('p', { selector: 'host == "n1"', types: ['Ingress'], ingress: [{ action: 'Allow' }] });
    expect(judged(tablesOf([...world, open]), cut(6, HOST1))[0]).toBe(VERDICT_ALLOW);
  });

  test('is unpoliced where nothing polices its addresses', () => {
    expect(judged(tablesOf(CLUSTER), cut(6, '203.0.113.77'))).toEqual([VERDICT_UNPOLICED, REASON_NONE, 0]);
  });

  test('names no step as the one that decided, if it is uncertain', () => {
    const judge = createJudge(dbAllows(tcp(ports(80))));
    judgeNewPacket(judge, cut().record, 0);
    expect(decidingStep(judge)).toBe(layout.NONE);
    judgeNewPacket(judge, packet(packetBytes({ src: OUTSIDE, dst: DB })).record, 0);
    expect(decidingStep(judge)).toBeGreaterThanOrEqual(0);
  });
});

describe('over the folded tables', () => {
  test('fragments and packets without ports are left to the rows', () => {
    const tables = dbAllows(tcp(ports(80)), { protocol: 'ICMPv6' });
    for (const subject of [cut(), cut(6, DB6, OUTSIDE6), laterFragment(), firstFragment()]) {
      expect(judgeFolded(tables, subject.record, 0)).toBe(layout.NONE);
    }
    expect(judgeFolded(tables, packet(packetBytes({ src: OUTSIDE, dst: DB })).record, 0)).not.toBe(layout.NONE);
    // Protocols without ports lack nothing.
    expect(judgeFolded(tables, cut(47).record, 0)).not.toBe(layout.NONE);
  });
});

describe('connection tracking', () => {
  const tracked = (tables: Tables, { record, quoted, view }: TestPacket, quotedAt = -1): readonly [number, number] => {
    const judge = createJudge(tables);
    const verdict = judgeTrackedPacket(judge, createConntrack(), record, 0, view, 0, quoted, quotedAt);
    return [verdict, judge.reason];
  };

  test('of an ICMP header that was cut off is uncertain where a chain would ask for the state', () => {
    const closed = dbAllows();
    expect(tracked(closed, cut(1))).toEqual([VERDICT_UNCERTAIN, REASON_TRUNCATED]);
    expect(tracked(closed, cut(132))).toEqual([VERDICT_UNCERTAIN, REASON_TRUNCATED]);
    // A node without host endpoints has no chain for its own address, whatever the state.
    expect(tracked(closed, cut(1, HOST1))).toEqual([VERDICT_UNPOLICED, REASON_NONE]);
  });

  test('of an ICMP error whose quotation was cut off likewise', () => {
    const quote = packetBytes({ src: DB, dst: OUTSIDE });
    const bytes = packetBytes({ src: OUTSIDE, dst: DB, protocol: 1, icmpType: 3, icmpCode: 1, payload: quote });
    expect(tracked(dbAllows(), packet(bytes, IPV4_HEADER_BYTES + 8 + 10), 0)).toEqual([
      VERDICT_UNCERTAIN,
      REASON_TRUNCATED,
    ]);
    expect(tracked(dbAllows(), packet(bytes), 0)[0]).toBe(VERDICT_DENY);
  });
});
