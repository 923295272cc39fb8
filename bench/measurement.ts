/** What one bench says: a figure with its spread, or the ratio of a peer's to ours in one run. */
export interface Measurement {
  readonly scenario: string;
  readonly name: string;
  readonly unit: 'ns/packet' | 'ns' | 'ms' | 'MB' | 'x' | 'packets/s';
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly runs: number;
  /** The exact command, for whole processes. */
  readonly command?: string;
  /** What the issue or the notes ask for, as text. */
  readonly goal?: string;
}

export interface Results {
  readonly date: string;
  readonly command: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryGiB: number;
    readonly system: string;
    readonly node: string;
  };
  readonly measurements: readonly Measurement[];
}

/** A measurement from the values of its runs. */
export function measured(
  scenario: string,
  name: string,
  unit: Measurement['unit'],
  values: readonly number[],
  more: { readonly command?: string; readonly goal?: string } = {},
): Measurement {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    scenario,
    name,
    unit,
    median: sorted[Math.floor(sorted.length / 2)]!,
    min: sorted[0]!,
    max: sorted.at(-1)!,
    runs: sorted.length,
    ...more,
  };
}
