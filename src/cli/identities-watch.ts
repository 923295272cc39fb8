/** `margay identities watch`: each change in Redis, a line each. */
import type { Change } from '../identity/keys.ts';
import { signatureCheck } from '../identity/once.ts';
import { IdentityReader } from '../identity/reader.ts';
import { SYSTEM_CLOCK } from '../identity/system-clock.ts';
import type { WatchOptions } from './commands/identities.ts';
import { EXIT_FINE } from './exit.ts';
import { openRedis, readKey } from './identity-store.ts';
import type { Output } from './output.ts';

export async function watch(options: WatchOptions, output: Output): Promise<number> {
  const store = await openRedis(options);
  const signatures = signatureCheck(readKey('--verify-key', options.verifyKey));
  let count = 0;
  const reader: IdentityReader = new IdentityReader({
    store,
    clock: SYSTEM_CLOCK,
    signatures,
    onTrouble: (trouble) => output.stderr.write(`margay: ${trouble}\n`),
    onChange: (change) => {
      const text = change === undefined ? snapshotLine(reader, options) : changeLine(change, reader.rev, options);
      output.stdout.write(`${text}\n`);
      output.flush();
      if (change !== undefined && ++count >= (options.count ?? Number.POSITIVE_INFINITY)) reader.stop();
      if (output.isClosed()) reader.stop();
    },
  });
  output.interruptible().addEventListener('abort', () => reader.stop(), { once: true });
  await reader.run();
  await store.close();
  return EXIT_FINE;
}

function snapshotLine({ table, epoch, rev }: IdentityReader, { output }: WatchOptions): string {
  const counts = { addresses: table.owners.size, pods: table.pods.size };
  if (output === 'jsonl') return JSON.stringify({ op: 'snapshot', epoch, rev, ...counts });
  return `${rev}  snapshot  ${counts.addresses} addresses, ${counts.pods} pods`;
}

function changeLine({ op, kind, key, value }: Change, rev: number, { output }: WatchOptions): string {
  if (output === 'jsonl') return JSON.stringify({ rev, op, kind, key, value });
  return [rev, op, kind, key, value].filter((part) => part !== '').join('  ');
}
