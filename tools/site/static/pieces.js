// The two pieces that answer to a touch: each is whole without a script, and more with one. And
// formulas that are wider than the page, for those who have a keyboard only.
'use strict';

/** One sentence over every layer and head of a model: choose a head, and a token that asks. */
function attention(figure) {
  const { tokens, weights } = JSON.parse(figure.querySelector('script').textContent);
  const rows = [...figure.querySelectorAll('tbody tr')];
  const [layer, head] = figure.querySelectorAll('input');
  const said = figure.querySelector('output');
  let asks = tokens.length - 1;

  const rowOf = (at) => {
    const start = (at * (at + 1)) / 2; // rows of a triangle, one after the other
    return weights[layer.value][head.value].slice(start, start + at + 1);
  };
  const show = () => {
    const which = `layer ${layer.value}, head ${head.value}`;
    figure.querySelector('.which').textContent = which;
    rows.forEach((row, at) => {
      row.classList.toggle('on', at === asks);
      row.querySelector('button').setAttribute('aria-pressed', at === asks);
      rowOf(at).forEach((weight, asked) => {
        const cell = row.cells[asked + 1];
        cell.textContent = weight;
        cell.style.setProperty('--weight', `${weight}%`);
      });
    });
    const most = rowOf(asks).map((weight, asked) => [weight, tokens[asked]])
      .filter(([weight]) => weight > 0).sort((a, b) => b[0] - a[0]).slice(0, 3)
      .map(([weight, token]) => `${token} (${weight})`);
    said.textContent = `In ${which}, ${tokens[asks]} looks at ${most.join(', ')}.`;
  };
  rows.forEach((row, at) => {
    const name = row.querySelector('th');
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = name.textContent;
    name.replaceChildren(button);
    const choose = () => { if (asks !== at) { asks = at; show(); } };
    button.addEventListener('click', choose);
    button.addEventListener('focus', choose);
    row.addEventListener('pointerenter', choose);
  });
  layer.addEventListener('input', show);
  head.addEventListener('input', show);
  figure.querySelector('.controls').hidden = false;
  show();
}

/** The steps of a scheduler, by one setting at a time. */
function timeline(figure) {
  const script = figure.querySelector('script');
  const runs = JSON.parse(script.textContent);
  const { left, width, end } = script.dataset;
  const settings = [...figure.querySelectorAll('.setting')];
  const choices = [...figure.querySelectorAll('input[type=radio]')];
  const step = figure.querySelector('input[type=range]');
  const said = figure.querySelector('output');

  const list = (numbers) => numbers.join(', ').replace(/, (\d+)$/, ' and $1');
  const tell = ({ begin, end: over, reads, waits, back }, at, count) => {
    const many = reads.filter(([, tokens]) => tokens > 1)
      .map(([who, tokens]) => `${tokens} tokens of request ${who}`);
    const one = reads.filter(([, tokens]) => tokens === 1).map(([who]) => who);
    if (one.length) many.push(`one token of ${one.length > 1 ? 'each of ' : ''}request ${list(one)}`);
    return `Step ${at + 1} of ${count}, ${begin.toFixed(2)} to ${over.toFixed(2)} s: reads `
      + `${many.join('; ')}.${waits.length ? ` Request ${list(waits)} waits.` : ''}`
      + `${back.length ? ` Request ${list(back)} is sent back.` : ''}`;
  };
  const show = () => {
    const chosen = choices.findIndex((choice) => choice.checked);
    const run = runs[chosen];
    settings.forEach((setting, at) => { setting.hidden = at !== chosen; });
    step.max = run.length - 1;
    const now = run[step.value];
    const x = Number(left) + (width - left - 16) * (now.begin / end);
    const cursor = settings[chosen].querySelector('.cursor');
    cursor.setAttribute('visibility', 'visible');
    cursor.setAttribute('transform', `translate(${x - left} 0)`);
    said.textContent = tell(now, Number(step.value), run.length);
    step.setAttribute('aria-valuetext', said.textContent);
  };
  choices.forEach((choice) => choice.addEventListener('change', show));
  step.addEventListener('input', show);
  figure.querySelector('.controls').hidden = false;
  show();
}

/** What scrolls in a box of its own can be scrolled by keyboard: it can be reached. */
function reachable() {
  document.querySelectorAll('.katex-display').forEach((formula) => {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
    else formula.removeAttribute('tabindex');
  });
}

reachable();
document.fonts.ready.then(reachable);
window.addEventListener('resize', reachable);
document.addEventListener('toggle', reachable, true); // what is opened
document.querySelectorAll('.attention-piece').forEach(attention);
document.querySelectorAll('.timeline-piece').forEach(timeline);
