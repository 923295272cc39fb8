/**
 * What replay says of packets among others: checks of known and invalid packets, evicted entries, services seen before
 * DNAT, settings of FelixConfiguration, tunnels.
 */
import { describe, expect, test } from 'vitest';
import type { PacketRecord } from '../../src/analyze/replay.ts';
import { PROTOCOL_IPIP } from '../../src/model/flow.ts';
import { buildPacket } from '../../src/packets/synthetic.ts';
import { CLUSTER, DB, DB6, HOST1, HOST2, OUTSIDE, OUTSIDE6 } from '../rows/cluster.ts';
import {
  bgpConfiguration,
  type Document,
  endpointSlice,
  felixConfiguration,
  globalPolicy,
  hostEndpoint,
  networkPolicy,
  pod,
  staged,
} from '../rows/objects.ts';
import { ACK, answers, replayPackets, SYN, tablesOf } from './replay-packets.ts';

const NEAR = '10.0.0.2';
const FAR = '10.0.1.1';
const WORLD = [
  ...CLUSTER,
  pod('app/near', { ip: NEAR, labels: { role: 'near' } }),
  pod('app/far', { ip: FAR, node: 'n2', labels: { role: 'far' } }),
];
const PROFILE = ['0|__PROFILE__|pro:kns.app|allow|0'];
const ANSWER = { srcPort: 80, dstPort: 40_000, tcpFlags: SYN | ACK, tcpAck: 1 } as const;

/** The checks of a line: their traces, and the last one's action. */
function checks({ direction, egress, ingress, forward, untracked, prednat }: PacketRecord): object {
  const all = { egress, ingress, forward, untracked, prednat };
  const ran = Object.entries(all).flatMap(([name, check]) =>
    check === undefined ? [] : [[name, check.trace] as const],
  );
  return { direction, ...Object.fromEntries(ran) };
}

