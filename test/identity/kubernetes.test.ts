/** A publisher fed by the Kubernetes API (support/kubernetes-server.ts plays it), with all that an API server does to its watchers. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openKubernetesApi } from '../../src/identity/kubernetes.ts';
import { ListWatch, type ObjectSink } from '../../src/identity/list-watch.ts';
import { SYSTEM_CLOCK } from '../../src/identity/system-clock.ts';
import { margay } from '../cli/support.ts';
import { KubernetesServer } from './support/kubernetes-server.ts';
import { hasRedis, RedisServer, until } from './support/redis-server.ts';

let api: KubernetesServer;
let folder: string;
const cleanUp: (() => unknown)[] = [];

beforeEach(async () => {
  api = new KubernetesServer();
  await api.start();
  folder = mkdtempSync(join(tmpdir(), 'margay-kube-'));
});
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
  await api.close();
  rmSync(folder, { recursive: true });
});

function pod(name: string, ip: string, more: object = {}) {
  return {
    metadata: { name, namespace: 'shop', uid: `uid-${name}`, labels: { app: name } },
    spec: {
      nodeName: 'n1',
      serviceAccountName: 'web',
      containers: [{ name: 'c', ports: [{ name: 'http', containerPort: 80, protocol: 'TCP' }] }],
    },
    status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
    ...more,
  };
}

/** Names of pods as a follower of the API has them. */
function follow(troubles: string[] = [], longestMs = 150) {
  const names = new Map<string, string>();
  const nameOf = (object: unknown): string => (object as { metadata: { name: string } }).metadata.name;
  const versionOf = (object: unknown): string =>
    (object as { metadata: { resourceVersion: string } }).metadata.resourceVersion;
  const sink: ObjectSink = {
    replace: (objects) => {
      names.clear();
      for (const object of objects) names.set(nameOf(object), versionOf(object));
    },
    set: (object) => void names.set(nameOf(object), versionOf(object)),
    remove: (object) => void names.delete(nameOf(object)),
  };
  const watch = new ListWatch({
    api: openKubernetesApi({ kubeconfig: api.writeKubeconfig(folder) }),
    path: '/api/v1/pods',
    sink,
    clock: { ...SYSTEM_CLOCK, sleep: (ms) => SYSTEM_CLOCK.sleep(Math.min(ms, longestMs)) },
    onTrouble: (trouble) => troubles.push(trouble),
    watchSeconds: 1,
  });
  const ended = new AbortController();
  const running = watch.run(ended.signal);
  cleanUp.push(async () => {
    ended.abort();
    await running;
  });
  return { names, watch, list: () => [...names.keys()].sort().join() };
}

