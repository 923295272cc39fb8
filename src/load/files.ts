/** The inputs that `-f` names: files, directories, standard input. Nothing is read here; `loadResources` reads. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { compareBytewise } from '../base/bytewise.ts';
import { PolicyError, quoteText } from '../base/errors.ts';

/** A file to load: its name in messages, and its path; `-` is standard input. */
export interface FileSource {
  readonly name: string;
  readonly path: string;
}

/**
 * The files behind the arguments of `-f`, each once, those of a directory in bytewise order of their names.
 *
 * As with kubectl, a directory gives its files that end in `.yaml`, `.yml` or `.json`, and with `isRecursive` those
 * of its subdirectories; a file that is named itself may end in anything. Links to files are followed, links to
 * directories only if named themselves. Throws `PolicyError` for a path that is not there or a directory without files.
 */
export function expandFiles(names: readonly string[], isRecursive: boolean): readonly FileSource[] {
  const paths = new Set<string>();
  for (const name of names) {
    if (name === '-' || !statOf(name).isDirectory()) paths.add(name);
    else {
      const found = filesOf(name, isRecursive);
      if (found.length === 0) throw emptyDirectory(name, isRecursive);
      for (const path of found) paths.add(path);
    }
  }
  return [...paths].map((path) => ({ name: path === '-' ? 'stdin' : path, path }));
}

/** Equal as long as no file has changed. What cannot be looked at differs from everything that can. */
export function filesFingerprint(names: readonly string[], isRecursive: boolean): string {
  try {
    return expandFiles(names, isRecursive)
      .map(({ path }) => {
        const { size, mtimeMs, ctimeMs, ino } = statSync(path);
        return [path, size, mtimeMs, ctimeMs, ino].join(' ');
      })
      .join('\n');
  } catch (error) {
    if (error instanceof PolicyError || (error instanceof Error && 'code' in error))
      return `unreadable: ${error.message}`;
    throw error;
  }
}

const MANIFEST = /\.(?:ya?ml|json)$/;

function filesOf(directory: string, isRecursive: boolean): string[] {
  const files: string[] = [];
  const entries = readdirSync(directory, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => compareBytewise(a.name, b.name))) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) {
      if (isRecursive) files.push(...filesOf(path, isRecursive));
    } else if (MANIFEST.test(entry.name) && (!entry.isSymbolicLink() || statOf(path).isFile())) files.push(path);
  }
  return files;
}

function statOf(path: string) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    throw new PolicyError('no-such-file', `${quoteText(path)} does not exist`, { fix: 'correct the path after -f' });
  }
  return stat;
}

function emptyDirectory(name: string, isRecursive: boolean): PolicyError {
  const problem = `directory ${quoteText(name)} holds no .yaml, .yml or .json file`;
  return new PolicyError('no-input', problem, {
    fix: isRecursive ? 'correct the path after -f' : 'use -R for subdirectories',
  });
}
