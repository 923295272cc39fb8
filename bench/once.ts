/** A child of the bench that measures one thing in a fresh process and prints it as one line of JSON. */
import { join } from 'node:path';
import { runProcess } from './process.ts';

/** Heap of a child that holds a cluster of 250 000 pods. */
const HEAP_MB = 12_288;

/** What the child printed last; undefined where it found nothing to measure and said nothing. */
export function runOnce<T>(child: string, args: readonly string[]): T {
  const script = join(import.meta.dirname, 'children', `${child}.js`);
  const { stdout } = runProcess(process.execPath, [`--max-old-space-size=${HEAP_MB}`, script, ...args]);
  const last = stdout.trim().split('\n').at(-1)!;
  return (last === '' ? undefined : JSON.parse(last)) as T;
}
