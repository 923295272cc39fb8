/**
 * DPDK's classifier (`rte_acl`): the bench's rules in the two ways that it can hold them.
 *
 * - `expanded`: one entry for each member of a rule's source set. It judges what a packet carries, as we do.
 * - `classes`: source set and destination account are given as numbers, for free; nothing is looked up by address.
 */
import { writeFileSync } from 'node:fs';
import { kept } from '../paths.ts';
import type { Scenario } from '../scenario.ts';
import { Session } from '../session.ts';
import { TUPLE_WORDS, type Workload } from '../workload.ts';
import { compiled, libraryFlags, PeerMissing } from './build.ts';

export type AclMode = 'expanded' | 'classes';

export interface AclReady {
  readonly buildMs: number;
  readonly algorithms: readonly string[];
}

export interface AclAnswer {
  readonly algorithm: string;
  readonly ns: number;
  /** Time of processors. */
  readonly cpuNs: number;
  readonly packets: number;
  readonly hits: number;
  readonly sum: number;
}

export type AclSession = Session<AclReady, AclAnswer>;

const PEER = 'rte_acl';
/** 22.11 refuses --in-memory together with --no-huge. */
const EAL = '--no-huge --no-shconf --no-telemetry --no-pci -l 0 --force-max-simd-bitwidth 512 --log-level 3'.split(' ');
/** Expanded g1k takes 1 GB, e10k by classes 0.9 GB, g10k 6.7 GB. Pages are taken as they are touched. */
const MEMORY_MB = '8000';

/** Rules in memory, five-tuples in memory: the classifier alone. */
export function startAclMatch(
  scenario: Scenario,
  workload: Workload,
  mode: AclMode,
  tuples: Int32Array,
): Promise<AclSession> {
  const count = tuples.length / TUPLE_WORDS;
  const file = kept(`${workload.shape.name}-${scenario.traffic}-${mode}-${count}.tuples`, (path) =>
    writeFileSync(path, words(tupleWords(workload, mode, tuples))),
  );
  return start('match', rulesFile(workload, mode), file);
}

/** libpcap reads, the classifier judges: end to end. */
export function startAclPcap(workload: Workload, capture: string): Promise<AclSession> {
  return start('pcap', rulesFile(workload, 'expanded'), capture);
}

/** Best of the algorithms by time of processors, the least of three runs each: a busy machine must not choose a slow one. */
export async function bestAlgorithm(session: AclSession): Promise<string> {
  let best: string | undefined;
  let bestNs = Number.POSITIVE_INFINITY;
  for (const algorithm of session.ready.algorithms) {
    for (let i = 0; i < TRIALS; i++) {
      const { cpuNs, packets } = await session.run(`run ${algorithm} ${TRIAL_PACKETS}`);
      if (cpuNs / packets >= bestNs) continue;
      bestNs = cpuNs / packets;
      best = algorithm;
    }
  }
  if (best === undefined) throw new PeerMissing(`${PEER}: no algorithm runs on this processor`);
  return best;
}

/** For the notes: a machine without AVX-512 has other figures. */
export function bestOf(session: AclSession, best: string): string {
  return `best: ${best} of ${session.ready.algorithms.join(', ')}`;
}

const TRIALS = 3;
const TRIAL_PACKETS = 1_000_000;

async function start(mode: string, rules: string, file: string): Promise<AclSession> {
  const program = compiled(PEER, 'rte-acl', [...libraryFlags(PEER, 'libdpdk'), '-lpcap']);
  try {
    return await Session.start<AclReady, AclAnswer>(PEER, program, [...EAL, '-m', MEMORY_MB, '--', mode, rules, file]);
  } catch (error) {
    throw new PeerMissing(`${PEER}: does not start: ${(error as Error).message}`);
  }
}

function rulesFile(workload: Workload, mode: AclMode): string {
  return kept(`${workload.shape.name}-${mode}.acl`, (path) => writeFileSync(path, words(ruleWords(workload, mode))));
}

/** protocol, source, prefix length, destination, prefix length, low port, high port, index */
function ruleWords({ shape, rules, sets }: Workload, mode: AclMode): number[] {
  if (mode === 'expanded' && shape.accounts > 1)
    throw new Error('rules by account are not expanded: they name no address');
  return rules.flatMap(({ set, protocol, low, high }, index) => {
    const account = Math.floor((index * shape.accounts) / shape.rules);
    if (mode === 'classes') return [protocol, set + 1, 32, account + 1, 32, low, high, index];
    const members: number[] = [];
    for (const address of sets[set]!) members.push(protocol, address, 32, 0, 0, low, high, index);
    return members;
  });
}

/** protocol, source, destination, source port, destination port */
function tupleWords(workload: Workload, mode: AclMode, tuples: Int32Array): number[] {
  const setOf = new Map<number, number>();
  const accountOf = new Map<number, number>();
  if (mode === 'classes') {
    if (workload.shape.overlapping) throw new Error('overlapping sets have no class ids of their own');
    workload.sets.forEach((members, set) => {
      for (const address of members) setOf.set(address, set + 1);
    });
    workload.endpoints.forEach((address, index) => {
      accountOf.set(address, (index % workload.shape.accounts) + 1);
    });
  }
  const out: number[] = [];
  for (let at = 0; at < tuples.length; at += TUPLE_WORDS) {
    const [src, dst] = [tuples[at]!, tuples[at + 1]!];
    const isClass = mode === 'classes';
    out.push(tuples[at + 2]!, isClass ? (setOf.get(src) ?? 0) : src, isClass ? (accountOf.get(dst) ?? 0) : dst);
    out.push(tuples[at + 3]!, tuples[at + 4]!);
  }
  return out;
}

function words(numbers: readonly number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(numbers).buffer);
}
