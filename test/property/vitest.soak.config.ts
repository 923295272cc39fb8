import { defineConfig } from 'vitest/config';

// biome-ignore lint/style/noDefaultExport: vitest reads its settings from the default export.
export default defineConfig({
  root: new URL('../..', import.meta.url).pathname,
  test: { include: ['test/property/soak.ts'], pool: 'forks', disableConsoleIntercept: true },
});
