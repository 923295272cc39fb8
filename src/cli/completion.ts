/**
 * Completion scripts for shells, from commander's tree of commands.
 *
 * All three do the same: go through the words before the cursor to find which command they are of (words that are values of options are passed
 * over), then offer that command's subcommands, its options, or the values of the option before the cursor. Values are the choices of an option,
 * or files where its value is called so; for anything else nothing is offered.
 */
import type { Command, Option } from 'commander';

type Shell = 'bash' | 'zsh' | 'fish';

interface CommandNode {
  /** `identities dump`; empty for margay itself. */
  readonly path: string;
  readonly subcommands: readonly { readonly name: string; readonly help: string }[];
  readonly options: readonly OptionNode[];
  /** Values of its first argument. */
  readonly choices: readonly string[];
  readonly takesFile: boolean;
}

interface OptionNode {
  readonly long: string;
  readonly short: string | undefined;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  readonly takesFile: boolean;
  readonly help: string;
}

export function completionScript(program: Command, shell: Shell): string {
  const nodes = nodesOf(program, '');
  switch (shell) {
    case 'bash':
      return bashScript(nodes);
    case 'zsh':
      return zshScript(nodes);
    case 'fish':
      return fishScript(nodes);
    default:
      return shell satisfies never;
  }
}

/** A value that is a file's name, by what the help calls it. */
const FILE = /^(file|capture|directory|dir|path)$/;

function nodesOf(command: Command, path: string): CommandNode[] {
  const shown = command.createHelp();
  const subcommands = shown
    .visibleCommands(command)
    .map((each) => ({ name: each.name(), help: each.summary() || each.description() }));
  const [argument] = command.registeredArguments;
  const node: CommandNode = {
    path,
    subcommands,
    options: shown.visibleOptions(command).flatMap(optionOf),
    choices: argument?.argChoices ?? [],
    takesFile: argument !== undefined && FILE.test(argument.name()),
  };
  const below = command.commands.flatMap((each) => nodesOf(each, path === '' ? each.name() : `${path} ${each.name()}`));
  return [node, ...below];
}

function optionOf(option: Option): OptionNode[] {
  if (option.long === undefined || option.long === null) return [];
  const value = /[<[]([^>\]]+)/.exec(option.flags)?.[1];
  return [
    {
      long: option.long,
      short: option.short ?? undefined,
      takesValue: value !== undefined,
      choices: option.argChoices ?? [],
      takesFile: value !== undefined && FILE.test(value.replace(/\.+$/, '')),
      help: option.description,
    },
  ];
}

/** Options of a node that a value follows, as they are written. */
function valueOptions({ options }: CommandNode): string[] {
  return options.filter(({ takesValue }) => takesValue).flatMap(namesOf);
}

function namesOf({ long, short }: OptionNode): string[] {
  return short === undefined ? [long] : [long, short];
}

/** One argument for a shell that quotes with `'`. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/* ---- bash ---- */

function bashScript(nodes: readonly CommandNode[]): string {
  return `# bash completion of margay, made by: margay completion bash
_margay() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="" path="" word i
  # The words before the cursor: which command are they of?
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$path|$word" in
${nodes.map((node) => caseSteps(node, 'path')).join('')}    esac
  done
  if ((COMP_CWORD > 1)); then prev="\${COMP_WORDS[COMP_CWORD-1]}"; fi
  # --option=value comes as three words.
  if [[ $cur == "=" ]]; then cur=""; elif [[ $prev == "=" ]]; then prev="\${COMP_WORDS[COMP_CWORD-2]}"; fi
  case "$path|$prev" in
${nodes.map(bashValues).join('')}  esac
  local options="" words="" files=""
  case "$path" in
${nodes.map(bashWords).join('')}  esac
  if [[ $cur == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    if [[ -n $files ]]; then _margay_files "$cur"; fi
  fi
}
_margay_files() {
  compopt -o filenames 2>/dev/null
  local found
  mapfile -t found < <(compgen -f -- "$1")
  COMPREPLY+=("\${found[@]}")
}
complete -F _margay margay
`;
}

/** How a word changes the command, whose path is in `variable`, or is passed over with its value. */
function caseSteps(node: CommandNode, variable: string): string {
  const values = valueOptions(node);
  const skip =
    values.length === 0 ? '' : `      ${values.map((name) => quote(`${node.path}|${name}`)).join('|')}) ((i++)) ;;\n`;
  const steps = node.subcommands
    .filter(({ name }) => name !== 'help')
    .map(({ name }) => `      ${quote(`${node.path}|${name}`)}) ${variable}=${quote(joined(node.path, name))} ;;\n`);
  return skip + steps.join('');
}

function joined(path: string, name: string): string {
  return path === '' ? name : `${path} ${name}`;
}

