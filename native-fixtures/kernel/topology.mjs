/**
 * The kernel lab's wiring: a namespace for each node, each pod and all that is outside; README.md has the picture.
 *
 * Pods are routed as Calico routes them: one cable a pod into its node's namespace, under Calico's name, and a route to its addresses over it,
 * so that packets between pods of one node pass that node's FORWARD hook. Neighbours are fixed: no ARP, no neighbour discovery.
 *
 * A `KernelCluster` (cluster.mjs makes it from margay's tables):
 *
 *   nodes  [{ name, addresses }]
 *   pods   [{ key, node, device, addresses }]   `node` is an index of nodes, `device` the node's end of the cable
 */
import { run } from '../lab/netns.mjs';

export const UPLINK = 'eth0';
export const OUTSIDE = 'outside';
const LAN = 'lan';

const hex = (number) => number.toString(16).padStart(2, '0');
const macOf = (kind, number) => `02:00:00:${hex(kind)}:${hex(number >> 8)}:${hex(number & 255)}`;
export const nodeMac = (node) => macOf(1, node);
export const OUTSIDE_MAC = macOf(2, 0);
const podMac = (pod) => macOf(3, pod);
export const cableMac = (pod) => macOf(4, pod);

export const nodeNetns = (node) => `n${node}`;
export const podNetns = (pod) => `p${pod}`;

/** Next hops that stand for a machine on the wire; no machine has them as an address. */
const hop4 = (machine) => `169.254.9.${machine}`;
const hop6 = (machine) => `fe80::9:${machine}`;
const OUTSIDE_HOP = 250;
const nodeHop = (node) => node + 1;

const isIpv6 = (address) => address.includes(':');
const host = (address) => `${address}/${isIpv6(address) ? 128 : 32}`;

/** Builds everything; the lab takes it down again. */
export async function buildTopology(lab, cluster) {
  const { nodes, pods } = cluster;
  const all = [LAN, OUTSIDE, ...nodes.map((_, i) => nodeNetns(i)), ...pods.map((_, i) => podNetns(i))];
  await Promise.all(all.map((name) => lab.addNamespace(name)));
  await run(['ip', '-batch', '-'], { input: cableLines(lab, cluster).join('\n') });
  await lab.ip(LAN, [
    'link add lan0 type bridge stp_state 0 mcast_snooping 0',
    'link set lan0 up',
    ...[OUTSIDE, ...nodes.map((_, i) => nodeNetns(i))].flatMap((port) => [
      `link set ${port} master lan0`,
      `link set ${port} up`,
    ]),
  ]);
  await lab.ip(OUTSIDE, [`link set ${UPLINK} up`]);
  await Promise.all([
    ...nodes.map((_, i) => setUpNode(lab, cluster, i)),
    ...pods.map((_, i) => lab.ip(podNetns(i), [`link set ${UPLINK} up`])),
  ]);
}

function cableLines(lab, { nodes, pods }) {
  const cable = (a, b) => {
    const end = (side) => `${side.device} netns ${lab.netns(side.netns)}${side.mac ? ` address ${side.mac}` : ''}`;
    return `link add ${end(a)} type veth peer name ${end(b)}`;
  };
  return [
    cable({ device: UPLINK, netns: OUTSIDE, mac: OUTSIDE_MAC }, { device: OUTSIDE, netns: LAN }),
    ...nodes.map((_, i) =>
      cable({ device: UPLINK, netns: nodeNetns(i), mac: nodeMac(i) }, { device: nodeNetns(i), netns: LAN }),
    ),
    ...pods.map((pod, i) =>
      cable(
        { device: UPLINK, netns: podNetns(i), mac: podMac(i) },
        { device: pod.device, netns: nodeNetns(pod.node), mac: cableMac(i) },
      ),
    ),
  ];
}

