/** `margay identities publish --kubernetes`. */
import type { PublishOptions } from './commands/identities.ts';
import { UsageError } from './exit.ts';
import type { Output } from './output.ts';

export async function publishKubernetes(_options: PublishOptions, _output: Output): Promise<number> {
  throw new UsageError('--kubernetes is not there yet');
}
