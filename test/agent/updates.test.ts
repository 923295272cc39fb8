/**
 * Changes while running, through all of the agent's way: objects of an API that is played, the plane, the engine with a capture process that judges
 * meanwhile. After each change the tables in use answer as a compile of the same objects does, and each connection got the answer of the generation that
 * it was judged by.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { PolicyPlane } from '../../src/agent/plane.ts';
import type { Generation, PlaneOptions, PlaneReport } from '../../src/agent/plane-messages.ts';
import { TablesInUse, writeRuns } from '../../src/agent/tables-in-use.ts';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { buildFrame, Xorshift32 } from '../../src/packets/synthetic.ts';
import { writePcap } from '../../src/packets/write.ts';
import { type Tables, viewTables } from '../../src/tables/tables.ts';
import { KubernetesServer } from '../identity/support/kubernetes-server.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { expectSound, start, until, word } from './engine-support.ts';
import { CALICO, kindsUnder, PLANE_OPTIONS } from './plane-support.ts';

let folder: string;
let unbundle: () => void;
const cleanUp: (() => unknown)[] = [];
beforeAll(() => {
  unbundle = bundleThreadEntries();
});
afterAll(() => unbundle());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-updates-'));
});
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
  rmSync(folder, { recursive: true, force: true });
});

interface ApiObject extends Record<string, unknown> {
  readonly kind: string;
  readonly metadata: Record<string, unknown>;
}

function parent(kind: string, name: string, namespace: string, labels: Record<string, string>): ApiObject {
  const metadata = { name, ...(namespace === '' ? {} : { namespace }), labels };
  return { apiVersion: 'v1', kind, metadata };
}

function pod(name: string, ip: string | undefined, account: string, app: string): ApiObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', uid: `uid-${name}`, labels: { app } },
    spec: { nodeName: 'n1', serviceAccountName: account, containers: [{ name: 'c', image: 'x' }] },
    status: ip === undefined ? { phase: 'Pending' } : { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
  };
}

function networkPolicy(name: string, spec: object): ApiObject {
  return { apiVersion: 'projectcalico.org/v3', kind: 'NetworkPolicy', metadata: { name, namespace: 'shop' }, spec };
}

const fromRole = (role: string, port: number): object => ({
  action: 'Allow',
  protocol: 'TCP',
  source: { serviceAccounts: { selector: `role == "${role}"` } },
  destination: { ports: [port] },
});

const START: readonly ApiObject[] = [
  parent('Namespace', 'shop', '', { env: 'test' }),
  ...['default', 'web', 'db', 'job'].map((name) => parent('ServiceAccount', name, 'shop', { role: name })),
  ...['web', 'db', 'job'].map((name, i) => pod(`${name}-0`, `10.0.0.${1 + i}`, name, name)),
  networkPolicy('db', { selector: 'app == "db"', ingress: [fromRole('web', 80)] }),
  networkPolicy('closed', { serviceAccountSelector: 'role == "closed"', ingress: [] }),
  networkPolicy('prod', {
    selector: 'all()',
    order: 5,
    ingress: [{ action: 'Deny', source: { namespaceSelector: 'env == "prod"', selector: 'app == "job"' } }],
  }),
];

const ADDRESSES = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.9', '10.0.7.1', '8.8.8.8'];
const PORTS = [80, 443];

function answers(tables: Tables): ReadonlyMap<string, string> {
  const all = new Map<string, string>();
  for (const src of ADDRESSES) {
    for (const dst of ADDRESSES) {
      if (src === dst) continue;
      for (const dst_port of PORTS) {
        const record = evaluateFlow(tables, { src, dst, protocol: 'tcp', src_port: 40_000, dst_port });
        const names = [record.source_name, record.dest_name, record.egress?.rule, record.ingress?.rule].join();
        all.set(`${src} ${dst} ${dst_port}`, `${record.action} ${names}`);
      }
    }
  }
  return all;
}

/** Objects as the test knows them, and the API that serves them. */
class World {
  readonly objects = new Map<string, ApiObject>();
  readonly #api: KubernetesServer;

  constructor(api: KubernetesServer) {
    this.#api = api;
    for (const each of START) this.put(each);
  }

  put(object: ApiObject): void {
    this.objects.set(`${object.kind} ${object.metadata.name}`, object);
    this.#api.put(object.kind, object);
  }

