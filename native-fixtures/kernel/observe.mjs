/**
 * One case in the lab: build the namespaces, see that every packet arrives without rules, load the rules, see which still do.
 *
 * Knows nothing of margay: it gets a cluster, texts for `nft` and `iptables`, and flows, and gives back what the kernel did.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Lab, run } from '../lab/netns.mjs';
import { addressOwners, endsOf, inRounds, packetOf, whyNotSent } from './packets.mjs';
import { PYTHON } from './preconditions.mjs';
import { addAddresses, buildTopology, nodeNetns } from './topology.mjs';

const PACKETS = join(import.meta.dirname, 'packets.py');
/** Debian's alternatives may point `iptables` at either; the lab says which it means. */
export const TOOLS = ['nft', 'iptables'];

/**
 * @param {{ cluster, rulesets: { nft: string, ipset: string, iptables4: string, iptables6: string }[], flows: SentFlow[],
 *   serviceAddresses: string[], connects: SentFlow[] }} input   rulesets by node; `connects` are TCP flows between pods and outside
 * @param {string[]} tools  of TOOLS: with which to load the rules, one after the other
 * @returns {Promise<{ excluded: { id: number, reason: string }[], arrived: Record<string, Set<number>>, connected: Record<string, Set<number>> }>}
 *   by tool, the ids of flows whose packet arrived, and of connects that were answered
 */
export async function observe(input, tools) {
  const { cluster, flows } = input;
  const ownerOf = addressOwners(cluster);
  const services = new Set(input.serviceAddresses);
  const excluded = [];
  const packets = [];
  for (const flow of flows) {
    const [src, dst] = [ownerOf(flow.src), ownerOf(flow.dst)];
    const reason = whyNotSent(flow, src, dst, services);
    if (reason === undefined) packets.push(packetOf(flow, src, dst, cluster));
    else excluded.push({ id: flow.id, reason });
  }
  const lab = new Lab();
  const onSignal = () => lab.cleanup().finally(() => process.exit(130));
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, onSignal);
  try {
    await buildTopology(lab, cluster);
    const without = await send(lab, cluster, inRounds(packets), []);
    const deliverable = packets.filter(({ id }) => without.arrived.has(id));
    for (const { id } of packets) {
      if (!without.arrived.has(id)) excluded.push({ id, reason: 'not delivered without any rules either' });
    }
    const arrived = {};
    for (const tool of tools) {
      await load(lab, input, tool);
      arrived[tool] = (await send(lab, cluster, inRounds(deliverable), [])).arrived;
      await unload(lab, input, tool);
    }
    const connected = {};
    if (input.connects.length > 0) await connectWith(lab, input, ownerOf, tools, connected);
    return { excluded, arrived, connected };
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, onSignal);
    await lab.cleanup();
  }
}

async function connectWith(lab, input, ownerOf, tools, connected) {
  const { cluster, connects } = input;
  const outside = connects.flatMap(({ src, dst }) => [src, dst]).filter((each) => ownerOf(each).kind === 'outside');
  await addAddresses(lab, cluster, [...new Set(outside)]);
  const packets = connects.map((flow) => packetOf(flow, ownerOf(flow.src), ownerOf(flow.dst), cluster));
  for (const tool of tools) {
    await load(lab, input, tool);
    connected[tool] = (await send(lab, cluster, [], packets)).connected;
    await unload(lab, input, tool);
  }
}

async function send(lab, cluster, rounds, connects) {
  const spec = { ...endsOf(lab, cluster), rounds, connects };
  const { stdout } = await run([PYTHON, PACKETS], { input: JSON.stringify(spec), timeoutMs: 120_000 });
  const { arrived, connected, refused } = JSON.parse(stdout);
  if (refused.length > 0) throw new Error(`connections were refused although somebody listens: ${refused.join(', ')}`);
  return { arrived: new Set(arrived), connected: new Set(connected) };
}

async function load(lab, { rulesets }, tool) {
  await Promise.all(
    rulesets.map(async (ruleset, node) => {
      const name = nodeNetns(node);
      const file = (suffix, text) => {
        const path = join(lab.directory, `${name}.${suffix}`);
        writeFileSync(path, text);
        return path;
      };
      if (tool === 'nft') {
        await lab.run(name, ['nft', '-f', file('nft', ruleset.nft)]);
        return;
      }
      await lab.run(name, ['ipset', 'restore', '-f', file('ipset', ruleset.ipset)]);
      await lab.run(name, ['iptables-restore', file('iptables', ruleset.iptables4)]);
      await lab.run(name, ['ip6tables-restore', file('ip6tables', ruleset.iptables6)]);
    }),
  );
}

async function unload(lab, { rulesets }, tool) {
  const empty = ['raw', 'mangle', 'filter'].map((table) => `*${table}\nCOMMIT\n`).join('');
  await Promise.all(
    rulesets.map(async (_, node) => {
      const name = nodeNetns(node);
      if (tool === 'nft') {
        await lab.run(name, ['nft', 'flush', 'ruleset']);
        return;
      }
      await lab.run(name, ['iptables-restore'], { input: empty });
      await lab.run(name, ['ip6tables-restore'], { input: empty });
      await lab.run(name, ['ipset', 'destroy']);
    }),
  );
}
