/**
 * Changes the owners of addresses at a rate, as a publisher: `identities-publisher.js PORT PODS CHANGES_A_SECOND`, until its input ends.
 *
 * A pod gives its address to the next one, which is called after the moment (microseconds since 1970, `…-<micros>`), so that whoever sees it knows
 * how long it took. That is four changes: the new pod, its address, and the old one's two deletions.
 */
import { entriesOfRecord, entryName } from '../../src/identity/entries.ts';
import { IdentityPublisher } from '../../src/identity/publisher.ts';
import { RedisStore } from '../../src/identity/redis.ts';
import { redisConfig } from '../../src/identity/redis-config.ts';
import { SYSTEM_CLOCK } from '../../src/identity/system-clock.ts';
import { benchEntries, benchPod } from './identities-pods.ts';

const [port, pods, rate] = process.argv.slice(2).map(Number) as [number, number, number];
const CHANGES_A_POD = 4;
const TICK_MS = 2;

const store = new RedisStore({ config: redisConfig(`redis://127.0.0.1:${port}`, {}), cluster: 'bench' });
const publisher = new IdentityPublisher({
  store,
  clock: SYSTEM_CLOCK,
  id: `bench-${process.pid}`,
  newEpoch: () => `epoch-${process.pid}`,
});
publisher.replace(benchEntries(pods));
const running = publisher.run();
while (!publisher.isSettled) await SYSTEM_CLOCK.sleep(5);

const names = new Map<number, string>();
let done = 0;
let hasEnded = false;
process.stdin.on('end', () => {
  hasEnded = true;
});
process.stdin.resume();
const start = performance.now();
while (!hasEnded) {
  const due = Math.floor(((performance.now() - start) / 1_000) * (rate / CHANGES_A_POD));
  for (; done < due; done++) {
    const index = (done * 7_919) % pods;
    const old = entriesOfRecord(benchPod(index, names.get(index) ?? ''));
    const name = String(Math.round((performance.timeOrigin + performance.now()) * 1_000));
    names.set(index, name);
    for (const entry of entriesOfRecord(benchPod(index, name))) publisher.put(entry);
    for (const entry of old.reverse()) publisher.remove(entryName(entry));
  }
  await SYSTEM_CLOCK.sleep(TICK_MS);
}
const seconds = (performance.now() - start) / 1_000;
while (!publisher.isSettled) await SYSTEM_CLOCK.sleep(1);
process.stdout.write(`${JSON.stringify({ changes: done * CHANGES_A_POD, seconds })}\n`);
publisher.stop();
await running;
await store.close();
