/**
 * The workload of all rates: clusters, policies and captures rebuilt from a seed, in the shapes that the project quotes.
 *
 * - Pods lie in /26 blocks of 10.0.0.0/8 (50 of 64 addresses in use); each runs as one of `sets` service accounts (sizes
 *   log-uniform from 10 to 1000). In the overlapping variant a set is drawn at random from all pods, by label.
 * - `endpoints` protected pods run as `accounts` further accounts, one ingress policy each. Rule i belongs to account
 *   floor(i * accounts / rules); it names one source set, TCP (75 %) or UDP, and ports; 80 % allow. First match wins, default deny.
 * - A packet is aimed at a rule: its source is a member (90 %), any pod (5 %) or any address of 10/8 (5 %); the protocol fits in
 *   95 %, the port in 80 %. `uniform` draws every packet afresh, `zipf` from 100 000 flows with weight 1/rank.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { Xorshift32 } from '../src/packets/synthetic.ts';

export interface Shape {
  readonly name: string;
  readonly rules: number;
  readonly sets: number;
  /** Protected pods and the accounts they run as; one account = one list of rules for everybody. */
  readonly endpoints: number;
  readonly accounts: number;
  readonly overlapping: boolean;
}

const list = (name: string, rules: number, sets: number): Shape => ({
  name,
  rules,
  sets,
  endpoints: 100,
  accounts: 1,
  overlapping: false,
});
const perAccount = (name: string, rules: number, sets: number, accounts: number, endpoints: number): Shape => ({
  name,
  rules,
  sets,
  endpoints,
  accounts,
  overlapping: false,
});

export const SHAPES: ReadonlyMap<string, Shape> = new Map(
  [
    list('g10', 10, 4),
    list('g100', 100, 25),
    list('g1k', 1_000, 250),
    list('g10k', 10_000, 1_000),
    list('g100k', 100_000, 1_000),
    perAccount('e10', 1_000, 250, 5, 10),
    perAccount('e100', 1_000, 250, 20, 100),
    perAccount('e1k', 10_000, 1_000, 100, 1_000),
    perAccount('e10k', 100_000, 1_000, 1_000, 10_000),
    { ...perAccount('e1k', 10_000, 1_000, 100, 1_000), name: 'e1k-ov', overlapping: true },
    { ...list('g1k', 1_000, 250), name: 'g1k-ov', overlapping: true },
  ].map((shape) => [shape.name, shape]),
);

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
  const podCount = shape.overlapping ? Math.floor(sizes.reduce((a, b) => a + b, 0)) : sizes.reduce((a, b) => a + b, 0);
  const addresses = podAddresses(random, podCount + shape.endpoints);
  const pods = addresses.subarray(0, podCount);
  const endpoints = addresses.subarray(podCount);
  let next = 0;
  const sets = sizes.map((size) => {
    if (shape.overlapping) return Int32Array.from({ length: size }, () => pods[random.below(podCount)]!);
    next += size;
    return pods.slice(next - size, next);
  });
  const services = Array.from({ length: 64 }, () => 1 + random.below(10_000));
  const rules = Array.from({ length: shape.rules }, () => drawRule(random, shape, services));
  return { shape, sets, pods, endpoints, rules };
}

