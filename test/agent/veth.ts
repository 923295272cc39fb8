/** An engine on a cable. */
import { LocalHost } from '../../src/agent/child-host.ts';
import type { CaptureEngine, EngineOptions } from '../../src/agent/engine.ts';
import type { EngineTuning } from '../../src/agent/supervised-child.ts';
import { createEngine } from '../../src/agent/supervisor.ts';
import type { Cable } from '../support/cable.ts';
import { ALLOWS, cluster, OPTIONS, Told, until } from './engine-support.ts';

/** An engine whose children capture at the cable, and judge by tables that allow everything. */
export async function startOn(
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
