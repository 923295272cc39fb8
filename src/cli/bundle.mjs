// @ts-check
// Second half of `npm run build`: the command line as a few bundled files beside what tsc wrote, so that a verb starts in half
// the time (a replay of a lesson opened 270 files before). dist/cli/main.js becomes a stub that starts the bundle; the
// library and its types stay as tsc wrote them.

import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Tests have a folder of their own. */
const OUT = process.argv[2] ?? join(ROOT, 'dist/cli');

for (const name of readdirSync(OUT)) if (name.endsWith('.mjs')) rmSync(join(OUT, name));
await build({
  absWorkingDir: ROOT,
  // The entries of threads lie beside the chunks that start them (base/thread-entry.ts).
  entryPoints: [
    'src/cli/main.ts',
    'src/analyze/replay-worker.ts',
    'src/packets/unpack-worker.ts',
    'src/load/read-ahead-worker.ts',
    'src/cli/authz-load-worker.ts',
    'src/agent/plane-worker.ts',
    'src/agent/capture-child.ts',
    'src/agent/judge-worker.ts',
  ],
  entryNames: '[name]',
  outdir: OUT,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // Flat, so that paths relative to import.meta.url hold in every chunk; .mjs, so that they are told from tsc's files.
  chunkNames: '[name]-[hash]',
  outExtension: { '.js': '.mjs' },
  // CommonJS packages inside ask for Node's modules by require.
  banner: {
    js: "import { createRequire as createRequireOfBundle } from 'node:module';\nconst require = createRequireOfBundle(import.meta.url);",
  },
  legalComments: 'eof',
  // Bindings of C++ code stay where npm built them.
  external: ['cap'],
  logLevel: 'warning',
});
writeFileSync(join(OUT, 'main.js'), "#!/usr/bin/env node\nimport './main.mjs';\n");
