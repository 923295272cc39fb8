/**
 * The progress bar of long work, on standard error and only where that is a terminal.
 *
 *     [############----------------]  43%  2.1M packets  1.9M/s  3 s left  capture.pcapng
 */
import { escapeControls } from '../base/errors.ts';
import type { Stream } from './output.ts';

export interface ProgressState {
  readonly file: string;
  readonly bytesRead: number;
  /** Undefined for streams: then there is neither a share nor a time left. */
  readonly sizeBytes: number | undefined;
  readonly packets: number;
  /** What is counted, where it is not packets. */
  readonly unit?: string;
}

const REDRAW_MS = 100;
/** Work that ends sooner needs no bar. */
const SILENT_MS = 300;
const BAR_WIDTH = 28;
const CLEAR_LINE = '\r\u001b[2K';

export class ProgressBar {
  readonly #stream: Stream;
  readonly #clock: () => number;
  readonly #startMs: number;
  #drawnMs = 0;
  #isDrawn = false;
  #file = '';
  #fileStartMs = 0;

  constructor(stream: Stream, clock: () => number = () => performance.now()) {
    this.#stream = stream;
    this.#clock = clock;
    this.#startMs = clock();
  }

  update(state: ProgressState): void {
    const now = this.#clock();
    if (state.file !== this.#file) {
      this.#file = state.file;
      this.#fileStartMs = now;
    }
    if (now - this.#startMs < SILENT_MS || now - this.#drawnMs < REDRAW_MS) return;
    this.#drawnMs = now;
    this.#isDrawn = true;
    const line = progressLine(state, now - this.#fileStartMs);
    this.#stream.write(CLEAR_LINE + line.slice(0, (this.#stream.columns ?? 80) - 1));
  }

  /** Takes the bar away again. */
  end(): void {
    if (this.#isDrawn) this.#stream.write(CLEAR_LINE);
    this.#isDrawn = false;
  }
}

/** The text of the bar after `elapsedMs` of this file. */
export function progressLine(state: ProgressState, elapsedMs: number): string {
  const { bytesRead, sizeBytes, packets } = state;
  const rate = elapsedMs > 0 ? (packets * 1000) / elapsedMs : 0;
  const counts = `${shortNumber(packets)} ${state.unit ?? 'packets'}  ${shortNumber(rate)}/s`;
  const name = escapeControls(state.file);
  if (sizeBytes === undefined || sizeBytes === 0) return `${counts}  ${name}`;
  const share = Math.min(1, bytesRead / sizeBytes);
  const done = Math.round(share * BAR_WIDTH);
  const bar = `[${'#'.repeat(done)}${'-'.repeat(BAR_WIDTH - done)}]`;
  const leftMs = share > 0 ? (elapsedMs * (1 - share)) / share : Number.POSITIVE_INFINITY;
  const left = Number.isFinite(leftMs) ? `  ${duration(leftMs)} left` : '';
  return `${bar} ${String(Math.floor(share * 100)).padStart(3)}%  ${counts}${left}  ${name}`;
}

/** `950`, `1.2k`, `34k`, `2.1M`. */
export function shortNumber(value: number): string {
  for (const [unit, size] of [
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (value >= size) return `${value >= 10 * size ? Math.round(value / size) : (value / size).toFixed(1)}${unit}`;
  }
  return String(Math.round(value));
}

function duration(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
