// What the check asks of a page; these functions run in the browser, so each stands by itself.

/** What is wrong with the content of a page, and its links; words in a picture's place have at least
 * so many letters. */
export function contentOf(shortest) {
  const found = { formula: [], image: [], alt: [], links: [] };
  for (const error of document.querySelectorAll('.katex-error, .merror, mjx-merror')) {
    found.formula.push('failed: ' + error.textContent.slice(0, 60));
  }
  for (const math of document.querySelectorAll('span.math, div.math')) {
    if (!math.querySelector('.katex')) found.formula.push('raw: ' + math.textContent.slice(0, 60));
  }
  const raw = /\$\$|\\\(|\\\[|\\(frac|text|operatorname|sqrt|sum|cdot|mathrm)\b/;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const inside = text.parentElement.closest('pre, code, script, style, .katex, .math, dt.sig');
    if (!inside && raw.test(text.data)) found.formula.push('raw: ' + text.data.trim().slice(0, 60));
  }
  for (const image of document.images) {
    const name = (image.getAttribute('src') ?? '').slice(-60);
    if (!image.naturalWidth) found.image.push(name);
    const alt = image.getAttribute('alt');
    const decorates = alt === '' && image.getAttribute('role') === 'presentation';
    // Sphinx puts the file's name where there are no words
    if (!decorates && (!alt || alt.length < shortest || /\.(png|svg|gif|jpe?g)$/.test(alt))) {
      found.alt.push(name);
    }
  }
  for (const drawing of document.querySelectorAll('svg[role="img"]:not([aria-hidden=true])')) {
    const label = drawing.getAttribute('aria-label') ?? drawing.querySelector('title')?.textContent;
    if (!label) found.alt.push('a drawing (svg)');
  }
  found.links = [...document.querySelectorAll('a[href]')]
    .map((link) => ({ url: link.href, text: link.getAttribute('href') }));
  return found;
}

/** How far a page scrolls sideways where it is narrow, and what sticks out. */
export function sidewaysOf() {
  scrollTo(9999, 0);
  const far = Math.max(scrollX, document.documentElement.scrollWidth - innerWidth);
  scrollTo(0, 0);
  if (far <= 0) return [];
  const wide = [...document.querySelectorAll('main *, article *, body > *')]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 2).map((element) => `${element.tagName.toLowerCase()}.${element.className}`);
  return [`by ${far} px: ${wide.join(', ')}`];
}
