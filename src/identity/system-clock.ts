/** The clock of the machine, as readers and publisher take it. */
import { setTimeout } from 'node:timers/promises';
import type { Clock } from './shared-store.ts';

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  sleep: (ms) => setTimeout(ms),
  random: () => Math.random(),
};
