/** Files that `verify` writes: never over one that it reads. */
import { existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { quoteText } from '../base/errors.ts';
import { UsageError } from './exit.ts';

/**
 * Throws UsageError if `path`, given with `option`, is one of `inputs` (by whatever name, or another link to the same file), a folder, or in
 * a folder that is not there.
 */
export function checkOutput(option: string, path: string, inputs: readonly string[]): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory() === true) throw new UsageError(`${option}: ${quoteText(path)} is a directory; name a file`);
  const isInput = inputs.some((input) => {
    if (input === '-') return false;
    const own = statSync(input, { throwIfNoEntry: false });
    if (own === undefined) return false;
    return resolve(input) === resolve(path) || (found !== undefined && own.dev === found.dev && own.ino === found.ino);
  });
  if (isInput) throw new UsageError(`${option}: ${quoteText(path)} is read as well; name another file`);
  const folder = dirname(resolve(path));
  if (!existsSync(folder))
    throw new UsageError(`${option}: the directory ${quoteText(folder)} does not exist; make it first`);
}
