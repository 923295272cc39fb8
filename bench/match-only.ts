/**
 * Match alone: five-tuples in memory, address lookups included, without reading or parsing. Ours against DPDK's classifier, which is
 * given the classes of addresses for free or holds the sets expanded, and against the rules of one endpoint in the kernel.
 */
import { join } from 'node:path';
import { CHECKED_PACKETS, compareSums } from './agree.ts';
import { alternate, type Runner } from './alternate.ts';
import type { LoadTimes } from './children/load.ts';
import { type Measurement, measured, ratio } from './measurement.ts';
import { createNaive, naiveMatches } from './naive.ts';
import { ACL_CLASSES, ACL_EXPANDED, EBPF, matchName, OBJECTS_TO_TABLES, over, TABLES } from './names.ts';
import { orSkipped } from './peers/build.ts';
import { EBPF_REPEATS, startEbpf } from './peers/ebpf.ts';
import { type AclMode, type AclSession, bestAlgorithm, startAclMatch } from './peers/rte-acl.ts';
import { FORMS } from './replay.ts';
import type { Scenario } from './scenario.ts';
import { Session } from './session.ts';
import { buildWorkload, type Shape, TUPLE_WORDS, type Workload } from './workload.ts';
import { drawTuples } from './workload-traffic.ts';

export interface MatchOptions {
  readonly rounds: number;
  readonly withPeers: boolean;
  readonly packets: number;
  readonly skipped: string[];
}

interface MatchAnswer {
  readonly ns: number;
  readonly packets: number;
}

/** Of one run, as in children/match.ts. */
const PASSES = 5;

interface Peer {
  readonly name: string;
  readonly run: () => Promise<number>;
  readonly close: () => void;
  readonly rows: readonly Measurement[];
}

export async function runMatchOnly(scenario: Scenario, options: MatchOptions): Promise<Measurement[]> {
  const { rounds, packets, skipped } = options;
  const name = `match-${scenario.name}`;
  const workload = buildWorkload(scenario.shape);
  const child = join(import.meta.dirname, 'children/match.js');
  const ours = await Session.start<LoadTimes, MatchAnswer>('match', process.execPath, [
    child,
    scenario.name,
    `${packets}`,
  ]);
  const peers: Peer[] = [];
  try {
    if (options.withPeers) {
      const tuples = drawTuples(workload, scenario.traffic, packets);
      for (const mode of aclModes(scenario.shape)) {
        const peer = await orSkipped(() => aclPeer(name, scenario, workload, mode, tuples), skipped);
        if (peer !== undefined) peers.push(peer);
      }
      const ebpf = isForEbpf(scenario) ? await orSkipped(() => ebpfPeer(name, workload), skipped) : undefined;
      if (ebpf !== undefined) peers.push(ebpf);
    }
    const runners: Runner[] = [
      ...FORMS.map((form) => ({
        name: matchName(form),
        run: async () => (await ours.run(`run ${form}`)).ns / packets,
      })),
      ...peers.map((peer) => ({ name: peer.name, run: peer.run })),
    ];
    const values = await alternate(name, rounds, runners);
    const of = (runner: string): readonly number[] => values.get(runner)!;
    return [
      ...runners.map((runner) => measured(name, runner.name, 'ns/packet', of(runner.name))),
      ...peers.flatMap((peer) =>
        FORMS.map((form) => {
          const match = matchName(form);
          return ratio(name, over(peer.name, match), of(peer.name), of(match), noteOf(peer));
        }),
      ),
      measured(name, OBJECTS_TO_TABLES, 'ms', [ours.ready.planMs + ours.ready.packMs + ours.ready.openMs]),
      measured(name, TABLES, 'MB', [ours.ready.tableBytes / 1e6]),
      ...peers.flatMap(({ rows }) => rows),
    ];
  } finally {
    ours.close();
    for (const { close } of peers) close();
  }
}

function aclModes({ accounts, overlapping, rules }: Shape): AclMode[] {
  if (overlapping) return [];
  return accounts === 1 && rules <= 1_000 ? ['classes', 'expanded'] : ['classes'];
}

async function aclPeer(
  name: string,
  scenario: Scenario,
  workload: Workload,
  mode: AclMode,
  tuples: Int32Array,
): Promise<Peer> {
  const session: AclSession = await startAclMatch(scenario, workload, mode, tuples);
  const best = await bestAlgorithm(session);
  const checked = Math.min(CHECKED_PACKETS, tuples.length / TUPLE_WORDS);
  const { hits, sum } = await session.run(`run ${best} ${checked}`);
  const expected = naiveMatches(createNaive(workload), tuples, checked);
  compareSums(`${name}, rte_acl (${mode})`, { hits, sum }, { ...expected, allow: 0 });
  const run = async (): Promise<number> => {
    let ns = 0;
    for (let i = 0; i < PASSES; i++) {
      const answer = await session.run(`run ${best}`);
      ns += answer.ns / answer.packets;
    }
    return ns / PASSES;
  };
  const built = measured(name, `rte_acl build (${mode})`, 'ms', [session.ready.buildMs], { note: `best: ${best}` });
  return { name: mode === 'classes' ? ACL_CLASSES : ACL_EXPANDED, run, close: () => session.close(), rows: [built] };
}

/** At most 200 rules of one endpoint: a program of a thousand does not load. */
function isForEbpf({ name }: Scenario): boolean {
  return ['g10', 'g100', 'e10', 'e1k'].includes(name);
}

async function ebpfPeer(name: string, workload: Workload): Promise<Peer> {
  const session = await startEbpf(workload);
  const run = async (): Promise<number> => (await session.run(`run ${EBPF_REPEATS}`)).ns;
  const rows = [measured(name, 'eBPF: filling the map of sets', 'ms', [session.ready.loadMs])];
  return { name: EBPF, run, close: () => session.close(), rows };
}

function noteOf({ name }: Peer): { note?: string } {
  return name === EBPF ? { note: 'the kernel enforces, we replay outside of it' } : {};
}
