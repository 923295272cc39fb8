/** Runs in turn: each round runs everything once, every other round in reverse, so that a machine whose speed drifts hurts all alike. */
import { progress } from './progress.ts';

export interface Runner {
  readonly name: string;
  /** What this run is measured by; lower is better. */
  readonly run: () => number | Promise<number>;
}

/** Values by name, one a round. The first failure ends it: nothing is left out in silence. */
export async function alternate(
  what: string,
  rounds: number,
  runners: readonly Runner[],
): Promise<Map<string, number[]>> {
  const values = new Map<string, number[]>(runners.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    progress(`${what}: round ${round + 1} of ${rounds}`);
    const order = round % 2 === 0 ? runners : [...runners].reverse();
    for (const { name, run } of order) {
      values.get(name)!.push(await run());
      // Lets the timer of --seconds in: most runs wait for a process without yielding.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return values;
}
