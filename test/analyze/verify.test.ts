/** `verify` on captures written packet by packet: what each shows, what it proves, and what it does not. */
import { describe, expect, test } from 'vitest';
import { podInterfaceName } from '../../src/analyze/interfaces.ts';
import { buildFrame } from '../../src/packets/synthetic.ts';
import type { CaptureRecord } from '../../src/packets/write.ts';
import { address } from '../support/tcp-capture.ts';
import {
  ack,
  type CaptureSpec,
  DB,
  echo,
  JOB,
  NODE_1,
  NODE_2,
  nodePoint,
  packet,
  podPoint,
  policyCreated,
  recordOf,
  rst,
  SERVICE,
  type Seen,
  START_SECONDS,
  summary,
  syn,
  synAck,
  tcp,
  timed,
  udp,
  type Verified,
  verify,
  WEB,
} from './verify-captures.ts';

const SENT = { kind: 'sent' } as const;
const DELIVERED = { kind: 'delivered' } as const;

/** Something that happens at `atMs`, so that the captures go on until then. */
const later = (atMs: number): Seen => ({ atMs, spec: udp('203.0.113.1', '203.0.113.2', 1, 2, 'x') });

function handshake(src: string, from: number, to = 5432): Seen['spec'][] {
  return [syn(src, DB, from, to), synAck(DB, src, to, from), ack(src, DB, from, to)];
}

/** All but the unpoliced filler of `later`. */
function seen(result: Verified): string[] {
  return summary(result).filter((line) => !line.startsWith('unpoliced'));
}

function expectSum({ totals, captures, packets }: Verified): void {
  const read = captures.reduce((sum, capture) => sum + capture.packets, 0);
  const { allow, deny, unpoliced, uncertain, undecoded, seen_again } = totals;
  expect(totals.packets).toBe(read);
  expect(allow + deny + unpoliced + uncertain + undecoded + seen_again).toBe(read);
  expect(packets.map((each) => each.packet).sort((a, b) => a - b)).toEqual(
    Array.from({ length: read }, (_, i) => i + 1),
  );
}

