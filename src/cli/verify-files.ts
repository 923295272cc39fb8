/** Files that `verify` writes: never over one that it reads. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { AnnotatedFiles } from '../analyze/annotate.ts';
import { quoteText } from '../base/errors.ts';
import { UsageError } from './exit.ts';
import { captureName, isPlainFile } from './verify-captures.ts';

/** Names in the folder of `--split`, by verdict. */
const SPLIT_NAMES: Readonly<Record<string, string>> = {
  allow: 'allowed.pcapng',
  deny: 'denied.pcapng',
  unpoliced: 'unpoliced.pcapng',
  uncertain: 'uncertain.pcapng',
  undecoded: 'undecoded.pcapng',
};

/** The annotated captures that the options ask for; undefined: none. Makes the folder. Throws UsageError before any work. */
export function annotatedFiles(
  { annotate, split }: { readonly annotate?: string; readonly split?: string },
  inputs: readonly string[],
): AnnotatedFiles | undefined {
  if (annotate === undefined && split === undefined) return undefined;
  const once = inputs.find((input) => !isPlainFile(input));
  if (once !== undefined) {
    throw new UsageError(
      `--annotate and --split read the captures once more: put ${captureName(once)} into a file first`,
    );
  }
  if (annotate !== undefined) checkOutput('--annotate', annotate, inputs);
  if (split === undefined) return { all: annotate! };
  if (statSync(split, { throwIfNoEntry: false })?.isDirectory() === false) {
    throw new UsageError(`--split: ${quoteText(split)} is no directory; name one, which is made if it is not there`);
  }
  mkdirSync(split, { recursive: true });
  const byVerdict = Object.fromEntries(
    Object.entries(SPLIT_NAMES).map(([verdict, name]) => [verdict, join(split, name)]),
  );
  const paths = Object.values(byVerdict);
  for (const path of paths) checkOutput('--split', path, annotate === undefined ? inputs : [...inputs, annotate]);
  if (annotate !== undefined && paths.some((path) => resolve(path) === resolve(annotate))) {
    throw new UsageError(`--annotate: ${quoteText(annotate)} is written by --split as well; name another file`);
  }
  return { ...(annotate === undefined ? {} : { all: annotate }), byVerdict };
}

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
