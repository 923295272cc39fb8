import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findImports } from './support/imports.ts';
import { checkLayers, type ImportRules, type SourceFile } from './support/layers.ts';

const SRC = join(import.meta.dirname, '..', 'src');

/** The import rule. src/README.md shows the same table to readers, and a test below holds the two together. */
const CONTROL = ['base', 'model', 'selector', 'load', 'tables', 'compile'];
const DATAPATH = ['wire', 'packets', 'match', 'conntrack', 'workers'];
const SERVICES = ['render', 'rbac', 'authz', 'identity'];
const RULES: ImportRules = {
  layers: {
    base: [],
    model: ['base'],
    wire: ['base'],
    packets: ['base'],
    selector: ['base'],
    load: ['base', 'model', 'selector'],
    tables: ['base', 'model/flow.ts', 'model/limits.ts'],
    compile: ['base', 'model', 'selector', 'tables'],
    match: ['base', 'tables', 'wire/record.ts', 'conntrack', 'model/flow.ts', 'model/limits.ts'],
    conntrack: ['base', 'tables', 'wire/record.ts', 'model/flow.ts', 'model/limits.ts'],
    render: ['base', 'tables'],
    rbac: ['base', 'model'],
    authz: ['base', 'model', 'selector', 'tables', 'identity'],
    reference: ['base', 'model', 'selector'],
    identity: ['base', 'model'],
    workers: ['base', 'tables', 'wire', 'match', 'conntrack', 'packets'],
    analyze: [...CONTROL, ...DATAPATH, ...SERVICES],
    agent: [...CONTROL, ...DATAPATH, ...SERVICES, 'analyze'],
    cli: [...CONTROL, ...DATAPATH, ...SERVICES, 'reference', 'analyze', 'agent', 'index.ts'],
    'index.ts': [...CONTROL, ...DATAPATH, ...SERVICES, 'reference', 'analyze'],
    web: ['agent/api.ts', 'analyze/report-data.ts'],
  },
  packageHomes: {
    bullmq: 'analyze/queue-jobs.ts',
    cap: 'packets/live.ts',
    ioredis: 'identity/redis.ts',
    '@kubernetes/client-node': 'identity/kubernetes.ts',
  },
};

describe('the sources', () => {
  test('keep the import rule of src/README.md', () => {
    const files = readSources();
    expect(files.length).toBeGreaterThan(0);
    expect(checkLayers(files, RULES).join('\n')).toBe('');
  });

  test('are mapped by src/README.md with the same table', () => {
    const rows = readFileSync(join(SRC, 'README.md'), 'utf8').matchAll(/^\| `([\w.]+)` \| (.*) \|$/gm);
    const shown = Object.fromEntries([...rows].map(([, layer, cell]) => [layer, namesIn(cell!)]));
    const held = Object.entries(RULES.layers).map(([layer, allowed]) => [layer, [...allowed].sort()]);
    expect(shown).toEqual(Object.fromEntries(held));
  });
});