describe('one capture', () => {
  test.each([
    ['allowed and established', handshake(WEB, 4000), 'allow established'],
    ['denied and established', handshake(JOB, 4000), 'deny established leak proven'],
    ['allowed and refused by the pod itself', [syn(WEB, DB, 4000, 5432), rst(DB, WEB, 5432, 4000)], 'allow refused'],
    [
      'denied and refused by the pod itself',
      [syn(JOB, DB, 4000, 5432), rst(DB, JOB, 5432, 4000)],
      'deny refused leak likely',
    ],
    [
      'a RST that answers another SYN',
      [syn(WEB, DB, 4000, 5432), rst(DB, WEB, 5432, 4000, 7)],
      'allow no-answer blocked possible',
    ],
    ['denied, and the ping is answered', [echo(JOB, DB, 7), echo(DB, JOB, 7, 1, 0)], 'deny answered leak proven'],
    [
      'denied UDP with packets back',
      [udp(JOB, DB, 4000, 53, 'q'), udp(DB, JOB, 53, 4000, 'a')],
      'deny answered leak likely',
    ],
    [
      'denied UDP from and to one port',
      [udp(JOB, DB, 7946, 7946, 'q'), udp(DB, JOB, 7946, 7946, 'a')],
      'deny answered leak possible',
    ],
    ['denied, nobody answers', [syn(JOB, DB, 4000, 5432)], 'deny no-answer'],
    ['allowed, nobody answers', [syn(WEB, DB, 4000, 5432)], 'allow no-answer blocked possible'],
    [
      'allowed, and only what its opener sends was captured',
      [syn(WEB, DB, 4000, 5432), ack(WEB, DB, 4000, 5432)],
      'allow answered',
    ],
    [
      'denied, and only what its opener sends was captured',
      [syn(JOB, DB, 4000, 5432), ack(JOB, DB, 4000, 5432)],
      'deny answered leak likely',
    ],
    ['denied, and given up by its opener', [syn(JOB, DB, 4000, 5432), rst(JOB, DB, 4000, 5432)], 'deny no-answer'],
    ['allowed UDP, nobody answers', [udp(WEB, DB, 4000, 8125, 'x')], 'allow no-answer'],
    ['one ping without an answer', [echo(WEB, DB, 7)], 'allow no-answer'],
    ['two pings without an answer', [echo(WEB, DB, 7), echo(WEB, DB, 7, 2)], 'allow no-answer blocked possible'],
  ])('%s', async (_, specs, line) => {
    const result = await verify([{ packets: [...timed(specs), later(5_000)] }]);
    expect(seen(result)).toEqual([line]);
    expectSum(result);
    expect(result.incomplete).toEqual([]);
  });

  test('an answer that comes too late to be waited for is no silence', async () => {
    const packets = [...timed([syn(WEB, DB, 4000, 5432)]), later(800)];
    expect(seen(await verify([{ packets }]))).toEqual(['allow too-short']);
    const again = [...timed([syn(WEB, DB, 4000, 5432), syn(WEB, DB, 4000, 5432)], 900), later(1_800)];
    expect(seen(await verify([{ packets: again }]))).toEqual(['allow no-answer blocked possible']);
  });

  test('silence weighs more where the destination is there, and most where the port answers others', async () => {
    const silent = { spec: syn(WEB, DB, 4001, 5432), atMs: 100 };
    const there = await verify([{ packets: [...timed([udp(DB, WEB, 1, 2, 'x')]), silent, later(5_000)] }]);
    expect(seen(there)).toContain('allow no-answer blocked likely');
    const answers = await verify([{ packets: [...timed(handshake(WEB, 4000)), silent, later(5_000)] }]);
    expect(seen(answers)).toEqual(['allow established', 'allow no-answer blocked likely']);
    expect(answers.connections[1]!.text).toContain('the port answers others');
  });

  test('an ICMP error of another machine is a filter, one of the destination is not', async () => {
    const question = syn(WEB, DB, 4000, 5432);
    const errorFrom = (src: string, code: number): CaptureRecord => ({
      ...recordOf({ atMs: 1, spec: question }),
      bytes: buildFrame({
        src: address(src),
        dst: address(WEB),
        protocol: 1,
        icmpType: 3,
        icmpCode: code,
        payload: recordOf({ atMs: 0, spec: question }).bytes.subarray(14),
      }),
    });
    const outcome = async (src: string, code: number) =>
      seen(await verify([{ packets: [{ spec: question, atMs: 0 }, errorFrom(src, code), later(5_000)] }]));
    expect(await outcome(NODE_2, 13)).toEqual(['allow rejected blocked likely']);
    expect(await outcome(NODE_2, 3)).toEqual(['allow rejected blocked likely']);
    expect(await outcome(NODE_2, 1)).toEqual(['allow unreachable']);
    expect(await outcome(DB, 3)).toEqual(['allow refused']);
    // Too big: nobody refuses anything.
    expect(await outcome(NODE_2, 4)).toEqual(['allow no-answer blocked possible']);
  });

  test('a connection that was open before is held to what holds whoever opened it', async () => {
    const middle = (src: string, dst: string, from: number, to: number) => [
      tcp(src, dst, [from, to], 16, 100, 200, 'data'),
      tcp(dst, src, [to, from], 16, 200, 104),
    ];
    expect(seen(await verify([{ packets: timed(middle(WEB, DB, 4000, 5432)) }]))).toEqual(['allow midstream']);
    // Seen from the server first: judged by itself it would be a packet that opens a connection to web.
    expect(seen(await verify([{ packets: timed(middle(DB, WEB, 5432, 4000)) }]))).toEqual(['allow midstream']);
    // job to db is denied, db to job is not.
    expect(seen(await verify([{ packets: timed(middle(JOB, DB, 4000, 5432)) }]))).toEqual(['uncertain midstream']);
    const one = await verify([{ packets: timed([tcp(WEB, DB, [4000, 5432], 16, 100, 200, 'data')]) }]);
    expect(seen(one)).toEqual(['allow one-way']);
  });

  test('a datagram that looks like an answer is one while the capture is young', async () => {
    const answers = [udp(DB, JOB, 53, 40_000, 'a'), udp(JOB, DB, 40_000, 53, 'q')];
    // By itself db may ask job, and not the other way round.
    expect(seen(await verify([{ packets: timed(answers) }]))).toEqual(['uncertain answered']);
    const late = await verify([{ packets: [later(0), ...timed(answers, 1, 130_000)] }]);
    expect(seen(late)).toEqual(['allow answered']);
  });

  test('what was seen anywhere was sent: the capture of its source is not where it is missing', async () => {
    const specs = timed([udp(WEB, DB, 1, 2, 'x')]);
    const result = await verify([
      { packets: [later(-10), ...specs, later(5_000)] },
      { point: podPoint('web-0'), packets: [later(-10), later(5_000)] },
    ]);
    expect(seen(result)).toEqual(['allow no-answer']);
    expect(result.connections.every(({ missing }) => missing === undefined)).toBe(true);
  });

  test('loss in the capture is noticed, and lost packets of the network are not', async () => {
    const data = (seq: number, text: string) => tcp(WEB, DB, [4000, 5432], 16, seq, 5001, text);
    const acked = (number: number) => ack(DB, WEB, 5432, 4000, 5001, number);
    const lost = await verify([{ packets: timed([...handshake(WEB, 4000), data(1011, 'later'), acked(1016)]) }]);
    expect(lost.connections[0]!.lost_bytes).toBe(10);
    expect(lost.incomplete.join()).toContain('1 TCP connection acknowledges 10 bytes that no capture has');
    const sentAgain = [
      ...handshake(WEB, 4000),
      data(1011, 'later'),
      acked(1001),
      data(1001, '0123456789'),
      acked(1016),
    ];
    const healed = await verify([{ packets: timed(sentAgain) }]);
    expect([healed.connections[0]!.lost_bytes, healed.incomplete]).toEqual([undefined, []]);
  });

  test('drops that pcapng tells of and a file that is cut off make the answer incomplete', async () => {
    const packets = timed(handshake(WEB, 4000));
    const drops = await verify([{ packets, options: { interfaces: [{ resolution: 9, drops: 3 }] } }]);
    expect(drops.incomplete.join()).toMatch(/lost 3 packets/);
    const cut = await verify([{ packets, cutBytes: 10 }]);
    expect(cut.incomplete.join()).toMatch(/cut off/);
    expectSum(cut);
  });
});

