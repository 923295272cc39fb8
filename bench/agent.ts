/**
 * The agent on a cable between two ends of one network namespace: packets a second through each source until some are lost, a minute of
 * 100 000 packets a second, memory beside 100 000 identities, a flood of made-up five-tuples, and the way of a packet to the page.
 *
 * Asked: 100 000 packets a second for 60 s with nothing lost that is not counted, the main loop's longest gap under 250 ms, less than 300 MB in all
 * processes together. The sender needs most of a core itself, so on two cores there is little to spare; see the load average beside
 * the figures.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Accounting } from '../src/agent/api.ts';
import { buildSender, Cable, namespaceTrouble, removeSender, send } from '../test/support/cable.ts';
import { AgentProcess, WITHOUT_BENCH } from './agent-process.ts';
import { type Measurement, measured } from './measurement.ts';
import { MARGAY } from './paths.ts';
import { runProcess } from './process.ts';
import { progress } from './progress.ts';

const SCENARIO = 'agent';
const RATES = [25_000, 50_000, 100_000, 150_000, 200_000, 300_000, 400_000];
const RATE_SECONDS = 4;
const FLOOD_PACKETS = 10_000_000;

export interface AgentBench {
  /** Manifests of 100 000 pods, 1 000 of them on node n1. */
  readonly cluster: string;
  /** A capture for the source that is a file. */
  readonly capture: string;
  readonly packets: number;
  /** Shorter, for trials of the harness. */
  readonly isSmall: boolean;
}

/** Empty, with the reason in `skipped`, where there can be no namespaces or no sender. */
export async function runAgentBench(bench: AgentBench, skipped: string[]): Promise<Measurement[]> {
  const trouble = namespaceTrouble() ?? (buildSender() === undefined ? 'no C compiler' : undefined);
  if (trouble !== undefined) {
    skipped.push(`agent: ${trouble}`);
    return [];
  }
  const cable = new Cable();
  cable.run('ip', 'link', 'set', 'lo', 'up');
  try {
    const rows = [...fileRates(bench), ...(await floodRows(bench))];
    for (const source of ['cap', 'tcpdump']) {
      rows.push(...(await sourceRates(cable, source, bench)));
    }
    rows.push(...(await longRun(cable, bench)), ...(await latencyRows(cable, bench)));
    return rows;
  } finally {
    cable.close();
    removeSender();
  }
}

/** Throws if the numbers do not add up. */
export function checkAccounting({ seen, judged, duplicate, undecoded, lost, ...of }: Accounting): void {
  const verdicts = of.allow + of.deny + of.unpoliced + of.uncertain;
  if (seen === judged + duplicate + undecoded + lost && judged === verdicts) return;
  throw new Error(
    `the accounting does not add up: ${JSON.stringify({ seen, judged, duplicate, undecoded, lost, ...of })}`,
  );
}

/** Files and standard input wait for the judge, so they have a rate, and no loss. */
function fileRates({ cluster, capture, packets }: AgentBench): Measurement[] {
  const rows: Measurement[] = [];
  for (const [name, command] of [
    [
      'a file',
      `env ${WITHOUT_BENCH.join(' ')} "$0" "$1" agent -f ${cluster} --node n1 --source file:${capture} --until-end`,
    ],
    [
      'standard input',
      `cat ${capture} | env ${WITHOUT_BENCH.join(' ')} "$0" "$1" agent -f ${cluster} --node n1 --source - --until-end`,
    ],
  ] as const) {
    progress(`agent: ${name}`);
    const listen = ' --listen 127.0.0.1:9097';
    const { stdout, stderr, seconds } = runProcess('sh', ['-c', command + listen, process.execPath, MARGAY]);
    const judged = Number(/seen \d+ = judged (\d+)/.exec(stdout + stderr)?.[1]);
    if (judged !== packets) throw new Error(`${judged} of ${packets} packets were judged: ${stderr.slice(-500)}`);
    rows.push(
      measured(SCENARIO, `packets through ${name}`, 'packets/s', [packets / seconds], {
        note: 'with the start of the agent',
      }),
    );
  }
  return rows;
}

