// Uses the two pieces by keyboard alone, and prints what they said: node touch.mjs PAGE MODULES
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [file, modules] = process.argv.slice(2);
const { chromium } = createRequire(path.resolve(modules, 'here.js'))('playwright-core');
const known = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const chrome = [process.env.CHROME, ...known].find((at) => at && fs.existsSync(at));
if (!chrome) { console.error('no Chromium was found'); process.exit(2); }
const browser = await chromium.launch({ executablePath: chrome, args: ['--no-sandbox'] });
const told = {};

const without = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
await without.goto(pathToFileURL(file).href);
told.cellsWithout = await without.locator('.attention-piece tbody td:not(:empty)').count();
told.drawingsWithout = await without.locator('.timeline-piece svg:visible').count();
told.controlsWithout = await without.locator('.controls:visible').count();

const page = await browser.newPage();
await page.goto(pathToFileURL(file).href);
const said = (piece) => page.locator(`${piece} output`).innerText();
const focused = () => page.evaluate(() => document.activeElement.name || document.activeElement.textContent);
told.first = await said('.attention-piece');
await page.keyboard.press('Tab');
told.focused = [await focused()];
await page.keyboard.press('ArrowLeft');
told.layer = await said('.attention-piece');
await page.keyboard.press('Tab');
await page.keyboard.press('ArrowRight');
told.focused.push(await focused());
told.head = await said('.attention-piece');
await page.keyboard.press('Tab'); // the table, which may have to be scrolled
await page.keyboard.press('Tab');
told.focused.push(await focused());
told.token = await said('.attention-piece');
told.pressed = await page.locator('[aria-pressed=true]').allInnerTexts();
told.live = await page.locator('output[aria-live=polite]').count();

told.drawings = await page.locator('.timeline-piece svg:visible').count();
await page.locator('.timeline-piece input[type=radio]').first().focus();
await page.keyboard.press('ArrowDown');
told.chosen = await page.locator('.setting:visible .setting-title').innerText();
await page.locator('.timeline-piece input[type=range]').focus();
for (let step = 0; step < 3; step++) await page.keyboard.press('ArrowRight');
told.step = await said('.timeline-piece');
told.value = await page.locator('.timeline-piece input[type=range]').getAttribute('aria-valuetext');
await page.keyboard.press('End');
told.last = await said('.timeline-piece');
console.log(JSON.stringify(told));
await browser.close();
