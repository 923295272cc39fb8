/** Policies and identities as they change: files, a Kubernetes API that is played, a real Redis. */
import { appendFileSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PolicyBoard } from '../../src/agent/api.ts';
import { PolicyPlane } from '../../src/agent/plane.ts';
import type {
  Explained,
  Generation,
  IdentityStatus,
  PlaneOptions,
  PlaneReport,
  PolicyStatus,
} from '../../src/agent/plane-messages.ts';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { entriesOf } from '../../src/identity/entries.ts';
import { RedisStore } from '../../src/identity/redis.ts';
import { redisConfig } from '../../src/identity/redis-config.ts';
import { openTables, viewTables } from '../../src/tables/tables.ts';
import { publisher, setOf } from '../identity/support/cluster.ts';
import { KubernetesServer } from '../identity/support/kubernetes-server.ts';
import { hasRedis, RedisServer } from '../identity/support/redis-server.ts';
import { until } from './engine-support.ts';
import { CALICO, CRD, kindsUnder, PLANE_OPTIONS } from './plane-support.ts';
import { record } from './records.ts';

let folder: string;
const cleanUp: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-plane-'));
});
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
  rmSync(folder, { recursive: true, force: true });
});

/** A plane in this thread, with what it reports, and a copy of its tables as a capture process keeps one. */
async function start(options: Partial<PlaneOptions>) {
  const told = {
    generations: [] as Generation[],
    policy: undefined as PolicyStatus | undefined,
    identity: undefined as IdentityStatus | undefined,
    logs: [] as string[],
    ownerChanges: 0,
    forgotten: [] as string[],
    explained: undefined as Explained | undefined,
    board: undefined as PolicyBoard | undefined,
    copy: new Int32Array(0) as Int32Array,
  };
  const take = (report: PlaneReport): void => {
    switch (report.kind) {
      case 'generation':
        told.generations.push(report.generation);
        told.copy = new Int32Array(report.generation.buffer.slice(0));
        // What a child checks when it gets them.
        openTables(told.copy.buffer);
        break;
      case 'owners':
        expect(report.change.generation).toBe(told.generations.at(-1)!.number);
        told.ownerChanges++;
        for (let i = 0; i < report.change.stores.length; i += 2) {
          told.copy[report.change.stores[i]!] = report.change.stores[i + 1]!;
        }
        for (let i = 0; i < report.change.addresses.length; i += 5) {
          told.forgotten.push(report.change.addresses.subarray(i, i + 2).join(' '));
        }
        break;
      case 'policy':
        told.policy = report.status;
        break;
      case 'identity':
        told.identity = report.status;
        break;
      case 'explained':
        told.explained = report.answer;
        break;
      case 'board':
        told.board = JSON.parse(new TextDecoder().decode(report.json)) as PolicyBoard;
        break;
      case 'log':
        told.logs.push(`${report.level} ${report.message} ${JSON.stringify(report.fields)}`);
        break;
      default:
        report satisfies never;
    }
  };
  const plane = new PolicyPlane({ ...PLANE_OPTIONS, ...options }, take);
  await plane.start();
  cleanUp.push(() => plane.stop());
  return { plane, told };
}

function actionOf(copy: Int32Array, src: string, dst: string, port = 80): string {
  const { action, reason } = evaluateFlow(viewTables(copy.buffer), {
    src,
    dst,
    protocol: 'tcp',
    dst_port: port,
  });
  return reason === undefined || action !== 'uncertain' ? action : `${action} ${reason}`;
}

const PODS = `
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, labels: {app: db}}
spec: {nodeName: n1, serviceAccountName: db, containers: [{name: c, image: x}]}
status: {phase: Running, podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}]}
`;

function policy(port: number): string {
  return `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  selector: app == "db"
  ingress:
  - {action: Allow, protocol: TCP, destination: {ports: [${port}]}}
`;
}

