/** Corners of the way of a packet: what the place of capture leaves open, services of two families, tunnels to hosts, BPF's states. */
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { podInterfaceName } from '../../src/analyze/interfaces.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { decidingStep, judgeNewPacket } from '../../src/match/judge.ts';
import { createJudge } from '../../src/match/state.ts';
import { DATAPLANES, type Flow, VERDICT_ALLOW, VERDICT_DENY } from '../../src/model/flow.ts';
import { DIRECTION_INBOUND, DIRECTION_OUTBOUND } from '../../src/packets/source.ts';
import { createReference } from '../../src/reference/evaluate.ts';
import * as layout from '../../src/tables/layout.ts';
import { openTables } from '../../src/tables/tables.ts';
import { ACK, answers, packetBytes, replayPackets, SYN, tablesOf } from '../analyze/replay-packets.ts';
import { packet } from '../conntrack/packets.ts';
import { CLUSTER, DB, DB6, HOST1, OUTSIDE, OUTSIDE6 } from '../rows/cluster.ts';
import {
  bgpConfiguration,
  type Document,
  documents,
  endpointSlice,
  type Fields,
  felixConfiguration,
  globalPolicy,
  hostEndpoint,
  networkPolicy,
  node,
  pod,
  staged,
} from '../rows/objects.ts';

/** What makes Felix refuse a pod while spoofing is not allowed. */
const ALLOWED_SOURCES = { 'cni.projectcalico.org/allowedSourcePrefixes': '["198.51.100.0/24"]' };
const CLOSED = networkPolicy('app/p', { selector: 'app == "db"', types: ['Ingress'], ingress: [] });

function say(world: readonly Document[], flow: Flow): string {
  const { action, reason = '' } = evaluateFlow(tablesOf(world), flow);
  return `${action} ${reason}`.trim();
}

describe('at a veth', () => {
  const NEAR = '10.0.0.2';
  const WORLD = [...CLUSTER, pod('app/near', { ip: NEAR }), CLOSED];
  const VETH = { capturePoint: 'veth' } as const;

  test('what goes to a pod of a known interface and is not addressed to it is judged by its address', async () => {
    const packets = [
      { src: OUTSIDE, dst: DB, direction: DIRECTION_OUTBOUND },
      // To another pod's address, or to everyone, on the interface of `db`.
      { src: OUTSIDE, dst: NEAR, direction: DIRECTION_OUTBOUND },
      { src: OUTSIDE, dst: '224.0.0.251', protocol: 17, direction: DIRECTION_OUTBOUND },
    ];
    const interfaces = [{ name: podInterfaceName('app', 'db') }];
    expect(answers(await replayPackets(tablesOf(WORLD), packets, VETH, interfaces))).toEqual([
      'deny end-of-tier',
      'allow',
      'unpoliced',
    ]);
  });

  test('a pod of one IP family is policed when it sends packets of the other', async () => {
    const silent = networkPolicy('app/quiet', { selector: 'app == "four"', types: ['Egress'], egress: [] });
    const world = [...CLUSTER, pod('app/four', { ip: '10.0.0.4', labels: { app: 'four' } }), silent];
    const packets = [
      { src: 'fe80::2', dst: OUTSIDE6, direction: DIRECTION_INBOUND },
      { src: '::', dst: 'ff02::1', protocol: 17, direction: DIRECTION_INBOUND },
    ];
    const interfaces = [{ name: podInterfaceName('app', 'four') }];
    expect(answers(await replayPackets(tablesOf(world), packets, VETH, interfaces))).toEqual([
      'deny end-of-tier',
      'deny end-of-tier',
    ]);
  });

  test('where no interface is known, link-local, unspecified and pods’ sources are not foreign', async () => {
    const packets = [
      { src: 'fe80::1', dst: OUTSIDE6 },
      { src: '::', dst: 'ff02::1', protocol: 17 },
      { src: '0.0.0.0', dst: '255.255.255.255', protocol: 17 },
      { src: NEAR, dst: OUTSIDE },
      { src: DB6, dst: OUTSIDE6 },
      { src: '198.51.100.1', dst: OUTSIDE },
      { src: '2001:db8::5', dst: OUTSIDE6 },
    ];
    expect(answers(await replayPackets(tablesOf(WORLD), packets, VETH))).toEqual([
      'unpoliced',
      'unpoliced',
      'unpoliced',
      'allow',
      'allow',
      'deny spoofed',
      'deny spoofed',
    ]);
  });
});