describe('known and invalid packets', () => {
  test('only the first chain that each node has is present, with an empty trace', async () => {
    const host = hostEndpoint('h1', { host: 'n1' }, { node: 'n1', interfaceName: '*', expectedIPs: [HOST1] });
    const forward = globalPolicy('fwd', {
      selector: 'host == "n1"',
      applyOnForward: true,
      ingress: [{ action: 'Allow' }],
    });
    const packets = [
      { src: NEAR, dst: FAR },
      { src: FAR, dst: NEAR, ...ANSWER },
      { src: FAR, dst: DB, ...ANSWER },
    ];
    const plain = await replayPackets(tablesOf(WORLD), packets);
    expect(plain.map(checks)).toEqual([
      { direction: 'ingress', egress: PROFILE, ingress: PROFILE },
      { direction: 'ingress', egress: [], ingress: [] },
      // Invalid on the first node already.
      { direction: 'egress', egress: [] },
    ]);
    expect(answers(plain)).toEqual(['allow', 'allow', 'deny invalid']);
    expect(plain[2]!.egress!.action).toBe('deny');
    const guarded = await replayPackets(tablesOf([...WORLD, host, forward]), packets);
    expect(guarded.map(checks)).toEqual([
      { direction: 'ingress', egress: PROFILE, ingress: PROFILE, forward: ['0|default|gnp:fwd|allow|0'] },
      { direction: 'forward', egress: [], forward: [] },
      { direction: 'egress', egress: [] },
    ]);
  });

  test('a refused pod has no known connections', async () => {
    const annotations = { 'cni.projectcalico.org/allowedSourcePrefixes': '["198.51.100.0/24"]' };
    const refused = pod('app/refused', { ip: '10.0.1.9', node: 'n2', annotations });
    const lines = await replayPackets(tablesOf([...WORLD, refused]), [{ src: NEAR, dst: '10.0.1.9' }]);
    expect(answers(lines)).toEqual(['deny spoofed']);
  });

  test('DisableConntrackInvalidCheck asks policy about invalid packets', async () => {
    const packets = [{ src: OUTSIDE, dst: DB, ...ANSWER }];
    const off = felixConfiguration({ disableConntrackInvalidCheck: true });
    expect(answers(await replayPackets(tablesOf(WORLD), packets))).toEqual(['deny invalid']);
    const [line] = await replayPackets(tablesOf([...WORLD, off]), packets);
    expect(line).toMatchObject({ action: 'allow', ingress: { trace: PROFILE } });
  });

  test('IPv6 is not policed where Ipv6Support is false', async () => {
    const deny = networkPolicy('app/p', { selector: 'all()', types: ['Ingress', 'Egress'], ingress: [], egress: [] });
    const packets = [
      { src: DB6, dst: OUTSIDE6 },
      { src: OUTSIDE6, dst: DB6, ...ANSWER },
      { src: DB, dst: OUTSIDE },
    ];
    expect(answers(await replayPackets(tablesOf([...WORLD, deny]), packets))).toEqual([
      'deny end-of-tier',
      'deny invalid',
      'deny end-of-tier',
    ]);
    const off = felixConfiguration({ ipv6Support: false });
    expect(answers(await replayPackets(tablesOf([...WORLD, deny, off]), packets))).toEqual([
      'unpoliced',
      'unpoliced',
      'deny end-of-tier',
    ]);
  });

  test('pending answers see the connection states of the enforced ones', async () => {
    const try1 = staged('StagedNetworkPolicy', 'app/try', { selector: 'all()', types: ['Egress'], egress: [] });
    const packets = [
      { src: NEAR, dst: OUTSIDE },
      { src: OUTSIDE, dst: NEAR, ...ANSWER },
    ];
    const lines = await replayPackets(tablesOf([...WORLD, try1]), packets);
    expect(lines.map(({ pending }) => pending)).toEqual([
      { action: 'deny', egress: ['0|default|snp:app/try|deny|-1'] },
      undefined,
    ]);
  });

  test('an address that two pods claim: one state a node, and doubt where the answers differ', async () => {
    const twin = pod('app/twin', { ip: FAR, node: 'n1', labels: { role: 'twin' } });
    const packets = [
      { src: NEAR, dst: FAR },
      { src: FAR, dst: NEAR, ...ANSWER },
    ];
    expect(answers(await replayPackets(tablesOf([...WORLD, twin]), packets))).toEqual(['allow', 'allow']);
    const closed = networkPolicy('app/p', { selector: 'role == "twin"', types: ['Ingress'], ingress: [] });
    const [first] = await replayPackets(tablesOf([...WORLD, twin, closed]), packets);
    expect(first).toMatchObject({ action: 'uncertain', reason: 'shared-address' });
    expect(first).not.toHaveProperty('direction');
    // A node's own dataplane knows of its own pods alone.
    const onN1 = await replayPackets(tablesOf([...WORLD, twin, closed], { node: 'n1' }), packets);
    expect(answers(onN1.slice(0, 1))).toEqual(['deny end-of-tier']);
    const onN2 = await replayPackets(tablesOf([...WORLD, twin, closed], { node: 'n2' }), packets);
    expect(answers(onN2)).toEqual(['allow', 'allow']);
  });
});