describe('two captures of the same traffic', () => {
  test('left here, arrived there: packet by packet', async () => {
    const specs = handshake(WEB, 4000);
    const result = await verify([
      { point: SENT, packets: timed(specs) },
      { point: DELIVERED, packets: timed(specs, 1, 0.2) },
    ]);
    expect(summary(result)).toEqual(['allow established']);
    expect(result.totals).toMatchObject({ packets: 6, allow: 3, seen_again: 3 });
    expect(result.connections[0]).toMatchObject({ arrived: 2, answers_arrived: 1 });
    expectSum(result);
  });

  test('a datagram that nobody answers is known to have come through, or not', async () => {
    const sent = timed([udp(WEB, DB, 4000, 8125, 'one'), udp(WEB, DB, 4000, 8125, 'two')], 100);
    const came = await verify([
      { point: SENT, packets: [...sent, later(3_000)] },
      { point: DELIVERED, packets: [...sent, later(3_000)] },
    ]);
    expect(seen(came)).toEqual(['allow arrived']);
    const dropped = await verify([
      { point: SENT, packets: [later(-100), ...sent, later(3_000)] },
      { point: DELIVERED, packets: [later(-100), later(3_000)] },
    ]);
    expect(seen(dropped)).toEqual(['allow lost blocked proven']);
    expect(dropped.connections.find(({ finding }) => finding !== undefined)).toMatchObject({ missing: 2 });
    const leaked = timed([udp(JOB, DB, 4000, 8125, 'one')], 100);
    const leak = await verify([
      { point: SENT, packets: leaked },
      { point: DELIVERED, packets: leaked },
    ]);
    expect(seen(leak)).toEqual(['deny arrived leak proven']);
    const kept = await verify([
      { point: SENT, packets: [later(-100), ...leaked, later(3_000)] },
      { point: DELIVERED, packets: [later(-100), later(3_000)] },
    ]);
    expect(seen(kept)).toEqual(['deny lost']);
  });

  test('what is missing where nobody watched, or where packets were lost, is less certain', async () => {
    const sent = [later(0), ...timed([syn(WEB, DB, 4000, 5432)], 1, 100), later(5_000)];
    const ended = await verify([
      { point: SENT, packets: sent },
      { point: DELIVERED, packets: [later(0)] },
    ]);
    expect(seen(ended)).toEqual(['allow lost blocked likely']);
    const lossy = await verify([
      { point: SENT, packets: sent },
      { point: DELIVERED, packets: [later(0), later(5_000)], options: { interfaces: [{ resolution: 9, drops: 1 }] } },
    ]);
    expect(seen(lossy)).toEqual(['allow lost blocked likely']);
    expect(lossy.incomplete.join()).toMatch(/lost 1 packet/);
  });

  test('clocks that are apart are set right by the packets that both have', async () => {
    const flows = Array.from({ length: 20 }, (_, i) => handshake(WEB, 4000 + i));
    const sent = flows.flatMap((specs, i) => timed(specs, 10, i * 100));
    const dropped = { spec: syn(WEB, DB, 4999, 5432), atMs: 1_000 };
    for (const skewMs of [0, 7, -4_000, 3_600_000]) {
      // Half a millisecond on the way in each direction: answers are seen at the receiver's side first.
      const delivered = sent.map(({ spec, atMs }) => ({
        spec,
        atMs: atMs + skewMs + (spec.src === WEB ? 0.5 : -0.5),
      }));
      const result = await verify([
        { point: SENT, packets: [...sent, dropped].sort((a, b) => a.atMs - b.atMs) },
        { point: DELIVERED, packets: delivered },
      ]);
      expect(result.captures[1]!.clockOffsetMs, `${skewMs}`).toBeCloseTo(skewMs, 1);
      expect(result.totals.seen_again).toBe(60);
      expect(seen(result).filter((line) => line !== 'allow established')).toEqual(['allow lost blocked proven']);
    }
  });

  test('retransmissions with equal bytes are paired in their order', async () => {
    const same = { ...syn(WEB, DB, 4000, 5432), ipId: 0 };
    const sent = timed([same, same, same], 1_000);
    const result = await verify([
      { point: SENT, packets: [...sent, later(4_000)] },
      { point: DELIVERED, packets: [{ ...sent[2]!, atMs: 2_000.1 }, later(4_000)] },
    ]);
    // Which of the three arrived is not to be told from equal bytes; that one did is.
    expect(seen(result)).toEqual(['allow arrived']);
    expect(result.connections[0]).toMatchObject({ questions: 3, arrived: 1 });
    expectSum(result);
  });

  test('a packet twice at one place, with one hop less, is one', async () => {
    const spec = syn(WEB, DB, 4000, 5432);
    const packets = [
      { spec, atMs: 0 },
      { spec: { ...spec, ttl: 63 }, atMs: 0.1 },
    ];
    const result = await verify([{ packets: [...packets, later(5_000)] }]);
    expect(result.totals.seen_again).toBe(1);
    expect(result.connections[0]!.questions).toBe(1);
  });

  test('what one capture lacks and another has weakens the answer', async () => {
    const specs = handshake(WEB, 4000);
    const result = await verify([
      { point: SENT, packets: [specs[0], specs[2]].map((spec, i) => ({ spec: spec!, atMs: 2 * i })) },
      { point: DELIVERED, packets: timed(specs, 1, 0.1) },
    ]);
    expect(result.captures[0]!.missed).toBe(0);
    const early = timed([udp(WEB, DB, 1, 2, 'a'), udp(WEB, DB, 1, 2, 'b'), udp(WEB, DB, 1, 2, 'c')], 10);
    const lost = await verify([
      { point: SENT, packets: [early[0]!, early[2]!] },
      { point: DELIVERED, packets: early },
    ]);
    expect(lost.captures[0]!.missed).toBe(1);
    expect(lost.incomplete.join()).toMatch(/1 packet that passed there, as another capture shows, is not in it/);
  });

  test('a service address is laid over its backend, and judged as that from the first packet on', async () => {
    const atClient = [
      syn(WEB, SERVICE, 4000, 15432),
      synAck(SERVICE, WEB, 15432, 4000),
      ack(WEB, SERVICE, 4000, 15432),
    ];
    const atServer = atClient.map((spec) => ({
      ...spec,
      ...(spec.dst === SERVICE ? { dst: DB, dstPort: 5432 } : { src: DB, srcPort: 5432 }),
    }));
    const result = await verify([
      { point: podPoint('web-0'), packets: timed(atClient) },
      { point: podPoint('db-0'), packets: timed(atServer, 1, 0.1) },
    ]);
    expect(summary(result)).toEqual(['allow established']);
    expect(result.connections[0]).toMatchObject({ dest_ip: DB, dest_port: 5432, dest_name: 'db-0', arrived: 2 });
    expect(result.totals.seen_again).toBe(3);
    const denied = atClient.map((spec) => ({ ...spec, ...(spec.src === WEB ? { src: JOB } : { dst: JOB }) }));
    const deniedAtServer = atServer.map((spec) => ({ ...spec, ...(spec.src === WEB ? { src: JOB } : { dst: JOB }) }));
    const leak = await verify([
      { point: podPoint('job-0'), packets: timed(denied) },
      { point: podPoint('db-0'), packets: timed(deniedAtServer, 1, 0.1) },
    ]);
    expect(summary(leak)).toEqual(['deny established leak proven']);
  });
});