  remove({ kind, metadata }: ApiObject): void {
    if (!this.objects.delete(`${kind} ${metadata.name}`)) return;
    this.#api.remove(kind, 'shop', String(metadata.name));
  }

  /** What a compile of all of it says. */
  answers(): ReadonlyMap<string, string> {
    const sources = [...this.objects.values()].map((value) => {
      const { namespace, name } = value.metadata;
      const path = [value.kind, namespace, name].filter((part) => part !== undefined).join('/');
      return { name: `kubernetes:${path}`, value: structuredClone(value) };
    });
    const { resources, errors } = loadResources(sources, { permissive: true });
    expect(errors).toEqual([]);
    return answers(viewTables(compile(resources)));
  }
}

async function playedCluster(): Promise<{ world: World; kubeconfig: string }> {
  const api = new KubernetesServer(kindsUnder(CALICO));
  await api.start();
  cleanUp.push(() => api.close());
  const kubeconfig = api.writeKubeconfig(folder);
  return { world: new World(api), kubeconfig };
}

/** A plane in this thread; `generations` with the buffer as it was when it was told of. */
async function startPlane(options: Partial<PlaneOptions>, onGeneration: (generation: Generation) => void = () => {}) {
  const told = {
    generations: [] as (Generation & { readonly answers: ReadonlyMap<string, string> })[],
    logs: [] as string[],
  };
  const plane = new PolicyPlane({ ...PLANE_OPTIONS, ...options }, (report: PlaneReport) => {
    if (report.kind === 'log') told.logs.push(`${report.level} ${report.message}`);
    if (report.kind !== 'generation') return;
    const { generation } = report;
    told.generations.push({ ...generation, answers: answers(viewTables(generation.buffer)) });
    onGeneration(generation);
  });
  await plane.start();
  cleanUp.push(() => plane.stop());
  return { plane, told };
}

const isSame = (a: ReadonlyMap<string, string> | undefined, b: ReadonlyMap<string, string>): boolean =>
  a !== undefined && [...b].every(([key, answer]) => a.get(key) === answer);

/** One change of what there is, drawn at random. */
function change(world: World, random: Xorshift32): void {
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)]!;
  const pods = [...world.objects.values()].filter(({ kind }) => kind === 'Pod');
  const used = new Set(pods.map(({ status }) => (status as { podIP?: string }).podIP));
  const free = ADDRESSES.slice(0, 5).filter((address) => !used.has(address));
  const account = (): string => pick(['web', 'db', 'job']);
  const what = random.below(12);
  if (what < 4) {
    world.put(parent('ServiceAccount', account(), 'shop', { role: pick(['web', 'db', 'closed', 'none']) }));
  } else if (what < 6) world.put(parent('Namespace', 'shop', '', { env: pick(['test', 'prod']) }));
  else if (what < 9 && free.length > 0) {
    // A new one, or one that is there with another address, account and labels.
    world.put(pod(pick(['web-0', 'db-0', 'job-0', 'new-0']), pick(free), account(), account()));
  } else if (what === 9) world.remove(pick(pods));
  else if (what === 10) world.put(pod('late-0', undefined, account(), account()));
  else {
    const spec = { selector: 'app == "db"', ingress: [fromRole(pick(['web', 'db']), pick(PORTS))] };
    world.put(networkPolicy('db', spec));
  }
}

const STEPS = 40;
const PACKETS_A_STEP = 40;

