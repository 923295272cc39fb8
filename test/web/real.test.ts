/**
 * The program itself before a browser: `margay agent` replaying a capture, and the page that `margay verify --report` writes. What the fixtures of
 * the other tests make up, these have from packets.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AgentStatus, FlowPage } from '../../src/agent/api.ts';
import { builtSources, removeBuiltSources } from '../support/built.ts';
import {
  type Browser,
  builtPages,
  CHROMIUM,
  launch,
  type OpenPage,
  removeBuiltPages,
  sidewaysOverflow,
} from './browser.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const LESSON = 'pcaps/tiers';

describe.skipIf(CHROMIUM === undefined)('the program before a browser', () => {
  let browser: Browser;
  let main: string;
  let folder: string;
  let agent: ChildProcess | undefined;
  let opened: OpenPage[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'margay-real-'));
    main = join(builtSources(), 'cli', 'main.js');
    // Where the agent and verify look for them, seen from what the compiler wrote.
    for (const place of ['web', '../dist/web']) cpSync(builtPages(), join(builtSources(), place), { recursive: true });
    browser = await launch();
  });
  afterEach(async () => {
    for (const { page, complaints, foreign } of opened) {
      await page.close();
      expect(complaints).toEqual([]);
      expect(foreign).toEqual([]);
    }
    opened = [];
    if (agent !== undefined) {
      // By its own way out, so that its children end with it.
      const ended = once(agent, 'close');
      agent.kill('SIGTERM');
      expect((await ended)[0]).toBe(0);
      agent = undefined;
    }
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true });
    removeBuiltSources();
    removeBuiltPages();
  });

  const open = async (url: string) => {
    const result = await browser.open(url);
    opened.push(result);
    return result.page;
  };

  /** Resolves with the address that the agent prints. */
  const startAgent = (...args: string[]): Promise<string> => {
    const child = spawn(process.execPath, [main, 'agent', '-f', LESSON, '--listen', '127.0.0.1:0', ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    agent = child;
    return new Promise((resolve, reject) => {
      let text = '';
      const read = (piece: Buffer): void => {
        text += piece;
        const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(text)?.[0];
        if (url !== undefined) resolve(url);
      };
      child.stdout!.on('data', read);
      child.stderr!.on('data', read);
      child.once('close', () => reject(new Error(`the agent ended:\n${text}`)));
    });
  };

  test('the page shows what the agent judged of a capture', async () => {
    const url = await startAgent('--source', `file:${LESSON}/capture.pcapng`);
    const ask = async <T>(path: string): Promise<T> => (await (await fetch(`${url}api/v1/${path}`)).json()) as T;
    const page = await open(`${url}#/overview`);
    await page.locator('.connection-live').waitFor();
    await expect.poll(async () => (await ask<FlowPage>('flows')).kept, { timeout: 20_000 }).toBe(31);
    const { accounting } = await ask<AgentStatus>('status');
    await expect
      .poll(() => page.locator('.tile.verdict-deny .tile-total').textContent())
      .toContain(`${accounting.deny}`);
    expect(await page.locator('.equation').textContent()).toMatch(new RegExp(`^${accounting.seen} seen`));

    await page.goto(`${url}#/connections?verdict=deny&account=payments&port=5434`);
    const rows = page.locator('tr[data-row]');
    const { flows } = await ask<FlowPage>('flows?verdict=deny&account=payments&port=5434');
    expect(flows.length).toBeGreaterThan(0);
    await expect.poll(() => rows.count()).toBe(flows.length);
    await page.getByText('np:shop/web-clients').first().click();
    const deciding = page.getByRole('dialog').locator('.chain-step.deciding');
    await deciding.locator('.line.is-marked').waitFor();
    expect(await deciding.textContent()).toMatch(/tier default[\s\S]*np:shop\/web-clients[\s\S]*policies.yaml:\d+/);

    await page.goto(`${url}#/policies?policy=np:shop/web-clients`);
    await page.locator('.policy[open]').getByText('ingress end of tier').waitFor();
    await page.goto(`${url}#/graph`);
    await page.locator('.graph [data-node="shop/web"]').waitFor();
    expect(await page.locator('.graph .edge-line').count()).toBeGreaterThan(5);
    await page.goto(`${url}#/node`);
    await page.getByText(`file:${LESSON}/capture.pcapng`).first().waitFor();
    expect(await sidewaysOverflow(page)).toBe(0);
  });

  test('the report of verify opens from the disk', async () => {
    const report = join(folder, 'report.html');
    const args = ['verify', '-f', LESSON, '-r', `${LESSON}/capture.pcapng`, '--report', report, '--exit-zero'];
    const { status, stderr } = spawnSync(process.execPath, [main, ...args], { cwd: ROOT, encoding: 'utf8' });
    expect(stderr).not.toMatch(/error/i);
    expect([0, 3]).toContain(status);
    const page = await open(pathToFileURL(report).href);
    await page.locator('h1').waitFor();
    expect(await page.locator('.connection-row').count()).toBe(31);
    const sum = (await page.locator('.matrix-cell b').allTextContents()).reduce((all, text) => all + Number(text), 0);
    expect(sum).toBe(31);
    await page.locator('.connection-row').first().click();
    expect(await page.locator('.connection.is-open .detail').textContent()).toContain('capture.pcapng');
    expect(await page.locator('.graph [data-node]').count()).toBeGreaterThan(5);
    expect(await sidewaysOverflow(page)).toBe(0);
  });
});
