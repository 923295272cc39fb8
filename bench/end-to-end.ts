/**
 * Whole replays of one scenario: the program with the full policy on every packet, and peers on the same file, in turn.
 *
 * A packet's time counts from opening the capture to the end of the process (replay.ts), a peer's from the start of its process
 * to its end: no peer but rte_acl loads any policy, and that one leaves it out as we do. The page cache's own speed, a bare
 * `readSync` pass over the file, stands beside them.
 */
import { CHECKED_PACKETS, checkReplay, compareSums } from './agree.ts';
import { alternate, type Runner } from './alternate.ts';
import { type Measurement, measured, ratio } from './measurement.ts';
import { createNaive, type Naive, naiveMatches } from './naive.ts';
import { BARE, cpuName, LIBPCAP_ACL, over, RESIDENT, replayName } from './names.ts';
import { orSkipped } from './peers/build.ts';
import { bareRead, libpcapLoop, type Reader, tcpdumpCopying, tcpdumpReading } from './peers/readers.ts';
import { bestAlgorithm, bestOf, startAclPcap } from './peers/rte-acl.ts';
import type { Prepared } from './prepare.ts';
import { progress } from './progress.ts';
import { FORMS, type Form, type ReplayOptions, replayArgs, runReplay } from './replay.ts';
import { drawTuples } from './workload-traffic.ts';

export interface EndToEndOptions {
  readonly rounds: number;
  readonly withPeers: boolean;
  readonly skipped: string[];
}

/** A way of replaying that is timed: one of the forms, with or without connection tracking. */
interface Way {
  readonly name: string;
  readonly form: Form;
  readonly isTracked: boolean;
  readonly workers: number;
  readonly options: ReplayOptions;
  readonly loadMs: number[];
  readonly residentMb: number[];
  /** Seconds of processors, one a round. */
  readonly cpuSeconds: number[];
}

export async function runEndToEnd(prepared: Prepared, options: EndToEndOptions): Promise<Measurement[]> {
  const { scenario, workload, capture, packets } = prepared;
  const naive = createNaive(workload);
  for (const form of FORMS) checkReplay(prepared, naive, form);
  const ways = waysOf(prepared);
  const peers = options.withPeers ? await peersOf(prepared, naive, options.skipped) : [];
  const perPacket = (seconds: number): number => (seconds * 1e9) / packets;
  // Into the page cache, then as every other pass.
  bareRead(capture);
  const runners: Runner[] = [
    { name: BARE, run: () => perPacket(bareRead(capture)) },
    ...ways.map((way) => ({ name: way.name, run: () => perPacket(replayOnce(way, packets)) })),
    ...peers.map(({ name, run }) => ({ name, run: async () => perPacket(await run()) })),
  ];
  try {
    const single = ways.filter(({ workers }) => workers === 1);
    const stages = single.flatMap((way) => stageReport(scenario.name, packets, way));
    const values = await alternate(scenario.name, options.rounds, runners);
    return [
      ...report(scenario.name, values, ways, peers),
      ...cpuReport(scenario.name, packets, ways, peers),
      ...stages,
    ];
  } finally {
    for (const { close } of peers) close();
  }
}

/** Tracked only where flows come again; by two workers only where the figures ask for it. */
function waysOf({ scenario, cluster, capture }: Prepared): Way[] {
  const tracked = scenario.traffic === 'uniform' ? [false] : [false, true];
  const workers = WORKERS_SCENARIOS.includes(scenario.name) ? [1, 2] : [1];
  return FORMS.flatMap((form) =>
    tracked.flatMap((isTracked) =>
      workers.map((count) => ({
        name: replayName(form, isTracked, count),
        form,
        isTracked,
        workers: count,
        options: { cluster, capture, form, tracked: isTracked, ...(count > 1 ? { workers: count } : {}) },
        loadMs: [],
        residentMb: [],
        cpuSeconds: [],
      })),
    ),
  );
}

const WORKERS_SCENARIOS: readonly string[] = ['e1k', 'e1k-talk'];

/** Nothing is timed that judges less: every packet must have a verdict, tracked or not. */
function replayOnce(way: Way, packets: number): number {
  const { judgeSeconds, cpuSeconds, loadSeconds, residentMb, answer } = runReplay(way.options);
  const { totals } = answer;
  if (totals.packets !== packets || totals.allow + totals.deny !== packets) {
    throw new Error(`${way.name} judged ${totals.allow + totals.deny} of ${packets} packets`);
  }
  way.loadMs.push(loadSeconds * 1000);
  way.residentMb.push(residentMb);
  way.cpuSeconds.push(cpuSeconds);
  return judgeSeconds;
}

interface RunningPeer {
  readonly name: string;
  readonly note?: string;
  readonly run: () => number | Promise<number>;
  /** Seconds of processors, one a round where they are known. */
  readonly cpuSeconds: number[];
  readonly close: () => void;
}

