/** A scenario by its name. */
import { runAgentBench } from './agent.ts';
import { runAgentSoak } from './agent-soak.ts';
import { runAuthz } from './authz.ts';
import { runDecoders } from './decoders.ts';
import { runEndToEnd } from './end-to-end.ts';
import { runEval } from './eval.ts';
import { prepareHeap, runHeap } from './heap.ts';
import { runIdentities } from './identities.ts';
import { runKernel } from './kernel.ts';
import { runMatchOnly } from './match-only.ts';
import type { Measurement } from './measurement.ts';
import { runParts } from './parts.ts';
import { clusterFile, nodeCluster, prepare } from './prepare.ts';
import { runQueue } from './queue.ts';
import { runChurn, runCompile, runDump, runNodeScale, scaleFiles } from './scale.ts';
import { parseScenario, scenarioOf } from './scenario.ts';
import { runStartUp } from './start-up.ts';
import { runWhoCan } from './who-can.ts';
import { buildWorkload } from './workload.ts';
import { FELIX_SCALE, SMALL_SCALE } from './workload-scale.ts';

export interface RunOptions {
  readonly rounds: number;
  /** Of captures; matching alone takes a tenth, and at least all of a small number. */
  readonly packets: number;
  readonly withPeers: boolean;
  /** A hundredth of the pods, for trials of the harness. */
  readonly isSmall: boolean;
  /** Of the soak; undefined: ten minutes. */
  readonly hours?: number | undefined;
  readonly skipped: string[];
}

export const SCENARIO_HELP = `Scenarios:
  g10 g100 g1k g10k g100k, e10 e100 e1k e10k    replay of a capture, rules for all or by account;
      with -ov (overlapping selectors), -zipf or -talk (100 000 flows), -mixed (sizes)
  match-SHAPE       matching alone, packets in memory
  compile-SHAPE     from JSON text to tables that answer
  load-SHAPE        the same beside ipset, iptables and nftables, and single changes
  start-up, parts   a lesson start to end; selector, compile, lookup, batch, decode by tinybench
  decoders          npm packages and tshark on the first packets of e1k
  authz             the authorization service: decisions a second, and over gRPC
  who-can           who can reach a pod, 5 000 roles, 20 000 bindings
  queue             workers of a queue, one against two (needs redis-server)
  identities        the store at 100 000 pods, changes while packets are judged (needs redis-server)
  agent             the node's agent on a cable: loss, CPU, memory, gaps, floods, latency (needs root)
  agent-soak        the same for ten minutes or --hours N, with changes and kills (needs root)
  eval              margay eval of 100 000 flows, 1 000 pods, 200 policies
  heap              what the packet loop allocates
  dump              kubectl get pods -A -o json of 250 000 pods, 10 000 policies
  dump-compact      the same without white space
  node-scale        the tables of a node: 200 of 250 000 endpoints, 10 000 policies
  churn             100 000 label updates of parents; selectors that change
`;

const FEW_PACKETS = 1_000_000;
/** Kinds that take a shape. */
const SHAPED = /^(match|compile|load)-(.*)$/;

/** Throws for a name that is no scenario. */
export async function runScenario(name: string, options: RunOptions): Promise<Measurement[]> {
  const { rounds, packets, withPeers, isSmall, hours, skipped } = options;
  const scale = isSmall ? SMALL_SCALE : FELIX_SCALE;
  if (parseScenario(name) !== undefined) {
    return runEndToEnd(prepare(scenarioOf(name), packets), { rounds, withPeers, skipped });
  }
  const [, kind = name, shape = ''] = SHAPED.exec(name) ?? [];
  const few = Math.min(packets, FEW_PACKETS);
  switch (kind) {
    case 'match':
      return runMatchOnly(scenarioOf(shape), { rounds, withPeers, packets: few, skipped });
    case 'compile':
      return runCompile(shape, rounds);
    case 'load':
      return runKernel(shape, rounds, withPeers, skipped);
    case 'start-up':
      return runStartUp(rounds);
    case 'parts':
      return runParts();
    case 'decoders':
      return runDecoders(few, rounds, skipped);
    case 'authz':
      return runAuthz(rounds);
    case 'who-can':
      return runWhoCan(rounds);
    case 'identities':
      return identities(few, skipped);
    case 'queue':
      return queue(packets, rounds, skipped);
    case 'agent':
      return agent(few, isSmall, skipped);
    case 'agent-soak':
      return runAgentSoak(hours, isSmall, skipped);
    case 'eval':
      return runEval(rounds);
    case 'heap':
      return runHeap(packets, rounds);
    case 'dump':
      return runDump('dump', rounds, scale);
    case 'dump-compact':
      return runDump('compact', rounds, scale);
    case 'node-scale':
      return runNodeScale(scale);
    case 'churn':
      return runChurn(scale);
    default:
      throw new Error(`no scenario '${name}'; npm run bench -- --help lists them`);
  }
}

/** The agent judges by the tables of a node that has 1 000 of 100 000 pods. */
function agent(packets: number, isSmall: boolean, skipped: string[]): Promise<Measurement[]> {
  const { capture } = prepare(scenarioOf('e100'), packets);
  return runAgentBench({ cluster: nodeCluster(isSmall ? 1000 : 100_000), capture, packets, isSmall }, skipped);
}

/** Packets of e100, while changes flow; without Redis there is nothing to run. */
function identities(packets: number, skipped: string[]): Measurement[] {
  const { capture } = prepare(scenarioOf('e100'), packets);
  const rows = runIdentities(capture);
  if (rows.length === 0) skipped.push('identities: redis-server not installed');
  return rows;
}

/** One worker against two; without Redis there is nothing to run. */
async function queue(packets: number, runs: number, skipped: string[]): Promise<Measurement[]> {
  const { cluster, capture } = prepare(scenarioOf('e100-talk'), packets);
  const rows = await runQueue(cluster, capture, runs);
  if (rows.length === 0) skipped.push('queue: redis-server not installed');
  return rows;
}

/** Writes the files of a scenario and runs nothing, so that a quiet quarter of an hour is not spent on them. */
export function prepareScenario(name: string, packets: number, isSmall: boolean): void {
  const scenario = parseScenario(name);
  if (scenario !== undefined) {
    prepare(scenario, packets);
    return;
  }
  const [, kind = name, shape = ''] = SHAPED.exec(name) ?? [];
  const scale = isSmall ? SMALL_SCALE : FELIX_SCALE;
  if (shape !== '') clusterFile(buildWorkload(scenarioOf(shape).shape));
  else if (kind === 'heap') prepareHeap(packets);
  else if (kind === 'dump') scaleFiles(scale, 'dump');
  else if (kind === 'dump-compact') scaleFiles(scale, 'compact');
  else if (kind === 'node-scale' || kind === 'churn') scaleFiles(scale, 'lean');
}
