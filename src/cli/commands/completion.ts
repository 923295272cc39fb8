/** `margay completion`: what the Tab key needs, made from the commands themselves. */
import { Argument, type Command } from 'commander';
import { EXIT_FINE } from '../exit.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';

export function addCompletion(program: Command, output: Output, finish: Finish): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh', 'fish']))
    .summary('print a script that completes commands, options and values in a shell')
    .description('Prints a script for the shell to load; it completes commands, options, their values and files.')
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  source <(margay completion bash)\n' +
        '  margay completion bash > /etc/bash_completion.d/margay\n' +
        '  margay completion zsh > "$fpath[1]/_margay"\n' +
        '  margay completion fish > ~/.config/fish/completions/margay.fish',
    )
    .action(async (shell: 'bash' | 'zsh' | 'fish') => {
      const { completionScript } = await import('../completion.ts');
      output.stdout.write(completionScript(program, shell));
      finish(EXIT_FINE);
    });
}