describe('services', () => {
  const service = (clusterIPs: readonly string[]): Document => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'app', name: 'web' },
    spec: { clusterIP: clusterIPs[0], clusterIPs, ports: [{ port: 80, targetPort: 8080 }] },
  });
  const slice = (...backends: readonly string[]): Document =>
    endpointSlice(
      'app/web',
      backends.map((address) => ({ addresses: [address] })),
      [{ port: 8080 }],
    );
  const open8080 = networkPolicy('app/p', {
    selector: 'app == "db"',
    types: ['Ingress'],
    ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [8080] } }],
  });

  test('of both families lead packets of either to the backends of theirs', () => {
    const world = [
      ...CLUSTER,
      open8080,
      service(['10.96.0.1', 'fd96::1']),
      slice(DB),
      { ...slice(DB6), metadata: { ...slice(DB6).metadata, name: 'web-x' }, addressType: 'IPv6' },
    ];
    expect(say(world, { src: OUTSIDE, dst: '10.96.0.1', dst_port: 80 })).toBe('allow');
    expect(say(world, { src: OUTSIDE6, dst: 'fd96::1', dst_port: 80 })).toBe('allow');
    expect(say(world, { src: OUTSIDE, dst: '10.96.0.1', dst_port: 81 })).toBe('unpoliced');
    expect(say(world, { src: OUTSIDE6, dst: 'fd96::1', dst_port: 79 })).toBe('unpoliced');
  });

  test('one of whose backends is uncertain has no verdict, whatever the others say', () => {
    const twins = [
      pod('app/open', { ip: '10.0.0.5' }),
      pod('app/shut', { ip: '10.0.0.5', labels: { app: 'shut' } }),
      networkPolicy('app/q', { selector: 'app == "shut"', types: ['Ingress'], ingress: [] }),
    ];
    const to = { src: OUTSIDE, dst: '10.96.0.1', dst_port: 80 };
    const world = [...CLUSTER, ...twins, service(['10.96.0.1'])];
    for (const backends of [['10.0.0.5'], ['10.0.0.5', '10.0.0.9'], ['10.0.0.1', '10.0.0.5']]) {
      expect(say([...world, slice(...backends)], to)).toBe('uncertain shared-address');
    }
  });
});

describe('what comes after policy', () => {
  const judgeOne = (world: readonly Document[], src: string, dst: string): readonly [number, number] => {
    const judge = createJudge(tablesOf(world));
    const verdict = judgeNewPacket(judge, packet(packetBytes({ src, dst })).record, 0);
    return [verdict, decidingStep(judge)];
  };
  const policed = networkPolicy('app/p', {
    selector: 'app == "db"',
    types: ['Egress'],
    egress: [{ action: 'Allow', destination: { notNets: ['192.0.2.0/24'] } }],
  });

  test('denies without a step: no rule is counted for it', () => {
    const drop = [...CLUSTER, policed, felixConfiguration({ defaultEndpointToHostAction: 'Drop' })];
    expect(judgeOne(drop, DB, HOST1)).toEqual([VERDICT_DENY, layout.NONE]);
    const loop = [...CLUSTER, policed, bgpConfiguration({ serviceClusterIPs: [{ cidr: '10.96.0.0/12' }] })];
    expect(judgeOne(loop, DB, '10.96.0.7')).toEqual([VERDICT_DENY, layout.NONE]);
  });

  test('and what policy decided has one', () => {
    const [denied, denying] = judgeOne([...CLUSTER, policed], DB, '192.0.2.1');
    const [allowed, allowing] = judgeOne([...CLUSTER, policed], DB, OUTSIDE);
    expect([denied, allowed]).toEqual([VERDICT_DENY, VERDICT_ALLOW]);
    expect(Math.min(denying, allowing)).toBeGreaterThan(layout.NONE);
    expect(denying).not.toBe(allowing);
  });
});