describe('evicted entries', () => {
  // So many connections that each shard of a small table has to throw some out.
  const crowd = Array.from({ length: 4000 }, (_, index) => ({
    src: OUTSIDE,
    dst: NEAR,
    srcPort: 1024 + index,
    dstPort: 443,
    protocol: 17,
    at: 1 + index / 10_000,
  }));
  const closed = networkPolicy('app/p', { selector: 'app == "db"', types: ['Ingress'], ingress: [] });

  test('a denial that an entry would have prevented is uncertain, an allowed packet stays allowed', async () => {
    const packets = [
      { src: DB, dst: OUTSIDE, protocol: 17, at: 0 },
      ...crowd,
      { src: OUTSIDE, dst: DB, protocol: 17, srcPort: 80, dstPort: 40_000, at: 2 },
      { src: DB, dst: OUTSIDE, protocol: 17, at: 2.1 },
    ];
    const small = await replayPackets(tablesOf([...WORLD, closed]), packets, { conntrackEntries: 128 });
    expect(answers(small.slice(-2))).toEqual(['uncertain evicted', 'allow']);
    const large = await replayPackets(tablesOf([...WORLD, closed]), packets);
    expect(answers(large.slice(-2))).toEqual(['allow', 'allow']);
  });

  test('what was never there is denied all the same, mostly', async () => {
    const strangers = Array.from({ length: 200 }, (_, index) => ({
      src: '198.51.100.7',
      dst: DB,
      protocol: 17,
      srcPort: 2000 + index,
      dstPort: 53,
      at: 2,
    }));
    const few = crowd.slice(0, 400);
    const lines = await replayPackets(tablesOf([...WORLD, closed]), [...few, ...strangers], { conntrackEntries: 128 });
    const denied = answers(lines.slice(-200)).filter((answer) => answer === 'deny end-of-tier');
    expect(denied.length).toBeGreaterThan(180);
  });
});

describe('service addresses, seen before DNAT', () => {
  const service = (name: string, clusterIP: string, ports: readonly object[]): Document => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'app' },
    spec: { clusterIP, clusterIPs: [clusterIP], ports },
  });
  const WEB = service('web', '10.96.0.1', [{ port: 80, protocol: 'TCP' }]);
  const slice = (addresses: readonly string[]): Document =>
    endpointSlice('app/web-x', [{ addresses }], [{ port: 8080 }]);
  const only8080 = networkPolicy('app/p', {
    selector: 'role == "far"',
    types: ['Ingress'],
    ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [8080] } }],
  });

  test('are judged by their backend, and the connection lives', async () => {
    const tables = tablesOf([...WORLD, WEB, slice([FAR]), only8080]);
    const packets = [
      { src: NEAR, dst: '10.96.0.1' },
      { src: '10.96.0.1', dst: NEAR, ...ANSWER },
      // Another port of the address is no service.
      { src: NEAR, dst: '10.96.0.1', dstPort: 81 },
      { src: NEAR, dst: FAR },
    ];
    const lines = await replayPackets(tables, packets);
    expect(answers(lines)).toEqual(['allow', 'allow', 'allow', 'deny end-of-tier']);
    expect(checks(lines[0]!)).toEqual({
      direction: 'ingress',
      egress: PROFILE,
      ingress: ['0|default|np:app/p|allow|0'],
    });
    expect(lines[0]!.dest_ip).toBe('10.96.0.1');
  });

  test('are uncertain where the backends’ answers differ', async () => {
    const closed = networkPolicy('app/q', { selector: 'app == "db"', types: ['Ingress'], ingress: [] });
    const both = [...WORLD, WEB, slice([DB, FAR])];
    const packets = [{ src: NEAR, dst: '10.96.0.1' }];
    expect(answers(await replayPackets(tablesOf(both), packets))).toEqual(['allow']);
    expect(answers(await replayPackets(tablesOf([...both, closed]), packets))).toEqual(['uncertain shared-address']);
    // Without any backend, it is an address like others; inside serviceClusterIPs, one that loops.
    const loops = bgpConfiguration({ serviceClusterIPs: [{ cidr: '10.96.0.0/12' }] });
    expect(answers(await replayPackets(tablesOf([...WORLD, WEB, loops]), packets))).toEqual(['deny service-loop']);
    expect(answers(await replayPackets(tablesOf([...both, loops]), packets))).toEqual(['allow']);
  });

  test('are found among many', async () => {
    const many = Array.from({ length: 300 }, (_, index) =>
      service(`s${index}`, `10.96.${1 + (index >> 8)}.${index & 255}`, [{ port: 80 }, { port: 443, protocol: 'UDP' }]),
    );
    const tables = tablesOf([...WORLD, ...many, WEB, slice([FAR]), only8080]);
    expect(answers(await replayPackets(tables, [{ src: NEAR, dst: '10.96.0.1' }]))).toEqual(['allow']);
    const [line] = await replayPackets(tables, [{ src: NEAR, dst: '10.96.1.7' }]);
    expect(checks(line!)).toEqual({ direction: 'egress', egress: PROFILE });
  });
});

