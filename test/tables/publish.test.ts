/** Tables that change in two buffers in turn: who still reads the older one is not written over, and nobody waits. */
import { receiveMessageOnPort } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { LiveCompiler } from '../../src/compile/live-compiler.ts';
import { loadResources } from '../../src/load/load.ts';
import { BufferPair } from '../../src/tables/buffer-pair.ts';
import { Publisher, Subscriber } from '../../src/tables/publish.ts';
import type { Tables } from '../../src/tables/tables.ts';
import { account, joinDocuments, namespace, networkPolicy, pod } from '../compile/cluster.ts';

const { resources } = loadResources([
  joinDocuments(
    namespace('app'),
    account('web', '{role: front}'),
    pod('web', '10.0.0.1', { serviceAccount: 'web' }),
    pod('db', '10.0.0.2', { labels: '{app: db}' }),
    networkPolicy(
      'p',
      'selector: app == "db", ingress: [{action: Allow, source: {serviceAccounts: {selector: role == "front"}}}]',
    ),
  ),
]);
const web = resources.serviceAccounts.find(({ meta }) => meta.name === 'web')!;

function action(tables: Tables): string {
  return evaluateFlow(tables, { src: '10.0.0.1', dst: '10.0.0.2', protocol: 'tcp', src_port: 1, dst_port: 80 }).action;
}

test('a subscriber keeps the answers of its generation until it polls, and holds up nobody while it rests', () => {
  const live = new LiveCompiler(resources);
  const publisher = new Publisher();
  const publish = (role: string): Tables => {
    live.set({ ...web, meta: { ...web.meta, labels: new Map([['role', role]]) } });
    const tables = live.publish(publisher.isOlderFree);
    publisher.publishChanged(tables);
    return tables;
  };
  publish('front');
  const subscriber = new Subscriber(publisher.subscribe());
  const first = subscriber.poll()!;
  expect(action(first)).toBe('allow');
  for (const role of ['x', 'front', 'y', 'z']) {
    publish(role);
    expect([role, action(first), publisher.isOlderFree()]).toEqual([role, 'allow', false]);
  }
  expect(action(subscriber.poll()!)).toBe('deny');
  expect(publisher.isOlderFree()).toBe(true);
  publish('front');
  expect(publisher.isOlderFree()).toBe(false);
  subscriber.rest();
  expect(publisher.isOlderFree()).toBe(true);
  const buffers = new Set([publish('x').buffer, publish('front').buffer, publish('x').buffer, publish('y').buffer]);
  expect(buffers.size).toBe(2);
  expect(action(subscriber.poll()!)).toBe('deny');
  expect(subscriber.generation).toBe(publisher.generation);
  expect(live.counts.packed).toBe(1);
  publisher.close();
});

test('an address that is stored in place is a generation by its number alone', () => {
  const live = new LiveCompiler(resources);
  const publisher = new Publisher();
  const [pod] = resources.pods;
  const publish = (address: string): Tables => {
    live.set({ ...pod!, podIPs: [address], podIP: address });
    const tables = live.publish(publisher.isOlderFree);
    publisher.publishChanged(tables);
    return tables;
  };
  const first = publish('10.0.0.1');
  const subscription = publisher.subscribe();
  const subscriber = new Subscriber(subscription);
  expect(subscriber.poll()).toBeDefined();
  expect(publish('10.0.0.9').buffer === first.buffer).toBe(true);
  // The same memory as that, which came through the port.
  const { buffer } = subscriber.poll()!;
  expect(publish('10.0.0.7').buffer === first.buffer).toBe(true);
  expect(receiveMessageOnPort(subscription.port)).toBeUndefined();
  const tables = subscriber.poll()!;
  expect([tables.buffer === buffer, subscriber.generation, subscriber.poll()]).toEqual([true, 3, undefined]);
  const flow = { src: '10.0.0.7', dst: '10.0.0.2', protocol: 'tcp', src_port: 1, dst_port: 80 } as const;
  expect(evaluateFlow(tables, flow).source_name).toBe('web');
  // Who comes late gets the buffer with the newest number; a change in turns is sent to both.
  const late = new Subscriber(publisher.subscribe());
  expect(evaluateFlow(late.poll()!, flow).source_name).toBe('web');
  expect(late.generation).toBe(3);
  live.set({ ...web, meta: { ...web.meta, labels: new Map([['role', 'x']]) } });
  publisher.publishChanged(live.publish(publisher.isOlderFree));
  for (const each of [subscriber, late]) {
    expect([each.poll()?.buffer === buffer, each.generation]).toEqual([false, 4]);
  }
  publisher.close();
});

test('the older buffer gets what it lacks, in short and in long runs', () => {
  const length = 4_000;
  const pair = new BufferPair(new SharedArrayBuffer(4 * length));
  const expected = new Int32Array(length);
  for (let round = 1; round <= 6; round++) {
    const words = new Int32Array(pair.begin(round !== 4));
    for (const [start, end] of [
      [round, round + 1],
      [100 * round, 100 * round + 90],
    ] as const) {
      words.fill(round, start, end);
      expected.fill(round, start, end);
      pair.note(start, end);
    }
    expect(new Int32Array(pair.commit())).toEqual(expected);
  }
  pair.begin(true);
  expect(() => pair.begin(true)).toThrow('begins before the last one ended');
});
