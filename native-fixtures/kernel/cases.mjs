/**
 * The cases of the lab: what is loaded, and which flows are tried.
 *
 * A case is `{ name, files, sources, options, flows }`: sources are manifests with their text, `files` where they lie in the repository
 * (empty if the case has its own `cluster.yaml` in its fixture), `flows` those that come with it; drawn ones are added by seed.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');
export const FIXTURES = join(import.meta.dirname, 'fixtures');

/** Flows drawn beside a case's own. */
export const DRAWN_FLOW_COUNT = 200;

/** A lesson, or a folder of Calico's own answers. */
export function folderCase(folder) {
  const at = join(ROOT, folder);
  const files = ['cluster.yaml', 'policies.yaml']
    .map((file) => `${folder}/${file}`)
    .filter((file) => existsSync(join(ROOT, file)));
  const flowFile = ['flows.jsonl', 'expected.jsonl'].map((file) => join(at, file)).find((file) => existsSync(file));
  const flows = flowFile === undefined ? [] : readLines(flowFile).map(flowOf);
  return { name: caseName(folder), files, sources: files.map(readSource), options: {}, flows };
}

/** Folders of a kind: `pcaps`, `test/conformance/worlds`, …; every folder with a cluster. */
export function foldersUnder(parent) {
  return readdirSync(join(ROOT, parent))
    .filter((name) => existsSync(join(ROOT, parent, name, 'cluster.yaml')))
    .map((name) => `${parent}/${name}`);
}

/** A case as its fixture describes it. */
export function fixtureCase(name) {
  const at = join(FIXTURES, name);
  const recorded = JSON.parse(readFileSync(join(at, 'case.json'), 'utf8'));
  const own = join(at, 'cluster.yaml');
  const sources =
    recorded.files.length > 0
      ? recorded.files.map(readSource)
      : [{ name: 'cluster.yaml', text: readFileSync(own, 'utf8') }];
  const lines = readLines(join(at, 'flows.jsonl'));
  const connects = readLines(join(at, 'connects.jsonl'));
  const flows = lines.slice(0, recorded.ownFlows).map(flowOf);
  return { name, files: recorded.files, sources, options: recorded.options, flows, recorded, lines, connects };
}

export function fixtureNames() {
  return existsSync(FIXTURES) ? readdirSync(FIXTURES).sort() : [];
}

/** A number made of a name, as seed for its flows. */
export function seedOf(name) {
  let hash = 0x811c9dc5;
  for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
  return hash | 0;
}

function caseName(folder) {
  const short = folder.replace(/^(test\/conformance|native-fixtures\/kernel)\//, '').replace(/^pcaps\//, 'lesson/');
  return short.replaceAll('/', '-');
}

function readSource(file) {
  return { name: file, text: readFileSync(join(ROOT, file), 'utf8') };
}

function readLines(path) {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** Lines of conformance have flow fields, those of lessons the fields of records. */
function flowOf(line) {
  const { src = line.source_ip, dst = line.dest_ip, protocol = line.proto } = line;
  const { src_port = line.source_port, dst_port = line.dest_port, icmp_type, icmp_code } = line;
  return { src, dst, protocol, src_port, dst_port, icmp_type, icmp_code };
}