/** The highest rate at which nothing is lost, and what is lost at the next. */
async function sourceRates(cable: Cable, source: string, bench: AgentBench): Promise<Measurement[]> {
  let best = 0;
  let lostShare = 0;
  let cpu = 0;
  for (const rate of bench.isSmall ? RATES.slice(0, 2) : RATES) {
    progress(`agent: ${source} at ${rate.toLocaleString('en')} packets/s`);
    const agent = new AgentProcess(cable, ['-f', bench.cluster, '--node', 'n1', '-i', 'right', '--source', source]);
    await agent.ready();
    const before = agent.usage();
    const sent = await send(cable, rate * RATE_SECONDS, rate, 1000).sent;
    const { accounting } = await settled(agent, sent);
    const used = agent.usage();
    await agent.stop();
    checkAccounting(accounting);
    // Of what was seen: what the kernel dropped cost next to nothing.
    cpu = ((used.captureCpu - before.captureCpu) / accounting.seen) * 1e5;
    const lost = accounting.lost + accounting.droppedByKernel;
    if (lost > 0) {
      lostShare = lost / sent;
      break;
    }
    best = rate;
  }
  return [
    measured(SCENARIO, `${source}: packets a second without loss`, 'packets/s', [best], {
      note:
        lostShare === 0
          ? 'nothing was lost at the highest rate tried'
          : `${(100 * lostShare).toFixed(2)} % lost at the next rate`,
    }),
    measured(SCENARIO, `${source}: CPU of capture and judge for 100 000 packets`, 's', [cpu]),
  ];
}

/** Waits until everything that was sent is seen or known to be dropped; gives up after a while, since an estimate may fall short. */
async function settled(agent: AgentProcess, sent: number): Promise<{ accounting: Accounting }> {
  const isDone = ({ accounting }: { accounting: Accounting }): boolean =>
    accounting.seen + accounting.droppedByKernel >= sent;
  return agent.until('all packets are accounted for', isDone, 15_000).catch(() => agent.status!);
}

/** A minute at 100 000 packets a second. */
async function longRun(cable: Cable, bench: AgentBench): Promise<Measurement[]> {
  const seconds = bench.isSmall ? 5 : 60;
  progress(`agent: ${seconds} s at 100 000 packets/s`);
  const agent = new AgentProcess(cable, ['-f', bench.cluster, '--node', 'n1', '-i', 'right']);
  const { generation } = await agent.ready();
  const before = agent.usage();
  agent.slowestMs = 0;
  agent.lagMs = 0;
  const sending = send(cable, 100_000 * seconds, 100_000, 1000);
  const memory: number[] = [];
  const timer = setInterval(() => {
    memory.push(agent.usage().memoryMb);
    if (agent.status !== undefined) checkAccounting(agent.status.accounting);
  }, 1000);
  const sent = await sending.sent;
  clearInterval(timer);
  const { accounting } = await settled(agent, sent);
  const used = agent.usage();
  await agent.stop();
  checkAccounting(accounting);
  const { lost, droppedByKernel, seen } = accounting;
  const missing = sent - seen - droppedByKernel;
  const share = (count: number): Measurement['median'] => (100 * count) / sent;
  const row = (name: string, unit: Measurement['unit'], values: readonly number[], note: string): Measurement =>
    measured(SCENARIO, `100 000 packets/s: ${name}`, unit, values, { note });
  return [
    row('lost in the ring', 'count', [lost], `of ${sent}`),
    row(
      'dropped by the kernel, estimated',
      'count',
      [droppedByKernel],
      `${share(droppedByKernel).toFixed(2)} % of ${sent}`,
    ),
    row('neither seen nor counted', 'count', [missing], 'asked: 0'),
    row('CPU of capture and judge', 's', [(used.captureCpu - before.captureCpu) / seconds], 'a second'),
    row('CPU of the other processes', 's', [(used.otherCpu - before.otherCpu) / seconds], 'a second'),
    row("main loop's longest gap", 'ms', [agent.lagMs], 'asked: under 250 ms'),
    row('slowest answer to a question for the status', 'ms', [agent.slowestMs], ''),
    row(
      'memory of all processes',
      'MB',
      memory,
      `asked: under 300 MB with ${generation.endpoints} endpoints, ${generation.localEndpoints} local`,
    ),
  ];
}

