/** margay's functions out of a folder of modules: the build (`dist`), or for tests the sources. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './cases.mjs';

export async function builtMargay() {
  const dist = join(ROOT, 'dist');
  if (!existsSync(dist)) throw new Error('dist/ is missing: run npm run build first');
  const load = (path) => import(join(dist, path));
  const [loading, compiling, tables, evaluating, nft, iptables, names, ip, layout] = await Promise.all(
    [
      'load/load.js',
      'compile/compile.js',
      'tables/tables.js',
      'analyze/evaluate-flow.js',
      'render/nft.js',
      'render/iptables.js',
      'render/names.js',
      'base/ip.js',
      'tables/layout.js',
    ].map(load),
  );
  return { ...loading, ...compiling, ...tables, ...evaluating, ...nft, ...iptables, ...names, ...ip, layout };
}
