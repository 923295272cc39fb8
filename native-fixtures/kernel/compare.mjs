/** One case from manifests to mismatches: what margay predicts beside what the kernel did. */

import { DRAWN_FLOW_COUNT, seedOf } from './cases.mjs';
import {
  clusterOf,
  connectSample,
  numberedFlows,
  openCluster,
  predict,
  rulesetsOf,
  serviceAddressesOf,
} from './cluster.mjs';
import { drawFlows } from './flows.mjs';
import { observe } from './observe.mjs';

/**
 * The kernel's answers for a case.
 *
 * @param {object} margay  see cluster.mjs
 * @param {{ name: string, files: string[], sources: { name: string, text: string }[], options: object, flows: object[] }} kase
 * @param {{ tools: string[], drawn?: number, connects?: number }} options
 * @returns {Promise<{ flows, rulesets, leftOut, excluded: Map<number, string>, observed: Record<string, Map<number, boolean>>,
 *   connected: Record<string, Map<number, boolean>>, mismatches: { tool, way, flow, predicted, observed, record }[], attempts: number }>}
 *   `observed` by tool: flow -> arrived; `connected` the same for real connections; `attempts` = packets and connections that were judged
 */
export async function runCase(margay, kase, { tools, drawn = DRAWN_FLOW_COUNT, connects = 10 }) {
  const byTool = openCluster(margay, kase.sources, kase.options);
  const tables = byTool.nft;
  const cluster = clusterOf(margay, tables);
  const extra = drawFlows(margay, tables, cluster, seedOf(kase.name), drawn);
  const flows = numberedFlows(margay, [...kase.flows, ...extra]);
  const rulesets = rulesetsOf(margay, byTool);
  const sample = connectSample(margay, tables, cluster, flows, connects);
  const serviceAddresses = serviceAddressesOf(margay, tables);
  const result = await observe({ cluster, rulesets, flows, serviceAddresses, connects: sample }, tools);
  const excluded = new Map(result.excluded.map(({ id, reason }) => [id, reason]));
  for (const flow of flows) {
    if (!excluded.has(flow.id) && tools.some((tool) => predict(margay, byTool[tool], flow) === undefined))
      excluded.set(flow.id, 'uncertain to margay');
  }
  const sent = flows.filter(({ id }) => !excluded.has(id));
  const answers = (set, asked) => new Map(asked.map(({ id }) => [id, set.has(id)]));
  const observed = Object.fromEntries(tools.map((tool) => [tool, answers(result.arrived[tool], sent)]));
  const connected = Object.fromEntries(
    tools.map((tool) => [tool, answers(result.connected[tool] ?? new Set(), sample)]),
  );
  const mismatches = [];
  for (const tool of tools) {
    for (const [way, map] of [
      ['packet', observed[tool]],
      ['connection', connected[tool]],
    ]) {
      for (const [id, arrived] of map) {
        const predicted = predict(margay, byTool[tool], flows[id]);
        if (arrived === predicted) continue;
        const record = margay.evaluateFlow(byTool[tool], flows[id]);
        mismatches.push({ tool, way, flow: flows[id], predicted, observed: arrived, record });
      }
    }
  }
  const attempts = tools.length * (sent.length + sample.length);
  return { cluster, flows, rulesets, excluded, observed, connected, mismatches, attempts };
}

/** One line a mismatch, for people. */
export function mismatchText({ tool, way, flow, predicted, observed, record }) {
  const { id, ...tuple } = flow;
  const trace = ['untracked', 'prednat', 'forward', 'egress', 'ingress'].flatMap((name) =>
    record[name] === undefined ? [] : [`${name} ${record[name].trace.join(' ')}`],
  );
  const said = (isDelivered) => (isDelivered ? 'delivered' : 'dropped');
  return `${tool} ${way} ${JSON.stringify(tuple)}: kernel ${said(observed)}, margay ${said(predicted)} (${record.action} ${record.reason ?? ''}; ${trace.join('; ')})`;
}

/** How many flows were left out, by reason. */
export function countReasons(excluded) {
  const counts = {};
  for (const reason of excluded.values()) counts[reason] = (counts[reason] ?? 0) + 1;
  return counts;
}
