/** Where the dataplanes differ (semantics 6.10), row by row: the tables, and the reference beside them. */
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { DATAPLANES, type Dataplane, type Flow } from '../../src/model/flow.ts';
import { createReferenceTracker } from '../../src/reference/conntrack.ts';
import { createReference } from '../../src/reference/evaluate.ts';
import { openTables } from '../../src/tables/tables.ts';
import { ACK, answers, replayPackets, SYN, tablesOf } from '../analyze/replay-packets.ts';
import { CLUSTER, DB, DB6, HOST1, HOST1_6, OUTSIDE, OUTSIDE6 } from '../rows/cluster.ts';
import {
  type Document,
  documents,
  felixConfiguration,
  globalPolicy,
  hostEndpoint,
  networkPolicy,
  profile,
  tier,
} from '../rows/objects.ts';

type Answers = Readonly<Record<Dataplane, string>>;

const same = (answer: string): Answers => ({ iptables: answer, nftables: answer, bpf: answer });

/** `action reason` of the flow in each dataplane, by the tables; the reference must say the same. */
function inEach(world: readonly Document[], flow: Flow): Answers {
  const loaded = loadResources([{ name: 'world.yaml', text: documents(...world) }], { permissive: true });
  expect(loaded.errors).toEqual([]);
  const answer = (dataplane: Dataplane): string => {
    const { action, reason = '' } = evaluateFlow(openTables(compile(loaded.resources, { dataplane })), flow);
    const verdict = createReference(loaded.resources, { dataplane }).evaluate(flow);
    expect({ dataplane, action: verdict.action, reason: verdict.reason }).toEqual({ dataplane, action, reason });
    return `${action} ${reason}`.trim();
  };
  return Object.fromEntries(DATAPLANES.map((dataplane) => [dataplane, answer(dataplane)])) as unknown as Answers;
}

const to = (fields: Partial<Flow>): Flow => ({ src: OUTSIDE, dst: DB, protocol: 'tcp', dst_port: 80, ...fields });
const icmp = (type: number, code: number): Flow => to({ protocol: 'icmp', icmp_type: type, icmp_code: code });

function ingress(rule: object): Document[] {
  return [...CLUSTER, networkPolicy('app/p', { selector: 'app == "db"', types: ['Ingress'], ingress: [rule] })];
}

describe('notICMP', () => {
  test('type and code: NOT (type and code), or in nftables neither', () => {
    const world = ingress({ action: 'Allow', protocol: 'ICMP', notICMP: { type: 3, code: 1 } });
    expect(inEach(world, icmp(3, 1))).toEqual(same('deny end-of-tier'));
    expect(inEach(world, icmp(8, 0))).toEqual(same('allow'));
    for (const [type, code] of [
      [3, 0],
      [8, 1],
    ] as const) {
      expect(inEach(world, icmp(type, code))).toEqual({ ...same('allow'), nftables: 'deny end-of-tier' });
    }
  });

  test('without a protocol: ICMP alone, or in BPF the bytes of the destination port', () => {
    const world = ingress({ action: 'Allow', notICMP: { type: 80 } });
    expect(inEach(world, icmp(8, 0))).toEqual(same('allow'));
    expect(inEach(world, icmp(80, 0))).toEqual(same('deny end-of-tier'));
    const others = { ...same('deny end-of-tier'), bpf: 'allow' };
    expect(inEach(world, to({ dst_port: 81 }))).toEqual(others);
    expect(inEach(world, to({ protocol: 47 }))).toEqual(others);
    // Port 80 has type's byte 80, and so has 256 + 80.
    expect(inEach(world, to({ dst_port: 80 }))).toEqual(same('deny end-of-tier'));
    expect(inEach(world, to({ dst_port: 336 }))).toEqual(same('deny end-of-tier'));
    const coded = ingress({ action: 'Allow', notICMP: { type: 80, code: 1 } });
    expect(inEach(coded, to({ dst_port: 80 }))).toEqual(others);
    expect(inEach(coded, to({ dst_port: 336 }))).toEqual(same('deny end-of-tier'));
    const zero = ingress({ action: 'Allow', notICMP: { type: 0 } });
    expect(inEach(zero, to({ protocol: 47 }))).toEqual(same('deny end-of-tier'));
  });
});

test('the names ICMPv6 and UDPLite mean nothing to BPF; numbers do', () => {
  const ping = { src: OUTSIDE6, dst: DB6, protocol: 'icmpv6', icmp_type: 128, icmp_code: 0 };
  const bpfDenies = { ...same('allow'), bpf: 'deny end-of-tier' };
  const bpfAllows = { ...same('deny end-of-tier'), bpf: 'allow' };
  expect(inEach(ingress({ action: 'Allow', protocol: 'ICMPv6' }), ping)).toEqual(bpfDenies);
  expect(inEach(ingress({ action: 'Allow', protocol: 58 }), ping)).toEqual(same('allow'));
  expect(inEach(ingress({ action: 'Allow', notProtocol: 'ICMPv6' }), ping)).toEqual(bpfAllows);
  expect(inEach(ingress({ action: 'Allow', notProtocol: 58 }), ping)).toEqual(same('deny end-of-tier'));
  expect(inEach(ingress({ action: 'Allow', protocol: 'UDPLite' }), to({ protocol: 'udplite' }))).toEqual(bpfDenies);
  expect(inEach(ingress({ action: 'Allow', protocol: 136 }), to({ protocol: 'udplite' }))).toEqual(same('allow'));
  expect(inEach(ingress({ action: 'Allow', protocol: 'ICMP' }), icmp(8, 0))).toEqual(same('allow'));
});

const HOST = { node: 'n1', interfaceName: 'eth0', expectedIPs: [HOST1, HOST1_6] };

