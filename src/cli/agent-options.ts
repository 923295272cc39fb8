/** The agent's settings as options of commander, and back. */
import { type Command, Option } from 'commander';
import type { ConfigInputs } from '../agent/config.ts';
import { SETTINGS, settingFlags } from '../agent/settings.ts';
import { collect } from './options.ts';

export type AgentOptions = Readonly<Record<string, unknown>> & { readonly config?: string };

/** Nothing is checked here: config.ts checks what flags, environment and file say alike. */
export function addAgentOptions(command: Command): Command {
  for (const setting of SETTINGS) {
    const { form, help, group, default: standard } = setting;
    const shown = standard === undefined || standard === false || standard === '' || String(standard) === '';
    const option = new Option(settingFlags(setting), shown ? help : `${help} (default: ${String(standard)})`);
    if (form.type === 'list') option.argParser(collect);
    // Choices are for the help and for completion; what is none is reported with all other mistakes.
    if (form.type === 'choice') option.argChoices = [...form.choices];
    command.addOption(option.helpGroup(group));
  }
  return command.addOption(
    new Option('--config <file>', 'YAML file of settings, under the names of the flags').helpGroup('Configuration:'),
  );
}

export function configInputs(options: AgentOptions, env: ConfigInputs['env'] = process.env): ConfigInputs {
  const { config, ...flags } = options;
  return { flags, env, file: config };
}