describe('random changes while a capture process judges', () => {
  test('tables answer as those of a compile from scratch, connections as their generation does', async () => {
    const { world, kubeconfig } = await playedCluster();
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const { engine, told: judged } = await start({ sources: [{ kind: 'file', path: fifo }] });
    const pipe = open(fifo, 'w');
    const { told } = await startPlane({ kubernetes: true, kubeconfig }, ({ buffer, number, runs, begun }) => {
      void engine.publish(buffer, number, { runs, begun });
    });
    const writer = await pipe;
    await writer.write(writePcap([]));
    const random = new Xorshift32(9);
    let port = 1_024;
    for (let step = 0; step < STEPS; step++) {
      if (step > 0) change(world, random);
      const packets = Array.from({ length: PACKETS_A_STEP }, () => {
        const src = ADDRESSES[random.below(ADDRESSES.length)]!;
        const dst = ADDRESSES.filter((each) => each !== src)[random.below(ADDRESSES.length - 1)]!;
        const flags = { protocol: 6, tcpFlags: 2, tcpSeq: 1, tcpAck: 0 };
        const ports = { srcPort: port++, dstPort: PORTS[random.below(2)]! };
        return {
          bytes: buildFrame({ src: word(src), dst: word(dst), ...ports, ...flags }),
          seconds: 1_700_000_000 + step,
        };
      });
      await writer.write(writePcap(packets).subarray(24));
      const wanted = world.answers();
      await until('tables with the change', () => isSame(told.generations.at(-1)?.answers, wanted)).catch(() => {
        expect(told.generations.at(-1)!.answers).toEqual(wanted);
      });
    }
    await until('all is judged', () => engine.accounting().judged === STEPS * PACKETS_A_STEP);
    await writer.close();
    await until('the end', () => judged.hasEnded);
    const accounting = await engine.stop(5000);
    expectSound(accounting);
    const byGeneration = new Map(told.generations.map((generation) => [generation.number, generation]));
    let flows = 0;
    const seen = new Set<number>();
    for (const { record, generation } of judged.flows.values()) {
      const key = `${record.source_ip} ${record.dest_ip} ${record.dest_port}`;
      expect(`${generation}: ${key} ${record.action}`).toBe(
        `${generation}: ${key} ${byGeneration.get(generation)!.answers.get(key)!.split(' ')[0]}`,
      );
      seen.add(generation);
      flows++;
    }
    expect(flows).toBe(STEPS * PACKETS_A_STEP);
    expect(seen.size).toBeGreaterThan(STEPS / 4);
    const hits = judged.hits.flatMap((each) => each.hits.map(({ packets }) => packets));
    expect(hits.reduce((sum, packets) => sum + packets, 0)).toBe(accounting.judged);
    const ways = told.generations.map(({ how }) => how);
    expect(ways.filter((how) => how === 'written').length).toBeGreaterThan(STEPS / 3);
    expect(ways.filter((how) => how === 'compiled').length).toBeGreaterThan(1);
    // What is written takes turns in two buffers until all is compiled again. A generation of other counts alone (a pod without an address) writes nothing.
    const changed = told.generations.filter(({ runs }) => runs?.length !== 0);
    changed.forEach(({ how, buffer }, i) => {
      const [next, afterNext] = changed.slice(i + 1, i + 3);
      if (how !== 'written' || next?.how !== 'written' || afterNext?.how !== 'written') return;
      expect(next.buffer).not.toBe(buffer);
      expect(afterNext.buffer).toBe(buffer);
    });
    expect(told.logs.filter((line) => line.startsWith('error'))).toEqual([]);
  });
});

