/** Live capture on a cable: what was sent is seen and judged, or its loss is counted. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundleThreadEntries } from '../support/thread-entries.ts';
import { expectSound, until } from './engine-support.ts';
import { buildSender, Cable, namespaceTrouble, removeSender, send, startOn } from './veth.ts';

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
});
