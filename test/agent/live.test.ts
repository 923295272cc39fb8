/** Live capture on a cable: what was sent is seen and judged, or its loss is counted. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LocalHost } from '../../src/agent/child-host.ts';
import type { CaptureEngine, EngineOptions } from '../../src/agent/engine.ts';
import type { EngineTuning } from '../../src/agent/supervised-child.ts';
import { createEngine } from '../../src/agent/supervisor.ts';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { ALLOWS, cluster, expectSound, OPTIONS, Told, until } from './engine-support.ts';
import { buildSender, Cable, namespaceTrouble, removeSender, send } from './veth.ts';

const trouble = namespaceTrouble() ?? (buildSender() === undefined ? 'no C compiler (build-essential)' : undefined);
let unbundle: () => void;
beforeAll(() => {
  unbundle = bundleThreadEntries();
});
afterAll(() => {
  unbundle();
  removeSender();
});

async function startOn(
  cable: Cable,
  options: Partial<EngineOptions>,
  tuning: Partial<EngineTuning> = {},
): Promise<{ engine: CaptureEngine; told: Told }> {
  const told = new Told();
  const host = new LocalHost(cable.prefix);
  const engine = await createEngine({ ...OPTIONS, ...options }, told, { reportMs: 50, ...tuning }, host);
  await engine.publish(cluster(ALLOWS), 1);
  await until(
    'the source runs',
    () => told.sources.length > 0 && told.sources.every(({ state }) => state === 'running'),
  );
  return { engine, told };
}

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
});