describe('what can be written is', () => {
  const YAML = START.map((object) => JSON.stringify(object)).join('\n---\n');

  test('labels of an account in a file reach the verdicts without a compile; a policy does not', async () => {
    const path = join(folder, 'cluster.yaml');
    writeFileSync(path, YAML);
    const { plane, told } = await startPlane({ filename: [path] });
    await until('a first generation', () => told.generations.length === 1);
    expect(told.generations[0]).toMatchObject({ how: 'compiled', endpoints: 3, policies: 3 });
    expect(told.generations[0]!.answers.get('10.0.0.1 10.0.0.2 80')).toMatch(/^allow /);
    writeFileSync(
      path,
      YAML.replace(
        '"name":"web","namespace":"shop","labels":{"role":"web"}',
        '"name":"web","namespace":"shop","labels":{"role":"none"}',
      ),
    );
    await until('a second one', () => told.generations.length === 2);
    const { answers: now, runs, ...second } = told.generations[1]!;
    expect(second).toMatchObject({
      how: 'written',
      number: 2,
      endpoints: 3,
      localEndpoints: 3,
      policies: 3,
      warnings: 0,
    });
    expect(now.get('10.0.0.1 10.0.0.2 80')).toMatch(/^deny /);
    expect(runs!.length).toBeLessThan(1_000);
    expect(second.accountPods).toBeUndefined();
    // Hits of both generations count, under the number of the newest.
    await plane.take({ kind: 'hits', hits: { generation: 1, hits: [{ rule: 0, packets: 1, bytes: 1 }] } });
    writeFileSync(path, YAML.replace('"ports":[80]', '"ports":[443]'));
    await until('a third one', () => told.generations.length === 3);
    expect(told.generations[2]).toMatchObject({ how: 'compiled', number: 3 });
    expect(told.generations[2]!.answers.get('10.0.0.1 10.0.0.2 443')).toMatch(/^allow /);
    expect(readFileSync(path, 'utf8')).toContain('443');
  });

  test('pods of the API that come, go and wait for an address are counted', async () => {
    const { world, kubeconfig } = await playedCluster();
    const { told } = await startPlane({ kubernetes: true, kubeconfig, node: 'n1' });
    const newest = () => told.generations.at(-1)!;
    await until('a first generation', () => told.generations.length > 0);
    expect(newest()).toMatchObject({ how: 'compiled', endpoints: 3, localEndpoints: 3, warnings: 0 });
    const { number } = newest();
    world.put(pod('new-0', '10.0.7.1', 'web', 'web'));
    await until('a pod more', () => newest().endpoints === 4);
    world.put(pod('late-0', undefined, 'nobody', 'web'));
    // Its account is not there, and neither is its address.
    await until('two warnings', () => newest().warnings === 2);
    world.put(pod('late-0', '10.0.7.2', 'web', 'web'));
    await until('one more', () => newest().endpoints === 5 && newest().warnings === 0);
    world.remove(pod('late-0', undefined, '', ''));
    await until('gone', () => newest().endpoints === 4);
    expect(new Map(newest().accountPods)).toEqual(
      new Map([
        ['shop/web', 2],
        ['shop/db', 1],
        ['shop/job', 1],
      ]),
    );
    expect(told.generations.filter(({ number: of }) => of > number).map(({ how }) => how)).not.toContain('compiled');
    // What others lack may hang on it: a namespace that nobody has written.
    world.put({ ...pod('lost-0', '10.0.7.3', 'x', 'x'), metadata: { name: 'lost-0', namespace: 'elsewhere' } });
    await until('it is compiled', () => newest().endpoints === 5);
    expect(newest().how).toBe('compiled');
  });
});

describe('tables in use', () => {
  const made = (words: number[]): SharedArrayBuffer => {
    const buffer = new SharedArrayBuffer(4 * 1000);
    new Int32Array(buffer).set(words);
    return buffer;
  };

  test('what a process lacks is told by words, or all of it', () => {
    const begun = new SharedArrayBuffer(4);
    const tables = new TablesInUse();
    expect(tables.since(0)).toBeUndefined();
    tables.take(made([1, 1, 1]), 5, { begun });
    expect([tables.since(4), tables.since(5)]).toEqual([undefined, new Int32Array(0)]);
    tables.take(made([1, 6, 1]), 6, { begun, runs: Int32Array.of(1, 1, 6) });
    tables.take(made([7, 6, 7]), 7, { begun, runs: Int32Array.of(0, 1, 7, 2, 1, 7) });
    const words = Int32Array.of(1, 1, 1);
    writeRuns(words, tables.since(5)!);
    expect([...words]).toEqual([7, 6, 7]);
    expect(tables.since(6)).toEqual(Int32Array.of(0, 1, 7, 2, 1, 7));
    expect(tables.since(0)).toBeUndefined();
    // More than an eighth of the tables: who has generation 6 gets them all.
    tables.take(made([8]), 8, { begun, runs: new Int32Array(122) });
    expect([tables.since(6), tables.since(7)?.length]).toEqual([undefined, 122]);
    // One that was missed.
    tables.take(made([10]), 10, { begun, runs: Int32Array.of(0, 1, 10) });
    expect(tables.since(8)).toBeUndefined();
  });

  test('a buffer that is being written over is not handed out', () => {
    const begun = new SharedArrayBuffer(4);
    const tables = new TablesInUse();
    const buffer = made([1, 2, 3]);
    tables.take(buffer, 5, { begun });
    Atomics.store(new Int32Array(begun), 0, 6);
    const whole = tables.whole()!;
    expect(whole.buffer).not.toBe(buffer);
    expect([...new Int32Array(whole.buffer, 0, 3)]).toEqual([1, 2, 3]);
    Atomics.store(new Int32Array(begun), 0, 7);
    expect(tables.whole()).toBeUndefined();
    tables.take(buffer, 6, {});
    expect(tables.whole()!.buffer).toBe(buffer);
  });
});
