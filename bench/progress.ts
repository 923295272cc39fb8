/** Lines on standard error that say what is going on, with the seconds since the start. */
const startedMs = performance.now();

export function progress(text: string): void {
  process.stderr.write(`[${elapsedSeconds().toFixed(0).padStart(4)} s] ${text}\n`);
}

export function elapsedSeconds(): number {
  return (performance.now() - startedMs) / 1000;
}