describe('places of capture', () => {
  const dropped = timed([syn(WEB, DB, 4000, 5432), syn(WEB, DB, 4000, 5432)], 1_000);
  const frame = (point: CaptureSpec['point'], packets: CaptureSpec['packets']): CaptureSpec => ({
    ...(point === undefined ? {} : { point }),
    packets: [later(-10), ...packets, later(5_000)],
  });

  test('captures of pods and uplinks say on which side of the wire it was dropped', async () => {
    const other = timed([udp(JOB, DB, 7, 7, 'x')], 1, 50);
    const atSource = await verify([
      frame(podPoint('web-0'), dropped),
      frame(nodePoint('node-1'), other),
      frame(podPoint('db-0'), []),
    ]);
    expect(seen(atSource)).toContain('allow lost blocked proven');
    expect(causes(atSource)).toEqual(['dropped-at-source']);
    const behind = await verify([
      frame(podPoint('web-0'), dropped),
      frame(nodePoint('node-1'), dropped),
      frame(nodePoint('node-2'), dropped),
      frame(podPoint('db-0'), []),
    ]);
    expect(causes(behind)).toEqual(['dropped-at-destination']);
  });

  test('an uplink that shows no packet of the pods shows nothing', async () => {
    // As with a tunnel: what passes there are packets of the nodes.
    const outer = timed([udp(NODE_1, NODE_2, 9, 4789, 'inside')], 1, 50);
    const result = await verify([frame(podPoint('web-0'), dropped), frame(nodePoint('node-1'), outer)]);
    expect(seen(result)).toContain('allow no-answer blocked possible');
    expect(result.incomplete.join()).toMatch(/no packet between pods is in it .* nothing of node node-1/);
    // With packets of others it does.
    const other = timed([udp(WEB, DB, 7, 7, 'x')], 1, 50);
    const shown = await verify([frame(podPoint('web-0'), [...other, ...dropped]), frame(nodePoint('node-1'), other)]);
    expect(seen(shown)).toContain('allow lost blocked proven');
    expect(shown.incomplete).toEqual([]);
  });

  test('what leaves the cluster may be masqueraded at the uplink, and is not missed there', async () => {
    const out = timed([udp(WEB, '203.0.113.9', 1, 514, 'log'), udp(WEB, '203.0.113.9', 1, 514, 'log')], 100);
    const masked = timed([udp(NODE_1, '203.0.113.9', 40_000, 514, 'log')], 100, 0.1);
    const result = await verify([frame(podPoint('web-0'), out), frame(nodePoint('node-1'), masked)]);
    expect(seen(result)).toContain('allow no-answer');
    expect(result.connections.filter(({ finding }) => finding !== undefined)).toEqual([]);
    expect(result.incomplete).toEqual([]);
  });

  test('a packet to a service whose backend never shows is not missed at its backends', async () => {
    const ask = timed([udp(WEB, SERVICE, 1, 15432, 'x'), syn(WEB, SERVICE, 4000, 15432)], 100);
    const result = await verify([frame(podPoint('web-0'), ask), frame(podPoint('db-0'), [])]);
    expect(seen(result).filter((line) => line.includes('lost'))).toEqual([]);
  });

  test('segments that offloads join on their way are not missed', async () => {
    const data = (seq: number, text: string) => tcp(WEB, DB, [4000, 5432], 16, seq, 5001, text);
    const acked = ack(DB, WEB, 5432, 4000, 5001, 1009);
    const start = handshake(WEB, 4000);
    const result = await verify([
      { point: podPoint('web-0'), packets: timed([...start, data(1001, 'abcdefgh'), acked]) },
      {
        point: podPoint('db-0'),
        packets: timed([...start, data(1001, 'abcd'), data(1005, 'efgh'), acked], 1, 0.1),
      },
    ]);
    expect(summary(result)).toEqual(['allow established']);
    expect([result.incomplete, result.captures.map(({ missed }) => missed)]).toEqual([[], [0, 0]]);
  });

  test("the names of pods' interfaces tell where a packet was seen", async () => {
    const interfaces = ['web-0', 'db-0'].map((pod) => ({ name: podInterfaceName('prod', pod), resolution: 9 }));
    const at = (number: number, each: Seen): CaptureRecord => ({ ...recordOf(each), interface: number });
    const leak = { spec: udp(WEB, DB, 1, 2, 'x'), atMs: 0 };
    const result = await verify([{ packets: [at(0, leak), at(1, { ...leak, atMs: 0.1 })], options: { interfaces } }]);
    expect(summary(result)).toEqual(['allow arrived']);
    expect(result.captures[0]!.point).toBe('2 interfaces');
    const lost = await verify([
      {
        packets: [
          at(1, { spec: udp(JOB, DB, 9, 9, 'y'), atMs: -5 }),
          at(0, leak),
          at(1, { spec: udp(JOB, DB, 9, 9, 'z'), atMs: 5 }),
        ],
        options: { interfaces },
      },
    ]);
    expect(summary(lost)).toContain('allow lost blocked proven');
    // Seen at db's interface, behind its policy, though denied.
    expect(summary(lost)).toContain('deny arrived leak proven');
  });

  test('egress denied and seen at its own uplink is a leak already', async () => {
    const policy = `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: prod}
spec:
  serviceAccountSelector: projectcalico.org/name == "web"
  types: [Egress]
  egress: []
`;
    const out = timed([udp(WEB, DB, 1, 2, 'x')]);
    const result = await verify([frame(podPoint('web-0'), out), frame(nodePoint('node-1'), out)], { policy });
    expect(seen(result)).toEqual(['deny too-short leak proven'].map((line) => line.replace('too-short', 'no-answer')));
    // Ingress of the other end is asked later: the same sighting shows nothing.
    const ingress = timed([udp(JOB, DB, 1, 2, 'x')]);
    const other = await verify([frame(podPoint('job-0'), ingress), frame(nodePoint('node-1'), ingress)]);
    expect(seen(other)).toEqual(['deny no-answer']);
  });
});

