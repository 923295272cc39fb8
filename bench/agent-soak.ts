/**
 * The agent for a long time: traffic, policies and pods that change, children that are killed, and the accounting checked every minute.
 *
 * Ten minutes, or `--hours N`. Memory and descriptors must not grow: the slope over the second half is told, and the run fails when it is more
 * than a leak would take to be seen.
 */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSender, Cable, namespaceTrouble, removeSender, send } from '../test/support/cable.ts';
import { checkAccounting } from './agent.ts';
import { AgentProcess } from './agent-process.ts';
import { type Measurement, measured } from './measurement.ts';
import { progress } from './progress.ts';

const SCENARIO = 'agent-soak';
const MINUTES = 10;
const PACKETS_PER_SECOND = 20_000;
const RELOAD_SECONDS = 5;
/** A child is killed in every minute. */
const MINUTE_MS = 60_000;

/** Empty, with the reason in `skipped`, where there can be no namespaces or no sender. Throws when an invariant breaks. */
export async function runAgentSoak(
  hours: number | undefined,
  isSmall: boolean,
  skipped: string[],
): Promise<Measurement[]> {
  const trouble = namespaceTrouble() ?? (buildSender() === undefined ? 'no C compiler' : undefined);
  if (trouble !== undefined) {
    skipped.push(`agent-soak: ${trouble}`);
    return [];
  }
  const minutes = hours === undefined ? (isSmall ? 1 : MINUTES) : hours * 60;
  const folder = mkdtempSync(join(tmpdir(), 'margay-soak-'));
  const cable = new Cable();
  cable.run('ip', 'link', 'set', 'lo', 'up');
  writeCluster(folder, 0);
  const agent = new AgentProcess(cable, ['-f', folder, '-i', 'right']);
  let reloads = 0;
  try {
    await agent.ready();
    const reloading = setInterval(() => writeCluster(folder, ++reloads), RELOAD_SECONDS * 1000);
    const sending = send(cable, PACKETS_PER_SECOND * 60 * (minutes + 5), PACKETS_PER_SECOND, 5000);
    sending.sent.catch(() => {});
    const memory: number[] = [];
    const descriptors: number[] = [];
    for (let minute = 1; minute <= minutes; minute++) {
      await minuteOf(agent);
      const { memoryMb, descriptors: open } = agent.usage();
      memory.push(memoryMb);
      descriptors.push(open);
      const { seen, lost, droppedByKernel } = agent.status!.accounting;
      progress(
        `agent-soak: minute ${minute}: seen ${seen}, lost ${lost}, dropped ${droppedByKernel}, ${memoryMb.toFixed(0)} MB, ${open} descriptors`,
      );
    }
    clearInterval(reloading);
    sending.process.kill();
    const { generation, accounting, sources } = agent.status!;
    const said = await agent.stop();
    if (!/seen \d+ = judged/.test(said)) throw new Error(`the agent did not end in good order: ${said.slice(-500)}`);
    checkAccounting(accounting);
    return [
      measured(SCENARIO, 'minutes', 'count', [minutes], {
        note: `${accounting.seen} packets, ${sources[0]!.restarts} children killed`,
      }),
      measured(SCENARIO, 'generations', 'count', [generation.number], { note: `${reloads} changes of the manifests` }),
      measured(SCENARIO, 'lost with children', 'count', [accounting.lostByReason['child-crash'] ?? 0], {
        note: 'all lost packets are counted',
      }),
      measured(SCENARIO, 'memory of all processes', 'MB', memory, {
        note: `${slope(memory).toFixed(2)} MB a minute in the second half`,
      }),
      measured(SCENARIO, 'descriptors of all processes', 'count', descriptors, {
        note: `${slope(descriptors).toFixed(2)} a minute in the second half`,
      }),
    ];
  } finally {
    agent.kill();
    cable.close();
    removeSender();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One minute: the accounting is checked throughout, a child is killed in the middle, and replaced. */
async function minuteOf(agent: AgentProcess): Promise<void> {
  const start = performance.now();
  const before = agent.status!.accounting.seen;
  let hasKilled = false;
  while (performance.now() - start < MINUTE_MS) {
    checkAccounting(agent.status!.accounting);
    if (!hasKilled && performance.now() - start > MINUTE_MS / 2) {
      for (const pid of agent.captures()) process.kill(pid, 'SIGKILL');
      hasKilled = true;
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  if (agent.status!.accounting.seen <= before) throw new Error('no packet was seen for a minute');
}

/** Two pods of which one changes its address, and a policy that changes what it allows. */
function writeCluster(folder: string, round: number): void {
  const pod = (name: string, ip: string): string =>
    `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: shop, labels: {app: ${name}}}\n` +
    `spec: {nodeName: n1, serviceAccountName: ${name}, containers: [{name: c, image: x}]}\n` +
    `status: {phase: Running, podIP: ${ip}, podIPs: [{ip: ${ip}}]}\n---\n`;
  const action = round % 2 === 0 ? 'Allow' : 'Deny';
  const text =
    pod('web', round % 4 < 2 ? '10.0.0.1' : '10.0.0.3') +
    pod('db', '10.0.0.2') +
    `apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: db, namespace: shop}\n` +
    `spec: {selector: app == "db", types: [Ingress], ingress: [{action: ${action}, source: {selector: app == "web"}}]}\n`;
  // A reader never meets half a file.
  writeFileSync(join(folder, '.new'), text);
  renameSync(join(folder, '.new'), join(folder, 'cluster.yaml'));
}

/** Least squares over the second half, per step. */
function slope(values: readonly number[]): number {
  const half = values.slice(values.length >> 1);
  const n = half.length;
  if (n < 2) return 0;
  const meanX = (n - 1) / 2;
  const meanY = half.reduce((sum, y) => sum + y, 0) / n;
  let [top, bottom] = [0, 0];
  half.forEach((y, x) => {
    top += (x - meanX) * (y - meanY);
    bottom += (x - meanX) ** 2;
  });
  return top / bottom;
}