describe('files', () => {
  async function files() {
    const path = join(folder, 'policy.yaml');
    writeFileSync(join(folder, 'pods.yaml'), PODS);
    writeFileSync(path, policy(80));
    const { plane, told } = await start({ filename: [folder] });
    await until('a first generation', () => told.generations.length === 1);
    return { plane, told, path };
  }

  test('a change is a new generation; a burst of them is one', async () => {
    const { told, path, plane } = await files();
    expect(actionOf(told.copy, '10.9.9.9', '10.0.0.2')).toBe('allow');
    for (let port = 81; port <= 90; port++) writeFileSync(path, policy(port));
    await until('a second generation', () => told.generations.length === 2);
    expect(actionOf(told.copy, '10.9.9.9', '10.0.0.2')).toBe('deny');
    expect(actionOf(told.copy, '10.9.9.9', '10.0.0.2', 90)).toBe('allow');
    // As editors and mounts do it.
    writeFileSync(`${path}.new`, policy(91));
    renameSync(`${path}.new`, path);
    await until('a third generation', () => told.generations.length === 3);
    expect(actionOf(told.copy, '10.9.9.9', '10.0.0.2', 91)).toBe('allow');
    writeFileSync(join(folder, 'other.yaml'), policy(92).replace('name: db,', 'name: other,'));
    await until('a fourth generation', () => told.generations.length === 4);
    await plane.take({ kind: 'board', id: 1 });
    const names = told.board!.tiers.flatMap(({ policies }) => policies.map(({ name }) => name));
    expect(names.filter((name) => name.startsWith('np:'))).toEqual(['np:shop/db', 'np:shop/other']);
    expect(told.generations.map(({ number, policies }) => [number, policies])).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
      [4, 2],
    ]);
  });

  test('a broken file keeps the last good generation, and is said to, until it is mended', async () => {
    const { told, path } = await files();
    appendFileSync(path, '  - {action: Permit, protcol: TCP}\n');
    await until('it is refused', () => told.policy?.isRefused === true);
    expect(told.policy!.isInSync).toBe(false);
    expect(told.policy!.trouble).toMatch(/policy\.yaml:9: NetworkPolicy shop\/db: spec\.ingress\[1\]\.action: /);
    expect(told.logs.some((line) => line.startsWith('error the input is refused; the last good policies stay'))).toBe(
      true,
    );
    expect(told.generations).toHaveLength(1);
    unlinkSync(path);
    unlinkSync(join(folder, 'pods.yaml'));
    await until(
      'nothing is there',
      () => told.policy?.trouble?.includes('no file') === true || /holds no/.test(told.policy?.trouble ?? ''),
    );
    expect(told.generations).toHaveLength(1);
    writeFileSync(join(folder, 'pods.yaml'), PODS);
    writeFileSync(path, policy(443));
    await until('it is taken', () => told.generations.length > 1 && told.policy?.isInSync === true);
    expect(actionOf(told.copy, '10.9.9.9', '10.0.0.2', 443)).toBe('allow');
  });

  test('nothing is judged by what was never good; a node that nothing names is a mistake', async () => {
    writeFileSync(join(folder, 'pods.yaml'), PODS);
    const { told } = await start({ filename: [folder], node: 'n2' });
    await until('it is refused', () => told.policy?.isRefused === true);
    expect(told.policy!.trouble).toContain("names the node 'n2'");
    expect(told.generations).toHaveLength(0);
    writeFileSync(join(folder, 'node.yaml'), 'apiVersion: v1\nkind: Node\nmetadata: {name: n2}\n');
    await until('it is taken', () => told.generations.length === 1);
    expect(told.generations[0]).toMatchObject({ endpoints: 1, localEndpoints: 0 });
  });

  test('a reload compiles again what looks the same', async () => {
    const { plane, told } = await files();
    await plane.take({ kind: 'reload' });
    await until('a second generation', () => told.generations.length === 2);
  });

  test('explains a flow step by step, with the lines of the file', async () => {
    const { plane, told } = await files();
    await plane.take({ kind: 'explain', id: 1, record: record({ source_ip: '10.9.9.9', dest_port: 80 }) });
    expect(told.explained).toMatchObject({
      generation: 1,
      steps: [{ check: 'ingress', tier: 'default', policy: 'np:shop/db', action: 'allow', rule: 0, isDeciding: true }],
    });
    const { source, snippet } = told.explained!.steps[0]!;
    expect(source).toBe(`${folder}/policy.yaml:8`);
    expect(snippet).toContain('8    - {action: Allow, protocol: TCP, destination: {ports: [80]}}');
    expect(told.explained!.text).toContain('tcp 10.9.9.9:40000 -> 10.0.0.2:80 is allowed');
  });
});

