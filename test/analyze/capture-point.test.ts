/**
 * Where a capture was taken, and what that adds to the addresses: rows 96 and 107 of the corner-case table, and the rules
 * of match/capture-point.ts.
 */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { podInterfaceName } from '../../src/analyze/interfaces.ts';
import { DIRECTION_INBOUND, DIRECTION_OUTBOUND } from '../../src/packets/source.ts';
import { CLUSTER, DB, DB6, HOST1, HOST2, OUTSIDE } from '../rows/cluster.ts';
import { felixConfiguration, networkPolicy, pod } from '../rows/objects.ts';
import { ACK, answers, replayCooked, replayPackets, SYN, tablesOf } from './replay-packets.ts';

const NEAR = '10.0.0.2';
const FAR = '10.0.1.1';
const FOREIGN = '198.51.100.7';
const WORLD = [...CLUSTER, pod('app/near', { ip: NEAR }), pod('app/far', { ip: FAR, node: 'n2' })];
const VETH = { capturePoint: 'veth' } as const;
const DB_VETH = { name: podInterfaceName('app', 'db') };
const INVITED = { 'cni.projectcalico.org/allowedSourcePrefixes': '["198.51.100.0/24"]' };

test('the interface of a pod has the name that Calico gives it', () => {
  expect(podInterfaceName('app', 'db')).toBe(`cali${createHash('sha1').update('app.db').digest('hex').slice(0, 11)}`);
  // What `ip link` showed on a real node for kube-system/coredns-6d4b75cb6d-abcde is of this form.
  expect(podInterfaceName('app', 'db')).toMatch(/^cali[0-9a-f]{11}$/);
});

