/**
 * The identity store at size, over a Redis server of its own: `identities.js CAPTURE`. Prints one line of JSON; nothing if there is no server.
 *
 * The publisher of the rates is a process of its own; reader and packet path are this one.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { LiveOwners } from '../../src/analyze/live-owners.ts';
import { replayCaptures } from '../../src/analyze/replay.ts';
import { packTimedPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { overlayIdentities } from '../../src/identity/overlay.ts';
import { IdentityPublisher } from '../../src/identity/publisher.ts';
import { IdentityReader } from '../../src/identity/reader.ts';
import { RedisStore } from '../../src/identity/redis.ts';
import { redisConfig } from '../../src/identity/redis-config.ts';
import { readSnapshot } from '../../src/identity/snapshot.ts';
import { SYSTEM_CLOCK } from '../../src/identity/system-clock.ts';
import { IdentityTable } from '../../src/identity/table.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables } from '../../src/tables/tables.ts';
import { benchEntries } from './identities-pods.ts';

const PODS = 100_000;
/** Of the rates: so many that their tables are compiled in a moment. */
const LIVE_PODS = 20_000;
const RATE_SECONDS = 6;
const capture = process.argv[2];

export interface IdentityFigures {
  readonly loadMs: number;
  readonly addressesMs: number[];
  readonly snapshotMs: number[];
  readonly memoryMB: number;
  readonly slowestUs: number;
  readonly rates: readonly {
    readonly rate: number;
    readonly seconds: number;
    readonly changes: number;
    readonly latenciesMs: number[];
    readonly behindMs: number;
  }[];
  /** Packets a second, without and with changes. */
  readonly replay?: { readonly quiet: number[]; readonly busy: number[] };
}

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'margay-bench-'));
  const port = await freePort();
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', directory, '--loglevel', 'warning'];
  const server = spawn('redis-server', args, { stdio: 'ignore' });
  const admin = new Redis({ port, host: '127.0.0.1', protocol: 2 });
  // Until the server listens.
  admin.on('error', () => {});
  try {
    const figures: IdentityFigures = { ...(await atSize(port, admin)), ...(await withChanges(port, admin)) };
    process.stdout.write(`${JSON.stringify(figures)}\n`);
  } finally {
    admin.disconnect();
    server.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
}

function storeOf(port: number): RedisStore {
  return new RedisStore({ config: redisConfig(`redis://127.0.0.1:${port}`, {}), cluster: 'bench' });
}

async function atSize(
  port: number,
  admin: Redis,
): Promise<Pick<IdentityFigures, 'loadMs' | 'addressesMs' | 'snapshotMs' | 'memoryMB' | 'slowestUs'>> {
  await admin.config('SET', 'slowlog-log-slower-than', '200');
  await admin.config('SET', 'slowlog-max-len', '10000');
  const store = storeOf(port);
  const publisher = new IdentityPublisher({ store, clock: SYSTEM_CLOCK, id: 'size', newEpoch: () => 'size' });
  const entries = benchEntries(PODS);
  const start = performance.now();
  publisher.replace(entries);
  while (!publisher.isSettled) await publisher.tryStep();
  const loadMs = performance.now() - start;
  const addressesMs: number[] = [];
  const snapshotMs: number[] = [];
  for (let run = 0; run < 3; run++) {
    addressesMs.push(await timed(() => readAddresses(store)));
    snapshotMs.push(
      await timed(async () => {
        const snapshot = await readSnapshot(store);
        if (typeof snapshot === 'string' || snapshot.table.owners.size !== PODS) throw new Error('no whole snapshot');
      }),
    );
  }
  const slowestUs = Math.max(
    0,
    ...((await admin.slowlog('GET', -1)) as [number, number, number][]).map(([, , micros]) => micros),
  );
  let bytes = 0;
  for (let bucket = 0; bucket < 1024; bucket++)
    bytes += (await admin.memory('USAGE', `margay:{bench}:ep:${bucket}`)) ?? 0;
  await publisher.resign();
  await store.close();
  await admin.flushall();
  return { loadMs, addressesMs, snapshotMs, memoryMB: bytes / 1e6, slowestUs };
}

/** Who owns what, without what the pods are: all that is needed to name an account. */
async function readAddresses(store: RedisStore): Promise<void> {
  const table = new IdentityTable();
  for (let first = 0; first < 1024; first += 16) {
    for (const fields of await store.buckets(first, 16)) {
      for (const [address, value] of Object.entries(fields)) table.putOwners(address, value);
    }
  }
  if (table.owners.size !== PODS) throw new Error('addresses are missing');
}

async function withChanges(port: number, admin: Redis): Promise<Pick<IdentityFigures, 'rates' | 'replay'>> {
  const rates: IdentityFigures['rates'][number][] = [];
  for (const rate of [1_000, 5_000]) {
    await admin.flushall();
    rates.push(await followAt(port, rate));
  }
  await admin.flushall();
  return capture === undefined ? { rates } : { rates, replay: await replayBeside(port, capture) };
}

