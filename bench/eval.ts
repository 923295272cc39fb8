/** `margay eval` of 100 000 flows against 1 000 pods and 200 policies, start to end, as users run it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { buildEvalWorkload } from './eval-workload.ts';
import { type Measurement, measured } from './measurement.ts';
import { EVAL_SECONDS } from './names.ts';
import { kept, MARGAY } from './paths.ts';
import { runProcess } from './process.ts';
import { progress } from './progress.ts';

const FLOWS = 100_000;

export function runEval(rounds: number): Measurement[] {
  const { cluster, yaml, flows } = evalFiles();
  const args = (file: string): string[] => [MARGAY, 'eval', '-f', file, '--flows', flows, '-o', 'jsonl', '--exit-zero'];
  const run = (file: string): number => {
    const { seconds, stdout } = runProcess('node', args(file));
    const answers = stdout.split('\n').length - 1;
    if (answers !== FLOWS) throw new Error(`eval gave ${answers} answers to ${FLOWS} flows`);
    return seconds;
  };
  const fromJson: number[] = [];
  const fromYaml: number[] = [];
  for (let round = 0; round < rounds; round++) {
    progress(`eval: round ${round + 1} of ${rounds}`);
    fromJson.push(run(cluster));
    fromYaml.push(run(yaml));
  }
  return [
    measured('eval', EVAL_SECONDS, 's', fromJson, { command: `node ${args(cluster).join(' ')}` }),
    measured('eval', `${EVAL_SECONDS}, cluster as YAML`, 's', fromYaml),
  ];
}

function evalFiles(): { readonly cluster: string; readonly yaml: string; readonly flows: string } {
  let built: ReturnType<typeof buildEvalWorkload> | undefined;
  const workload = (): ReturnType<typeof buildEvalWorkload> => {
    built ??= buildEvalWorkload(FLOWS);
    return built;
  };
  const cluster = kept('eval.json', (path) =>
    writeFileSync(path, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: workload().objects })),
  );
  const { items } = JSON.parse(readFileSync(cluster, 'utf8')) as { items: object[] };
  const yaml = kept('eval.yaml', (path) => writeFileSync(path, items.map((item) => stringify(item)).join('---\n')));
  const flows = kept('eval-flows.jsonl', (path) => writeFileSync(path, workload().flows));
  return { cluster, yaml, flows };
}