test('Pass in a profile goes on to the next one, in BPF it denies', () => {
  const world = [
    ...CLUSTER,
    hostEndpoint('h1', {}, { ...HOST, profiles: ['first', 'second'] }),
    profile('first', { ingress: [{ action: 'Pass' }] }),
    profile('second', { ingress: [{ action: 'Allow' }] }),
  ];
  expect(inEach(world, to({ dst: HOST1 }))).toEqual({ ...same('allow'), bpf: 'deny rule' });
});

test('neighbour discovery passes every interface in BPF', () => {
  const closed = [
    ...CLUSTER,
    hostEndpoint('h1', {}, HOST),
    networkPolicy('app/p', { selector: 'all()', types: ['Ingress', 'Egress'], ingress: [], egress: [] }),
  ];
  const solicitation = { protocol: 'icmpv6', icmp_type: 135, icmp_code: 0 };
  const bpfAllows = (answer: string): Answers => ({ ...same(answer), bpf: 'allow' });
  expect(inEach(closed, { src: OUTSIDE6, dst: HOST1_6, ...solicitation })).toEqual(bpfAllows('deny no-profile-match'));
  expect(inEach(closed, { src: OUTSIDE6, dst: DB6, ...solicitation })).toEqual(bpfAllows('deny end-of-tier'));
  expect(inEach(closed, { src: DB6, dst: HOST1_6, ...solicitation })).toEqual(same('allow'));
  // A redirect is not on the list.
  expect(inEach(closed, { src: OUTSIDE6, dst: DB6, ...solicitation, icmp_type: 137 })).toEqual(
    same('deny end-of-tier'),
  );
});

test('inbound failsafes help what is forwarded, but not in BPF', () => {
  const world = [
    ...CLUSTER,
    hostEndpoint('h1', { host: 'n1' }, { ...HOST, profiles: ['projectcalico-default-allow'] }),
    globalPolicy('p', {
      selector: 'host == "n1"',
      preDNAT: true,
      applyOnForward: true,
      types: ['Ingress'],
      ingress: [{ action: 'Deny' }],
    }),
  ];
  expect(inEach(world, to({ dst_port: 22 }))).toEqual({ ...same('allow'), bpf: 'deny rule' });
  expect(inEach(world, to({ dst: HOST1, dst_port: 22 }))).toEqual(same('allow failsafe'));
  expect(inEach(world, to({ dst_port: 80 }))).toEqual(same('deny rule'));
});

test('tunnels out of pods: IPIP always dropped in BPF, VXLAN a matter of policy', () => {
  const world = [...CLUSTER, felixConfiguration({ allowIPIPPacketsFromWorkloads: true })];
  expect(inEach(world, { src: DB, dst: OUTSIDE, protocol: 4 })).toEqual({ ...same('allow'), bpf: 'deny ipip' });
  const vxlan = { src: DB, dst: OUTSIDE, protocol: 'udp', dst_port: 4789 };
  expect(inEach(CLUSTER, vxlan)).toEqual({ ...same('deny vxlan'), bpf: 'allow' });
});

test('doNotTrack ingress in BPF needs that there is one tier of it', () => {
  const untracked = (name: string, of: string): Document =>
    globalPolicy(name, {
      selector: 'host == "n1"',
      tier: of,
      doNotTrack: true,
      applyOnForward: true,
      types: ['Ingress'],
      ingress: [{ action: 'Deny', protocol: 'TCP' }],
    });
  const host = hostEndpoint('h1', { host: 'n1' }, { ...HOST, profiles: ['projectcalico-default-allow'] });
  const one = [...CLUSTER, host, untracked('a', 'default')];
  expect(inEach(one, to({ dst: HOST1 }))).toEqual(same('deny rule'));
  const two = [...one, tier('t1', { order: 1 }), untracked('t1.b', 't1')];
  expect(inEach(two, to({ dst: HOST1 }))).toEqual({ ...same('deny rule'), bpf: 'allow' });
});

describe('TCP in BPF', () => {
  const world = [...CLUSTER, networkPolicy('app/p', { selector: 'app == "db"', types: ['Ingress'], ingress: [] })];
  const packets = [
    { src: DB, dst: OUTSIDE, tcpSeq: 100 },
    // A SYN of the far end on the entry that is there: conntrack calls it an answer, BPF asks policy.
    { src: OUTSIDE, dst: DB, srcPort: 80, dstPort: 40_000, tcpFlags: SYN, tcpSeq: 500 },
    // In mid-stream, of no connection.
    { src: DB, dst: OUTSIDE, srcPort: 50_000, tcpFlags: ACK, tcpSeq: 7, tcpAck: 7 },
  ];

  test.each([
    ['iptables', ['allow', 'allow', 'allow']],
    ['bpf', ['allow', 'deny end-of-tier', 'deny invalid']],
  ] as const)('%s', async (dataplane, wanted) => {
    expect(answers(await replayPackets(tablesOf(world, { dataplane }), packets))).toEqual(wanted);
    const { resources } = loadResources([{ name: 'world.yaml', text: documents(...world) }]);
    const tracker = createReferenceTracker(createReference(resources, { dataplane }));
    const said = packets.map((packet, index) => {
      const {
        src,
        dst,
        srcPort = 40_000,
        dstPort = 80,
        tcpFlags = SYN,
        tcpSeq = 0,
        tcpAck = 0,
      } = {
        tcpFlags: SYN,
        tcpAck: 0,
        ...packet,
      };
      const fields = { src, dst, protocol: 6, srcPort, dstPort, tcpFlags, seq: tcpSeq, ack: tcpAck, window: 65_535 };
      const { action, reason } = tracker.packet({ ...fields, timeMs: index });
      return `${action} ${reason}`.trim();
    });
    expect(said).toEqual(wanted);
  });
});
