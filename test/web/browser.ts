/** Debian's Chromium with nothing kept and nothing asked of the network, and what tests of pages share. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { findCommand } from '../../pcaps/setup.mjs';

const ROOT = join(import.meta.dirname, '..', '..');
const WAIT_MS = 15_000;

/** Undefined where Chromium is missing: tests then skip themselves by name. */
export const CHROMIUM = findCommand('chromium');

export interface Browser {
  /** A page of its own in a window of that size. Whatever it complains about is collected in `complaints`. */
  open(url: string, options?: OpenOptions): Promise<OpenPage>;
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly width?: number;
  readonly height?: number;
  readonly colorScheme?: 'light' | 'dark';
}

export interface OpenPage {
  readonly page: Page;
  /** Console errors, warnings, exceptions, and refusals by the content security policy. */
  readonly complaints: string[];
  /** Addresses that were asked for, other than the page's own origin. */
  readonly foreign: string[];
}

export async function launch(): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), 'margay-chromium-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM!,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    viewport: null,
  });
  context.setDefaultTimeout(WAIT_MS);
  return {
    open: (url, options) => openPage(context, url, options),
    close: async () => {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

async function openPage(context: BrowserContext, url: string, options: OpenOptions = {}): Promise<OpenPage> {
  const page = await context.newPage();
  const complaints: string[] = [];
  const foreign: string[] = [];
  const own = new URL(url);
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== own.protocol || host !== own.host) foreign.push(request.url());
  });
  await page.setViewportSize({ width: options.width ?? 1280, height: options.height ?? 900 });
  await page.emulateMedia({ colorScheme: options.colorScheme ?? 'light', reducedMotion: 'reduce' });
  await page.goto(url);
  return { page, complaints, foreign };
}

/** How far the page could be moved sideways, in pixels. */
export function sidewaysOverflow(page: Page): Promise<number> {
  // As text, since tests know no types of the browser.
  return page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth');
}

let built: string | undefined;

/** The pages of the present sources, built once a test process into a folder of its own. */
export function builtPages(): string {
  if (built !== undefined) return built;
  const folder = mkdtempSync(join(tmpdir(), 'margay-pages-'));
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'src/web/build.mjs'), folder], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  if (status !== 0 || !existsSync(join(folder, 'index.html'))) throw new Error(`the pages do not build:\n${stderr}`);
  built = folder;
  return folder;
}

/** To be called when a test file is done. */
export function removeBuiltPages(): void {
  if (built !== undefined) rmSync(built, { recursive: true });
  built = undefined;
}
