/** `margay identities publish` and `load`: owners of addresses into Redis, once or for good. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { entriesOf } from '../identity/entries.ts';
import { readIdentitiesFile } from '../identity/file.ts';
import { StoreError } from '../identity/once.ts';
import { IdentityPublisher } from '../identity/publisher.ts';
import type { IdentitySet } from '../identity/store.ts';
import { SYSTEM_CLOCK } from '../identity/system-clock.ts';
import type { PublishOptions } from './commands/identities.ts';
import { EXIT_FINE, UsageError } from './exit.ts';
import { identitySource } from './identities-source.ts';
import { openRedis, openSigner } from './identity-store.ts';
import type { Output } from './output.ts';

/** Longest that `--once` and `load` may take while Redis is away or another publisher leads. */
const ONCE_MS = 30_000;
/** How often files are looked at. */
const LOOK_MS = 1_000;

export async function load(file: string, options: PublishOptions, output: Output): Promise<number> {
  return publishOnce(await readIdentitiesFile(file), options, output);
}

export async function publish(options: PublishOptions, output: Output): Promise<number> {
  if (options.kubernetes === true) {
    if (options.filename !== undefined)
      throw new UsageError('-f and --kubernetes exclude each other: there is one source');
    return (await import('./identities-kubernetes.ts')).publishKubernetes(options, output);
  }
  if (options.once === true) return publishOnce(await identitySource(withoutStore(options), output), options, output);
  return publishFiles(options, output);
}

/** Here `--redis` is where to, not where from. */
function withoutStore({ redis: _, ...options }: PublishOptions): PublishOptions {
  return options;
}

export async function makePublisher(
  options: PublishOptions,
  output: Output,
): Promise<{ publisher: IdentityPublisher; close: () => Promise<void> }> {
  const store = await openRedis(options);
  const publisher = new IdentityPublisher({
    store,
    clock: SYSTEM_CLOCK,
    id: `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`,
    newEpoch: () => randomBytes(9).toString('base64url'),
    signer: openSigner(options.signKey),
    onTrouble: (trouble) => {
      if (options.quiet !== true) output.stderr.write(`margay: ${trouble}\n`);
    },
  });
  return { publisher, close: () => store.close() };
}

async function publishOnce(set: IdentitySet, options: PublishOptions, output: Output): Promise<number> {
  const { publisher, close } = await makePublisher(options, output);
  publisher.replace(entriesOf(set, options.at ?? Date.now()));
  const end = SYSTEM_CLOCK.now() + ONCE_MS;
  try {
    while (!publisher.isSettled) {
      await publisher.tryStep();
      if (SYSTEM_CLOCK.now() > end)
        throw new StoreError(
          `nothing could be published within ${ONCE_MS / 1000} s${publisher.isLeader ? '' : ': another publisher leads'}`,
        );
    }
    await publisher.resign();
  } finally {
    await close();
  }
  if (options.quiet !== true)
    output.stderr.write(`margay: published: revision ${publisher.rev} of epoch ${publisher.epoch}\n`);
  return EXIT_FINE;
}

/** Publishes files and looks at them every second; what does not load is told, and the last good stays published. */
async function publishFiles(options: PublishOptions, output: Output): Promise<number> {
  const source = withoutStore(options);
  if (options.filename?.includes('-') === true)
    throw new UsageError('-f - can be read once only: add --once, or name files');
  const signal = output.interruptible();
  let seen = '';
  const look = async (): Promise<IdentitySet | undefined> => {
    const now = await fingerprint(source);
    if (now === seen) return undefined;
    const set = await identitySource(source, output);
    seen = now;
    return set;
  };
  const first = await look();
  const { publisher, close } = await makePublisher(options, output);
  publisher.replace(entriesOf(first!, options.at ?? Date.now()));
  const running = publisher.run();
  signal.addEventListener('abort', () => publisher.stop(), { once: true });
  while (!signal.aborted) {
    await pause(LOOK_MS, signal);
    const set = await look().catch((error: unknown) => {
      output.stderr.write(
        `margay: the files can't be read, what is published stays: ${error instanceof Error ? error.message : String(error)}\n`,
      );
      return undefined;
    });
    if (set !== undefined) publisher.replace(entriesOf(set, options.at ?? Date.now()));
  }
  await running;
  await close();
  return EXIT_FINE;
}

/** Changes when a file is written, comes or goes. */
async function fingerprint({ filename = [], recursive, identities }: PublishOptions): Promise<string> {
  const [{ expandFiles }, { statSync }] = await Promise.all([import('../load/files.ts'), import('node:fs')]);
  const paths = [
    ...(filename.length === 0 ? [] : expandFiles(filename, recursive === true).map(({ path }) => path)),
    ...(identities === undefined ? [] : [identities]),
  ];
  return paths
    .map((path) => {
      const stat = statSync(path, { throwIfNoEntry: false });
      return `${path} ${stat?.mtimeMs} ${stat?.size} ${stat?.ino}`;
    })
    .join('\n');
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