describe('the Kubernetes API', () => {
  async function cluster(kinds: Record<string, string>) {
    const api = new KubernetesServer(kinds);
    await api.start();
    cleanUp.push(() => api.close());
    const kubeconfig = api.writeKubeconfig(folder);
    api.put('Namespace', { metadata: { name: 'shop', labels: { env: 'test' } } });
    for (let i = 0; i < 20; i++) {
      api.put('Pod', {
        metadata: { name: `db-${i}`, namespace: 'shop', uid: `u${i}`, labels: { app: 'db' } },
        spec: { nodeName: 'n1', serviceAccountName: 'db', containers: [{ name: 'c', image: 'x' }] },
        status: { phase: 'Running', podIP: `10.0.0.${i}`, podIPs: [{ ip: `10.0.0.${i}` }] },
      });
    }
    return { api, kubeconfig };
  }

  const spec = (port: number) => ({
    selector: "app == 'db'",
    ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [port] } }],
  });

  test.each([CALICO, CRD])('policies of %s are listed and watched', async (group) => {
    const { api, kubeconfig } = await cluster(kindsUnder(group));
    api.put('NetworkPolicy', { metadata: { name: 'db', namespace: 'shop' }, spec: spec(80) });
    const { told, plane } = await start({ kubernetes: true, kubeconfig });
    await until('a first generation', () => told.generations.length > 0);
    expect(told.generations[0]).toMatchObject({ endpoints: 20, policies: 1 });
    expect(actionOf(told.copy, '10.9.9.9', '10.0.0.3')).toBe('allow');
    api.put('NetworkPolicy', { metadata: { name: 'db', namespace: 'shop' }, spec: spec(443) });
    await until('the change', () => actionOf(told.copy, '10.9.9.9', '10.0.0.3') === 'deny');
    api.remove('NetworkPolicy', 'shop', 'db');
    await until('nothing denies', () => actionOf(told.copy, '10.9.9.9', '10.0.0.3') === 'allow');
    // What is gone while nobody watches shows in the next list.
    api.put('NetworkPolicy', {
      metadata: { name: 'none', namespace: 'shop' },
      spec: { selector: 'all()', types: ['Ingress'] },
    });
    await until('all is denied', () => actionOf(told.copy, '10.9.9.9', '10.0.0.3') === 'deny');
    api.isDeaf = true;
    api.remove('NetworkPolicy', 'shop', 'none');
    api.compact();
    api.isDeaf = false;
    api.expireWatches();
    await until('it is known to be gone', () => actionOf(told.copy, '10.9.9.9', '10.0.0.3') === 'allow');
    await plane.take({
      kind: 'explain',
      id: 1,
      record: record({ source_ip: '10.9.9.9', dest_ip: '10.0.0.3', dest_port: 80 }),
    });
    expect(told.explained!.steps.length).toBeGreaterThan(0);
    expect(told.logs.join('\n')).not.toContain('not-for-logs');
  });

  test('half a cluster is none: nothing is compiled before every kind was listed; failures are told and got over', async () => {
    const { api, kubeconfig } = await cluster(kindsUnder(CALICO));
    api.failures = { status: 403, count: 8 };
    const { told } = await start({ kubernetes: true, kubeconfig });
    await until('it is told', () => told.logs.some((line) => line.includes('403')));
    await until('a first generation', () => told.generations.length > 0);
    expect(told.generations[0]!.endpoints).toBe(20);
    await until('in sync', () => told.policy?.isInSync === true);
  });

  test('an API that goes away: what is known stays, and is said to be old', async () => {
    const { api, kubeconfig } = await cluster(kindsUnder(CALICO));
    const { told } = await start({ kubernetes: true, kubeconfig });
    await until('in sync', () => told.policy?.isInSync === true);
    const count = told.generations.length;
    api.failures = { status: 500, count: 1e9 };
    api.breakWatches();
    await until('it is said', () => told.policy?.isInSync === false);
    expect(told.generations).toHaveLength(count);
    api.failures = { status: 500, count: 0 };
    await until('in sync again', () => told.policy?.isInSync === true);
  });
});

