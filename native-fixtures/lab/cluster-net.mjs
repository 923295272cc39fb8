/**
 * The wiring of a cluster of two (or more) nodes: namespaces, bridges, cables, addresses, routes. README.md has the picture.
 *
 * `World` is what a lesson says about its cluster:
 *
 *   nodes    [{ name, number, ip4, ip6 }]      node N has the pod ranges 10.244.N.0/24 and fd00:10:244:N::/64, and their .1 / ::1
 *   pods     [{ namespace, name, node, host }] `host` is the last number of the pod's addresses: 10.244.N.host, fd00:10:244:N::<host in decimal digits>
 *   outside  [{ name, ip4, ip6 }]              machines on the wire between the nodes that are no part of the cluster
 *   nobody   [address]                         addresses that routes lead to and no machine has
 *   useArp   boolean                           true: pods resolve IPv4 neighbours by ARP; false: all neighbours are fixed
 */
import { createHash } from 'node:crypto';

const POD_BRIDGE = 'cni0';
const UPLINK = 'eth0';
const LAN = 'lan';

export const podAddress4 = (world, pod) => `10.244.${nodeOf(world, pod).number}.${pod.host}`;
export const podAddress6 = (world, pod) => `fd00:10:244:${nodeOf(world, pod).number}::${pod.host}`;
export const podKey = (pod) => `${pod.namespace}/${pod.name}`;

/** The name that Calico gives the node's end of a pod's cable: `cali` and 11 digits of SHA-1 of `<namespace>.<pod>`. */
export function podCable(pod) {
  return `cali${createHash('sha1').update(`${pod.namespace}.${pod.name}`).digest('hex').slice(0, 11)}`;
}

/** The lab's namespace of a pod. */
export const podNetns = (pod) => `${pod.namespace}.${pod.name}`;

/**
 * Builds the world.
 *
 * @param {import('./netns.mjs').Lab} lab
 * @returns where each sender's packets can be seen exactly once, as they leave it: `tap.device` in `tap.netns`, in `tap.direction`
 *   as that device sees it, restricted to packets from `tap.sources` when others use the device too
 */
export async function buildClusterNet(lab, world) {
  const taps = [];
  await lab.addNamespace(LAN);
  await addBridge(lab, LAN, 'lan0');
  for (const node of world.nodes) taps.push(...(await addNode(lab, node)));
  for (const host of world.outside) taps.push(await addOutside(lab, world, host));
  for (const pod of world.pods) taps.push(await addPod(lab, world, pod));
  await addNodeRoutes(lab, world);
  await addNeighbours(lab, world);
  return taps;
}

async function addBridge(lab, netns, name) {
  await lab.ip(netns, [`link add ${name} type bridge stp_state 0 mcast_snooping 0`, `link set ${name} up`]);
  await lab.disableOffloads(netns, name);
}

async function addNode(lab, node) {
  await lab.addNamespace(node.name);
  await lab.sysctl(node.name, { 'net/ipv4/ip_forward': 1, 'net/ipv6/conf/all/forwarding': 1 });
  await addLanCable(lab, node);
  await addBridge(lab, node.name, POD_BRIDGE);
  await lab.ip(node.name, [
    `link set ${POD_BRIDGE} address ${mac(gateway4(node))}`,
    `addr add ${node.ip4}/24 dev ${UPLINK}`,
    `addr add ${node.ip6}/64 dev ${UPLINK} nodad`,
    // No prefix length: the routes below name the node's own address as source of what its host processes send to pods.
    `addr add ${gateway4(node)}/32 dev ${POD_BRIDGE}`,
    `addr add ${gateway6(node)}/128 dev ${POD_BRIDGE} nodad`,
    `route add 10.244.${node.number}.0/24 dev ${POD_BRIDGE} src ${node.ip4}`,
    `route add fd00:10:244:${node.number}::/64 dev ${POD_BRIDGE} src ${node.ip6}`,
  ]);
  const sources = [node.ip4, node.ip6];
  return [
    { netns: node.name, device: POD_BRIDGE, direction: 'out', sources },
    { netns: node.name, device: UPLINK, direction: 'out', sources },
  ];
}

async function addOutside(lab, world, host) {
  await lab.addNamespace(host.name);
  await addLanCable(lab, host);
  const commands = [`addr add ${host.ip4}/32 dev ${UPLINK}`, `addr add ${host.ip6}/128 dev ${UPLINK} nodad`];
  for (const node of world.nodes) {
    commands.push(
      `route add ${node.ip4}/32 dev ${UPLINK}`,
      `route add ${node.ip6}/128 dev ${UPLINK}`,
      `route add 10.244.${node.number}.0/24 via ${node.ip4} dev ${UPLINK}`,
      `route add fd00:10:244:${node.number}::/64 via ${node.ip6} dev ${UPLINK}`,
    );
  }
  await lab.ip(host.name, commands);
  return { netns: LAN, device: host.name, direction: 'in', sources: [] };
}

/** A machine's cable to the wire between the nodes; the wire's end bears the machine's name. */
async function addLanCable(lab, machine) {
  await lab.addCable({ netns: machine.name, name: UPLINK, mac: mac(machine.ip4) }, { netns: LAN, name: machine.name });
  await lab.ip(LAN, [`link set ${machine.name} master lan0`]);
}

