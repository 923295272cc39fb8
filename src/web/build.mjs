// @ts-check
// Last part of `npm run build`: the agent's page into dist/web (index.html, script, style and icon as files of their own, so that
// `default-src 'self'` holds), and the template of the verification report into dist/web/report.html (one file with everything inside,
// readable from a disk). `node src/web/build.mjs [FOLDER]` builds into another folder.

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const OUT = process.argv[2] ?? join(HERE, '../../dist/web');
// The first versions with light-dark() in style sheets and AbortSignal.any().
const TARGET = ['chrome123', 'firefox124', 'safari17.5'];

await build({
  ...commonSettings(),
  // Relative, so that the page works behind a proxy that serves it under a path (kubectl proxy).
  base: './',
  publicDir: 'static',
  build: {
    ...commonBuild(),
    outDir: OUT,
    emptyOutDir: true,
    modulePreload: false,
  },
});
writeFileSync(join(OUT, 'report.html'), await reportPage());

/** @returns {Promise<string>} */
async function reportPage() {
  const result = await build({
    ...commonSettings(),
    publicDir: false,
    build: {
      ...commonBuild(),
      write: false,
      // Otherwise the script would bring the style along, which the policy refuses.
      cssCodeSplit: false,
      rolldownOptions: { input: join(HERE, 'report/main.tsx'), output: { format: 'iife', name: 'margayReport' } },
    },
  });
  const [{ output } = { output: [] }] = /** @type {import('vite').Rolldown.RolldownOutput[]} */ ([result].flat());
  let script = '';
  let style = '';
  for (const piece of output) {
    if (piece.type === 'chunk') script += piece.code;
    else if (piece.fileName.endsWith('.css')) style += String(piece.source);
  }
  if (script === '' || style === '') throw new Error('the report was built without its script or its style');
  // Nothing inside may end the element that it stands in.
  script = script.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');
  const policy = `default-src 'none'; script-src '${hashOf(script)}'; style-src '${hashOf(style)}'; base-uri 'none'; form-action 'none'`;
  const parts = new Map([
    ['policy', policy],
    ['style', style],
    ['script', script],
  ]);
  return readFileSync(join(HERE, 'report/template.html'), 'utf8').replace(
    /(?:\/\*)?\{\{(\w+)\}\}(?:\*\/)?/g,
    (_, name) => parts.get(name) ?? '',
  );
}

/** @param {string} text */
function hashOf(text) {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

/** @returns {import('vite').InlineConfig} */
function commonSettings() {
  return { configFile: false, root: HERE, logLevel: 'warn', envDir: false };
}

function commonBuild() {
  return {
    target: TARGET,
    cssTarget: TARGET,
    // No data: addresses, which the page's policy refuses.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
  };
}
