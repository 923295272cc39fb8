/** `margay doctor`: what this host lacks for the agent, and what to do about it. */
import type { Command } from 'commander';
import { type AgentOptions, addAgentOptions } from '../agent-options.ts';
import { outputOption } from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';

export type DoctorOptions = AgentOptions & { readonly output: 'table' | 'json' };

export function addDoctor(program: Command, output: Output, finish: Finish): void {
  const command = program
    .command('doctor')
    .summary('what this host lacks for the agent, and what to do')
    .description(
      'Checks what margay agent would need with these options: Node.js, libpcap and the right to capture, interfaces, tcpdump, ' +
        'Redis, the Kubernetes API, the page, the flow log. It changes nothing. Exit code 0: all is there; 1: something is missing.',
    );
  addAgentOptions(command)
    .addOption(outputOption(['table', 'json']))
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay doctor\n' +
        '  margay doctor -i eth0 --redis redis://127.0.0.1:6379 --flow-log /var/log/margay/flows.jsonl -o json',
    )
    .action(async (options: DoctorOptions) => finish(await (await import('../doctor.ts')).doctor(options, output)));
}
