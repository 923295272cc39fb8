/** What one bench says: a figure with its spread, or the ratio of a peer's to ours in one run. */
import { join } from 'node:path';
import { ROOT } from './paths.ts';

export type Unit = 'ns/packet' | 'packets/s' | 'ns' | 'us' | 'ms' | 's' | 'MB' | 'bytes/packet' | '1/s' | 'count' | 'x';

export interface Measurement {
  readonly scenario: string;
  readonly name: string;
  readonly unit: Unit;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly runs: number;
  /** The exact command, for whole processes. */
  readonly command?: string;
  /** What it must be read with, as text. */
  readonly note?: string;
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  /** One-minute load average when the run began: above 1 on a shared machine, rates are not to be quoted. */
  readonly loadAverage: number;
  /** Of the peers that are installed. */
  readonly versions: Readonly<Record<string, string>>;
}

export interface Results {
  readonly date: string;
  readonly command: string;
  readonly seconds: number;
  /** Of a generated capture: what is judged in a moment is judged by code that is not compiled yet. */
  readonly packets: number;
  readonly machine: Machine;
  readonly measurements: readonly Measurement[];
  /** Peers and scenarios that were left out, with the reason. */
  readonly skipped: readonly string[];
}

/** A measurement from the values of its runs. */
export function measured(
  scenario: string,
  name: string,
  unit: Unit,
  values: readonly number[],
  more: Pick<Measurement, 'command' | 'note'> = {},
): Measurement {
  if (values.length === 0) throw new Error(`${scenario}: ${name} was not run`);
  const sorted = [...values].sort((a, b) => a - b);
  const [min, max] = [sorted[0]!, sorted.at(-1)!];
  // Results are kept: where the repository lies is nobody's business.
  const command = more.command === undefined ? {} : { command: more.command.replaceAll(join(ROOT, '/'), '') };
  return { scenario, name, unit, median: median(sorted), min, max, runs: sorted.length, ...more, ...command };
}

/** How many times longer theirs takes than ours, run by run: their runs alternated, so drift of the machine hurts both. */
export function ratio(
  scenario: string,
  name: string,
  theirs: readonly number[],
  ours: readonly number[],
  more: Pick<Measurement, 'note'> = {},
): Measurement {
  const runs = theirs.slice(0, ours.length);
  return measured(
    scenario,
    name,
    'x',
    runs.map((value, run) => value / ours[run]!),
    more,
  );
}

/** Of an even number of values the mean of the middle two. */
function median(sorted: readonly number[]): number {
  const middle = sorted.length >>> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