function causes({ connections }: Verified): string[] {
  return connections.flatMap((record) => (record.causes ?? []).map(({ cause }) => cause));
}

describe('likely causes', () => {
  const leak = (src: string): CaptureSpec => ({ packets: timed(handshake(src, 4000)) });

  test('a policy that is younger than the connection', async () => {
    const at = new Date((START_SECONDS + 60) * 1000).toISOString();
    expect(causes(await verify([leak(JOB)], policyCreated(at)))).toEqual(['policy-younger']);
    expect(causes(await verify([leak(JOB)]))).toEqual([]);
    const blocked = { packets: [...timed([syn(WEB, DB, 4000, 5432)]), later(5_000)] };
    expect(causes(await verify([blocked], policyCreated(at)))).toContain('policy-younger');
  });

  test('a source that is a node, or an unknown address of the pod network', async () => {
    expect(causes(await verify([leak(NODE_1)]))).toEqual(['masked-source']);
    expect(causes(await verify([leak('10.0.0.99')]))).toEqual(['masked-source', 'missing-identity']);
    expect(causes(await verify([leak('10.0.1.254')]))).toEqual(['host-to-own-pod', 'missing-identity']);
    // The node's own address is known to be unpoliced.
    expect(summary(await verify([leak(NODE_2)]))).toEqual(['unpoliced established']);
  });

  test('nothing at all is dropped at an endpoint', async () => {
    const many = { packets: timed([4000, 4001, 4002].flatMap((port) => handshake(JOB, port))) };
    expect(causes(await verify([many]))).toEqual(['not-enforced', 'not-enforced', 'not-enforced']);
    const some = { packets: [...many.packets, { spec: syn(JOB, DB, 4003, 5432), atMs: 50 }, later(5_000)] };
    expect(causes(await verify([some]))).toEqual([]);
  });

  test('a receiver of which nothing is heard', async () => {
    const silent = { packets: [...timed([syn(WEB, DB, 4000, 5432)]), later(5_000)] };
    expect(causes(await verify([silent]))).toEqual(['peer-silent']);
  });

  test('staged policies that may be enforced', async () => {
    const policy = `
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: shut, namespace: prod}
spec: {selector: all(), types: [Ingress], ingress: []}
`;
    const silent = { packets: [...timed([syn(WEB, DB, 4000, 5432)]), later(5_000)] };
    expect(causes(await verify([silent], { policy }))).toEqual(['staged-enforced', 'peer-silent']);
  });
});

