/** `margay worker`: judges captures for `margay replay --queue` on another machine, or on this one. */
import { type Command, Option } from 'commander';
import { wholeNumber } from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';

export interface WorkerCommandOptions {
  readonly redis?: string;
  readonly cluster?: string;
  readonly concurrency?: number;
  readonly root?: string;
  readonly quiet?: boolean;
}

export function addWorker(program: Command, output: Output, finish: Finish): void {
  program
    .command('worker')
    .summary('judge captures for replay --queue, on any host that sees them')
    .description(
      'Takes jobs of `margay replay --queue` from Redis and judges them, until SIGTERM or Ctrl-C; a job in hand is then finished, or given ' +
        'back after five seconds. The captures must be here under the same path, or below --root under the name after -r; a file that is ' +
        'another one is refused. Workers may come, go and die at any time: what one of them loses another one does again.',
    )
    .option('--redis <url>', 'where the jobs are: redis[s]://[user@]host[:port][/db]')
    .option('--cluster <name>', 'take the jobs of this cluster (default: "default")')
    .addOption(
      new Option('--concurrency <count>', 'jobs at one time; default: one a core').argParser(wholeNumber(1, 64)),
    )
    .option('--root <directory>', 'look for captures below this directory, and nowhere else')
    .option('-q, --quiet', 'say nothing on standard error but errors')
    .addHelpText(
      'after',
      '\nPasswords come from MARGAY_REDIS_PASSWORD_FILE or MARGAY_REDIS_PASSWORD, certificates from MARGAY_REDIS_CA_FILE and its like.\n' +
        '\nExamples:\n' +
        '  margay worker --redis redis://host:6379\n' +
        '  margay worker --redis rediss://margay-queue@host:6380 --cluster prod --concurrency 4 --root /mnt/captures\n' +
        '  margay replay --queue redis://host:6379 -f pcaps/tiers -r pcaps/tiers/capture.pcapng',
    )
    .action(async (options: WorkerCommandOptions) => {
      const { serveWorker } = await import('../queue.ts');
      finish(await serveWorker(options, output));
    });
}