describe.skipIf(!hasRedis)('identities of Redis', () => {
  const NODE = 'apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: {podCIDRs: [10.0.0.0/24]}\n';
  const pod = (name: string, ip: string, app: string): object => ({
    ip,
    namespace: 'shop',
    pod: name,
    uid: `uid-${name}`,
    service_account: app,
    node: 'n1',
    labels: { app },
  });

  test('change owners in the tables in use; what is like nothing there needs new ones; Redis may go and come', async () => {
    const redis = await RedisServer.start();
    cleanUp.push(() => redis.stop());
    const store = new RedisStore({ config: redisConfig(redis.url, {}), cluster: 'default' });
    const pub = publisher({ store });
    const publish = (...pods: object[]): void => pub.replace(entriesOf(setOf(pods), 0));
    publish(pod('db-0', '10.0.0.2', 'db'), pod('web-0', '10.0.0.3', 'web'));
    const running = pub.run();
    cleanUp.push(async () => {
      pub.stop();
      await running;
      await store.close();
    });
    writeFileSync(join(folder, 'node.yaml'), NODE);
    writeFileSync(join(folder, 'policy.yaml'), policy(443));
    const { told } = await start({ filename: [folder], redis: redis.url });
    await until('a first generation', () => told.generations.length === 1);
    const ask = (ip: string): string => actionOf(told.copy, '192.0.2.1', ip);
    expect([ask('10.0.0.2'), ask('10.0.0.3'), ask('10.0.0.9')]).toEqual(['deny', 'allow', 'uncertain no-identity']);
    // Another pod like db-0 at an address that was nobody's.
    publish(pod('db-0', '10.0.0.2', 'db'), pod('web-0', '10.0.0.3', 'web'), pod('db-1', '10.0.0.9', 'db'));
    await until('it is a database', () => ask('10.0.0.9') === 'deny');
    expect(told.generations).toHaveLength(1);
    const flow = evaluateFlow(viewTables(told.copy.buffer), {
      src: '192.0.2.1',
      dst: '10.0.0.9',
      protocol: 'tcp',
      dst_port: 80,
    });
    expect(flow).toMatchObject({ dest_namespace: 'shop', dest_name: 'db-1', dest_service_account: 'db' });
    expect(told.forgotten).toContain(`4 ${0x0a000009}`);
    // An address changes hands.
    publish(pod('db-0', '10.0.0.2', 'db'), pod('web-1', '10.0.0.9', 'web'));
    await until(
      'it is no database any more',
      () => ask('10.0.0.9') === 'allow' && ask('10.0.0.3') === 'uncertain no-identity',
    );
    expect(told.generations).toHaveLength(1);
    publish(pod('db-0', '10.0.0.2', 'db'), pod('new-0', '10.0.0.3', 'something-else'));
    await until('new tables', () => told.generations.length === 2);
    await until('they know it', () => ask('10.0.0.3') === 'allow');
    const generations = told.generations.length;
    await redis.kill();
    await until('it is told', () => (told.identity?.ageMs ?? 0) > 1_000);
    expect([ask('10.0.0.2'), told.generations.length]).toEqual(['deny', generations]);
    await redis.start();
    // It lost everything; the publisher writes it anew under another epoch.
    await until(
      'it is confirmed again',
      () =>
        (told.identity?.ageMs ?? 1e9) < 1_000 &&
        (told.identity?.resyncs.epoch ?? 0) + (told.identity?.resyncs.server ?? 0) > 0,
    );
    expect(ask('10.0.0.2')).toBe('deny');
  });
});