describe('row 96: a pod sends with a foreign source address', () => {
  test('dropped before anything else, with an empty trace; not where nothing tells the interface', () => {
    const tables = tablesOf(WORLD);
    const flow = { src: FOREIGN, dst: OUTSIDE, protocol: 'tcp', dst_port: 80 };
    const { action, reason, direction, egress } = evaluateFlow(tables, flow, VETH);
    expect({ action, reason, direction, egress }).toEqual({
      action: 'deny',
      reason: 'spoofed',
      direction: 'egress',
      egress: { action: 'deny', trace: [] },
    });
    for (const capturePoint of ['unknown', 'host'] as const) {
      expect(evaluateFlow(tables, flow, { capturePoint }).action).toBe('unpoliced');
    }
  });

  test('even when the connection is established', async () => {
    const tables = tablesOf(WORLD);
    const lines = await replayPackets(
      tables,
      [
        { src: OUTSIDE, dst: DB, direction: DIRECTION_OUTBOUND },
        {
          src: DB,
          dst: OUTSIDE,
          srcPort: 80,
          dstPort: 40_000,
          tcpFlags: SYN | ACK,
          tcpAck: 1,
          direction: DIRECTION_INBOUND,
        },
        // The pod claims to be the far end of its own connection.
        { src: OUTSIDE, dst: DB, tcpFlags: ACK, tcpSeq: 1, tcpAck: 1, direction: DIRECTION_INBOUND },
        { src: OUTSIDE, dst: DB, tcpFlags: ACK, tcpSeq: 1, tcpAck: 1, direction: DIRECTION_OUTBOUND },
      ],
      VETH,
      [DB_VETH],
    );
    expect(answers(lines)).toEqual(['allow', 'allow', 'deny spoofed', 'allow']);
  });

  test('another pod’s address is foreign, too, where the interface is known', async () => {
    const tables = tablesOf(WORLD);
    const packets = [
      { src: NEAR, dst: FAR },
      { src: DB, dst: FAR },
      // Going to the pod: whose address the source is does not matter.
      { src: NEAR, dst: DB },
      { src: FOREIGN, dst: DB },
    ];
    expect(answers(await replayPackets(tables, packets, VETH, [DB_VETH]))).toEqual([
      'deny spoofed',
      'allow',
      'allow',
      'allow',
    ]);
    // Without names any pod’s address will do, and a packet to a pod may be going there.
    expect(answers(await replayPackets(tables, [...packets, { src: FOREIGN, dst: OUTSIDE }], VETH))).toEqual([
      'allow',
      'allow',
      'allow',
      'allow',
      'deny spoofed',
    ]);
  });

  test('a cooked capture tells the direction', async () => {
    const packets = [
      { src: FOREIGN, dst: DB, type: 0 },
      { src: FOREIGN, dst: DB, type: 4 },
    ];
    expect(answers(await replayCooked(tablesOf(WORLD), packets, VETH))).toEqual(['deny spoofed', 'allow']);
  });

  test('link-local and unspecified sources belong to the pod', async () => {
    const packets = [
      { src: 'fe80::1', dst: 'ff02::2', protocol: 58, icmpType: 133 },
      { src: '::', dst: 'ff02::1:ff00:1', protocol: 58, icmpType: 135 },
      { src: '0.0.0.0', dst: '255.255.255.255', protocol: 17, srcPort: 68, dstPort: 67 },
      { src: '2001:db8::7', dst: 'ff02::2', protocol: 58, icmpType: 133 },
    ].map((packet) => ({ ...packet, direction: DIRECTION_INBOUND }));
    const lines = await replayPackets(tablesOf(WORLD), packets, VETH, [DB_VETH]);
    expect(answers(lines).map((answer) => answer === 'deny spoofed')).toEqual([false, false, false, true]);
  });

  test('allowed prefixes are judged by the egress policy of the pod that uses them', async () => {
    const denied = networkPolicy('app/p', { selector: 'role == "guest"', types: ['Egress'], egress: [] });
    const guest = pod('app/guest', { ip: '10.0.0.9', labels: { role: 'guest' }, annotations: INVITED });
    const any = felixConfiguration({ workloadSourceSpoofing: 'Any' });
    const interfaces = [{ name: podInterfaceName('app', 'guest') }];
    const packets = [
      { src: FOREIGN, dst: OUTSIDE },
      { src: '203.0.113.200', dst: OUTSIDE },
    ];
    expect(answers(await replayPackets(tablesOf([...WORLD, guest, any]), packets, VETH, interfaces))).toEqual([
      'allow',
      'deny spoofed',
    ]);
    expect(answers(await replayPackets(tablesOf([...WORLD, guest, any, denied]), packets, VETH, interfaces))).toEqual([
      'deny end-of-tier',
      'deny spoofed',
    ]);
    expect(answers(await replayPackets(tablesOf([...WORLD, guest, any]), packets, VETH))).toEqual([
      'unpoliced',
      'deny spoofed',
    ]);
  });

  test('floating addresses count while they are enabled', async () => {
    const annotations = { 'cni.projectcalico.org/floatingIPs': '["198.51.100.7"]' };
    const floating = pod('app/float', { ip: '10.0.0.9', annotations });
    const interfaces = [{ name: podInterfaceName('app', 'float') }];
    const packets = [{ src: FOREIGN, dst: OUTSIDE }];
    const enabled = felixConfiguration({ floatingIPs: 'Enabled' });
    expect(answers(await replayPackets(tablesOf([...WORLD, floating, enabled]), packets, VETH, interfaces))).toEqual([
      'allow',
    ]);
    expect(answers(await replayPackets(tablesOf([...WORLD, floating]), packets, VETH, interfaces))).toEqual([
      'deny spoofed',
    ]);
  });
});

