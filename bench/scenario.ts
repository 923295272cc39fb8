/** Names of workload scenarios: a shape, then what differs from disjoint sets, uniform traffic and frames cut at 60 bytes. */
import { SHAPE_NAMES, type Shape, shapeOf } from './workload.ts';
import type { Sizes, Traffic } from './workload-traffic.ts';

export interface Scenario {
  readonly name: string;
  readonly shape: Shape;
  readonly traffic: Traffic;
  readonly sizes: Sizes;
}

/** `e1k`, `e1k-ov`, `e1k-zipf`, `e1k-talk`, `e1k-mixed`, and their combinations in this order; undefined for anything else. */
export function parseScenario(name: string): Scenario | undefined {
  const parts = /^([eg]\d+k?)(-ov)?(-zipf|-talk)?(-mixed)?$/.exec(name);
  if (parts === null) return undefined;
  const shape = shapeOf(`${parts[1]}${parts[2] ?? ''}`);
  if (shape === undefined) return undefined;
  const traffic = parts[3] === '-zipf' ? 'zipf' : parts[3] === '-talk' ? 'talk' : 'uniform';
  return { name, shape, traffic, sizes: parts[4] === undefined ? 'snap60' : 'mixed' };
}

/** Throws with what there is for a name that is no scenario. */
export function scenarioOf(name: string): Scenario {
  const scenario = parseScenario(name);
  if (scenario !== undefined) return scenario;
  throw new Error(`no shape in '${name}'; use ${SHAPE_NAMES.join(' ')}, then -ov, -zipf or -talk, -mixed`);
}

/** Rows of which the tables do not fit the caches: they vary with the neighbours of the machine. */
export function isMemoryBound(name: string): boolean {
  return /e10k|g100k|-ov|dump|churn/.test(name);
}