describe('a follower of the API', () => {
  beforeEach(() => {
    for (let i = 0; i < 20; i++) api.put('Pod', pod(`p${String(i).padStart(2, '0')}`, `10.0.0.${i}`));
  });
  const ALL = Array.from({ length: 20 }, (_, i) => `p${String(i).padStart(2, '0')}`);

  test('lists in pages, and sees what comes, changes and goes', async () => {
    const { list, names } = follow();
    await until(() => list() === ALL.join() && api.watchCount === 1);
    api.put('Pod', pod('new', '10.0.1.1'));
    api.remove('Pod', 'shop', 'p03');
    const before = names.get('p05');
    api.put('Pod', pod('p05', '10.0.1.5'));
    await until(
      () =>
        list() ===
          [...ALL, 'new']
            .filter((name) => name !== 'p03')
            .sort()
            .join() && names.get('p05') !== before,
    );
  });

  const gone = (): void => {
    api.compact();
    api.breakWatches();
  };
  test.each<[string, () => void]>([
    ['410 to a watch', gone],
    ['410 as an event', () => api.expireWatches()],
    [
      '410 in the middle of a list',
      () => {
        api.expiredPages = 2;
        gone();
      },
    ],
    [
      '429 with Retry-After',
      () => {
        api.failures = { status: 429, count: 1, retryAfter: 1 };
        api.breakWatches();
      },
    ],
    [
      '500 again and again',
      () => {
        api.failures = { status: 500, count: 8 };
        api.breakWatches();
      },
    ],
    [
      '403 for a while',
      () => {
        api.failures = { status: 403, count: 2 };
        api.breakWatches();
      },
    ],
    ['half a line of JSON', () => api.halfLine()],
    ['a connection that breaks', () => api.breakWatches()],
    [
      'slow answers',
      () => {
        api.delayMs = 300;
        api.breakWatches();
      },
    ],
    ['bookmarks', () => api.bookmark()],
  ])('loses nothing to %s', async (_what, fault) => {
    const { list } = follow();
    await until(() => list() === ALL.join() && api.watchCount === 1);
    api.put('Pod', pod('before', '10.0.1.1'));
    fault();
    api.put('Pod', pod('after', '10.0.1.2'));
    api.remove('Pod', 'shop', 'p00');
    await until(() => list() === ['after', 'before', ...ALL.slice(1)].join(), 20_000, list);
  });

  test('after a bookmark goes on from its version, without a new list', async () => {
    const { list, watch } = follow();
    await until(() => list() === ALL.join() && api.watchCount === 1);
    api.bookmark();
    await until(() => api.watchCount === 1);
    api.compact();
    api.breakWatches(true);
    await until(() => watch.watches >= 2 && api.watchCount === 1);
    expect(watch.lists).toBe(1);
  });

  test('sees in a new list what a watch never told: no deletion is lost', async () => {
    const { list } = follow();
    await until(() => list() === ALL.join() && api.watchCount === 1);
    api.isDeaf = true;
    api.remove('Pod', 'shop', 'p07');
    api.isDeaf = false;
    gone();
    await until(() => list() === ALL.filter((name) => name !== 'p07').join());
  });

  test('waits as long as the server asks', async () => {
    const troubles: string[] = [];
    api.failures = { status: 429, count: 1, retryAfter: 1 };
    const start = performance.now();
    const { list } = follow(troubles, 5_000);
    await until(() => list() === ALL.join());
    expect(performance.now() - start).toBeGreaterThan(900);
    expect(troubles.join()).toContain('429');
    expect(troubles.join()).not.toContain('not-for-logs');
  });
});

describe.skipIf(!hasRedis)('identities publish --kubernetes', () => {
  test('publishes what the API says, as the manifests of the same objects would', async () => {
    const redis = await RedisServer.start();
    cleanUp.push(() => redis.stop());
    const objects = [
      { kind: 'Namespace', metadata: { name: 'shop', labels: { env: 'prod', 'kubernetes.io/metadata.name': 'shop' } } },
      { kind: 'ServiceAccount', metadata: { name: 'web', namespace: 'shop', labels: { team: 'front' } } },
      { kind: 'Pod', ...pod('web-0', '10.0.0.5') },
      { kind: 'Pod', ...pod('done-0', '10.0.0.6', { status: { phase: 'Succeeded', podIP: '10.0.0.6' } }) },
      { kind: 'Pod', ...pod('host-0', '192.168.0.1', { spec: { nodeName: 'n1', hostNetwork: true } }) },
    ];
    for (const { kind, ...object } of objects) api.put(kind, object);
    const to = ['--redis', redis.url, '--cluster', 'kube'];
    const { code, stderr } = await margay([
      'identities',
      'publish',
      '--kubernetes',
      '--kubeconfig',
      api.writeKubeconfig(folder),
      ...to,
      '--once',
    ]);
    expect(stderr).toContain('published');
    expect(code).toBe(0);
    const file = join(folder, 'objects.json');
    writeFileSync(
      file,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'List',
        items: objects.map((object) => ({ apiVersion: 'v1', ...object })),
      }),
    );
    const ofManifests = await margay(['identities', 'dump', '-f', file, '--as-is', '-q']);
    expect(ofManifests.stdout).toContain('web-0');
    expect(await margay(['identities', 'dump', ...to, '-q'])).toEqual(ofManifests);
  });

  test('without a cluster says so, with exit code 4', async () => {
    const { code, stderr } = await margay([
      'identities',
      'publish',
      '--kubernetes',
      '--kubeconfig',
      join(folder, 'none'),
      '--redis',
      'redis://127.0.0.1:1',
    ]);
    expect(code).toBe(4);
    expect(stderr).toContain('kubeconfig');
  });
});
