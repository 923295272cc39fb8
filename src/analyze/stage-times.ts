/**
 * Where the time of a replay goes, stage by stage, for `replay --stats`.
 *
 * Measuring everything would cost more than most stages do. So reading is timed a buffer at a time, and of batches and of packets that go
 * one by one every so many is timed and stands for the others (BATCHES_PER_SAMPLE, PACKETS_PER_SAMPLE); what a pair of looks at the
 * clock takes is measured once and taken off. Without `--stats` none of this exists.
 *
 * Seconds are of threads: with several workers they add up to more than the time that passed.
 */

/* Stages, in the order of a packet's way. */
export const STAGE_READ = 0;
export const STAGE_PARSE = 1;
export const STAGE_CLASSIFY = 2;
export const STAGE_SEARCH = 3;
export const STAGE_COUNT = 4;
/** The three above in one, where they are one loop of WebAssembly. */
export const STAGE_MATCH = 5;
export const STAGE_SLOW = 6;
export const STAGE_CONNTRACK = 7;
export const STAGE_OUTPUT = 8;
export const STAGE_NAMES = [
  'read',
  'walk and parse',
  'classify',
  'search',
  'count',
  'classify, search, count',
  'slow path',
  'conntrack',
  'output',
] as const;

const BATCHES_PER_SAMPLE = 16;
const PACKETS_PER_SAMPLE = 64;
const CALIBRATION_LOOKS = 1000;

/** What `--stats` prints. */
export interface ReplayStats {
  /** Of the clock on the wall. */
  readonly seconds: number;
  readonly packets: number;
  readonly packets_per_second: number;
  readonly workers: number;
  /** Seconds of threads, by stage; stages that took no time are left out. */
  readonly stages: Readonly<Record<string, number>>;
}

export class StageTimes {
  /** Milliseconds by STAGE_*, samples already multiplied. */
  readonly ms = new Float64Array(STAGE_NAMES.length);
  /** Milliseconds that looking at the clock twice takes. */
  readonly #lookMs: number;
  readonly #batches = [0, 0];
  #packets = 0;
  #weight = 1;

  constructor() {
    const start = performance.now();
    for (let look = 0; look < CALIBRATION_LOOKS; look++) performance.now();
    this.#lookMs = (performance.now() - start) / CALIBRATION_LOOKS;
  }

  /** Whether the next batch is one to be timed at this place of the two that ask; `add` then counts for all up to the next such. */
  takesBatch(place: 0 | 1): boolean {
    this.#weight = BATCHES_PER_SAMPLE;
    const count = this.#batches[place]!;
    this.#batches[place] = count + 1;
    return count % BATCHES_PER_SAMPLE === 0;
  }

  /** The same for a packet by itself. */
  takesPacket(): boolean {
    this.#weight = PACKETS_PER_SAMPLE;
    return this.#packets++ % PACKETS_PER_SAMPLE === 0;
  }

  /** Adds the time from `startMs` until now to a stage, once for each that the sample stands for, and returns now. */
  add(stage: number, startMs: number): number {
    const now = performance.now();
    this.ms[stage]! += Math.max(0, now - startMs - this.#lookMs) * this.#weight;
    return now;
  }

  /** Adds milliseconds that were measured elsewhere between `looks` pairs of looks at the clock. */
  addMs(stage: number, ms: number, looks: number): void {
    this.ms[stage]! += Math.max(0, ms - looks * this.#lookMs) * this.#weight;
  }

  /** Adds time that was not sampled. */
  addWhole(stage: number, startMs: number): void {
    this.ms[stage]! += performance.now() - startMs;
  }

  /** What was measured since the last time. */
  take(): Float64Array {
    const taken = this.ms.slice();
    this.ms.fill(0);
    return taken;
  }

  /** Adds what another thread measured. */
  addAll(ms: Float64Array): void {
    for (let stage = 0; stage < ms.length; stage++) this.ms[stage]! += ms[stage]!;
  }
}

/** The statistics of a replay that began at `startMs`. */
export function statsOf(times: StageTimes, startMs: number, packets: number, workers: number): ReplayStats {
  const seconds = (performance.now() - startMs) / 1000;
  const round = (value: number): number => Math.round(value * 1e6) / 1e6;
  const stages = [...times.ms].flatMap((ms, stage): [string, number][] =>
    ms > 0 ? [[STAGE_NAMES[stage]!, round(ms / 1000)]] : [],
  );
  return {
    seconds: round(seconds),
    packets,
    packets_per_second: Math.round(packets / Math.max(seconds, 1e-9)),
    workers,
    stages: Object.fromEntries(stages),
  };
}
