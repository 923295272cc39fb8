/** How long a user waits for the first lesson: one process, start to end. */
import { type Measurement, measured } from './measurement.ts';
import { LESSON } from './names.ts';
import { runProcess } from './process.ts';

export function runStartUp(runs: number): Measurement[] {
  const args = ['dist/cli/main.js', 'replay', '-f', 'pcaps/sa-names', '-r', 'pcaps/sa-names/capture.pcapng'];
  runProcess('node', args);
  const times = Array.from({ length: runs }, () => runProcess('node', args).seconds * 1000);
  const bare = Array.from({ length: runs }, () => runProcess('node', ['-e', '0']).seconds * 1000);
  return [
    measured('start-up', LESSON, 'ms', times, { command: `node ${args.join(' ')}` }),
    measured('start-up', 'node -e 0', 'ms', bare),
  ];
}