interface Said {
  readonly changes: number;
  readonly seconds: number;
}

/** A publisher process that goes on until `end`, which gives what it did. */
function publishAt(port: number, rate: number): { readonly child: ChildProcess; readonly end: () => Promise<Said> } {
  const script = join(import.meta.dirname, 'identities-publisher.js');
  const child = spawn(process.execPath, [script, `${port}`, `${LIVE_PODS}`, `${rate}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (data) => {
    text += data;
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    child,
    end: async () => {
      child.stdin.end();
      await ended;
      return JSON.parse(text) as Said;
    },
  };
}

/** A reader with tables that follow it. */
async function follower(port: number, onSeen: (stamp: number) => void) {
  const store = storeOf(port);
  let owners: LiveOwners | undefined;
  const reader: IdentityReader = new IdentityReader({
    store,
    clock: SYSTEM_CLOCK,
    onChange: (change) => {
      if (change === undefined || owners === undefined) return;
      owners.apply(change);
      if (change.kind !== 'ep' || change.op !== 'del') return;
      // The new owner's entry came before, and is the only one now: packets meet it.
      const uid = reader.table.owners.get(change.key)?.[0]?.uid;
      const pod = uid === undefined ? undefined : reader.table.pods.get(uid)?.pod;
      if (pod !== undefined) onSeen(Number(pod.slice(pod.lastIndexOf('-') + 1)));
    },
  });
  const running = reader.run();
  while (!reader.isSynced) await SYSTEM_CLOCK.sleep(5);
  const { resources } = loadResources([{ name: 'policies.yaml', text: POLICY }], {
    amend: (all) => overlayIdentities(all, reader.table.toSet('bench')).resources,
  });
  const plan = planCluster(resources);
  const { buffer, live } = packTimedPlan(plan, { live: { pool: [], spareEndpoints: 120_000 } });
  const tables = openTables(buffer);
  owners = new LiveOwners(tables, live!, plan, reader.table);
  const made = owners;
  return {
    reader,
    tables,
    owners: made,
    close: async () => {
      reader.stop();
      await store.close();
      await running;
    },
  };
}

const POLICY = `
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: apps}
spec:
  selector: app in {"app-1", "app-2", "app-3"}
  ingress:
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {names: [account-1, account-2]}}, destination: {ports: [80]}}
  egress:
  - {action: Allow}
`;

async function followAt(port: number, rate: number): Promise<IdentityFigures['rates'][number]> {
  const latenciesMs: number[] = [];
  let isTimed = false;
  let newest = 0;
  const { end: endPublisher } = publishAt(port, rate);
  const { reader, owners, close } = await follower(port, (stamp) => {
    newest = stamp / 1_000;
    if (isTimed) latenciesMs.push(performance.timeOrigin + performance.now() - stamp / 1_000);
  });
  // What was changed while the tables were compiled is no latency of theirs.
  for (
    let lastMs = Number.POSITIVE_INFINITY;
    lastMs > 100;
    lastMs = performance.timeOrigin + performance.now() - newest
  ) {
    await SYSTEM_CLOCK.sleep(200);
  }
  isTimed = true;
  await SYSTEM_CLOCK.sleep(RATE_SECONDS * 1_000);
  const { changes, seconds } = await endPublisher();
  const end = performance.now();
  await settled(reader);
  const behindMs = performance.now() - end;
  if (owners.isOutdated) throw new Error('the tables could not follow');
  await close();
  return { rate, seconds, changes, latenciesMs, behindMs };
}

/** Waits until the reader has all that was published. */
async function settled(reader: IdentityReader): Promise<void> {
  for (let rev = -1; rev !== reader.rev; ) {
    rev = reader.rev;
    await SYSTEM_CLOCK.sleep(50);
  }
}

/** The capture's packets over live tables, with nothing going on and with 1 000 changes a second. */
async function replayBeside(port: number, file: string): Promise<{ quiet: number[]; busy: number[] }> {
  const quiet: number[] = [];
  const busy: number[] = [];
  const { child } = publishAt(port, 1_000);
  const { tables, owners, close } = await follower(port, () => {});
  const run = async (): Promise<number> => {
    const start = performance.now();
    const { totals } = await replayCaptures(tables, [file], { stateless: true, form: 'script' });
    return totals.packets / ((performance.now() - start) / 1_000);
  };
  await run();
  for (let i = 0; i < 5; i++) {
    child.kill('SIGSTOP');
    quiet.push(await run());
    child.kill('SIGCONT');
    const before = owners.switched;
    while (owners.switched === before) await SYSTEM_CLOCK.sleep(1);
    busy.push(await run());
  }
  child.kill('SIGKILL');
  await close();
  return { quiet, busy };
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

if (spawnSync('redis-server', ['--version']).status === 0) await main();
