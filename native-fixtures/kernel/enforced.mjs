/**
 * Enforced traffic, recorded at both ends: the rules of `margay export nft` loaded on every node, real programs talking, a capture in every
 * pod and outside. What margay verifies of the captures can be held against what the programs say.
 *
 * Knows nothing of verification: it gets a cluster, texts for `nft` and attempts, and gives back captures and what the programs saw.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Lab, run } from '../lab/netns.mjs';
import { addressOwners } from './packets.mjs';
import { PYTHON } from './preconditions.mjs';
import { addAddresses, buildTopology, nodeNetns, OUTSIDE, podNetns, UPLINK } from './topology.mjs';

const TRAFFIC = join(import.meta.dirname, 'traffic.py');
/** No packets of the lab's own making: neighbour discovery and listener reports. */
const FILTER = 'ip or (ip6 and not ip6 multicast and not (icmp6 and (ip6[40] = 135 or ip6[40] = 136)))';
const QUIET_MS = 200;
/** Of each tcpdump; the machine may be busy with other tests. */
const BUFFER_KIB = '8192';

/** One lab for several runs: the namespaces stay, the rules change. */
export class EnforcedLab {
  #lab = new Lab();
  #cluster;
  #ownerOf;

  /** @param {{ nodes, pods }} cluster  as topology.mjs wants it */
  constructor(cluster) {
    this.#cluster = cluster;
    this.#ownerOf = addressOwners(cluster);
  }

  /** Builds everything and gives pods, and the machine outside, their addresses. */
  async build(outsideAddresses) {
    await buildTopology(this.#lab, this.#cluster);
    await addAddresses(this.#lab, this.#cluster, outsideAddresses);
  }

  cleanup() {
    return this.#lab.cleanup();
  }

  /** The namespace of who has an address: that of a pod, a node or all that is outside. */
  hostOf(address) {
    const { kind, index } = this.#ownerOf(address);
    if (kind === 'pod') return podNetns(index);
    return kind === 'node' ? nodeNetns(index) : OUTSIDE;
  }

  /**
   * Loads `nfts` (one text a node), records everywhere while the attempts are made, and unloads.
   *
   * @param {{ id, src, dst, protocol, src_port, dst_port, listens }[]} attempts
   * @param {string} folder  where the captures go
   * @param {'ends' | 'nodes'} where  `ends`: one each at `pod-N.pcap` by index of the pods, `outside.pcap`, and `node-N.pcap` at the uplinks;
   *   `nodes`: one a node, `NAME.pcapng`, of all interfaces of its pods and its uplink
   * @returns {Promise<{ answered: Set<number>, refused: Set<number>, silent: Set<number> }>}
   */
  async record(nfts, attempts, folder, where = 'ends') {
    const lab = this.#lab;
    const { nodes, pods } = this.#cluster;
    await Promise.all(nodes.map((_, node) => this.#load(node, nfts[node])));
    const recorders = where === 'ends' ? await this.#recordEnds(folder) : await this.#recordNodes(folder);
    const hosts = [...pods.map((_, i) => podNetns(i)), ...nodes.map((_, i) => nodeNetns(i)), OUTSIDE];
    const spec = {
      hosts: hosts.map((id) => ({ id, netns: lab.netns(id) })),
      attempts: attempts.map((each) => ({ ...each, from: this.hostOf(each.src), to: this.hostOf(each.dst) })),
    };
    const { stdout } = await run([PYTHON, TRAFFIC], { input: JSON.stringify(spec), timeoutMs: 60_000 });
    // For the last packets to come by.
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    await Promise.all(recorders.map((recorder) => recorder.stop('SIGINT')));
    for (const recorder of recorders) {
      const output = recorder.output();
      const dropped = [
        ...output.matchAll(/(\d+) packets dropped by kernel|received\/dropped on interface .*: \d+\/(\d+)/g),
      ];
      if (dropped.length === 0 || dropped.some(([, tcpdump, dumpcap]) => (tcpdump ?? dumpcap) !== '0'))
        throw new Error(`incomplete recording:\n${output}`);
    }
    await Promise.all(nodes.map((_, node) => lab.run(nodeNetns(node), ['nft', 'flush', 'ruleset'])));
    const outcome = JSON.parse(stdout);
    return Object.fromEntries(Object.entries(outcome).map(([name, ids]) => [name, new Set(ids)]));
  }

  #recordEnds(folder) {
    const { nodes, pods } = this.#cluster;
    const taps = [
      ...pods.map((_, i) => [podNetns(i), `pod-${i}`]),
      ...nodes.map((_, i) => [nodeNetns(i), `node-${i}`]),
      [OUTSIDE, 'outside'],
    ];
    return Promise.all(
      taps.map(([netns, name]) => {
        const argv = ['tcpdump', '-i', UPLINK, '-n', '-U', '-Z', 'root', '-B', BUFFER_KIB];
        argv.push('--time-stamp-precision=nano', '-w', join(folder, `${name}.pcap`), FILTER);
        return this.#lab.start(netns, argv, /listening on/);
      }),
    );
  }

  /** dumpcap writes the names of interfaces into the capture. */
  #recordNodes(folder) {
    const { nodes, pods } = this.#cluster;
    return Promise.all(
      nodes.map(({ name }, node) => {
        const devices = [...pods.filter((pod) => pod.node === node).map(({ device }) => device), UPLINK];
        const argv = ['dumpcap', '-f', FILTER, ...devices.flatMap((device) => ['-i', device])];
        argv.push('-w', join(folder, `${name}.pcapng`));
        return this.#lab.start(nodeNetns(node), argv, /File: /);
      }),
    );
  }

  async #load(node, text) {
    const path = join(this.#lab.directory, `${nodeNetns(node)}.nft`);
    writeFileSync(path, text);
    await this.#lab.run(nodeNetns(node), ['nft', '-f', path]);
  }
}
