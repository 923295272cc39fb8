/** Every capacity of the program in one place: value, unit, reason. Past one: a clear error, never a wrong answer. */

/** Bytes of one YAML file: it is read as a whole, at about 2 MB/s. */
export const YAML_BYTES_MAX = 64 * 1024 * 1024;

/** Bytes of one JSON file: it is cut into objects on the way, so that only time limits it. */
export const JSON_BYTES_MAX = 4 * 1024 * 1024 * 1024;

/** Bytes of one object inside a JSON file. etcd refuses objects over 1.5 MiB; a dump of all its objects is no object. */
export const JSON_OBJECT_BYTES_MAX = 64 * 1024 * 1024;

/** Levels of lists and objects in one document. Kubernetes' own kinds stay under 20. */
export const DOCUMENT_DEPTH_MAX = 64;

/** Values in the YAML documents of one file, those that aliases repeat counted each time. */
export const YAML_NODES_MAX = 5_000_000;

/** Tokens (white space counts) of one YAML document: its syntax tree takes 0.3 GB a million. */
export const YAML_TOKENS_MAX = 10_000_000;

/** Aliases in one YAML document. */
export const YAML_ALIASES_MAX = 10_000;

/** Pods made for workloads of an input without pods; their addresses come from 198.18.0.0/15. */
export const SYNTHETIC_PODS_MAX = 100_000;

/** Pairs of a way to be a source and a way to be a destination, by IP version: two words each, 64 MiB. A thousand accounts on either side are one million. */
export const PAIRS_MAX = 8_388_608;

/** Words of port functions that say what two checks decide together, by IP version: 16 MiB. */
export const PAIR_FUNCTION_WORDS_MAX = 4_194_304;

/** Bytes of the tables that WebAssembly's loops run over; past them the script's loops run over the tables as they are. */
export const WASM_BYTES_MAX = 64 * 1024 * 1024;

/** Connections that `verify` gathers evidence of at one time: about 2 KiB each. Past it the longest idle is settled early, and counted. */
export const VERIFY_CONNECTIONS_MAX = 65_536;

/** Packets that wait to be seen at another place of capture, over all captures; about 200 bytes each. */
export const VERIFY_SIGHTINGS_MAX = 262_144;

/** Packets that are kept of one connection as evidence: what opened it, answered it, refused it, and the first that are missing. */
export const VERIFY_EVIDENCE_MAX = 12;

/** Findings that wait for the end of the captures, where it is known what else was answered or dropped; later ones are settled at once. */
export const VERIFY_FINDINGS_WAITING_MAX = 10_000;

/** Captures of one verification; each holds a file and 1 MiB of buffer. */
export const VERIFY_CAPTURES_MAX = 256;

/** Connections, findings, edges and accounts in a report's page: past these a page is no longer read, and 20 MB is slow to open. */
export const REPORT_CONNECTIONS_MAX = 2_000;
export const REPORT_FINDINGS_MAX = 500;
export const REPORT_EDGES_MAX = 400;
export const REPORT_NODES_MAX = 120;
/** Findings of a page that have the whole chain of rules. */
export const REPORT_EXPLANATIONS_MAX = 100;
/** Points in time of a page's chart. */
export const REPORT_BUCKETS_MAX = 240;