function bashValues(node: CommandNode): string {
  return node.options
    .filter(({ takesValue }) => takesValue)
    .map((option) => {
      const names = namesOf(option)
        .map((name) => quote(`${node.path}|${name}`))
        .join('|');
      const choices = `mapfile -t COMPREPLY < <(compgen -W ${quote(option.choices.join(' '))} -- "$cur")`;
      const action = option.takesFile
        ? 'COMPREPLY=(); _margay_files "$cur"'
        : option.choices.length > 0
          ? choices
          : 'COMPREPLY=()';
      return `    ${names}) ${action}; return ;;\n`;
    })
    .join('');
}

function bashWords(node: CommandNode): string {
  const options = node.options.flatMap(namesOf).join(' ');
  const words = [...node.subcommands.map(({ name }) => name), ...node.choices].join(' ');
  const files = node.takesFile ? '; files=yes' : '';
  return `    ${quote(node.path)}) options=${quote(options)}; words=${quote(words)}${files} ;;\n`;
}

/* ---- zsh ---- */

function zshScript(nodes: readonly CommandNode[]): string {
  return `#compdef margay
# zsh completion of margay, made by: margay completion zsh
_margay() {
  local cur="\${words[CURRENT]}" prev="\${words[CURRENT-1]}" at="" word
  local -i i
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    case "$at|$word" in
${nodes.map((node) => caseSteps(node, 'at')).join('')}    esac
  done
  case "$at|$prev" in
${nodes.map(zshValues).join('')}  esac
  local -a margay_options margay_words
  local margay_files=""
  case "$at" in
${nodes.map(zshWords).join('')}  esac
  if [[ "$cur" == -* ]]; then
    _describe -o 'option' margay_options
  else
    if (( \${#margay_words} )); then _describe 'command' margay_words; fi
    if [[ -n "$margay_files" ]]; then _files; fi
  fi
}
if [[ "\${funcstack[1]}" == "_margay" ]]; then _margay "$@"; else compdef _margay margay; fi
`;
}

function zshValues(node: CommandNode): string {
  return node.options
    .filter(({ takesValue }) => takesValue)
    .map((option) => {
      const names = namesOf(option)
        .map((name) => quote(`${node.path}|${name}`))
        .join('|');
      const choices = `compadd -- ${option.choices.map(quote).join(' ')}`;
      const action = option.takesFile ? '_files' : option.choices.length > 0 ? choices : ':';
      return `    ${names}) ${action}; return ;;\n`;
    })
    .join('');
}

function zshWords(node: CommandNode): string {
  const described = (name: string, help: string): string => quote(`${name.replaceAll(':', '\\:')}:${oneLine(help)}`);
  const options = node.options.flatMap((option) => namesOf(option).map((name) => described(name, option.help)));
  const words = [
    ...node.subcommands.map(({ name, help }) => described(name, help)),
    ...node.choices.map((choice) => described(choice, '')),
  ];
  const files = node.takesFile ? ' margay_files=yes;' : '';
  return `    ${quote(node.path)}) margay_options=(${options.join(' ')}); margay_words=(${words.join(' ')});${files} ;;\n`;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').slice(0, 100);
}

/* ---- fish ---- */

function fishScript(nodes: readonly CommandNode[]): string {
  const skipped = nodes.map((node) => {
    const values = valueOptions(node);
    return values.length === 0
      ? ''
      : `      case ${values.map((name) => fishQuote(`${node.path}|${name}`)).join(' ')}\n        set skip 1\n`;
  });
  const steps = nodes.flatMap((node) =>
    node.subcommands
      .filter(({ name }) => name !== 'help')
      .map(
        ({ name }) =>
          `      case ${fishQuote(`${node.path}|${name}`)}\n        set path ${fishQuote(joined(node.path, name))}\n`,
      ),
  );
  return `# fish completion of margay, made by: margay completion fish
function __margay_path
  set -l path ''
  set -l skip 0
  set -l tokens (commandline -opc)
  for word in $tokens[2..-1]
    if test $skip = 1
      set skip 0
      continue
    end
    switch "$path|$word"
${skipped.join('')}${steps.join('')}    end
  end
  echo $path
end
function __margay_at
  test (__margay_path) = "$argv[1]"
end
complete -c margay -f
${nodes.map(fishLines).join('')}`;
}

function fishLines(node: CommandNode): string {
  const head = `complete -c margay -n ${fishQuote(`__margay_at "${node.path}"`)}`;
  const lines = node.subcommands.map(
    ({ name, help }) => `${head} -a ${fishQuote(name)} -d ${fishQuote(oneLine(help))}\n`,
  );
  for (const choice of node.choices) lines.push(`${head} -a ${fishQuote(choice)}\n`);
  if (node.takesFile) lines.push(`${head} -F\n`);
  for (const { long, short, takesValue, takesFile, choices, help } of node.options) {
    const letter = short === undefined ? '' : ` -s ${short.slice(1)}`;
    const value = takesFile
      ? ' -r -F'
      : choices.length > 0
        ? ` -x -a ${fishQuote(choices.join(' '))}`
        : takesValue
          ? ' -x'
          : '';
    lines.push(`${head} -l ${long.slice(2)}${letter}${value} -d ${fishQuote(oneLine(help))}\n`);
  }
  return lines.join('');
}

function fishQuote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
