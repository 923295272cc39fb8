// Compiles the bench beside the program and starts it. Plain Node, so that `npm run bench` needs nothing but installed packages.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const step = (command, args) => {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
};
step('npm', ['run', '--silent', 'build']);
step('npx', ['tsc', '-p', 'bench/tsconfig.json']);
step('node', ['--max-old-space-size=8192', 'node_modules/.cache/margay-bench/bench/main.js', ...process.argv.slice(2)]);