async function peersOf(prepared: Prepared, naive: Naive, skipped: string[]): Promise<RunningPeer[]> {
  const peers: RunningPeer[] = [];
  for (const start of [tcpdumpReading, tcpdumpCopying, libpcapLoop]) {
    const reader = await orSkipped<Reader>(start, skipped);
    if (reader === undefined) continue;
    const cpuSeconds: number[] = [];
    const run = (): number => {
      const pass = reader.run(prepared.capture);
      if (pass.cpuSeconds !== undefined) cpuSeconds.push(pass.cpuSeconds);
      return pass.seconds;
    };
    peers.push({ name: reader.name, run, cpuSeconds, close: () => {} });
  }
  const { shape } = prepared.workload;
  if (shape.accounts > 1 || shape.overlapping || shape.rules > 1000) return peers;
  const acl = await orSkipped(() => libpcapWithAcl(prepared, naive), skipped);
  return acl === undefined ? peers : [...peers, acl];
}

/** Checked against the naive reference, then run by its best algorithm. */
async function libpcapWithAcl({ scenario, workload, capture, packets }: Prepared, naive: Naive): Promise<RunningPeer> {
  const session = await startAclPcap(workload, capture);
  const best = await bestAlgorithm(session);
  const checked = Math.min(CHECKED_PACKETS, packets);
  const { hits, sum } = await session.run(`run ${best} ${checked}`);
  const tuples = drawTuples(workload, scenario.traffic, checked);
  const expected = naiveMatches(naive, tuples, checked);
  compareSums(`${scenario.name}, rte_acl`, { hits, sum }, { ...expected, allow: 0 });
  const cpuSeconds: number[] = [];
  const run = async (): Promise<number> => {
    const { ns, cpuNs } = await session.run(`run ${best}`);
    cpuSeconds.push(cpuNs / 1e9);
    return ns / 1e9;
  };
  return { name: LIBPCAP_ACL, note: bestOf(session, best), run, cpuSeconds, close: () => session.close() };
}

function report(
  scenario: string,
  values: ReadonlyMap<string, readonly number[]>,
  ways: readonly Way[],
  peers: readonly RunningPeer[],
): Measurement[] {
  const of = (name: string): readonly number[] => values.get(name)!;
  const rows = [measured(scenario, BARE, 'ns/packet', of(BARE))];
  for (const { name, options, loadMs, residentMb } of ways) {
    const rates = of(name).map((ns) => 1e9 / ns);
    rows.push(
      measured(scenario, name, 'ns/packet', of(name), { command: `node ${replayArgs(options).join(' ')}` }),
      measured(scenario, `${name}: rate`, 'packets/s', rates),
      measured(scenario, `${name}: start to first packet`, 'ms', loadMs),
      measured(scenario, `${name}: ${RESIDENT}`, 'MB', residentMb),
    );
  }
  for (const { name, note } of peers) {
    rows.push(measured(scenario, name, 'ns/packet', of(name), note === undefined ? {} : { note }));
  }
  for (const { name, form, isTracked, workers } of ways) {
    if (workers === 1) continue;
    const one = replayName(form, isTracked);
    rows.push(ratio(scenario, over(one, name), of(one), of(name)));
  }
  for (const peer of peers) {
    for (const way of ways) rows.push(ratio(scenario, over(peer.name, way.name), of(peer.name), of(way.name)));
  }
  return rows;
}

/**
 * The same in time of processors. It leaves out what others of a shared machine take, but not what they do to the caches: where it and
 * the time on the wall tell different ratios, the machine was busy.
 */
function cpuReport(
  scenario: string,
  packets: number,
  ways: readonly Way[],
  peers: readonly RunningPeer[],
): Measurement[] {
  const perPacket = (seconds: readonly number[]): number[] => seconds.map((value) => (value * 1e9) / packets);
  const known = peers.filter(({ cpuSeconds }) => cpuSeconds.length > 0);
  return [
    ...[...ways, ...known].map(({ name, cpuSeconds }) =>
      measured(scenario, cpuName(name), 'ns/packet', perPacket(cpuSeconds)),
    ),
    ...known.flatMap((peer) =>
      ways.map((way) => ratio(scenario, cpuName(over(peer.name, way.name)), peer.cpuSeconds, way.cpuSeconds)),
    ),
  ];
}

/** Where the time goes, as the program itself says: one more run, whose looks at the clock are in no other row. */
function stageReport(scenario: string, packets: number, { name, options }: Way): Measurement[] {
  progress(`${scenario}: stages of ${name}`);
  const { answer } = runReplay({ ...options, args: ['--stats'] });
  return Object.entries(answer.stats?.stages ?? {}).map(([stage, seconds]) =>
    measured(scenario, `${name}: stage ${stage}`, 'ns/packet', [(seconds * 1e9) / packets]),
  );
}