describe('tunnels from a pod to its host', () => {
  const world = (settings: Fields): Document[] => [...CLUSTER, felixConfiguration(settings)];
  const both = (settings: Fields, flow: Flow): Record<string, string> => {
    const { resources } = loadResources([{ name: 'world.yaml', text: documents(...world(settings)) }]);
    return Object.fromEntries(
      DATAPLANES.map((dataplane) => {
        const { action, reason = '' } = evaluateFlow(openTables(compile(resources, { dataplane })), flow);
        const verdict = createReference(resources, { dataplane }).evaluate(flow);
        expect({ dataplane, action, reason }).toEqual({ dataplane, action: verdict.action, reason: verdict.reason });
        return [dataplane, `${action} ${reason}`.trim()];
      }),
    );
  };
  const vxlan = { src: DB, dst: HOST1, protocol: 'udp', dst_port: 4789 };
  const allowed = { allowVXLANPacketsFromWorkloads: true, allowIPIPPacketsFromWorkloads: true };

  test('are those of no host of Calico, where its own tunnels are on', () => {
    const on = both({ ...allowed, vxlanEnabled: true }, vxlan);
    expect([on.iptables, on.nftables]).toEqual(['deny vxlan', 'deny vxlan']);
    const off = both({ ...allowed, vxlanEnabled: false }, vxlan);
    expect([off.iptables, off.nftables]).toEqual(['allow', 'allow']);
    const ipip = both({ ...allowed, ipipEnabled: true }, { src: DB, dst: HOST1, protocol: 4 });
    expect([ipip.iptables, ipip.nftables]).toEqual(['deny ipip', 'deny ipip']);
  });

  test('UDP to other ports is no tunnel', () => {
    const other = both({ ...allowed, vxlanEnabled: true }, { ...vxlan, dst_port: 4790 });
    expect(other).toEqual({ iptables: 'allow', nftables: 'allow', bpf: 'allow' });
    const moved = both({ ...allowed, vxlanEnabled: true, vxlanPort: 4790 }, { ...vxlan, dst_port: 4790 });
    expect([moved.iptables, moved.nftables]).toEqual(['deny vxlan', 'deny vxlan']);
  });
});

test('the states of BPF: known connections go on, whatever their protocol', async () => {
  const tables = tablesOf([...CLUSTER, CLOSED], { dataplane: 'bpf' });
  const answer = { src: OUTSIDE, dst: DB, srcPort: 80, dstPort: 40_000 };
  const packets = [
    { src: DB, dst: OUTSIDE, tcpSeq: 100 },
    { ...answer, tcpFlags: SYN | ACK, tcpSeq: 500, tcpAck: 101 },
    { src: DB, dst: OUTSIDE, tcpFlags: ACK, tcpSeq: 101, tcpAck: 501 },
    { ...answer, tcpFlags: ACK, tcpSeq: 501, tcpAck: 101 },
    { ...answer, protocol: 17 },
    { src: DB, dst: OUTSIDE, protocol: 17 },
    { ...answer, protocol: 17 },
  ];
  expect(answers(await replayPackets(tables, packets))).toEqual([
    'allow',
    'allow',
    'allow',
    'allow',
    'deny end-of-tier',
    'allow',
    'allow',
  ]);
});

