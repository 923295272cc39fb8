/** Interfaces that cannot be captured on, known without trying: a try that fails crashes the process later. */
import { execFileSync } from 'node:child_process';
import { buildSync } from 'esbuild';
import { expect, test } from 'vitest';
import { interfaceTrouble, liveCaptureTrouble } from '../../src/packets/live.ts';

/** Of `ip link`: eth0 up, eth1 down, eth0.7 up. */
const FILES: Readonly<Record<string, string>> = {
  '/proc/thread-self/net/dev': [
    'Inter-|   Receive                            |  Transmit',
    ' face |bytes    packets errs drop fifo frame |bytes packets',
    '    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0',
    'eth0.7: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0',
    '  eth0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0',
    '  eth1: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0',
  ].join('\n'),
  '/sys/class/net/eth0/flags': '0x1003\n',
  '/sys/class/net/eth1/flags': '0x1002\n',
};

function read(path: string): string {
  const text = FILES[path];
  if (text === undefined) throw new Error(`ENOENT: ${path}`);
  return text;
}

test.each([
  ['any', undefined],
  ['eth0', undefined],
  ['eth1', 'the interface is down'],
  ['eth', 'there is no such interface'],
  // /sys of another namespace: it is tried.
  ['eth0.7', undefined],
])('%s', (device, trouble) => {
  expect(interfaceTrouble(device, read)).toBe(trouble);
});

test('lo of this machine', () => {
  expect(interfaceTrouble('lo')).toBeUndefined();
  expect(interfaceTrouble('margay-none')).toBe('there is no such interface');
});

// As often as the capture process would in a minute, with garbage collected in between.
test.skipIf(liveCaptureTrouble() !== undefined || process.getuid?.() !== 0)(
  'a process that asks again and again for what is not there lives on',
  () => {
    const script = `
      import { openLive } from './src/packets/live.ts';
      for (let i = 0; i < 60; i++) {
        for (const [name, filter] of [['margay-none', ''], ['lo', 'no filter (']]) {
          try { openLive(name, filter, 1 << 20, () => {}); console.log('opened', name); } catch {}
        }
        gc();
        await new Promise((resolve) => setImmediate(resolve));
      }
      console.log('alive');
      process.kill(process.pid, 'SIGKILL');
    `;
    const { outputFiles } = buildSync({
      stdin: { contents: script, resolveDir: process.cwd(), loader: 'ts' },
      bundle: true,
      format: 'esm',
      platform: 'node',
      write: false,
    });
    let output = '';
    try {
      output = execFileSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', outputFiles[0]!.text], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
    } catch (error) {
      output = (error as { stdout: string }).stdout;
    }
    expect(output).toBe('alive\n');
  },
);