describe('tunnels', () => {
  const closed = hostEndpoint('h1', {}, { node: 'n1', interfaceName: 'eth0', expectedIPs: [HOST1] });
  const vxlan = { protocol: 17, srcPort: 50_000, dstPort: 4789 } as const;
  const packets = [
    { src: HOST2, dst: HOST1, ...vxlan },
    { src: OUTSIDE, dst: HOST1, ...vxlan },
    { src: HOST1, dst: HOST2, ...vxlan },
    { src: HOST2, dst: HOST1, protocol: PROTOCOL_IPIP, payload: buildPacket({ src: 1, dst: 2, protocol: 17 }) },
  ];

  test('between hosts are the host endpoint’s matter, unless the configuration says that they are Calico’s', async () => {
    expect(answers(await replayPackets(tablesOf([...WORLD, closed]), packets))).toEqual([
      'deny no-profile-match',
      'deny no-profile-match',
      'deny no-profile-match',
      'deny no-profile-match',
    ]);
    const on = felixConfiguration({ vxlanEnabled: true, ipipEnabled: true });
    const lines = await replayPackets(tablesOf([...WORLD, closed, on]), packets);
    expect(answers(lines)).toEqual(['allow', 'deny vxlan', 'allow', 'allow']);
    expect(lines.map(checks)).toEqual([
      { direction: 'ingress', ingress: [] },
      { direction: 'ingress', ingress: [] },
      { direction: 'egress', egress: [] },
      { direction: 'ingress', ingress: [] },
    ]);
    // Where there is no host endpoint, only strangers' are dropped.
    expect(answers(await replayPackets(tablesOf([...WORLD, on]), packets))).toEqual([
      'unpoliced',
      'deny vxlan',
      'unpoliced',
      'unpoliced',
    ]);
  });

  test('VXLAN is untracked while it is on: an answer is no known connection', async () => {
    const allowOut = networkPolicy('app/p', { selector: 'app == "db"', types: ['Ingress'], ingress: [] });
    const pair = [
      { src: DB, dst: OUTSIDE, protocol: 17, srcPort: 4789, dstPort: 53 },
      { src: OUTSIDE, dst: DB, protocol: 17, srcPort: 53, dstPort: 4789 },
    ];
    expect(answers(await replayPackets(tablesOf([...WORLD, allowOut]), pair))).toEqual(['allow', 'allow']);
    const on = felixConfiguration({ vxlanEnabled: true });
    expect(answers(await replayPackets(tablesOf([...WORLD, allowOut, on]), pair))).toEqual([
      'allow',
      'deny end-of-tier',
    ]);
  });

  test('the outer packet has the verdict, the inner one is judged beside it', async () => {
    const inner = buildPacket({ src: 0x0a000002, dst: 0x0a000101, protocol: 17, srcPort: 1000, dstPort: 53 });
    const deny = networkPolicy('app/p', { selector: 'role == "far"', types: ['Ingress'], ingress: [] });
    const outer = [{ src: HOST1, dst: HOST2, protocol: PROTOCOL_IPIP, payload: inner }];
    const tables = tablesOf([...WORLD, deny]);
    const [line] = await replayPackets(tables, outer);
    expect(line).toMatchObject({ action: 'unpoliced', source_ip: HOST1 });
    expect(line!.inner).toMatchObject({ action: 'deny', source_ip: NEAR, dest_ip: FAR });
    const [bare] = await replayPackets(tables, outer, { decapsulate: true });
    expect(bare).toMatchObject({ action: 'deny', source_ip: NEAR, dest_ip: FAR });
  });
});
