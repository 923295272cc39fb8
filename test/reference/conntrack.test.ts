/** Connection state by node (semantics 6.7): what each node knows, time-outs, untracked packets. */
import { describe, expect, test } from 'vitest';
import { loadResources } from '../../src/load/load.ts';
import { createReferenceTracker, type ReferenceTracker, type TrackerPacket } from '../../src/reference/conntrack.ts';
import { createReference } from '../../src/reference/evaluate.ts';
import { CLUSTER, DB, HOST1, OUTSIDE } from '../rows/cluster.ts';
import {
  type Document,
  documents,
  felixConfiguration,
  globalPolicy,
  hostEndpoint,
  networkPolicy,
  pod,
} from '../rows/objects.ts';

const FAR = '10.0.1.1';
const SYN = 2;
const RST = 4;
const ACK = 16;
const CLOSED = networkPolicy('app/closed', { selector: 'app == "db"', types: ['Ingress'], ingress: [] });

function tracker(...objects: readonly Document[]): ReferenceTracker {
  const far = pod('app/far', { ip: FAR, node: 'n2', labels: { role: 'far' } });
  const loaded = loadResources([{ name: 'w', text: documents(...CLUSTER, far, ...objects) }]);
  expect(loaded.errors).toEqual([]);
  return createReferenceTracker(createReference(loaded.resources));
}

function tcp(
  src: string,
  dst: string,
  srcPort: number,
  dstPort: number,
  tcpFlags: number,
  more: Partial<TrackerPacket> = {},
): TrackerPacket {
  return { src, dst, protocol: 6, srcPort, dstPort, tcpFlags, window: 1000, timeMs: 0, ...more };
}

function udp(src: string, dst: string, srcPort: number, dstPort: number, timeMs = 0): TrackerPacket {
  return { src, dst, protocol: 17, srcPort, dstPort, timeMs };
}

describe('by node', () => {
  test('what one node let out and the other dropped is known to the first alone', () => {
    const subject = tracker(CLOSED);
    const question = subject.packet(udp(FAR, DB, 1000, 53));
    expect(question).toMatchObject({ action: 'deny', direction: 'ingress' });
    expect(question.states).toEqual([
      { node: 'n2', state: 'new' },
      { node: 'n1', state: 'new' },
    ]);
    // The answer: new on n1 (which has forgotten), established on n2.
    const answer = subject.packet(udp(DB, FAR, 53, 1000));
    expect(answer).toMatchObject({ action: 'allow' });
    expect(answer.states).toEqual([
      { node: 'n1', state: 'new' },
      { node: 'n2', state: 'established' },
    ]);
    // Now n1 knows it too, in the direction of the answer: the question is established there.
    expect(subject.packet(udp(FAR, DB, 1000, 53))).toMatchObject({ action: 'allow' });
  });

  test('a node remembers what it never polices', () => {
    const subject = tracker(networkPolicy('app/p', { selector: 'app == "db"', types: ['Egress'], egress: [] }));
    expect(subject.packet(tcp(HOST1, DB, 5000, 80, SYN)).action).toBe('unpoliced');
    expect(subject.packet(tcp(DB, HOST1, 80, 5000, SYN | ACK, { ack: 1 }))).toMatchObject({
      action: 'allow',
      direction: 'egress',
      egress: { action: 'allow', trace: [] },
    });
    expect(subject.packet(tcp(DB, HOST1, 80, 5001, ACK)).action).toBe('deny');
  });

  test('outside to outside crosses no node', () => {
    const verdict = tracker().packet(tcp(OUTSIDE, '192.0.2.1', 1, 2, RST));
    expect(verdict).toMatchObject({ action: 'unpoliced', states: [] });
  });

  test('a connection that a doNotTrack policy accepted has no entry', () => {
    const subject = tracker(
      hostEndpoint(
        'h1',
        { host: 'h1' },
        { node: 'n1', interfaceName: 'eth0', profiles: ['projectcalico-default-allow'] },
      ),
      globalPolicy('raw', {
        selector: 'host == "h1"',
        doNotTrack: true,
        applyOnForward: true,
        ingress: [{ action: 'Allow', protocol: 'UDP' }],
        egress: [],
      }),
      networkPolicy('app/p', {
        selector: 'app == "db"',
        types: ['Ingress', 'Egress'],
        ingress: [{ action: 'Allow' }],
        egress: [],
      }),
    );
    expect(subject.packet(udp(OUTSIDE, DB, 1000, 53))).toMatchObject({ action: 'allow', states: [] });
    expect(subject.packet(udp(DB, OUTSIDE, 53, 1000))).toMatchObject({ action: 'deny', reason: 'end-of-tier' });
    // TCP is tracked there.
    expect(subject.packet(tcp(OUTSIDE, DB, 1000, 80, SYN)).action).toBe('allow');
    expect(subject.packet(tcp(DB, OUTSIDE, 80, 1000, SYN | ACK, { ack: 1 })).action).toBe('allow');
  });

  test('INVALID passes with DisableConntrackInvalidCheck, by policy', () => {
    expect(tracker().packet(tcp(OUTSIDE, DB, 1, 2, RST))).toMatchObject({ action: 'deny', reason: 'invalid' });
    const lax = felixConfiguration({ disableConntrackInvalidCheck: true });
    expect(tracker(lax).packet(tcp(OUTSIDE, DB, 1, 2, RST)).action).toBe('allow');
    expect(tracker(lax, CLOSED).packet(tcp(OUTSIDE, DB, 1, 2, RST)).reason).toBe('end-of-tier');
  });
});

