/** The import rule of src/README.md as a function over sources, so that it can be tried on made-up ones. */

import { posix } from 'node:path';
import { findImports } from './imports.ts';

/**
 * What each layer may import, besides itself: whole layers (`base`) or single files (`model/flow.ts`). The key
 * `index.ts` is the library's entry.
 */
type LayerTable = Readonly<Record<string, readonly string[]>>;

export interface ImportRules {
  readonly layers: LayerTable;
  /** Native or networked package -> the one file that may import it. */
  readonly packageHomes: Readonly<Record<string, string>>;
}

export interface SourceFile {
  /** Relative to src/, with forward slashes: `match/evaluate.ts`. */
  readonly path: string;
  readonly text: string;
}

/** One line for each violation: file and line, what is imported, what would be allowed, what to do. Empty when all is well. */
export function checkLayers(files: readonly SourceFile[], rules: ImportRules): string[] {
  const complaints: string[] = [];
  for (const { path, text } of files) {
    const layer = layerOf(path);
    const allowed = rules.layers[layer];
    if (allowed === undefined) {
      complaints.push(
        `src/${path}:1: ${layer} is no layer; remedy: move the file into a layer, or add the layer with its imports to ` +
          'test/layers.test.ts and src/README.md',
      );
      continue;
    }
    if (posix.basename(path) === 'index.ts' && path !== 'index.ts') {
      complaints.push(
        `src/${path}:1: index.ts is a barrel; remedy: import the files of ${layer} directly, ` +
          'only src/index.ts gathers exports',
      );
    }
    for (const { specifier, line } of findImports(text)) {
      const complaint = specifier.startsWith('.')
        ? complainOfPath(posix.join(posix.dirname(path), specifier), layer, allowed)
        : complainOfPackage(specifier, path, rules.packageHomes);
      if (complaint !== undefined) complaints.push(`src/${path}:${line}: imports '${specifier}', ${complaint}`);
    }
  }
  return complaints;
}

function complainOfPath(target: string, layer: string, allowed: readonly string[]): string | undefined {
  // The version is read from there; the file lies beside dist/ in the package as it lies beside src/ here.
  if (target === '../package.json' && layer === 'cli') return undefined;
  if (target.startsWith('../')) return 'which lies outside src/; remedy: move what is shared into src/';
  const targetLayer = layerOf(target);
  if (targetLayer === layer || allowed.includes(targetLayer) || allowed.includes(target)) return undefined;
  const list = allowed.length === 0 ? 'nothing of ours' : allowed.join(', ');
  const remedy = isPair(layer, targetLayer, 'compile', 'match')
    ? 'compile and match meet in tables/layout.ts only: put the number or layout that both need there'
    : `pass the value in from a layer above, or move what ${layer} needs down into a layer that it may import`;
  return `but ${layer} may import only: ${list}; remedy: ${remedy} (src/README.md)`;
}

function complainOfPackage(
  specifier: string,
  path: string,
  homes: Readonly<Record<string, string>>,
): string | undefined {
  const home = Object.entries(homes).find(([name]) => specifier === name || specifier.startsWith(`${name}/`))?.[1];
  if (home === undefined || home === path) return undefined;
  return `which only src/${home} may; remedy: use what src/${home} exports`;
}

function layerOf(path: string): string {
  return path.split('/')[0]!;
}

function isPair(a: string, b: string, first: string, second: string): boolean {
  return (a === first && b === second) || (a === second && b === first);
}
