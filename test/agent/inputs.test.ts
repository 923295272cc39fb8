/** Files that the agent is given and cannot use: it says which, and its exit code tells. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { liveCaptureTrouble } from '../../src/packets/live.ts';
import { type Bundled, bundleCommandLine } from '../support/bundled.ts';

const CAPTURE = 'pcaps/sa-names/capture.pcapng';
const ENV = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^_?MARGAY_/.test(name)));
const folder = mkdtempSync(join(tmpdir(), 'margay-agent-inputs-'));
let bundled: Bundled;
beforeAll(() => {
  bundled = bundleCommandLine();
});
afterAll(() => {
  bundled.remove();
  rmSync(folder, { recursive: true, force: true });
});

function agent(...args: string[]): { readonly status: number | null; readonly stderr: string } {
  const all = [bundled.main, 'agent', '-f', 'pcaps/sa-names', '--until-end', '--listen', '127.0.0.1:0', ...args];
  return spawnSync(process.execPath, all, { encoding: 'utf8', env: ENV, timeout: 60_000 });
}

test('a capture that is not there, or is cut off: no quiet 0', () => {
  const absent = agent('--source', `file:${join(folder, 'none.pcap')}`);
  expect(absent.status).toBe(4);
  expect(absent.stderr).toMatch(/"source":"file:[^"]*none.pcap","detail":"[^"]*cannot open/);
  const whole = readFileSync(CAPTURE);
  writeFileSync(join(folder, 'cut.pcapng'), whole.subarray(0, whole.length - 5));
  const cut = agent('--source', `file:${join(folder, 'cut.pcapng')}`);
  expect(cut.status).toBe(3);
  expect(cut.stderr).toContain('cut off');
  expect(agent('--source', `file:${CAPTURE}`).status).toBe(0);
});

test.each(['--token-file', '--flow-log'])('%s of a folder that is not there', (option) => {
  const { status, stderr } = agent('--source', `file:${CAPTURE}`, option, '/no/such/folder/x');
  expect(status).toBe(4);
  expect(stderr).toMatch(new RegExp(`^margay: ${option}: ENOENT.*/no/such/folder/x', as user '\\w+'\n$`));
});

// Several processes, each of which could wait for another one.
test.skipIf(liveCaptureTrouble() !== undefined || process.getuid?.() !== 0)(
  'the same with live capture: all of it ends',
  () => {
    const args = ['--source', 'cap', '-i', 'lo', '--run-as', 'root', '--flow-log', '/no/such/folder/x'];
    const { status, stderr } = agent(...args);
    expect(status).toBe(4);
    expect(stderr).toContain('margay: --flow-log: ENOENT');
  },
);
