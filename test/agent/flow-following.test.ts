/** Which connections the agent finds something about, as the packets of each come in. */
import { expect, test } from 'vitest';
import type { Finding } from '../../src/agent/api.ts';
import type { FlowUpdate } from '../../src/agent/engine.ts';
import { FlowFollowing } from '../../src/agent/flow-following.ts';
import { FlowDeltas, FlowStore } from '../../src/agent/flow-store.ts';
import type { FlowRecord } from '../../src/analyze/record.ts';
import { VERDICT_NAMES } from '../../src/model/flow.ts';
import { buildFrame } from '../../src/packets/synthetic.ts';
import { decodePacket } from '../../src/wire/decode.ts';
import { PACKET_WORDS } from '../../src/wire/record.ts';
import { address } from '../support/tcp-capture.ts';

const [WEB, DB] = ['10.0.0.1', '10.0.0.2'];
const [SYN, ACK, SYN_ACK, UDP] = [2, 16, 18, -1];
const ETHERNET = 1;

/** Seconds, who sends, TCP flags (or UDP), and what policy says of the packet. */
type Step = readonly [seconds: number, from: string, flags: number, verdict: 'allow' | 'deny'];

function follow(steps: readonly Step[]): { findings: Finding[]; updates: FlowUpdate[] } {
  const findings: Finding[] = [];
  const following = new FlowFollowing({
    entries: 64,
    idPrefix: '0.0',
    blockedAfterSeconds: 3,
    onFinding: (finding) => findings.push(finding),
    wasLossySince: () => false,
  });
  const updates: FlowUpdate[] = [];
  const records = new Int32Array(PACKET_WORDS);
  steps.forEach(([seconds, from, flags, verdict], number) => {
    const [to, isUdp] = [from === WEB ? DB : WEB, flags === UDP];
    const frame = buildFrame({
      src: address(from),
      dst: address(to),
      protocol: isUdp ? 17 : 6,
      srcPort: from === WEB ? 4000 : 80,
      dstPort: from === WEB ? 80 : 4000,
      ...(isUdp ? {} : { tcpFlags: flags }),
    });
    decodePacket(new DataView(frame.buffer, frame.byteOffset), 0, frame.length, frame.length, ETHERNET, records, 0);
    const index = VERDICT_NAMES.indexOf(verdict);
    const record = { proto: isUdp ? 'udp' : 'tcp', source_ip: from, dest_ip: to, action: verdict } as FlowRecord;
    const isKnown = following.table.add(records, 0, -1, index, frame.length, seconds, 0);
    if (!isKnown) following.table.open(record, records, 0, number + 1, index, frame.length, seconds, 0);
    updates.push(...following.turn(seconds));
  });
  return { findings, updates };
}

const kinds = (steps: readonly Step[]): string[] => follow(steps).findings.map(({ kind }) => kind);

test.each<[string, Step[], string[]]>([
  [
    'denied and answered',
    [
      [0, WEB, SYN, 'deny'],
      [0, DB, SYN_ACK, 'deny'],
    ],
    ['leak'],
  ],
  [
    'denied UDP and answered',
    [
      [0, WEB, UDP, 'deny'],
      [0, DB, UDP, 'allow'],
    ],
    ['leak'],
  ],
  [
    'denied and silent',
    [
      [0, WEB, SYN, 'deny'],
      [1, WEB, SYN, 'deny'],
      [3, WEB, SYN, 'deny'],
    ],
    [],
  ],
  [
    'allowed and silent',
    [
      [0, WEB, SYN, 'allow'],
      [1, WEB, SYN, 'allow'],
      [3, WEB, SYN, 'allow'],
    ],
    ['blocked'],
  ],
  [
    'allowed UDP and silent',
    [
      [0, WEB, UDP, 'allow'],
      [1, WEB, UDP, 'allow'],
      [9, WEB, UDP, 'allow'],
    ],
    [],
  ],
  [
    'allowed, and only its opener is captured',
    [
      [0, WEB, SYN, 'allow'],
      [0, WEB, ACK, 'allow'],
      [5, WEB, ACK, 'allow'],
    ],
    [],
  ],
])('%s', (_, steps, expected) => {
  expect(kinds(steps)).toEqual(expected);
});

