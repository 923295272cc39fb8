/**
 * The workload of all rates: rule lists and addresses rebuilt from a seed, in the shapes that the project quotes.
 *
 * - Pods lie in /26 blocks of 10.0.0.0/8, 50 of 64 addresses in use; the next block is the neighbour, with probability 0.2 one to
 *   eight further. Addresses are shuffled, then dealt out: first to the `sets` source accounts (sizes log-uniform from 10 to
 *   1000), then to the protected pods. With `overlapping` a set is drawn at random from all source pods instead, by label.
 * - `endpoints` protected pods run as `accounts` further accounts, pod e as account e mod `accounts`. Rule i belongs to the policy of account
 *   floor(i * accounts / rules); it names one source set, TCP (75 %) or UDP, and destination ports: one of 64 services (70 %),
 *   up to 200 in a row from 1024 on (20 %), or 30000-32767 (10 %). 80 % allow. First match wins, default deny.
 *
 * `gN` is one list of N rules for everybody, `eE` lists by account. The cluster that asks for this is in workload-cluster.ts, its traffic
 * in workload-traffic.ts.
 */
import { Xorshift32 } from '../src/packets/synthetic.ts';

export interface Shape {
  readonly name: string;
  readonly rules: number;
  /** Source sets: service accounts, or label selectors where they overlap. */
  readonly sets: number;
  /** Protected pods and the accounts they run as; one account = one list of rules for everybody. */
  readonly endpoints: number;
  readonly accounts: number;
  readonly overlapping: boolean;
}

/** rules, sets, endpoints, accounts */
const SIZES: Readonly<Record<string, readonly [number, number, number, number]>> = {
  g10: [10, 4, 100, 1],
  g100: [100, 25, 100, 1],
  g1k: [1_000, 250, 100, 1],
  g10k: [10_000, 1_000, 100, 1],
  g100k: [100_000, 1_000, 100, 1],
  e10: [1_000, 250, 10, 5],
  e100: [1_000, 250, 100, 20],
  e1k: [10_000, 1_000, 1_000, 100],
  e10k: [100_000, 1_000, 10_000, 1_000],
};

export const SHAPE_NAMES: readonly string[] = Object.keys(SIZES);

/** The shape of that name (`e1k`, overlapping: `e1k-ov`), or undefined. */
export function shapeOf(name: string): Shape | undefined {
  const overlapping = name.endsWith('-ov');
  const size = SIZES[overlapping ? name.slice(0, -3) : name];
  if (size === undefined) return undefined;
  const [rules, sets, endpoints, accounts] = size;
  return { name, rules, sets, endpoints, accounts, overlapping };
}

/** Words of a packet: source and destination (int32), protocol, source port, destination port, TCP flags. */
export const TUPLE_WORDS = 6;

export interface WorkloadRule {
  readonly set: number;
  readonly protocol: 6 | 17;
  readonly low: number;
  readonly high: number;
  readonly allow: boolean;
}

export interface Workload {
  readonly shape: Shape;
  /** Pod addresses (int32) of each source set; protected pods by index. */
  readonly sets: readonly Int32Array[];
  readonly pods: Int32Array;
  readonly endpoints: Int32Array;
  readonly rules: readonly WorkloadRule[];
}

export function buildWorkload(shape: Shape, seed = 1): Workload {
  const random = new Xorshift32(seed);
  const sizes = Array.from({ length: shape.sets }, () => Math.floor(10 * 100 ** random.float()));
  const podCount = sizes.reduce((a, b) => a + b, 0);
  const addresses = podAddresses(random, podCount + shape.endpoints);
  const pods = addresses.subarray(0, podCount);
  const endpoints = addresses.subarray(podCount);
  let next = 0;
  const sets = sizes.map((size) => {
    if (shape.overlapping) return Int32Array.from(distinctBelow(random, podCount, size), (index) => pods[index]!);
    next += size;
    return pods.slice(next - size, next);
  });
  const services = distinctBelow(random, 10_000, 64).map((port) => port + 1);
  const rules = Array.from({ length: shape.rules }, () => drawRule(random, shape, services));
  return { shape, sets, pods, endpoints, rules };
}

/** `count` different numbers from 0 to `limit - 1`, in the order in which they were drawn. */
function distinctBelow(random: Xorshift32, limit: number, count: number): number[] {
  const drawn = new Set<number>();
  const wanted = Math.min(count, limit);
  while (drawn.size < wanted) drawn.add(random.below(limit));
  return [...drawn];
}

function podAddresses(random: Xorshift32, count: number): Int32Array {
  const out = new Int32Array(count);
  let block = 1;
  for (let i = 0; i < count; ) {
    const base = 0x0a000000 + block * 64;
    for (let host = 1; host <= 50 && i < count; host++) out[i++] = base + host;
    block += 1 + (random.float() < 0.2 ? 1 + random.below(8) : 0);
  }
  for (let i = count - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

function drawRule(random: Xorshift32, shape: Shape, services: readonly number[]): WorkloadRule {
  const set = random.below(shape.sets);
  const protocol = random.float() < 0.75 ? 6 : 17;
  const kind = random.float();
  let low: number;
  let high: number;
  if (kind < 0.7) {
    low = services[random.below(64)]!;
    high = low;
  } else if (kind < 0.9) {
    low = 1024 + random.below(30_000);
    high = low + random.below(200);
  } else {
    low = 30_000;
    high = 32_767;
  }
  return { set, protocol, low, high, allow: random.float() < 0.8 };
}

/** Number of the first rule of an account's policy; the policy ends where the next account's begins. */
export function firstRuleOf({ rules, accounts }: Shape, account: number): number {
  return Math.ceil((account * rules) / accounts);
}

export function rulesOf(workload: Workload, account: number): readonly WorkloadRule[] {
  return workload.rules.slice(firstRuleOf(workload.shape, account), firstRuleOf(workload.shape, account + 1));
}
