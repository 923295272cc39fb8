/** Answers of `who-can` as a graph for Graphviz: subjects, what they become, and the rights between. */
import type { Entry, WhoCanReport } from '../analyze/who-can.ts';
import type { ReachDiff } from '../analyze/who-can-diff.ts';
import type { ReachReport } from '../analyze/who-can-reach.ts';

export function dotOfReport(report: WhoCanReport): string {
  const lines: string[] = [];
  const goal = report.question === 'reach' ? `${report.target}:${(report as ReachReport).port}` : report.target;
  if (report.question === 'reach') {
    const { accounts, editors } = report as ReachReport;
    lines.push(`  ${id(goal)} [shape=doubleoctagon];`);
    for (const { account, by } of accounts) {
      lines.push(edge(`ServiceAccount ${account}`, goal, by === 'pod' ? 'has a path' : 'path from a new pod', ''));
    }
    lines.push(...edgesOf(editors));
  }
  lines.push(...edgesOf(report.entries));
  return graph(lines);
}

export function dotOfDiff({ opened, closed, target, port }: ReachDiff): string {
  const lines = [`  ${id(`${target}:${port}`)} [shape=doubleoctagon];`];
  for (const [changes, color] of [
    [opened, 'red'],
    [closed, 'green'],
  ] as const) {
    for (const { entry, account } of changes) {
      if (entry !== undefined) lines.push(...edgesOf([entry], color));
      if (account !== undefined) {
        lines.push(edge(`ServiceAccount ${account.account}`, `${target}:${port}`, 'has a path', color));
      }
    }
  }
  return graph(lines);
}

function graph(lines: readonly string[]): string {
  return `digraph who_can {\n  rankdir=LR;\n  node [shape=box];\n${[...new Set(lines)].join('\n')}\n}\n`;
}

function edgesOf(entries: readonly Entry[], color = ''): string[] {
  return entries.flatMap(({ links }) =>
    links.map(({ from, right, to, rules }, index) => {
      // A step that its subject takes as somebody else begins where the one before ended.
      const start = index > 0 && links[index - 1]!.from === from ? links[index - 1]!.to : from;
      const place = rules[0] === undefined ? '' : `\n${rules[0].file}:${rules[0].line}`;
      return edge(start, to, `${right}${place}`, color);
    }),
  );
}

function edge(from: string, to: string, label: string, color: string): string {
  return `  ${id(from)} -> ${id(to)} [label=${id(label)}${color === '' ? '' : `, color=${color}`}];`;
}

/** Any text as a quoted name; line ends become Graphviz's own. */
function id(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}
