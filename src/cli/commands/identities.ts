/** `margay identities`: who owns which address, as files and in Redis. Each subcommand is in a file of its own, loaded when it runs. */
import { type Command, Option } from 'commander';
import {
  addCommonOptions,
  addIdentityOptions,
  addInputOptions,
  type CommonOptions,
  type IdentityOptions,
  type InputOptions,
  outputOption,
  wholeNumber,
} from '../options.ts';
import type { Output } from '../output.ts';
import type { Finish } from '../program.ts';

export type IdentitiesOptions = InputOptions & CommonOptions & IdentityOptions;

export interface ShowOptions extends IdentitiesOptions {
  readonly output: 'table' | 'wide' | 'json' | 'jsonl' | 'csv';
}

export interface WatchOptions extends IdentitiesOptions {
  readonly output: 'table' | 'jsonl';
  readonly count?: number;
}

export interface PublishOptions extends IdentitiesOptions {
  readonly kubernetes?: boolean;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly once?: boolean;
  readonly signKey?: string;
}

export function addIdentities(program: Command, output: Output, finish: Finish): void {
  const identities = program
    .command('identities')
    .summary('which pod owned an address, when, as which service account; files and Redis')
    .description(
      'Owners of addresses: from manifests, from an identities file (JSON lines, with times), or from Redis. ' +
        'Passwords are never options: MARGAY_REDIS_PASSWORD_FILE or MARGAY_REDIS_PASSWORD.',
    );
  addDump(identities, output, finish);
  addLoad(identities, output, finish);
  addShow(identities, output, finish);
  addWatch(identities, output, finish);
  addPublish(identities, output, finish);
}

function addDump(identities: Command, output: Output, finish: Finish): void {
  const command = identities
    .command('dump')
    .summary('write an identities file, of manifests or of what Redis holds')
    .description('Writes owners of addresses as JSON lines, which --identities reads back.');
  addCommonOptions(addIdentityOptions(addInputOptions(command)))
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay identities dump -f pcaps/sa-names > identities.jsonl\n' +
        '  margay replay -f pcaps/sa-names --identities identities.jsonl -r pcaps/sa-names/capture.pcapng\n' +
        '  margay identities dump --redis redis://127.0.0.1:6379 --cluster prod > identities.jsonl',
    )
    .action(async (options: IdentitiesOptions) =>
      finish(await (await import('../identities-dump.ts')).dump(options, output)),
    );
}

function addLoad(identities: Command, output: Output, finish: Finish): void {
  const command = identities
    .command('load')
    .summary('put what an identities file says of now, or of --at, into Redis, once')
    .argument('<file>', 'identities file, or - for standard input');
  addCommonOptions(addIdentityOptions(command))
    .addOption(new Option('--sign-key <file>', 'sign it; PEM of an Ed25519 private key'))
    .addHelpText(
      'after',
      '\nExample:\n  margay identities load identities.jsonl --redis redis://127.0.0.1:6379 --cluster prod --at 2026-01-01T12:00:00Z',
    )
    .action(async (file: string, options: PublishOptions) =>
      finish(await (await import('../identities-publish.ts')).load(file, options, output)),
    );
}

function addShow(identities: Command, output: Output, finish: Finish): void {
  const command = identities
    .command('show')
    .summary('who owned an address, when; or which addresses a pod had')
    .argument('[what...]', 'addresses, prefixes, NAMESPACE/POD or uids; all without any');
  addCommonOptions(
    addIdentityOptions(addInputOptions(command)).addOption(outputOption(['table', 'wide', 'json', 'jsonl', 'csv'])),
  )
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay identities show 10.244.1.11 -f pcaps/sa-names\n' +
        '  margay identities show prod-engineering/db-0 --identities identities.jsonl -o wide',
    )
    .action(async (what: readonly string[], options: ShowOptions) =>
      finish(await (await import('../identities-show.ts')).show(what, options, output)),
    );
}

function addWatch(identities: Command, output: Output, finish: Finish): void {
  const command = identities.command('watch').summary('print each change in Redis as it comes, until Ctrl-C');
  addCommonOptions(addIdentityOptions(command).addOption(outputOption(['table', 'jsonl'])))
    .addOption(new Option('--count <number>', 'end after so many changes').argParser(wholeNumber(1, 1e12)))
    .addHelpText('after', '\nExample:\n  margay identities watch --redis redis://127.0.0.1:6379 --cluster prod')
    .action(async (options: WatchOptions) =>
      finish(await (await import('../identities-watch.ts')).watch(options, output)),
    );
}

function addPublish(identities: Command, output: Output, finish: Finish): void {
  const command = identities
    .command('publish')
    .summary('keep Redis like the manifests (watched) or the Kubernetes API')
    .description(
      'Publishes owners of addresses to Redis and keeps them current. Several may run: one leads, the others wait. ' +
        'The source is -f (files, looked at every second) or the Kubernetes API.',
    );
  addCommonOptions(addIdentityOptions(addInputOptions(command)))
    .addOption(
      new Option('--kubernetes', 'the source is the Kubernetes API: in the cluster, or by the kubeconfig').helpGroup(
        'Source:',
      ),
    )
    .addOption(new Option('--kubeconfig <file>', 'with --kubernetes: this kubeconfig').helpGroup('Source:'))
    .addOption(new Option('--context <name>', 'with --kubernetes: this context of it').helpGroup('Source:'))
    .addOption(new Option('--once', 'publish once and end'))
    .addOption(new Option('--sign-key <file>', 'sign what is published; PEM of an Ed25519 private key'))
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  margay identities publish -f pcaps/sa-names --redis redis://127.0.0.1:6379 --once\n' +
        '  MARGAY_REDIS_PASSWORD_FILE=/run/secrets/redis margay identities publish --kubernetes --redis rediss://publisher@redis:6379 --cluster prod',
    )
    .action(async (options: PublishOptions) =>
      finish(await (await import('../identities-publish.ts')).publish(options, output)),
    );
}