test('what policy comes to allow while its opener still asks is no leak, and the other way round it is not blocked', () => {
  const allowed = follow([
    [0, WEB, SYN, 'deny'],
    [1, WEB, SYN, 'allow'],
    [1, DB, SYN_ACK, 'allow'],
    [1, WEB, ACK, 'allow'],
  ]);
  expect(allowed.findings).toEqual([]);
  const last = allowed.updates.at(-1)!;
  expect(last.record).toMatchObject({ action: 'allow', observed: 'established', packets: 3 });
  // The first try is a record of its own, with the verdict that it had.
  const closed = allowed.updates.filter(({ isOpen }) => !isOpen).map(({ record }) => record);
  expect(closed).toMatchObject([{ action: 'deny', observed: 'no-answer', packets: 1 }]);
  expect(
    kinds([
      [0, WEB, UDP, 'deny'],
      [1, WEB, UDP, 'allow'],
      [1, DB, UDP, 'allow'],
    ]),
  ).toEqual([]);
  expect(
    kinds([
      [0, WEB, SYN, 'allow'],
      [1, WEB, SYN, 'deny'],
      [3, WEB, SYN, 'deny'],
      [7, WEB, SYN, 'deny'],
    ]),
  ).toEqual([]);
});

test('what was blocked and is answered in the end is no longer shown as blocked', () => {
  const { findings, updates } = follow([
    [0, WEB, SYN, 'allow'],
    [1, WEB, SYN, 'allow'],
    [3, WEB, SYN, 'allow'],
    [7, WEB, SYN, 'allow'],
    [7, DB, SYN_ACK, 'allow'],
    [7, WEB, ACK, 'allow'],
  ]);
  expect(findings).toMatchObject([{ kind: 'blocked' }]);
  expect(updates.map(({ finding }) => finding)).toEqual([
    undefined,
    undefined,
    'blocked',
    'blocked',
    undefined,
    undefined,
  ]);
  const store = new FlowStore(10);
  const deltas = new FlowDeltas();
  const found = updates.flatMap((update) => {
    store.take(update);
    return deltas.of(update).finding ?? [];
  });
  expect(store.get('0.0-1')!.finding).toBeUndefined();
  expect(found).toEqual(['blocked']);
});

test('what was answered while it was denied stays a leak', () => {
  const steps: Step[] = [
    [0, WEB, UDP, 'deny'],
    [0, DB, UDP, 'deny'],
    [1, WEB, UDP, 'allow'],
    [1, DB, UDP, 'allow'],
  ];
  const { findings, updates } = follow(steps);
  expect(findings).toMatchObject([{ kind: 'leak' }]);
  expect(new Set(updates.map(({ id }) => id)).size).toBe(1);
});

test('whoever heard of a connection hears of its end, however many others come and go', () => {
  const following = new FlowFollowing({
    entries: 64 * 64,
    idPrefix: '0.0',
    blockedAfterSeconds: 3,
    onFinding: () => {},
    wasLossySince: () => false,
  });
  const records = new Int32Array(PACKET_WORDS);
  const open = new Map<string, boolean>();
  const take = (updates: readonly FlowUpdate[]): void => {
    expect(updates.length).toBeLessThanOrEqual(3000);
    for (const { id, isOpen } of updates) if (isOpen) open.set(id, true);
    for (const { id, isOpen } of updates) if (!isOpen) open.delete(id);
  };
  let packets = 0;
  const flood = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const number = packets++;
      const frame = buildFrame({
        src: 0x0a000000 + (number >> 15),
        dst: address(DB),
        protocol: 17,
        srcPort: 1 + (number & 32_767),
        dstPort: 53,
      });
      decodePacket(new DataView(frame.buffer, frame.byteOffset), 0, frame.length, frame.length, ETHERNET, records, 0);
      const record = { proto: 'udp', source_ip: '10.0.0.1', dest_ip: DB, action: 'allow' } as FlowRecord;
      if (!following.table.add(records, 0, -1, 0, frame.length, number / 1000, 0)) {
        following.table.open(record, records, 0, number + 1, 0, frame.length, number / 1000, 0);
      }
    }
  };
  for (let turn = 0; turn < 8; turn++) {
    flood(12_000);
    take(following.turn(packets / 1000));
  }
  expect(following.untold.flows).toBeGreaterThan(20_000);
  for (let turn = 0; turn < 10; turn++) take(following.turn(packets / 1000));
  expect(open.size).toBeLessThanOrEqual(following.table.active);
});