describe('limits', () => {
  test('connections past the limit are settled early and counted, and the counters still add up', async () => {
    const packets = timed(
      Array.from({ length: 300 }, (_, i) => udp(WEB, DB, 1000 + i, 53, 'x')),
      0.01,
    );
    const result = await verify([{ packets }], {}, { connectionEntries: 32 });
    expect(result.connections.length).toBe(300);
    expect(result.incomplete.join()).toMatch(/268 connections were settled early/);
    expectSum(result);
  });

  test('packets past the limit are not waited for, and what is missing then is no proof', async () => {
    const sent = timed(
      Array.from({ length: 200 }, (_, i) => udp(WEB, DB, 1000 + i, 53, 'x')),
      0.01,
    );
    const result = await verify(
      [
        { point: SENT, packets: [later(-1), ...sent, later(4_000)] },
        { point: DELIVERED, packets: [later(-1), later(4_000)] },
      ],
      {},
      { sightingEntries: 16 },
    );
    expect(new Set(seen(result))).toEqual(new Set(['allow lost blocked likely', 'allow lost blocked proven']));
    expect(result.incomplete.join()).toMatch(/packets were looked for elsewhere for less than a second/);
    expectSum(result);
  });

  test('a flood of equal packets takes no longer than others', async () => {
    const same = { ...udp(WEB, DB, 1, 2, 'same'), ipId: 0 };
    const result = await verify([
      {
        packets: timed(
          Array.from({ length: 5_000 }, () => same),
          0.5,
        ),
      },
    ]);
    expect(result.connections[0]!.questions).toBe(5_000);
    expectSum(result);
  });

  test('fragments, in both captures, are one datagram', async () => {
    const spec = packet(WEB, DB, { protocol: 17, srcPort: 1, dstPort: 2, payload: new Uint8Array(100) });
    const { src, dst, ...rest } = spec;
    const { buildFragments, wrapEthernet } = await import('../../src/packets/synthetic.ts');
    const parts = buildFragments({ ...rest, src: address(src), dst: address(dst) }, 64).map((part, i) => ({
      ...recordOf({ spec, atMs: i }),
      bytes: wrapEthernet(part),
    }));
    expect(parts.length).toBe(2);
    const result = await verify([
      { point: SENT, packets: parts },
      { point: DELIVERED, packets: parts.map((part) => ({ ...part, nanos: part.nanos! + 1000 })) },
    ]);
    expect(summary(result)).toEqual(['allow arrived']);
    expect(result.totals).toMatchObject({ allow: 2, seen_again: 2 });
    expectSum(result);
  });
});
