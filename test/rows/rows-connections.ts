/** Rows 91-93: connections, as conversations of packets. */
import { CLUSTER, DB, HOST1, OUTSIDE } from './cluster.ts';
import { type Document, documents, networkPolicy, pod } from './objects.ts';
import { deny, flow, type RowCase } from './row.ts';

const SYN = 2;
const RST = 4;
const ACK = 16;

const FAR = '10.0.1.1';
const WORLD: readonly Document[] = [...CLUSTER, pod('app/far', { ip: FAR, node: 'n2', labels: { role: 'far' } })];

export const CONNECTION_ROWS: readonly RowCase[] = [
  {
    row: 91,
    title: 'answers of an allowed connection pass whatever the reverse policy',
    resources: documents(
      ...WORLD,
      networkPolicy('app/p', {
        selector: 'app == "db"',
        types: ['Ingress', 'Egress'],
        ingress: [{ action: 'Allow' }],
        egress: [],
      }),
    ),
    flows: [deny(flow(DB, FAR, { src_port: 80, dst_port: 40_000 }), { egress: ['0|default|np:app/p|deny|-1'] })],
    packets: [
      { ...flow(DB, FAR, { src_port: 80, dst_port: 40_000 }), tcp_flags: SYN, expect: 'deny', reason: 'end-of-tier' },
      { ...flow(FAR, DB), tcp_flags: SYN, expect: 'allow' },
      { ...flow(DB, FAR, { src_port: 80, dst_port: 40_000 }), tcp_flags: SYN | ACK, expect: 'allow' },
      { ...flow(FAR, DB), tcp_flags: ACK, expect: 'allow' },
      { ...flow(DB, FAR, { src_port: 80, dst_port: 40_000 }), tcp_flags: ACK, expect: 'allow' },
      // Another port is another connection.
      { ...flow(DB, FAR, { src_port: 80, dst_port: 40_001 }), tcp_flags: ACK, expect: 'deny', reason: 'end-of-tier' },
      { ...flow(FAR, DB, { protocol: 'udp', dst_port: 53 }), expect: 'allow' },
      { ...flow(DB, FAR, { protocol: 'udp', src_port: 53, dst_port: 40_000 }), expect: 'allow' },
      { ...flow(DB, FAR, { protocol: 'udp', src_port: 54, dst_port: 40_000 }), expect: 'deny', reason: 'end-of-tier' },
    ],
  },
  {
    row: 92,
    title: 'a SYN-ACK without SYN is invalid, and no rule is named',
    resources: documents(...WORLD),
    packets: [
      { ...flow(OUTSIDE, DB), tcp_flags: SYN | ACK, expect: 'deny', reason: 'invalid' },
      { ...flow(DB, OUTSIDE), tcp_flags: SYN | ACK, expect: 'deny', reason: 'invalid' },
      { ...flow(OUTSIDE, DB), tcp_flags: RST, expect: 'deny', reason: 'invalid' },
      // A plain ACK is picked up in mid-stream.
      { ...flow(OUTSIDE, DB), tcp_flags: ACK, expect: 'allow' },
      // No chain between a node and its own pod on the way there.
      { ...flow(HOST1, DB), tcp_flags: SYN | ACK, expect: 'unpoliced' },
    ],
  },
  {
    row: 93,
    title: 'an ICMP error about an allowed flow passes, about another it is invalid',
    resources: documents(
      ...WORLD,
      networkPolicy('app/p', {
        selector: 'app == "db"',
        types: ['Ingress', 'Egress'],
        ingress: [{ action: 'Allow', protocol: 'UDP' }],
        egress: [],
      }),
    ),
    packets: [
      { ...flow(OUTSIDE, DB, { protocol: 'udp', dst_port: 53 }), expect: 'allow' },
      {
        ...{ src: DB, dst: OUTSIDE, protocol: 'icmp', icmp_type: 3, icmp_code: 3, expect: 'allow' },
        quoted: flow(OUTSIDE, DB, { protocol: 'udp', dst_port: 53 }),
      },
      {
        ...{ src: DB, dst: OUTSIDE, protocol: 'icmp', icmp_type: 3, icmp_code: 3, expect: 'deny', reason: 'invalid' },
        quoted: flow(OUTSIDE, DB, { protocol: 'udp', dst_port: 54 }),
      },
      // An error goes back to the sender of what it quotes.
      {
        ...{
          src: DB,
          dst: '203.0.113.10',
          protocol: 'icmp',
          icmp_type: 3,
          icmp_code: 3,
          expect: 'deny',
          reason: 'invalid',
        },
        quoted: flow(OUTSIDE, DB, { protocol: 'udp', dst_port: 53 }),
      },
    ],
  },
];
