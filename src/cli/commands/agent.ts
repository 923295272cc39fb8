/** `margay agent`: verdicts on a node's packets as they go by. */
import type { Command } from 'commander';
import { type AgentOptions, addAgentOptions } from '../agent-options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';

export function addAgent(program: Command, output: Output, finish: Finish): void {
  const command = program
    .command('agent')
    .summary("judge a node's packets as they go by: page, API, metrics, flow log")
    .description(
      'Captures on a node, judges every packet by the policies there are now, and tells where the network did something else. ' +
        'It needs CAP_NET_RAW to capture, and nothing to read a file. Every option can be set by the environment ' +
        '(MARGAY_FLOW_LOG=…) and by a YAML file (--config), too; margay config print shows what comes from where.',
    );
  addAgentOptions(command)
    .addHelpText('after', `\n${EXAMPLES}`)
    .action(async (options: AgentOptions) => finish(await (await import('../agent-run.ts')).agent(options, output)));
}

const EXAMPLES = `Examples:
  margay agent -f pcaps/sa-names --source file:pcaps/sa-names/capture.pcapng
  margay agent -f /etc/margay/policies --node node-1 --flow-log /var/log/margay/flows.jsonl
  tcpdump -i any -w - | margay agent -f pcaps/sa-names --source - --until-end
  margay agent --kubernetes --redis redis://redis:6379 --node "$NODE_NAME" --format goldmane

Changed labels and pods are written into the tables in use; all else is compiled anew beside them.

Signals: SIGHUP loads the policies again and opens the flow log anew, SIGUSR2 writes the state to the log,
SIGTERM and SIGINT drain, flush, print the accounting and end within 5 seconds; a later second one ends at once.`;
