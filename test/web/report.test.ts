/** The report of `verify`, opened from a disk in a real browser: self-contained, readable, quick with thousands of connections. */

import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { ReportData } from '../../src/analyze/report-data.ts';
import {
  type Browser,
  builtPages,
  CHROMIUM,
  launch,
  type OpenOptions,
  type OpenPage,
  removeBuiltPages,
  sidewaysOverflow,
} from './browser.ts';
import { HOSTILE } from './fixtures.ts';
import { reportData } from './report-fixture.ts';

const PLACE = '<script type="application/json" id="report-data">null</script>';

let template: string;
beforeAll(() => {
  template = readFileSync(join(builtPages(), 'report.html'), 'utf8');
});
afterAll(removeBuiltPages);

describe('the template', () => {
  test('has one place for data, and asks for nothing from elsewhere', () => {
    expect(template.split(PLACE)).toHaveLength(2);
    expect(template).not.toMatch(/<(?:link|img|iframe|object|embed)\b|\ssrc=|@import|url\((?!#)/);
  });

  test('allows by its policy exactly the script and the style that it holds', () => {
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(template)?.[1] ?? '';
    const hash = (text: string | undefined): string =>
      `'sha256-${createHash('sha256').update(text!).digest('base64')}'`;
    const script = /<script>([\s\S]*?)<\/script>/.exec(template)?.[1];
    const style = /<style>([\s\S]*?)<\/style>/.exec(template)?.[1];
    expect(policy).toBe(
      `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; base-uri 'none'; form-action 'none'`,
    );
  });
});

describe.skipIf(CHROMIUM === undefined)('a report in Chromium', () => {
  let browser: Browser;
  let folder: string;
  let opened: OpenPage[] = [];

  beforeAll(async () => {
    browser = await launch();
    folder = mkdtempSync(join(tmpdir(), 'margay-report-'));
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true });
  });
  afterEach(async () => {
    for (const { page, complaints, foreign } of opened) {
      expect(await page.evaluate('window.wasFooled')).toBeUndefined();
      await page.close();
      expect(complaints).toEqual([]);
      expect(foreign).toEqual([]);
    }
    opened = [];
  });

  const open = async (data: ReportData, options?: OpenOptions) => {
    const path = join(folder, 'report.html');
    const json = JSON.stringify(data).replaceAll('<', '\\u003c');
    writeFileSync(
      path,
      template.replace(PLACE, () => PLACE.replace('null', () => json)),
    );
    const result = await browser.open(pathToFileURL(path).href, options);
    opened.push(result);
    return result.page;
  };

  test.each([
    [1280, 'light'],
    [400, 'dark'],
  ] as const)('%d pixels wide, %s: the answer, the matrix, and every part of it', async (width, colorScheme) => {
    const data = reportData(300);
    const page = await open(data, { width, colorScheme });
    const { leaks, blocked } = data.totals;
    expect(await page.locator('h1').textContent()).toBe(`${leaks} connections leak, ${blocked} are blocked`);
    expect(await sidewaysOverflow(page)).toBe(0);
    expect(await page.locator('.matrix-cell.has-leak').textContent()).toBe(`${leaks}${leaks} findings`);
    expect(await page.locator('.matrix-cell.has-blocked').count()).toBe(1);
    expect(await page.locator('.incomplete li').count()).toBe(1);
    expect(await page.locator('.timeline-row').count()).toBe(7);
    expect(await page.locator('.graph .edge-leaking .edge-line').count()).toBe(1);
    expect(await page.locator('.captures .capture-error').textContent()).toContain('cut off');
    expect(await page.getByText(HOSTILE).count()).toBeGreaterThan(2);
    expect(await page.locator('img, main script').count()).toBe(0);
    const first = page.locator('.finding').first();
    expect(await first.textContent()).toMatch(
      /older than the policy[\s\S]*orders-db.yaml:4[\s\S]*packet 103 of sent.pcapng/,
    );
  });

  test('five thousand connections: pages, filters, details, by mouse and keyboard', async () => {
    const data = reportData(5_000);
    const page = await open(data);
    const rows = page.locator('.connection-row');
    expect(await rows.count()).toBe(100);
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText('101 to 200 of 5').waitFor();
    await page.locator('.matrix-cell.has-leak button').click();
    await page.getByText(`${data.totals.leaks} match`).waitFor();
    expect(await page.getByLabel('Predicted', { exact: true }).inputValue()).toBe('deny');
    expect(await page.getByLabel('Observed', { exact: true }).inputValue()).toBe('delivered');
    await page.getByLabel('Text').fill('shop/cart tcp/8080');
    await expect.poll(() => rows.count()).toBeLessThan(100);
    for (const text of await rows.allTextContents()) expect(text).toMatch(/deny[\s\S]*leak[\s\S]*tcp\/8080/);
    await rows.first().focus();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    expect(await rows.nth(1).getAttribute('aria-expanded')).toBe('true');
    await page.locator('.connection.is-open .trace.is-deciding').getByText('np:data/default.orders-db').waitFor();
    await page.keyboard.press('Enter');
    expect(await page.locator('.connection.is-open').count()).toBe(0);
    await page.locator('.graph [data-node="shop/web"]').click();
    await page.getByRole('button', { name: 'List its connections' }).click();
    expect(await page.getByLabel('Text').inputValue()).toBe('shop/web');
    await page.getByText('of 2').waitFor();
    await page.getByLabel('Text').fill('no such connection');
    await page.getByText('No connection matches the filter').waitFor();
    await page.getByRole('button', { name: 'Clear' }).click();
    await expect.poll(() => rows.count()).toBe(100);
  });

  test('nothing found, nothing captured', async () => {
    const data = reportData(0);
    const empty = {
      ...data,
      incomplete: [],
      timeline: emptyTimeline(data),
      graph: { nodes: [], edges: [], left_out: { nodes: 0, edges: 0 } },
    };
    const page = await open(empty);
    expect(await page.locator('h1').textContent()).toBe('The network does what the policy says');
    await page.getByText('The captures hold no connection').waitFor();
    await page.getByText('Nobody has talked yet').waitFor();
  });

  test('prints without its controls', async () => {
    const page = await open(reportData(40));
    await page.emulateMedia({ media: 'print' });
    expect(await page.getByLabel('Text').isVisible()).toBe(false);
    expect(await page.locator('.finding').first().isVisible()).toBe(true);
    expect(await page.locator('.matrix').isVisible()).toBe(true);
  });
});

function emptyTimeline({ timeline }: ReportData): ReportData['timeline'] {
  return { ...timeline, allow: [], deny: [], unpoliced: [], uncertain: [], undecoded: [], leaks: [], blocked: [] };
}
