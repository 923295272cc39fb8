// @ts-check
// `npm start`: from a fresh clone to verdicts a newcomer understands, without root, Redis, libpcap or a compiler.
// Installs the dependencies, builds, and replays every lesson of this folder against the policies beside it.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBuild, ensureDependencies, ensureNode, main, ROOT, SetupError, say } from './setup.mjs';

/**
 * Lessons in the order to read them, each with what it is about, and the verbs to look at it with (default: replay). Other folders that
 * hold a capture follow.
 *
 * @type {{name: string, about: string, verbs?: string[]}[]}
 */
const LESSONS = [
  { name: 'sa-names', about: 'a database that admits callers by the NAME of their service account' },
  { name: 'sa-labels', about: "the same by the LABELS of the caller's account; labels of the pod itself don't count" },
  { name: 'sa-selector', about: 'pods that run as intern accounts talk with each other and with nobody else' },
  { name: 'tiers', about: 'a security tier denies or passes before the policies of the teams are asked' },
  {
    name: 'two-factor',
    about: 'stolen certificates and spoofed addresses: what one of the two opens, and both do not',
    verbs: ['replay', 'factors'],
  },
];

const CLI = 'dist/cli/main.js';

main(() => {
  say('margay: which connections of a real capture would Calico allow, which deny, and by which rule?');
  say();
  ensureNode();
  ensureDependencies();
  ensureBuild();
  const lessons = findLessons();
  for (const lesson of lessons) show(lesson);
  sayWhatNext(lessons[0]?.name ?? '');
});

/** @returns {{name: string, about: string, verbs?: string[]}[]} the lessons on disk, LESSONS first */
function findLessons() {
  const holdsCapture = (/** @type {string} */ name) => existsSync(join(ROOT, 'pcaps', name, 'capture.pcapng'));
  const missing = LESSONS.find(({ name }) => !holdsCapture(name));
  if (missing) {
    const path = `pcaps/${missing.name}/capture.pcapng`;
    throw new SetupError(`${path} is missing`, `restore it with: git checkout -- pcaps/${missing.name}`);
  }
  const others = readdirSync(join(ROOT, 'pcaps'))
    .filter((name) => holdsCapture(name) && !LESSONS.some((lesson) => lesson.name === name))
    .sort();
  return [...LESSONS, ...others.map((name) => ({ name, about: `see pcaps/${name}/README.md` }))];
}

/** @param {{name: string, about: string, verbs?: string[]}} lesson */
function show({ name, about, verbs = ['replay'] }) {
  say();
  say(`=== ${name}: ${about}`);
  say(`    policies in pcaps/${name}/policies.yaml, pods and accounts in pcaps/${name}/cluster.yaml`);
  for (const verb of verbs) run(name, verb);
}

/** @param {string} name @param {string} verb */
function run(name, verb) {
  const args = [verb, '-f', `pcaps/${name}`, '-r', `pcaps/${name}/capture.pcapng`];
  // Findings are what the lesson is about, and no failure.
  if (verb !== 'replay') args.push('--exit-zero');
  say(`$ node ${CLI} ${args.join(' ')}`);
  const { status, signal, error } = spawnSync(process.execPath, [CLI, ...args], { cwd: ROOT, stdio: 'inherit' });
  if (error)
    throw new SetupError(`cannot start ${process.execPath}: ${error.message}`, 'check the Node.js installation');
  if (signal) throw new SetupError(`the ${verb} of ${name} was ended by ${signal}`, 'run npm start again');
  if (status !== 0) {
    throw new SetupError(`the ${verb} of ${name} ended with exit code ${status}`, 'see the message above');
  }
}

/** @param {string} name a lesson to take the examples from */
function sayWhatNext(name) {
  const files = `-f pcaps/${name} -r pcaps/${name}/capture.pcapng`;
  say();
  say('=== next');
  say('why one packet got its verdict, rule by rule:');
  say(`$ node ${CLI} explain ${files} --packet 32`);
  say('one line a packet instead of one a connection:');
  say(`$ node ${CLI} replay ${files} --packets -o jsonl`);
  say(`change a rule in pcaps/${name}/policies.yaml and run npm start again; every verb:`);
  say(`$ node ${CLI} --help`);
}
