/** `who-can reach` on 5 000 roles and 20 000 bindings: one process, start to end, beside an empty one of Node.js in turn. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Measurement, measured, ratio } from './measurement.ts';
import { runProcess } from './process.ts';
import { RBAC_PORT, RBAC_TARGET, rbacCluster } from './workload-rbac.ts';

const NAME = 'who-can reach, 5 000 roles, 20 000 bindings';

export function runWhoCan(rounds: number): Measurement[] {
  const folder = mkdtempSync(join(tmpdir(), 'margay-bench-rbac-'));
  try {
    const cluster = join(folder, 'rbac.json');
    writeFileSync(cluster, rbacCluster());
    const args = ['dist/cli/main.js', 'who-can', 'reach', RBAC_TARGET, '--port', String(RBAC_PORT), '-q', '-f'];
    const ours: number[] = [];
    const bare: number[] = [];
    let megabytes = 0;
    for (let round = 0; round < rounds; round++) {
      const { seconds, residentMb, stdout } = runProcess('node', [...args, cluster]);
      // Who finds nobody has not looked.
      if (!/[1-9]\d* subjects? in 2 steps/.test(stdout)) throw new Error(`no answer: ${stdout.slice(0, 300)}`);
      ours.push(seconds * 1000);
      megabytes = Math.max(megabytes, residentMb ?? 0);
      bare.push(runProcess('node', ['-e', '0']).seconds * 1000);
    }
    const command = `node ${args.join(' ')} rbac.json`;
    return [
      measured('who-can', NAME, 'ms', ours, { command }),
      measured('who-can', 'node -e 0', 'ms', bare),
      ratio('who-can', `${NAME}, to an empty Node.js`, ours, bare),
      ...(megabytes > 0 ? [measured('who-can', `${NAME}: largest resident set`, 'MB', [megabytes])] : []),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
