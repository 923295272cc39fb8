/**
 * One endpoint's rules as a Calico-like eBPF program, timed by the kernel itself (BPF_PROG_TEST_RUN).
 *
 * This is enforcement inside the kernel, ours a replay outside of it: say so wherever the ratio is used.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHECKED_TUPLES, compareSums } from '../agree.ts';
import { createNaive, naiveMatches } from '../naive.ts';
import { kept, WORK } from '../paths.ts';
import { runProcess } from '../process.ts';
import { Session } from '../session.ts';
import { rulesOf, TUPLE_WORDS, type Workload } from '../workload.ts';
import { drawTuples } from '../workload-traffic.ts';
import { compiled, need, needRoot, PeerMissing, source } from './build.ts';

export interface EbpfAnswer {
  readonly ns: number;
  readonly emptyNs: number;
  readonly hits: number;
  readonly sum: number;
}

export type EbpfSession = Session<{ readonly loadMs: number }, EbpfAnswer>;

const PEER = 'eBPF';
const TUPLES = 65_536;
/** A packet takes about 5 us. */
export const EBPF_REPEATS = 200_000;

/** Loads the rules of the first account and checks its answers against the naive reference. */
export async function startEbpf(workload: Workload): Promise<EbpfSession> {
  needRoot(PEER);
  need(PEER, 'clang');
  const program = compiled(PEER, 'ebpf-run', ['-lbpf']);
  const one = firstEndpoint(workload);
  const object = compileRules(one);
  const tuples = drawTuples(one, 'uniform', TUPLES);
  const { name } = workload.shape;
  const members = kept(`${name}.members`, (path) => writeFileSync(path, memberWords(workload)));
  const packets = kept(`${name}-endpoint.tuples`, (path) => writeFileSync(path, tupleWords(tuples)));
  let session: EbpfSession;
  try {
    session = await Session.start(PEER, program, [object, members, packets]);
  } catch (error) {
    throw new PeerMissing(`${PEER}: ${(error as Error).message}`);
  }
  const { hits, sum } = await session.run(`check ${CHECKED_TUPLES}`);
  const expected = naiveMatches(createNaive(one), tuples, CHECKED_TUPLES);
  compareSums(`${name}, ${PEER}`, { hits, sum }, { ...expected, allow: 0 });
  return session;
}

/** The workload of the first account alone: its rules and its pods, all sets. */
function firstEndpoint(workload: Workload): Workload {
  const rules = rulesOf(workload, 0);
  const endpoints = workload.endpoints.filter((_, index) => index % workload.shape.accounts === 0);
  const shape = { ...workload.shape, rules: rules.length, accounts: 1, endpoints: endpoints.length };
  return { ...workload, shape, rules, endpoints };
}

function compileRules({ shape, rules }: Workload): string {
  const folder = join(WORK, 'ebpf', shape.name);
  mkdirSync(folder, { recursive: true });
  const lines = rules.map(({ set, protocol, low, high }, i) => `RULE(${i}, ${protocol}, ${set}, ${low}, ${high})`);
  writeFileSync(join(folder, 'rules.h'), `${lines.join('\n')}\n`);
  const object = join(folder, 'ebpf-policy.o');
  const flags = [
    '-O2',
    '-g',
    '-target',
    'bpf',
    '-I',
    folder,
    '-I',
    `/usr/include/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`,
  ];
  try {
    runProcess('clang', [...flags, '-c', source('ebpf-policy.c'), '-o', object]);
  } catch (error) {
    throw new PeerMissing(`${PEER}: clang cannot compile ${rules.length} rules: ${String(error).slice(-300)}`);
  }
  return object;
}

/** set, address */
function memberWords({ sets }: Workload): Uint8Array {
  const out: number[] = [];
  sets.forEach((members, set) => {
    for (const address of members) out.push(set, address);
  });
  return new Uint8Array(Int32Array.from(out).buffer);
}

/** protocol, source, destination, source port, destination port */
function tupleWords(tuples: Int32Array): Uint8Array {
  const out: number[] = [];
  for (let at = 0; at < tuples.length; at += TUPLE_WORDS) {
    out.push(tuples[at + 2]!, tuples[at]!, tuples[at + 1]!, tuples[at + 3]!, tuples[at + 4]!);
  }
  return new Uint8Array(Int32Array.from(out).buffer);
}