function podAddresses(random: Xorshift32, count: number): Int32Array {
  const out = new Int32Array(count);
  let block = 1;
  for (let i = 0; i < count; ) {
    const base = 0x0a000000 + block * 64;
    for (let host = 1; host <= 50 && i < count; host++) out[i++] = base + host;
    block += 1 + (random.float() < 0.2 ? random.below(8) : 0);
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

/** The cluster as objects of the Kubernetes API, as `kubectl get -o json` would dump them. */
export function* workloadObjects(workload: Workload): Generator<unknown> {
  const { shape } = workload;
  const meta = (name: string, extra: object = {}): object => ({ name, namespace: 'bench', ...extra });
  yield { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bench', labels: {} } };
  yield { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' }, status: { addresses: [] } };
  for (let set = 0; set < shape.sets; set++)
    yield { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta(`s${set}`) };
  for (let i = 0; i < shape.accounts; i++) yield { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta(`d${i}`) };
  let number = 0;
  const pod = (address: number, account: string, labels: Record<string, string>): unknown => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: meta(`p${number++}`, { labels }),
    spec: { nodeName: 'n1', serviceAccountName: account, containers: [{ name: 'c', image: 'x' }] },
    status: { phase: 'Running', podIPs: [{ ip: dotted(address) }] },
  });
  if (shape.overlapping) {
    const labels = new Map<number, Record<string, string>>();
    workload.sets.forEach((members, set) => {
      for (const address of members) labels.set(address, { ...labels.get(address), [`s${set}`]: 'y' });
    });
    for (const address of workload.pods) yield pod(address, 's0', labels.get(address) ?? {});
  } else {
    for (let set = 0; set < shape.sets; set++)
      for (const address of workload.sets[set]!) yield pod(address, `s${set}`, {});
  }
  for (let e = 0; e < shape.endpoints; e++)
    yield pod(workload.endpoints[e]!, `d${e % shape.accounts}`, { role: 'server' });
  for (let account = 0; account < shape.accounts; account++) {
    yield {
      apiVersion: 'projectcalico.org/v3',
      kind: 'NetworkPolicy',
      metadata: meta(`d${account}`),
      spec: {
        serviceAccountSelector: `projectcalico.org/name == "d${account}"`,
        types: ['Ingress'],
        ingress: rulesOf(workload, account).map((rule) => ({
          action: rule.allow ? 'Allow' : 'Deny',
          protocol: rule.protocol === 6 ? 'TCP' : 'UDP',
          source: shape.overlapping
            ? { selector: `has(s${rule.set})` }
            : { serviceAccounts: { names: [`s${rule.set}`] } },
          destination: { ports: [rule.low === rule.high ? rule.low : `${rule.low}:${rule.high}`] },
        })),
      },
    };
  }
  yield {
    apiVersion: 'projectcalico.org/v3',
    kind: 'GlobalNetworkPolicy',
    metadata: { name: 'clients' },
    spec: {
      selector: 'role != "server"',
      types: ['Egress'],
      egress: [
        { action: 'Deny', protocol: 'TCP', destination: { ports: [65_535] } },
        { action: 'Allow', destination: { namespaceSelector: 'all()' } },
      ],
    },
  };
}

/** The manifests as one JSON text of kind List. */
export function workloadJson(workload: Workload): string {
  const parts: string[] = [];
  for (const object of workloadObjects(workload)) parts.push(JSON.stringify(object));
  return `{"apiVersion":"v1","kind":"List","items":[\n${parts.join(',\n')}\n]}\n`;
}

export function rulesOf(workload: Workload, account: number): readonly WorkloadRule[] {
  const { rules, accounts } = workload.shape;
  return workload.rules.filter((_, i) => Math.floor((i * accounts) / rules) === account);
}

export interface CaptureShape {
  readonly packets: number;
  readonly traffic: 'uniform' | 'zipf';
  /** Frames are cut at 60 bytes, or kept whole with mixed sizes (7:4:1 of 64, 594 and 1518 bytes). */
  readonly sizes: 'snap60' | 'mixed';
}

const ZIPF_FLOWS = 100_000;
const TUPLE_WORDS = 5;

/** Writes a classic pcap of Ethernet frames for `workload`. */
export function writeCapture(path: string, workload: Workload, capture: CaptureShape, seed = 2): void {
  const random = new Xorshift32(seed);
  const draw =
    capture.traffic === 'zipf' ? zipfTuples(random, workload) : (out: Int32Array) => drawTuple(random, workload, out);
  const file = openSync(path, 'w');
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(capture.sizes === 'snap60' ? 60 : 262_144, 16);
  header.writeUInt32LE(1, 20);
  writeSync(file, header);
  const chunk = Buffer.alloc(4 * 1024 * 1024);
  const tuple = new Int32Array(TUPLE_WORDS);
  let used = 0;
  for (let i = 0; i < capture.packets; i++) {
    if (used + 1600 > chunk.length) {
      writeSync(file, chunk, 0, used);
      used = 0;
    }
    draw(tuple);
    used += writeFrame(chunk, used, tuple, i, frameBytes(random, capture), capture.sizes === 'snap60' ? 60 : 1518);
  }
  writeSync(file, chunk, 0, used);
  closeSync(file);
}

function frameBytes(random: Xorshift32, capture: CaptureShape): number {
  if (capture.sizes === 'snap60') return 60;
  const pick = random.below(12);
  return pick < 7 ? 64 : pick < 11 ? 594 : 1518;
}

/** source, destination, protocol, source port, destination port */
function drawTuple(random: Xorshift32, workload: Workload, out: Int32Array): void {
  const { rules, accounts, endpoints } = workload.shape;
  const index = random.below(rules);
  const rule = workload.rules[index]!;
  const account = Math.floor((index * accounts) / rules);
  const who = random.float();
  const members = workload.sets[rule.set]!;
  if (who < 0.9) out[0] = members[random.below(members.length)]!;
  else if (who < 0.95) out[0] = workload.pods[random.below(workload.pods.length)]!;
  else out[0] = 0x0a000000 + random.below(1 << 24);
  out[1] =
    workload.endpoints[(account + accounts * random.below(Math.max(1, Math.floor(endpoints / accounts)))) % endpoints]!;
  out[2] = random.float() < 0.95 ? rule.protocol : 23 - rule.protocol;
  out[3] = 1024 + random.below(64_512);
  out[4] = random.float() < 0.8 ? rule.low + random.below(rule.high - rule.low + 1) : random.below(65_536);
}

function zipfTuples(random: Xorshift32, workload: Workload): (out: Int32Array) => void {
  const flows = new Int32Array(ZIPF_FLOWS * TUPLE_WORDS);
  const cumulative = new Float64Array(ZIPF_FLOWS);
  const tuple = new Int32Array(TUPLE_WORDS);
  let sum = 0;
  for (let i = 0; i < ZIPF_FLOWS; i++) {
    drawTuple(random, workload, tuple);
    flows.set(tuple, i * TUPLE_WORDS);
    sum += 1 / (i + 1);
    cumulative[i] = sum;
  }
  return (out) => {
    const target = random.float() * sum;
    let low = 0;
    let high = ZIPF_FLOWS - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cumulative[middle]! < target) low = middle + 1;
      else high = middle;
    }
    for (let w = 0; w < TUPLE_WORDS; w++) out[w] = flows[low * TUPLE_WORDS + w]!;
  };
}