// The checker itself, on made-up sources: each rule must be able to fail.
describe('the checker', () => {
  const check = (path: string, text: string): string[] => checkLayers([{ path, text }], RULES);

  test('accepts imports down the layers, within a layer, and of packages', () => {
    const text = `import { readFileSync } from 'node:fs';\nimport { x } from '../base/ip.ts';\nimport y from './order.ts';`;
    expect(check('compile/compile.ts', text)).toEqual([]);
  });

  test('names file, line, import, allowed layers and remedy', () => {
    expect(check('wire/ipv4.ts', `\nimport type { Rule } from '../model/rule.ts';\n`)).toEqual([
      "src/wire/ipv4.ts:2: imports '../model/rule.ts', but wire may import only: base; remedy: pass the value in from a layer " +
        'above, or move what wire needs down into a layer that it may import (src/README.md)',
    ]);
  });

  test('says that base may import nothing of ours', () => {
    expect(check('base/ip.ts', `import { x } from '../model/rule.ts';`)[0]).toContain('only: nothing of ours');
  });

  test('allows single files of a layer and refuses their neighbours', () => {
    expect(check('tables/layout.ts', `import { ACTION_DENY } from '../model/flow.ts';`)).toEqual([]);
    expect(check('tables/layout.ts', `import { x } from '../model/limits.ts';`)).toEqual([]);
    expect(check('tables/layout.ts', `import type { Rule } from '../model/rule.ts';`)).toHaveLength(1);
  });

  test.each([
    ['compile/pack.ts', '../match/evaluate.ts'],
    ['match/evaluate.ts', '../compile/pack.ts'],
  ])('keeps compile and match apart: %s', (path, specifier) => {
    expect(check(path, `export { x } from '${specifier}';`)[0]).toContain('meet in tables/layout.ts only');
  });

  test('refuses every upward import of every layer', () => {
    for (const [layer, allowed] of Object.entries(RULES.layers)) {
      if (layer === 'index.ts') continue;
      for (const target of Object.keys(RULES.layers)) {
        const specifier = target === 'index.ts' ? '../index.ts' : `../${target}/x.ts`;
        const isAllowed = layer === target || allowed.includes(target);
        expect(check(`${layer}/y.ts`, `import '${specifier}';`), `${layer} -> ${target}`).toHaveLength(
          isAllowed ? 0 : 1,
        );
      }
    }
  });

  test('keeps native and networked packages in their one file', () => {
    expect(check('packets/live.ts', `const { Cap } = await import('cap');`)).toEqual([]);
    expect(check('packets/source.ts', `const { Cap } = await import('cap');`)).toEqual([
      "src/packets/source.ts:1: imports 'cap', which only src/packets/live.ts may; remedy: use what src/packets/live.ts exports",
    ]);
    expect(check('agent/agent.ts', `import { Redis } from 'ioredis';`)).toHaveLength(1);
    expect(check('agent/agent.ts', `import x from 'ioredis/built/utils';`)).toHaveLength(1);
    expect(check('agent/agent.ts', `import x from 'capture';`)).toEqual([]);
  });

  test('refuses barrels, but for src/index.ts', () => {
    expect(check('model/index.ts', '')[0]).toContain('is a barrel');
    expect(check('index.ts', `export { compile } from './compile/compile.ts';`)).toEqual([]);
    expect(check('index.ts', `export { main } from './cli/main.ts';`)).toHaveLength(1);
  });

  test('refuses folders that are no layer, and files outside src/', () => {
    expect(check('utils/misc.ts', '')[0]).toContain('utils is no layer');
    expect(check('model/rule.ts', `import { x } from '../../test/support/imports.ts';`)[0]).toContain('outside src/');
  });
});

describe('finding imports', () => {
  const found = (text: string): string[] => findImports(text).map(({ specifier, line }) => `${line} ${specifier}`);

  test.each([
    [`import './a.ts';`, ['1 ./a.ts']],
    [`import a from "./a.ts";`, ['1 ./a.ts']],
    [`import {\n  type A,\n  b as c,\n} from './a.ts';`, ['4 ./a.ts']],
    [`import * as a from './a.ts';`, ['1 ./a.ts']],
    [`import type { A } from './a.ts';`, ['1 ./a.ts']],
    [`export * from './a.ts';\nexport type { A } from './b.ts';`, ['1 ./a.ts', '2 ./b.ts']],
    [`let a: import('./a.ts').A;\nawait import('./b.ts');`, ['1 ./a.ts', '2 ./b.ts']],
    [`const a = require('cap');`, ['1 cap']],
    [`new Worker(new URL('./worker.ts', import.meta.url));`, ['1 ./worker.ts']],
    [`import.meta.resolve('./a.ts');`, ['1 ./a.ts']],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the source under test holds the template.
    ["const a = `${`${{ b: 1 }.b}`} it's`; await import('./a.ts');", ['1 ./a.ts']],
    [`const quote = /['"\`/]/g; import('./a.ts');`, ['1 ./a.ts']],
    [`const half = (a) / 2; const b = 'x' / 2; import('./a.ts');`, ['1 ./a.ts']],
  ])('in %s', (text, expected) => {
    expect(found(text)).toEqual(expected);
  });

  test.each([
    [`// import './a.ts';`],
    [`/* import './a.ts';\n * import { x } from './b.ts'; */`],
    ["const text = `\nimport { x } from './a.ts';\n`;"],
    [`const text = "import './a.ts'";`],
    [`new URL('http://127.0.0.1/');`],
    [`const message = from + 'x'; Array.from('abc');`],
    [`export const a = 1; const b = from ? 'c' : 'd';`],
  ])('not in %s', (text) => {
    expect(found(text)).toEqual([]);
  });
});

function readSources(): SourceFile[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.(ts|tsx|mts)$/.test(path))
    .map((path) => ({ path: path.split(sep).join('/'), text: readFileSync(join(SRC, path), 'utf8') }));
}

function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`([\w./-]+)`/g)].map(([, name]) => name!).sort();
}
