// Every page of the site in headless Chromium, from file://, as a visitor meets it.
//
//     node tools/site/check.mjs SITE [--modules FOLDER] [--only REGEX] [--shots FOLDER]
//         [--jobs N] [--no-axe] [--patience SECONDS]
//
// A line for each finding, `page: kind: what`, and exit status 1 if there is any. Kinds:
//
//     request   something is asked of another machine, or of a file that is not there
//     error     a script fails
//     formula   a formula is raw or failed
//     image     an image is broken          alt     one has no words in its place
//     link      one leads nowhere: no such file, or no such place in it
//     scroll    the page scrolls sideways at 390 px
//     axe-light, axe-dark   WCAG A or AA is violated in that colour scheme
//     search    the search page finds nothing
//
// CHROME names the browser, where it is none of those below. `details` are opened before anything
// is looked at: what is hidden until asked must hold too.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { contentOf, sidewaysOf } from './in_page.mjs';

const BROWSERS = [
  '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const NARROW = { width: 390, height: 844 };
const WIDE = { width: 1280, height: 900 };
const SHORTEST_ALT = 3; // letters; an empty one is for what only decorates, and is allowed

/** Stop with one sentence: the check was asked wrongly, which is no finding. */
function refuse(sentence) {
  console.error(sentence);
  process.exit(2);
}

/** The HTML files below a folder, in order; `_static` and the like hold no pages. */
function pagesBelow(folder) {
  return fs.readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !entry.name.startsWith('_'))
    .flatMap((entry) => {
      const inside = path.join(folder, entry.name);
      if (entry.isDirectory()) return pagesBelow(inside);
      return entry.name.endsWith('.html') ? [inside] : [];
    })
    .sort();
}

/** The ids of a page's elements, read once. */
const idsOf = (() => {
  const known = new Map();
  return (file) => {
    if (!known.has(file)) {
      const ids = fs.readFileSync(file, 'utf8').matchAll(/\s(?:id|name)="([^"]*)"/g);
      known.set(file, new Set([...ids].map((match) => match[1])));
    }
    return known.get(file);
  };
})();

/** What is wrong with a link, or nothing. Other machines' pages are not asked for. */
function brokenLink({ url, text }) {
  if (text === '#' || !url.startsWith('file:')) return null;
  const target = new URL(url);
  const file = fileURLToPath(new URL(target.pathname, 'file://'));
  if (!fs.existsSync(file) || !fs.statSync(file).isFile()) return `${text}: no such file`;
  const place = decodeURIComponent(target.hash.slice(1));
  if (place && file.endsWith('.html') && !idsOf(file).has(place)) return `${text}: no such place`;
  return null;
}

/** Show a page in a colour scheme, by the theme's switch and by the system's wish. */
async function inScheme(page, scheme) {
  await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
  await page.evaluate((wanted) => {
    document.documentElement.dataset.mode = wanted;
    document.documentElement.dataset.theme = wanted;
  }, scheme);
}

/** What axe says of a page in one colour scheme: a line for each rule, with its first place. */
async function axeOf(page, source, scheme) {
  await inScheme(page, scheme);
  await page.evaluate(source);
  const { violations } = await page.evaluate(
    // it would ask for the style sheets once more, which a page of a file may not
    (rules) => axe.run(document, { runOnly: rules, resultTypes: ['violations'], preload: false }),
    RULES);
  return violations.map(({ id, nodes: [first, ...others] }) =>
    `${id}, ${1 + others.length} ×: ${first.html.slice(0, 160)} `
    + `(${(first.any[0] ?? first.all[0] ?? first.none[0])?.message ?? ''})`);
}

