/** Captures named on the command line. */
import { statSync } from 'node:fs';
import { quoteText } from '../base/errors.ts';
import { UsageError } from './exit.ts';

/** Throws UsageError for a capture that is not there, before any work is done. */
export function checkCaptures(names: readonly string[]): void {
  for (const name of names) {
    if (name === '-') continue;
    const stat = statSync(name, { throwIfNoEntry: false });
    if (stat === undefined) throw new UsageError(`${quoteText(name)} does not exist; correct the path after -r`);
    if (stat.isDirectory())
      throw new UsageError(`${quoteText(name)} is a directory; name a capture inside it after -r`);
  }
}