async function addPod(lab, world, pod) {
  const node = nodeOf(world, pod);
  const netns = podNetns(pod);
  await lab.addNamespace(netns);
  await lab.addCable(
    { netns, name: UPLINK, mac: mac(podAddress4(world, pod)) },
    { netns: node.name, name: podCable(pod) },
  );
  await lab.ip(node.name, [`link set ${podCable(pod)} master ${POD_BRIDGE}`]);
  await lab.ip(netns, [
    `addr add ${podAddress4(world, pod)}/24 dev ${UPLINK}`,
    `addr add ${podAddress6(world, pod)}/64 dev ${UPLINK} nodad`,
    `route add default via ${gateway4(node)}`,
    `route add ::/0 via ${gateway6(node)}`,
  ]);
  return { netns: node.name, device: podCable(pod), direction: 'in', sources: [] };
}

async function addNodeRoutes(lab, world) {
  for (const node of world.nodes) {
    const commands = [];
    for (const other of world.nodes) {
      if (other === node) continue;
      commands.push(
        `route add 10.244.${other.number}.0/24 via ${other.ip4} dev ${UPLINK}`,
        `route add fd00:10:244:${other.number}::/64 via ${other.ip6} dev ${UPLINK}`,
      );
    }
    for (const host of world.outside) {
      commands.push(`route add ${host.ip4}/32 dev ${UPLINK}`, `route add ${host.ip6}/128 dev ${UPLINK}`);
    }
    await lab.ip(node.name, commands);
  }
}

/**
 * Fixed neighbour entries, so that no ARP and no neighbour discovery is needed. With `useArp` pods ask for IPv4 neighbours themselves;
 * what nobody has keeps its fixed entry either way, else its packets would never leave the node.
 */
async function addNeighbours(lab, world) {
  const entry = (address, lladdr, device) => `neigh replace ${address} lladdr ${lladdr} dev ${device} nud permanent`;
  const lan = [...world.nodes, ...world.outside];
  for (const machine of lan) {
    const commands = [];
    for (const other of lan) {
      if (other === machine) continue;
      commands.push(entry(other.ip4, mac(other.ip4), UPLINK), entry(other.ip6, mac(other.ip4), UPLINK));
    }
    for (const pod of world.pods.filter((each) => each.node === machine.name)) {
      const lladdr = mac(podAddress4(world, pod));
      commands.push(
        entry(podAddress4(world, pod), lladdr, POD_BRIDGE),
        entry(podAddress6(world, pod), lladdr, POD_BRIDGE),
      );
    }
    for (const address of world.nobody) {
      if (address.startsWith(`10.244.${machine.number}.`)) commands.push(entry(address, mac(address), POD_BRIDGE));
    }
    await lab.ip(machine.name, commands);
  }
  for (const pod of world.pods) {
    const node = nodeOf(world, pod);
    const near = world.pods.filter((each) => each.node === pod.node && each !== pod);
    const commands = [entry(gateway6(node), mac(gateway4(node)), UPLINK)];
    for (const other of near) commands.push(entry(podAddress6(world, other), mac(podAddress4(world, other)), UPLINK));
    if (!world.useArp) {
      commands.push(entry(gateway4(node), mac(gateway4(node)), UPLINK));
      for (const other of near) commands.push(entry(podAddress4(world, other), mac(podAddress4(world, other)), UPLINK));
    }
    for (const address of world.nobody) {
      if (address.startsWith(`10.244.${node.number}.`)) commands.push(entry(address, mac(address), UPLINK));
    }
    await lab.ip(podNetns(pod), commands);
  }
}

/**
 * A machine on the wire takes over a pod's IPv4 address: it has the address as its own, and the node of `target` sends what is for it
 * to that machine, as a forged route of a single address (BGP) would have it.
 *
 * @returns {Promise<() => Promise<void>>}  gives the address back
 */
export async function takeOverAddress(lab, world, machineName, address, target) {
  const machine = world.outside.find(({ name }) => name === machineName);
  const { node } = world.pods.find((pod) => podKey(pod) === target);
  await lab.ip(machine.name, [`addr add ${address}/32 dev ${UPLINK}`]);
  await lab.ip(node, [
    `neigh replace ${address} lladdr ${mac(machine.ip4)} dev ${UPLINK} nud permanent`,
    `route add ${address}/32 dev ${UPLINK}`,
  ]);
  return async () => {
    await lab.ip(node, [`route del ${address}/32 dev ${UPLINK}`, `neigh del ${address} dev ${UPLINK}`]);
    await lab.ip(machine.name, [`addr del ${address}/32 dev ${UPLINK}`]);
  };
}

function nodeOf(world, pod) {
  const node = world.nodes.find((each) => each.name === pod.node);
  if (!node) throw new Error(`pod ${podKey(pod)} is on node ${pod.node}, which the lesson does not have`);
  return node;
}

const gateway4 = (node) => `10.244.${node.number}.1`;
const gateway6 = (node) => `fd00:10:244:${node.number}::1`;

/** A locally administered MAC address that spells an IPv4 address: 10.244.1.10 is 02:00:0a:f4:01:0a. */
function mac(ip4) {
  const octets = ip4.split('.').map((octet) => Number(octet).toString(16).padStart(2, '0'));
  return `02:00:${octets.join(':')}`;
}
