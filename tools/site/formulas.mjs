// A formula a line in, its HTML a line out, both as JSON: node formulas.mjs MODULES
import path from 'node:path';
import readline from 'node:readline';
import { createRequire } from 'node:module';

const katex = createRequire(path.resolve(process.argv[2], 'here.js'))('katex');
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { latex, display } = JSON.parse(line);
  let answer;
  try {
    answer = { html: katex.renderToString(latex, { displayMode: display, strict: false }) };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