/** All findings of one page, as [kind, what]. */
async function findingsOf(context, file, site, asked) {
  const page = await context.newPage();
  const findings = [];
  const say = (kind, whats) => [...new Set(whats)].forEach((what) => findings.push([kind, what]));
  const asks = new Set();
  await page.route(/^(?!file:|data:|blob:|about:)/, (route) => {
    asks.add(`to ${route.request().url()}`);
    return route.abort();
  });
  page.on('requestfailed', (request) => {
    if (request.url().startsWith("file:")) asks.add(`no such file: ${request.url().slice(-80)}`);
  });
  page.on('pageerror', (error) => say('error', [String(error)]));
  await page.goto(pathToFileURL(file).href, { waitUntil: 'load' });
  await page.evaluate(async () => {
    document.querySelectorAll('details').forEach((hidden) => { hidden.open = true; });
    document.querySelectorAll('img[loading=lazy]').forEach((image) => { image.loading = 'eager'; });
    await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  });
  const content = await page.evaluate(`(${contentOf})(${SHORTEST_ALT})`);
  say('formula', content.formula);
  say('image', content.image);
  say('alt', content.alt);
  say('link', content.links.map(brokenLink).filter(Boolean));
  for (const scheme of ['light', 'dark']) {
    if (!asked['no-axe']) say(`axe-${scheme}`, await axeOf(page, asked.axe, scheme));
    await shoot(page, file, site, scheme, asked);
  }
  await inScheme(page, 'light');
  await page.setViewportSize(NARROW);
  say('scroll', await page.evaluate(sidewaysOf));
  await shoot(page, file, site, '390', asked);
  await page.setViewportSize(WIDE);
  say('request', [...asks]);
  await page.close();
  return findings;
}

/** The first screen of a page, as a picture, where pictures are asked for. */
async function shoot(page, file, site, look, asked) {
  if (!asked.shots) return;
  await page.evaluate(() => scrollTo(0, 0));
  const name = path.relative(site, file).replace(/\.html$/, '').replace(/\W+/g, '_');
  await page.screenshot({ path: path.join(asked.shots, `${name}-${look}.png`) });
}

/** Whether the search of the site answers, if it has one. */
async function searchOf(context, site, patience, word = 'attention') {
  const file = path.join(site, 'search.html');
  if (!fs.existsSync(file)) return [];
  const page = await context.newPage();
  await page.goto(`${pathToFileURL(file).href}?q=${word}`, { waitUntil: 'load' });
  const some = page.locator('#search-results a').first();
  const found = await some.waitFor({ timeout: 1000 * patience }).then(() => true, () => false);
  await page.close();
  return found ? [] : [['search', `nothing is found for ${word}`]];
}

const { values: asked, positionals: [folder] } = parseArgs({
  allowPositionals: true,
  options: {
    modules: { type: 'string', default: 'build/site-tools/node_modules' },
    only: { type: 'string', default: '' },
    shots: { type: 'string' },
    jobs: { type: 'string', default: String(os.availableParallelism() >> 1) }, // pages at a time
    'no-axe': { type: 'boolean', default: false },
    patience: { type: 'string', default: '20' }, // of who waits for the search
  },
});
const site = folder && path.resolve(folder);
if (!site || !fs.existsSync(site)) refuse(`there is no site in ${folder}: run 'make site' first.`);
const chrome = [process.env.CHROME, ...BROWSERS].find((at) => at && fs.existsSync(at));
if (!chrome) refuse('no Chromium was found: install it, or name it: CHROME=/path/to/chrome.');
const require = createRequire(path.resolve(asked.modules, 'here.js'));
const { chromium } = require('playwright-core');
asked.axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
if (asked.shots) fs.mkdirSync(asked.shots, { recursive: true });

const pages = pagesBelow(site).filter((file) => new RegExp(asked.only).test(file));
if (!pages.length) refuse(`there is no page in ${site} that fits '${asked.only}'.`);
// the sandbox needs what containers and hosted runners don't allow; all pages are our own
const browser = await chromium.launch({ executablePath: chrome, args: ['--no-sandbox'] });
const context = await browser.newContext({ viewport: WIDE });
let wrong = 0;
const tell = (file, findings) => {
  for (const [kind, what] of findings) console.log(`${path.relative(site, file)}: ${kind}: ${what}`);
  wrong += findings.length;
};
const left = [...pages];
const look = async () => {
  for (let file = left.shift(); file; file = left.shift()) {
    tell(file, await findingsOf(context, file, site, asked));
  }
};
await Promise.all(Array.from({ length: Math.max(1, Number(asked.jobs)) }, look));
if (!asked.only) tell(path.join(site, 'search.html'), await searchOf(context, site, Number(asked.patience)));
await browser.close();
console.log(`${pages.length} pages, ${wrong} findings`);
process.exit(wrong ? 1 : 0);