/** More five-tuples than fit a table of a million. */
async function floodRows({ cluster, isSmall }: AgentBench): Promise<Measurement[]> {
  const packets = isSmall ? FLOOD_PACKETS / 100 : FLOOD_PACKETS;
  progress(`agent: ${packets.toLocaleString('en')} made-up five-tuples`);
  const entries = ['--conntrack-entries', String(isSmall ? 10_000 : 1_000_000), '--listen', '127.0.0.1:9097'];
  const command = `"$0" - ${packets} 0 1 54 | env ${WITHOUT_BENCH.join(' ')} "$1" "$2" agent -f ${cluster} --node n1 --source - --until-end ${entries.join(' ')}`;
  const { stdout, stderr, seconds } = runProcess('sh', ['-c', command, buildSender()!, process.execPath, MARGAY], {
    timeoutMs: 30 * 60_000,
  });
  const judged = Number(/seen \d+ = judged (\d+)/.exec(stdout + stderr)?.[1]);
  if (judged !== packets) throw new Error(`${judged} of ${packets} packets were judged: ${stderr.slice(-500)}`);
  return [
    measured(SCENARIO, 'made-up five-tuples', 'packets/s', [packets / seconds], {
      note: `${packets.toLocaleString('en')} into a table of ${entries[1]}`,
    }),
  ];
}

/** From the cable to the page and to the flow log. */
async function latencyRows(cable: Cable, bench: AgentBench): Promise<Measurement[]> {
  const folder = mkdtempSync(join(tmpdir(), 'margay-bench-agent-'));
  const log = join(folder, 'flows.jsonl');
  try {
    progress('agent: one packet to page and flow log');
    const more = ['--flow-log', log, '--flow-log-interval', '1'];
    const agent = new AgentProcess(cable, ['-f', bench.cluster, '--node', 'n1', '-i', 'right', ...more]);
    await agent.ready();
    const page: number[] = [];
    const file: number[] = [];
    for (let round = 0; round < (bench.isSmall ? 2 : 10); round++) {
      const watch = spawn(cable.prefix[0]!, [
        ...cable.prefix.slice(1),
        process.execPath,
        '-e',
        WATCH,
        log,
        buildSender()!,
        String(20 + round),
      ]);
      let text = '';
      for await (const piece of watch.stdout) text += String(piece);
      const [toPage, toLog] = text.trim().split(' ').map(Number);
      page.push(toPage!);
      file.push(toLog!);
    }
    await agent.stop();
    return [
      measured(SCENARIO, 'packet to page', 'ms', page, { note: 'reports are made every 250 ms' }),
      measured(SCENARIO, 'packet to flow log', 'ms', file, { note: 'at an interval of 1 s' }),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Sends a packet of new ports and waits for its flow: prints milliseconds to the page and to the flow log. */
const WATCH = `
  const { execFileSync } = require('node:child_process');
  const { readFileSync, existsSync } = require('node:fs');
  const [log, sender, flows] = process.argv.slice(1);
  const port = 1024 + Number(flows) - 1;
  const start = performance.now();
  execFileSync(sender, ['left', flows, '0', flows, '100']);
  let page, file;
  const look = async () => {
    if (page === undefined) {
      const answer = await (await fetch('http://127.0.0.1:9099/api/v1/flows?limit=200')).json();
      if (answer.flows.some(({ record }) => record.source_port === port)) page = performance.now() - start;
    }
    if (file === undefined && existsSync(log) && readFileSync(log, 'utf8').includes('"source_port":' + port)) file = performance.now() - start;
    if ((page === undefined || file === undefined) && performance.now() - start < 20000) setTimeout(look, 10);
    else console.log(page + ' ' + file);
  };
  look();
`;
