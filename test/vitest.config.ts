import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/**
 * Folders of tests that compute: they run side by side. All others start processes, servers, threads, namespaces or a browser, or wait for
 * what happens: one file at a time, with the machine to themselves.
 */
const SIDE_BY_SIDE =
  'analyze base compile conntrack load match packets property rbac reference selector tables wire'.split(' ');
const BUT = [
  'analyze/stage-times.test.ts',
  'analyze/verify-kernel.test.ts',
  'compile/direct-addresses.test.ts',
  'load/files.test.ts',
  'load/read-ahead.test.ts',
  'packets/live.test.ts',
  'packets/unpack-ahead.test.ts',
  'wire/captures.test.ts',
];
/** Some suites hold a few hundred megabytes. */
const SIDE_BY_SIDE_MAX = 4;

const all = readdirSync(new URL('.', import.meta.url), { recursive: true, encoding: 'utf8' }).filter((path) =>
  path.endsWith('.test.ts'),
);
const isSideBySide = (path: string): boolean => SIDE_BY_SIDE.includes(path.split('/')[0]!) && !BUT.includes(path);

// biome-ignore lint/style/noDefaultExport: vitest reads its settings from the default export.
export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    setupFiles: ['test/support/seeds.ts'],
    coverage: { provider: 'v8', include: ['src/**/*.ts'] },
    projects: [
      project('side by side', all.filter(isSideBySide), Math.min(availableParallelism(), SIDE_BY_SIDE_MAX), 0),
      project(
        'alone',
        all.filter((path) => !isSideBySide(path)),
        1,
        1,
      ),
    ],
  },
});

/** Projects run one after the other, in this order. */
function project(name: string, paths: readonly string[], maxWorkers: number, groupOrder: number) {
  const include = paths.map((path) => `test/${path}`);
  return { extends: true as const, test: { name, include, maxWorkers, sequence: { groupOrder } } };
}