function writeFrame(
  buffer: Buffer,
  at: number,
  tuple: Int32Array,
  index: number,
  wireBytes: number,
  keep: number,
): number {
  const captured = Math.min(wireBytes, keep);
  buffer.fill(0, at, at + 16 + captured);
  buffer.writeUInt32LE(1_700_000_000 + Math.floor(index / 1_000_000), at);
  buffer.writeUInt32LE(index % 1_000_000, at + 4);
  buffer.writeUInt32LE(captured, at + 8);
  buffer.writeUInt32LE(wireBytes, at + 12);
  const frame = at + 16;
  buffer.writeUInt16BE(0x0800, frame + 12);
  const ip = frame + 14;
  buffer[ip] = 0x45;
  buffer.writeUInt16BE(wireBytes - 14, ip + 2);
  buffer.writeUInt16BE(index & 0xffff, ip + 4);
  buffer[ip + 8] = 64;
  buffer[ip + 9] = tuple[2]!;
  buffer.writeInt32BE(tuple[0]!, ip + 12);
  buffer.writeInt32BE(tuple[1]!, ip + 16);
  buffer.writeUInt16BE(tuple[3]!, ip + 20);
  buffer.writeUInt16BE(tuple[4]!, ip + 22);
  if (tuple[2] === 6) {
    buffer[ip + 32] = 0x50;
    buffer[ip + 33] = 0x02;
  } else {
    buffer.writeUInt16BE(wireBytes - 34, ip + 24);
  }
  return 16 + captured;
}

function dotted(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}
