/** Completion scripts in the shells themselves. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SETTINGS } from '../../src/agent/settings.ts';
import { margay } from './support.ts';

const folder = mkdtempSync(join(tmpdir(), 'margay-completion-'));
beforeAll(async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout, stderr } = await margay(['completion', shell]);
    expect([code, stderr]).toEqual([0, '']);
    writeFileSync(join(folder, shell), stdout);
  }
  writeFileSync(join(folder, 'policy.yaml'), '');
  writeFileSync(join(folder, "it's a file"), '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hasShell = (shell: string): boolean => spawnSync(shell, ['-c', 'true'], { stdio: 'ignore' }).status === 0;

/** What is offered for the last of `words`. */
const OFFERS: readonly (readonly [readonly string[], readonly string[]])[] = [
  [['margay', 're'], ['replay']],
  [['margay', 'identities', 'd'], ['dump']],
  [
    ['margay', 'config', ''],
    ['print', 'help'],
  ],
  [['margay', 'completion', 'z'], ['zsh']],
  [['margay', 'schema', 'rec'], ['records']],
  [['margay', 'agent', '--flow-log-k'], ['--flow-log-keep']],
  [
    ['margay', 'agent', '--format', ''],
    ['native', 'goldmane', 'hubble'],
  ],
  [['margay', 'agent', '-f', 'replay', '--format', 'g'], ['goldmane']],
  [
    ['margay', 'replay', '-o', 'js'],
    ['json', 'jsonl'],
  ],
  [['margay', 'agent', '--node', ''], []],
  [['margay', 'agent', '--config', 'pol'], ['policy.yaml']],
  [['margay', 'agent', '-f', 'it'], ["it's a file"]],
  [['margay', 'nonsense', '--x'], []],
];

describe('bash', () => {
  function offers(words: readonly string[]): string[] {
    const script = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _margay; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const text = execFileSync('bash', ['--norc', '-c', script, 'bash', join(folder, 'bash'), ...words], {
      encoding: 'utf8',
      cwd: folder,
    });
    return text.split('\n').filter((line) => line !== '');
  }

  test.each(OFFERS)('%j', (words, expected) => expect(offers(words).sort()).toEqual([...expected].sort()));

  test('a value after an equals sign, which is a word of its own there', () => {
    expect(offers(['margay', 'agent', '--format', '=', 'hub'])).toEqual(['hubble']);
    expect(offers(['margay', 'agent', '--format', '='])).toEqual(['native', 'goldmane', 'hubble']);
  });

  test('every option of the agent', () => {
    const offered = offers(['margay', 'agent', '--']);
    for (const { key } of SETTINGS) expect(offered).toContain(`--${key}`);
  });

  test('the script says nothing and changes nothing when it is loaded', () => {
    const result = spawnSync('bash', ['--norc', '-euc', `source '${join(folder, 'bash')}'; complete -p margay`], {
      encoding: 'utf8',
    });
    expect([result.status, result.stderr, result.stdout]).toEqual([0, '', 'complete -F _margay margay\n']);
  });
});

describe('zsh', () => {
  // Stands in for the functions of zsh's completion system, which needs a terminal: what they are called with is what would be shown.
  const PROBE = `
compdef() { : }
compadd() { shift; print -l -- "$@" }
_files() { print -l -- \${~prefix_of_files}*(N) }
_describe() { [[ $1 == -o ]] && shift; local -a list; list=("\${(@P)2}"); print -l -- "\${list[@]%%:*}" }
source "$1"; shift
words=("$@"); CURRENT=$#; prefix_of_files="\${words[CURRENT]}"
_margay
`;

  test('offers what it should', ({ skip }) => {
    if (!hasShell('zsh')) skip('zsh is not installed');
    for (const [words, expected] of OFFERS) {
      const args = ['-f', '-c', PROBE, 'zsh', join(folder, 'zsh'), ...words];
      const text = execFileSync('zsh', args, { encoding: 'utf8', cwd: folder });
      const offered = text.split('\n').filter((line) => line !== '' && line.startsWith(words.at(-1)!));
      expect(offered.sort(), words.join(' ')).toEqual([...expected].sort());
    }
  });

  test('the script has every command and option', async () => {
    const { stdout } = await margay(['completion', 'zsh']);
    expect(stdout.startsWith('#compdef margay\n')).toBe(true);
    for (const { key } of SETTINGS) expect(stdout).toContain(`'--${key}:`);
  });
});

describe('fish', () => {
  test('offers what it should', ({ skip }) => {
    if (!hasShell('fish')) skip('fish is not installed');
    for (const [words, expected] of OFFERS) {
      const script = `source '${join(folder, 'fish')}'; complete -C ${JSON.stringify(words.join(' '))}`;
      const text = execFileSync('fish', ['--no-config', '-c', script], { encoding: 'utf8', cwd: folder });
      const offered = text.split('\n').map((each) => each.split('\t')[0]!.replaceAll('\\', ''));
      for (const one of expected) expect(offered, words.join(' ')).toContain(one);
    }
  });

  test('the script has every command and option', async () => {
    const { stdout } = await margay(['completion', 'fish']);
    for (const { key } of SETTINGS) expect(stdout).toContain(` -l ${key}`);
  });
});

test('a shell that is none', async () => {
  const { code, stderr } = await margay(['completion', 'tcsh']);
  expect(code).toBe(2);
  expect(stderr).toContain('bash, zsh, fish');
});
