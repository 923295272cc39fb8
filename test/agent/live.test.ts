/** Live capture on a cable: what was sent is seen and judged, or its loss is counted. */
import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildSender, Cable, namespaceTrouble, removeSender, send } from '../support/cable.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { ALLOWS, ALLOWS_80, cluster, expectSound, until } from './engine-support.ts';
import { startOn } from './veth.ts';

const trouble = namespaceTrouble() ?? (buildSender() === undefined ? 'no C compiler (build-essential)' : undefined);
let unbundle: () => void;
beforeAll(() => {
  unbundle = bundleThreadEntries();
});
afterAll(() => {
  unbundle();
  removeSender();
});

describe.skipIf(trouble !== undefined)(`a cable${trouble === undefined ? '' : ` (${trouble})`}`, () => {
  test.each(['cap', 'tcpdump'] as const)('%s sees every packet, or counts it as lost', async (kind) => {
    const cable = new Cable();
    try {
      const { engine } = await startOn(cable, { sources: [{ kind, interfaceName: 'right' }] });
      const sent = await send(cable, 20_000, 20_000).sent;
      expect(cable.arrived()).toBe(sent);
      await until('all packets are accounted for', () => {
        const { seen, droppedByKernel } = engine.accounting();
        return seen + droppedByKernel >= sent;
      });
      const accounting = await engine.stop(5000);
      expectSound(accounting);
      expect(accounting.seen + accounting.droppedByKernel).toBe(sent);
      expect(accounting.allow).toBe(accounting.judged);
    } finally {
      cable.close();
    }
  });

  test.each(['cap', 'tcpdump'] as const)(
    '%s on any: what goes out here and comes in there is judged once',
    async (kind) => {
      const cable = new Cable();
      try {
        const { engine } = await startOn(cable, { sources: [{ kind, interfaceName: 'any' }] });
        // Few enough for the kernel's memory: what it drops on `any` cannot be told.
        const sent = await send(cable, 200, 2000).sent;
        await until('all packets are seen twice', () => engine.accounting().seen >= 2 * sent);
        const accounting = await engine.stop(5000);
        expectSound(accounting);
        expect(accounting).toMatchObject({ seen: 2 * sent, judged: sent, duplicate: sent });
      } finally {
        cable.close();
      }
    },
  );

  test('several children share the flows, and each flow is in one', async () => {
    const cable = new Cable();
    try {
      const { engine, told } = await startOn(cable, {
        sources: [{ kind: 'cap', interfaceName: 'right' }],
        splits: 2,
      });
      // From 200 ports, all of one pair of addresses, whose last bytes add up to 3: the second child's.
      const sent = await send(cable, 4000, 8000, 200).sent;
      // On a busy machine the kernel may drop some, and says so.
      await until('all packets are judged', () => {
        const { judged, droppedByKernel } = engine.accounting();
        return judged + droppedByKernel >= sent;
      });
      await until('they are reported', () => (engine.sources()[1]?.seen ?? 0) >= engine.accounting().judged);
      const accounting = await engine.stop(5000);
      expectSound(accounting);
      expect(accounting.judged + accounting.droppedByKernel).toBe(sent);
      expect(accounting.judged).toBeGreaterThan(sent / 2);
      expect(told.sources.map(({ name }) => name)).toEqual(['cap:right/1', 'cap:right/2']);
      expect(new Set([...told.flows.keys()].map((id) => id.split('.')[0]))).toEqual(new Set(['1']));
      expect(told.flows.size).toBe(200);
    } finally {
      cable.close();
    }
  });

  test('100 000 packets a second, new tables every second: nothing is lost that is not counted', async () => {
    const cable = new Cable();
    const lag = monitorEventLoopDelay({ resolution: 10 });
    try {
      const { engine, told } = await startOn(
        cable,
        { sources: [{ kind: 'cap', interfaceName: 'right' }], ringBytes: 16 * 1024 * 1024 },
        { reportMs: 250 },
      );
      lag.enable();
      const sending = send(cable, 500_000, 100_000);
      let isSending = true;
      void sending.sent.finally(() => {
        isSending = false;
      });
      const tables = [cluster(ALLOWS), cluster(ALLOWS_80)];
      let generation = 1;
      while (isSending) {
        generation++;
        await engine.publish(tables[generation % 2]!, generation);
        expectSound(engine.accounting());
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
      lag.disable();
      const sent = await sending.sent;
      await until('all packets are accounted for', () => {
        const { seen, droppedByKernel } = engine.accounting();
        return seen + droppedByKernel >= sent;
      });
      const accounting = await engine.stop(5000);
      expectSound(accounting);
      expect(accounting.seen + accounting.droppedByKernel).toBe(sent);
      expect(accounting.deny + accounting.allow).toBe(accounting.judged);
      expect(generation).toBeGreaterThan(4);
      const hits = told.hits.flatMap((one) => one.hits).reduce((sum, { packets }) => sum + packets, 0);
      expect(hits).toBe(accounting.judged);
      // The figure that counts is the bench's: other work on this machine is in this one, too.
      expect(lag.max / 1e6).toBeLessThan(5000);
    } finally {
      cable.close();
    }
  });

  test('children that come and go leave nothing behind', async () => {
    const cable = new Cable();
    try {
      const tuning = { pauseMs: 20, pauseMsMax: 20 };
      const { engine, told } = await startOn(cable, { sources: [{ kind: 'cap', interfaceName: 'right' }] }, tuning);
      const restart = async (): Promise<void> => {
        const { pid, restarts } = told.sources[0]!;
        process.kill(pid!, 'SIGKILL');
        await until('a new child runs', () => {
          const source = told.sources[0]!;
          return source.restarts > restarts && source.state === 'running';
        });
      };
      await restart();
      const before = readdirSync('/proc/self/fd').length;
      for (let i = 0; i < 5; i++) await restart();
      expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before);
      const { pid } = told.sources[0]!;
      await engine.stop(5000);
      expect(() => process.kill(pid!, 0)).toThrow('ESRCH');
    } finally {
      cable.close();
    }
  });
});
