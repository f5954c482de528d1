// The docs page: its tables are the manifest, its examples live.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { browse, serve, site } from './harness.js';

test('tables, live examples, axe', async (t) => {
  const [server, browser] = [await serve(), await browse()];
  t.after(async () => {
    await browser.close();
    server.close();
  });
  const page = await browser.page(`${server.url}/docs.html`);
  await page.locator('caption').nth(7).waitFor();
  const manifest = JSON.parse(await readFile(join(site, 'unigen/custom-elements.json')));
  const { attributes, members, events, slots, cssParts, cssProperties, cssStates } = manifest.modules[0].declarations[0];
  const lists = [attributes, members, events, slots, cssParts, cssProperties, cssStates];
  const rows = await page.locator('#tables tbody tr').count();
  assert.equal(rows, lists.reduce((sum, list) => sum + list.length, 0));
  assert.doesNotMatch(await page.locator('#tables').textContent(), /`/);

  // Each attribute has a control, and the tag follows.
  for (const { name } of attributes) await page.getByLabel(name, { exact: true }).waitFor();
  await page.getByLabel('mode', { exact: true }).selectOption('ask');
  await page.getByLabel('seed', { exact: true }).fill('12');
  await page.getByLabel('required', { exact: true }).check();
  assert.equal(await page.locator('#markup').textContent(), '<unigen-editor prompt="a photo of a red apple" mode="ask" seed="12" required></unigen-editor>');
  assert.deepEqual(await page.evaluate(() => [tried.mode, tried.seed, tried.required]), ['ask', 12, true]);

  const [drawing, edits] = [page.locator('.examples unigen-editor').nth(0), page.locator('#edits')];
  assert.equal(await page.evaluate(() => globalThis.fake), undefined);
  await drawing.getByRole('button', { name: 'Draw' }).click();
  await edits.getByRole('button', { name: 'Brush' }).waitFor();
  await edits.getByRole('button', { name: 'Edit' }).click();
  await edits.getByRole('slider').waitFor();
  const form = page.locator('#form');
  await form.getByRole('button', { name: 'Draw' }).click();
  await form.getByText('Done.').waitFor();
  await form.getByRole('button', { name: 'Send' }).click();
  await page.getByText(/^unigen.png, \d+ bytes$/).waitFor();

  await page.evaluate(await readFile(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8'));
  const violations = await page.evaluate(async () => (await globalThis.axe.run()).violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]));
  assert.deepEqual(violations, []);
  assert.deepEqual(page.problems, []);
});