describe('row 107: an interface named like a pod’s that nobody has', () => {
  test.each([
    ['leaving', DIRECTION_INBOUND, 'egress'],
    ['going there', DIRECTION_OUTBOUND, 'ingress'],
    ['whichever way', undefined, 'egress'],
  ] as const)('%s', async (_title, direction, check) => {
    const packet = { src: DB, dst: FAR, ...(direction === undefined ? {} : { direction }) };
    const [line] = await replayPackets(tablesOf(WORLD), [packet], VETH, [{ name: 'cali0123456789a' }]);
    expect(line).toMatchObject({ action: 'deny', reason: 'spoofed', direction: check, [check]: { trace: [] } });
  });

  test('of another prefix, or of no pod’s form, it is judged by address', async () => {
    const tables = tablesOf([...WORLD, felixConfiguration({ interfacePrefix: 'azv,eni' })]);
    const packets = [{ src: FOREIGN, dst: OUTSIDE }];
    const on = async (name: string): Promise<string[]> =>
      answers(await replayPackets(tables, packets, VETH, [{ name }]));
    expect(await on('azv0123456789a')).toEqual(['deny spoofed']);
    expect(await on('eni0')).toEqual(['deny spoofed']);
    expect(await on('cali0123456789a')).toEqual(['unpoliced']);
    expect(await on('eth0')).toEqual(['unpoliced']);
    const mine = [{ name: podInterfaceName('app', 'db', 'azv') }];
    expect(answers(await replayPackets(tables, [{ src: DB, dst: OUTSIDE }], VETH, mine))).toEqual(['allow']);
  });

  test('a refused pod’s traffic is dropped both ways', async () => {
    const refused = pod('app/refused', { ip: '10.0.0.9', annotations: INVITED });
    const packets = [
      { src: '10.0.0.9', dst: OUTSIDE, direction: DIRECTION_INBOUND },
      { src: OUTSIDE, dst: '10.0.0.9', direction: DIRECTION_OUTBOUND },
    ];
    const lines = await replayPackets(tablesOf([...WORLD, refused]), packets, VETH, [
      { name: podInterfaceName('app', 'refused') },
    ]);
    expect(answers(lines)).toEqual(['deny spoofed', 'deny spoofed']);
  });
});

test('an address that two pods claim is no riddle at the veth of one', async () => {
  const twin = pod('app/twin', { ip: DB, labels: { role: 'twin' } });
  const tables = tablesOf([
    ...WORLD,
    twin,
    networkPolicy('app/p', { selector: 'role == "twin"', types: ['Ingress', 'Egress'], ingress: [], egress: [] }),
  ]);
  const packets = [
    { src: DB, dst: FAR },
    { src: FAR, dst: DB },
  ];
  expect(answers(await replayPackets(tables, packets))).toEqual([
    'uncertain shared-address',
    'uncertain shared-address',
  ]);
  expect(answers(await replayPackets(tables, packets, VETH, [DB_VETH]))).toEqual(['allow', 'allow']);
  const twinVeth = [{ name: podInterfaceName('app', 'twin') }];
  expect(answers(await replayPackets(tables, packets, VETH, twinVeth))).toEqual([
    'deny end-of-tier',
    'deny end-of-tier',
  ]);
});

describe('host: a node’s address may stand for anyone', () => {
  const HOST = { capturePoint: 'host' } as const;

  test('towards a pod of another node it is uncertain, and its answer passes', async () => {
    const packets = [
      { src: HOST2, dst: DB },
      { src: DB, dst: HOST2, srcPort: 80, dstPort: 40_000, tcpFlags: SYN | ACK, tcpAck: 1 },
      // The node’s own pod, another node, outside.
      { src: HOST1, dst: DB },
      { src: HOST1, dst: HOST2 },
      { src: OUTSIDE, dst: DB },
      { src: FOREIGN, dst: OUTSIDE },
    ];
    expect(answers(await replayPackets(tablesOf(WORLD), packets, HOST))).toEqual([
      'uncertain masked-source',
      'allow',
      'unpoliced',
      'unpoliced',
      'allow',
      'unpoliced',
    ]);
  });

  test('with --node, only where that node polices the pod', () => {
    const flow = { src: HOST2, dst: DB, protocol: 'tcp', dst_port: 80 };
    expect(evaluateFlow(tablesOf(WORLD, { node: 'n1' }), flow, HOST).reason).toBe('masked-source');
    expect(evaluateFlow(tablesOf(WORLD, { node: 'n2' }), flow, HOST).action).toBe('unpoliced');
    expect(evaluateFlow(tablesOf(WORLD), flow).action).toBe('allow');
  });
});

test('IPv6 pods are known by their interface, too', async () => {
  const packets = [
    { src: DB6, dst: '2001:db8::9', direction: DIRECTION_INBOUND },
    { src: 'fd00::77', dst: '2001:db8::9', direction: DIRECTION_INBOUND },
  ];
  expect(answers(await replayPackets(tablesOf(WORLD), packets, VETH, [DB_VETH]))).toEqual(['allow', 'deny spoofed']);
});
