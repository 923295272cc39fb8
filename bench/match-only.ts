/**
 * Match alone: five-tuples in memory, address lookups included, without reading or parsing. Ours against DPDK's classifier, which is
 * given the classes of addresses for free or holds the sets expanded, and against the rules of one endpoint in the kernel.
 */
import { join } from 'node:path';
import { CHECKED_PACKETS, compareSums } from './agree.ts';
import { alternate } from './alternate.ts';
import type { LoadTimes } from './children/load.ts';
import { type Measurement, measured, ratio } from './measurement.ts';
import { createNaive, naiveMatches } from './naive.ts';
import { ACL_CLASSES, ACL_EXPANDED, cpuName, EBPF, matchName, OBJECTS_TO_TABLES, over, TABLES } from './names.ts';
import { orSkipped } from './peers/build.ts';
import { EBPF_REPEATS, startEbpf } from './peers/ebpf.ts';
import { type AclMode, type AclSession, bestAlgorithm, bestOf, startAclMatch } from './peers/rte-acl.ts';
import { FORMS, type Form } from './replay.ts';
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
  readonly cpuNs: number;
}

/** Of one run, as in children/match.ts. */
const PASSES = 5;

/** Ours in one of its forms, or a peer. */
interface Entrant {
  readonly name: string;
  /** Nanoseconds a packet. */
  readonly run: () => Promise<number>;
  /** The same in time of processors, one a round where it is known. */
  readonly cpuNs: number[];
}

interface Peer extends Entrant {
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
    const forms = FORMS.map((form) => formEntrant(form, ours, packets));
    const values = await alternate(name, rounds, [...forms, ...peers]);
    return [
      ...rowsOf(name, forms, peers, ({ name: entrant }) => values.get(entrant)!),
      ...rowsOf(name, forms, peers, ({ cpuNs }) => cpuNs, cpuName),
      measured(name, OBJECTS_TO_TABLES, 'ms', [ours.ready.planMs + ours.ready.packMs + ours.ready.openMs]),
      measured(name, TABLES, 'MB', [ours.ready.tableBytes / 1e6]),
      ...peers.flatMap(({ rows }) => rows),
    ];
  } finally {
    ours.close();
    for (const { close } of peers) close();
  }
}

function formEntrant(form: Form, ours: Session<LoadTimes, MatchAnswer>, packets: number): Entrant {
  const cpuNs: number[] = [];
  const run = async (): Promise<number> => {
    const answer = await ours.run(`run ${form}`);
    cpuNs.push(answer.cpuNs / packets);
    return answer.ns / packets;
  };
  return { name: matchName(form), run, cpuNs };
}

/** Each by itself, then every peer over every form of ours. */
function rowsOf(
  scenario: string,
  forms: readonly Entrant[],
  peers: readonly Entrant[],
  valuesOf: (entrant: Entrant) => readonly number[],
  nameOf = (name: string): string => name,
): Measurement[] {
  const known = peers.filter((peer) => valuesOf(peer).length > 0);
  return [
    ...[...forms, ...known].map((entrant) => measured(scenario, nameOf(entrant.name), 'ns/packet', valuesOf(entrant))),
    ...known.flatMap((peer) =>
      forms.map((form) =>
        ratio(scenario, nameOf(over(peer.name, form.name)), valuesOf(peer), valuesOf(form), noteOf(peer)),
      ),
    ),
  ];
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
  const cpuNs: number[] = [];
  const run = async (): Promise<number> => {
    let [wall, cpu] = [0, 0];
    for (let i = 0; i < PASSES; i++) {
      const answer = await session.run(`run ${best}`);
      wall += answer.ns / answer.packets;
      cpu += answer.cpuNs / answer.packets;
    }
    cpuNs.push(cpu / PASSES);
    return wall / PASSES;
  };
  const built = measured(name, `rte_acl build (${mode})`, 'ms', [session.ready.buildMs], {
    note: bestOf(session, best),
  });
  const title = mode === 'classes' ? ACL_CLASSES : ACL_EXPANDED;
  return { name: title, run, cpuNs, close: () => session.close(), rows: [built] };
}

/** At most 200 rules of one endpoint: a program of a thousand does not load. */
function isForEbpf({ name }: Scenario): boolean {
  return ['g10', 'g100', 'e10', 'e1k'].includes(name);
}

async function ebpfPeer(name: string, workload: Workload): Promise<Peer> {
  const session = await startEbpf(workload);
  const run = async (): Promise<number> => (await session.run(`run ${EBPF_REPEATS}`)).ns;
  const rows = [measured(name, 'eBPF: filling the map of sets', 'ms', [session.ready.loadMs])];
  // The kernel tells the time on the wall alone.
  return { name: EBPF, run, cpuNs: [], close: () => session.close(), rows };
}

function noteOf({ name }: Entrant): { note?: string } {
  return name === EBPF ? { note: 'the kernel enforces, we replay outside of it' } : {};
}
