/** The agent's page in a real browser, before the agent's own HTTP server: what a reader sees, and what one can do with a keyboard alone. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
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
import { FakeNode } from './fake-node.ts';
import { BANNERS, FLOWS, HOSTILE, statusAt } from './fixtures.ts';

const VIEWS = ['overview', 'connections', 'policies', 'graph', 'findings', 'node'];

describe.skipIf(CHROMIUM === undefined)('the page in Chromium', () => {
  let browser: Browser;
  let node: FakeNode;
  let opened: OpenPage[] = [];

  beforeAll(async () => {
    browser = await launch();
    node = new FakeNode({ pageFolder: builtPages() });
    await node.start();
  });
  afterAll(async () => {
    await browser?.close();
    await node?.stop();
    removeBuiltPages();
  });
  beforeEach(() => {
    node.banners = [];
    opened = [];
  });
  // Whatever a test does: nothing complains, nothing is asked of elsewhere, nothing is read as markup.
  afterEach(async () => {
    for (const { page, complaints, foreign } of opened) {
      expect(await page.evaluate('window.wasFooled')).toBeUndefined();
      await page.close();
      expect(complaints).toEqual([]);
      expect(foreign).toEqual([]);
    }
  });

  const open = async (hash: string, options?: OpenOptions, url = node.url) => {
    const result = await browser.open(`${url}${hash}`, options);
    opened.push(result);
    return result.page;
  };
  const isReady = '.connection-live, .connection-unready';

  test('keeps a policy that forbids inline scripts and styles', async () => {
    const response = await fetch(node.url);
    expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'self';/);
    const html = await response.text();
    expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/);
  });

  test.each([
    [1280, 'light'],
    [1280, 'dark'],
    [400, 'light'],
    [400, 'dark'],
  ] as const)(
    '%d pixels wide, %s: every view fits, is well formed, and shows hostile names as text',
    async (width, colorScheme) => {
      const page = await open('', { width, colorScheme });
      await page.locator(isReady).waitFor();
      for (const view of VIEWS) {
        await page.goto(`${node.url}#/${view}`);
        await page.locator(`main .panel`).first().waitFor();
        if (view === 'connections') await page.getByText(HOSTILE).first().waitFor({ state: 'attached' });
        expect(await sidewaysOverflow(page), view).toBe(0);
        expect(await page.locator('main img, main script').count(), view).toBe(0);
        expect(await page.locator('h1').allTextContents(), view).toEqual([
          expect.stringMatching(new RegExp(view, 'i')),
        ]);
        expect(await page.locator('nav [aria-current="page"]').count()).toBe(1);
        // Every control has a name.
        const nameless = await page.evaluate<string[]>(
          `[...document.querySelectorAll('input, select, button')]
          .filter((each) => !each.labels?.length && !each.textContent.trim() && !each.getAttribute('aria-label'))
          .map((each) => each.outerHTML)`,
        );
        expect(nameless, view).toEqual([]);
      }
    },
  );

  test('rates are drawn, and lines can be switched off', async () => {
    const page = await open('#/overview');
    await page.locator(isReady).waitFor();
    const ink = `(() => {
      const { width, height } = document.querySelector('.chart canvas');
      const { data } = document.querySelector('.chart canvas').getContext('2d').getImageData(0, 0, width, height);
      let count = 0;
      for (let at = 0; at < data.length; at += 4) if (data[at + 2] > 140 && data[at] < 20 && data[at + 3] > 200) count++;
      return count;
    })()`;
    await expect.poll(() => page.evaluate(ink)).toBeGreaterThan(300);
    await page.getByRole('button', { name: 'allow' }).click();
    await expect.poll(() => page.evaluate(ink)).toBe(0);
    await page.getByLabel('logarithmic').check();
    expect(page.url()).toContain('scale=log');
    expect(await page.locator('.tile').count()).toBe(6);
    expect(await page.locator('.equation').textContent()).toMatch(/310.095 seen\s*=\s*301.002 judged/);
  });

  test('filters narrow the list, stand in the address, and can be cleared', async () => {
    const page = await open('#/connections');
    const rows = page.locator('tr[data-row]');
    await expect.poll(() => rows.count()).toBe(61);
    await page.getByLabel('Verdict').selectOption('deny');
    await expect.poll(() => rows.count()).toBe(FLOWS.filter(({ record }) => record.action === 'deny').length);
    await page.getByLabel('Namespace').fill('data');
    await page.getByLabel('Service account').fill('shop/web');
    await page.getByLabel('Port').fill('5432');
    await page.getByLabel('Text').fill('ORDERS-DB-');
    await expect.poll(() => rows.count()).toBe(5);
    for (const text of await rows.allTextContents()) expect(text).toMatch(/deny[\s\S]*shop\/web[\s\S]*orders-db/);
    const hash = '#/connections?verdict=deny&namespace=data&account=shop%2Fweb&port=5432&text=ORDERS-DB-';
    expect(new URL(page.url()).hash).toBe(hash);
    const second = await open(hash);
    await expect.poll(() => second.locator('tr[data-row]').count()).toBe(5);
    expect(await second.getByLabel('Text').inputValue()).toBe('ORDERS-DB-');
    await page.getByLabel('Text').fill('nothing has this');
    await page.getByText('No kept connection matches').waitFor();
    await page.getByRole('button', { name: 'Clear the filters' }).click();
    await expect.poll(() => rows.count()).toBe(61);
    await page.getByLabel('Port').fill('http');
    await page.getByText('port must be a whole number').waitFor();
    // What the browser itself logs of an answer with an error.
    const { complaints } = opened[0]!;
    expect(complaints.splice(0).every((text) => text.includes('400'))).toBe(true);
  });

  test('by keyboard alone: skip link, views, rows, explainer, and back', async () => {
    const page = await open('#/overview');
    await page.locator(isReady).waitFor();
    const focused = (expression: string) => page.evaluate(`document.activeElement.${expression}`);
    await page.keyboard.press('Tab');
    expect(await focused('textContent')).toBe('Skip to the content');
    expect(await page.locator('.skip').boundingBox()).toMatchObject({ x: 8, y: 8 });
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    expect(await focused('textContent')).toBe('Connections');
    await page.keyboard.press('Enter');
    await page.locator('tr[data-row]').first().waitFor();
    await page.keyboard.press('/');
    expect(await focused('id')).toBe('filter-text');
    await page.keyboard.type('cart');
    expect(await page.getByLabel('Text').inputValue()).toBe('cart');
    await expect.poll(() => page.locator('tr[data-row]').count()).toBeLessThan(40);
    // Past the Clear button and the check box to the table, of which one row is in the order.
    for (const _ of [1, 2, 3]) await page.keyboard.press('Tab');
    const first = await focused('dataset.row');
    expect(first).toBeTruthy();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    const third = await focused('dataset.row');
    expect(third).toBe(await page.locator('tr[data-row]').nth(2).getAttribute('data-row'));
    expect(await focused('matches(":focus-visible")')).toBe(true);
    expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid');
    await page.keyboard.press('Enter');
    const explainer = page.getByRole('dialog', { name: 'Why this verdict' });
    await explainer.getByText('decides').waitFor();
    expect(page.url()).toContain(`flow=${third}`);
    expect(await focused('getAttribute("role")')).toBe('dialog');
    await page.keyboard.press('Escape');
    await expect.poll(() => explainer.count()).toBe(0);
    expect(await focused('dataset.row')).toBe(third);
    await page.keyboard.press('End');
    expect(await focused('dataset.row')).toBe(await page.locator('tr[data-row]').last().getAttribute('data-row'));
    await page.keyboard.press('Home');
    expect(await focused('dataset.row')).toBe(first);
  });

  test('the explainer shows the chain and the lines of its source', async () => {
    const page = await open('#/connections?flow=flow-6');
    const explainer = page.getByRole('dialog');
    await explainer.locator('.chain-step').first().waitFor();
    expect(await explainer.locator('.chain-step').count()).toBe(3);
    const deciding = explainer.locator('.chain-step.deciding');
    expect(await deciding.textContent()).toMatch(
      /tier default[\s\S]*np:data\/default.orders-db[\s\S]*orders-db.yaml:4/,
    );
    expect(await deciding.locator('.is-marked').textContent()).toContain('name: default.orders-db');
    expect(await explainer.locator('.badge.finding-leak').count()).toBe(1);
    await explainer.getByText('there before the policy').waitFor();
    expect(await explainer.locator('.labels a').allTextContents()).toEqual([
      'np:data/default.orders-db',
      'np:data/default.also',
    ]);
    expect(await explainer.locator('.trace').textContent()).toMatch(/snp:data\/default.try[\s\S]*allow/);
    await explainer.getByText('As margay explain prints it').click();
    await explainer.getByText('deny: end of tier default').waitFor();
    expect(await sidewaysOverflow(page)).toBe(0);
    // On a narrow screen it covers everything, and keys stay inside.
    expect(await page.evaluate('document.querySelector("main").inert')).toBe(false);
    await page.setViewportSize({ width: 400, height: 800 });
    await expect.poll(() => page.evaluate('document.querySelector("main").inert')).toBe(true);
    await page.keyboard.press('Escape');
    await expect.poll(() => page.evaluate('document.activeElement.dataset.row')).toBe('flow-6');
    const gone = await open('#/connections?flow=nobody');
    await gone.getByText('that flow is no longer kept').waitFor();
    expect(opened[1]!.complaints.splice(0).every((text) => text.includes('404'))).toBe(true);
  });

  test('a list that somebody reads is held, and what is newer is told', async () => {
    const own = new FakeNode({ pageFolder: builtPages() });
    await own.start();
    try {
      const page = await open('#/connections?account=shop/web', {}, own.url);
      const rows = page.locator('tr[data-row]');
      await rows.first().focus();
      const before = await rows.count();
      own.add({ ...FLOWS[1]!, id: 'newer' });
      const button = page.getByRole('button', { name: 'Show 1 newer' });
      await button.waitFor();
      expect(await rows.count()).toBe(before);
      await button.click();
      await page.locator('tr[data-row="newer"]').waitFor();
      expect(await rows.count()).toBe(before + 1);
      for (let index = 0; index < 150; index++) own.add({ ...FLOWS[1]!, id: `more-${index}` });
      await page.getByRole('button', { name: 'Load older' }).waitFor();
      await expect.poll(() => rows.count()).toBe(100);
      await page.getByRole('button', { name: 'Load older' }).click();
      await expect.poll(() => rows.count()).toBe(before + 151);
      expect(await rows.last().getAttribute('data-row')).toBe('flow-0');
    } finally {
      await opened.pop()?.page.close();
      await own.stop();
    }
  });

  test('the board shows tiers in order, hits, and what was never hit', async () => {
    const page = await open('#/policies');
    await expect
      .poll(() => page.locator('.tier h2').allTextContents())
      .toEqual(['tier platform', 'tier default', 'Profiles, where no tier decides']);
    expect(await page.locator('.policy.is-zero .policy-packets').allTextContents()).toEqual(['never decided']);
    expect(await page.locator('.staged').count()).toBe(1);
    await page.locator('.policy-name').getByText('np:data/default.orders-db').click();
    expect(await page.locator('.policy[open] .rules tbody tr').allTextContents()).toEqual([
      expect.stringMatching(/ingress 0\s*allow\s*4.018\s*3.00.MB/),
      expect.stringMatching(/ingress end of tier\s*deny\s*388/),
    ]);
    await page.getByLabel('only what decided').check();
    await expect.poll(() => page.locator('.policy').count()).toBe(3);
    await page.getByLabel('Policy or tier').fill('baseline');
    await expect.poll(() => page.locator('.policy').count()).toBe(1);
    expect(page.url()).toContain('text=baseline');
  });

  test('the graph tells kinds of edges apart by more than colour, and works by keyboard', async () => {
    const page = await open('#/graph');
    const line = (kind: string) => page.locator(`.graph .edge-${kind} .edge-line`).first();
    await line('leaking').waitFor({ state: 'attached' });
    const looks = new Set<string>();
    for (const kind of ['allowed', 'uncertain', 'denied', 'blocked', 'leaking']) {
      const dashes = await page.evaluate(
        `getComputedStyle(document.querySelector('.graph .edge-${kind} .edge-line')).strokeDasharray`,
      );
      looks.add(`${dashes} ${await line(kind).getAttribute('marker-end')}`);
      expect(await page.locator(`marker#end-${kind}`).count()).toBe(1);
    }
    expect(looks.size).toBe(5);
    expect(await page.locator('.edge-leaking .edge-sign, .edge-blocked .edge-sign').count()).toBe(2);
    expect(await page.locator('.edges tbody tr').first().textContent()).toMatch(/shop\/cart\s*data\/orders-db/);
    await page.locator('.box[tabindex="0"]').focus();
    await page.keyboard.press('ArrowRight');
    const chosen = await page.evaluate('document.activeElement.dataset.node');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: `Edges of ${chosen}` }).waitFor();
    expect(page.url()).toContain(`select=${encodeURIComponent(String(chosen))}`);
    await page.getByRole('button', { name: 'Show all' }).click();
    await page.getByRole('button', { name: 'allowed', exact: true }).click();
    await expect.poll(() => page.locator('.graph .edge-allowed .edge-line').count()).toBe(0);
    expect(page.url()).toContain('edges=unpoliced%2Cuncertain%2Cdenied%2Cblocked%2Cleaking');
  });

  test('findings say cause and evidence, and lead to the explainer', async () => {
    const page = await open('#/findings');
    const cards = page.locator('.finding');
    await expect.poll(() => cards.count()).toBe(3);
    expect(await cards.first().textContent()).toMatch(/there before the policy[\s\S]*packet 1043/);
    await page.getByText('Packets were lost meanwhile').waitFor();
    await cards.first().focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').getByText('decides').waitFor();
    await page.keyboard.press('Escape');
    await page.getByLabel('Kind').selectOption('blocked');
    await expect.poll(() => cards.count()).toBe(1);
  });

  test('a banner comes when something is stale or lossy, and goes', async () => {
    const page = await open('#/connections');
    await page.locator(isReady).waitFor();
    expect(await page.locator('.banner').count()).toBe(0);
    node.banners = BANNERS;
    await page.locator('[data-banner="loss"]').getByText('1 204 packets were lost').waitFor();
    await page.locator('[data-banner="stale-identity"]').waitFor();
    await page.getByText('not ready').waitFor();
    node.banners = [];
    await expect.poll(() => page.locator('.banner').count()).toBe(0);
  });

  test('dark and light, as the system says and as the reader chooses', async () => {
    const page = await open('#/overview', { colorScheme: 'dark' });
    const ground = () => page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
    expect(await ground()).toBe('rgb(17, 21, 20)');
    await page.getByRole('button', { name: 'Colours: system' }).click();
    expect(await ground()).toBe('rgb(245, 246, 243)');
    await page.reload();
    expect(await ground()).toBe('rgb(245, 246, 243)');
    await page.getByRole('button', { name: 'Colours: light' }).click();
    expect(await ground()).toBe('rgb(17, 21, 20)');
    await page.getByRole('button', { name: 'Colours: dark' }).click();
    expect(await ground()).toBe('rgb(17, 21, 20)');
  });

  test('the server goes and comes back: told, kept, and taken up again', async () => {
    const own = new FakeNode({ pageFolder: builtPages() });
    await own.start();
    const page = await open('#/overview', {}, own.url);
    await page.locator('.connection-live').waitFor();
    await own.stop();
    await page.getByText('No connection.').waitFor();
    expect(await page.getByText('What is shown is from').count()).toBe(1);
    expect(await page.locator('.tile').count()).toBe(6);
    await own.start();
    await page.getByRole('button', { name: 'Try now' }).click();
    await page.locator('.connection-live').waitFor();
    await expect.poll(() => page.locator('.banner').count()).toBe(0);
    await own.stop();
    await page.locator('.connection-lost').waitFor();
    // The browser tells of each refused connection.
    expect(opened[0]!.complaints.splice(0).every((text) => /ERR_|Failed to (load|fetch)/.test(text))).toBe(true);
  });

  test('without a stream the page asks instead', async () => {
    const { page, complaints } = await browser.open('about:blank');
    await page.route('**/api/v1/events', (route) => route.abort());
    await page.goto(`${node.url}#/overview`);
    await page.locator('.connection-polling').waitFor();
    await page.locator('.tile').first().waitFor();
    expect(complaints.every((text) => text.includes('ERR_FAILED'))).toBe(true);
    await page.close();
  });

  test('an agent with a token is asked with it', async () => {
    const own = new FakeNode({ pageFolder: builtPages(), token: 'open sesame' });
    await own.start();
    try {
      expect((await fetch(`${own.url}api/v1/status`)).status).toBe(401);
      const url = own.url.replace('http://', 'http://any:open%20sesame@');
      const page = await open('', {}, url);
      await page.locator('.connection-live').waitFor();
      expect(await page.locator('.tile').count()).toBe(6);
      const { complaints, foreign } = opened.pop()!;
      // The browser asks a first time without.
      expect(complaints.every((text) => text.includes('401'))).toBe(true);
      expect(foreign).toEqual([]);
      await page.close();
    } finally {
      await own.stop();
    }
  });
});

test('the made-up node keeps the accounting of the contract', () => {
  const { seen, judged, duplicate, undecoded, lost } = statusAt(0, []).accounting;
  expect(judged + duplicate + undecoded + lost).toBe(310_095);
  expect(seen).toBe(310_095);
});