describe('time', () => {
  /** An outgoing question, and its answer so much later, at a pod that takes nothing else in. */
  function answerAfter(ms: number, exchange: readonly TrackerPacket[], answer: TrackerPacket): string {
    const subject = tracker(CLOSED);
    for (const packet of exchange) expect(subject.packet(packet).action).toBe('allow');
    const last = exchange.at(-1)!.timeMs;
    return subject.packet({ ...answer, timeMs: last + ms }).action;
  }

  test.each([
    ['UDP unanswered, 30 s', 30_000, [udp(DB, OUTSIDE, 1, 53)], udp(OUTSIDE, DB, 53, 1)],
    ['UDP answered, 120 s', 120_000, [udp(DB, OUTSIDE, 1, 53), udp(OUTSIDE, DB, 53, 1, 10)], udp(OUTSIDE, DB, 53, 1)],
    ['SYN sent, 120 s', 120_000, [tcp(DB, OUTSIDE, 1, 80, SYN)], tcp(OUTSIDE, DB, 80, 1, SYN | ACK, { ack: 1 })],
    [
      'ICMP, 30 s',
      30_000,
      [{ src: DB, dst: OUTSIDE, protocol: 1, icmpType: 8, icmpId: 7, timeMs: 0 }],
      { src: OUTSIDE, dst: DB, protocol: 1, icmpType: 0, icmpId: 7, timeMs: 0 },
    ],
    [
      'another protocol, 600 s',
      600_000,
      [{ src: DB, dst: OUTSIDE, protocol: 99, timeMs: 0 }],
      { src: OUTSIDE, dst: DB, protocol: 99, timeMs: 0 },
    ],
  ] as const)('%s', (_name, ms, exchange, answer) => {
    expect(answerAfter(ms - 1, exchange, answer)).toBe('allow');
    expect(answerAfter(ms, exchange, answer)).toBe('deny');
  });
});

test('only ICMP questions open a flow, and their answers match by identifier', () => {
  const subject = tracker();
  const icmp = (src: string, dst: string, icmpType: number, icmpId = 1): TrackerPacket => ({
    ...{ src, dst, protocol: 1, icmpType, icmpId, timeMs: 0 },
  });
  expect(subject.packet(icmp(DB, OUTSIDE, 0)).reason).toBe('invalid');
  expect(subject.packet(icmp(DB, OUTSIDE, 9)).reason).toBe('invalid');
  expect(subject.packet(icmp(DB, OUTSIDE, 13)).action).toBe('allow');
  expect(subject.packet(icmp(OUTSIDE, DB, 14)).action).toBe('allow');
  expect(subject.packet(icmp(OUTSIDE, DB, 14, 2)).reason).toBe('invalid');
  expect(subject.packet(icmp(OUTSIDE, DB, 0)).reason).toBe('invalid');
});

test('IPv6 neighbour discovery is judged by policy, never invalid', () => {
  const subject = tracker();
  const verdict = subject.packet({ src: 'fd00::1', dst: '2001:db8::9', protocol: 58, icmpType: 135, timeMs: 0 });
  expect(verdict).toMatchObject({ action: 'allow', states: [{ node: 'n1', state: 'untracked' }] });
  expect(subject.packet({ src: 'fd00::1', dst: '2001:db8::9', protocol: 58, icmpType: 129, timeMs: 0 }).reason).toBe(
    'invalid',
  );
});
