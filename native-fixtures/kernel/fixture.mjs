/**
 * Recorded cases: `fixtures/NAME/`.
 *
 *   case.json      where the manifests lie, options of the load, kernel and tools, day and script, what was left out and why
 *   cluster.yaml   the manifests, of cases that no folder of the repository holds
 *   NODE.nft, NODE.ipset, NODE.iptables, NODE.ip6tables     the texts that were loaded
 *   flows.jsonl    a flow a line with the kernel's answer by tool: `"nft": true` = its packet arrived; or `left_out` with the reason
 *   connects.jsonl the same for real TCP connections
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FIXTURES } from './cases.mjs';
import { countReasons } from './compare.mjs';
import { versions } from './preconditions.mjs';

/** The texts of one node by the name of their file. */
export function rulesetFiles(node, ruleset) {
  return {
    [`${node}.nft`]: ruleset.nft,
    [`${node}.ipset`]: ruleset.ipset,
    [`${node}.iptables`]: ruleset.iptables4,
    [`${node}.ip6tables`]: ruleset.iptables6,
  };
}

export function writeFixture(kase, result, tools) {
  const at = join(FIXTURES, kase.name);
  rmSync(at, { recursive: true, force: true });
  mkdirSync(at, { recursive: true });
  const write = (name, text) => writeFileSync(join(at, name), text);
  const facts = {
    files: kase.files,
    options: kase.options,
    ownFlows: kase.flows.length,
    tools,
    versions: versions(),
    recorded: new Date().toISOString().slice(0, 10),
    script: 'npm run lab:kernel -- --record',
    leftOut: countReasons(result.excluded),
  };
  write('case.json', `${JSON.stringify(facts, null, 2)}\n`);
  if (kase.files.length === 0) write('cluster.yaml', kase.sources[0].text);
  result.rulesets.forEach((ruleset, node) => {
    const files = rulesetFiles(result.cluster.nodes[node].name, ruleset);
    for (const [name, text] of Object.entries(files)) write(name, text);
  });
  const answers = (byTool, id) => Object.fromEntries(tools.map((tool) => [tool, byTool[tool].get(id)]));
  const line = ({ id, ...flow }, rest) => `${JSON.stringify({ ...flow, ...rest })}\n`;
  write(
    'flows.jsonl',
    result.flows
      .map((flow) => {
        const reason = result.excluded.get(flow.id);
        return line(flow, reason === undefined ? answers(result.observed, flow.id) : { left_out: reason });
      })
      .join(''),
  );
  const connects = [...result.connected[tools[0]].keys()];
  write('connects.jsonl', connects.map((id) => line(result.flows[id], answers(result.connected, id))).join(''));
}
