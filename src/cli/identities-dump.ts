/** `margay identities dump`. */
import { identitiesLines } from '../identity/file.ts';
import type { IdentitiesOptions } from './commands/identities.ts';
import { EXIT_FINE } from './exit.ts';
import { identitySource } from './identities-source.ts';
import type { Output } from './output.ts';

export async function dump(options: IdentitiesOptions, output: Output): Promise<number> {
  const set = await identitySource(options, output);
  for (const line of identitiesLines(set.records)) {
    output.stdout.write(line);
    if (output.isClosed()) break;
  }
  if (set.records.length === 0 && options.quiet !== true) {
    output.stderr.write('margay: warning: nobody owns an address there; the file is empty\n');
  }
  return EXIT_FINE;
}
