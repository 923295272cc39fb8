/** Which packet stands for a flow, which flows no packet can stand for, and the rounds in which they are sent. */
import { cableMac, nodeMac, nodeNetns, OUTSIDE, podNetns, UPLINK } from './topology.mjs';

const ICMP = 1;
const ICMPV6 = 58;
/** ICMP messages that open a connection (semantics 6.7): the kernel takes every other for invalid, whatever the policy. */
const ICMP_QUESTIONS = { [ICMP]: [8, 13, 15, 17], [ICMPV6]: [128, 139] };
/** Neighbour discovery and MLD, which the kernel leaves untracked. */
const ICMPV6_UNTRACKED = [130, 131, 132, 133, 134, 135, 136, 143];
/** Extension headers: as a protocol of IPv6 they name what follows, not what is carried. */
const IPV6_EXTENSIONS = [0, 43, 44, 50, 51, 59, 60, 135, 139, 140];

/**
 * @typedef {object} SentFlow
 * @property {number} id  position in the case's list of flows
 * @property {string} src
 * @property {string} dst
 * @property {number} protocol
 * @property {number} [src_port]
 * @property {number} [dst_port]
 * @property {number} [icmp_type]
 * @property {number} [icmp_code]
 */

/** Who has which address: `owner(address)` is `{ kind: 'pod' | 'node' | 'outside' | 'shared', index }`. */
export function addressOwners(cluster) {
  const owners = new Map();
  const claim = (address, owner) => {
    const other = owners.get(address);
    owners.set(address, other === undefined ? owner : { kind: 'shared', index: -1 });
  };
  cluster.pods.forEach((pod, index) => {
    for (const address of pod.addresses) claim(address, { kind: 'pod', index });
  });
  cluster.nodes.forEach((node, index) => {
    for (const address of node.addresses) claim(address, { kind: 'node', index });
  });
  return (address) => owners.get(address) ?? { kind: 'outside', index: -1 };
}

/**
 * Why no packet of the lab can stand for `flow`, or undefined.
 *
 * @param {Set<string>} serviceAddresses  addresses that kube-proxy would translate
 */
export function whyNotSent(flow, src, dst, serviceAddresses) {
  if (src.kind === 'shared' || dst.kind === 'shared')
    return 'an address that two endpoints claim: only one can have it';
  if (src.kind === 'outside' && dst.kind === 'outside') return 'passes no node';
  if (src.kind === 'node' && dst.kind === 'node' && src.index === dst.index) return 'a node to itself, over loopback';
  if (serviceAddresses.has(flow.dst)) return 'a service address: translating it is the work of kube-proxy';
  const isIpv6 = flow.src.includes(':');
  if (isIpv6 && IPV6_EXTENSIONS.includes(flow.protocol)) return 'an extension header of IPv6, not a protocol';
  if (!isIpv6 && (flow.protocol === 0 || flow.protocol === 255)) return 'a protocol number that raw sockets reserve';
  if (flow.protocol === (isIpv6 ? ICMP : ICMPV6)) {
    // Linux nf_conntrack_proto_icmp.c, nf_conntrack_proto_icmpv6.c: `if (state->pf != …) return -NF_ACCEPT`.
    return 'ICMP of the other IP version: invalid to the kernel before any policy';
  }
  if (flow.protocol === ICMP || flow.protocol === ICMPV6) {
    const isQuestion = ICMP_QUESTIONS[flow.protocol].includes(flow.icmp_type);
    if (!isQuestion && !(isIpv6 && ICMPV6_UNTRACKED.includes(flow.icmp_type))) {
      return 'an ICMP message that opens no connection: invalid to the kernel before any policy';
    }
  }
  return undefined;
}

/** The packets.py form of `flow`. */
export function packetOf(flow, src, dst, cluster) {
  const idOf = ({ kind, index }) =>
    kind === 'outside' ? OUTSIDE : kind === 'node' ? nodeNetns(index) : podNetns(index);
  const packet = { ...flow, from: idOf(src), to: idOf(dst) };
  if (src.kind === 'pod') packet.mac = cableMac(src.index);
  if (src.kind === 'outside') packet.mac = nodeMac(dst.kind === 'node' ? dst.index : cluster.pods[dst.index].node);
  return packet;
}

/**
 * Packets in rounds, so that no two of a round belong to one connection or its answer: for a node's connection table
 * each is then the first of a new one.
 */
export function inRounds(packets) {
  const rounds = [];
  const used = [];
  for (const packet of packets) {
    const key = connectionKey(packet);
    let round = used.findIndex((keys) => !keys.has(key));
    if (round < 0) {
      round = rounds.length;
      rounds.push([]);
      used.push(new Set());
    }
    rounds[round].push(packet);
    used[round].add(key);
  }
  return rounds;
}

function connectionKey(packet) {
  // Each ICMP packet has an identifier of its own.
  if (packet.protocol === ICMP || packet.protocol === ICMPV6) return `${packet.protocol}|${packet.id}`;
  const ends = [`${packet.src} ${packet.src_port ?? 0}`, `${packet.dst} ${packet.dst_port ?? 0}`].sort();
  return `${packet.protocol}|${ends.join('|')}`;
}

/** Where packets.py opens its sockets. */
export function endsOf(lab, cluster) {
  return {
    links: [
      { id: OUTSIDE, netns: lab.netns(OUTSIDE), device: UPLINK },
      ...cluster.pods.map((_, i) => ({ id: podNetns(i), netns: lab.netns(podNetns(i)), device: UPLINK })),
    ],
    nodes: cluster.nodes.map((_, i) => ({ id: nodeNetns(i), netns: lab.netns(nodeNetns(i)) })),
  };
}
