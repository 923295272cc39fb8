/** `margay config`: the agent's settings as they are, and where each comes from. */
import type { Command } from 'commander';
import { type AgentOptions, addAgentOptions, configInputs } from '../agent-options.ts';
import { EXIT_BAD_INPUT, EXIT_FINE } from '../exit.ts';
import { outputOption } from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';
import { renderJson, renderTable, renderYaml } from '../render.ts';

type PrintOptions = AgentOptions & { readonly output: 'table' | 'yaml' | 'json' };

export function addConfig(program: Command, output: Output, finish: Finish): void {
  const config = program.command('config').summary("the agent's settings, and where each comes from");
  const print = config
    .command('print')
    .summary('print every setting: flag, environment, file or default')
    .description(
      'Prints every setting of margay agent as these flags, this environment and this file make it, and where each value comes from. ' +
        'Flags win over MARGAY_* variables, those over the file (--config), and that over the defaults. Secrets are not shown.',
    );
  addAgentOptions(print)
    .addOption(outputOption(['table', 'yaml', 'json']))
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay config print -f pcaps/sa-names\n' +
        '  MARGAY_LISTEN=127.0.0.1:9100 margay config print -f pcaps/sa-names -o json\n' +
        '  margay config print -f pcaps/sa-names -o yaml > margay.yaml',
    )
    .action(async (options: PrintOptions) => finish(await printConfig(options, output)));
}

/** All of it, with what is wrong on standard error: exit code 2. */
async function printConfig({ output: form, ...options }: PrintOptions, output: Output): Promise<number> {
  const { collectConfig, problemsTogether } = await import('../../agent/config.ts');
  const { values, raw, problems } = collectConfig(configInputs(options));
  if (form === 'json') output.stdout.write(renderJson(values));
  else if (form === 'yaml') output.stdout.write(await yamlOf(values));
  else {
    const rows = values.map(({ key, value, from }) => [key, textOf(value), from]);
    output.stdout.write(await renderTable({ head: ['setting', 'value', 'from'], rows }, output));
  }
  const all = [...problems, ...problemsTogether(raw)];
  for (const problem of all) output.stderr.write(`margay: ${problem}\n`);
  return all.length === 0 ? EXIT_FINE : EXIT_BAD_INPUT;
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  return Array.isArray(value) ? value.join(',') : String(value);
}

/** A file that --config reads back; where a value comes from is a comment. */
async function yamlOf(
  values: readonly { readonly key: string; readonly value: unknown; readonly from: string }[],
): Promise<string> {
  const lines: string[] = [];
  for (const { key, value, from } of values) {
    const isUnset = value === null || value === undefined || value === '(hidden)';
    const text = isUnset ? `# ${key}:` : (await renderYaml({ [key]: value })).trimEnd();
    const [first, ...rest] = text.split('\n');
    lines.push(`${first}  # ${from}`, ...rest);
  }
  return `${lines.join('\n')}\n`;
}