async function setUpNode(lab, { nodes, pods }, node) {
  const name = nodeNetns(node);
  await lab.sysctl(name, { 'net/ipv4/ip_forward': 1, 'net/ipv6/conf/all/forwarding': 1 });
  const lines = [`link set ${UPLINK} up`];
  const neighbour = (address, mac, device) =>
    lines.push(`neigh replace ${address} lladdr ${mac} dev ${device} nud permanent`);
  const machines = [
    { hop: OUTSIDE_HOP, mac: OUTSIDE_MAC },
    ...nodes.map((_, i) => ({ hop: nodeHop(i), mac: nodeMac(i) })),
  ];
  for (const { hop, mac } of machines) {
    neighbour(hop4(hop), mac, UPLINK);
    neighbour(hop6(hop), mac, UPLINK);
  }
  for (const address of nodes[node].addresses)
    lines.push(`addr add ${host(address)} dev ${UPLINK} ${isIpv6(address) ? 'nodad' : ''}`);
  const routed = new Set();
  const route = (address, via) => {
    if (routed.has(address)) return; // an address that two claim leads to the first
    routed.add(address);
    lines.push(`route add ${host(address)} ${via(isIpv6(address) ? hop6 : hop4)}`);
  };
  pods.forEach((pod, i) => {
    if (pod.node === node) lines.push(`link set ${pod.device} up`);
    for (const address of pod.addresses) {
      if (pod.node === node) {
        neighbour(address, podMac(i), pod.device);
        route(address, () => `dev ${pod.device}`);
      } else {
        route(address, (hop) => `via ${hop(nodeHop(pod.node))} dev ${UPLINK} onlink`);
      }
    }
  });
  nodes.forEach((other, i) => {
    if (i === node) return;
    for (const address of other.addresses) route(address, (hop) => `via ${hop(nodeHop(i))} dev ${UPLINK} onlink`);
  });
  lines.push(`route add default via ${hop4(OUTSIDE_HOP)} dev ${UPLINK} onlink`);
  lines.push(`route add ::/0 via ${hop6(OUTSIDE_HOP)} dev ${UPLINK} onlink`);
  await lab.ip(name, lines);
}

/**
 * Gives pods their addresses, so that real programs can use them. Not before: a pod without addresses answers nothing, and what arrives
 * can be counted undisturbed.
 *
 * @param {string[]} outsideAddresses  addresses that the machine outside shall have
 */
export async function addAddresses(lab, cluster, outsideAddresses) {
  const gateway = (mac) => [
    `neigh replace 169.254.1.1 lladdr ${mac} dev ${UPLINK} nud permanent`,
    `neigh replace fe80::1 lladdr ${mac} dev ${UPLINK} nud permanent`,
    `route add default via 169.254.1.1 dev ${UPLINK} onlink`,
    `route add ::/0 via fe80::1 dev ${UPLINK} onlink`,
  ];
  const own = (addresses) =>
    addresses.map((address) => `addr add ${host(address)} dev ${UPLINK} ${isIpv6(address) ? 'nodad' : ''}`);
  const outside = [...own(outsideAddresses)];
  cluster.nodes.forEach((_, i) => {
    outside.push(`neigh replace ${hop4(nodeHop(i))} lladdr ${nodeMac(i)} dev ${UPLINK} nud permanent`);
    outside.push(`neigh replace ${hop6(nodeHop(i))} lladdr ${nodeMac(i)} dev ${UPLINK} nud permanent`);
  });
  const seen = new Set();
  for (const pod of cluster.pods) {
    for (const address of pod.addresses) {
      if (seen.has(address)) continue;
      seen.add(address);
      const hop = (isIpv6(address) ? hop6 : hop4)(nodeHop(pod.node));
      outside.push(`route add ${host(address)} via ${hop} dev ${UPLINK} onlink`);
    }
  }
  await Promise.all([
    lab.ip(OUTSIDE, outside),
    ...cluster.pods.map((pod, i) => lab.ip(podNetns(i), [...own(pod.addresses), ...gateway(cableMac(i))])),
  ]);
}
