/**
 * The kernel lab by hand: `npm run lab:kernel`, as root. Builds namespaces, loads rendered rules, sends packets, prints a table.
 *
 *   npm run lab:kernel -- [--tool nft|iptables|both] [--flows N] [--record] [FOLDER…]
 *
 * FOLDER: lessons (`pcaps/tiers`), folders of Calico's answers (`test/conformance/hosts/301`) or recorded cases (their name); default: all
 * lessons and recorded cases. `--record` writes fixtures. Exit code 1 if the kernel and margay disagree anywhere.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FIXTURES, fixtureCase, fixtureNames, folderCase, foldersUnder, ROOT } from './cases.mjs';
import { countReasons, mismatchText, runCase } from './compare.mjs';
import { writeFixture } from './fixture.mjs';
import { builtMargay } from './margay.mjs';
import { TOOLS } from './observe.mjs';
import { whyNoLab } from './preconditions.mjs';

const MISMATCHES_SHOWN_MAX = 10;

const { values, positionals } = parseArgs({
  options: {
    tool: { type: 'string', default: 'both' },
    flows: { type: 'string' },
    record: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

const why = whyNoLab();
if (why !== undefined) {
  console.error(`lab:kernel ${why}`);
  process.exit(4);
}
const tools = values.tool === 'both' ? TOOLS : [values.tool];
if (!tools.every((tool) => TOOLS.includes(tool))) {
  console.error(`lab:kernel: --tool is one of ${TOOLS.join(', ')}, both`);
  process.exit(2);
}
const margay = await builtMargay();
const cases = (positionals.length > 0 ? positionals : defaultNames()).map(caseOf);
const row = (cells) =>
  console.log(cells.map((cell, i) => (i === 0 ? String(cell).padEnd(28) : String(cell).padStart(9))).join(' '));
row(['case', 'attempts', 'delivered', 'dropped', 'left out', 'mismatch', 'seconds']);
const totals = [0, 0, 0, 0, 0];
const reasons = new Map();
const shown = [];
for (const kase of cases) {
  const start = performance.now();
  const options = { tools, ...(values.flows === undefined ? {} : { drawn: Number(values.flows) }) };
  const result = await runCase(margay, kase, options);
  const answers = tools.flatMap((tool) => [...result.observed[tool].values(), ...result.connected[tool].values()]);
  const delivered = answers.filter(Boolean).length;
  const counts = [
    result.attempts,
    delivered,
    answers.length - delivered,
    result.excluded.size,
    result.mismatches.length,
  ];
  row([kase.name, ...counts, ((performance.now() - start) / 1000).toFixed(1)]);
  counts.forEach((count, i) => {
    totals[i] += count;
  });
  for (const [reason, count] of Object.entries(countReasons(result.excluded)))
    reasons.set(reason, (reasons.get(reason) ?? 0) + count);
  shown.push(...result.mismatches.map((each) => `${kase.name}: ${mismatchText(each)}`));
  if (values.record) writeFixture(kase, result, tools);
}
row(['total', ...totals, '']);
for (const [reason, count] of reasons) console.log(`left out ${count}: ${reason}`);
for (const line of shown.slice(0, MISMATCHES_SHOWN_MAX)) console.log(line);
if (shown.length > MISMATCHES_SHOWN_MAX) console.log(`and ${shown.length - MISMATCHES_SHOWN_MAX} more`);
process.exitCode = shown.length > 0 ? 1 : 0;

function defaultNames() {
  return [...foldersUnder('pcaps'), ...fixtureNames().filter((name) => !name.startsWith('lesson-'))];
}

function caseOf(name) {
  if (existsSync(join(ROOT, name, 'cluster.yaml'))) return folderCase(name.replace(/\/$/, ''));
  if (existsSync(join(FIXTURES, name, 'case.json'))) return fixtureCase(name);
  console.error(`lab:kernel: ${name} is no folder with a cluster.yaml and no recorded case`);
  process.exit(2);
}
