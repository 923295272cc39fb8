/** `margay doctor`: the checks of agent/doctor.ts, printed. */
import { collectConfig, problemsTogether } from '../agent/config.ts';
import { type Check, diagnose } from '../agent/doctor.ts';
import { configInputs } from './agent-options.ts';
import type { DoctorOptions } from './commands/doctor.ts';
import { EXIT_BAD_INPUT, EXIT_FINE, exitCodeOf } from './exit.ts';
import type { Output } from './output.ts';
import { renderJson, renderTable } from './render.ts';

/** Exit code 1 where something is missing: a finding. */
export async function doctor({ output: form, ...options }: DoctorOptions, output: Output): Promise<number> {
  const { raw, problems } = collectConfig(configInputs(options));
  // Without policies there is much to be looked at still.
  const all = [...problems, ...problemsTogether(raw).filter((problem) => !problem.startsWith('-f is missing'))];
  for (const problem of all) output.stderr.write(`margay: ${problem}\n`);
  if (all.length > 0) return EXIT_BAD_INPUT;
  const checks = await diagnose(raw as unknown as Parameters<typeof diagnose>[0]);
  const isFine = checks.every(({ result }) => result !== 'missing');
  if (form === 'json') output.stdout.write(renderJson({ isFine, checks }));
  else output.stdout.write(await renderTable(tableOf(checks), output));
  return isFine ? EXIT_FINE : exitCodeOf({ hasFinding: true });
}

function tableOf(checks: readonly Check[]) {
  const rows = checks.map(({ name, result, found, todo }) => [name, result, found, todo]);
  return { head: ['check', 'result', 'found', 'what to do'], rows };
}