test('compiled for a node without pods, nothing is local and nothing policed', async () => {
  const flow = { src: OUTSIDE, dst: DB, dst_port: 80 };
  expect(evaluateFlow(tablesOf([...CLUSTER, CLOSED]), flow).action).toBe('deny');
  const nowhere = tablesOf([...CLUSTER, node('empty', '192.168.0.9'), CLOSED], { node: 'empty' });
  expect(evaluateFlow(nowhere, flow).action).toBe('unpoliced');
  // Not even a packet of no connection meets a chain.
  const packets = [
    { src: OUTSIDE, dst: DB, tcpFlags: 4 },
    { src: DB, dst: OUTSIDE },
    { src: OUTSIDE, dst: DB, srcPort: 80, dstPort: 40_000, tcpFlags: SYN | ACK, tcpAck: 1 },
  ];
  expect(answers(await replayPackets(nowhere, packets))).toEqual(['unpoliced', 'unpoliced', 'unpoliced']);
});

describe('packets of no connection', () => {
  const RESET = { tcpFlags: 4, tcpSeq: 9 };
  const HOST = hostEndpoint('h1', { host: 'n1' }, { node: 'n1', interfaceName: 'eth0', expectedIPs: [HOST1] });

  test('end at preDNAT policy where there is some, with no trace, whatever it says', async () => {
    const preDnat = globalPolicy('p', {
      selector: 'host == "n1"',
      preDNAT: true,
      applyOnForward: true,
      types: ['Ingress'],
      ingress: [{ action: 'Allow' }],
    });
    const packets = [{ src: OUTSIDE, dst: DB, ...RESET }];
    const [line] = await replayPackets(tablesOf([...CLUSTER, HOST, preDnat]), packets);
    expect(line).toMatchObject({ action: 'deny', reason: 'invalid', direction: 'prednat', prednat: { trace: [] } });
    const [plain] = await replayPackets(tablesOf([...CLUSTER, CLOSED]), packets);
    expect(plain).toMatchObject({ action: 'deny', reason: 'invalid', direction: 'ingress', ingress: { trace: [] } });
  });

  test('end at a refused pod for its own reason', async () => {
    const refused = pod('app/refused', { ip: '10.0.0.7', annotations: ALLOWED_SOURCES });
    const packets = [
      { src: OUTSIDE, dst: '10.0.0.7', ...RESET },
      { src: OUTSIDE, dst: '10.0.0.7' },
    ];
    const [invalid, fresh] = answers(await replayPackets(tablesOf([...CLUSTER, refused]), packets));
    expect(invalid).toBe(fresh);
    expect(invalid).toMatch(/^deny /);
    expect(invalid).not.toBe('deny invalid');
  });
});

test('a staged policy that lets a packet on to a second node judges it there as new', async () => {
  const egress = (action: string): object => ({ selector: 'app == "db"', types: ['Egress'], egress: [{ action }] });
  const world = [
    ...CLUSTER,
    pod('app/far', { ip: '10.0.1.1', node: 'n2', labels: { app: 'far' } }),
    networkPolicy('app/p', { order: 2, ...egress('Deny') }),
    staged('StagedNetworkPolicy', 'app/s', { order: 1, ...egress('Allow') }),
    networkPolicy('app/q', { selector: 'app == "far"', types: ['Ingress'], ingress: [{ action: 'Allow' }] }),
  ];
  const [line] = await replayPackets(tablesOf(world), [{ src: DB, dst: '10.0.1.1' }]);
  expect(line).toMatchObject({ action: 'deny', reason: 'rule' });
  expect(line!.pending).toMatchObject({ action: 'allow', ingress: ['0|default|np:app/q|allow|0'] });
});

test('IPv6 where Felix does not police it', () => {
  const refused = pod('app/refused', { ip: ['10.0.0.7', 'fd00::7'], annotations: ALLOWED_SOURCES });
  const world = [...CLUSTER, CLOSED, refused, felixConfiguration({ ipv6Support: false })];
  for (const dst of [DB6, 'fd00::7']) expect(say(world, { src: OUTSIDE6, dst, dst_port: 80 })).toBe('unpoliced');
  expect(say(world, { src: OUTSIDE, dst: DB, dst_port: 80 })).toBe('deny end-of-tier');
  expect(say(world, { src: OUTSIDE, dst: '10.0.0.7', dst_port: 80 })).toMatch(/^deny /);
});
