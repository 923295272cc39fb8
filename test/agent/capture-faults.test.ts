/** What may happen to a capture: interfaces that go and come back, children that die or hang. The accounting holds throughout. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CaptureEngine } from '../../src/agent/engine.ts';
import { buildSender, Cable, namespaceTrouble, removeSender, send } from '../support/cable.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { cluster, DENIES, expectSound, type Told, until } from './engine-support.ts';
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

/** Sends until the engine judges what comes. */
async function untilJudging(cable: Cable, engine: CaptureEngine, told: Told): Promise<void> {
  await until('the source runs', () => told.sources[0]?.state === 'running');
  const before = engine.accounting().judged;
  for (let attempt = 0; engine.accounting().judged === before; attempt++) {
    if (attempt === 50) throw new Error(`nothing is judged: ${JSON.stringify(told.sources)}`);
    await send(cable, 10, 0).sent;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.skipIf(trouble !== undefined)(`faults${trouble === undefined ? '' : ` (${trouble})`}`, () => {
  test.each(['cap', 'tcpdump'] as const)(
    '%s: an interface goes down, is deleted, renamed, and comes back',
    async (kind) => {
      const cable = new Cable();
      try {
        const { engine, told } = await startOn(
          cable,
          { sources: [{ kind, interfaceName: 'right' }] },
          { pauseMsMax: 300 },
        );
        await untilJudging(cable, engine, told);
        // tcpdump waits for an interface that is down, or has another name; cap aborts its process.
        const isPatient = kind === 'tcpdump';
        for (const [isSurvived, away, back] of [
          [
            isPatient,
            () => cable.run('ip', 'link', 'set', 'right', 'down'),
            () => cable.run('ip', 'link', 'set', 'right', 'up'),
          ],
          [false, () => cable.run('ip', 'link', 'del', 'right'), () => cable.add()],
          [
            isPatient,
            () =>
              cable.run('sh', '-c', 'ip link set right down && ip link set right name other && ip link set other up'),
            () =>
              cable.run('sh', '-c', 'ip link set other down && ip link set other name right && ip link set right up'),
          ],
        ] as const) {
          away();
          if (!isSurvived) await until('the source is told to be down', () => told.sources[0]?.state === 'restarting');
          expectSound(engine.accounting());
          back();
          await untilJudging(cable, engine, told);
        }
        const accounting = await engine.stop(5000);
        expectSound(accounting);
        expect(accounting.allow).toBe(accounting.judged);
      } finally {
        cable.close();
      }
    },
  );

  test('a child that is killed, aborted or hangs is replaced, and what it had in hand is lost', async () => {
    const cable = new Cable();
    try {
      const { engine, told } = await startOn(
        cable,
        { sources: [{ kind: 'cap', interfaceName: 'right' }] },
        // A child that only starts slowly, on a busy machine, must not be taken for one that hangs.
        { pauseMsMax: 200, stallMs: 4000 },
      );
      await untilJudging(cable, engine, told);
      for (const signal of ['SIGKILL', 'SIGABRT', 'SIGSTOP'] as const) {
        const sending = send(cable, 1e6, 20_000);
        const { judged } = engine.accounting();
        await until('packets are judged', () => engine.accounting().judged > judged + 2000);
        const { restarts } = engine.sources()[0]!;
        process.kill(told.sources[0]!.pid!, signal);
        await until('there is a new child', () => engine.sources()[0]!.restarts > restarts);
        expectSound(engine.accounting());
        await untilJudging(cable, engine, told);
        sending.process.kill();
        await sending.sent.catch(() => {});
      }
      // The newest tables reach a child that starts after they were published.
      await engine.publish(cluster(DENIES), 2);
      const { restarts } = engine.sources()[0]!;
      process.kill(told.sources[0]!.pid!, 'SIGKILL');
      await until('there is a new child', () => engine.sources()[0]!.restarts > restarts);
      const { deny } = engine.accounting();
      await untilJudging(cable, engine, told);
      expect(engine.accounting().deny).toBeGreaterThan(deny);
      const accounting = await engine.stop(5000);
      expectSound(accounting);
      const { 'child-crash': crashed = 0, ...others } = accounting.lostByReason;
      expect(others).toEqual({});
      expect(crashed).toBe(accounting.lost);
    } finally {
      cable.close();
    }
  });
});
